"""The form in a browser: what a person sees and does, from the upload to the picture.

Screenshots are written to the folder that the variable SOURCE_EXTRACTOR_SCREENSHOTS names, else to pytest's own.
"""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from run import DEBIAN_PACKAGES
from tests.conftest import REPOSITORY, TEST_DATA
from tests.galaxy.browser import CHROMIUM, Visitor, visiting
from tests.galaxy.conftest import Galaxy

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason=f"needs Debian's packages {', '.join(DEBIAN_PACKAGES['chromium'])}"
)
FILES = ("sky.fits", "mask.fits", "kernel.txt", "small_mask.fits")
# The numbers of a run's outputs, after its first.
CATALOG, SOURCES_PICTURE = 0, 8


@pytest.fixture(scope="module")
def logged_in(galaxy: Galaxy) -> Iterator[Visitor]:
    """A user with the files in the history."""
    with visiting(galaxy.url, "visitor", {"width": 1400, "height": 1500}) as visitor:
        for name in FILES:
            visitor.upload(TEST_DATA / name)
        yield visitor


@pytest.fixture
def visitor(logged_in: Visitor) -> Visitor:
    """The user before the form as it opens."""
    logged_in.open_form()
    return logged_in


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("SOURCE_EXTRACTOR_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def rows(visitor: Visitor, number: int) -> list[dict[str, str]]:
    """The catalog that a dataset of the history is."""
    link = visitor.dataset(number).locator(".download-btn").get_attribute("href")
    return list(csv.DictReader(visitor.page.request.get(link).text().splitlines(), delimiter="\t"))


def test_the_form_asks_for_nothing_but_the_image(visitor: Visitor, screenshots: Path) -> None:
    """Sections are closed, and no list that must be chosen from is empty."""
    visitor.page.screenshot(path=screenshots / "form.png")
    assert not visitor.field("background|bw").is_visible()
    assert visitor.sections().count() == 8
    assert visitor.chosen("noise|err_option").startswith("Noise of the whole image")


def test_sections_open(visitor: Visitor, screenshots: Path) -> None:
    sections = {
        "Which image of the file": ("part|hdu", "part|plane"),
        "Mask:": ("mask|mask_file", "mask|mask_hdu", "mask|mask_plane", "mask|mask_bits", "mask|missing"),
        "Background:": ("background|subtract_background", "background|bw", "background|fthresh"),
        "Deblending:": ("deblending|deblend_nthresh", "deblending|deblend_cont"),
        "Cleaning:": ("cleaning|clean", "cleaning|clean_param"),
        "Photometry:": (
            "photometry|measure_file",
            "photometry|measure_hdu",
            "photometry|apertures",
            "photometry|saturation",
        ),
        "Stars:": ("psf|psf", "psf|psf_file", "psf|completeness"),
        "Mask of the brightest": ("bright|bright_flux", "bright|bright_grow"),
    }
    assert len(sections) == visitor.sections().count()
    for title, parameters in sections.items():
        assert not visitor.field(parameters[0]).is_visible()
        visitor.open_section(title)
        assert all(visitor.field(parameter).is_visible() for parameter in parameters)
    visitor.page.screenshot(path=screenshots / "sections.png")


def test_a_kernel_from_a_file_and_back(visitor: Visitor) -> None:
    kernel = visitor.field("filter|filter_file")
    assert not kernel.is_visible()
    visitor.choose("filter|filter_case", "Kernel from a file (file)")
    kernel.wait_for()
    # None is chosen: a workflow may have none.
    visitor.choose("filter|filter_file", "3: kernel.txt")
    assert visitor.chosen("filter|filter_file") == "3: kernel.txt"
    visitor.choose("filter|filter_case", "(default)")
    kernel.wait_for(state="detached")


def test_a_bad_value_is_refused(visitor: Visitor, screenshots: Path) -> None:
    """With a sentence at the field, and before there is a job."""
    number = visitor.next_number()
    visitor.write("thresh", "0")
    visitor.press_run()
    visitor.field("thresh").get_by_text("The threshold must be above 0.").wait_for()
    visitor.page.screenshot(path=screenshots / "refused.png")
    assert visitor.next_number() == number


def test_a_run_its_pictures_and_another(visitor: Visitor, screenshots: Path) -> None:
    visitor.choose("image", "sky.fits")
    visitor.open_section("Mask:")
    visitor.choose("mask|mask_file", "2: mask.fits")
    first = visitor.run()
    visitor.wait(first + SOURCES_PICTURE)

    picture = visitor.view_picture(first + SOURCES_PICTURE)
    assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [1800, 1395]
    visitor.page.screenshot(path=screenshots / "picture.png")

    visitor.view(first + CATALOG)
    table = visitor.page.locator("#center table")
    table.locator("tr").nth(100).wait_for()
    headings = table.locator("tr").first.inner_text().split()
    visitor.page.screenshot(path=screenshots / "catalog.png")

    visitor.rerun(first + CATALOG)
    assert visitor.chosen("image") == "1: sky.fits"
    assert visitor.written("thresh") == "1.5"
    visitor.open_section("Mask:")
    assert visitor.chosen("mask|mask_file") == "2: mask.fits"
    visitor.write("thresh", "10")
    second = visitor.run()
    visitor.page.screenshot(path=screenshots / "history.png")
    visitor.expand(second + CATALOG)
    catalogs = [rows(visitor, number + CATALOG) for number in (first, second)]
    # Every column has its name in the preview.
    assert headings == list(catalogs[0][0])
    # As many as the command line finds.
    assert [len(catalog) for catalog in catalogs] == [140, 35]
    assert {row["image"] for catalog in catalogs for row in catalog} == {"sky.fits"}


def test_a_run_that_fails_says_why(visitor: Visitor, screenshots: Path) -> None:
    """The history shows the sentence, and no traceback."""
    visitor.choose("image", "sky.fits")
    visitor.open_section("Mask:")
    visitor.choose("mask|mask_file", "4: small_mask.fits")
    failed = visitor.run(state="error")
    said = visitor.expand(failed).inner_text()
    visitor.page.screenshot(path=screenshots / "failed.png")
    sentence = "the mask has 90 x 100 pixels, the image sky.fits 480 x 360; give a mask of the image's shape"
    assert f"error: mask/small_mask.fits: {sentence}" in said
    assert "Traceback" not in said


def test_the_report_of_a_workflow_says_the_advice(visitor: Visitor, screenshots: Path) -> None:
    """And the numbers, beside the picture; at a threshold at which noise is catalogued."""
    workflow = yaml.safe_load((REPOSITORY / "workflows" / "one_image.gxwf.yml").read_text())
    invocation = visitor.run_workflow(workflow, image=1, threshold=0.6)
    visitor.page.goto(f"/workflows/invocations/{invocation}/report")
    visitor.page.get_by_text("Advice and warnings").click()
    numbers = visitor.page.locator("pre, .embedded-dataset, .galaxy-embedded", has_text='"advice"').first
    numbers.wait_for()
    picture = visitor.page.locator("img[src*='display']").first
    picture.wait_for()
    visitor.page.screenshot(path=screenshots / "report.png", full_page=True)
    said = visitor.page.locator("#center").inner_text()
    assert '"id": "noise_in_catalog"' in said
    assert '"thresh"' in said

    # The server allows the page of the run, as docs/administration.md describes: it is more than its source.
    visitor.page.locator(".content-item", has_text="page of the run").first.locator(".display-btn").first.click()
    shown = visitor.page.frame_locator("iframe[name=frame]").get_by_text("What was found").first
    shown.wait_for()
    visitor.page.screenshot(path=screenshots / "page.png")
    assert shown.evaluate("element => element.ownerDocument.contentType") == "text/html"
