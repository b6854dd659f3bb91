"""How complete a catalog of a simulated sky truly is: of stars drawn into its light, with new noise, by SEP itself."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from . import sep_directly
from .simulated_sky import MOFFAT_BETA, RECORD, Sky, add_source

# A source within this number of pixels of a star is the star ...
MATCH = 1.5
# ... if nothing brighter was drawn within this number.
HIDES = 2.0


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
        """The magnitude where the share found falls to a level: of the falling curve that fits best, without a form."""
        order = np.argsort(self.magnitude)
        falling = isotonic_regression(self.found[order].astype(float), increasing=False)
        groups = np.array_split(np.arange(len(order)), max(1, len(order) // 50))
        magnitude, share = (
            np.array([values[group].mean() for group in groups]) for values in (self.magnitude[order], falling.x)
        )
        return float(np.interp(-level, -share, magnitude))


def true_completeness(
    sky: Sky, *, fwhm: float, fluxes: tuple[float, float], images: int, at_a_time: int, background: float = 200.0
) -> TrueCompleteness:
    """Stars of random fluxes between two, drawn a few at a time into the light of a sky as `simulate` draws it."""
    random = np.random.default_rng(99)
    light = np.full(sky.pixels.shape, background)
    for source in sky.truth:
        add_source(light, source, fwhm)
    stars = np.zeros(images * at_a_time, dtype=RECORD)
    for axis, side in (("y", light.shape[0]), ("x", light.shape[1])):
        stars[axis] = random.uniform(-0.5, side - 0.5, len(stars))
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
