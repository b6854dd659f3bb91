"""background_subtracted.fits is an image like the one it was made of: with its header, and the same sources."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS

import source_extraction as se
from source_extraction import __version__
from tests.conftest import TEST_DATA, read_catalog, run_tool, succeed
from tests.test_headers import PLATE

SKY = TEST_DATA / "sky.fits"
NAME = "background_subtracted.fits"
# What a telescope writes, with comments.
OBSERVED = [
    ("GAIN", 2.0, "e-/adu"),
    ("EXPTIME", 90.5, "s"),
    ("FILTER", "r", ""),
    ("DATE-OBS", "2020-06-01T12:00:00", ""),
    ("OBJECT", "NGC 4321", ""),
    ("HIERARCH ESO DET OUT1 GAIN", 0.55, "[e-/ADU]"),
    ("ZPTMAG", 25.25, "begins like a keyword of compression"),
    ("ZP", 1, ""),
    ("AIRMASS", 1.0625, ""),
    ("A_STAR", "no term of a distortion", ""),
    ("NIGHT", 59000, ""),
    ("SHUTTER", True, ""),
    ("HISTORY", "flat-fielded", ""),
    ("COMMENT", "seen through clouds", ""),
]
# Of the file that the image was in, and no longer true.
NO_LONGER_TRUE = {
    "BSCALE": 0.5,
    "BZERO": 100.0,
    "BLANK": -32768,
    "CHECKSUM": "0" * 16,
    "DATASUM": "0",
    "DATAMIN": 1.0,
    "DATAMAX": 7000.0,
    "DATE": "2020-06-02",
    "NEXTEND": 3,
    "INHERIT": True,
}


def subtracted(image: Path, folder: Path, *options: str) -> fits.Header:
    succeed(image, "--outputs", NAME, *options, folder=folder)
    with fits.open(folder / NAME) as hdus:
        hdus.verify("exception")
        assert hdus[0].data.dtype == np.dtype(">f4")
        return hdus[0].header


def observed(header: fits.Header) -> fits.Header:
    """A header with all of this."""
    for keyword, value, comment in OBSERVED:
        if keyword in ("HISTORY", "COMMENT"):
            header[keyword] = value
        else:
            header[keyword] = (value, comment)
    return header


def assert_observed(header: fits.Header) -> None:
    for keyword, value, comment in OBSERVED:
        if keyword in ("HISTORY", "COMMENT"):
            assert value in list(header[keyword])
        else:
            name = keyword.removeprefix("HIERARCH ")
            assert (header[name], header.comments[name]) == (value, comment)


def stored(path: Path, pixels: np.ndarray, header: fits.Header, kind: str) -> None:
    """An image in a file of a kind."""
    hdus = {
        "plain": lambda: fits.PrimaryHDU(pixels, header),
        "scaled": lambda: fits.PrimaryHDU(np.rint(pixels * 2 - 200).astype(np.int16), header),
        "extension": lambda: fits.ImageHDU(pixels, header, name="SCI"),
        "compressed": lambda: fits.CompImageHDU(np.rint(pixels).astype(np.int16), header, name="SCI"),
        "cube": lambda: fits.PrimaryHDU(np.stack([pixels, pixels]), header),
    }
    hdu = hdus[kind]()
    for keyword, value in NO_LONGER_TRUE.items():
        # astropy writes what the compressed pixels mean itself.
        if kind == "scaled" or (keyword not in ("BSCALE", "BZERO", "BLANK")):
            hdu.header[keyword] = value
    if kind == "cube":
        hdu.header.update({"CTYPE3": "FREQ", "CRVAL3": 1.4e9, "CDELT3": 1e6, "CRPIX3": 1.0, "CUNIT3": "Hz"})
    primary = [] if isinstance(hdu, fits.PrimaryHDU) else [fits.PrimaryHDU(header=fits.Header({"TELESCOP": "VST"}))]
    fits.HDUList([*primary, hdu]).writeto(path, output_verify="ignore")


@pytest.mark.parametrize("kind", ["plain", "scaled", "extension", "compressed", "cube"])
def test_the_header_of_the_image(tmp_path: Path, sky: np.ndarray, kind: str) -> None:
    stored(tmp_path / "image.fits", sky, observed(fits.getheader(SKY)), kind)
    header = subtracted(tmp_path / "image.fits", tmp_path, *(["--plane", "1"] if kind == "cube" else []))
    assert_observed(header)
    assert not set(NO_LONGER_TRUE) & set(header)
    kept = {keyword for keyword in header if keyword.startswith(("Z", "T"))}
    assert kept - {"TELESCOP"} == {"ZPTMAG", "ZP"}
    assert (header["NAXIS"], header["NAXIS1"], header["NAXIS2"], header["BITPIX"]) == (2, 480, 360, -32)
    assert not [keyword for keyword in header if keyword.endswith("3") and not keyword.startswith("SEP ")]
    assert "EXTNAME" not in header
    # One of the primary HDU belongs to all of the file.
    assert header.get("TELESCOP") == ("VST" if kind in ("extension", "compressed") else None)
    np.testing.assert_allclose(WCS(header).wcs.crval, (186.445, 12.662))
    assert WCS(header).naxis == 2
    assert header["BUNIT"] == "adu"
    assert header["CREATOR"] == f"source-extraction {__version__}"


def test_no_card_comes_twice(tmp_path: Path) -> None:
    """Also of an image that is a product already."""
    pixels, header = fits.getdata(SKY, header=True)
    header["CREATOR"], header["IMAGE"] = "somebody else", "another.fits"
    header.append(("GAIN", 3.0))
    fits.writeto(tmp_path / "image.fits", pixels, header)
    first = subtracted(tmp_path / "image.fits", tmp_path)
    again = subtracted(tmp_path / NAME, tmp_path / "again", "--no-subtract_background", "--thresh", "5")
    for made, name in ((first, "image.fits"), (again, NAME)):
        keywords = [keyword for keyword in made if keyword not in ("HISTORY", "COMMENT", "")]
        assert len(set(keywords)) == len(keywords)
        assert (made["GAIN"], made["IMAGE"]) == (2.0, name)
    assert (again["SEP THRESH"], again["SEP SUBTRACT_BACKGROUND"]) == (5.0, False)


@pytest.mark.parametrize(
    "card",
    [
        "lower   = 'a keyword that is not in capitals'",
        "NOVALUE =",
        "BAD     = 'no end of the text",
        "BAD     = 1.0.0",
        "NOTANUM = NaN",
        "NOEQUALS  'a text'",
        "RECORD.A= 5",
        # As sewpy's example has it; fitsverify wants a number.
        "MJD-OBS = '55183.2277967334'",
        "MJD-OBS = 'in winter'",
    ],
)
def test_cards_against_the_standard(tmp_path: Path, card: str) -> None:
    """They are mended or left out, and the others are kept."""
    hdu = fits.PrimaryHDU(fits.getdata(SKY), fits.getheader(SKY))
    hdu.header["TELESCOP"] = "to be replaced"
    hdu.writeto(tmp_path / "image.fits")
    content = (tmp_path / "image.fits").read_bytes()
    place = content.index(b"TELESCOP")
    (tmp_path / "image.fits").write_bytes(content[:place] + card.ljust(80).encode() + content[place + 80 :])
    header = subtracted(tmp_path / "image.fits", tmp_path)
    assert (header["GAIN"], header["OBJECT"]) == (2.0, "simulated sky")
    assert header.get("MJD-OBS") == (55183.2277967334 if "55183" in card else None)
    if shutil.which("fitsverify"):
        run = subprocess.run(["fitsverify", "-q", tmp_path / NAME], check=False, capture_output=True, text=True)
        # It warns of a card without a value, which the standard allows.
        assert "verification OK" in run.stdout or "0 errors" in run.stdout, run.stdout


def test_very_many_cards(tmp_path: Path) -> None:
    """They take no more time than a real header of some thousands: the rest is left out."""
    header = fits.getheader(SKY).tostring(endcard=False, padding=False)
    header += "".join(f"K{number:06d} = {number:20d}".ljust(80) for number in range(100_000)) + "END".ljust(80)
    content = header.ljust(-(-len(header) // 2880) * 2880).encode() + fits.getdata(SKY).tobytes()
    (tmp_path / "image.fits").write_bytes(content.ljust(-(-len(content) // 2880) * 2880, b"\0"))
    started = time.perf_counter()
    made = subtracted(tmp_path / "image.fits", tmp_path)
    assert time.perf_counter() - started < 20
    assert (made["GAIN"], made["K009000"]) == (2.0, 9000)
    assert "K020000" not in made


@pytest.mark.parametrize("ctype", ["LINEAR", ""])
def test_coordinates_that_are_not_the_sky_s(tmp_path: Path, ctype: str) -> None:
    """They hold as before, but not those of a cube, whose axes may have changed their places."""
    pixels = fits.getdata(SKY)
    cards = {"CTYPE1": ctype, "CTYPE2": ctype, "CRPIX1": 5.0, "CRVAL2": 7.0, "CDELT1": 0.25, "A_ORDER": 9}
    for name, stack in (("image", pixels), ("cube", pixels[None])):
        fits.writeto(tmp_path / f"{name}.fits", stack, fits.Header(cards))
        header = subtracted(tmp_path / f"{name}.fits", tmp_path / name)
        assert header.get("CDELT1") == (0.25 if name == "image" else None)
        assert "A_ORDER" not in header


def test_maps_of_something_else_keep_the_coordinates_alone(products: Path) -> None:
    for name in ("background.fits", "segmentation_map.fits"):
        assert not {"GAIN", "OBJECT"} & set(fits.getheader(products / name))


def test_a_plate_solution_is_not_kept_beside_the_distortion_made_of_it(tmp_path: Path) -> None:
    """Both together take the process of whoever reads them down: astropy.wcs, and so this tool."""
    path, out = tmp_path / "plate.fits", tmp_path / "out"
    pixels = np.random.default_rng(3).normal(100, 3, (90, 120)).astype(np.float32)
    fits.writeto(path, pixels, fits.Header(PLATE | {"OBJECT": "M 67"}))
    header = subtracted(path, out)
    assert header["OBJECT"] == "M 67"
    assert "CQDIS1" in header
    assert not [name for name in header if name in PLATE and name != "EQUINOX"]
    with_both = fits.getheader(out / "background_subtracted.fits")
    with_both.update(PLATE)
    fits.writeto(tmp_path / "both.fits", pixels, with_both)
    for image in (out / "background_subtracted.fits", tmp_path / "both.fits"):
        run_tool(image, "--outputs", "catalog.tsv", folder=tmp_path / "again").check_returncode()


def test_from_python(tmp_path: Path, sky: np.ndarray) -> None:
    """An array's owner may have a header, of FITS or not."""
    for header in (observed(fits.getheader(SKY)), {"GAIN": 2.0, "notes": ["of", "no", "card"], "OBJECT": "a"}):
        result = se.extract(CCDData(sky, unit="adu", meta=header))
        result.write(tmp_path, [NAME])
        made = fits.getheader(tmp_path / NAME)
        assert (made["GAIN"], "OBJECT" in made) == (2.0, True)


