"""The command line that joins the catalogs of many images; what Galaxy's tool for it calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ..settings import OPTIONS
from .command_line import EXIT_CODES, Parser, end_with, execute


def build_parser() -> Parser:
    parser = Parser(
        description="Join the catalogs of many images: joined_catalog.tsv has one row per source of each image.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    parser.add_argument("catalogs", metavar="CATALOG", nargs="*", type=Path, help="catalog.tsv of a run")
    parser.add_argument(
        "--list",
        metavar="FILE",
        type=Path,
        help="text file with more catalogs, one path per line, optionally followed by a tab and its name in messages",
    )
    parser.add_argument(
        "--summaries",
        metavar="FILE",
        type=Path,
        help="text file that lists the summary.json of these runs in the same way; advice.tsv has the advice on each",
    )
    parser.add_argument("--output_dir", metavar="DIR", type=Path, default=Path("."), help="created if missing")
    parser.add_switches()
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit code."""
    return execute(lambda: _run(arguments), arguments)


def _run(arguments: Sequence[str] | None) -> None:
    parser = build_parser()
    given = parser.parse_args(arguments)
    if not (given.catalogs or given.list):
        parser.error("there is no catalog to join; give one or more")
    output_dir = OPTIONS["output_dir"].check(given.output_dir)
    # Late, so that --help and a wrong option are answered at once.
    from ..run.joining import join
    from ..run.lines import TextFile, listed
    from ..run.log import Log

    catalogs = [TextFile(path, str(path)) for path in given.catalogs]
    lists: list[Path] = []
    summaries: list[TextFile] = []
    for path, what, files in ((given.list, "catalogs", catalogs), (given.summaries, "summaries", summaries)):
        if path:
            lists.append(path)
            files += [TextFile(Path(file), "\t".join(name) or file) for file, *name in listed(path, what)]
    join(catalogs, output_dir, Log(steps=1), lists, summaries)


def program() -> NoReturn:
    """Be the program `source-extraction-join`."""
    end_with(main)
