"""Images of few distinct values: their noise is true, and what is found does not depend on how they are stored.

`benchmarks/few_values.py` has ten images of each kind, and SExtractor beside.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import sep
import tifffile
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from source_extraction import Result, extract
from tests.few_valued_skies import FewValued, Found, eight_bit, photon_counts, tally
from tests.sep_directly import DEFAULT_KERNEL
from tests.test_properties import assert_alike

SEEDS = (20, 21)
SCALES = (1, 3, 10, 0.7, 2.0**-10, 2.0**5)
quickly = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
KINDS = {
    "0.05 photons, stars": lambda seed: photon_counts(0.05, seed),
    "0.05 photons": lambda seed: photon_counts(0.05, seed, stars=False),
    "8 bits, spots": lambda seed: eight_bit(0.25, seed),
    "8 bits": lambda seed: eight_bit(0.25, seed, spots=False),
}


def total(tallies: list[Found]) -> Found:
    return Found(*(sum(values) for values in zip(*tallies, strict=True)))


def found_by_sep(sky: FewValued, thresh: float) -> np.ndarray:
    """What a user of SEP finds, who gives it the whole numbers: the same as SExtractor."""
    pixels = sky.pixels.astype(np.float32)
    background = sep.Background(pixels)
    sources = sep.extract(pixels - background.back(), thresh, err=background.globalrms, filter_kernel=DEFAULT_KERNEL)
    return np.column_stack([sources["x"], sources["y"]])


def scaled(pixels: np.ndarray, scale: float) -> np.ndarray:
    return pixels if scale == 1 else (pixels * np.float64(scale)).astype(np.float32)


def positions_of(result: Result) -> np.ndarray:
    return result.to_pandas()[["x", "y"]].to_numpy()


@pytest.mark.parametrize("thresh", [3.0, 4.0])
@pytest.mark.parametrize("kind", KINDS)
def test_found_as_by_sep_in_any_unit(kind: str, thresh: float) -> None:
    skies = [KINDS[kind](seed) for seed in SEEDS]
    theirs = total([tally(found_by_sep(sky, thresh), sky.positions) for sky in skies])
    number = sum(len(sky.positions) for sky in skies)
    for scale in SCALES:
        results = [extract(scaled(sky.pixels, scale), thresh=thresh) for sky in skies]
        ours = total([tally(positions_of(result), sky.positions) for result, sky in zip(results, skies, strict=True)])
        assert ours.right >= 0.98 * theirs.right, scale
        assert ours.false <= theirs.false + max(2, 0.01 * number), scale


RATES = (0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 2, 3, 10, 100)


@pytest.mark.parametrize("stars", [False, True])
@pytest.mark.parametrize("rate", RATES)
def test_noise_of_counts(rate: float, stars: bool) -> None:
    for scale in (1, 0.7, 2.0**-7):
        result = extract(scaled(photon_counts(rate, 3, stars=stars).pixels, scale))
        assert np.median(result.background_rms) == pytest.approx(scale * np.sqrt(rate), rel=0.2), scale


@pytest.mark.parametrize("spots", [False, True])
@pytest.mark.parametrize("background", [12.0, 12.25, 12.5])
@pytest.mark.parametrize("noise", [0.3, 0.34, 0.4, 0.5, 0.7, 1, 1.3, 2, 5, 10])
def test_noise_of_grey_levels(noise: float, background: float, spots: bool) -> None:
    true = eight_bit(noise, 4, background=background, spots=False).pixels.std()
    pixels = eight_bit(noise, 4, background=background, spots=spots).pixels
    for scale in (1, 10, 2.0**-7):
        rms = np.median(extract(scaled(pixels, scale)).background_rms)
        assert rms == pytest.approx(scale * true, rel=0.2), scale


def test_noise_of_counts_divided_by_an_exposure_map() -> None:
    """No two photons have the same value, but most pixels have that of none."""
    counts = photon_counts(0.05, 5).pixels
    y, x = np.indices(counts.shape)
    exposure = 1.2 - 0.4 * np.hypot(x - 256, y - 256) / 362
    pixels = counts / exposure
    true = (photon_counts(0.05, 5, stars=False).pixels / exposure).std()
    result = extract(pixels, thresh=3)
    assert np.median(result.background_rms) == pytest.approx(true, rel=0.2)
    assert tally(positions_of(result), photon_counts(0.05, 5).positions).right >= 62


def test_errors_are_those_of_the_noise() -> None:
    """A lone photon is many standard deviations of a noise out of nothing."""
    result = extract(photon_counts(0.05, 6).pixels, thresh=3, apertures=[5])
    pixels_of_aperture = np.pi * 2.5**2
    expected = np.sqrt(pixels_of_aperture * 0.05)
    np.testing.assert_allclose(result.to_pandas()["flux_aper_5_err"], expected, rtol=0.2)


@pytest.mark.parametrize("rate", [0.0001, 0.0003, 0.001])
def test_a_lone_photon_is_no_source(rate: float) -> None:
    assert len(extract(photon_counts(rate, 7, stars=False).pixels, thresh=3)) <= 2


@quickly
@given(
    exponent=st.integers(-100, 100),
    kind=st.sampled_from(sorted(KINDS)),
    way=st.sampled_from(["float_globalrms", "array_rms"]),
)
def test_powers_of_two_change_no_digit(exponent: int, kind: str, way: str) -> None:
    pixels = KINDS[kind](8).pixels.astype(np.float32)
    options = {"err_option": way, "filter_type": "conv", "thresh": 2.0}
    expected = extract(pixels, **options)
    found = extract(np.ldexp(pixels, exponent), **options)
    np.testing.assert_array_equal(found.segmentation, expected.segmentation)
    if len(expected) > 20:
        assert_alike(found, expected, 2.0**exponent, exact=True)


@pytest.mark.parametrize("kind", ["0.05 photons, stars", "8 bits, spots"])
def test_container_and_type_change_no_digit(kind: str) -> None:
    pixels = KINDS[kind](9).pixels
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hdu = fits.PrimaryHDU(pixels.astype(np.int16))
        hdu.writeto(folder / "int16.fits")
        fits.CompImageHDU(pixels.astype(np.int32)).writeto(folder / "compressed.fits")
        tifffile.imwrite(folder / "uint16.tif", pixels.astype(np.uint16), compression="zlib")
        images = [
            *sorted(folder.iterdir()),
            *(pixels.astype(kind) for kind in ("float64", "float32", "uint32", "int64")),
        ]
        expected = extract(pixels, thresh=3)
        for image in images:
            assert_alike(extract(image, thresh=3), expected, 1, exact=True)


@pytest.mark.parametrize("kind", ["0.05 photons, stars", "8 bits, spots"])
def test_scaled_in_the_header(tmp_path: Path, kind: str) -> None:
    """BSCALE and BZERO that no float32 holds."""
    pixels = KINDS[kind](9).pixels
    hdu = fits.PrimaryHDU(pixels.astype(np.int16))
    hdu.header["BSCALE"], hdu.header["BZERO"] = 0.7, 1234.5
    hdu.writeto(tmp_path / "scaled.fits")
    assert_alike(extract(tmp_path / "scaled.fits", thresh=3), extract(pixels, thresh=3), 0.7, exact=False)


@quickly
@given(kind=st.sampled_from(["0.05 photons, stars", "8 bits, spots"]), value=st.sampled_from([0, 7, 255, -1e6, np.nan]))
def test_a_masked_border_changes_no_source(kind: str, value: float) -> None:
    pixels = KINDS[kind](10).pixels.astype(np.float32)
    inside = extract(pixels, thresh=3).to_pandas()
    bordered = np.pad(pixels, 64, constant_values=value)
    mask = np.pad(np.zeros(pixels.shape, bool), 64, constant_values=True)
    found = extract(bordered, mask=mask, thresh=3).to_pandas()
    # The cells beside the border have other neighbours.
    assert len(found) == len(inside)
    np.testing.assert_allclose(found[["x", "y"]] - 64, inside[["x", "y"]], atol=0.1)


@pytest.mark.parametrize("kind", ["0.05 photons, stars", "8 bits, spots"])
def test_transposed(kind: str) -> None:
    pixels = KINDS[kind](11).pixels
    straight, turned = (extract(each, thresh=3).to_pandas().sort_values("x") for each in (pixels, pixels.T))
    straight = straight.sort_values(["x", "y"])
    turned = turned.sort_values(["y", "x"])
    assert len(straight) == len(turned)
    np.testing.assert_allclose(straight[["x", "y"]], turned[["y", "x"]], atol=1e-3)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("level", [0, 1000])
def test_zeros_outside_of_a_footprint_are_not_few_values(share: float, level: float) -> None:
    """Kind of spacetelescope/drizzlepac#1838: unused pixels were taken for the zeros of photon counts.

    A boundary in the middle of a mesh cell, and the background that SEP gives, for better or worse.
    """
    pixels = np.random.default_rng(16).normal(level, 3, (512, 512)).astype(np.float32)
    pixels[int(512 * (1 - share)) :] = level
    background = sep.Background(np.ldexp(pixels - level, 10))
    np.testing.assert_allclose(extract(pixels).background_rms[0, 0], background.rms()[0, 0] / 2**10, rtol=1e-3)


class TestWithoutNoise:
    """A sky of zeros, and steps of rounding."""

    def test_stars_on_a_thresholded_ground(self) -> None:
        """Dust of the background's interpolation is no source."""
        sky = photon_counts(0.0, 12)
        stars = np.where(sky.pixels > 3, sky.pixels, 0) + np.where(sky.pixels > 3, 0.37, 0)
        result = extract(np.kron(stars, np.ones((3, 3))))
        assert len(result) >= 40
        assert result.to_pandas()["npix"].max() < 5000
        assert result.segmentation[np.kron(stars, np.ones((3, 3))) == 0].astype(bool).mean() < 0.005

    @pytest.mark.parametrize(("slope", "most"), [(0.003, 1), (0.01, 1), (0.03, 0), (0.1, 0)])
    @pytest.mark.parametrize("thresh", [1.5, 3.0])
    def test_steps_of_rounding_are_no_sources(self, slope: float, most: int, thresh: float) -> None:
        """A smooth ramp; at most its last step, which the corner of the image makes an island, looks like a source."""
        y, x = np.indices((400, 500))
        assert len(extract(np.round(20 + slope * (x + 0.3 * y)).astype(np.uint8), thresh=thresh)) <= most

    @pytest.mark.parametrize("noise", [0.2, 0.3, 0.5])
    @pytest.mark.parametrize("slope", [0.003, 0.01, 0.03])
    def test_noise_on_a_ramp(self, slope: float, noise: float) -> None:
        """Its RMS is that around the ramp, and it has no source either."""
        y, x = np.indices((400, 500))
        ramp = 20 + slope * (x + 0.3 * y)
        pixels = np.round(ramp + np.random.default_rng(15).normal(0, noise, ramp.shape)).astype(np.uint8)
        result = extract(pixels)
        assert len(result) <= 1
        assert np.median(result.background_rms) == pytest.approx((pixels - ramp).std(), rel=0.2)
        assert np.abs(result.background - ramp).max() < 0.5


