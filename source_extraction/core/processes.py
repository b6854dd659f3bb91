"""Work shared among processes that see this one's memory: SEP holds Python's lock, so threads could not.

A process is forked for each call, with everything that is in memory then, at no cost; only results are sent back. What
all are to write into is a shared array (`room`), which has no name and vanishes with the last process. Where the system
cannot fork (Windows), one process does all.
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
# Results of each process that may wait for those before them, where items have nothing to do with each other.
AHEAD = 8

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Up to `number` processes at a time; one means this one. What they make for each other has its place in `room`."""

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

        `alongside` is what this process does while others work; none of it is done where it works itself, so no result
        may depend on it. Raises what the function raises, and InputError where the system ends a process.
        """
        if self.number == 1 or len(items) < 2:
            return map(function, items)
        return self._map_in_processes(function, items, alongside, None, len(items))

    def map_each(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        ended: Callable[[InputError], Result],
        ahead: int = AHEAD,
    ) -> Generator[Result]:
        """The same of items that have nothing to do with each other, none of them in this process.

        Where the system ends a process, `ended` is the result of the item that it was at, and another process goes on.
        No more than `ahead` results of each process wait for their turn, however slow one item or who takes them is.
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
        """Each process has one item at a time, so that a long one keeps no others waiting.

        Not concurrent.futures: it cannot stop a process at work, and multiprocessing.Pool waits for ever for one that
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
            # After an error nothing is worth waiting for; after the last result none is at work.
            at_work.stop()


class EndedError(InputError):
    """The system has ended a process."""


class _AtWork(Generic[Item, Result]):
    """The processes that work on items, and how far they are."""

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
        """Give items before the `last` to processes, of which there are at `most` so many."""
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
        """The results that are there, by the numbers of their items; waits for the first."""
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
        for connection in list(self._processes):
            self._remove(connection)

    def _remove(self, connection: Connection) -> None:
        process = self._processes.pop(connection)
        process.kill()
        process.join()
        connection.close()


def isolated(function: Callable[[], Result], died: Callable[[int], Exception], seconds: float | None = None) -> Result:
    """The result of a function that runs in a process of its own, which it may bring down.

    What the function does to memory stays there, but for a shared array that was made before. Raises what the
    function raises, and what `died` makes of the number of the signal that ended the process: SIGXCPU where it took
    more than `seconds` of computing. Where the system cannot fork, the function runs here.
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
    """Whether this system makes processes that see what is in memory."""
    return "fork" in multiprocessing.get_all_start_methods()


def _fork(
    function: Callable[[Any], Any], items: Sequence[Any], others: Sequence[Connection]
) -> tuple[BaseProcess, Connection]:
    """A process that works on the items whose numbers it is sent; `others` are the connections to those before it."""
    # Any: type checkers do not know of it where a system has none.
    context: Any = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(function, items, theirs, [ours, *others]), daemon=True)
    # What is there now, the process does not search for garbage: it would copy the pages.
    gc.freeze()
    with warnings.catch_warnings():
        # A notebook has threads, of which Python warns: a process that needs a lock that one of them holds would wait
        # for ever. Ours need none but their own.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    gc.unfreeze()
    theirs.close()
    return process, ours


def _send(connection: Connection, number: int) -> None:
    """Have a process work on an item."""
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
    """What a process does: it ends with its parent, and leaves interruptions to it."""
    for other in of_parent:
        # With a copy of the parent's end, nobody would be told that the parent is gone.
        other.close()
    _end_with_parent()
    # It may have processes of its own (`isolated`), which Python denies those that end with their parent.
    multiprocessing.current_process().daemon = False
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            # The parent's handlers, which clean up after it; and SIGXCPU is to end a process that computes too long.
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
    except (EOFError, OSError):
        # The parent is gone, and with it whoever wanted an answer.
        os._exit(1)


def _end_with_parent() -> None:
    """Have the system end this process at once when its parent ends; else it ends when its work is done."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def default_number() -> int:
    """GALAXY_SLOTS, which Galaxy sets for a job, else the cores that this process may use."""
    slots = os.environ.get("GALAXY_SLOTS", "")
    if slots.isdecimal() and int(slots) > 0:
        return int(slots)
    # Not every system says which cores a process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
