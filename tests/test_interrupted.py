"""A run that is ended, or that cannot write, leaves nothing that looks like a product."""

import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from tests.conftest import SCRIPT, SECONDS_OF_A_HANG, TEST_DATA


@pytest.fixture(scope="module")
def large_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough that products are being written for a second or so."""
    path = tmp_path_factory.mktemp("large") / "noise.fits"
    fits.writeto(path, np.random.default_rng(1).normal(size=(2000, 2000)).astype(np.float32))
    return path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("product", ["catalog.tsv", "background.fits", "image.png"])
def test_ended_while_writing(tmp_path: Path, large_image: Path, number: signal.Signals, product: str) -> None:
    folder = tmp_path / "out"
    command = [sys.executable, SCRIPT, large_image, "--output_dir", folder]
    # A shell that starts the tests in the background has them ignore SIGINT.
    run = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  (no thread runs here)
    )
    while not list(folder.glob(f".source-extractor-*/{product}")) and run.poll() is None:
        time.sleep(0.001)
    run.send_signal(number)
    _, wrong = run.communicate(timeout=SECONDS_OF_A_HANG)
    assert run.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert wrong == b""
    if number == signal.SIGKILL:
        # Nobody could clean up: what is there is hidden, and none of it has a product's name.
        assert [path.name.startswith(".source-extractor-") for path in folder.iterdir()] == [True]
    else:
        assert not folder.exists()


@pytest.mark.parametrize("size", [1000, 100_000, 300_000, 600_000])
def test_no_room_for_a_product(tmp_path: Path, size: int) -> None:
    """Files of at most `size` bytes can be written, as on a full disk: refused, and nothing is left."""
    folder = tmp_path / "out"
    run = subprocess.run(
        [sys.executable, SCRIPT, TEST_DATA / "sky.fits", "--output_dir", folder],
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    assert run.returncode == 1
    assert run.stderr.startswith(f"error: {folder}: the products cannot be written (")
    assert run.stderr.endswith("); choose another --output_dir or make room\n")
    assert run.stderr.count("\n") == 1
    assert not folder.exists()


def test_product_that_cannot_take_its_place(tmp_path: Path) -> None:
    """A folder stands where a picture belongs: the products that were already in place go as well."""
    (tmp_path / "sources.png").mkdir()
    command = [sys.executable, SCRIPT, TEST_DATA / "sky.fits", "--output_dir", tmp_path]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 1
    assert "the products cannot be written (Is a directory)" in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["sources.png"]
