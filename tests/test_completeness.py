"""How complete a catalog is: against the truth of simulated skies, and in every image that a run may be given."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from matplotlib.figure import Figure
from PIL import Image

from source_extraction import Result, extract
from source_extraction.core.artificial_stars import MATCH, Places, Stars, StarSearch, evenly_paired, is_near, overlap
from source_extraction.core.completeness import (
    NEARLY_EMPTY,
    STARS,
    Completeness,
    Losses,
    Plan,
    measure_completeness,
    wilson,
)
from source_extraction.writers.completeness import draw_completeness
from tests.conftest import TEST_DATA, succeed
from tests.moffat_psf import MoffatPsf
from tests.simulated_sky import Sky, simulate
from tests.true_completeness import true_completeness

SKY = TEST_DATA / "sky.fits"
COLUMNS = [
    "flux_low", "flux_high", "mag_low", "mag_high", "injected", "found", "completeness", "error_low", "error_high",
]  # fmt: skip
LIMITS = [f"{quantity}_{level}{err}" for quantity in ("flux", "mag") for level in (50, 90) for err in ("", "_err")]
TABLE, FIGURE, SUMMARY = "completeness.tsv", "completeness.png", "summary.json"


def search_of(result: Result, fwhm: float = 3.5, gain: float | None = 1.0) -> StarSearch:
    """A search for stars of a known PSF in the image of a result."""
    return StarSearch(result._steps.detector, MoffatPsf(fwhm), gain)


def table_of(result: Result, folder: Path) -> pd.DataFrame:
    result.write(folder, TABLE)
    return pd.read_csv(folder / TABLE, sep="\t")


@pytest.fixture(scope="module")
def small() -> Sky:
    """A hundred sources or so, found in no time."""
    return simulate((400, 500), 400, 8, faintest=100)


@pytest.mark.parametrize(
    ("shape", "drawn", "fluxes", "images", "across"),
    [
        ((2048, 2048), {"faintest": 60}, (250, 4000), 25, 16),
        # 19,200 stars over five magnitudes: the limits of the truth have errors, too.
        ((1280, 1280), {"faintest": 400, "galaxies": 0, "fwhm": 2.4}, (250, 16000), 75, 16),
    ],
    ids=["sparse", "crowded"],
)
def test_against_the_truth(
    shape: tuple[int, int], drawn: dict, fluxes: tuple[float, float], images: int, across: int, tmp_path: Path
) -> None:
    """10,000 sources; the PSF is the image's own. The truth is stars drawn before the noise, found by SEP."""
    sky = simulate(shape, 10_000, 1, **drawn)
    truth = true_completeness(sky, fwhm=drawn.get("fwhm", 3.5), fluxes=fluxes, images=images, across=across)
    result = extract(sky.pixels, gain=1, zeropoint=0, threads=2)
    table = table_of(result, tmp_path)
    table = table[(table["flux_low"] >= fluxes[0]) & (table["flux_high"] <= fluxes[1])]
    away = [row.completeness - truth.between(row.flux_low, row.flux_high) for row in table.itertuples()]
    assert len(away) >= 4
    assert np.sqrt(np.mean(np.square(away))) < 0.035
    limits = result.summary["completeness"]
    assert limits["mag_50"] == pytest.approx(truth.limit(0.5), abs=0.05)
    assert limits["mag_90"] == pytest.approx(truth.limit(0.9), abs=0.25)


@pytest.mark.parametrize("drawn", [{}, {"faintest": 400, "galaxies": 0, "fwhm": 2.4}], ids=["galaxies", "crowded"])
def test_small_images_have_a_limit_of_90_percent(drawn: dict) -> None:
    """A hundred sources, of which one in ten stars is hidden over magnitudes: of stars as bright, 90 % are found."""
    shares = []
    for seed in (1, 2, 3):
        sky = simulate((360, 360), 300, seed, **drawn)
        flux = extract(sky.pixels, gain=1, completeness=True).summary["completeness"]["flux_90"]
        fluxes = (flux / 1.05, flux * 1.05)
        truth = true_completeness(sky, fwhm=drawn.get("fwhm", 3.5), fluxes=fluxes, images=12, across=4)
        shares.append(truth.found.mean())
    assert np.mean(shares) == pytest.approx(0.9, abs=0.04)
    assert np.ptp(shares) < 0.1


