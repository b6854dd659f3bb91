"""The package as pip installs it, in an environment of its own, away from this repository."""

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

import source_extraction
from tests.conftest import REPOSITORY, TEST_DATA

UV = REPOSITORY / ".environments" / "uv" / "bin" / "uv"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what a clone has, since building writes into the folder that it is told to build."""
    folder = tmp_path_factory.mktemp("wheel")
    clone = folder / "clone"
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "source_extraction", "*.md", "LICENSE"],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    for name in (*filter(None, files), "pyproject.toml"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / name).exists():
            (clone / name).write_bytes((REPOSITORY / name).read_bytes())
    run(UV, "build", "--quiet", "--wheel", "--out-dir", folder, clone)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment in which nothing is but the wheel and what it asks for."""
    environment = tmp_path_factory.mktemp("environment") / "installed"
    run(UV, "venv", "--quiet", environment)
    pinned = ("--constraint", REPOSITORY / "requirements.txt")
    run(UV, "pip", "install", "--quiet", "--python", environment, *pinned, wheel)
    return environment / "bin"


def run(*command: str | Path, folder: Path | None = None) -> str:
    """Run a command with nothing of this repository on its way; what it said."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, check=False, capture_output=True, text=True, env=variables
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    information = f"source_extraction-{source_extraction.__version__}.dist-info/"
    assert wheel.name == f"source_extraction-{source_extraction.__version__}-py3-none-any.whl"
    expected = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "source_extraction").rglob("*.py")}
    page = REPOSITORY / "source_extraction" / "writers" / "page"
    expected |= {str(path.relative_to(REPOSITORY)) for path in page.iterdir()}
    assert {name for name in names if not name.startswith(information)} == {*expected, "source_extraction/py.typed"}


def test_three_lines(programs: Path, tmp_path: Path) -> None:
    code = (
        "import source_extraction as se\n"
        f"result = se.extract({str(TEST_DATA / 'sky.fits')!r}, thresh=2, gain='GAIN')\n"
        "table = result.to_table()\n"
        "print(len(table), se.__file__)"
    )
    number, place = run(programs / "python", "-c", code, folder=tmp_path).split()
    assert int(number) == 117
    assert Path(place).is_relative_to(programs.parent)


def test_console_commands(programs: Path, tmp_path: Path) -> None:
    said = run(programs / "source-extraction", TEST_DATA / "sky.fits", "--output_dir", "out", folder=tmp_path)
    assert "9 files in out." in said
    catalog = tmp_path / "out" / "catalog.tsv"
    said = run(programs / "source-extraction-join", catalog, "--output_dir", "joined", folder=tmp_path)
    assert said.startswith("Catalogs: 1, sources: 142, columns: ")
    assert (tmp_path / "joined" / "joined_catalog.tsv").read_bytes() == catalog.read_bytes()
    version = f"source-extraction {source_extraction.__version__}\n"
    for command in (["source-extraction"], ["source-extraction-join"], ["python", "-m", "source_extraction"]):
        assert run(programs / command[0], *command[1:], "--version", folder=tmp_path) == version


def test_types_are_known_to_those_who_use_it(programs: Path) -> None:
    code = "from importlib.resources import files; print(files('source_extraction').joinpath('py.typed').is_file())"
    assert run(programs / "python", "-c", code) == "True\n"
