"""The columns of the catalog (name, unit, meaning) and the bits of its flags, defined here only.

The order is: SEP's columns; the measured ones; coordinates; apertures; magnitudes; the image's name. The name may
contain spaces, so it stands last, where it shifts no other column for a program that counts words.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, IntFlag


class Given(Enum):
    """What must be given for a column to be present."""

    ALWAYS = "always"
    SKY = "sky coordinates"
    PROJECTION = "a GeoTIFF"
    WGS84 = "a GeoTIFF in degrees (EPSG:4326)"
    APERTURE = "one per aperture"
    ZEROPOINT = "a zero point"
    ZEROPOINT_AND_APERTURE = "a zero point, one per aperture"
    PSF = "a PSF"
    ZEROPOINT_AND_PSF = "a zero point, a PSF"


@dataclass(frozen=True)
class Column:
    """A column of the catalog; `exact` columns are written with every digit of their float64 values."""

    name: str
    unit: str  # "" if none; IMAGE_UNIT for the unit of the image's pixels
    description: str
    ucd: str = ""  # the IVOA's term for the quantity (UCD1+), used in VOTables
    exact: bool = False
    given: Given = Given.ALWAYS

    @property
    def is_template(self) -> bool:
        """Whether it stands for one column per aperture: its name has a D for the diameter."""
        return self.given in (Given.APERTURE, Given.ZEROPOINT_AND_APERTURE)

    def for_aperture(self, diameter: float) -> Column:
        """The column that a template stands for."""
        description = aperture_name(self.description, diameter).replace(" D pixels", f" {diameter:g} pixels")
        return dataclasses.replace(self, name=aperture_name(self.name, diameter), description=description)


IMAGE_UNIT = "image"
# The spelling in text tables: Java, R and polars read no other spelling as a number.
NOT_A_NUMBER = "NaN"

# SEP's own, for the image that the sources are detected on.
DETECTION_COLUMNS = (
    Column("label", "", "the source's value in the segmentation map, from 1", "meta.id;meta.main"),
    Column("thresh", "image", "threshold at the source (mean over its pixels)", "instr.sensitivity"),
    Column("npix", "pix", "number of pixels that belong to the source", "phys.angArea;instr.pixel"),
    Column("tnpix", "pix", "number of pixels above the threshold (unfiltered data)", "phys.angArea;instr.pixel"),
    Column("xmin", "pix", "least x of the source's pixels", "pos.cartesian.x;instr.det;stat.min"),
    Column("xmax", "pix", "greatest x of the source's pixels", "pos.cartesian.x;instr.det;stat.max"),
    Column("ymin", "pix", "least y of the source's pixels", "pos.cartesian.y;instr.det;stat.min"),
    Column("ymax", "pix", "greatest y of the source's pixels", "pos.cartesian.y;instr.det;stat.max"),
    Column(
        "x",
        "pix",
        "position: mean x weighted by the filtered light, 0 at the centre of the first pixel",
        "pos.cartesian.x;pos.barycenter;instr.det",
        exact=True,
    ),
    Column(
        "y",
        "pix",
        "position: mean y weighted by the filtered light, 0 at the centre of the first pixel",
        "pos.cartesian.y;pos.barycenter;instr.det",
        exact=True,
    ),
    Column("x2", "pix2", "variance in x of the filtered light", "src.morph.param", exact=True),
    Column("y2", "pix2", "variance in y of the filtered light", "src.morph.param", exact=True),
    Column("xy", "pix2", "covariance in x and y of the filtered light", "src.morph.param", exact=True),
    Column(
        "errx2",
        "pix2",
        "variance of x from the noise (0 with err_option none)",
        "stat.variance;pos.cartesian.x;instr.det",
        exact=True,
    ),
    Column(
        "erry2",
        "pix2",
        "variance of y from the noise (0 with err_option none)",
        "stat.variance;pos.cartesian.y;instr.det",
        exact=True,
    ),
    Column(
        "errxy",
        "pix2",
        "covariance of x and y from the noise (0 with err_option none)",
        "stat.covariance;pos.cartesian;instr.det",
        exact=True,
    ),
    Column("a", "pix", "semi-major axis of the light, 1 sigma", "phys.angSize.smajAxis;instr.det"),
    Column("b", "pix", "semi-minor axis of the light, 1 sigma", "phys.angSize.sminAxis;instr.det"),
    Column("theta", "rad", "angle of the major axis from the x axis towards the y axis", "pos.posAng;instr.det"),
    Column("cxx", "pix-2", "ellipse parameter: cxx dx^2 + cyy dy^2 + cxy dx dy = 1 at 1 sigma", "src.morph.param"),
    Column("cyy", "pix-2", "ellipse parameter, see cxx", "src.morph.param"),
    Column("cxy", "pix-2", "ellipse parameter, see cxx", "src.morph.param"),
    Column("cflux", "image", "sum of the source's pixels in the filtered image", "phot.flux"),
    Column("flux", "image", "sum of the source's pixels (isophotal flux)", "phot.flux"),
    Column("cpeak", "image", "greatest value in the filtered image", "phot.flux.sb;stat.max"),
    Column("peak", "image", "greatest value", "phot.flux.sb;stat.max"),
    Column("xcpeak", "pix", "x of cpeak", "pos.cartesian.x;instr.det"),
    Column("ycpeak", "pix", "y of cpeak", "pos.cartesian.y;instr.det"),
    Column("xpeak", "pix", "x of peak", "pos.cartesian.x;instr.det"),
    Column("ypeak", "pix", "y of peak", "pos.cartesian.y;instr.det"),
    Column(
        "flag",
        "",
        "sum of SEP's bits. 1: split from a blend, 2: touches the image's edge, 8: too thin to have two axes",
        "meta.code",
    ),
)
# For the image that is measured: first those that every catalog has.
PHOTOMETRY_COLUMNS = (
    Column(
        "flux_iso",
        "image",
        "sum of the source's pixels (flux, but on the image of --measure_file if there is one)",
        "phot.flux",
    ),
    Column("flux_iso_err", "image", "error of flux_iso in empty sky", "stat.error;phot.flux"),
    Column(
        "flux_auto",
        "image",
        "total flux: the sum in the Kron ellipse (kron_radius times a and b)",
        "phot.flux;meta.main",
    ),
    Column("flux_auto_err", "image", "error of flux_auto in empty sky", "stat.error;phot.flux;meta.main"),
    Column("snr", "", "signal-to-noise ratio: flux_auto / flux_auto_err", "stat.snr"),
    Column(
        "kron_radius",
        "",
        "size of the Kron ellipse in units of a and b, the factor included (as in SExtractor)",
        "arith.factor",
    ),
    Column(
        "flux_radius", "pix", "half-light radius: radius of the circle with half of flux_auto", "phys.angSize;instr.det"
    ),
    Column(
        "fwhm",
        "pix",
        "full width at half maximum of a Gaussian of this a and b: 2 sqrt(ln 2 (a^2 + b^2))",
        "phys.angSize;stat.fwhm;instr.det",
    ),
    Column("ellipticity", "", "1 - b / a", "src.ellipticity"),
    Column("elongation", "", "a / b", "phys.size.axisRatio"),
    Column(
        "x_err",
        "pix",
        "error of x as in SExtractor, too small: for errors, use x_win",
        "stat.error;pos.cartesian.x;instr.det",
    ),
    Column(
        "y_err",
        "pix",
        "error of y as in SExtractor, too small: for errors, use y_win",
        "stat.error;pos.cartesian.y;instr.det",
    ),
    Column(
        "x_win",
        "pix",
        "windowed position, more precise than x; x where there is none (flag_phot 2)",
        "pos.cartesian.x;pos.centroid;instr.det",
        exact=True,
    ),
    Column(
        "y_win",
        "pix",
        "windowed position, more precise than y; y where there is none (flag_phot 2)",
        "pos.cartesian.y;pos.centroid;instr.det",
        exact=True,
    ),
    Column("x_win_err", "pix", "error of x_win; x_err where there is none", "stat.error;pos.cartesian.x;instr.det"),
    Column("y_win_err", "pix", "error of y_win; y_err where there is none", "stat.error;pos.cartesian.y;instr.det"),
    Column("masked_fraction", "", "share of the Kron ellipse's pixels that are masked", "stat.filling"),
    Column("flag_phot", "", "sum of the bits of the photometry, see the legend", "meta.code.qual"),
    Column("ra", "deg", "right ascension (ICRS)", "pos.eq.ra;meta.main", exact=True, given=Given.SKY),
    Column("dec", "deg", "declination (ICRS)", "pos.eq.dec;meta.main", exact=True, given=Given.SKY),
    Column(
        "theta_sky",
        "deg",
        "position angle of the major axis of the ellipse on the sky, east of north",
        "pos.posAng",
        given=Given.SKY,
    ),
    Column(
        "fwhm_arcsec",
        "arcsec",
        "fwhm on the sky, from the semi-axes of the ellipse there",
        "phys.angSize;stat.fwhm",
        given=Given.SKY,
    ),
    Column(
        "map_x", "", "first coordinate in the map's projection", "pos.cartesian.x", exact=True, given=Given.PROJECTION
    ),
    Column(
        "map_y", "", "second coordinate in the map's projection", "pos.cartesian.y", exact=True, given=Given.PROJECTION
    ),
    Column("lon", "deg", "longitude (WGS 84)", "pos.earth.lon", exact=True, given=Given.WGS84),
    Column("lat", "deg", "latitude (WGS 84)", "pos.earth.lat", exact=True, given=Given.WGS84),
    Column(
        "flux_psf",
        "image",
        "flux of a star: that of the best-fitting PSF, with all sources fitted together",
        "phot.flux",
        given=Given.PSF,
    ),
    Column("flux_psf_err", "image", "error of flux_psf, neighbours included", "stat.error;phot.flux", given=Given.PSF),
    Column(
        "chi2_psf",
        "",
        "mean squared deviation from the fit within one FWHM, in units of the noise; about 1 for a star",
        "stat.fit.chi2",
        given=Given.PSF,
    ),
    Column(
        "spread",
        "",
        "star or galaxy (SExtractor's SPREAD_MODEL): 0 for a star, positive if larger than the PSF",
        "src.morph.param",
        given=Given.PSF,
    ),
    Column("spread_err", "", "error of spread", "stat.error;src.morph.param", given=Given.PSF),
    Column("flux_aper_D", "image", "flux in a circle of D pixels in diameter", "phot.flux", given=Given.APERTURE),
    Column(
        "flux_aper_D_err", "image", "error of flux_aper_D in empty sky", "stat.error;phot.flux", given=Given.APERTURE
    ),
    Column("mag_auto", "mag", "zeropoint - 2.5 log10(flux_auto)", "phot.mag", given=Given.ZEROPOINT),
    Column(
        "mag_auto_err",
        "mag",
        "error of mag_auto: 1.0857 flux_auto_err / flux_auto",
        "stat.error;phot.mag",
        given=Given.ZEROPOINT,
    ),
    Column("mag_psf", "mag", "zeropoint - 2.5 log10(flux_psf)", "phot.mag", given=Given.ZEROPOINT_AND_PSF),
    Column(
        "mag_psf_err",
        "mag",
        "error of mag_psf: 1.0857 flux_psf_err / flux_psf",
        "stat.error;phot.mag",
        given=Given.ZEROPOINT_AND_PSF,
    ),
    Column("mag_aper_D", "mag", "zeropoint - 2.5 log10(flux_aper_D)", "phot.mag", given=Given.ZEROPOINT_AND_APERTURE),
    Column("mag_aper_D_err", "mag", "error of mag_aper_D", "stat.error;phot.mag", given=Given.ZEROPOINT_AND_APERTURE),
)
# The last one of every catalog.
NAME_COLUMN = Column("image", "", "name of the image", "meta.id.parent;meta.file")


class Flag(IntFlag):
    """The bits of `flag`, which are SEP's (OBJ_MERGED, OBJ_TRUNC, OBJ_SINGU in its sep.h), not SExtractor's."""

    BLENDED = 1
    AT_THE_EDGE = 2
    SINGULAR = 8


class PhotometryFlag(IntFlag):
    """The bits of `flag_phot`; 16 to 128 are those of SEP's aperture functions (SEP_APER_TRUNC, ... in its sep.h)."""

    SATURATED = 1
    NOT_WINDOWED = 2
    NOT_MEASURED = 4
    TRUNCATED = 16
    COVERED = 32
    ALL_COVERED = 64
    NO_KRON = 128
    NO_PSF_FIT = 256