def test_the_bright_end_comes_first() -> None:
    """Where there is time for few stars; of more, the faint end has some too, and the bins at limits most."""
    share = {-3: 0.92, -2: 0.9, -1: 0.7, 0: 0.52, 1: 0.45, 2: 0.0}

    def put_in(plan: Plan, numbers: dict[int, int]) -> dict[int, int]:
        for number, many in numbers.items():
            found = np.arange(many) < many * share.get(number, 0.98)
            flux = 10 ** (-0.4 * (0.5 * number + np.linspace(0.1, 0.4, many)))
            plan.note(Stars(np.zeros(many), np.zeros(many), flux, found))
        return numbers

    plan = Plan(0.1, None)
    assert put_in(plan, plan.next(360, 0)) == {0: 60, -1: 60, 1: 60}
    assert put_in(plan, plan.next(180, 0)) == {-2: 60, -3: 60}
    assert put_in(plan, plan.next(60, 0)) == {-4: 60}
    assert put_in(plan, plan.next(60, 0)) == {2: 60}
    assert plan.next(0, 0) == {}
    assert plan.next(1000, 9) == {}
    # A bin that is nearly complete has more, too: of 60 stars 59 are found where 94 % are, once in eight times.
    assert put_in(plan, plan.next(1000, 2000)) == {-4: 100, -3: 200, -2: 200, -1: 100, 0: 200, 1: 200}
    share[-4] = 0.5
    put_in(plan, {-4: 100})
    assert plan.next(1000, 1000) == {-5: 60, -6: 60}


def test_the_table(tmp_path: Path) -> None:
    """Its columns are what they say; at least 60 stars a bin."""
    result = extract(SKY, gain="GAIN", zeropoint=25)
    table = table_of(result, tmp_path)
    assert list(table) == COLUMNS
    assert (table["injected"] >= STARS).all()
    np.testing.assert_allclose(table["completeness"], table["found"] / table["injected"], rtol=1e-8)
    np.testing.assert_allclose(table["mag_high"], 25 - 2.5 * np.log10(table["flux_low"]), rtol=1e-8)
    np.testing.assert_allclose(table["mag_low"], 25 - 2.5 * np.log10(table["flux_high"]), rtol=1e-8)
    np.testing.assert_allclose(table["mag_high"] - table["mag_low"], 0.5, rtol=1e-6)
    np.testing.assert_allclose(table["mag_low"] % 0.5, 0, atol=1e-6)
    np.testing.assert_allclose(table["flux_low"][1:], table["flux_high"][:-1], rtol=1e-8)
    assert table["completeness"].iloc[0] <= NEARLY_EMPTY
    assert table["completeness"].iloc[-1] > 0.9
    summary = result.summary["completeness"]
    assert list(summary) == [*LIMITS, "false_sources"]
    assert summary["false_sources"] == result.summary["counts"]["detections_on_the_negated_image"]
    for level in (50, 90):
        flux, error = summary[f"flux_{level}"], summary[f"flux_{level}_err"]
        assert summary[f"mag_{level}"] == pytest.approx(25 - 2.5 * np.log10(flux))
        assert summary[f"mag_{level}_err"] == pytest.approx(2.5 / np.log(10) * error / flux)


@pytest.mark.parametrize(
    ("sources", "at_a_time"), [(0, 20), (142, 20), (500, 20), (501, 20), (1000, 40), (10_000, 400), (10_049, 401)]
)
def test_how_many_at_a_time(sources: int, at_a_time: int) -> None:
    """At most 4 % of the sources, or 20 where that is more."""
    search = search_of(extract(np.random.default_rng(0).normal(size=(500, 500))))
    search.sky.pixels = np.zeros((3000, 3000), np.float32)
    assert search.at_a_time(sources) == at_a_time


def test_a_small_image_holds_fewer() -> None:
    """Stars have room, however small the image, and however little of it is left."""
    pixels = np.random.default_rng(0).normal(size=(60, 60))
    assert search_of(extract(pixels)).at_a_time(0) == 60 * 60 // (6 * 3.5) ** 2
    mask = np.ones(pixels.shape, bool)
    mask[:12, :12] = False
    assert search_of(extract(pixels, mask=mask)).at_a_time(0) == 1


