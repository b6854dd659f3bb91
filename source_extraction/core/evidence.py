"""What a run reveals about whether its options suit the image. Measured once, and cheaply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..settings import BackgroundOptions, Settings
from .correlation import INDEPENDENT, Correlation
from .detections import Detections
from .image import Image
from .photometry import gaussian_fwhm
from .sky import Sky, estimate_background
from .windows import Window, blocks, grown, strips

SIDE_OF_SAMPLE = 256
BESIDE = 3  # pixels
LEAST_SIDE = 16  # of a sample in which a frame can be recognized
# More pixels than this at the greatest value are not the tops of stars.
MOST_TOPS = 1_000_000
NOISE_BLOCK, NOISE_SAMPLE, FEWEST_OF_NOISE = 64, 40_000, 500
SMALL_IMAGE = 200_000  # pixels
# Where one value in the image holds the RMS map at its floor, at least this share of the pixels has that value.
BLANK_SHARE = 0.1
PIXELS_OF_PHOTONS = 1_000_000
# Pictures are compressed in blocks of this many pixels (or of half as many); this many blocks are examined.
BLOCK, BLOCKS_LOOKED_AT = 8, 64
# This many pixels around a source are left out with it, for its faint light.
MARGIN = 4
# Symmetric noise: taking half of the central 68 % below the median as the unit, 2.3 % and 0.135 % of the pixels lie
# this far below it (2 and 3 for a Gaussian); above it the half is the same, except for light too faint to be detected.
LOW_TAIL, LOWEST_TAIL, UPPER_HALF = (1.75, 2.3), (2.2, 5.0), (0.75, 1.4)
# A large source is searched for peaks: pixels (averaged over 3 x 3) that are `PEAK` of their noise above all points at
# these distances.
PEAK, REACHES, DIRECTIONS, PIXELS_LOOKED_INTO = 8.0, (4, 7), 32, 4_000_000
LEAST_CONTRAST = 0.15  # of a peak, as a fraction of its light; the texture of a cell has less
# Left-out pixels stand off from those beside them by at least this much of the noise; a sky cut off at a value does
# not.
LEAST_STEP = 0.5
SHARE_WITH_PEAKS, FEWEST_PEAKS, PEAKS_A_SOURCE, PIXELS_A_PEAK = 0.2, 20, 3, 30


class Glimpse(NamedTuple):
    """A look at an image before its pixels become those of the sky.

    `sample` are pixels at a regular distance, float64, NaN where masked; `stride` is that distance, and `flat` says
    which of them have the same value as the pixels beside them. `greatest` is the greatest value, `tops` the flat
    indices of the pixels that have it (none if there are very many).
    """

    sample: np.ndarray
    stride: int
    flat: np.ndarray
    greatest: float
    tops: np.ndarray

    @classmethod
    def of(cls, image: Image, masked: np.ndarray | None) -> Glimpse:
        """Look at an image (height, width); pixels that are `masked` (boolean, or None) are left out of the sample."""
        pixels = image.pixels
        stride = -(-min(image.shape) // SIDE_OF_SAMPLE)
        sample = pixels[::stride, ::stride].astype(np.float64)
        if masked is not None:
            sample[masked[::stride, ::stride]] = np.nan
        flat = np.ones(sample.shape, dtype=bool)
        last_row, last_column = (np.array([side - 1]) for side in image.shape)
        rows, columns = (np.arange(0, side, stride) for side in image.shape)
        for dy, dx in ((1, 1), (0, BESIDE), (BESIDE, 0), (BESIDE, BESIDE)):
            # One axis after the other: indexing both at once takes four times as long.
            beside = pixels[np.minimum(rows + dy, last_row)][:, np.minimum(columns + dx, last_column)]
            flat &= beside == pixels[::stride, ::stride]
        bands = list(strips(image.shape))
        highest = [np.fmax.reduce(band.of(pixels), axis=None) for band in bands]
        greatest = np.fmax.reduce(highest)
        tops = [
            np.flatnonzero(band.of(pixels) == greatest) + band.top * pixels.shape[1]
            for band, high in zip(bands, highest, strict=True)
            if high == greatest
        ]
        found = np.concatenate(tops) if tops else np.zeros(0, dtype=int)
        return cls(sample, stride, flat, float(greatest), found if len(found) <= MOST_TOPS else found[:0])

    @property
    def finite(self) -> np.ndarray:
        """The finite values of the sample, in no order."""
        return self.sample[np.isfinite(self.sample)]

    def is_left_out(self, value: float, noise: float) -> bool:
        """Whether the pixels of one value lie outside the image proper, rather than in its sky.

        The values of a sky that is cut off, or has few values, come within the `noise` of that value.
        """
        blank = self.flat & (self.sample == value)
        beside = self.sample[grown(blank, 1) & (self.sample != value) & np.isfinite(self.sample)]
        return not len(beside) or bool(np.median(np.abs(beside - value)) >= LEAST_STEP * noise)


class Peaks(NamedTuple):
    """Peaks inside large sources, compared with a circle around each.

    `number`: how many. `isolated`: how far a peak rises above the highest point of its circle, as a part of how far it
    rises above the circle's median (1 for a spot, 0 for a ridge). `around`: that median as a part of the peak's height
    (nothing for a star, much for a spot on a cell). `fwhm`: their width in pixels.
    """

    number: int
    isolated: float
    around: float
    fwhm: float


NO_PEAKS = Peaks(0, 0.0, 0.0, 0.0)


def noise_of(sky: Sky, segmentation: np.ndarray) -> np.ndarray:
    """Source-free pixels in units of their noise, from all over the image, always the same ones."""
    values: list[np.ndarray] = []
    height, width = sky.pixels.shape
    whole = Window(0, height, 0, width)
    # In a small image, all blocks at once are faster.
    at_once = _noise_in(sky, segmentation, whole) if height * width <= SMALL_IMAGE else None
    for window in blocks((height, width), NOISE_BLOCK):
        noise, free = _noise_in(sky, segmentation, window) if at_once is None else map(window.of, at_once)
        values.append(noise[free])
        if sum(map(len, values)) >= NOISE_SAMPLE:
            break
    return np.concatenate(values)


def _noise_in(sky: Sky, segmentation: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of a window in units of their noise, and which of them are source-free."""
    height, width = segmentation.shape
    around = window.grown(MARGIN, (height, width))
    near = grown(around.of(segmentation) != 0, MARGIN)
    sigma = sky.sigma_of(window)
    free = ~window.moved(-around.top, -around.left).of(near) & (sigma > 0)
    if sky.masked is not None:
        free &= ~window.of(sky.masked)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # far-off pixels may overflow
        return window.of(sky.pixels) / sigma, free


