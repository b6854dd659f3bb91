"""An image in tiles is the image in one piece: against one call of SEP, for any number of processes, at every seam."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

import source_extraction
from source_extraction import InputError, Result
from source_extraction.core import tiles
from source_extraction.core.bright_mask import dilate_disc
from source_extraction.core.columns import DETECTION_COLUMNS
from source_extraction.core.detection import Detector
from source_extraction.core.processes import Workers, default_number
from source_extraction.core.room import shared_array
from source_extraction.core.sky import estimate_background
from source_extraction.core.threshold import Threshold
from source_extraction.readers.images import read_image
from source_extraction.settings import InMemory, Settings
from tests.conftest import REPOSITORY, SCRIPT, SECONDS_OF_A_HANG, read_catalog, running, succeed
from tests.simulated_sky import simulate

# What is found, before anything is measured.
FOUND = [column.name for column in DETECTION_COLUMNS if column.name != "label"]
PRODUCTS = ("--outputs", "catalog.tsv,segmentation_map.fits,background.fits,background_rms.fits,sources.reg")
# Four tiles: the seams are at row 1024 and column 800.
SHAPE = (2048, 1600)


def both(pixels: np.ndarray, **options: object) -> list[Result]:
    """What is found in tiles and in one piece."""
    in_tiles = source_extraction.extract(pixels, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "MOST_ROWS_OF_ONE_TILE", 10**9)
        return [in_tiles, source_extraction.extract(pixels, **options)]


def assert_whole(found: Result) -> None:
    """Labels run from 1 without a gap, and every source has its pixels in the map, within its limits."""
    sources, segmentation = found.to_pandas(), found.segmentation
    np.testing.assert_array_equal(sources.index, np.arange(1, len(found) + 1))
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


def assert_same_sources(found: Result, expected: Result) -> None:
    """The same sources to the last digit, though in another order."""
    assert len(found) == len(expected)
    ours, theirs = (part.to_pandas().sort_values(["ycpeak", "xcpeak"]) for part in (found, expected))
    for name in FOUND:
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
        found, expected = both(pixels, thresh=3, deblend_cont=1)
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
        found, expected = both(pixels, mask=mask, err_option=err_option)
        assert_whole(found)
        # What a mask has cut is measured of the pixels that are left, which chance deals out to blends.
        beside = np.zeros(SHAPE, bool) if mask is None else dilate_disc(mask, 2)
        positions = []
        for part in (found, expected):
            uncut = part.to_pandas().drop(np.setdiff1d(part.segmentation[beside], 0))
            positions.append((uncut["x"] + 1j * uncut["y"]).to_numpy())
        assert len(positions[0]) > 0.98 * len(found)
        same = sum(np.abs(positions[1] - position).min() < 1e-6 for position in positions[0])
        assert same > 0.998 * max(map(len, positions))
        # Cleaning looks no further than the overlap for a brighter neighbour.
        differ = (found.segmentation > 0) != (expected.segmentation > 0)
        assert differ.sum() < 0.003 * (expected.segmentation > 0).sum()

    def test_cleaning_beyond_a_seam(self) -> None:
        """Beyond a seam, far from a large galaxy, detections may stay that one call deletes: few, and real ones.

        docs/validation.md says so, with its figure.
        """
        sky, rows, columns = simulate(SHAPE, 3000, seed=7, fwhm=3, faintest=200), *np.indices(SHAPE)
        scale = 30 / 1.678
        galaxy = np.exp(-np.hypot(columns - 700.3, (rows - 1024) / 0.7) / scale) * 3e6 / (2 * np.pi * scale**2 * 0.7)
        light = np.random.default_rng(5).poisson(galaxy)
        found, expected = (
            (part.to_pandas()["x"] + 1j * part.to_pandas()["y"]).to_numpy()
            for part in both((sky.pixels + light).astype(np.float32), bw=256, bh=256)
        )
        assert all(np.abs(found - place).min() < 0.5 for place in expected)
        more = [place for place in found if np.abs(expected - place).min() > 0.5]
        assert 0 < len(more) <= 4
        drawn = sky.truth["x"] + 1j * sky.truth["y"]
        assert all(np.abs(drawn - place).min() < 2 for place in more)

    def test_one_tile_is_one_call(self) -> None:
        pixels = simulate((1024, 1100), 1800, seed=3).pixels
        found, expected = both(pixels)
        pd.testing.assert_frame_equal(found.to_pandas(), expected.to_pandas(), check_exact=True)
        np.testing.assert_array_equal(found.segmentation, expected.segmentation)


# What lies at seams is tested on small tiles: the seams are at rows 300 and 600, and at column 300.
SMALL_TILE, SMALL_SHAPE = 300, (900, 600)
ABSOLUTE = {"thresh": 5, "err_option": "none", "subtract_background": False}


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

    def check(self, light: np.ndarray, number: int, filter_case: str, **options: object) -> Result:
        noise = np.random.default_rng(5).normal(0, 1, light.shape)
        found, expected = both(noise + light, **ABSOLUTE, filter_case=filter_case, **options)
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
        assert (found.to_pandas()["flag"] & 1).all()

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
    found, expected = both(track, **ABSOLUTE, filter_case="none", deblend_nthresh=1)
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


def interlocked(shape: tuple[int, int], tile: int) -> np.ndarray:
    """Lines across every upright seam, of which every other one belongs to the tile on the left.

    A source is the tile's that its first pixel is in: one end of each line is a row higher.
    """
    light, rows = np.zeros(shape), np.arange(2, shape[0] - 2, 4)
    for seam in range(tile, shape[1], tile):
        left, right = seam - 50, seam + 50
        light[rows, left:right] = 100
        light[rows[::2] - 1, left] = light[rows[1::2] - 1, right - 1] = 100
    return light


def test_labels_are_dealt_out_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources of two tiles lie between each other: threads that give them their labels do not meddle."""
    tile = 128
    monkeypatch.setattr(tiles, "TILE", tile)
    monkeypatch.setattr(tiles, "MOST_ROWS_OF_ONE_TILE", tile)
    options = {**ABSOLUTE, "filter_case": "none", "deblend_nthresh": 1, "clean": False}
    settings = Settings.of(InMemory(interlocked((1024, 1024), tile), "lines"), **options)
    image = read_image(settings.files.image)
    sky = estimate_background(image, None, settings.background)
    threshold = Threshold.of(sky, settings.detection)
    expected, *others = (
        Detector(sky, None, threshold, settings.detection, Workers(number)).detect() for number in (1, *5 * (2, 5))
    )
    assert len(expected) == 7 * 255
    assert len(np.unique(expected.segmentation)) == 1 + len(expected)
    for found in others:
        np.testing.assert_array_equal(found.segmentation, expected.segmentation)
        np.testing.assert_array_equal(found.sources, expected.sources)