def test_places_are_all_over_the_image() -> None:
    """Evenly, apart from each other, and none where it is masked."""
    masked = np.zeros((300, 500), bool)
    masked[100:200] = True
    for mask, rows in ((None, 3), (masked, 2)):
        x, y = Places((300, 500), mask).next(1500)
        counts = np.histogram2d(y, x, (3, 5), ((-0.5, 299.5), (-0.5, 499.5)))[0]
        even = 1500 / rows / 5
        assert np.abs(counts[counts > 0] / even - 1).max() < 0.1
        assert np.count_nonzero(counts) == 5 * rows
        apart = np.hypot(x[:20, None] - x[:20], y[:20, None] - y[:20])
        assert apart[~np.eye(20, dtype=bool)].min() > 0.3 * np.sqrt(300 * 500 / 20)


def test_evenly_paired() -> None:
    """All values, each once; those of any range, and those at any range of the places, are spread evenly."""
    random = np.random.default_rng(4)
    for number in (1, 2, 7, 60, 1000):
        values, at = random.normal(size=number), random.exponential(size=number)
        paired = evenly_paired(values, at)
        np.testing.assert_array_equal(np.sort(paired), np.sort(values))
        for some, others in ((paired, at), (at, paired)):
            ranks = np.argsort(np.argsort(others))[np.argsort(some)] / number
            for first in range(0, number - 59, 20):
                assert np.abs(np.histogram(ranks[first : first + 60], 6, (0, 1))[0] - 10).max() <= 3


def test_stars_of_a_flux_have_an_even_sample_of_the_light() -> None:
    """In a crowded field the mean rank of the light of 60 stars is 0.5; by chance it would be 0.04 away."""
    sky = simulate((512, 512), 2500, 4, faintest=400, galaxies=0, fwhm=2.4)
    search = search_of(extract(sky.pixels), 2.4)
    stars = search.look_for(np.geomspace(100, 1e5, 600), 40)
    ranks = np.argsort(np.argsort(search._light_at(stars.x, stars.y)))[np.argsort(stars.flux)] / len(stars.x)
    assert np.abs(ranks.reshape(10, 60).mean(axis=1) - 0.5).max() < 0.02


@pytest.mark.parametrize("unit", [1.0, 1e-9])
def test_the_light_at_a_place(unit: float) -> None:
    """Of a star there, its flux, also of what is left of one at an edge or a mask; 0 where there is nothing."""
    x, y = np.array([70.3, 12.0, 0.2, 99.0]), np.array([59.6, 30.4, 20.0, 78.7])
    flux = np.array([4000.0, 300.0, 7000.0, 2000.0]) * unit
    pixels = np.random.default_rng(6).normal(0, 1, (80, 100)) * unit
    search = search_of(extract(pixels, mask=np.tile(np.arange(100) == 71, (80, 1))))
    search.sky.pixels = np.zeros((80, 100), np.float32)
    for column, row, brightness in zip(x, y, flux, strict=True):
        stamp = search.psf.stamps(np.array([column]), np.array([row]))[0]
        window, own = overlap(column, row, stamp, search.sky)
        window.of(search.sky.pixels)[:] += own * np.float32(brightness / search.sky.unit)
    np.testing.assert_allclose(search._light_at(x, y), flux, rtol=0.02)
    assert np.abs(search._light_at(np.array([45.0]), np.array([75.0]))).max() < 2 * unit


def test_near() -> None:
    random = np.random.default_rng(3)
    x, y, of_x, of_y = random.uniform(0, 60, (4, 300))
    away = np.hypot(x[:, None] - of_x, y[:, None] - of_y).min(axis=1)
    np.testing.assert_array_equal(is_near(x, y, of_x, of_y), away <= MATCH)
    assert not is_near(x, y, np.empty(0), np.empty(0)).any()


def test_what_was_there_before_is_no_star() -> None:
    """Stars far too faint to be seen, many of them on sources that are found anyhow, are not found."""
    sky = simulate((512, 512), 2500, 4, faintest=400, galaxies=0, fwhm=2.4)
    result = extract(sky.pixels)
    search = search_of(result, 2.4)
    stars = search.look_for(np.full(400, 20.0), 40)
    sources = result.to_pandas()
    assert is_near(stars.x, stars.y, sources["x"].to_numpy(), sources["y"].to_numpy()).sum() > 10
    assert stars.found.sum() == 0
    # Stars brighter than everything are found wherever they are, but for those in the wings of each other.
    assert search.look_for(np.full(40, 3e7), 10).found.mean() > 0.95


