"""Detections and measurements -> the catalog: its columns, and a row per source."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from .columns import DETECTION_COLUMNS, NAME_COLUMN, PHOTOMETRY_COLUMNS, Column, magnitude_name, resolved
from .coordinates import map_positions, sky_ellipses, sky_positions
from .image import Image
from .photometry import gaussian_fwhm

# 2.5 / ln 10: turns a relative error into one in magnitudes (Pogson's scale).
MAGNITUDE = 2.5 / np.log(10)


@dataclass
class Catalog:
    """A row per source, in the order of the labels: the `columns` present, and their values by name."""

    columns: list[Column]
    values: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.values["label"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.values[name]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def part(self, first: int, end: int) -> Catalog:
        """Rows from `first` to before `end`."""
        return Catalog(self.columns, {name: values[first:end] for name, values in self.values.items()})

    def without(self, names: Collection[str]) -> Catalog:
        """A copy without the values of these columns, which the code that joins the parts already has."""
        return Catalog(self.columns, {name: some for name, some in self.values.items() if name not in names})

    @classmethod
    def joined(cls, parts: Iterable[Catalog], known: dict[str, np.ndarray]) -> Catalog:
        """Join catalogs with the same columns, except the `known` ones, of which all values are given.

        Each part is dropped once it is copied, so that nothing is in memory twice.
        """
        values, columns, row = dict[str, np.ndarray](), list[Column](), 0
        number = len(known["label"])
        for part in parts:
            columns, first = part.columns, row
            for name, some in part.values.items():
                values.setdefault(name, np.empty(number, some.dtype))[first : first + len(some)] = some
                row = first + len(some)
        values |= known
        return cls(columns, {column.name: values[column.name] for column in columns})


def detected_columns(sources: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """SEP's columns by name, and the labels."""
    return {"label": labels} | {column.name: sources[column.name] for column in DETECTION_COLUMNS[1:]}


def build_catalog(
    detected: dict[str, np.ndarray],
    measured: dict[str, np.ndarray],
    detected_on: Image,
    measured_on: Image,
    *,
    title: str,
    apertures: tuple[float, ...],
    zeropoint: float | None,
) -> Catalog:
    """Put the detection's columns, the measured ones, and those derived from both in order.

    Positions belong to the image that is `detected_on`, fluxes to the one that is `measured_on`, often the same.
    `title` is the image's name in the last column.
    """
    values = detected | measured
    values[NAME_COLUMN.name] = np.full(len(values["label"]), title)
    values |= _positions(values, detected_on)
    if zeropoint is not None:
        fluxes = [name for name in measured if name.startswith(("flux_auto", "flux_aper")) and "err" not in name]
        for name in fluxes:
            values |= _magnitudes(magnitude_name(name), measured[name], measured[f"{name}_err"], zeropoint)
    columns = [
        column
        for table, image in ((DETECTION_COLUMNS, detected_on), (PHOTOMETRY_COLUMNS, measured_on))
        for column in resolved(table, apertures, image.unit)
        if column.name in values
    ]
    columns.append(NAME_COLUMN)
    return Catalog(columns, {column.name: values[column.name] for column in columns})


def with_more(
    catalog: Catalog, more: dict[str, np.ndarray], *, unit: str, flags: np.ndarray, zeropoint: float | None
) -> Catalog:
    """A catalog with more measured columns, in their places, and the magnitudes of their fluxes.

    `unit` is the unit of the image that they were measured on, `flags` are bits to add to `flag_phot`.
    """
    values = catalog.values | more
    values["flag_phot"] = values["flag_phot"] | flags.astype(values["flag_phot"].dtype)
    if zeropoint is not None:
        for name in [name for name in more if name.startswith("flux") and f"{name}_err" in more]:
            values |= _magnitudes(magnitude_name(name), more[name], more[f"{name}_err"], zeropoint)
    place = {column.name: number for number, column in enumerate(PHOTOMETRY_COLUMNS)}
    columns = list(catalog.columns)
    for column in resolved(PHOTOMETRY_COLUMNS, (), unit):
        if column.name in values and column.name not in catalog:
            # Before the columns that follow: the other photometry, the apertures, and the image's name.
            detected = len(DETECTION_COLUMNS)
            behind = (
                n for n, c in enumerate(columns) if n >= detected and place.get(c.name, len(place)) > place[column.name]
            )
            columns.insert(next(behind), column)
    return Catalog(columns, {column.name: values[column.name] for column in columns})


def _positions(values: dict[str, np.ndarray], image: Image) -> dict[str, np.ndarray]:
    """Positions and orientations of the sources on the sky or on the map."""
    x, y = values["x"], values["y"]
    if image.projection is not None:
        return dict(zip(image.projection.names, map_positions(image.projection, x, y), strict=True))
    sky = None if image.wcs is None else sky_positions(image.wcs, x, y)
    if sky is None:
        return {}
    positions = dict(zip(("ra", "dec"), sky, strict=True))
    ellipses = sky_ellipses(image.wcs, x, y, values["a"], values["b"], values["theta"])
    if ellipses is None:
        return positions
    size = gaussian_fwhm(ellipses.major, ellipses.minor)
    return positions | {"theta_sky": ellipses.angle, "fwhm_arcsec": size}


def _magnitudes(name: str, flux: np.ndarray, error: np.ndarray, zeropoint: float) -> dict[str, np.ndarray]:
    """A magnitude and its error; NaN where the flux is not above zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        positive = np.where(flux > 0, flux, np.nan)
        return {name: zeropoint - 2.5 * np.log10(positive), f"{name}_err": MAGNITUDE * error / positive}