def is_symmetric(noise: np.ndarray) -> bool:
    """Whether source-free pixels scatter below their median as noise does, and hardly differently above it.

    Only then does the negated image have as many false detections as the image. It has fewer where noise is cut off
    below (photon counts, clipped pictures), and more where the background has holes or was overestimated.
    """
    if len(noise) < FEWEST_OF_NOISE:
        return False
    # Percentiles of sorted values take a fifth of the time.
    lowest, low, below, middle, above = np.percentile(np.sort(noise), (0.135, 2.275, 15.87, 50, 84.13))
    half = middle - below
    measured = ((middle - low, LOW_TAIL), (middle - lowest, LOWEST_TAIL), (above - middle, UPPER_HALF))
    return bool(half > 0 and all(least * half <= value <= most * half for value, (least, most) in measured))


def floored_sources(sky: Sky, segmentation: np.ndarray) -> tuple[int, np.ndarray]:
    """How many sources have pixels in which the RMS map is at its floor, and these pixels: flat indices."""
    floored = sky.floored() if sky.rms > 0 else np.zeros(0, dtype=int)
    return int(np.count_nonzero(np.unique(segmentation.ravel()[floored]))), floored


def value_of_blank(pixels: np.ndarray, width: int, glimpse: Glimpse, noise: float) -> float | None:
    """The single value of these pixels (flat indices) in an image of this `width`, judging by the glimpse.

    None if they have several values, or if the value is that of the sky (given its `noise`: `Glimpse.is_left_out`).
    """
    y, x = np.divmod(pixels, width)
    seen = (y % glimpse.stride == 0) & (x % glimpse.stride == 0)
    at = y[seen] // glimpse.stride, x[seen] // glimpse.stride
    flat = glimpse.sample[at][glimpse.flat[at]]
    flat = flat[np.isfinite(flat)]
    if len(flat) <= BLANK_SHARE * np.count_nonzero(seen):
        return None
    values, numbers = np.unique(flat, return_counts=True)
    value = float(values[numbers.argmax()])
    return value if glimpse.is_left_out(value, noise) else None


