"""Make the pictures of the documentation again.

    python docs/make_pictures.py [sources] [choices] [advice] [notebook] [form]

`sources` makes sources.png, diagnostics.png and second_run.jpg in this folder, `choices` threshold.jpg and mesh.jpg,
and both the pictures in the tool's help (tokens of macros.xml), all from the shipped sky; `advice` makes those of
choosing.md, from the simulated images of the tests, and `notebook` what the code of python.md draws; these need the
packages that the tests need. `form` makes form.png and history.png, of the tool in a Galaxy server; it needs Debian's
packages chromium and fonts-dejavu-core, playwright from PyPI, and the environments that `python3 run.py test` sets up.
Without an argument all are made.
"""

import base64
import contextlib
import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from tests.documents import PAGES, run_python  # noqa: E402
from tests.galaxy.browser import visiting  # noqa: E402
from tests.galaxy.server import running_server  # noqa: E402

DOCS = REPOSITORY / "docs"
SKY = REPOSITORY / "test-data" / "sky.fits"

SOURCES_WIDTH, SOURCES_LARGEST = 900, 250_000  # pixels, bytes
HELP_WIDTH, HELP_LARGEST = 480, 25_000
CHOICES_WIDTH = 560
FORM_LARGEST = 350_000

# The product, its rows and columns, and options by title. The sources: the largest galaxy and faint ones around it.
CHOICES = {
    "threshold": (
        "sources",
        (slice(620, 1110), slice(1150, 1730)),
        {
            "Threshold 10: faint sources are missing": ("--thresh", "10"),
            "Threshold 1.5: good": (),
            "Threshold 0.6: noise is marked": ("--thresh", "0.6"),
        },
    ),
    "mesh": (
        "background",
        (slice(110, 1235), slice(230, 1730)),
        {
            "Mesh 64: the background is smooth, good": (),
            "Mesh 8: sources are taken for background": ("--bw", "8", "--bh", "8"),
        },
    ),
}

# Kinds of advice that are shown before and after.
ADVISED, ADVISED_LARGEST = ("larger_than_mesh", "spots_on_structure", "hot_pixels"), 150_000

FORM_WINDOW = {"width": 1300, "height": 2200}  # higher than the form
HISTORY_WINDOW = {"width": 1300, "height": 900}
# The number of its last output after that of its first.
SOURCES_PICTURE = 8


def main() -> int:
    makers = {
        "sources": make_sources,
        "choices": make_choices,
        "advice": make_advice,
        "notebook": make_notebook,
        "form": make_form,
    }
    names = sys.argv[1:] or list(makers)
    if not set(names) <= set(makers):
        print(__doc__)
        return 2
    for name in names:
        makers[name]()
    return 0


def make_sources() -> None:
    """The tool's picture of the sources, at two sizes; the diagnostics; the sources of a second run, with a mask."""
    with tempfile.TemporaryDirectory() as folder:
        first = pictures_of_a_run(Path(folder), "--outputs", "sources.png,diagnostics.png,bright_mask.fits")
        masked = ("--mask_file", f"{folder}/bright_mask.fits", "--outputs", "sources.png")
        second = pictures_of_a_run(Path(folder), *masked)
    sources = first["sources"]
    write(DOCS / "sources.png", png(scaled(sources, SOURCES_WIDTH)), SOURCES_LARGEST)
    write_token("@SOURCES_PICTURE@", scaled(sources, HELP_WIDTH))
    write(DOCS / "diagnostics.png", png(scaled(first["diagnostics"], SOURCES_WIDTH)), SOURCES_LARGEST)
    write(DOCS / "second_run.jpg", jpeg(scaled(second["sources"], SOURCES_WIDTH), quality=85), SOURCES_LARGEST)


def pictures_of_a_run(folder: Path, *options: str) -> dict[str, "Image.Image"]:
    """The pictures that a run on the shipped sky writes to a folder, by their names."""
    from PIL import Image

    command = [sys.executable, REPOSITORY / "source_extractor.py", SKY, "--output_dir", folder, *options]
    subprocess.run(command, check=True)
    return {path.stem: Image.open(path).convert("RGB") for path in folder.glob("*.png")}


def make_choices() -> None:
    """A good and a bad choice of the threshold and of the mesh, side by side on a part of the shipped sky."""
    for name, shown in CHOICES.items():
        picture = side_by_side(*shown)
        write(DOCS / f"{name}.jpg", jpeg(picture, quality=85), SOURCES_LARGEST)
        write_token(f"@{name.upper()}_PICTURE@", scaled(picture, CHOICES_WIDTH))


