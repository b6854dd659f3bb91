"""Locks that the system releases when their holder is gone, however it ended."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

SECONDS_OF_PATIENCE = 5

if sys.platform == "win32":

    def _lock(descriptor: int, *, wait: bool) -> None:
        """Not on this system: it has no locks that end with a process and its children."""
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

else:
    import fcntl

    def _lock(descriptor: int, *, wait: bool) -> None:
        """Lock an open file. Raises BlockingIOError if others hold it, another OSError if nothing can be locked."""
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def this_machine() -> str:
    """Eight digits that identify a machine, as machines may share a folder but not see each other's locks.

    Containers on one machine share its kernel, and its locks.
    """
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        name = platform.node()
    return f"{zlib.crc32(name.encode()):08x}"


def hold(path: Path) -> int | None:
    """Make a file, and lock it as long as its descriptor is open here or in a process forked from this one.

    None if nothing can be locked (Windows, some network file systems); the file is then removed. Raises
    FileNotFoundError if another process removed it before it was locked.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        _lock(descriptor, wait=True)
    except OSError:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        return None
    try:
        path.stat()
    except FileNotFoundError:
        os.close(descriptor)
        raise
    return descriptor


def take_over(path: Path) -> int | None:
    """Lock a file made by another process: None if one holds it, or might.

    Raises FileNotFoundError if there is no such file.
    """
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        raise
    except OSError:
        return None
    try:
        _lock(descriptor, wait=False)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make other runs that also use this wait for as long as it takes to rename some files in a folder.

    The lock is only advisory: a run goes on after some seconds of waiting, since others may lock a folder for their own
    reasons, and not every system can lock one.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        yield
        return
    try:
        _wait_for(descriptor)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int) -> None:
    until = time.monotonic() + SECONDS_OF_PATIENCE
    while time.monotonic() < until:
        try:
            _lock(descriptor, wait=False)
        except BlockingIOError:
            time.sleep(0.005)
        except OSError:
            return
        else:
            return
