"""The noise map that comes with an image -> standard deviations, and the pixels that have none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import InputError
from .images import Image, require_same_shape
from .inputs import read_image


@dataclass
class NoiseMap:
    """`rms` (height, width), float64, in the image's units; `invalid` is True where it says nothing, and 1 in `rms`."""

    source: str
    rms: np.ndarray
    invalid: np.ndarray


def read_noise_map(path: Path, error_type: str, image: Image) -> NoiseMap:
    """Read the noise of every pixel of `image`.

    `error_type` "rms": standard deviations; "variance": their squares; "weight": inverse variances, as
    surveys distribute them. A pixel whose value is not finite, negative, or 0 is invalid.
    Raises InputError where the shape differs or no pixel is valid.
    """
    noise = read_image(path)
    require_same_shape(noise, image, "noise map", "give a noise map of the image's shape")
    values = noise.pixels.astype(np.float64)
    invalid = ~((values > 0) & np.isfinite(values))
    if invalid.all():
        raise InputError(noise.source, "no pixel of the noise map is above 0", "check the file and --error_type")
    values[invalid] = 1
    if error_type != "rms":
        np.sqrt(values, out=values)
    if error_type == "weight":
        np.reciprocal(values, out=values)
    return NoiseMap(noise.source, values, invalid)
