"""Start a Galaxy server (serve.py) in its own environment, wait until it answers, and stop it."""

import contextlib
import os
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.galaxy.serve import REPOSITORY
from tests.galaxy.waiting import SECONDS_WITHOUT_PROGRESS, wait_until

ENVIRONMENTS = REPOSITORY / ".environments"
# How variables begin that the server is started without. Jobs on the cluster inherit what it has, those that it runs
# itself do not: with OPENBLAS_CORETYPE, for one, the last digits of their catalogs would not be the same.
NOT_INHERITED = ("PYTHON", "VIRTUAL_ENV", "OPENBLAS", "OMP_")


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """The address of a server that keeps its files in `folder`; raises RuntimeError where it does not start.

    It finds a Slurm cluster where one is running (slurm.py) in `folder`/slurm.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = folder / "server.log"
    server = start(folder / "server", port, log, variables={"SLURM_CONF": str(folder / "slurm" / "slurm.conf")})
    try:
        wait_for_start(lambda: answers(url), "Galaxy server", lambda: log.stat().st_size, [server], folder)
        yield url
    finally:
        stop(server)


def start(
    folder: Path, port: int, log: Path, *options: str, variables: dict[str, str] | None = None, **process: Any
) -> subprocess.Popen:
    """Start serve.py with its options; what it says goes to `log`. `process` are further arguments of Popen."""
    program = [ENVIRONMENTS / "galaxy/bin/python", Path(__file__).with_name("serve.py")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
    environment |= variables or {}
    command = [*program, folder, str(port), ENVIRONMENTS / "tool", *options]
    with log.open("w") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env=environment, **process)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def stop(process: subprocess.Popen) -> None:
    """Ask a process to end, and end it where it does not, or where somebody cannot wait (Ctrl-C)."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        pass
    finally:
        process.kill()
        process.wait()


def wait_for_start(
    condition: Callable[[], object],
    what: str,
    progress: Callable[[], object],
    processes: Sequence[subprocess.Popen],
    folder: Path,
) -> None:
    """Wait for what is there once processes have started, for as long as there is progress.

    Raises RuntimeError, with the ends of their logs in a folder, where there is none or one of the processes ends.
    """

    def started() -> object:
        for process in processes:
            if process.poll() is not None:
                raise ChildProcessError(f"no {what}: {Path(process.args[0]).name} ended with {process.returncode}")
        return condition()

    try:
        wait_until(started, what, progress)
    except (ChildProcessError, TimeoutError) as problem:
        said = "\n".join(f"{log.name}: {log.read_text()[-5000:]}" for log in folder.glob("*.log"))
        raise RuntimeError(f"{problem}\n{said}") from problem


def answers(url: str) -> bool:
    """Whether a server is ready."""
    try:
        with urllib.request.urlopen(f"{url}/api/version", timeout=SECONDS_WITHOUT_PROGRESS):
            return True
    except OSError:
        return False
