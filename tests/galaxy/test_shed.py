"""What goes into the Tool Shed: of each tool the files that it runs and tests with, and no others."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conftest import TEST_DATA
from tests.galaxy.conftest import run_planemo
from tests.galaxy.serve import REPOSITORY

# The Tool Shed's names, the program and its form.
REPOSITORIES = {
    "source_extractor": ("source_extractor.py", "source_extractor.xml"),
    "source_extractor_join": ("join_catalogs.py", "join_catalogs.xml"),
    "source_extractor_many": ("source_extractor.py", "source_extractor_many.xml"),
}
PAGE = REPOSITORY / "source_extraction" / "writers" / "page"
MOST_TEST_DATA = 1_000_000  # bytes

# As planemo uploads them.
COPY_REPOSITORIES = """
import shutil, sys
from pathlib import Path
from planemo.cli import PlanemoCliContext
from planemo.shed import for_each_repository

def copy(repository):
    shutil.copytree(repository.path, Path(sys.argv[2]) / repository.name)
    return 0

sys.exit(for_each_repository(PlanemoCliContext(), copy, [sys.argv[1]], fail_on_missing=True))
"""


@pytest.fixture(scope="module")
def shed(galaxy_environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the repositories."""
    checkout, folder = tmp_path_factory.mktemp("checkout") / "source_extractor", tmp_path_factory.mktemp("shed")
    shutil.copytree(REPOSITORY, checkout, ignore=shutil.ignore_patterns(".git", ".environments"))
    command = [galaxy_environment / "bin/python", "-c", COPY_REPOSITORIES, checkout, folder]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert {path.name for path in folder.iterdir()} == {*REPOSITORIES, "suite_source_extractor"}
    return folder


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def named_in_tests(form: Path) -> set[str]:
    """The files that a form's tests name."""
    tests = ElementTree.parse(form).getroot().find("tests")
    named = {element.get(key, "") for element in tests.iter() for key in ("value", "file")}
    return {name for value in named for name in value.split(",") if re.search(r"\.\w+$", name)} & files(TEST_DATA)


@pytest.mark.parametrize("name", REPOSITORIES)
def test_files(shed: Path, name: str) -> None:
    program, form = REPOSITORIES[name]
    imported = [element.text for element in ElementTree.parse(REPOSITORY / form).iterfind("macros/import")]
    package = {f"source_extraction/{file}" for file in files(REPOSITORY / "source_extraction") if file.endswith(".py")}
    makes_pages = program == "source_extractor.py"
    pages = {f"source_extraction/writers/page/{file}" for file in files(PAGE)} if makes_pages else set()
    expected = {program, form, "LICENSE", *imported, *package, *pages}
    assert files(shed / name) == expected | {f"test-data/{file}" for file in named_in_tests(REPOSITORY / form)}


@pytest.mark.parametrize("name", REPOSITORIES)
def test_test_data_is_small(shed: Path, name: str) -> None:
    assert (
        sum(path.stat().st_size for path in (shed / name / "test-data").rglob("*") if path.is_file()) < MOST_TEST_DATA
    )


@pytest.mark.parametrize(
    ("name", "inputs"),
    [("source_extractor", ("sky.fits",)), ("source_extractor_join", ("catalogs/north.tsv", "catalogs/south.tsv"))],
)
def test_the_program_runs_there(shed: Path, tmp_path: Path, name: str, inputs: tuple[str, ...]) -> None:
    program, _ = REPOSITORIES[name]
    command = [sys.executable, shed / name / program, *inputs, "--output_dir", tmp_path]
    run = subprocess.run(command, cwd=shed / name / "test-data", check=False, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("name", REPOSITORIES)
def test_lint(shed: Path, galaxy_environment: Path, tmp_path: Path, name: str) -> None:
    """The form is as clean there, where all that it refers to must be."""
    _, form = REPOSITORIES[name]
    lint = ["lint", "--report_level", "all", "--fail_level", "warn", shed / name / form]
    run = run_planemo(galaxy_environment, *lint, folder=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
