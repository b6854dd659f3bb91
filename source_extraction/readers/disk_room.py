"""Room for a run in memory, and on the disk from the first image that does not fit in memory."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from ..core.room import Room
from ..errors import InputError, OutputError
from .memory import UNLIMITED, available_memory, in_use, of_the_address_space

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

# Memory: what an image takes besides its pixels as stored, namely working pixels, segmentation map and what is made
# from these; and what a process takes, namely interpreter, libraries and its current part of the image.
BYTES_A_PIXEL, BYTES_A_PROCESS = 12, 160_000_000
# Disk: the first two, and a mask.
BYTES_A_PIXEL_ON_DISK = 9
# Below this need memory is not checked: that would take longer than reading such an image.
NOT_WORTH_ASKING = 2**24

# Where Linux lists the mounted file systems.
MOUNTS = Path("/proc/self/mountinfo")


class RoomOnDisk(Room):
    """Room that moves to files as soon as an image needs more memory than there is.

    The files are in `folder`, or in the system's temporary folder. They have no name and vanish with the last process;
    the system writes their pages to the disk, and reuses the memory, whenever it needs to. `memory` is the limit for
    all of the `processes` together, in bytes, None for all there is. If writing fails, messages name `what`, the place
    (`called`), and the `remedy`.
    """

    def __init__(
        self,
        folder: Path | None = None,
        memory: int | None = None,
        processes: int = 1,
        *,
        what: str = "the working files",
        called: object = None,
        remedy: str = "choose another --scratch or make room",
    ) -> None:
        self._folder, self._memory, self._processes = folder, memory, processes
        self._what, self._called, self._remedy = what, called, remedy
        self.is_short, self._why = False, ""

    def require(self, source: str, origin: str, pixels: int, bytes_stored: int) -> None:
        need, have = pixels * (bytes_stored + BYTES_A_PIXEL), UNLIMITED
        if need > NOT_WORTH_ASKING:
            have = available_memory()
        if need <= have and self._memory is not None:
            # Forked processes share the pixels, but monitors that add up their memory count them once per process.
            need += pixels * bytes_stored * self._processes
            have = max(self._memory - in_use() - self._processes * BYTES_A_PROCESS, 0)
        if need <= have:
            return
        with self.failures_are_said():
            disk = shutil.disk_usage(self._place).free
        if pixels * (bytes_stored + BYTES_A_PIXEL_ON_DISK) > min(disk, of_the_address_space()):
            raise InputError(
                source,
                f"{origin} claims {pixels} pixels, which need {need / 1e9:.1f} GB of memory; there are "
                f"{have / 1e9:.1f} GB, and {disk / 1e9:.1f} GB on the disk of {self._name}",
                "use a machine with more memory, --scratch with a folder on a larger disk, or cut the image",
            )
        self.is_short, self._why = (
            True,
            f"the image needs {need / 1e9:.1f} GB of memory, and there are {have / 1e9:.1f}",
        )

    def describe(self) -> str:
        if not self.is_short:
            return ""
        memory = ", which is in memory too: --scratch DIR names another" if _is_in_memory(self._place) else ""
        return f"Working arrays: in files on the disk of {self._name}{memory} ({self._why})"

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        return self._in_a_file(shape, dtype) if self.is_short else super().empty(shape, dtype)

    def shared(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        return self._in_a_file(shape, dtype) if self.is_short else super().shared(shape, dtype)

    def _in_a_file(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        number = math.prod(shape)
        size = max(number * np.dtype(dtype).itemsize, 1)
        with self.failures_are_said(), self._unnamed() as file:
            _reserve(file, size)
            try:
                memory = mmap.mmap(file.fileno(), size)
            except OSError as problem:
                raise MemoryError(f"no {size} bytes of address space") from problem
        return np.frombuffer(memory, dtype=dtype, count=number).reshape(shape)

    def file(self) -> BinaryIO:
        # Without a folder the run has no product yet, and its inputs are in memory anyway.
        return super().file() if self._folder is None else self._unnamed()

    @contextlib.contextmanager
    def failures_are_said(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            reason = problem.strerror or str(problem)
            raise OutputError(self._name, f"{self._what} cannot be written ({reason})", self._remedy) from problem

    def _unnamed(self) -> BinaryIO:
        return cast(BinaryIO, tempfile.TemporaryFile(dir=self._place))

    @property
    def _place(self) -> Path:
        return Path(tempfile.gettempdir()) if self._folder is None else self._folder

    @property
    def _name(self) -> object:
        return self._place if self._called is None else self._called


def _is_in_memory(folder: Path) -> bool:
    """Whether the system says that a folder is in memory."""
    if sys.platform == "win32":
        return False
    with contextlib.suppress(OSError, ValueError, IndexError):
        device = os.stat(folder).st_dev
        named = f"{os.major(device)}:{os.minor(device)}"
        for line in MOUNTS.read_text().splitlines():
            mount, _, kind = line.partition(" - ")
            if mount.split()[2] == named:
                return kind.split()[0] in ("tmpfs", "ramfs")
    return False


def _reserve(file: BinaryIO, size: int) -> None:
    """Give a file its full size, in bytes: if the disk filled up later, writing to a page would kill the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)
