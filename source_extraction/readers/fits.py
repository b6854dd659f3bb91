"""FITS -> Image: the first 2-D image of a file, or the one that was asked for."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import math
import mmap
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from astropy.io import fits

from ..core.image import Celestial, Image
from ..errors import InputError
from .content import open_decompressed
from .memory import available_memory, require_memory
from .planes import choose_plane, rows_and_columns

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


class Extension(NamedTuple):
    """What is known of an HDU before its pixels are read; `shape` is () where it holds no image."""

    number: int
    name: str
    shape: tuple[int, ...]

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"HDU {self.number}" + (f" ({self.name})" if self.name else "")

    @property
    def described(self) -> str:
        """Its label and size."""
        return self.label + (f" {' x '.join(map(str, self.shape[::-1]))}" if self.shape else "")

    @property
    def is_flat(self) -> bool:
        """Whether it is one 2-D image."""
        return sum(side > 1 for side in self.shape) <= 2 <= len(self.shape)


def read_fits(path: Path, source: str, hdu: str | None, plane: int | None) -> Image:
    """Read one 2-D image; see `readers.images.read_image`."""
    content = _checked_content(path, source)
    with contextlib.ExitStack() as stack:
        with _damage_is_said(source):
            # uint=False: BLANK is then honoured for unsigned integers as well. astropy cannot scale
            # memory-mapped pixels, and without a map it still reads only the HDU that is asked for.
            hdus = stack.enter_context(fits.open(content, memmap=False, uint=False))
            found = _readable(hdus)
            extensions = [
                Extension(number, str(hdu.name), tuple(hdu.shape) if hdu.is_image and hdu.shape else ())
                for number, hdu in enumerate(found)
            ]
        chosen = choose_extension(extensions, source, hdu, plane)
        return _read(found, extensions, chosen, source, plane)


@contextlib.contextmanager
def _damage_is_said(source: str) -> Iterator[None]:
    """Where astropy's calls are made: it meets damage with every kind of exception (OSError, TypeError, KeyError, ...).

    Its warnings of every card that is not to the letter of the standard are nobody's business.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (InputError, MemoryError):
            raise
        except Exception as problem:
            raise InputError(
                source, f"the FITS file is damaged or truncated ({problem})", "fetch it again"
            ) from problem


def _checked_content(path: Path, source: str) -> Path | io.BytesIO:
    """What astropy is to open: the file, or what is compressed in it.

    A header that claims millions of axes keeps astropy busy for hours, so no header may.
    """
    content: mmap.mmap | bytes
    with _damage_is_said(source), open_decompressed(path) as file:
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


def choose_extension(extensions: list[Extension], source: str, wanted: str | None, plane: int | None) -> Extension:
    """The HDU to read: the one that is wanted, by number or EXTNAME, else the first 2-D image.

    An empty or dummy (2 x 2) primary and cubes are passed over where a 2-D image follows; where a plane is wanted, it
    is that of the first cube.
    """
    if not extensions:
        raise InputError(source, "the FITS file is damaged: its first HDU cannot be read", "fetch it again")
    images = [extension for extension in extensions if extension.shape and 0 not in extension.shape]
    if not images:
        raise InputError(
            source, f"it holds {len(extensions)} HDU(s), none of them an image", "give a FITS file with a 2-D image"
        )
    if wanted is not None:
        return _named(images, source, wanted)
    flat = [extension for extension in images if extension.is_flat]
    cubes = [extension for extension in images if not extension.is_flat and len(extension.shape) > 2]
    if plane is not None:
        return (cubes or images)[0]
    if len(flat) > 1 and flat[0].shape[-2:] == (2, 2):
        return flat[1]
    return (flat or cubes or images)[0]


def _named(images: list[Extension], source: str, wanted: str) -> Extension:
    for extension in images:
        if wanted == str(extension.number) or wanted.strip().upper() == extension.name.upper():
            return extension
    listed = ", ".join(extension.described for extension in images)
    raise InputError(source, f"there is no image HDU {wanted!r}", f"choose one of: {listed}")


