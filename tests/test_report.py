"""report.html: a valid page that needs nothing else, shows what the catalog says, and obeys no name.

What it does in a browser is tested in test_report_in_browser.py.
"""

import base64
import hashlib
import json
import re
import zlib
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import html5lib
import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from matplotlib import colormaps
from PIL import Image as Picture

import source_extraction as se
from source_extraction.core.advice import Advice
from tests.conftest import TEST_DATA, read_catalog, succeed
from tests.report_pages import EXTNAME, NAME, UNIT, make_page

SKY = TEST_DATA / "sky.fits"
KINDS = ("sky", "empty", "tiff", "plane", "hostile")
HTML = {"h": "http://www.w3.org/1999/xhtml"}
# What names something that is fetched; of links alone, one may leave the page.
FETCHED = ("src", "srcset", "href", "data", "action", "formaction", "poster", "background", "cite", "manifest", "ping")


def parsed(text: str) -> ElementTree.Element:
    """The page; an error of HTML is one here."""
    return html5lib.HTMLParser(strict=True).parse(text)


def named(page: ElementTree.Element, tag: str, **attributes: str) -> list[ElementTree.Element]:
    return [
        element
        for element in page.iterfind(f".//h:{tag}", HTML)
        if all(element.get(name) == value for name, value in attributes.items())
    ]


def text_of(element: ElementTree.Element) -> str:
    """What a reader reads of it."""
    return " ".join(" ".join(element.itertext()).split())


def visible_text(page: ElementTree.Element) -> str:
    (body,) = named(page, "body")
    for script in named(body, "script"):
        script.text = ""
    return text_of(body)


@pytest.fixture(scope="module", params=KINDS)
def any_page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_page(request.param, tmp_path_factory).read_text("utf-8")


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_page("sky", tmp_path_factory)


@pytest.fixture(scope="module")
def page(sky: Path) -> ElementTree.Element:
    return parsed(sky.read_text("utf-8"))


def test_it_is_html(any_page: str) -> None:
    parsed(any_page)


def test_one_can_read_it_without_seeing_it(any_page: str) -> None:
    """Pictures have a text, tables headers, fields labels, headings an order; no id is there twice."""
    page = parsed(any_page)
    assert page.get("lang") == "en"
    assert len(named(page, "h1")) == 1
    assert named(page, "img")
    assert all(len(image.get("alt", "")) > 20 for image in named(page, "img"))
    assert named(page, "th")
    assert {header.get("scope") for header in named(page, "th")} == {"col", "row"}
    (table,) = named(page, "table", id="rows")
    assert table.find("h:caption", HTML) is not None
    labelled = [field for label in named(page, "label") for field in (*named(label, "input"), *named(label, "select"))]
    assert len(labelled) == len([*named(page, "input"), *named(page, "select")]) > 8
    for button in named(page, "button"):
        assert button.get("aria-label") or text_of(button)
    (live,) = named(page, "p", id="live")
    assert live.get("aria-live") == "polite"
    ids = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    described = [element.get(name) for element in page.iter() for name in ("aria-labelledby", "aria-describedby")]
    assert {name for name in described if name} <= set(ids)


def test_nothing_is_fetched_and_nothing_else_runs(any_page: str) -> None:
    page = parsed(any_page)
    for element in page.iter():
        for name, value in element.attrib.items():
            assert not name.startswith("on"), name
            assert name != "style"
            if name.rpartition("}")[2] in FETCHED:
                link = element.tag.endswith("}a") and value.startswith(("https://doi.org/", "#"))
                assert link or value.startswith("data:"), value[:80]
    policy = named(page, "meta", **{"http-equiv": "Content-Security-Policy"})[0].get("content")
    rules = dict(rule.strip().partition(" ")[::2] for rule in policy.split(";"))
    assert rules.pop("default-src") == "'none'"
    assert rules.pop("img-src") == "data:"
    assert (rules.pop("base-uri"), rules.pop("form-action")) == ("'none'", "'none'")
    (style,) = named(page, "style")
    *blocks, script = named(page, "script")
    assert [block.get("type") for block in blocks] == ["application/json", "text/plain"]
    for name, element in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert rules.pop(name) == f"'sha256-{digest}'"
    assert rules == {}
    assert "@import" not in style.text
    assert "url(" not in style.text


