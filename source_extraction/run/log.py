"""The messages of a run: a line per step on standard output, and a progress bar on a terminal."""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Control and format characters, such as those that reverse the writing direction; lone surrogates, which cannot be
# encoded.
HARMFUL = frozenset({"Cc", "Cf", "Cs"})
# These join letters, in emoji and in the scripts of Persia and India; a tab only moves the cursor forward.
HARMLESS = "\u200c\u200d\t"


def visible(line: str) -> str:
    """A text on one line with terminal control characters escaped, as \\x1b: names may come from untrusted files."""
    line = " ".join(line.splitlines())
    if line.isprintable():
        return line
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in HARMFUL and c not in HARMLESS else c
        for c in line
    )


def in_a_sentence(folder: Path) -> str:
    """A folder as the last word of a sentence, whose full stop is not part of its name."""
    if folder == Path():
        return "the current folder"
    return f"{folder}{os.sep}" if str(folder).endswith(".") else str(folder)


class Log:
    """Log lines, each with the seconds that its step took; warnings and times are kept.

    A `quiet` one prints nothing. `steps` is the number counted by a progress bar; with an `estimate` they are of
    similar length, and the bar shows when the last will be done.
    """

    def __init__(self, steps: int = 0, *, quiet: bool = False, estimate: bool = False) -> None:
        self._started = time.perf_counter()
        self._quiet = quiet
        self._bar = None if quiet else _progress_bar(steps, estimate)
        self.warnings: list[str] = []
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, doing: str) -> Iterator[list[str]]:
        """Time a step; the text appended to the yielded list is logged when it is done."""
        self.show(doing)
        started = time.perf_counter()
        said: list[str] = []
        yield said
        self.tell(doing, " ".join(said), time.perf_counter() - started)

    def expect(self, more: int) -> None:
        """Add more steps to the progress bar."""
        if self._bar:
            self._bar.total += more

    def show(self, doing: str) -> None:
        """Show the current activity in the progress bar."""
        if self._bar:
            self._bar.set_description_str(doing)

    def tell(self, doing: str, done: str, seconds: float | None) -> None:
        """Log that a step is done, with its time; None if it was done earlier."""
        if seconds is None:
            self.say(done)
        else:
            self.seconds[doing] = round(seconds, 3)
            self.say(f"{done} ({seconds:.2f} s)")
        if self._bar:
            self._bar.update()

    def say(self, line: str) -> None:
        """Print a line (any line break inside it is escaped)."""
        if self._quiet:
            return
        if self._bar:
            self._bar.clear()
        print(visible(line), flush=bool(self._bar))

    def warn(self, line: str) -> None:
        """Print a warning that the user should act on."""
        self.warnings.append(line)
        self.say(f"Warning: {line}")

    def note(self, line: str) -> None:
        """Print a line that is already phrased as a warning, and keep it with the warnings."""
        self.warnings.append(line)
        self.say(line)

    def complain(self, line: str) -> None:
        """Print a line about a failed step on standard error."""
        if self._bar:
            self._bar.clear()
        print(visible(line), file=sys.stderr, flush=True)
        if self._bar:
            self._bar.update()

    def close(self) -> None:
        """Remove the progress bar from the terminal."""
        if self._bar:
            self._bar.close()

    def finish(self) -> None:
        """Log the total time."""
        self.say(f"Done in {time.perf_counter() - self._started:.2f} s.")


def _progress_bar(steps: int, estimate: bool) -> Any:
    """A progress bar on standard error, if it is a terminal and tqdm is installed."""
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