def _read(hdus: fits.HDUList, extensions: list[Extension], chosen: Extension, source: str, plane: int | None) -> Image:
    shape, origin = chosen.shape, chosen.label
    planes, rest = rows_and_columns(shape, source, origin)
    size = " x ".join(str(side) for side in shape)
    of_plane = choose_plane(tuple(shape[axis] for axis in planes), plane, source, origin, size)
    index = tuple(dict(zip(planes, of_plane, strict=True)).get(axis, slice(None)) for axis in range(len(shape)))
    axes = [len(shape) - axis for axis in reversed(rest)]
    hdu = hdus[chosen.number]
    with _damage_is_said(source):
        header = hdu.header.copy()  # reading the pixels removes BSCALE, BZERO and BLANK
        stored_type, stored_bytes = _stored_type(header), abs(header["BITPIX"]) // 8
        missing = _missing_bytes(hdu)
    require_memory(source, origin, math.prod(shape[axis] for axis in rest), stored_bytes)
    if missing > 0:
        raise InputError(
            source, f"the FITS file is truncated: {missing} bytes of its pixels are missing", "fetch it again"
        )
    with _damage_is_said(source):
        find_celestial = partial(_celestial, header, None, axes)
        if any(keyword in header for keyword in DISTORTION_TABLES):
            # It needs the tables, while the file is open.
            celestial = _celestial(header, hdus, axes)
            find_celestial = partial(Celestial, *celestial)
        return Image(
            source=source,
            origin=origin,
            stored_type=stored_type,
            pixels=_pixels(hdu, index).reshape([shape[axis] for axis in rest]),
            unit=str(header.get("BUNIT") or "").strip(),
            find_celestial=find_celestial,
            headers=(header, hdus[0].header.copy()),
            others=", ".join(other.described for other in extensions if other.shape and other != chosen),
        )


def _pixels(hdu: Any, index: tuple[int | slice, ...]) -> np.ndarray:
    # section reads (and scales) the plane alone, not the whole cube.
    pixels = hdu.section[index] if any(isinstance(i, int) for i in index) else hdu.data
    if pixels.dtype.isnative:
        return pixels
    # FITS is big-endian; whatever reads other than this machine's order is slow at every step.
    return pixels.byteswap(inplace=pixels.flags.writeable).view(pixels.dtype.newbyteorder("="))


def _missing_bytes(hdu: Any) -> int:
    """How many bytes before the file ends within the pixels; only the padding behind them may be missing."""
    place = hdu.fileinfo()
    if place["file"].compression is not None or isinstance(hdu, fits.CompImageHDU):
        return 0
    return place["datLoc"] + hdu.size - place["file"].size


def _stored_type(header: fits.Header) -> str:
    bits, scale, zero = header["BITPIX"], header.get("BSCALE", 1), header.get("BZERO", 0)
    if scale == 1 and zero == UNSIGNED_ZERO.get(bits):
        return "u" + STORED_TYPES[bits]
    return STORED_TYPES[bits] + (f" scaled by {scale:g} + {zero:g}" if (scale, zero) != (1, 0) else "")


def _celestial(header: fits.Header, hdus: fits.HDUList | None, axes: list[int]) -> Celestial:
    """The celestial WCS of an image's columns and rows.

    `axes` are the FITS numbers of the two axes. They keep their order: some images have the declination first.
    """
    if not any(str(header.get(f"CTYPE{i}", "")).strip() for i in range(1, header.get("NAXIS", 0) + 1)):
        return Celestial()
    from astropy.wcs import WCS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wcs = WCS(header, hdus).sub(axes)
            if not wcs.has_celestial or not np.isfinite(wcs.wcs_pix2world([[0, 0]], 0)).all():
                return Celestial()
            return Celestial(wcs, wcs.to_fits(relax=True))
        except Exception:
            # wcslib and astropy raise a dozen types for unusable keywords; the pixels are good all the same.
            return Celestial()
