"""Files that are complete or raise an error: the bytes written are counted and compared with those on disk."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer


class CountedFile(io.BufferedIOBase):
    """A binary file for writing that tracks its expected length and remembers every error.

    It has no file descriptor: with one, numpy's `tofile` would write through a C stream of its own, and ignore that its
    last bytes do not fit on the disk.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.problem: OSError | None = None

    def write(self, data: Buffer) -> int:
        try:
            number = self._file.write(data)
            self.size = max(self.size, self._file.tell())
        except OSError as problem:
            # Libraries try other ways to write, and some continue silently.
            self.problem = self.problem or problem
            raise
        return number

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        """The buffer is written at the end, where an error is not lost."""

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A new binary file, complete when the block has ended.

    Raises OSError if any of it could not be written. It is not synced to the disk: local file systems reserve space
    when they accept bytes, and network file systems and quotas report errors when a file is closed at the latest.
    Syncing takes as long again on a fast disk, and seconds for a large map on a slow one, and would only protect
    against a power failure.
    """
    with path.open("wb") as file:
        counted = CountedFile(file)
        try:
            yield cast(BinaryIO, counted)
        except Exception:
            # astropy, in computing the free space for its message, fails on a file without a name.
            if counted.problem is not None:
                raise counted.problem from None
            raise
        if counted.problem is not None:
            raise counted.problem
    size = path.stat().st_size
    if size != counted.size:
        raise OSError(errno.EIO, f"{path.name} has {size} of {counted.size} bytes", os.fspath(path))


def write_blocks(file: BinaryIO, blocks: Iterable[Buffer], *, alongside: bool) -> None:
    """Write blocks in their order; if `alongside`, in a thread, while the next one is being made."""
    if not alongside:
        for block in blocks:
            file.write(block)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        written = thread.submit(int)
        for block in blocks:
            written.result()
            written = thread.submit(file.write, block)
        written.result()


@contextmanager
def whole_text(path: Path) -> Iterator[TextIO]:
    """The same for text, which is written unchanged, on every system."""
    with whole(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        try:
            yield text
            text.flush()
        except BaseException:
            # Discard the buffer: closing later, on garbage collection, would raise another error.
            file.close()
            raise
        text.detach()