def side_by_side(product: str, part: tuple[slice, slice], choices: dict[str, tuple[str, ...]]) -> "Image.Image":
    """A part of a picture as it comes out with each of the options, under their titles."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    rows, columns = (len(range(*side.indices(10_000))) for side in part)
    height = 9 / len(choices) * rows / columns + 0.35
    figure = Figure((9, height), dpi=100, layout="constrained")
    for axes, (title, options) in zip(figure.subplots(1, len(choices)), choices.items(), strict=True):
        with tempfile.TemporaryDirectory() as folder:
            picture = pictures_of_a_run(Path(folder), *options, "--outputs", f"{product}.png")[product]
        axes.imshow(np.asarray(picture)[part], interpolation="antialiased")
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    pixels, size = FigureCanvasAgg(figure).print_to_buffer()
    return Image.frombuffer("RGBA", size, pixels).convert("RGB")


def make_advice() -> None:
    """Sources before and after an advice is followed, for some of its kinds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    from source_extraction import extract
    from source_extraction.settings import as_options
    from tests.advised_skies import KINDS

    for kind in ADVISED:
        pixels = KINDS[kind]().pixels
        first = extract(pixels)
        second = extract(pixels, follow_advice=True)
        options = as_options(first.advice[0].change)
        figure = Figure((9, 4.7), dpi=100, layout="constrained")
        titles = (f"{len(first)} sources", f"{len(second)} sources with {options}")
        for axes, result, title in zip(figure.subplots(1, 2), (first, second), titles, strict=True):
            result.plot(axes)
            axes.set_title(title, fontsize=10)
            axes.set_axis_off()
        drawn, size = FigureCanvasAgg(figure).print_to_buffer()
        picture = Image.frombuffer("RGBA", size, drawn).convert("RGB")
        write(DOCS / f"{kind}.jpg", jpeg(picture, quality=75), ADVISED_LARGEST)


def make_notebook() -> None:
    """What the code of python.md draws."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("test-data").symlink_to(SKY.parent)
        run_python(PAGES["docs/python.md"].read_text())
        drawn = Image.open("stars.png").convert("RGB")
    write(DOCS / "stars.png", png(scaled(drawn, SOURCES_WIDTH)), SOURCES_LARGEST)


def write_token(name: str, picture: "Image.Image") -> None:
    """Put a picture into the tool's help."""
    content = jpeg(picture)
    if len(content) > HELP_LARGEST:
        sys.exit(f"error: the picture {name} has {len(content)} bytes; at most {HELP_LARGEST} are wanted")
    address = "data:image/jpeg;base64," + base64.b64encode(content).decode()
    macros = REPOSITORY / "macros.xml"
    token = re.compile(rf'(<token name="{name}">)[^<]*(</token>)')
    text, replaced = token.subn(rf"\g<1>{address}\g<2>", macros.read_text())
    if replaced != 1:
        sys.exit(f"error: macros.xml has no token {name}")
    macros.write_text(text)
    print(f"macros.xml: {name}, a picture of {len(content)} bytes")


def scaled(picture: "Image.Image", width: int) -> "Image.Image":
    from PIL import Image

    return picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)


def png(picture: "Image.Image") -> bytes:
    """A PNG file with a palette."""
    from PIL import Image

    colours = picture.quantize(128, method=Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    file = io.BytesIO()
    colours.save(file, "PNG", optimize=True)
    return file.getvalue()


def jpeg(picture: "Image.Image", quality: int = 52) -> bytes:
    """A JPEG file: smaller than PNG where there is noise. Its colours are not subsampled: thin red lines stay red."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, subsampling=0, optimize=True, progressive=True)
    return file.getvalue()


def write(path: Path, content: bytes, largest: int) -> None:
    if len(content) > largest:
        sys.exit(f"error: {path.name} would have {len(content)} bytes; at most {largest} are wanted")
    path.write_bytes(content)
    print(f"{path.relative_to(REPOSITORY)}: {len(content)} bytes")


def make_form() -> None:
    """The form as it opens, in the middle column of Galaxy, and the picture of the sources after a run."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(Path(folder)) as url,
        visiting(url, "astronomer", FORM_WINDOW) as visitor,
    ):
        visitor.upload(SKY)
        visitor.open_form()
        column = visitor.page.locator("#center").bounding_box()
        last = visitor.field("outputs").bounding_box()
        column["height"] = last["y"] + last["height"] + 8 - column["y"]
        write_screenshot("form", visitor.page.screenshot(clip=column))
        visitor.page.set_viewport_size(HISTORY_WINDOW)
        first = visitor.run()
        visitor.wait(first + SOURCES_PICTURE)
        visitor.view_picture(first + SOURCES_PICTURE)
        write_screenshot("history", visitor.page.screenshot())


def write_screenshot(name: str, shot: bytes) -> None:
    from PIL import Image

    write(DOCS / f"{name}.png", png(Image.open(io.BytesIO(shot)).convert("RGB")), FORM_LARGEST)


if __name__ == "__main__":
    sys.exit(main())
