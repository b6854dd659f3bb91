"""Work shared among processes that see this one's memory: SEP holds the GIL, so threads could not share it.

A process is forked for each call, with everything in memory at that moment, at no cost; only results are sent back.
Output that all processes write is a shared array (`room`), which has no name and vanishes with the last process. If the
system cannot fork (Windows), one process does all the work.
"""

from __future__ import annotations

import contextlib
import gc
import math
import multiprocessing
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, NoReturn, TypeVar, cast

from ..errors import InputError
from .room import Room

PR_SET_PDEATHSIG = 1  # linux/prctl.h
# How many results each process may hold back while earlier ones are pending, for independent items.
AHEAD = 8

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Up to `number` processes at a time; one means this one. Arrays that they share are allocated in `room`."""

    def __init__(self, number: int, room: Room | None = None) -> None:
        self.number = number if can_fork() else 1
        self.room = room or Room()

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        alongside: Sequence[Callable[[], object]] = (),
    ) -> Iterator[Result]:
        """The results in the order of the items, as they come.

        `alongside` is work for this process while others work; it is skipped if this process does the work itself, so
        no result may depend on it. Raises what the function raises, and InputError if the system kills a process.
        """
        if self.number == 1 or len(items) + len(alongside) < 2:
            return map(function, items)
        return self._map_in_processes(function, items, alongside, None, len(items))

    def map_each(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        ended: Callable[[InputError], Result],
        ahead: int = AHEAD,
    ) -> Generator[Result]:
        """Like `map`, for independent items, none of which is done in this process.

        If the system kills a process, `ended` gives the result of its current item, and another process goes on. At
        most `ahead` results of each process wait for their turn, however slow one item or the consumer is.
        """
        if not can_fork():
            return (function(item) for item in items)
        return self._map_in_processes(function, items, (), ended, ahead * self.number)

    def _map_in_processes(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        alongside: Sequence[Callable[[], object]],
        ended: Callable[[InputError], Result] | None,
        most: int,
    ) -> Generator[Result]:
        """Each process has one item at a time, so that a long one delays no others.

        Not concurrent.futures: it cannot stop a process at work, and multiprocessing.Pool waits forever for one that
        was killed.
        """
        at_work, meanwhile = _AtWork(function, items, ended), iter(alongside)
        results: dict[int, Result] = {}
        try:
            for wanted in range(len(items)):
                last = min(wanted + most, len(items))
                while wanted not in results:
                    at_work.hand_out(last, self.number)
                    for errand in meanwhile:
                        errand()
                    results |= at_work.collect()
                yield results.pop(wanted)
        finally:
            # After an error no result is worth waiting for; after the last result no process is busy.
            at_work.stop()


class EndedError(InputError):
    """The system killed a process."""


class _AtWork(Generic[Item, Result]):
    """The processes working on items, and their progress."""

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        ended: Callable[[InputError], Result] | None,
    ) -> None:
        self._function, self._items, self._ended = function, items, ended
        self._processes: dict[Connection, BaseProcess] = {}
        self._idle: list[Connection] = []
        self._busy: dict[Connection, int] = {}
        self._next = 0

    def hand_out(self, last: int, most: int) -> None:
        """Give the items before `last` to processes, of which there may be `most`."""
        while self._next < last and len(self._busy) < most:
            if not self._idle:
                process, connection = _fork(self._function, self._items, list(self._busy))
                self._processes[connection] = process
                self._idle.append(connection)
            connection = self._idle.pop()
            try:
                _send(connection, self._next)
            except EndedError:
                if self._ended is None:
                    raise
                self._remove(connection)
            else:
                self._busy[connection] = self._next
                self._next += 1

    def collect(self) -> dict[int, Result]:
        """The available results, by item number; waits for the first."""
        found: dict[int, Result] = {}
        for connection in wait(list(self._busy)):
            number = self._busy.pop(cast(Connection, connection))
            try:
                _, found[number] = _receive(cast(Connection, connection))
            except EndedError as problem:
                if self._ended is None:
                    raise
                found[number] = self._ended(problem)
                self._remove(cast(Connection, connection))
            else:
                self._idle.append(cast(Connection, connection))
        return found

    def stop(self) -> None:
        """End all processes."""
        for process in self._processes.values():
            process.kill()  # all at once: the system takes a while to free the memory of each
        for connection in list(self._processes):
            self._remove(connection)

    def _remove(self, connection: Connection) -> None:
        process = self._processes.pop(connection)
        process.kill()
        process.join()
        connection.close()


def isolated(function: Callable[[], Result], died: Callable[[int], Exception], seconds: float | None = None) -> Result:
    """The result of a function run in a process of its own, which it may crash.

    The function's changes to memory stay there, except in a shared array made before. Raises what the function raises,
    or what `died` makes of the number of the signal that ended the process: SIGXCPU if it took more than `seconds` of
    CPU time. If the system cannot fork, the function runs here.
    """
    if not can_fork():
        return function()

    def limited(_: int) -> Result:
        if seconds is not None and sys.platform != "win32":
            import resource

            used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used + seconds), resource.RLIM_INFINITY))
        return function()

    process, connection = _fork(limited, [0], [])
    try:
        connection.send(0)
        _, result, problem = connection.recv()
    except (EOFError, OSError) as gone:
        process.join()
        raise died(-(process.exitcode or 0)) from gone
    finally:
        process.kill()
        process.join()
        connection.close()
    if problem is not None:
        raise problem
    return result


def can_fork() -> bool:
    """Whether this system can make processes that see this one's memory."""
    return "fork" in multiprocessing.get_all_start_methods()


