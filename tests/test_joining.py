"""Catalogs of several images joined to one, as pandas reads it."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import source_extraction
from source_extraction import InputError, JoinedCatalog
from source_extraction.core.columns import DETECTION_COLUMNS
from source_extraction.run import joining
from tests import advised_skies as skies
from tests.conftest import REPOSITORY, TEST_DATA, read_catalog, succeed

SKY = TEST_DATA / "sky.fits"


def join(*arguments: object, folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, REPOSITORY / "join_catalogs.py", *arguments, "--output_dir", folder]
    return subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True)


def read_joined(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "joined_catalog.tsv", sep="\t", float_precision="round_trip")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of images with and without sky coordinates, with a zero point, without a source."""
    options = {
        "fits": (SKY,),
        "bright": (SKY, "--thresh", "50", "--name", 'a "b" c', "--zeropoint", "25", "--apertures", "2.5"),
        "blank": (TEST_DATA / "blank.fits",),
        "tiff": (TEST_DATA / "sky.tiff",),
    }
    folders = {name: tmp_path_factory.mktemp(name) for name in options}
    for name, folder in folders.items():
        succeed(*options[name], "--outputs", "catalog.tsv", folder=folder)
    return folders


def test_every_row_and_column(runs: dict[str, Path], tmp_path: Path) -> None:
    """As pandas concatenates them."""
    catalogs = [folder / "catalog.tsv" for folder in runs.values()]
    run = join(*catalogs, folder=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    expected = pd.concat([read_catalog(folder) for folder in runs.values()], ignore_index=True)
    # Some have more columns than the first one: they come before the last.
    expected["image"] = expected.pop("image")
    pd.testing.assert_frame_equal(read_joined(tmp_path), expected, check_dtype=False)
    assert run.stdout.startswith(f"Catalogs: 4, sources: {len(expected)}, columns: {len(expected.columns)} (")


def test_one_catalog_stays_as_it_is(runs: dict[str, Path], tmp_path: Path) -> None:
    catalog = runs["bright"] / "catalog.tsv"
    join(catalog, folder=tmp_path)
    assert (tmp_path / "joined_catalog.tsv").read_bytes() == catalog.read_bytes()


def test_listed_in_a_file(runs: dict[str, Path], tmp_path: Path) -> None:
    lines = [f"{folder / 'catalog.tsv'}\tthe {name} one" for name, folder in runs.items()]
    (tmp_path / "list").write_text("\n".join([*lines, f"{tmp_path / 'list'}\ta list"]))
    run = join("--list", tmp_path / "list", folder=tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == (
        "error: a list: this is not a catalog of source-extractor: its first line does not name the columns label "
        "and image; give its catalog.tsv files\n"
    )
    (tmp_path / "list").write_text("\n".join(lines))
    assert join("--list", tmp_path / "list", folder=tmp_path).returncode == 0
    assert len(read_joined(tmp_path)) == sum(len(read_catalog(folder)) for folder in runs.values())


def test_images_of_one_name(runs: dict[str, Path], tmp_path: Path) -> None:
    twice = runs["fits"] / "catalog.tsv"
    run = join(twice, twice, folder=tmp_path)
    assert f"Warning: {twice} and {twice} both have sources of the image sky.fits" in run.stdout
    assert len(read_joined(tmp_path)) == 2 * len(read_catalog(runs["fits"]))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "it cannot be read (No such file or directory); check the path"),
        (b"", "this is not a catalog of source-extractor"),
        (b"a\tb\n1\t2\n", "this is not a catalog of source-extractor"),
        (b"\x1f\x8b\x08\x00\xff\xfe", "it is not a table of text"),
        (b"label\tx\timage\n1\t2.5\n", "line 2 has 2 fields, the first has 3; the file is damaged"),
        (b"label\tx\timage\n1\t2\ta\n2\t2\ta\t4\n", "line 3 has 4 fields, the first has 3"),
        (b"label\tx\timage\n1\t2\ta\t4\t5\n2\t2\ta\n", "line 2 has 5 fields, the first has 3"),
        (b"label\tx\timage\n1\t2\ta\t4\t5\t6\n2\t2\ta\n", "line 2 has 6 fields, the first has 3"),
        (b"label\tx\timage\n1\t\n", "line 2 has 2 fields, the first has 3"),
        (b"label\tx\tx\timage\n1\t2\t3\ta\n", "its first line names the column x twice; make it again"),
        (b"label\tx\timage\tlabel\n1\t2\ta\t1\n", "its first line names the column label twice; make it again"),
    ],
)
def test_what_is_no_catalog(runs: dict[str, Path], tmp_path: Path, content: bytes | None, sentence: str) -> None:
    """One sentence that names the file, and nothing half joined."""
    if content is not None:
        (tmp_path / "odd.tsv").write_bytes(content)
    run = join(runs["fits"] / "catalog.tsv", tmp_path / "odd.tsv", folder=tmp_path / "out")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith(f"error: {tmp_path / 'odd.tsv'}: {sentence}")
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_catalog(tmp_path: Path) -> None:
    run = join(folder=tmp_path)
    assert run.returncode == 2
    assert run.stderr.endswith("error: there is no catalog to join; give one or more\n")


