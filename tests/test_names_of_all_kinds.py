"""Names come from strangers: they are text in every product, harmless to a terminal, and no shell and no file system
stumbles over them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits
from matplotlib.image import imread

from source_extraction.run.log import visible
from tests.conftest import REPOSITORY, SCRIPT, TEST_DATA, run_tool
from tests.galaxy.forms import expanded

SKY = TEST_DATA / "sky.fits"
GALAXY = REPOSITORY / ".environments" / "galaxy" / "bin" / "python"

# What a terminal would obey: colours, bells, a title, and the turning of the direction of writing.
HARMFUL = "\x1b[31m \x07 \x9b31m \x1b]0;title\x07 \x7f \u202e txt \ufeff"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")


def test_what_a_terminal_sees() -> None:
    letters = "M 31, été, 漢字, \N{GREEK SMALL LETTER ALPHA}\t\u00a0"
    assert visible(letters) == letters
    assert visible("a\x1b[31m\x9b\u202e\udcff\x00") == r"a\x1b[31m\x9b\u202e\udcff\x00"
    assert visible("one\ntwo\r\nthree\u2028four") == "one two three four"
    emoji = "\N{MAN}\N{ZERO WIDTH JOINER}\N{ROCKET}"
    assert visible(emoji) == emoji


def test_nothing_harmful_is_said(tmp_path: Path) -> None:
    image = tmp_path / f"{HARMFUL[:9]}.fits"
    shutil.copy(SKY, image)
    said = run_tool(image, "--outputs", "catalog.tsv", folder=tmp_path / "out")
    assert said.returncode == 0, said.stderr
    assert r"\x1b[31m" in said.stdout
    assert not RAW.search(said.stdout)
    assert not RAW.search(run_tool(SKY, "--name", HARMFUL, "--outputs", "catalog.tsv", folder=tmp_path / "out").stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        (TEST_DATA / f"{HARMFUL}.fits",),
        (SKY, "--hdu", HARMFUL),
        (SKY, "--gain", HARMFUL),
        (SKY, "--mask_file", HARMFUL),
        (SKY, "--thresh", HARMFUL),
        (SKY, "--err_option", HARMFUL),
        (SKY, "--outputs", HARMFUL),
        (SKY, f"--{HARMFUL}"),
        (SKY, "--name", HARMFUL, "--hdu", "nothing"),
    ],
)
def test_nothing_harmful_is_refused_aloud(tmp_path: Path, arguments: tuple[object, ...]) -> None:
    run = run_tool(*arguments, folder=tmp_path)
    assert run.returncode in (1, 2)
    assert run.stderr.splitlines()[-1].startswith("error: ")
    assert not RAW.search(run.stdout + run.stderr)
    assert "Traceback" not in run.stderr


def test_a_terminal_without_the_letters(tmp_path: Path) -> None:
    """Of old systems, and of jobs without a locale."""
    command = [sys.executable, SCRIPT, SKY, "--name", "漢字 été", "--outputs", "catalog.tsv", "--output_dir", tmp_path]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    run = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(r"Image: \u6f22\u5b57 \xe9t\xe9, HDU 0")
    run = subprocess.run([*command, "--hdu", "漢"], check=False, capture_output=True, text=True, env=environment)
    assert run.stderr.startswith(r"error: \u6f22\u5b57 \xe9t\xe9: there is no image HDU '\u6f22'")


def test_names_of_catalogs(tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "join_catalogs.py"), str(tmp_path / HARMFUL)]
    run = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert run.returncode == 1
    assert not RAW.search(run.stderr)


MATHS = ("$x$", "$", "$$", r"\alpha $\frac{a}$", "a_b^c", r"\\", "$\\undefined$", "{}", "50 % # &")
PICTURES = "image.png,background.png,sources.png,segmentation_map.png,diagnostics.png"


@pytest.mark.parametrize("text", MATHS)
def test_maths_is_text(tmp_path: Path, text: str) -> None:
    """In a title, in a unit, and in the type of an axis."""
    pixels, header = fits.getdata(SKY, header=True)
    header["BUNIT"] = text
    fits.writeto(tmp_path / "image.fits", pixels, header)
    run = run_tool(tmp_path / "image.fits", "--name", text, "--outputs", PICTURES, folder=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("prefix", ["$$", "$\\", "_^", "\\a"])
def test_maths_as_an_axis(tmp_path: Path, prefix: str) -> None:
    pixels, header = fits.getdata(SKY, header=True)
    header["CTYPE1"], header["CTYPE2"] = f"{prefix}LN-TAN", f"{prefix}LT-TAN"
    fits.writeto(tmp_path / "image.fits", pixels, header)
    run = run_tool(tmp_path / "image.fits", "--outputs", PICTURES, folder=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert imread(tmp_path / "image.png").shape[1] == 1800


NAMES = (
    *("sky.fits", "x" * 255, "漢" * 100 + ".fits", "漢" * 86, "漢" * 85, "é" * 127 + ".fits", "😀" * 255, "ﷺ" * 100),
    "Galaxie d'Andromède M31, très longue pose, filtre rouge, nuit du 14 août 2025, télescope de 60 cm.fits",
    *("名前" * 30, "", ".", "..", "...", "-", "--help", ".-.-", "/", "a\nb", "a\tb", "\x1b[31m", "\u202e txt.fits"),
    *("$(touch gone)", "`touch gone`", "'; touch gone; '", '"; touch gone; "', "\\", "\\'", "${HOME}", "*", "~", "#"),
    *("\u0301" * 80, "ß" * 200, "a" * 99 + "é", "\u2028\u2029", "%s%n", "\u0e33" * 90, "\U00020000" * 70, "&|;<>()!"),
)
RENDER = """
import json, sys
from Cheetah.Template import Template

