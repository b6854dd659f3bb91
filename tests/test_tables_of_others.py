"""The products as other programs read them: none mistakes a column for what it is not, or has a word to say.

STILTS is the machine of TOPCAT, fitsverify is CFITSIO's.
"""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import polars
import pytest
from astropy.io import fits
from astropy.io.votable.ucd import parse_ucd
from astropy.table import Table

import source_extraction as se
from run import DEBIAN_PACKAGES
from source_extraction.core.catalog import Catalog
from source_extraction.core.columns import DETECTION_COLUMNS, NAME_COLUMN, PHOTOMETRY_COLUMNS, Column
from source_extraction.run.products import PRODUCTS
from source_extraction.writers.tables import tsv_rows
from tests.conftest import TEST_DATA, read_catalog, succeed

SKY = TEST_DATA / "sky.fits"
FLOAT = re.compile(r"-?\d+(\.\d+)?(e[+-]\d\d)?|NaN|-?inf")
WHOLE = {"label", "npix", "tnpix", "xmin", "xmax", "ymin", "ymax", "xcpeak", "ycpeak", "xpeak", "ypeak"}
WHOLE |= {"flag", "flag_phot"}
FORMS_OF_THE_CATALOG = ("catalog.tsv", "catalog.fits", "catalog.ecsv", "catalog.vot")
FITS_PRODUCTS = [name for name in PRODUCTS if name.endswith(".fits")]
# What STILTS calls them. Tabs between the fields are too new for Debian's, so it is given commas.
FORMATS = {"catalog.tsv": "csv", "catalog.fits": "fits", "catalog.ecsv": "ecsv", "catalog.vot": "votable"}


def needs(program: str) -> pytest.MarkDecorator:
    """Where it is not installed (run.py installs it where it may), the test is skipped and says what it needs."""
    packages = ", ".join(DEBIAN_PACKAGES[program])
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs Debian's packages {packages}")


def said_by(*command: object) -> str:
    run = subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The shipped sky, the same in a unit of no standard, one without a source, one without coordinates."""
    folder = tmp_path_factory.mktemp("images")
    pixels, header = fits.getdata(SKY, header=True)
    header["BUNIT"] = "nanomaggies per <pixel> & bin"
    fits.writeto(folder / "unit.fits", pixels, header)
    return {"sky": SKY, "unit": folder / "unit.fits"} | {
        name: TEST_DATA / file for name, file in (("blank", "blank.fits"), ("tiff", "sky.tiff"))
    }


@pytest.fixture(scope="module", params=["sky", "unit", "blank", "tiff"])
def made(request: pytest.FixtureRequest, images: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All tables and FITS files of an image."""
    folder = tmp_path_factory.mktemp(request.param)
    chosen = ",".join((*FORMS_OF_THE_CATALOG, *dict.fromkeys(FITS_PRODUCTS)))
    succeed(images[request.param], "--outputs", chosen, "--zeropoint", "25", "--apertures", "2.5,5", folder=folder)
    return folder


def cells(folder: Path) -> dict[str, list[str]]:
    """The columns of a catalog as they are written."""
    header, *rows = (line.split("\t") for line in (folder / "catalog.tsv").read_text().splitlines())
    return dict(zip(header, zip(*rows, strict=True), strict=True))


@pytest.fixture(scope="module")
def whole_numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of whole pixels, with an absolute threshold, without magnitudes of negative fluxes."""
    folder = tmp_path_factory.mktemp("whole")
    pixels = np.rint(fits.getdata(SKY)).astype(np.int16)
    fits.writeto(folder / "image.fits", pixels)
    options = ("--no-subtract_background", "--err_option", "none", "--thresh", "200", "--zeropoint", "25")
    succeed(folder / "image.fits", *options, "--outputs", "catalog.tsv", folder=folder)
    return folder


@pytest.mark.parametrize("which", ["products", "whole_numbers"])
def test_floats_have_a_point_and_integers_none(request: pytest.FixtureRequest, which: str) -> None:
    columns = cells(request.getfixturevalue(which))
    assert set(columns["masked_fraction"]) == {"0.0"}
    for name, values in columns.items():
        if name in WHOLE:
            assert all(value.isdecimal() for value in values), name
        elif name != "image":
            assert all(FLOAT.fullmatch(value) and not value.lstrip("-").isdecimal() for value in values), name


def test_a_name_with_spaces_shifts_no_column(tmp_path: Path) -> None:
    """For awk and R's read.table, which separate by any space, and np.loadtxt; also where catalogs are joined."""
    options = ("--zeropoint", "25", "--outputs", "catalog.tsv")
    succeed(SKY, "--name", "my sky at night.fits", *options, folder=tmp_path)
    succeed(TEST_DATA / "sky.tiff", "--name", "an other", "--outputs", "catalog.tsv", folder=tmp_path / "other")
    joined = se.join_catalogs([tmp_path / "other" / "catalog.tsv", tmp_path / "catalog.tsv"], tmp_path)
    for path, first in ((tmp_path / "catalog.tsv", 0), (joined.path, 142)):
        header = path.read_text().splitlines()[0].split("\t")
        assert header[-1] == "image"
        numbers = np.loadtxt(path, skiprows=1, usecols=range(len(header) - 1))
        table = read_catalog(tmp_path)
        for name in set(header) & set(table) - {"image"}:
            np.testing.assert_array_equal(numbers[first:, header.index(name)], table[name])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.0"),
        (-0.0, "-0.0"),
        (200, "200.0"),
        (-200, "-200.0"),
        (3.5, "3.5"),
        (1 / 3, "0.333333333"),
        # Nine digits round to a whole number.
        (200.000000001, "200.0"),
        (123456789.3, "123456789.0"),
        (199.9999999999, "200.0"),
        (1e-20, "1e-20"),
        (1e20, "1e+20"),
        (np.nan, "NaN"),
        (np.inf, "inf"),
        (-np.inf, "-inf"),
    ],
)
@pytest.mark.parametrize("others", [[], [0.25], [np.nan]])
def test_text_of_a_number(value: float, text: str, others: list[float]) -> None:
    """Whatever else is in the column."""
    catalog = Catalog([Column("a", "", "")], {"a": np.array([value, *others], float)})
    assert tsv_rows(catalog).splitlines()[0] == text


