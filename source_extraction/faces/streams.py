"""Standard output and standard error as a program finds them: closed, full, or with nobody who reads."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, TextIO, cast


class Lasting:
    """A text stream that a program outlives: once it cannot be written, what is written to it is lost.

    `lost` is why, None as long as it is whole. Everything else is the stream's own.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.lost: str | None = None if stream is not None else "it is closed"

    def write(self, text: str) -> int:
        """Write at once, so that a loss is noticed where it happens and not when processes begin or Python ends."""
        if self._stream is not None and self.lost is None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except UnicodeEncodeError:
                raise
            except (OSError, ValueError) as problem:
                self._lose(self._stream, problem)
        return len(text)

    def flush(self) -> None:
        """Nothing is left to be written."""

    def isatty(self) -> bool:
        """Whether a person sees it."""
        return self._stream is not None and self.lost is None and self._stream.isatty()

    def _lose(self, stream: TextIO, problem: OSError | ValueError) -> None:
        self.lost = getattr(problem, "strerror", None) or str(problem)
        # What the stream still holds goes nowhere, or Python would try to write it again when it ends, and complain.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def make_lasting() -> tuple[Lasting, Lasting]:
    """Have the program outlive its standard output and standard error; the two."""
    _fill_closed_descriptors()
    output, error = Lasting(sys.stdout), Lasting(sys.stderr)
    sys.stdout, sys.stderr = cast(TextIO, output), cast(TextIO, error)
    return output, error


def _fill_closed_descriptors() -> None:
    """The first files that are opened would get their numbers, and whoever prints would write into a product."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # A folder can be opened where there are no devices; writing to it fails, as to what is closed.
            for stand_in in (os.devnull, os.sep):
                with contextlib.suppress(OSError):
                    os.open(stand_in, os.O_RDONLY)
                    break
