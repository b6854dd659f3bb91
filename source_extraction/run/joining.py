"""Catalogs of many images -> one, some rows at a time, so that a survey needs no more memory than one image."""

from __future__ import annotations

import csv
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.columns import NAME_COLUMN, NOT_A_NUMBER
from ..errors import InputError, counted
from ..writers.staging import staged, writing_to
from ..writers.whole import whole_text
from .advice_table import ADVICE_TABLE, write_advice
from .lines import TextFile, lines_of, require_several
from .log import Log

if TYPE_CHECKING:
    import pandas as pd

JOINED_CATALOG = "joined_catalog.tsv"
# Every catalog has these: they identify the source and its image.
IDENTITY = ("label", NAME_COLUMN.name)
# Written as it is: no field is quoted.
TSV: dict[str, Any] = {"sep": "\t", "quoting": csv.QUOTE_NONE, "lineterminator": "\n"}
# The number of fields in memory at once.
FIELDS_AT_A_TIME = 500_000


class JoinedCatalog(NamedTuple):
    """The result of `join_catalogs`.

    Parameters
    ----------
    path : pathlib.Path
        The joined catalog.
    sources : int
        The number of its rows.
    catalogs : int
        The number of catalogs that were joined.
    columns : list of str
        The names of its columns.
    warnings : list of str
        The warnings to act on, one sentence each.
    """

    path: Path
    sources: int
    catalogs: int
    columns: list[str]
    warnings: list[str]


def join_catalogs(
    catalogs: Iterable[str | os.PathLike[str]], output_dir: str | os.PathLike[str] = "."
) -> JoinedCatalog:
    """Join the catalogs of many images into one.

    Parameters
    ----------
    catalogs : paths
        The catalog.tsv of each run.
    output_dir : path
        Folder for joined_catalog.tsv; created if missing.

    Returns
    -------
    JoinedCatalog
        A tuple of the file's path, the numbers of its sources and of the catalogs, its columns, and warnings.

    Raises
    ------
    InputError
        If a file is not a whole catalog, or would be overwritten; then nothing is written.
    """
    require_several("catalogs", catalogs)
    given = [TextFile(Path(path), os.fspath(path)) for path in catalogs]
    return join(given, Path(output_dir), Log(quiet=True))


def join(
    catalogs: list[TextFile],
    output_dir: Path,
    log: Log,
    lists: Iterable[Path] = (),
    summaries: Sequence[TextFile] = (),
) -> JoinedCatalog:
    """Write the rows of all catalogs, in their order, to `joined_catalog.tsv` in `output_dir`.

    It must not overwrite any catalog or any of the `lists` that name them. If there are `summaries` of the runs,
    `advice.tsv` is written too.

    It has every column that any of them has, in order of first appearance (but `image` stays last if it is the last one
    of all), and NaN where a catalog lacks the column.
    """
    if not catalogs:
        raise InputError("catalogs", "there is none to join", "give one or more")
    with closing(log):
        opened = [_Catalog(catalog) for catalog in catalogs]
        columns = list(dict.fromkeys(column for catalog in opened for column in catalog.columns))
        if all(catalog.columns[-1] == NAME_COLUMN.name for catalog in opened):
            columns.sort(key=NAME_COLUMN.name.__eq__)  # stays the last one
        inputs = {file.path: file.name for file in (*catalogs, *summaries)} | {path: str(path) for path in lists}
        products = [JOINED_CATALOG, *([ADVICE_TABLE] if summaries else [])]
        with log.step("Joining the catalogs") as said, staged(output_dir, products, inputs) as folder:
            with writing_to(output_dir):
                number = _write(opened, columns, folder / JOINED_CATALOG, log)
                if summaries:
                    write_advice(folder / ADVICE_TABLE, summaries)
            said.append(f"Catalogs: {len(catalogs)}, sources: {number}, columns: {len(columns)}")
    log.finish()
    return JoinedCatalog(output_dir / JOINED_CATALOG, number, len(catalogs), columns, log.warnings)


class _Catalog:
    """A catalog with known columns; its rows are read on demand."""

    def __init__(self, file: TextFile) -> None:
        self.file = file
        # A pipe can be read only once.
        self._content = None if _can_be_read_again(file) else _content(file)
        self.columns = _columns(file, next(lines_of(file, self._content), "").split("\t"))

    def tables(self) -> Iterator[pd.DataFrame]:
        """The rows, as text, some at a time."""
        import pandas as pd

        rows, some = self._rows(), max(1, FIELDS_AT_A_TIME // len(self.columns))
        while table := list(islice(rows, some)):
            yield pd.DataFrame(table, columns=self.columns, dtype=object)

    def _rows(self) -> Iterator[list[str]]:
        """The fields of every row. Not by pandas: it cuts fields at a NUL, and does not report the number per line."""
        lines, own = lines_of(self.file, self._content), len(self.columns)
        next(lines, None)
        for number, line in enumerate(lines, start=2):
            fields = line.split("\t") if line else []
            if len(fields) != own:
                raise InputError(
                    self.file.name,
                    f"line {number} has {counted(len(fields), 'field', 'fields')}, the first has {own}",
                    "the file is damaged: make it again",
                )
            yield fields


def _write(catalogs: list[_Catalog], columns: list[str], path: Path, log: Log) -> int:
    """Write the joined catalog; returns its number of sources."""
    import pandas as pd

    number = 0
    seen: dict[str, str] = {}
    with whole_text(path) as joined:
        pd.DataFrame(columns=columns).to_csv(joined, index=False, **TSV)
        for catalog in catalogs:
            images: dict[str, None] = {}
            for rows in catalog.tables():
                # Columns that the catalog does not have are NaN.
                rows.reindex(columns=columns, fill_value=NOT_A_NUMBER).to_csv(joined, header=False, index=False, **TSV)
                images |= dict.fromkeys(rows[NAME_COLUMN.name])
                number += len(rows)
            for image in images:
                if image in seen:
                    log.warn(
                        f"{seen[image]} and {catalog.file.name} both have sources of the image {image}; "
                        "image and label do not tell them apart"
                    )
                seen[image] = catalog.file.name
    return number


def _columns(file: TextFile, columns: list[str]) -> list[str]:
    """The columns named in a catalog's first line; raises if it is not a catalog."""
    if not set(IDENTITY) <= set(columns):
        raise InputError(
            file.name,
            "this is not a catalog of source-extractor: its first line does not name the columns label and image",
            "give its catalog.tsv files",
        )
    if len(set(columns)) < len(columns):
        (twice, _), *_ = Counter(columns).most_common(1)
        raise InputError(file.name, f"its first line names the column {twice} twice", "make it again")
    return columns


def _can_be_read_again(file: TextFile) -> bool:
    """Whether it is neither a pipe nor a device; a missing file is noticed when it is read."""
    try:
        return stat.S_ISREG(file.path.stat().st_mode) or file.path.is_dir()
    except (OSError, ValueError):
        return True


def _content(file: TextFile) -> bytes:
    """All that comes through a pipe, line by line, so that anything but text is rejected before it fills the memory."""
    return b"".join(line.encode() + b"\n" for line in lines_of(file))
