"""Summaries of many images -> a table of the advice for each, which a workflow's report can show."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import InputError
from ..settings import as_cell
from ..writers.whole import whole_text
from .lines import TextFile, lines_of

ADVICE_TABLE = "advice.tsv"
COLUMNS = ("image", "sources", "advice", "seen", "change")
WHAT_TO_GIVE = "give its summary.json files"
# The entry for an image that was not judged, as with --no-advice.
NOT_JUDGED = "not judged"


def write_advice(path: Path, summaries: Iterable[TextFile]) -> None:
    """Write a row for every advice, and one with empty fields for an image that needs none or was not judged.

    Raises InputError if a file is not a run's summary.
    """
    with whole_text(path) as table:
        for row in (COLUMNS, *(row for summary in summaries for row in _rows(summary))):
            # Names come from users: no tab or line break in one may end a field.
            table.write("\t".join(as_cell(" ".join(field.split())) for field in row) + "\n")


def _rows(file: TextFile) -> Iterator[tuple[str, ...]]:
    try:
        summary = json.loads("\n".join(lines_of(file)))
        image = str(summary["image"]["name"]), str(summary["counts"]["sources"])
        advice = summary["advice"]
        given = [(str(each["id"]), str(each["seen"]), _named(each["change"])) for each in advice or ()]
    except InputError as problem:
        raise InputError(file.name, problem.problem, WHAT_TO_GIVE) from problem
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as problem:
        raise InputError(file.name, "this is no summary of source-extractor", WHAT_TO_GIVE) from problem
    for row in given or [("", NOT_JUDGED if advice is None else "", "")]:
        yield *image, *row


def _named(change: dict[str, object]) -> str:
    """Options with their names, which are those of a form, too."""
    return ", ".join(f"{name} = {value}" for name, value in change.items())
