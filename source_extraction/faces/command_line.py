"""What the programs have in common: exit codes, and errors that are one sentence."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .. import __version__
from ..run.log import visible
from .failures import NO_MEMORY, UNUSABLE, WRONG_OPTION, failure
from .streams import Lasting, make_lasting

# What a shell reports for a process that a signal ended.
INTERRUPTED = 128 + signal.SIGINT
# What terminals and batch systems end a job with, or warn it with before they kill it, where the system has it.
ENDING = tuple(
    getattr(signal, name)
    for name in (
        "SIGHUP", "SIGQUIT", "SIGTERM", "SIGXCPU", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO",
        "SIGPWR", "SIGBREAK",
    )
    if hasattr(signal, name)
)  # fmt: skip
DEBUG = "--debug"
EXIT_CODES = (
    "Exit codes: 0 the products are made; 1 the input, the folder or the machine cannot be used, as the line on "
    "standard error says; 2 an option is wrong; 70 a fault of source-extraction itself; 128 + N ended by signal N."
)


class _Known(argparse.Action):
    """A switch that is not an option of a run: `execute` looks for it itself, since parsing may be what fails."""

    def __call__(self, *_: object) -> None:
        """Accept it."""


class Parser(argparse.ArgumentParser):
    """argparse whose last line is a sentence like every other error's, with the switches that all programs have."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(WRONG_OPTION, f"error: {visible(message.removeprefix('argument '))}\n")

    def add_switches(self) -> None:
        """After the program's own options: they say nothing of a run."""
        self.add_argument(
            DEBUG,
            action=_Known,
            nargs=0,
            default=argparse.SUPPRESS,
            help="after an error, show where in the program it happened (the traceback)",
        )
        self.add_argument("--version", action="version", version=f"source-extraction {__version__}")


def end_with(main: Callable[[], int]) -> NoReturn:
    """Be a process that does nothing else: end with the exit code of `main`."""
    # Its life is too short to search for garbage, which takes a good part of the time that modules take to import.
    gc.disable()
    _leave_out_the_user_s_settings()
    output, _ = make_lasting()
    try:
        code = main()
    except SystemExit as asked:
        # --help and --version are answered, or an option is wrong, or a signal came.
        code = asked.code if isinstance(asked.code, int) else 0
        if code == 0 and output.lost:
            code = UNUSABLE
    if output.lost and code in (0, UNUSABLE):
        _say_the_loss(output, code)
    if _is_watched():
        sys.exit(code)
    # All is written. Python would take everything apart first: a thirtieth of the time of a small image.
    os._exit(code)


def _is_watched() -> bool:
    """Whether a profiler, a debugger or the like has something to say at the end."""
    monitoring = getattr(sys, "monitoring", None)
    tools = map(monitoring.get_tool, range(6)) if monitoring else ()
    return any((sys.getprofile(), sys.gettrace(), *tools))


def _say_the_loss(output: Lasting, code: int) -> None:
    """The products were asked for, not what is said on the way to them."""
    made = "what was said is lost; the products are made" if code == 0 else "what was to be said is lost"
    print(f"Warning: standard output is gone ({output.lost}): {made}", file=sys.stderr)


def _leave_out_the_user_s_settings() -> None:
    """What is in the environment for other programs, and would change this one; before the libraries are loaded."""
    # Threads that numpy's linear algebra would start take 30 MB of address space each, and nothing of ours uses them:
    # under `ulimit -v`, OpenBLAS gives up with a message of its own, or spins for ever.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    # Pictures are made without a window, and not within the notebook that a process was started from.
    os.environ["MPLBACKEND"] = "agg"
    # What it says of a matplotlibrc and of folders that cannot be written, which no picture depends on.
    logging.getLogger("matplotlib").setLevel(logging.CRITICAL)
    # An account without a home: libraries look for their settings there and need find none.
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = os.path.join(os.sep, "nonexistent")


def _end(number: int, _: object) -> NoReturn:
    """End by an exception, so that what is half made is taken away, which no second signal disturbs."""
    for another in ENDING:
        signal.signal(another, signal.SIG_IGN)
    sys.exit(128 + number)


def _raise_again(unraisable: Any) -> None:
    """Raise what ends the run a moment later, where Python ignores exceptions: in a finalizer, or around a fork."""
    problem = unraisable.exc_value
    if isinstance(problem, MemoryError):
        return  # it is said where memory runs out otherwise, or does no harm
    if sys.platform == "win32" or not isinstance(problem, SystemExit | KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return

    def end(*_: object) -> NoReturn:
        raise problem

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 0.001)


def execute(program: Callable[[], None], arguments: Sequence[str] | None = None) -> int:
    """Run a program; the exit code. An exception becomes one line on standard error.

    `arguments` are those of the command line, in which --debug may be.
    """
    for number in ENDING:
        # Not those that the caller has this process ignore, as nohup does.
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)
    sys.unraisablehook = _raise_again
    for stream in (sys.stdout, sys.stderr):
        # File names need not be valid in the terminal's encoding.
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")
    try:
        program()
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as problem:
        return _refuse(problem, debug=DEBUG in (sys.argv[1:] if arguments is None else arguments))
    return 0


def _refuse(problem: Exception, *, debug: bool) -> int:
    """Say in one line why there is nothing; the exit code."""
    try:
        if debug:
            lines = "".join(traceback.format_exception(problem)).splitlines()
            print(*map(visible, lines), sep="\n", file=sys.stderr)
        sentence, code = failure(problem)
        print(f"error: {visible(sentence)}", file=sys.stderr)
    except MemoryError:
        print("error: " + NO_MEMORY, file=sys.stderr)
        return UNUSABLE
    return code
