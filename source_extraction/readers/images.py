"""A file or an array -> an Image."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path

from ..core.image import Image, Partner
from ..core.room import Room
from ..errors import InputError
from ..settings import InMemory
from .arrays import read_array
from .content import FITS_BEGINNING, TIFF_BEGINNINGS, beginning_of, kind_of, opened
from .disk_room import RoomOnDisk

# A header of a few bytes may claim any number.
MOST_PLANES = 1_000_000


def read_image(
    given: Path | InMemory,
    source: str = "",
    hdu: str | None = None,
    plane: int | None = None,
    *,
    partner: Partner | None = None,
    room: Room | None = None,
) -> Image:
    """Read the 2-D image of a FITS or TIFF file, or of an array.

    `source` is what messages call it (default: its path or name); `hdu` a FITS HDU by number, EXTNAME or
    EXTNAME,EXTVER, `plane` the index (from 0) of one plane where there are several; `partner` is the image that it
    goes with, as its mask for example; `room` is where its pixels will be.
    Raises InputError where it holds no such image, one of another shape than its partner's, or its partner itself
    where another is there and none was chosen.
    """
    try:
        if isinstance(given, InMemory):
            if hdu is not None:
                raise InputError(given.name, f"an array has no HDU {hdu!r}", "leave out --hdu")
            image = read_array(given, plane, partner)
        else:
            image = _read_file(given, source or str(given), hdu, plane, partner, room or RoomOnDisk())
    except InputError as problem:
        raise (problem if partner is None else partner.in_its_options(problem)) from problem.__cause__
    image.whence = image.whence._replace(file=_identity(given))
    if partner is not None:
        image.remarks += partner.require_meant(image, named=hdu is not None)
    if image.pixels.dtype.kind not in "biuf":
        raise InputError(
            image.source,
            f"its pixels are of type {image.pixels.dtype}, not real numbers",
            "give an image of real numbers",
        )
    return image


def count_planes(path: Path, source: str = "", hdu: str | None = None) -> int:
    """The number of planes of a file among which `plane` chooses; none of them is decoded.

    Raises InputError where it holds no image.
    """
    source = source or str(path)
    content = opened(path, source)
    if beginning_of(content, source)[:4] in TIFF_BEGINNINGS:
        from . import tiff

        number = tiff.count_planes(content, source)
    else:
        from . import fits

        number = fits.count_planes(content, source, hdu)
    if number > MOST_PLANES:
        raise InputError(source, f"it claims {number} planes", f"cut it to {MOST_PLANES} or fewer")
    return number


def _read_file(
    path: Path, source: str, hdu: str | None, plane: int | None, partner: Partner | None, room: Room
) -> Image:
    content = opened(path, source)
    beginning = beginning_of(content, source)
    if beginning.startswith(FITS_BEGINNING):
        from .fits import read_fits

        return read_fits(content, source, hdu, plane, partner, room)
    if beginning[:4] in TIFF_BEGINNINGS:
        from .tiff import read_tiff

        if hdu is not None:
            raise InputError(source, f"a TIFF file has no HDU {hdu!r}", "leave out --hdu")
        return read_tiff(content, source, plane, partner, room)
    raise InputError(source, f"this is {kind_of(beginning)}, not a FITS or TIFF image", "convert it to one of these")


def _identity(given: Path | InMemory) -> Hashable:
    """The same of two files or arrays that are one, whatever leads to them."""
    if isinstance(given, InMemory):
        return id(given.pixels)
    try:
        status = os.stat(given)
    except OSError:  # it is gone since it was read
        return None
    return status.st_dev, status.st_ino
