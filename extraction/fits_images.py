"""FITS -> Image: the first 2-D image of a file, or the one that was asked for."""

from __future__ import annotations

import bz2
import gzip
import io
import math
import mmap
import warnings
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits

from .errors import InputError
from .images import Image, choose_plane, open_decompressed
from .memory import available_memory, require_memory

# FITS standard 4.0, table 8 (BITPIX), and 5.2.5 for the unsigned types that BZERO makes of them.
STORED_TYPES = {8: "uint8", 16: "int16", 32: "int32", 64: "int64", -32: "float32", -64: "float64"}
# A card of 80 characters with its value in fixed format, and the axes that an image may have (FITS standard 4.0, 4.1,
# 4.2.3 and 4.4.1.1).
CARD = np.dtype({"names": ["keyword", "value"], "formats": ["S9", "S21"], "itemsize": 80})
MOST_AXES = 999
# Keywords of distortions that other HDUs hold (FITS WCS paper IV; -TAB: paper III).
DISTORTION_TABLES = ("CPDIS1", "CPDIS2", "D2IMDIS1", "D2IMDIS2", "PS1_0", "PS2_0")
CHUNK = 2**20  # bytes decompressed at a time
UNSIGNED_ZERO = {16: 2.0**15, 32: 2.0**31, 64: 2.0**63}


def read_fits(path: Path, source: str, hdu: str | None, plane: int | None) -> Image:
    """Read one 2-D image; see `extraction.inputs.read_image`."""
    with warnings.catch_warnings():
        # astropy warns of every card that is not to the letter of the standard.
        warnings.simplefilter("ignore")
        try:
            # uint=False: BLANK is then honoured for unsigned integers as well. astropy cannot scale
            # memory-mapped pixels, and without a map it still reads only the HDU that is asked for.
            content = _checked_content(path, source)
            with fits.open(content, memmap=False, uint=False) as hdus:
                return _read(_readable(hdus), source, hdu, plane)
        except (InputError, MemoryError):
            raise
        except Exception as problem:
            # astropy meets damage with every kind of exception (OSError, TypeError, KeyError, ...).
            raise InputError(
                source, f"the FITS file is damaged or truncated ({problem})", "fetch it again"
            ) from problem


