"""Pixel positions -> positions on the sky or on a map."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .image import MapProjection

if TYPE_CHECKING:
    from astropy.coordinates import BaseCoordinateFrame
    from astropy.wcs import WCS

ARCSEC = 3600.0  # in a degree
VISIBLE = 1.03  # axis ratio from which a circle is drawn as an ellipse
SHORTEST_STEP, LONGEST_STEP = 0.01, 1.0  # arcsec, for the differences that give the local scales


class ReferenceSystem(NamedTuple):
    """The system of longitudes and latitudes; `is_known` unless the header gives it a name of its own."""

    name: str
    is_known: bool = True


# By the type of the longitude (FITS WCS paper II, 2.1). Types not listed here belong to the Sun or a planet, or move
# with the Earth, and cannot be converted to the ICRS.
SYSTEMS = {"GLON": "galactic", "ELON": "ecliptic", "SLON": "supergalactic"}
# RADESYS by its beginning (FITS standard 4.0, table 28), and the spellings of programs that have other names for the
# same: Hubble's guide stars of GSC 1 are in FK5 (REFFRAME), Gaia's in the ICRS.
EQUATORIAL = {
    "FK4-NO-E": "FK4-NO-E", "FK4": "FK4", "B1950": "FK4", "FK5": "FK5", "J2000": "FK5", "GSC": "FK5",
    "ICRS": "ICRS", "ICRF": "ICRS", "GAIA": "ICRS",
}  # fmt: skip
APPARENT = ("GAPPT", "APPT")
LAST_OF_FK4 = 1984.0  # earlier equinoxes are FK4 unless stated otherwise (FITS standard 4.0, 8.3)


def reference_system(wcs: WCS) -> ReferenceSystem:
    """The system of a celestial WCS, from the types of its axes and, for right ascensions, RADESYS and EQUINOX."""
    longitude = wcs.wcs.lngtyp.strip()
    if longitude != "RA":
        return ReferenceSystem(SYSTEMS.get(longitude, ""), longitude in SYSTEMS)
    spelled = wcs.wcs.radesys.strip().upper()
    for beginning, name in EQUATORIAL.items():
        if spelled.startswith(beginning):
            return ReferenceSystem(name)
    default = "ICRS" if np.isnan(wcs.wcs.equinox) else "FK4" if wcs.wcs.equinox < LAST_OF_FK4 else "FK5"
    return ReferenceSystem("" if spelled.startswith(APPARENT) else default, not spelled)


def why_no_icrs(wcs: WCS) -> str:
    """Why a celestial WCS gives no right ascension and declination; "" where it does."""
    if reference_system(wcs).name:
        anywhere = np.array([0.0])
        return "" if sky_positions(wcs, anywhere, anywhere) is not None else "its EQUINOX cannot be used"
    longitude, latitude = wcs.wcs.lngtyp.strip(), wcs.wcs.lattyp.strip()
    if longitude == "RA":
        return f"RADESYS = '{wcs.wcs.radesys}' means apparent places, which no header leads back to the ICRS"
    return f"its axes, {longitude} and {latitude}, are of a system that has no right ascension"


def sky_positions(wcs: WCS, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Right ascension (from 0 to 360) and declination (ICRS, degrees) of pixel positions from 0, distortions included.

    NaN where the projection has no sky; None if the frame cannot be converted to the ICRS (the Sun, planets).
    """
    from astropy.coordinates import ICRS, SkyCoord

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            frame = _frame(wcs)
            if frame is None:
                return None
            world = wcs.all_pix2world(x, y, 0)
            longitude, latitude = world[wcs.wcs.lng], world[wcs.wcs.lat]
            on_the_sky = np.isfinite(longitude) & (np.abs(latitude) <= 90)
            longitude, latitude = (np.where(on_the_sky, angle, np.nan) for angle in (longitude, latitude))
            if isinstance(frame, ICRS):
                turned = longitude % 360
                right_ascension = np.where(turned == 360, 0.0, turned)  # a tiny negative angle wraps to 360
                return right_ascension, latitude
            icrs = SkyCoord(longitude, latitude, unit="deg", frame=frame).icrs
            return icrs.ra.degree, icrs.dec.degree
        except Exception:
            # wcslib and astropy raise a dozen types for frames and projections that they cannot follow.
            return None