def test_the_image_stays_as_it_is(small: Sky) -> None:
    result = extract(small.pixels, gain=1)
    before, catalog = result.background_subtracted.copy(), result.to_pandas()
    measure_completeness(search_of(result), len(result))
    np.testing.assert_array_equal(result._steps.sky.subtracted.whole(), before)
    pd.testing.assert_frame_equal(extract(small.pixels, gain=1, completeness=True).to_pandas(), catalog)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((400, 500), {}),
        ((1500, 260), {"err_option": "array_rms", "filter_type": "conv"}),
        ((400, 500), {"err_option": "array_rms", "thresh": 4}),
    ],
    ids=["whole", "tiles", "matched"],
)
def test_any_number_of_processes(shape: tuple[int, int], options: dict, tmp_path: Path) -> None:
    """Images side by side, or tiles of one after the other: the same bytes."""
    pixels = simulate(shape, 700, 8, faintest=100).pixels
    made = []
    for threads in (1, 2, 3):
        extract(pixels, gain=1, threads=threads, **options).write(tmp_path / str(threads), [TABLE, FIGURE])
        made.append([(tmp_path / str(threads) / name).read_bytes() for name in (TABLE, FIGURE)])
    assert made[0] == made[1] == made[2]


def test_where_pixels_are_masked(small: Sky) -> None:
    """The rest counts: half of an image under a mask, or without values, is as complete as the other half."""
    pixels = small.pixels.copy()
    pixels[:, :250] = np.nan
    mask = np.zeros(pixels.shape, bool)
    mask[:, :250] = True
    missing, masked = extract(pixels, gain=1), extract(small.pixels, gain=1, mask=mask)
    stars = search_of(masked).look_for(np.geomspace(300, 3000, 60), 20)
    assert stars.x.min() > 249
    tables = [measure_completeness(search_of(result), len(result)).columns for result in (missing, masked)]
    for name in COLUMNS:
        np.testing.assert_array_equal(tables[0][name], tables[1][name])
    assert tables[0]["completeness"][-1] > 0.9


@pytest.mark.parametrize(("x", "y"), [(-0.4, 0.0), (40.2, 39.7), (60.0, 79.4), (89.4, 41.5), (79.0, 3.0)])
def test_stars_at_the_edge_are_cut(x: float, y: float) -> None:
    """Only what is within the image and not masked of a star is there: as of a larger image that is cut."""
    mask = np.tile(np.arange(90) > 80, (80, 1))
    sky = extract(np.random.default_rng(1).normal(size=mask.shape), mask=mask)._steps.sky
    stamp = MoffatPsf(3.5, 21).stamps(np.array([x]), np.array([y]))[0]
    larger = np.zeros((180, 190), np.float32)
    column, row = round(x) + 50, round(y) + 50
    larger[row - 10 : row + 11, column - 10 : column + 11] = stamp
    light = np.zeros(mask.shape, np.float32)
    window, own = overlap(x, y, stamp, sky)
    window.of(light)[:] += own
    np.testing.assert_array_equal(light, np.where(mask, 0, larger[50:130, 50:140]))


@pytest.mark.parametrize("factor", [1e-16, 1.0, 1e8])
def test_the_unit_of_the_image(small: Sky, factor: float, tmp_path: Path) -> None:
    """Fluxes have it, and nothing else changes. A factor of 10^(n / 5) has the same bins."""
    one, other = (table_of(extract(small.pixels * times), tmp_path / str(times)) for times in (1.0, factor))
    np.testing.assert_allclose(other[["flux_low", "flux_high"]], one[["flux_low", "flux_high"]] * factor, rtol=1e-6)
    pd.testing.assert_frame_equal(other[COLUMNS[4:]], one[COLUMNS[4:]])


