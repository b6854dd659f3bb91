"""A Catalog -> tables that describe their columns: units, descriptions, UCDs, and how they were made."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import numpy as np
from astropy.io import fits

from ..core.catalog import Catalog
from ..core.columns import FLAGS
from ..settings import Settings
from .fits_maps import ascii_only, provenance
from .tables import table_rows
from .whole import whole, whole_text

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.units import Unit

# FITS headers have no standard place for column descriptions; astropy puts them between comments like these.
COMMENTS_OF_ASTROPY = ("--BEGIN-ASTROPY-SERIALIZED-COLUMNS--", "--END-ASTROPY-SERIALIZED-COLUMNS--")


def as_table(catalog: Catalog, settings: Settings) -> Table:
    """The catalog as an astropy table, with units, descriptions, UCDs (in the columns' `meta`) and how it was made."""
    from astropy.table import Column, Table

    columns = [
        Column(
            catalog[column.name],
            column.name,
            unit=_unit(column.unit),
            description=column.description,
            meta={"ucd": column.ucd},
        )
        for column in catalog.columns
    ]
    meta = {keyword.removeprefix("HIERARCH "): value for keyword, value, _ in provenance(settings)}
    return Table(columns, meta=meta)


def _unit(unit: str) -> Unit | None:
    """A unit in astropy; an unknown one is kept by its name."""
    from astropy.units import Unit

    return Unit(unit, parse_strict="silent") if unit else None


def write_fits_table(path: Path, catalog: Catalog, settings: Settings) -> None:
    """Write a binary table with units, descriptions (TCOMM, and as astropy reads them), UCDs and how it was made.

    Columns have the types that SEP's and ours have in memory; text is UTF-8 escaped to ASCII.
    """
    columns = []
    for column in catalog.columns:
        values = catalog[column.name]
        if values.dtype.kind == "U":
            values = np.full(len(values), ascii_only(settings.title))
        columns.append(fits.Column(column.name, _tform(values), array=values, unit=ascii_only(column.unit) or None))
    table = fits.BinTableHDU.from_columns(columns, name="CATALOG")
    table.header["LONGSTRN"] = ("OGIP 1.0", "long strings continue on the next card")
    for number, column in enumerate(catalog.columns, start=1):
        table.header[f"TCOMM{number}"] = ascii_only(column.description)
        table.header[f"TUCD{number}"] = column.ucd
    for keyword, value, comment in provenance(settings):
        table.header[keyword] = (value, comment)
    for name, legend in FLAGS.items():
        for bit, meaning in legend.items():
            table.header["COMMENT"] = f"{name} {bit}: {meaning}"
    for comment in _comments_of_astropy(_without_rows(catalog, settings)):
        table.header["COMMENT"] = comment
    with whole(path) as file:
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(file)


def _tform(values: np.ndarray) -> str:
    """The FITS code of a column's type (FITS standard 4.0, table 18)."""
    if values.dtype.kind == "U":
        return f"{values.dtype.itemsize // 4}A"
    return {("i", 8): "K", ("i", 4): "J", ("i", 2): "I", ("f", 8): "D", ("f", 4): "E"}[
        values.dtype.kind, values.dtype.itemsize
    ]


def _without_rows(catalog: Catalog, settings: Settings) -> Table:
    """The column descriptions only. We write the rows ourselves: astropy takes 25 s for 77,000 of a VOTable."""
    return as_table(catalog, settings)[:0]


def _comments_of_astropy(table: Table) -> list[str]:
    """astropy's FITS header lines for recovering descriptions and UCDs. Units are in other cards."""
    for column in table.columns.values():
        column.unit = None
    table.meta.clear()
    written = io.BytesIO()
    table.write(written, format="fits")
    comments = list(fits.getheader(io.BytesIO(written.getvalue()), 1)["COMMENT"])
    first, last = map(comments.index, COMMENTS_OF_ASTROPY)
    return comments[first : last + 1]


def write_ecsv(path: Path, catalog: Catalog, settings: Settings) -> None:
    """Write a text table that astropy reads with all its metadata (ECSV, Enhanced Character-Separated Values)."""
    head = io.StringIO()
    _without_rows(catalog, settings).write(head, format="ascii.ecsv")
    with whole_text(path) as file:
        file.write(head.getvalue())
        file.writelines(table_rows(catalog, "", " ", "\n", _quoted))


def _quoted(text: str) -> str:
    """A text as a field of a space-separated table."""
    return '"' + text.replace('"', '""') + '"'


def write_votable(path: Path, catalog: Catalog, settings: Settings) -> None:
    """Write the table for the Virtual Observatory (VOTable 1.4, with its rows as text)."""
    head, end, rest = _votable_without_rows(_without_rows(catalog, settings)).partition("</TABLE>")
    with whole_text(path) as file:
        file.write(f"{head.rstrip()}\n<DATA><TABLEDATA>\n")
        file.writelines(table_rows(catalog, "<TR><TD>", "</TD><TD>", "</TD></TR>\n", escape))
        file.write(f"</TABLEDATA></DATA>\n  {end}{rest}")


def _votable_without_rows(table: Table) -> str:
    from astropy.io.votable import from_table, tree

    head = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about units that astropy does not know
        votable = from_table(table)
        resource = votable.resources[0]
        resource.infos.extend(_info(tree, name, value) for name, value in table.meta.items())
        for field in resource.tables[0].fields:
            if field.datatype == "unicodeChar":
                field.arraysize = "*"
            if field.name in ("ra", "dec"):
                field.ref = "icrs"
        if "ra" in table.colnames:
            resource.coordinate_systems.append(tree.CooSys(ID="icrs", system="ICRS"))
        votable.to_xml(head)
    return head.getvalue().decode()


def _info(tree: Any, name: str, value: Any) -> Any:
    return tree.Info(name=name.replace(" ", "_"), value=str(value))
