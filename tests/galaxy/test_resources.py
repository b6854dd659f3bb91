"""The rules for cores and memory: what the Total Perspective Vortex makes of them."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.galaxy.serve import REPOSITORY

RULES = REPOSITORY / "resources.yml"
IN_THE_TOOL_SHED = "toolshed.example.org/repos/astroteam/{0}/{0}/1.4.1+galaxy0"
# A server whose jobs all go through the rules, and its only destination.
JOB_CONFIGURATION = """
runners:
  local: {load: "galaxy.jobs.runners.local:LocalJobRunner"}
execution:
  default: tpv_dispatcher
  environments:
    tpv_dispatcher: {runner: dynamic, type: python, function: map_tool_to_destination, rules_module: tpv.rules}
"""
DESTINATIONS = """
destinations:
  cluster:
    runner: local
    params: {cores: "{cores}", mem: "{mem}"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job_conf.yml").write_text(JOB_CONFIGURATION)
    (tmp_path / "destinations.yml").write_text(DESTINATIONS)
    return tmp_path


def tpv(environment: Path, *arguments: str | Path, folder: Path) -> subprocess.CompletedProcess:
    command = [environment / "bin/tpv", *arguments]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


def test_lint(galaxy_environment: Path, tmp_path: Path) -> None:
    # It has mypy check the types in the rules; those of all that Galaxy consists of would take a minute.
    (tmp_path / "mypy.ini").write_text("[mypy]\nfollow_imports = skip\n")
    run = tpv(galaxy_environment, "lint", RULES, folder=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout == "INFO : tpv.commands.shell: lint successful.\n"


@pytest.mark.parametrize(
    ("tool", "input_size", "resources"),
    [
        ("source_extractor", 0, {"cores": 1, "mem": 1}),
        (IN_THE_TOOL_SHED.format("source_extractor"), 2, {"cores": 2, "mem": 31}),
        ("source_extractor_many", 100, {"cores": 4, "mem": 8}),
        (IN_THE_TOOL_SHED.format("source_extractor_many"), 100, {"cores": 4, "mem": 8}),
        (IN_THE_TOOL_SHED.format("source_extractor_join"), 2, {"cores": 1, "mem": 1}),
    ],
)
def test_destination(
    galaxy_environment: Path, folder: Path, tool: str, input_size: int, resources: dict[str, float]
) -> None:
    asked = ["--job-conf", "job_conf.yml", "--tool", tool, "--input-size", str(input_size)]
    run = tpv(galaxy_environment, "dry-run", *asked, RULES, "destinations.yml", folder=folder)
    assert run.returncode == 0, run.stderr
    # Its first line names a class of Galaxy's.
    destination = yaml.safe_load(run.stdout.split("\n", 1)[1])
    assert destination["id"] == "cluster"
    assert {name: float(value) for name, value in destination["params"].items()} == resources
