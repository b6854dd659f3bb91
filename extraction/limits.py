"""sep.extract whose limits grow when SEP says that it needs more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sep

# Noise of a pixel that is to be left out, in working units: no threshold is ever above it. SEP's own mask lets the
# first rows through and lets the kernel carry a neighbour's light into masked pixels; this does not.
MASKED_NOISE = np.float32(1e30)
# SEP's own limits at the start; the first buffer costs time at every call, so it grows only when it must.
PIXEL_BUFFER = sep.get_extract_pixstack()
GROWTH = 4
SUB_OBJECTS, MOST_SUB_OBJECTS = sep.get_sub_object_limit(), 2**15 - 1
# What deblending takes, in bytes a pixel of a source and threshold; it must not take more than so many bytes.
BYTES_TO_DEBLEND = 44
MOST_BYTES_TO_DEBLEND = 1.5e9


def most_pixels_to_deblend(thresholds: int) -> float:
    """How many pixels a source may have to be searched for blends at so many thresholds."""
    return MOST_BYTES_TO_DEBLEND / BYTES_TO_DEBLEND / thresholds


@dataclass
class Detections:
    """What was found.

    `sources` is SEP's structured array, source i having the label i + 1; `segmentation` (int32, 0 = sky, else
    the label) is None where it was not asked for. `not_deblended` are the labels of sources that were too
    large to be searched for blends.
    """

    sources: np.ndarray
    segmentation: np.ndarray | None
    not_deblended: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sources)


class _BufferOverflowError(Exception):
    """SEP's pixel buffer or its number of sub-objects overflowed."""


@dataclass
class Extraction:
    """Deblending a source takes memory and time in proportion to its pixels times the thresholds.

    Sources that would take too much, or more sub-objects than SEP can count, are found without deblending, and the
    others without them.
    """

    pixels: np.ndarray
    threshold: float
    noise: float | np.ndarray | None
    options: dict[str, Any]

    def run(self) -> Detections:
        """Extract the sources; `options` are those of sep.extract."""
        try:
            try:
                return self._call()
            except _BufferOverflowError:
                whole = self._whole()
            sep.set_sub_object_limit(MOST_SUB_OBJECTS)
            return self._split_but_giants(whole)
        finally:
            sep.set_extract_pixstack(PIXEL_BUFFER)
            sep.set_sub_object_limit(SUB_OBJECTS)

    def _call(self, noise: np.ndarray | None = None, **changes: Any) -> Detections:
        try:
            noise = self.noise if noise is None else noise
            found = sep.extract(self.pixels, self.threshold, err=noise, **(self.options | changes))
        except Exception as problem:
            # SEP has one class for all its errors.
            if "pixel buffer full" in str(problem) or "deblending overflow" in str(problem):
                raise _BufferOverflowError from problem
            raise
        return Detections(*found) if isinstance(found, tuple) else Detections(found, None)

    def _whole(self) -> Detections:
        """Extract without deblending, in a pixel buffer that is large enough."""
        most = max(PIXEL_BUFFER, self.pixels.size + self.pixels.shape[1] + 10)
        while True:
            try:
                return self._call(deblend_nthresh=1, segmentation_map=True)
            except _BufferOverflowError:
                if sep.get_extract_pixstack() >= most:
                    raise
                sep.set_extract_pixstack(min(most, GROWTH * sep.get_extract_pixstack()))

    def _split_but_giants(self, whole: Detections) -> Detections:
        """Deblend all sources but the giants among the `whole` ones: as few of the largest as need be."""
        sizes = whole.sources["npix"]
        largest = most_pixels_to_deblend(self.options["deblend_nthresh"])
        while True:
            giants = np.flatnonzero(sizes > largest)
            try:
                return self._without(giants, whole) if len(giants) else self._call()
            except _BufferOverflowError:
                largest = sizes[sizes <= largest].max() // 2

    def _without(self, giants: np.ndarray, whole: Detections) -> Detections:
        """Extract all sources but the giants, and put those behind them as they are among the `whole` ones."""
        of_giants = np.isin(whole.segmentation, giants + 1)
        # As under a mask: nothing is above the threshold there, and the filtered image stays what it is.
        noise = np.where(of_giants, MASKED_NOISE, np.float32(1 if self.noise is None else self.noise))
        rest = self._call(noise.astype(np.float32))
        labels = np.arange(len(rest) + 1, len(rest) + len(giants) + 1, dtype=np.int32)
        if rest.segmentation is not None:
            rest.segmentation[of_giants] = labels[np.searchsorted(giants + 1, whole.segmentation[of_giants])]
        return Detections(np.concatenate((rest.sources, whole.sources[giants])), rest.segmentation, labels.tolist())
