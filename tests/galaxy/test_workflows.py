"""The workflows: linted, and each of their tests run on the server where their tools are there."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from bioblend.galaxy import GalaxyInstance

from tests.conftest import REPOSITORY
from tests.galaxy.conftest import Galaxy, run_planemo
from tests.galaxy.forms import expanded
from tests.test_workflow_files import WORKFLOWS

TRAINING = REPOSITORY / "training" / "astronomy-source-extractor"
OF_THE_TRAINING = TRAINING / "workflows" / "sort_sources.ga"

# This asks the Tool Shed, which a test must not depend on.
OFFLINE = "tool_ids"
# Its tools come from the Tool Shed; tests/test_imaging_tools.py goes through its steps with scikit-image.
NOT_RUN = {"voronoi.gxwf.yml"}
RUN = [workflow for workflow in WORKFLOWS if workflow.name not in NOT_RUN]
# As planemo calls them.
TESTS = [
    f"{workflow.name}_{number}"
    for workflow in RUN
    for number, _ in enumerate(yaml.safe_load(workflow.with_name(f"{workflow.stem}-tests.yml").read_text()))
]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_lint(galaxy_environment: Path, tmp_path: Path, workflow: Path) -> None:
    lint = ["workflow_lint", "--report_level", "all", "--fail_level", "warn", "--skip", OFFLINE, workflow]
    run = run_planemo(galaxy_environment, *lint, folder=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Tests appear structurally correct" in run.stdout
    assert "Tool versions appear to match tool ids" in run.stdout


@pytest.mark.parametrize("workflow", [*RUN, OF_THE_TRAINING], ids=lambda workflow: workflow.name)
def test_runs_as_it_is(server: GalaxyInstance, workflow: Path) -> None:
    """Galaxy has nothing to ask, such as about a parameter without a value, before it is run."""
    history = server.histories.create_history(workflow.name)["id"]
    # On this server the tool does not come from the Tool Shed.
    text = re.sub(r"toolshed[^\"]*/source_extractor/[^/\"]*", "source_extractor", workflow.read_text())
    imported = server.workflows.import_workflow_dict(yaml.safe_load(text))["id"]
    choice = {"style": "run", "history_id": history}
    form = server.make_get_request(f"{server.url}/workflows/{imported}/download", params=choice).json()
    assert form["has_upgrade_messages"] is False
    assert form["step_version_changes"] == []


def test_the_workflow_of_the_training(galaxy_environment: Path) -> None:
    """It is the one of workflows/ in the form that the Training Network takes."""
    check = [galaxy_environment / "bin" / "python", TRAINING / "make_workflow.py", "--check"]
    run = subprocess.run(check, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(("format", "viewer"), [("fits", "aladin"), ("tiff", "tiffviewer")])
def test_viewers_of_galaxy(server: GalaxyInstance, format: str, viewer: str) -> None:
    """What Galaxy opens our maps and label maps with, as the help and the tutorial say."""
    mappings = server.make_get_request(f"{server.url}/datatypes/{format}/visualizations").json()
    assert [mapping["visualization"] for mapping in mappings] == [viewer]
    assert expanded("source_extractor.xml").findall(f"outputs/data[@format='{format}']")


@pytest.fixture(scope="module")
def report(galaxy: Galaxy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What planemo says of every test."""
    tests = galaxy.planemo_test("--no_shed_install", *RUN, folder=tmp_path_factory.mktemp("planemo"))
    return {test["id"]: test["data"] for test in tests}


def test_every_test_ran(report: dict[str, dict]) -> None:
    assert sorted(report) == sorted(TESTS)


@pytest.mark.parametrize("test", TESTS)
def test_on_galaxy(report: dict[str, dict], test: str) -> None:
    data = report[test]
    # A map that differs is quoted whole.
    problems = [problem[:1000] for problem in data.get("output_problems") or []]
    assert data["status"] == "success", "\n".join([*problems, str(data.get("execution_problem"))[:5000]])
