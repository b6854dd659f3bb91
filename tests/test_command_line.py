"""The command line as a user meets it: what it says, what it makes, how it refuses."""

import os
import pty
import re
import subprocess
import sys
import termios
from importlib.util import find_spec
from pathlib import Path

import pytest
from astropy.io import fits

from source_extraction import __version__
from source_extraction.core.columns import DETECTION_COLUMNS, PHOTOMETRY_COLUMNS, Given, resolved
from source_extraction.faces.source_extractor import parse
from source_extraction.run import pipeline
from source_extraction.run.log import Log
from source_extraction.settings import PhotometryOptions
from tests.conftest import SCRIPT, TEST_DATA, read_catalog, run_tool, succeed

SKY = TEST_DATA / "sky.fits"
NINE = {
    *("catalog.tsv", "background.fits", "background_rms.fits", "segmentation_map.fits"),
    *("image.png", "background.png", "background_rms.png", "segmentation_map.png", "sources.png"),
}


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_nine_products(products: Path) -> None:
    assert files(products) == NINE


def test_says_what_it_did(tmp_path: Path) -> None:
    said = succeed(SKY, "--mask_file", TEST_DATA / "mask.fits", folder=tmp_path).splitlines()
    seconds = r" \(\d+\.\d\d s\)"
    expected = [
        rf"Image: {re.escape(str(SKY))}, HDU 0 \(PRIMARY\), 480 x 360 pixels, float32{seconds}",
        rf"Masked pixels: 3533 \(3533 by {re.escape(str(TEST_DATA / 'mask.fits'))}\)",
        r"The header also has: --gain GAIN \(2\)",
        rf"Background: 131\.797, RMS 8\.79457 \(global values\){seconds}",
        r"Threshold: 13\.1919 \(1\.5 x global RMS\)",
        rf"Sources: 140{seconds}",
        rf"Detections on the negated image: 0; about as many of the sources are noise{seconds}",
        rf"Judged the run{seconds}",
        r"Noise: errors x \d\.\d in an aperture of 5 pixels in diameter \(correlated pixels\)",
        rf"Measured the sources{seconds}",
        *(rf"Made {name}{seconds}" for name in ("catalog.tsv", "background.fits", "background_rms.fits")),
        *(rf"Made {name}{seconds}" for name in ("segmentation_map.fits", "image.png", "background.png")),
        *(rf"Made {name}{seconds}" for name in ("background_rms.png", "segmentation_map.png", "sources.png")),
        rf"9 files in {re.escape(str(tmp_path))}\.",
        r"Done in \d+\.\d\d s\.",
    ]
    assert len(said) == len(expected)
    for line, pattern in zip(said, expected, strict=True):
        assert re.fullmatch(pattern, line), line


def test_threshold_is_said_in_the_unit_of_the_image(tmp_path: Path) -> None:
    chosen = ("--outputs", "catalog.tsv")
    said = succeed(SKY, "--err_option", "array_rms", *chosen, folder=tmp_path)
    assert "Threshold: 10.0398 to 14.8783, median 13.2113 (1.5 x RMS map)\n" in said
    assert "Threshold: 20, as given\n" in succeed(SKY, "--err_option=none", "--thresh=20", *chosen, folder=tmp_path)


def test_only_what_is_chosen(tmp_path: Path) -> None:
    succeed(SKY, "--outputs", "sources.png, catalog.tsv", folder=tmp_path)
    assert files(tmp_path) == {"catalog.tsv", "sources.png"}