def second_run(image: Path, folder: Path, *options: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The catalogs of an image, and of the image less its background at the same threshold."""
    outputs = ("--outputs", f"catalog.tsv,summary.json,{NAME}")
    succeed(image, *outputs, *options, folder=folder / "first")
    threshold = json.loads((folder / "first" / "summary.json").read_text())["threshold"]["median"]
    going_on = ("--no-subtract_background", "--err_option", "none", "--thresh", repr(threshold))
    succeed(folder / "first" / NAME, *outputs, *going_on, *options, folder=folder / "second")
    return read_catalog(folder / "first"), read_catalog(folder / "second")


def assert_same_sources(first: pd.DataFrame, second: pd.DataFrame) -> None:
    assert len(first) == len(second) > 0
    np.testing.assert_allclose(second[["x", "y"]], first[["x", "y"]], atol=1e-3)
    away = np.abs(second["flux_auto"] - first["flux_auto"])
    assert (away <= np.maximum(1e-4 * np.abs(first["flux_auto"]), 0.1 * first["flux_auto_err"])).all()


@pytest.mark.parametrize(
    "options", [("--gain", "GAIN"), ("--gain", "GAIN", "--mask_file", str(TEST_DATA / "mask.fits"))]
)
def test_a_second_run_finds_the_same(tmp_path: Path, options: tuple[str, ...]) -> None:
    first, second = second_run(SKY, tmp_path, *options)
    assert len(first) > 100
    assert_same_sources(first, second)
