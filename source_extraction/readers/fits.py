"""FITS -> Image: the first 2-D image of a file, or the one that was asked for."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..core.image import Celestial, Image, Partner, Whence
from ..core.room import Room
from ..errors import InputError, counted
from .content import failures_are_said, open_again, size_of
from .fits_choice import choose_hdu, others_than, uses_beside, versions_of
from .fits_pixels import Scale, lacks_shift, values_of
from .fits_sky import celestial_of, distortion_tables, needs_tables
from .fits_structure import HDU, STORED_TYPES, Keywords, hdus_of, text_of
from .fits_tiles import decoded, image_header
from .planes import choose_plane, rows_and_columns

# What decompressing takes besides the pixels: a band of them as the decoder has it (fits_tiles).
BYTES_A_COMPRESSED_PIXEL = 8
MOST_AT_ONCE = 2**22  # bytes read by one call: what is done with them next finds them in the processor's cache


def read_fits(
    content: Path | io.BytesIO,
    source: str,
    hdu: str | None,
    plane: int | None,
    partner: Partner | None,
    room: Room,
) -> Image:
    """Read one 2-D image of what `content.opened` gave; see `readers.images.read_image`."""
    with failures_are_said(source), open_again(content) as file:
        hdus = hdus_of(file, source)
        return _read(file, hdus, choose_hdu(hdus, source, hdu, plane), source, plane, partner, room)


def count_planes(content: Path | io.BytesIO, source: str, hdu: str | None) -> int:
    """The number of planes among which `plane` chooses."""
    with failures_are_said(source), open_again(content) as file:
        chosen = choose_hdu(hdus_of(file, source), source, hdu, plane=0)
        _require_whole(file, chosen, source)
    planes, _ = rows_and_columns(chosen.shape, source, chosen.label)
    return math.prod(chosen.shape[axis] for axis in planes)


def _read(
    file: BinaryIO,
    hdus: list[HDU],
    chosen: HDU,
    source: str,
    plane: int | None,
    partner: Partner | None,
    room: Room,
) -> Image:
    shape, origin = chosen.shape, chosen.label
    planes, rest = rows_and_columns(shape, source, origin)
    size = " x ".join(str(side) for side in shape)
    of_plane = choose_plane(tuple(shape[axis] for axis in planes), plane, source, origin, size)
    places = dict(zip(planes, of_plane, strict=True))
    index = tuple(slice(None) if axis in rest else places.get(axis, 0) for axis in range(len(shape)))
    height, width = (shape[axis] for axis in rest)
    if partner is not None:
        partner.require_same_shape(source, (height, width))
    header = image_header(chosen, source) if chosen.compressed else chosen.header
    scale = Scale.of(header, chosen.bits, source)
    if chosen.compressed:
        # What the codec writes for no value is the table's to say; a BLANK beyond 32 bits is kept from astropy.
        of_table = Scale.of(chosen.header, chosen.bits, source, ("BLANK", "ZBLANK"))
        scale = scale._replace(blanks=scale.blanks | of_table.blanks)
    bytes_needed = scale.bytes_needed + (BYTES_A_COMPRESSED_PIXEL if chosen.compressed else 0)
    room.require(source, origin, height * width, bytes_needed)
    _require_whole(file, chosen, source)
    if chosen.compressed:
        stored = decoded(chosen, _bytes(file, chosen, source), index, source, room)
        if lacks_shift(stored, scale):
            raise InputError(
                source,
                f"its compressed {scale.described} pixels look as astropy writes them by mistake: half the range off",
                "save it without compression, or as int32",
            )
    else:
        stored = _stored(file, chosen, (height, width), plane or 0, source, room)
    return Image(
        source=source,
        origin=origin,
        stored_type=scale.described,
        pixels=values_of(stored, scale, room),
        unit=text_of(header, "BUNIT"),
        find_celestial=_find_celestial(file, hdus, chosen, [len(shape) - axis for axis in reversed(rest)]),
        headers=(Keywords(header), Keywords(hdus[0].header)),
        others=others_than(chosen, hdus),
        uses=uses_beside(chosen, hdus),
        whence=Whence(chosen.number, plane or 0, chosen.version, versions_of(chosen.name, hdus)),
    )


def _truncated(source: str, missing: int) -> InputError:
    lost = counted(missing, "byte of its pixels is", "bytes of its pixels are")
    return InputError(source, f"the FITS file is truncated: {lost} missing", "fetch it again")


def _require_whole(file: BinaryIO, hdu: HDU, source: str) -> None:
    missing = hdu.data_start + hdu.data_size - size_of(file)
    if missing > 0:
        raise _truncated(source, missing)


def _stored(file: BinaryIO, hdu: HDU, shape: tuple[int, int], plane: int, source: str, room: Room) -> np.ndarray:
    """The numbers of one plane as they stand in the file; the planes lie one behind the other, rows within them."""
    numbers = room.empty(shape, STORED_TYPES[hdu.bits])
    in_order = numbers.reshape(-1)
    file.seek(hdu.data_start + plane * numbers.nbytes)
    some = MOST_AT_ONCE // numbers.itemsize
    for first in range(0, numbers.size, some):
        part = in_order[first : first + some]
        _fill(file, part.view(np.uint8).data, source, behind=(numbers.size - first - len(part)) * numbers.itemsize)
        if sys.byteorder == "little":  # FITS is big-endian
            part.byteswap(inplace=True)
    return numbers


def _bytes(file: BinaryIO, hdu: HDU, source: str) -> bytes:
    """All data of an HDU."""
    content = bytearray(hdu.data_size)
    file.seek(hdu.data_start)
    _fill(file, memoryview(content), source)
    return bytes(content)


def _fill(file: BinaryIO, into: memoryview, source: str, behind: int = 0) -> None:
    """Read as many bytes as there is room for, of which so many come `behind`.

    Not through a map: where a file is cut meanwhile, that is the end.
    """
    filled = 0
    while filled < len(into):
        read = file.readinto(into[filled : filled + MOST_AT_ONCE])  # type: ignore[attr-defined]
        if not read:
            missing = len(into) - filled + behind
            raise _truncated(source, missing)
        filled += read


def _find_celestial(file: BinaryIO, hdus: list[HDU], chosen: HDU, axes: list[int]) -> Callable[[], Celestial]:
    """What finds where the image lies on the sky, once that is asked for; at once where it needs the file."""
    if not needs_tables(chosen.header):
        return partial(celestial_of, chosen, hdus[0], None, axes)
    celestial = celestial_of(chosen, hdus[0], distortion_tables(chosen.header, hdus, file), axes)
    return lambda: celestial
