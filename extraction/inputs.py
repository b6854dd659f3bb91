"""A file -> an Image, or a mask for it.

Files are recognised by their content: Galaxy calls every dataset dataset_1.dat.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from .errors import InputError
from .images import Image, open_decompressed, require_same_shape


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
    require_same_shape(mask, image, "mask", "give a mask of the image's shape")
    # "not (value <= threshold)" rather than ">": NaN marks a pixel too.
    masked = mask.pixels if mask.pixels.dtype == bool else ~(mask.pixels <= maskthresh)
    if masked.all():
        raise InputError(
            mask.source, "the mask leaves no pixel of the image", "masked are the pixels above --maskthresh"
        )
    return masked


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
