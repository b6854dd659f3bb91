"""The background mesh: level and noise in cells of the image, as SEP estimates them wherever it can.

It cannot if values are few (`few_values`), nor if no cell of the mesh is half valid: there SEP says 0 and 1, and the
statistics of all valid pixels are used instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..settings import BackgroundOptions
from .few_values import VALID_SHARE, pooled_statistics, statistics_of_cells, step_between_values, too_bright
from .processes import Workers
from .sep_mesh import evened_out, filled, modes_of_cells
from .surfaces import Bilinear, Spline
from .windows import Map, Window, strips

# For few values, in steps between them: the noise of one photon in 400 pixels. With fewer, any photon is many standard
# deviations above the background, and with the filter as large as a source.
LEAST_NOISE = 0.05
SMALL = 2**20  # pixels; a map of these takes little memory
# How far the surface can be from a value around which the cells lie, in units of the farthest cell: the sums of the
# absolute weights of all cells, which are at most 2.55 along each axis half a cell beyond the last centres, and 1.474
# between centres.
OVERSHOOT_AT_ENDS, OVERSHOOT_INSIDE = 6.51, 2.18


@dataclass
class Mesh:
    """Background and noise of every cell, and of every pixel by the surface through the cells.

    `levels` and `noises` (rows and columns of cells) are per cell, `shape` is the (height, width) of the image and
    `cell` that of a cell. `step` is the step between few values, None if there are many: then all is as in SEP.
    `pooled`: every cell has the statistics of all valid pixels.
    """

    levels: np.ndarray
    noises: np.ndarray
    shape: tuple[int, int]
    cell: tuple[int, int]
    step: float | None
    pooled: bool = False
    _maps: dict[str, np.ndarray] = field(default_factory=dict)  # of a small image, which is read in many windows

    def __post_init__(self) -> None:
        if self.step is None:
            width = self.shape[1]
            self._level: Spline | Bilinear = Spline(self.levels, self.cell, width)
            self._noise: Spline | Bilinear = Spline(self.noises, self.cell, width)
        else:
            self._level, self._noise = Bilinear(self.levels, self.cell), Bilinear(self.noises, self.cell)

    @property
    def background(self) -> float:
        """The global background: the median of the cells."""
        return float(np.median(self.levels))

    @property
    def rms(self) -> float:
        """The global RMS: the median noise of the cells; of the non-zero ones if most are zero; else 0."""
        some = self.noises[self.noises > 0]
        return float(np.median(self.noises) or (np.median(some) if some.size else 0))

    def where_noise_may_fall_to(self, level: float) -> list[Window]:
        """Windows, none of which overlap, outside of which the noise certainly exceeds `level`.

        None if the cells are alike; if they are less alike a frame of half a cell, where the surface leads beyond the
        last centres; else the whole image.
        """
        lowest, highest = float(self.noises.min()), float(self.noises.max())

        def exceeds(overshoot: float) -> bool:
            return (lowest + highest) / 2 - overshoot * (highest - lowest) / 2 > level

        if exceeds(OVERSHOOT_AT_ENDS):
            return []
        return list(self._frame() if exceeds(OVERSHOOT_INSIDE) else strips(self.shape))

    def _frame(self) -> Iterator[Window]:
        """The pixels that do not lie between the centres of cells."""
        height, width = self.shape
        (top, bottom), (left, right) = (
            (min((cell + 1) // 2, side), min((number - 1) * cell + cell // 2, side))
            for cell, number, side in zip(self.cell, self.noises.shape, self.shape, strict=True)
        )
        bottom, right = max(top, bottom), max(left, right)
        yield from strips((top, width))
        yield from (window.moved(bottom, 0) for window in strips((height - bottom, width)))
        yield from (window.moved(top, 0) for window in strips((bottom - top, left)))
        yield from (window.moved(top, right) for window in strips((bottom - top, width - right)))

    def background_of(self, window: Window) -> np.ndarray:
        """The background at the pixels of a window, float32."""
        return self._shown("background", self._drawn_background, window)

    def rms_of(self, window: Window) -> np.ndarray:
        """The noise at the pixels of a window, float32."""
        return self._shown("rms", self._drawn_rms, window)

    def _shown(self, name: str, draw: Callable[[Window], np.ndarray], window: Window) -> np.ndarray:
        """A map in a window; a map that takes little memory is drawn only once."""
        height, width = self.shape
        if height * width > SMALL:
            return draw(window)
        if name not in self._maps:
            self._maps[name] = draw(Window(0, height, 0, width))
        return window.of(self._maps[name]).copy()

    def _drawn_background(self, window: Window) -> np.ndarray:
        return np.ascontiguousarray(self._level.of(window), dtype=np.float32)

    def _drawn_rms(self, window: Window) -> np.ndarray:
        noise = np.ascontiguousarray(self._noise.of(window), dtype=np.float32)
        if self.step is not None:
            np.clip(noise, self.noises.min(), self.noises.max(), out=noise)
        return noise

    def subtract_from(self, pixels: np.ndarray) -> None:
        """Subtract the background from the image in place."""
        for window in strips(self.shape):
            of_window = window.of(pixels)
            of_window -= self.background_of(window)


def estimate_mesh(
    pixels: np.ndarray, masked: np.ndarray | None, options: BackgroundOptions, fthresh: float, workers: Workers
) -> Mesh:
    """The mesh of an image.

    `pixels` (height, width) are float32 in C order, finite except where `masked` (None or of that shape) is True.
    `fthresh` is that option in the unit of the pixels.
    """
    step = step_between_values(pixels, masked)
    if step is not None:
        return _mesh_of_few_values(pixels, masked, step, options, fthresh)
    cell = cell_of(pixels.shape, options)
    levels, noises = modes_of_cells(pixels, masked, cell, workers)
    if np.isnan(levels).all():
        return _pooled(pixels, masked, None, cell)
    levels, noises = evened_out(*filled(levels, noises), (options.fh, options.fw), fthresh)
    return Mesh(levels, noises, _shape(pixels), cell, None)


def _mesh_of_few_values(
    pixels: np.ndarray, masked: np.ndarray | None, step: float, options: BackgroundOptions, fthresh: float
) -> Mesh:
    """The mesh of an image whose values are a `step` apart.

    A first mesh, from the clipped pixels of each cell, shows which pixels are sources. The second is made from the
    image without the sources and the first mesh: where a smooth background is stored in steps, its noise is that of the
    rounding.
    """
    cell = cell_of(pixels.shape, options)
    left_out = None if masked is None else Map.showing(masked)
    first = statistics_of_cells(Map.showing(pixels), left_out, step, cell)
    if np.isnan(first.levels).all():
        return _pooled(pixels, masked, step, cell)
    levels, _ = _filtered(_filled(first.levels), _filled(first.noises), options, fthresh)
    smooth = Mesh(levels, first.noises, _shape(pixels), cell, step)

    def residuals(window: Window) -> np.ndarray:
        return window.of(pixels) - smooth.background_of(window)

    def without_sky(window: Window) -> np.ndarray:
        sources = too_bright(pixels, first.tops, cell, window)
        return sources if left_out is None else sources | left_out.of(window)

    shape = _shape(pixels)
    of_rest = Map(shape, pixels.dtype, residuals), Map(shape, np.dtype(bool), without_sky)
    rest = statistics_of_cells(*of_rest, step, cell)
    # Where too little is left without the sources, they are part of the background.
    crowded = np.isnan(rest.levels)
    levels = levels + np.where(crowded, 0, rest.levels)
    noises = _filled(np.where(crowded, first.noises, rest.noises))
    levels, noises = _filtered(levels, noises, options, fthresh)
    if (noises > 0).any():
        # A cell without any noise gets that of the others: all it shows is that its noise is below one step.
        usual = np.median(noises) or np.median(noises[noises > 0])
        noises = np.maximum(np.where(noises > 0, noises, usual), LEAST_NOISE * step)
    return Mesh(levels, noises, _shape(pixels), cell, step)


def _pooled(pixels: np.ndarray, masked: np.ndarray | None, step: float | None, cell: tuple[int, int]) -> Mesh:
    """A mesh that is the same everywhere, from the statistics of all valid pixels."""
    if step is None:
        valid = pixels.reshape(1, -1) if masked is None else pixels[~masked][np.newaxis]
        levels, noises = modes_of_cells(valid, None, (1, valid.size), Workers(1))
    else:
        levels, noises = (np.array([[value]]) for value in pooled_statistics(pixels, masked, step))
    return Mesh(levels, noises, _shape(pixels), cell, step, pooled=True)


def _shape(pixels: np.ndarray) -> tuple[int, int]:
    height, width = pixels.shape
    return height, width


def cell_of(shape: tuple[int, ...], options: BackgroundOptions) -> tuple[int, int]:
    """The (height, width) of a cell of an image's mesh."""
    return min(options.bh, shape[0]), min(options.bw, shape[1])


