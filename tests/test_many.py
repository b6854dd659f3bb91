"""Many images in one run: each as in a run of its own, whatever becomes of the others."""

import contextlib
import filecmp
import json
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from astropy.io import fits
from astropy.nddata import NDData, StdDevUncertainty

import source_extraction as se
from source_extraction.core.processes import Workers
from source_extraction.faces.source_extractor import main
from source_extraction.readers.images import count_planes
from source_extraction.run import extract_many, many
from source_extraction.run.many import COLUMNS, RECORD
from source_extraction.run.steps import Steps
from source_extraction.settings import OPTIONS, Settings
from tests.conftest import SCRIPT, SECONDS_OF_A_HANG, TEST_DATA, read_catalog

SKY = TEST_DATA / "sky.fits"
CHOSEN = ("catalog.tsv", "background.fits", "background_rms.fits", "segmentation_map.fits", "sources.png", "points.tsv")
CATALOG = ("--outputs", "catalog.tsv")


def run(*arguments: object) -> int:
    """Run the command line in this process; its exit code."""
    return main([str(argument) for argument in arguments])


def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "images.tsv", sep="\t", keep_default_na=False)


def joined(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "joined_catalog.tsv", sep="\t", float_precision="round_trip")


def folders(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir() if path.is_dir())


def cut(path: Path, number: int, side: int = 90) -> Path:
    """A part of the shipped sky, another one for each number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels, header = fits.getdata(SKY, header=True)
    y, x = divmod(number % 12, 4)
    fits.writeto(path, pixels[100 * y : 100 * y + side, 110 * x : 110 * x + side], header)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By the names of their folders: images with and without sky coordinates, two of one name, one that is wide."""
    folder = tmp_path_factory.mktemp("images")
    shutil.copy(TEST_DATA / "sky.tiff", folder / "micro.ome.tiff")
    return {
        "x": cut(folder / "a" / "x.fits", 1),
        "micro.ome": folder / "micro.ome.tiff",
        "x_2": cut(folder / "b" / "x.fits", 2),
        "x_3": cut(folder / "x.fits.gz", 3),
        "wide": cut(folder / "wide.fits", 0, 240),
    }


