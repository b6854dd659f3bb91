"""A command is watched: its time, the memory of all its processes, and when one core alone is at work."""

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

INTERVAL = 0.02  # seconds
# A thread is at work in an interval if it is on a processor for this share of the time of the one that is longest.
AT_WORK = 0.1


class Watched(NamedTuple):
    """What was seen of a command: `alone` are those of its processor seconds in which one thread alone was at work."""

    seconds: float
    processor_seconds: float
    alone: float
    peak_memory: int  # bytes


def seconds_of(command: list) -> float:
    """The seconds that a command takes, not watched. Ends this program where it fails."""
    started = time.perf_counter()
    _require_success(command, _start(command).wait())
    return time.perf_counter() - started


def watch(command: list, memory_of: Callable[[int], int] | None = None) -> Watched:
    """Run a command and watch all its processes; their memory is that which `memory_of` (`shared_once`) sees.

    To look at the memory slows the command down: for the other numbers, `memory_of` should not.
    """
    before, started = _processor_seconds(), time.perf_counter()
    process = _start(command)
    peak, alone, latest = 0, 0.0, dict[int, float]()
    while process.poll() is None:
        pids = family(process.pid)
        peak = max(peak, sum(map(memory_of or shared_once, pids)))
        used = {thread: _on_processor(pid, thread) for pid in pids for thread in _threads(pid)}
        worked = [seconds - latest.get(thread, 0) for thread, seconds in used.items()]
        at_work = [seconds for seconds in worked if seconds > AT_WORK * max(worked, default=0)]
        alone += at_work[0] if len(at_work) == 1 else 0
        latest = used
        time.sleep(INTERVAL)
    _require_success(command, process.returncode)
    return Watched(time.perf_counter() - started, _processor_seconds() - before, alone, peak)


def _start(command: list) -> subprocess.Popen:
    return subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)


def _require_success(command: list, code: int) -> None:
    if code:
        sys.exit(f"error: {command[0]} ended with {code}")


def _processor_seconds() -> float:
    """Of all processes that were started here and have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    children = _read(pid, f"task/{pid}/children").split()
    return [pid, *(descendant for child in children for descendant in family(int(child)))]


def shared_once(pid: int) -> int:
    """A process's memory, each page divided by the number of processes that share it."""
    return _kilobytes(_read(pid, "smaps_rollup"), "Pss:")


def of_no_file(pid: int) -> int:
    """A process's memory that is of no file; what it has in common with its parent counts as its own, too."""
    return _kilobytes(_read(pid, "status"), "RssAnon:")


def _kilobytes(text: str, name: str) -> int:
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(name))


def _threads(pid: int) -> list[int]:
    """The numbers of a process's threads; none if it has ended."""
    try:
        return [int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []


def _on_processor(pid: int, thread: int) -> float:
    """The seconds that a thread of a process has been on a processor."""
    nanoseconds = _read(pid, f"task/{thread}/schedstat").split()[:1]
    return int(nanoseconds[0]) / 1e9 if nanoseconds else 0.0


def _read(pid: int, name: str) -> str:
    """A file of the system about a process, which may have ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""
