"""What the documents call a parameter, a section, a choice or an output is what Galaxy shows."""

import re
from xml.etree import ElementTree

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.galaxy.forms import expanded

FORMS = ("source_extractor.xml", "source_extractor_many.xml", "join_catalogs.xml")
LESSON = "training/astronomy-source-extractor/tutorial.md"
PAGES = ("docs/tutorial.md", "docs/from-the-old-tool.md", LESSON)
# Of Galaxy, of its other tools, and of the figures of the diagnostics.
OF_OTHERS = {
    "Choose local file", "Start", "Collection", "Build", "Name", "Create list", "Upload file", "Remove",
    "Tool Standard Output", "Paste/Fetch data", "DESI Legacy Surveys", "Catalog",
    "Source file", "Binary image", "Mode", "Label map", "Available features", "Input image (label map)",
    "Type of the overlay", "Intensity image", "With following condition", "Number of header lines to skip",
    "Insert Database Table", "Tabular Dataset for Table", "Table Options", "Use first line as column names",
    "SQL Query to generate tabular output",
    "Number counts", "Signal-to-noise ratio", "Half-light radius",
}  # fmt: skip
# What a run prints, and what the text goes on to explain.
OF_THE_LOG = {"Advice", "the background has no noise", "Also there: HDU 2 (ERR), HDU 3 (DQ)"}
OF_THE_TEXT = {"background mesh"}
# What a reader may give that is no choice of the form.
TYPED = re.compile(r"[\d.]+|Yes|No|\w+\.(fits|tiff|tsv)")


def words_of(form: str) -> set[str]:
    """Its name, and the labels of its parameters, sections, choices and outputs."""
    root = expanded(form)
    elements = [*root.find("inputs").iter(), *root.find("outputs").iter()]
    labels = {element.get(kind) for element in elements for kind in ("label", "title")} - {None}
    return labels | {option.text for option in root.find("inputs").iter("option")} | {root.get("name")}


def words_of_the_workflows() -> set[str]:
    workflows = [yaml.safe_load(path.read_text()) for path in (REPOSITORY / "workflows").glob("*.gxwf.yml")]
    return {word for workflow in workflows for word in (workflow["label"], *workflow["inputs"])}


WORDS = {form: words_of(form) for form in FORMS}
ALL_WORDS = set.union(words_of_the_workflows(), *WORDS.values())


def is_shown(words: str, among: set[str]) -> bool:
    """In a label whole, up to its colon, comma or bracket, or behind the colon that ends the tool's name in it."""
    part = re.compile(rf"(.*: )?{re.escape(words)}(:.*|, .*| \(.*)?", re.IGNORECASE)
    return any(part.fullmatch(known) for known in among)


@pytest.mark.parametrize("page", PAGES)
def test_names_in_italics(page: str) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", (REPOSITORY / page).read_text(), flags=re.DOTALL)
    named = set(re.findall(r'(?<![*\w])\*"?([^\s*"][^*\n"]*)"?\*(?!\*)', text))
    assert len(named) > 15
    assert {name for name in named - OF_OTHERS - OF_THE_LOG - OF_THE_TEXT if not is_shown(name, ALL_WORDS)} == set()


def test_steps_of_the_lesson() -> None:
    """Parameters and choices are those of the form of the step, products are called by their files."""
    steps = re.findall(
        r"/(source_extractor(?:_many)?)/[\d.+a-z]+\) %}.*\n((?:> +- .*\n)+)", (REPOSITORY / LESSON).read_text()
    )
    assert {form for form, _ in steps} == {"source_extractor", "source_extractor_many"}
    for form, step in steps:
        words = WORDS[f"{form}.xml"]
        products = {file for word in words for file in re.findall(r"\((\w+\.\w+)\)$", word)}
        for line in step.splitlines():
            assert [name for name in re.findall(r'\*"([^"]+)"\*', line) if not is_shown(name, words)] == []
            given = re.findall(r"`([^`]+)`", line)
            if '"Products' in line:
                assert given
                assert set(given) <= products
            else:
                assert [value for value in given if not TYPED.fullmatch(value) and not is_shown(value, words)] == []


@pytest.mark.parametrize("form", FORMS)
def test_what_an_output_is_called(form: str) -> None:
    """In the history the name of the dataset ends with what is in it."""
    labels = [output.get("label") for output in expanded(form).find("outputs")]
    assert labels
    assert all(re.search(r" on \$\{on_string\}: \w", label) for label in labels)


@pytest.mark.parametrize("form", FORMS)
def test_what_a_help_names(form: str) -> None:
    """The help of a parameter quotes choices and outputs as they are shown."""
    helps = [param.get("help") or "" for param in expanded(form).find("inputs").iter("param")]
    for words in re.findall(r'"([^"]+)"', " ".join(helps)):
        assert is_shown(words, WORDS[form]), words


def test_where_an_option_is() -> None:
    """The help says it of every option that is not in sight when the form opens, and of no other."""
    form = expanded("source_extractor.xml")
    tokens = ElementTree.parse(REPOSITORY / "tables.xml").iter("token")
    (places,) = (token.text for token in tokens if token.get("name") == "@PLACES@")
    assert "@PLACES@" in form.find("help").text
    assert places.count("--plane`") == 1
    in_sight = {param.get("argument") for param in form.iterfind("inputs/param")}
    options = {param.get("argument") for param in form.find("inputs").iter("param")} - {None}
    assert set(re.findall(r"--\w+", places)) == options - in_sight