def serving_cells(masked: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
    """True where a cell (rows and columns of cells) has as many valid pixels as SEP requires."""
    bh, bw = cell
    height, width = masked.shape
    heights, widths = (np.diff([*range(0, side, step), side]) for side, step in ((height, bh), (width, bw)))
    valid = [
        np.add.reduceat(np.count_nonzero(~masked[y : y + bh], axis=0), range(0, width, bw))
        for y in range(0, height, bh)
    ]
    return np.asarray(np.array(valid) >= VALID_SHARE * np.outer(heights, widths))


def _filled(cells: np.ndarray) -> np.ndarray:
    """The cells, with NaN replaced by the mean of the valid ones among the eight beside them, from these outwards."""
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
    """Replace level and noise by medians in cells whose level is `fthresh` or more from the median around them."""
    smooth = _medians(levels, options)
    outliers = np.abs(smooth - levels) >= fthresh
    return np.where(outliers, smooth, levels), np.where(outliers, np.maximum(_medians(noises, options), 0), noises)


def _medians(cells: np.ndarray, options: BackgroundOptions) -> np.ndarray:
    """The median of the cells around each, `fh` rows and `fw` columns of them.

    The mesh is continued beyond its ends as it arrives there: otherwise a slope would be cut off at them.
    """
    y, x = (min(size // 2, number - 1) for size, number in zip((options.fh, options.fw), cells.shape, strict=True))
    padded = np.pad(cells, ((y, y), (x, x)), mode="reflect", reflect_type="odd")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * y + 1, 2 * x + 1))
    # A row at a time, as all of them take much memory.
    return np.stack([np.median(row, axis=(1, 2)) for row in windows])
