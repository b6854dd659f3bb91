"""Detections and measurements -> the catalog: what every column is, and its values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from .coordinates import local_scales, map_positions, pixel_sizes, position_angles, sky_positions
from .images import Image
from .photometry import aperture_column
from .settings import Settings

# 2.5 / ln 10: a relative error as one of a magnitude (Pogson's scale).
MAGNITUDE = 2.5 / np.log(10)


class Given(Enum):
    """What a column needs to be there."""

    ALWAYS = "always"
    SKY = "sky coordinates"
    PROJECTION = "a GeoTIFF"
    WGS84 = "a GeoTIFF in degrees (EPSG:4326)"
    APERTURE = "an aperture each"
    ZEROPOINT = "a zero point"
    ZEROPOINT_AND_APERTURE = "a zero point, an aperture each"


@dataclass(frozen=True)
class Column:
    """A column of the catalog; `exact` asks for every digit of its float64 values."""

    name: str
    unit: str  # "" where it has none; "image" for the unit of the image's pixels
    description: str
    exact: bool = False
    given: Given = Given.ALWAYS


# SEP's own, of the image that the sources are detected on.
DETECTION_COLUMNS = (
    Column("label", "", "the source's value in the segmentation map, from 1"),
    Column("thresh", "image", "threshold at the source (mean over its pixels)"),
    Column("npix", "pix", "number of pixels that belong to the source"),
    Column("tnpix", "pix", "number of pixels above the threshold (unfiltered data)"),
    Column("xmin", "pix", "least x of the source's pixels"),
    Column("xmax", "pix", "greatest x of the source's pixels"),
    Column("ymin", "pix", "least y of the source's pixels"),
    Column("ymax", "pix", "greatest y of the source's pixels"),
    Column(
        "x", "pix", "position: mean x weighted by the filtered light, 0 at the centre of the first pixel", exact=True
    ),
    Column(
        "y", "pix", "position: mean y weighted by the filtered light, 0 at the centre of the first pixel", exact=True
    ),
    Column("x2", "pix2", "variance in x of the filtered light", exact=True),
    Column("y2", "pix2", "variance in y of the filtered light", exact=True),
    Column("xy", "pix2", "covariance in x and y of the filtered light", exact=True),
    Column("errx2", "pix2", "variance of x from the noise (0 with err_option none)", exact=True),
    Column("erry2", "pix2", "variance of y from the noise (0 with err_option none)", exact=True),
    Column("errxy", "pix2", "covariance of x and y from the noise (0 with err_option none)", exact=True),
    Column("a", "pix", "semi-major axis of the light, 1 sigma"),
    Column("b", "pix", "semi-minor axis of the light, 1 sigma"),
    Column("theta", "rad", "angle of the major axis from the x axis towards the y axis"),
    Column("cxx", "pix-2", "ellipse parameter: cxx dx^2 + cyy dy^2 + cxy dx dy = 1 at 1 sigma"),
    Column("cyy", "pix-2", "ellipse parameter, see cxx"),
    Column("cxy", "pix-2", "ellipse parameter, see cxx"),
    Column("cflux", "image", "sum of the source's pixels in the filtered image"),
    Column("flux", "image", "sum of the source's pixels (isophotal flux)"),
    Column("cpeak", "image", "greatest value in the filtered image"),
    Column("peak", "image", "greatest value"),
    Column("xcpeak", "pix", "x of cpeak"),
    Column("ycpeak", "pix", "y of cpeak"),
    Column("xpeak", "pix", "x of peak"),
    Column("ypeak", "pix", "y of peak"),
    Column(
        "flag",
        "",
        "sum of SEP's bits. 1: split from a blend, 2: touches the image's edge, 8: too thin to have two axes",
    ),
)
# Of the image that is measured: first those that every catalog has.
PHOTOMETRY_COLUMNS = (
    Column("flux_iso", "image", "sum of the source's pixels (flux, on the image of --measure_file where there is one)"),
    Column("flux_iso_err", "image", "error of flux_iso"),
    Column("flux_auto", "image", "total flux: the sum in the Kron ellipse (kron_radius times a and b)"),
    Column("flux_auto_err", "image", "error of flux_auto"),
    Column("snr", "", "signal-to-noise ratio: flux_auto / flux_auto_err"),
    Column("kron_radius", "", "size of the Kron ellipse in units of a and b, the factor included (as SExtractor's)"),
    Column("flux_radius", "pix", "half-light radius: of the circle that holds half of flux_auto"),
    Column("fwhm", "pix", "full width at half maximum of a Gaussian of this a and b: 2 sqrt(ln 2 (a^2 + b^2))"),
    Column("ellipticity", "", "1 - b / a"),
    Column("elongation", "", "a / b"),
    Column("x_err", "pix", "error of x"),
    Column("y_err", "pix", "error of y"),
    Column("x_win", "pix", "windowed position, more precise than x; x where there is none (flag_phot 2)", exact=True),
    Column("y_win", "pix", "windowed position, more precise than y; y where there is none (flag_phot 2)", exact=True),
    Column("masked_fraction", "", "share of the Kron ellipse's pixels that are masked"),
    Column("flag_phot", "", "sum of the bits of the photometry, see the legend"),
    Column("image", "", "name of the image"),
    Column("ra", "deg", "right ascension (ICRS)", exact=True, given=Given.SKY),
    Column("dec", "deg", "declination (ICRS)", exact=True, given=Given.SKY),
    Column("theta_sky", "deg", "position angle of the major axis, east of north", given=Given.SKY),
    Column("fwhm_arcsec", "arcsec", "fwhm on the sky", given=Given.SKY),
    Column("map_x", "", "first coordinate in the map's projection", exact=True, given=Given.PROJECTION),
    Column("map_y", "", "second coordinate in the map's projection", exact=True, given=Given.PROJECTION),
    Column("lon", "deg", "longitude (WGS 84)", exact=True, given=Given.WGS84),
    Column("lat", "deg", "latitude (WGS 84)", exact=True, given=Given.WGS84),
    Column("flux_aper_D", "image", "flux in a circle of D pixels in diameter", given=Given.APERTURE),
    Column("flux_aper_D_err", "image", "error of flux_aper_D", given=Given.APERTURE),
    Column("mag_auto", "mag", "zeropoint - 2.5 log10(flux_auto)", given=Given.ZEROPOINT),
    Column("mag_auto_err", "mag", "error of mag_auto: 1.0857 flux_auto_err / flux_auto", given=Given.ZEROPOINT),
    Column("mag_aper_D", "mag", "zeropoint - 2.5 log10(flux_aper_D)", given=Given.ZEROPOINT_AND_APERTURE),
    Column("mag_aper_D_err", "mag", "error of mag_aper_D", given=Given.ZEROPOINT_AND_APERTURE),
)
COLUMNS = DETECTION_COLUMNS + PHOTOMETRY_COLUMNS

# SEP's bits, which are not SExtractor's.
FLAG_LEGEND = {1: "split from a blend", 2: "touches the image's edge", 8: "too thin to have two axes"}


@dataclass
class Catalog:
    """A row a source, label i + 1 in row i: the `columns` that are there, with the units of the images, and values."""

    columns: list[Column]
    values: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.values["label"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.values[name]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    @classmethod
    def joined(cls, parts: Sequence[Catalog]) -> Catalog:
        """One catalog of several with the same columns."""
        names = parts[0].values
        return cls(parts[0].columns, {name: np.concatenate([part[name] for part in parts]) for name in names})


def detected_columns(sources: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """SEP's columns by name, and the labels."""
    return {"label": labels} | {column.name: sources[column.name] for column in DETECTION_COLUMNS[1:]}


