"""Background and noise of images with few distinct values, such as photon counts and 8-bit pictures of little noise.

SEP, like SExtractor, estimates the mode from a histogram of each cell of the background mesh. Where most pixels of a
cell share a value, the bins of that histogram are one pixel unit wide (`backstat` in SEP's background.c), so that the
result depends on the unit; where two or three values hold most of the pixels, its clipping removes the ones that make
up the noise. For these images the clipped mean and standard deviation of each cell are used instead, and the clip is
never narrower than the step from one value to the next.
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np

from .windows import Map, Window, blocks, grown, number_of_blocks

# An image has few values if two of them make up more than this share of the pixels in most non-constant blocks. For
# rounded Gaussian noise that holds up to a sigma of 1.35 steps; above it, SEP's RMS is within 3 % of the truth.
SHARE_OF_TWO_VALUES = 0.5
BLOCK = 64
BLANK = 5
BLOCKS_LOOKED_AT = 60
# The step between values: this quantile of the differences between unequal neighbours. A lower one would be set by
# exceptions, e.g. where pixels were divided by an exposure map; a higher one by sources.
QUANTILE_OF_STEPS = 0.1
CLIP = 3.0  # standard deviations
MOST_ROUNDS = 100
# The light of a source may reach this far beside pixels that are clipped as too bright.
PIXELS_BESIDE_SOURCES = 3
# The share of a cell's pixels that must be valid for it to be measured; SEP asks for as many.
VALID_SHARE = 0.5


class CellStatistics(NamedTuple):
    """For each cell (rows and columns of cells): clipped mean, standard deviation, and the largest value kept.

    NaN where a cell has too few valid pixels.
    """

    levels: np.ndarray
    noises: np.ndarray
    tops: np.ndarray


def step_between_values(pixels: np.ndarray, masked: np.ndarray | None) -> float | None:
    """The step between the values of an image with few distinct ones; None if it has many, 0 if all are equal.

    `pixels` (height, width) are float32, finite except where `masked` (None or of that shape) is True.
    """
    shape = pixels.shape[0], pixels.shape[1]
    most, of_many = min(number_of_blocks(shape, BLOCK), BLOCKS_LOOKED_AT), 0
    shares, looked_at = [], []
    for window in blocks(shape, BLOCK):
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
    """The share of the values that the two most frequent ones make up."""
    in_order = np.sort(values, axis=None)
    differ = in_order[1:] != in_order[:-1]
    if differ.all():
        return min(2, len(in_order)) / len(in_order)  # all differ, as in noise that was never rounded
    last = np.flatnonzero(differ)
    numbers = np.sort(np.diff(last, prepend=-1, append=len(in_order) - 1))
    return float(numbers[-2:].sum() / len(in_order))


def _varies(block: np.ndarray) -> bool:
    """Whether any two neighbours differ; checking the first row is nearly always enough."""
    return any(
        bool((np.abs(np.diff(part, axis=axis)) > 0).any()) for part, axis in ((block[:1], 1), (block, 1), (block, 0))
    )


def _steps(block: np.ndarray) -> np.ndarray:
    """The differences between unequal neighbours."""
    differences = np.abs(np.concatenate([np.diff(block, axis=axis).ravel() for axis in (0, 1)]))
    steps: np.ndarray = differences[differences > 0]
    return steps


def _without_blank(block: np.ndarray) -> np.ndarray:
    """The valid values of a block, except those in the middle of `BLANK` x `BLANK` pixels of one value.

    Outside a mosaic's footprint all pixels have one value; inside it there are many values.
    """
    if min(block.shape) < BLANK:
        return block[np.isfinite(block)]
    reach = BLANK // 2
    middle = block[reach:-reach, reach:-reach]
    equal = block[:, 1:] == block[:, :-1]
    if not reduce(
        np.logical_and, (equal[:, first : first + block.shape[1] - BLANK + 1] for first in range(BLANK - 1))
    ).any():
        # No row has that many equal pixels, which is faster to check.
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
    """The pixels of a window above the largest value kept in their cell, and those beside them: True for a source."""
    height, width = pixels.shape
    around = window.grown(PIXELS_BESIDE_SOURCES, (height, width))
    rows, columns = np.arange(around.top, around.bottom) // cell[0], np.arange(around.left, around.right) // cell[1]
    bright = grown(around.of(pixels) > tops[np.ix_(rows, columns)], PIXELS_BESIDE_SOURCES)
    return window.moved(-around.top, -around.left).of(bright)


def statistics_of_cells(pixels: Map, left_out: Map | None, step: float, cell: tuple[int, int]) -> CellStatistics:
    """The statistics of each `cell` (height, width) without left-out pixels (True); `step` is that between values."""
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
    """The pixels of each cell in a row of cells, (cells, pixels), NaN where there is none; and the number in each."""
    height, width = band.shape
    cells = -(-width // bw)
    padded = np.pad(band, ((0, 0), (0, cells * bw - width)), constant_values=np.nan)
    sizes = np.full(cells, height * bw)
    sizes[-1] -= height * (cells * bw - width)
    return padded.reshape(height, cells, bw).transpose(1, 0, 2).reshape(cells, height * bw), sizes


def _clipped(cells: np.ndarray, sizes: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard deviation of the pixels of each cell within `CLIP` of the median, iterated, and their largest.

    `cells` (cells, pixels) are NaN where invalid, `sizes` are the numbers of pixels in each. The clip is rounded up to
    the next value, and is at least one step: otherwise the few pixels that make up the noise would be taken for
    sources, and the noise would vanish. NaN where a cell has too few valid pixels.
    """
    ordered = np.sort(cells, axis=1)
    valid = np.isfinite(ordered)
    last = valid.sum(axis=1)
    first = np.zeros_like(last)
    each, last_pixel = np.arange(len(ordered)), ordered.shape[1] - 1
    # Relative to one of the values, so that squares of the differences lose no digits.
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
