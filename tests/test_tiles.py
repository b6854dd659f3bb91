"""An image in tiles is the image in one piece: against one call of SEP, for any number of processes, at every seam."""

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

from extraction import tiles, workers
from extraction.background import estimate_background
from extraction.detection import detect
from extraction.errors import InputError
from extraction.images import Image
from extraction.kernels import DEFAULT_KERNEL
from extraction.limits import Detections
from extraction.settings import Settings
from extraction.workers import Workers
from tests.conftest import SCRIPT, SECONDS_OF_A_HANG, read_catalog, succeed
from tests.simulated_sky import simulate

SETTINGS = Settings(Path("sky.fits"))
PRODUCTS = ("--outputs", "catalog.tsv,segmentation_map.fits,background.fits,background_rms.fits,sources.reg")
# Four tiles: the seams are at row 1024 and column 800.
SHAPE = (2048, 1600)


def extract(pixels: np.ndarray, settings: Settings = SETTINGS, masked: np.ndarray | None = None) -> Detections:
    sky = estimate_background(Image("sky", "page 0", "float32", pixels.astype(np.float32)), masked, settings)
    kernel = None if settings.filter_case == "none" else DEFAULT_KERNEL
    return detect(sky, kernel, settings, want_map=True)


def both(pixels: np.ndarray, settings: Settings = SETTINGS, masked: np.ndarray | None = None) -> list[Detections]:
    """The detections in tiles and in one piece."""
    in_tiles = extract(pixels, settings, masked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "MOST_ROWS_OF_ONE_TILE", 10**9)
        return [in_tiles, extract(pixels, settings, masked)]


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
        # x and y are computed from the tile's first pixel: the last bits of a float64 may differ.
        rounded = name in ("x", "y", "x2", "y2", "xy")
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-12 if rounded else 0, atol=1e-9)
    np.testing.assert_array_equal(found.segmentation > 0, expected.segmentation > 0)


class TestAgainstOneCall:
    def test_unblended(self) -> None:
        """Without blends nothing is dealt out by chance: every source is bit-identical."""
        random = np.random.default_rng(1)
        pixels = random.normal(0, 1, SHAPE)
        rows, columns = np.indices((21, 21)) - 10
        star = np.exp(-(rows**2 + columns**2) / 8)
        for y in range(12, 2030, 25):
            for x in range(12, 1580, 25):
                pixels[y - 10 : y + 11, x - 10 : x + 11] += random.uniform(5, 200) * star
        settings = Settings(Path("sky.fits"), thresh=3, deblend_cont=1)
        found, expected = both(pixels, settings)
        assert len(found) > 4000
        assert_whole(found)
        assert_same_sources(found, expected)

    @pytest.mark.parametrize("masked", [False, True])
    @pytest.mark.parametrize("err_option", ["float_globalrms", "array_rms"])
    def test_crowded(self, masked: bool, err_option: str) -> None:
        """At least 99.8 % of the sources are at the same place, and none is lost or doubled."""
        pixels = simulate(SHAPE, 25000, seed=2, fwhm=2.4, galaxies=0.05).pixels
        mask = None
        if masked:
            mask = np.zeros(pixels.shape, bool)
            mask[500:530, 700:900] = mask[1000:1100, 500:520] = True
        settings = Settings(Path("sky.fits"), err_option=err_option)
        found, expected = both(pixels, settings, mask)
        if not (masked and err_option == "array_rms"):
            # There npix is SEP's, before the masked pixels are cleared.
            assert_whole(found)
        positions = [part.sources["x"] + 1j * part.sources["y"] for part in (found, expected)]
        same = sum(np.abs(positions[1] - position).min() < 1e-6 for position in positions[0])
        assert same > 0.998 * max(len(found), len(expected))
        # Cleaning looks no further than the overlap for a brighter neighbour.
        differ = (found.segmentation > 0) != (expected.segmentation > 0)
        assert differ.sum() < 0.003 * (expected.segmentation > 0).sum()

    def test_one_tile_is_one_call(self) -> None:
        pixels = simulate((1024, 1100), 1800, seed=3).pixels
        found, expected = both(pixels)
        np.testing.assert_array_equal(found.sources, expected.sources)
        np.testing.assert_array_equal(found.segmentation, expected.segmentation)


