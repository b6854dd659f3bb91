"""An image in bands is the image in one piece: against one call of SEP, for any number of processes, at every seam."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from extraction import bands, workers
from extraction.background import estimate_background
from extraction.detection import detect
from extraction.errors import InputError
from extraction.images import Image
from extraction.kernels import DEFAULT_KERNEL
from extraction.limits import Detections
from extraction.settings import Settings
from extraction.workers import Workers
from tests.conftest import SCRIPT, read_catalog, succeed
from tests.simulated_sky import simulate

SETTINGS = Settings(Path("sky.fits"))
PRODUCTS = ("--outputs", "catalog.tsv,segmentation_map.fits,background.fits,background_rms.fits,sources.reg")
# The seams of 2048 rows are at 512, 1024 and 1536.
SHAPE = (2048, 700)


def extract(pixels: np.ndarray, settings: Settings = SETTINGS, masked: np.ndarray | None = None) -> Detections:
    sky = estimate_background(Image("sky", "page 0", "float32", pixels.astype(np.float32)), masked, settings)
    kernel = None if settings.filter_case == "none" else DEFAULT_KERNEL
    return detect(sky, kernel, settings, want_map=True)


@pytest.fixture
def one_band(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """From here on every image is one band: one call of SEP."""
    monkeypatch.setattr(bands, "MOST_ROWS_OF_ONE_BAND", 10**9)
    return monkeypatch


def both(pixels: np.ndarray, settings: Settings = SETTINGS, masked: np.ndarray | None = None) -> list[Detections]:
    """The detections in bands and in one piece."""
    in_bands = extract(pixels, settings, masked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bands, "MOST_ROWS_OF_ONE_BAND", 10**9)
        return [in_bands, extract(pixels, settings, masked)]


def assert_whole(detections: Detections) -> None:
    """Labels run from 1 without a gap, and every source has its pixels in the map, within its limits."""
    sources, segmentation = detections.sources, detections.segmentation
    counts = np.bincount(segmentation.ravel(), minlength=len(sources) + 1)
    np.testing.assert_array_equal(counts[1:], sources["npix"])
    rows, columns = np.nonzero(segmentation)
    label = segmentation[rows, columns]
    for position, low, high in ((rows, "ymin", "ymax"), (columns, "xmin", "xmax")):
        least, most = np.full(len(sources) + 1, 10**9), np.full(len(sources) + 1, -1)
        np.minimum.at(least, label, position)
        np.maximum.at(most, label, position)
        np.testing.assert_array_equal(least[1:], sources[low])
        np.testing.assert_array_equal(most[1:], sources[high])


def assert_same_sources(found: Detections, expected: Detections) -> None:
    """The same sources to the last digit, though in another order."""
    assert len(found) == len(expected)
    order = [np.lexsort((part.sources["xcpeak"], part.sources["ycpeak"])) for part in (found, expected)]
    ours, theirs = found.sources[order[0]], expected.sources[order[1]]
    for name in ours.dtype.names:
        # y is computed from the band's first row: the last bits of a float64 may differ.
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-12 if name in ("y", "y2", "xy") else 0, atol=1e-9)
    np.testing.assert_array_equal(found.segmentation > 0, expected.segmentation > 0)


class TestAgainstOneCall:
    def test_unblended(self) -> None:
        """Without blends nothing is dealt out by chance: every source is bit-identical."""
        random = np.random.default_rng(1)
        pixels = random.normal(0, 1, SHAPE)
        rows, columns = np.indices((21, 21)) - 10
        star = np.exp(-(rows**2 + columns**2) / 8)
        for y in range(12, 2030, 25):
            for x in range(12, 680, 25):
                pixels[y - 10 : y + 11, x - 10 : x + 11] += random.uniform(5, 200) * star
        settings = Settings(Path("sky.fits"), thresh=3, deblend_cont=1)
        found, expected = both(pixels, settings)
        assert len(found) > 1500
        assert_whole(found)
        assert_same_sources(found, expected)

    @pytest.mark.parametrize("masked", [False, True])
    @pytest.mark.parametrize("err_option", ["float_globalrms", "array_rms"])
    def test_crowded(self, masked: bool, err_option: str) -> None:
        """At least 99.8 % of the sources are at the same place, and none is lost or doubled."""
        pixels = simulate((2048, 1024), 16000, seed=2, fwhm=2.4, galaxies=0.05).pixels
        mask = None
        if masked:
            mask = np.zeros(pixels.shape, bool)
            mask[500:530, 200:400] = mask[1000:1100, 500:520] = True
        settings = Settings(Path("sky.fits"), err_option=err_option)
        found, expected = both(pixels, settings, mask)
        if not (masked and err_option == "array_rms"):
            # There npix is SEP's, before the masked pixels are cleared.
            assert_whole(found)
        positions = [part.sources["x"] + 1j * part.sources["y"] for part in (found, expected)]
        same = sum(np.abs(positions[1] - position).min() < 1e-6 for position in positions[0])
        assert same > 0.998 * len(expected)
        assert abs(len(found) - len(expected)) < 0.001 * len(expected)
        # Cleaning looks no further than the overlap for a brighter neighbour.
        differ = (found.segmentation > 0) != (expected.segmentation > 0)
        assert differ.sum() < 0.003 * (expected.segmentation > 0).sum()

    def test_one_band_is_one_call(self) -> None:
        pixels = simulate((1024, 300), 500, seed=3).pixels
        found, expected = both(pixels)
        np.testing.assert_array_equal(found.sources, expected.sources)
        np.testing.assert_array_equal(found.segmentation, expected.segmentation)


def disc(x: float, y: float, radius: float, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    rows, columns = np.indices(shape)
    return (np.hypot(columns - x, rows - y) < radius).astype(float)


@pytest.mark.parametrize("filter_case", ["default", "none"])
class TestSeams:
    """What lies across a seam is one source, whole, and found once, with the filter and without."""

    NOISE = np.random.default_rng(5).normal(0, 1, SHAPE)

    def check(self, light: np.ndarray, number: int, filter_case: str, **options: object) -> Detections:
        given = {"thresh": 5, "err_option": "none", "subtract_background": False, "filter_case": filter_case}
        settings = Settings(Path("sky.fits"), **given, **options)
        found, expected = both(self.NOISE + light, settings)
        assert len(found) == number
        assert_whole(found)
        assert_same_sources(found, expected)
        return found

    @pytest.mark.parametrize("radius", [3, 20, 60, 70, 200])
    @pytest.mark.parametrize("y", [511.5, 1024, 1530])
    def test_a_source_on_a_seam(self, y: float, radius: float, filter_case: str) -> None:
        self.check(50 * disc(350, y, radius), 1, filter_case)

    def test_a_galaxy_across_three_bands(self, filter_case: str) -> None:
        """It reaches over two seams, with stars before, in and behind it."""
        light = 20 * disc(350, 900, 340)
        for x, y in ((60, 500), (8, 1030), (640, 1540), (350, 200), (350, 1600)):
            light += 300 * disc(x, y, 4)
        self.check(light, 1 + 5, filter_case, deblend_cont=1.0)

    def test_a_halo_over_the_whole_image(self, filter_case: str) -> None:
        self.check(20 * disc(350, 1024, 2000), 1, filter_case, deblend_nthresh=1)

    @pytest.mark.parametrize("x", [2, 350, 697])
    def test_a_blend_on_a_seam_and_at_the_edge(self, x: float, filter_case: str) -> None:
        """Two stars that touch, one on either side of the seam: both belong to the band above."""
        rows, columns = np.indices(SHAPE)
        light = sum(400 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18) for y in (506, 518))
        found = self.check(light, 2, filter_case)
        assert (found.sources["flag"] & 1).all()

    def test_sources_that_begin_and_end_at_a_seam(self, filter_case: str) -> None:
        """Their last row is the band's last, their first row the next band's first."""
        light = np.zeros(SHAPE)
        light[505:512, 100:107] = light[512:519, 300:307] = 100
        light[1020:1024, 100:107] = light[1024:1028, 300:307] = 100
        self.check(light, 4, filter_case)

    def test_a_seam_that_does_not_run_through_the_middle(self, filter_case: str) -> None:
        """The bands are of equal heights, whatever the height of the image."""
        for height in (1025, 1500, 2049):
            light = np.random.default_rng(height).normal(0, 1, (height, 300))
            for seam in range(100, height, 100):
                light[seam : seam + 10, 40:50] += 100
            given = {"thresh": 5, "err_option": "none", "subtract_background": False, "filter_case": filter_case}
            settings = Settings(Path("sky.fits"), **given)
            found, expected = both(light, settings)
            assert len(found) == len(range(100, height, 100))
            assert_same_sources(found, expected)


@pytest.mark.parametrize("options", [(), ("--err_option", "array_rms", "--zeropoint", "25", "--gain", "1")])
def test_the_result_does_not_depend_on_the_number_of_processes(tmp_path: Path, options: tuple[str, ...]) -> None:
    pixels = simulate((1500, 1200), 9000, seed=6, fwhm=2.4).pixels
    fits.writeto(tmp_path / "sky.fits", pixels)
    for number in (1, 2, 5):
        folder = tmp_path / str(number)
        succeed(tmp_path / "sky.fits", *PRODUCTS, *options, "--threads", str(number), folder=folder)
        for product in PRODUCTS[1].split(","):
            assert (folder / product).read_bytes() == (tmp_path / "1" / product).read_bytes(), product
    assert len(read_catalog(tmp_path / "1")) > 3000


def test_labels_are_renumbered_side_by_side() -> None:
    """Bands share rows: processes that renumber the labels of two bands in the same rows do not meddle."""
    random, bands_there, sources = np.random.default_rng(1), 8, 9000
    spacing = np.iinfo(np.int32).max // bands_there
    start = np.zeros((2048, 2048), np.int32)
    for band in range(bands_there):
        rows = random.integers(256 * band, min(2048, 256 * band + 500), 40 * sources)
        start[rows, random.integers(0, 2048, rows.size)] = band * spacing + random.integers(1, sources + 1, rows.size)
    limits = np.zeros(sources, dtype=[("ymin", int), ("ymax", int)])
    limits["ymax"] = 2047
    expected = start % spacing + sources * (start // spacing) * (start > 0)

    for _ in range(10):
        shared = workers.shared_array(start.shape, np.int32)
        shared[:] = start

        def renumber(band: int, shared: np.ndarray = shared) -> None:
            bands._renumber(shared, limits, band * spacing, band * sources)

        list(Workers(2).map(renumber, range(bands_there)))
        np.testing.assert_array_equal(shared, expected)


class TestWorkers:
    def test_order_and_errors(self) -> None:
        def square(number: int) -> int:
            time.sleep(0.01 * (5 - number % 5))
            if number == 17:
                raise ValueError("seventeen")
            return number**2

        before = children()
        assert list(Workers(3).map(square, range(16))) == [number**2 for number in range(16)]
        with pytest.raises(ValueError, match="seventeen"):
            list(Workers(3).map(square, range(20)))
        assert children() == before

    def test_a_killed_process_ends_the_run(self) -> None:
        def die(number: int) -> int:
            if number == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return number

        before = children()
        with pytest.raises(Exception, match="one of its processes was ended by the system"):
            list(Workers(2).map(die, range(8)))
        assert children() == before

    def test_a_process_that_is_gone_gets_no_work(self) -> None:
        """It may be killed while it waits for some."""
        ours, theirs = multiprocessing.Pipe()
        theirs.close()
        with pytest.raises(InputError, match="one of its processes was ended by the system"):
            workers._send(ours, 1)

    def test_a_process_whose_parent_is_gone_ends(self) -> None:
        """It may be killed before the process has asked to be told."""
        context = multiprocessing.get_context("fork")
        _, theirs = context.Pipe()
        orphan = context.Process(target=workers._work, args=(abs, [1], theirs, -1))
        orphan.start()
        orphan.join(30)
        assert orphan.exitcode == 1

    def test_shared_array(self) -> None:
        shared = workers.shared_array((4, 5), np.int32)

        def write(row: int) -> None:
            shared[row] = row + 1

        list(Workers(2).map(write, range(4)))
        np.testing.assert_array_equal(shared[:, 0], [1, 2, 3, 4])

    def test_default_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GALAXY_SLOTS", "7")
        assert workers.default_number() == 7
        for nonsense in ("", "0", "many", "-1"):
            monkeypatch.setenv("GALAXY_SLOTS", nonsense)
            assert workers.default_number() == len(os.sched_getaffinity(0))


def children() -> list[str]:
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()


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


@pytest.mark.parametrize("victim", ["worker", "all"])
def test_a_process_that_is_killed_leaves_nothing(tmp_path: Path, victim: str) -> None:
    """A killed worker is an error; where the run itself is killed its workers end with it."""
    pixels = simulate((2048, 2048), 40000, seed=7, fwhm=2.4).pixels
    fits.writeto(tmp_path / "sky.fits", pixels)
    folder = tmp_path / "out"
    shared_before = set(os.listdir("/dev/shm"))
    command = [sys.executable, SCRIPT, tmp_path / "sky.fits", "--output_dir", folder, "--threads", "2"]
    run = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while len(processes := running(folder)) < 3:
        assert time.monotonic() < deadline
        assert run.poll() is None
        time.sleep(0.01)
    os.kill(run.pid if victim == "all" else next(pid for pid in processes if pid != run.pid), signal.SIGKILL)
    _, wrong = run.communicate(timeout=60)
    if victim == "worker":
        assert run.returncode == 1
        assert wrong.startswith("error: source-extractor: one of its processes was ended by the system")
        assert wrong.count("\n") == 1
        assert not folder.exists()
    while running(folder):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert set(os.listdir("/dev/shm")) == shared_before


def test_memory(tmp_path: Path) -> None:
    """4096 x 4096 pixels take under 25 bytes each above what a small image takes (benchmarks/speed.py: 15)."""
    sky = simulate((1024, 1024), 960, seed=8).pixels
    fits.writeto(tmp_path / "small.fits", sky[:360, :360])
    fits.writeto(tmp_path / "large.fits", np.tile(sky, (4, 4)))
    small, large = (peak(tmp_path / name, tmp_path / "out") for name in ("small.fits", "large.fits"))
    assert (large - small) / 4096**2 < 25


def peak(image: Path, folder: Path) -> int:
    """The peak of the memory of all processes of a run, shared pages counted once (bytes)."""
    command = [sys.executable, SCRIPT, image, "--output_dir", folder, "--threads", "2", *PRODUCTS]
    run = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    most = 0
    while run.poll() is None:
        most = max(most, sum(map(proportional_set_size, running(folder))))
        time.sleep(0.01)
    assert run.returncode == 0
    return most


def proportional_set_size(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
