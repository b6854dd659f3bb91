"""A default, a bound, a column, a version: the form and the README say what the code says."""

import dataclasses
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import extraction
from extraction.catalog import COLUMNS, FLAG_LEGEND, Given
from extraction.joining import IDENTITY, JOINED_CATALOG
from extraction.photometry import FLAG_PHOT_LEGEND, aperture_column
from extraction.products import DEFAULT_PRODUCTS, PRODUCTS
from extraction.settings import Settings
from source_extractor import parse
from tests.conftest import REPOSITORY

FORM = ElementTree.parse(REPOSITORY / "source_extractor.xml").getroot()
JOIN_FORM = ElementTree.parse(REPOSITORY / "join_catalogs.xml").getroot()
MACROS = ElementTree.parse(REPOSITORY / "macros.xml").getroot()
HELP = FORM.find("help").text
README = (REPOSITORY / "README.md").read_text()
TOKENS = {token.get("name"): token.text for token in MACROS.iter("token")}

# A choice of the form alone, which it turns into one of the command line's.
FOR_WORKFLOWS = "file_or_default"
# The form sets these itself.
NOT_IN_THE_FORM = {"image", "output_dir", "name", "threads"}
OPTIONS = {option.name: option for option in dataclasses.fields(Settings) if option.name not in NOT_IN_THE_FORM}
PARAMETERS = {
    parameter.get("argument").removeprefix("--"): parameter
    for root in (FORM.find("inputs"), MACROS)
    for parameter in root.iter("param")
    if parameter.get("argument")
}
FORMATS = {".tsv": "tabular", ".fits": "fits", ".png": "png", ".tiff": "tiff", ".reg": "txt", ".json": "json"}
# conda-forge's matplotlib without a window toolkit.
NAMES_ON_PYPI = {"matplotlib-base": "matplotlib"}


def pinned(file: Path) -> dict[str, str]:
    return dict(line.split("==") for line in file.read_text().splitlines() if "==" in line)


def as_typed(default: object) -> str:
    """A default as it is written on the command line."""
    return ",".join(f"{number:g}" for number in default) if isinstance(default, tuple) else str(default)


def test_the_form_has_every_option() -> None:
    assert set(PARAMETERS) == set(OPTIONS)
    command = FORM.find("command").text
    for name, option in OPTIONS.items():
        # A switch is passed as its value; some others in a loop over their names.
        passed = rf"\$\w+\.{name}\n" if option.type is bool else rf"--{name}=|'{name}'"
        assert re.search(passed, command), name


@pytest.mark.parametrize("name", sorted(set(OPTIONS) - {"outputs"}))
def test_defaults_and_bounds_of_the_form(name: str) -> None:
    option, parameter = OPTIONS[name], PARAMETERS[name]
    assert parameter.get("label")
    if choices := option.metadata.get("choices"):
        options = {choice.get("value"): choice.get("selected") == "true" for choice in parameter.iter("option")}
        assert set(options) - {FOR_WORKFLOWS} == set(choices)
        assert [value for value, selected in options.items() if selected] == [option.default]
    elif option.type in (float | str | None, tuple[float, ...]):
        assert parameter.get("type") == "text"
        assert parameter.get("value") == (None if option.default is None else as_typed(option.default))
        assert parameter.get("optional") == ("true" if option.default is None else None)
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
        assert (parameter.get("truevalue"), parameter.get("falsevalue")) == (f"--{name}", f"--no-{name}")
    elif option.type is Path | None:
        assert parameter.get("type") == "data"


@pytest.mark.parametrize("name", ["noise", "filter"])
def test_conditionals_have_a_case_for_every_choice(name: str) -> None:
    """And ask for a file where the choice is one; only a workflow may have none."""
    conditional = FORM.find(f"inputs/conditional[@name='{name}']")
    select = conditional.find("param")
    choices = OPTIONS[select.get("argument").removeprefix("--")].metadata["choices"]
    offered = [*choices, *([FOR_WORKFLOWS] if name == "filter" else [])]
    assert [choice.get("value") for choice in select.iter("option")] == offered
    cases = {case.get("value"): _asks_for_a_file(case) for case in conditional.iter("when")}
    assert cases == {choice: choice in ("file", FOR_WORKFLOWS) for choice in offered}
    optional = {
        case.get("value") for case in conditional.iter("when") if case.find("expand[@optional='true']") is not None
    }
    assert optional <= {FOR_WORKFLOWS}


def _asks_for_a_file(case: ElementTree.Element) -> bool:
    return any(case.find(path) is not None for path in ("param[@type='data']", "expand[@macro='filter_file']"))


def test_texts_of_the_form() -> None:
    """The form lets through what the command line takes, and nothing that a shell or a sanitizer would change."""
    apertures = PARAMETERS["apertures"].find("validator").text
    for text in (as_typed(OPTIONS["apertures"].default), "2.5", " 2.5 , 10,.5,7. ", "100"):
        assert re.match(apertures, text), text
        assert parse(["image", f"--apertures={text}"]).apertures
    for text in ("", " ", "0", "0.0", "5,0", "-5", "5,", ",5", "5,,10", "5 10", "1e999", "nan", ".", "5.5.5", "5;"):
        assert not re.match(apertures, text), text
    macro = MACROS.find("xml[@name='number_or_keyword']")
    number_or_keyword = macro.find("validator").text
    for name in ("gain", "zeropoint", "saturation"):
        assert PARAMETERS[name].find("expand").get("macro") == macro.get("name")
        for text in ("GAIN", "HIERARCH ESO DET-1 OUT1.GAIN", "MAG_ZP", "2", "1.5e+5"):
            assert re.match(number_or_keyword, text), text
            assert getattr(parse(["image", f"--{name}={text}"]), name) in (text, 2, 1.5e5)
    for text in ("'", '"', "`id`", "$HOME", "a;b", "a&b", "a|b", "@", "a\nb", "a\tb", "\N{GREEK SMALL LETTER BETA}"):
        assert not re.match(number_or_keyword, text), text


