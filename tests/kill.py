"""Runs that are killed at random times: one of their processes, or the run itself.

python -m tests.kill [NUMBER]

Kills a process of NUMBER runs (100), then NUMBER runs themselves, half of them in a folder with the products of an
earlier run. Nothing may be at work afterwards; the products are those from before, or all are new; and after the next
run into the folder no hidden folder is left. Prints a table, and ends with 1 where there is a fault. For Linux, whose
/proc tells which processes are there.
"""

import collections
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from astropy.io import fits

import source_extraction as se
from source_extraction.run.products import DEFAULT_PRODUCTS
from tests.conftest import SCRIPT, TEST_DATA
from tests.simulated_sky import simulate

VICTIMS = ("worker", "run")
SECONDS_TO_END = 10
EARLIER = "of an earlier run"


@dataclass
class Trials:
    """What came of some runs, by its name, and what should not have."""

    outcomes: collections.Counter = field(default_factory=collections.Counter)
    faults: list[str] = field(default_factory=list)


def kill_some(victim: str, number: int, scratch: Path, seed: int = 0) -> Trials:
    """Start runs in folders of `scratch`, and kill each, or one of its processes, at a random time."""
    chance, trials = random.Random(f"{victim} {seed}"), Trials()
    image = scratch / "image.fits"
    fits.writeto(image, simulate((1200, 1200), 2500, seed=5).pixels, overwrite=True)
    next_run = se.extract(TEST_DATA / "sky.fits")
    started = time.monotonic()
    _start(image, scratch / "whole").wait()
    seconds = time.monotonic() - started
    whole = {path.name: path.read_bytes() for path in (scratch / "whole").iterdir()}
    for trial in range(number):
        folder = scratch / f"{victim}-{trial}"
        before = _earlier_products(folder) if trial % 2 else {}
        run = _start(image, folder)
        time.sleep(chance.uniform(0, seconds))
        killed = _kill(run, victim, folder, chance)
        _, said = run.communicate(timeout=60)
        faults = _faults(folder, before, whole, next_run)
        # The run itself says nothing when it is killed; it says a sentence when one of its processes is.
        if killed and victim == "worker" and run.returncode == 1 and not said.startswith("error: "):
            faults.append(f"it said {said!r}")
        outcome = "killed" if run.returncode not in (0, 1) else ("done", "a sentence")[run.returncode]
        trials.outcomes["too late, or too early" if not killed else outcome] += 1
        trials.faults += [f"{victim} {trial}: {fault}" for fault in faults]
        shutil.rmtree(folder, ignore_errors=True)
    return trials


def _start(image: Path, folder: Path) -> subprocess.Popen:
    command = [sys.executable, SCRIPT, image, "--output_dir", folder, "--threads", "2"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _earlier_products(folder: Path) -> dict[str, str]:
    """Not all that a run makes, and one that it does not make."""
    folder.mkdir()
    names = [*DEFAULT_PRODUCTS[::2], "seeds.tiff"]
    for name in names:
        (folder / name).write_text(EARLIER)
    return dict.fromkeys(names, "earlier")


def _kill(run: subprocess.Popen, victim: str, folder: Path, chance: random.Random) -> bool:
    """Whether there was something to kill."""
    if victim == "run":
        alive = run.poll() is None
        run.kill()
        return alive
    # There are processes only while there is work for them.
    while run.poll() is None:
        if workers := [process for process in _running(folder) if process != run.pid]:
            try:
                os.kill(chance.choice(workers), signal.SIGKILL)
            except ProcessLookupError:
                continue
            return True
        time.sleep(0.002)
    return False


def _running(folder: Path) -> list[int]:
    """Processes of runs into a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(folder) in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def _faults(folder: Path, before: dict[str, str], whole: dict[str, bytes], next_run: se.Result) -> list[str]:
    faults = []
    until = time.monotonic() + SECONDS_TO_END
    while (left := _running(folder)) and time.monotonic() < until:
        time.sleep(0.01)
    if left:
        faults.append(f"{len(left)} processes are left")
    hidden = len(list(folder.glob(".source-extractor-*")))
    if hidden > 1:
        faults.append(f"{hidden} hidden folders")
    next_run.write(folder, "points.tsv")
    all_new = before | dict.fromkeys(DEFAULT_PRODUCTS, "new")
    known = dict.fromkeys(whole.values(), "new") | {EARLIER.encode(): "earlier"}
    found = {
        path.name: "folder" if path.is_dir() else known.get(path.read_bytes(), "a part")
        for path in folder.iterdir()
        if path.name != "points.tsv"
    }
    if found not in (before, all_new):
        faults.append(f"neither all old nor all new: {found}")
    return faults


def main(number: int) -> int:
    """Print a table; the exit code."""
    everything = []
    print(f"{'killed':8}{'runs':>6}{'faults':>8}  what came of them")
    with tempfile.TemporaryDirectory() as scratch:
        for victim in VICTIMS:
            trials = kill_some(victim, number, Path(scratch))
            came = ", ".join(f"{outcome} {times}" for outcome, times in trials.outcomes.most_common())
            print(f"{victim:8}{number:6}{len(trials.faults):8}  {came}", flush=True)
            everything += trials.faults
    print("\n".join(everything))
    return 1 if everything else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
