"""sep.extract with limits that grow when SEP needs more, and with no left-out pixel in any source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sep

from .detections import Detections, labels_of, rows_of
from .records import measured_again

# The noise of a left-out pixel, in working units: no threshold is ever above it. SEP's own mask lets the first rows
# through, and lets the kernel carry a neighbour's light into masked pixels; this does not.
MASKED_NOISE = np.float32(1e30)
# The same for SEP's matched filter, which skips such pixels. It thresholds a ratio, which a large noise of one pixel
# does not keep low beside bright neighbours, so that the pixel can belong to a source; its large noise would then enter
# the source's threshold, by which it is deblended and cleaned.
MASKED_NOISE_IF_MATCHED = np.float32(0)
# SEP's own limits. The buffer takes time at every call, in proportion to its size. So it first has one place per this
# many pixels, enough unless sources have more, then one for every pixel of a small window, then SEP's default, and
# grows only when it must.
SMALL_BUFFER, PIXELS_A_PLACE = 1000, 24
PIXEL_BUFFER = sep.get_extract_pixstack()
GROWTH = 4
SUB_OBJECTS, MOST_SUB_OBJECTS = sep.get_sub_object_limit(), 2**15 - 1
# The memory for deblending, in bytes per pixel of a source and threshold, and its limit. Measured: SEP's buffer takes
# 44 bytes per pixel, and a blend that fills 2048 x 2048 took 5 GB at 32 thresholds, 37 bytes each.
BYTES_TO_DEBLEND = 44
MOST_BYTES_TO_DEBLEND = 1.5e9


def most_pixels_to_deblend(thresholds: int) -> float:
    """How many pixels a source may have to be deblended with this many thresholds."""
    return MOST_BYTES_TO_DEBLEND / BYTES_TO_DEBLEND / thresholds


class _BufferOverflowError(Exception):
    """SEP's pixel buffer or its number of sub-objects overflowed."""


class _PixelBufferError(_BufferOverflowError):
    """SEP's pixel buffer overflowed."""


@dataclass
class SepCall:
    """A call of sep.extract; `options` are its further arguments.

    No source has a `left_out` pixel (boolean, or None), in the map or in its record. With `parts` and a matched filter
    it may: such sources are not products, and may be parts of larger ones.

    Deblending a source takes memory and time in proportion to its pixels times the thresholds. Sources that would take
    too much, or more sub-objects than SEP can count, are found without deblending, and the others are found without
    them.
    """

    pixels: np.ndarray
    threshold: float
    sigma: float | np.ndarray | None
    options: dict[str, Any]
    left_out: np.ndarray | None = None
    parts: bool = False

    def run(self) -> Detections:
        """Extract the sources, in buffers that grow only where they must."""
        try:
            return self._split()
        finally:
            sep.set_extract_pixstack(PIXEL_BUFFER)
            sep.set_sub_object_limit(SUB_OBJECTS)

    @property
    def _most_in_buffer(self) -> int:
        """The largest number of pixels that SEP may have to keep in its buffer."""
        return int(self.pixels.size) + self.pixels.shape[1] + 10

    def _split(self) -> Detections:
        small = min(PIXEL_BUFFER, SMALL_BUFFER + self.pixels.size // PIXELS_A_PLACE)
        for buffer in sorted({small, min(PIXEL_BUFFER, self._most_in_buffer), PIXEL_BUFFER}):
            sep.set_extract_pixstack(buffer)
            try:
                return self._call()
            except _PixelBufferError:
                continue
            except _BufferOverflowError:
                break
        sep.set_extract_pixstack(PIXEL_BUFFER)
        whole = self._whole()
        sep.set_sub_object_limit(MOST_SUB_OBJECTS)
        return self._split_but_giants(whole)

    def _call(self, left_out: np.ndarray | None = None, **changes: Any) -> Detections:
        """Call SEP; `left_out` adds pixels to those that the call leaves out by itself."""
        left_out = self.left_out if left_out is None else left_out
        try:
            found = sep.extract(
                self.pixels,
                self.threshold,
                err=self._noise(left_out),
                segmentation_map=True,
                **(self.options | changes),
            )
        except Exception as problem:
            # SEP has one class for all its errors.
            if "pixel buffer full" in str(problem):
                raise _PixelBufferError from problem
            if "deblending overflow" in str(problem):
                raise _BufferOverflowError from problem
            raise
        detections = Detections(*found)
        if left_out is not None and self._matched and not self.parts:
            return self._cleared(detections, left_out)
        return detections

    @property
    def _matched(self) -> bool:
        return self.options["filter_type"] == "matched"

    def _noise(self, left_out: np.ndarray | None) -> float | np.ndarray | None:
        """SEP's `err` argument; with `conv` an array of a single value has the same effect as the value."""
        if left_out is None:
            return self.sigma
        noise = MASKED_NOISE_IF_MATCHED if self._matched else MASKED_NOISE
        return np.where(left_out, noise, np.float32(1 if self.sigma is None else self.sigma))

    def _cleared(self, found: Detections, left_out: np.ndarray) -> Detections:
        """Remove pixels from the sources; those that lose some are measured again, or dropped if too few are left.

        Labels are renumbered from 1 without a gap.
        """
        sources, segmentation = found.sources, found.segmentation
        touched = np.unique(segmentation[left_out])
        touched = touched[touched > 0]
        if not len(touched):
            return found
        segmentation[left_out] = 0
        left = np.bincount(segmentation.ravel(), minlength=len(sources) + 1)[touched]
        enough = left >= self.options["minarea"]
        again = touched[enough]
        kernel = self.options["filter_kernel"]
        found.sources[rows_of(again)] = measured_again(
            found.of(again), again, segmentation, self.pixels, kernel, np.asarray(self.sigma), self.threshold
        )
        kept = np.ones(len(sources), dtype=bool)
        kept[rows_of(touched[~enough])] = False
        return found.only(kept)

    def _whole(self) -> Detections:
        """Extract without deblending, in a pixel buffer that is large enough."""
        most = max(PIXEL_BUFFER, self._most_in_buffer)
        while True:
            try:
                return self._call(deblend_nthresh=1)
            except _BufferOverflowError:
                if sep.get_extract_pixstack() >= most:
                    raise
                sep.set_extract_pixstack(min(most, GROWTH * sep.get_extract_pixstack()))

    def _split_but_giants(self, whole: Detections) -> Detections:
        """Deblend all sources but the giants among the `whole` ones: as few of the largest as possible."""
        sizes = whole.sources["npix"]
        largest = most_pixels_to_deblend(self.options["deblend_nthresh"])
        while True:
            giants = np.flatnonzero(sizes > largest)
            try:
                return self._without(giants, whole) if len(giants) else self._call()
            except _BufferOverflowError:
                largest = sizes[sizes <= largest].max() // 2

    def _without(self, giants: np.ndarray, whole: Detections) -> Detections:
        """Extract all sources but the giants, and append these as they are among the `whole` ones."""
        labels_among_whole = labels_of(giants)
        of_giants = np.isin(whole.segmentation, labels_among_whole)
        # As under a mask: no source is there, and the filtered image does not change.
        rest = self._call(of_giants if self.left_out is None else of_giants | self.left_out)
        labels = labels_of(np.arange(len(rest), len(rest) + len(giants), dtype=np.int32))
        rest.segmentation[of_giants] = labels[np.searchsorted(labels_among_whole, whole.segmentation[of_giants])]
        return Detections(np.concatenate((rest.sources, whole.sources[giants])), rest.segmentation, labels.tolist())
