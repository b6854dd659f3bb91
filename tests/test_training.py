"""The tutorial of training/: its numbers come from a run, and it keeps the rules of the Galaxy Training Network.

The rules are those of bin/lint.rb, bin/check-broken-boxes.py, bin/schema-tutorial.yaml and bin/schema-data-library.yaml
in github.com/galaxyproject/training-material, as far as they concern what is there; their codes (GTN:009) are quoted.
"""

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import yaml
from astropy import units
from astropy.coordinates import SkyCoord, search_around_sky
from PIL import Image
from scipy import ndimage

from tests.conftest import REPOSITORY, TEST_DATA
from tests.galaxy.forms import expanded
from tests.test_workflow_files import VERSION

FOLDER = REPOSITORY / "training" / "astronomy-source-extractor"
TUTORIAL = FOLDER / "tutorial.md"
TEXT = TUTORIAL.read_text()
FRONT, BODY = TEXT.split("\n---\n", 1)
FRONT_MATTER = yaml.safe_load(FRONT)
LINES = BODY.splitlines()
WORKFLOW = FOLDER / "workflows" / "sort_sources.ga"
TOOL = re.compile(r"{% *tool \[([^\]]*)\]\(([^)]*)\) *%}")
TOOL_SHED = "toolshed.g2.bx.psu.edu/repos/"
BUILT_IN = {"Filter1"}
BOXES = {"agenda", "hands-on", "comment", "question", "solution", "tip", "details", "warning"}
ICONS = {
    "galaxy-barchart",
    "galaxy-eye",
    "galaxy-refresh",
    "galaxy-upload",
    "param-check",
    "param-collection",
    "param-file",
    "param-repeat",
}
SNIPPETS = {
    "faqs/galaxy/histories_create_new.md",
    "faqs/galaxy/datasets_import_via_link.md",
    "faqs/galaxy/workflows_import.md",
}
MOST_BYTES = 1_000_000


