"""The point spread function, fluxes by it, star or galaxy: against the truth of simulated fields, SExtractor and PSFEx.

The bounds are those of benchmarks/science.py, which has larger fields, as far as chance allows here.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table
from matplotlib.figure import Figure

import source_extraction as se
from source_extraction.core.columns import PhotometryFlag
from source_extraction.core.psf import Psf
from source_extraction.core.psf_model import Stars, make_psf
from source_extraction.core.psf_photometry import noise_factor
from source_extraction.core.psf_stars import half_sample_mode
from source_extraction.readers.psf_files import read_psf
from source_extraction.settings import Settings
from source_extraction.writers.psf_files import write_psf
from source_extraction.writers.psf_page import draw_psf
from tests.conftest import TEST_DATA, read_catalog, run_tool, succeed
from tests.simulated_stacks import simulate_stack, width
from tests.simulated_stars import KINDS, Compared, Field, moffat, simulate_stars

SKY, PSFEX_FILE = TEST_DATA / "sky.fits", TEST_DATA / "psfex.psf"
COLUMNS = ["flux_psf", "flux_psf_err", "chi2_psf", "spread", "spread_err"]
PRODUCTS = ("--outputs", "catalog.tsv,psf.fits,psf.png,residual.fits")
SIDE = 1024
SEXTRACTOR = shutil.which("source-extractor")


def field_of(kind: str, seed: int = 0, side: int = SIDE, **options: float) -> Field:
    density, faintest = KINDS[kind]
    return simulate_stars(side, round(density * side**2), seed, faintest=faintest, **options)


def write_psfex(path: Path, side: int, step: float, degree: int) -> None:
    """A file as PSFEx writes it: terms up to a degree, each of a number of points along a side, `step` pixels apart."""
    powers = [(i, j) for j in range(degree + 1) for i in range(degree + 1 - j)]
    away = np.arange(side) - side // 2
    core = np.exp(-5 * (away**2 + away[:, np.newaxis] ** 2)).astype(np.float32)
    terms = core * np.where([sum(power) for power in powers], 1e-3, 1).astype(np.float32)[:, np.newaxis, np.newaxis]
    column = fits.Column("PSF_MASK", f"{terms.size}E", dim=f"({side},{side},{len(powers)})", array=terms[np.newaxis])
    table = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
    table.header.update({f"PSFAXIS{axis}": size for axis, size in ((1, side), (2, side), (3, len(powers)))})
    table.header.update({"PSF_SAMP": step, "POLNAXIS": 2, "POLNAME1": "X_IMAGE", "POLNAME2": "Y_IMAGE"})
    table.header.update({"POLDEG1": degree, "POLZERO1": 240.0, "POLZERO2": 180.0, "POLSCAL1": 480.0, "POLSCAL2": 360.0})
    table.writeto(path)


def columns_of(result: se.Result) -> dict[str, np.ndarray]:
    table = result.to_pandas()
    return {name: table[name].to_numpy() for name in table if name != "image"} | {"label": table.index.to_numpy()}


@pytest.fixture(scope="module")
def results() -> dict[str, tuple[Field, se.Result]]:
    fields = {kind: field_of(kind) for kind in KINDS}
    return {kind: (field, se.extract(field.pixels, gain=1, psf=True)) for kind, field in fields.items()}


@pytest.fixture(scope="module")
def compared(results: dict[str, tuple[Field, se.Result]]) -> dict[str, Compared]:
    return {kind: Compared.of(columns_of(result), field) for kind, (field, result) in results.items()}


def pulls_of_spread(compared: Compared, least: float, most: float) -> np.ndarray:
    """The spreads of stars between two S/N, which should be 0, in units of their errors."""
    stars = compared.stars(least, most)
    return np.asarray(compared.columns["spread"][stars] / compared.columns["spread_err"][stars])


class TestSimulatedFields:
    @pytest.mark.parametrize("kind", KINDS)
    def test_it_is_made_of_stars(
        self, kind: str, results: dict[str, tuple[Field, se.Result]], compared: dict[str, Compared]
    ) -> None:
        """Though three sources in ten are galaxies."""
        stars = results[kind][1]._steps.psf_stars
        rows = np.searchsorted(compared[kind].columns["label"], stars.label)
        assert len(rows) > 60
        assert (compared[kind].known & ~compared[kind].true["galaxy"])[rows].mean() >= 0.99

    @pytest.mark.parametrize("kind", KINDS)
    def test_it_is_the_one_that_was_drawn(self, kind: str, results: dict[str, tuple[Field, se.Result]]) -> None:
        psf: Psf = results[kind][1]._steps.psf
        assert psf.fwhm == pytest.approx(3.5, rel=0.02)
        along = np.arange(psf.size) - psf.size // 2
        x, y = np.array([400.3, 800.8]), np.array([700.6, 100.1])
        for stamp, dx, dy in zip(psf.stamps(x, y), x - np.rint(x), y - np.rint(y), strict=True):
            drawn = moffat((along - dx) ** 2 + ((along - dy) ** 2)[:, np.newaxis], 3.5)
            assert np.abs(stamp - drawn).max() < 0.03 * drawn.max()

    def test_fluxes(self, compared: dict[str, Compared]) -> None:
        sparse, crowded = compared["sparse"], compared["crowded"]
        assert abs(sparse.bias("flux_psf", 50, 1e9)) < 0.005
        assert abs(crowded.bias("flux_psf", 50, 1e9)) < 0.005
        assert sparse.scatter("flux_psf", 20, 50) < 1.4
        assert crowded.scatter("flux_psf", 50, 200) < 2.5
        # Others are 1.5 to 3 times as far from the truth.
        assert sparse.scatter("flux_auto", 20, 50) > 1.5 * sparse.scatter("flux_psf", 20, 50)
        assert crowded.scatter("flux_auto", 50, 200) > 3 * crowded.scatter("flux_psf", 50, 200)

    def test_errors_of_fluxes(self, compared: dict[str, Compared]) -> None:
        assert 0.9 < compared["sparse"].pull("flux_psf", 5, 20) < 1.2
        assert 0.9 < compared["sparse"].pull("flux_psf", 20, 100) < 1.5
        for least, most in ((5, 20), (20, 50), (50, 200)):
            assert 0.9 < compared["crowded"].pull("flux_psf", least, most) < 2.3

    def test_star_or_galaxy(self, compared: dict[str, Compared]) -> None:
        assert compared["sparse"].area_under_curve("spread", 5, 10) > 0.9
        assert compared["sparse"].area_under_curve("spread", 10, 20) > 0.97
        assert compared["crowded"].area_under_curve("spread", 10, 20) > 0.93

    def test_errors_of_the_spread(self, compared: dict[str, Compared]) -> None:
        """They are true where sources are sparse, of bright stars too, and not half of it in a crowd."""
        # A sparse field has few stars, and what they say of the errors varies by a tenth: three fields.
        others = [field_of("sparse", seed) for seed in (1, 2)]
        sparse = [Compared.of(columns_of(se.extract(field.pixels, gain=1, psf=True)), field) for field in others]
        for fields, most in (([compared["sparse"], *sparse], 1.35), ([compared["crowded"]], 2.0)):
            for snr in ((10, 30), (30, 300)):
                widths = [width(pulls_of_spread(field, *snr)) for field in fields]
                assert 0.85 < np.mean(widths) < most, (snr, widths)

    def test_chi2(self, compared: dict[str, Compared]) -> None:
        sparse = compared["sparse"]
        assert np.median(sparse.columns["chi2_psf"][sparse.stars(5, 100)]) == pytest.approx(1, abs=0.1)
        bright = sparse.known & sparse.true["galaxy"] & (sparse.columns["snr"] > 50)
        assert np.median(sparse.columns["chi2_psf"][bright]) > 3

    def test_residual(self, results: dict[str, tuple[Field, se.Result]], tmp_path: Path) -> None:
        """Stars vanish: what is left of them is noise."""
        field, result = results["sparse"]
        result.write(tmp_path, outputs="residual.fits")
        residual = fits.getdata(tmp_path / "residual.fits")
        stars = field.truth[~field.truth["galaxy"] & (field.truth["flux"] > 5000) & (field.truth["flux"] < 20000)]
        alone = [star for star in stars if np.sum(np.hypot(*(field.truth[a] - star[a] for a in "xy")) < 15) == 1]
        inside = [star for star in alone if min(star["x"], star["y"]) > 10 and max(star["x"], star["y"]) < SIDE - 10]
        assert len(inside) > 20
        for image, least, most in ((field.pixels, 3000, 30000), (residual, -400, 400)):
            sums = [
                image[round(y) - 4 : round(y) + 5, round(x) - 4 : round(x) + 5].sum() - 81 * 200.0
                for x, y in ((star["x"], star["y"]) for star in inside)
            ]
            assert least < np.median(sums) < most
        assert np.std(residual) < 0.5 * np.std(field.pixels)


def test_it_varies_over_the_image() -> None:
    """A PSF whose FWHM rises by a fifth from left to right; with that of the middle, fluxes are wrong by per cents."""
    field = field_of("sparse", seed=3, rise=0.2)
    result = se.extract(field.pixels, gain=1, psf=True)
    psf = result._steps.psf
    for x, expected in ((0, 3.15), (SIDE / 2, 3.5), (SIDE - 1, 3.85)):
        assert psf.fwhm_at(x, SIDE / 2) == pytest.approx(expected, rel=0.03)
    found = Compared.of(columns_of(result), field)
    for half in (found.true["x"] < SIDE / 3, found.true["x"] > 2 * SIDE / 3):
        part = Compared({name: values[half] for name, values in found.columns.items()}, found.true[half],
                        found.optimum[half], found.known[half])  # fmt: skip
        assert abs(part.bias("flux_psf", 30, 1e9)) < 0.015


def test_wings_vary_too() -> None:
    """Of stars without noise: the light within twice the FWHM, at both sides of the image."""
    random = np.random.default_rng(0)
    x, y = random.uniform(30, 970, (2, 200))
    widths = 3.5 * (0.9 + 0.2 * x / 1000)
    along = np.arange(-16, 17)
    light = [
        moffat((along - (a - round(a))) ** 2 + ((along - (b - round(b))) ** 2)[:, np.newaxis], width)
        for a, b, width in zip(x, y, widths, strict=True)
    ]
    pixels, flux = 1e4 * np.array(light), np.full(200, 1e4)
    psf, _ = make_psf(Stars(pixels, np.full(pixels.shape, 0.1), x, y, flux), 3.5, (1000, 1000))
    core = along**2 + along[:, np.newaxis] ** 2 <= 49
    for place, expected in ((100.0, 3.22), (500.0, 3.5), (900.0, 3.78)):
        drawn = moffat(along**2 + along[:, np.newaxis] ** 2, expected)
        assert psf.stamps([place], [500.0])[0][core].sum() == pytest.approx(drawn[core].sum() / drawn.sum(), abs=0.004)


def test_errors_on_correlated_noise() -> None:
    """Of a resampled image: they count what neighbouring pixels share."""
    stack = simulate_stack("bilinear", SIDE, 0)
    result = se.extract(stack.pixels, psf=True)
    columns = columns_of(result)
    away = np.hypot(*(columns[axis][:, np.newaxis] - stack.truth[axis] for axis in "xy"))
    nearest, stars = stack.truth[away.argmin(axis=1)], away.min(axis=1) < 2
    stars &= ~nearest["galaxy"] & (columns["snr"] > 10) & (columns["snr"] < 60)
    pulls = ((columns["flux_psf"] - nearest["flux"]) / columns["flux_psf_err"])[stars]
    factor = noise_factor(result._steps.psf, result._steps.correlation)
    assert 0.85 < width(pulls) < 1.2
    assert factor > 1.25
    assert width(pulls) * factor > 1.25  # as independent pixels would have it


class TestFewStars:
    """A warning, empty columns, and products that say so; never an error."""

    @pytest.fixture(params=[0, 3])
    def image(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        random = np.random.default_rng(1)
        light = np.full((300, 300), 200.0)
        rows, columns = np.indices(light.shape)
        for number in range(request.param):
            light += 20000 * moffat((columns - 60.3 - 80 * number) ** 2 + (rows - 150.6) ** 2, 3.5)
        for x in range(40, 300, 60):  # faint, and no stars to choose
            light += 700 * moffat((columns - x) ** 2 + (rows - 60) ** 2, 3.5)
        fits.writeto(tmp_path / "few.fits", random.poisson(light).astype(np.float32))
        return tmp_path / "few.fits"

    def test_none_and_three(self, image: Path, tmp_path: Path) -> None:
        said = succeed(image, "--psf", "--zeropoint", 25, *PRODUCTS, folder=tmp_path / "made")
        number = 3 if "3 could be such" in said else 0
        assert "Warning: there is no PSF: its columns are empty (NaN); it needs at least 5 stars, " in said
        assert f"and {number} could be such; --psf_file FILE takes a PSF that was made before" in said
        assert "PSF: none" in said
        assert "Fitted" not in said
        catalog = read_catalog(tmp_path / "made")
        assert len(catalog) >= number
        assert catalog[[*COLUMNS, "mag_psf", "mag_psf_err"]].isna().all(axis=None)
        assert (catalog["flag_phot"] & 256 == 256).all()
        with fits.open(tmp_path / "made" / "psf.fits") as hdus:
            assert hdus[0].data is None
            assert len(hdus["STARS"].data) == 0
        residual = fits.getdata(tmp_path / "made" / "residual.fits")
        assert np.allclose(residual, fits.getdata(image), rtol=1e-6)
        assert (tmp_path / "made" / "psf.png").stat().st_size > 10_000
        run = run_tool(image, "--psf_file", tmp_path / "made" / "psf.fits", folder=tmp_path / "again")
        assert run.returncode == 1
        assert "it holds no PSF" in run.stderr

    def test_one_of_another_image_does(self, image: Path, tmp_path: Path) -> None:
        said = succeed(image, "--psf_file", PSFEX_FILE, "--gain", 1, *PRODUCTS, folder=tmp_path / "made")
        catalog = read_catalog(tmp_path / "made")
        bright = catalog[catalog["snr"] > 50]
        assert np.allclose(bright["flux_psf"], 20000, rtol=0.05)
        assert "Warning: there is no PSF" not in said

    @pytest.mark.parametrize(
        "pixels", [np.zeros((5, 5)), np.full((40, 1), 7.0), np.random.default_rng(0).normal(size=(64, 64))]
    )
    def test_nothing_at_all(self, pixels: np.ndarray, tmp_path: Path) -> None:
        result = se.extract(pixels, psf=True)
        assert len(result.to_pandas()["flux_psf"]) == len(result)
        result.write(tmp_path, outputs="psf.fits,psf.png,residual.fits")


class TestColumns:
    def test_they_are_there_when_they_are_asked_for(self, tmp_path: Path) -> None:
        """By an option, a product or a file; magnitudes with a zero point only, before the apertures."""
        plain = se.extract(SKY)
        assert not {*COLUMNS, "mag_psf"} & set(plain.to_pandas())
        made = se.extract(SKY, psf=True).to_pandas()
        assert [name for name in made if name in COLUMNS or "mag_" in name] == COLUMNS
        assert list(made.drop(columns=[*COLUMNS, "flag_phot"])) == list(plain.to_pandas().drop(columns="flag_phot"))
        plain.write(tmp_path, outputs="psf.fits,catalog.tsv")
        assert set(COLUMNS) < set(read_catalog(tmp_path))
        with_magnitudes = se.extract(SKY, psf_file=PSFEX_FILE, zeropoint=25).to_pandas()
        flux = with_magnitudes["flux_psf"]
        assert np.allclose(with_magnitudes["mag_psf"], 25 - 2.5 * np.log10(flux.where(flux > 0)), equal_nan=True)

    def test_bright_stars_of_the_shipped_sky(self) -> None:
        """Which were drawn with half as many counts as electrons."""
        found = se.extract(SKY, psf=True, gain="GAIN").to_pandas()
        truth = pd.read_csv(TEST_DATA / "sky_truth.tsv", sep="\t").query("galaxy == 0 and flux > 20000")
        away = np.hypot(*(found[f"{axis}_win"].to_numpy() - truth[axis].to_numpy()[:, np.newaxis] for axis in "xy"))
        ratio = 2 * found["flux_psf"].to_numpy()[away.argmin(axis=1)] / truth["flux"].to_numpy()
        assert len(ratio) > 10
        assert np.median(ratio[away.min(axis=1) < 0.2]) == pytest.approx(1, abs=0.01)

    def test_the_second_image_s_psf(self) -> None:
        """Which is wider than that of the first."""
        first, second = field_of("sparse", side=600), field_of("sparse", side=600, fwhm=5.0)
        result = se.extract(first.pixels, measure=second.pixels, psf=True, gain=1)
        assert result._steps.psf.fwhm == pytest.approx(5, rel=0.03)
        found = Compared.of(columns_of(result), second)
        assert abs(found.bias("flux_psf", 50, 1e9)) < 0.01


class TestPixelsThatDoNotCount:
    """Masked, saturated and missing pixels, and what is beyond the edge."""

    @pytest.fixture
    def field(self) -> Field:
        return field_of("sparse", seed=2, side=700)

    def test_saturated_stars(self, field: Field) -> None:
        """Their wings tell their flux."""
        level = 2500.0
        clipped = np.minimum(field.pixels, level)
        found = Compared.of(columns_of(se.extract(clipped, psf=True, gain=1, saturation=level)), field)
        saturated = found.known & ~found.true["galaxy"] & (found.columns["flag_phot"] & 1 == 1)
        assert saturated.sum() > 5
        ratio = (found.columns["flux_psf"] / found.true["flux"])[saturated]
        assert np.median(np.abs(ratio - 1)) < 0.03
        assert np.median((found.columns["flux_auto"] / found.true["flux"])[saturated]) < 0.9

    def test_masked_and_missing(self, field: Field) -> None:
        """A side of a star masked leaves its flux; NaN is masked, too."""
        whole = Compared.of(columns_of(se.extract(field.pixels, psf=True, gain=1)), field)
        chosen = np.flatnonzero(whole.stars(100, 500) & (whole.columns["flag"] == 0))[:8]
        assert len(chosen) == 8
        pixels, mask = field.pixels.copy(), np.zeros(field.pixels.shape, bool)
        for number, row in enumerate(chosen):
            x, y = round(whole.columns["x"][row]), round(whole.columns["y"][row])
            mask[y - 9 : y + 10, x + 3 : x + 10] = number % 2 == 0
            if number % 2:
                pixels[y - 9 : y + 10, x + 3 : x + 10] = np.nan
        part = columns_of(se.extract(pixels, mask=mask, psf=True, gain=1))
        for row in chosen:
            away = np.hypot(part["x"] - whole.columns["x"][row], part["y"] - whole.columns["y"][row])
            assert part["flux_psf"][away.argmin()] == pytest.approx(whole.columns["flux_psf"][row], rel=0.05)

    def test_no_fit(self) -> None:
        """Sources whose light is nearly all masked or saturated: NaN, and a bit."""
        field = field_of("sparse", seed=4, side=500)
        found = columns_of(se.extract(field.pixels, psf=True))
        brightest = int(np.argmax(found["snr"]))
        x, y = (round(found[axis][brightest]) for axis in "xy")
        pixels = field.pixels.copy()
        pixels[y - 5 : y + 6, x - 5 : x + 6] = 1e6
        again = columns_of(se.extract(pixels, psf=True, saturation=1e6))
        row = int(np.argmin(np.hypot(again["x"] - x, again["y"] - y)))
        assert again["flag_phot"][row] & PhotometryFlag.NO_PSF_FIT
        assert all(np.isnan(again[name][row]) for name in COLUMNS)
        assert np.isfinite(np.delete(again["flux_psf"], row)).all()

    def test_at_the_edge(self) -> None:
        """A star of which a third is beyond the edge."""
        rows, columns = np.indices((300, 300))
        light = np.full((300, 300), 200.0)
        for x in range(40, 300, 50):
            for y in range(40, 300, 50):
                light += 30000 * moffat((columns - x - 0.3) ** 2 + (rows - y + 0.2) ** 2, 3.5)
        light += 50000 * moffat((columns - 0.6) ** 2 + (rows - 165) ** 2, 3.5)
        pixels = np.random.default_rng(0).poisson(light).astype(np.float32)
        found = se.extract(pixels, psf=True, gain=1).to_pandas()
        at_the_edge = found.loc[found["x"].idxmin()]
        assert np.median(found["flux_psf"]) == pytest.approx(30000, rel=0.02)
        assert at_the_edge["flux_psf"] == pytest.approx(50000, rel=0.04)
        assert at_the_edge["flux_auto"] < 40000


def test_the_same_bytes_for_any_number_of_processes(tmp_path: Path) -> None:
    """Of an image of several tiles, the products of its PSF too."""
    fits.writeto(tmp_path / "image.fits", field_of("sparse", side=1600).pixels[:, :500])
    made = {}
    for number in (1, 2, 3):
        folder = tmp_path / str(number)
        said = succeed(tmp_path / "image.fits", "--threads", number, "--gain", 1, *PRODUCTS, folder=folder)
        made[number] = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert "varying linearly over the image (from " in said
    assert made[1] == made[2] == made[3]
    again = succeed(tmp_path / "image.fits", "--psf_file", tmp_path / "1" / "psf.fits", "--gain", 1,
                    "--outputs", "catalog.tsv", folder=tmp_path / "again")  # fmt: skip
    assert "psf.fits)" in again
    assert (tmp_path / "again" / "catalog.tsv").read_bytes() == made[1]["catalog.tsv"]


def test_tiles_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source near a seam is fitted with its neighbours beyond it."""
    field = field_of("crowded", side=500)
    fluxes = []
    for tile in (1024, 250):
        monkeypatch.setattr("source_extraction.core.psf_photometry.TILE", tile)
        table = se.extract(field.pixels, psf=True, gain=1).to_pandas()
        fluxes.append(table["flux_psf"].to_numpy())
    away = np.abs(fluxes[0] - fluxes[1]) / table["flux_psf_err"].to_numpy()
    assert np.median(away) < 0.1
    at_the_seams = np.minimum(np.abs(table["x"] - 249.5), np.abs(table["y"] - 249.5)).to_numpy() < 6
    assert at_the_seams.sum() > 20
    assert away[at_the_seams].max() < 0.6


