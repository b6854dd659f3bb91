"""Pictures are the same whatever a user's matplotlibrc says, and the user's settings are the same afterwards."""

import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import matplotlib
import pytest
from matplotlib.figure import Figure

import source_extraction as se
from tests.conftest import SCRIPT, TEST_DATA, succeed

NAMES = ("image.png", "diagnostics.png", "sources.png", "background.png", "segmentation_map.png", "report.html")
SETTINGS = (
    "font.size: 24", "axes.titlesize: 40", "lines.linewidth: 8", "image.interpolation: nearest", "patch.linewidth: 9",
    "figure.facecolor: red", "axes.facecolor: red", "text.usetex: True", "axes.formatter.use_mathtext: True",
    "figure.autolayout: True", "figure.constrained_layout.use: True", "axes.grid: True", "image.aspect: equal",
    "font.family: Nonexistent", "axes.spines.top: False", "image.lut: 4", "agg.path.chunksize: 5",
    "text.parse_math: False", "axes.unicode_minus: False", "xtick.labelsize: 30", "hist.bins: 3", "savefig.dpi: 10",
    "savefig.transparent: True", "image.cmap: jet", "image.origin: lower", "figure.dpi: 10", "path.sketch: 3, 9, 2",
    "axes.formatter.use_locale: True", "backend: TkAgg", "text.antialiased: False",
    "axes.prop_cycle: cycler('color', 'k')",
)  # fmt: skip
# All at once but those that forbid one another; then those that matplotlib cannot read.
FILES = {
    "everything": "\n".join(setting for setting in SETTINGS if "usetex" not in setting and "autolayout" not in setting),
    "TeX": "text.usetex: True\nfigure.autolayout: True",
    "wrong values": "font.size: abc\nno.such.setting: 1\nbackend: zzz\nnothing",
    "garbage": b"nonsense: \xff\xfe: :\n".decode("latin-1"),
}
PLACES = {"home": FILES, "working folder": ("everything", "garbage"), "variable": ("garbage",)}


def settings() -> dict[str, object]:
    """matplotlib's, but for the backend, which it looks for when it is asked."""
    return {name: value for name, value in dict.items(matplotlib.rcParams) if name != "backend"}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("expected")
    succeed(TEST_DATA / "sky.fits", "--name", "my_image_50%.fits", "--outputs", ",".join(NAMES), folder=folder)
    return {name: (folder / name).read_bytes() for name in NAMES}


@pytest.mark.parametrize(("place", "file"), [(place, file) for place, files in PLACES.items() for file in files])
def test_the_same_pictures(tmp_path: Path, expected: dict[str, bytes], place: str, file: str) -> None:
    home, here, out = tmp_path / "home", tmp_path / "here", tmp_path / "out"
    where = {"home": home / ".config" / "matplotlib", "working folder": here, "variable": tmp_path / "else"}[place]
    for folder in (home, here, where):
        folder.mkdir(parents=True, exist_ok=True)
    (where / "matplotlibrc").write_bytes(FILES[file].encode("latin-1"))
    unset = ("MPLCONFIGDIR", "MATPLOTLIBRC", "XDG_CONFIG_HOME", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if name not in unset} | {"HOME": str(home)}
    if place == "variable":
        environment["MATPLOTLIBRC"] = str(where)
    command = [sys.executable, SCRIPT, TEST_DATA / "sky.fits", "--name", "my_image_50%.fits", "--output_dir", out]
    done = subprocess.run(
        [*map(str, command), "--outputs", ",".join(NAMES)],
        cwd=here,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for name in NAMES:
        assert (out / name).read_bytes() == expected[name], name


def test_settings_of_a_notebook(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """What is written is the same; what is plotted on the user's axes is in the user's style."""
    result = se.extract(TEST_DATA / "sky.fits", name="my_image_50%.fits")
    with matplotlib.rc_context({"font.size": 24, "axes.facecolor": "red", "axes.grid": True, "text.color": "blue"}):
        before = settings()
        result.write(tmp_path, NAMES)
        assert result._repr_html_()
        assert settings() == before
        axes = Figure().add_subplot()
        result.plot(axes)
        assert axes.title.get_color() == "blue"
        assert axes.xaxis.get_gridlines()[0].get_visible()
        axes.figure.savefig(BytesIO())
        assert settings() == before
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == expected[name], name


def test_a_picture_that_fails_leaves_the_settings_alone(tmp_path: Path) -> None:
    result = se.extract(TEST_DATA / "sky.fits")
    before = settings()
    (tmp_path / "image.png").mkdir()
    with pytest.raises(se.InputError):
        result.write(tmp_path, "image.png")
    assert settings() == before
