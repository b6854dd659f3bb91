"""A Sky -> Detections: the sources, a record each, and the segmentation map."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from .background import Sky
from .limits import MASKED_NOISE, Detections, Extraction, most_pixels_to_deblend
from .settings import Settings
from .tiles import REACH, Edge, Window, extract_in_tiles
from .workers import Workers

# SEP takes the threshold as float32 and multiplies it with MASKED_NOISE: below this, in working units,
# it would no longer keep masked pixels out, and nothing that an image holds is fainter.
LEAST_THRESHOLD = 1e-6
# SEP's fields that are in the unit of the pixels.
FLUX_FIELDS = ("thresh", "cflux", "flux", "cpeak", "peak")
ERROR_FIELDS = ("errx2", "erry2", "errxy")
# Its positions: what stands behind x and y in their names.
POSITION_FIELDS = ("", "min", "max", "peak", "cpeak")


def detect(
    sky: Sky, kernel: np.ndarray | None, settings: Settings, want_map: bool, workers: Workers | None = None
) -> Detections:
    """Extract the sources of a sky with SEP, in the image's units.

    `kernel` None: no filter. Semantics of the threshold: see `Settings.thresh` and `err_option`.
    """
    # What is filtered otherwise than in the image, and one pixel more: a parent is whole where that is not its own.
    margin = (0 if kernel is None else max(kernel.shape) // 2) + 1
    edge = Edge(margin, most_pixels_to_deblend(settings.deblend_nthresh))
    extract = _Extractor(sky, kernel, settings)
    detections = extract_in_tiles(extract, sky.pixels.shape, edge, want_map, workers or Workers(1))
    if settings.err_option == "none":
        for name in ERROR_FIELDS:
            detections.sources[name] = 0
    for name in FLUX_FIELDS:
        detections.sources[name] *= sky.unit
    return detections


def count_negated(sky: Sky, kernel: np.ndarray | None, settings: Settings, workers: Workers | None = None) -> int:
    """How many sources the same extraction finds where there are none: in the image times -1.

    Noise is symmetric, so about as many of the sources of the image itself are noise.
    """
    negated = dataclasses.replace(sky, pixels=-sky.pixels)
    return len(detect(negated, kernel, settings, want_map=False, workers=workers))


@dataclass
class _Extractor:
    """Extracts a window of a sky, in working units."""

    sky: Sky
    kernel: np.ndarray | None
    settings: Settings

    def __post_init__(self) -> None:
        # What SEP takes for `thresh` and `err`, in working units.
        sky, settings = self.sky, self.settings
        if settings.has_noise_map:
            threshold, self.noise = settings.thresh, sky.noise
        elif settings.err_option == "float_globalrms":
            threshold, self.noise = settings.thresh, sky.rms / sky.unit
        else:
            threshold, self.noise = settings.thresh / sky.unit, None
        self.threshold = max(threshold, LEAST_THRESHOLD)
        self.matched = self.kernel is not None and settings.has_noise_map and settings.filter_type == "matched"

    def __call__(
        self, window: Window, *, parents: bool = False, want_map: bool = True, without: np.ndarray | None = None
    ) -> Detections:
        """Extract what a window shows, positions counting from the image's first pixel.

        `parents`: neither deblended nor cleaned, nor smaller than `minarea` where the window shows but a part of one.
        `without`: pixels (flat indices in the image) to leave out.
        """
        settings = self.settings
        pixels = np.ascontiguousarray(window.of(self.sky.pixels))
        masked = None if self.sky.masked is None else np.ascontiguousarray(window.of(self.sky.masked))
        noise = self._noise_of(window, masked)
        if without is not None and len(without):
            noise = np.array(np.broadcast_to(np.float32(1 if noise is None else noise), pixels.shape))
            y, x = np.divmod(without, self.sky.pixels.shape[1])
            there = window.holds(x, y)
            noise[y[there] - window.top, x[there] - window.left] = MASKED_NOISE
        cleared_afterwards = masked is not None and self.matched and not parents
        options = {
            "minarea": min(settings.minarea, REACH) if parents else settings.minarea,
            "filter_kernel": self.kernel,
            "filter_type": "matched" if self.matched else "conv",
            "deblend_nthresh": 1 if parents else settings.deblend_nthresh,
            "deblend_cont": settings.deblend_cont,
            "clean": settings.clean and not parents,
            "clean_param": settings.clean_param,
            "segmentation_map": want_map or cleared_afterwards,
        }
        detections = Extraction(pixels, self.threshold, noise, options).run()
        if cleared_afterwards:
            detections = _clear_masked(detections, masked)
        for axis, first in (("y", window.top), ("x", window.left)):
            for name in POSITION_FIELDS:
                detections.sources[axis + name] += first
        return detections

    def _noise_of(self, window: Window, masked: np.ndarray | None) -> float | np.ndarray | None:
        """The noise, huge where masked; with `conv` a constant array gives, bit for bit, what the scalar gives."""
        noise = np.ascontiguousarray(window.of(self.noise)) if isinstance(self.noise, np.ndarray) else self.noise
        if masked is None:
            return noise
        return np.where(masked, MASKED_NOISE, np.float32(1 if noise is None else noise))


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
