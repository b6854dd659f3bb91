"""Start a Galaxy server (serve.py) in its own environment, wait until it answers, and stop it."""

import contextlib
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.galaxy.serve import REPOSITORY

ENVIRONMENTS = REPOSITORY / ".environments"
SECONDS_TO_START = 300


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """The address of a server that keeps its files in `folder`; raises RuntimeError where it does not start.

    It finds a Slurm cluster where one is running (slurm.py) in `folder`/slurm.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    serve = [ENVIRONMENTS / "galaxy/bin/python", Path(__file__).with_name("serve.py")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment["SLURM_CONF"] = str(folder / "slurm" / "slurm.conf")
    log = folder / "server.log"
    with log.open("w") as output:
        command = [*serve, folder / "server", str(port), ENVIRONMENTS / "tool"]
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        _wait_for(f"{url}/api/version", server, log)
        yield url
    finally:
        stop(server)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def stop(process: subprocess.Popen) -> None:
    """Ask a process to end, and end it where it does not."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise RuntimeError(f"the Galaxy server did not start:\n{log.read_text()[-5000:]}")
