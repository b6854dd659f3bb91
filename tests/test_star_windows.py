"""A star that is looked for in a window, among the windows of others, is found as it is in the whole image."""

from typing import Any

import numpy as np
import pytest
import sep

from source_extraction import extract
from source_extraction.core import artificial_stars, star_windows
from source_extraction.core.artificial_stars import StarSearch, _sheets
from source_extraction.core.completeness import MOST_DETECTIONS, measure_completeness
from source_extraction.core.contact_sheet import ContactSheet
from source_extraction.core.star_windows import StarWindows
from source_extraction.core.windows import Window, cut_out
from tests.simulated_sky import simulate
from tests.test_completeness import search_of

STARS = 50
MEASURED = ("flux", "cpeak", "npix", "a", "b")
MASK = np.zeros((360, 300), bool)
MASK[100:130, 40:200] = True
FIELDS: dict[str, tuple[tuple[int, int], int, dict[str, Any], dict[str, Any]]] = {
    "stars and galaxies": ((360, 300), 300, {}, {}),
    "crowded": ((360, 300), 1200, {"faintest": 400, "galaxies": 0, "fwhm": 2.4}, {}),
    "matched filter": ((360, 300), 300, {}, {"err_option": "array_rms", "thresh": 4}),
    "no filter": ((360, 300), 300, {}, {"filter_case": "none", "thresh": 2.5}),
    "large sources": ((360, 300), 300, {}, {"minarea": 12, "thresh": 1.0}),
    "masked": ((360, 300), 300, {}, {"mask": MASK}),
    "tiles": ((1100, 160), 500, {}, {}),
}


@pytest.mark.parametrize("field", FIELDS)
def test_as_in_the_whole_image(field: str) -> None:
    """Each star alone in a copy of the image; there are as many sources within three pixels of it.

    They have the same numbers, but for those of blends, whose outer pixels SEP deals out by random numbers.
    """
    shape, number, drawn, options = FIELDS[field]
    search = search_of(extract(simulate(shape, number, 3, **drawn).pixels, gain=1, **options), drawn.get("fwhm", 3.5))
    random = np.random.default_rng(1)
    x, y = (random.uniform(-0.5, side - 0.5, STARS) for side in shape[::-1])
    fluxes = np.geomspace(200, 4000, STARS)
    lights = search._added(x, y, fluxes)
    windows = search.windows.around([light.window for light in lights])
    seen, alone = 0, 0
    together = list(_sheets(np.arange(STARS), windows))
    if search.detector.threshold.matched:
        together = np.array_split(np.arange(STARS), STARS)
    for some in together:
        sheet, on_sheet = search._searched(some, lights, windows)
        for star, sheet_x, sheet_y in zip(some, *sheet.positions(x[some], y[some]), strict=True):
            pixels = search.sky.pixels.copy()
            lights[star].window.of(pixels)[:] += lights[star].values
            whole = search.detector.with_pixels(pixels).sources()
            near, expected = _near(on_sheet, sheet_x, sheet_y), _near(whole, x[star], y[star])
            assert len(near) == len(expected)
            for values, left, top in ((near, sheet_x, sheet_y), (expected, x[star], y[star])):
                values["x"] -= left
                values["y"] -= top
            seen += len(near)
            unblended = (near["flag"] & sep.OBJ_MERGED) == 0
            alone += unblended.sum()
            np.testing.assert_array_equal(near["flag"], expected["flag"])
            for names, tolerances in ((("x", "y"), {"atol": 1e-3}), (MEASURED, {"rtol": 1e-5})):
                numbers = [[values[name][unblended] for name in names] for values in (near, expected)]
                np.testing.assert_allclose(*numbers, **tolerances)
    assert seen > STARS / 5
    assert alone > seen / 3
    sizes = [window.size for window in windows]
    assert np.median(sizes) < shape[0] * shape[1] / (2 if field == "matched filter" else 12)


def _near(sources: np.ndarray, x: float, y: float) -> np.ndarray:
    return np.sort(sources[np.hypot(sources["x"] - x, sources["y"] - y) < 3], order="y")


@pytest.mark.parametrize("pairs", [1_000_000, 1])
def test_what_a_window_holds(monkeypatch: pytest.MonkeyPatch, pairs: int) -> None:
    """Whole parents that the light touches, or that reach it half as far again; not those farther away."""
    monkeypatch.setattr(star_windows, "PAIRS_AT_A_TIME", pairs)
    boxes = [Window(40, 60, 40, 60), Window(46, 48, 120, 122), Window(20, 40, 80, 140), Window(90, 95, 90, 95)]
    windows = StarWindows(boxes, (200, 200), 5, 2, matched=False)
    around = 2 + 8
    corner, touching, alone = Window(0, 1, 0, 1), Window(55, 62, 58, 65), Window(150, 151, 150, 151)
    assert windows.around([alone, touching, corner]) == [
        Window(144 - around, 157 + around, 144 - around, 157 + around),
        # It touches the first; the third is 60 pixels long, so that it cleans 30 pixels around it.
        Window(20 - around, 68 + around, 40 - around, 140 + around),
        Window(0, 7 + around, 0, 7 + around),
    ]
    assert StarWindows([], (200, 200), 5, 2, matched=False).around([corner]) == [Window(0, 7 + around, 0, 7 + around)]
    assert windows.around([]) == []


