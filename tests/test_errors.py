"""Errors are true: against simulations whose truth is known, and against the formulas, computed pixel by pixel.

`python benchmarks/science.py` does the same over five to twelve thousand sources of each kind, beside other programs;
here there are 700 to 1,500, and the bounds are wider by three standard deviations of a width over so many.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import sep
from astropy.io import fits
from photutils.aperture import CircularAperture
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.signal import correlate2d

from source_extraction import Result, extract
from source_extraction.core.correlation import INDEPENDENT, NEAR, Correlation, correlation_of
from source_extraction.core.image import Image
from source_extraction.core.sky import estimate_background
from source_extraction.settings import BackgroundOptions
from tests.conftest import TEST_DATA, succeed
from tests.few_valued_skies import photon_counts
from tests.simulated_sky import simulate
from tests.simulated_stacks import NAMES, Measured, Stack, simulate_stack, width

SKY = TEST_DATA / "sky.fits"
FLUXES = NAMES[:4]
# Kind, side of its fields, how many; to what flux errors are true, and those of positions, over 10,000 sources.
STACKS = {
    "white": (1024, 2, (0.93, 1.05), (0.90, 1.10)),
    "lanczos3": (1024, 1, (0.95, 1.05), (0.80, 1.15)),
    "bilinear": (1024, 2, (0.95, 1.06), (0.80, 1.15)),
    "drizzled": (2048, 1, (0.95, 1.10), (0.80, 1.15)),
}
# By how much errors of independent pixels are too small at least, in circles of 10 pixels.
TOO_SMALL = {"white": 0.9, "lanczos3": 1.0, "bilinear": 1.3, "drizzled": 1.85}


@pytest.fixture(scope="module", params=STACKS)
def pulls(request: pytest.FixtureRequest) -> tuple[str, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The kind of a stack, and the pulls of its sources: with errors as they are by default, and without the noise."""
    side, number, _, _ = STACKS[request.param]
    parts: dict[bool, list[dict[str, np.ndarray]]] = {True: [], False: []}
    for seed in range(number):
        stack = simulate_stack(request.param, side, seed)
        for correlated, part in parts.items():
            part.append(Measured.of(extract(stack.pixels, correlated_noise=correlated)).pulls(stack))
    joined = [{name: np.concatenate([each[name] for each in part]) for name in NAMES} for part in parts.values()]
    return request.param, *joined


@pytest.mark.parametrize("name", NAMES)
def test_errors_on_stacks_are_true(pulls: tuple[str, dict[str, np.ndarray], dict[str, np.ndarray]], name: str) -> None:
    kind, found, _ = pulls
    _, _, of_fluxes, of_positions = STACKS[kind]
    least, most = of_fluxes if name in FLUXES else of_positions
    assert len(found[name]) > 650
    # A width over n normal deviates is good to 0.92 / sqrt(n).
    margin = 3 * 0.92 / np.sqrt(len(found[name]))
    assert least - margin < width(found[name]) < most + margin


def test_errors_of_independent_pixels_are_not(
    pulls: tuple[str, dict[str, np.ndarray], dict[str, np.ndarray]],
) -> None:
    kind, _, independent = pulls
    assert width(independent["flux_aper_10"]) > TOO_SMALL[kind]


def stars_on(noise: np.ndarray, seed: int = 0) -> Stack:
    """Sources that are alone, on this noise."""
    stack = simulate_stack("white", len(noise), seed)
    return Stack((stack.light + noise).astype(np.float32), stack.light, stack.truth)


def correlated_noise(side: int, seed: int, scale: float = 1.0) -> np.ndarray:
    """Noise of which every pixel is a mean of 2 x 2."""
    noise = uniform_filter(np.random.default_rng(seed).normal(size=(side, side)), 2)
    return np.asarray(scale * noise / noise.std())


def scatter_in_circles(noise: np.ndarray, diameter: float = 5) -> float:
    """The standard deviation of sums in circles all over some noise."""
    grid = np.arange(10.3, len(noise) - 10, 8)
    x, y = (each.ravel() for each in np.meshgrid(grid, grid))
    return float(sep.sum_circle(noise.astype(np.float32), x, y, diameter / 2)[0].std())


def factor_of(result: Result, diameter: float = 5) -> float:
    factors = {each["diameter"]: each["factor"] for each in result.summary["noise_factors"]}
    return factors[diameter]