@pytest.mark.parametrize("rows_at_a_time", [1, 7, 142])
def test_some_rows_at_a_time(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_at_a_time: int
) -> None:
    """Every digit of every row is there, in the order of the catalogs and of their rows."""
    monkeypatch.setattr(joining, "FIELDS_AT_A_TIME", len(DETECTION_COLUMNS) * rows_at_a_time)
    catalogs = [folder / "catalog.tsv" for folder in runs.values()]
    joined = source_extraction.join_catalogs(catalogs, tmp_path)
    header, *rows = (line.split("\t") for line in joined.path.read_text().splitlines())
    assert header == joined.columns
    expected = []
    for catalog in catalogs:
        own, *lines = (line.split("\t") for line in catalog.read_text().splitlines())
        sources = [dict(zip(own, line, strict=True)) for line in lines]
        expected += [[source.get(column, "NaN") for column in header] for source in sources]
    assert len(expected) > 2 * 142
    assert rows == expected


def test_what_stands_in_a_field_stays(tmp_path: Path) -> None:
    """No number is rounded or written otherwise, no text is taken for a missing value or a quotation."""
    fields = (
        "0.12345678901234567890",
        "+1.50",
        "1e-300",
        "-0.0",
        "007",
        "NA",
        "nan",
        "None",
        "inf",
        '"',
        '"a',
        "#",
        " a ",
    )
    content = "label\tx\timage\n" + "".join(f"{i}\t{field}\t{field}\n" for i, field in enumerate(fields, start=1))
    (tmp_path / "catalog.tsv").write_text(content)
    joined = source_extraction.join_catalogs([tmp_path / "catalog.tsv"], tmp_path)
    assert joined.path.read_text() == content


@pytest.mark.parametrize(("line", "number"), [("8\t1.5", 2), ("8\t1.5\ta\t4", 4), ("8\t1.5\ta\t4\t5\t6", 6)])
@pytest.mark.parametrize("rows_at_a_time", [7, 3, 4])
def test_damage_far_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, number: int, rows_at_a_time: int
) -> None:
    """The first line of some that are read at a time, in their middle, the last: the message names it."""
    monkeypatch.setattr(joining, "FIELDS_AT_A_TIME", 3 * rows_at_a_time)
    rows = [f"{label}\t1.5\ta" for label in range(1, 13)]
    rows[7] = line
    (tmp_path / "odd.tsv").write_text("\n".join(["label\tx\timage", *rows, ""]))
    with pytest.raises(InputError) as refusal:
        source_extraction.join_catalogs([tmp_path / "odd.tsv"], tmp_path / "out")
    assert str(refusal.value) == (
        f"{tmp_path / 'odd.tsv'}: line 9 has {number} fields, the first has 3; the file is damaged: make it again"
    )
    assert not (tmp_path / "out").exists()


