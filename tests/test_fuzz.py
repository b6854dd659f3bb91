"""A short run of the fuzz test; the long one is `python -m tests.fuzz`."""

from tests.fuzz import fuzz


def test_damaged_files() -> None:
    assert fuzz(number=300, seed=7) == []
