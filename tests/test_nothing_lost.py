"""Nothing half-written, nothing lost: products are whole or there is an error, and what was there before stays."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, SCRIPT, TEST_DATA

SKY = TEST_DATA / "sky.fits"
REFUSED = "the products cannot be written (File too large)"

# In a process of its own: every product under limits that it does not keep, after it was made once without.
UNDER_LIMITS = """
import json, resource, sys
from pathlib import Path
import source_extraction as se
from source_extraction.run.products import PRODUCTS

result, folder, answers = se.extract(sys.argv[1]), Path(sys.argv[2]), {}
whole = {path.name: path.stat().st_size for path in result.write(folder / "whole", list(PRODUCTS))}
for name, size in whole.items():
    for limit in (size - 1, size // 2, 0):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            result.write(folder / "limited", [name])
            answer = "no error"
        except se.InputError as problem:
            answer = problem.problem
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        answers[f"{name} of at most {limit} bytes"] = [answer, (folder / "limited").exists()]
print(json.dumps(answers))
"""
# The same on disks that are a page too small, and on disks that are not.
ON_SMALL_DISKS = """
import json, math, subprocess, sys
from pathlib import Path
import source_extraction as se
from source_extraction.run.products import PRODUCTS

result, folder, answers = se.extract(sys.argv[1]), Path(sys.argv[2]), {}
whole = {path.name: path.stat().st_size for path in result.write(folder / "whole", list(PRODUCTS))}
disk = folder / "disk"
disk.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
for name, size in whole.items():
    pages = math.ceil(size / 4096)
    for number in filter(None, (pages - 1, pages + 4)):
        subprocess.run(["mount", "-o", f"remount,size={number * 4096}", disk], check=True)
        try:
            result.write(disk / "out", [name])
            written = (disk / "out" / name).stat().st_size
            # The seconds in summary.json have more digits or fewer.
            answer = "whole" if written == size or name == "summary.json" else "cut"
            (disk / "out" / name).unlink()
            (disk / "out").rmdir()
        except se.InputError as problem:
            answer = problem.problem
        answers[f"{name} on {number} of {pages} pages"] = [number > pages, answer, (disk / "out").exists()]
print(json.dumps(answers))
"""


def answers_of(program: str, *arguments: object, before: tuple[str, ...] = ()) -> dict[str, list]:
    command = [*before, sys.executable, "-c", program, *map(str, arguments)]
    run = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=300)
    assert (run.returncode, run.stderr) == (0, "")
    return json.loads(run.stdout)


def test_no_product_is_cut_in_silence(tmp_path: Path) -> None:
    """A limit on the size of files stops writing where a full disk does; it is said, and nothing is left."""
    answers = answers_of(UNDER_LIMITS, SKY, tmp_path)
    assert len(answers) == 18 * 3
    assert {case: answer for case, answer in answers.items() if answer != [REFUSED, False]} == {}


def can_mount() -> bool:
    """Whether this user may mount a file system that only its own processes see."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="only root may mount a small file system")
def test_no_product_is_cut_on_a_full_disk(tmp_path: Path) -> None:
    answers = answers_of(ON_SMALL_DISKS, SKY, tmp_path, before=("unshare", "--mount"))
    assert len(answers) >= 18 * 2 - 1  # summary.json takes no more than one page
    full = [False, "the products cannot be written (No space left on device)", False]
    assert {case: a for case, a in answers.items() if a not in ([True, "whole", False], full)} == {}


@pytest.mark.parametrize("product", ["background.fits", "segmentation_map.tiff", "seeds.tiff", "catalog.tsv"])
def test_the_command_line_says_it(tmp_path: Path, product: str) -> None:
    command = [sys.executable, SCRIPT, SKY, "--output_dir", tmp_path / "out", "--outputs", product]
    size = 80_000
    run = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    assert run.returncode == 1
    assert run.stderr == f"error: {tmp_path / 'out'}: {REFUSED}; choose another --output_dir or make room\n"
    assert os.listdir(tmp_path) == []
