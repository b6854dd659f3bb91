"""The background mesh: level and noise in cells of the image, as SEP estimates them wherever it can.

It cannot where values are few (`few_values`), nor where no cell of the mesh is half valid: there it says 0 and 1, and
the statistics of all valid pixels are taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import sep

from ..settings import BackgroundOptions
from .few_values import VALID_SHARE, pooled_statistics, statistics_of_cells, step_between_values, too_bright

ROWS_AT_A_TIME = 256
# Of few values, in steps between them: the noise of a photon in 400 pixels. Where there are fewer, any photon is many
# standard deviations above the background, and with the filter as large as a source.
LEAST_NOISE = 0.05


@dataclass
class CellMesh:
    """A mesh that is read as a `sep.Background` is: bilinear between the centres of its cells, and going on beyond.

    `levels` and `noises` (rows and columns of cells) are of each cell, `shape` is the (height, width) of the image and
    `cell` that of a cell. `step` is that between few values, None where there are many; `pooled` says that every cell
    has the statistics of all valid pixels.
    """

    levels: np.ndarray
    noises: np.ndarray
    shape: tuple[int, int]
    cell: tuple[int, int]
    step: float | None
    pooled: bool = False

    @property
    def globalback(self) -> float:
        """The median of the cells."""
        return float(np.median(self.levels))

    @property
    def globalrms(self) -> float:
        """The median noise of the cells; 0 where none has any."""
        return float(np.median(self.noises))

    def back(self, dtype: type = np.float32) -> np.ndarray:
        """The background of every pixel."""
        return self._everywhere(self.levels, dtype)

    def rms(self, dtype: type = np.float32) -> np.ndarray:
        """The noise of every pixel."""
        noise = self._everywhere(self.noises, dtype)
        return np.clip(noise, self.noises.min(), self.noises.max(), out=noise)

    def subfrom(self, pixels: np.ndarray) -> None:
        """Subtract the background from an image in place."""
        for first in range(0, len(pixels), ROWS_AT_A_TIME):
            rows = slice(first, min(first + ROWS_AT_A_TIME, len(pixels)))
            pixels[rows] -= self._interpolated(self.levels, rows).astype(np.float32)

    def _everywhere(self, cells: np.ndarray, dtype: type) -> np.ndarray:
        values: np.ndarray = np.empty(self.shape, dtype)
        for first in range(0, len(values), ROWS_AT_A_TIME):
            rows = slice(first, min(first + ROWS_AT_A_TIME, len(values)))
            values[rows] = self._interpolated(cells, rows)
        return values

    def _interpolated(self, cells: np.ndarray, rows: slice) -> np.ndarray:
        """Values of cells at the pixels of some rows, float64."""
        along_y = _lerp(cells, np.arange(rows.start, rows.stop), self.cell[0])
        return _lerp(along_y.T, np.arange(self.shape[1]), self.cell[1]).T


def _lerp(values: np.ndarray, pixels: np.ndarray, cell: int) -> np.ndarray:
    """Values that stand at the centres of cells, along the first axis, at pixels; beyond the last centres as before."""
    position = (pixels + 0.5) / cell - 0.5
    below = np.clip(position.astype(int), 0, max(len(values) - 2, 0))
    above = np.minimum(below + 1, len(values) - 1)
    share = (position - below)[:, np.newaxis]
    # This form is exact where both are equal.
    interpolated: np.ndarray = values[below] + share * (values[above] - values[below])
    return interpolated


class DrawnMesh:
    """The maps of a mesh, in place of a `sep.Background` that belongs to another process."""

    def __init__(self, mesh: sep.Background) -> None:
        self._back, self._rms = mesh.back(dtype=np.float32), mesh.rms(dtype=np.float32)

    def back(self, dtype: type) -> np.ndarray:
        """The background (height, width)."""
        return self._back.astype(dtype)

    def rms(self, dtype: type) -> np.ndarray:
        """Its RMS (height, width)."""
        return self._rms.astype(dtype)


Mesh: TypeAlias = sep.Background | CellMesh


def estimate_mesh(
    pixels: np.ndarray, masked: np.ndarray | None, options: BackgroundOptions, fthresh: float
) -> tuple[Mesh, float]:
    """The mesh of an image, and its global RMS, 0 where there is none.

    `pixels` (height, width) are float32 in C order, finite where `masked`, None or as large, is not True. `fthresh` is
    that option in the unit of the pixels.
    """
    step = step_between_values(pixels, masked)
    if step is not None:
        mesh = _mesh_of_few_values(pixels, masked, step, options, fthresh)
        return mesh, mesh.globalrms
    height, width = pixels.shape
    bh, bw = cell_of(pixels.shape, options)
    # Larger cells and filters give the same result, and make SEP allocate as much or overflow.
    filters = {"fw": min(options.fw, 2 * width + 1), "fh": min(options.fh, 2 * height + 1)}
    found = sep.Background(pixels, mask=masked, bw=bw, bh=bh, fthresh=fthresh, **filters)
    found_nothing = found.globalback == 0 and found.globalrms == 1
    if masked is not None and found_nothing and not serving_cells(masked, (bh, bw)).any():
        pooled = _pooled(pixels, masked, None, (bh, bw))
        return pooled, pooled.globalrms
    return found, _rms_found(found)


def _mesh_of_few_values(
    pixels: np.ndarray, masked: np.ndarray | None, step: float, options: BackgroundOptions, fthresh: float
) -> CellMesh:
    """The mesh of an image whose values are a `step` apart.

    A first mesh, of the clipped pixels of each cell, shows what the sources are. The second is of what is left without
    them and the first: where a smooth background is stored in steps, its noise is that of the rounding.
    """
    cell = cell_of(pixels.shape, options)
    first = statistics_of_cells(pixels, masked, step, cell)
    if np.isnan(first.levels).all():
        return _pooled(pixels, masked, step, cell)
    levels, _ = _filtered(_filled(first.levels), _filled(first.noises), options, fthresh)
    residuals = pixels.copy()
    CellMesh(levels, first.noises, _shape(pixels), cell, step).subfrom(residuals)
    sources = too_bright(pixels, first.tops, cell)
    rest = statistics_of_cells(residuals, sources if masked is None else sources | masked, step, cell)
    # Where the sources leave too little, they are part of it.
    crowded = np.isnan(rest.levels)
    levels = levels + np.where(crowded, 0, rest.levels)
    noises = _filled(np.where(crowded, first.noises, rest.noises))
    levels, noises = _filtered(levels, noises, options, fthresh)
    if (noises > 0).any():
        # A cell without any noise has that of the others: what it shows is that its noise is below one step.
        usual = np.median(noises) or np.median(noises[noises > 0])
        noises = np.maximum(np.where(noises > 0, noises, usual), LEAST_NOISE * step)
    return CellMesh(levels, noises, _shape(pixels), cell, step)


def _pooled(pixels: np.ndarray, masked: np.ndarray | None, step: float | None, cell: tuple[int, int]) -> CellMesh:
    """A mesh that is the same everywhere: the statistics of all valid pixels."""
    if step is None:
        valid = pixels.reshape(1, -1) if masked is None else pixels[~masked][np.newaxis]
        found = sep.Background(valid, bw=valid.size, bh=1)
        level, noise = found.globalback, _rms_found(found)
    else:
        level, noise = pooled_statistics(pixels, masked, step)
    return CellMesh(np.array([[level]]), np.array([[noise]]), _shape(pixels), cell, step, pooled=True)


def _rms_found(mesh: sep.Background) -> float:
    """SEP says 1 where no cell of the mesh has any noise."""
    return float(mesh.globalrms) if mesh.globalrms != 1 or mesh.rms(dtype=np.float32).any() else 0.0


def _shape(pixels: np.ndarray) -> tuple[int, int]:
    height, width = pixels.shape
    return height, width


def cell_of(shape: tuple[int, ...], options: BackgroundOptions) -> tuple[int, int]:
    """The (height, width) of a cell of the mesh of an image."""
    return min(options.bh, shape[0]), min(options.bw, shape[1])


def serving_cells(masked: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
    """True where a cell (rows and columns of cells) has as many valid pixels as SEP asks for."""
    bh, bw = cell
    height, width = masked.shape
    heights, widths = (np.diff([*range(0, side, step), side]) for side, step in ((height, bh), (width, bw)))
    valid = [
        np.add.reduceat(np.count_nonzero(~masked[y : y + bh], axis=0), range(0, width, bw))
        for y in range(0, height, bh)
    ]
    return np.asarray(np.array(valid) >= VALID_SHARE * np.outer(heights, widths))


def _filled(cells: np.ndarray) -> np.ndarray:
    """Cells whose value is NaN have the mean of the eight beside them, from the valid ones outwards."""
    while (missing := np.isnan(cells)).any():
        values, valid = (
            np.lib.stride_tricks.sliding_window_view(np.pad(each, 1), (3, 3)).sum(axis=(2, 3))
            for each in (np.where(missing, 0, cells), ~missing)
        )
        cells = np.where(missing & (valid > 0), values / np.maximum(valid, 1), cells)
    return cells


def _filtered(
    levels: np.ndarray, noises: np.ndarray, options: BackgroundOptions, fthresh: float
) -> tuple[np.ndarray, np.ndarray]:
    """Cells whose level is `fthresh` or more from the median of those around have the medians of level and noise."""
    smooth = _medians(levels, options)
    outliers = np.abs(smooth - levels) >= fthresh
    return np.where(outliers, smooth, levels), np.where(outliers, np.maximum(_medians(noises, options), 0), noises)


def _medians(cells: np.ndarray, options: BackgroundOptions) -> np.ndarray:
    """The median of the cells around each, `fh` rows and `fw` columns of them.

    The mesh goes on beyond its ends as it comes there: otherwise a slope would be cut off at them.
    """
    y, x = (min(size // 2, number - 1) for size, number in zip((options.fh, options.fw), cells.shape, strict=True))
    padded = np.pad(cells, ((y, y), (x, x)), mode="reflect", reflect_type="odd")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * y + 1, 2 * x + 1))
    # A row at a time: all of them take much memory.
    return np.stack([np.median(row, axis=(1, 2)) for row in windows])