@pytest.fixture(scope="module")
def single(images: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of its own for each image."""
    folder = tmp_path_factory.mktemp("single")
    for name, image in images.items():
        assert run(image, "--outputs", ",".join(CHOSEN), "--threads", 1, "--output_dir", folder / name) == 0
    return folder


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("large", [many.LARGE, 100_000])
def test_each_as_in_a_run_of_its_own(
    images: dict[str, Path],
    single: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    large: int,
) -> None:
    """Byte for byte, whether it is shared out whole or searched by all processes."""
    monkeypatch.setattr(many, "LARGE", large)
    assert run(*images.values(), "--outputs", ",".join(CHOSEN), "--threads", threads, "--output_dir", tmp_path) == 0
    assert folders(tmp_path) == sorted(images)
    for name in images:
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == sorted((*CHOSEN, RECORD))
        assert filecmp.cmpfiles(tmp_path / name, single / name, CHOSEN, shallow=False)[0] == list(CHOSEN)
    catalogs = [read_catalog(single / name) for name in images]
    expected = pd.concat(catalogs, ignore_index=True)
    expected["image"] = expected.pop("image")
    pd.testing.assert_frame_equal(joined(tmp_path), expected, check_dtype=False)
    found = table(tmp_path)
    assert tuple(found.columns) == COLUMNS
    assert list(found["image"]) == [image.name for image in images.values()]
    assert list(found["sources"]) == [len(catalog) for catalog in catalogs]
    assert set(found["plane"]) == {"NaN"}
    assert set(found["error"]) == {""}


def test_the_row_of_an_image(tmp_path: Path) -> None:
    """As its own summary has it; the depth is a magnitude with a zero point."""
    image = cut(tmp_path / "x.fits", 0, 200)
    for options in ((), ("--zeropoint", "25")):
        out = tmp_path / f"out{len(options)}"
        assert run(image, SKY, *options, "--outputs", "summary.json", "--output_dir", out) == 0
        row, summary = table(out).iloc[0], json.loads((out / "x" / "summary.json").read_text())
        for column, value in (
            ("width", summary["image"]["width"]),
            ("height", summary["image"]["height"]),
            ("background", summary["background"]["global"]),
            ("rms", summary["background"]["rms"]),
            ("threshold", summary["threshold"]["median"]),
            ("sources", summary["counts"]["sources"]),
            ("depth", summary["depth"]["magnitude" if options else "flux"]),
        ):
            assert float(row[column]) == pytest.approx(value, rel=1e-8)
        assert row["advice"] == ",".join(one["id"] for one in summary.get("advice", []))
        assert 0 < float(row["seconds"]) < SECONDS_OF_A_HANG


@pytest.fixture
def with_bad_ones(tmp_path: Path) -> Path:
    """A list: a good image, a corrupt one, one that is not there, a good one with its mask and a name."""
    folder = tmp_path / "list"
    cut(folder / "good.fits", 1)
    content = cut(folder / "corrupt.fits", 2).read_bytes()
    (folder / "corrupt.fits").write_bytes(content[:9000])
    cut(folder / "deep" / "last.fits", 3)
    mask = np.zeros((90, 90), np.uint8)
    mask[:45] = 1
    fits.writeto(folder / "mask.fits", mask)
    lines = ["good.fits", "", "corrupt.fits\t", "nowhere.fits", "deep/last.fits\tmask.fits\tthe = last"]
    (folder / "images.txt").write_text("\n".join(lines))
    return folder / "images.txt"


@pytest.mark.parametrize(("option", "code"), [((), 1), (("--allow_failures",), 0)])
def test_a_bad_image_holds_up_nobody(
    with_bad_ones: Path, tmp_path: Path, capfd: pytest.CaptureFixture, option: tuple[str, ...], code: int
) -> None:
    assert run("--list", with_bad_ones, *option, *CATALOG, "--threads", 2, "--output_dir", tmp_path / "out") == code
    said = capfd.readouterr()
    corrupt, nowhere = (with_bad_ones.parent / name for name in ("corrupt.fits", "nowhere.fits"))
    errors = said.err.splitlines()
    assert errors[0].startswith(f"error: {corrupt}: the FITS file is truncated: ")
    assert errors[1:] == [
        f"error: {nowhere}: cannot be read (No such file or directory); check the path and its permissions"
    ]
    assert "Images: 4, of which 2 could not be used" in said.out
    found = table(tmp_path / "out")
    assert list(found["image"]) == ["good.fits", "corrupt.fits", "nowhere.fits", "the = last"]
    assert [bool(error) for error in found["error"]] == [False, True, True, False]
    assert [f"error: {error}" for error in found["error"][1:3]] == errors
    assert set(found.loc[1:2, "sources"]) == {"NaN"}
    assert folders(tmp_path / "out") == ["good", "last"]
    assert set(joined(tmp_path / "out")["image"]) == {"good.fits", "the = last"}
    # The mask covers the lower half.
    assert joined(tmp_path / "out").query("image == 'the = last'")["y"].min() > 44


def test_options_of_masks(with_bad_ones: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """They are those of the images that have one; without any, they are a mistake."""
    run("--list", with_bad_ones, "--mask_bits", 1, *CATALOG, "--output_dir", tmp_path / "out")
    assert folders(tmp_path / "out") == ["good", "last"]
    with_bad_ones.write_text("good.fits\ndeep/last.fits\n")
    assert run("--list", with_bad_ones, "--mask_bits", 1, *CATALOG, "--output_dir", tmp_path / "none") == 1
    assert "mask_bits: there is no mask" in capfd.readouterr().err


def test_names_of_folders(tmp_path: Path) -> None:
    """Duplicates are numbered in the order of the list; none is hidden, and none is one of the tables."""
    paths = [
        *("a/x.fits", "b/x.fits", "x_2.fits", "c/x.fits.gz", "x.fits[SCI]", ".hidden.fits", "images.tsv.fits"),
        *("y", "漢" * 100 + ".fits", "..fits", "stack.ome.tif"),
    ]
    jobs = many.planned([many.Given(Path(path)) for path in paths], {}, Workers(1), all_planes=False)
    assert [job.folder for job in jobs] == [
        *("x", "x_2", "x_2_2", "x_3", "x_4", "hidden", "images.tsv_2", "y", "漢" * 66, "image", "stack.ome"),
    ]


def test_names_that_tell_no_images_apart(images: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    run(images["x"], images["x_2"], *CATALOG, "--output_dir", tmp_path)
    assert "Warning: 1 name is that of several images, as x.fits: " in capfd.readouterr().out


def test_an_image_that_needs_all_memory(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """It is refused as in a run of its own, and the small ones around it are done."""
    paths = [cut(tmp_path / f"{number}.fits", number) for number in range(3)]
    header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": 10**6, "NAXIS2": 10**6})
    with (tmp_path / "huge.fits").open("wb") as file:
        file.write(header.tostring().encode())
        file.truncate(len(header.tostring()) + 4 * 10**12)
    paths.insert(1, tmp_path / "huge.fits")
    assert run(*paths, *CATALOG, "--threads", 2, "--output_dir", tmp_path / "out") == 1
    assert "huge.fits: HDU 0 (PRIMARY) claims 1000000000000 pixels, which need " in capfd.readouterr().err
    assert folders(tmp_path / "out") == ["0", "1", "2"]


def test_a_fault_of_ours_is_said_as_such(
    images: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """With the place where it was met; and it holds up nobody, though such an exception cannot be sent."""

    class LocalError(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__("broken")

    steps_taken = many.steps_taken

    def broken(settings: Settings, *rest: object) -> Steps:
        if settings.files.image == images["x"]:
            raise LocalError(1, 2)
        return steps_taken(settings, *rest)

    monkeypatch.setattr(many, "steps_taken", broken)
    assert run(images["x"], images["wide"], *CATALOG, "--threads", 2, "--output_dir", tmp_path) == 1
    said = capfd.readouterr().err
    assert said.startswith("error: this is a fault of source-extraction and not of the input: LocalError: broken (run/")
    assert folders(tmp_path) == ["wide"]


KILLED = """
import os, signal, sys
from source_extraction.faces.source_extractor import program
from source_extraction.run import extract_many, many

steps_taken = many.steps_taken

def of_most(settings, *rest):
    if settings.files.image.name == "deadly.fits":
        os.kill(os.getpid(), signal.SIGKILL)
    return steps_taken(settings, *rest)

many.steps_taken = of_most
many.LARGE = {large}
program()
"""


@pytest.mark.parametrize(("threads", "large"), [("1", 2**25), ("2", 2**25), ("2", 1000)])
def test_an_image_that_ends_its_process(tmp_path: Path, threads: str, large: int) -> None:
    """As where the system has no memory for it: the others are done. With all processes at it, too."""
    paths = [cut(tmp_path / f"{name}.fits", number) for number, name in enumerate(["a", "deadly", "b", "c"])]
    command = [
        sys.executable,
        "-c",
        KILLED.format(large=large),
        *paths,
        *CATALOG,
        "--threads",
        threads,
        "--output_dir",
        tmp_path / "out",
    ]
    ended = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=SCRIPT.parent, timeout=SECONDS_OF_A_HANG
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: source-extractor: one of its processes was ended by the system")
    assert folders(tmp_path / "out") == ["a", "b", "c"]
    assert [bool(error) for error in table(tmp_path / "out")["error"]] == [False, True, False, False]


def test_ended_processes_cost_their_items_only() -> None:
    def double(item: int) -> int:
        if item % 5 == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return 2 * item

    found = list(Workers(3).map_each(double, range(20), lambda _: -1))
    assert found == [-1 if item % 5 == 3 else 2 * item for item in range(20)]


def start(*arguments: object, limit: int | None = None) -> subprocess.Popen:
    """The command line in a process of its own, which writes files of at most `limit` bytes."""

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [str(part) for part in (sys.executable, SCRIPT, *arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,  # noqa: PLW1509  (no thread runs here)
    )


def identities(out: Path) -> dict[str, tuple[int, int]]:
    """Of the folders of images: which they are, and when they were last changed."""
    return {name: ((out / name).stat().st_ino, (out / name).stat().st_mtime_ns) for name in folders(out)}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_ended_in_the_middle_and_resumed(tmp_path: Path, number: signal.Signals) -> None:
    """What is whole stays, and nothing else is there; the rest is done, and all is as if nothing had happened."""
    paths = [cut(tmp_path / f"{number:02}.fits", number) for number in range(40)]
    out, arguments = tmp_path / "out", (*paths, "--outputs", "catalog.tsv,background.fits", "--threads", "2")
    ended = start(*arguments, "--output_dir", out)
    while ended.poll() is None and len(list(out.glob("[0-9]*"))) < 8:
        time.sleep(0.001)
    ended.send_signal(number)
    _, wrong = ended.communicate(timeout=SECONDS_OF_A_HANG)
    assert ended.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert wrong == ""
    whole = {name for name in folders(out) if not name.startswith(".")}
    assert 8 <= len(whole) < 40
    for name in whole:
        assert sorted(os.listdir(out / name)) == ["background.fits", "catalog.tsv", RECORD]
    assert {path.name for path in out.iterdir() if path.is_file()} == set()
    if number != signal.SIGKILL:
        assert set(folders(out)) == whole
    before = {name: identity for name, identity in identities(out).items() if name in whole}
    assert run(*arguments, "--resume", "--output_dir", out) == 0
    assert {name: identity for name, identity in identities(out).items() if name in whole} == before
    assert folders(out) == [path.stem for path in paths]
    fresh = tmp_path / "fresh"
    assert run(*arguments, "--output_dir", fresh) == 0
    assert (out / "joined_catalog.tsv").read_bytes() == (fresh / "joined_catalog.tsv").read_bytes()
    # Other than the seconds, the rows are the same.
    pd.testing.assert_frame_equal(table(out).drop(columns="seconds"), table(fresh).drop(columns="seconds"))


def test_what_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever would be another result, or is not there."""
    paths = [cut(tmp_path / f"{number}.fits", number) for number in range(4)]
    out = tmp_path / "out"

    def done_again(*arguments: object) -> list[str]:
        before = {path: path.stat().st_mtime_ns for path in out.glob(f"*/{RECORD}")}
        assert run(*paths, *arguments, "--resume", "--output_dir", out) == 0
        return sorted(
            path.parent.name for path in out.glob(f"*/{RECORD}") if before.get(path) != path.stat().st_mtime_ns
        )

    assert done_again(*CATALOG) == ["0", "1", "2", "3"]
    assert done_again(*CATALOG) == []
    assert done_again(*CATALOG, "--threads", 1) == []
    assert done_again(*CATALOG, "--thresh", 2) == ["0", "1", "2", "3"]
    assert done_again("--outputs", "points.tsv", "--thresh", 2) == ["0", "1", "2", "3"]
    assert done_again(*CATALOG, "--thresh", 2) == []
    (out / "1" / "catalog.tsv").unlink()
    assert done_again(*CATALOG, "--thresh", 2) == ["1"]
    os.utime(paths[2], ns=(1, 1))
    assert done_again(*CATALOG, "--thresh", 2) == ["2"]
    (out / "3" / RECORD).write_text("{}")
    assert done_again(*CATALOG, "--thresh", 2) == ["3"]
    monkeypatch.setattr(many, "__version__", "0.9")
    assert done_again(*CATALOG, "--thresh", 2) == ["0", "1", "2", "3"]


def test_pictures_that_would_look_different_are_made_again(tmp_path: Path) -> None:
    paths, arguments = [cut(tmp_path / f"{number}.fits", number) for number in range(2)], ("--outputs", "sources.png")
    for out, draw in (("out", "ellipses"), ("out", "outlines"), ("fresh", "outlines")):
        assert run(*paths, *arguments, "--draw", draw, "--resume", "--output_dir", tmp_path / out) == 0
    for name in ("0", "1"):
        made = (tmp_path / "out" / name / "sources.png").read_bytes()
        assert made == (tmp_path / "fresh" / name / "sources.png").read_bytes()


OF_THE_RUN = {"output_dir", "outputs", "threads", "memory", "scratch"}


@pytest.mark.parametrize("name", [name for name in OPTIONS if name not in OF_THE_RUN])
def test_every_option_that_a_product_shows_is_recorded(name: str) -> None:
    """All but where products go, which of them are made, in how many processes, and in what memory."""
    option = OPTIONS[name]
    one, other = Settings.of(SKY), Settings.of(SKY)
    for group in vars(other).values():
        if hasattr(group, name):
            # Whether such a value could be given is of no matter.
            object.__setattr__(group, name, TEST_DATA / "mask.fits" if Path in option.kinds else "another")
    assert many._record_of(other) != many._record_of(one)


def test_files_that_change_their_roles_are_recorded(tmp_path: Path) -> None:
    """The same files, of the same names."""
    a, b = cut(tmp_path / "a" / "x.fits", 1), cut(tmp_path / "b" / "x.fits", 1)
    assert many._record_of(Settings.of(a, mask_file=b)) != many._record_of(Settings.of(b, mask_file=a))


def test_a_full_disk(tmp_path: Path) -> None:
    """It is no fault of an image: no more are searched, what is whole stays, and the line says so."""
    paths = [cut(tmp_path / f"{number}.fits", number) for number in range(3)]
    paths.insert(2, cut(tmp_path / "wide.fits", 0, 240))
    arguments = (*paths, "--outputs", "catalog.tsv,background.fits", "--threads", 1, "--output_dir", tmp_path / "out")
    ended = start(*arguments, limit=100_000)
    _, wrong = ended.communicate(timeout=SECONDS_OF_A_HANG)
    assert ended.returncode == 1
    assert wrong == (
        f"error: {tmp_path / 'out' / 'wide'}: the products cannot be written (File too large); "
        "choose another --output_dir or make room\n"
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0", "1"]
    assert run(*arguments, "--resume") == 0
    assert folders(tmp_path / "out") == ["0", "1", "2", "wide"]


def test_memory_does_not_grow(tmp_path: Path) -> None:
    """Of no process, with the number of images."""
    cut(tmp_path / "x.fits", 1)
    script = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    peaks = []
    for number in (20, 200):
        (tmp_path / f"{number}.txt").write_text("x.fits\n" * number)
        command = [sys.executable, "-c", script, sys.executable, SCRIPT, "--list", tmp_path / f"{number}.txt"]
        command += [*CATALOG, "--threads", "2", "--output_dir", tmp_path / f"out{number}"]
        ended = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
        peaks.append(int(ended.stdout))
    assert peaks[1] < peaks[0] + 8_000  # kB: of 180 images of 32 kB, and of as many catalogs


def planes(number: int, side: int = 60) -> np.ndarray:
    """Planes of noise with a source each, at a place of its own."""
    pixels = np.random.default_rng(1).normal(100, 5, (number, side, side)).astype(np.float32)
    y, x = np.mgrid[:side, :side]
    for plane in range(number):
        pixels[plane] += 200 * np.exp(-((x - 10 - plane % 40) ** 2 + (y - 20 - plane % 17) ** 2) / 5)
    return pixels


def test_a_stack_of_500_planes(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "stack.fits", planes(500, 54))
    assert run(tmp_path / "stack.fits", "--plane", "all", *CATALOG, "--output_dir", tmp_path / "out") == 0
    found = table(tmp_path / "out")
    assert list(found["plane"].astype(int)) == list(range(500))
    assert set(found["image"]) == {"stack.fits"}
    assert folders(tmp_path / "out") == [f"stack_plane{plane:04}" for plane in range(500)]
    brightest = joined(tmp_path / "out").sort_values("peak").groupby("plane").last()
    assert np.abs(brightest["x"] - (10 + np.arange(500) % 40)).max() < 0.5
    assert np.abs(brightest["y"] - (20 + np.arange(500) % 17)).max() < 0.5
    for plane in (0, 321):
        single = tmp_path / str(plane)
        assert run(tmp_path / "stack.fits", "--plane", plane, *CATALOG, "--output_dir", single) == 0
        made = tmp_path / "out" / f"stack_plane{plane:04}" / "catalog.tsv"
        assert made.read_bytes() == (single / "catalog.tsv").read_bytes()


STACKS = {
    "pages.tif": ((6, 60, 60), {}),
    "deflated.tif": ((6, 60, 60), {"compression": "zlib"}),
    "time.ome.tif": ((6, 60, 60), {"ome": True, "metadata": {"axes": "TYX"}}),
    "channels.ome.tif": ((3, 2, 60, 60), {"ome": True, "metadata": {"axes": "TCYX"}}),
    "hyperstack.tif": ((3, 2, 60, 60), {"imagej": True, "metadata": {"axes": "TZYX"}}),
}


@pytest.mark.parametrize("name", STACKS)
def test_stacks_and_time_series(tmp_path: Path, name: str) -> None:
    """Each plane is the one that --plane means; of several series those of the first, as in a run of its own."""
    shape, options = STACKS[name]
    tifffile.imwrite(tmp_path / name, planes(6).reshape(shape), photometric="minisblack", **options)
    if name == "pages.tif":
        tifffile.imwrite(tmp_path / name, np.zeros((7, 31, 33), np.uint8), append=True)
    assert count_planes(tmp_path / name) == 6
    flat = cut(tmp_path / "flat.fits", 1)
    assert run(tmp_path / name, flat, "--plane", "all", *CATALOG, "--output_dir", tmp_path / "out") == 0
    found = joined(tmp_path / "out")
    assert list(found.columns[-2:]) == ["image", "plane"]
    brightest = found[found["image"] == name].sort_values("peak").groupby("plane").last()
    assert np.abs(brightest["x"] - (10 + np.arange(6))).max() < 0.5
    assert np.abs(brightest["y"] - (20 + np.arange(6))).max() < 0.5
    assert found[found["image"] == "flat.fits"]["plane"].isna().all()
    stem = many.folder_name(tmp_path / name)
    assert folders(tmp_path / "out") == sorted(["flat", *(f"{stem}_plane{plane:04}" for plane in range(6))])


def test_planes_of_what_has_none(tmp_path: Path) -> None:
    """A cube comes before a flat image, as with --plane; a file that cannot be used is one image that fails."""
    cube, flat = fits.ImageHDU(planes(3), name="CUBE"), fits.ImageHDU(planes(1)[0], name="FLAT")
    fits.HDUList([fits.PrimaryHDU(), flat, cube]).writeto(tmp_path / "both.fits")
    assert count_planes(tmp_path / "both.fits") == 3
    assert count_planes(tmp_path / "both.fits", hdu="FLAT") == 1
    header = fits.Header({"SIMPLE": True, "BITPIX": 8, "NAXIS": 3, "NAXIS1": 9, "NAXIS2": 9, "NAXIS3": 10**9})
    (tmp_path / "claims.fits").write_bytes(header.tostring().encode())
    with pytest.raises(se.InputError, match="truncated"):
        count_planes(tmp_path / "claims.fits")
    assert run(tmp_path / "claims.fits", SKY, "--plane", "all", *CATALOG, "--output_dir", tmp_path / "out") == 1
    assert folders(tmp_path / "out") == ["sky"]


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ((), "there is no image; give one or more, or a --list of them"),
        (("a.fits", "b.fits", "--name", "x"), "--name: it names one image; put the names of several into the --list"),
        (("a.fits", "--resume"), "--resume: there is one image only"),
        (("a.fits", "--allow_failures"), "--allow_failures: there is one image only"),
        (("a.fits", "b.fits", "--mask_plane", "1"), "--mask_plane: there is no mask"),
        (("a.fits", "--plane", "every"), "'every' is out of range; give a whole number from 0 to 2147483647, or all"),
    ],
)
def test_wrong_options(capsys: pytest.CaptureFixture, arguments: tuple[str, ...], wrong: str) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2
    assert wrong in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"\n\n", b"a\0b\n", b"\xff\n"])
