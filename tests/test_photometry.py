"""Fluxes, errors and positions against the truth, and what each input and option does to them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sep
from astropy.io import fits

from source_extraction.core.columns import DETECTION_COLUMNS, PhotometryFlag
from source_extraction.core.detection import Detector
from source_extraction.core.filters import DEFAULT_KERNEL
from source_extraction.core.half_light import radii_of_half
from source_extraction.core.photometry import Measurable, measure
from source_extraction.core.sky import estimate_background
from source_extraction.core.threshold import Threshold
from source_extraction.readers.images import read_image
from source_extraction.settings import Settings
from tests import sep_directly
from tests.conftest import TEST_DATA, read_catalog, run_tool, succeed

SKY = TEST_DATA / "sky.fits"
CATALOG = ("--outputs", "catalog.tsv")
MEASURED_ON = [
    "flux_iso", "flux_iso_err", "flux_auto", "flux_auto_err", "flux_aper_5", "flux_aper_5_err", "flux_aper_10",
]  # fmt: skip


def catalog_of(*arguments: object, folder: Path) -> pd.DataFrame:
    succeed(*arguments, *CATALOG, folder=folder)
    return read_catalog(folder)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The catalog of the shipped sky with the defaults."""
    return catalog_of(SKY, folder=tmp_path_factory.mktemp("plain"))


