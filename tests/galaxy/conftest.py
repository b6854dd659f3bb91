"""One Galaxy server for all tests of this folder."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bioblend.galaxy import GalaxyInstance

from tests.galaxy.serve import ADMIN_KEY
from tests.galaxy.server import ENVIRONMENTS, running_server, stop
from tests.galaxy.waiting import states_of_jobs, wait_until


@dataclass
class Galaxy:
    """A running server, its administrator's key, its environment, and the folder in which it keeps its files."""

    url: str
    key: str
    environment: Path
    folder: Path

    def planemo_test(self, *arguments: str | Path, folder: Path) -> list[dict]:
        """Run tests with planemo in `folder`, for as long as jobs of the server get on; its report, an item a test."""
        server = ["--engine", "external_galaxy", "--galaxy_url", self.url, "--galaxy_admin_key", self.key]
        report, log = folder / "report.json", folder / "planemo.log"
        command = planemo(self.environment, "test", *server, "--test_output_json", report, *arguments, folder=folder)
        admin = GalaxyInstance(self.url, self.key)

        def progress() -> tuple[str, dict]:
            return log.read_text(errors="replace")[-2000:], states_of_jobs(admin)

        # Planemo's own --test_timeout counts from the start of a test, whatever has been done since. It stays at its
        # default of a day: a test that hangs is ended here.
        with log.open("w") as output:
            process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        try:
            wait_until(lambda: process.poll() is not None, "report of planemo", progress, interval=1)
        finally:
            stop(process)
        assert report.exists(), log.read_text(errors="replace")
        return json.loads(report.read_text())["tests"]


def run_planemo(environment: Path, *arguments: str | Path, folder: Path) -> subprocess.CompletedProcess:
    """Run a command of planemo's that needs no server."""
    command = planemo(environment, *arguments, folder=folder)
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


def planemo(environment: Path, *arguments: str | Path, folder: Path) -> list[str | Path]:
    """Its command line: what it writes beside its reports is in `folder` as well."""
    return [environment / "bin/planemo", "--directory", folder / "planemo", *arguments]


@pytest.fixture(scope="session")
def galaxy_environment() -> Path:
    environment = ENVIRONMENTS / "galaxy"
    if not environment.exists():
        pytest.fail("Galaxy is not installed; run: python3 run.py test")
    return environment


@pytest.fixture(scope="session")
def galaxy(galaxy_environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Galaxy]:
    """Start the server, stop it at the end."""
    folder = tmp_path_factory.mktemp("galaxy")
    with running_server(folder) as url:
        yield Galaxy(url, ADMIN_KEY, galaxy_environment, folder)


@pytest.fixture(scope="session")
def server(galaxy: Galaxy) -> GalaxyInstance:
    """The server as one of its users."""
    admin = GalaxyInstance(galaxy.url, galaxy.key)
    user = admin.users.create_local_user("astronomer", "astronomer@example.org", "a-password")
    return GalaxyInstance(galaxy.url, admin.users.create_user_apikey(user["id"]))
