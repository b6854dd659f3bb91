"""The mask that comes with an image -> which pixels to leave out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core.image import Image, Partner
from ..errors import InputError
from ..settings import InMemory
from .images import read_image


class Mask(NamedTuple):
    """`masked` (height, width) is True where a pixel is masked; `remarks` are about how the file was read."""

    masked: np.ndarray
    remarks: tuple[str, ...]


def read_mask(given: Path | InMemory, maskthresh: float, image: Image) -> Mask:
    """Read the mask of an image.

    Pixels of a boolean mask that are True, of a numeric one that are greater than `maskthresh`
    or NaN, are masked.
    """
    partner = Partner(image, "mask", "give a mask of the image's shape")
    mask = read_image(given, partner=partner, is_picture=False)
    if mask.pixels.dtype == bool:
        masked = mask.pixels
    elif mask.pixels.dtype.kind in "iu":
        # Between whole numbers: numpy would compare in float64, which does not hold those of 64 bits.
        masked = mask.pixels > math.floor(maskthresh)
    else:
        # "not (value <= threshold)" rather than ">": NaN marks a pixel too.
        masked = ~(mask.pixels <= maskthresh)
    if masked.all():
        raise InputError(
            mask.source, "the mask leaves no pixel of the image", "masked are the pixels above --maskthresh"
        )
    return Mask(masked, mask.remarks)
