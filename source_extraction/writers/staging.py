"""How files appear: under their final names only when all of a run's products are whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError


@contextmanager
def staged(output_dir: Path) -> Iterator[Path]:
    """A folder to write products to; they move to `output_dir` when the block ends well.

    After a failure neither a product nor a folder that was made for it is left.
    Raises InputError where the folder cannot be written; what is written in the block is wrapped in `writing_to`.
    """
    made = [folder for folder in (output_dir, *output_dir.parents) if not folder.exists()]
    folder = None
    try:
        with writing_to(output_dir):
            output_dir.mkdir(parents=True, exist_ok=True)
            # In the same folder, so that moving is a rename.
            folder = Path(tempfile.mkdtemp(prefix=".source-extractor-", dir=output_dir))
        yield folder
        with writing_to(output_dir):
            _move_all(folder, output_dir)
        made = []
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        for empty in made:
            # Only folders of this run, and only where they are empty.
            try:
                empty.rmdir()
            except OSError:
                break


@contextmanager
def writing_to(output_dir: Path) -> Iterator[None]:
    """Raises InputError where something cannot be written, the disk being full included."""
    try:
        yield
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise InputError(
            output_dir, f"the products cannot be written ({reason})", "choose another --output_dir or make room"
        ) from problem


def _move_all(folder: Path, output_dir: Path) -> None:
    moved = []
    try:
        for product in sorted(folder.iterdir()):
            os.replace(product, output_dir / product.name)
            moved.append(output_dir / product.name)
    except OSError:
        for product in moved:
            product.unlink(missing_ok=True)
        raise
