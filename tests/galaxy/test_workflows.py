"""The workflows: linted, each with its own tests as planemo wants them."""

from pathlib import Path

import pytest

from tests.galaxy.conftest import run_planemo
from tests.test_workflow_files import WORKFLOWS

# This asks the Tool Shed, which a test must not depend on.
OFFLINE = "tool_ids"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_lint(galaxy_environment: Path, tmp_path: Path, workflow: Path) -> None:
    lint = ["workflow_lint", "--report_level", "all", "--fail_level", "warn", "--skip", OFFLINE, workflow]
    run = run_planemo(galaxy_environment, *lint, folder=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Tests appear structurally correct" in run.stdout
    assert "Tool versions appear to match tool ids" in run.stdout
