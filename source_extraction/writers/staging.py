"""How files appear: under their final names only when all of a run's products are whole.

Until then they are in a hidden folder beside their places. It has a lock, which the system gives back when the run and
its processes are gone: what a killed run leaves is cleared away by the next run into the folder. Hidden folders without
a lock (from where nothing can be locked) say of nobody that it is gone, and are left alone.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from ..errors import InputError, OutputError
from .locks import alone_in, hold, take_over, this_machine
from .moves import MANIFEST, put_back, take_places, undisturbed

PREFIX = ".source-extractor-"
# With the machine that it was made on: stages of this kind have a lock, or somebody is about to make or to remove one.
LOCKED = re.compile(re.escape(PREFIX) + r"[a-z0-9_]{8}-([0-9a-f]{8})")
LOCK = ".lock"
# The locks of other machines may not be seen: their runs are surely over after this time only.
SECONDS_OF_NO_RUN = 7 * 24 * 3600
ATTEMPTS = 100


@contextmanager
def staged(
    output_dir: Path, names: Sequence[str], inputs: Mapping[Path, str], others: Iterable[str] = ()
) -> Iterator[Path]:
    """A folder to write the products of these names to; they move to `output_dir` when the block ends well.

    After a failure everything is as before: products of an earlier run stay, and neither a product nor a folder that
    was made for it is left. Raises InputError where the folder cannot be written, and where a product would take the
    place of one of the `inputs`, of which messages speak by the names given; so would the `others`, which are written
    into folders of `output_dir` in the block. What is written in the block is wrapped in `writing_to`.
    """
    made: list[Path] = []
    stage = None
    try:
        with writing_to(output_dir), undisturbed():
            stage = _make_stage(output_dir, made)
        # Not before: what a killed run had moved is in its place again.
        _refuse_to_overwrite(output_dir, chain(names, others), inputs)
        yield stage.path
        with writing_to(output_dir), undisturbed(), alone_in(output_dir):
            _clear_remains(output_dir)
            take_places(stage.path, output_dir, names)
            made.clear()
            stage.remove()
    finally:
        with undisturbed():
            if stage is not None:
                stage.remove()
            _remove_empty(made)


@contextmanager
def staged_folder(place: Path, stage: Path, names: Sequence[str], inputs: Mapping[Path, str]) -> Iterator[Path]:
    """A folder to write the products of these names to, which becomes the folder `place` when the block ends well.

    `stage` is what `staged` gave for the folder that `place` is to be in. Where `place` is there already, the products
    move into it as those of `staged` do. Raises as that does.
    """
    if place.is_dir():
        with staged(place, names, inputs) as folder:
            yield folder
        return
    draft = stage / place.name
    try:
        with writing_to(place):
            draft.mkdir()
        yield draft
        with writing_to(place):
            draft.rename(place)
    finally:
        # What failed would take room until the end of all others.
        shutil.rmtree(draft, ignore_errors=True)


def settle(output_dir: Path) -> None:
    """Undo what runs have left half moved in a folder that were killed."""
    if _locked_stages(output_dir):
        with writing_to(output_dir), undisturbed(), alone_in(output_dir):
            _clear_remains(output_dir)


@contextmanager
def writing_to(output_dir: Path) -> Iterator[None]:
    """Raises OutputError where something cannot be written, the disk being full included."""
    try:
        yield
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise OutputError(
            output_dir, f"the products cannot be written ({reason})", "choose another --output_dir or make room"
        ) from problem


class _Stage:
    """A hidden folder, and the descriptor that holds its lock."""

    def __init__(self, path: Path, lock: int | None) -> None:
        self.path, self._lock = path, lock

    @classmethod
    def made_in(cls, output_dir: Path) -> _Stage:
        # In the same folder, so that moving is a rename.
        if sys.platform != "win32":
            path = Path(tempfile.mkdtemp(prefix=PREFIX, suffix=f"-{this_machine()}", dir=output_dir))
            lock = hold(path / LOCK)
            if lock is not None:
                return cls(path, lock)
            path.rmdir()
        return cls(Path(tempfile.mkdtemp(prefix=PREFIX, dir=output_dir)), None)

    @classmethod
    def left_in(cls, output_dir: Path) -> Iterator[_Stage]:
        """Those that are surely nobody's."""
        for path in _locked_stages(output_dir):
            with suppress(OSError):
                try:
                    lock = take_over(path / LOCK)
                except FileNotFoundError:
                    # Killed before it was locked, or after all in it was removed. If it was not, another is made.
                    path.rmdir()
                    continue
                if lock is not None:
                    yield cls(path, lock)

    def remove(self) -> None:
        """Remove it, the lock last: whatever is left, the next run knows whose it was.

        With a manifest it stays: products could not be put back, and are in it.
        """
        if not (self.path / MANIFEST).exists():
            with suppress(OSError):
                for path in self.path.iterdir():
                    if path.name != LOCK:
                        _remove(path)
                # In this order: who waits for the lock must not find it, and NFS keeps a file that is open.
                (self.path / LOCK).unlink(missing_ok=True)
                self._release()
                self.path.rmdir()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _make_stage(output_dir: Path, made: list[Path]) -> _Stage:
    """A stage in a folder, which is made where missing; the folders that this takes are added to `made`."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            missing = [folder for folder in (output_dir, *output_dir.parents) if not folder.exists()]
            made += [folder for folder in missing if folder not in made]
            output_dir.mkdir(parents=True, exist_ok=True)
            with alone_in(output_dir):
                _clear_remains(output_dir)
                return _Stage.made_in(output_dir)
        except (FileNotFoundError, FileExistsError):
            # Another run made the folder, failed, and removes it.
            if attempt == ATTEMPTS:
                raise
    raise AssertionError


def _clear_remains(output_dir: Path) -> None:
    """Undo what runs have left half moved that were killed, and remove their stages."""
    for stage in _Stage.left_in(output_dir):
        try:
            put_back(stage.path, output_dir)
        finally:
            stage.remove()


def _locked_stages(output_dir: Path) -> list[Path]:
    """Hidden folders of this user that have a lock, made on this machine or long ago."""
    if sys.platform == "win32":
        return []
    found = []
    with suppress(OSError), os.scandir(output_dir) as entries:
        for entry in entries:
            named = LOCKED.fullmatch(entry.name)
            if named and entry.is_dir(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                ours = named[1] == this_machine() or time.time() - status.st_mtime > SECONDS_OF_NO_RUN
                if ours and status.st_uid == os.geteuid():
                    found.append(Path(entry.path))
    return found


def _refuse_to_overwrite(output_dir: Path, names: Iterable[str], inputs: Mapping[Path, str]) -> None:
    """Raises InputError where a product would take the place of an input, by whatever name or link it was given."""
    called_by: dict[tuple[int, int], str] = {}
    for path, called in inputs.items():
        with suppress(OSError, ValueError):
            status = os.stat(path)
            called_by[status.st_dev, status.st_ino] = called
    for name in names:
        with suppress(OSError):
            place = output_dir / name
            status = os.stat(place)
            if (identity := (status.st_dev, status.st_ino)) in called_by:
                raise InputError(
                    called_by[identity],
                    f"the product {place} would overwrite it",
                    "choose another --output_dir, or leave it out",
                )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _remove_empty(made: list[Path]) -> None:
    """Remove folders of this run, where they are empty."""
    for folder in sorted(made, key=lambda folder: len(folder.parts), reverse=True):
        try:
            folder.rmdir()
        except OSError:
            break
