"""The noise map that comes with an image -> standard deviations, and the pixels that have none."""

from __future__ import annotations

import numpy as np

from ..core.image import Image, Partner
from ..core.sky import NoiseMap
from ..errors import InputError, counted
from ..settings import InMemory, Which
from .images import read_image

# The power of the image's unit that each error_type has.
POWERS = {"rms": 1, "variance": 2, "weight": -2}
# Writers of noise maps put numbers like 1e15, 1e20 or 1e30 where there is no noise to tell. A value so many times that
# of the good pixels is such a number: float32 has 7 digits. The good ones are those at a low percentile, since most of
# a map may be bad, and the least of all values an accident.
NO_NOISE, OF_GOOD_PIXELS = 1e12, 1


def read_noise_map(which: Which, error_type: str, image: Image) -> NoiseMap:
    """Read the noise of every pixel of `image`.

    `error_type` "rms": standard deviations; "variance": their squares; "weight": inverse variances, as
    surveys distribute them. A pixel whose value is not finite, negative, or 0 is invalid, and one whose value
    is `NO_NOISE` times worse than that of the good ones.
    Raises InputError where the shape differs or no pixel is valid.
    """
    partner = Partner(image, "noise map", "give a noise map of the image's shape", which.prefix)
    noise = read_image(which.given, which.name, which.hdu, which.plane, partner=partner)
    values = noise.pixels.astype(np.float64)
    if isinstance(which.given, InMemory):
        values *= _in_unit_of(image, noise, error_type)
    invalid = ~((values > 0) & np.isfinite(values))
    if invalid.all():
        raise InputError(noise.source, "no pixel of the noise map is above 0", "check the file and --error_type")
    values[invalid] = 1
    if error_type != "rms":
        np.sqrt(values, out=values)
    if error_type == "weight":
        np.reciprocal(values, out=values)
    absurd = _absurd(values, invalid, NO_NOISE ** (1 / abs(POWERS[error_type])))
    if absurd is None:
        return NoiseMap(noise.source, values, invalid, noise.remarks)
    absurd_ones = counted(int(np.count_nonzero(absurd)), "pixel", "pixels")
    remark = (
        f"in {absurd_ones} the noise is {values[absurd].min():.3g} or more, and that of good ones "
        f"{_of_good_pixels(values, invalid):.3g}: they are masked, as pixels without a noise"
    )
    values[absurd] = 1
    return NoiseMap(noise.source, values, invalid | absurd, (*noise.remarks, remark))


def _absurd(noise: np.ndarray, invalid: np.ndarray, times: float) -> np.ndarray | None:
    """Where a noise is so many times that of the good pixels; None where none is."""
    if noise.max(where=~invalid, initial=0) <= times * noise.min(where=~invalid, initial=np.inf):
        return None
    absurd = ~invalid & (noise > times * _of_good_pixels(noise, invalid))
    return absurd if absurd.any() else None


def _of_good_pixels(noise: np.ndarray, invalid: np.ndarray) -> float:
    return float(np.percentile(noise[~invalid], OF_GOOD_PIXELS))


def _in_unit_of(image: Image, noise: Image, error_type: str) -> float:
    """What the values of a noise map are to be multiplied with, where both it and the image say their units."""
    if not (noise.unit and image.unit) or noise.unit == image.unit:
        return 1.0
    from astropy import units

    try:
        return units.Unit(noise.unit).to(units.Unit(image.unit) ** POWERS[error_type])
    except ValueError as problem:
        # Also what astropy raises for units that it cannot convert.
        raise InputError(
            noise.source, f"its unit is {noise.unit}, that of the image {image.unit}", "convert it"
        ) from problem
