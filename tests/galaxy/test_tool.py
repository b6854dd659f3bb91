"""The forms: linted, and each of their tests run on the server."""

import json
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bioblend import ConnectionError
from bioblend.galaxy import GalaxyInstance

from tests.galaxy.conftest import Galaxy, run_planemo
from tests.galaxy.serve import FORMS, REPOSITORY, program_of, requirements

PATHS = [REPOSITORY / form for form in FORMS]
PROGRAMS = [program_of(form) for form in FORMS]
# The identifier of the tool, and the number of the test.
TESTS = [
    (form.getroot().get("id"), number)
    for form in map(ElementTree.parse, PATHS)
    for number, _ in enumerate(form.findall("tests/test"))
]
# This asks the Tool Shed, which a test must not depend on.
OFFLINE = "version_bumped"


def test_lint(galaxy_environment: Path, tmp_path: Path) -> None:
    lint = ["lint", "--report_level", "all", "--fail_level", "warn", *PATHS]
    run = run_planemo(galaxy_environment, *lint, folder=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "WARNING" not in run.stdout


def test_shed_lint(galaxy_environment: Path, tmp_path: Path) -> None:
    # In a folder of the name that its remote_repository_url ends with.
    folder = tmp_path / "tools" / "source_extractor"
    shutil.copytree(REPOSITORY, folder, ignore=shutil.ignore_patterns(".git", ".environments"))
    lint = ["shed_lint", "--tools", "--report_level", "all", "--fail_level", "warn", "--skip", OFFLINE, folder]
    run = run_planemo(galaxy_environment, *lint, folder=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "WARNING" not in run.stdout


@pytest.fixture(scope="module")
def report(galaxy: Galaxy, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], dict]:
    """What planemo says of every test."""
    tests = [test["data"] for test in galaxy.planemo_test(*PATHS, folder=tmp_path_factory.mktemp("planemo"))]
    return {(test["tool_id"], test["test_index"]): test for test in tests}


def test_every_test_ran(report: dict[tuple[str, int], dict]) -> None:
    assert set(report) == set(TESTS)


@pytest.mark.parametrize(("tool", "number"), TESTS)
def test_on_galaxy(report: dict[tuple[str, int], dict], tool: str, number: int) -> None:
    test = report[tool, number]
    assert test["status"] == "success", json.dumps(test.get("output_problems") or test, indent=1)[:5000]


@pytest.mark.parametrize(
    ("tool", "form"),
    list(zip(("source_extractor", "source_extractor_join", "source_extractor_many"), FORMS, strict=True)),
)
def test_requirements_resolve_exactly(report: dict[tuple[str, int], dict], tool: str, form: str) -> None:
    """The versions that a form requires are those that the job ran with."""
    # The very first job of a tool records no dependencies.
    dependencies = report[tool, 1]["job"]["dependencies"]
    assert {(d["name"], d["version"], d["exact"]) for d in dependencies} == {
        (name, version, True) for name, version in requirements(form)
    }


FIND_REQUIRED_FILES = """
import json, sys
from galaxy.tool_util.parser import get_tool_source
required = get_tool_source(sys.argv[1]).parse_required_files()
print(json.dumps(required.find_required_files(sys.argv[2])))
"""


@pytest.mark.parametrize(("form", "program"), list(zip(FORMS, PROGRAMS, strict=True)))
def test_files_that_a_job_needs(galaxy_environment: Path, tmp_path: Path, form: str, program: str) -> None:
    """Another machine is sent these alone, as Galaxy finds them: the program, the package, the page's parts."""
    checkout = tmp_path / "checkout"
    shutil.copytree(REPOSITORY, checkout, ignore=shutil.ignore_patterns(".git", ".environments"))
    command = [galaxy_environment / "bin/python", "-c", FIND_REQUIRED_FILES, checkout / form, checkout]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    modules = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "source_extraction").rglob("*.py")}
    assert "source_extraction/core/tiles.py" in modules
    page = REPOSITORY / "source_extraction" / "writers" / "page"
    pages = (
        {str(path.relative_to(REPOSITORY)) for path in page.iterdir()} if program == "source_extractor.py" else set()
    )
    assert sorted(json.loads(run.stdout)) == sorted({program, *modules, *pages})


OUT_OF_RANGE = {
    "thresh": ("0", "nan"),
    "minarea": ("0", "2147483648"),
    "background|bw": ("3",),
    "deblending|deblend_cont": ("1.5",),
    "cleaning|clean_param": ("0",),
    "part|plane": ("-1",),
    "photometry|apertures": ("5,-3", "wide"),
    "photometry|gain": ("GAIN; ls",),
    "photometry|kron_factor": ("0",),
    "outputs": ("x.tsv",),
}


@pytest.mark.parametrize(
    ("parameter", "value"), [(name, value) for name in OUT_OF_RANGE for value in OUT_OF_RANGE[name]]
)
def test_the_form_refuses(server: GalaxyInstance, parameter: str, value: str) -> None:
    """What is out of range never becomes a job."""
    history = server.histories.create_history("refused")["id"]
    upload = server.tools.upload_file(REPOSITORY / "test-data/blank.fits", history, file_type="fits")
    inputs = {"image": {"src": "hda", "id": upload["outputs"][0]["id"]}, parameter: value}
    with pytest.raises(ConnectionError, match="400"):
        server.tools.run_tool(history, "source_extractor", inputs)