class TestFormulas:
    """Variances in units of that of independent pixels, against sums over all pairs of pixels."""

    @pytest.mark.parametrize("radius", [0.5, 1, 1.25, 2.5, 5, 9.3, 16, 17, 40, 300])
    def test_independent_pixels_in_circles(self, radius: float) -> None:
        """Overlap squared over overlap; photutils has the overlap exactly."""
        random = np.random.default_rng(1)
        x, y = random.uniform(-0.5, 0.5, (2, 30)) + 400
        found = INDEPENDENT.in_circles(radius, x, y)
        for each, at in zip(found, zip(x, y, strict=True), strict=True):
            overlap = CircularAperture(at, radius).to_mask(method="exact").data
            assert each == pytest.approx((overlap**2).sum() / overlap.sum(), rel=0.012)

    def test_small_circles_as_measured(self) -> None:
        """At a radius of a pixel the true error is 0.83 of what SEP says, at 2.5 0.93, at 5 0.97."""
        expected = (0.83, 0.93, 0.97)
        assert [INDEPENDENT.in_a_circle(r) ** 0.5 for r in (1, 2.5, 5)] == pytest.approx(expected, abs=0.012)

    @pytest.mark.parametrize("radius", [1, 2.5, 5, 20, 60])
    def test_circles(self, radius: float) -> None:
        found, rho = some_correlation()
        x, y = np.random.default_rng(2).uniform(-0.5, 0.5, (2, 10)) + 100
        for each, at in zip(found.in_circles(radius, x, y), zip(x, y, strict=True), strict=True):
            overlap = CircularAperture(at, radius).to_mask(method="exact").data
            assert each == pytest.approx(variance(overlap, rho) / overlap.sum(), rel=0.015)

    @pytest.mark.parametrize(("a", "b", "theta"), [(3, 2, 0.4), (6, 6, 0), (9, 3, -1.2), (20, 12, 1.5)])
    def test_ellipses(self, a: float, b: float, theta: float) -> None:
        """Of whole pixels whose centres are inside: the mean over where the centre lies."""
        found, rho = some_correlation()
        (expected,) = found.in_ellipses(*(np.array([each]) for each in (a, b, theta)))
        rows, columns = np.mgrid[-30:31, -30:31]
        ratios = []
        for x, y in np.random.default_rng(3).uniform(-0.5, 0.5, (200, 2)):
            along = (columns - x) * np.cos(theta) + (rows - y) * np.sin(theta)
            across = (rows - y) * np.cos(theta) - (columns - x) * np.sin(theta)
            inside = ((along / a) ** 2 + (across / b) ** 2 < 1).astype(float)
            ratios.append(variance(inside, rho) / inside.sum())
        assert np.mean(ratios) == pytest.approx(expected, rel=0.02)

    @pytest.mark.parametrize("sigma", [1.2, 2.0, 4.0])
    def test_windows(self, sigma: float) -> None:
        found, rho = some_correlation()
        rows, columns = np.mgrid[-25:26, -25:26]
        window = np.exp(-(rows**2 + columns**2) / (2 * sigma**2))
        for expected, distance in zip(found.in_windows(np.array([sigma])), (columns, rows), strict=True):
            weights = window * distance
            assert expected[0] == pytest.approx(variance(weights, rho) / (weights**2).sum(), rel=0.01)


def some_correlation() -> tuple[Correlation, np.ndarray]:
    """Of noise that is smoother along one diagonal than the other; and as an array, 1 in its middle."""
    lags = np.arange(-NEAR, NEAR + 1)
    dx, dy = np.meshgrid(lags, lags)
    rho = np.exp(-(dx**2 + dy**2 - 1.2 * dx * dy) / 3)
    half = (dy > 0) | ((dy == 0) & (dx > 0))
    return Correlation(dx[half], dy[half], rho[half]), rho


def variance(weights: np.ndarray, rho: np.ndarray) -> float:
    """Of a weighted sum of pixels whose variance is 1."""
    return float((correlate2d(weights, rho, mode="same") * weights).sum())


