"""What is too much for SEP as it comes: huge sources, many peaks, noise everywhere, no noise at all."""

import re
import resource
from pathlib import Path

import numpy as np
import pytest
import sep
from astropy.io import fits

from source_extraction.core.sep_extract import PIXEL_BUFFER, SepCall
from tests import sep_directly
from tests.conftest import read_catalog, succeed
from tests.test_against_sep import assert_same_catalog

PRODUCTS = ("--outputs", "catalog.tsv,segmentation_map.fits,background_rms.fits")


def noise(*shape: int) -> np.ndarray:
    """The same for a shape whenever it is called, so that no test has other pixels where others run before it."""
    return np.random.default_rng(4).normal(0, 1, shape).astype(np.float32)


def away(side: int, x: float, y: float) -> np.ndarray:
    rows, columns = np.indices((side, side))
    return np.hypot(columns - x, rows - y)


def extract(folder: Path, pixels: np.ndarray, *options: str) -> str:
    fits.writeto(folder / "image.fits", pixels.astype(np.float32))
    return succeed(folder / "image.fits", *PRODUCTS, *options, folder=folder)


def assert_consistent(folder: Path) -> None:
    """Labels of catalog and map agree, and so do the numbers of pixels."""
    labels, catalog = fits.getdata(folder / "segmentation_map.fits"), read_catalog(folder)
    counts = np.bincount(labels.ravel(), minlength=len(catalog) + 1)[1:]
    np.testing.assert_array_equal(counts, catalog["npix"])
    np.testing.assert_array_equal(catalog["label"], np.arange(1, len(catalog) + 1))


def test_source_of_half_a_million_pixels(tmp_path: Path) -> None:
    """SEP's buffer of 300,000 pixels overflows; it grows, and the small sources are split as ever."""
    pixels = noise(1200, 1200) + 1000 * (away(1200, 600, 600) < 400)
    for x in (60, 70):
        pixels += 1000 * np.exp(-(away(1200, x, 60) ** 2) / 8)
    said = extract(tmp_path, pixels, "--bw", "1200", "--bh", "1200", "--err_option", "none", "--thresh", "50")
    assert "Warning" not in said
    catalog = read_catalog(tmp_path)
    assert catalog["npix"].max() == pytest.approx(np.pi * 400**2, rel=0.01)
    assert ((catalog["x"] - 60).abs() < 1).any()
    assert ((catalog["x"] - 70).abs() < 1).any()
    assert_consistent(tmp_path)


def test_threshold_in_the_noise(tmp_path: Path) -> None:
    extract(tmp_path, noise(800, 800), "--err_option", "none", "--thresh", "1e-9")
    assert len(read_catalog(tmp_path)) > 100
    assert_consistent(tmp_path)


def test_noisy_plateau(tmp_path: Path) -> None:
    """More peaks than the 1,024 sub-objects that SEP can count at first."""
    pixels = noise(700, 700) + 5 * (away(700, 350, 350) < 200).astype(np.float32)
    with pytest.raises(Exception, match="object deblending overflow"):
        sep.extract(pixels, 2, filter_kernel=None, deblend_cont=0, minarea=3)
    options = ("--bw", "700", "--bh", "700", "--deblend_cont", "0", "--filter_case", "none", "--minarea", "3")
    options += ("--err_option", "none", "--thresh", "2", "--no-clean")
    said = extract(tmp_path, pixels, *options)
    assert "Warning" not in said
    assert len(read_catalog(tmp_path)) > 1024
    assert_consistent(tmp_path)


def test_blend_that_fills_the_image(tmp_path: Path) -> None:
    """Left whole, and said so, in bounded memory; what is beside it is split as ever."""
    side = 2048
    pixels = noise(side, side)
    rows, columns = np.indices((17, 17))
    star = (100 * np.exp(-((columns - 8) ** 2 + (rows - 8) ** 2) / 8)).astype(np.float32)
    for x, y in np.random.default_rng(5).integers(0, side - 17, (20000, 2)):
        pixels[y : y + 17, x : x + 17] += star
    said = extract(tmp_path, pixels, "--err_option", "none", "--thresh", "1e-3", "--bw", str(side), "--bh", str(side))
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < 3e9
    label = int(re.search(r"Warning: 1 source is too large .* kept whole \(label (\d+)\)", said)[1])
    catalog = read_catalog(tmp_path).set_index("label")
    assert catalog.loc[label, "npix"] > 1_500_000
    assert (catalog["flag"] & 1).sum() > 100
    assert_consistent(tmp_path)


