"""Files that are whole or an error: what was written is counted, and compared with what the disk has of it."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer


class CountedFile(io.BufferedIOBase):
    """A binary file to write, which knows how long it should be and forgets no error.

    It has no file descriptor: with one, numpy's `tofile` would write through a stream of C of its own, and ignore that
    its last bytes do not fit on the disk.
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
            # Libraries try other ways to write, and some go on without a word.
            self.problem = self.problem or problem
            raise
        return number

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        """What is left is written at the end, where an error is an error."""

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A new file to write bytes to, whole when the block has ended.

    Raises OSError where anything of it could not be written. It is not synced to the disk: local file systems find room
    for bytes when they take them, and network file systems and quotas tell of errors at the latest when a file is
    closed. Syncing takes as long again on a fast disk, and seconds for a large map on a slow one, and would help
    against a loss of power only.
    """
    with path.open("wb") as file:
        counted = CountedFile(file)
        try:
            yield cast(BinaryIO, counted)
        except Exception:
            # astropy, which would say how much room there is, stumbles over a file without a name.
            if counted.problem is not None:
                raise counted.problem from None
            raise
        if counted.problem is not None:
            raise counted.problem
    size = path.stat().st_size
    if size != counted.size:
        raise OSError(errno.EIO, f"{path.name} has {size} of {counted.size} bytes", os.fspath(path))


@contextmanager
def whole_text(path: Path) -> Iterator[TextIO]:
    """The same for text, which is written as it is, on every system."""
    with whole(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        try:
            yield text
            text.flush()
        except BaseException:
            # What it still holds is not worth another error, when Python finds that nobody uses it any more.
            file.close()
            raise
        text.detach()