def test_the_policy_comes_before_what_it_is_about(any_page: str) -> None:
    policy = any_page.index("Content-Security-Policy")
    assert policy < any_page.index("<style>") < any_page.index("<body>")
    assert any_page.index('<meta charset="utf-8">') < 1024


# --- What it says


def packed(page: ElementTree.Element) -> tuple[dict, dict[str, np.ndarray]]:
    """The numbers that the page's script reads, read by another reader."""
    run = json.loads(named(page, "script", id="run")[0].text)
    data = zlib.decompress(base64.b64decode(named(page, "script", id="packed")[0].text))
    columns = {}
    for column in run["columns"]:
        kind = np.dtype("<" + column["kind"])
        size = column["number"] * kind.itemsize
        part, data = data[:size], data[size:]
        values = np.frombuffer(part, np.uint8).reshape(kind.itemsize, -1).T.copy().view(kind).ravel()
        columns[column["name"]] = values / column.get("scale", 1) if column.get("scale") else values
    assert data == b""
    return run, columns


def test_all_numbers_are_those_of_the_catalog(sky: Path, page: ElementTree.Element) -> None:
    """In the order of the flux, every column of every source; positions to the decimal that is shown."""
    catalog = read_catalog(sky.parent).sort_values("flux_auto", ascending=False, kind="stable")
    run, columns = packed(page)
    assert run["rows"] == len(catalog) == 142
    assert run["order"] == [name for name in catalog.columns if name != "image"]
    for name in run["order"]:
        values = catalog[name].to_numpy()
        assert len(columns[name]) == 142
        places = next(column.get("decimals") for column in run["columns"] if column["name"] == name)
        tolerance = 0 if places is None else 0.5001 * 10.0**-places
        np.testing.assert_allclose(columns[name], values, rtol=1e-6, atol=tolerance, err_msg=name)
    assert max(map(len, (str(column["description"]) for column in run["columns"] if "description" in column))) > 10


def test_the_ellipses_are_those_of_the_catalog(sky: Path, page: ElementTree.Element) -> None:
    catalog = read_catalog(sky.parent).sort_values("flux_auto", ascending=False, kind="stable")
    _, columns = packed(page)
    for axis in "ab":
        np.testing.assert_allclose(columns[f"drawn_{axis}"], catalog[axis], rtol=1 / 500)
    off = (columns["drawn_angle"] - np.degrees(catalog["theta"]) + 90) % 180 - 90
    assert np.abs(off).max() <= 0.126
    # Without a script: 3 sigma around the first fifty, and row 0 of a FITS image is below.
    ellipses = [e for e in page.iter() if e.tag.endswith("}ellipse")]
    assert len(ellipses) == 50
    for ellipse, (_, source) in zip(ellipses, catalog.head(50).iterrows(), strict=True):
        assert text_of(ellipse) == str(source["label"])
        assert float(ellipse.get("cx")) == pytest.approx(source["x"] + 0.5, abs=0.006)
        assert float(ellipse.get("cy")) == pytest.approx(360 - source["y"] - 0.5, abs=0.006)
        assert float(ellipse.get("rx")) == pytest.approx(3 * source["a"], abs=0.006)
        turn = float(re.match(r"rotate\((\S+) ", ellipse.get("transform"))[1])
        assert turn == pytest.approx(-np.degrees(source["theta"]), abs=0.06)


