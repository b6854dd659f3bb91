"""Storage for a run's image-sized arrays. Here it is memory; `readers.disk_room` has more when memory runs out."""

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
    """Memory for arrays and text, as much as is requested."""

    is_short = False  # whether memory is short

    def require(self, source: str, origin: str, pixels: int, bytes_stored: int) -> None:
        """Make room for an image of this many pixels, of `bytes_stored` each in its file, and all that is made of it.

        Messages name its `source` and `origin`. Raises InputError if there is not enough room.
        """

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        """An uninitialized array, which this process must fill before forking others that read it."""
        return np.empty(shape, dtype)

    def shared(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        """Zeros that every process forked from now on can read and write."""
        return shared_array(shape, dtype)

    def file(self) -> BinaryIO:
        """An unnamed file for writing and reading back."""
        return io.BytesIO()

    def describe(self) -> str:
        """The log's line on it; "" if all is as usual."""
        return ""

    def failures_are_said(self) -> contextlib.AbstractContextManager[object]:
        """A context for writing a `file`: raises OutputError if that fails."""
        return contextlib.nullcontext()


def shared_array(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Zeros that every process forked from now on can read and write."""
    number = math.prod(shape)
    size = max(number * np.dtype(dtype).itemsize, 1)
    try:
        memory = mmap.mmap(-1, size)
    except OSError as problem:
        raise MemoryError(f"no {size} bytes to share") from problem
    return np.frombuffer(memory, dtype=dtype, count=number).reshape(shape)