def test_the_same_bytes_in_tiles_or_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Sources that are found in tiles have another order in the catalog, and the same numbers; so has the PSF.

    But for the last digit that windowed positions have in another window.
    """
    pixels = field_of("sparse", side=500).pixels
    made = []
    for tile in (250, 500):
        monkeypatch.setattr("source_extraction.core.tiles.TILE", tile)
        monkeypatch.setattr("source_extraction.core.tiles.MOST_ROWS_OF_ONE_TILE", tile)
        result = se.extract(pixels, gain=1, psf=True)
        result.write(tmp_path / str(tile), ["residual.fits"])
        made.append((result._steps.psf, fits.getdata(tmp_path / str(tile) / "residual.fits"), result.to_pandas()))
    (psf, residual, tiled), (other_psf, other_residual, whole) = made
    assert not np.array_equal(tiled["y"], whole["y"])
    np.testing.assert_allclose(psf.samples, other_psf.samples, rtol=1e-9, atol=1e-13)
    np.testing.assert_array_equal(residual, other_residual)
    for name in ("x_win", "flux_psf", "flux_psf_err", "chi2_psf", "spread", "spread_err"):
        values = (table.sort_values(["y_win", "x_win"])[name] for table in (tiled, whole))
        np.testing.assert_allclose(*values, rtol=1e-9)


class TestStamps:
    @pytest.fixture
    def psf(self) -> Psf:
        along = np.arange(-30, 31) / 2
        samples = np.zeros((3, 61, 61))
        samples[0] = moffat(along**2 + (along[:, np.newaxis] * 1.2) ** 2, 3.5)
        samples[1] = 0.1 * samples[0] * along
        return Psf(samples, ((0, 0), (1, 0), (0, 1)), (50, 50), (50, 50), (101, 101), 2)

    def test_they_are_drawn_where_the_star_is(self, psf: Psf) -> None:
        x, y = np.random.default_rng(0).uniform(20, 80, (2, 400))
        x[:4], y[:4] = (30.5, 31.5, 40, 40.499), (50, 50.5, 51.5, 51)
        stamps = psf.stamps(x, y)
        assert stamps.shape == (400, psf.size, psf.size) == (400, 31, 31)
        assert stamps.dtype == np.float32
        assert np.allclose(stamps.sum(axis=(1, 2)), 1, atol=1e-5)
        along = np.arange(31) - 15
        for stamp, at_x, at_y in zip(stamps, x, y, strict=True):
            dx, dy = along - (at_x - round(at_x)), along - (at_y - round(at_y))
            drawn = moffat(dx**2 + (dy[:, np.newaxis] * 1.2) ** 2, 3.5) * (1 + 0.1 * dx * (at_x - 50) / 50)
            assert np.abs(stamp - drawn / drawn.sum()).max() < 0.002 * drawn.max()

    def test_slopes_and_middles(self, psf: Psf) -> None:
        x, y, step = np.array([30.2, 60.7]), np.array([20.9, 71.3]), 0.01
        stamps, in_x, in_y = psf.stamps_and_slopes(x, y)
        for slope, dx, dy in ((in_x, step, 0), (in_y, 0, step)):
            by_steps = (psf.stamps(x + dx, y + dy) - psf.stamps(x - dx, y - dy)) / (2 * step)
            assert np.abs(slope - by_steps).max() < 0.01 * np.abs(slope).max()
        assert np.allclose(psf.middles(x, y, 5), stamps[:, 10:21, 10:21], rtol=2e-3)


class TestPsfFiles:
    def test_psfex(self) -> None:
        """At a pixel, the polynomial of its terms; the middle is that of the vignette."""
        psf = read_psf(PSFEX_FILE, (360, 480))
        with fits.open(PSFEX_FILE) as hdus:
            header, terms = hdus[1].header, hdus[1].data["PSF_MASK"][0].astype(np.float64)
        assert (header["POLDEG1"], header["PSF_SAMP"], terms.shape) == (1, 1, (3, 21, 21))
        x, y = 100, 300
        u, v = (x + 1 - header["POLZERO1"]) / header["POLSCAL1"], (y + 1 - header["POLZERO2"]) / header["POLSCAL2"]
        expected = terms[0] + u * terms[1] + v * terms[2]
        assert np.allclose(psf.stamps([x], [y])[0], expected / expected.sum(), atol=2e-5)
        assert psf.fwhm == pytest.approx(3.5, rel=0.02)

    @pytest.mark.skipif(SEXTRACTOR is None, reason="needs SExtractor")
    def test_sextractor_with_the_same_psf(self, tmp_path: Path) -> None:
        """Its MAG_PSF, up to the light outside of PSFEx's aperture, and its SPREAD_MODEL."""
        shutil.copy(SKY, tmp_path / "sky.fits")
        (tmp_path / "columns").write_text(
            "X_IMAGE\nY_IMAGE\nFLUX_PSF\nFLUXERR_PSF\nSPREAD_MODEL\nSPREADERR_MODEL\nFLAGS\n"
        )
        (tmp_path / "kernel").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
        (tmp_path / "none").touch()
        command = f"""sky.fits -c none -CATALOG_NAME catalog -CATALOG_TYPE FITS_1.0 -PARAMETERS_NAME columns -GAIN 2
            -FILTER_NAME kernel -PSF_NAME {PSFEX_FILE} -VERBOSE_TYPE QUIET"""
        subprocess.run([str(SEXTRACTOR), *command.split()], cwd=tmp_path, check=True)
        theirs = Table.read(tmp_path / "catalog")
        ours = columns_of(se.extract(SKY, psf_file=PSFEX_FILE, gain=2))
        away = np.hypot(
            ours["x"][:, None] + 1 - np.asarray(theirs["X_IMAGE"]),
            ours["y"][:, None] + 1 - np.asarray(theirs["Y_IMAGE"]),
        )
        pair, same = theirs[away.argmin(axis=1)], away.min(axis=1) < 0.3
        star = same & (ours["snr"] > 20) & (ours["flag"] == 0) & (np.abs(ours["spread"]) < 0.003)
        assert star.sum() > 25
        ratio = ours["flux_psf"][star] / np.asarray(pair["FLUX_PSF"])[star]
        with fits.open(PSFEX_FILE) as hdus:
            outside = hdus[1].data["PSF_MASK"][0, 0].sum()
        assert np.median(ratio) == pytest.approx(outside, rel=0.01)
        assert width(ratio) < 0.01
        faint = same & (ours["snr"] > 7)
        spread, theirs_spread = ours["spread"][faint], np.asarray(pair["SPREAD_MODEL"])[faint]
        assert np.corrcoef(spread, theirs_spread)[0, 1] > 0.97
        assert np.median(np.abs(spread - theirs_spread)) < 0.001

    def test_ours_is_documented(self, tmp_path: Path) -> None:
        """Its header says how to make the PSF of it; the table has the stars."""
        result = se.extract(field_of("sparse", seed=5).pixels, psf=True)
        result.write(tmp_path, outputs="psf.fits")
        psf = result._steps.psf
        with fits.open(tmp_path / "psf.fits") as hdus:
            header, terms, stars = hdus[0].header, hdus[0].data, hdus["STARS"].data
        assert [header[f"TERM{n}"] for n in (1, 2, 3)] == ["x^0 y^0", "x^1 y^0", "x^0 y^1"]
        u, v = (100 - header["ZERO_X"]) / header["SCALE_X"], (900 - header["ZERO_Y"]) / header["SCALE_Y"]
        at_pixels = (terms[0] + u * terms[1] + v * terms[2])[:: header["OVERSAMP"], :: header["OVERSAMP"]]
        assert np.allclose(psf.stamps([100], [900])[0], at_pixels / at_pixels.sum(), atol=1e-6)
        table = result.to_pandas()
        assert len(stars) > 60
        away = np.hypot(table["x_win"][stars["label"]] - stars["x"], table["y_win"][stars["label"]] - stars["y"])
        assert away.max() < 0.5
        again = read_psf(tmp_path / "psf.fits", (SIDE, SIDE))
        assert np.array_equal(again.samples, psf.samples)

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b"no FITS file", "it holds no PSF: it is text"),
            (SKY, "it holds no PSF"),
            ({"PSF_SAMP": -1.0}, "its points are -1 pixels apart"),
            ({"PSF_SAMP": "x"}, "it has no PSF_SAMP"),
            ({"POLDEG1": 2}, "it is not as PSFEx writes it"),
            ({"POLDEG1": 10**9}, "its POLDEG1 is not a whole number from 0 to 10"),
            ({"PSFAXIS1": 10**12}, "its PSFAXIS1 is not a whole number from 3 to 1025"),
            ({"PSFAXIS2": 1000}, "it is cut off, or not as its header says"),
            ({"POLSCAL1": 0.0}, "its POLSCAL1 or POLSCAL2 is 0"),
            ({"POLNAME1": "MAG_AUTO"}, "its PSF varies with MAG_AUTO, Y_IMAGE, not with the place in the image"),
        ],
        ids=str,
    )
    def test_files_that_hold_none(self, content: bytes | Path | dict, problem: str, tmp_path: Path) -> None:
        path = tmp_path / "given.psf"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, Path):
            shutil.copy(content, path)
        else:
            with fits.open(PSFEX_FILE) as hdus:
                hdus[1].header.update(content)
                hdus.writeto(path)
        with pytest.raises(se.InputError) as refused:
            read_psf(path, (360, 480))
        assert refused.value.problem == problem
        assert refused.value.remedy == "give psf.fits of a run with --psf, or the .psf file of PSFEx"

    @pytest.mark.parametrize(
        ("side", "step", "degree", "points"),
        [(59, 20.0, 10, "66 x 1161 x 1161"), (499, 20.0, 0, "1 x 9961 x 9961"), (201, 1.0, 9, "55 x 201 x 201")],
    )
    def test_each_number_is_small_and_their_product_large(
        self, side: int, step: float, degree: int, points: str, tmp_path: Path
    ) -> None:
        """1 MB that would become gigabytes: refused before anything is made of it."""
        write_psfex(tmp_path / "large.psf", side, step, degree)
        with pytest.raises(se.InputError) as refused:
            read_psf(tmp_path / "large.psf", (360, 480))
        assert refused.value.problem == f"its PSF is too large: {points} points, and at most {2**20} can be used"
        assert "PSF_SIZE" in refused.value.remedy

    @pytest.mark.parametrize(
        ("side", "profile", "size"),
        [
            # Moffat's profile of exponent 3 has 99.99 % of its light within ten core radii, 34 pixels here.
            (501, lambda squared: moffat(squared, 3.5), 101),
            (101, lambda squared: moffat(squared, 3.5), 101),
            # Ten core radii are 196 pixels: of what 501 x 501 pixels have of it, in a square of 1.72 times as many.
            (501, lambda squared: moffat(squared, 20), 337),
            # A star out of focus is a disc, without wings; the window in which its FWHM is measured stays large enough.
            (501, lambda squared: 1.0 * (squared < 30**2), 361),
            (301, lambda squared: moffat(squared, 90), 301),
        ],
    )
    def test_a_large_one_ends_where_its_light_does(
        self, side: int, profile: Callable[[np.ndarray], np.ndarray], size: int, tmp_path: Path
    ) -> None:
        """Each pixel of a PSF takes time: one of 501 x 501 a hundred times as much as a usual one."""
        along = np.arange(side) - side // 2
        samples = profile(along**2 + along[:, np.newaxis] ** 2)[np.newaxis]
        whole = Psf(samples / samples.sum(), ((0, 0),), (0, 0), (1, 1), (360, 480))
        write_psf(tmp_path / "large.fits", whole, None, Settings.of(SKY))
        read = read_psf(tmp_path / "large.fits", (360, 480))
        assert read.size == pytest.approx(size, abs=4)
        assert read.fwhm == pytest.approx(whole.fwhm, rel=1e-6)
        (stamp,), (expected,) = (psf.stamps(np.array([200.3]), np.array([99.8])) for psf in (read, whole))
        cut = (side - read.size) // 2
        assert np.abs(stamp - expected[cut : side - cut, cut : side - cut]).sum() < 3e-4

    def test_memory_that_runs_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is the PSF's, and the image is not to blame."""

        def run_out(*_: object) -> None:
            raise MemoryError

        monkeypatch.setattr("source_extraction.readers.psf_files._at_our_points", run_out)
        with pytest.raises(se.InputError) as refused:
            se.extract(SKY, psf_file=PSFEX_FILE)
        assert str(refused.value).startswith(str(PSFEX_FILE))
        assert "memory ran out" in refused.value.problem

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize(
        ("changed", "problem"),
        [
            (lambda samples: samples * 1e300, "the values of its PSF are too large, or not numbers"),
            (lambda samples: samples * 1e-300, "its PSF has no light in some part of the image"),
            (lambda samples: samples * np.nan, "the values of its PSF are too large, or not numbers"),
            (lambda samples: -samples, "its PSF has no light in some part of the image"),
            (
                lambda samples: np.where(samples == samples.max(), samples, 0),
                "its PSF has a FWHM of 0.58 pixels; a star has one from 0.8 to 13 in a PSF of this size",
            ),
            (
                lambda samples: samples * 0 + 1,
                "its PSF has a FWHM of 14.67 pixels; a star has one from 0.8 to 13 in a PSF of this size",
            ),
            ({"SCALE_X": 1e-300}, "the values of its PSF are too large, or not numbers"),
            ({"ZERO_X": -1e4}, "its PSF has no light in some part of the image"),
        ],
        ids=["huge", "tiny", "nan", "negative", "point", "flat", "scale", "zero"],
    )
    def test_what_no_star_looks_like(self, changed: Callable | dict, problem: str, tmp_path: Path) -> None:
        """Refused when it is read, without a word of numpy's."""
        along = np.arange(-32, 33) / 2
        core = moffat(along**2 + along[:, np.newaxis] ** 2, 3.5)
        shape = (360, 480)
        varying = isinstance(changed, dict)
        powers = ((0, 0), (1, 0)) if varying else ((0, 0),)
        samples = np.array([core, -0.1 * core][: len(powers)])
        psf = Psf(samples, powers, (240.0, 180.0), (240.0, 180.0), shape, 2)
        write_psf(tmp_path / "strange.fits", psf, None, Settings.of(SKY))
        assert read_psf(tmp_path / "strange.fits", shape).fwhm == pytest.approx(3.5, rel=0.02)
        with fits.open(tmp_path / "strange.fits", mode="update") as hdus:
            if varying:
                hdus[0].header.update(changed)
            else:
                hdus[0].data = changed(hdus[0].data)
        with pytest.raises(se.InputError) as refused:
            read_psf(tmp_path / "strange.fits", shape)
        assert refused.value.problem == problem

    def test_it_is_read_before_anything_is_estimated(self, tmp_path: Path) -> None:
        (tmp_path / "bad.psf").write_text("no PSF")
        run = run_tool(SKY, "--psf_file", tmp_path / "bad.psf", folder=tmp_path / "made")
        assert run.returncode == 1
        assert "bad.psf" in run.stderr
        assert "Background" not in run.stdout

    def test_cut_off(self, tmp_path: Path) -> None:
        path = tmp_path / "given.psf"
        path.write_bytes(PSFEX_FILE.read_bytes()[:-6000])
        with pytest.raises(se.InputError):
            read_psf(path, (360, 480))


