"""Output files get their final names only once all of a run's products are complete.

Until then they are in a hidden folder beside their destination. The folder has a lock, which the system releases when
the run and its processes are gone: the next run into the same destination cleans up after a killed run. Hidden folders
without a lock (made where nothing can be locked) do not show that their run is gone, and are left alone.
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
# Includes the machine that made it: such stages have a lock, or are just being made or removed.
LOCKED = re.compile(re.escape(PREFIX) + r"[a-z0-9_]{8}-([0-9a-f]{8})")
LOCK = ".lock"
# The locks of other machines may not be visible: their runs count as over only after this time.
SECONDS_OF_NO_RUN = 7 * 24 * 3600
ATTEMPTS = 100


@contextmanager
def staged(
    output_dir: Path, names: Sequence[str], inputs: Mapping[Path, str], others: Iterable[str] = ()
) -> Iterator[Path]:
    """A folder to write the products of these names to; they move to `output_dir` if the block succeeds.

    After a failure everything is as before: products of an earlier run stay, and no product, nor any folder made for
    one, is left. Raises InputError if the folder cannot be written, or if a product would overwrite one of the `inputs`
    (given with their names for messages); the same holds for the `others`, which the block writes into folders of
    `output_dir`. Code that writes in the block is wrapped in `writing_to`.
    """
    made: list[Path] = []
    stage = None
    try:
        with writing_to(output_dir), undisturbed():
            stage = _make_stage(output_dir, made)
        # Only now: the files that a killed run had moved are back in their places.
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
    """A folder to write the products of these names to, which becomes the folder `place` if the block succeeds.

    `stage` is what `staged` gave for the parent folder of `place`. If `place` exists already, the products move into it
    as in `staged`. Raises the same errors.
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
        # A failed draft would otherwise take up space until all others are done.
        shutil.rmtree(draft, ignore_errors=True)


def settle(output_dir: Path) -> None:
    """Undo the half-finished moves of killed runs in a folder."""
    if _locked_stages(output_dir):
        with writing_to(output_dir), undisturbed(), alone_in(output_dir):
            _clear_remains(output_dir)


@contextmanager
def writing_to(output_dir: Path) -> Iterator[None]:
    """Raises OutputError if a write fails, for example because the disk is full."""
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
        """The stages that certainly belong to no running process."""
        for path in _locked_stages(output_dir):
            with suppress(OSError):
                try:
                    lock = take_over(path / LOCK)
                except FileNotFoundError:
                    # Its run was killed before locking it, or after emptying it. If not, that run makes another.
                    path.rmdir()
                    continue
                if lock is not None:
                    yield cls(path, lock)

    def remove(self) -> None:
        """Remove the stage, the lock last: if anything is left, the next run can tell whose it was.

        A stage with a manifest stays: it holds products that could not be put back.
        """
        if not (self.path / MANIFEST).exists():
            with suppress(OSError):
                for path in self.path.iterdir():
                    if path.name != LOCK:
                        _remove(path)
                # In this order: a run that waits for the lock must not find the file, and NFS keeps a file that is
                # open.
                (self.path / LOCK).unlink(missing_ok=True)
                self._release()
                self.path.rmdir()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _make_stage(output_dir: Path, made: list[Path]) -> _Stage:
    """A stage in a folder, which is created if missing; the folders created are added to `made`."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            missing = [folder for folder in (output_dir, *output_dir.parents) if not folder.exists()]
            made += [folder for folder in missing if folder not in made]
            output_dir.mkdir(parents=True, exist_ok=True)
            with alone_in(output_dir):
                _clear_remains(output_dir)
                return _Stage.made_in(output_dir)
        except (FileNotFoundError, FileExistsError):
            # Another run made the folder, failed, and is removing it.
            if attempt == ATTEMPTS:
                raise
    raise AssertionError


def _clear_remains(output_dir: Path) -> None:
    """Undo the half-finished moves of killed runs, and remove their stages."""
    for stage in _Stage.left_in(output_dir):
        try:
            put_back(stage.path, output_dir)
        finally:
            stage.remove()


def _locked_stages(output_dir: Path) -> list[Path]:
    """This user's hidden folders with a lock, made on this machine or long ago."""
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
    """Raises InputError if a product would overwrite an input, by whatever name or link it was given."""
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
    """Remove folders of this run if they are empty."""
    for folder in sorted(made, key=lambda folder: len(folder.parts), reverse=True):
        try:
            folder.rmdir()
        except OSError:
            break
