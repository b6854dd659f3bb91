"""The tasks of run.py: usage where it is asked for, a refusal of what a task does not know; nothing is started."""

import sys
from pathlib import Path

import pytest

import run


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The environments and programs that were asked for, none of which is made or run."""
    asked: list[str] = []
    monkeypatch.setattr(run, "environment", lambda name: asked.append(name) or Path(name))
    monkeypatch.setattr(run, "run", lambda *command: asked.append(" ".join(map(str, command))))
    monkeypatch.setattr(run, "_install_programs", lambda: asked.append("programs"))
    return asked


def exit_code(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
    return run.main()


@pytest.mark.parametrize("task", ["demo", "test", "form", "tables"])
@pytest.mark.parametrize("asked", [("--help",), ("-h",), ("8081", "--help"), ("-h", "--", "-x")], ids=" ".join)
def test_help_after_a_task(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[str],
    task: str,
    asked: tuple[str, ...],
) -> None:
    assert exit_code(monkeypatch, task, *asked) == 0
    assert started == []
    assert f"python3 run.py {task} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("demo", "sky.fits"), "demo takes no 'sky.fits'"),
        (("demo", "--quick"), "demo takes no '--quick'"),
        (("form", "--port"), "form takes the number of a port, from 1 to 65535, and not '--port'"),
        (("form", "8081", "8082"), "and not '8081 8082'"),
        (("form", "0"), "and not '0'"),
        (("form", "65536"), "and not '65536'"),
        (("form", "-1"), "and not '-1'"),
        (("from",), "there is no task 'from'"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_what_a_task_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    assert exit_code(monkeypatch, *arguments) == 2
    assert started == []
    sentence, *usage = capsys.readouterr().err.splitlines()
    assert sentence.startswith("error: ")
    assert said in sentence
    assert "python3 run.py form [PORT]          " in "\n".join(usage)


def test_what_stands_behind_two_dashes_is_for_pytest(monkeypatch: pytest.MonkeyPatch, started: list[str]) -> None:
    exit_code(monkeypatch, "test", "--", "--help")
    assert started[-1].endswith(" -m pytest --help")


def test_ctrl_c_ends_a_task_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "environment", interrupted)
    try:
        assert exit_code(monkeypatch, "tables") == 130
    except KeyboardInterrupt:
        pytest.fail("it would end the tests, too")
