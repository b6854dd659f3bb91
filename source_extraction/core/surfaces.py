"""The surface through the cells of a background mesh, for any window of an image.

`Spline` is SEP's, which makes its maps whole, at 4 bytes a pixel each. The same operations in the same order and in
float32, as in `makebackspline` and `bkg_line_flt_internal` of its background.c (and in SExtractor's back.c), give the
same values digit for digit, a window at a time. Strictly it is not a natural spline: the recursion divides by 6 at
every step.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .windows import Window

# The cells' values are interpolated to this many rows of pixels at a time. The last of these bands are kept, since
# windows side by side share them.
ROWS_OF_BAND, BANDS = 512, 4
# So many pixels at a time stay in the processor's cache from one operation to the next.
PIXELS_AT_A_TIME = 2**16
ONE, HALF, SIX = np.float32(1), np.float32(0.5), np.float32(6)


class Stretch(NamedTuple):
    """Neighbouring columns of cells and the pixels right of them, in which the cells have the same weights.

    Columns of pixels from `first` to before `last`, `side` of them from one cell to the next; `left` is the number of
    the first cell. The weights of the cell on the left, of the one on the right, and of their curvatures are float32,
    one entry per column of pixels from the left cell on (side).
    """

    first: int
    last: int
    side: int
    left: int
    of_left: np.ndarray
    of_left_curvature: np.ndarray
    of_right: np.ndarray
    of_right_curvature: np.ndarray

    def of(self, nodes: np.ndarray, curvatures: np.ndarray) -> np.ndarray:
        """The surface (rows, columns of pixels) right of cells, given with the one behind them (rows, cells + 1)."""
        of_left = curvatures[:, :-1, np.newaxis] * self.of_left_curvature
        of_left += nodes[:, :-1, np.newaxis]
        of_left *= self.of_left
        of_right = curvatures[:, 1:, np.newaxis] * self.of_right_curvature
        of_right += nodes[:, 1:, np.newaxis]
        of_right *= self.of_right
        of_left += of_right
        return of_left.reshape(len(nodes), -1)


class Spline:
    """The surface through values of cells.

    `values` (rows and columns of cells) are float32, `cell` is the (height, width) of a cell in pixels, `width` is the
    width of the image.
    """

    def __init__(self, values: np.ndarray, cell: tuple[int, int], width: int) -> None:
        self.values = values
        self.cell_height, cell_width = cell
        self._curvatures = _curvatures(values)
        self._stretches = _stretches(values.shape[1], cell_width, width)
        self._bands: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def of(self, window: Window) -> np.ndarray:
        """The surface at the pixels of a window, float32."""
        nodes, curvatures = self._rows(window.top, window.bottom)
        surface = np.empty((window.bottom - window.top, window.right - window.left), dtype=np.float32)
        if not self._stretches:
            surface[:] = nodes
        for stretch in self._stretches:
            first, last = max(stretch.first, window.left), min(stretch.last, window.right)
            if first >= last:
                continue
            # The cells whose columns these are, and how many of their first columns are not wanted.
            before, cut = divmod(first - stretch.first, stretch.side)
            cells = slice(stretch.left + before, stretch.left + -(-(last - stretch.first) // stretch.side) + 1)
            rows = max(1, PIXELS_AT_A_TIME // (last - first))
            for top in range(0, len(surface), rows):
                some = slice(top, top + rows)
                of_stretch = stretch.of(nodes[some, cells], curvatures[some, cells])
                surface[some, first - window.left : last - window.left] = of_stretch[:, cut : cut + last - first]
        return surface

    def _rows(self, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
        """For each row of pixels (N): value and curvature along it at each column of cells, (N, columns) both."""
        some = []
        for number in range(top // ROWS_OF_BAND, -(-bottom // ROWS_OF_BAND)):
            first = number * ROWS_OF_BAND
            some.append([of_band[max(top - first, 0) : bottom - first] for of_band in self._band(number)])
        nodes, curvatures = (
            parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in zip(*some, strict=True)
        )
        return nodes, curvatures

    def _band(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The same for all rows of a band; the last bands are kept."""
        if number not in self._bands:
            if len(self._bands) == BANDS:
                del self._bands[next(iter(self._bands))]
            first = number * ROWS_OF_BAND
            self._bands[number] = self._between_rows_of_cells(np.arange(first, first + ROWS_OF_BAND))
        return self._bands[number]

    def _between_rows_of_cells(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each row of pixels (N): value and curvature along it at each column of cells, (N, columns) both."""
        number = len(self.values)
        if number == 1:
            # With only one row of cells, SEP interpolates linearly between its cells.
            return self.values.repeat(len(y), axis=0), np.zeros((len(y), self.values.shape[1]), np.float32)
        # The division in float32, the difference in float64, as C has it.
        place = (y.astype(np.float32) / np.float32(self.cell_height)).astype(np.float64) - 0.5
        below = np.clip(place.astype(int), 0, number - 2)
        share = (place.astype(np.float32) - below.astype(np.float32))[:, np.newaxis]
        rest = ONE - share
        nodes = rest * self.values[below] + share * self.values[below + 1]
        nodes += (rest * rest * rest - rest) * self._curvatures[below]
        nodes += (share * share * share - share) * self._curvatures[below + 1]
        return nodes, _curvatures(nodes.T).T


def _curvatures(values: np.ndarray) -> np.ndarray:
    """SEP's version of a sixth of the second derivatives along the first axis; 0 at its ends."""
    last = len(values) - 1
    curvatures, sums = np.zeros_like(values), np.zeros_like(values)
    factors = np.zeros(len(values), dtype=np.float32)
    for at in range(1, last):
        factors[at] = -ONE / (factors[at - 1] + np.float32(4))
        bend = values[at + 1] + values[at - 1] - np.float32(2) * values[at]
        sums[at] = factors[at] * (sums[at - 1] - SIX * bend)
    for at in range(last - 1, 0, -1):
        curvatures[at] = (factors[at] * curvatures[at + 1] + sums[at]) / SIX
    return curvatures


def _stretches(number: int, cell: int, width: int) -> list[Stretch]:
    """The columns of an image between the centres of its cells; the first and last stretch reach the image's ends."""
    if number == 1:
        return []
    step = np.float32(1.0 / cell)
    to_centre = cell // 2

    def stretch(left: int, first: int, last: int, side: int) -> Stretch:
        # The distance from the left cell, in cells: summed step by step, with SEP's rounding.
        begin = (step - ONE) * HALF if left == 0 else np.float32((cell + 1) % 2) * step * HALF
        of_right = np.add.accumulate(np.r_[begin, np.full(side - 1, step)], dtype=np.float32)
        of_left = ONE - of_right
        return Stretch(first, last, side, left, of_left, of_left * of_left - ONE, of_right, of_right * of_right - ONE)

    if number == 2:
        return [stretch(0, 0, width, width)]
    first, last = cell + to_centre, cell * (number - 2) + to_centre
    stretches = [stretch(0, 0, first, first), stretch(number - 2, last, width, width - last)]
    if number > 3:
        stretches.insert(1, stretch(1, first, last, cell))
    return stretches


class Bilinear:
    """The surface through the cells without overshoots; it is extrapolated linearly beyond the last centres.

    `values` are of cells (rows and columns of them), `cell` is the (height, width) of one in pixels.
    """

    def __init__(self, values: np.ndarray, cell: tuple[int, int]) -> None:
        self.values, self.cell = values, cell

    def of(self, window: Window) -> np.ndarray:
        """The surface at the pixels of a window, float64."""
        along_y = _lerp(self.values, np.arange(window.top, window.bottom), self.cell[0])
        return _lerp(along_y.T, np.arange(window.left, window.right), self.cell[1]).T


def _lerp(values: np.ndarray, pixels: np.ndarray, cell: int) -> np.ndarray:
    """Interpolate values at the centres of cells, along the first axis, to pixels."""
    position = (pixels + 0.5) / cell - 0.5
    below = np.clip(position.astype(int), 0, max(len(values) - 2, 0))
    above = np.minimum(below + 1, len(values) - 1)
    share = (position - below)[:, np.newaxis]
    # This form is exact where both are equal.
    interpolated: np.ndarray = values[below] + share * (values[above] - values[below])
    return interpolated
