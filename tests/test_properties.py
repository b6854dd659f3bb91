"""What must not change a result: the unit of the pixels, a pedestal, how a pixel is said to be missing."""

import gzip
import io
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from source_extraction import Result, extract
from source_extraction.core.columns import DETECTION_COLUMNS
from tests.simulated_sky import simulate

FIELD = simulate((300, 260), 90, seed=8).pixels
# What is found, before anything is measured.
FOUND = [column.name for column in DETECTION_COLUMNS if column.name != "label"]
FLUXES = ("thresh", "flux", "cflux", "peak", "cpeak")
WAYS = {
    "float_globalrms": {},
    "array_rms, conv": {"err_option": "array_rms", "filter_type": "conv"},
    "array_rms, matched": {"err_option": "array_rms", "thresh": 4.0},
    "none": {"err_option": "none", "thresh": 25.0},
    "no filter": {"filter_case": "none", "thresh": 3.0},
}
quickly = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def in_units(way: str, scale: float) -> dict:
    """The options of a way to threshold, an absolute threshold given in other units."""
    options = WAYS[way]
    return options | ({"thresh": options["thresh"] * scale} if way == "none" else {})


def assert_alike(found: Result, expected: Result, scale: float, *, exact: bool) -> None:
    assert len(expected) > 20
    assert len(found) == len(expected)
    np.testing.assert_array_equal(found.segmentation, expected.segmentation)
    found_sources, expected_sources = found.to_pandas(), expected.to_pandas()
    for name in FOUND:
        ours, theirs = found_sources[name] / (scale if name in FLUXES else 1), expected_sources[name]
        if exact or theirs.dtype.kind in "iu":
            np.testing.assert_array_equal(ours, theirs, err_msg=name)
        elif name in ("x", "y"):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
        elif name in FLUXES:
            np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scale", [1e-25, 1e-9, 1e15, 1e20])
def test_unit(way: str, scale: float) -> None:
    found = extract((FIELD * np.float64(scale)).astype(np.float32), **in_units(way, scale))
    assert_alike(found, extract(FIELD, **WAYS[way]), scale, exact=False)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("exponent", [-80, -7, 33, 90])
def test_power_of_two(way: str, exponent: int) -> None:
    found = extract(np.ldexp(FIELD, exponent), **in_units(way, 2.0**exponent))
    assert_alike(found, extract(FIELD, **WAYS[way]), 2.0**exponent, exact=True)


@quickly
@given(exponent=st.integers(-900, 900), way=st.sampled_from(sorted(WAYS)))
def test_power_of_two_in_float64(exponent: int, way: str) -> None:
    pixels = np.ldexp(FIELD.astype(np.float64), exponent)
    found = extract(pixels, **in_units(way, math.ldexp(1.0, exponent)))
    assert_alike(found, extract(FIELD, **WAYS[way]), math.ldexp(1.0, exponent), exact=True)


@quickly
@given(digits=st.floats(3, 9), way=st.sampled_from(sorted(WAYS)))
def test_pedestal(digits: float, way: str) -> None:
    pedestal = 10**digits
    found = extract(FIELD.astype(np.float64) + pedestal, **WAYS[way])
    expected = extract(FIELD, **WAYS[way])
    assert len(found) == len(expected)
    found_sources, expected_sources = found.to_pandas(), expected.to_pandas()
    np.testing.assert_allclose(found_sources["x"], expected_sources["x"], rtol=0, atol=1e-4)
    found_sky, expected_sky = found.summary["background"], expected.summary["background"]
    rms = expected_sky["rms"]
    # To 1e-5, or a thousandth of the noise of one pixel for the faintest.
    np.testing.assert_allclose(found_sources["flux"], expected_sources["flux"], rtol=1e-5, atol=1e-3 * rms)
    assert found_sky["rms"] == pytest.approx(rms, rel=1e-5)
    assert found_sky["global"] - pedestal == pytest.approx(expected_sky["global"], abs=1e-3)
    # The map is float32: as near to the truth as it can be.
    tolerance = np.spacing(np.float32(pedestal)) + 1e-3 * rms
    np.testing.assert_allclose(found.background - np.float64(pedestal), expected.background, rtol=0, atol=tolerance)