def gaussian_stars(seed: int, sigma: float = 1.5) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A sky of isolated Gaussian stars in electrons, with Poisson noise: pixels, x, y, flux."""
    random = np.random.default_rng(seed)
    x, y = (axis.ravel().astype(float) for axis in np.meshgrid(np.arange(30, 1000, 40), np.arange(30, 1000, 40)))
    x, y = (axis + random.uniform(-0.5, 0.5, axis.size) for axis in (x, y))
    flux = np.exp(random.uniform(np.log(1000), np.log(100000), x.size))
    rows, columns = np.indices((1024, 1024))
    pixels = np.full(rows.shape, 200.0)
    for x0, y0, light in zip(x, y, flux, strict=True):
        near = np.s_[int(y0) - 15 : int(y0) + 16, int(x0) - 15 : int(x0) + 16]
        r2 = (columns[near] - x0) ** 2 + (rows[near] - y0) ** 2
        pixels[near] += light * np.exp(-r2 / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    return random.poisson(pixels).astype(np.float32), x, y, flux


def test_fluxes_and_errors_against_the_truth(tmp_path: Path) -> None:
    """The difference to the truth, in units of the stated error, is a normal distribution."""
    pixels, x, y, flux = gaussian_stars(seed=3)
    fits.writeto(tmp_path / "stars.fits", pixels)
    catalog = catalog_of(tmp_path / "stars.fits", "--gain", "1", "--zeropoint", "30", folder=tmp_path)
    distance = np.hypot(catalog["x"].to_numpy()[:, None] - x, catalog["y"].to_numpy()[:, None] - y)
    isolated = ((catalog["flag"] == 0) & (catalog["flag_phot"] == 0)).to_numpy() & (distance.min(axis=1) < 1)
    assert isolated.sum() > 500
    found, true = catalog[isolated], flux[distance.argmin(axis=1)[isolated]]
    for name in ("flux_auto", "flux_aper_10"):
        pull = (found[name] - true) / found[f"{name}_err"]
        # A circle of 10 pixels misses 0.4 % of such a star, which is more than the error of the brightest.
        pull = pull if name == "flux_auto" else pull[true < 10000]
        assert abs(pull.mean()) < 0.2, name
        assert 0.8 < pull.std() < 1.3, name
    magnitude_pull = (found["mag_auto"] - (30 - 2.5 * np.log10(true))) / found["mag_auto_err"]
    assert abs(magnitude_pull.mean()) < 0.2
    assert 0.8 < magnitude_pull.std() < 1.3
    bright = true > 5000
    for axis, truth in (("x", x), ("y", y)):
        pull = ((found[axis] - truth[distance.argmin(axis=1)[isolated]]) / found[f"{axis}_err"])[bright]
        assert abs(pull.mean()) < 0.2
        assert 0.8 < pull.std() < 1.3
    # Half the light of a Gaussian lies within sqrt(2 ln 2) sigma.
    assert np.median(found["flux_radius"]) == pytest.approx(np.sqrt(2 * np.log(2)) * 1.5, rel=0.03)
    # The moments are those of the filtered light: the default kernel adds a variance of 1/2 pixel.
    assert np.median(found["fwhm"][bright]) == pytest.approx(2.3548 * np.sqrt(1.5**2 + 0.5), rel=0.05)


def test_windowed_positions_are_the_better_ones(tmp_path: Path) -> None:
    pixels, x, y, _ = gaussian_stars(seed=4)
    fits.writeto(tmp_path / "stars.fits", pixels)
    catalog = catalog_of(tmp_path / "stars.fits", folder=tmp_path)
    away = [
        np.hypot(catalog["x" + kind].to_numpy()[:, None] - x, catalog["y" + kind].to_numpy()[:, None] - y).min(axis=1)
        for kind in ("", "_win")
    ]
    assert np.median(away[1]) < 0.95 * np.median(away[0])


def test_half_of_the_light_is_within_the_half_light_radius(plain: pd.DataFrame) -> None:
    """Summed by SEP on its own, neighbours' pixels left out; SEP's radii agree as far as its 64 rings allow."""
    pixels = fits.getdata(SKY).astype(np.float32)
    _, labels, background, _ = sep_directly.extract(pixels)
    pixels -= background
    bright = plain[(plain["flux_auto"] > 0) & (plain["flag_phot"] == 0)]
    x, y, a, flux, radius = (bright[name].to_numpy().copy() for name in ("x", "y", "a", "flux_auto", "flux_radius"))
    whose = {"segmap": labels, "seg_id": bright["label"].to_numpy(dtype=np.int32)}
    held, _, _ = sep.sum_circle(pixels, x, y, radius, subpix=0, **whose)
    np.testing.assert_allclose(held / flux, 0.5, atol=2e-4)
    of_rings, _ = sep.flux_radius(pixels, x, y, 6 * a, 0.5, normflux=flux, **whose)
    np.testing.assert_allclose(radius, of_rings, rtol=0.06)
    assert np.median(np.abs(radius / of_rings - 1)) < 0.01


class TestRadiiOfHalf:
    """The search for half-light radii on growth curves that are known."""

    @staticmethod
    def searched(growth: Callable[[np.ndarray], np.ndarray], area: float = 18.0) -> tuple[float, int]:
        """The radius found and how many circles it took, with a semi-major axis of 2 and a first circle of 2, too."""
        circles: list[np.ndarray] = []

        def share(rows: np.ndarray, radii: np.ndarray) -> np.ndarray:
            circles.append(radii)
            return growth(radii)

        return float(radii_of_half(share, np.array([2.0]), np.array([area]))[0]), len(circles)

    @pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
    def test_of_stars_and_galaxies(self, scale: float) -> None:
        """Few circles are enough, however far the first guess is."""
        radius, circles = self.searched(lambda r: 1 - np.exp(-((r / scale) ** 2) / 2))
        assert radius == pytest.approx(1.17741 * scale, rel=2e-4)
        assert circles <= 5
        radius, circles = self.searched(lambda r: 1 - (1 + r / scale) * np.exp(-r / scale))
        assert radius == pytest.approx(1.67835 * scale, rel=2e-4)
        assert circles <= 7

    @pytest.mark.parametrize("area", [np.nan, -5.0, 0.0, 1e-300, 1e300, np.inf])
    def test_whatever_the_peak_says(self, area: float) -> None:
        radius, circles = self.searched(lambda r: 1 - np.exp(-(r**2) / 2), area)
        assert radius == pytest.approx(1.17741, rel=2e-4)
        assert circles <= 6

    def test_of_a_ring_of_light(self) -> None:
        """Where the line through the last two circles leads nowhere, the range is halved."""
        assert self.searched(lambda r: np.clip((r - 7) / 2, 0, 1))[0] == pytest.approx(8, abs=1e-3)

    def test_of_light_that_is_not_there(self) -> None:
        """Not found: too little light within the largest circle, however dark the middle."""
        assert np.isnan(self.searched(lambda r: 0.4 * (1 - np.exp(-(r**2))))[0])
        assert np.isnan(self.searched(lambda r: np.full(len(r), np.nan))[0])

    def test_each_source_by_itself(self) -> None:
        """What is found does not depend on the others, on which the number of circles does."""
        scales = np.geomspace(0.2, 9, 50)
        a, area = np.full((2, 50), [[2.0], [18.0]])
        together = radii_of_half(lambda rows, r: 1 - np.exp(-((r / scales[rows]) ** 2) / 2), a, area)
        alone = [self.searched(lambda r, scale=scale: 1 - np.exp(-((r / scale) ** 2) / 2))[0] for scale in scales]
        assert together.tolist() == alone


def test_light_that_does_not_grow_is_left_to_sep(tmp_path: Path) -> None:
    """A bar in a dark sky: no circle holds half of the flux of its ellipse, and the radius is that of the largest."""
    random = np.random.default_rng(0)
    rows, columns = np.indices((400, 400)) - 200
    light = random.normal(0, 1, rows.shape) + 100 * np.exp(-((columns / 12.0) ** 2 + (rows / 1.5) ** 2) / 2)
    fits.writeto(tmp_path / "bar.fits", light.astype(np.float32))
    bar = catalog_of(tmp_path / "bar.fits", folder=tmp_path).sort_values("flux_auto").iloc[-1]
    dark = (np.abs(rows) > bar["kron_radius"] * bar["b"] + 1) & (np.hypot(rows, columns) < 7 * bar["a"])
    light[dark] -= 100
    fits.writeto(tmp_path / "dark.fits", light.astype(np.float32))
    options = ("--measure_file", tmp_path / "dark.fits", "--no-subtract_background")
    measured = catalog_of(tmp_path / "bar.fits", *options, folder=tmp_path).sort_values("npix").iloc[-1]
    assert measured["label"] == bar["label"]
    assert measured["flux_radius"] == pytest.approx(6 * measured["a"])


def test_derived_columns(plain: pd.DataFrame) -> None:
    np.testing.assert_allclose(plain["snr"], plain["flux_auto"] / plain["flux_auto_err"], rtol=1e-7)
    np.testing.assert_allclose(plain["ellipticity"], 1 - plain["b"] / plain["a"], atol=1e-6)
    np.testing.assert_allclose(plain["elongation"], plain["a"] / plain["b"], rtol=1e-6)
    np.testing.assert_allclose(plain["fwhm"], 2 * np.sqrt(np.log(2) * (plain["a"] ** 2 + plain["b"] ** 2)), rtol=1e-6)
    np.testing.assert_allclose(plain["flux_iso"], plain["flux"], rtol=1e-5)
    assert set(plain["image"]) == {"sky.fits"}
    assert not any(name.startswith("mag") for name in plain)


def test_magnitudes(plain: pd.DataFrame, tmp_path: Path) -> None:
    magnitudes = catalog_of(SKY, "--zeropoint", "22.5", "--apertures", "2.5,8", folder=tmp_path)
    expected = {f"mag_{kind}{error}" for kind in ("auto", "aper_2_5", "aper_8") for error in ("", "_err")}
    assert {name for name in magnitudes if name.startswith("mag")} == expected
    np.testing.assert_allclose(magnitudes["mag_auto"], 22.5 - 2.5 * np.log10(plain["flux_auto"]), rtol=1e-7)
    np.testing.assert_allclose(
        magnitudes["mag_aper_8_err"], 2.5 / np.log(10) * magnitudes["flux_aper_8_err"] / magnitudes["flux_aper_8"]
    )


def test_a_flux_that_is_not_positive_has_no_magnitude(tmp_path: Path) -> None:
    """Measured on a sky that is dark where the sources are."""
    pixels = fits.getdata(SKY)
    fits.writeto(tmp_path / "dark.fits", 1000 - pixels)
    options = ("--measure_file", tmp_path / "dark.fits", "--zeropoint", "25")
    catalog = catalog_of(SKY, *options, folder=tmp_path)
    negative = catalog["flux_auto"] <= 0
    assert negative.sum() > 100
    assert catalog["mag_auto"][negative].isna().all()
    assert catalog["flux_radius"][negative].isna().all()


def test_keywords(plain: pd.DataFrame, tmp_path: Path) -> None:
    by_number = catalog_of(SKY, "--gain", "2", folder=tmp_path)
    by_keyword = catalog_of(SKY, "--gain", "GAIN", folder=tmp_path)
    pd.testing.assert_frame_equal(by_number, by_keyword)
    # Poisson noise adds the light itself, in electrons, to the variance.
    expected = np.sqrt(plain["flux_aper_10_err"] ** 2 + plain["flux_aper_10"].clip(lower=0) / 2)
    np.testing.assert_allclose(by_number["flux_aper_10_err"], expected, rtol=1e-5)
    assert "The header also has: --gain GAIN (2)" in succeed(SKY, *CATALOG, folder=tmp_path)
    assert "The header also" not in succeed(SKY, *CATALOG, "--gain", "2", folder=tmp_path)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--gain", "CCDSPEED"), "its header has no keyword 'CCDSPEED' for --gain; give the number or another keyword"),
        (("--zeropoint", "OBJECT"), "its keyword OBJECT = 'simulated sky' is not a value for --zeropoint"),
        (("--gain", "CD1_1"), "is not a value for --gain, a finite number above 0"),
    ],
)
def test_keywords_that_do_not_serve(tmp_path: Path, options: tuple[str, ...], complaint: str) -> None:
    run = run_tool(SKY, *CATALOG, *options, folder=tmp_path)
    assert run.returncode == 1
    assert complaint in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_keyword_of_the_primary_header(tmp_path: Path) -> None:
    primary = fits.PrimaryHDU(header=fits.Header({"EGAIN": 2.0}))
    fits.HDUList([primary, fits.ImageHDU(fits.getdata(SKY))]).writeto(tmp_path / "extension.fits")
    assert "--gain EGAIN (2)" in succeed(tmp_path / "extension.fits", *CATALOG, folder=tmp_path)


def test_a_tiff_has_no_keywords(tmp_path: Path) -> None:
    run = run_tool(TEST_DATA / "sky.tiff", *CATALOG, "--gain", "GAIN", folder=tmp_path)
    assert run.returncode == 1
    assert "its header has no keyword 'GAIN'" in run.stderr


def test_kron_options(plain: pd.DataFrame, tmp_path: Path) -> None:
    wide = catalog_of(SKY, "--kron_factor", "4", "--kron_min_radius", "0", folder=tmp_path)
    above = plain["kron_radius"] > 3.5
    assert above.sum() > 50
    np.testing.assert_allclose(wide["kron_radius"][above], plain["kron_radius"][above] * 4 / 2.5, rtol=1e-6)
    assert (plain["kron_radius"] >= 3.5).all()
    fixed = catalog_of(SKY, "--kron_min_radius", "9", folder=tmp_path)
    assert (fixed["kron_radius"] >= 9).all()


def test_saturation(plain: pd.DataFrame, tmp_path: Path) -> None:
    """The level is that of the file's pixels, background included."""
    pixels, level = fits.getdata(SKY), 2000.0
    segmentation = tmp_path / "segmentation_map.fits"
    succeed(SKY, "--outputs", "catalog.tsv,segmentation_map.fits", "--saturation", str(level), folder=tmp_path)
    saturated = np.unique(fits.getdata(segmentation)[pixels >= level])
    flagged = read_catalog(tmp_path).query("flag_phot % 2 == 1")["label"]
    assert list(flagged) == list(saturated[saturated > 0])
    assert 3 < len(flagged) < 50
    assert (plain["flag_phot"] % 2 == 0).all()


