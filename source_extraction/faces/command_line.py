"""What the programs have in common: exit codes, and errors that are one sentence."""

from __future__ import annotations

import argparse
import gc
import io
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from ..errors import InputError

WRONG_INPUT, WRONG_OPTION = 1, 2
# What a shell reports for a process that a signal ended.
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


class Parser(argparse.ArgumentParser):
    """argparse whose last line is a sentence like every other error's."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(WRONG_OPTION, f"error: {message.removeprefix('argument ')}\n")


def end_with(main: Callable[[], int]) -> NoReturn:
    """Be a process that does nothing else: end with the exit code of `main`."""
    # Its life is too short to search for garbage: a fifth of the time of a small image, while modules are imported and
    # at the end.
    gc.disable()
    code = main()
    gc.freeze()
    sys.exit(code)


def execute(program: Callable[[], None]) -> int:
    """Run a program; the exit code. Input that cannot be used becomes one line on standard error."""
    # An exception, so that what is half made is taken away: batch systems end a job this way.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    for stream in (sys.stdout, sys.stderr):
        # File names need not be valid in the terminal's encoding.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        program()
    except InputError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0
