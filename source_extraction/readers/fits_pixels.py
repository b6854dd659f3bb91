"""What the numbers in a FITS image mean: BSCALE, BZERO and BLANK.

astropy scales small integers and float32 in float32, which does not hold what comes out; and it forgets a BLANK of 0.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from astropy.io import fits

from ..core.room import Room
from ..core.windows import strips
from ..errors import InputError
from .fits_structure import STORED_TYPES, number_of, whole_number_of

# FITS standard 4.0, 5.2.5 and 4.4.2.5: the BZERO by which integers of these bits are unsigned, those of 8 bits signed.
OTHER_SIGN = {8: -128.0, 16: 2.0**15, 32: 2.0**31, 64: 2.0**63}
OTHER_TYPES = {8: "int8", 16: "uint16", 32: "uint32", 64: "uint64"}


class Scale(NamedTuple):
    """How the pixels of an image are stored: value = scale * stored + zero, and which stored values are missing."""

    bits: int
    scale: float
    zero: float
    blanks: frozenset[int]

    @classmethod
    def of(cls, header: fits.Header, bits: int, source: str, blanks: Collection[str] = ("BLANK",)) -> Scale:
        """What a header says. Raises InputError where that is not a number."""
        factors = {}
        for keyword, default in (("BSCALE", 1.0), ("BZERO", 0.0)):
            number = number_of(header, keyword, default)
            if number is None:
                raise InputError(source, f"its keyword {keyword} is not a number", "correct it or remove it")
            factors[keyword] = number
        values = {whole_number_of(header, keyword) for keyword in blanks} if bits > 0 else set()
        whole = frozenset(value for value in values if value is not None)
        return cls(bits, factors["BSCALE"], factors["BZERO"], whole)

    @property
    def has_other_sign(self) -> bool:
        """Whether BZERO only says that the integers are unsigned, or signed."""
        return self.scale == 1 and self.zero == OTHER_SIGN.get(self.bits)

    @property
    def is_none(self) -> bool:
        """Whether the values are what is stored."""
        return self.scale == 1 and self.zero == 0

    @property
    def described(self) -> str:
        """The type of the pixels for the log."""
        if self.has_other_sign:
            return OTHER_TYPES[self.bits]
        scaled = "" if self.is_none else f" scaled by {self.scale:g} + {self.zero:g}"
        return STORED_TYPES[self.bits] + scaled

    @property
    def bytes_needed(self) -> int:
        """For each pixel, as stored and as scaled."""
        stored = abs(self.bits) // 8
        scaled = 0 if self.is_none or self.has_other_sign else 8
        missing = 8 if self.blanks else 0
        return stored + max(scaled, missing)


def values_of(stored: np.ndarray, scale: Scale, room: Room) -> np.ndarray:
    """The values of stored pixels (height, width), which are overwritten; NaN where a pixel is missing."""
    blocks = [slice(window.top, window.bottom) for window in strips((stored.shape[0], stored.shape[1]))]
    has_missing = any(_missing(stored[rows], scale.blanks) is not None for rows in blocks)
    as_stored = scale.is_none or scale.has_other_sign
    if as_stored and not has_missing:
        return _with_its_sign(stored, scale)
    values = room.empty(stored.shape, np.float32 if as_stored and stored.itemsize <= 2 else np.float64)
    for rows in blocks:
        missing = _missing(stored[rows], scale.blanks)
        values[rows] = _with_its_sign(stored[rows], scale)
        if not as_stored:
            with np.errstate(all="ignore"):
                values[rows] *= scale.scale
                values[rows] += scale.zero
        if missing is not None:
            values[rows][missing] = np.nan
    return values


def _with_its_sign(stored: np.ndarray, scale: Scale) -> np.ndarray:
    """Integers with the other sign where BZERO says so; they are overwritten."""
    if not scale.has_other_sign:
        return stored
    # In two's complement, adding or taking away half the range turns the highest bit over.
    unsigned = stored.view(f"u{stored.itemsize}")
    np.bitwise_xor(unsigned, unsigned.dtype.type(1 << (scale.bits - 1)), out=unsigned)
    return unsigned.view(OTHER_TYPES[scale.bits])


def lacks_shift(stored: np.ndarray, scale: Scale) -> bool:
    """Whether numbers look as astropy (7.2 among others) compresses int8 and uint64: unshifted, but with a BZERO.

    See its issue 19736. Read by the standard, int8 0 and -1 are -128 and 127, and uint64 0 is 2^63.
    """
    if not (scale.has_other_sign and scale.bits in (8, 64)):
        return False
    unshifted = stored.view(f"i{stored.itemsize}")
    if unshifted.min() >= 0:
        return True
    return scale.bits == 8 and bool(np.ptp(unshifted.astype(int)) < np.ptp(stored.astype(int)))


def _missing(stored: np.ndarray, blanks: Collection[int]) -> np.ndarray | None:
    """Which pixels are stored as missing; None if none is."""
    if stored.dtype.kind == "f":
        return None
    limits = np.iinfo(stored.dtype)
    found = [stored == stored.dtype.type(blank) for blank in blanks if limits.min <= blank <= limits.max]
    missing = np.logical_or.reduce(found) if found else None
    return missing if missing is not None and missing.any() else None
