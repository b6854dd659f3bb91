"""The package from Python: what it takes, what it gives, and that it finds what the command line finds."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import (
    CCDData,
    InverseVariance,
    NDData,
    NDUncertainty,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.wcs import WCS
from matplotlib.figure import Figure

import source_extraction as se
from source_extraction.run.products import DEFAULT_PRODUCTS, PRODUCTS
from source_extraction.settings import OPTIONS
from tests.conftest import REPOSITORY, TEST_DATA, read_catalog, succeed

SKY, MASK = TEST_DATA / "sky.fits", TEST_DATA / "mask.fits"
HEADER = fits.getheader(SKY)
# What a file says of its pixels besides them.
SAID_BY_THE_FILE = {"wcs": WCS(HEADER), "unit": "adu", "name": "sky.fits"}


@pytest.fixture(autouse=True)
def _nothing_is_printed(capfd: pytest.CaptureFixture) -> Iterator[None]:
    capfd.readouterr()
    yield
    assert capfd.readouterr() == ("", "")


def catalog_of_file(folder: Path, *arguments: object) -> pd.DataFrame:
    """The catalog of the command line."""
    succeed(*arguments, "--outputs", "catalog.tsv", folder=folder)
    return read_catalog(folder).set_index("label")


def assert_same(result: se.Result, expected: pd.DataFrame, rtol: float = 0) -> None:
    """As the file has them, which has 9 digits of what is no float64."""
    found = result.to_pandas()
    assert list(found) == list(expected)
    pd.testing.assert_frame_equal(found, expected, rtol=rtol or 1e-8, atol=0, check_dtype=False, check_index_type=False)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return catalog_of_file(tmp_path_factory.mktemp("plain"), SKY)


PIXELS = {
    "float32": lambda pixels: pixels.astype(np.float32),
    "float64": lambda pixels: pixels.astype(np.float64),
    "big-endian": lambda pixels: pixels.astype(">f4"),
    "big-endian, not writable": lambda pixels: np.frombuffer(pixels.astype(">f8").tobytes(), ">f8").reshape(360, 480),
    "Fortran order": np.asfortranarray,
    "a view": lambda pixels: np.pad(pixels, 3)[3:-3, 3:-3],
    "a list": lambda pixels: pixels.tolist(),
    "axes of length 1": lambda pixels: pixels[None, :, :],
    "masked array without a mask": np.ma.masked_array,
    "Quantity": lambda pixels: pixels * units.adu,
    "NDData": NDData,
}


@pytest.mark.parametrize("kind", PIXELS)
def test_an_array_is_its_file(kind: str, plain: pd.DataFrame) -> None:
    """And it is not changed."""
    pixels = PIXELS[kind](fits.getdata(SKY))
    before = np.array(getattr(pixels, "data", pixels), copy=True)
    assert_same(se.extract(pixels, **SAID_BY_THE_FILE), plain)
    np.testing.assert_array_equal(np.asarray(getattr(pixels, "data", pixels)), before)


@pytest.mark.parametrize("kind", ["int16", "uint16", ">i4", "int64", "uint8", "float16", "bool"])
def test_any_type_of_number(kind: str, tmp_path: Path) -> None:
    """As the same numbers in a float32 file."""
    pixels = np.clip(fits.getdata(SKY) / 10, 0, 250).astype(np.float16).astype(kind)
    if kind == "bool":
        pixels = fits.getdata(SKY) > 200
    fits.writeto(tmp_path / "image.fits", pixels.astype(np.float32))
    expected = catalog_of_file(tmp_path, tmp_path / "image.fits")
    assert len(expected) > 20
    assert_same(se.extract(pixels, name="image.fits"), expected)


def test_missing_pixels_however_they_are_said(tmp_path: Path) -> None:
    """NaN, a masked array, a mask, the mask of a CCDData."""
    pixels, masked = fits.getdata(SKY), fits.getdata(MASK) > 0
    expected = catalog_of_file(tmp_path, SKY, "--mask_file", MASK)
    holes = np.where(masked, np.nan, pixels)
    junk = np.where(masked, np.float32(1e9), pixels)
    for given in (
        {"image": holes},
        {"image": np.ma.masked_array(junk, masked)},
        {"image": np.ma.masked_array(junk.astype(np.int32), masked)} if (pixels == np.rint(pixels)).all() else {},
        {"image": junk, "mask": masked},
        {"image": junk, "mask": masked.astype(np.float32)},
        {"image": junk, "mask": MASK},
        {"image": junk, "mask": str(MASK)},
        {"image": CCDData(junk, unit="adu", mask=masked)},
    ):
        if given:
            assert_same(se.extract(**given, **SAID_BY_THE_FILE), expected)


def test_a_given_mask_replaces_that_of_a_ccddata(plain: pd.DataFrame) -> None:
    image = CCDData(fits.getdata(SKY), unit="adu", mask=fits.getdata(MASK) > 0)
    assert_same(se.extract(image, mask=np.zeros((360, 480), bool), **SAID_BY_THE_FILE), plain)


def test_what_a_ccddata_says_is_used(tmp_path: Path) -> None:
    """Its wcs, unit and header."""
    image = CCDData.read(SKY)
    expected = catalog_of_file(tmp_path, SKY, "--gain", "GAIN")
    result = se.extract(image, gain="GAIN", name="sky.fits")
    assert_same(result, expected)
    assert result.to_table()["flux"].unit == units.adu
    assert se.extract(image, unit="mJy").to_table()["flux"].unit == units.mJy


VARIANCE = np.full((360, 480), 80.0) + np.arange(480) / 10
UNCERTAINTIES = {
    "std": StdDevUncertainty(np.sqrt(VARIANCE)),
    "var": VarianceUncertainty(VARIANCE),
    "ivar": InverseVariance(1 / VARIANCE),
    "std in another unit": StdDevUncertainty(np.sqrt(VARIANCE) / 1000, unit="Jy"),
    "var in another unit": VarianceUncertainty(VARIANCE / 1e6, unit="Jy2"),
    "ivar in another unit": InverseVariance(1e6 / VARIANCE, unit="Jy-2"),
}


@pytest.mark.parametrize("kind", UNCERTAINTIES)
def test_uncertainties(kind: str, tmp_path: Path) -> None:
    """Each gives the catalog of --error_file with the same noise."""
    fits.writeto(tmp_path / "noise.fits", VARIANCE)
    options = ("--err_option", "file", "--error_file", tmp_path / "noise.fits", "--error_type", "variance")
    expected = catalog_of_file(tmp_path, SKY, *options)
    uncertainty: NDUncertainty = UNCERTAINTIES[kind]
    image = CCDData(fits.getdata(SKY), unit="mJy", uncertainty=uncertainty)
    result = se.extract(image, wcs=WCS(HEADER), name="sky.fits")
    assert_same(result, expected, rtol=1e-6)
    assert result.summary["parameters"]["err_option"] == "file"
    assert_same(se.extract(SKY, error=uncertainty, unit="mJy"), expected, rtol=1e-6)


def test_units_that_do_not_go_together() -> None:
    with pytest.raises(se.InputError, match="the noise map: its unit is m, that of the image adu; convert it"):
        se.extract(SKY, error=np.sqrt(VARIANCE) * units.m)


def test_an_uncertainty_is_left_alone_where_another_threshold_is_asked_for(plain: pd.DataFrame) -> None:
    image = CCDData(fits.getdata(SKY), unit="adu", uncertainty=StdDevUncertainty(np.sqrt(VARIANCE)))
    assert_same(se.extract(image, err_option="float_globalrms", **SAID_BY_THE_FILE), plain)


@pytest.mark.parametrize("error_type", ["rms", "variance", "weight"])
def test_an_error(error_type: str, tmp_path: Path) -> None:
    values = {"rms": np.sqrt(VARIANCE), "variance": VARIANCE, "weight": 1 / VARIANCE}[error_type]
    fits.writeto(tmp_path / "noise.fits", values)
    options = ("--err_option", "file", "--error_file", tmp_path / "noise.fits", "--error_type", error_type)
    expected = catalog_of_file(tmp_path, SKY, *options)
    assert_same(se.extract(SKY, error=values, error_type=error_type), expected)
    assert_same(se.extract(SKY, error=tmp_path / "noise.fits", error_type=error_type), expected)


def test_another_image_to_measure_on(tmp_path: Path) -> None:
    other = 3 * fits.getdata(SKY) + 500
    fits.writeto(tmp_path / "other.fits", other)
    expected = catalog_of_file(tmp_path, SKY, "--measure_file", tmp_path / "other.fits", "--zeropoint", "25")
    assert_same(se.extract(SKY, measure=tmp_path / "other.fits", zeropoint=25), expected)
    assert_same(se.extract(SKY, measure=other, zeropoint=25), expected)


def test_a_plane_of_an_array(plain: pd.DataFrame) -> None:
    cube = np.stack([np.zeros((360, 480), np.float32), fits.getdata(SKY)])
    assert_same(se.extract(cube, plane=1, **SAID_BY_THE_FILE), plain)


def test_every_option_has_the_name_and_the_default_of_the_command_line(tmp_path: Path) -> None:
    """Each option but those of files, at another value than its default."""
    options = {
        "hdu": 0, "maskthresh": 0.5, "thresh": 25, "err_option": "array_rms", "minarea": 7, "error_type": "weight",
        "filter_case": "file", "filter_type": "conv", "filter_file": TEST_DATA / "kernel.txt", "deblend_nthresh": 16,
        "deblend_cont": 0.01, "clean": False, "clean_param": 2.0, "subtract_background": False, "bw": 32, "bh": 48,
        "fw": 5, "fh": 1, "fthresh": 0.5, "background_passes": 2, "apertures": (2.5, 7), "kron_factor": 2,
        "kron_min_radius": 3, "correlated_noise": False, "gain": "GAIN",
        "zeropoint": 25.5, "saturation": 3000, "psf": True, "completeness": True, "bright_flux": 5000.0,
        "bright_grow": 3, "name": "a name", "draw": "outlines", "advice": False,
    }  # fmt: skip
    of_files = {f"{prefix}{of}" for prefix in ("mask_", "error_", "measure_") for of in ("file", "hdu", "plane")}
    of_the_run = {"output_dir", "outputs", "threads", "memory", "scratch"}
    elsewhere = {"follow_advice", "plane", "missing", "mask_bits", "filter_fwhm", "psf_file", *of_files, *of_the_run}
    assert set(options) == set(OPTIONS) - elsewhere
    typed = [
        f"--{'' if value else 'no-'}{name}"
        if isinstance(value, bool)
        else f"--{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}"
        for name, value in options.items()
    ]
    expected = catalog_of_file(tmp_path, SKY, *typed)
    result = se.extract(SKY, **options)
    assert len(result) > 20
    assert_same(result, expected)
    summary_of = tmp_path / "summary"
    succeed(SKY, *typed, "--outputs", "summary.json", folder=summary_of)
    written = json.loads((summary_of / "summary.json").read_text())
    for summary in (written, of_python := result.summary):
        del summary["seconds"]
    assert of_python == written


WRONG = {
    "out of bounds": ({"thresh": 0}, "thresh: 0 is out of range; give a finite number above 0"),
    "no number": ({"thresh": "2"}, "thresh: '2' is not a number; give a finite number above 0"),
    "True": ({"thresh": True}, "thresh: True is not a number; give a finite number above 0"),
    "a fraction": ({"minarea": 2.5}, "minarea: 2.5 is not a whole number; give a whole number from 1 to 2147483647"),
    "no choice": (
        {"err_option": "rms"},
        "err_option: 'rms' is not one of the choices; choose from float_globalrms, array_rms, ",
    ),
    "neither": ({"clean": "yes"}, "clean: 'yes' is neither true nor false; give one of them"),
    "no aperture": ({"apertures": ()}, "apertures: no aperture is given; give diameters in pixels, such as 5,10"),
    "NaN": ({"zeropoint": float("nan")}, "zeropoint: nan is out of range; give a finite number"),
    "no path": ({"mask": 3.5}, "the mask: the array has no axes; give a 2-D image"),
    "no threads": ({"threads": 0}, "threads: 0 is out of range; give a whole number from 1 to 1024"),
    "no noise map": ({"err_option": "file"}, "err_option file: there is no noise map; add error FILE"),
    "no kernel": ({"filter_case": "file"}, "filter_case file: there is no kernel; add filter_file FILE"),
    "unused error": (
        {"error": VARIANCE, "err_option": "array_rms"},
        "error: err_option array_rms does not use it; add err_option file",
    ),
    "unused kernel": ({"filter_file": "k"}, "filter_file: filter_case default does not use it; add filter_case file"),
    "unknown uncertainty": (
        {"error": UnknownUncertainty(VARIANCE)},
        "error: it is an uncertainty of type 'unknown'; give one of type std, var, ivar",
    ),
    "contradiction": (
        {"error": VarianceUncertainty(VARIANCE), "error_type": "rms"},
        "error_type: 'rms' contradicts the uncertainty of type 'var'; leave it out",
    ),
    "no wcs": ({"wcs": HEADER}, "wcs: it is a Header; give an astropy.wcs.WCS"),
    "another shape": ({"mask": np.zeros((3, 3))}, "the mask: the mask has 3 x 3 pixels, the image "),
    "no such keyword": ({"gain": "NOTHING"}, "its header has no keyword 'NOTHING' for gain; give the number"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case: str) -> None:
    options, sentence = WRONG[case]
    with pytest.raises(se.InputError) as raised:
        se.extract(SKY, **options)
    assert isinstance(raised.value, ValueError)
    assert sentence in str(raised.value)
    assert "--" not in str(raised.value)


IMAGES = {
    "one axis": (np.zeros(5), "image: the array has one axis only (5 values); give a 2-D image"),
    "empty": (np.zeros((3, 0)), "image: the array is empty (3 x 0); give a 2-D array"),
    "planes": (np.zeros((3, 4, 4)), "image: the array holds 3 planes (3 x 4 x 4); choose one with plane K, K from 0 "),
    "text": (np.array([["a"]]), "image: its pixels are of type <U1, not real numbers; give an image of real numbers"),
    "complex": (np.ones((5, 5), complex), "image: its pixels are of type complex128, not real numbers"),
    "no array": (object(), "image: the array has no axes; give a 2-D image"),
    "ragged": ([[1, 2], [3]], "image: it is not an array of numbers ("),
    "no file": ("nothing.fits", "nothing.fits: cannot be read (No such file or directory); check the path"),
    "no value": (np.full((9, 9), np.nan), "image: no pixel is left: all are masked or without a value"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_images_that_are_none(case: str) -> None:
    image, sentence = IMAGES[case]
    with pytest.raises(se.InputError) as raised:
        se.extract(image)
    assert str(raised.value).startswith(sentence)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("tresh", "thresh"), ("mask_file", "mask"), ("error_file", "error"), ("outputs", "result.write"), ("k", "")],
)
def test_an_option_that_does_not_exist_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(TypeError, match=f"there is no option '{name}'; the nearest is '?{nearest}"):
        se.extract(SKY, **{name: 2})


def test_a_wcs_that_is_none_of_fits_is_said() -> None:
    """The wcs of an NDData may be any that astropy knows of; the pixels are good all the same."""

    class Elsewhere:
        low_level_wcs = "somewhere"

    image = NDData(fits.getdata(SKY))
    image._wcs = Elsewhere()
    result = se.extract(image)
    assert result.warnings == ["there are no sky coordinates: the wcs is a str, not an astropy.wcs.WCS"]
    assert "ra" not in result.to_pandas()


@pytest.fixture(scope="module")
def result() -> se.Result:
    return se.extract(SKY, mask=MASK, gain="GAIN", zeropoint=25, psf=True)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command line writes."""
    folder = tmp_path_factory.mktemp("everything")
    options = ("--mask_file", MASK, "--gain", "GAIN", "--zeropoint", "25", "--outputs", ",".join(PRODUCTS))
    succeed(SKY, *options, folder=folder)
    return folder


