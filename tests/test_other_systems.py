"""What macOS and Windows lack is taken away: the same products come out, and nothing is blamed on a file.

The tool runs in a process of its own, in which the missing functions, files and modules are taken away once the
libraries are loaded, whose own differences are not what is tested.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from astropy.io import fits

from tests.conftest import REPOSITORY, TEST_DATA, running, succeed
from tests.simulated_sky import simulate

PRODUCTS = "catalog.tsv,background.fits,segmentation_map.fits,sources.png"

LIBRARIES = """
import ctypes, multiprocessing, os, pathlib, signal, sys
import astropy.coordinates, astropy.io.fits, astropy.visualization.wcsaxes, astropy.wcs, numpy, sep, tifffile
import matplotlib.backends.backend_agg, matplotlib.figure, PIL.Image
import multiprocessing.connection, multiprocessing.popen_fork

def without(path, *arguments, original=pathlib.Path.read_text, **options):
    if str(path).startswith(("/proc", "/sys")):
        raise FileNotFoundError(2, "No such file or directory", str(path))
    return original(path, *arguments, **options)
"""
NO_PROC = "pathlib.Path.read_text = without\n"
NO_AFFINITY = "del os.sched_getaffinity\n"
NO_PRCTL = """
class Library:
    def __init__(self, name):
        pass
ctypes.CDLL = Library
"""
# Libraries ask a Mac which it is.
MAC = 'sys.platform = "darwin"\nimport platform\nplatform.mac_ver = lambda: ("14.5", ("", "", ""), "arm64")\n'
NO_SYSCONF = "del os.sysconf\n"
NO_RESOURCE = 'sys.modules["resource"] = None\n'
NO_FORK = "multiprocessing.get_all_start_methods = lambda: ['spawn']\ndel os.fork\n"
SYSTEMS = {
    "no processor count": NO_AFFINITY,
    "no /proc and /sys": NO_PROC,
    "no prctl": NO_PRCTL,
    "macOS": NO_AFFINITY + NO_PROC + NO_PRCTL + MAC,
    "Windows": NO_AFFINITY + NO_PROC + NO_PRCTL + NO_SYSCONF + NO_RESOURCE + NO_FORK + 'sys.platform = "win32"\n',
}
RUN = "from source_extraction.faces.source_extractor import program\nprogram()\n"


def command(system: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", LIBRARIES + SYSTEMS[system] + RUN, *map(str, arguments)]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of more than one tile."""
    path = tmp_path_factory.mktemp("image") / "sky.fits"
    fits.writeto(path, simulate((1600, 1100), 3000, seed=5).pixels, fits.getheader(TEST_DATA / "sky.fits"))
    return path


@pytest.fixture(scope="module")
def expected(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("expected")
    succeed(image, "--outputs", PRODUCTS, "--threads", "2", folder=folder)
    return folder


@pytest.mark.parametrize("threads", [None, 1, 2])
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_same_products(system: str, threads: int | None, image: Path, expected: Path, tmp_path: Path) -> None:
    options = [] if threads is None else ["--threads", threads]
    environment = {name: value for name, value in os.environ.items() if name != "GALAXY_SLOTS"}
    run = subprocess.run(
        command(system, image, "--outputs", PRODUCTS, "--output_dir", tmp_path, *options),
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (run.returncode, run.stderr) == (0, "")
    for product in PRODUCTS.split(","):
        assert (tmp_path / product).read_bytes() == (expected / product).read_bytes(), product
    one_does_it_all = "Processes: 1, because this system cannot fork\n"
    cores = threads or os.cpu_count() or 1
    assert run.stdout.count(one_does_it_all) == (system == "Windows" and cores > 1)


def test_a_failure_of_ours_is_not_the_file_s(image: Path, tmp_path: Path) -> None:
    """It is a sentence that asks to report it, and no advice to fetch the file again."""
    broken = 'import source_extraction.readers.disk_room as r\nr.RoomOnDisk.require = lambda *_: {}["ours"]\n'
    program = [sys.executable, "-c", LIBRARIES + broken + RUN, str(image), "--output_dir", str(tmp_path / "out")]
    run = subprocess.run(program, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert run.returncode == 70
    assert run.stderr.startswith("error: this is a fault of source-extraction")
    assert "KeyError: 'ours'" in run.stderr
    assert "damaged" not in run.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("system", ["macOS", "no prctl"])
def test_processes_end_with_a_run_that_is_killed(system: str, tmp_path: Path) -> None:
    """Where the system does not end them, they notice that nobody wants an answer."""
    fits.writeto(tmp_path / "sky.fits", simulate((2048, 2048), 30000, seed=7, fwhm=2.4).pixels)
    folder = tmp_path / "out"
    arguments = (tmp_path / "sky.fits", "--outputs", PRODUCTS, "--output_dir", folder, "--threads", 3)
    run = subprocess.Popen(command(system, *arguments), cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(running(folder)) < 4:
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    while running(folder):
        assert time.monotonic() < deadline
        time.sleep(0.05)
