"""How complete a catalog of a simulated sky truly is: of stars drawn into its light, with new noise, by SEP itself."""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Polynomial

from . import sep_directly
from .simulated_sky import MOFFAT_BETA, RECORD, Sky, add_source

# A source within this number of pixels of a star is the star ...
MATCH = 1.5
# ... if nothing brighter was drawn within this number.
HIDES = 2.0
# Limits are found from the stars within this many magnitudes.
WITHIN = 0.3


@dataclass
class TrueCompleteness:
    """Stars of these magnitudes (zero point 0) and whether each was found."""

    magnitude: np.ndarray
    found: np.ndarray

    def between(self, faint: float, bright: float) -> float:
        """The share found of those between two fluxes."""
        flux = 10 ** (-0.4 * self.magnitude)
        return float(self.found[(flux >= faint) & (flux < bright)].mean())

    def limit(self, level: float) -> float:
        """The magnitude where the share found falls to a level: of a parabola through the stars around it."""
        edges = np.arange(self.magnitude.min(), self.magnitude.max(), WITHIN)
        number, found = (np.histogram(stars, edges)[0] for stars in (self.magnitude, self.magnitude[self.found]))
        magnitude = edges[1:][found >= level * number][-1]
        for _ in range(50):
            near = np.abs(self.magnitude - magnitude) < WITHIN
            curve = Polynomial.fit(self.magnitude[near] - magnitude, self.found[near], 2)
            magnitude += np.clip((level - curve(0)) / curve.deriv()(0), -0.1, 0.1)
        return float(magnitude)


def true_completeness(
    sky: Sky, *, fwhm: float, fluxes: tuple[float, float], images: int, across: int, background: float = 200.0
) -> TrueCompleteness:
    """Stars of random fluxes between two, drawn into the light of a sky as `simulate` draws it.

    Each image has a grid of `across` x `across` stars somewhere, so that none of them hides another.
    """
    random = np.random.default_rng(99)
    light = np.full(sky.pixels.shape, background)
    for source in sky.truth:
        add_source(light, source, fwhm)
    stars = np.zeros(images * across**2, dtype=RECORD)
    for axis, side, step in zip("yx", light.shape, np.indices((across, across)), strict=True):
        first = random.uniform(size=(images, 1))
        stars[axis] = ((step.ravel() + first) / across * side - 0.5).ravel()
    stars["flux"] = np.exp(random.uniform(*np.log(fluxes), len(stars)))
    stars["radius"] = fwhm / 2 * np.sqrt((2 ** (1 / (MOFFAT_BETA - 1)) - 1) / (2 ** (1 / MOFFAT_BETA) - 1))
    stars["ratio"] = 1
    found = []
    for some in np.split(stars, images):
        with_stars = light.copy()
        for star in some:
            add_source(with_stars, star, fwhm)
        sources, *_ = sep_directly.extract(random.poisson(with_stars).astype(np.float32))
        found += [
            bool((np.hypot(sources["x"] - star["x"], sources["y"] - star["y"]) < MATCH).any())
            and not (
                (np.hypot(sky.truth["x"] - star["x"], sky.truth["y"] - star["y"]) < HIDES)
                & (sky.truth["flux"] > star["flux"])
            ).any()
            for star in some
        ]
    return TrueCompleteness(-2.5 * np.log10(stars["flux"]), np.array(found))
