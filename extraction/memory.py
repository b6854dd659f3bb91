"""Whether an image fits into memory, before any of it is allocated."""

from __future__ import annotations

import resource
from pathlib import Path

from .errors import InputError

# Besides the pixels as stored: working pixels, segmentation map and one map more, 4 bytes each.
BYTES_A_PIXEL = 12


def require_memory(source: str, origin: str, pixels: int, bytes_stored: int) -> None:
    """Refuse an image of so many pixels, stored in so many bytes each, that memory cannot hold."""
    need, have = pixels * (bytes_stored + BYTES_A_PIXEL), available_memory()
    if need > have:
        raise InputError(
            source,
            f"{origin} claims {pixels} pixels, which need {need / 1e9:.1f} GB of memory; there are {have / 1e9:.1f} GB",
            "use a machine with more memory or cut the image",
        )


def available_memory() -> int:
    """Bytes that this process may still take: of the machine, of its control group, of its own limit."""
    limits = [_meminfo(), _control_group()]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    return min(limit for limit in limits if limit is not None)


def _meminfo() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 2**63


def _control_group() -> int | None:
    """What a batch system allows (control groups, version 2): its limit less what is in use."""
    try:
        group = Path("/proc/self/cgroup").read_text().rsplit("::", 1)[1].strip()
        folder = Path("/sys/fs/cgroup") / group.lstrip("/")
        limit = (folder / "memory.max").read_text().strip()
        return None if limit == "max" else int(limit) - int((folder / "memory.current").read_text())
    except (OSError, IndexError, ValueError):
        return None
