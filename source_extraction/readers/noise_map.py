"""The noise map that comes with an image -> standard deviations, and the pixels that have none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..core.image import Image, Partner
from ..core.in_order import percentile
from ..core.room import Room
from ..core.sky import NoiseMap
from ..core.windows import strips
from ..errors import InputError, counted
from ..settings import InMemory, Which
from .images import read_image

# The power of the image's unit that each error_type has.
POWERS = {"rms": 1, "variance": 2, "weight": -2}
# Writers of noise maps mark pixels without noise by numbers like 1e15, 1e20 or 1e30. A value this many times that of
# the good pixels is such a mark: float32 has 7 digits. The good value is taken at a low percentile, since most of a map
# may be bad, and the minimum may be an outlier.
NO_NOISE, OF_GOOD_PIXELS = 1e12, 1


def read_noise_map(which: Which, error_type: str, image: Image, room: Room | None = None) -> NoiseMap:
    """Read the noise of every pixel of `image`.

    `error_type` "rms": standard deviations; "variance": their squares; "weight": inverse variances, as surveys
    distribute them. A pixel is invalid if its value is not finite, negative or 0, or `NO_NOISE` times worse than that
    of the good ones. Raises InputError if the shape differs or no pixel is valid.
    """
    partner = Partner(image, "noise map", "give a noise map of the image's shape", which.prefix)
    room = room or Room()
    noise = read_image(which.given, which.name, which.hdu, which.plane, partner=partner, room=room)
    factor = _in_unit_of(image, noise, error_type) if isinstance(which.given, InMemory) else 1.0
    values, invalid = room.empty(noise.shape, np.float64), room.empty(noise.shape, bool)
    for window in strips(noise.shape):
        some = window.of(noise.pixels).astype(np.float64)
        some *= factor
        none = ~((some > 0) & np.isfinite(some))
        some[none] = 1
        if error_type != "rms":
            np.sqrt(some, out=some)
        if error_type == "weight":
            np.reciprocal(some, out=some)
        window.of(values)[:], window.of(invalid)[:] = some, none
    if invalid.all():
        raise InputError(noise.source, "no pixel of the noise map is above 0", "check the file and --error_type")
    found = NoiseMap(noise.source, values, invalid, noise.remarks)
    return _without_absurd(found, NO_NOISE ** (1 / abs(POWERS[error_type])))


def _without_absurd(noise: NoiseMap, times: float) -> NoiseMap:
    """The map without pixels whose noise is more than `times` that of the good ones."""
    least = min(float(some.min()) for some in noise.good() if some.size)
    greatest = max(float(some.max()) for some in noise.good() if some.size)
    if greatest <= times * least:
        return noise
    usual = percentile(noise.good, noise.number_of_good, OF_GOOD_PIXELS)
    number, lowest = 0, math.inf
    for window in strips((noise.rms.shape[0], noise.rms.shape[1])):
        some, none = window.of(noise.rms), window.of(noise.invalid)
        absurd = ~none & (some > times * usual)
        if absurd.any():
            number, lowest = number + int(np.count_nonzero(absurd)), min(lowest, float(some[absurd].min()))
            some[absurd], none[absurd] = 1, True
    if not number:
        return noise
    remark = (
        f"in {counted(number, 'pixel', 'pixels')} the noise is {lowest:.3g} or more, and that of good ones "
        f"{usual:.3g}: they are masked, as pixels without a noise"
    )
    return replace(noise, remarks=(*noise.remarks, remark))


def _in_unit_of(image: Image, noise: Image, error_type: str) -> float:
    """The factor for the values of a noise map, if both it and the image have a unit."""
    if not (noise.unit and image.unit) or noise.unit == image.unit:
        return 1.0
    from astropy import units

    try:
        return units.Unit(noise.unit).to(units.Unit(image.unit) ** POWERS[error_type])
    except ValueError as problem:
        # This also covers astropy's exceptions for units that it cannot convert.
        raise InputError(
            noise.source, f"its unit is {noise.unit}, that of the image {image.unit}", "convert it"
        ) from problem
