"""The documents as their readers have them: links, headings, and what they are told to type."""

import io
import re
import shlex
from contextlib import redirect_stdout
from itertools import pairwise
from typing import NamedTuple

import matplotlib

from tests.conftest import REPOSITORY

PATHS = (*sorted(REPOSITORY.glob("*.md")), *sorted(REPOSITORY.glob("docs/*.md")))
PAGES = {str(path.relative_to(REPOSITORY)): path for path in PATHS}
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"^    ((?:source-extraction|python3?)\b.*)$", re.MULTILINE)


class Block(NamedTuple):
    """A block of code: in which language, its text, and the text of the block that shows what it prints, if any."""

    language: str
    text: str
    output: str | None


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page; what a block prints stands in one of the language "text" right below it."""
    found = []
    for one, after in pairwise([*FENCED.finditer(text), None]):
        shown = after is not None and after[2] == "text" and not text[one.end() : after.start()].strip()
        found.append(Block(one[2], one[3], after[3] if shown else None))
    return found


def commands(text: str) -> list[tuple[list[str], str | None]]:
    """The commands of a page, in blocks marked as shell or indented, and what it says that they print."""
    unfenced = FENCED.sub("", text).replace("\\\n", " ")
    typed: list[tuple[list[str], str | None]] = [(shlex.split(line), None) for line in INDENTED.findall(unfenced)]
    for block in blocks(text):
        if block.language == "sh":
            lines = [shlex.split(line) for line in block.text.replace("\\\n", " ").splitlines()]
            typed += [(line, block.output if len(lines) == 1 else None) for line in lines]
    return typed


def links(text: str) -> list[str]:
    """What a page links to or shows."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", FENCED.sub("", text)))


def anchors(text: str) -> set[str]:
    """The names by which the headings of a page can be linked to, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def run_python(text: str) -> list[tuple[str | None, str]]:
    """Run the Python of a page from top to bottom, as a notebook does; what each should print, and what it does."""
    matplotlib.use("agg")  # no window opens
    printed, names = [], {"__name__": "__main__"}
    for block in blocks(text):
        if block.language == "python":
            said = io.StringIO()
            with redirect_stdout(said):
                exec(block.text, names)
            printed.append((block.output, said.getvalue()))
    return printed
