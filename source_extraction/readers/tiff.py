"""TIFF -> Image: one plane of the first image of a file, bright as large, NaN where it holds nothing.

tifffile and the codecs that it calls run in a process of their own, for the file may come from a stranger: what it does
to them, it does not do to this process. They work on one open file that has no name, and within limits of time and
memory that follow from its size.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import faulthandler
import io
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from ..core.image import Image, Partner, Whence
from ..core.processes import can_fork, default_number, isolated
from ..core.room import Room
from ..errors import InputError
from .tiff_ome import plain
from .tiff_series import DAMAGED, Layout, decode, examine, planes_in
from .tiff_values import brightness

# Limits of the process: a file of 1 MB stays below 10 s and 1 GB, with its pixels (`tiff_series.BYTES_ALLOWED`).
SECONDS, SECONDS_A_MB, SECONDS_A_GB_OF_PIXELS = 3, 1, 10
MEMORY, MEMORY_A_BYTE, MEMORY_A_BYTE_OF_PIXELS, MEMORY_A_WORKER = 200_000_000, 4, 2, 2**27
WORKERS, BYTES_A_WORKER = 8, 2**21
COMPLAINTS_KEPT = 1000

Result = TypeVar("Result")


def read_tiff(
    given: Path | BinaryIO, source: str, plane: int | None, partner: Partner | None = None, room: Room | None = None
) -> Image:
    """Read one 2-D image, of a file or of what a file holds; see `readers.images.read_image`."""
    with given.open("rb") if isinstance(given, Path) else contextlib.nullcontext(given) as file:
        size = file.seek(0, io.SEEK_END)
        layout, remarks = _apart(lambda: examine(_own(file), size, source, plane), source, size, 0, 1)
        if partner is not None:
            partner.require_same_shape(source, layout.shape)
        if partner is not None and not partner.picture:
            layout = dataclasses.replace(layout, meaning=layout.meaning.of_numbers)
        return _read(file, size, source, plane, layout, remarks, room or Room())


def count_planes(given: Path | BinaryIO, source: str) -> int:
    """The number of planes of the image of a file, or of what a file holds."""
    with given.open("rb") if isinstance(given, Path) else contextlib.nullcontext(given) as file:
        size = file.seek(0, io.SEEK_END)
        number, _ = _apart(lambda: planes_in(_own(file), size, source), source, size, 0, 1)
    return number


def _read(
    file: BinaryIO,
    size: int,
    source: str,
    plane: int | None,
    layout: Layout,
    remarks: tuple[str, ...],
    room: Room,
) -> Image:
    room.require(source, "the TIFF image", layout.decoded, layout.dtype.itemsize + layout.meaning.bytes_more)
    workers = max(min(default_number(), WORKERS, size // BYTES_A_WORKER), 1)
    try:
        pixels = room.shared((layout.decoded,), layout.dtype)
        # Nothing is written to it where nothing is missing, and then it takes no memory.
        missing = room.shared((layout.decoded,), bool)
    except OSError as problem:
        raise MemoryError(f"reading {source}") from problem
    (lacking, segments), _ = _apart(
        lambda: decode(_own(file), size, source, plane, workers, pixels, missing), source, size, pixels.nbytes, workers
    )
    gaps = layout.plane_of(missing) if lacking or layout.has_mask else None
    if gaps is not None and gaps.all():
        raise InputError(source, f"{DAMAGED} (it holds none of the pixels of the image)", "fetch it again")
    if lacking:
        remarks = (*remarks, f"{lacking} of {segments} strips or tiles are not in the file: their pixels are missing")
    return Image(
        source=source,
        origin=layout.origin,
        stored_type=str(layout.dtype),
        pixels=brightness(layout.plane_of(pixels), gaps, layout.meaning, room),
        rows_from_top=True,
        others=layout.others,
        whence=Whence(plane=plane or 0),
        projection=layout.projection,
        remarks=(*layout.meaning.remarks(), *remarks),
    )


def _own(file: BinaryIO) -> BinaryIO:
    """The file at its beginning, in this process, whatever was read of it elsewhere."""
    file.seek(0)
    return file


def _apart(
    function: Callable[[], Result], source: str, size: int, pixel_bytes: int, workers: int
) -> tuple[Result, tuple[str, ...]]:
    """What a function makes of a file of that size, in a process of its own; and what tifffile complained of."""
    seconds = SECONDS + SECONDS_A_MB * size / 1e6 + SECONDS_A_GB_OF_PIXELS * pixel_bytes / 1e9
    memory = MEMORY + MEMORY_A_BYTE * size + MEMORY_A_BYTE_OF_PIXELS * pixel_bytes + MEMORY_A_WORKER * workers

    def guarded() -> tuple[Result, tuple[str, ...]]:
        bounded = False
        if can_fork():
            _silence()
            bounded = _limit_memory(memory)
        with _complaints() as complaints, _said(source, bounded), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = function()
        return result, tuple(_remarks(complaints))

    def died(number: int) -> InputError:
        if number == _number("SIGXCPU"):
            return InputError(
                source, "reading the TIFF file takes far longer than files of its size do", "save it again as TIFF"
            )
        if number == _number("SIGKILL"):
            return InputError(
                source,
                "the process that read the TIFF file was killed, as when memory runs out",
                "use a machine with more memory",
            )
        return InputError(source, f"{DAMAGED} (its pixels bring the decoder down)", "fetch it again")

    return isolated(guarded, died, seconds)


def _number(name: str) -> int | None:
    """The number of a signal; not every system has all."""
    found = getattr(signal, name, None)
    return None if found is None else int(found)


@contextlib.contextmanager
def _said(source: str, bounded: bool) -> Iterator[None]:
    """Where tifffile and the codecs are called: they meet damage with every kind of exception.

    Where memory is `bounded` by us, and not by the machine or whoever started the tool, it is the file that takes it.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as problem:
        if not _lacks_memory(problem):
            raise InputError(source, f"{DAMAGED} ({plain(str(problem), 200)})", "fetch it again") from problem
        if not bounded:
            raise MemoryError(f"reading {source}") from problem
        raise InputError(
            source, "reading the TIFF file takes far more memory than files of its size do", "save it again as TIFF"
        ) from problem