CALM = {
    "constant": np.full((90, 70), 7, dtype=np.int16),
    "zero": np.zeros((90, 70), dtype=np.float32),
    "one pixel": np.full((1, 1), 3, dtype=np.float32),
    "one row": np.full((1, 500), 3, dtype=np.float32),
    "one column": np.full((500, 1), -3, dtype=np.float32),
}


@pytest.mark.parametrize("case", CALM)
@pytest.mark.parametrize("option", ["float_globalrms", "array_rms", "none"])
def test_nothing_to_find(tmp_path: Path, case: str, option: str) -> None:
    fits.writeto(tmp_path / "image.fits", CALM[case])
    said = succeed(tmp_path / "image.fits", *PRODUCTS, "--err_option", option, folder=tmp_path)
    assert "Warning: the background has no noise (RMS 0)" in said
    assert "Sources: 0: nothing exceeds the threshold in enough connected pixels" in said
    assert len(read_catalog(tmp_path)) == 0
    assert not fits.getdata(tmp_path / "segmentation_map.fits").any()


@pytest.mark.parametrize("shape", [(20, 30), (63, 64), (1, 900), (900, 1), (5, 900)])
@pytest.mark.parametrize("level", [0, -1000])
def test_small_thin_and_negative_images(tmp_path: Path, shape: tuple[int, int], level: float) -> None:
    """A source comes back wherever it is, on images smaller than the mesh and below zero."""
    pixels = noise(*shape) + level
    row, column = shape[0] // 2, shape[1] // 2
    pixels[max(0, row - 1) : row + 2, max(0, column - 2) : column + 3] += 200
    extract(tmp_path, pixels, "--minarea", "3")
    catalog = read_catalog(tmp_path)
    brightest = catalog.loc[catalog["flux"].idxmax()]
    assert (abs(brightest["x"] - column), abs(brightest["y"] - row)) < (1.5, 1.5)


def test_sources_without_noise(tmp_path: Path) -> None:
    """Discs on black, as after a segmentation: each is found, whatever its unit, and the log says how.

    One step above black, the fainter disc could as well be noise of few values: it raises its mesh cell a little.
    """
    for scale in (1, 1e-12, 1e12):
        folder = tmp_path / str(scale)
        folder.mkdir()
        pixels = scale * ((away(200, 50, 60) < 8) * 3.0 + (away(200, 150, 120) < 5) * 200.0)
        said = extract(folder, pixels)
        assert f"Few distinct values, {3 * scale:.4g} apart: " in said
        catalog = read_catalog(folder)
        np.testing.assert_allclose(catalog[["x", "y"]], [[50, 60], [150, 120]], atol=0.01)
        given = (*PRODUCTS, "--err_option", "none", "--thresh", str(100 * scale))
        succeed(folder / "image.fits", *given, folder=folder)
        assert len(read_catalog(folder)) == 1


@pytest.mark.parametrize("value", [3e38, -3e38, 1e35])
@pytest.mark.parametrize("noise_level", [1e-4, 1, 1e4])
def test_pixels_at_the_end_of_float32(tmp_path: Path, value: float, noise_level: float) -> None:
    """They stand for saturation or nothing: no row is NaN for them, and the other sources are found."""
    pixels = noise(200, 200)
    pixels[100:104, 150:155] += 100
    pixels = noise_level * pixels
    pixels[30:33, 40:43] = value
    extract(tmp_path, pixels)
    catalog = read_catalog(tmp_path)
    numbers = catalog.select_dtypes("number").drop(columns=["flux_radius"])
    assert np.isfinite(numbers).all(axis=None)
    assert ((catalog["x"] - 152).abs() < 0.5).any()


def test_mesh_larger_than_the_image(tmp_path: Path) -> None:
    pixels = (noise(50, 40) + 10).astype(np.float32)
    pixels[20:24, 20:24] += 60
    extract(tmp_path, pixels, "--bw", "2000000", "--fw", "9999")
    expected = sep_directly.extract(pixels, mesh={"bw": 64, "bh": 64})[0]
    assert_same_catalog(read_catalog(tmp_path), expected)


