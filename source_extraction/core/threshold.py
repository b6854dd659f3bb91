"""The level that a pixel must exceed to belong to a source: `thresh`, `err_option` and `filter_type`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..settings import DetectionOptions
from .in_order import values_at
from .sky import Sky
from .windows import Window

# SEP takes the threshold as float32 and multiplies it by sep_extract.MASKED_NOISE: below this, in working units, it
# would no longer keep masked pixels out, and nothing in an image is fainter.
LEAST_THRESHOLD = 1e-6


@dataclass(frozen=True)
class ThresholdUnit:
    """The unit of `thresh`: a choice of `err_option`.

    `from_image`: the noise measured in the image; `varies`: a noise map, with a value for every pixel.
    """

    words: str
    from_image: bool
    varies: bool


UNITS = {
    "float_globalrms": ThresholdUnit("global RMS", from_image=True, varies=False),
    "array_rms": ThresholdUnit("RMS map", from_image=True, varies=True),
    "none": ThresholdUnit("", from_image=False, varies=False),
    "file": ThresholdUnit("noise map", from_image=False, varies=True),
}


def is_matched(options: DetectionOptions) -> bool:
    """Whether SEP thresholds the signal-to-noise ratio of the filtered image instead of the filtered image.

    It does so only with both a kernel and a noise map (its manual, "Object detection", filter_type).
    """
    return options.filter_type == "matched" and options.filter_case != "none" and UNITS[options.err_option].varies


@dataclass(frozen=True)
class Threshold:
    """The threshold of an image, computed once.

    `least`, `median` and `greatest` are over the good pixels, in the image's own unit.
    """

    times: float
    unit: ThresholdUnit
    matched: bool
    least: float
    median: float
    greatest: float

    @classmethod
    def of(cls, sky: Sky, options: DetectionOptions) -> Threshold:
        """The threshold of an image for these options."""
        unit = UNITS[options.err_option]
        if unit.varies:
            last = sky.number_of_good - 1
            # The values that the percentiles of all are made of.
            noises = values_at(sky.good_sigma, (0, last // 2, (last + 1) // 2, last))
            least, median, greatest = np.percentile(noises, (0, 50, 100)) * (options.thresh * sky.unit)
        else:
            least = median = greatest = options.thresh * (sky.rms if unit.from_image else 1)
        return cls(options.thresh, unit, is_matched(options), float(least), float(median), float(greatest))

    def for_sep(self, sky: Sky, window: Window) -> tuple[float, float | np.ndarray | None]:
        """SEP's `thresh` and `err` arguments in a window, in working units."""
        if self.unit.varies:
            return max(self.times, LEAST_THRESHOLD), sky.sigma_of(window)
        if self.unit.from_image:
            return max(self.times, LEAST_THRESHOLD), sky.rms / sky.unit
        return max(self.times / sky.unit, LEAST_THRESHOLD), None

    def over(self, sky: Sky) -> float | np.ndarray:
        """The threshold in the image's own unit: a float, or an array (height, width), float32, if it varies."""
        return self.times * sky.sigma_map.whole() if self.unit.varies else self.median

    def along(self, rms: np.ndarray) -> float | np.ndarray:
        """The threshold where the background RMS is `rms`, in the image's own unit.

        If it follows another map, the median.
        """
        return self.times * rms if self.unit.varies and self.unit.from_image else self.median

    def describe(self) -> str:
        """The threshold in the image's own unit, in words."""
        if not self.unit.words:
            return f"{self.times:g}, as given"
        if not self.unit.varies:
            return f"{self.median:.6g} ({self.times:g} x {self.unit.words})"
        return f"{self.least:.6g} to {self.greatest:.6g}, median {self.median:.6g} ({self.times:g} x {self.unit.words})"


def filter_hint(options: DetectionOptions) -> str | None:
    """A warning if the filter admits more noise at the threshold than expected; else None."""
    if options.filter_case == "none":
        noise = "" if options.err_option == "none" else ". Below a threshold of 2 much noise counts as sources"
        return f"Filter: none{noise}"
    if is_matched(options):
        return (
            "Filter: matched, with a noise map. The threshold is in units of the noise of the filtered image, which is "
            "lower: below a threshold of 4 much noise counts as sources; --filter_type conv avoids it"
        )
    return None
