"""Write the tables of options, products and columns from the code, wherever documents and form have them.

    python3 run.py tables [--check]

In options.md, products.md and catalog.md it writes what stands between two comments such as
`<!-- options: begin ... -->` and `<!-- options: end -->`. The whole of tables.xml is its own: tokens that
source_extractor.xml and macros.xml use, for the help, for the names of the catalog's columns, and for what the form's
tests expect of a catalog. In the tests of the workflows it writes the number of columns, in lines that end with a
comment saying so. With --check it writes nothing, names the files that are out of date, and ends with 1 if there are
any.
"""

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from source_extraction.core.columns import (  # noqa: E402
    DETECTION_COLUMNS,
    FLAGS,
    NAME_COLUMN,
    PHOTOMETRY_COLUMNS,
    Column,
    Given,
    resolved,
)
from source_extraction.run.products import DEFAULT_PRODUCTS, PRODUCTS  # noqa: E402
from source_extraction.settings import OPTIONS, SECTIONS, Bounds, Option, as_typed  # noqa: E402
from tests.galaxy.forms import expanded  # noqa: E402

COMMAND = "python3 run.py tables"
DOCS = REPOSITORY / "docs"
TOKENS = REPOSITORY / "tables.xml"
WORKFLOW_TESTS = sorted((REPOSITORY / "workflows").glob("*-tests.yml"))
MARKED = re.compile(r"(<!-- ([\w -]+): begin .*?-->\n).*?(<!-- \2: end -->)", re.DOTALL)
NUMBER_OF_COLUMNS = re.compile(rf"(has_n_columns: {{n: )\d+(}} # {COMMAND}\n)")

COLUMNS = (*DETECTION_COLUMNS, *PHOTOMETRY_COLUMNS)
APERTURE = {Given.APERTURE}
MAGNITUDES = {Given.ZEROPOINT, Given.ZEROPOINT_AND_APERTURE}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the tables of the documents and the form from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; name the files that are out of date")
    check = parser.parse_args().check
    stale = out_of_date()
    for path, text in stale.items():
        name = path.relative_to(REPOSITORY)
        if check:
            print(f"{name} is out of date; run: {COMMAND}")
        else:
            path.write_text(text, encoding="utf-8")
            print(f"{name} is written anew")
    if not stale:
        print("All tables are up to date.")
    return 1 if check and stale else 0


def out_of_date() -> dict[Path, str]:
    """The files that do not hold what they should, and what that is."""
    files = {path: document(path, path.read_text(encoding="utf-8")) for path in documents()}
    files[TOKENS] = tokens()
    files |= {path: workflow_test(path.read_text(encoding="utf-8")) for path in WORKFLOW_TESTS}
    return {path: text for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text}


def documents() -> dict[Path, dict[str, str]]:
    """The documents that have tables, and the tables of each."""
    others = (name for name in PRODUCTS if name not in DEFAULT_PRODUCTS)
    return {
        DOCS / "options.md": {"options": options()},
        DOCS / "products.md": {"default products": products(DEFAULT_PRODUCTS), "other products": products(others)},
        DOCS / "catalog.md": {**columns(), "flags": flags()},
    }


def document(path: Path, text: str) -> str:
    """A document with every table as it should be; each has its place there."""
    tables = documents()[path]
    marked = sorted(found[2] for found in MARKED.finditer(text))
    if marked != sorted(tables):
        raise ValueError(f"{path.name} has comments for the tables {marked}; it should have them for {sorted(tables)}")
    return MARKED.sub(lambda found: f"{found[1]}\n{tables[found[2]]}\n{found[3]}", text)


def tokens() -> str:
    """The file with the tokens of the form."""
    tables = {"places": places(), "products": products(PRODUCTS), **columns(), "flags": flags()}
    values = {f"@{name.replace(' ', '_').upper()}@": table for name, table in tables.items()}
    always = names({Given.ALWAYS})
    # Regular expressions for the header of catalog.tsv: what is always there, then what images and options add.
    values["@CATALOG_HEADER@"] = r"\t".join(always)
    values["@WITHOUT_SKY@"] = header_of(APERTURE)
    values["@WITH_SKY@"] = header_of({Given.SKY} | APERTURE)
    values["@WITH_SKY_MAGNITUDES_APERTURE_2_5@"] = header_of({Given.SKY} | APERTURE | MAGNITUDES, apertures=(2.5,))
    values["@WITH_SKY_PSF@"] = header_of({Given.SKY, Given.PSF} | APERTURE)
    # How many catalog.fits has of an image with sky coordinates and a zero point.
    values["@TFIELDS@"] = str(len(names({Given.ALWAYS, Given.SKY} | APERTURE | MAGNITUDES)) + 1)
    lines = "".join(f'    <token name="{name}">{escape(value)}</token>\n' for name, value in values.items())
    return f"<macros>\n    <!-- Written by {COMMAND}, from the code. -->\n{lines}</macros>\n"