def test_a_map_of_its_width_is_there_if_that_varies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Otherwise the title says it, and the others have the room."""
    figures: list[Figure] = []
    monkeypatch.setattr("source_extraction.writers.psf_page.save", lambda figure, path: figures.append(figure))
    image = se.extract(SKY)._steps.image
    varying = read_psf(PSFEX_FILE, image.shape)
    constant = replace(varying, samples=varying.samples[:1], powers=varying.powers[:1])
    for psf in (varying, constant):
        draw_psf(tmp_path, psf, None, image, "sky.fits", 0)
    titles = [[axes.get_title() for axes in figure.axes] for figure in figures]
    assert ["FWHM over the image" in each for each in titles] == [True, False]
    assert [sum(axes.get_label() == "<colorbar>" for axes in figure.axes) for figure in figures] == [1, 0]
    assert "the same all over the image" in figures[1].get_suptitle()


def test_the_summary_says_what_it_is(tmp_path: Path) -> None:
    """In the middle of the image, of the stars that psf.fits lists; null where nobody asked, or none is there."""
    made = se.extract(SKY, psf=True)
    made.write(tmp_path, "psf.fits,summary.json")
    facts = json.loads((tmp_path / "summary.json").read_text())["psf"]
    with fits.open(tmp_path / "psf.fits") as hdus:
        assert facts["stars"] == len(hdus["STARS"].data)
        assert facts["varies"] == (len(hdus[0].data) > 1)
    # The sky was drawn with this width.
    assert facts["fwhm"] == pytest.approx(3.5, rel=0.02)
    assert se.extract(SKY, psf_file=PSFEX_FILE).summary["psf"] | {"fwhm": 0} == {
        "fwhm": 0,
        "stars": None,
        "varies": True,
    }
    assert se.extract(SKY, completeness=True).summary["psf"] == facts
    assert se.extract(SKY).summary["psf"] is None
    assert se.extract(np.random.default_rng(0).normal(size=(64, 64)), psf=True).summary["psf"] is None


def test_the_mode_of_sizes() -> None:
    """Of a narrow peak in a broad crowd that is six times as many."""
    random = np.random.default_rng(0)
    values = np.concatenate((random.normal(1, 0.01, 200), random.uniform(0.5, 3, 1200)))
    assert half_sample_mode(values) == pytest.approx(1, abs=0.02)
    assert half_sample_mode(np.array([1.0, 2.0, 2.1])) == pytest.approx(2.05)


def test_two_sources_of_very_different_size_say_nothing_of_numpy(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).normal(0, 1, (200, 200))
    y, x = np.indices(pixels.shape)
    for at, sigma in ((50, 1.2), (140, 12)):
        pixels += 300 * np.exp(-((x - at) ** 2 + (y - at) ** 2) / (2 * sigma**2))
    fits.writeto(tmp_path / "two.fits", pixels.astype(np.float32))
    succeed(tmp_path / "two.fits", "--psf", "--outputs", "catalog.tsv", folder=tmp_path / "out")
