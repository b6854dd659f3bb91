"""Catalogs of many images -> one, some rows at a time, so that a survey needs no more memory than an image."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ..errors import InputError
from ..writers.staging import staged, writing_to
from .log import Log

JOINED_CATALOG = "joined_catalog.tsv"
# Every catalog has these: which source of which image a row is.
IDENTITY = ("label", "image")
NOT_THERE = "nan"
ROWS_AT_A_TIME = 50_000
# Text as it is: no field is quoted, and none is taken for missing.
TSV = {"sep": "\t", "quoting": csv.QUOTE_NONE, "lineterminator": "\n", "encoding": "utf-8"}


class CatalogFile(NamedTuple):
    """A file with a catalog, and what messages call it."""

    path: Path
    name: str


class JoinedCatalog(NamedTuple):
    """What was joined: the file, the numbers of its sources and catalogs, its columns, and what one should know."""

    path: Path
    sources: int
    catalogs: int
    columns: list[str]
    warnings: list[str]


def join_catalogs(
    catalogs: Iterable[str | os.PathLike[str]], output_dir: str | os.PathLike[str] = "."
) -> JoinedCatalog:
    """Join the catalogs of many images to one.

    Parameters
    ----------
    catalogs : paths
        Each a catalog.tsv of a run.
    output_dir : path
        Where joined_catalog.tsv goes; made where missing.

    Returns
    -------
    JoinedCatalog
        A tuple of the file's path, the numbers of its sources and of the catalogs, its columns, and warnings.

    Raises
    ------
    InputError
        Where a file is not a whole catalog; nothing is written then.
    """
    given = [CatalogFile(Path(path), os.fspath(path)) for path in catalogs]
    return join(given, Path(output_dir), Log(quiet=True))


def join(catalogs: list[CatalogFile], output_dir: Path, log: Log) -> JoinedCatalog:
    """Write the rows of all catalogs, in their order, to `joined_catalog.tsv` in `output_dir`.

    It has every column that one of them has, in the order in which they appear first, and nan where a catalog
    does not have it.
    """
    if not catalogs:
        raise InputError("catalogs", "there is none to join", "give one or more")
    with closing(log):
        columns = list(dict.fromkeys(column for catalog in catalogs for column in _columns(catalog)))
        with log.step("Joining the catalogs") as said, staged(output_dir) as folder:
            with writing_to(output_dir):
                number = _write(catalogs, columns, folder / JOINED_CATALOG, log)
            said.append(f"Catalogs: {len(catalogs)}, sources: {number}, columns: {len(columns)}")
    log.finish()
    return JoinedCatalog(output_dir / JOINED_CATALOG, number, len(catalogs), columns, log.warnings)


def _write(catalogs: list[CatalogFile], columns: list[str], path: Path, log: Log) -> int:
    """Write the joined catalog; the number of its sources."""
    number = 0
    seen: dict[str, str] = {}
    pd.DataFrame(columns=columns).to_csv(path, index=False, **TSV)
    for catalog in catalogs:
        images: dict[str, None] = {}
        for rows in _rows(catalog):
            rows.reindex(columns=columns, fill_value=NOT_THERE).to_csv(path, mode="a", header=False, index=False, **TSV)
            images |= dict.fromkeys(rows["image"])
            number += len(rows)
        for image in images:
            if image in seen:
                log.warn(
                    f"{seen[image]} and {catalog.name} both have sources of the image {image}; "
                    "image and label do not tell them apart"
                )
            seen[image] = catalog.name
    return number


def _columns(catalog: CatalogFile) -> list[str]:
    first = next(_read(catalog, nrows=1), None)
    columns = [] if first is None else first.iloc[0].tolist()
    if not set(IDENTITY) <= set(columns):
        raise InputError(
            catalog.name,
            "this is no catalog of source-extractor: its first line does not name the columns label and image",
            "give files as its catalog.tsv",
        )
    if len(set(columns)) < len(columns):
        twice = next(column for column in columns if columns.count(column) > 1)
        raise InputError(catalog.name, f"its first line names the column {twice} twice", "make it again")
    return columns


def _rows(catalog: CatalogFile) -> Iterator[pd.DataFrame]:
    """The rows of a catalog, as text, some at a time."""
    columns = _columns(catalog)
    own = len(columns)
    # One field more than there should be; fields that are not there are empty, which none of a catalog is.
    for rows in _read(catalog, skiprows=1, names=range(own + 1), chunksize=ROWS_AT_A_TIME):
        damaged = (rows[own - 1] == "") | (rows[own] != "")
        if damaged.any():
            line = rows[damaged].iloc[0]
            raise _damage(catalog, int(line.name) + 2, int((line != "").sum()), own)
        yield rows.drop(columns=own).set_axis(columns, axis=1)


def _read(catalog: CatalogFile, **options: Any) -> Iterator[pd.DataFrame]:
    """A catalog as text, without its header being one."""
    options = {"chunksize": 1} | options
    try:
        with pd.read_csv(
            catalog.path, header=None, dtype=str, keep_default_na=False, skip_blank_lines=False, **TSV, **options
        ) as parts:
            yield from parts
    except pd.errors.EmptyDataError:
        return
    except OSError as problem:
        raise InputError(catalog.name, f"it cannot be read ({problem.strerror})", "check the path") from problem
    except pd.errors.ParserError as problem:
        if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(problem)):
            expected, line, saw = map(int, found.groups())
            raise _damage(catalog, line, saw, expected - 1) from problem
        raise InputError(catalog.name, "this is not a table of text", "give files as its catalog.tsv") from problem
    except UnicodeDecodeError as problem:
        raise InputError(catalog.name, "this is not a table of text", "give files as its catalog.tsv") from problem


def _damage(catalog: CatalogFile, line: int, fields: int, expected: int) -> InputError:
    return InputError(
        catalog.name,
        f"line {line} has {fields} fields, the first has {expected}",
        "the file is damaged: make it again",
    )
