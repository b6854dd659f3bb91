"""A Sky -> Detections: the sources, a record each, and the segmentation map."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sep

from .background import Sky
from .settings import Settings

# Noise of a masked pixel, in working units: no threshold is ever above it. SEP's own mask lets the
# first rows through and lets the kernel carry a neighbour's light into masked pixels; this does not.
MASKED_NOISE = np.float32(1e30)
# SEP takes the threshold as float32 and multiplies it with MASKED_NOISE: below this, in working units,
# it would no longer keep masked pixels out, and nothing that an image holds is fainter.
LEAST_THRESHOLD = 1e-6
# SEP's fields that are in the unit of the pixels.
FLUX_FIELDS = ("thresh", "cflux", "flux", "cpeak", "peak")
ERROR_FIELDS = ("errx2", "erry2", "errxy")


# SEP's own limits at the start; the first buffer costs time at every call, so it grows only when it must.
PIXEL_BUFFER = sep.get_extract_pixstack()
SUB_OBJECTS, MOST_SUB_OBJECTS = sep.get_sub_object_limit(), 2**15 - 1
# What deblending takes, in bytes a pixel of a source and threshold; it must not take more than so many bytes.
BYTES_TO_DEBLEND = 44
MOST_BYTES_TO_DEBLEND = 1.5e9


@dataclass
class Detections:
    """What was found.

    `sources` is SEP's structured array, in the image's units, source i having the label i + 1;
    `segmentation` (int32, 0 = sky, else the label) is None where it was not asked for. `not_deblended` are
    the labels of sources that were too large to be searched for blends.
    """

    sources: np.ndarray
    segmentation: np.ndarray | None
    not_deblended: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sources)


def detect(sky: Sky, kernel: np.ndarray | None, settings: Settings, want_map: bool) -> Detections:
    """Extract the sources of a sky with SEP.

    `kernel` None: no filter. Semantics of the threshold: see `Settings.thresh` and `err_option`.
    """
    threshold, noise = _threshold_and_noise(sky, settings)
    cleared_afterwards = sky.masked is not None and _is_matched(kernel, settings)
    options = {
        "minarea": settings.minarea,
        "filter_kernel": kernel,
        "filter_type": "matched" if _is_matched(kernel, settings) else "conv",
        "deblend_nthresh": settings.deblend_nthresh,
        "deblend_cont": settings.deblend_cont,
        "clean": settings.clean,
        "clean_param": settings.clean_param,
        "segmentation_map": want_map or cleared_afterwards,
    }
    detections = _Extraction(sky.pixels, threshold, noise, options).run()
    if cleared_afterwards:
        detections = _clear_masked(detections, sky.masked)
    if settings.err_option == "none":
        for name in ERROR_FIELDS:
            detections.sources[name] = 0
    for name in FLUX_FIELDS:
        detections.sources[name] *= sky.unit
    return detections


def count_negated(sky: Sky, kernel: np.ndarray | None, settings: Settings) -> int:
    """How many sources the same extraction finds where there are none: in the image times -1.

    Noise is symmetric, so about as many of the sources of the image itself are noise.
    """
    return len(detect(dataclasses.replace(sky, pixels=-sky.pixels), kernel, settings, want_map=False))


class _BufferOverflowError(Exception):
    """SEP's pixel buffer or its number of sub-objects overflowed."""


@dataclass
class _Extraction:
    """sep.extract whose limits grow when SEP says that it needs more.

    Deblending a source takes memory and time in proportion to its pixels times the thresholds. Sources that
    would take too much, or more sub-objects than SEP can count, are found without deblending, and the
    others without them.
    """

    pixels: np.ndarray
    threshold: float
    noise: float | np.ndarray | None
    options: dict[str, Any]

    def run(self) -> Detections:
        try:
            try:
                return self._call()
            except _BufferOverflowError:
                sep.set_extract_pixstack(max(PIXEL_BUFFER, self.pixels.size + self.pixels.shape[1] + 10))
                sep.set_sub_object_limit(MOST_SUB_OBJECTS)
            whole = self._call(deblend_nthresh=1, segmentation_map=True)
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

    def _split_but_giants(self, whole: Detections) -> Detections:
        """Deblend all sources but the giants among the `whole` ones: as few of the largest as need be."""
        sizes = whole.sources["npix"]
        largest = MOST_BYTES_TO_DEBLEND / BYTES_TO_DEBLEND / self.options["deblend_nthresh"]
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


def _is_matched(kernel: np.ndarray | None, settings: Settings) -> bool:
    return kernel is not None and settings.has_noise_map and settings.filter_type == "matched"


def _threshold_and_noise(sky: Sky, settings: Settings) -> tuple[float, float | np.ndarray | None]:
    """What sep.extract takes for `thresh` and `err`, in working units.

    Where pixels are masked the noise is an array that is huge there; with `conv` a constant array gives,
    bit for bit, what the scalar gives.
    """
    if settings.has_noise_map:
        threshold, noise = settings.thresh, sky.noise
    elif settings.err_option == "float_globalrms":
        threshold, noise = settings.thresh, sky.rms / sky.unit
    else:
        threshold, noise = settings.thresh / sky.unit, None
    if sky.masked is not None:
        noise = np.where(sky.masked, MASKED_NOISE, np.float32(1 if noise is None else noise))
    return max(threshold, LEAST_THRESHOLD), noise


def _clear_masked(detections: Detections, masked: np.ndarray) -> Detections:
    """Take the masked pixels out of the map, and the sources whose peak is masked out of both.

    Labels are dealt out anew, from 1 without a gap.
    """
    sources, segmentation = detections.sources, detections.segmentation
    segmentation[masked] = 0
    left = np.bincount(segmentation.ravel(), minlength=len(sources) + 1)[1:] > 0
    kept = left & ~masked[sources["ypeak"], sources["xpeak"]] & ~masked[sources["ycpeak"], sources["xcpeak"]]
    labels = np.zeros(len(sources) + 1, dtype=np.int32)
    labels[1:][kept] = np.arange(1, kept.sum() + 1)
    not_deblended = [int(labels[label]) for label in detections.not_deblended if labels[label]]
    return Detections(sources[kept], labels[segmentation], not_deblended)


def describe_threshold(sky: Sky, settings: Settings) -> str:
    """The threshold in the image's own units, in words."""
    if settings.err_option == "none":
        return f"{settings.thresh:g}, as given"
    if settings.err_option == "float_globalrms":
        return f"{settings.thresh * sky.rms:.6g} ({settings.thresh:g} x global RMS)"
    least, median, most = threshold_range(sky, settings)
    name = "noise map" if settings.err_option == "file" else "RMS map"
    return f"{least:.6g} to {most:.6g}, median {median:.6g} ({settings.thresh:g} x {name})"


def threshold_range(sky: Sky, settings: Settings) -> tuple[float, float, float]:
    """Least, median and greatest threshold over the good pixels, in the image's own units."""
    if settings.err_option == "none":
        return (settings.thresh,) * 3
    if settings.err_option == "float_globalrms":
        return (settings.thresh * sky.rms,) * 3
    noise = sky.noise if sky.masked is None else sky.noise[~sky.masked]
    return tuple((settings.thresh * sky.unit * np.percentile(noise, (0, 50, 100))).tolist())