def test_a_list_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture, content: bytes) -> None:
    (tmp_path / "list").write_bytes(content)
    assert run("--list", tmp_path / "list", "--output_dir", tmp_path / "out") == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'list'}: the list ")
    assert not (tmp_path / "out").exists()


def test_a_list_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("--list", tmp_path / "nope", "--output_dir", tmp_path / "out") == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'nope'}: the list of images cannot be read (No such file or directory); "
        "give a text file with one path per line\n"
    )


def test_what_a_list_has_too_much(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A fourth field is refused, with the number of the line in the file; an empty one is none."""
    shutil.copy(SKY, tmp_path / "sky.fits")
    (tmp_path / "list").write_text("sky.fits\n\nsky.fits\t\tname\tmore\n")
    assert run("--list", tmp_path / "list", "--output_dir", tmp_path / "out") == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'list'}: line 3 has 4 fields; give 3 at most, with tabs between them\n"
    )
    (tmp_path / "list").write_text("sky.fits\t\tname\t \t\n")
    assert run("--list", tmp_path / "list", *CATALOG, "--output_dir", tmp_path / "out") == 0
    assert list(table(tmp_path / "out")["image"]) == ["name"]


def test_advice_and_warnings_of_images_are_said(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """As in a run of their own, under their images, and once more where they were done before."""
    wide = cut(tmp_path / "wide.fits", 1)
    flat = np.full((90, 90), 7.0)
    flat[40:45, 40:45] = 90
    fits.writeto(tmp_path / "flat.fits", flat)
    own = []
    for image in (wide, tmp_path / "flat.fits"):
        assert run(image, "--missing", 3, *CATALOG, "--output_dir", tmp_path / "single") == 0
        said = re.findall("(?m)^(Warning|Advice): (.*)$", capfd.readouterr().out)
        own += [f"{kind}: {image.stem}: {text}" for kind, text in sorted(said)]
    assert len(own) >= 4
    assert {line.partition(":")[0] for line in own} == {"Warning", "Advice"}
    for seconds in (r" \(\d+\.\d\d s\)", r" \(done before\)"):
        arguments = (wide, tmp_path / "flat.fits", "--missing", 3, *CATALOG, "--resume")
        assert run(*arguments, "--output_dir", tmp_path / "out") == 0
        said = capfd.readouterr().out
        assert re.findall("(?m)^(?:Warning|Advice): .*$", said) == own
        assert re.search(rf"(?m)^flat: 1 source{seconds}$", said)
        assert re.search(rf"(?m)^wide: \d+ sources{seconds}$", said)


def test_one_source(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    pixels = np.random.default_rng(1).normal(100, 1, (60, 60))
    pixels[20:24, 30:34] += 1000
    fits.writeto(tmp_path / "one.fits", pixels)
    assert run(tmp_path / "one.fits", SKY, "--thresh", 20, *CATALOG, "--output_dir", tmp_path / "out") == 0
    assert re.search(r"(?m)^one: 1 source \(", capfd.readouterr().out)


@pytest.mark.parametrize(
    ("folder", "said"), [(".", "the current folder."), ("..", "../."), ("a.", "a./."), ("a", "a."), ("a/.", "a.")]
)
def test_where_the_products_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, folder: str, said: str
) -> None:
    """The full stop of the sentence is no part of the folder's name."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert run(SKY, *CATALOG, "--output_dir", folder) == 0
    assert f"\n1 file in {said}\n" in capfd.readouterr().out
    assert run(SKY, SKY, *CATALOG, "--output_dir", folder) == 0
    assert f" images.tsv and joined_catalog.tsv are in {said}\n" in capfd.readouterr().out


def test_nothing_that_is_read_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The list where the table of images belongs, and an image where a folder does."""
    shutil.copy(SKY, tmp_path / "sky")
    (tmp_path / "images.tsv").write_text("sky\n")
    assert run("--list", tmp_path / "images.tsv", "--output_dir", tmp_path) == 1
    assert "would overwrite it" in capsys.readouterr().err
    assert run(tmp_path / "sky", SKY, *CATALOG, "--output_dir", tmp_path / "other") == 0
    (tmp_path / "images.tsv").unlink()
    assert run(tmp_path / "sky", TEST_DATA / "blank.fits", *CATALOG, "--output_dir", tmp_path) == 1
    assert "there is a file where the folder of an image should be" in capsys.readouterr().err
    assert (tmp_path / "sky").read_bytes() == SKY.read_bytes()


@pytest.mark.parametrize("role", ["image", "hdu", "link", "mask", "mask_file", "measure_file", "list"])
@pytest.mark.parametrize("product", ["catalog.tsv", "background_subtracted.fits", RECORD])
def test_no_product_of_an_image_takes_the_place_of_what_another_one_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture, role: str, product: str
) -> None:
    """Whatever it is needed for, and by whatever name it is given; nothing is written before."""
    out, listed = tmp_path / "out", tmp_path / "list"
    victim = out / "sky" / product
    cut(victim, 1)
    cut(tmp_path / "sky.fits", 2)
    other = cut(tmp_path / "other.fits", 3)
    (tmp_path / "link").symlink_to(victim)
    (out / "sky" / "kept").write_text("")
    given = {
        "image": (victim,),
        "hdu": (f"{victim}[0]",),
        "link": (tmp_path / "link",),
        "mask": ("--list", listed),
        "mask_file": (other, "--mask_file", victim),
        "measure_file": (other, "--measure_file", f"{victim}[0]"),
        "list": ("--list", victim),
    }
    listed.write_text(f"other.fits\t{victim}\n")
    if role == "list":
        victim.write_text(f"{other}\n")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.rglob("*") if path.is_file()}
    products = "catalog.tsv,background_subtracted.fits"
    assert run(tmp_path / "sky.fits", *given[role], "--outputs", products, "--output_dir", out) == 1
    called = tmp_path / "link" if role == "link" else victim
    assert re.match(
        f"error: {re.escape(str(called))}.*: the product {victim} would overwrite it; choose another --output_dir",
        capsys.readouterr().err,
    )
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("threads", [1, 2])
def test_from_python(images: dict[str, Path], single: Path, tmp_path: Path, threads: int) -> None:
    """Results in order, which write what the command line does; an error in the place of a bad one."""
    given = [*images.values(), tmp_path / "nowhere.fits", fits.getdata(images["x"])]
    found = list(se.extract_many(given, threads=threads))
    assert [type(one) for one in found] == [*[se.Result] * len(images), se.InputError, se.Result]
    for name, result in zip(images, found, strict=False):
        result.write(tmp_path / name, CHOSEN)
        assert filecmp.cmpfiles(tmp_path / name, single / name, CHOSEN, shallow=False)[0] == list(CHOSEN)
        assert len(result.to_table()) == len(read_catalog(single / name))
    assert str(found[-2]).startswith(f"{tmp_path / 'nowhere.fits'}: cannot be read")
    assert len(found[-1]) == len(found[0])


@pytest.mark.parametrize("threads", [1, 2])
def test_python_raises_where_it_is_asked_to(images: dict[str, Path], tmp_path: Path, threads: int) -> None:
    found = se.extract_many([images["x"], tmp_path / "nowhere.fits"], on_error="raise", threads=threads, thresh=3)
    assert len(next(found)) > 0
    with pytest.raises(se.InputError, match=r"nowhere\.fits"):
        next(found)
    with pytest.raises(se.InputError, match="on_error"):
        se.extract_many([], on_error="ignore")


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"threads": 0}, "threads: 0 is out of range"),
        ({"threads": -2}, "threads: -2 is out of range"),
        ({"threads": 1.5}, "threads: 1.5 is not a whole number"),
        ({"thresh": -1}, "thresh: -1 is out of range"),
        ({"filter_case": "file"}, "filter_case file: there is no kernel"),
        ({"measure_plane": 1}, "measure_plane: there is no image to measure on"),
        ({"unit": "Jy", "wcs": "sky"}, "wcs: it is a str"),
        ({"masks": "mask.fits"}, "masks: 'mask.fits' is one path; give a list"),
        ({"images": "sky.fits"}, "images: 'sky.fits' is one path; give a list"),
        ({"images": Path("sky.fits")}, "images: 'sky.fits' is one path; give a list"),
    ],
)
def test_what_is_wrong_with_every_image_is_raised_once(options: dict[str, object], wrong: str) -> None:
    """At the call, before an image is taken, of which there may be no end."""
    with pytest.raises(se.InputError, match=re.escape(wrong)):
        se.extract_many(**{"images": repeat(SKY), **options})


def test_options_that_do_not_exist_are_refused_at_the_call() -> None:
    with pytest.raises(TypeError, match="'tresh'; the nearest is 'thresh'"):
        se.extract_many(repeat(SKY), tresh=3)
    with pytest.raises(TypeError, match="'mask'; the nearest is 'masks'"):
        se.extract_many(repeat(SKY), mask="mask.fits")


def test_processes_share_the_memory_and_a_large_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small image has its share of the memory; a large one is searched here, by all, with all of it."""
    used = tmp_path / "used"

    def noted(image: Path, **how: Any) -> se.InputError:
        with used.open("a") as file:
            file.write(f"{image.name} {how['threads']} {how['memory']} {os.getpid() == here}\n")
        return se.InputError(image, "is not read", "let it be")

    here = os.getpid()
    for name, size in (("small", 1000), ("large", many.LARGE + 1)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    monkeypatch.setattr(extract_many, "extract", noted)
    found = list(se.extract_many([tmp_path / "small", tmp_path / "large"], threads=2, memory="3K"))
    assert [type(one) for one in found] == [se.InputError, se.InputError]
    assert sorted(used.read_text().splitlines()) == ["large 2 3K True", "small 1 1536 False"]


def test_what_images_bring_themselves_is_no_contradiction(images: dict[str, Path]) -> None:
    """A noise map and a mask with flags, which the options speak of."""
    pixels, flags = fits.getdata(images["x"]).astype(float), np.zeros((90, 90), np.uint8)
    flags[:45] = 4
    image = NDData(pixels, mask=flags, uncertainty=StdDevUncertainty(np.full((90, 90), 9.0)))
    [found] = se.extract_many([image], err_option="file", mask_bits=(4,))
    assert found.to_pandas()["y"].min() > 44


def test_masks_from_python(images: dict[str, Path]) -> None:
    mask = np.zeros((90, 90), bool)
    mask[:45] = True
    masked, whole = se.extract_many([images["x"], images["x"]], masks=[mask, None])
    assert masked.to_pandas()["y"].min() > 44
    assert len(whole) > len(masked)
    with pytest.raises(se.InputError, match="masks"):
        list(se.extract_many([images["x"]], masks=[mask, mask]))


@pytest.mark.parametrize("threads", [1, 2])
def test_images_are_taken_as_they_are_needed(images: dict[str, Path], threads: int) -> None:
    """Of an iterable that has no end, a bounded number ahead."""
    taken = count()

    def endless() -> Iterator[Path]:
        for _ in taken:
            yield images["x"]

    found = se.extract_many(endless(), threads=threads)
    assert len(next(found)) == len(next(found))
    assert next(taken) <= 200


@pytest.mark.skipif(find_spec("tqdm") is None, reason="needs tqdm")
def test_progress_bar_with_an_estimate(tmp_path: Path) -> None:
    """For a person at a terminal: how many are done, and how long it will take."""
    paths = [cut(tmp_path / f"{number}.fits", number) for number in range(12)]
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [sys.executable, SCRIPT, *paths, *CATALOG, "--output_dir", tmp_path / "out"]
    ended = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    shown = b""
    while ended.poll() is None:
        with contextlib.suppress(OSError):  # Linux has an error at the end
            shown += os.read(ours, 4096)
    os.close(ours)
    assert re.search(r" [1-9]\d?/12 \d\d:\d\d left", shown.decode(errors="replace"))
