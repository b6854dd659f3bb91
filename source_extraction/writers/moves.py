"""Move all products to their places or leave the previous files there, whatever fails or is killed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

# In the stage, beside the products, while they move: the files that they replace, and the list of products.
OLD, MANIFEST = ".old", ".moves"

# Size, and time of the last change in nanoseconds. Not the inode: on some network file systems it changes.
Identity = list[int]


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Delay signals whose handlers raise until the block has ended, which should be soon.

    Not a mask: other threads, of libraries, would receive the signals, and Python would call the handlers here.
    """
    if threading.current_thread() is not threading.main_thread():
        # Handlers only run in the main thread.
        yield
        return
    came: list[int] = []
    handlers = {}
    try:
        for number in signal.valid_signals():
            if callable(handler := signal.getsignal(number)):
                handlers[number] = handler
                signal.signal(number, lambda another, _: came.append(another))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for one in came:
            signal.raise_signal(one)


def take_places(stage: Path, target: Path, names: Sequence[str]) -> None:
    """Move the files with these names from a stage to a folder.

    Raises OSError if one of them cannot be moved; everything is then as it was before.
    """
    for name in names:
        if (target / name).is_dir() and not (target / name).is_symlink():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(target / name))
    (stage / OLD).mkdir(exist_ok=True)
    _write_manifest(stage, names)
    try:
        for name in names:
            _take_place(stage, target, name)
        # This removes the way back: from here on the new files stay.
        (stage / MANIFEST).unlink()
    except BaseException as problem:
        try:
            put_back(stage, target)
        except OSError as another:
            kept = f"{another.strerror}; what was there before is in {stage / OLD}"
            raise OSError(another.errno, kept, os.fspath(target)) from problem
        raise


def put_back(stage: Path, target: Path) -> None:
    """Undo moves that did not finish, as recorded in the manifest.

    A file that is neither new nor old was put there by someone else since, and stays.
    """
    manifest = _read_manifest(stage)
    for name, identity in reversed(manifest.items()):
        place, old = target / name, stage / OLD / name
        has_moved, there = not os.path.lexists(stage / name), _identity(place)
        if there is None or (has_moved and there == identity):
            if os.path.lexists(old):
                os.replace(old, place)
            else:
                place.unlink(missing_ok=True)
    (stage / MANIFEST).unlink(missing_ok=True)


def _take_place(stage: Path, target: Path, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        _keep(target / name, stage / OLD / name)
    os.replace(stage / name, target / name)


def _keep(place: Path, old: Path) -> None:
    """Keep a file under another name; as a hard link if the system has them, so that it is never missing."""
    try:
        os.link(place, old, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except (OSError, NotImplementedError):
        os.rename(place, old)


def _write_manifest(stage: Path, names: Sequence[str]) -> None:
    manifest = {name: _identity(stage / name) for name in names}
    if missing := [name for name, identity in manifest.items() if identity is None]:
        raise FileNotFoundError(errno.ENOENT, f"{missing[0]} was not made", os.fspath(stage / missing[0]))
    draft = stage / f"{MANIFEST}-draft"
    draft.write_text(json.dumps(manifest), encoding="utf-8")
    os.replace(draft, stage / MANIFEST)


def _read_manifest(stage: Path) -> dict[str, Identity]:
    """The products that were to move, and their identities; empty if no move had begun."""
    try:
        manifest = json.loads((stage / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    # The manifest may have been altered: its names must not lead out of the folders.
    return {name: identity for name, identity in dict(manifest).items() if os.path.basename(name) == name}


def _identity(path: Path) -> Identity | None:
    """What identifies a file among others of its name, even after a move; None if there is no file."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return [status.st_size, status.st_mtime_ns]
