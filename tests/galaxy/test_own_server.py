"""Galaxy on one's own machine, from its start to Ctrl-C: with a program in its place that is ready at once."""

import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.galaxy.own_server import claimed, galaxy_version
from tests.galaxy.serve import ADMIN_EMAIL, configure, requirements
from tests.galaxy.server import answers, free_port, stop

# It counts its starts, says something, and answers whatever it is asked; nobody need end it where a test fails.
READY = """
import http.server, pathlib, signal, sys
signal.alarm(300)
_, folder, port, _, own = sys.argv[1:]
pathlib.Path(folder, "database").mkdir(parents=True, exist_ok=True)
with pathlib.Path(folder, "database", own).open("a") as starts:
    print("a start", file=starts)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(port)), Answer).serve_forever()
"""
DYING = "print(*range(100), sep='\\n'); raise SystemExit(3)"
# In a terminal; the tests may run where Ctrl-C and the end of a terminal are ignored.
SERVE = """
import pathlib, signal, sys
from tests.galaxy import own_server, server
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
server.ENVIRONMENTS = pathlib.Path(sys.argv[1])
folder, port = server.ENVIRONMENTS / "form", int(sys.argv[2])
with own_server.claimed(folder, port) as lock:
    print("claimed", flush=True)
    sys.exit(own_server.serve(folder, port, lock))
"""

Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server as `run.py form` does: a program in place of Galaxy, at a port."""
    started = []

    def start(port: int, galaxy: str = READY) -> subprocess.Popen:
        python = tmp_path / "galaxy" / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text(f"#!{sys.executable}\n{galaxy}")
        python.chmod(0o755)
        command = [sys.executable, "-c", SERVE, tmp_path, str(port)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, cwd=REPOSITORY, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        stop(process)


def ready(server: subprocess.Popen) -> list[str]:
    """What a server says until it is ready."""
    said = []
    for line in server.stdout:
        said.append(line)
        if line.startswith("Ready:"):
            break
    return said


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_is_ready_and_ends_quietly(tmp_path: Path, start: Start, ending: signal.Signals) -> None:
    port = free_port()
    server = start(port)
    assert ready(server) == [
        "claimed\n",
        f"Starting Galaxy ... (its log: {tmp_path}/form/galaxy.log)\n",
        f"Ready: http://127.0.0.1:{port}/?tool_id=source_extractor (Ctrl-C ends it)\n",
    ]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/anything"):
        pass
    server.send_signal(ending)
    assert server.communicate(timeout=60) == ("\nStopping Galaxy ...\n", "")
    assert server.returncode == 0
    assert not answers(f"http://127.0.0.1:{port}")
    assert '"GET /api/version HTTP/1.1" 200' in (tmp_path / "form" / "galaxy.log").read_text()


def test_what_it_has_is_kept(tmp_path: Path, start: Start) -> None:
    """At any port; and where Galaxy is another one, what the earlier had is named."""
    earlier = tmp_path / "form" / "24.2"
    (earlier / "database").mkdir(parents=True)
    said = []
    for _ in range(2):
        server = start(free_port())
        said.append(ready(server)[1])
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
    assert (tmp_path / "form" / galaxy_version() / "database" / "own").read_text() == "a start\na start\n"
    assert (
        said[0] == f"Galaxy {galaxy_version()} begins with an empty history. That of Galaxy 24.2 stays in {earlier}\n"
    )
    assert said[1].startswith("Starting")
    assert earlier.exists()


def test_one_server_for_a_folder(tmp_path: Path, start: Start) -> None:
    """Nothing is touched by a second start; a server whose parent was killed counts, too."""
    port = free_port()
    first = start(port)
    ready(first)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if "galaxy/" not in str(path)}
    sentence = f"error: Galaxy is running already, at http://127.0.0.1:{port} (process "
    for second in (start(port), start(free_port())):
        said, error = second.communicate(timeout=60)
        assert (second.returncode, said) == (1, "")
        assert error.startswith(sentence)
        assert error.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in files} == files
    first.kill()
    first.wait()
    third = start(port)
    _, error = third.communicate(timeout=60)
    assert error.startswith(sentence)
    server = int(error.removeprefix(sentence).split(")")[0])
    assert answers(f"http://127.0.0.1:{port}")
    subprocess.run(["kill", str(server)], check=True)


def test_a_port_that_another_program_has(tmp_path: Path) -> None:
    with socket.socket() as another:
        another.bind(("127.0.0.1", 0))
        another.listen()
        port = another.getsockname()[1]
        with pytest.raises(SystemExit) as ended, claimed(tmp_path / "form", port):
            pytest.fail("it was claimed")
    said = f"error: port {port} of this machine is not free (Address already in use); choose another: "
    assert ended.value.code == said + "python3 run.py form 8080"
    with claimed(tmp_path / "form", port):
        pass


def test_a_server_that_dies_while_it_starts(tmp_path: Path, start: Start) -> None:
    server = start(free_port(), DYING)
    said, error = server.communicate(timeout=60)
    assert server.returncode == 1
    assert said.splitlines()[2:] == [str(number) for number in range(80, 100)]
    assert error.startswith(f"error: Galaxy ended with 3; its whole log is {tmp_path}/form/galaxy.log; without ")
    assert error.count("\n") == 1


def test_the_configuration_is_written_over_an_earlier_one(tmp_path: Path) -> None:
    """Which leaves the database as it is; what the tools require is found where the tool's environment is now."""
    for environment in ("before", "now"):
        configure(tmp_path, tmp_path / environment, own=True)
        (tmp_path / "database" / "universe.sqlite").touch(exist_ok=environment == "now")
    for name, version in requirements("source_extractor.xml"):
        assert (tmp_path / "dependencies" / name / version).readlink() == tmp_path / "now"
    galaxy = yaml.safe_load((tmp_path / "galaxy.yml").read_text())["galaxy"]
    assert galaxy["single_user"] == galaxy["admin_users"] == ADMIN_EMAIL
    configure(tmp_path, tmp_path / "now", own=False)
    assert "single_user" not in (tmp_path / "galaxy.yml").read_text()