def test_products_of_the_form() -> None:
    options = {choice.get("value"): choice.get("selected") == "true" for choice in PARAMETERS["outputs"].iter("option")}
    assert list(options) == list(PRODUCTS)
    assert [name for name, selected in options.items() if selected] == list(DEFAULT_PRODUCTS)
    made = {output.get("file"): output.get("format") for output in FORM.find("outputs")}
    assert list(made) == list(PRODUCTS)
    assert made == {name: FORMATS[Path(name).suffix] for name in PRODUCTS}


def test_every_product_and_option_of_the_form_is_tested() -> None:
    tests = FORM.find("tests")
    chosen = ",".join(outputs.get("value") for outputs in tests.findall(".//param[@name='outputs']"))
    assert {*chosen.split(","), *DEFAULT_PRODUCTS} == set(PRODUCTS)
    assert {parameter.get("name") for parameter in tests.iter("param")} == {*OPTIONS, "image"}


def test_columns_of_the_form() -> None:
    always = names(Given.ALWAYS)
    catalog = FORM.find("outputs/expand[@file='catalog.tsv']")
    assert catalog.find(".//action[@name='column_names']").get("default").split(",") == always
    macro = MACROS.find("xml[@name='assert_catalog']")
    header = macro.find(".//has_line_matching").get("expression")
    assert header.removesuffix("@REST@").split(r"\t") == always
    # The default: sky coordinates, the default apertures.
    given = names(Given.SKY) + [
        aperture_column(name, diameter) for diameter in OPTIONS["apertures"].default for name in names(Given.APERTURE)
    ]
    assert macro.get("token_rest").split(r"\t") == ["", *given]
    assert macro.get("token_columns") == str(len(always + given))


def names(given: Given) -> list[str]:
    """The names of the columns with this condition."""
    return [column.name for column in COLUMNS if column.given is given]


@pytest.mark.parametrize("text", [HELP, README], ids=["help", "README"])
def test_tables_of_help_and_readme(text: str) -> None:
    for column in COLUMNS:
        assert f"| `{column.name}` | {column.unit} | {column.description} |" in text
    for name in (*PRODUCTS, *OPTIONS):
        assert f"`{name}`" in text or f"`--{name}" in text, name


@pytest.mark.parametrize("text", [HELP, README], ids=["help", "README"])
@pytest.mark.parametrize(("column", "legend"), [("flag", FLAG_LEGEND), ("flag_phot", FLAG_PHOT_LEGEND)])
def test_legends_of_help_and_readme(text: str, column: str, legend: dict[int, str]) -> None:
    """A table of its own for each, whole and in order."""
    rows = "".join(f"| {bit} | {meaning} |\n" for bit, meaning in legend.items())
    assert re.search(rf"\| `{column}`[^|]*\| Meaning[^|]*\|\n\|---\|---\|\n{re.escape(rows)}\n", text)


def test_options_of_the_readme() -> None:
    for name, option in OPTIONS.items():
        if name != "outputs" and option.default is not None and option.type is not bool:
            assert re.search(rf"\| `--{name}` \| `{as_typed(option.default)}` \| ", README), name


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
    for form, program in ((FORM, "source_extractor.py"), (JOIN_FORM, "join_catalogs.py")):
        included = {include.get("path") for include in form.find("required_files")}
        assert included == {program, "extraction/*.py"}


def test_the_form_that_joins() -> None:
    """What both forms share comes from one place; the product is the one that is written."""
    shared = [expand.get("macro") for expand in JOIN_FORM.findall("expand")]
    assert shared == [expand.get("macro") for expand in FORM.findall("expand")]
    for attribute in ("version", "profile"):
        assert JOIN_FORM.get(attribute) == FORM.get(attribute)
    assert JOIN_FORM.find("outputs/data").get("from_work_dir") == f"products/{JOINED_CATALOG}"
    assert set(IDENTITY) < {column.name for column in COLUMNS if column.given is Given.ALWAYS}


def test_changelog_knows_this_version() -> None:
    assert f"## {extraction.__version__}" in (REPOSITORY / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md", "CHANGELOG.md"])
def test_links(page: str) -> None:
    """What a page links to and shows is there."""
    path = REPOSITORY / page
    targets = re.findall(r"\]\(([^)#]+)", path.read_text())
    missing = [target for target in targets if "://" not in target and not (path.parent / target).exists()]
    assert not missing


def test_map_of_the_repository() -> None:
    """What the README says where something is exists."""
    listed = re.search(r"## For maintainers\n\n((?:    .*\n)+)", README)[1]
    names = [line.split()[0] for line in listed.splitlines()]
    assert len(names) > 10
    assert [name for name in names if not (REPOSITORY / name).exists()] == []
