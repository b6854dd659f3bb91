"""The command line that joins the catalogs of many images; what Galaxy's tool for it calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from .. import __version__
from ..errors import InputError
from .command_line import Parser, end_with, execute


def build_parser() -> Parser:
    parser = Parser(
        description="Join the catalogs of many images: joined_catalog.tsv has a row for every source of every image.",
        allow_abbrev=False,
    )
    parser.add_argument("catalogs", metavar="CATALOG", nargs="*", type=Path, help="catalog.tsv of a run")
    parser.add_argument(
        "--list",
        metavar="FILE",
        type=Path,
        help="text file with more catalogs, one path per line; after a tab what messages call it",
    )
    parser.add_argument("--output_dir", metavar="DIR", type=Path, default=Path("."), help="made where missing")
    parser.add_argument("--version", action="version", version=f"source-extraction {__version__}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit code."""
    return execute(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> None:
    parser = build_parser()
    given = parser.parse_args(arguments)
    if not (given.catalogs or given.list):
        parser.error("there is no catalog to join; give one or more")
    # Late, so that --help and a wrong option are answered at once.
    from ..run.joining import CatalogFile, join
    from ..run.log import Log

    catalogs = [CatalogFile(path, str(path)) for path in given.catalogs]
    if given.list:
        catalogs += [CatalogFile(path, name) for path, name in _listed(given.list)]
    join(catalogs, given.output_dir, Log(steps=1))


def _listed(path: Path) -> list[tuple[Path, str]]:
    """The catalogs that a list names, and what messages call them."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(
            path, "the list of catalogs cannot be read", "give a text file with one path per line"
        ) from problem
    catalogs = [line.partition("\t") for line in lines if line.strip()]
    return [(Path(file), name or file) for file, _, name in catalogs]


def program() -> NoReturn:
    """Be the program `source-extraction-join`."""
    end_with(main)
