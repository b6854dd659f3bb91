"""How much memory there is: of the machine, of control groups, of the process's own limits."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

UNLIMITED = 2**63
# Where Linux says which control groups a process is in, and shows them.
OWN_GROUPS, ALL_GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
STATUS = Path("/proc/self/status")


def available_memory() -> int:
    """Bytes that this process may still take: of the machine, of its control groups, of its own limits."""
    return max(min(_of_the_machine(), of_the_control_groups(), of_the_process()), 0)


def _of_the_machine() -> int:
    """What the system says is available; where it does not, all that the machine has."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if sys.platform != "win32":
        with contextlib.suppress(OSError, ValueError):
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return UNLIMITED


def of_the_control_groups(own: Path = OWN_GROUPS, everything: Path = ALL_GROUPS) -> int:
    """What a batch system or container allows: the least that is left in this process's groups and in their parents.

    Slurm and Kubernetes set the limit of a parent, whose children say that they have none. `own` names the groups, of
    version 1, 2 or both; `everything` is where they are shown.
    """
    try:
        lines = own.read_text().splitlines()
    except (OSError, ValueError):
        return UNLIMITED
    left = [UNLIMITED]
    for line in lines:
        # number:controllers:path, the controllers being none in version 2.
        _, _, named = line.partition(":")
        controllers, _, group = named.partition(":")
        if not controllers:
            left += [_left_in_version_2(folder) for folder in _up_from(everything, group)]
        elif "memory" in controllers.split(","):
            left += [_left_in_version_1(folder) for folder in _up_from(everything / "memory", group)]
    return min(left)


def _up_from(root: Path, group: str) -> Iterator[Path]:
    """The folders of a group and of its parents, the root included: in a container that is its own group.

    A group that lies outside of what a container sees is spelled with `..`, or is not there: its root is all there is.
    """
    parts = [part for part in group.split("/") if part not in ("", ".", "..")]
    for depth in range(len(parts), -1, -1):
        yield root.joinpath(*parts[:depth])


def _left_in_version_2(folder: Path) -> int:
    limit, used = _number(folder / "memory.max"), _number(folder / "memory.current")
    reclaimable = _statistic(folder / "memory.stat", "inactive_file")
    return _left(limit, used, reclaimable)


def _left_in_version_1(folder: Path) -> int:
    limit, used = _number(folder / "memory.limit_in_bytes"), _number(folder / "memory.usage_in_bytes")
    reclaimable = _statistic(folder / "memory.stat", "total_inactive_file")
    return _left(limit, used, reclaimable)


def _left(limit: int | None, used: int | None, reclaimable: int) -> int:
    """Of a limit; cached files count as used, but the system drops them before it ends a process."""
    return UNLIMITED if limit is None else limit - max((used or 0) - reclaimable, 0)


def _number(path: Path) -> int | None:
    """The number in a file; None where there is no file, or no number in it ("max")."""
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    return None


def _statistic(path: Path, name: str) -> int:
    """The number behind a name in a table of names and numbers; 0 where there is none."""
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            if line.startswith(f"{name} "):
                return int(line.split()[1])
    return 0


def of_the_process() -> int:
    """What is left of its limits of address space and of data."""
    return min(of_the_address_space(), _left_of_the_process("RLIMIT_DATA", "VmData"))


def of_the_address_space() -> int:
    """What is left of its limit of address space, which the files that are mapped into it take too."""
    return _left_of_the_process("RLIMIT_AS", "VmSize")


def _left_of_the_process(limit: str, used: str) -> int:
    if sys.platform == "win32":
        return UNLIMITED
    import resource

    soft, _ = resource.getrlimit(getattr(resource, limit))
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft - _in_use(used)


def in_use() -> int:
    """Bytes of memory that this process has and that are of no file, those that it shares with others included."""
    return _in_use("RssAnon") + _in_use("RssShmem")


def _in_use(name: str) -> int:
    """Bytes of a kind of memory that this process has; 0 where the system does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0
