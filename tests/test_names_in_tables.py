"""The image's name in catalog.tsv: what reads tables reads it, and a spreadsheet calculates nothing."""

import csv
from pathlib import Path

import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table

import source_extraction as se
from tests.conftest import TEST_DATA, succeed

SKY = TEST_DATA / "sky.fits"
NAMES = ('"><img src=x>', '"', '"quoted"', "=1+1", "=HYPERLINK(A1)", "+1", "-1", "@x", "-", "=")


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_more_than_text_to_a_table(tmp_path: Path, name: str) -> None:
    succeed(SKY, f"--name={name}", "--outputs", "catalog.tsv,catalog.fits,background.fits", folder=tmp_path)
    catalog = pd.read_csv(tmp_path / "catalog.tsv", sep="\t")
    assert len(catalog) == 142
    assert set(catalog["image"]) == {f"'{name}"}
    with (tmp_path / "catalog.tsv").open(newline="") as file:
        assert {len(row) for row in csv.reader(file, delimiter="\t")} == {len(catalog.columns)}
    # Where no cell is read, the name is as it is.
    assert fits.getheader(tmp_path / "background.fits")["IMAGE"] == name
    assert set(Table.read(tmp_path / "catalog.fits")["image"]) == {name}


@pytest.mark.parametrize("name", ["a=b", 'a "b" c', "1e5", "'", "M 31"])
def test_names_that_are_text(tmp_path: Path, name: str) -> None:
    succeed(SKY, f"--name={name}", "--outputs", "catalog.tsv", folder=tmp_path)
    assert set(pd.read_csv(tmp_path / "catalog.tsv", sep="\t", dtype=str)["image"]) == {name}


def test_in_python_it_is_the_name() -> None:
    assert set(se.extract(SKY, name="=1").to_pandas()["image"]) == {"=1"}
