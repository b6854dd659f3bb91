"""How sums in circles scatter where no source is: what errors should say."""

import numpy as np
import sep

from source_extraction import Result
from source_extraction.core.windows import grown

MARGIN = 4  # pixels
NUMBER = 20_000


def scatter_of_empty_apertures(result: Result, diameter: float) -> float:
    """Half the central 68 % of circles on sky, in units of the error that independent pixels would have."""
    random, radius = np.random.default_rng(0), diameter / 2
    pixels = np.ascontiguousarray(np.nan_to_num(result.background_subtracted))
    height, width = pixels.shape
    x, y = (random.uniform(radius, side - 1 - radius, 10 * NUMBER) for side in (width, height))
    taken = grown((result.segmentation > 0) | ~np.isfinite(result.background_subtracted), MARGIN).astype(np.uint8)
    free = sep.sum_circle(taken, x, y, radius)[0] == 0
    sums, errors, _ = sep.sum_circle(pixels, x[free][:NUMBER], y[free][:NUMBER], radius, err=result.background_rms)
    low, high = np.percentile(sums / errors, (15.87, 84.13))
    # SEP adds up overlap, where the variance has its square.
    places = np.random.default_rng(1).uniform(-0.5, 0.5, (200, 2))
    return float(high - low) / 2 / _share_of_overlap(radius, places)


def _share_of_overlap(radius: float, places: np.ndarray) -> float:
    """The true error of independent pixels in units of SEP's."""
    from photutils.aperture import CircularAperture

    circles = CircularAperture(places, radius).to_mask(method="exact")
    return float(np.sqrt(np.mean([(circle.data**2).sum() / circle.data.sum() for circle in circles])))
