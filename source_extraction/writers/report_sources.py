"""The catalog -> the sources of report.html: the data of all of them for its script, and the first rows as text.

The brightest come first. A column is packed as the bytes of its numbers, all first bytes, then all second bytes and so
on, since similar bytes compress best; the columns follow one another.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.catalog import Catalog
from ..core.columns import FLAGS, NAME_COLUMN, NOT_A_NUMBER, Column

# The page has complete rows for this number of sources, and shows them in its table; for the others it has the columns
# in ALL.
MOST_ROWS = 5000
ROWS_WITHOUT_A_SCRIPT = 50
POSITIONS_ON_THE_SKY = ("ra", "dec")
POSITIONS = (*POSITIONS_ON_THE_SKY, "lon", "lat", "map_x", "map_y")
ALL = ("label", "x", "y", *POSITIONS, "flux_auto", "snr", *FLAGS)
# The columns of the table, as far as they exist; the flags follow in words.
SHOWN = (
    "label", "x", "y", *POSITIONS, "mag_auto", "flux_auto", "mag_psf", "flux_psf", "snr", "flux_radius", "fwhm",
    "ellipticity", "spread", "flux_auto_err",
)  # fmt: skip
# The number of decimals of columns; others have DIGITS significant digits.
DECIMALS = {
    "x": 2, "y": 2, "x_win": 4, "y_win": 4, "map_x": 2, "map_y": 2, "lon": 7, "lat": 7,
    "mag_auto": 3, "mag_auto_err": 3, "mag_psf": 3, "snr": 1, "flux_radius": 2, "fwhm": 2, "ellipticity": 2,
    "spread": 4,
}  # fmt: skip
DIGITS = 6
# For values that only the drawing needs, bits of a fraction: to a 500th.
BITS_OF_AN_ELLIPSE = 9
BITS_OF_FLOAT32 = 23
COMPRESSION = 4  # of zlib: higher levels save 2 % of the space, and take three times as long
FEWEST_DECIMALS = 6  # of degrees


@dataclass(frozen=True)
class Sources:
    """The sources in the page: `packed` (base64 of zlib) for its script, described by `manifest`.

    `header` and `rows` are the first ones as text, `ellipses` their ellipses: x, y, semi-axes, and degrees from x
    towards y, in pixels.
    """

    number: int
    flux_unit: str
    packed: str
    manifest: dict[str, Any]
    header: list[Column]
    rows: list[list[str]]
    ellipses: list[dict[str, float]]

    @classmethod
    def of(cls, catalog: Catalog, pixel: float | None) -> Sources:
        """The sources of a catalog; `pixel` is the width of the image's pixels in degrees, None if not known."""
        order = np.argsort(-catalog["flux_auto"], kind="stable")
        decimals = {**DECIMALS, **dict.fromkeys(POSITIONS_ON_THE_SKY, _decimals_of_degrees(pixel))}
        columns = {column.name: column for column in catalog.columns}
        parts = [
            *(_Packed.of(columns[name], catalog[name][order], decimals) for name in ALL if name in columns),
            *_ellipses(catalog, order),
            *(
                _Packed.of(column, catalog[column.name][order[:MOST_ROWS]], decimals)
                for column in catalog.columns
                if column.name not in (*ALL, NAME_COLUMN.name)
            ),
        ]
        shown = [columns[name] for name in SHOWN if name in columns]
        manifest = {
            "columns": [part.described for part in parts],
            "table": [column.name for column in shown],
            "order": [column.name for column in catalog.columns if column.name != NAME_COLUMN.name],
            "flags": [
                [name, int(bit), words]
                for name, legend in FLAGS.items()
                if name in columns
                for bit, words in legend.items()
            ],
            "rows": min(MOST_ROWS, len(catalog)),
        }
        first = order[:ROWS_WITHOUT_A_SCRIPT]
        return cls(
            len(catalog),
            flux_unit(catalog),
            base64.b64encode(zlib.compress(b"".join(part.data for part in parts), COMPRESSION)).decode(),
            manifest,
            shown,
            list(rows_of(catalog, shown, first, decimals)),
            [
                {
                    "label": int(catalog["label"][index]),
                    "x": float(catalog["x"][index]),
                    "y": float(catalog["y"][index]),
                    "a": float(3 * catalog["a"][index]),
                    "b": float(3 * catalog["b"][index]),
                    "angle": math.degrees(catalog["theta"][index]),
                }
                for index in first
                if np.isfinite([catalog[name][index] for name in ("x", "y", "a", "b", "theta")]).all()
            ],
        )


