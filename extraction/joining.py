"""Catalogs of many images -> one, a row at a time, so that a survey needs no more memory than an image."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .errors import InputError
from .log import Log
from .staging import staged

JOINED_CATALOG = "joined_catalog.tsv"
# Every catalog has these: which source of which image a row is.
IDENTITY = ("label", "image")
NOT_THERE = "nan"
TSV = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None}


class CatalogFile(NamedTuple):
    """A file with a catalog, and what messages call it."""

    path: Path
    name: str


def join_catalogs(catalogs: list[CatalogFile], output_dir: Path) -> None:
    """Write the rows of all catalogs, in their order, to `joined_catalog.tsv` in `output_dir`.

    It has every column that one of them has, in the order in which they appear first, and nan where a catalog
    does not have it. Raises InputError where a file is not a whole catalog; nothing is written then.
    """
    log = Log(steps=1)
    try:
        columns = list(dict.fromkeys(column for catalog in catalogs for column in _columns(catalog)))
        with log.step("Joining the catalogs") as said, staged(output_dir) as stage:
            number = _join(catalogs, columns, stage / JOINED_CATALOG, log)
            said.append(f"Catalogs: {len(catalogs)}, sources: {number}, columns: {len(columns)}")
    finally:
        log.close()
    log.finish()


def _join(catalogs: list[CatalogFile], columns: list[str], path: Path, log: Log) -> int:
    """Write the joined catalog; the number of its sources."""
    number, seen, image_field = 0, {}, columns.index("image")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n", **TSV)
        writer.writerow(columns)
        for catalog in catalogs:
            images = set()
            for row in _rows(catalog, columns):
                writer.writerow(row)
                images.add(row[image_field])
                number += 1
            for image in images:
                if image in seen:
                    log.warn(
                        f"{seen[image]} and {catalog.name} both have sources of the image {image}; "
                        "image and label do not tell them apart"
                    )
                seen[image] = catalog.name
    return number


def _columns(catalog: CatalogFile) -> list[str]:
    with _reader(catalog) as reader:
        columns = next(reader, [])
    if not set(IDENTITY) <= set(columns):
        raise InputError(
            catalog.name,
            "this is no catalog of source-extractor: its first line does not name the columns label and image",
            "give files as its catalog.tsv",
        )
    return columns


def _rows(catalog: CatalogFile, columns: list[str]) -> Iterator[list[str]]:
    """The rows of a catalog, with a field for every one of `columns`."""
    with _reader(catalog) as reader:
        own = next(reader)
        # What the catalog does not have is taken from the field that is added to every row.
        fields = [own.index(column) if column in own else len(own) for column in columns]
        for row in reader:
            if len(row) != len(own):
                raise InputError(
                    catalog.name,
                    f"line {reader.line_num} has {len(row)} fields, the first has {len(own)}",
                    "the file is damaged: make it again",
                )
            row.append(NOT_THERE)
            yield [row[field] for field in fields]


@contextmanager
def _reader(catalog: CatalogFile) -> Iterator[Iterator[list[str]]]:
    """The lines of a catalog as fields."""
    try:
        with catalog.path.open(encoding="utf-8", newline="") as file:
            yield csv.reader(file, **TSV)
    except OSError as problem:
        raise InputError(catalog.name, f"it cannot be read ({problem.strerror})", "check the path") from problem
    except (UnicodeDecodeError, csv.Error) as problem:
        raise InputError(catalog.name, "this is not a table of text", "give files as its catalog.tsv") from problem
