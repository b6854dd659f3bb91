"""A Sky -> Detections: the sources, a record each, and the segmentation map."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..settings import DetectionOptions
from .columns import DETECTION_COLUMNS, in_image_unit
from .contact_sheet import ContactSheet
from .detections import Detections
from .parents import REACH
from .processes import Workers
from .sep_extract import SepCall, most_pixels_to_deblend
from .sky import Sky
from .star_windows import StarWindows
from .threshold import Threshold
from .tiles import Edge, Tiling
from .windows import Window, blocks

# SEP's fields that mean nothing if the noise is not known.
ERROR_FIELDS = ("errx2", "erry2", "errxy")
# SEP's position fields: the suffixes of x and y in their names.
POSITION_FIELDS = ("", "min", "max", "peak", "cpeak")
# In a larger image, detections are counted in this many squares of this side in pixels: small ones from all over the
# image, so that a corner with different noise is seen.
LARGE_IMAGE, PARTS, PART = 6_000_000, 128, 128


@dataclass(frozen=True)
class Detector:
    """How SEP finds the sources of a sky; `kernel` None: no filter."""

    sky: Sky
    kernel: np.ndarray | None
    threshold: Threshold
    options: DetectionOptions
    workers: Workers = field(default_factory=lambda: Workers(1))

    @property
    def extract(self) -> WindowExtractor:
        """Extracts a window of the sky."""
        return WindowExtractor(self.sky, self.kernel, self.threshold, self.options)

    def detect(self, alongside: Sequence[Callable[[], object]] = ()) -> Detections:
        """Extract the sources, in the image's units.

        `alongside` is work for this process while others extract tiles; see `Tiling.extract`.
        """
        found = self._tiling().extract(alongside)
        for name in ERROR_FIELDS if self.options.err_option == "none" else ():
            found.sources[name] = 0
        for name in in_image_unit(DETECTION_COLUMNS, found.sources.dtype.names or ()):
            found.sources[name] *= self.sky.unit
        return found

    def sources(self) -> np.ndarray:
        """The sources as `detect` finds them, SEP's structured array in working units, without a map of them."""
        return self._tiling().sources()

    def count(self) -> int:
        """How many sources `detect` finds; in a large image estimated from a part of it, scaled by area."""
        shape = self.sky.pixels.shape
        windows = _parts(shape)
        if windows is None:
            return len(self.sources())
        extract = self.extract
        found = sum(self.workers.map(lambda window: len(extract(window)), windows))
        return round(found * shape[0] * shape[1] / sum(window.size for window in windows))

    def count_negated(self) -> int:
        """How many sources the same extraction finds in the image times -1, which has none.

        Noise is symmetric, so about as many sources of the image itself are noise.
        """
        return self.with_pixels(_Negated(self.sky.pixels)).count()

    def with_pixels(self, pixels: Any) -> Detector:
        """The same for a sky of other pixels."""
        changed = copy.copy(self.sky)
        changed.pixels = pixels
        return replace(self, sky=changed)

    def star_windows(self) -> StarWindows:
        """The windows to search when a star is added to the sky, to find what `detect` finds there."""
        tiling = self._tiling()
        boxes, least = tiling.boxes_of_parents(), least_of_parents(self.options)
        return StarWindows(boxes, self.sky.pixels.shape, least, tiling.edge.margin, matched=self.threshold.matched)

    def _tiling(self) -> Tiling:
        # Within the kernel's reach of a window's end, the filter gives other values than in the image. A parent that
        # stays one pixel clear of these is seen whole.
        margin = (0 if self.kernel is None else max(self.kernel.shape) // 2) + 1
        edge = Edge(margin, most_pixels_to_deblend(self.options.deblend_nthresh))
        return Tiling(self.extract, self.sky.pixels.shape, edge, self.workers)


class _Negated:
    """The pixels of an image times -1, computed part by part: all of them would take as much memory again."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels, self.shape, self.size = pixels, pixels.shape, pixels.size

    def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
        return np.asarray(-self._pixels[part])


def is_counted_in_part(shape: tuple[int, ...]) -> bool:
    """Whether an image is so large that `count` uses only a part of it."""
    return _parts((shape[0], shape[1])) is not None


def _parts(shape: tuple[int, int]) -> list[Window] | None:
    """Parts from all over an image for estimating its number of sources; None if the whole image is to be used."""
    if shape[0] * shape[1] <= LARGE_IMAGE:
        return None
    windows = blocks(shape, PART)
    chosen = [window for window in windows if window.bottom - window.top == window.right - window.left == PART]
    return chosen[:PARTS] if len(chosen) >= PARTS else None


def least_of_parents(options: DetectionOptions) -> int:
    """The least number of pixels of a parent that is found as one."""
    return min(options.minarea, REACH)


@dataclass
class WindowExtractor:
    """Extracts a window of a sky, in working units."""

    sky: Sky
    kernel: np.ndarray | None
    threshold: Threshold
    options: DetectionOptions

    def __call__(self, window: Window, *, parents: bool = False, without: np.ndarray | None = None) -> Detections:
        """Extract a window's sources, with positions counted from the image's first pixel.

        `parents`: neither deblend nor clean, and keep parents smaller than `minarea` if the window shows only a part of
        them. `without`: pixels (flat indices in the image) to leave out.
        """
        pixels = np.ascontiguousarray(window.of(self.sky.pixels))
        threshold, sigma = self.threshold.for_sep(self.sky, window)
        detections = self._found(pixels, threshold, sigma, self._left_out(window, without), parents)
        for axis, first in (("y", window.top), ("x", window.left)):
            for name in POSITION_FIELDS:
                detections.sources[axis + name] += first
        return detections

    def on(self, sheet: ContactSheet, pixels: np.ndarray) -> Detections:
        """Extract the sources of windows side by side on a sheet of these pixels, with positions on the sheet."""
        threshold, sigma = self.threshold.for_sep(self.sky, sheet.windows[0])
        if isinstance(sigma, np.ndarray):
            sigma = sheet.of(lambda window: self.threshold.for_sep(self.sky, window)[1], 1, np.float32)
        masked = self.sky.masked
        left_out = sheet.of(lambda window: False if masked is None else window.of(masked), True, bool)
        return self._found(pixels, threshold, sigma, left_out if left_out.any() else None)

    def _found(
        self,
        pixels: np.ndarray,
        threshold: float,
        sigma: float | np.ndarray | None,
        left_out: np.ndarray | None,
        parents: bool = False,
    ) -> Detections:
        detections = SepCall(pixels, threshold, sigma, self._options(parents), left_out, parents).run()
        if self.sky.least_peak and not parents:
            return detections.only(detections.sources["peak"] >= self.sky.least_peak)
        return detections

    def _options(self, parents: bool) -> dict[str, object]:
        """The arguments of sep.extract that are the same in every window."""
        options = self.options
        return {
            "minarea": least_of_parents(options) if parents else options.minarea,
            "filter_kernel": self.kernel,
            "filter_type": "matched" if self.threshold.matched else "conv",
            "deblend_nthresh": 1 if parents else options.deblend_nthresh,
            "deblend_cont": options.deblend_cont,
            "clean": options.clean and not parents,
            "clean_param": options.clean_param,
        }

    def _left_out(self, window: Window, without: np.ndarray | None) -> np.ndarray | None:
        """The pixels of a window that no source may have: masked ones and those in `without`; None if none are."""
        masked = None if self.sky.masked is None else window.of(self.sky.masked)
        if without is None or not len(without):
            return masked
        shape = window.bottom - window.top, window.right - window.left
        left_out = np.zeros(shape, bool) if masked is None else masked.copy()
        y, x = np.divmod(without, self.sky.pixels.shape[1])
        there = window.holds(x, y)
        left_out[y[there] - window.top, x[there] - window.left] = True
        return left_out
