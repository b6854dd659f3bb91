"""What becomes of an exception: one sentence that says what failed, and an exit code.

An exit code says whose turn it is: 1 the user's, since the input, the folder or the machine cannot be used as they are;
2 the user's, who gave a wrong option; 70 the maintainers', since it is a bug (EX_SOFTWARE of sysexits.h).
"""

from __future__ import annotations

import errno
import platform
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .. import __version__
from ..errors import InputError

UNUSABLE, WRONG_OPTION, BUG = 1, 2, 70
TRACKER = "https://github.com/esg-epfl-apc/tools-astro/issues"
PACKAGE = Path(__file__).resolve().parents[1]

NO_MEMORY = "memory ran out; use a machine with more memory or give less at once"
# What the machine refuses, whatever was to be read or written then.
MACHINE = {
    errno.EMFILE: "too many files are open in this process; raise its limit (ulimit -n)",
    errno.ENFILE: "too many files are open in this system; close some or ask who maintains it",
    errno.EAGAIN: "no process could be started; use --threads 1 or raise the limit of processes (ulimit -u)",
    errno.ENOMEM: NO_MEMORY,
}
# How libraries say that there is no memory for them, the loader of the system among them.
OF_MEMORY = (
    "failed to map segment",
    "cannot allocate memory",
    "cannot create shared object descriptor",
    "out of memory",
)
# Address space that is left when no library can be loaded any more: the largest takes about as much.
SPENT = 64 * 2**20


class Failure(NamedTuple):
    """How a program ends: what it says after `error:`, and its exit code."""

    sentence: str
    code: int


def failure(problem: Exception) -> Failure:
    """What to say of an exception that ends a program."""
    sentence = _of_the_machine(problem)
    if isinstance(problem, InputError):
        return Failure(sentence or str(problem), UNUSABLE)
    if sentence is None and isinstance(problem, OSError) and problem.strerror:
        where = f"{problem.filename}: " if problem.filename is not None else ""
        sentence = f"{where}the system refuses it ({problem.strerror}); check path, permissions and disk"
    if sentence is None and isinstance(problem, ValueError) and str(problem).startswith("embedded null"):
        sentence = "a name has a NUL character, which no file name can have; check the paths"
    if sentence is None and isinstance(problem, ImportError):
        sentence = f"a library cannot be loaded ({problem}); reinstall source-extraction"
    return Failure(sentence, UNUSABLE) if sentence is not None else Failure(_bug(problem), BUG)


def _of_the_machine(problem: Exception) -> str | None:
    """What the machine lacks, where that is behind an exception, whatever it was taken for on its way."""
    for cause in _chain(problem):
        if isinstance(cause, OSError) and cause.errno in MACHINE:
            return MACHINE[cause.errno]
        if isinstance(cause, OSError) and str(cause.strerror).startswith("No usable temporary directory"):
            return "there is no temporary folder, which pictures need; set TMPDIR to a folder that can be written"
        if isinstance(cause, MemoryError) and not isinstance(problem, InputError):
            return NO_MEMORY
        if isinstance(cause, RuntimeError) and str(cause) == "can't start new thread":
            return MACHINE[errno.EAGAIN]
        if isinstance(cause, ImportError | OSError) and any(sign in str(cause).lower() for sign in OF_MEMORY):
            return NO_MEMORY
    # A library without memory fails in ways of its own.
    return NO_MEMORY if not isinstance(problem, InputError) and _address_space_is_spent() else None


def _chain(problem: BaseException) -> Iterator[BaseException]:
    """An exception and what led to it."""
    seen: set[int] = set()
    following: BaseException | None = problem
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _address_space_is_spent() -> bool:
    """Whether this process had almost as much as `ulimit -v` allows it."""
    if sys.platform == "win32":
        return False
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmPeak:")) * 1024
    except (ImportError, OSError, StopIteration, AttributeError):
        return False
    return limit != resource.RLIM_INFINITY and peak > limit - SPENT


def _bug(problem: Exception) -> str:
    met = f"{type(problem).__name__}: {problem}{_where(problem)}"
    return (
        f"this is a fault of source-extraction and not of the input: {met}; "
        f"please report this line, the options and, if you may, the image at {TRACKER} "
        f"(source-extraction {__version__}, Python {platform.python_version()}; --debug shows the traceback)"
    )


def _where(problem: Exception) -> str:
    """The last line of ours that an exception passed."""
    ours = [
        f"{Path(frame.filename).relative_to(PACKAGE)}:{frame.lineno}"
        for frame in traceback.extract_tb(problem.__traceback__)
        if Path(frame.filename).is_relative_to(PACKAGE)
    ]
    return f" ({ours[-1]})" if ours else ""