def test_where_one_source_is_nearly_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stars are put in together then, no more at a time than may be, so that it takes no longer than in the others."""
    looked_for: list[int] = []

    def counted(self: StarSearch, stars: np.ndarray, *others: Any) -> None:
        looked_for.append(len(stars))
        look_for_all(self, stars, *others)

    look_for_all = StarSearch._look_for_all
    monkeypatch.setattr(StarSearch, "_look_for_all", counted)
    y, x = np.mgrid[:300, :300]
    nebula = 60 * np.exp(-((x - 150) ** 2 + (y - 150) ** 2) / 2 / 60**2)
    pixels = np.random.default_rng(0).normal(100 + nebula, 1)
    result = extract(pixels, bw=2000, bh=2000)
    search = search_of(result, gain=None)
    found = measure_completeness(search, len(result))
    assert max(looked_for) > 60
    assert found.columns["injected"].sum() >= 180
    with_stars = len(result) + search.at_a_time(len(result))
    assert search.work <= MOST_DETECTIONS * artificial_stars.work_of(pixels.size, with_stars)


def test_light_is_cut_where_it_is_nothing() -> None:
    """At a hundredth of the noise: on the axes of a stamp there is more inside, and nowhere more outside."""
    search = search_of(extract(np.random.default_rng(2).normal(0, 5, (200, 200))), gain=None)
    for flux in (20.0, 300.0, 1e7):
        (light,) = search._added(np.array([100.3]), np.array([99.8]), np.array([flux]))
        stamp = search.psf.stamps(np.array([100.3]), np.array([99.8]))[0] * flux
        reach, half = light.values.shape[0] // 2, len(stamp) // 2
        least = artificial_stars.FAINTEST * search.sky.rms
        outside = np.ones(stamp.shape, bool)
        outside[half - reach : half + reach + 1, half - reach : half + reach + 1] = False
        assert stamp[outside].max(initial=0) <= least
        # One pixel farther than that, at most: stars may be anywhere in a pixel.
        inside = reach - 1
        assert max(stamp[half - inside].max(), stamp[:, half + inside].max(), stamp[half + inside].max()) > least


@pytest.mark.parametrize("matched", [False, True])
def test_stars_share_sheets_unless_the_filter_is_matched(monkeypatch: pytest.MonkeyPatch, matched: bool) -> None:
    numbers: list[int] = []

    def counted(self: StarSearch, stars: np.ndarray, *others: Any) -> tuple[ContactSheet, np.ndarray]:
        numbers.append(len(stars))
        return searched(self, stars, *others)

    searched = StarSearch._searched
    monkeypatch.setattr(StarSearch, "_searched", counted)
    options = {"err_option": "array_rms", "thresh": 4} if matched else {}
    search = search_of(extract(simulate((700, 700), 300, 3).pixels, **options))
    search.look_for(np.full(40, 2000.0), 20)
    assert sum(numbers) > 30
    assert max(numbers) == 1 if matched else max(numbers) > 10


def test_how_far_apart_windows_are() -> None:
    """Half the longest side, as far as a source might clean, less what is around each star in its window anyway."""
    square, long = Window(0, 50, 0, 50), Window(3, 53, 10, 310)
    windows = StarWindows([], (200, 400), 5, 2, matched=False)
    assert windows.apart([square, square]) == 25 - 8
    assert windows.apart([square, long]) == 150 - 8
    assert windows.apart([Window(0, 9, 0, 9)]) == 2


def test_windows_side_by_side() -> None:
    image = np.arange(200).reshape(10, 20)
    sheet = ContactSheet([Window(0, 2, 0, 3), Window(5, 9, 10, 12)], gap=2)
    assert sheet.size == 4 * 7
    expected = [[0, 1, 2, -1, -1, 110, 111], [20, 21, 22, -1, -1, 130, 131]]
    expected += [[-1] * 5 + [150, 151], [-1] * 5 + [170, 171]]
    np.testing.assert_array_equal(sheet.of(lambda window: window.of(image), -1, int), expected)
    assert sheet.moved(1, Window(6, 7, 11, 12)) == Window(1, 2, 6, 7)
    x, y = sheet.positions(np.array([1.5, 11.0]), np.array([0.5, 8.0]))
    assert (x.tolist(), y.tolist()) == ([1.5, 6.0], [0.5, 3.0])


def test_cut_out() -> None:
    """As from an image padded with what is outside, also far outside; the image itself stays as it is."""
    image = np.arange(7 * 9).reshape(7, 9)
    x, y = np.array([3.0, 0.4, 8.6, -2.0, 20.0]), np.array([2.0, 6.6, 0.0, 3.5, -15.0])
    padded = np.pad(image, 30, constant_values=-1)
    for half in (0, 2, 11):
        found = cut_out(image, x, y, half, outside=-1)
        for stamp, column, row in zip(found, np.rint(x).astype(int) + 30, np.rint(y).astype(int) + 30, strict=True):
            expected = padded[row - half : row + half + 1, column - half : column + half + 1]
            np.testing.assert_array_equal(stamp, expected)
    found[:] = -5
    assert image.min() == 0