class TestResult:
    def test_it_writes_what_the_command_line_writes(self, result: se.Result, everything: Path, tmp_path: Path) -> None:
        """Byte for byte, but for the seconds."""
        written = result.write(tmp_path / "made" / "here", outputs=PRODUCTS)
        assert written == [tmp_path / "made" / "here" / name for name in PRODUCTS]
        for path in written:
            if path.name != "summary.json":
                assert path.read_bytes() == (everything / path.name).read_bytes(), path.name
        ours, theirs = (json.loads((folder / "summary.json").read_text()) for folder in (written[0].parent, everything))
        for summary in (ours, theirs):
            assert summary.pop("seconds")
        assert ours == theirs

    def test_the_default_is_the_nine(self, result: se.Result, tmp_path: Path) -> None:
        result.write(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(DEFAULT_PRODUCTS)
        result.write(str(tmp_path / "one"), outputs="points.tsv")
        assert os.listdir(tmp_path / "one") == ["points.tsv"]
        with pytest.raises(se.InputError, match=r"outputs: there is no product 'catalog'; choose from catalog\.tsv, "):
            result.write(tmp_path, outputs=["catalog"])

    def test_maps(self, result: se.Result, everything: Path) -> None:
        for name, values in {
            "segmentation_map.fits": result.segmentation,
            "background.fits": result.background,
            "background_rms.fits": result.background_rms,
            "background_subtracted.fits": result.background_subtracted,
        }.items():
            written = fits.getdata(everything / name)
            assert values.dtype == written.dtype.newbyteorder("=")
            np.testing.assert_array_equal(values, written)

    def test_table(self, result: se.Result, everything: Path) -> None:
        table = result.to_table()
        written = read_catalog(everything)
        assert table.colnames == list(written)
        assert table["ra"].unit == units.deg
        assert table["flux_auto"].unit == units.adu
        assert table["flux_auto"].description.startswith("total flux")
        assert table.meta["SEP THRESH"] == 1.5
        assert table.meta["CREATOR"] == f"source-extraction {se.__version__}"
        assert table.meta["IMAGE"] == "sky.fits"
        frame = result.to_pandas()
        assert frame.index.name == "label"
        assert list(frame.reset_index()) == list(written)
        assert len(result) == len(frame) == len(written)

    def test_threshold_and_summary(self, result: se.Result, everything: Path) -> None:
        written = json.loads((everything / "summary.json").read_text())
        assert result.threshold == written["threshold"]["median"]
        assert result.summary["counts"] == written["counts"]
        assert result.warnings == written["warnings"]
        varying = se.extract(SKY, err_option="array_rms").threshold
        assert isinstance(varying, np.ndarray)
        assert varying.shape == (360, 480)
        np.testing.assert_allclose(varying, 1.5 * se.extract(SKY).background_rms, rtol=1e-6)

    def test_wcs(self, result: se.Result) -> None:
        found = result.wcs.pixel_to_world(100, 200)
        assert found.separation(WCS(HEADER).pixel_to_world(100, 200)).arcsec < 1e-6
        assert se.extract(fits.getdata(SKY)).wcs is None

    def test_plot(self, result: se.Result) -> None:
        """On the user's axes, in pixels: an ellipse each, but the large sources that fill less than half of it."""
        axes = Figure().add_subplot()
        assert result.plot(axes) is axes
        _, ellipses = axes.collections
        table = result.to_pandas()
        drawn = (table.npix >= 0.5 * 9 * np.pi * table.a * table.b) | (table.npix < 100)
        assert len(ellipses.get_offsets()) == drawn.sum() > 0.5 * len(result)
        assert not drawn.all()
        (picture,) = axes.images
        assert picture.get_extent() == [-0.5, 479.5, -0.5, 359.5]

    def test_what_a_notebook_shows(self, result: se.Result) -> None:
        shown = result._repr_html_()
        assert f"{len(result)} sources in sky.fits" in shown
        assert "data:image/png;base64," in shown
        assert shown.count("<tr") == 6
        hostile = se.extract(SKY, name="<img src=x onerror=alert(1)>")._repr_html_()
        assert "<img src=x" not in hostile

    def test_without_a_source(self, tmp_path: Path) -> None:
        result = se.extract(np.zeros((50, 60)))
        assert len(result) == len(result.to_table()) == len(result.to_pandas()) == 0
        assert "no noise (RMS 0)" in result.warnings[0]
        assert result._repr_html_()
        assert len(result.write(tmp_path, outputs=PRODUCTS)) == len(PRODUCTS)


@pytest.mark.parametrize("threads", [2, 3])
def test_processes_change_nothing(threads: int, plain: pd.DataFrame) -> None:
    assert_same(se.extract(SKY, threads=threads), plain)


def test_the_package_itself_loads_nothing_heavy() -> None:
    """What is slow to import comes when it is used."""
    code = "import sys, source_extraction; print(*{'numpy', 'astropy', 'sep', 'pandas', 'matplotlib'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert run.stdout == "\n"
    assert {"extract", "Result", "InputError", "join_catalogs", "__version__"} <= set(dir(se))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = se.nothing
