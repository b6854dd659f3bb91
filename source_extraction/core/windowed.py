"""Positions weighted by a Gaussian window, as in SExtractor's XWIN_IMAGE (manual, "Windowed positional parameters").

As in all measurements, the pixels of neighbours count as zero. SEP's winpos ignores neighbours and is drawn to anything
bright nearby: for blends its positions are worse than the isophotal ones, and it takes more than twice as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .windows import Window

# The window's radius in sigma, where its weight is 1/3000; the step in pixels that ends a search; the most steps
# (SExtractor's winpos.h).
RADIUS, LEAST_STEP, MOST_STEPS = 4, 1e-4, 16
# Two steps that lead farther than this many times the way between their ends lead nowhere.
MOST_FARTHER = 1
# Stamps are wider by this many pixels, and are cut out again around a source that has moved farther. One is enough: in
# a crowded field 99 % of the sources move by less, and every extra pixel enlarges all stamps.
DRIFT = 1
# Stamps come in few sizes, so that many sources share one; these are half their sides. A source that needs more than
# the largest is a nebula, and gets no such position.
HALF_SIDES = np.ceil(np.geomspace(4, 1024, 22)).astype(int)
PIXELS_AT_A_TIME, FEW_PIXELS = 2**19, 2**18


def windowed_positions(
    pixels: np.ndarray, segmentation: np.ndarray, labels: np.ndarray, start: np.ndarray, sigma: np.ndarray
) -> np.ndarray:
    """The positions of windows in which the light is centred: x and y in pixels from 0 (2, N), NaN if there is none.

    `labels` (N) are the sources' values in the segmentation map, `start` (2, N) is where the search begins, `sigma` (N)
    is the window's, in pixels, NaN for no window. A step is twice the distance to the centre of the light in the
    window, which leads straight to a source as wide as the window.
    """
    at, steps = np.array(start, dtype=np.float64), np.zeros(len(sigma), dtype=int)
    size = np.searchsorted(HALF_SIDES, RADIUS * sigma + DRIFT)  # NaN sorts last
    moving = size < len(HALF_SIDES)
    at[:, ~moving] = np.nan
    while moving.any():
        for groups in _together(_groups(np.flatnonzero(moving), size)):
            cut_out = [_stamps(pixels, segmentation, labels[some], at[:, some], half) for some, half in groups]
            some, corner = np.concatenate([some for some, _ in groups]), np.hstack([corner for _, _, corner in cut_out])
            stamps = [of_group for of_group, _, _ in cut_out]
            found, steps[some], moving[some] = _search(stamps, at[:, some] - corner, sigma[some], steps[some])
            at[:, some] = corner + found
    return at


def variances_of_windows(
    pixels: np.ndarray,
    noise_of: Callable[[Window], np.ndarray],
    segmentation: np.ndarray,
    labels: np.ndarray,
    at: np.ndarray,
    sigma: np.ndarray,
    gain: float | None,
) -> np.ndarray:
    """The variances of windowed positions (sky or light, x or y, N): from the sky's noise, and from the light's own.

    4 sum(w^2 variance dx^2) / sum(w pixels)^2 (SExtractor manual, ERRX2WIN_IMAGE), for independent pixels. `noise_of`
    gives their standard deviations in a window of the image, `gain` is in electrons per unit of the pixels, None for no
    noise of the light. The windows are `at` (2, N), with a `sigma` (N) that is never too large for a stamp.
    """
    variances = np.zeros((2, 2, len(sigma)))
    for some, half in _groups(np.arange(len(sigma)), np.searchsorted(HALF_SIDES, RADIUS * sigma + DRIFT)):
        stamps, own, corner = _stamps(pixels, segmentation, labels[some], at[:, some], half)
        noises = _noises(noise_of, corner, stamps.shape[1:])
        noises *= own
        rows, columns = windows = [
            _weights(np.arange(side, dtype=np.float32), middle, _falls(sigma[some])).astype(np.float64)
            for side, middle in zip(stamps.shape[1:], (at[:, some] - corner)[::-1], strict=True)
        ]
        light = (rows[:, :1] @ stamps @ columns[:, :1].transpose(0, 2, 1))[:, 0, 0]
        rows, columns = (window**2 for window in windows)
        of_kinds = [noises.astype(np.float64) ** 2]
        if gain is not None:
            of_kinds.append(np.maximum(stamps, 0) / gain)
        for kind, values in enumerate(of_kinds):
            spread = rows @ values @ columns.transpose(0, 2, 1)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                variances[kind][:, some] = 4 * np.array((spread[:, 0, 1], spread[:, 1, 0])) / light**2
    return variances


def _groups(sources: np.ndarray, size: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Sources with stamps of one size, as many at a time as `PIXELS_AT_A_TIME` allows; and half the stamps' side."""
    for number in np.unique(size[sources]):
        alike, half = sources[size[sources] == number], HALF_SIDES[number]
        at_a_time = max(1, PIXELS_AT_A_TIME // (2 * half + 1) ** 2)
        for first in range(0, len(alike), at_a_time):
            yield alike[first : first + at_a_time], half


def _together(groups: Iterable[tuple[np.ndarray, int]]) -> Iterator[list[tuple[np.ndarray, int]]]:
    """Combine groups of few pixels, for which the numpy calls take as long as the computation."""
    together: list[tuple[np.ndarray, int]] = []
    pixels = 0
    for some, half in groups:
        more = len(some) * (2 * half + 1) ** 2
        if together and pixels + more > FEW_PIXELS:
            yield together
            together, pixels = [], 0
        together.append((some, half))
        pixels += more
    if together:
        yield together


def _stamps(
    pixels: np.ndarray, segmentation: np.ndarray, labels: np.ndarray, at: np.ndarray, half: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixels around sources, with neighbours zeroed, and which do not belong to neighbours (n, rows, columns both).

    Also the column and row of each stamp's first pixel (2, n). A stamp that would cross the edge of the image is moved
    to lie at the edge.
    """
    sides = [min(2 * half + 1, side) for side in segmentation.shape]
    left, top = (
        np.clip(np.rint(middle).astype(int) - half, 0, whole - side)
        for middle, whole, side in zip(at, segmentation.shape[::-1], sides[::-1], strict=True)
    )
    owners = _squares(segmentation, sides)[top, left]
    own = (owners == 0) | (owners == labels[:, None, None])
    stamps = _squares(pixels, sides)[top, left]
    stamps *= own  # takes a tenth of the time of setting some to zero
    return stamps, own, np.array((left, top))


def _noises(noise_of: Callable[[Window], np.ndarray], corner: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """The noise of the pixels of stamps (n, rows, columns), whose first pixels are at a `corner` (2, n)."""
    left, top = corner
    window = Window(top.min(), top.max() + sides[0], left.min(), left.max() + sides[1])
    noises: np.ndarray = _squares(noise_of(window), sides)[top - window.top, left - window.left]
    return noises


def _squares(image: np.ndarray, sides: Sequence[int]) -> np.ndarray:
    """All parts of an image with these sides, as in `sliding_window_view`, in a tenth of the time."""
    shape = tuple(whole - side + 1 for whole, side in zip(image.shape, sides, strict=True))
    return as_strided(image, (*shape, *sides), image.strides * 2, writeable=False)


def _search(
    stamps: list[np.ndarray], start: np.ndarray, sigma: np.ndarray, steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Step until sources settle or leave the middle of their stamps; returns positions, steps, and which still move.

    The stamps are those of the first sources, of the next ones, and so on, one size each.
    """
    at, steps, moving = start.copy(), steps.copy(), np.zeros(len(sigma), dtype=bool)
    # For the sources still moving. There is no step before the first: an infinite one leads nowhere.
    active, place, number, falls = np.arange(len(sigma)), start, steps, _falls(sigma)
    last_step, last_end = np.full_like(start, np.inf), start
    side = np.arange(max(max(some.shape[1:]) for some in stamps), dtype=np.float32)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        while len(active):
            step = 2 * _centres(stamps, _weights(side, place[::-1], falls))
            end, number = place + step, number + 1
            moves = (np.hypot(*step) >= 2 * LEAST_STEP) & (number < MOST_STEPS)
            place = np.where(moves, _farther(step, end, last_step, last_end), end)
            go_on = moves & (np.abs(place - start) <= DRIFT).all(axis=0)
            last_step, last_end = step, end
            if not go_on.all():
                at[:, active], steps[active], moving[active] = place, number, moves
                active, falls, number = active[go_on], falls[go_on], number[go_on]
                place, start, last_step, last_end = (each[:, go_on] for each in (place, start, last_step, last_end))
                stamps = [some[those] for some, those in zip(stamps, _parts(go_on, stamps), strict=True)]
    return at, steps, moving


def _farther(step: np.ndarray, end: np.ndarray, last_step: np.ndarray, last_end: np.ndarray) -> np.ndarray:
    """Where the next step begins (2, n): as far as the last two lead together, for they shrink by about one factor.

    This is the secant method along their line (Anderson 1965, Journal of the ACM 12, 547, with a memory of one). It
    ends in the same place after fewer steps.
    """
    change = step - last_step
    share = (step * change).sum(axis=0) / (change * change).sum(axis=0)
    farther: np.ndarray = end - np.where(np.abs(share) < MOST_FARTHER, share, 0) * (end - last_end)
    return farther


def _parts(of_all: np.ndarray, stamps: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Split per-source values (n, ...) like the arrays of the stamps."""
    first = 0
    for some in stamps:
        yield of_all[first : first + len(some)]
        first += len(some)


def _centres(stamps: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """The offset of the light's centre from the middle of each window, along x and y (2, n); NaN if there is no light.

    `weights` are those along y and x, as long as the longest side.
    """
    moments = np.empty((weights.shape[1], 2, 2), dtype=np.float32)
    every = zip(stamps, *(_parts(each, stamps) for each in (*weights, moments)), strict=True)
    for some, rows, columns, found in every:
        height, width = some.shape[1:]
        # The Gaussian is separable, and so are its moments: (n, order along y, order along x).
        np.matmul(rows[..., :height] @ some, columns[..., :width].swapaxes(1, 2), out=found)
    light = moments[:, 0, 0]
    centres = np.array((moments[:, 0, 1], moments[:, 1, 0]))
    centres /= light
    centres[:, ~(light > 0)] = np.nan
    centres[~np.isfinite(centres)] = np.nan
    return centres


def _falls(sigma: np.ndarray) -> np.ndarray:
    """The logarithm of a window divided by the squared distance."""
    falls: np.ndarray = (-0.5 / sigma**2).astype(np.float32)
    return falls


def _weights(side: np.ndarray, middle: np.ndarray, falls: np.ndarray) -> np.ndarray:
    """The windows along one axis or two, and the same times the distance from their middle: (..., n, 2, side).

    Their `middle` is (..., n).
    """
    distance = side - middle.astype(np.float32)[..., np.newaxis]
    weights = np.empty((*middle.shape, 2, len(side)), dtype=np.float32)
    window = weights[..., 0, :]
    np.square(distance, out=window)
    window *= falls[:, np.newaxis]
    np.exp(window, out=window)
    np.multiply(window, distance, out=weights[..., 1, :])
    return weights