def test_on_the_image_that_sources_are_found_on(small: Sky, tmp_path: Path) -> None:
    """Another image's PSF, zero point and gain say nothing of it."""
    blurred = simulate(small.pixels.shape, 400, 8, faintest=100, fwhm=6).pixels * 7
    alone = extract(small.pixels)
    both = extract(small.pixels, measure=blurred, gain=3, zeropoint=20, completeness=True)
    assert both._steps.psf.fwhm == pytest.approx(6, abs=0.3)
    assert both._steps.detection_psf.fwhm == pytest.approx(3.5, abs=0.2)
    pd.testing.assert_frame_equal(table_of(both, tmp_path / "both"), table_of(alone, tmp_path / "alone"))
    assert both.summary["completeness"]["flux_50"] == alone.summary["completeness"]["flux_50"]
    assert both.summary["completeness"]["mag_50"] is None


def test_without_a_psf(tmp_path: Path) -> None:
    """Noise alone, and two stars: a sentence that says why, an empty table, nulls, a figure that says so."""
    pixels = np.random.default_rng(5).normal(100, 10, (200, 220)).astype(np.float32)
    for name in ("noise", "stars"):
        fits.writeto(tmp_path / f"{name}.fits", pixels)
        said = succeed(tmp_path / f"{name}.fits", "--outputs", f"{TABLE},{FIGURE},{SUMMARY}", folder=tmp_path / name)
        assert "Warning: the completeness is not known: there is no PSF to make artificial stars of" in said
        table = pd.read_csv(tmp_path / name / TABLE, sep="\t")
        assert (list(table), len(table)) == (COLUMNS, 0)
        limits = json.loads((tmp_path / name / SUMMARY).read_text())["completeness"]
        assert [limits[limit] for limit in LIMITS] == [None] * len(LIMITS)
        assert Image.open(tmp_path / name / FIGURE).size == (1200, 825)
        pixels[50:53, 60:63] += 500
        pixels[150:153, 160:163] += 500


def test_without_noise(tmp_path: Path) -> None:
    """A PSF may come from elsewhere; where every pixel has the same value, no star is too faint."""
    extract(SKY).write(tmp_path, "psf.fits")
    result = extract(np.full((200, 220), 5.0), psf_file=tmp_path / "psf.fits", completeness=True)
    assert len(table_of(result, tmp_path)) == 0
    assert result.summary["completeness"]["flux_50"] is None


def test_asked_for(tmp_path: Path) -> None:
    """By either product or by the option; the summary is without it where nobody asks."""
    said = succeed(SKY, "--completeness", "--outputs", SUMMARY, folder=tmp_path / "option")
    assert re.search(r"; 50 % of the point sources are found at a flux of \S+ \+- \S+ adu; 90 %", said)
    assert "magnitude" not in said
    by_option = json.loads((tmp_path / "option" / SUMMARY).read_text())
    assert by_option["parameters"]["completeness"] is True
    assert by_option["completeness"]["flux_50"] > 0
    assert by_option["completeness"]["mag_50"] is None
    assert "Looking for artificial stars" in by_option["seconds"]
    succeed(SKY, "--outputs", f"{FIGURE},{SUMMARY}", folder=tmp_path / "product")
    by_product = json.loads((tmp_path / "product" / SUMMARY).read_text())
    assert by_product["completeness"] == by_option["completeness"]
    result = extract(SKY, completeness=True)
    assert result.summary["completeness"] == by_option["completeness"]
    assert "flux_psf" not in result.to_table().colnames
    assert extract(SKY).summary["completeness"] is None


def test_wilson() -> None:
    """Its ends are the shares of which what was seen is one standard deviation away."""
    for number in (1, 7, 60, 400):
        found = np.arange(number + 1)
        low, high = wilson(found, np.full(number + 1, number))
        for end in (low, high):
            np.testing.assert_allclose(
                np.abs(found / number - end), np.sqrt(end * (1 - end) / number), rtol=1e-9, atol=1e-9
            )
        assert (low >= 0).all()
        assert (high <= 1).all()
    low, high = wilson(np.array([0, 60]), np.array([60, 60]))
    np.testing.assert_allclose((high[0], low[1]), (1 / 61, 60 / 61), rtol=1e-12)


