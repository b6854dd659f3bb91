"""One Galaxy server for all tests of this folder."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bioblend.galaxy import GalaxyInstance

from tests.galaxy.serve import ADMIN_KEY, REPOSITORY

ENVIRONMENTS = REPOSITORY / ".environments"
SECONDS_TO_START = 300


@dataclass
class Galaxy:
    """A running server and the programs of its environment."""

    url: str
    key: str
    environment: Path

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
    """Start the server, wait until it answers, stop it at the end."""
    folder = tmp_path_factory.mktemp("galaxy")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "server.log"
    command = [galaxy_environment / "bin/python", Path(__file__).with_name("serve.py"), folder / "server", str(port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    with log.open("w") as output:
        server = subprocess.Popen([*command, ENVIRONMENTS / "tool"], stdout=output, stderr=output, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(f"{url}/api/version", server, log)
        yield Galaxy(url, ADMIN_KEY, galaxy_environment)
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


@pytest.fixture(scope="session")
def server(galaxy: Galaxy) -> GalaxyInstance:
    """The server as one of its users."""
    admin = GalaxyInstance(galaxy.url, galaxy.key)
    user = admin.users.create_local_user("astronomer", "astronomer@example.org", "a-password")
    return GalaxyInstance(galaxy.url, admin.users.create_user_apikey(user["id"]))


def _wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"the Galaxy server did not start:\n{log.read_text()[-5000:]}")