class TestMeasured:
    def test_of_noise_that_is_known(self) -> None:
        """The mean of 2 x 2 pixels shares half with the pixel beside it, a quarter with that on the diagonal."""
        sky = estimate_background(
            Image("noise", "", "", correlated_noise(700, 4).astype(np.float32)), None, BackgroundOptions()
        )
        found = correlation_of(sky, np.zeros((700, 700), np.int32))
        assert found is not None
        rho = {(x, y): value for x, y, value in zip(found.dx, found.dy, found.rho, strict=True)}
        expected = {(1, 0): 0.5, (0, 1): 0.5, (1, 1): 0.25, (-1, 1): 0.25}
        for lag, value in rho.items():
            assert value == pytest.approx(expected.get(lag, 0), abs=0.01)
        # SEP's RMS is a little less than the noise, which its clipping takes for normal and independent.
        assert found.level * sky.rms**2 == pytest.approx(1, abs=0.01)

    def test_the_errors_of_white_noise_are_those_of_independent_pixels(self) -> None:
        """To the last digit: what chance has left in the image is not measured."""
        for seed in range(5):
            stack = simulate_stack("white", 512, seed)
            found = extract(stack.pixels).to_pandas()
            without = extract(stack.pixels, correlated_noise=False).to_pandas()
            assert found.equals(without)

    def test_depth_and_empty_apertures(self) -> None:
        """The scatter of circles on empty sky is a fifth of the depth, and the error of a faint source."""
        noise = correlated_noise(1000, 5)
        result = extract(stars_on(noise).pixels)
        for diameter in (5, 10):
            errors = result.to_pandas()[f"flux_aper_{diameter}_err"]
            assert errors.median() == pytest.approx(scatter_in_circles(noise, diameter), rel=0.04)
        assert result.summary["depth"]["flux"] == pytest.approx(5 * scatter_in_circles(noise), rel=0.04)

    def test_said(self, tmp_path: Path) -> None:
        stack = simulate_stack("bilinear", 512, 1)
        fits.writeto(tmp_path / "stack.fits", stack.pixels)
        options = ("--outputs", "summary.json,catalog.tsv", "--apertures", "3,8")
        said = succeed(tmp_path / "stack.fits", *options, folder=tmp_path)
        summary = json.loads((tmp_path / "summary.json").read_text())
        factors = {each["diameter"]: each["factor"] for each in summary["noise_factors"]}
        assert list(factors) == [3, 5, 8]
        line = f"Noise: errors x {factors[5]:.1f} in an aperture of 5 pixels in diameter (correlated pixels)"
        assert line in said.splitlines()
        assert 1.25 < factors[5] < 1.5
        assert summary["warnings"] == []
        said = succeed(tmp_path / "stack.fits", *options, "--no-correlated_noise", folder=tmp_path)
        independent = json.loads((tmp_path / "summary.json").read_text())
        assert "Noise:" not in said
        assert [each["factor"] for each in independent["noise_factors"]] == [1, 1, 1]
        assert summary["depth"]["flux"] == pytest.approx(factors[5] * independent["depth"]["flux"], rel=1e-9)

    def test_noise_that_is_something_else(self) -> None:
        """Nebulosity is finer than the mesh, and no noise."""
        random = np.random.default_rng(6)
        nebula = gaussian_filter(random.normal(size=(512, 512)), 3)
        result = extract(stars_on(nebula / nebula.std() + 0.1 * random.normal(size=nebula.shape)).pixels)
        assert factor_of(result) > 3
        (warning,) = result.warnings
        assert "which is more than resampling does: nebulosity, the grain of a photographic plate or" in warning


