#!/usr/bin/env python3
"""Set up what is needed, and run it; needs Python 3.11 or newer and nothing else.

python3 run.py demo                 the tool on a shipped image
python3 run.py test [-- ARGS]       tidiness, tests, and a real Galaxy server (ARGS go to pytest)
python3 run.py form [PORT]          Galaxy with the tool on this machine (at port 8080 if none is named)
python3 run.py tables [--check]     the tables of documents and form, written from the code
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent
ENVIRONMENTS = REPOSITORY / ".environments"
UV = "uv==0.13.9"
# sep 1.4.1 has built packages for these; uv finds or fetches one where this Python is newer.
NEWEST_PYTHON = (3, 13)

# The packages of each environment: requirement files, and files that pin what those bring along.
PACKAGES = {
    "tool": (["requirements.txt"], []),
    "tests": (["requirements.txt", "tests/requirements.txt"], []),
    "galaxy": (["tests/galaxy/requirements.txt"], ["tests/galaxy/constraints.txt"]),
}

# Programs that some tests run, and the Debian packages that bring them.
DEBIAN_PACKAGES = {
    "chromium": ["chromium", "fonts-dejavu-core"],
    "slurmctld": ["slurm-wlm", "slurm-client", "munge"],
    "stilts": ["stilts", "starlink-ecsv-java"],
    "asttable": ["gnuastro"],
    "fitsverify": ["fitsverify"],
    "ds9": ["saods9", "xvfb", "xauth"],
    "source-extractor": ["source-extractor"],
}


# What the package is to run on, as mypy calls them.
SYSTEMS = ("linux", "darwin", "win32")


def main() -> int:
    if sys.version_info < (3, 11):
        sys.exit("error: Python 3.11 or newer is needed; this is " + sys.version.split()[0])
    task, *rest = sys.argv[1:] or ["help"]
    tasks = {"demo": demo, "test": test, "form": form, "tables": tables}
    # What stands behind -- is for others.
    ours = rest[: rest.index("--")] if "--" in rest else rest
    if {"help", "-h", "--help"} & {task, *ours}:
        print(__doc__)
        return 0
    if task not in tasks:
        return refused(f"there is no task {task!r}")
    try:
        return tasks[task]([argument for argument in rest if argument != "--"])
    except KeyboardInterrupt:
        return 130


def refused(why: str) -> int:
    """Say why a command is not run, and what can be; the exit code."""
    print(f"error: {why}\n\n{__doc__}", file=sys.stderr)
    return 2


def demo(arguments: list[str]) -> int:
    """Run the tool on the shipped sky, and say where the page is that shows the run."""
    if arguments:
        return refused(f"demo takes no {arguments[0]!r}")
    from source_extraction.run.products import DEFAULT_PRODUCTS

    pictures = REPOSITORY / "pictures"
    image = REPOSITORY / "test-data" / "sky.fits"
    products = ",".join((*DEFAULT_PRODUCTS, "diagnostics.png", "report.html"))
    program = environment("tool") / "python"
    status = run(program, "source_extractor.py", image, "--output_dir", pictures, "--outputs", products)
    if status == 0:
        print(f"\nThe catalog is {pictures / 'catalog.tsv'}. Open this page in a browser:\n{pictures / 'report.html'}")
    return status


def test(arguments: list[str]) -> int:
    """Check that the code is tidy and run the tests; those whose program is missing are skipped, and named."""
    _install_programs()
    environment("tool")
    environment("galaxy")
    programs = environment("tests")
    checks = [("ruff", "check", "."), ("ruff", "format", "--check", ".")]
    checks += [("mypy", "--platform", system) for system in SYSTEMS]
    for program, *options in checks:
        if status := run(programs / program, *options):
            return status
    return run(programs / "python", "-m", "pytest", *arguments)


def form(arguments: list[str]) -> int:
    """Serve Galaxy with the tool until it is interrupted."""
    from tests.galaxy.own_server import claimed, serve

    port, *more = arguments or ["8080"]
    if more or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
        return refused(f"form takes the number of a port, from 1 to 65535, and not {' '.join(arguments)!r}")
    folder = ENVIRONMENTS / "form"
    # Before the environments, which the server that runs may be using.
    with claimed(folder, int(port)) as lock:
        environment("galaxy")
        environment("tool")
        return serve(folder, int(port), lock)


def tables(arguments: list[str]) -> int:
    """Write the tables of options, products and columns, or say where they are out of date."""
    return run(environment("tests") / "python", "docs/write_tables.py", *arguments)


def environment(name: str) -> Path:
    """The folder of the programs of an environment, made where it is missing or out of date."""
    folder = ENVIRONMENTS / name
    files, constraints = PACKAGES[name]
    content = "".join((REPOSITORY / file).read_text() for file in (*files, *constraints))
    stamp = folder / "made-from"
    made_from = hashlib.sha256(f"{sys.version} {content}".encode()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == made_from):
        print(f"Setting up the environment {name!r} ...", flush=True)
        uv = _uv()
        python = sys.executable if sys.version_info[:2] <= NEWEST_PYTHON else ".".join(map(str, NEWEST_PYTHON))
        options = [option for file in files for option in ("-r", file)]
        options += [option for file in constraints for option in ("-c", file)]
        _must(uv, "venv", "--quiet", "--clear", "--python", python, folder)
        _must(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", folder, *options)
        stamp.write_text(made_from)
    return folder / "bin"


def _install_programs() -> None:
    """Install what is missing of Debian's programs, where this may be done without a question: as root, with apt."""
    # Debian has daemons where only root looks for programs.
    path = f"{os.environ['PATH']}:/usr/sbin"
    absent = [name for name in DEBIAN_PACKAGES if not shutil.which(name, path=path)]
    missing = [package for name in absent for package in DEBIAN_PACKAGES[name]]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"For the tests with other programs: apt-get install {' '.join(missing)}", flush=True)
        return
    print(f"Installing {', '.join(missing)} ...", flush=True)
    _apt_get("update")
    _apt_get("install", "--no-install-recommends", *missing)


def _apt_get(*arguments: str) -> None:
    """Run apt-get without a word and without a question; what it says, a line or more a package, only if it fails."""
    command = ["apt-get", "--yes", *arguments]
    apt = subprocess.run(
        command,
        check=False,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if apt.returncode:
        sys.exit(f"{apt.stdout}error: {' '.join(command)} ended with {apt.returncode}")


def _uv() -> Path:
    """uv, installed with pip into an environment of its own."""
    folder = ENVIRONMENTS / "uv"
    if not (folder / "bin" / "uv").exists():
        _must(sys.executable, "-m", "venv", "--clear", folder)
        _must(folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV)
    return folder / "bin" / "uv"


def run(*command: str | Path) -> int:
    """Run a command in the repository; its exit code."""
    # Without bytecode every start of Python would compile its libraries anew.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run([str(part) for part in command], cwd=REPOSITORY, env=variables, check=False).returncode


def _must(*command: str | Path) -> None:
    if status := run(*command):
        sys.exit(f"error: {' '.join(map(str, command))} ended with {status}")


if __name__ == "__main__":
    sys.exit(main())
