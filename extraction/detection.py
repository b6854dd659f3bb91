"""A Sky -> Detections: the sources, a record each, and the segmentation map."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass
class Detections:
    """What was found.

    `sources` is SEP's structured array, in the image's units, source i having the label i + 1;
    `segmentation` (int32, 0 = sky, else the label) is None where it was not asked for.
    """

    sources: np.ndarray
    segmentation: np.ndarray | None

    def __len__(self) -> int:
        return len(self.sources)


def detect(sky: Sky, kernel: np.ndarray | None, settings: Settings, want_map: bool) -> Detections:
    """Extract the sources of a sky with SEP.

    `kernel` None: no filter. Semantics of the threshold: see `Settings.thresh` and `err_option`.
    """
    threshold, noise = _threshold_and_noise(sky, settings)
    cleared_afterwards = sky.masked is not None and _is_matched(kernel, settings)
    found = sep.extract(
        sky.pixels,
        threshold,
        err=noise,
        minarea=settings.minarea,
        filter_kernel=kernel,
        filter_type="matched" if _is_matched(kernel, settings) else "conv",
        deblend_nthresh=settings.deblend_nthresh,
        deblend_cont=settings.deblend_cont,
        clean=settings.clean,
        clean_param=settings.clean_param,
        segmentation_map=want_map or cleared_afterwards,
    )
    sources, segmentation = found if isinstance(found, tuple) else (found, None)
    if cleared_afterwards:
        sources, segmentation = _clear_masked(sources, segmentation, sky.masked)
    if settings.err_option == "none":
        for field in ERROR_FIELDS:
            sources[field] = 0
    for field in FLUX_FIELDS:
        sources[field] *= sky.unit
    return Detections(sources, segmentation)


def _is_matched(kernel: np.ndarray | None, settings: Settings) -> bool:
    return kernel is not None and settings.err_option == "array_rms" and settings.filter_type == "matched"


def _threshold_and_noise(sky: Sky, settings: Settings) -> tuple[float, float | np.ndarray | None]:
    """What sep.extract takes for `thresh` and `err`, in working units.

    Where pixels are masked the noise is an array that is huge there; with `conv` a constant array gives,
    bit for bit, what the scalar gives.
    """
    if settings.err_option == "array_rms":
        threshold, noise = settings.thresh, sky.working_rms_map()
    elif settings.err_option == "float_globalrms":
        threshold, noise = settings.thresh, sky.rms / sky.unit
    else:
        threshold, noise = settings.thresh / sky.unit, None
    if sky.masked is not None:
        if not isinstance(noise, np.ndarray):
            noise = np.full(sky.pixels.shape, 1 if noise is None else noise, dtype=np.float32)
        noise[sky.masked] = MASKED_NOISE
    return max(threshold, LEAST_THRESHOLD), noise


def _clear_masked(sources: np.ndarray, segmentation: np.ndarray, masked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the masked pixels out of the map, and the sources whose peak is masked out of both.

    Labels are dealt out anew, from 1 without a gap.
    """
    segmentation[masked] = 0
    left = np.bincount(segmentation.ravel(), minlength=len(sources) + 1)[1:] > 0
    kept = left & ~masked[sources["ypeak"], sources["xpeak"]]
    labels = np.zeros(len(sources) + 1, dtype=np.int32)
    labels[1:][kept] = np.arange(1, kept.sum() + 1)
    return sources[kept], labels[segmentation]


def describe_threshold(sky: Sky, settings: Settings) -> str:
    """The threshold in the image's own units, in words."""
    if settings.err_option == "none":
        return f"{settings.thresh:g}, as given"
    if settings.err_option == "float_globalrms":
        return f"{settings.thresh * sky.rms:.6g} ({settings.thresh:g} x global RMS)"
    rms = sky.rms_map() if sky.masked is None else sky.rms_map()[~sky.masked]
    least, median, most = settings.thresh * np.percentile(rms, (0, 50, 100))
    return f"{least:.6g} to {most:.6g}, median {median:.6g} ({settings.thresh:g} x RMS map)"
