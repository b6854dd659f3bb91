"""A Slurm cluster of one node with two CPUs, in a folder of its own.

It belongs to whoever starts it, root or not, and runs the jobs of nobody else. Configuration, MUNGE's key and
socket, state, logs and ports are its own: a cluster that the machine is part of is neither used nor changed.
"""

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.galaxy.server import free_port, stop, wait_for_start
from tests.galaxy.waiting import wait_until

CPUS = 2
# Debian has the daemons where only root looks for programs.
DAEMONS_PATH = f"{os.environ['PATH']}:/usr/sbin"
INSTALLED = all(shutil.which(daemon, path=DAEMONS_PATH) for daemon in ("munged", "slurmctld", "slurmd"))

# Jobs are scheduled at once, are killed two seconds after they were told to end, and are remembered for an hour. The
# times after which Slurm gives up (two seconds for a connection, ten for an answer or for a job to begin) are for a
# machine with nothing else to do. An answer may not take the minute after which Galaxy ends Slurm's commands: it takes
# a command that said nothing for the end of the job.
CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_min_interval=100000
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
MinJobAge=3600
TCPTimeout=50
MessageTimeout=50
BatchStartTimeout=900
UnkillableStepTimeout=900
MailProg=/bin/true
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} CPUs={cpus}
PartitionName=main Nodes=node Default=YES State=UP
"""


@dataclass(frozen=True)
class Cluster:
    """A running cluster, asked with Slurm's own commands."""

    folder: Path

    def ask(self, *command: str, check: bool = True) -> str:
        """What a command of Slurm says."""
        return subprocess.run(command, env=self.environment, check=check, capture_output=True, text=True).stdout

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": DAEMONS_PATH}

    def node(self) -> str:
        """The state of the node; nothing before the controller answers."""
        return self.ask("sinfo", "--noheader", "--format=%T", check=False).strip()

    def queue(self) -> list[str]:
        """The jobs that have not ended, with their states."""
        return self.ask("squeue", "--noheader", "--format=%A %T").splitlines()

    def job(self, number: str) -> dict[str, str]:
        """Slurm's record of a job, running or ended: JobState, NumCPUs, StartTime, EndTime, ..."""
        record = self.ask("scontrol", "show", "--oneliner", "job", number)
        return dict(field.split("=", 1) for field in record.split() if "=" in field)

    def processes(self, *job: str) -> dict[int, list[str]]:
        """The processes of a job, or of all jobs: their ids and the words of their command lines."""
        listed = self.ask("scontrol", "listpids", *job, check=False).splitlines()[1:]
        ids = [int(line.split()[0]) for line in listed]
        return {process: _about(process, "cmdline").split("\0") for process in ids}


@contextlib.contextmanager
def running_slurm(folder: Path) -> Iterator[Cluster]:
    """Start a cluster that keeps its files in `folder`, end its jobs and stop it.

    Raises RuntimeError, with what its daemons said, where it does not start.
    """
    _configure(folder)
    cluster = Cluster(folder)
    munged = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket"]
    munged += [f"--{file}-file={folder}/munged.{file}" for file in ("key", "log", "pid", "seed")]
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(_running(munged, cluster))]
        wait_for_start((folder / "munge.socket").exists, "socket of MUNGE", lambda: os.listdir(folder), started, folder)
        for daemon in (["slurmctld", "-D"], ["slurmd", "-D", "-N", "node"]):
            started.append(stack.enter_context(_running(daemon, cluster)))
        wait_for_start(lambda: cluster.node() == "idle", "node of Slurm", cluster.node, started, folder)
        try:
            yield cluster
        finally:
            _end_jobs(cluster)


def _configure(folder: Path) -> None:
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munged.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(1024))
    ports = {"port": free_port(), "node_port": free_port()}
    machine = {"host": socket.gethostname().split(".")[0], "user": getpass.getuser()}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder, cpus=CPUS, **ports, **machine))


@contextlib.contextmanager
def _running(daemon: list[str], cluster: Cluster) -> Iterator[subprocess.Popen]:
    with (cluster.folder / f"{daemon[0]}.out.log").open("w") as log:
        process = subprocess.Popen(daemon, env=cluster.environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        stop(process)


def _end_jobs(cluster: Cluster) -> None:
    """The daemons would leave the processes of jobs behind."""
    try:
        cluster.ask("scancel", "--me")
        wait_until(lambda: not cluster.queue(), "end of the jobs of Slurm", cluster.queue)
    finally:
        # None is left but where the controller does not answer, for which slurmstepd, which started them, would wait.
        processes = cluster.processes()
        steps = {parent for parent in map(_parent, processes) if _about(parent, "comm") == "slurmstepd\n"}
        for process in (*processes, *steps):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def _parent(process: int) -> int:
    fields = _about(process, "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def _about(process: int, file: str) -> str:
    """What the system says of a process; nothing where it has ended."""
    try:
        return Path(f"/proc/{process}/{file}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
