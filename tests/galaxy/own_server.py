"""Galaxy with the tool on one's own machine, from its start to Ctrl-C; what is in it is there again the next time."""

import contextlib
import fcntl
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import TextIO

from tests.galaxy.server import answers, start, stop

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
LAST_LINES = 20


@contextlib.contextmanager
def claimed(folder: Path, port: int) -> Iterator[TextIO]:
    """The lock of `folder`, so that one server uses it, and at a port that is free; otherwise SystemExit says why not.

    Nothing else in the folder is touched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            sys.exit(f"error: Galaxy is running already, at {lock.read()}; Ctrl-C ends it where it was started")
        with socket.socket() as tried:
            # As the server does, which need not wait until the connections of an earlier one are forgotten.
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError as problem:
                another = f"choose another: python3 run.py form {8081 if port == 8080 else 8080}"
                sys.exit(f"error: port {port} of this machine is not free ({problem.strerror}); {another}")
        lock.truncate(0)
        lock.write(address(port))
        lock.flush()
        yield lock


def address(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def serve(folder: Path, port: int, lock: TextIO) -> int:
    """Serve from a folder that is claimed, until Ctrl-C; the exit code."""
    version = galaxy_version()
    home, log = folder / version, folder / "galaxy.log"
    for earlier in sorted(folder.glob("*/database") if not home.exists() else ()):
        other = earlier.parent
        print(f"Galaxy {version} begins with an empty history. That of Galaxy {other.name} stays in {other}")
    print(f"Starting Galaxy ... (its log: {log})", flush=True)
    # A closed window ends it as Ctrl-C does, if not started by nohup. Ctrl-C itself must not reach the server, which is
    # asked to end once; and while it is alive, with or without this process, it holds the lock.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:
            signal.signal(ending, signal.default_int_handler)
    server = start(home, port, log, "own", start_new_session=True, pass_fds=[lock.fileno()])
    ready = False
    try:
        print(f" (process {server.pid})", end="", file=lock, flush=True)
        while server.poll() is None:
            if not ready and (ready := answers(address(port))):
                print(f"Ready: {address(port)}/?tool_id=source_extractor (Ctrl-C ends it)", flush=True)
            sleep(0.5)
    except KeyboardInterrupt:
        print("\nStopping Galaxy ...", flush=True)
        return 0
    finally:
        stop(server)
    print(*log.read_text(errors="replace").splitlines()[-LAST_LINES:], sep="\n")
    anew = f"without {home}, which has its histories, it begins anew"
    sys.exit(f"error: Galaxy ended with {server.returncode}; its whole log is {log}; {anew}")


def galaxy_version() -> str:
    """The version whose database the server makes and reads."""
    (version,) = re.findall(r"^galaxy-app==(\S+)$", REQUIREMENTS.read_text(), re.MULTILINE)
    return version