def _checked_content(path: Path, source: str) -> Path | io.BytesIO:
    """What astropy is to open: the file, or what is compressed in it.

    A header that claims millions of axes keeps astropy busy for hours, so no header may.
    """
    with open_decompressed(path) as file:
        plain = not isinstance(file, gzip.GzipFile | bz2.BZ2File)
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if plain else _all_of(file, source)
    cards = np.frombuffer(content, CARD, count=len(content) // CARD.itemsize)
    for value in cards["value"][cards["keyword"] == b"NAXIS   ="].tolist():
        if value.strip().isdigit() and int(value) > MOST_AXES:
            raise InputError(source, f"the FITS file is damaged: an image of {int(value)} axes", "fetch it again")
    return path if plain else io.BytesIO(content)


def _all_of(file: BinaryIO, source: str) -> bytes:
    """What a compressed file holds; refused where it and the image made of it would not fit into memory."""
    have = available_memory()
    content = io.BytesIO()
    while part := file.read(CHUNK):
        content.write(part)
        if 2 * content.tell() > have:
            raise InputError(
                source,
                f"decompressed, it needs more than {have / 1e9:.1f} GB of memory; there are {have / 1e9:.1f} GB",
                "use a machine with more memory or cut the image",
            )
    return content.getvalue()


def _readable(hdus: fits.HDUList) -> fits.HDUList:
    """The HDUs up to the first that is damaged: what lies behind it is anybody's guess.

    An HDU of a negative size does not lie behind the one before, and astropy would read it forever.
    """
    found, reached = [], -1
    for hdu in hdus:
        start = hdu.fileinfo()["hdrLoc"] if hasattr(hdu, "fileinfo") else reached
        if start <= reached:
            break
        found.append(hdu)
        reached = start
    return fits.HDUList(found)


def _read(hdus: fits.HDUList, source: str, wanted: str | None, plane: int | None) -> Image:
    number = _choose(hdus, source, wanted, plane)
    hdu = hdus[number]
    origin = _label(number, hdu)
    planes, rest = _axes(hdu.shape, source, origin)
    size = " x ".join(str(side) for side in hdu.shape)
    chosen = choose_plane(tuple(hdu.shape[axis] for axis in planes), plane, source, origin, size)
    index = tuple(dict(zip(planes, chosen, strict=True)).get(axis, slice(None)) for axis in range(len(hdu.shape)))
    require_memory(source, origin, math.prod(hdu.shape[axis] for axis in rest), abs(hdu.header["BITPIX"]) // 8)
    _require_whole(hdu, source)
    header = hdu.header.copy()  # reading the pixels removes BSCALE, BZERO and BLANK
    axes = [len(hdu.shape) - axis for axis in reversed(rest)]
    celestial = partial(_celestial, header, None, axes)
    if any(keyword in header for keyword in DISTORTION_TABLES):
        # It needs the tables, while the file is open.
        celestial = partial(tuple, _celestial(header, hdus, axes))
    return Image(
        source=source,
        origin=origin,
        stored_type=_stored_type(header),
        pixels=_pixels(hdu, index).reshape([hdu.shape[axis] for axis in rest]),
        unit=str(header.get("BUNIT") or "").strip(),
        celestial=celestial,
        headers=(header, hdus[0].header.copy()),
        others=", ".join(_label(i, h) + _size(h) for i, h in enumerate(hdus) if i != number and _size(h)),
    )


def _choose(hdus: fits.HDUList, source: str, wanted: str | None, plane: int | None) -> int:
    """The number of the HDU to read.

    The first 2-D image; an empty or dummy (2 x 2) primary and cubes are passed over where
    a 2-D image follows.
    """
    images = {i: h for i, h in enumerate(hdus) if h.is_image and h.shape and 0 not in h.shape}
    if not len(hdus):
        raise InputError(source, "the FITS file is damaged: its first HDU cannot be read", "fetch it again")
    listed = ", ".join(_label(i, h) + _size(h) for i, h in images.items())
    if not images:
        raise InputError(
            source, f"it holds {len(hdus)} HDU(s), none of them an image", "give a FITS file with a 2-D image"
        )
    if wanted is not None:
        for number, hdu in images.items():
            if wanted == str(number) or wanted.strip().upper() == hdu.name.upper():
                return number
        raise InputError(source, f"there is no image HDU {wanted!r}", f"choose one of: {listed}")
    flat = [i for i, h in images.items() if sum(n > 1 for n in h.shape) <= 2 <= len(h.shape)]
    if plane is not None:
        return next((i for i in images if i not in flat and len(images[i].shape) > 2), next(iter(images)))
    if len(flat) > 1 and images[flat[0]].shape[-2:] == (2, 2):
        return flat[1]
    return (flat or [i for i in images if len(images[i].shape) > 2] or list(images))[0]


def _axes(shape: tuple[int, ...], source: str, origin: str) -> tuple[list[int], list[int]]:
    """The axes of the planes, and the two of rows and columns; axes of length 1 belong to neither."""
    keep = list(range(len(shape)))
    for axis in range(len(shape)):
        if len(keep) > 2 and shape[axis] == 1:
            keep.remove(axis)
    if len(keep) < 2:
        raise InputError(source, f"{origin} has one axis only ({shape[0]} values)", "give a 2-D image")
    return keep[:-2], keep[-2:]


def _pixels(hdu: fits.ImageHDU, index: tuple[int | slice, ...]) -> np.ndarray:
    # section reads (and scales) the plane alone, not the whole cube.
    pixels = hdu.section[index] if any(isinstance(i, int) for i in index) else hdu.data
    if pixels.dtype.isnative:
        return pixels
    # FITS is big-endian; whatever reads other than this machine's order is slow at every step.
    return pixels.byteswap(inplace=pixels.flags.writeable).view(pixels.dtype.newbyteorder("="))


def _require_whole(hdu: fits.ImageHDU, source: str) -> None:
    """Refuse a file that ends within the pixels; only the padding behind them may be missing."""
    place = hdu.fileinfo()
    if place["file"].compression is None and not isinstance(hdu, fits.CompImageHDU):
        missing = place["datLoc"] + hdu.size - place["file"].size
        if missing > 0:
            raise InputError(
                source, f"the FITS file is truncated: {missing} bytes of its pixels are missing", "fetch it again"
            )


def _stored_type(header: fits.Header) -> str:
    bits, scale, zero = header["BITPIX"], header.get("BSCALE", 1), header.get("BZERO", 0)
    if scale == 1 and zero == UNSIGNED_ZERO.get(bits):
        return "u" + STORED_TYPES[bits]
    return STORED_TYPES[bits] + (f" scaled by {scale:g} + {zero:g}" if (scale, zero) != (1, 0) else "")


def _celestial(header: fits.Header, hdus: fits.HDUList | None, axes: list[int]):
    """The celestial WCS of an image's columns and rows, and the same as FITS HDUs; (None, None) where there is none.

    `axes` are the FITS numbers of the two axes. They keep their order: some images have the declination first.
    """
    if not any(str(header.get(f"CTYPE{i}", "")).strip() for i in range(1, header.get("NAXIS", 0) + 1)):
        return None, None
    from astropy.wcs import WCS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wcs = WCS(header, hdus).sub(axes)
            if not wcs.has_celestial or not np.isfinite(wcs.wcs_pix2world([[0, 0]], 0)).all():
                return None, None
            return wcs, wcs.to_fits(relax=True)
        except Exception:
            # wcslib and astropy raise a dozen types for unusable keywords; the pixels are good all the same.
            return None, None


def _label(number: int, hdu: fits.ImageHDU) -> str:
    return f"HDU {number}" + (f" ({hdu.name})" if hdu.name else "")


def _size(hdu: fits.ImageHDU) -> str:
    return " " + " x ".join(map(str, hdu.shape[::-1])) if hdu.is_image and hdu.shape else ""