def _frame(wcs: WCS) -> BaseCoordinateFrame | None:
    """The frame of a WCS in astropy, at its equinox; None if it cannot be converted to the ICRS."""
    from astropy.coordinates import FK4, FK5, ICRS, BarycentricMeanEcliptic, FK4NoETerms, Galactic, Supergalactic
    from astropy.time import Time

    name, equinox = reference_system(wcs).name, wcs.wcs.equinox
    besselian = name.startswith("FK4") or (name == "ecliptic" and equinox < LAST_OF_FK4)
    of_equinox = {} if np.isnan(equinox) else {"equinox": Time(equinox, format="byear" if besselian else "jyear")}
    frames = {
        "FK4": FK4, "FK4-NO-E": FK4NoETerms, "FK5": FK5, "ecliptic": BarycentricMeanEcliptic,
        "ICRS": ICRS, "galactic": Galactic, "supergalactic": Supergalactic,
    }  # fmt: skip
    if name not in frames:
        return None
    frame = frames[name]
    return frame(**of_equinox) if "equinox" in frame.frame_attributes else frame()


class SkyEllipses(NamedTuple):
    """Ellipses on the sky: semi-axes in arcsec, and the major axis in degrees east of north, in (-90, 90].

    NaN where the projection has no sky.
    """

    major: np.ndarray
    minor: np.ndarray
    angle: np.ndarray


def sky_ellipses(
    wcs: WCS, x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, theta: np.ndarray
) -> SkyEllipses | None:
    """Ellipses in pixels projected to the sky by the local scales; None where `sky_positions` is None.

    `a` and `b` are the semi-axes in pixels, `theta` the angle in radians from x towards y. Where pixels are not square
    on the sky, an ellipse's axes do not map to the axes of its image, which follow from its matrix.
    """
    scales = local_scales(wcs, x, y)
    if scales is None:
        return None
    with np.errstate(invalid="ignore"):
        a, b, cos, sin = (np.asarray(values, dtype=np.float64) for values in (a, b, np.cos(theta), np.sin(theta)))
        axes = np.array(((a * cos, -b * sin), (a * sin, b * cos)))
        (east_a, east_b), (north_a, north_b) = ARCSEC * np.einsum("nij,jkn->ikn", scales, axes)
        east, north, both = east_a**2 + east_b**2, north_a**2 + north_b**2, east_a * north_a + east_b * north_b
        major = np.sqrt((east + north + np.hypot(east - north, 2 * both)) / 2)
        # From the area: as the difference of two large numbers it would lose the digits of a thin ellipse.
        minor = np.abs(east_a * north_b - east_b * north_a) / major
    # Adding zero avoids -0, which would turn 90 degrees into -90.
    return SkyEllipses(major, minor, np.degrees(np.arctan2(2 * both + 0.0, north - east)) / 2)


def not_square(wcs: WCS, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where pixels are visibly not square on the sky: a round source is an ellipse there."""
    one = np.ones(len(x))
    circles = sky_ellipses(wcs, x, y, one, one, 0 * one)
    return np.zeros(len(x), dtype=bool) if circles is None else circles.major > VISIBLE * circles.minor


def local_scales(wcs: WCS, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """The local linear map to the sky: (N, 2, 2), degrees east and north per pixel in x and y; None without ICRS.

    Finite differences around each position, on its tangent plane; correct at the poles too.
    """
    step = _step(wcs)
    dx, dy = step / 2 * np.array(((-1, 1, 0, 0, 0), (0, 0, -1, 1, 0)))
    around = sky_positions(wcs, np.add.outer(dx, x).ravel(), np.add.outer(dy, y).ravel())
    if around is None:
        return None
    ra, dec = (np.radians(angle).reshape(len(dx), len(x)) for angle in around)
    left, right, below, above, _ = np.stack((np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)), axis=-1)
    ra, dec = ra[-1], dec[-1]
    east = np.stack((-np.sin(ra), np.cos(ra), np.zeros_like(ra)), axis=-1)
    north = np.stack((-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)), axis=-1)
    steps = np.stack((right - left, above - below), axis=-1) / step
    return np.degrees(np.stack((np.einsum("ni,nij->nj", east, steps), np.einsum("ni,nij->nj", north, steps)), axis=1))


def _step(wcs: WCS) -> float:
    """The step of the finite differences in pixels: one, unless that is too small or too large on the sky.

    Degrees in float64 are accurate to 2e-10 arcsec, too coarse for the microarcsecond pixels of radio interferometers;
    and across a pixel of an all-sky map the sky is not flat.
    """
    size = ARCSEC * np.sqrt(np.abs(np.linalg.det(wcs.pixel_scale_matrix)))
    return float(np.clip(1, SHORTEST_STEP / size, LONGEST_STEP / size))


def map_positions(projection: MapProjection, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Map coordinates of pixel positions counted from 0."""
    (a, b, c), (d, e, f) = projection.matrix
    return a * x + b * y + c, d * x + e * y + f
