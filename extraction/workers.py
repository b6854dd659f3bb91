"""Work shared among processes that see this one's memory: SEP holds Python's lock, so threads could not.

A process is forked for each call, with everything that is in memory then, at no cost; only results are sent back. What
all are to write into is a `shared_array`, which has no name and vanishes with the last process.
"""

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from .errors import InputError

PR_SET_PDEATHSIG = 1  # linux/prctl.h

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """So many processes at a time; one means this one."""

    def __init__(self, number: int) -> None:
        self.number = number

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """The results in the order of the items, as they come.

        Raises what the function raises, and InputError where the system ends a process.
        """
        if self.number == 1 or len(items) < 2:
            yield from map(function, items)
            return
        from concurrent.futures import ProcessPoolExecutor
        from concurrent.futures.process import BrokenProcessPool

        processes = min(self.number, len(items))
        context = multiprocessing.get_context("fork")
        pool = ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(function,))
        try:
            yield from pool.map(_call, items)
        except BrokenProcessPool as problem:
            raise InputError(
                "source-extractor",
                "one of its processes was ended by the system, most likely because memory ran out",
                "use a machine with more memory, or --threads 1",
            ) from problem
        finally:
            # After an error nothing is worth waiting for; after the last result none is at work.
            for process in multiprocessing.active_children():
                process.kill()
            pool.shutdown()


def default_number() -> int:
    """GALAXY_SLOTS, which Galaxy sets for a job, else the cores that this process may use."""
    slots = os.environ.get("GALAXY_SLOTS", "")
    return int(slots) if slots.isdecimal() and int(slots) > 0 else len(os.sched_getaffinity(0))


def shared_array(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Zeros that every process forked from now on reads and writes."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(mmap.mmap(-1, max(size, 1)), dtype=dtype, count=int(np.prod(shape))).reshape(shape)


def _begin(function: Callable[[Any], Any]) -> None:
    """What a new process does first: end with its parent, leave interruptions to it, and keep the function."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _call.function = function


def _call(item: Any) -> Any:
    return _call.function(item)
