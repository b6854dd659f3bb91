"""report.html in Chromium, from disk: what a person sees and does there, with and without its script.

Screenshots are written to the folder that the variable SOURCE_EXTRACTOR_SCREENSHOTS names, else to pytest's own.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from astropy import units
from astropy.coordinates import SkyCoord

from run import DEBIAN_PACKAGES
from tests.conftest import read_catalog
from tests.galaxy.browser import CHROMIUM, CHROMIUM_OPTIONS
from tests.report_pages import EXTNAME, NAME, make_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason=f"needs Debian's packages {', '.join(DEBIAN_PACKAGES['chromium'])}"
)
Open = Callable[..., "Page"]
WIDTH, HEIGHT = 480, 360  # of the shipped sky


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        yield started
        started.close()


@pytest.fixture
def open_page(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Opens the page of a kind of run. At the end, nothing was requested but the page, and nothing complained of."""
    said: list[str] = []
    contexts = []

    def opened(kind: str, *, script: bool = True, width: int = 1500, heard: bool = True, **options: object) -> "Page":
        context = browser.new_context(viewport={"width": width, "height": 1000}, java_script_enabled=script, **options)
        contexts.append(context)
        path = make_page(kind, tmp_path_factory)
        page = context.new_page()
        if heard:
            page.on("request", lambda request: None if request.url.startswith("data:") else said.append(request.url))
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda problem: said.append(str(problem)))
        page.goto(path.as_uri())
        assert said == ([path.as_uri()] if heard else [])
        said.clear()
        if script:
            page.wait_for_selector("body[data-ready]")
            page.wait_for_selector("#stage[data-drawn=all]")
        return page

    yield opened
    assert said == []
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The shipped sky's, the brightest first."""
    catalog = read_catalog(make_page("sky", tmp_path_factory).parent)
    return catalog.sort_values("flux_auto", ascending=False, kind="stable").set_index("label", drop=False)


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("SOURCE_EXTRACTOR_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def place(page: "Page", x: float, y: float, *, from_top: bool = False) -> tuple[float, float]:
    """Where a position of the image is on the screen, when the whole image is seen."""
    box = page.locator("#marks").bounding_box()
    scale = min(box["width"] / WIDTH, box["height"] / HEIGHT)
    left, top = (box["width"] - scale * WIDTH) / 2, (box["height"] - scale * HEIGHT) / 2
    down = y + 0.5 if from_top else HEIGHT - y - 0.5
    return box["x"] + left + scale * (x + 0.5), box["y"] + top + scale * down


def tip(page: "Page") -> dict[str, str]:
    """What is said beside the pointer."""
    terms = page.locator("#tip dt").all_inner_texts()
    return dict(zip(terms, page.locator("#tip dd").all_inner_texts(), strict=True))


def labels(page: "Page") -> list[int]:
    """Those of the rows that are shown."""
    return [int(text) for text in page.locator("#rows tbody th").all_inner_texts()]


def zoomed(page: "Page") -> float:
    page.wait_for_selector("#stage[data-drawn=all]")
    return float(page.locator("#stage").get_attribute("data-zoom"))


def close_to(shown: str, value: float) -> bool:
    """Whether a number is another one, rounded to its digits."""
    decimals = len(shown.partition(".")[2])
    return abs(float(shown) - value) <= max(0.51 * 10.0**-decimals, 1e-5 * abs(value))


def test_a_pointer_shows_the_row_of_a_source(open_page: Open, catalog: pd.DataFrame) -> None:
    """Of ten sources what is shown is what the catalog says; the position as astropy spells it."""
    page = open_page("sky")
    page.locator("#marks").scroll_into_view_if_needed()
    # Those that lie in no other's ellipse.
    apart = [
        label
        for label, source in catalog.iterrows()
        if np.sort(np.hypot(catalog["x"] - source["x"], catalog["y"] - source["y"]))[1] > 25
    ]
    assert len(apart) >= 10
    for label in apart[:10]:
        source = catalog.loc[label]
        page.mouse.move(*place(page, source["x"], source["y"]))
        page.wait_for_selector(f"#tip[data-source='{label}']:visible")
        assert page.locator("#tip strong").inner_text() == f"Source {label}"
        shown = tip(page)
        x, y = shown["x, y"].removesuffix(" pix").split(", ")
        ra, dec = shown["RA, Dec"].removesuffix(" deg").split(", ")
        flux, error = shown["Flux"].removesuffix(" adu").split(" ± ")
        magnitude, _ = shown["Magnitude"].split(" ± ")
        radius = shown["Half-light radius"].partition(" ")[0]
        for text, name in (
            (x, "x"), (y, "y"), (ra, "ra"), (dec, "dec"), (flux, "flux_auto"), (magnitude, "mag_auto"),
            (shown["S/N"], "snr"), (radius, "flux_radius"),
        ):  # fmt: skip
            assert close_to(text, source[name]), (label, name, text)
        assert float(error) == pytest.approx(source["flux_auto_err"], rel=6e-3)
        sky = SkyCoord(source["ra"], source["dec"], unit=units.deg)
        spelled = re.sub("[hms\u00b0\u2032\u2033]", " ", shown["On the sky"].replace("\N{MINUS SIGN}", "-"))
        assert SkyCoord(spelled, unit=(units.hourangle, units.deg)).separation(sky).arcsec < 0.15
        assert ("split from a blend" in shown["Flags"]) == bool(source["flag"] & 1)
        # A screen reader hears the same.
        assert shown["Flux"] in page.locator("#live").text_content()
    page.mouse.move(5, 5)
    page.wait_for_selector("#tip", state="hidden")


def test_a_click_chooses_in_the_table_and_a_row_in_the_picture(open_page: Open, catalog: pd.DataFrame) -> None:
    page = open_page("sky")
    page.locator("#marks").scroll_into_view_if_needed()
    # A faint one, which is on the last page of the table.
    label = catalog.index[130]
    page.mouse.click(*place(page, *catalog.loc[label, ["x", "y"]]))
    chosen = page.locator("#rows tr[aria-current]")
    chosen.wait_for()
    assert chosen.locator("th").inner_text() == str(label)
    assert page.locator("#page").inner_text() == "101 to 142 of 142"
    assert page.locator("#chosen h3").inner_text() == f"Source {label}"
    box, row = page.locator("#catalog .table").bounding_box(), chosen.bounding_box()
    assert box["y"] <= row["y"] <= box["y"] + box["height"]

    page.locator("#chosen summary").click()
    whole = page.locator("#chosen details tr")
    assert whole.count() == len(catalog.columns) - 1
    for row in whole.all()[:5]:
        name, text = row.locator("th").inner_text(), row.locator("td").first.inner_text()
        assert close_to(text, catalog.loc[label, name])

    # And the reverse: the picture moves to it.
    other = labels(page)[3]
    page.locator("#rows tbody tr").nth(3).locator("td").first.click()
    assert page.locator("#chosen h3").inner_text() == f"Source {other}"
    assert zoomed(page) > 1.5
    # Once the whole of it is there again, a click on the sky lets go.
    page.locator("#whole").click()
    page.keyboard.press("Escape")
    page.mouse.click(*place(page, 2, 100))
    assert page.locator("#rows tr[aria-current]").count() == 0


def test_the_table_sorts(open_page: Open, catalog: pd.DataFrame) -> None:
    page = open_page("sky")
    assert labels(page) == catalog.index[:50].tolist()
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    header = page.locator("#rows thead button", has_text="snr")
    for ascending in (True, False):
        header.click()
        expected = catalog.sort_values("snr", ascending=ascending, kind="stable").index[:50].tolist()
        # What is alike in S/N, as it is shown, may come in another order.
        shown = catalog.loc[labels(page), "snr"].round(1).tolist()
        assert shown == catalog.loc[expected, "snr"].round(1).tolist()
        order = page.locator("th[aria-sort]").get_attribute("aria-sort")
        assert order == ("ascending" if ascending else "descending")
    page.locator("#next").click()
    assert page.locator("#page").inner_text() == "51 to 100 of 142"


def test_the_table_filters(open_page: Open, catalog: pd.DataFrame) -> None:
    """The picture shows what passes, too."""
    page = open_page("sky")
    count = page.locator("#count")
    page.locator("#least").fill("100")
    bright = catalog[catalog["snr"] >= 100]
    count.filter(has_text=f"{len(bright)} of 142 sources").wait_for()
    assert labels(page) == bright.index[:50].tolist()
    page.locator("#flags").select_option("flag:1")
    blended = bright[bright["flag"] & 1 == 1]
    count.filter(has_text=f"{len(blended)} of 142 sources").wait_for()
    page.locator("#flags").select_option("none")
    plain = bright[(bright["flag"] == 0) & (bright["flag_phot"] == 0)]
    count.filter(has_text=f"{len(plain)} of 142 sources").wait_for()
    faint = catalog.iloc[-1]
    page.locator("#marks").scroll_into_view_if_needed()
    page.mouse.move(*place(page, faint["x"], faint["y"]))
    assert page.locator("#tip").is_hidden()
    page.locator("button[type=reset]").click()
    count.filter(has_text="The table has 142 sources").wait_for()
    page.locator("#label").fill(str(faint["label"]))
    page.locator("#page", has_text="1 to 1 of 1").wait_for()
    assert labels(page) == [faint["label"]]


def test_only_what_is_in_the_view(open_page: Open, catalog: pd.DataFrame) -> None:
    page = open_page("sky")
    page.locator("#seen").check()
    page.locator("#page", has_text="of 142").wait_for()
    page.locator("#marks").scroll_into_view_if_needed()
    page.mouse.move(*place(page, 400, 300))
    for _ in range(6):
        page.mouse.wheel(0, -150)
    page.locator("#page", has_not_text="of 142").wait_for()
    seen = catalog.loc[labels(page)]
    assert 0 < len(seen) < 70
    # Around the pointer, as wide as the zoom says.
    assert np.ptp(seen["x"]) <= WIDTH / zoomed(page) + 1
    assert seen["x"].min() <= 400 <= seen["x"].max() + 60


def test_zoom_and_pan(open_page: Open, catalog: pd.DataFrame, screenshots: Path) -> None:
    """What is under the pointer stays there; the image does not leave the frame."""
    page = open_page("sky")
    page.locator("#marks").scroll_into_view_if_needed()
    source = catalog.iloc[3]
    at = place(page, source["x"], source["y"])
    page.mouse.move(*at)
    for _ in range(5):
        page.mouse.wheel(0, -200)
    assert zoomed(page) > 5
    page.mouse.move(at[0] + 1, at[1])
    page.wait_for_selector(f"#tip[data-source='{source['label']}']:visible")
    page.screenshot(path=screenshots / "report_zoomed.png")
    # It goes where it is dragged.
    page.mouse.down()
    page.mouse.move(at[0] - 60, at[1] + 40, steps=5)
    assert page.locator("#tip").is_hidden()
    page.mouse.up()
    page.mouse.move(at[0] - 61, at[1] + 40)
    page.wait_for_selector(f"#tip[data-source='{source['label']}']:visible")
    assert page.locator("#rows tr[aria-current]").count() == 0, "a drag is no click"
    for name, change in (("#closer", 1.5), ("#farther", 1 / 1.5)):
        before = zoomed(page)
        page.locator(name).click()
        assert zoomed(page) == pytest.approx(before * change, rel=0.01)
    page.locator("#whole").click()
    assert zoomed(page) == 1
    page.mouse.dblclick(*place(page, 240, 20))
    assert zoomed(page) == pytest.approx(2, rel=0.01)


def test_layers(open_page: Open) -> None:
    """Each has its picture, and says what it is; ellipses go away."""
    page = open_page("sky")
    seen = set()
    for name, words in (
        ("Image", "as it is"), ("Outlines", "segmentation map"), ("Background", "adu"), ("Noise", "RMS"),
        ("Without background", "without its background"),
    ):  # fmt: skip
        page.locator("#layers label", has_text=re.compile(f"^{name}$")).click()
        assert words in page.locator("#caption").inner_text()
        page.wait_for_selector("#stage[data-drawn=all]")
        page.wait_for_timeout(50)
        seen.add(page.locator("#stage").screenshot())
    page.locator("#with-ellipses").uncheck()
    page.wait_for_timeout(50)
    seen.add(page.locator("#stage").screenshot())
    assert len(seen) == 6


def test_keyboard(open_page: Open, catalog: pd.DataFrame) -> None:
    """Everything without a pointer: Tab reaches the picture, which shows that it has the focus."""
    page = open_page("sky")
    reached = []
    for _ in range(16):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.getAttribute('name')"))
        if reached[-1] == "marks":
            break
    assert {"layer", "with-ellipses", "closer", "farther", "whole", "marks"} <= set(reached)
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert zoomed(page) == pytest.approx(2.25, rel=0.01)
    before = page.locator("#stage").screenshot()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(50)
    assert page.locator("#stage").screenshot() != before
    page.keyboard.press("0")
    assert zoomed(page) == 1
    for label in catalog.index[:3]:
        page.keyboard.press("n")
        assert page.locator("#rows tr[aria-current] th").inner_text() == str(label)
        assert page.locator("#live").text_content().startswith(f"Source {label}.")
    page.keyboard.press("p")
    assert page.locator("#rows tr[aria-current] th").inner_text() == str(catalog.index[1])
    page.keyboard.press("Escape")
    assert page.locator("#rows tr[aria-current]").count() == 0
    # A row is chosen by the button that is its label, which keeps the focus.
    page.locator("#rows tbody button").nth(4).focus()
    page.keyboard.press("Enter")
    assert page.locator("#rows tr[aria-current] th").inner_text() == str(catalog.index[4])
    assert page.evaluate("document.activeElement.textContent") == str(catalog.index[4])


@pytest.mark.parametrize("kind", ["sky", "crowded"])
def test_without_a_script(open_page: Open, kind: str, screenshots: Path) -> None:
    """The pictures, the words and the first fifty rows; nothing that would not work."""
    page = open_page(kind, script=False)
    page.screenshot(path=screenshots / f"report_{kind}_without_a_script.png", full_page=True)
    pictures = page.locator("img")
    assert pictures.count() == 6
    for picture in pictures.all():
        assert picture.is_visible()
        box = picture.bounding_box()
        assert box["width"] > 300
        assert box["height"] > 200
    assert page.locator("#rows tbody tr").count() == 50
    assert page.locator("#rows tbody tr").first.is_visible()
    assert page.locator("p.lead").is_visible()
    for hidden in ("#explorer", "#filters", "#pages"):
        assert page.locator(hidden).is_hidden()
    assert page.locator("button:visible").count() == 0


def test_a_crowded_field(open_page: Open, screenshots: Path) -> None:
    """Fluid: of the frames that a drag takes, half are drawn within a twentieth of a second."""
    page = open_page("crowded")
    assert page.locator("#count").inner_text().startswith("The table has the 5,000 brightest of 7")
    page.locator("#marks").scroll_into_view_if_needed()
    box = page.locator("#marks").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.evaluate(
        """() => {
            window.times = [];
            const frame = () => { window.times.push(performance.now()); requestAnimationFrame(frame); };
            requestAnimationFrame(frame);
        }"""
    )
    page.mouse.move(x, y)
    for _ in range(3):
        page.mouse.wheel(0, -150)
        page.mouse.down()
        page.mouse.move(x - 90, y - 60, steps=15)
        page.mouse.up()
        page.mouse.move(x, y)
    page.wait_for_selector("#stage[data-drawn=all]")
    between = np.diff(page.evaluate("window.times"))
    assert np.median(between) < 50
    # Of one that is not among the brightest there is no row, but what there is is shown.
    page.locator("#label").fill("40000")
    page.locator("#page", has_text="no row").wait_for()
    page.locator("#filters button").click()
    page.locator("#page", has_text="of 5,000").wait_for()
    page.screenshot(path=screenshots / "report_crowded.png")


def test_no_source(open_page: Open, screenshots: Path) -> None:
    page = open_page("empty")
    assert page.locator("#page").inner_text() == "no row"
    assert page.locator("#next").is_disabled()
    page.locator("#marks").focus()
    for key in ("n", "p", "+", "Escape"):
        page.keyboard.press(key)
    page.screenshot(path=screenshots / "report_empty.png", full_page=True)


def test_names_do_nothing(open_page: Open) -> None:
    """Those of the image, its HDU and its unit are read as they are, in the picture's words too."""
    page = open_page("hostile")
    assert page.locator("h1").inner_text() == NAME
    assert EXTNAME in page.locator("p.lead").inner_text()
    page.locator("#rows tbody tr").first.click()
    assert '"><b onclick=x>adu' in page.locator("#chosen").inner_text()
    assert page.title().startswith("142 sources in </script>")
    assert page.locator("script").count() == 3
    assert page.locator("b, img:not([src^='data:'])").count() == 0


def test_the_policy_forbids_what_is_not_in_the_page(open_page: Open) -> None:
    """A script, a picture and a style that get in all the same: none does anything, and nothing is requested."""
    page = open_page("sky", heard=False)
    forbidden: list[str] = []
    answered: list[str] = []
    page.on("console", lambda message: forbidden.append(message.text))
    page.on("requestfinished", lambda request: answered.append(request.url))
    obeyed = page.evaluate(
        """async () => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'obeyed'";
            const picture = document.createElement("img");
            picture.src = "https://example.org/x.png";
            const holder = document.createElement("div");
            holder.innerHTML = "<p style='color: red' onclick='document.title = 1'>x</p>";
            document.body.append(script, picture, holder);
            const fetched = await fetch("https://example.org/").then(() => true, () => false);
            return [document.title, fetched, getComputedStyle(holder.firstChild).color];
        }"""
    )
    assert obeyed[0].startswith("142 sources")
    assert obeyed[1] is False
    assert obeyed[2] != "rgb(255, 0, 0)"
    assert len(forbidden) >= 4
    assert answered == []


@pytest.mark.parametrize("kind", ["tiff", "plane"])
def test_other_images(open_page: Open, kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A TIFF image has its first row above, and no sky; one of several planes says which."""
    page = open_page(kind)
    catalog = read_catalog(make_page(kind, tmp_path_factory).parent).nlargest(3, "flux_auto")
    page.locator("#marks").scroll_into_view_if_needed()
    if kind == "plane":
        assert "plane 1" in page.locator("p.lead").inner_text()
        assert labels(page)[:3] == catalog["label"].tolist()
        return
    for _, source in catalog.iterrows():
        page.mouse.move(*place(page, source["x"], source["y"], from_top=True))
        page.wait_for_selector(f"#tip[data-source='{source['label']}']:visible")
        assert "On the sky" not in tip(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1500, 390])
def test_light_and_dark_wide_and_narrow(open_page: Open, scheme: str, width: int, screenshots: Path) -> None:
    """Text stands out from its ground as WCAG 2.1 asks (4.5), and nothing hangs over the side."""
    page = open_page("sky", color_scheme=scheme, width=width)
    page.locator("#rows tbody tr").nth(2).locator("button").click()
    page.wait_for_selector("#stage[data-drawn=all]")
    page.screenshot(path=screenshots / f"report_{scheme}_{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    grounds = {"body": "body", ".note, .caption, #count": "body", "dt": ".figures div", "#rows td": ".table"}
    for text, ground in grounds.items():
        assert contrast(page, text, ground) >= 4.5, text
    assert (luminance(page, "body", "backgroundColor") < 0.5) == (scheme == "dark")


def luminance(page: "Page", selector: str, what: str) -> float:
    """Relative luminance of a colour (WCAG 2.1)."""
    color = page.locator(selector).first.evaluate(f"element => getComputedStyle(element).{what}")
    red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", color)[:3])
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(page: "Page", text: str, ground: str) -> float:
    """The contrast of a text with its ground (WCAG 2.1)."""
    one, other = luminance(page, text, "color"), luminance(page, ground, "backgroundColor")
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)