class TestWhatElseThereIs:
    """Of whatever comes with an image: only the sky's part is scaled, by the noise of the image that is measured."""

    def test_gain(self) -> None:
        """The light's own noise is added as it is."""
        stack = stars_on(correlated_noise(512, 7))
        plain, poisson = extract(stack.pixels).to_pandas(), extract(stack.pixels, gain=0.5).to_pandas()
        for name in FLUXES:
            light = poisson[f"{name}_err"] ** 2 - plain[f"{name}_err"] ** 2
            # In the footprint each pixel's own light counts where it is above zero: all of it but for the noise.
            tolerance = 0.05 if name == "flux_iso" else 1e-6
            np.testing.assert_allclose(light, plain[name].clip(lower=0) / 0.5, rtol=tolerance, atol=1e-3)
        assert (poisson["x_win_err"] > plain["x_win_err"]).all()

    def test_a_noise_map_is_scaled_likewise(self) -> None:
        """Errors are those of sums in the image, whatever the map says of single pixels."""
        noise = correlated_noise(700, 8)
        stack, scatter = stars_on(noise), scatter_in_circles(noise)
        plain = extract(stack.pixels)
        # True ones; of pixels as they were before they were resampled; too small.
        for level in (1.0, 2.0, 0.5):
            result = extract(stack.pixels, error=np.full(noise.shape, level), filter_type="conv", thresh=1.5 / level)
            assert factor_of(result) == pytest.approx(factor_of(plain) / level, rel=0.08)
            for name, expected in (("flux_aper_5_err", scatter), ("snr", plain.to_pandas()["snr"].median())):
                assert result.to_pandas()[name].median() == pytest.approx(expected, rel=0.04)

    def test_a_noise_map_that_varies(self) -> None:
        """Of an image whose right half is twice as noisy."""
        levels = np.where(np.arange(700) < 350, 1.0, 2.0) * np.ones((700, 1))
        noise = correlated_noise(700, 18)
        table = extract(stars_on(noise * levels).pixels, error=levels, filter_type="conv").to_pandas()
        for level, half in ((1, table["x"] < 340), (2, table["x"] > 360)):
            found = table["flux_aper_5_err"][half].median()
            assert found == pytest.approx(level * scatter_in_circles(noise), rel=0.04)

    def test_of_the_image_that_is_measured(self) -> None:
        """Of forced photometry: that of its own sky."""
        white, stack = simulate_stack("white", 512, 9), stars_on(correlated_noise(512, 9), seed=9)
        assert factor_of(extract(white.pixels)) == 1
        found = extract(white.pixels, measure=stack.pixels)
        assert factor_of(found) == pytest.approx(factor_of(extract(stack.pixels)), rel=0.03)
        assert factor_of(extract(stack.pixels, measure=white.pixels)) == pytest.approx(1, abs=0.03)

    def test_masks(self) -> None:
        """What is masked says nothing of the noise, whatever is in it."""
        stack = stars_on(correlated_noise(700, 10))
        mask = np.zeros(stack.pixels.shape, bool)
        mask[:, 300:500] = True
        pixels = np.where(mask, 1000 * np.sin(np.arange(700)), stack.pixels).astype(np.float32)
        assert factor_of(extract(pixels, mask=mask)) == pytest.approx(factor_of(extract(stack.pixels)), rel=0.02)

    def test_a_hot_pixel_here_and_there(self) -> None:
        """It belongs to no source, being one, and does not make its neighbours look independent."""
        stack = stars_on(correlated_noise(512, 11))
        expected = factor_of(extract(stack.pixels))
        random = np.random.default_rng(11)
        stack.pixels[random.integers(0, 512, 100), random.integers(0, 512, 100)] -= 300
        assert factor_of(extract(stack.pixels)) == pytest.approx(expected, rel=0.05)

    @pytest.mark.parametrize("rate", [0.01, 0.05, 0.5])
    def test_photon_counts(self, rate: float) -> None:
        """Photons are independent of each other, however few."""
        assert factor_of(extract(photon_counts(rate, 3).pixels, thresh=3)) == pytest.approx(1, abs=0.05)

    def test_crowded_fields(self) -> None:
        """Light too faint to be detected is noise; that of neighbours is more, and no factor has it."""
        sky = simulate((1024, 1024), 10_000, seed=12, fwhm=2.4, galaxies=0.05, faintest=400)
        assert 1.1 < factor_of(extract(sky.pixels)) < 2

    @pytest.mark.parametrize(
        "pixels",
        [
            np.ones((5, 5)),
            np.arange(12.0).reshape(3, 4),
            np.random.default_rng(0).normal(size=(20, 20)),
            np.random.default_rng(0).normal(size=(1, 3000)),
            np.random.default_rng(0).normal(size=(3000, 2)),
            -100 - np.random.default_rng(0).normal(size=(200, 200)),
            np.zeros((200, 200)),
        ],
        ids=lambda pixels: "x".join(map(str, pixels.shape)),
    )
    def test_odd_images(self, pixels: np.ndarray) -> None:
        assert factor_of(extract(pixels.astype(np.float32))) == 1

    def test_too_few_pixels_without_sources(self, tmp_path: Path) -> None:
        fits.writeto(tmp_path / "small.fits", simulate_stack("white", 128, 0).pixels[40:70, 40:70])
        said = succeed(tmp_path / "small.fits", "--outputs", "catalog.tsv", folder=tmp_path)
        assert "Noise: errors of independent pixels, since too few pixels have no source" in said.splitlines()


def test_window_errors_of_what_has_no_window() -> None:
    """They are those of the position that stands there."""
    table = extract(SKY).to_pandas()
    fallen = table["flag_phot"] // 2 % 2 == 1
    for axis in "xy":
        assert (table[f"{axis}_win_err"][fallen] == table[f"{axis}_err"][fallen]).all()
        assert np.isfinite(table[f"{axis}_win_err"]).all()
        assert (table[f"{axis}_win_err"] > 0).all()


@pytest.mark.parametrize("options", [(), ("--background_passes", "2", "--gain", "1")])
def test_the_same_for_any_number_of_processes(tmp_path: Path, options: tuple[str, ...]) -> None:
    """In tiles, too: the image has more than 1024 rows."""
    noise = correlated_noise(1300, 13, scale=10)
    fits.writeto(tmp_path / "sky.fits", (simulate((1300, 1300), 6000, seed=13).pixels + noise).astype(np.float32))
    made = ("--outputs", "catalog.tsv,catalog.fits,background.fits")
    for number in (1, 2, 3):
        folder = tmp_path / str(number)
        said = succeed(tmp_path / "sky.fits", *made, *options, "--threads", str(number), folder=folder)
        assert "Noise: errors x" in said
        for product in made[1].split(","):
            assert (folder / product).read_bytes() == (tmp_path / "1" / product).read_bytes(), product
