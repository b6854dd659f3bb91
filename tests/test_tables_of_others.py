"""The tables as other programs read them: none mistakes a column for what it is not."""

import re
from pathlib import Path

import numpy as np
import polars
import pytest
from astropy.io import fits

import source_extraction as se
from source_extraction.core.catalog import Catalog
from source_extraction.core.columns import Column
from source_extraction.writers.tables import tsv_rows
from tests.conftest import TEST_DATA, read_catalog, succeed

SKY = TEST_DATA / "sky.fits"
FLOAT = re.compile(r"-?\d+(\.\d+)?(e[+-]\d\d)?|NaN|-?inf")
WHOLE = {"label", "npix", "tnpix", "xmin", "xmax", "ymin", "ymax", "xcpeak", "ycpeak", "xpeak", "ypeak"}
WHOLE |= {"flag", "flag_phot"}


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
