"""FITS -> Image: the first 2-D image of a file, or the one that was asked for."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..core.image import Celestial, Image, Partner
from ..errors import InputError
from .content import failures_are_said, open_again, size_of
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


def choose_hdu(hdus: list[HDU], source: str, wanted: str | None, plane: int | None) -> HDU:
    """The HDU to read: the one that is wanted, by number or EXTNAME, else the first 2-D image.

    An empty or dummy (2 x 2) primary and cubes are passed over where a 2-D image follows; where a plane is wanted, it
    is that of the first cube.
    """
    images = [hdu for hdu in hdus if hdu.shape and 0 not in hdu.shape]
    if not images:
        raise InputError(
            source, f"it holds {len(hdus)} HDU(s), none of them an image", "give a FITS file with a 2-D image"
        )
    if wanted is not None:
        return _named(images, source, wanted)
    flat = [hdu for hdu in images if hdu.is_flat]
    cubes = [hdu for hdu in images if not hdu.is_flat and len(hdu.shape) > 2]
    if plane is not None:
        return (cubes or images)[0]
    if len(flat) > 1 and flat[0].shape[-2:] == (2, 2):
        return flat[1]
    return (flat or cubes or images)[0]


def _named(images: list[HDU], source: str, wanted: str) -> HDU:
    """A number is a number; a name that looks like one is given between quotes."""
    name = wanted.strip()
    if name.isascii() and name.isdecimal():
        found = [hdu for hdu in images if str(hdu.number) == (name.lstrip("0") or "0")]
    else:
        names = [name.upper()]
        if len(name) > 2 and name[0] == name[-1] and name[0] in "'\"":
            names.append(name[1:-1].strip().upper())
        found = [hdu for hdu in images if hdu.name.upper() in names]
    if not found:
        listed = ", ".join(hdu.described for hdu in images)
        raise InputError(source, f"there is no image HDU {wanted!r}", f"choose one of: {listed}")
    return found[0]


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
    missing = chosen.data_start + chosen.data_size - size_of(file)
    if missing > 0:
        raise InputError(
            source, f"the FITS file is truncated: {missing} bytes of its pixels are missing", "fetch it again"
        )
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
        others=", ".join(other.described for other in hdus if other.shape and other is not chosen),
    )


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
            raise InputError(
                source, f"the FITS file is truncated: {missing} bytes of its pixels are missing", "fetch it again"
            )
        filled += read


def _find_celestial(file: BinaryIO, hdus: list[HDU], chosen: HDU, axes: list[int]) -> Callable[[], Celestial]:
    """What finds where the image lies on the sky, once that is asked for; at once where it needs the file."""
    if not needs_tables(chosen.header):
        return partial(celestial_of, chosen, hdus[0], None, axes)
    celestial = celestial_of(chosen, hdus[0], distortion_tables(chosen.header, hdus, file), axes)
    return lambda: celestial