@pytest.mark.parametrize(
    ("outputs", "unwanted"),
    [
        ("catalog.tsv", {"matplotlib", "astropy.wcs.wcsapi", "pandas"}),
        ("background.fits", {"matplotlib", "source_extraction.core.detection"}),
        ("image.png", {"sep", "source_extraction.core.detection"}),
    ],
)
def test_what_is_not_chosen_is_not_computed(tmp_path: Path, outputs: str, unwanted: set[str]) -> None:
    assert all(find_spec(module) for module in unwanted), "a name that is nobody's is never imported"
    fits.writeto(tmp_path / "image.fits", fits.getdata(SKY))
    code = (
        "import sys\nfrom source_extraction.faces import source_extractor\n"
        f"source_extractor.main([{str(tmp_path / 'image.fits')!r}, '--output_dir', {str(tmp_path)!r}, "
        f"'--outputs', {outputs!r}])\n"
        "print('modules', *sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=SCRIPT.parent, capture_output=True, text=True, check=True)
    assert not unwanted & set(run.stdout.split())
    assert "Sources:" not in run.stdout or outputs == "catalog.tsv"


def test_no_source_gives_a_header(tmp_path: Path) -> None:
    said = succeed(SKY, "--thresh", "1e5", folder=tmp_path)
    assert "Sources: 0: nothing exceeds the threshold" in said
    assert (tmp_path / "catalog.tsv").read_text().count("\n") == 1
    catalog = read_catalog(tmp_path)
    columns = resolved((*DETECTION_COLUMNS, *PHOTOMETRY_COLUMNS), PhotometryOptions().apertures, "adu")
    there = (Given.ALWAYS, Given.SKY, Given.APERTURE)
    assert list(catalog.columns) == [*(column.name for column in columns if column.given in there), "image"]
    assert catalog.empty
    assert not fits.getdata(tmp_path / "segmentation_map.fits").any()
    assert files(tmp_path) == NINE


def test_name(tmp_path: Path) -> None:
    name = "M 42; $(echo) 'quoted' \N{GREEK SMALL LETTER ALPHA}\nsecond line"
    succeed(SKY, "--name", name, "--outputs", "background.fits,image.png", folder=tmp_path)
    header = fits.getheader(tmp_path / "background.fits")
    assert header["IMAGE"] == r"M 42; $(echo) 'quoted' \u03b1 second line"


def test_version() -> None:
    run = subprocess.run([sys.executable, SCRIPT, "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"source-extraction {__version__}\n"


@pytest.mark.parametrize("option", [("--version",), ("--no_such_option",)], ids=["well", "badly"])
def test_whoever_watches_it_has_the_last_word(option: tuple[str, ...]) -> None:
    """A profiler says what it saw however the program ends."""
    plain, watched = (
        subprocess.run([sys.executable, *watcher, SCRIPT, *option], check=False, capture_output=True, text=True)
        for watcher in ((), ("-m", "cProfile"))
    )
    assert "function calls" in watched.stdout
    assert "function calls" not in plain.stdout
    assert plain.returncode == (0 if option == ("--version",) else 2)


def test_progress_is_for_a_terminal(tmp_path: Path) -> None:
    """A person at a terminal sees a bar with the step under way; a log file (all other tests) does not."""
    main, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    command = [sys.executable, SCRIPT, SKY, "--outputs", "catalog.tsv", "--output_dir", tmp_path]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=terminal, check=True)
    os.set_blocking(main, False)
    shown = os.read(main, 100_000).decode()
    os.close(terminal)
    os.close(main)
    assert "Extracting the sources" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ("--outputs", "completeness.tsv"),
        ("--outputs", "catalog.tsv", "--measure_file", TEST_DATA / "sky.tiff", "--background_passes", "2"),
        # Two runs: what the advice on the first changes is in the second.
        ("--outputs", "catalog.tsv,sources.png", "--follow_advice", "--thresh", "0.8"),
    ],
    ids=lambda arguments: " ".join(str(argument) for argument in arguments[1:2]),
)
def test_progress_counts_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...]
) -> None:
    class Counting(Log):
        expected, done = 0, 0

        def __init__(self, steps: int) -> None:
            super().__init__(quiet=True)
            Counting.expected = steps

        def expect(self, more: int) -> None:
            Counting.expected += more

        def tell(self, doing: str, done: str, seconds: float | None) -> None:
            Counting.done += 1
            super().tell(doing, done, seconds)

    monkeypatch.setattr(pipeline, "Log", Counting)
    settings, output = parse([str(argument) for argument in (SKY, *arguments, "--output_dir", tmp_path)])
    pipeline.run(settings, output)
    assert Counting.done == Counting.expected > 5


REFUSED = {
    "no such file": ((TEST_DATA / "nothing.fits",), "nothing.fits: cannot be read (No such file or directory); "),
    "text": ((TEST_DATA / "kernel.txt",), "kernel.txt: this is text, not a FITS or TIFF image; convert it"),
    "mask of another shape": (
        (SKY, "--mask_file", TEST_DATA / "small_mask.fits"),
        "small_mask.fits: the mask has 90 x 100 pixels, the image " + str(SKY) + " 480 x 360; give a mask",
    ),
    "ragged kernel": (
        (SKY, "--filter_case", "file", "--filter_file", TEST_DATA / "ragged_kernel.txt"),
        "ragged_kernel.txt: the kernel is not a table of numbers (the number of columns changed from 3 to 2 at row 2)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_input(tmp_path: Path, case: str) -> None:
    arguments, sentence = REFUSED[case]
    run = run_tool(*arguments, folder=tmp_path / "made" / "here")
    assert run.returncode == 1
    assert re.fullmatch(r"error: [^\n]*\n", run.stderr)
    assert sentence in run.stderr
    assert files(tmp_path) == set()


def test_earlier_products_outlive_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "catalog.tsv").write_text("of an earlier run")
    assert run_tool(TEST_DATA / "kernel.txt", folder=tmp_path).returncode == 1
    assert files(tmp_path) == {"catalog.tsv"}


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = run_tool(SKY, folder=tmp_path / "file" / "folder")
    assert run.returncode == 1
    assert run.stderr == (
        f"error: {tmp_path / 'file' / 'folder'}: the products cannot be written (Not a directory); "
        "choose another --output_dir or make room\n"
    )


WRONG = {
    ("--thresh", "0"): "--thresh: '0' is out of range; give a finite number above 0",
    ("--thresh", "nan"): "--thresh: 'nan' is out of range; give a finite number above 0",
    ("--minarea", "0"): "--minarea: '0' is out of range; give a whole number from 1 to 2147483647",
    ("--deblend_cont", "1.5"): "--deblend_cont: '1.5' is out of range; give a number from 0 to 1",
    ("--err_option", "rms"): "--err_option: invalid choice: 'rms' (choose from ",
    ("--outputs", "catalog"): "--outputs: there is no product 'catalog'; choose from catalog.tsv, ",
    ("--outputs", ","): "--outputs: no product is chosen; choose from catalog.tsv, ",
    ("--filter_case", "file"): "--filter_case file: there is no kernel; add --filter_file FILE",
    ("--filter_file", "kernel.txt"): "--filter_file: --filter_case default does not use it; add --filter_case file",
    ("--thr", "2"): "unrecognized arguments: --thr 2",
}


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_wrong_option(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    run = run_tool(SKY, *arguments, folder=tmp_path / "folder")
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].startswith("error: " + WRONG[arguments])
    assert files(tmp_path) == set()
