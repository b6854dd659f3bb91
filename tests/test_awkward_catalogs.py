"""Catalogs as they come to be joined: very wide, from other systems, through pipes, damaged, and no catalogs at all."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from source_extraction import InputError, join_catalogs
from tests.conftest import REPOSITORY

JOIN = REPOSITORY / "join_catalogs.py"
HEADER, ROW = "label\tx\timage\n", "1\t2.5\tsky.fits\n"


def catalog(folder: Path, content: str | bytes, name: str = "catalog.tsv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def joined(*catalogs: object, folder: Path) -> str:
    return join_catalogs(catalogs, folder).path.read_text()


def refusal(*catalogs: object, folder: Path) -> str:
    with pytest.raises(InputError) as refused:
        join_catalogs(catalogs, folder / "out")
    assert not (folder / "out").exists()
    return str(refused.value)


def test_a_hundred_thousand_columns(tmp_path: Path) -> None:
    """In time that grows with their number and not with its square."""
    own = [f"c{number}" for number in range(100_000)]
    values = "\t".join(map(str, range(100_000)))
    wide = catalog(tmp_path, "label\timage\t" + "\t".join(own) + f"\n1\ta\t{values}\n2\ta\t{values}\n")
    others = catalog(tmp_path, "label\timage\t" + "\t".join(own[::-1]) + f"\tz\n1\tb\t{values}\t0\n", "others.tsv")
    started = time.perf_counter()
    lines = joined(wide, others, folder=tmp_path).splitlines()
    assert time.perf_counter() - started < 15
    assert len(lines) == 4
    assert lines[0].split("\t") == ["label", "image", *own, "z"]
    assert lines[1].endswith("\t99999\tNaN")
    assert lines[3].split("\t")[2:] == [*map(str, range(99_999, -1, -1)), "0"]


def test_columns_of_one_name(tmp_path: Path) -> None:
    """None is dropped in silence."""
    twice = catalog(tmp_path, "label\tx\timage\tx\n1\t2\ta\t3\n")
    assert "its first line names the column x twice" in refusal(twice, folder=tmp_path)


def test_byte_order_marks_and_ends_of_lines(tmp_path: Path) -> None:
    """As editors of Windows save them."""
    plain = catalog(tmp_path, HEADER + ROW)
    windows = catalog(tmp_path, b"\xef\xbb\xbf" + (HEADER + ROW).replace("\n", "\r\n").encode(), "windows.tsv")
    assert joined(windows, folder=tmp_path / "one") == HEADER + ROW
    assert joined(plain, windows, folder=tmp_path / "two") == HEADER + ROW + ROW
    listed = catalog(tmp_path, b"\xef\xbb\xbf" + f"{plain}\r\n{windows}\tthe other\r\n\r\n".encode(), "list")
    command = [sys.executable, JOIN, "--list", listed, "--output_dir", tmp_path / "three"]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert f"{plain} and the other both have sources of the image sky.fits" in run.stdout


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (HEADER.encode() + b"1\t2\x003\ta\n", "it is not a table of text"),
        (b"label\tx\timage\x00\n", "it is not a table of text"),
        (HEADER.encode() + b"1\t2\t\xff\n", "it is not a table of text"),
        (HEADER.encode() + b"1\t2\n", "line 2 has 2 fields, the first has 3"),
        (HEADER.encode() + b"1\t2\ta\tb\n", "line 2 has 4 fields, the first has 3"),
        (HEADER.encode() + ROW.encode() + b"\n", "line 3 has 0 fields, the first has 3"),
        (b"", "this is not a catalog of source-extractor"),
    ],
)
def test_damage(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = catalog(tmp_path, content)
    assert refusal(path, folder=tmp_path).startswith(f"{path}: {sentence}")


def test_text_is_taken_as_it_is(tmp_path: Path) -> None:
    """Quotes, spaces, what other tools take for missing, and signs that are lines to nobody but Python."""
    rows = "1\tNA\t\"a\n2\t\t b\u2028c \n3\tnan\t'=1+1\x85\n"
    assert joined(catalog(tmp_path, HEADER + rows), folder=tmp_path / "out") == HEADER + rows


def test_through_pipes(tmp_path: Path) -> None:
    path = catalog(tmp_path, HEADER + ROW)
    command = '"$@" /dev/stdin <(cat "$CATALOG") --output_dir "$OUT" < <(cat "$CATALOG")'
    run = subprocess.run(
        ["bash", "-c", command, "bash", sys.executable, JOIN],
        env={**os.environ, "CATALOG": str(path), "OUT": str(tmp_path / "out")},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert (tmp_path / "out" / "joined_catalog.tsv").read_text() == HEADER + ROW + ROW


def test_pipes_with_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may still begin to write; nobody is waited for for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Timer(0.3, lambda: pipe.write_text(HEADER + ROW))
    writer.start()
    assert joined(pipe, folder=tmp_path) == HEADER + ROW
    writer.join()
    monkeypatch.setattr("source_extraction.run.lines.PATIENCE", 0.2)
    assert refusal(pipe, folder=tmp_path).startswith(
        f"{pipe}: it cannot be read (it is a pipe, and nobody writes to it); "
    )


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", ".", "no\0name"])
def test_what_is_no_file(tmp_path: Path, path: str) -> None:
    assert refusal(path, folder=tmp_path).count("\n") == 0


@pytest.mark.parametrize("content", [b"a\0b\n", b"\xff\n"])
def test_a_list_that_is_none(tmp_path: Path, content: bytes) -> None:
    listed = catalog(tmp_path, content, "list")
    command = [sys.executable, JOIN, "--list", listed, "--output_dir", tmp_path / "out"]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr == (
        f"error: {listed}: the list of catalogs is not a table of text; give a text file with one path per line\n"
    )


def test_more_than_fits_into_memory(tmp_path: Path) -> None:
    """A line of 60 MB, in an address space that does not hold it several times."""
    wide = catalog(tmp_path, "label\timage\t" + "\t".join(f"c{number}" for number in range(6_000_000)) + "\n")
    limited = ["bash", "-c", 'ulimit -v 300000; exec "$@"', "bash", sys.executable, JOIN, wide]
    run = subprocess.run([*limited, "--output_dir", tmp_path / "out"], check=False, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (
        1, "error: memory ran out; use a machine with more memory or give less at once\n"
    )  # fmt: skip
    assert not (tmp_path / "out").exists()
