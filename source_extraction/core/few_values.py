"""Background and noise of images of few distinct values, as photon counts and 8-bit pictures of little noise.

SEP, as SExtractor, looks for the mode in a histogram of each cell of the background mesh. Where most pixels of a cell
share a value, the bins of that histogram are one pixel unit wide (`backstat` in SEP's background.c), so that the answer
depends on the unit; where two or three values hold most of the pixels, its clipping takes away what makes the noise.
These images have the clipped mean and standard deviation of each cell instead, and the clip is never narrower than the
step from one value to the next.
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np

from .windows import Map, Window, blocks, grown

# An image has few values where two of them make up more than this share of the pixels of most blocks that are not
# constant. Of rounded Gaussian noise they do up to 1.35 steps; above, SEP's RMS is within 3 % of the truth.
SHARE_OF_TWO_VALUES = 0.5
BLOCK = 64
BLANK = 5
BLOCKS_LOOKED_AT = 60
# The step between values: this quantile of the differences between neighbours that are not equal. A lower one would be
# that of exceptions, where pixels were divided by an exposure map for example; a higher one that of sources.
QUANTILE_OF_STEPS = 0.1
CLIP = 3.0  # standard deviations
MOST_ROUNDS = 100
# Beside pixels that are clipped as too bright, so far the light of the same source may reach.
PIXELS_BESIDE_SOURCES = 3
# Of its pixels, what a cell must have to be measured; SEP asks for as many.
VALID_SHARE = 0.5


class CellStatistics(NamedTuple):
    """Of each cell (rows and columns of cells): clipped mean, standard deviation, and the largest value kept.

    NaN where a cell has too few valid pixels.
    """

    levels: np.ndarray
    noises: np.ndarray
    tops: np.ndarray


def step_between_values(pixels: np.ndarray, masked: np.ndarray | None) -> float | None:
    """The step between the values of an image of few; None where it has many.

    `pixels` (height, width) are float32, finite where `masked`, None or as large, is not True. 0 where
    all are equal.
    """
    height, width = pixels.shape
    windows = list(blocks((height, width), BLOCK))
    most, of_many = min(len(windows), BLOCKS_LOOKED_AT), 0
    shares, looked_at = [], []
    for window in windows:
        block = window.of(pixels)
        if masked is not None:
            block = np.where(window.of(masked), np.float32(np.nan), block)
        if not _varies(block):
            continue
        values = _without_blank(block)
        if not len(values):
            continue
        shares.append(_share_of_two(values))
        of_many += shares[-1] <= SHARE_OF_TWO_VALUES
        if 2 * of_many > most:
            return None  # whatever the others show
        looked_at.append(block)
        if len(shares) == BLOCKS_LOOKED_AT:
            break
    if shares and np.median(shares) <= SHARE_OF_TWO_VALUES:
        return None
    return float(np.quantile(np.concatenate([*map(_steps, looked_at)]), QUANTILE_OF_STEPS)) if shares else 0.0


def _share_of_two(values: np.ndarray) -> float:
    """The part of values that the two most frequent ones make up."""
    in_order = np.sort(values, axis=None)
    differ = in_order[1:] != in_order[:-1]
    if differ.all():
        return min(2, len(in_order)) / len(in_order)  # all are different, as noise is that was never rounded
    last = np.flatnonzero(differ)
    numbers = np.sort(np.diff(last, prepend=-1, append=len(in_order) - 1))
    return float(numbers[-2:].sum() / len(in_order))


def _varies(block: np.ndarray) -> bool:
    """Whether two neighbours are not equal; the first row almost always has such."""
    return any(
        bool((np.abs(np.diff(part, axis=axis)) > 0).any()) for part, axis in ((block[:1], 1), (block, 1), (block, 0))
    )


def _steps(block: np.ndarray) -> np.ndarray:
    """The differences between neighbours that are not equal."""
    differences = np.abs(np.concatenate([np.diff(block, axis=axis).ravel() for axis in (0, 1)]))
    steps: np.ndarray = differences[differences > 0]
    return steps


def _without_blank(block: np.ndarray) -> np.ndarray:
    """The valid values of a block but for those in the middle of `BLANK` x `BLANK` pixels of one value.

    Outside of a mosaic's footprint there is but one value, and many in it.
    """
    if min(block.shape) < BLANK:
        return block[np.isfinite(block)]
    reach = BLANK // 2
    middle = block[reach:-reach, reach:-reach]
    equal = block[:, 1:] == block[:, :-1]
    if not reduce(
        np.logical_and, (equal[:, first : first + block.shape[1] - BLANK + 1] for first in range(BLANK - 1))
    ).any():
        # No row has that many equal ones, which is quicker to see.
        whole: np.ndarray = middle[np.isfinite(middle)]
        return whole
    blank = _around(block, np.minimum) == _around(block, np.maximum)
    values: np.ndarray = middle[np.isfinite(middle) & ~blank]
    return values


def _around(block: np.ndarray, extreme: np.ufunc) -> np.ndarray:
    """The least or greatest of the `BLANK` x `BLANK` pixels around each pixel that has all of them."""
    height, width = (side - BLANK + 1 for side in block.shape)
    columns = reduce(extreme, (block[first : first + height] for first in range(BLANK)))
    around: np.ndarray = reduce(extreme, (columns[:, first : first + width] for first in range(BLANK)))
    return around


def pooled_statistics(pixels: np.ndarray, masked: np.ndarray | None, step: float) -> tuple[float, float]:
    """Clipped mean and standard deviation of all valid pixels together."""
    valid = pixels.reshape(1, -1) if masked is None else pixels[~masked][np.newaxis]
    level, noise, _ = _clipped(valid.astype(np.float64), np.array([1]), step)
    return float(level[0]), float(noise[0])


def too_bright(pixels: np.ndarray, tops: np.ndarray, cell: tuple[int, int], window: Window) -> np.ndarray:
    """The pixels of a window above the largest value that their cell kept, and those beside: True where a source is."""
    height, width = pixels.shape
    around = window.grown(PIXELS_BESIDE_SOURCES, (height, width))
    rows, columns = np.arange(around.top, around.bottom) // cell[0], np.arange(around.left, around.right) // cell[1]
    bright = grown(around.of(pixels) > tops[np.ix_(rows, columns)], PIXELS_BESIDE_SOURCES)
    return window.moved(-around.top, -around.left).of(bright)


def statistics_of_cells(pixels: Map, left_out: Map | None, step: float, cell: tuple[int, int]) -> CellStatistics:
    """Of each `cell` (height, width), without the pixels that are left out (True); `step` is that between values."""
    height, width = cell
    rows = []
    for y in range(0, pixels.shape[0], height):
        window = Window(y, min(y + height, pixels.shape[0]), 0, pixels.shape[1])
        band = pixels.of(window).astype(np.float64)
        if left_out is not None:
            band[left_out.of(window)] = np.nan
        rows.append(_clipped(*_cells_of(band, width), step))
    levels, noises, tops = (np.stack(values) for values in zip(*rows, strict=True))
    return CellStatistics(levels, noises, tops)


def _cells_of(band: np.ndarray, bw: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of each cell of a row of cells, (cells, pixels), NaN where there is none; and how many each has."""
    height, width = band.shape
    cells = -(-width // bw)
    padded = np.pad(band, ((0, 0), (0, cells * bw - width)), constant_values=np.nan)
    sizes = np.full(cells, height * bw)
    sizes[-1] -= height * (cells * bw - width)
    return padded.reshape(height, cells, bw).transpose(1, 0, 2).reshape(cells, height * bw), sizes


def _clipped(cells: np.ndarray, sizes: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard deviation of the pixels of each cell that lie within `CLIP` of the median, again and again.

    And the largest of these pixels. `cells` (cells, pixels) are NaN where invalid, `sizes` how many pixels each has.
    The clip is rounded up to the next value, and is a step at least: otherwise the few pixels that make the noise would
    be taken for sources, and the noise for none. NaN where a cell has too few valid pixels.
    """
    ordered = np.sort(cells, axis=1)
    valid = np.isfinite(ordered)
    last = valid.sum(axis=1)
    first = np.zeros_like(last)
    each, last_pixel = np.arange(len(ordered)), ordered.shape[1] - 1
    # Relative to a value among them: squares of what is left lose no digit.
    origin = ordered[each, np.maximum(last - 1, 0) // 2]
    ordered -= origin[:, np.newaxis]
    filled = np.where(valid, ordered, 0)
    sums, squares = (np.pad(np.cumsum(power, axis=1), ((0, 0), (1, 0))) for power in (filled, filled * filled))
    for _ in range(MOST_ROUNDS):
        number = np.maximum(last - first, 1)
        mean = (sums[each, last] - sums[each, first]) / number
        variance = (squares[each, last] - squares[each, first]) / number - mean * mean
        deviation = np.sqrt(np.maximum(variance, 0))
        halves = (np.minimum(first + half, last_pixel) for half in ((number - 1) // 2, number // 2))
        median = sum(filled[each, half] for half in halves) / 2
        clip = np.maximum(CLIP * deviation + step / 2, 1.5 * step)
        lower, upper = ((median + sign * clip)[:, np.newaxis] for sign in (-1, 1))
        clipped_first, clipped_last = (ordered < lower).sum(axis=1), (ordered <= upper).sum(axis=1)
        if (clipped_first == first).all() and (clipped_last == last).all():
            break
        first, last = clipped_first, clipped_last
    top = filled[each, np.maximum(last - 1, 0)]
    enough = valid.sum(axis=1) >= VALID_SHARE * sizes
    level, noise, top = (np.where(enough, values, np.nan) for values in (mean + origin, deviation, top + origin))
    return level, noise, top
