"""A Catalog -> lines of text: TSV, points for other tools, DS9 regions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.catalog import Catalog
from ..core.columns import NOT_A_NUMBER
from ..core.coordinates import sky_ellipses
from ..core.detections import Detections
from ..core.room import Room
from ..settings import as_cell
from .whole import whole, whole_text

if TYPE_CHECKING:
    from astropy.wcs import WCS

COPIED_AT_A_TIME = 2**20  # bytes


class Text:
    """Text built in parts, before its destination file exists."""

    def __init__(self, room: Room) -> None:
        self._room = room
        with room.failures_are_said():
            self._file = room.file()

    def add(self, part: str) -> None:
        """Append a part. Raises OutputError if there is no space for it."""
        with self._room.failures_are_said():
            self._file.write(part.encode("utf-8"))
            # Leave nothing in the buffer that a forked process would write again.
            self._file.flush()

    def write_to(self, path: Path) -> None:
        """Write all of it to a file."""
        self._file.seek(0)
        with whole(path) as file:
            shutil.copyfileobj(self._file, file, COPIED_AT_A_TIME)


def tsv_header(catalog: Catalog) -> str:
    """The header line with the columns' names."""
    return "\t".join(catalog.values) + "\n"


def tsv_rows(catalog: Catalog) -> str:
    """A line per source.

    Floats have 9 digits, which is every digit of SEP's float32, or for `exact` columns as many as it takes to read back
    the same float64. They always have a decimal point or an exponent, for programs that infer the type of a column from
    its first lines.
    """
    return "".join(table_rows(catalog, "", "\t", "\n", as_cell))


def table_rows(
    catalog: Catalog, beginning: str, between: str, end: str, spelled: Callable[[str], str]
) -> Iterator[str]:
    """A line per source, with names from `spelled` and numbers as in catalog.tsv, in any surrounding text."""
    columns = [(catalog[column.name], column.exact) for column in catalog.columns]
    formats, cells = zip(*_as_text(columns, spelled), strict=True)
    return _rows(beginning + between.join(formats) + end, cells)


def _as_text(
    columns: Sequence[tuple[np.ndarray, bool]], spelled: Callable[[str], str]
) -> Iterator[tuple[str, np.ndarray]]:
    """The format of each column, and its values for it: as numbers where that is enough, which is fast.

    Each column is given as its values, and whether its floats need every digit.
    """
    plain = iter(_are_plain([(values, exact) for values, exact in columns if values.dtype.kind == "f"]))
    for values, exact in columns:
        if values.dtype.kind in "iu":
            yield "%d", values
        elif values.dtype.kind == "U":
            yield "%s", np.array([spelled(text) for text in values.tolist()], dtype=object)
        elif next(plain):
            yield "%r" if exact else "%.9g", values
        else:
            yield "%s", np.array(_as_floats(values, exact), dtype=object)


def _are_plain(columns: Sequence[tuple[np.ndarray, bool]]) -> np.ndarray:
    """Whether a column has only finite values, none of which looks whole at 9 digits (N).

    All columns at once: one by one they would take as long as writing the rows of a small catalog.
    """
    if not columns:
        return np.zeros(0, dtype=bool)
    values = np.array([values for values, _ in columns], dtype=np.float64)
    exact = np.array([exact for _, exact in columns])[:, np.newaxis]
    with np.errstate(invalid="ignore"):
        seem_whole = ~exact & (np.abs(values - np.rint(values)) <= 1e-8 * np.abs(values))
    return np.asarray((np.isfinite(values) & ~seem_whole).all(axis=1))


def _as_floats(values: np.ndarray, exact: bool) -> list[str]:
    """Numbers as texts that no program mistakes for integers or words."""
    texts = ("%r " if exact else "%.9g ") * len(values) % tuple(values.tolist())
    return [_as_float(text) for text in texts.split()]


def _as_float(text: str) -> str:
    """A number's text in a form that no program mistakes for an integer or a word."""
    if text == "nan":
        return NOT_A_NUMBER
    return text + ".0" if text.lstrip("-").isdecimal() else text


def write_points(path: Path, detections: Detections) -> None:
    """Write label, pos_x and pos_y (pixels from 0), in the format of Galaxy's tools for points."""
    rows = _rows("%d\t%r\t%r\n", (detections.labels, detections.sources["x"], detections.sources["y"]))
    write_lines(path, ["label\tpos_x\tpos_y\n", *rows])


def write_regions(path: Path, catalog: Catalog, wcs: WCS | None) -> None:
    """Write the Kron ellipses as DS9 regions: on the sky, by the image's `wcs`, where the catalog has coordinates.

    Otherwise in pixels from 1. Sources without a known ellipse are left out. The decimals are enough for pixels of a
    microarcsecond. DS9 counts the angle of an ellipse on the sky from west towards north, 90 degrees ahead of a
    position angle.
    """
    x, y, theta = (catalog[name] for name in ("x", "y", "theta"))
    a, b = (catalog["kron_radius"] * catalog[axis] for axis in "ab")
    ellipses = None if wcs is None or "ra" not in catalog else sky_ellipses(wcs, x, y, a, b, theta)
    if ellipses is None:
        system, row = "image", "ellipse(%.4f,%.4f,%.4f,%.4f,%.3f) # tag={%d}\n"
        columns = x + 1, y + 1, a, b, np.degrees(theta)
    else:
        system, row = "icrs", 'ellipse(%.12f,%.12f,%.10f",%.10f",%.3f) # tag={%d}\n'
        columns = catalog["ra"], catalog["dec"], ellipses.major, ellipses.minor, ellipses.angle + 90
    known = np.isfinite(columns).all(axis=0)
    header = f"# Region file format: DS9 version 4.1\n{system}\n"
    write_lines(path, [header, *_rows(row, [column[known] for column in (*columns, catalog["label"])])])


def write_columns(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write columns of numbers with their names, formatted as in catalog.tsv."""
    formats, cells = zip(*_as_text([(values, False) for values in columns.values()], as_cell), strict=True)
    write_lines(path, ["\t".join(columns) + "\n", *_rows("\t".join(formats) + "\n", cells)])


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write text unchanged, on every system."""
    with whole_text(path) as file:
        file.writelines(lines)


def _rows(row: str, columns: Iterable[np.ndarray]) -> Iterator[str]:
    """One format string for the row is 2.4 times as fast as csv.writer (75,000 x 31), pandas slower still."""
    return map(row.__mod__, zip(*(values.tolist() for values in columns), strict=True))