def test_the_first_rows_without_a_script(sky: Path, page: ElementTree.Element) -> None:
    """The fifty brightest, with the catalog's names of the columns, and flags in words."""
    catalog = read_catalog(sky.parent).nlargest(50, "flux_auto")
    (table,) = named(page, "table", id="rows")
    header = [cell.text.strip() for cell in table.iterfind("h:thead/h:tr/h:th", HTML)]
    assert {"label", "x", "y", "ra", "dec", "flux_auto", "mag_auto", "snr", "flux_radius"} < set(header)
    rows = [[text_of(cell) for cell in row] for row in table.iterfind("h:tbody/h:tr", HTML)]
    assert len(rows) == 50
    for row, (_, source) in zip(rows, catalog.iterrows(), strict=True):
        shown = dict(zip(header, row, strict=True))
        flags = shown.pop("flags")
        for name, text in shown.items():
            decimals = len(text.partition(".")[2])
            assert float(text) == pytest.approx(source[name], rel=1e-5, abs=0.51 * 10.0**-decimals), name
        # The meaning of three bits, as docs/catalog.md has it.
        assert ("split from a blend" in flags) == bool(source["flag"] & 1)
        assert ("touches the image's edge" in flags) == bool(source["flag"] & 2)
        assert ("an aperture reaches over the image's edge" in flags) == bool(source["flag_phot"] & 16)