@pytest.fixture(scope="module")
def tutorial() -> Iterator[ModuleType]:
    """The script that does what the tutorial does."""
    sys.path.insert(0, str(FOLDER))
    import run_tutorial

    yield run_tutorial
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def done(tutorial: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> object:
    return tutorial.run(tmp_path_factory.mktemp("tutorial"))


def test_numbers_in_the_text(tutorial: ModuleType, done: object) -> None:
    """Those of the run, each of them somewhere."""
    assert tutorial.wrong_numbers(TEXT, tutorial.numbers(done)) == []


def test_every_number_has_a_name() -> None:
    """What the reader types and names of tools are code; other digits are numbers of the run."""
    words = re.sub(r"```.*?```", "", BODY, flags=re.DOTALL)
    for not_prose in (r"`[^`\n]*`", r"{%.*?%}", r"\]\([^)]*\)", r"^[> ]*[0-9]+\. "):
        words = re.sub(not_prose, "", words, flags=re.MULTILINE)
    words = re.sub(r"-?[0-9][0-9,.]*<!-- [a-z0-9_.]+ -->", "", words)
    assert re.findall(r".{,30}[0-9].{,30}", words) == []


def test_what_the_text_says_of_the_sky(done: object) -> None:
    """That the background of small cells is highest on the brightest galaxy, and the low threshold's noise."""
    table, labels = done.first.to_pandas(), done.first.segmentation
    galaxy = done.truth.loc[done.truth["galaxy"] == 1].nlargest(5, "flux")
    row, column = np.unravel_index(done.fine.background.argmax(), labels.shape)
    assert np.hypot(galaxy["x"] - column, galaxy["y"] - row).min() < 10
    assert table.loc[labels[row, column], "flux_auto"] > table["flux_auto"].quantile(0.97)
    assert 0.4 < len(done.low) / (2 * done.low.summary["counts"]["detections_on_the_negated_image"]) < 1.1
    assert len(done.second) < len(done.first)


def test_the_match_is_that_of_astropy(tutorial: ModuleType, done: object) -> None:
    """The same pairs of source and entry, at the same distances, without a plane in place of the sphere."""
    sources = done.first.to_pandas().reset_index()
    archive = pd.read_csv(done.folder / "reference.tsv", sep="\t")
    places = [SkyCoord(table["ra"], table["dec"], unit="deg") for table in (sources, archive)]
    one, other, distance, _ = search_around_sky(*places, 1 * units.arcsec)
    expected = {(sources["label"][i], archive["id"][j]): d.arcsec for i, j, d in zip(one, other, distance, strict=True)}
    found = done.matched.set_index(["label", "id"])["squared"] ** 0.5
    assert set(found.index) == set(expected)
    np.testing.assert_allclose(found, [expected[pair] for pair in found.index], atol=1e-3)


def test_every_nucleus_is_found_in_every_plane_that_cuts_it(tutorial: ModuleType, done: object) -> None:
    _, cut = tutorial.nuclei()
    assert [len(result) for result in done.nuclei] == cut.tolist()


def test_the_artefacts_are_what_was_put_in(tutorial: ModuleType, done: object) -> None:
    """Each has pixels that were spoilt, and every hot pixel is one."""
    kinds, table = tutorial.sort(done.with_artefacts), done.with_artefacts.to_pandas()
    artefacts = table[kinds == "artefact"]
    spoilt = done.with_artefacts.background_subtracted - done.first.background_subtracted
    greatest = ndimage.maximum(spoilt, done.with_artefacts.segmentation, artefacts.index)
    assert greatest.min() > 40
    hot = np.column_stack(tutorial.hot_pixels()[::-1])
    nearest = [np.hypot(*(artefacts[["x", "y"]].to_numpy() - pixel).T).min() for pixel in hot]
    assert max(nearest) < 1


def test_the_filters_of_the_workflow(tutorial: ModuleType, done: object) -> None:
    """Galaxy's tool takes as many rows of the shipped sky as the same conditions in pandas."""
    kinds = tutorial.sort(done.first)
    (test,) = yaml.safe_load((REPOSITORY / "workflows" / "sort_sources.gxwf-tests.yml").read_text())
    for output, kind in {"Stars": "star", "Galaxies": "galaxy", "Artefacts": "artefact"}.items():
        (lines,) = test["outputs"][output]["asserts"]
        assert lines["has_n_lines"]["n"] == 1 + (kinds == kind).sum()
    assert f"{(kinds == 'faint').sum()} sources are too faint" in test["doc"]


def test_colours_are_refused_without_a_plane(done: object) -> None:
    import source_extraction as se

    with pytest.raises(se.InputError, match=r"holds 3 planes .*; choose one with plane K"):
        se.extract(done.folder / "bands.tiff")


def test_front_matter() -> None:
    """The keys that a tutorial has, of the types that the network's schema wants."""
    assert FRONT.startswith("---\nlayout: tutorial_hands_on\n")
    lists = ("questions", "objectives", "key_points", "tags", "edam_ontology")
    texts = ("layout", "title", "level", "zenodo_link", "time_estimation")
    assert set(FRONT_MATTER) == {*lists, *texts, "contributions", "requirements", "follow_up_training"}
    for name in lists:
        assert FRONT_MATTER[name]
        assert all(isinstance(item, str) for item in FRONT_MATTER[name])
    assert FRONT_MATTER["level"] in ("Introductory", "Intermediate", "Advanced")
    assert re.fullmatch(r"(\d+[Hh])?(\d+[Mm])?", FRONT_MATTER["time_estimation"])
    assert FRONT_MATTER["contributions"]["authorship"]
    assert all(question.endswith("?") for question in FRONT_MATTER["questions"])
    assert all(re.fullmatch(r"(topic|operation)_\d{4}", term) for term in FRONT_MATTER["edam_ontology"])
    for other in FRONT_MATTER["requirements"] + FRONT_MATTER["follow_up_training"]:
        assert other["type"] == "internal"
        assert other["tutorials"]


def depth(line: str) -> int:
    return (re.match(r"[\s>]*", line) or [""])[0].count(">")


def test_boxes_are_closed_by_what_opened_them() -> None:
    """Each > deeper opens a box with a title, and a line with its class closes it."""
    open_boxes: list[str] = []
    closed = []
    for before, line in pairwise(["", *LINES]):
        rest = line.lstrip("> ")
        if depth(line) > depth(before):
            title = re.match(r"<([a-z-]+)-title>.*</\1-title>$", rest)
            assert title, line
            open_boxes.append(title[1])
        elif depth(line) < depth(before):
            closing = re.match(r"{: \.([a-z_]+)}$", rest)
            assert closing, line
            closed.append(open_boxes.pop())
            assert closed[-1].replace("-", "_") == closing[1], line
        assert depth(line) == len(open_boxes), line
    assert open_boxes == []
    assert set(closed) <= BOXES
    assert closed.count("hands-on") >= 7
    # Every question of a box has its answer.
    assert closed.count("question") == closed.count("solution") >= 7
    assert LINES.index("{: .agenda}") < LINES.index("# The image")


def test_questions_have_as_many_answers() -> None:
    for box in re.findall(r"<question-title>.*?{: \.question}", BODY, re.DOTALL):
        asked, answered = box.split("<solution-title>")
        numbered = [re.findall(r"^[> ]+(\d)\. ", part, re.MULTILINE) for part in (asked, answered)]
        assert numbered[0] == numbered[1], box


def test_tools() -> None:
    """GTN:009: owner, repository, tool, version; ours is of this version, imaging tools are those of the workflow."""
    tools = TOOL.findall(BODY)
    assert BODY.count("{% tool") == len(tools)
    voronoi = yaml.safe_load((REPOSITORY / "workflows" / "voronoi.gxwf.yml").read_text())["steps"].values()
    known = {step["tool_id"].split("/")[-2]: step["tool_id"] for step in voronoi if "/" in step["tool_id"]}
    used = {}
    for name, tool in tools:
        if tool in BUILT_IN:
            continue
        assert tool.startswith(TOOL_SHED), tool
        owner, repository, identifier, version = tool.removeprefix(TOOL_SHED).split("/")
        used[identifier] = tool
        if repository in ("source_extractor", "source_extractor_many"):
            form = expanded(f"{identifier}.xml")
            assert (owner, form.get("id"), form.get("name"), version) == ("astroteam", identifier, name, VERSION)
    assert known.items() <= used.items()


def test_conditions_are_those_of_the_workflow() -> None:
    steps = yaml.safe_load((REPOSITORY / "workflows" / "sort_sources.gxwf.yml").read_text())["steps"].values()
    conditions = [step["state"]["cond"] for step in steps if step["tool_id"] == "Filter1"]
    assert len(conditions) == 3
    assert all(f"`{condition}`" in BODY for condition in conditions)


def test_tags_icons_and_snippets() -> None:
    """GTN:006, 008, 021, 032, 033: known, whole, and a line apart."""
    tags = re.findall(r"{%(.*?)%}", BODY)
    assert BODY.count("{%") == BODY.count("%}") == len(tags)
    assert {tag.split()[0] for tag in tags} == {"tool", "icon", "cite", "snippet"}
    assert {tag.split()[1] for tag in tags if tag.split()[0] == "icon"} <= ICONS
    assert {tag.split()[1] for tag in tags if tag.split()[0] == "snippet"} == SNIPPETS
    for before, line in pairwise(LINES):
        assert not ("{% snippet" in before and "{% snippet" in line)


def test_headings() -> None:
    """GTN:001, 020, 028, 029, 046: no level skipped, none in bold, no bold line in place of one, no introduction."""
    levels = [len(found[1]) for line in LINES if (found := re.match(r"(#+) ", line))]
    assert all(after - before <= 1 for before, after in pairwise([0, *levels]))
    assert not [line for line in LINES if re.match(r"#+ \*\*|\*\*.*\*\*$|# Introduction", line) or "no_toc" in line]


def test_links_and_pictures() -> None:
    """GTN:003, 004, 005, 011, 018, 034: pictures are there, all are shown, and all have a text and a caption."""
    pictures = re.findall(r'!\[([^\]]+)\]\((images/[^ )]+) "([^"]+)"\)', BODY)
    assert BODY.count("![") == len(pictures)
    assert sorted(path for _, path, _ in pictures) == sorted(
        f"images/{path.name}" for path in (FOLDER / "images").iterdir()
    )
    for _, path, _ in pictures:
        with Image.open(FOLDER / path) as picture:
            picture.verify()
    for forbidden in (
        "training.galaxyproject.org",
        "](https://doi.org",
        "[here]",
        "[link]",
        "_blank",
        "]()",
        "zenodo.org/api",
    ):
        assert forbidden.lower() not in BODY.lower()


def test_citations() -> None:
    """GTN:007, 012, 031: in the bibliography, with a title and a bare DOI, and no other there."""
    entries = dict(re.findall(r"@article{(\w+),\n(.*?)\n}", (FOLDER / "tutorial.bib").read_text(), re.DOTALL))
    assert set(entries) == set(re.findall(r"{% cite (\w+) %}", BODY))
    for entry in entries.values():
        assert re.search(r"title = {.+}", entry)
        assert re.search(r"doi = {10\.\d+/[^}]+}", entry)


def test_data_library() -> None:
    """GTN:023, and the schema: a topic, a tutorial, a record, and files with their sums."""
    library = yaml.safe_load((FOLDER / "data-library.yaml").read_text())
    assert library["destination"]["type"] == "library"
    assert library["destination"]["name"] == "GTN - Material"
    (topic,) = library["items"]
    (item,) = topic["items"]
    assert (topic["topic_id"], topic["name"], item["tutorial_id"]) == ("imaging", "Imaging", FOLDER.name)
    assert item["name"] == FRONT_MATTER["title"]
    for record in item["items"]:
        for file in record["items"]:
            assert file["src"] == "url"
            content = (TEST_DATA / Path(file["url"]).name).read_bytes()
            assert file["md5sum"] == hashlib.md5(content).hexdigest()


def test_workflow() -> None:
    """GTN:015 to 017, 024 to 027, 030: who made it, what it is, tools of the Tool Shed, and a test of its outputs."""
    workflow = json.loads(WORKFLOW.read_text())
    assert workflow["tags"]
    assert workflow["annotation"]
    assert workflow["license"] == "MIT"
    assert [person["name"] for person in workflow["creator"]]
    tools = [step["tool_id"] for step in workflow["steps"].values() if step["type"] == "tool"]
    own = f"{TOOL_SHED}astroteam/source_extractor/source_extractor/{VERSION}"
    assert set(tools) == {own, *BUILT_IN}
    (test,) = yaml.safe_load(WORKFLOW.with_name("sort_sources-tests.yml").read_text())
    outputs = {output["label"] for step in workflow["steps"].values() for output in step["workflow_outputs"]}
    assert test["outputs"]
    assert set(test["outputs"]) <= outputs
    assert workflow["name"] in BODY


def test_files() -> None:
    """GTN:014: no name with a space or a colon; and what a pull request to the network weighs."""
    files = [path for path in FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert not [path for path in files if re.search(r"[\s:?]", path.name)]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
