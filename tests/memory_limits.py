"""How runs end under `ulimit -v`: with their products or with one sentence, never otherwise.

    python -m tests.memory_limits             # from 200 MB to 1 GB in steps of 10: some minutes
    python -m tests.memory_limits 230 260 1   # from, to, step, in MB

Prints what ends otherwise, and in the end how many ended how; the exit code is 1 if any did.
"""

import resource
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.conftest import REPOSITORY, SCRIPT, TEST_DATA

MEGABYTE = 2**20
SECONDS = 60
PROGRAMS: dict[str, tuple[object, ...]] = {
    "1 process": (SCRIPT, TEST_DATA / "sky.fits", "--threads", 1),
    "2 processes": (SCRIPT, TEST_DATA / "sky.fits", "--threads", 2),
    "join": (REPOSITORY / "join_catalogs.py", TEST_DATA / "catalogs" / "north.tsv"),
}
MADE, REFUSED = "products", "a sentence"


def ending(program: str, megabytes: int, folder: Path) -> str:
    """How a program ends that may use so much address space: `MADE`, `REFUSED`, or what else it does."""
    limit = megabytes * MEGABYTE
    command = [sys.executable, *map(str, PROGRAMS[program]), "--output_dir", str(folder)]
    try:
        run = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        )
    except subprocess.TimeoutExpired:
        return f"no end within {SECONDS} s"
    there = list(folder.iterdir()) if folder.exists() else []
    if run.returncode == 0 and not run.stderr:
        return MADE if there else "nothing, and exit code 0"
    one_line = run.stderr.startswith("error: ") and run.stderr.count("\n") == 1
    # That of what ran out, and not of a damaged image or of a bug.
    if run.returncode == 1 and one_line and "memory" in run.stderr and not there:
        return REFUSED
    return f"exit code {run.returncode}: {run.stderr[-300:]!r}, {len(there)} files"


def main(first: int = 200, last: int = 1000, step: int = 10) -> int:
    endings: Counter[tuple[str, str]] = Counter()
    for megabytes in range(first, last + 1, step):
        for program in PROGRAMS:
            with tempfile.TemporaryDirectory() as folder:
                end = ending(program, megabytes, Path(folder) / "out")
            endings[program, end] += 1
            if end not in (MADE, REFUSED):
                print(f"{megabytes} MB, {program}: {end}", flush=True)
    for (program, end), number in sorted(endings.items()):
        print(f"{program}: {number} x {end}")
    return int(any(end not in (MADE, REFUSED) for _, end in endings))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