@pytest.mark.parametrize(("value", "text"), [(5.0, "5.0"), (0.1 + 0.2, "0.30000000000000004"), (np.nan, "NaN")])
def test_text_of_an_exact_number(value: float, text: str) -> None:
    catalog = Catalog([Column("x", "pix", "", exact=True)], {"x": np.array([value])})
    assert tsv_rows(catalog) == f"{text}\n"


def test_polars_reads_types_from_the_first_lines(tmp_path: Path, products: Path) -> None:
    """It looks at 100 lines, and refuses what is another type further down."""
    header, *rows = (products / "catalog.tsv").read_text().splitlines()
    place = header.split("\t").index("masked_fraction")
    masked = rows[0].split("\t")
    masked[place] = "0.25"
    others = header.replace("\tra\tdec", "\tlon\tlat")
    (tmp_path / "one.tsv").write_text("\n".join([header, *rows * 2, "\t".join(masked), ""]))
    (tmp_path / "other.tsv").write_text("\n".join([others, *rows, ""]))
    joined = se.join_catalogs([tmp_path / "other.tsv", tmp_path / "one.tsv"], tmp_path)
    table = polars.read_csv(joined.path, separator="\t")
    assert len(table) == 3 * len(rows) + 1
    assert table["masked_fraction"].max() == 0.25
    floats = {name for name, kind in table.schema.items() if kind == polars.Float64}
    assert floats == set(table.columns) - WHOLE - {"image"}
    # The first catalog has no ra.
    assert table["ra"].is_nan().sum() == len(rows)


def in_stilts(folder: Path, name: str) -> pd.DataFrame:
    """A form of the catalog as STILTS reads it."""
    table, given = folder / f"of {name}.csv", folder / name
    if FORMATS[name] == "csv":
        given = folder / "with commas"
        given.write_text((folder / name).read_text().replace("\t", ","))
    said_by("stilts", "tpipe", f"ifmt={FORMATS[name]}", f"in={given}", "ofmt=csv", f"out={table}")
    # It writes nothing for what is not there.
    return pd.read_csv(table, float_precision="round_trip")


@needs("stilts")
@pytest.mark.parametrize("name", FORMS_OF_THE_CATALOG)
def test_the_same_numbers_in_stilts(made: Path, name: str) -> None:
    expected = read_catalog(made)
    if expected.empty and name == "catalog.tsv":
        return  # STILTS 3.4.7 ends with a NegativeArraySizeException where a table of text has no row
    table = in_stilts(made, name)
    assert list(table) == list(expected)
    assert len(table) == len(expected)
    for column in [] if expected.empty else expected:
        if column == "image":
            assert list(table[column]) == list(expected[column])
        else:
            np.testing.assert_allclose(table[column], expected[column], rtol=1e-8, err_msg=column)
            assert (table[column].dtype.kind == "i") == (column in WHOLE), column


@needs("stilts")
def test_votlint_is_content(made: Path) -> None:
    assert said_by("stilts", "votlint", made / "catalog.vot") == ""


@needs("stilts")
def test_votlint_sees_a_fault(tmp_path: Path) -> None:
    succeed(SKY, "--outputs", "catalog.vot", folder=tmp_path)
    text = (tmp_path / "catalog.vot").read_text()
    (tmp_path / "odd.vot").write_text(text.replace("<TD>sky.fits</TD>", "", 1))
    assert "Wrong number of TDs" in said_by("stilts", "votlint", tmp_path / "odd.vot")


