"""A default, a bound, a column, a version: the form and the README say what the code says."""

import dataclasses
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import extraction
from extraction.catalog import COLUMNS
from extraction.products import PRODUCTS
from extraction.settings import Settings
from tests.conftest import REPOSITORY

FORM = ElementTree.parse(REPOSITORY / "source_extractor.xml").getroot()
MACROS = ElementTree.parse(REPOSITORY / "macros.xml").getroot()
HELP = FORM.find("help").text
README = (REPOSITORY / "README.md").read_text()
TOKENS = {token.get("name"): token.text for token in MACROS.iter("token")}

# The form sets these itself.
NOT_IN_THE_FORM = {"image", "output_dir", "name"}
OPTIONS = {option.name: option for option in dataclasses.fields(Settings) if option.name not in NOT_IN_THE_FORM}
PARAMETERS = {
    parameter.get("argument").removeprefix("--"): parameter
    for root in (FORM.find("inputs"), MACROS)
    for parameter in root.iter("param")
    if parameter.get("argument")
}
# conda-forge's matplotlib without a window toolkit.
NAMES_ON_PYPI = {"matplotlib-base": "matplotlib"}


def pinned(file: Path) -> dict[str, str]:
    return dict(line.split("==") for line in file.read_text().splitlines() if "==" in line)


def test_the_form_has_every_option() -> None:
    assert set(PARAMETERS) == set(OPTIONS)


@pytest.mark.parametrize("name", sorted(set(OPTIONS) - {"outputs"}))
def test_defaults_and_bounds_of_the_form(name: str) -> None:
    option, parameter = OPTIONS[name], PARAMETERS[name]
    assert parameter.get("label")
    if choices := option.metadata.get("choices"):
        options = {choice.get("value"): choice.get("selected") == "true" for choice in parameter.iter("option")}
        assert set(options) == set(choices)
        assert [value for value, selected in options.items() if selected] == [option.default]
    elif bounds := option.metadata.get("bounds"):
        kind = int if option.type in (int, int | None) else float
        assert parameter.get("type") == {int: "integer", float: "float"}[kind]
        assert (None if parameter.get("value") is None else kind(parameter.get("value"))) == option.default
        above = parameter.find("validator[@exclude_min='true']")
        assert (None if above is None else float(above.get("min"))) == bounds.above
        # Both as attributes make a slider, which nobody can use from 1 to 2147483647.
        span = parameter.find("validator[@max]")
        most = parameter.get("max") if span is None else span.get("max")
        for form, code in ((parameter.get("min"), bounds.least), (most, bounds.most)):
            assert (None if form is None else float(form)) == code
    elif option.type is bool:
        assert parameter.get("checked") == str(option.default).lower()


def test_products_of_the_form() -> None:
    offered = [choice.get("value") for choice in PARAMETERS["outputs"].iter("option")]
    assert offered == list(PRODUCTS)
    made = {output.get("file"): output.get("format") for output in FORM.find("outputs")}
    assert list(made) == offered
    formats = {".tsv": "tabular", ".fits": "fits", ".png": "png"}
    assert made == {name: formats[Path(name).suffix] for name in PRODUCTS}


def test_columns_of_the_form() -> None:
    names = [column.name for column in COLUMNS]
    assert FORM.find(".//action[@name='column_names']").get("default").split(",") == names
    assert TOKENS["@COLUMNS@"] == str(len(names))
    header = MACROS.find(".//has_line_matching").get("expression")
    assert header.split(r"\t") == names


@pytest.mark.parametrize("text", [HELP, README], ids=["help", "README"])
def test_tables_of_help_and_readme(text: str) -> None:
    for column in COLUMNS:
        assert f"| `{column.name}` | {column.unit} | {column.description} |" in text
    for name in (*PRODUCTS, *OPTIONS):
        assert f"`{name}`" in text or f"`--{name}" in text, name


def test_options_of_the_readme() -> None:
    for name, option in OPTIONS.items():
        if name != "outputs" and option.default is not None and option.type is not bool:
            assert re.search(rf"\| `--{name}` \| `{option.default}` \| ", README), name


def test_versions() -> None:
    version = f"{TOKENS['@TOOL_VERSION@']}+galaxy{TOKENS['@VERSION_SUFFIX@']}"
    assert version == extraction.__version__
    required = {
        NAMES_ON_PYPI.get(package.text, package.text): TOKENS.get(package.get("version"), package.get("version"))
        for package in MACROS.iter("requirement")
    }
    assert required == pinned(REPOSITORY / "requirements.txt")
    assert required["sep"] == TOKENS["@TOOL_VERSION@"]


def test_files_that_a_job_needs() -> None:
    """Another machine is sent these alone."""
    modules = {path.name for path in (REPOSITORY / "extraction").iterdir() if path.is_file()}
    assert modules == {path.name for path in (REPOSITORY / "extraction").glob("*.py")}
    included = {include.get("path") for include in FORM.find("required_files")}
    assert included == {"source_extractor.py", "extraction/*.py"}


def test_changelog_knows_this_version() -> None:
    assert f"## {extraction.__version__}" in (REPOSITORY / "CHANGELOG.md").read_text()
