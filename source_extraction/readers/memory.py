"""Whether an image fits into memory, before any of it is allocated."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from ..errors import InputError

# Besides the pixels as stored: working pixels, segmentation map and one map more, 4 bytes each.
BYTES_A_PIXEL = 12
UNLIMITED = 2**63


def require_memory(source: str, origin: str, pixels: int, bytes_stored: int) -> None:
    """Refuse an image of that many pixels, stored in that many bytes each, that memory cannot hold."""
    need, have = pixels * (bytes_stored + BYTES_A_PIXEL), available_memory()
    if need > have:
        raise InputError(
            source,
            f"{origin} claims {pixels} pixels, which need {need / 1e9:.1f} GB of memory; there are {have / 1e9:.1f} GB",
            "use a machine with more memory or cut the image",
        )


def available_memory() -> int:
    """Bytes that this process may still take: of the machine, of its control group, of its own limit."""
    return min(_of_the_machine(), _of_the_control_group(), _of_the_process())


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


def _of_the_control_group() -> int:
    """What a batch system allows (control groups, version 2): its limit less what is in use."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        group = Path("/proc/self/cgroup").read_text().rsplit("::", 1)[1].strip()
        folder = Path("/sys/fs/cgroup") / group.lstrip("/")
        limit = (folder / "memory.max").read_text().strip()
        if limit != "max":
            return int(limit) - int((folder / "memory.current").read_text())
    return UNLIMITED


def _of_the_process() -> int:
    """Its limit of address space."""
    if sys.platform == "win32":
        return UNLIMITED
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft
