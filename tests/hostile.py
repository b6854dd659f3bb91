"""The tool in a process of its own with limits, for files that mean harm."""

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from source_extraction.faces.source_extractor import main

SECONDS, BYTES = 10, 2**30

# Three sources on a noisy sky.
SHAPE = (60, 72)
SKY = np.random.default_rng(0).normal(100, 5, SHAPE).round().astype(np.float32)
for _x, _y in ((20, 20), (40, 30), (55, 45)):
    SKY[_y - 2 : _y + 3, _x - 2 : _x + 3] += 200


class Ending(NamedTuple):
    """How a run ended: its exit code, that of a signal negative, and what it said."""

    code: int
    said: str

    @property
    def sentence(self) -> str:
        """The last line."""
        return self.said.rstrip("\n").rpartition("\n")[2]

    def assert_orderly(self) -> None:
        """A result or one sentence: no signal, no traceback."""
        assert self.code in (0, 1), self
        assert "Traceback" not in self.said, self.said
        assert self.code == 0 or self.sentence.startswith("error: "), self.said

    def assert_refused(self, sentence: str) -> None:
        """Ended by a sentence with these words in it."""
        self.assert_orderly()
        assert self.code == 1, self.said
        assert sentence in self.sentence


def extract(
    folder: Path,
    image: Path,
    *options: object,
    seconds: int = SECONDS,
    more: int | None = BYTES,
    before: Callable[[], object] = lambda: None,
) -> Ending:
    """Run the tool on an image in a forked process, with the libraries loaded; nothing outlives `seconds`.

    The process may take `more` bytes of address space than this one has; `before` is called in it first.
    """
    return in_child(
        lambda: main([str(image), "--output_dir", str(folder / "out"), "--outputs", "catalog.tsv", *map(str, options)]),
        folder / "log",
        seconds,
        more,
        before,
    )


def in_child(
    function: Callable[[], int],
    log: Path,
    seconds: int = SECONDS,
    more: int | None = BYTES,
    before: Callable[[], object] = lambda: None,
) -> Ending:
    """What a function returns in a forked process, as an exit code, and what it prints."""
    process = os.fork()
    if not process:
        output = log.open("w")
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
        sys.stdout = sys.stderr = output  # pytest has others, which it keeps
        code = 70
        try:
            signal.alarm(seconds)
            if more is not None:
                limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + more
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            before()
            code = function()
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            output.flush()
            os._exit(code)
    _, status = os.waitpid(process, 0)
    return Ending(os.waitstatus_to_exitcode(status), log.read_text(errors="replace"))
