"""Pixel positions -> positions on the sky or on a map."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .image import MapProjection

if TYPE_CHECKING:
    from astropy.wcs import WCS

ARCSEC = 3600.0  # in a degree


def sky_positions(wcs: WCS, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Right ascension and declination (ICRS, degrees) of pixel positions from 0, distortions included.

    NaN where the projection has no sky; None where the frame is none that has an ICRS (the Sun, planets).
    """
    from astropy.coordinates import ICRS, SkyCoord
    from astropy.wcs.utils import wcs_to_celestial_frame

    with warnings.catch_warnings(), offline():
        warnings.simplefilter("ignore")
        try:
            frame = wcs_to_celestial_frame(wcs)
            world = wcs.all_pix2world(x, y, 0)
            longitude, latitude = world[wcs.wcs.lng], world[wcs.wcs.lat]
            if isinstance(frame, ICRS):
                return longitude, latitude
            icrs = SkyCoord(longitude, latitude, unit="deg", frame=frame).icrs
            return icrs.ra.degree, icrs.dec.degree
        except Exception:
            # wcslib and astropy raise a dozen types for frames and projections that they cannot follow.
            return None


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Have astropy use the tables of the Earth's rotation and of leap seconds that it comes with, and fetch none.

    For dates that they do not reach it is off by less than a second of time. The user's settings are the same again
    afterwards.
    """
    from astropy.utils import data, iers

    with (
        data.conf.set_temp("allow_internet", False),
        iers.conf.set_temp("auto_download", False),
        # Else it raises an error for tables that are older than this.
        iers.conf.set_temp("auto_max_age", None),
        iers.conf.set_temp("iers_degraded_accuracy", "warn"),
    ):
        yield


def local_scales(wcs: WCS, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """How the sky lies under each pixel: (N, 2, 2), degrees east and north per pixel in x and y.

    Differences across a pixel, projected on the tangent plane at its centre; right at the poles too.
    """
    half = 0.5
    around = ((-half, 0), (half, 0), (0, -half), (0, half), (0, 0))
    ends = [end for dx, dy in around if (end := sky_positions(wcs, x + dx, y + dy)) is not None]
    if len(ends) < len(around):
        return None
    left, right, below, above, _ = (_unit_vectors(*end) for end in ends)
    ra, dec = (np.radians(angle) for angle in ends[-1])
    east = np.stack((-np.sin(ra), np.cos(ra), np.zeros_like(ra)), axis=-1)
    north = np.stack((-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)), axis=-1)
    steps = np.stack((right - left, above - below), axis=-1)
    return np.degrees(np.stack((np.einsum("ni,nij->nj", east, steps), np.einsum("ni,nij->nj", north, steps)), axis=1))


def position_angles(scales: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Degrees east of north, in (-90, 90], of axes at the angles `theta` (radians) from x towards y."""
    axes = np.stack((np.cos(theta), np.sin(theta)), axis=-1)
    east, north = np.einsum("nij,nj->in", scales, axes)
    angles = np.degrees(np.arctan2(east, north))
    return angles - 180 * np.ceil((angles - 90) / 180)


def pixel_sizes(scales: np.ndarray) -> np.ndarray:
    """Side in arcsec of the square with the area of each pixel."""
    return ARCSEC * np.sqrt(np.abs(np.linalg.det(scales)))


def map_positions(projection: MapProjection, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates on the map of pixel positions from 0."""
    (a, b, c), (d, e, f) = projection.matrix
    return a * x + b * y + c, d * x + e * y + f


def _unit_vectors(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    longitude, latitude = np.radians(longitude), np.radians(latitude)
    return np.stack(
        (np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)), axis=-1
    )
