"""The documents are short, spelled, linked, and true: what they tell a reader to type does what they say."""

import importlib
import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from numpydoc.validate import validate

import run
import source_extraction
from source_extraction.faces.join import build_parser
from source_extraction.faces.source_extractor import asked_for
from tests.conftest import REPOSITORY, TEST_DATA
from tests.documents import PAGES, anchors, commands, links, run_python
from tests.galaxy.serve import FORMS

MOST_WORDS = 900
# The programs of this project by the names that documents call them, and the scripts that are the same.
PROGRAMS = {"source-extraction": "source_extractor.py", "source-extraction-join": "join_catalogs.py"}
# Of others: they install, upload, or need a server.
NOT_OURS = {"pip"}
IMAGES = {".fits", ".tiff", ".png", ".jpg", ".psf"}
SECONDS = re.compile(r"\d+\.\d\d s\b")

each_page = pytest.mark.parametrize("page", PAGES)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a checkout to a reader, and takes what the examples write."""
    (tmp_path / "test-data").symlink_to(TEST_DATA)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].read_text().split()) <= MOST_WORDS


@each_page
def test_links(page: str) -> None:
    """What a page links to is there, down to the heading, and every picture is described."""
    path = PAGES[page]
    text = path.read_text()
    assert "![](" not in text
    for link in links(text):
        if "://" in link:
            assert link.startswith("https://"), link
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_every_document_is_two_clicks_away() -> None:
    near = {PAGES["README.md"]}
    for _ in range(2):
        read = [path for path in near if path in PAGES.values()]
        near |= {(path.parent / link.partition("#")[0]).resolve() for path in read for link in links(path.read_text())}
    assert set(PAGES.values()) <= near


def test_every_workflow_and_form_is_listed() -> None:
    """Workflows where they are described, forms in the command that lints them before a pull request."""
    listed = links(PAGES["docs/workflows.md"].read_text())
    assert {f"../workflows/{path.name}" for path in (REPOSITORY / "workflows").glob("*.gxwf.yml")} <= set(listed)
    linted = re.search(r"planemo lint .*", PAGES["CONTRIBUTING.md"].read_text())[0].split()
    assert set(FORMS) <= set(linted)


def test_every_picture_is_shown() -> None:
    shown = {(path.parent / link).resolve() for path in PAGES.values() for link in links(path.read_text())}
    pictures = {path for suffix in ("png", "jpg") for path in (REPOSITORY / "docs").glob(f"*.{suffix}")}
    assert pictures <= shown


@each_page
def test_commands(page: str, checkout: Path) -> None:
    """Those on shipped images are run, and print what the page says; others are taken by the real parser."""
    for (program, *arguments), output in commands(PAGES[page].read_text()):
        if program in PROGRAMS:
            said = try_program(program, arguments)
            assert output is None or said is None or SECONDS.sub("", said) == SECONDS.sub("", output)
        elif program in ("python", "python3"):
            assert_known_script(arguments)
        else:
            assert program in NOT_OURS, program


def try_program(program: str, arguments: list[str]) -> str | None:
    """What a command prints; None where its files are a stranger's."""
    if program == "source-extraction":
        asked = asked_for(arguments)
        files = [*asked.images, *([asked.listed] if asked.listed else [])]
    else:
        files = build_parser().parse_args(arguments).catalogs
    if not all(file.exists() for file in files):
        return None
    command = [sys.executable, REPOSITORY / PROGRAMS[program], *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), shlex.join(arguments)
    return done.stdout


@each_page
def test_scripts_in_the_text(page: str) -> None:
    for found in re.findall(r"`python3? ([^`]+)`", PAGES[page].read_text()):
        assert_known_script(shlex.split(found))


def assert_known_script(arguments: list[str]) -> None:
    """It is there, it has these options, and the files that it names are there."""
    script, *rest = arguments
    if script == "-m":
        name, *rest = rest
        source = inspect.getsource(importlib.import_module(name))
    else:
        source = (REPOSITORY / script).read_text()
    if script == "run.py":
        assert callable(getattr(run, rest[0]))
    else:
        options = [part for part in rest if part.startswith("--")]
        assert [option for option in options if f'"{option}"' not in source] == []
    assert [part for part in rest if part.startswith("tests/") and not (REPOSITORY / part).exists()] == []


@pytest.mark.parametrize("page", [page for page, path in PAGES.items() if "```python" in path.read_text()])
@pytest.mark.usefixtures("checkout")
def test_python(page: str) -> None:
    """The examples of a page run in their order, and print what it says."""
    for expected, said in run_python(PAGES[page].read_text()):
        assert said == (expected or "")


def test_spelling() -> None:
    """codespell knows misspellings, not words: what it finds is one, or stands in pyproject.toml."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    files = [name for name in listed if (REPOSITORY / name).is_file() and Path(name).suffix not in IMAGES]
    found = subprocess.run(
        [Path(sys.executable).with_name("codespell"), *files],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (found.stdout, found.returncode) == ("", 0)


# Of numpydoc's checks: a list of alternatives, examples (docs/python.md has them), and a second paragraph where the
# first says all.
NOT_ASKED = {"SA01", "EX01", "ES01"}
NAMES = [name for name in source_extraction.__all__ if not name.startswith("_")]
METHODS = [
    f"Result.{name}"
    for name, member in vars(source_extraction.Result).items()
    if callable(member) and not name.startswith("_")
]


@pytest.mark.parametrize("name", NAMES + METHODS)
def test_docstrings(name: str) -> None:
    """Parameters, returned values and errors of every public name, in numpydoc's form: they are the reference."""
    found = validate(f"source_extraction.{name}")
    if name in ("extract", "extract_many", "join_catalogs", "Result.write"):
        assert "\nRaises\n------\nInputError\n" in found["docstring"]
    assert [(code, said) for code, said in found["errors"] if code not in NOT_ASKED] == []


def test_citation() -> None:
    """In the Citation File Format, with the version that this is, and what README and form ask to cite."""
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == source_extraction.__version__
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= set(reference)
        assert f"https://doi.org/{reference['doi']}" in PAGES["README.md"].read_text()