@needs("stilts")
@pytest.mark.parametrize("name", ["catalog.fits", "catalog.ecsv", "catalog.vot"])
def test_stilts_knows_units_ucds_and_descriptions(tmp_path: Path, name: str) -> None:
    succeed(SKY, "--outputs", name, folder=tmp_path)
    command = ("meta", "name", "units", "ucd", "description")
    said = said_by(
        *("stilts", "tpipe", f"ifmt={FORMATS[name]}", f"in={tmp_path / name}", f"cmd={' '.join(command)}"),
        *("ofmt=csv", f"out={tmp_path / 'meta.csv'}"),
    )
    assert said == ""
    meta = pd.read_csv(tmp_path / "meta.csv", index_col=0).fillna("")
    columns = {column.name: column for column in (*DETECTION_COLUMNS, *PHOTOMETRY_COLUMNS, NAME_COLUMN)}
    known = [column for column in meta.index if column in columns]
    assert len(known) == len(meta) - 4  # of the two apertures
    for column in known:
        assert meta.loc[column, "UCD"] == columns[column].ucd
        assert " ".join(meta.loc[column, "Description"].split()) == columns[column].description
    assert meta.loc["ra", "Units"] == "deg"
    assert meta.loc["flux_aper_5_err", "Units"] == "adu"


@needs("asttable")
def test_the_same_numbers_in_gnuastro(made: Path) -> None:
    """It reads catalog.fits; its tables of text have no line of names."""
    expected = read_catalog(made)
    names = [column for column in expected if column != "image"]
    out = made / "gnuastro.txt"
    said_by("asttable", made / "catalog.fits", f"-c{','.join(names)}", f"--output={out}", "--txtf64precision=17")
    if expected.empty:
        return
    numbers = np.loadtxt(out)
    for place, name in enumerate(names):
        np.testing.assert_allclose(numbers[:, place], expected[name], rtol=1e-6, err_msg=name)


@needs("fitsverify")
@pytest.mark.parametrize("name", FITS_PRODUCTS)
def test_fitsverify_is_content(made: Path, name: str) -> None:
    assert said_by("fitsverify", "-q", made / name).startswith("verification OK")


@pytest.mark.parametrize("name", ["catalog.fits", "catalog.ecsv", "catalog.vot"])
def test_astropy_shows_what_columns_are(made: Path, images: dict[str, Path], name: str) -> None:
    table = Table.read(made / name)
    result = se.extract(images[made.name.rstrip("0123456789")], apertures=(2.5, 5), zeropoint=25, psf=True).to_table()
    assert table.colnames == result.colnames
    for column in table.colnames:
        assert " ".join(table[column].description.split()) == result[column].description
        assert table[column].meta["ucd"] == result[column].meta["ucd"]
        assert str(table[column].unit) == str(result[column].unit)


@pytest.mark.parametrize(
    "column", [*DETECTION_COLUMNS, *PHOTOMETRY_COLUMNS, NAME_COLUMN], ids=lambda column: column.name
)
def test_ucds_are_words_of_the_ivoa(column: Column) -> None:
    assert parse_ucd(column.ucd, check_controlled_vocabulary=True, has_colon=False)


@needs("ds9")
@pytest.mark.parametrize("image", ["sky.fits", "turned.fits"])
def test_ds9_shows_the_ellipses_without_their_labels(tmp_path: Path, image: str) -> None:
    """In pixels they are the catalog's, and no text lies over the image: the label is a tag, which can be chosen."""
    pixels, header = fits.getdata(SKY, header=True)
    if image == "turned.fits":
        pixels = np.rot90(pixels)
        for keyword in ("CTYPE1", "CTYPE2"):
            header.remove(keyword)
    fits.writeto(tmp_path / image, pixels, header)
    succeed(tmp_path / image, "--outputs", "catalog.tsv,sources.reg", folder=tmp_path)
    saved = ("-regions", "system", "image", "-regions", "save", tmp_path / "saved.reg", "-exit")
    command = ("xvfb-run", "-a", "ds9", tmp_path / image, "-regions", "load", tmp_path / "sources.reg", *saved)
    said_by(*command)
    found = re.findall(
        r"^ellipse\(([-\d.]+),([-\d.]+),([-\d.]+),([-\d.]+),([-\d.]+)\) # (.*)$",
        (tmp_path / "saved.reg").read_text(),
        re.MULTILINE,
    )
    catalog = read_catalog(tmp_path)
    assert [texts for *_, texts in found] == [f"tag={{{label}}}" for label in catalog["label"]]
    x, y, a, b, angle = np.array([numbers for *numbers, _ in found], float).T
    np.testing.assert_allclose(x, catalog["x"] + 1, atol=0.001)
    np.testing.assert_allclose(y, catalog["y"] + 1, atol=0.001)
    np.testing.assert_allclose(a, catalog["kron_radius"] * catalog["a"], rtol=0.001)
    np.testing.assert_allclose(b, catalog["kron_radius"] * catalog["b"], rtol=0.001)
    turn = angle - np.degrees(catalog["theta"])
    assert np.abs((turn + 90) % 180 - 90).max() < 0.1
