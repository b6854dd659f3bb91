"""What the tests share: the shipped sky and its truth, and the tool as a user runs it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

REPOSITORY = Path(__file__).resolve().parents[1]
TEST_DATA = REPOSITORY / "test-data"
SCRIPT = REPOSITORY / "source_extractor.py"
# What is not done by then hangs, on a machine however busy. It ends the test and measures nothing.
SECONDS_OF_A_HANG = 1800

Tool = Callable[..., subprocess.CompletedProcess]


def run_tool(*arguments: object, folder: Path) -> subprocess.CompletedProcess:
    """Run the command line with `folder` as the folder of its products."""
    command = [sys.executable, SCRIPT, *arguments, "--output_dir", folder]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        timeout=SECONDS_OF_A_HANG,
    )


def succeed(*arguments: object, folder: Path) -> str:
    """Run the command line, which must succeed in silence on standard error; what it said."""
    run = run_tool(*arguments, folder=folder)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


def read_catalog(folder: Path) -> pd.DataFrame:
    """The catalog as an independent reader sees it, every float to its last digit."""
    return pd.read_csv(folder / "catalog.tsv", sep="\t", float_precision="round_trip")


def running(folder: Path) -> list[int]:
    """Processes of the tool that write to a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.fixture(scope="session")
def sky() -> np.ndarray:
    """The pixels of the shipped sky."""
    return fits.getdata(TEST_DATA / "sky.fits").astype(np.float32)


@pytest.fixture(scope="session")
def truth() -> pd.DataFrame:
    """What was put into the shipped sky."""
    return pd.read_csv(TEST_DATA / "sky_truth.tsv", sep="\t")


@pytest.fixture(scope="session")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The nine products of the shipped sky."""
    folder = tmp_path_factory.mktemp("products")
    succeed(TEST_DATA / "sky.fits", folder=folder)
    return folder