def places() -> str:
    """The options that the form shows in a section, or with a choice, by what to open there."""
    rows = []
    for place in expanded("source_extractor.xml").find("inputs"):
        if place.tag in ("section", "conditional"):
            title = place.get("title") or place.find("param").get("label")
            # A parameter may come with several choices.
            arguments = dict.fromkeys(param.get("argument") for param in place.iter("param"))
            rows.append((title, ", ".join(f"`{argument}`" for argument in arguments)))
    return table(("Section, or list", "Options in it"), rows)


def workflow_test(text: str) -> str:
    """The tests of a workflow with the number of columns that the catalog of the shipped sky has."""
    number = len(names({Given.ALWAYS, Given.SKY} | APERTURE)) + 1
    return NUMBER_OF_COLUMNS.sub(rf"\g<1>{number}\g<2>", text)


def options() -> str:
    """A table for each section, under its name."""
    header = ("Option", "Default", "Meaning")
    return "\n".join(
        f"### {section[0].upper()}{section[1:]}\n\n"
        + table(header, (_option(option) for option in OPTIONS.values() if option.section == section))
        for section in SECTIONS
    )


def _option(option: Option) -> tuple[str, str, str]:
    spelled, default = f"`--{option.name}`", as_typed(option.default)
    if option.kinds == (bool,):
        spelled, default = f"{spelled}, `--no-{option.name}`", f"--{'' if option.default else 'no-'}{option.name}"
    meaning = option.help
    if option.choices:
        meaning += f" ({' / '.join(f'`{choice}`' for choice in option.choices)})"
    elif option.bounds not in (None, Bounds()) and str not in option.kinds and not option.is_size:
        meaning += f" ({'each ' if option.is_list else ''}{option.range})"
    return spelled, "" if option.default in (None, "", ()) else f"`{default}`", meaning


def products(chosen: Iterable[str]) -> str:
    return table(("File", "What it is"), ((f"`{name}`", PRODUCTS[name].description) for name in chosen))


def columns() -> dict[str, str]:
    """The tables of the columns: of the detection and of the measurement, which every catalog has, and the others."""
    header = ("Column", "Unit", "Meaning")
    measured = [column for column in PHOTOMETRY_COLUMNS if column.given is Given.ALWAYS]
    depending = [column for column in PHOTOMETRY_COLUMNS if column.given is not Given.ALWAYS]
    return {
        "columns of the detection": table(header, map(_column, DETECTION_COLUMNS)),
        "columns of the measurement": table(header, map(_column, measured)),
        "columns that depend on the input": table(
            (*header, "There with"),
            [
                *((*_column(column), column.given.value) for column in depending),
                (*_column(NAME_COLUMN), NAME_COLUMN.given.value),
            ],
        ),
    }


def _column(column: Column) -> tuple[str, str, str]:
    return f"`{column.name}`", column.unit, column.description


def flags() -> str:
    """A table for every column that is a sum of bits."""
    return "\n".join(
        table((f"Bit of `{name}`", "Meaning"), ((str(bit.value), meaning) for bit, meaning in legend.items()))
        for name, legend in FLAGS.items()
    )


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    head, *body = ("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |\n" for row in (header, *rows))
    return head + "|---" * len(header) + "|\n" + "".join(body)


def names(given: set[Given], apertures: tuple[float, ...] = OPTIONS["apertures"].default) -> list[str]:
    """The names of the columns that need one of these, in the order of a catalog."""
    return [column.name for column in resolved(COLUMNS, apertures, unit="") if column.given in given]


def header_of(given: set[Given], **options: tuple[float, ...]) -> str:
    """How the header of catalog.tsv goes on with these columns."""
    return "".join(rf"\t{name}" for name in (*names(given, **options), NAME_COLUMN.name))


if __name__ == "__main__":
    sys.exit(main())