class TestNoCellIsHalfValid:
    """Circles and footprints: SEP says background 0 and RMS 1 there.

    Kind of lofar-astron/PyBDSF#365 and transientskp/tkp#17: little of a cell is in the field.
    """

    @pytest.mark.parametrize("kind", ["many values", "few values"])
    def test_statistics_of_the_valid_pixels(self, kind: str, capsys: pytest.CaptureFixture) -> None:
        random = np.random.default_rng(13)
        pixels = random.normal(1000, 5, (128, 128))
        if kind == "few values":
            pixels = random.poisson(0.2, (128, 128)).astype(float)
        y, x = np.indices(pixels.shape)
        pixels[np.hypot(x - 64, y - 64) > 40] = np.nan
        good = pixels[np.isfinite(pixels)]
        result = extract(pixels)
        assert np.median(result.background_rms) == pytest.approx(good.std(), rel=0.2)
        assert np.median(result.background) == pytest.approx(good.mean(), abs=0.2 * good.std())
        assert len(result) == 0

    def test_the_log_says_so(self, tmp_path: Path) -> None:
        from tests.conftest import succeed

        pixels = np.full((128, 128), np.nan, np.float32)
        pixels[44:84, 44:84] = np.random.default_rng(14).normal(50, 2, (40, 40))
        fits.writeto(tmp_path / "image.fits", pixels)
        said = succeed(tmp_path / "image.fits", "--outputs", "catalog.tsv", folder=tmp_path)
        assert "No cell of the background mesh has half of its pixels" in said
        assert "(--bw, --bh)" in said


IMAGES = os.environ.get("SOURCE_EXTRACTOR_IMAGES")
# File: (threshold, sources that SExtractor 2.25 finds). Not compared are the 50 that it finds in Chandra's at 1.5: in
# pure noise of as many photons it finds 47 to 66.
REAL = {"chandra_image2.fits": (3.0, 3), "tic_tiny_crop_uint8.fits": (1.5, 67)}


@pytest.mark.skipif(not IMAGES, reason="SOURCE_EXTRACTOR_IMAGES names no folder of real images")
@pytest.mark.parametrize("name", REAL)
def test_real_images(name: str) -> None:
    """As many sources as SExtractor 2.25 finds, in any unit."""
    thresh, number = REAL[name]
    pixels = fits.getdata(Path(IMAGES or "") / "kinds" / name)
    for scale in SCALES:
        assert len(extract(scaled(pixels, scale), thresh=thresh)) == number