FLAGS: dict[str, dict[IntFlag, str]] = {
    "flag": {
        Flag.BLENDED: "split from a blend",
        Flag.AT_THE_EDGE: "touches the image's edge",
        Flag.SINGULAR: "too thin to have two axes",
    },
    "flag_phot": {
        PhotometryFlag.SATURATED: "has a saturated pixel",
        PhotometryFlag.NOT_WINDOWED: "no windowed position: x_win, y_win are x, y",
        PhotometryFlag.NOT_MEASURED: "has no ellipse to measure with",
        PhotometryFlag.TRUNCATED: "an aperture reaches over the image's edge",
        PhotometryFlag.COVERED: "pixels in an aperture are masked or belong to a neighbour",
        PhotometryFlag.ALL_COVERED: "all pixels of a flux are such: it is NaN",
        PhotometryFlag.NO_KRON: "no Kron radius: the smallest one is used",
        PhotometryFlag.NO_PSF_FIT: "no fit of the PSF: its columns are NaN",
    },
}


def aperture_name(template: str, diameter: float) -> str:
    """The column name for a diameter: flux_aper_D becomes flux_aper_2_5 for 2.5 pixels."""
    return template.replace("_D", "_" + f"{diameter:g}".replace(".", "_"))


def magnitude_name(flux: str) -> str:
    """The name of the magnitude column of a flux column."""
    return flux.replace("flux", "mag", 1)


def in_image_unit(columns: tuple[Column, ...], names: Iterable[str]) -> list[str]:
    """Those of the `names` that are in the unit of the image's pixels, including a template's for every aperture."""
    plain = {column.name for column in columns if column.unit == IMAGE_UNIT and not column.is_template}
    # A template's name up to the diameter: no other column's name begins like that.
    beginnings = tuple(c.name.partition("_D")[0] + "_" for c in columns if c.unit == IMAGE_UNIT and c.is_template)
    return [name for name in names if name in plain or name.startswith(beginnings)]


def resolved(columns: tuple[Column, ...], apertures: tuple[float, ...], unit: str) -> list[Column]:
    """The columns with `unit` in place of IMAGE_UNIT, and the templates (flux_aper_D) repeated for every aperture."""
    plain = [column for column in columns if not column.is_template]
    repeated = [
        template.for_aperture(diameter) for diameter in apertures for template in columns if template.is_template
    ]
    return [dataclasses.replace(c, unit=unit) if c.unit == IMAGE_UNIT else c for c in plain + repeated]
