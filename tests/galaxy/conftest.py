"""One Galaxy server for all tests of this folder."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bioblend.galaxy import GalaxyInstance

from tests.galaxy.serve import ADMIN_KEY
from tests.galaxy.server import ENVIRONMENTS, running_server


@dataclass
class Galaxy:
    """A running server, the programs of its environment, and the folder in which it keeps its files."""

    url: str
    key: str
    environment: Path
    folder: Path

    def planemo(self, *arguments: str | Path, folder: Path) -> subprocess.CompletedProcess:
        """Run planemo in `folder`, which takes what it writes beside its reports."""
        return run_planemo(self.environment, *arguments, folder=folder)


def run_planemo(environment: Path, *arguments: str | Path, folder: Path) -> subprocess.CompletedProcess:
    command = [environment / "bin/planemo", "--directory", folder / "planemo", *arguments]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


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