def test_masked_fraction(tmp_path: Path) -> None:
    """A mask over the right half of the brightest star."""
    mask = np.zeros((360, 480), np.uint8)
    mask[100:180, 371:420] = 1
    fits.writeto(tmp_path / "mask.fits", mask)
    catalog = catalog_of(SKY, "--mask_file", tmp_path / "mask.fits", folder=tmp_path)
    star = catalog.loc[np.hypot(catalog["x"] - 369, catalog["y"] - 137).idxmin()]
    assert 0.2 < star["masked_fraction"] < 0.6
    assert int(star["flag_phot"]) & 32
    far = catalog["x"] < 300
    assert (catalog["masked_fraction"][far] == 0).all()


def test_neighbours_draw_no_window_away(plain: pd.DataFrame) -> None:
    assert (plain["flag_phot"] // 2 % 2 == 0).all()
    assert ((plain["x_win"] != plain["x"]) & (plain["y_win"] != plain["y"])).all()


class TestNoiseMap:
    """--err_option file"""

    def test_the_tool_s_own_map_as_a_file_changes_nothing(self, tmp_path: Path) -> None:
        options = ("--err_option", "array_rms", "--filter_type", "conv")
        succeed(SKY, *options, "--outputs", "catalog.tsv,background_rms.fits", folder=tmp_path)
        expected = read_catalog(tmp_path)
        rms = fits.getdata(tmp_path / "background_rms.fits").astype(np.float64)
        for error_type, values in (("rms", rms), ("variance", rms**2), ("weight", rms**-2)):
            fits.writeto(tmp_path / "noise.fits", values, overwrite=True)
            given = ("--err_option", "file", "--error_file", tmp_path / "noise.fits", "--error_type", error_type)
            found = catalog_of(SKY, *given, "--filter_type", "conv", folder=tmp_path)
            pd.testing.assert_frame_equal(found, expected, rtol=1e-6)

    def test_weight_zero_is_masked(self, tmp_path: Path) -> None:
        weight = np.full((360, 480), 1 / 8.8**2, np.float32)
        weight[:, 240:] = 0
        fits.writeto(tmp_path / "weight.fits", weight)
        options = ("--err_option", "file", "--error_file", tmp_path / "weight.fits", "--error_type", "weight")
        said = succeed(SKY, *options, "--filter_type", "conv", *CATALOG, folder=tmp_path)
        assert "Masked pixels: 86400 (86400 without a noise in the noise map)" in said
        assert read_catalog(tmp_path)["xmax"].max() == 239
        assert "check --error_type" not in said

    def test_a_map_of_another_kind_is_noticed(self, tmp_path: Path) -> None:
        fits.writeto(tmp_path / "weight.fits", np.full((360, 480), 1 / 8.8**2))
        said = succeed(SKY, "--err_option", "file", "--error_file", tmp_path / "weight.fits", *CATALOG, folder=tmp_path)
        assert "times the noise that the image has; check --error_type and its unit" in said

    @pytest.mark.parametrize(
        ("values", "complaint"),
        [
            (np.ones((100, 90)), "the noise map has 90 x 100 pixels, the image"),
            (np.zeros((360, 480)), "no pixel of the noise map is above 0; check the file and --error_type"),
        ],
    )
    def test_refused(self, tmp_path: Path, values: np.ndarray, complaint: str) -> None:
        fits.writeto(tmp_path / "noise.fits", values)
        options = ("--err_option", "file", "--error_file", tmp_path / "noise.fits")
        run = run_tool(SKY, *options, *CATALOG, folder=tmp_path / "out")
        assert run.returncode == 1
        assert complaint in run.stderr

    def test_options_go_together(self, tmp_path: Path) -> None:
        run = run_tool(SKY, "--err_option", "file", folder=tmp_path)
        assert (run.returncode, "add --error_file FILE" in run.stderr) == (2, True)
        run = run_tool(SKY, "--error_file", SKY, folder=tmp_path)
        assert (run.returncode, "add --err_option file" in run.stderr) == (2, True)


class TestMeasureFile:
    """--measure_file: found on one image, measured on another."""

    def test_the_same_image_gives_the_same_numbers(self, plain: pd.DataFrame, tmp_path: Path) -> None:
        measured = catalog_of(SKY, "--measure_file", SKY, folder=tmp_path)
        pd.testing.assert_frame_equal(measured, plain)

    def test_another_flux_scale(self, plain: pd.DataFrame, tmp_path: Path) -> None:
        """Three times the light on another pedestal: positions and shapes stay, fluxes scale."""
        fits.writeto(tmp_path / "other.fits", 3 * fits.getdata(SKY) + 500)
        measured = catalog_of(SKY, "--measure_file", tmp_path / "other.fits", folder=tmp_path)
        kept = [*plain.columns[: len(DETECTION_COLUMNS)], "kron_radius", "x_err", "y_err", "fwhm", "ra", "dec"]
        pd.testing.assert_frame_equal(measured[kept], plain[kept])
        for name in MEASURED_ON:
            np.testing.assert_allclose(measured[name], 3 * plain[name], rtol=2e-4, err_msg=name)
        for name in ("x_win", "y_win", "flux_radius"):
            np.testing.assert_allclose(measured[name], plain[name], atol=2e-3, err_msg=name)

    def test_light_that_draws_a_window_away(self, plain: pd.DataFrame, tmp_path: Path) -> None:
        """A source of the second image alone is in no segmentation map, and so nobody's neighbour."""
        other, isolated = fits.getdata(SKY).copy(), plain[(plain["flag_phot"] == 0) & (plain["npix"] < 40)].iloc[0]
        other[int(isolated["y"]) + 4, int(isolated["x"]) + 3] += 100 * isolated["flux_auto"]
        fits.writeto(tmp_path / "other.fits", other)
        measured = catalog_of(SKY, "--measure_file", tmp_path / "other.fits", folder=tmp_path)
        fallen = measured["flag_phot"] // 2 % 2 == 1
        assert isolated["label"] in set(measured["label"][fallen])
        assert (measured[["x_win", "y_win"]].to_numpy() == measured[["x", "y"]].to_numpy())[fallen].all()
        assert fallen.sum() < 5

    def test_its_own_missing_pixels(self, plain: pd.DataFrame, tmp_path: Path) -> None:
        other = fits.getdata(SKY).copy()
        other[:, :240] = np.nan
        fits.writeto(tmp_path / "half.fits", other)
        measured = catalog_of(SKY, "--measure_file", tmp_path / "half.fits", folder=tmp_path)
        assert len(measured) == len(plain)
        lost = measured["xmax"] < 200
        assert (measured["masked_fraction"][lost] == 1).all()
        for name in ("flux_iso", "flux_auto", "flux_aper_5", "flux_aper_10"):
            assert measured[name][lost].isna().all()
            assert measured[f"{name}_err"][lost].isna().all()
        assert (measured["flag_phot"][lost] & 64 > 0).all()

    def test_another_shape_is_refused(self, tmp_path: Path) -> None:
        run = run_tool(SKY, "--measure_file", TEST_DATA / "small_mask.fits", *CATALOG, folder=tmp_path)
        assert run.returncode == 1
        assert "the image to measure on has 90 x 100 pixels, the image" in run.stderr


def test_without_subtraction(tmp_path: Path) -> None:
    """An image that comes subtracted: what the tool subtracted itself, taken as it is."""
    absolute = ("--err_option", "none", "--thresh", "13")
    succeed(SKY, *absolute, "--outputs", "catalog.tsv,background_subtracted.fits", folder=tmp_path)
    expected, subtracted = read_catalog(tmp_path), tmp_path / "background_subtracted.fits"
    said = succeed(subtracted, "--name", "sky.fits", *absolute, "--no-subtract_background", *CATALOG, folder=tmp_path)
    assert "(global values); not subtracted" in said
    catalog, errors = read_catalog(tmp_path), [name for name in expected if name.endswith("_err") or name == "snr"]
    pd.testing.assert_frame_equal(catalog.drop(columns=errors), expected.drop(columns=errors), rtol=1e-6)
    # The noise of what is left after a first subtraction is estimated anew.
    np.testing.assert_allclose(catalog[errors], expected[errors], rtol=0.1)
    # Taken off or not, pixels that are not subtracted are those of the file.
    succeed(SKY, "--no-subtract_background", "--outputs", "background_subtracted.fits", folder=tmp_path)
    np.testing.assert_array_equal(fits.getdata(subtracted), fits.getdata(SKY))


def test_one_bad_object_ends_no_run() -> None:
    """SEP refuses all sources if one has an invalid ellipse, such as one turned a hair beyond a right angle."""
    settings = Settings.of(SKY)
    sky = estimate_background(read_image(SKY), None, settings.background)
    detections = Detector(sky, DEFAULT_KERNEL, Threshold.of(sky, settings.detection), settings.detection).detect()
    sources, labels = detections.sources, detections.labels
    images = Measurable(sky), Measurable(sky)
    good = measure(sources, labels, detections.segmentation, *images, settings.photometry)
    sources["theta"][3] = np.nextafter(np.float32(np.pi / 2), np.float32(2))
    sources["a"][4], sources["b"][5], sources["x"][6], sources["b"][7] = np.nan, np.inf, np.nan, 0
    measured = measure(sources, labels, detections.segmentation, *images, settings.photometry)
    bad = [4, 5, 6, 7]
    assert np.isnan(measured["flux_auto"][bad]).all()
    assert np.isfinite(measured["flux_auto"][3])
    assert (np.flatnonzero(measured["flag_phot"] & PhotometryFlag.NOT_MEASURED) == bad).all()
    others = np.delete(np.arange(len(sources)), [3, *bad])
    np.testing.assert_array_equal(measured["flux_auto"][others], good["flux_auto"][others])
