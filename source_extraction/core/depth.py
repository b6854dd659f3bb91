"""The depth of an image: how faint a source its noise lets through."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .correlation import Correlation
from .in_order import in_the_middle
from .sky import Sky

# The depth: standard deviations, and the diameter of the aperture in pixels.
SIGMA, DIAMETER = 5, 5.0


@dataclass(frozen=True)
class Depth:
    """The flux, in the image's unit, at five times the sky's noise in an aperture, and its magnitude.

    The magnitude is None without a zero point.
    """

    flux: float
    magnitude: float | None
    sigma: int = SIGMA
    aperture_diameter: float = DIAMETER

    @classmethod
    def of(cls, sky: Sky, correlation: Correlation, zeropoint: float | None) -> Depth:
        """The depth of an image whose noise has this correlation."""
        noise = float(np.median(in_the_middle(sky.good_sigma, sky.number_of_good))) * sky.unit
        radius = DIAMETER / 2
        flux = SIGMA * noise * math.sqrt(math.pi * radius**2 * correlation.in_a_circle(radius))
        return cls(flux, None if zeropoint is None or flux <= 0 else zeropoint - 2.5 * math.log10(flux))
