"""A default, a bound, a column, a version: the form and the documents say what the code says."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement

import source_extraction
from docs.write_tables import TOKENS as TABLES
from docs.write_tables import document, documents, out_of_date, tokens
from run import DEBIAN_PACKAGES
from source_extraction.core.columns import DETECTION_COLUMNS, NAME_COLUMN
from source_extraction.faces.source_extractor import parse
from source_extraction.run.joining import IDENTITY, JOINED_CATALOG
from source_extraction.run.many import IMAGES_TABLE
from source_extraction.run.products import DEFAULT_PRODUCTS, PRODUCTS
from source_extraction.settings import OPTIONS as ALL_OPTIONS
from source_extraction.settings import PhotometryOptions, as_typed
from source_extraction.writers.report import CITATIONS
from tests.conftest import REPOSITORY, TEST_DATA
from tests.galaxy.forms import expanded
from tests.galaxy.serve import FORMS, program_of, requirements

FORM, JOIN_FORM, MANY_FORM = map(expanded, FORMS)
MACROS = ElementTree.parse(REPOSITORY / "macros.xml").getroot()
HELP = FORM.find("help").text
README = (REPOSITORY / "README.md").read_text()
TOKENS = {token.get("name"): token.text for token in MACROS.iter("token")}
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

# The form sets these itself, or Galaxy does.
NOT_IN_THE_FORM = {"output_dir", "name", "threads", "memory", "scratch"}
OPTIONS = {name: option for name, option in ALL_OPTIONS.items() if name not in NOT_IN_THE_FORM}
PARAMETERS = {
    parameter.get("argument").removeprefix("--"): parameter
    for parameter in FORM.find("inputs").iter("param")
    if parameter.get("argument")
}
FORMATS = {
    ".tsv": "tabular", ".fits": "fits", ".ecsv": "txt", ".vot": "xml", ".png": "png", ".tiff": "tiff", ".reg": "txt",
    ".json": "json", ".html": "html",
}  # fmt: skip
# conda-forge's matplotlib without a window toolkit.
NAMES_ON_PYPI = {"matplotlib-base": "matplotlib"}


def pinned(file: Path) -> dict[str, str]:
    return dict(line.split("==") for line in file.read_text().splitlines() if "==" in line)


def test_a_job_takes_the_memory_that_galaxy_gives_it() -> None:
    """And where Galaxy gives none, as `sh` reads the words: none at all."""
    for form in (FORM, MANY_FORM):
        words = re.search(r"\\(\$\{GALAXY_MEMORY_MB.*)\n", form.find("command").text)[1].replace("\\$", "$")
        for given, expected in (({"GALAXY_MEMORY_MB": "4096"}, ["--memory", "4096M"]), ({}, [])):
            command = ["sh", "-c", f"printf '%s\\n' {words}"]
            assert subprocess.check_output(command, env=given, text=True).split() == expected


def test_the_form_has_every_option() -> None:
    assert set(PARAMETERS) == set(OPTIONS)
    command = FORM.find("command").text
    for name, option in OPTIONS.items():
        # A switch is passed as its value; some others in a loop over their names.
        passed = rf"\$(\w+\.)?{name}\n" if option.kinds == (bool,) else rf"--{name}=|'{name}'"
        assert re.search(passed, command), name


@pytest.mark.parametrize("name", sorted(set(OPTIONS) - {"outputs"}))
def test_defaults_and_bounds_of_the_form(name: str) -> None:
    option, parameter = OPTIONS[name], PARAMETERS[name]
    assert parameter.get("label")
    if option.choices:
        options = {choice.get("value"): choice.get("selected") == "true" for choice in parameter.iter("option")}
        assert set(options) == set(option.choices)
        assert [value for value, selected in options.items() if selected] == [option.default]
    elif str in option.kinds or option.is_list:
        assert parameter.get("type") == "text"
        assert parameter.get("value") == (None if option.default is None else as_typed(option.default))
        assert parameter.get("optional") == ("true" if option.default is None else None)
    elif bounds := option.bounds:
        kind = int if option.whole else float
        assert parameter.get("type") == {int: "integer", float: "float"}[kind]
        assert (None if parameter.get("value") is None else kind(parameter.get("value"))) == option.default
        above = parameter.find("validator[@exclude_min='true']")
        assert (None if above is None else float(above.get("min"))) == bounds.above
        # Both as attributes make a slider, which nobody can use from 1 to 2147483647.
        span = parameter.find("validator[@max]")
        most = parameter.get("max") if span is None else span.get("max")
        for form, code in ((parameter.get("min"), bounds.least), (most, bounds.most)):
            assert (None if form is None else float(form)) == code
    elif option.kinds == (bool,):
        assert parameter.get("checked") == str(option.default).lower()
        assert (parameter.get("truevalue"), parameter.get("falsevalue")) == (f"--{name}", f"--no-{name}")
    else:
        assert Path in option.kinds
        assert parameter.get("type") == "data"


@pytest.mark.parametrize("name", ["noise", "filter"])
def test_conditionals_have_a_case_for_every_choice(name: str) -> None:
    """And ask for a file where the choice is one. A workflow may have a kernel or none, so the form takes both."""
    conditional = FORM.find(f"inputs/conditional[@name='{name}']")
    select = conditional.find("param")
    choices = OPTIONS[select.get("argument").removeprefix("--")].choices
    assert tuple(choice.get("value") for choice in select.iter("option")) == choices
    files = {case.get("value"): case.find("param[@type='data']") for case in conditional.iter("when")}
    assert {choice: file is not None for choice, file in files.items()} == {
        choice: choice == "file" for choice in choices
    }
    assert files["file"].get("optional") == ("true" if name == "filter" else None)


def test_texts_of_the_form() -> None:
    """The form lets through what the command line takes, and nothing that a shell or a sanitizer would change."""
    apertures = PARAMETERS["apertures"].find("validator").text
    for text in (as_typed(OPTIONS["apertures"].default), "2.5", " 2.5 , 10,.5,7. ", "100"):
        assert re.match(apertures, text), text
        assert photometry(f"--apertures={text}").apertures
    for text in ("", " ", "0", "0.0", "5,0", "-5", "5,", ",5", "5,,10", "5 10", "1e999", "nan", ".", "5.5.5", "5;"):
        assert not re.match(apertures, text), text
    macro = MACROS.find("xml[@name='number_or_keyword']")
    number_or_keyword = macro.find("validator").text
    for name in ("gain", "zeropoint", "saturation"):
        assert PARAMETERS[name].find("validator").text == number_or_keyword
        for text in ("GAIN", "HIERARCH ESO DET-1 OUT1.GAIN", "MAG_ZP", "2", "1.5e+5"):
            assert re.match(number_or_keyword, text), text
            assert getattr(photometry(f"--{name}={text}"), name) in (text, 2, 1.5e5)
    for text in ("'", '"', "`id`", "$HOME", "a;b", "a&b", "a|b", "@", "a\nb", "a\tb", "\N{GREEK SMALL LETTER BETA}"):
        assert not re.match(number_or_keyword, text), text


def photometry(argument: str) -> PhotometryOptions:
    """The options of the photometry after an argument of the command line."""
    settings, _ = parse(["image", argument])
    return settings.photometry


def test_products_of_the_form() -> None:
    options = {choice.get("value"): choice.get("selected") == "true" for choice in PARAMETERS["outputs"].iter("option")}
    assert list(options) == list(PRODUCTS)
    assert [name for name, selected in options.items() if selected] == list(DEFAULT_PRODUCTS)
    made = {Path(output.get("from_work_dir")).name: output.get("format") for output in FORM.find("outputs")}
    assert list(made) == list(PRODUCTS)
    assert made == {name: FORMATS[Path(name).suffix] for name in PRODUCTS}


def test_the_form_of_many_images() -> None:
    """The same options, but for the masks; of each product a collection that goes by its output in the other form."""
    options = {parameter.get("argument", "").removeprefix("--") for parameter in MANY_FORM.find("inputs").iter("param")}
    assert options - {""} == set(OPTIONS) - {"mask_file"} | {"allow_failures"}
    for attribute in ("version", "profile"):
        assert MANY_FORM.get(attribute) == FORM.get(attribute)
    names = {output.get("name"): output.get("format") for output in FORM.iterfind("outputs/data")}
    collections = MANY_FORM.findall("outputs/collection")
    assert {collection.get("name"): collection.get("format") for collection in collections} == names
    files = {output.get("name"): Path(output.get("from_work_dir")).name for output in FORM.iterfind("outputs/data")}
    script = MANY_FORM.find("configfiles/configfile[@name='elements']").text
    for name, file in files.items():
        assert f"'{file}': '{name}'," in script
    tables = [data.get("from_work_dir") for data in MANY_FORM.iterfind("outputs/data")]
    assert tables == [f"products/{JOINED_CATALOG}", f"products/{IMAGES_TABLE}"]


def test_every_product_and_option_of_the_form_is_tested() -> None:
    tests = FORM.find("tests")
    chosen = ",".join(outputs.get("value") for outputs in tests.findall(".//param[@name='outputs']"))
    assert {*chosen.split(","), *DEFAULT_PRODUCTS} == set(PRODUCTS)
    assert {parameter.get("name") for parameter in tests.iter("param")} == {*OPTIONS, "image"}


def test_tables_are_up_to_date() -> None:
    assert [path.name for path in out_of_date()] == [], "write them with: python3 run.py tables"


def test_every_table_has_its_place() -> None:
    """In a document between comments, in the form as a token."""
    path = next(path for path, tables in documents().items() if "other products" in tables)
    with pytest.raises(ValueError, match="other products"):
        document(path, path.read_text().replace("<!-- other products: end -->", ""))
    written = ElementTree.fromstring(tokens())
    forms = "".join((REPOSITORY / file).read_text() for file in ("macros.xml", "form.xml", *FORMS))
    assert [token.get("name") for token in written if token.get("name") not in forms] == []
    imported = {TABLES.name, "macros.xml", "form.xml"}
    assert {file.text for file in FORM.iterfind("macros/import")} == imported


def test_help_names_every_option() -> None:
    for name in OPTIONS:
        assert f"`{name}`" in HELP, name


def test_versions() -> None:
    """The forms have the version of the package, and require what the tests run with."""
    assert TOKENS["@TOOL_VERSION@"] == source_extraction.__version__
    required = {NAMES_ON_PYPI.get(name, name): version for form in FORMS for name, version in requirements(form)}
    # The bar of tqdm is for terminals.
    assert required == {
        name: version for name, version in pinned(REPOSITORY / "requirements.txt").items() if name != "tqdm"
    }


def test_lower_bounds() -> None:
    """pip installs the packages that are tested, in these versions or others."""
    bounds = {package.name: package.specifier for package in map(Requirement, PROJECT["dependencies"])}
    pins = pinned(REPOSITORY / "requirements.txt")
    # matplotlib brings pillow.
    assert set(bounds) == {*pins, "pillow"}
    assert [name for name, version in pins.items() if version not in bounds[name]] == []


@pytest.mark.parametrize(
    ("form", "arguments"),
    [
        (FORMS[0], ("sky.fits", "--outputs", ",".join(PRODUCTS))),
        (FORMS[1], ("catalogs/north.tsv", "catalogs/south.tsv")),
        (FORMS[2], ("sky.fits", "sky.tiff", "--outputs", ",".join(PRODUCTS))),
    ],
)
def test_requirements_of_each_form(form: str, arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Its program runs where nothing else can be imported."""
    required = {NAMES_ON_PYPI.get(name, name) for name, _ in requirements(form)}
    others = set(pinned(REPOSITORY / "requirements.txt")) - required
    assert others
    for name in others:
        (tmp_path / f"{name}.py").write_text("raise ImportError('the form does not require it')\n")
    program = REPOSITORY / program_of(form)
    run = subprocess.run(
        [sys.executable, program, *arguments, "--output_dir", tmp_path / "products"],
        cwd=TEST_DATA,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("form", [FORM, MANY_FORM, JOIN_FORM])
def test_no_output_is_called_like_an_input(form: ElementTree.Element) -> None:
    """Galaxy would look for the options of a section of that name in the dataset."""
    inputs = {element.get("name") or element.get("argument", "").lstrip("-") for element in form.find("inputs")}
    assert not inputs & {element.get("name") for element in form.find("outputs")}


def test_files_that_a_job_needs() -> None:
    """Another machine is sent these alone; tests/galaxy/test_tool.py asks Galaxy which files they are."""
    for form, program in zip((FORM, JOIN_FORM, MANY_FORM), map(program_of, FORMS), strict=True):
        included = {include.get("path") for include in form.iterfind("required_files/include")}
        pages = {"source_extraction/writers/page/*"} if form is not JOIN_FORM else set()
        assert included == {program, "source_extraction/*.py", *pages}


def test_the_form_that_joins() -> None:
    """What both forms share comes from one place; the product is the one that is written."""
    shared = [expand.get("macro") for expand in JOIN_FORM.findall("expand")]
    assert shared == [expand.get("macro") for expand in FORM.findall("expand")]
    for attribute in ("version", "profile"):
        assert JOIN_FORM.get(attribute) == FORM.get(attribute)
    assert JOIN_FORM.find("outputs/data").get("from_work_dir") == f"products/{JOINED_CATALOG}"
    assert (DETECTION_COLUMNS[0].name, NAME_COLUMN.name) == IDENTITY


def test_the_page_names_what_the_form_cites() -> None:
    cited = [citation.text for citation in MACROS.iterfind("xml[@name='citations']/citations/citation")]
    assert [doi for _, doi, _ in CITATIONS] == cited
    assert all(doi in README for doi in cited)


def test_changelog_knows_this_version() -> None:
    assert f"## {source_extraction.__version__}\n" in (REPOSITORY / "CHANGELOG.md").read_text()


def test_continuous_integration_has_what_the_tests_need() -> None:
    """The packages and versions that run.py installs."""
    text = (REPOSITORY / ".github/workflows/ci.yml").read_text()
    installed = {package for line in re.findall(r"apt-get install .*", text) for package in line.split()}
    assert {package for packages in DEBIAN_PACKAGES.values() for package in packages} <= installed
    assert f"planemo=={pinned(REPOSITORY / 'tests/galaxy/requirements.txt')['planemo']} " in text


def test_map_of_the_repository() -> None:
    """What is listed there is there."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    listed = re.search(r"## Where is what\n\n(?:.+\n)*\n((?:    .*\n)+)", text)[1]
    names = [line.split()[0] for line in listed.splitlines()]
    assert len(names) > 10
    assert [name for name in names if not (REPOSITORY / name).exists()] == []