def build_catalog(
    detected: dict[str, np.ndarray],
    measured: dict[str, np.ndarray],
    images: tuple[Image, Image],
    zeropoint: float | None,
    settings: Settings,
) -> Catalog:
    """Put the columns of the detection, the measured ones, and what follows from both in their order.

    `images` are the one that the positions belong to and the one of the fluxes, often the same.
    """
    values = detected | measured
    values["image"] = np.full(len(values["label"]), settings.title)
    values |= _positions(values, images[0])
    if zeropoint is not None:
        fluxes = [name for name in measured if name.startswith(("flux_auto", "flux_aper")) and "err" not in name]
        for name in fluxes:
            values |= _magnitudes(name.replace("flux", "mag"), measured[name], measured[f"{name}_err"], zeropoint)
    columns = [
        column
        for table, image in zip((DETECTION_COLUMNS, PHOTOMETRY_COLUMNS), images, strict=True)
        for column in _resolved(table, settings.apertures, image.unit)
        if column.name in values
    ]
    return Catalog(columns, {column.name: values[column.name] for column in columns})


def _resolved(table: tuple[Column, ...], apertures: tuple[float, ...], unit: str) -> list[Column]:
    """The columns with `unit` for the image's, the templates (flux_aper_D) repeated for every aperture."""
    plain = [column for column in table if "_D" not in column.name]
    templates = [column for column in table if "_D" in column.name]
    repeated = [
        dataclasses.replace(
            template,
            name=aperture_column(template.name, diameter),
            description=aperture_column(template.description, diameter).replace(" D pixels", f" {diameter:g} pixels"),
        )
        for diameter in apertures
        for template in templates
    ]
    return [dataclasses.replace(c, unit=unit if c.unit == "image" else c.unit) for c in plain + repeated]


def _positions(values: dict[str, np.ndarray], image: Image) -> dict[str, np.ndarray]:
    """Where the sources are on the sky or on the map, and how they lie there."""
    x, y = values["x"], values["y"]
    if image.projection is not None:
        return dict(zip(image.projection.names, map_positions(image.projection, x, y), strict=True))
    sky = None if image.wcs is None else sky_positions(image.wcs, x, y)
    if sky is None:
        return {}
    scales = local_scales(image.wcs, x, y)
    return {
        "ra": sky[0],
        "dec": sky[1],
        "theta_sky": position_angles(scales, values["theta"]),
        "fwhm_arcsec": pixel_sizes(scales) * values["fwhm"],
    }


def _magnitudes(name: str, flux: np.ndarray, error: np.ndarray, zeropoint: float) -> dict[str, np.ndarray]:
    """A magnitude and its error; NaN where the flux is not above zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        positive = np.where(flux > 0, flux, np.nan)
        return {name: zeropoint - 2.5 * np.log10(positive), f"{name}_err": MAGNITUDE * error / positive}