def test_from_python(runs: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """It says what it made, and prints nothing."""
    catalogs = [str(runs["fits"] / "catalog.tsv"), runs["tiff"] / "catalog.tsv"]
    joined = source_extraction.join_catalogs(catalogs, tmp_path / "made" / "here")
    expected = [read_catalog(runs[name]) for name in ("fits", "tiff")]
    columns = list(pd.concat(expected).columns)
    path = tmp_path / "made" / "here" / "joined_catalog.tsv"
    assert joined == JoinedCatalog(path, sum(map(len, expected)), 2, columns, [])
    assert path.read_bytes().count(b"\n") == 1 + joined.sources
    assert capfd.readouterr() == ("", "")


def test_warnings_and_refusals_in_python(runs: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    twice = runs["fits"] / "catalog.tsv"
    (warning,) = source_extraction.join_catalogs([twice, twice], tmp_path).warnings
    assert warning.startswith(f"{twice} and {twice} both have sources of the image sky.fits")
    with pytest.raises(InputError, match="there is none to join"):
        source_extraction.join_catalogs([], tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("first", ["label\tx\timage", "label\timage\tx"])
def test_ends_of_lines_as_on_windows(tmp_path: Path, first: str) -> None:
    rows = f"{first}\n1\t2\t3\n4\t5\t6\n"
    (tmp_path / "catalog.tsv").write_bytes(rows.replace("\n", "\r\n").encode())
    assert source_extraction.join_catalogs([tmp_path / "catalog.tsv"], tmp_path).path.read_bytes() == rows.encode()


@pytest.mark.parametrize("name", ["a.gz", "a.zip", "a.xz", "a.zst", "a.tar", "http:a"])
def test_a_name_says_nothing_of_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("label\tx\timage\n1\t2\ta\n")
    assert source_extraction.join_catalogs([name], "out").path.read_text() == Path(name).read_text()


def test_one_path_is_no_list_of_catalogs(tmp_path: Path) -> None:
    """It would be taken apart into letters."""
    for path in ("catalog.tsv", Path("catalog.tsv")):
        with pytest.raises(source_extraction.InputError, match=r"catalogs: 'catalog\.tsv' is one path; give a list"):
            source_extraction.join_catalogs(path, tmp_path)  # type: ignore[arg-type]


def test_advice_of_all_images(tmp_path: Path) -> None:
    """A row for every advice and for every image without; the catalog stays what it is."""
    lists = {}
    for kind in ("tsv", "json"):
        lists[kind] = tmp_path / f"list of {kind}"
        lists[kind].write_text(
            "".join(f"{TEST_DATA / 'catalogs' / name}.{kind}\t{name}\n" for name in ("north", "south"))
        )
    run = join("--list", lists["tsv"], "--summaries", lists["json"], folder=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    for name in ("joined_catalog", "joined"), ("advice", "advice"):
        assert (tmp_path / f"{name[0]}.tsv").read_text() == (TEST_DATA / "catalogs" / f"{name[1]}.tsv").read_text()


def test_advice_of_a_run(tmp_path: Path) -> None:
    """The summary as the tool writes it; no tab of a name is one of the table."""
    hot = skies.hot_pixels().pixels
    result = source_extraction.extract(hot, name="a\tb")
    result.write(tmp_path, "catalog.tsv,summary.json")
    (tmp_path / "list").write_text(f"{tmp_path / 'summary.json'}\n")
    run = join(tmp_path / "catalog.tsv", "--summaries", tmp_path / "list", folder=tmp_path / "out")
    assert (run.returncode, run.stderr) == (0, "")
    header, row = (line.split("\t") for line in (tmp_path / "out" / "advice.tsv").read_text().splitlines())
    assert header == ["image", "sources", "advice", "seen", "change"]
    assert row[:3] == ["a b", str(len(result)), "hot_pixels"]
    assert row[3] == result.advice[0].seen
    assert row[4] == "filter_case = none, thresh = 2.5"


def test_a_run_that_was_not_judged(tmp_path: Path) -> None:
    """It has a row, which does not look as if nothing were wrong."""
    result = source_extraction.extract(skies.hot_pixels().pixels, advice=False, name="a")
    result.write(tmp_path, "catalog.tsv,summary.json")
    (tmp_path / "list").write_text(f"{tmp_path / 'summary.json'}\n")
    run = join(tmp_path / "catalog.tsv", "--summaries", tmp_path / "list", folder=tmp_path / "out")
    assert (run.returncode, run.stderr) == (0, "")
    _, row = (line.split("\t") for line in (tmp_path / "out" / "advice.tsv").read_text().splitlines())
    assert row == ["a", str(len(result)), "", "not judged", ""]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"image": 1}', "[" * 100_000, '{"advice": [1]}', "\0"])
def test_what_is_no_summary(tmp_path: Path, content: str) -> None:
    (tmp_path / "odd.json").write_text(content)
    (tmp_path / "list").write_text(f"{tmp_path / 'odd.json'}\tthe odd one\n")
    catalog = TEST_DATA / "catalogs" / "north.tsv"
    run = join(catalog, "--summaries", tmp_path / "list", folder=tmp_path / "out")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("error: the odd one: ")
    assert run.stderr.endswith("; give its summary.json files\n")
    assert not (tmp_path / "out").exists()
