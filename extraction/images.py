"""A file -> an Image: 2-D pixels, and what the file says about them.

Files are recognised by their content: Galaxy calls every dataset dataset_1.dat.
"""

from __future__ import annotations

import bz2
import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.wcs import WCS


@dataclass
class Image:
    """A 2-D image as its file holds it.

    `pixels` has shape (height, width), row 0 first in the file, any real type, NaN where the file
    says that there is no value.
    """

    source: str  # how messages call the file
    origin: str  # where in the file: "HDU 1 (SCI)", "page 0"
    stored_type: str  # "int16", "float64", ...
    pixels: np.ndarray
    unit: str = ""  # physical unit of the pixels, as the file spells it
    wcs: WCS | None = None  # celestial, 2-D, for pixel positions counted from 0
    wcs_hdus: fits.HDUList | None = None  # the same in FITS: header cards, distortion tables
    rows_from_top: bool = False  # row 0 is the top of the picture (TIFF), not its bottom (FITS)
    others: str = ""  # what else the file holds

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape

    def describe(self) -> str:
        """The file's content in a line: what was taken, and what else there is."""
        height, width = self.shape
        also = f"; also there: {self.others}" if self.others else ""
        return f"{self.source}, {self.origin}, {width} x {height} pixels, {self.stored_type}{also}"


def read_image(path: Path, source: str = "", hdu: str | None = None, plane: int | None = None) -> Image:
    """Read the 2-D image of a FITS or TIFF file.

    `source` is what messages call the file (default: its path); `hdu` a FITS HDU by number or
    EXTNAME, `plane` the index (from 0) of one plane where there are several.
    Raises InputError where the file holds no such image.
    """
    source = source or str(path)
    beginning = _beginning(path, source)
    if not beginning:
        raise InputError(source, "the file is empty", "give a FITS or TIFF image")
    if beginning.startswith(b"SIMPLE  ="):
        from .fits_images import read_fits

        image = read_fits(path, source, hdu, plane)
    elif beginning[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        from .tiff_images import read_tiff

        if hdu is not None:
            raise InputError(source, f"a TIFF file has no HDU {hdu!r}", "leave out --hdu")
        image = read_tiff(path, source, plane)
    else:
        raise InputError(source, f"this is {_kind(beginning)}, not a FITS or TIFF image", "convert it to one of these")
    if image.pixels.dtype.kind not in "biuf":
        raise InputError(
            source, f"its pixels are of type {image.pixels.dtype}, not real numbers", "give an image of real numbers"
        )
    return image


def read_mask(path: Path, maskthresh: float, image: Image) -> np.ndarray:
    """Read the mask of an image: a boolean array of its shape, True where masked.

    Pixels of a boolean mask that are True, of a numeric one that are greater than `maskthresh`
    or NaN, are masked.
    """
    mask = read_image(path)
    if mask.shape != image.shape:
        raise InputError(
            mask.source,
            f"the mask has {mask.shape[1]} x {mask.shape[0]} pixels, the image {image.source} "
            f"{image.shape[1]} x {image.shape[0]}",
            "give a mask of the image's shape",
        )
    # "not (value <= threshold)" rather than ">": NaN marks a pixel too.
    masked = mask.pixels if mask.pixels.dtype == bool else ~(mask.pixels <= maskthresh)
    if masked.all():
        raise InputError(
            mask.source, "the mask leaves no pixel of the image", "masked are the pixels above --maskthresh"
        )
    return masked


def choose_plane(planes: tuple[int, ...], plane: int | None, source: str, origin: str, size: str) -> tuple[int, ...]:
    """The index, in the axes `planes` that come before rows and columns, of the plane that was asked for.

    `plane` counts from 0 with the last axis running fastest; None is the only one there is. `origin` and
    `size` describe the image for the message.
    """
    count = math.prod(planes)
    if plane is None and count > 1:
        raise InputError(
            source, f"{origin} holds {count} planes ({size})", f"choose one with --plane K, K from 0 to {count - 1}"
        )
    if plane is not None and not 0 <= plane < count:
        there = f"it has {count}: --plane 0 to {count - 1}" if count > 1 else "it has one: leave out --plane"
        raise InputError(source, f"there is no plane {plane} in {origin}", there)
    return tuple(int(index) for index in np.unravel_index(plane or 0, planes)) if planes else ()


def open_decompressed(path: Path) -> BinaryIO:
    """The file for reading, through gzip or bzip2 where it is compressed."""
    with path.open("rb") as file:
        start = file.read(3)
    opener = gzip.open if start.startswith(b"\x1f\x8b") else bz2.open if start == b"BZh" else open
    return opener(path, "rb")


def _beginning(path: Path, source: str) -> bytes:
    """The file's first bytes, decompressed."""
    try:
        with open_decompressed(path) as file:
            return file.read(16)
    except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
        raise InputError(source, f"the compressed file is damaged ({problem})", "fetch it again") from problem
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise InputError(source, f"cannot be read ({reason})", "check the path and its permissions") from problem


def _kind(beginning: bytes) -> str:
    """What a file that is no image for us seems to be."""
    signatures = {
        b"\x89PNG": "a PNG picture",
        b"\xff\xd8\xff": "a JPEG picture",
        b"GIF8": "a GIF picture",
        b"%PDF": "a PDF document",
        b"PK\x03\x04": "a zip archive",
        b"\x89HDF": "an HDF5 file",
    }
    for signature, kind in signatures.items():
        if beginning.startswith(signature):
            return kind
    return "text" if all(byte >= 32 or byte in b"\t\n\r\f" for byte in beginning) else "a file of another kind"
