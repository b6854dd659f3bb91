"""Where a run has what is as large as an image. Here it is memory; `readers.disk_room` has more where that ends."""

from __future__ import annotations

import contextlib
import io
import math
import mmap
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class Room:
    """Memory for arrays and text, as much as is asked for."""

    is_short = False  # of memory

    def require(self, source: str, origin: str, pixels: int, bytes_stored: int) -> None:
        """Make room for an image of so many pixels, stored in so many bytes each, and all that is made of it.

        Messages call it `source` and what is in that `origin`. Raises InputError where there is none.
        """

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        """An array with anything in it, for this process to fill before others are forked that read it."""
        return np.empty(shape, dtype)

    def shared(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        """Zeros that every process forked from now on reads and writes."""
        return shared_array(shape, dtype)

    def file(self) -> BinaryIO:
        """A file without a name, to write to and to read again."""
        return io.BytesIO()

    def describe(self) -> str:
        """What the log should say of it; "" where it is as usual."""
        return ""

    def failures_are_said(self) -> contextlib.AbstractContextManager[object]:
        """Where a `file` is written: raises OutputError where it cannot be."""
        return contextlib.nullcontext()


def shared_array(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Zeros that every process forked from now on reads and writes."""
    number = math.prod(shape)
    size = max(number * np.dtype(dtype).itemsize, 1)
    try:
        memory = mmap.mmap(-1, size)
    except OSError as problem:
        raise MemoryError(f"no {size} bytes to share") from problem
    return np.frombuffer(memory, dtype=dtype, count=number).reshape(shape)
