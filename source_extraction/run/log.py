"""What a run says: a line per step on standard output, and a progress bar for a person at a terminal."""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Controls, and formats such as those that turn the direction of writing; halves of pairs, which no encoding has.
HARMFUL = frozenset({"Cc", "Cf", "Cs"})
# Those join letters, in emoji and in the scripts of Persia and India; a tab moves the cursor forward only.
HARMLESS = "\u200c\u200d\t"


def visible(line: str) -> str:
    """A text on one line in which what a terminal would obey is shown escaped, as \\x1b: names come from strangers."""
    line = " ".join(line.splitlines())
    if line.isprintable():
        return line
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in HARMFUL and c not in HARMLESS else c
        for c in line
    )


def in_a_sentence(folder: Path) -> str:
    """A folder as the last word of a sentence, whose full stop is no part of its name."""
    if folder == Path():
        return "the current folder"
    return f"{folder}{os.sep}" if str(folder).endswith(".") else str(folder)


class Log:
    """Lines that read as sentences, each with the seconds that its step took; warnings and seconds are kept.

    A `quiet` one says nothing. `steps` are as many as a progress bar counts; with an `estimate` they are alike, and it
    says when the last is done.
    """

    def __init__(self, steps: int = 0, *, quiet: bool = False, estimate: bool = False) -> None:
        self._started = time.perf_counter()
        self._quiet = quiet
        self._bar = None if quiet else _progress_bar(steps, estimate)
        self.warnings: list[str] = []
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, doing: str) -> Iterator[list[str]]:
        """Time a step; the text that it puts into the yielded list is said when it is done."""
        self.show(doing)
        started = time.perf_counter()
        said: list[str] = []
        yield said
        self.tell(doing, " ".join(said), time.perf_counter() - started)

    def expect(self, more: int) -> None:
        """Have the progress bar count so many more steps."""
        if self._bar:
            self._bar.total += more

    def show(self, doing: str) -> None:
        """Have the progress bar say what is being done."""
        if self._bar:
            self._bar.set_description_str(doing)

    def tell(self, doing: str, done: str, seconds: float | None) -> None:
        """Say that a step is done, and how long it took; None where it was done before."""
        if seconds is None:
            self.say(done)
        else:
            self.seconds[doing] = round(seconds, 3)
            self.say(f"{done} ({seconds:.2f} s)")
        if self._bar:
            self._bar.update()

    def say(self, line: str) -> None:
        """Print a line (a name with a line break in it stays one)."""
        if self._quiet:
            return
        if self._bar:
            self._bar.clear()
        print(visible(line), flush=bool(self._bar))

    def warn(self, line: str) -> None:
        """Print a line that the user should act on."""
        self.warnings.append(line)
        self.say(f"Warning: {line}")

    def note(self, line: str) -> None:
        """Print a line that says itself what it warns of, and keep it with the warnings."""
        self.warnings.append(line)
        self.say(line)

    def complain(self, line: str) -> None:
        """Print a line on standard error, of a step that failed."""
        if self._bar:
            self._bar.clear()
        print(visible(line), file=sys.stderr, flush=True)
        if self._bar:
            self._bar.update()

    def close(self) -> None:
        """Take the progress bar off the terminal."""
        if self._bar:
            self._bar.close()

    def finish(self) -> None:
        """Say how long all took."""
        self.say(f"Done in {time.perf_counter() - self._started:.2f} s.")


def _progress_bar(steps: int, estimate: bool) -> Any:
    """A bar on standard error, where a person sees it and tqdm is there to draw it."""
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(
        total=steps,
        leave=False,
        bar_format="{bar:30} {n_fmt}/{total_fmt} " + ("{remaining} left" if estimate else "{desc}"),
    )
