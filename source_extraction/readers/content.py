"""What a file is, by its content: Galaxy calls every dataset dataset_1.dat.

Every file of the user goes through `opened`, which never waits for ever and never takes more memory than there is.
"""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import io
import os
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from ..errors import InputError
from .memory import available_memory

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
GZIP_BEGINNING, BZIP2_BEGINNING = b"\x1f\x8b", b"BZh"
CHUNK = 2**20  # bytes read or decompressed at a time
SILENCE = 5.0  # seconds without a byte after which a pipe is given up

# Errors of the system that are not the file's fault: what failed, and what to do about it.
FAILURES = {
    errno.EMFILE: ("this process has too many open files", "raise its limit (ulimit -n) or close some"),
    errno.ENFILE: ("the system has too many open files", "try again when it is less busy"),
    errno.ENOMEM: ("the system has no memory left", "use a machine with more memory"),
    errno.EAGAIN: ("no further process could be started", "raise the limit (ulimit -u) or try again later"),
    errno.EIO: ("the disk or network that holds it failed", "try again, or copy the file elsewhere"),
    errno.EINVAL: ("the system cannot read it", "copy it to a file"),
    errno.ENAMETOOLONG: ("its name is too long", "rename it"),
    errno.ELOOP: ("its links lead round in a circle", "give the file itself"),
    errno.EISDIR: ("it is a folder", "give a file"),
}


def opened(path: Path, source: object) -> Path | io.BytesIO:
    """What is to be read of a file: its path, or its content where it comes through a pipe or is compressed.

    A pipe is read once and to its end. Raises InputError where there is nothing to read: no file, a folder, a device, a
    pipe through which nothing comes, damaged compression, or more than memory holds.
    """
    with failures_are_said(source):
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise InputError(source, *FAILURES[errno.EISDIR])
        if stat.S_ISFIFO(mode):
            return _decompressed_or_itself(_through_pipe(path, source), source)
        if not stat.S_ISREG(mode):
            raise InputError(source, "it is a device, not a file", "copy what is to be read to a file")
        with path.open("rb") as file:
            compressed = _is_compressed(file.read(3))
        return _decompressed(path, source) if compressed else path


def open_again(content: Path | io.BytesIO) -> BinaryIO:
    """What `opened` gave, for reading from its beginning."""
    return content.open("rb") if isinstance(content, Path) else io.BytesIO(content.getbuffer())


def size_of(file: BinaryIO) -> int:
    """How many bytes an open file has."""
    return file.seek(0, os.SEEK_END)


def beginning_of(content: Path | io.BytesIO, source: str) -> bytes:
    """The first bytes of what `opened` gave; raises InputError if it is empty."""
    with failures_are_said(source), open_again(content) as file:
        beginning = file.read(16)
    if not beginning:
        raise InputError(source, "the file is empty", "give a FITS or TIFF image")
    return beginning


def kind_of(beginning: bytes) -> str:
    """What a file seems to be that is not an image we can read."""
    for signature, kind in SIGNATURES.items():
        if beginning.startswith(signature):
            return kind
    return "text" if all(byte >= 32 or byte in b"\t\n\r\f" for byte in beginning) else "a file of another kind"


@contextlib.contextmanager
def failures_are_said(source: object) -> Iterator[None]:
    """Where files are opened and read: what the system refuses becomes a sentence that says what failed."""
    try:
        yield
    except InputError:
        raise
    except OSError as problem:
        if problem.errno is None:
            raise  # a library's own, which speaks of the content
        raise failure(problem, source) from problem
    except ValueError as problem:
        if "null" in str(problem):
            raise InputError(source, "its name has a NUL character in it", "check the path") from problem
        raise


def failure(problem: OSError, source: object) -> InputError:
    """What to say of an error of the system."""
    if problem.errno in FAILURES:
        return InputError(source, *FAILURES[problem.errno])
    reason = problem.strerror or str(problem)
    return InputError(source, f"cannot be read ({reason})", "check the path and its permissions")


def _is_compressed(beginning: bytes) -> bool:
    return beginning.startswith((GZIP_BEGINNING, BZIP2_BEGINNING))


def _decompressed_or_itself(content: io.BytesIO, source: object) -> io.BytesIO:
    return _decompressed(content, source) if _is_compressed(bytes(content.getbuffer()[:3])) else content


def _decompressed(compressed: Path | io.BytesIO, source: object) -> io.BytesIO:
    """What a compressed file holds; refused where it and the image made of it would not fit into memory."""
    content, room = io.BytesIO(), _Room(source, "decompressed, it")
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(open_again(compressed))
        packed = raw.read(3).startswith(GZIP_BEGINNING)
        raw.seek(0)
        unpacked = gzip.GzipFile(fileobj=raw) if packed else bz2.BZ2File(raw)
        file = stack.enter_context(cast(io.BufferedReader, unpacked))
        try:
            while part := file.read1(CHUNK):  # what there is, before what lies behind it fails
                content.write(part)
                room.require(content)
        except (EOFError, zlib.error, OSError, ValueError) as problem:
            # gzip and bz2 tell damage by an OSError of their own, which has no number.
            if isinstance(problem, InputError) or getattr(problem, "errno", None) is not None:
                raise
            _say_damage(content, problem, source)
    content.seek(0)
    return content


def _say_damage(content: io.BytesIO, problem: Exception, source: object) -> NoReturn:
    """Of a compressed file; what it held until there says what it is."""
    beginning = bytes(content.getbuffer()[:16])
    reason = "its compressed content ends early" if isinstance(problem, EOFError) else "its compression is broken"
    if beginning.startswith(FITS_BEGINNING):
        what = "the FITS file is damaged or truncated"
    elif beginning[:4] in TIFF_BEGINNINGS:
        what = "the TIFF file is damaged or truncated"
    else:
        what = "the compressed file is damaged"
    raise InputError(source, f"{what} ({reason})", "fetch it again") from problem


def _through_pipe(path: Path, source: object) -> io.BytesIO:
    """All that comes through a pipe.

    It is opened without waiting for a writer: nobody may ever come.
    """
    if sys.platform == "win32":
        raise InputError(source, "it is a pipe", "copy what is to be read to a file")
    import select

    content, room = io.BytesIO(), _Room(source, "what comes through this pipe")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        heard = time.monotonic()
        while True:
            # A hang-up is reported once there was a writer, so that an empty pipe is told from one that has none yet.
            if not waiting.poll(1000 * SILENCE) or time.monotonic() - heard > SILENCE:
                wrong = f"nothing has come through this pipe for {SILENCE:.0f} seconds"
                raise InputError(source, wrong, "give a file, or a program that writes to it")
            with contextlib.suppress(BlockingIOError):
                part = os.read(descriptor, CHUNK)
                if not part:
                    content.seek(0)
                    return content
                content.write(part)
                room.require(content)
                heard = time.monotonic()
    finally:
        os.close(descriptor)


class _Room:
    """How much a content may grow: it and the image made of it are to fit into memory. `what` begins the refusal."""

    def __init__(self, source: object, what: str) -> None:
        self.source, self.what, self.have = source, what, available_memory()

    def require(self, content: io.BytesIO) -> None:
        """Refuse content that has grown too large."""
        if 2 * content.tell() > self.have:
            raise InputError(
                self.source,
                f"{self.what} needs more than {self.have / 1e9:.1f} GB of memory; there are {self.have / 1e9:.1f} GB",
                "use a machine with more memory or cut the image",
            )
