"""Waits end when what they wait for is there, or when nothing has progressed for long: on a clock of the tests' own."""

import itertools
from collections.abc import Iterator

import pytest

from tests.galaxy import waiting
from tests.galaxy.waiting import SECONDS_WITHOUT_PROGRESS, wait_until


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Between two looks at it passes a third of the time after which a wait without progress ends."""
    looks = itertools.count(0, SECONDS_WITHOUT_PROGRESS // 3)
    monkeypatch.setattr(waiting, "monotonic", lambda: next(looks))
    monkeypatch.setattr(waiting, "sleep", lambda interval: None)
    return looks


def test_a_wait_with_progress_may_take_any_time(clock: Iterator[int]) -> None:
    asked, done = itertools.count(), itertools.count()
    wait_until(lambda: next(asked) == 1000, "answer", progress=lambda: next(done))
    assert next(clock) > 300 * SECONDS_WITHOUT_PROGRESS


def test_a_wait_without_progress_ends_and_says_how_far_it_came() -> None:
    done = itertools.chain(("a job", "two jobs"), itertools.repeat("three jobs"))
    said = "no fourth job: 2 steps of progress in 600 s, then none for 900 s, at three jobs"
    with pytest.raises(TimeoutError, match=said):
        wait_until(lambda: False, "fourth job", progress=lambda: next(done))