def test_limits_are_as_uncertain_as_they_say() -> None:
    """Stars that are found by a known curve, 200 times: half the central 68 % of error / its error is about 1."""
    random = np.random.default_rng(2)
    magnitude = np.repeat(np.arange(-9, -5.5, 0.01), 2)
    share = 1 / (1 + np.exp((magnitude + 7) / 0.15)) / (1 + np.exp(0.8 * (magnitude + 7) - 2.5))
    true = {level: np.interp(-level, -share, magnitude) for level in (0.5, 0.9)}
    pulls: dict[float, list[float]] = {level: [] for level in true}
    for _ in range(200):
        curve = Losses.fitted(magnitude, random.uniform(size=len(magnitude)) < share)
        for level, expected in true.items():
            at = curve.magnitude_at(level)
            pulls[level].append((at - expected) / curve.error_at(at))
    for each in pulls.values():
        low, middle, high = np.percentile(each, (15.87, 50, 84.13))
        assert abs(middle) < 0.3
        assert 0.8 < (high - low) / 2 < 1.2


@pytest.mark.parametrize("found", [True, False])
def test_limits_that_the_stars_do_not_show(found: bool) -> None:
    """All are found, or none."""
    flux = np.geomspace(100, 1000, 60)
    stars = search_of(extract(np.random.default_rng(0).normal(size=(90, 90)))).look_for(flux, 1)
    complete = Completeness.of(type(stars)(stars.x, stars.y, flux, np.full(60, found)))
    assert all(np.isnan(limit.flux) for limit in complete.limits.values())
    assert (complete.columns["completeness"] == found).all()
    every = "% of the point sources are found at every flux"
    said = f"more than 90 {every} from 100 adu" if found else f"less than 50 {every} up to 1000 adu"
    assert complete.describe("adu") == f"Artificial stars: 60; {said}"


class TestFigure:
    @pytest.fixture
    def drawn(self, monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
        figures: list[Figure] = []
        monkeypatch.setattr("source_extraction.writers.completeness.save", lambda figure, path: figures.append(figure))
        return figures

    @pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
    def test_its_legend_covers_nothing(self, share: float, drawn: list[Figure], tmp_path: Path) -> None:
        """Neither a point nor the curve, where nothing is found either."""
        flux = np.geomspace(100, 10_000, 400)
        found = np.random.default_rng(0).uniform(size=400) < share * (flux > 600)
        complete = Completeness.of(Stars(np.zeros(400), np.zeros(400), flux, found))
        draw_completeness(tmp_path, complete, "an image", unit="adu")
        (figure,) = drawn
        figure.canvas.draw()
        (axes,) = figure.axes
        box = axes.get_legend().get_window_extent()
        lines = [axes.transData.transform(line.get_xydata()) for line in axes.lines if len(line.get_xydata()) > 2]
        assert len(lines) > 1
        x, y = np.concatenate(lines).T
        assert not ((box.x0 < x) & (x < box.x1) & (box.y0 < y) & (y < box.y1)).any()

    def test_without_a_psf_there_are_no_axes(self, drawn: list[Figure], tmp_path: Path) -> None:
        draw_completeness(tmp_path, Completeness.unknown(), "an image", unit="")
        (axes,) = drawn[0].axes
        assert not axes.axison
        assert [text.get_text() for text in axes.texts] == ["no artificial stars: no PSF is known"]


def test_what_switches_it_on_is_recorded(tmp_path: Path) -> None:
    """A product does as the option does, in a run and in a result; without stars nothing is said of columns."""
    out = tmp_path / "out"
    succeed(SKY, "--outputs", "completeness.tsv,background.fits,summary.json", folder=out)
    assert json.loads((out / "summary.json").read_text())["parameters"]["completeness"] is True
    assert fits.getval(out / "background.fits", "SEP COMPLETENESS") is True
    result = extract(SKY)
    result.write(tmp_path, ["completeness.tsv", "summary.json"])
    assert json.loads((tmp_path / "summary.json").read_text())["parameters"]["completeness"] is True
    nothing = extract(np.random.default_rng(0).normal(size=(200, 200)))
    nothing.write(tmp_path, ["completeness.tsv"])
    assert len(nothing.warnings) == 2
    assert "columns" not in " ".join(nothing.warnings)


def test_few_values_are_not_told(small: Sky) -> None:
    """Stars that are added to an image of few values have others; a limit from them would be off by a factor of two."""
    counts = np.random.default_rng(0).poisson(0.05, (300, 300)).astype(np.float32)
    counts[100:103, 100:103] += 5
    result = extract(counts, completeness=True)
    assert result.summary["completeness"]["flux_50"] is None
    assert any("few values" in warning for warning in result.warnings)
    assert extract(small.pixels, gain=1e30, completeness=True).summary["completeness"]["flux_50"] is not None
