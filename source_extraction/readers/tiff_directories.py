"""Whether the directories of a TIFF file are of a size that fits the file, before anything follows them.

A file of 400 kB can name one directory 100,000 times, lead from the last one back to the first, or have thousands of
tags share one long value: whoever follows such a file does not come back. So all that is counted here is bounded by the
size of the file, to which whatever a file truly holds adds up.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import InputError

SUB_DIRECTORIES = 330  # the tag SubIFDs
# The shortest directory of an image has 8 tags; a few more are allowed, for they may be shared.
BYTES_A_DIRECTORY, DIRECTORIES_ALLOWED = 64, 1000
# Values may be shared by directories too, a description for example.
VALUES_ALLOWED, VALUES_TIMES_SIZE = 2**20, 4
TAGS_ALLOWED = 4096  # as tifffile has it
BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@dataclass(frozen=True)
class _Format:
    """How a TIFF file spells its directories."""

    number: struct.Struct  # of tags
    tag: struct.Struct  # code, type, count, value or its position
    offset: struct.Struct


def require_sound_directories(file: BinaryIO, size: int, source: str) -> None:
    """Refuse a file of `size` bytes whose directories never end, or hold more than it can."""
    file.seek(0)
    header = file.read(16)
    order = "<" if header[:2] == b"II" else ">"
    big = header[2:4] in (b"+\0", b"\0+")
    if big:
        layout, first = _Format(*(struct.Struct(order + code) for code in ("Q", "HHQ8s", "Q"))), 8
    else:
        layout, first = _Format(*(struct.Struct(order + code) for code in ("H", "HHI4s", "I"))), 4
    if len(header) < first + layout.offset.size:
        raise InputError(source, "the TIFF file is damaged or truncated (it ends in its header)", "fetch it again")
    _Walk(file, size, source, layout).follow(layout.offset.unpack_from(header, first)[0])


class _Walk:
    def __init__(self, file: BinaryIO, size: int, source: str, layout: _Format) -> None:
        self._file, self._size, self._source, self._format = file, size, source, layout
        self._directories = self._bytes = 0
        self._seen: set[int] = set()

    def follow(self, first: int) -> None:
        """Go through all directories, each once; those below others come when their chain has ended."""
        waiting = [first]
        while waiting:
            offset, chain = waiting.pop(), set[int]()
            while offset and offset < self._size:
                if offset in chain:
                    raise self._damage("its directories lead back to one another")
                chain.add(offset)
                if offset in self._seen:
                    break
                self._seen.add(offset)
                self._count(1)
                offset, below = self._read(offset)
                self._count(len(below))
                waiting += below

    def _read(self, offset: int) -> tuple[int, list[int]]:
        """Where the next directory is (0: there is none), and those that are below this one."""
        spelled = self._format
        self._file.seek(offset)
        beginning = self._file.read(spelled.number.size)
        number = spelled.number.unpack(beginning)[0] if len(beginning) == spelled.number.size else 0
        if not 0 < number <= TAGS_ALLOWED:
            return 0, []
        tags = self._file.read(number * spelled.tag.size + spelled.offset.size)
        self._bytes += len(tags)
        if len(tags) < number * spelled.tag.size + spelled.offset.size:
            return 0, []
        below: list[int] = []
        for code, kind, count, value in spelled.tag.iter_unpack(tags[: -spelled.offset.size]):
            bytes_of_value = count * BYTES_OF_TYPE.get(kind, 0)
            # What reaches beyond the end of the file is not read by tifffile either.
            if len(value) < bytes_of_value <= self._size:
                self._bytes += bytes_of_value
            if code == SUB_DIRECTORIES:
                below += self._offsets(kind, count, value)
        if self._bytes > VALUES_ALLOWED + VALUES_TIMES_SIZE * self._size:
            raise self._damage("its tags hold more than the whole file")
        return spelled.offset.unpack(tags[-spelled.offset.size :])[0], below

    def _offsets(self, kind: int, count: int, value: bytes) -> list[int]:
        """The positions that a tag holds, in itself or elsewhere."""
        code = {4: "I", 13: "I", 16: "Q", 18: "Q"}.get(kind)
        if code is None:
            return []
        self._count(count)
        self._directories -= count
        order = self._format.offset.format[:1]
        item = struct.Struct(order + code)
        if count * item.size > len(value):
            self._file.seek(self._format.offset.unpack(value)[0])
            value = self._file.read(count * item.size)
        return [offset for (offset,) in item.iter_unpack(value[: min(count, len(value) // item.size) * item.size])]

    def _count(self, number: int) -> None:
        self._directories += number
        if self._directories > max(DIRECTORIES_ALLOWED, self._size // BYTES_A_DIRECTORY):
            raise self._damage(
                f"it lists {self._directories} images and more, which {self._size / 1e6:.1f} MB cannot hold"
            )

    def _damage(self, what: str) -> InputError:
        return InputError(self._source, f"the TIFF file is damaged or truncated ({what})", "fetch it again")