def _fork(
    function: Callable[[Any], Any], items: Sequence[Any], others: Sequence[Connection]
) -> tuple[BaseProcess, Connection]:
    """A process that works on the items whose numbers it is sent; `others` are connections of earlier processes."""
    # Any: type checkers on systems without it do not know it.
    context: Any = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(function, items, theirs, [ours, *others]), daemon=True)
    # Keep existing objects out of the process's garbage collection, which would copy their pages.
    gc.freeze()
    with warnings.catch_warnings():
        # A notebook has threads, of which Python warns: a process that needs a lock held by one of them would wait
        # forever. Ours need only locks of their own.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    gc.unfreeze()
    theirs.close()
    return process, ours


def _send(connection: Connection, number: int) -> None:
    """Send a process the number of its next item."""
    try:
        connection.send(number)
    except OSError as gone:
        raise _ended() from gone


def _receive(connection: Connection) -> tuple[int, Any]:
    """The number of an item and its result; raises what the process raised."""
    try:
        number, result, problem = connection.recv()
    except (EOFError, OSError) as gone:
        raise _ended() from gone
    if problem is not None:
        raise problem
    return number, result


def _ended() -> EndedError:
    return EndedError(
        "source-extractor",
        "one of its processes was ended by the system, most likely because memory ran out",
        "use a machine with more memory, or --threads 1",
    )


def _work(
    function: Callable[[Any], Any], items: Sequence[Any], connection: Connection, of_parent: Sequence[Connection]
) -> NoReturn:
    """The main loop of a process: it ends with its parent, and leaves interruptions to it."""
    for other in of_parent:
        # With a copy of the parent's end open, no process would notice that the parent is gone.
        other.close()
    _end_with_parent()
    # It may have processes of its own (`isolated`), which Python denies to daemonic ones.
    multiprocessing.current_process().daemon = False
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            # Not the parent's handlers, which clean up after it; and SIGXCPU must end a process that computes too long.
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.enable()
    try:
        while True:
            number = connection.recv()
            try:
                answer: tuple[int, Any, Exception | None] = number, function(items[number]), None
            except Exception as problem:
                problem.add_note(traceback.format_exc())
                answer = number, None, problem
            connection.send(answer)
            del answer  # before the next one is made
    except (EOFError, OSError):
        # The parent is gone, and nobody is waiting for an answer.
        os._exit(1)


def _end_with_parent() -> None:
    """Have the system end this process as soon as its parent ends; otherwise it ends when its work is done."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def default_number() -> int:
    """GALAXY_SLOTS, which Galaxy sets for a job, else the number of cores that this process may use."""
    slots = os.environ.get("GALAXY_SLOTS", "")
    if slots.isdecimal() and int(slots) > 0:
        return int(slots)
    # Not every system tells which cores a process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
