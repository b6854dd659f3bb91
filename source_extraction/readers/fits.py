"""FITS -> Image: the first 2-D image of a file, or the one that was asked for."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..core.image import Celestial, Image, Partner, Whence
from ..errors import InputError, counted
from .content import failures_are_said, open_again, size_of
from .fits_choice import choose_hdu, others_than, uses_beside, versions_of
from .fits_pixels import Scale, lacks_shift, values_of
from .fits_sky import celestial_of, distortion_tables, needs_tables
from .fits_structure import HDU, STORED_TYPES, Keywords, hdus_of, text_of
from .fits_tiles import decoded, image_header
from .memory import require_memory
from .planes import choose_plane, rows_and_columns

# What decompressing takes besides the pixels: a band of them as the decoder has it (fits_tiles).
BYTES_A_COMPRESSED_PIXEL = 8
MOST_AT_ONCE = 2**28  # bytes read by one call


def read_fits(
    content: Path | io.BytesIO, source: str, hdu: str | None, plane: int | None, partner: Partner | None
) -> Image:
    """Read one 2-D image of what `content.opened` gave; see `readers.images.read_image`."""
    with failures_are_said(source), open_again(content) as file:
        hdus = hdus_of(file, source)
        return _read(file, hdus, choose_hdu(hdus, source, hdu, plane), source, plane, partner)


def count_planes(content: Path | io.BytesIO, source: str, hdu: str | None) -> int:
    """The number of planes among which `plane` chooses."""
    with failures_are_said(source), open_again(content) as file:
        chosen = choose_hdu(hdus_of(file, source), source, hdu, plane=0)
        _require_whole(file, chosen, source)
    planes, _ = rows_and_columns(chosen.shape, source, chosen.label)
    return math.prod(chosen.shape[axis] for axis in planes)


def _read(
    file: BinaryIO, hdus: list[HDU], chosen: HDU, source: str, plane: int | None, partner: Partner | None
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
    require_memory(source, origin, height * width, bytes_needed)
    _require_whole(file, chosen, source)
    if chosen.compressed:
        stored = decoded(chosen, _bytes(file, chosen, source), index, source)
        if lacks_shift(stored, scale):
            raise InputError(
                source,
                f"its compressed {scale.described} pixels look as astropy writes them by mistake: half the range off",
                "save it without compression, or as int32",
            )
    else:
        stored = _stored(file, chosen, (height, width), plane or 0, source)
    return Image(
        source=source,
        origin=origin,
        stored_type=scale.described,
        pixels=values_of(stored, scale),
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


def _stored(file: BinaryIO, hdu: HDU, shape: tuple[int, int], plane: int, source: str) -> np.ndarray:
    """The numbers of one plane as they stand in the file; the planes lie one behind the other, rows within them."""
    numbers = np.empty(shape, np.dtype(STORED_TYPES[hdu.bits]).newbyteorder(">"))
    file.seek(hdu.data_start + plane * numbers.nbytes)
    _fill(file, numbers.reshape(-1).view(np.uint8).data, source)
    # FITS is big-endian; whatever reads other than this machine's order is slow at every step.
    return numbers if numbers.dtype.isnative else numbers.byteswap(inplace=True).view(numbers.dtype.newbyteorder("="))


def _bytes(file: BinaryIO, hdu: HDU, source: str) -> bytes:
    """All data of an HDU."""
    content = bytearray(hdu.data_size)
    file.seek(hdu.data_start)
    _fill(file, memoryview(content), source)
    return bytes(content)


def _fill(file: BinaryIO, room: memoryview, source: str) -> None:
    """Read as many bytes as there is room for. Not through a map: where a file is cut meanwhile, that is the end."""
    filled = 0
    while filled < len(room):
        read = file.readinto(room[filled : filled + MOST_AT_ONCE])  # type: ignore[attr-defined]
        if not read:
            missing = len(room) - filled
            raise _truncated(source, missing)
        filled += read


def _find_celestial(file: BinaryIO, hdus: list[HDU], chosen: HDU, axes: list[int]) -> Callable[[], Celestial]:
    """What finds where the image lies on the sky, once that is asked for; at once where it needs the file."""
    if not needs_tables(chosen.header):
        return partial(celestial_of, chosen, hdus[0], None, axes)
    celestial = celestial_of(chosen, hdus[0], distortion_tables(chosen.header, hdus, file), axes)
    return lambda: celestial