def holes(seed: int) -> np.ndarray:
    """A mask of a border, some stripes and some points."""
    random = np.random.default_rng(seed)
    masked = random.uniform(size=FIELD.shape) < 0.01
    masked[: random.integers(0, 5)] = True
    masked[:, random.integers(0, 250) :][:, :8] = True
    masked |= random.uniform(size=(len(FIELD), 1)) < 0.02
    return masked


@quickly
@given(seed=st.integers(0, 1000), way=st.sampled_from(sorted(WAYS)), value=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_mask_and_nan_are_the_same(seed: int, way: str, value: float) -> None:
    masked = holes(seed)
    by_mask = extract(FIELD, mask=masked, **WAYS[way])
    by_value = extract(np.where(masked, np.float32(value), FIELD), **WAYS[way])
    assert_alike(by_value, by_mask, 1, exact=True)


@quickly
@given(seed=st.integers(0, 1000), way=st.sampled_from(sorted(WAYS)), junk=st.sampled_from([-9999.0, 65535.0, 1e30]))
def test_what_is_under_the_mask_does_not_matter(seed: int, way: str, junk: float) -> None:
    masked = holes(seed)
    clean = extract(FIELD, mask=masked, **WAYS[way])
    dirty = extract(np.where(masked, np.float32(junk), FIELD), mask=masked, **WAYS[way])
    assert_alike(dirty, clean, 1, exact=True)


@quickly
@given(seed=st.integers(0, 1000), way=st.sampled_from(sorted(WAYS)))
def test_no_masked_pixel_has_a_label(seed: int, way: str) -> None:
    masked = holes(seed)
    found = extract(FIELD, mask=masked, **WAYS[way])
    assert not found.segmentation[masked].any()
    assert set(np.unique(found.segmentation)) == set(range(len(found) + 1))
    sources = found.to_pandas()
    for x, y in (("xpeak", "ypeak"), ("xcpeak", "ycpeak")):
        assert not masked[sources[y], sources[x]].any()


@quickly
@given(border=st.sampled_from([64, 128]), way=st.sampled_from(["float_globalrms", "none", "no filter"]))
def test_masked_border(border: int, way: str) -> None:
    """Cells of the mesh that are masked as a whole change nothing but the surface next to them."""
    framed = np.pad(FIELD, border, constant_values=np.nan)
    found = extract(framed, **WAYS[way])
    expected = extract(FIELD, **WAYS[way])
    assert found.segmentation[:border].max() == found.segmentation[:, :border].max() == 0
    bright = expected.to_pandas().query("flux > 2000")
    assert len(bright) > 10
    x, y = (found.to_pandas()[name].to_numpy()[:, None] - border - bright[name].to_numpy() for name in ("x", "y"))
    distance = np.hypot(x, y).min(axis=0)
    assert np.median(distance) < 0.02
    assert distance.max() < 0.3
    assert abs(len(found) - len(expected)) <= 0.05 * len(expected)


CONTAINERS = {
    "FITS": fits.writeto,
    "FITS, second HDU": lambda path, pixels: fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels)]).writeto(path),
    "FITS, Rice": lambda path, pixels: fits.CompImageHDU(pixels, quantize_level=0).writeto(path),
    "FITS, gzip": lambda path, pixels: path.write_bytes(gzip.compress(fits_bytes(pixels))),
    "TIFF": tifffile.imwrite,
    "TIFF, big": lambda path, pixels: tifffile.imwrite(path, pixels, bigtiff=True, byteorder=">"),
    "TIFF, deflate": lambda path, pixels: tifffile.imwrite(path, pixels, compression="deflate"),
}


def fits_bytes(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    fits.PrimaryHDU(pixels).writeto(file)
    return file.getvalue()


@quickly
@given(
    container=st.sampled_from(sorted(CONTAINERS)),
    kind=st.sampled_from(["int16", "uint16", "int32", "float32", "float64"]),
    way=st.sampled_from(sorted(WAYS)),
)
def test_container(container: str, kind: str, way: str) -> None:
    """The same pixels, whatever type and file hold them, give the same sources to the last digit."""
    if container == "FITS, Rice" and kind.startswith("float"):
        container = "FITS"  # Rice would round them
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dataset_1.dat"
        CONTAINERS[container](path, FIELD.astype(kind))
        found = extract(path, **WAYS[way])
    assert_alike(found, extract(FIELD, **WAYS[way]), 1, exact=True)
