"""What a file is, by its content: Galaxy calls every dataset dataset_1.dat."""

from __future__ import annotations

import bz2
import gzip
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import InputError

FITS_BEGINNING = b"SIMPLE  ="
TIFF_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SIGNATURES = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a zip archive",
    b"\x89HDF": "an HDF5 file",
}


def open_decompressed(path: Path) -> BinaryIO:
    """The file for reading, through gzip or bzip2 where it is compressed."""
    with path.open("rb") as file:
        start = file.read(3)
    if start.startswith(b"\x1f\x8b"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    return cast(BinaryIO, bz2.open(path, "rb")) if start == b"BZh" else path.open("rb")


def beginning_of(path: Path, source: str) -> bytes:
    """The file's first bytes, decompressed; raises InputError where there are none."""
    try:
        with open_decompressed(path) as file:
            beginning = file.read(16)
    except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
        raise InputError(source, f"the compressed file is damaged ({problem})", "fetch it again") from problem
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise InputError(source, f"cannot be read ({reason})", "check the path and its permissions") from problem
    if not beginning:
        raise InputError(source, "the file is empty", "give a FITS or TIFF image")
    return beginning


def kind_of(beginning: bytes) -> str:
    """What a file that is no image for us seems to be."""
    for signature, kind in SIGNATURES.items():
        if beginning.startswith(signature):
            return kind
    return "text" if all(byte >= 32 or byte in b"\t\n\r\f" for byte in beginning) else "a file of another kind"