def photons_like(sky: Sky, options: BackgroundOptions) -> Sky:
    """A sky of only the photons of another's background, always the same ones; a part of it if it is large."""
    height, width = sky.pixels.shape
    rows = min(height, max(1, PIXELS_OF_PHOTONS // width))
    top = (height - rows) // 2
    middle = slice(top, top + rows)
    level = np.maximum(sky.background_map.of(Window(top, top + rows, 0, width)), 0)
    pixels = np.random.default_rng(0).poisson(level).astype(np.float32)
    masked = None if sky.masked is None or sky.masked[middle].all() else sky.masked[middle]
    return estimate_background(Image("photons", "", "float32", pixels), masked, replace(options, fthresh=0.0))


@dataclass
class Evidence:
    """What was measured of a run, and what follows from it.

    `negated` is the number of detections on the negated image, None if it is not informative. For another threshold,
    and another kernel if one is given, `recounted` counts the detections on the image, and `negated_recounted` those on
    the negated one; `of_photons` counts those on an image of only the photons of the background. `noise_correlation`
    measures what neighbouring pixels have in common, None if too few have no source.
    """

    settings: Settings
    image: Image
    glimpse: Glimpse
    sky: Sky
    detections: Detections
    negated: int | None
    recounted: Callable[..., int]
    negated_recounted: Callable[..., int]
    of_photons: Callable[[float], int]
    noise_correlation: Callable[[], Correlation | None]

    @property
    def sources(self) -> np.ndarray:
        """SEP's records of the sources, in the image's unit."""
        return self.detections.sources

    def option(self, name: str) -> Any:
        """The value of an option."""
        return self.settings.option(name)

    @cached_property
    def extents(self) -> np.ndarray:
        """The longer side of the box around each source, in pixels."""
        found = self.sources
        return np.asarray(np.maximum(found["xmax"] - found["xmin"], found["ymax"] - found["ymin"]) + 1)

    @property
    def largest(self) -> int:
        return int(self.extents.max(initial=0))

    def share_of_light(self, chosen: np.ndarray) -> float:
        """The share of all detected light that is in these sources (boolean)."""
        flux = np.maximum(self.sources["flux"], 0, dtype=np.float64)
        return float(flux[chosen].sum() / flux.sum()) if flux.any() else 0.0

    @cached_property
    def cell(self) -> int:
        """The longer side of a cell of the mesh, in pixels."""
        options, (height, width) = self.settings.background, self.image.shape
        return max(min(options.bw, width), min(options.bh, height))

    @cached_property
    def background_range(self) -> float:
        """The range that holds nearly all of the background, in background RMS."""
        stride, sky = self.glimpse.stride, self.sky
        if not self.settings.background.subtract_background or sky.rms == 0:
            return 0.0
        background = self.glimpse.sample - sky.pixels[::stride, ::stride].astype(np.float64) * sky.unit
        if not np.isfinite(background).any():
            return 0.0
        low, high = np.nanpercentile(background, (1, 99))
        return float(high - low) / sky.rms

    @property
    def faint(self) -> np.ndarray:
        """Which sources have a peak less than twice their threshold."""
        return np.asarray(self.sources["cpeak"] < 2 * self.sources["thresh"])

    @property
    def covered(self) -> float:
        """The share of the image that belongs to sources."""
        return float(self.sources["npix"].sum() / self.detections.segmentation.size)

    @property
    def step(self) -> float | None:
        """The step between the values of an image with few distinct ones, in its own unit; None if it has many."""
        return self.sky.step

    @cached_property
    def whole_numbers(self) -> bool:
        """Whether all sampled pixels are whole numbers."""
        return bool(len(self.glimpse.finite) and (self.glimpse.finite == np.rint(self.glimpse.finite)).all())

    @property
    def noise_is_of_photons(self) -> bool:
        """Whether the variance of the sky is about its level, as for photon counts."""
        return 0.4 < self.sky.rms**2 / self.sky.background < 2.5 if self.sky.background > 0 else False

    @cached_property
    def frame(self) -> tuple[float, float] | None:
        """The commonest value of the constant parts of the image's border, and the share of the image constant at it.

        None if there are none, or if that is the sky.
        """
        sample, flat = self.glimpse.sample, self.glimpse.flat
        if min(sample.shape) < LEAST_SIDE:
            return None
        border = np.concatenate([each[flat_ones] for each, flat_ones in _ends(sample, flat)])
        border = border[np.isfinite(border)]
        if not len(border):
            return None
        values, numbers = np.unique(border, return_counts=True)
        value = float(values[numbers.argmax()])
        if not self.glimpse.is_left_out(value, self.sky.rms):
            return None
        return value, float((flat & (sample == value)).mean())

    @cached_property
    def flat_tops(self) -> int:
        """How many sources have at least three pixels at the greatest value."""
        labels = self.detections.segmentation.ravel()[self.glimpse.tops]
        return int(np.count_nonzero(np.bincount(labels[labels > 0]) >= 3)) if len(labels) else 0

    @cached_property
    def fwhm_of_stars(self) -> float | None:
        """The FWHM of most bright unblended sources; None if they have no common one, or are too few."""
        found = self.sources
        bright = found[(found["flag"] == 0) & (found["cpeak"] > 10 * found["thresh"])]
        if len(bright) < 10:
            return None
        low, middle, high = np.percentile(gaussian_fwhm(bright["a"], bright["b"]), (15.87, 50, 84.13))
        return float(middle) if (high - low) / 2 < 0.15 * middle else None

    @property
    def large(self) -> np.ndarray:
        """Which sources are larger than half a cell."""
        return self.extents > self.cell / 2

    @cached_property
    def peaks(self) -> Peaks:
        """The peaks inside sources larger than half a cell, the largest source first."""
        found: list[Peaks] = []
        large = np.flatnonzero(self.large)
        pixels = 0
        for row in large[np.argsort(-self.sources["npix"][large])].tolist():
            source = self.sources[row]
            box = Window(source["ymin"], source["ymax"] + 1, source["xmin"], source["xmax"] + 1)
            pixels += int(box.of(self.sky.pixels).size)
            if pixels > PIXELS_LOOKED_INTO:
                break
            found.append(_peaks_in(box.of(self.sky.pixels), box.of(self.detections.segmentation) == row + 1, self._rms))
        number = sum(peaks.number for peaks in found)
        if not number:
            return NO_PEAKS
        isolated, around, fwhm = (
            float(np.average([peaks[each] for peaks in found], weights=[peaks.number for peaks in found]))
            for each in (1, 2, 3)
        )
        return Peaks(number, isolated, around, fwhm)

    @property
    def many_peaks(self) -> Peaks | None:
        """The peaks of large sources, if these hold much of the light and far more peaks than there are sources."""
        number = int(np.count_nonzero(self.large))
        least = max(FEWEST_PEAKS, PEAKS_A_SOURCE * number, len(self.sources) / 10)
        # These sources have no room for more peaks.
        room = float(self.sources["npix"][self.large].sum()) / PIXELS_A_PEAK
        if room < least or self.share_of_light(self.large) < SHARE_WITH_PEAKS:
            return None
        return self.peaks if self.peaks.number > least else None

    @cached_property
    def ellipses_cover(self) -> float:
        """The area of all 3 sigma ellipses, as a share of the image's."""
        found = self.sources
        return float(np.nansum(9 * np.pi * found["a"] * found["b"]) / self.detections.segmentation.size)

    @property
    def filled_share(self) -> float:
        """The area of the sources' pixels, as a share of the area of their ellipses."""
        return self.covered / self.ellipses_cover if self.ellipses_cover else 1.0

    @cached_property
    def sky_of_one_value(self) -> bool:
        """Whether all sampled pixels have one value, except those in and around sources."""
        near = grown(self.detections.segmentation[:: self.glimpse.stride, :: self.glimpse.stride] > 0, 2)
        free = self.glimpse.sample[~near]
        free = free[np.isfinite(free)]
        return bool(len(free) and free.min() == free.max())

    @cached_property
    def block_steps(self) -> tuple[float, float]:
        """How much more neighbours differ at the edges of blocks of 8 than inside: along columns and along rows.

        1 if there are no such blocks; only the middle of a large image is used.
        """
        height, width = self.sky.pixels.shape
        middle = Window(
            max(0, height // 2 - BLOCKS_LOOKED_AT * BLOCK), height // 2 + BLOCKS_LOOKED_AT * BLOCK,
            max(0, width // 2 - BLOCKS_LOOKED_AT * BLOCK), width // 2 + BLOCKS_LOOKED_AT * BLOCK,
        )  # fmt: skip
        pixels = middle.of(self.sky.pixels)
        if min(pixels.shape) <= BLOCK:
            return 1.0, 1.0
        found = []
        for axis in (0, 1):
            steps = np.abs(np.diff(pixels, axis=axis)).mean(axis=1 - axis, dtype=np.float64)
            at_each = np.array([steps[first::BLOCK].mean() for first in range(BLOCK)])
            inside = float(np.median(at_each))
            found.append(float(at_each.max()) / inside if inside else 1.0)
        return found[0], found[1]

    @cached_property
    def correlation(self) -> Correlation:
        """The correlation of the noise of neighbouring pixels."""
        return self.noise_correlation() or INDEPENDENT

    @property
    def _rms(self) -> float:
        return self.sky.rms / self.sky.unit


def _peaks_in(pixels: np.ndarray, inside: np.ndarray, rms: float) -> Peaks:
    """The peaks among the pixels `inside` a source, in a box around it; `rms` is the noise of a pixel."""
    width = pixels.shape[1]
    margin = max(REACHES)
    padded = np.pad(pixels, margin + 1, mode="edge")

    def moved(image: np.ndarray, dy: int, dx: int, edge: int) -> np.ndarray:
        return image[edge + dy : image.shape[0] - edge + dy, edge + dx : image.shape[1] - edge + dx]

    smooth = np.add.reduce([moved(padded, dy, dx, 1) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]) / np.float32(9)
    middle = moved(smooth, 0, 0, margin)
    beside = [moved(smooth, dy, dx, margin) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    local = np.flatnonzero(inside & (middle >= np.maximum.reduce(beside)))
    y, x = np.divmod(local, width)
    values = middle[y, x]
    found = []
    for reach in REACHES:
        angles = np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False)[:, np.newaxis]
        rows, columns = (np.rint(reach * each(angles)).astype(int) + margin for each in (np.sin, np.cos))
        circle = smooth[y + rows, x + columns]
        highest = circle.max(axis=0)
        # A mean of nine independent pixels has a third of their noise.
        chosen = values - highest > np.maximum(PEAK * rms / 3, LEAST_CONTRAST * values)
        if not chosen.any():
            found.append(NO_PEAKS)
            continue
        height, highest, middle_of_circle = values[chosen], highest[chosen], np.median(circle[:, chosen], axis=0)
        isolated = np.median((height - highest) / (height - middle_of_circle))
        around = np.median(middle_of_circle / height)
        found.append(Peaks(len(height), float(isolated), float(around), float(reach)))
    return max(found, key=lambda peaks: peaks.number)


def _ends(sample: np.ndarray, flat: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first and last rows and columns of both arrays."""
    return [(sample[part], flat[part]) for part in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1])]