def flux_unit(catalog: Catalog) -> str:
    """The unit of the fluxes: the unit of the measured image."""
    return next(column.unit for column in catalog.columns if column.name == "flux_auto")


def rows_of(
    catalog: Catalog, shown: Iterable[Column], which: np.ndarray, decimals: dict[str, int] = DECIMALS
) -> Iterator[list[str]]:
    """The rows of a catalog as shown in the page, with the flags in words at the end."""
    for index in which:
        flags = ((name, int(catalog[name][index])) for name in FLAGS if name in catalog)
        words = [words for name, value in flags for bit, words in FLAGS[name].items() if value & bit]
        yield [*(_text(catalog[column.name][index], decimals.get(column.name)) for column in shown), "; ".join(words)]


def _text(value: Any, decimals: int | None) -> str:
    if not np.isfinite(value):
        return NOT_A_NUMBER
    if isinstance(value, np.integer):
        return str(value)
    return f"{value:.{DIGITS}g}" if decimals is None else f"{value:.{decimals}f}"


def _decimals_of_degrees(pixel: float | None) -> int:
    """Enough decimals to show a hundredth of a pixel."""
    if pixel is None or not pixel > 0:
        return FEWEST_DECIMALS
    return max(FEWEST_DECIMALS, 2 + math.ceil(-math.log10(pixel)))


@dataclass(frozen=True)
class _Packed:
    """The bytes of a column, and the description that the script needs to read them."""

    described: dict[str, Any]
    data: bytes

    @classmethod
    def of(cls, column: Column, values: np.ndarray, decimals: dict[str, int]) -> _Packed:
        described = {"name": column.name, "unit": column.unit, "description": column.description}
        places = decimals.get(column.name)
        if column.name in ALL and places is not None:
            # Whole numbers, so that every reader divides them to the same decimal.
            values = np.rint(values * 10.0**places)
            return cls.packed(described | {"decimals": places, "scale": 10**places}, values.astype("<f8"))
        if values.dtype.kind in "iu":
            return cls.packed(described, values.astype("<u2" if column.name in FLAGS else "<i4"))
        with np.errstate(over="ignore"):
            values = values.astype("<f4")
        return cls.packed(described | ({"digits": DIGITS} if places is None else {"decimals": places}), values)

    @classmethod
    def packed(cls, described: dict[str, Any], values: np.ndarray) -> _Packed:
        kind = f"{values.dtype.kind}{values.dtype.itemsize}"
        data = values.view(np.uint8).reshape(len(values), values.dtype.itemsize).T.tobytes()
        return cls(described | {"kind": kind, "number": len(values)}, data)


def _ellipses(catalog: Catalog, order: np.ndarray) -> Iterator[_Packed]:
    """Semi-axes (1 sigma, pixels) and angles in degrees of all sources' ellipses, to visible precision."""
    for axis in "ab":
        values = catalog[axis][order].astype("<f4")
        lost = BITS_OF_FLOAT32 - BITS_OF_AN_ELLIPSE
        kept = (values.view(np.uint32) + np.uint32(1 << (lost - 1))) & np.uint32(0xFFFFFFFF << lost & 0xFFFFFFFF)
        yield _Packed.packed({"name": f"drawn_{axis}"}, np.where(np.isfinite(values), kept.view(np.float32), np.nan))
    quarters = np.rint(4 * (np.nan_to_num(np.degrees(catalog["theta"][order])) % 180))
    yield _Packed.packed({"name": "drawn_angle", "scale": 4}, quarters.astype("<u2"))
