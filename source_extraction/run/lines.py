"""Text from users, line by line: tables, and lists of files."""

from __future__ import annotations

import codecs
import io
import os
import select
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..errors import InputError

# No line of a catalog comes near this length; a file without lines is not read to its end.
LONGEST_LINE = 64 * 2**20
# How long a writer may take to open a named pipe.
PATIENCE = 10.0


class TextFile(NamedTuple):
    """A table file: its path, its name in messages, and what it should contain."""

    path: Path
    name: str
    what: str = "it"


def require_several(name: str, given: Any) -> None:
    """Raises InputError if one path was given instead of several: it would be split into letters."""
    if isinstance(given, str | bytes | os.PathLike):
        raise InputError(name, f"{os.fspath(given)!r} is one path", f"give a list: {name}=[...]")


def listed(path: Path, what: str, most: int | None = None) -> list[list[str]]:
    """The tab-separated fields of the lines of a text file that lists `what`; lines without any are skipped.

    Raises InputError if the file cannot be read, or a line has more than `most` fields, not counting empty ones.
    """
    try:
        lines = list(lines_of(TextFile(path, str(path), f"the list of {what}")))
    except InputError as problem:
        raise InputError(path, problem.problem, "give a text file with one path per line") from problem
    found = []
    for number, line in enumerate(lines, start=1):
        fields = line.split("\t")
        if most is not None and any(field.strip() for field in fields[most:]):
            raise InputError(
                path, f"line {number} has {len(fields)} fields", f"give {most} at most, with tabs between them"
            )
        if line.strip():
            found.append(fields)
    return found


def lines_of(file: TextFile, content: bytes | None = None) -> Iterator[str]:
    """The lines of a text file without their ends and without the byte order mark that Windows editors add."""
    try:
        with _open(file.path) if content is None else io.BytesIO(content) as stream:
            first = True
            while line := stream.readline(LONGEST_LINE):
                if b"\0" in line or len(line) == LONGEST_LINE:
                    raise _no_table(file)
                if first:
                    line, first = line.removeprefix(codecs.BOM_UTF8), False
                yield line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except InputError:
        raise
    except UnicodeDecodeError as problem:
        raise _no_table(file) from problem
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise InputError(file.name, f"{file.what} cannot be read ({reason})", "check the path") from problem


def _no_table(file: TextFile) -> InputError:
    return InputError(file.name, f"{file.what} is not a table of text", "give its catalog.tsv files")


def _open(path: Path) -> BinaryIO:
    """A file to read. A named pipe must be opened for writing by someone; this does not wait forever for that."""
    if sys.platform != "win32" and stat.S_ISFIFO(path.stat().st_mode) and Path(os.path.realpath(path)).exists():
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        ready, _, _ = select.select([descriptor], [], [], PATIENCE)
        if not ready:
            os.close(descriptor)
            raise OSError(None, "it is a pipe, and nobody writes to it")
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    return path.open("rb")
