"""Little memory: a result or a sentence. `python -m tests.memory_limits` tries every step."""

from pathlib import Path

import pytest

from tests.memory_limits import MADE, PROGRAMS, REFUSED, ending


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("megabytes", [200, 220, 242, 250, 290, 340, 390, 430])
def test_little_address_space(tmp_path: Path, program: str, megabytes: int) -> None:
    """At 242 MB, OpenBLAS used to look for memory for ever."""
    assert ending(program, megabytes, tmp_path / "out") in (MADE, REFUSED)


@pytest.mark.parametrize("program", PROGRAMS)
def test_enough(tmp_path: Path, program: str) -> None:
    assert ending(program, 1000, tmp_path / "out") == MADE