class Dataset(str):
    element_identifier = ""

class Section(dict):
    __getattr__ = dict.__getitem__

given = json.load(sys.stdin)
lines = []
for name in given["names"]:
    def dataset(path):
        one = Dataset(path)
        one.element_identifier = name
        return one
    values = dict(
        image=dataset(given["image"]), __tool_directory__="/tool", outputs="catalog.tsv", thresh="1.5", minarea="5",
        part=Section(hdu=name, plane=""),
        mask=Section(
            mask_file=dataset(given["image"]), mask_hdu=name, mask_plane="1", mask_bits="MP_BAD, 4", maskthresh="",
            missing="",
        ),
        noise=Section(
            err_option="file", error_file=dataset(given["image"]), error_hdu=name, error_plane="", error_type="rms"
        ),
        filter=Section(filter_case="file", filter_type="matched", filter_file=dataset(given["image"])),
        background=Section(
            subtract_background="", bw="64", bh="64", fw="3", fh="3", fthresh="0.0", background_passes="1",
        ),
        deblending=Section(deblend_nthresh="32", deblend_cont="0.005"), cleaning=Section(clean="", clean_param="1.0"),
        photometry=Section(
            measure_file=dataset(given["image"]), measure_hdu=name, measure_plane="", apertures="5,10",
            kron_factor="2.5", kron_min_radius="3.5", correlated_noise="",
            gain=name, zeropoint="", saturation="",
        ),
        psf=Section(psf="--psf", psf_file=dataset(given["image"]), completeness=""),
        draw="ellipses", advice="", follow_advice="", bright=Section(bright_flux="", bright_grow="10"),
    )
    # Galaxy makes one line of it.
    text = str(Template(source=given["command"], searchList=[values]))
    lines.append(text.replace("\\n", " ").replace("\\r", " ").strip())
json.dump(lines, sys.stdout)
"""


def test_commands_of_the_form(tmp_path: Path) -> None:
    """The shell text that Galaxy makes of a name: it links what it should, and passes the name on as it is."""
    if not GALAXY.exists():
        pytest.skip("needs Cheetah, which comes with Galaxy")
    command = expanded("source_extractor.xml").find("command").text
    given = json.dumps({"command": command, "names": NAMES, "image": str(SKY)})
    rendered = subprocess.run([GALAXY, "-c", RENDER], input=given, check=True, capture_output=True, text=True).stdout
    for number, (name, line) in enumerate(zip(NAMES, json.loads(rendered), strict=True)):
        job = tmp_path / str(number)
        job.mkdir()
        catalog = "mkdir products; printf 'label\\tx\\n1\\t2\\n' > products/catalog.tsv; "
        tool = f"python() {{ printf '%s\\0' \"$@\" > arguments; {catalog}}}; "
        run = subprocess.run(["bash", "-c", tool + line], cwd=job, check=False, capture_output=True, text=True)
        assert (run.returncode, run.stderr) == (0, ""), ascii(name)
        made = ["arguments", "galaxy.json", "image", "kernel", "log", "mask", "measure", "noise", "products", "psf"]
        assert sorted(os.listdir(job)) == made
        metadata = json.loads((job / "galaxy.json").read_text())["catalog"]["metadata"]
        assert metadata == {"column_names": ["label", "x"]}
        arguments = (job / "arguments").read_text().split("\0")
        assert (job / arguments[1]).resolve() == SKY
        on_one_line = re.sub(r"[\r\n]", " ", name)
        assert f"--name={on_one_line}" in arguments
        if name.strip():
            for prefix in ("", "mask_", "error_", "measure_"):
                assert f"--{prefix}hdu={on_one_line.strip()}" in arguments
        assert {"--mask_plane=1", "--mask_bits=MP_BAD, 4"} < set(arguments)
        assert not [
            argument for argument in arguments if re.match("--(maskthresh|missing|plane|error_plane)", argument)
        ]
        for role in ("mask", "noise", "kernel", "measure"):
            (link,) = (job / role).iterdir()
            assert link.resolve() == SKY
            assert len(os.fsencode(link.name)) <= 120


def test_long_names_of_files(tmp_path: Path) -> None:
    """As long as a file system allows: in the name of the image, and in that of the folder."""
    image = tmp_path / ("漢" * 83 + ".fits")
    shutil.copy(SKY, image)
    run = subprocess.run(
        [sys.executable, SCRIPT, image, "--output_dir", tmp_path / ("b" * 255), "--outputs", "catalog.tsv"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr) == (0, "")