def test_rms_map_is_never_zero_or_less(tmp_path: Path) -> None:
    """Columns of -9999 drive the spline of the noise below zero. No source is there, and so nothing to be said."""
    pixels = noise(512, 512)
    pixels[:, 200:220] = -9999
    options = ("--err_option", "array_rms", "--filter_type", "conv", "--bw", "32", "--fw", "1", "--fh", "1")
    said = extract(tmp_path, pixels, *options)
    rms = fits.getdata(tmp_path / "background_rms.fits")
    assert (rms > 0).all()
    assert np.count_nonzero(rms == rms.min()) > 100
    assert not fits.getdata(tmp_path / "segmentation_map.fits")[rms == rms.min()].any()
    assert "fell to zero" not in said


def test_one_source_where_the_rms_map_is_at_its_floor(tmp_path: Path) -> None:
    pixels = noise(512, 512)
    pixels[:, :240] = 0
    pixels[200:206, 100:106] += 500
    said = extract(tmp_path, pixels)
    assert "Warning: 1 source lies where the background RMS map fell to zero or near it" in said


@pytest.mark.parametrize("value", [0, -9999])
def test_sources_where_the_rms_map_is_at_its_floor_are_counted(tmp_path: Path, value: float) -> None:
    pixels = noise(512, 512)
    pixels[:, :240] = value
    for x in (100, 160, 400):
        pixels[200:206, x : x + 6] += 500
    said = extract(tmp_path, pixels)
    warned = re.search(r"Warning: (\d+) sources lie where the background RMS map fell to zero or near it", said)
    rms = fits.getdata(tmp_path / "background_rms.fits")
    there = np.unique(fits.getdata(tmp_path / "segmentation_map.fits")[rms == rms.min()])
    assert int(warned[1]) == np.count_nonzero(there) >= 2
    # As a command line takes it: what begins with a minus is no option.
    option = f"--missing {value}" if value >= 0 else f"--missing={value}"
    assert f"the image is exactly {value} there: {option}, or a mask, leaves it out" in said


def test_what_lets_noise_in_is_said(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "image.fits", noise(100, 100))
    chosen = ("--outputs", "catalog.tsv")
    assert "Filter" not in succeed(tmp_path / "image.fits", *chosen, folder=tmp_path)
    said = succeed(tmp_path / "image.fits", *chosen, "--filter_case", "none", folder=tmp_path)
    assert "Filter: none. Below a threshold of 2 much noise counts as sources\n" in said
    brightness = ("--err_option", "none", "--filter_case", "none")
    assert "Filter: none\n" in succeed(tmp_path / "image.fits", *chosen, *brightness, folder=tmp_path)
    said = succeed(tmp_path / "image.fits", *chosen, "--err_option", "array_rms", folder=tmp_path)
    assert "in units of the noise of the filtered image, which is lower: below a threshold of 4 much noise" in said
    conv = ("--err_option", "array_rms", "--filter_type", "conv")
    assert "Filter" not in succeed(tmp_path / "image.fits", *chosen, *conv, folder=tmp_path)


def test_sep_s_buffer_grows_for_a_source_of_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source of most of the pixels does not fit into the buffer that does for others; it is found as SEP finds it."""
    rows, columns = np.indices((200, 300))
    pixels = (100 * np.exp(-((rows - 90) ** 2 + (columns - 140) ** 2) / 1e4)).astype(np.float32)
    options = {"filter_kernel": None, "filter_type": "conv", "minarea": 5, "deblend_nthresh": 32}
    expected, segmentation = sep.extract(pixels, 20.0, segmentation_map=True, **options)
    assert segmentation.any(axis=1).sum() > 150
    buffers: list[int] = []
    directly = sep.extract

    def watched(*given: object, **more: object) -> object:
        buffers.append(sep.get_extract_pixstack())
        return directly(*given, **more)

    monkeypatch.setattr(sep, "extract", watched)
    found = SepCall(pixels, 20.0, None, options).run()
    np.testing.assert_array_equal(found.sources, expected)
    np.testing.assert_array_equal(found.segmentation, segmentation)
    # Small at first, then as large as the image, and a row: all that SEP can have to keep.
    assert buffers == [3500, 200 * 300 + 300 + 10]
    assert sep.get_extract_pixstack() == PIXEL_BUFFER