def test_words(tmp_path: Path) -> None:
    """What was found, in which image, and how deep: the numbers are those of summary.json."""
    succeed(SKY, "--zeropoint", "25", "--outputs", "catalog.tsv,report.html,summary.json", folder=tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    said = visible_text(parsed((tmp_path / "report.html").read_text("utf-8")))
    assert "142 sources in sky.fits : HDU 0 (PRIMARY), 480 \N{MULTIPLICATION SIGN} 360 pixels, float32, in adu." in said
    assert f"a flux of {summary['depth']['flux']:.4g} adu (magnitude {summary['depth']['magnitude']:.5g})" in said
    assert "The background is 131.8 adu, its noise (RMS) 8.795 adu; it was subtracted." in said
    assert "The threshold of the detection is 13.19 adu above the background." in said
    blended = int((read_catalog(tmp_path)["flag"] & 1).sum())
    assert f"{blended} of the sources are split from blends." in said
    assert "The negated image has 0 detections" in said
    assert "doi:10.21105/joss.00058" in said
    assert "source-extraction 1.0.0, SEP 1.4.1" in said
    assert re.search(r"zeropoint 25\.0 magnitude of a source of flux 1", said)


def test_the_psf_and_the_completeness(tmp_path: Path) -> None:
    """Where they were asked for, as summary.json has them; in the table too."""
    options = ("--psf", "--completeness", "--zeropoint", 25)
    succeed(SKY, *options, "--outputs", "catalog.tsv,report.html,summary.json", folder=tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    page = parsed((tmp_path / "report.html").read_text("utf-8"))
    said, psf, limits = visible_text(page), summary["psf"], summary["completeness"]
    assert f"has a FWHM of {psf['fwhm']:.3g} pixels, from {psf['stars']} stars." in said
    for level in (50, 90):
        flux, error, magnitude = (limits[f"{name}_{level}{end}"] for name, end in
                                  (("flux", ""), ("flux", "_err"), ("mag", "")))  # fmt: skip
        limit = f"{flux:.4g} \N{PLUS-MINUS SIGN} {float(f'{error:.2g}'):g} adu (magnitude {magnitude:.4g})"
        assert f"to {level} % at a flux of {limit}." in said
    brightest = read_catalog(tmp_path).sort_values("flux_auto", ascending=False).iloc[0]
    head, row = (named(page, "tr")[number] for number in (0, 1))
    names = [text_of(cell).split()[0] for cell in head]
    shown = dict(zip(names, (text_of(cell) for cell in row), strict=True))
    for name, places in (("mag_psf", 3), ("spread", 4)):
        assert shown[name] == f"{brightest[name]:.{places}f}"
    assert shown["flux_psf"] == f"{brightest['flux_psf']:.6g}"
    plain = se.extract(SKY)._repr_html_()
    assert "(PSF)" not in plain
    assert "Complete<" not in plain


def test_one_source_and_none(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    pixels = np.random.default_rng(1).normal(10, 1, (60, 70)).astype(np.float32)
    pixels[28:33, 38:43] += 500
    mask = np.zeros(pixels.shape, bool)
    mask[3, 4] = True
    se.extract(pixels, mask=mask, thresh=5).write(tmp_path, "report.html")
    said = visible_text(parsed((tmp_path / "report.html").read_text("utf-8")))
    assert "1 source in image :" in said
    assert " 1 pixel was masked." in said
    empty = parsed(make_page("empty", tmp_path_factory).read_text("utf-8"))
    assert "No source in blank.fits , because nothing exceeds" in visible_text(empty)
    # Without any noise there is no depth to speak of.
    assert "How deep" not in visible_text(empty)


def test_advice_and_warnings(tmp_path: Path) -> None:
    result = se.extract(np.zeros((50, 60)))
    result._steps.__dict__["advice"] = [
        Advice(
            "mesh",
            "the cells are <small>",
            {"cells": 3, "light_lost": 0.41234},
            {"bw": 128, "clean": False, "apertures": (3.0, 7.5)},
        ),
        Advice("depth", "nothing helps"),
    ]
    result.write(tmp_path, "report.html")
    for text in ((tmp_path / "report.html").read_text("utf-8"), result._repr_html_()):
        assert "the cells are &lt;small&gt; (cells 3, light lost 0.412)" in text
        assert "<code>--bw 128 --no-clean --apertures 3,7.5</code>" in text
        assert text.count("<code>--") == 1
        assert "nothing helps" in text
        assert "no noise (RMS 0)" in text


def test_options_that_were_changed_come_first(tmp_path: Path) -> None:
    se.extract(SKY, thresh=3, minarea=9).write(tmp_path, "report.html")
    page = parsed((tmp_path / "report.html").read_text("utf-8"))
    (table,) = named(page, "table", **{"class": "options"})
    rows = table.findall("h:tbody/h:tr", HTML)
    assert [row.get("class") for row in rows[:3]] == ["changed", "changed", None]
    assert [text_of(cell) for cell in list(rows[0])[:3]] == ["thresh", "3.0", "1.5"]
    assert [text_of(cell) for cell in list(rows[1])[:3]] == ["minarea", "9", "5"]


# --- Its pictures


def pictures(page: ElementTree.Element) -> dict[str, Picture.Image]:
    found = {}
    for image in named(page, "img"):
        data = image.get("src").partition(",")[2]
        found[image.get("id") or "diagnostics"] = Picture.open(BytesIO(base64.b64decode(data)))
    return found


@pytest.mark.parametrize("kind", ["sky", "tiff"])
def test_pictures_are_upright(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Row 0 of a FITS image is below, that of a TIFF image above; the brightest pixels are where the catalog says."""
    path = make_page(kind, tmp_path_factory)
    catalog = read_catalog(path.parent).nlargest(5, "peak")
    found = pictures(parsed(path.read_text("utf-8")))
    for name in ("layer-subtracted", "layer-image"):
        grey = np.asarray(found[name].convert("L"))
        assert grey.shape == (360, 480)
        for _, source in catalog.iterrows():
            row = int(source["ypeak"]) if kind == "tiff" else 359 - int(source["ypeak"])
            assert grey[row, int(source["xpeak"])] > 240


def test_outlines_are_those_of_the_segmentation_map(tmp_path: Path) -> None:
    """A pixel of a source of which a neighbour, above, below or at a side, is none of it."""
    result = se.extract(SKY)
    result.write(tmp_path, "report.html")
    labels = np.pad(result.segmentation, 1, constant_values=-1)
    inner = labels[1:-1, 1:-1]
    around = (labels[:-2, 1:-1], labels[2:, 1:-1], labels[1:-1, :-2], labels[1:-1, 2:])
    expected = (inner > 0) & np.logical_or.reduce([neighbour != inner for neighbour in around])
    page = parsed((tmp_path / "report.html").read_text("utf-8"))
    drawn = np.asarray(pictures(page)["layer-outlines"].convert("RGBA"))[..., 3] > 0
    np.testing.assert_array_equal(drawn[::-1], expected)


def test_what_is_masked_is_blue(tmp_path: Path) -> None:
    result = se.extract(TEST_DATA / "sky.fits", mask=TEST_DATA / "mask.fits")
    result.write(tmp_path, "report.html")
    masked = fits.getdata(TEST_DATA / "mask.fits") > 0
    found = pictures(parsed((tmp_path / "report.html").read_text("utf-8")))
    colors = np.asarray(found["layer-subtracted"].convert("RGB")).astype(int)[::-1]
    blue = colors[..., 2] - colors[..., 0] > 30
    np.testing.assert_array_equal(blue, masked)


def test_maps_are_the_background_and_its_noise(tmp_path: Path) -> None:
    """In the colours of viridis, from the least to the greatest value, which stand beneath."""
    result = se.extract(SKY)
    result.write(tmp_path, "report.html")
    page = parsed((tmp_path / "report.html").read_text("utf-8"))
    found = pictures(page)
    for name, values in (("background", result.background), ("rms", result.background_rms)):
        colors = np.asarray(found[f"layer-{name}"].convert("RGB")).astype(float)[::-1]
        low, high = values.min(), values.max()
        expected = 255 * colormaps["viridis"]((values - low) / (high - low))[..., :3]
        # A colour and its neighbour differ by less.
        assert np.abs(colors - expected).max() < 4
        (image,) = named(page, "img", id=f"layer-{name}")
        assert f"from {values.min():.5g} to {values.max():.5g} adu" in image.get("alt")


def test_the_diagnostics_are_the_product(tmp_path: Path) -> None:
    """They are drawn once; where they are no product, for the page alone."""
    result = se.extract(SKY)
    result.write(tmp_path / "both", "diagnostics.png,report.html")
    result.write(tmp_path / "alone", "report.html")
    figure = base64.b64encode((tmp_path / "both" / "diagnostics.png").read_bytes()).decode()
    for folder in ("both", "alone"):
        assert f"data:image/png;base64,{figure}" in (tmp_path / folder / "report.html").read_text("utf-8")
    assert [path.name for path in (tmp_path / "alone").iterdir()] == ["report.html"]


# --- Names of strangers, and many sources


def test_names_are_text(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of the image, its HDU, its unit and of what warnings quote: as they are, and none of them an element."""
    text = make_page("hostile", tmp_path_factory).read_text("utf-8")
    page = parsed(text)
    said = visible_text(page)
    for name in (NAME, EXTNAME, UNIT):
        assert name in said
    assert text_of(named(page, "title")[0]).endswith(NAME)
    assert len(named(page, "script")) == 3
    assert {image.get("src")[:11] for image in named(page, "img")} == {"data:image/"}
    assert named(page, "b") == []


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    """A file name of bytes that are no UTF-8, with a control character."""
    image = tmp_path / "m\udce931\x1b[31m.fits"
    image.write_bytes(SKY.read_bytes())
    succeed(image, "--outputs", "report.html", folder=tmp_path)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "142 sources in m 31 [31m.fits" in visible_text(parsed(text))


def test_many_sources(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Under 6 MB for 75,000: ellipses, positions, fluxes, S/N and flags of all, whole rows of the 5,000 brightest."""
    path = make_page("crowded", tmp_path_factory)
    catalog = pd.read_csv(path.parent / "catalog.tsv", sep="\t", usecols=["label", "x", "y", "flux_auto", "snr", "a"])
    assert len(catalog) > 75_000
    assert path.stat().st_size < 6_000_000
    run, columns = packed(parsed(path.read_text("utf-8")))
    ordered = catalog.sort_values("flux_auto", ascending=False, kind="stable")
    assert run["rows"] == 5000
    for name in ("x", "y", "flux_auto", "snr"):
        np.testing.assert_allclose(columns[name], ordered[name], rtol=1e-6, atol=0.051 if name == "snr" else 0.0051)
    np.testing.assert_array_equal(columns["label"], ordered["label"])
    assert len(columns["drawn_a"]) == len(catalog)
    assert len(columns["flux_radius"]) == 5000


def test_what_a_notebook_shows_is_a_part_of_it(tmp_path: Path) -> None:
    result = se.extract(SKY, name=NAME)
    result.write(tmp_path, "report.html")
    html5lib.HTMLParser(strict=True).parseFragment(result._repr_html_())
    fragment = result._repr_html_()
    words = re.search(r'<p class="lead">.*?</p>\s*<p>.*?</p>', fragment, re.DOTALL)[0]
    assert words in (tmp_path / "report.html").read_text("utf-8")
    assert "<script" not in fragment