def _lacks_memory(problem: Exception) -> bool:
    """Whether it is memory that an exception is for: libraries and threads take some too."""
    return (
        isinstance(problem, MemoryError)
        or (isinstance(problem, OSError) and problem.errno == errno.ENOMEM)
        or (isinstance(problem, ImportError) and "failed to map" in str(problem))
        or (isinstance(problem, RuntimeError) and "start new thread" in str(problem))
    )


def _silence() -> None:
    """What Python, the C library or a codec writes before it dies is not for the user."""
    faulthandler.disable()
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)


def _limit_memory(more: int) -> bool:
    """Let this process take so many bytes more than it has, if not less is left to it; whether that is the limit.

    Only Linux tells what a process has, and keeps to this.
    """
    if sys.platform != "linux":
        return False
    import resource

    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = pages * resource.getpagesize() + more
        if soft == resource.RLIM_INFINITY or limit < soft:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
            return True
    return False


class _Listener(logging.Handler):
    """Keeps what tifffile logs, which else goes to the terminal."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.heard) < COMPLAINTS_KEPT:
            self.heard.append(record.getMessage())


@contextlib.contextmanager
def _complaints() -> Iterator[list[str]]:
    logger, listener = logging.getLogger("tifffile"), _Listener()
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(listener)
    try:
        yield listener.heard
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagate


# What tifffile says, and what it means for the user; "" where it is found out otherwise.
MEANINGS = {
    r"Strip(Offsets|ByteCounts) count|missing (data offset|data ByteCounts|ByteCounts)": "",
    r"circular reference|offset to page|page offset|corrupted tag list": (
        "The list of images in the TIFF file ends in damage: there may have been more"
    ),
    r"(OME|ImageJ|shaped|MMStack|ScanImage) series": (
        "What the TIFF file says of its planes does not fit them: check that the right one was taken"
    ),
}


def _remarks(complaints: list[str]) -> Iterator[str]:
    """What the log should say of complaints, once each."""
    said, tags = set[str](), set[int]()
    for complaint in complaints:
        if tag := re.search(r"TiffTag (\d+)", complaint):
            tags.add(int(tag[1]))
            continue
        known = (text for pattern, text in MEANINGS.items() if re.search(pattern, complaint))
        said.add(next(known, "The TIFF file is not quite in order: check the picture of the image"))
    if tags:
        numbers = ", ".join(map(str, sorted(tags)[:10]))
        yield f"Tags of the TIFF file are damaged and were passed over (number {numbers})"
    yield from sorted(said - {""})