def test_what_is_done_while_the_tiles_are_extracted() -> None:
    """It is, by a thread of this process; what it raises is raised."""
    settings = Settings.of(InMemory(simulate((1600, 300), 40, seed=1).pixels, "sky"))
    sky = estimate_background(read_image(settings.files.image), None, settings.background)
    detector = Detector(sky, None, Threshold.of(sky, settings.detection), settings.detection, Workers(2))
    done: list[tuple[int, bool]] = []

    def work() -> None:
        done.append((os.getpid(), threading.current_thread() is threading.main_thread()))

    def fail() -> None:
        raise ArithmeticError("on the way")

    assert len(detector.detect([work, work])) > 20
    assert done == [(os.getpid(), False)] * 2
    with pytest.raises(ArithmeticError, match="on the way"):
        detector.detect([fail])


# In a process of its own: the parent is killed before its first child does anything, ...
AT_ONCE = """
parent = os.getpid()
def orphan():
    print("begun", flush=True)
    if os.getppid() == parent:
        os.kill(parent, signal.SIGKILL)
    while os.getppid() == parent:
        time.sleep(0.01)
os.register_at_fork(after_in_child=orphan)
"""
# ... or while its children wait for work, on a system that ends none with its parent.
UNTOLD = """
sys.platform = "of another kind"
"""


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

    def test_a_process_that_is_killed_while_it_waits_ends_the_run(self) -> None:
        """It has no work then: that it is gone shows when it is to get some."""
        before, killed = children(), shared_array((1,), np.int32)

        def process(number: int) -> int:
            # Only the first item is done until then: there is work left.
            while number > 0 and not killed[0]:
                time.sleep(0.001)
            return os.getpid()

        processes = Workers(2).map(process, range(4))
        waiting = next(processes)
        os.kill(waiting, signal.SIGKILL)
        os.waitid(os.P_PID, waiting, os.WEXITED | os.WNOWAIT)
        killed[0] = 1
        with pytest.raises(InputError, match="one of its processes was ended by the system"):
            list(processes)
        assert children() == before

    @pytest.mark.parametrize("prelude", [AT_ONCE, UNTOLD], ids=["before it could ask to be told", "untold"])
    def test_a_process_whose_parent_is_gone_ends(self, prelude: str) -> None:
        """Also where the system does not end it with its parent."""
        code = (
            "import os, signal, sys, time\n"
            "from source_extraction.core.processes import Workers\n"
            f"{prelude}"
            "processes = Workers(2).map(lambda _: os.getpid(), range(3))\n"
            "print(next(processes), flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        command = [sys.executable, "-c", code]
        run = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, start_new_session=True)
        try:
            # The pipe ends with the last process that holds it.
            said, _ = run.communicate(timeout=SECONDS_OF_A_HANG)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
        assert run.returncode == -signal.SIGKILL
        assert said, "there was no other process"

    def test_what_is_done_alongside(self) -> None:
        """In this process, where others work; not where it works itself."""
        done: list[int] = []
        alongside = [lambda number=number: done.append(number) for number in range(2)]
        for number, expected in ((1, []), (3, [0, 1])):
            assert list(Workers(number).map(abs, range(-3, 3), alongside)) == [3, 2, 1, 0, 1, 2]
            assert done == expected

    def test_one_item_has_a_process_if_there_is_work_alongside(self) -> None:
        done: list[int] = []
        assert list(Workers(2).map(lambda _: os.getpid(), [0], [lambda: done.append(1)])) != [os.getpid()]
        assert done == [1]
        assert list(Workers(2).map(lambda _: os.getpid(), [0])) == [os.getpid()]

    def test_shared_array(self) -> None:
        shared = shared_array((4, 5), np.int32)

        def write(row: int) -> None:
            shared[row] = row + 1

        list(Workers(2).map(write, range(4)))
        np.testing.assert_array_equal(shared[:, 0], [1, 2, 3, 4])

    def test_default_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GALAXY_SLOTS", "7")
        assert default_number() == 7
        for nonsense in ("", "0", "many", "-1"):
            monkeypatch.setenv("GALAXY_SLOTS", nonsense)
            assert default_number() == len(os.sched_getaffinity(0))


def children() -> list[str]:
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()


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
