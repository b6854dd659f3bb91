"""The noise map that comes with an image -> standard deviations, and the pixels that have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core.image import Image, Partner
from ..core.sky import NoiseMap
from ..errors import InputError
from ..settings import InMemory
from .images import read_image

# The power of the image's unit that each error_type has.
POWERS = {"rms": 1, "variance": 2, "weight": -2}


def read_noise_map(given: Path | InMemory, error_type: str, image: Image) -> NoiseMap:
    """Read the noise of every pixel of `image`.

    `error_type` "rms": standard deviations; "variance": their squares; "weight": inverse variances, as
    surveys distribute them. A pixel whose value is not finite, negative, or 0 is invalid.
    Raises InputError where the shape differs or no pixel is valid.
    """
    noise = read_image(given, partner=Partner(image, "noise map", "give a noise map of the image's shape"))
    values = noise.pixels.astype(np.float64)
    if isinstance(given, InMemory):
        values *= _in_unit_of(image, noise, error_type)
    invalid = ~((values > 0) & np.isfinite(values))
    if invalid.all():
        raise InputError(noise.source, "no pixel of the noise map is above 0", "check the file and --error_type")
    values[invalid] = 1
    if error_type != "rms":
        np.sqrt(values, out=values)
    if error_type == "weight":
        np.reciprocal(values, out=values)
    return NoiseMap(noise.source, values, invalid, noise.remarks)


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
