"""Windowed positions: SEP's for isolated sources, the truth's where there are neighbours, and what is awkward."""

import warnings

import numpy as np
import pytest
import sep

from source_extraction.core import windowed
from source_extraction.core.windowed import HALF_SIDES, windowed_positions
from tests.simulated_sky import simulate

SIGMA = 1.6


def gaussian(shape: tuple[int, int], x: float, y: float, sigma: float, peak: float = 1000.0) -> np.ndarray:
    rows, columns = np.indices(shape)
    return (peak * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))).astype(np.float32)


def positions(pixels: np.ndarray, segmentation: np.ndarray, x: list, y: list, sigma: float | list) -> np.ndarray:
    """Of the sources with the labels 1, 2, ..., searched for from (x, y); nothing is said on the way."""
    labels = np.arange(1, len(x) + 1, dtype=np.int32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return windowed_positions(pixels, segmentation, labels, np.array((x, y)), np.broadcast_to(sigma, len(x)))


def test_isolated_sources_are_where_sep_says() -> None:
    """Noise, stars and galaxies of all sizes, windows from 1 to 12 pixels, some at the edge of the image."""
    sky = simulate((700, 500), 60, seed=2, faintest=3000, background=200)
    pixels = sky.pixels - np.float32(200)
    x, y = sky.truth["x"].copy(), sky.truth["y"].copy()
    sigma = np.geomspace(1, 12, len(x))
    expected = np.array(sep.winpos(pixels, x, y, sigma)[:2])
    # Without a segmentation map, no pixel is a neighbour's.
    found = positions(pixels, np.zeros(pixels.shape, np.int32), x, y, sigma)
    inside = (np.abs(expected - np.array([[250], [350]])) < [[250], [350]]).all(axis=0)
    away = np.hypot(*(found - expected))[inside]
    assert inside.sum() > 50
    # Searches that lead astray end somewhere; the others agree.
    assert np.median(away) < 0.001
    assert np.percentile(away, 80) < 0.01


@pytest.mark.parametrize("distance", [5, 8])
def test_a_bright_neighbour_does_not_draw(distance: int) -> None:
    shape, x, y = (60, 60), 25.3, 30.2
    pixels = gaussian(shape, x, y, SIGMA, 100) + gaussian(shape, x + distance, y, SIGMA, 1000)
    # The half of the image on the neighbour's side of where both are equally bright is its.
    columns = np.arange(shape[1])
    border = x + distance / 2 - SIGMA**2 * np.log(10) / distance
    segmentation = np.broadcast_to(np.where(columns > border, 2, 1).astype(np.int32), shape)
    found = np.hypot(*(positions(pixels, segmentation, [x], [y], SIGMA) - [[x], [y]]))
    unaware = np.hypot(*(np.array(sep.winpos(pixels, [x], [y], SIGMA)[:2]).T[0] - [x, y]))
    assert found < 0.6
    assert found < unaware / 4


def test_a_source_is_followed_wherever_it_is() -> None:
    """Begun pixels away, farther than the stamp that was cut out there shows."""
    pixels = gaussian((80, 80), 40.25, 37.75, 3)
    segmentation = np.ones(pixels.shape, np.int32)
    x, y = positions(pixels, segmentation, [33.0], [45.0], 2.0)
    assert np.hypot(x - 40.25, y - 37.75) < 0.001


@pytest.mark.parametrize("window", [1.1, 4.0])
def test_a_window_that_does_not_fit_the_source(window: float) -> None:
    """Every step goes too short a way or too long a one; what is left when they end is far below their length."""
    pixels = gaussian((80, 80), 40.25, 37.75, 1.6)
    x, y = positions(pixels, np.ones(pixels.shape, np.int32), [40.0], [38.0], window)
    assert np.hypot(x - 40.25, y - 37.75) < 3e-5


@pytest.mark.parametrize("x", [0.3, 1.7, 37.8])
def test_at_the_edge(x: float) -> None:
    """What the edge hides is missing, in SEP's window as in this."""
    pixels = gaussian((50, 40), x, 48.6, SIGMA)
    found = np.ravel(positions(pixels, np.ones(pixels.shape, np.int32), [x], [48.6], SIGMA))
    expected = np.ravel(sep.winpos(pixels, [x], [48.6], SIGMA)[:2])
    np.testing.assert_allclose(found, expected, atol=0.005)


@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (3, 3), (7, 40)])
def test_an_image_smaller_than_the_window(shape: tuple[int, int]) -> None:
    y, x = (side // 2 for side in shape)
    found = positions(gaussian(shape, x, y, SIGMA), np.ones(shape, np.int32), [x], [y], 4.0)
    np.testing.assert_allclose(np.ravel(found), (x, y), atol=1e-4)


def test_no_position() -> None:
    """No light, light of neighbours alone, negative light, a window of more than 2,000 pixels, none."""
    pixels = np.zeros((40, 160), np.float32)
    pixels += gaussian(pixels.shape, 60, 20, SIGMA) - gaussian(pixels.shape, 100, 20, SIGMA)
    pixels += gaussian(pixels.shape, 140, 20, SIGMA)
    segmentation = np.zeros(pixels.shape, np.int32)
    segmentation[:, 40:80] = 9
    sigma = [SIGMA] * 3 + [HALF_SIDES[-1] / 4, np.nan]
    x, y = positions(pixels, segmentation, [20, 60, 100, 140, 140], [20] * 5, sigma)
    assert np.isnan(x).all()
    assert np.isnan(y).all()


def test_next_to_no_light() -> None:
    """Light and shadow but for the least float32: its centre is beyond all numbers."""
    pixels = np.array([[0, 1, 0, -1, 1e-39]], np.float32) * np.float32(2.0**60)
    found = np.ravel(positions(pixels, np.ones(pixels.shape, np.int32), [2], [0], 1.0))
    assert np.isnan(found[0])


def test_any_brightness() -> None:
    """Working pixels end at 1e29; a power of two changes no digit."""
    pixels, segmentation = gaussian((40, 40), 20.3, 19.6, SIGMA), np.ones((40, 40), np.int32)
    found = positions(pixels, segmentation, [20], [20], SIGMA)
    for factor in (2.0**80, 2.0**-80):
        np.testing.assert_array_equal(positions(pixels * np.float32(factor), segmentation, [20], [20], SIGMA), found)


def test_each_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """However sources are grouped, each is where it would be alone."""
    sky = simulate((300, 300), 200, seed=5)
    pixels, segmentation = sky.pixels - np.float32(200), np.zeros((300, 300), np.int32)
    x, y, sigma = sky.truth["x"].copy(), sky.truth["y"].copy(), np.geomspace(0.5, 20, 200)
    together = positions(pixels, segmentation, x, y, sigma)
    monkeypatch.setattr(windowed, "PIXELS_AT_A_TIME", 2000)
    np.testing.assert_array_equal(positions(pixels, segmentation, x, y, sigma), together)
    for one in range(0, 200, 7):
        alone = positions(pixels, segmentation, x[one : one + 1], y[one : one + 1], sigma[one : one + 1])
        np.testing.assert_array_equal(np.ravel(alone), together[:, one])
