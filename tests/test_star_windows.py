"""A star that is looked for in a window is found, and measured, as it is in the whole image."""

from typing import Any

import numpy as np
import pytest

from source_extraction import extract
from source_extraction.core import artificial_stars
from source_extraction.core.artificial_stars import StarSearch, _Added
from source_extraction.core.completeness import MOST_DETECTIONS, measure_completeness
from source_extraction.core.detection import WindowExtractor, find_sources
from source_extraction.core.star_windows import StarWindows
from source_extraction.core.windows import Window
from tests.simulated_sky import simulate
from tests.test_completeness import search_of

STARS = 50
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

    They have the same numbers, but for some in blends, whose outer pixels SEP deals out by random numbers.
    """
    shape, number, drawn, options = FIELDS[field]
    search = search_of(extract(simulate(shape, number, 3, **drawn).pixels, gain=1, **options), drawn.get("fwhm", 3.5))
    random = np.random.default_rng(1)
    x, y = (random.uniform(-0.5, side - 0.5, STARS) for side in shape[::-1])
    fluxes = np.geomspace(200, 4000, STARS)
    lights, _ = search._added(x, y, fluxes)
    sizes, seen, same = [], 0, 0
    for star, light in enumerate(lights):
        window = search.windows.around(light.window)
        extracted = WindowExtractor(
            search._sky_of(_Added(search.sky.pixels, light)), search.kernel, search.threshold, search.options
        )(window)
        pixels = search.sky.pixels.copy()
        light.window.of(pixels)[:] += light.values
        whole = find_sources(search._sky_of(pixels), search.kernel, search.threshold, search.options)
        near, expected = (_near(sources, x[star], y[star]) for sources in (extracted.sources, whole))
        assert len(near) == len(expected)
        sizes.append(window.size)
        seen += len(near)
        numbers = [
            [values[name] for name in ("x", "y", "flux", "cpeak", "npix", "a", "b")] for values in (near, expected)
        ]
        same += np.isclose(*numbers, rtol=1e-5).all(axis=0).sum()
    assert seen > STARS / 5
    assert same > 0.75 * seen
    assert np.median(sizes) < shape[0] * shape[1] / (2 if field == "matched filter" else 12)


def _near(sources: np.ndarray, x: float, y: float) -> np.ndarray:
    return np.sort(sources[np.hypot(sources["x"] - x, sources["y"] - y) < 3], order="y")


def test_what_a_window_holds() -> None:
    """Whole parents that the light touches, or that reach it half as far again; not those farther away."""
    boxes = [Window(40, 60, 40, 60), Window(46, 48, 120, 122), Window(20, 40, 80, 140), Window(90, 95, 90, 95)]
    windows = StarWindows(boxes, (200, 200), 5, 2, matched=False)
    around = 2 + 8
    assert windows.around(Window(150, 151, 150, 151)) == Window(144 - around, 157 + around, 144 - around, 157 + around)
    # It touches the first; the third is 60 pixels long, so that it cleans 30 pixels around it.
    assert windows.around(Window(55, 62, 58, 65)) == Window(20 - around, 68 + around, 40 - around, 140 + around)
    assert windows.around(Window(0, 1, 0, 1)) == Window(0, 7 + around, 0, 7 + around)
    assert StarWindows([], (200, 200), 5, 2, matched=False).around(Window(0, 1, 0, 1)) == Window(
        0, 7 + around, 0, 7 + around
    )


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
    assert search.work <= MOST_DETECTIONS * artificial_stars.work_of(pixels.size, len(result))


def test_light_is_cut_where_it_is_nothing() -> None:
    """At a hundredth of the noise: on the axes of a stamp there is more inside, and nowhere more outside."""
    search = search_of(extract(np.random.default_rng(2).normal(0, 5, (200, 200))), gain=None)
    for flux in (20.0, 300.0, 1e7):
        (light,), _ = search._added(np.array([100.3]), np.array([99.8]), np.array([flux]))
        stamp = search.psf.stamps(np.array([100.3]), np.array([99.8]))[0] * flux
        reach, half = light.values.shape[0] // 2, len(stamp) // 2
        least = artificial_stars.FAINTEST * search.sky.rms
        outside = np.ones(stamp.shape, bool)
        outside[half - reach : half + reach + 1, half - reach : half + reach + 1] = False
        assert stamp[outside].max(initial=0) <= least
        assert max(stamp[half - reach].max(), stamp[:, half + reach].max(), stamp[half + reach].max()) > least
