"""The mask that comes with an image -> which pixels to leave out."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..core.image import Doubt, Image, Partner
from ..core.room import Room
from ..core.windows import strips
from ..errors import InputError
from ..settings import Which
from .images import read_image

# Masks of the Rubin Observatory name their bits: the keyword MP_SAT = 1 says that bit 1, of the value 2, is SAT.
# See https://dp1.lsst.io/products/images/mask_planes.html
BIT_NUMBER = "MP_"
# A name that takes no header: DO_NOT_USE in https://jwst-pipeline.readthedocs.io, "Data Quality Flags".
JWST, DO_NOT_USE = "JWST", 1
MOST_BITS = 64
# Values from 1 to a number above this, all of them there, are labels.
MOST_IN_A_ROW = 4


class Mask(NamedTuple):
    """`masked` (height, width) is True where a pixel is masked; `remarks` are about how the file was read."""

    masked: np.ndarray
    remarks: tuple[str, ...]


def read_mask(
    which: Which, maskthresh: float | None, bits: tuple[int | str, ...] | None, image: Image, room: Room | None = None
) -> Mask:
    """Read the mask of an image.

    Masked are the pixels of a boolean mask that are True; of a numeric one those that have one of `bits` (values, or
    names that the header of the mask knows), or, without any, those that are greater than `maskthresh` (default: 0).
    NaN is masked always.
    """
    partner = Partner(
        image, "mask", "give a mask of the image's shape", which.prefix, may_be_itself=maskthresh is not None
    )
    room = room or Room()
    mask = read_image(which.given, which.name, which.hdu, which.plane, partner=partner, room=room)
    remarks = mask.remarks
    if bits is not None:
        masked, rule = _has_one_of(mask, bits, room), "that have one of --mask_bits"
        if not masked.any():
            remarks += (Doubt("no pixel has one of --mask_bits: nothing is masked"),)
    else:
        masked, rule = _is_above(mask.pixels, maskthresh or 0.0, room), "above --maskthresh"
        remarks += _flags_are_said(mask)
    if masked.all():
        raise InputError(mask.source, "the mask leaves no pixel of the image", f"check it: pixels {rule} are masked")
    return Mask(masked, remarks)


def _is_above(values: np.ndarray, threshold: float, room: Room) -> np.ndarray:
    if values.dtype == bool:
        return values
    above = room.empty(values.shape, bool)
    if values.dtype.kind in "iu":
        # Between whole numbers: numpy would compare in float64, which does not hold those of 64 bits.
        return np.greater(values, math.floor(threshold), out=above)
    # "not (value <= threshold)" rather than ">": NaN marks a pixel too.
    np.less_equal(values, threshold, out=above)
    return np.logical_not(above, out=above)


def _has_one_of(mask: Image, bits: tuple[int | str, ...], room: Room) -> np.ndarray:
    wanted = 0
    for bit in bits:
        wanted |= _value_of(bit, mask) if isinstance(bit, str) else bit
    found = room.empty(mask.shape, bool)
    for window in strips(mask.shape):
        values = window.of(mask.pixels)
        missing = np.isnan(values) if values.dtype.kind == "f" else None
        flags = _as_flags(np.where(missing, 0, values) if missing is not None else values)
        if flags is None:
            raise InputError(
                mask.source,
                "its values are not whole numbers, as bit flags are",
                "leave out --mask_bits; --maskthresh compares values",
            )
        of_window = window.of(found)
        of_window[:] = (flags & flags.dtype.type(wanted & int(np.iinfo(flags.dtype).max))) != 0
        if missing is not None:
            of_window |= missing
    return found


def _as_flags(values: np.ndarray) -> np.ndarray | None:
    """The same bits as unsigned integers; None where the values are no whole numbers."""
    if values.dtype.kind == "f":
        if not ((values == np.floor(values)) & (np.abs(values) < 2.0**63)).all():
            return None
        values = values.astype(np.int64)
    return values.view(f"u{values.itemsize}")


def _value_of(name: str, mask: Image) -> int:
    """The value of a bit by its name."""
    if name.upper() == JWST:
        return DO_NOT_USE
    named = _named_bits(mask)
    for spelled in (name.upper(), BIT_NUMBER + name.upper()):
        if spelled in named:
            return named[spelled]
    known = f"names of this mask are {', '.join(named)}" if named else "its header names no bits"
    raise InputError(mask.source, f"it has no bit {name!r} for --mask_bits; {known}", "give values, such as 1,4,512")


def _named_bits(mask: Image) -> dict[str, int]:
    """The bits that a header names, and their values."""
    named = {}
    for header in mask.headers[:1]:
        for keyword in map(str, header):
            number = header[keyword] if keyword.upper().startswith(BIT_NUMBER) else None
            if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < MOST_BITS:
                named[keyword.upper()] = 1 << number
    return named


def _flags_are_said(mask: Image) -> tuple[str, ...]:
    """How many pixels have each bit, where values look like bit flags: powers of two, two or more, and their sums."""
    flags = _as_flags(mask.pixels) if mask.pixels.dtype.kind in "iu" else None
    if flags is None:
        return ()
    values = sorted(set[int]().union(*(np.unique(window.of(flags)).tolist() for window in strips(mask.shape))) - {0})
    powers = [value for value in values if value.bit_count() == 1]
    together = sum(powers)
    are_labels = len(values) > MOST_IN_A_ROW and values == list(range(1, len(values) + 1))
    if len(powers) < 2 or are_labels or any(value & ~together for value in values):
        return ()
    names = {value: f" ({keyword})" for keyword, value in _named_bits(mask).items()}
    numbers = dict.fromkeys(powers, 0)
    for window in strips(mask.shape):
        for value in powers:
            numbers[value] += int(np.count_nonzero(window.of(flags) & flags.dtype.type(value)))
    counted = ", ".join(f"{value}{names.get(value, '')} in {number}" for value, number in numbers.items())
    return (f"the values look like bit flags: {counted} pixels; choose those that mask with --mask_bits",)
