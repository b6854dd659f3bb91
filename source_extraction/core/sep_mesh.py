"""The background mesh as in SEP, with its cells estimated a few rows at a time, by several processes.

SEP estimates the mode and the noise of each cell (`backstat`, `backguess` in its background.c) independently, then
fills cells that have too few valid pixels from those nearby, and smooths the mesh with a median (`filterback`). The
first step is SEP's own here; the second, done once all cells are there, follows its rules digit for digit.
"""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import sep

from .few_values import VALID_SHARE
from .processes import Workers

# Fewer pixels are estimated faster than a process starts.
PIXELS_A_TASK = 4_000_000
# This many pixels are copied, cell by cell, before a call of SEP: a call for each row of cells is slow for small ones.
PIXELS_AT_ONCE = 300_000
MOST_AT_ONCE = 1_000_000  # values whose medians are taken together


def modes_of_cells(
    pixels: np.ndarray, left_out: np.ndarray | None, cell: tuple[int, int], workers: Workers
) -> tuple[np.ndarray, np.ndarray]:
    """Background and noise of each `cell` (height, width), float32; NaN if less than half of its pixels are valid.

    `pixels` (height, width) are float32 in C order; `left_out` ones (True; None for none) are not valid.
    """
    height = cell[0]
    rows, at_once = (max(1, most // (height * pixels.shape[1])) * height for most in (PIXELS_A_TASK, PIXELS_AT_ONCE))

    def estimate(first: int) -> list[tuple[np.ndarray, np.ndarray]]:
        last = min(first + rows, len(pixels))
        # The last row of cells, if it is less high.
        rest = last - (last - first) % height
        tops = [*range(first, rest, at_once), *([rest] if rest < last else [])]
        bands = [slice(*ends) for ends in pairwise((*tops, last))]
        return [_of_band(pixels[band], None if left_out is None else left_out[band], cell) for band in bands]

    found = [of_band for some in workers.map(estimate, range(0, len(pixels), rows)) for of_band in some]
    levels, noises = (np.concatenate(values) for values in zip(*found, strict=True))
    return levels, noises


def _of_band(band: np.ndarray, left_out: np.ndarray | None, cell: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Background and noise of each cell in some rows, all of full height or one that is less high; float32."""
    height, width = min(cell[0], len(band)), cell[1]
    whole = band.shape[1] // width * width
    parts = [(slice(0, whole), width), (slice(whole, None), band.shape[1] - whole)]
    found = [
        _estimated(
            _cells(band[:, columns], height, wide),
            None if left_out is None else _cells(left_out[:, columns], height, wide),
        )
        for columns, wide in parts
        if wide and band[:, columns].size
    ]
    number = len(band) // height
    levels, noises = (
        np.concatenate([each.reshape(number, -1) for each in values], axis=1) for values in zip(*found, strict=True)
    )
    return levels, noises


def _cells(band: np.ndarray, height: int, width: int) -> np.ndarray:
    """Rows of cells, flattened to a row of pixels per cell."""
    number = len(band) // height
    cells = band.reshape(number, height, -1, width).transpose(0, 2, 1, 3).reshape(-1, height * width)
    return np.ascontiguousarray(cells)


def _estimated(cells: np.ndarray, left_out: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Background and noise of cells, given as a row of pixels each."""
    number, size = cells.shape
    if size % 2:
        found = [
            _one_by_one(cells[at : at + 1], None if left_out is None else left_out[at : at + 1]) for at in range(number)
        ]
        levels, noises = (np.array(values, dtype=np.float32) for values in zip(*found, strict=True))
    else:
        # Stack the cells in a column, each two pixels high: every second row of SEP's map then has a cell's value.
        shape = 2 * number, size // 2
        mask = None if left_out is None else left_out.reshape(shape)
        column = sep.Background(cells.reshape(shape), mask=mask, bw=shape[1], bh=2, fw=1, fh=1)
        levels, noises = (read(dtype=np.float32)[1::2, 0].copy() for read in (column.back, column.rms))
    if left_out is not None:
        valid = size - np.count_nonzero(left_out, axis=1)
        too_few = valid < VALID_SHARE * size
        levels[too_few], noises[too_few] = np.nan, np.nan
    return levels, noises


def _one_by_one(cell: np.ndarray, left_out: np.ndarray | None) -> tuple[float, float]:
    """Background and noise of one cell."""
    found = sep.Background(cell, mask=left_out, bw=cell.shape[1], bh=1, fw=1, fh=1)
    # The map rather than the global RMS, which is 1 if a cell has none.
    return found.globalback, found.rms(dtype=np.float32)[0, 0]


def filled(levels: np.ndarray, noises: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells without a value (NaN) get the mean of the nearest cells that have one."""
    missing = np.isnan(levels)
    if not missing.any():
        return levels, noises
    # Only cells with a value that touch a missing one can be nearest.
    beside = np.pad(missing, 1)
    beside = beside[:-2, 1:-1] | beside[2:, 1:-1] | beside[1:-1, :-2] | beside[1:-1, 2:]
    y, x = np.nonzero(beside & ~missing)
    of_levels, of_noises = levels[y, x], noises[y, x]
    levels, noises = levels.copy(), noises.copy()
    for row, column in np.argwhere(missing):
        distance = (y - row) ** 2 + (x - column) ** 2
        nearest = distance == distance.min()
        levels[row, column], noises[row, column] = of_levels[nearest].mean(), of_noises[nearest].mean()
    return levels, noises


def evened_out(
    levels: np.ndarray, noises: np.ndarray, size: tuple[int, int], fthresh: float
) -> tuple[np.ndarray, np.ndarray]:
    """Replace level and noise by medians in cells whose level is `fthresh` or more from the median around them.

    `size` is the (height, width) of the surroundings in cells; near an end of the mesh, which cuts them off on one
    side, they are shortened by as much on the other.
    """
    smooth = _medians(levels, size)
    outliers = np.abs(smooth - levels) >= fthresh
    return np.where(outliers, smooth, levels), np.where(outliers, _medians(noises, size), noises)


def _medians(cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The median of the cells around each."""
    medians = np.empty_like(cells)
    reaches = [min(side // 2, (number - 1) // 2) for side, number in zip(size, cells.shape, strict=True)]
    for down, right in product(*(range(reach + 1) for reach in reaches)):
        rows, columns = (
            _whose_reach_is(reach, most, number)
            for reach, most, number in zip((down, right), reaches, cells.shape, strict=True)
        )
        windows = np.lib.stride_tricks.sliding_window_view(cells, (2 * down + 1, 2 * right + 1))
        # Some rows at a time, as all of them take much memory.
        for some in np.array_split(rows, -(-cells.size * windows[0, 0].size // MOST_AT_ONCE)):
            if len(some):
                around = windows[np.ix_(some - down, columns - right)].reshape(len(some), len(columns), -1)
                # The number of values is odd; sorting them takes half the time of np.median.
                medians[np.ix_(some, columns)] = np.sort(around, axis=2)[:, :, around.shape[2] // 2]
    return medians


def _whose_reach_is(reach: int, most: int, number: int) -> np.ndarray:
    """The places, out of `number`, that have `reach` neighbours on one side and no more, or at least `most` on both."""
    return np.arange(reach, number - reach) if reach == most else np.unique([reach, number - 1 - reach])
