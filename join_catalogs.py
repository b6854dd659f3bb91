#!/usr/bin/env python3
"""Join the catalogs of many images: the command line of the Galaxy tool source-extractor: join catalogs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from extraction import __version__
from extraction.command_line import Parser, end_with, execute
from extraction.errors import InputError
from extraction.joining import JOINED_CATALOG, CatalogFile, join_catalogs


def build_parser() -> Parser:
    parser = Parser(
        description=f"Join the catalogs of many images: {JOINED_CATALOG} has a row for every source of every image.",
        allow_abbrev=False,
    )
    parser.add_argument("catalogs", metavar="CATALOG", nargs="*", type=Path, help="catalog.tsv of a run")
    parser.add_argument(
        "--list",
        metavar="FILE",
        type=Path,
        help="text file with more catalogs, a path a line; after a tab what messages call it",
    )
    parser.add_argument("--output_dir", metavar="DIR", type=Path, default=Path("."), help="made where missing")
    parser.add_argument("--version", action="version", version=f"source-extractor {__version__}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit code."""
    return execute(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> None:
    parser = build_parser()
    given = parser.parse_args(arguments)
    catalogs = [CatalogFile(path, str(path)) for path in given.catalogs]
    if given.list:
        catalogs += _listed(given.list)
    if not catalogs:
        parser.error("there is no catalog to join; give one or more")
    join_catalogs(catalogs, given.output_dir)


def _listed(path: Path) -> list[CatalogFile]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(
            path, "the list of catalogs cannot be read", "give a text file with a path a line"
        ) from problem
    catalogs = [line.partition("\t") for line in lines if line.strip()]
    return [CatalogFile(Path(file), name or file) for file, _, name in catalogs]


if __name__ == "__main__":
    end_with(main)
