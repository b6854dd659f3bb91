"""Make the pictures of the documentation again.

    python docs/make_pictures.py [sources] [choices] [form]

`sources` makes sources.png in this folder, `choices` threshold.jpg and mesh.jpg, and both the pictures in the
tool's help (tokens of macros.xml), all from the shipped sky; they need the packages of requirements.txt. `form`
makes form.png, the tool's form in a Galaxy server; it needs Debian's packages chromium and fonts-dejavu-core,
playwright from PyPI, and the environments that `python3 run.py test` sets up. Without an argument all are made.
"""

import base64
import io
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image
    from playwright.sync_api import Page

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from tests.galaxy.serve import ADMIN_KEY  # noqa: E402
from tests.galaxy.server import running_server  # noqa: E402

DOCS = REPOSITORY / "docs"
SKY = REPOSITORY / "test-data" / "sky.fits"

SOURCES_WIDTH, SOURCES_LARGEST = 900, 250_000  # pixels, bytes
HELP_WIDTH, HELP_LARGEST = 480, 25_000
CHOICES_WIDTH = 640
FORM_LARGEST = 350_000

# The product, its rows and columns, and options by title. The sources: the largest galaxy and faint ones around it.
CHOICES = {
    "threshold": (
        "sources.png",
        (slice(620, 1110), slice(1150, 1730)),
        {
            "Threshold 10: faint sources are missing": ("--thresh", "10"),
            "Threshold 1.5: good": (),
            "Threshold 0.6: noise is marked": ("--thresh", "0.6"),
        },
    ),
    "mesh": (
        "background.png",
        (slice(110, 1235), slice(230, 1730)),
        {
            "Mesh 64: the background is smooth, good": (),
            "Mesh 8: sources are taken for background": ("--bw", "8", "--bh", "8"),
        },
    ),
}

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WINDOW = {"width": 1300, "height": 2200}  # higher than the form
USER = {"username": "astronomer", "email": "astronomer@example.org", "password": "sky-and-sources"}
SECONDS_TO_UPLOAD = 120


def main() -> int:
    makers = {"sources": make_sources, "choices": make_choices, "form": make_form}
    names = sys.argv[1:] or list(makers)
    if not set(names) <= set(makers):
        print(__doc__)
        return 2
    for name in names:
        makers[name]()
    return 0


def make_sources() -> None:
    """The tool's picture of the sources, at two sizes."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        options = ["--output_dir", folder, "--outputs", "sources.png"]
        subprocess.run([sys.executable, REPOSITORY / "source_extractor.py", SKY, *options], check=True)
        with Image.open(Path(folder) / "sources.png") as file:
            picture = file.convert("RGB")
    write(DOCS / "sources.png", png(scaled(picture, SOURCES_WIDTH)), SOURCES_LARGEST)
    write_token("@SOURCES_PICTURE@", scaled(picture, HELP_WIDTH))


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
            command = [sys.executable, REPOSITORY / "source_extractor.py", SKY, *options]
            subprocess.run([*command, "--output_dir", folder, "--outputs", product], check=True)
            with Image.open(Path(folder) / product) as file:
                axes.imshow(np.asarray(file.convert("RGB"))[part], interpolation="antialiased")
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    pixels, size = FigureCanvasAgg(figure).print_to_buffer()
    return Image.frombuffer("RGBA", size, pixels).convert("RGB")


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
    """The form as it opens, in the middle column of Galaxy."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(Path(folder)) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        page = browser.new_page(base_url=url, viewport=WINDOW)
        log_in(page)
        upload(page, SKY)
        open_form(page)
        column = page.locator("#center").bounding_box()
        last = page.locator("[id='form-element-outputs']").bounding_box()
        column["height"] = last["y"] + last["height"] + 8 - column["y"]
        shot = page.screenshot(clip=column)
        browser.close()
    write(DOCS / "form.png", png(Image.open(io.BytesIO(shot)).convert("RGB")), FORM_LARGEST)


def log_in(page: "Page") -> None:
    """Make a user and log in."""
    made = page.request.post("/api/users", headers={"x-api-key": ADMIN_KEY}, data=USER)
    if not made.ok:
        sys.exit(f"error: no user was made: {made.text()}")
    page.goto("/login/start")
    page.fill("input[name=login]", USER["email"])
    page.fill("input[name=password]", USER["password"])
    page.click("button[name=login]")
    page.wait_for_selector("#current-history-panel")


def upload(page: "Page", path: Path) -> None:
    """Put a file in the user's history, and wait until it is there."""
    # The server closes idle connections, perhaps at the moment at which one is used again.
    history = page.request.get("/history/current_history_json", max_retries=3).json()["id"]
    element = {"src": "files", "name": path.name, "ext": "auto", "dbkey": "?"}
    targets = [{"destination": {"type": "hdas"}, "elements": [element]}]
    fields = {"history_id": history, "targets": json.dumps(targets), "files_0|file_data": path}
    page.request.post("/api/tools/fetch", multipart=fields, fail_on_status_code=True)
    page.wait_for_selector(".content-item[data-hid='1'][data-state='ok']", timeout=SECONDS_TO_UPLOAD * 1000)


def open_form(page: "Page") -> None:
    """Show the form and wait until it has chosen the image."""
    page.goto("/?tool_id=source_extractor")
    page.wait_for_selector(f"[id='form-element-image'] .multiselect__single:has-text('{SKY.name}')")
    page.evaluate("document.fonts.ready")


if __name__ == "__main__":
    sys.exit(main())