# What lies at seams is tested on small tiles: the seams are at rows 300 and 600, and at column 300.
SMALL_TILE, SMALL_SHAPE = 300, (900, 600)


def disc(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.indices(SMALL_SHAPE)
    return (np.hypot(columns - x, rows - y) < radius).astype(float)


@pytest.mark.parametrize("filter_case", ["default", "none"])
class TestSeams:
    """What lies across a seam is one source, whole, and found once, with the filter and without."""

    @pytest.fixture(autouse=True)
    def _small_tiles(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tiles, "TILE", SMALL_TILE)
        monkeypatch.setattr(tiles, "MOST_ROWS_OF_ONE_TILE", SMALL_TILE)

    def check(self, light: np.ndarray, number: int, filter_case: str, **options: object) -> Detections:
        given = {"thresh": 5, "err_option": "none", "subtract_background": False, "filter_case": filter_case}
        settings = Settings(Path("sky.fits"), **given, **options)
        noise = np.random.default_rng(5).normal(0, 1, light.shape)
        found, expected = both(noise + light, settings)
        assert len(found) == number
        assert_whole(found)
        assert_same_sources(found, expected)
        return found

    @pytest.mark.parametrize("radius", [3, 20, 60, 70, 200])
    @pytest.mark.parametrize("y", [299.5, 560, 640])
    @pytest.mark.parametrize("x", [150, 240, 299.5, 310])
    def test_a_source_on_a_seam(self, x: float, y: float, radius: float, filter_case: str) -> None:
        """Or near one, or in a corner of four tiles."""
        self.check(50 * disc(x, y, radius), 1, filter_case)

    def test_a_source_of_which_little_is_near_the_seam(self, filter_case: str) -> None:
        """Too little to be a source by itself."""
        self.check(50 * disc(150, 250, 100), 1, filter_case, minarea=30000)

    @pytest.mark.parametrize("shape", [(900, 2), (2, 900), (900, 1)])
    def test_an_image_of_hardly_any_columns(self, shape: tuple[int, int], filter_case: str) -> None:
        light = np.zeros(shape)
        track = light if shape[0] > shape[1] else light.T
        track[250:350, 0] = track[590:640, -1] = 100
        self.check(light, 2, filter_case)

    def test_a_galaxy_across_all_tiles(self, filter_case: str) -> None:
        """With stars before, in and behind it."""
        light = 20 * disc(300, 450, 260)
        for x, y in ((30, 290), (8, 450), (590, 610), (300, 100), (300, 800)):
            light += 300 * disc(x, y, 4)
        self.check(light, 1 + 5, filter_case, deblend_cont=1.0)

    def test_a_halo_over_the_whole_image(self, filter_case: str) -> None:
        self.check(20 * disc(300, 450, 2000), 1, filter_case, deblend_nthresh=1)

    def test_spikes_along_the_seams(self, filter_case: str) -> None:
        """As of a bright star in a corner: one parent at every seam, found once."""
        light = np.zeros(SMALL_SHAPE)
        light[298:302] = light[598:602] = light[:, 298:302] = 100
        self.check(light, 1, filter_case, deblend_nthresh=1)

    @pytest.mark.parametrize("along", [2, 150, 299, 597])
    @pytest.mark.parametrize("upright", [False, True])
    def test_a_blend_across_a_seam(self, along: float, upright: bool, filter_case: str) -> None:
        """Two stars that touch, one on either side of the seam: both belong to one tile."""
        rows, columns = np.indices(SMALL_SHAPE)
        if upright:
            rows, columns = columns, rows
        light = sum(400 * np.exp(-((columns - along) ** 2 + (rows - at) ** 2) / 18) for at in (294, 306))
        found = self.check(light, 2, filter_case)
        assert (found.sources["flag"] & 1).all()

    @pytest.mark.parametrize("upright", [False, True])
    def test_sources_that_begin_and_end_at_a_seam(self, upright: bool, filter_case: str) -> None:
        """Their last row is the tile's last, their first row the next tile's first."""
        light = np.zeros((600, 600))
        light[293:300, 100:107] = light[300:307, 200:207] = 100
        light[296:300, 400:407] = light[300:304, 500:507] = 100
        self.check(light.T if upright else light, 4, filter_case)

    @pytest.mark.parametrize("shape", [(450, 450), (500, 290), (449, 700), (1049, 451)])
    def test_seams_that_do_not_run_through_the_middle(self, shape: tuple[int, int], filter_case: str) -> None:
        """Tiles are of equal sizes, whatever the image's."""
        light = np.zeros(shape)
        rows, columns = range(30, shape[0] - 10, 50), range(30, shape[1] - 10, 50)
        for row in rows:
            for column in columns:
                light[row : row + 10, column : column + 10] += 100
        self.check(light, len(rows) * len(columns), filter_case)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_source_that_meets_the_next_tile_at_its_corner_only(mirrored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A track one pixel wide: its pixels touch by their corners."""
    monkeypatch.setattr(tiles, "TILE", SMALL_TILE)
    monkeypatch.setattr(tiles, "MOST_ROWS_OF_ONE_TILE", SMALL_TILE)
    track = np.zeros((600, 600))
    along = np.arange(200, 400)
    track[along, 599 - along if mirrored else along] = 100
    options = {"thresh": 5, "err_option": "none", "subtract_background": False, "filter_case": "none"}
    found, expected = both(track, Settings(Path("sky.fits"), **options, deblend_nthresh=1))
    assert len(found) == 1
    assert_whole(found)
    assert_same_sources(found, expected)


@pytest.mark.parametrize("options", [(), ("--err_option", "array_rms", "--zeropoint", "25", "--gain", "1")])
def test_the_result_does_not_depend_on_the_number_of_processes(tmp_path: Path, options: tuple[str, ...]) -> None:
    pixels = simulate((1600, 1600), 14000, seed=6, fwhm=2.4).pixels
    fits.writeto(tmp_path / "sky.fits", pixels)
    for number in (1, 2, 5):
        folder = tmp_path / str(number)
        succeed(tmp_path / "sky.fits", *PRODUCTS, *options, "--threads", str(number), folder=folder)
        for product in PRODUCTS[1].split(","):
            assert (folder / product).read_bytes() == (tmp_path / "1" / product).read_bytes(), product
    assert len(read_catalog(tmp_path / "1")) > 5000


def test_labels_are_renumbered_side_by_side() -> None:
    """Sources of two tiles share rows: processes that renumber the labels there do not meddle."""
    random, tiles_there, sources = np.random.default_rng(1), 8, 9000
    spacing = np.iinfo(np.int32).max // tiles_there
    start = np.zeros((2048, 2048), np.int32)
    for tile in range(tiles_there):
        rows = random.integers(256 * tile, min(2048, 256 * tile + 500), 40 * sources)
        start[rows, random.integers(0, 2048, rows.size)] = tile * spacing + random.integers(1, sources + 1, rows.size)
    limits = np.zeros(sources, dtype=[(name, int) for name in ("xmin", "xmax", "ymin", "ymax")])
    limits["xmax"] = limits["ymax"] = 2047
    expected = start % spacing + sources * (start // spacing) * (start > 0)

    for _ in range(10):
        shared = workers.shared_array(start.shape, np.int32)
        shared[:] = start

        def renumber(tile: int, shared: np.ndarray = shared) -> None:
            tiles._renumber(shared, limits, tile * spacing, tile * sources)

        list(Workers(2).map(renumber, range(tiles_there)))
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
        orphan.join(SECONDS_OF_A_HANG)
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
    deadline = time.monotonic() + SECONDS_OF_A_HANG
    while len(processes := running(folder)) < 3:
        assert time.monotonic() < deadline
        assert run.poll() is None
        time.sleep(0.01)
    os.kill(run.pid if victim == "all" else next(pid for pid in processes if pid != run.pid), signal.SIGKILL)
    _, wrong = run.communicate(timeout=SECONDS_OF_A_HANG)
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
