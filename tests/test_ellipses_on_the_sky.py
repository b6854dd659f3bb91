"""Ellipses on the sky: sources drawn in arcseconds, on pixels that are not square there."""

from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from regions import Regions

from source_extraction.core.coordinates import sky_ellipses
from tests.conftest import read_catalog, succeed

HEIGHT, WIDTH = 400, 600
COLUMNS, ROWS = (axis.ravel() for axis in np.meshgrid(np.arange(50, WIDTH, 100), np.arange(50, HEIGHT, 100)))
ANGLES = np.linspace(-90, 90, len(COLUMNS), endpoint=False)  # east of north
MAJOR, MINOR = 4.5, 3.0  # sigma, in sides of the square with the area of a pixel
# SEP takes the moments of what is above the threshold: of sources so bright, nearly all.
PEAK, THRESHOLD, NOISE = 30_000, 3, 0.5
OPTIONS = ("--no-subtract_background", "--err_option", "none", "--thresh", THRESHOLD, "--filter_case", "none")


def header(projection: str, x: float, y: float, turn: float = 0.0, **cards: float | str) -> fits.Header:
    """A projection about the image's middle, of pixels of `x` by `y` arcsec, turned by degrees."""
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    placed = {
        "CTYPE1": f"RA---{projection}", "CTYPE2": f"DEC--{projection}", "CRVAL1": 150.0, "CRVAL2": 20.0,
        "CRPIX1": 300.5, "CRPIX2": 200.5, "CD1_1": -x * cos / 3600, "CD1_2": y * sin / 3600,
        "CD2_1": x * sin / 3600, "CD2_2": y * cos / 3600,
    }  # fmt: skip
    return fits.Header(placed | cards)


def plate_carree(latitude: float) -> fits.Header:
    """CAR about the equator, as surveys have it: there, a pixel is as narrow as the parallel is short."""
    return header("CAR", 1, 1, CRVAL2=0.0, CRPIX2=200.5 - latitude * 3600)


SIP = {
    "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP",
    "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 3e-4, "A_0_2": -2e-4, "B_1_1": 4e-4, "B_0_2": 2e-4,
}  # fmt: skip
TPV = {"PV1_0": 0.0, "PV1_1": 1.2, "PV1_2": 0.3, "PV1_4": 3.0, "PV2_1": 0.9, "PV2_2": 0.1, "PV2_5": 2.0}
GALACTIC = {"CTYPE1": "GLON-AIT", "CTYPE2": "GLAT-AIT", "CRVAL2": 0.0}
SKIES = {
    "square pixels": header("TAN", 0.4, 0.4),
    "square pixels, turned": header("TAN", 0.4, 0.4, turn=110),
    "0.4 x 1.0": header("TAN", 0.4, 1.0),
    "1.0 x 0.4": header("TAN", 1.0, 0.4),
    "0.4 x 1.0, turned": header("TAN", 0.4, 1.0, turn=33),
    "0.4 x 1.0, mirrored": header("TAN", -0.4, 1.0, turn=20),
    "0.4 x 1.0, at the pole": header("TAN", 0.4, 1.0, turn=10, CRVAL2=89.99),
    "0.4 x 1.0, declination first": header("TAN", 0.4, 1.0, CTYPE1="DEC--TAN", CTYPE2="RA---TAN", CRVAL1=20.0),
    "CAR at 0": plate_carree(0),
    "CAR at 45": plate_carree(45),
    "CAR at 60": plate_carree(60),
    "CAR at 75": plate_carree(75),
    # Far from the middle of an all-sky map, where it is sheared.
    "AIT": header("AIT", 2, 2, CRPIX1=300.5 - 95 * 1800, CRPIX2=200.5 - 45 * 1800, **GALACTIC),
    "SIP": header("TAN", 0.4, 1.0, turn=15, **SIP),
    "TPV": header("TPV", 0.4, 1.0, turn=15, **TPV),
    "microarcseconds": header("SIN", 1e-6, 2.5e-6, turn=15, CRVAL1=359.9, CRVAL2=12.391),
}


def offsets(wcs: WCS, x: float, y: float, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Arcsec east and north (ICRS) of positions in pixels, as seen from another."""
    centre, around = (wcs.pixel_to_world(*position).icrs for position in ((x, y), (columns, rows)))
    distance, angle = centre.separation(around).arcsec, centre.position_angle(around).radian
    return distance * np.sin(angle), distance * np.cos(angle)


def area(wcs: WCS, x: float, y: float) -> float:
    """Of a pixel, in square arcsec."""
    (left, right, below, above), (down, up, low, high) = offsets(
        wcs, x, y, x + np.array((-0.5, 0.5, 0, 0)), y + np.array((0, 0, -0.5, 0.5))
    )
    return abs((right - left) * (high - low) - (above - below) * (up - down))


def draw(wcs: WCS) -> tuple[np.ndarray, np.ndarray]:
    """A sky of Gaussian sources, and the side in arcsec of the square that has the area of each one's pixel."""
    pixels = np.random.default_rng(17).normal(0, NOISE, (HEIGHT, WIDTH))
    sides = np.empty(len(COLUMNS))
    for number, (x, y, angle) in enumerate(zip(COLUMNS, ROWS, np.radians(ANGLES), strict=True)):
        rows, columns = np.mgrid[y - 50 : y + 50, x - 50 : x + 50]
        east, north = offsets(wcs, x, y, columns, rows)
        along, across = east * np.sin(angle) + north * np.cos(angle), east * np.cos(angle) - north * np.sin(angle)
        sides[number] = np.sqrt(area(wcs, x, y))
        pixels[rows, columns] += PEAK * np.exp(
            -((along / MAJOR / sides[number]) ** 2 + (across / MINOR / sides[number]) ** 2) / 2
        )
    return pixels.astype(np.float32), sides


def turn(angles: np.ndarray) -> np.ndarray:
    """Differences of directions of axes, from -90 to 90 degrees."""
    return (angles + 90) % 180 - 90


@pytest.mark.parametrize("cards", SKIES.values(), ids=SKIES)
def test_drawn_in_arcseconds(tmp_path: Path, cards: fits.Header) -> None:
    """Axes within 0.2 %, angles within 0.05 degrees: those of the catalog, and of its regions as others read them."""
    pixels, sides = draw(WCS(cards))
    fits.writeto(tmp_path / "sky.fits", pixels, cards)
    succeed(tmp_path / "sky.fits", *OPTIONS, "--outputs", "catalog.tsv,sources.reg", folder=tmp_path)
    catalog, regions = read_catalog(tmp_path), Regions.read(tmp_path / "sources.reg", format="ds9")
    assert len(catalog) == len(regions) == len(COLUMNS)
    away = np.hypot(catalog["x"].to_numpy()[:, None] - COLUMNS, catalog["y"].to_numpy()[:, None] - ROWS)
    true = away.argmin(axis=1)
    assert away.min(axis=1).max() < 0.5

    fwhm = np.sqrt(4 * np.log(2) * (MAJOR**2 + MINOR**2)) * sides[true]
    np.testing.assert_allclose(catalog["fwhm_arcsec"], fwhm, rtol=0.002)
    assert np.abs(turn(catalog["theta_sky"] - ANGLES[true])).max() < 0.05

    for axis, sigma in (("width", MAJOR), ("height", MINOR)):
        diameters = np.array([getattr(region, axis).to_value("arcsec") for region in regions])
        np.testing.assert_allclose(diameters / catalog["kron_radius"] / 2, sigma * sides[true], rtol=0.002)
    # DS9 counts from the west towards north.
    angles = np.array([region.angle.to_value("deg") for region in regions])
    assert np.abs(turn(angles - 90 - ANGLES[true])).max() < 0.05
    centres = SkyCoord([region.center for region in regions])
    truth = WCS(cards).pixel_to_world(catalog["x"], catalog["y"])
    assert (centres.separation(truth).arcsec / sides[true]).max() < 0.01


@pytest.mark.parametrize(("sky", "square"), [("square pixels, turned", True), ("0.4 x 1.0, turned", False)])
def test_regions_in_pixels(tmp_path: Path, sky: str, square: bool) -> None:
    """Brought back to pixels they are the Kron ellipses; DS9, which brings them back as squares, is spoken of."""
    pixels, _ = draw(WCS(SKIES[sky]))
    fits.writeto(tmp_path / "sky.fits", pixels, SKIES[sky])
    said = succeed(tmp_path / "sky.fits", *OPTIONS, "--outputs", "catalog.tsv,sources.reg", folder=tmp_path)
    assert ("DS9" not in said) == square
    catalog, regions = read_catalog(tmp_path), Regions.read(tmp_path / "sources.reg", format="ds9")
    ellipses = [region.to_pixel(WCS(SKIES[sky])) for region in regions]
    diameters = np.array([(ellipse.width, ellipse.height) for ellipse in ellipses])
    angles = np.array([ellipse.angle.to_value("deg") for ellipse in ellipses])
    # Which of the two is the longer is the reader's affair.
    angles = np.where(diameters[:, 0] > diameters[:, 1], angles, angles + 90)
    np.testing.assert_allclose(diameters.max(axis=1), 2 * catalog["kron_radius"] * catalog["a"], rtol=1e-4)
    np.testing.assert_allclose(diameters.min(axis=1), 2 * catalog["kron_radius"] * catalog["b"], rtol=1e-4)
    assert np.abs(turn(angles - np.degrees(catalog["theta"]))).max() < 0.01


def all_sky(projection: str) -> WCS:
    """A map of the whole sky, or of what the projection has of it, in pixels of half a degree to a side."""
    conic = {"PV2_1": 45.0, "PV2_2": 20.0} if projection.startswith("CO") else {}
    cards = {"PV2_1": 45.0} if projection == "BON" else conic
    return WCS(header(projection, 1800, 1800, CRVAL2=0.0, RADESYS="FK5", EQUINOX=1975.0, **cards))


def on_the_map(wcs: WCS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions all over the map, and which of them have a sky a pixel around them."""
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(0.3, WIDTH, 7), np.arange(0.3, HEIGHT, 7)))
    near = [wcs.wcs_pix2world(x + dx, y + dy, 0) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    return x, y, np.isfinite(near).all(axis=(0, 1))


# Which projections keep areas, and which keep shapes: FITS WCS paper II (Calabretta & Greisen 2002), section 5.
@pytest.mark.parametrize("projection", ["AIT", "MOL", "SFL", "CEA", "ZEA", "COE", "BON"])
def test_equal_areas(projection: str) -> None:
    wcs = all_sky(projection)
    x, y, there = on_the_map(wcs)
    random = np.random.default_rng(2)
    a, b, theta = random.uniform(2, 5, len(x)), random.uniform(0.001, 2, len(x)), random.uniform(-1.5, 1.5, len(x))
    ellipses = sky_ellipses(wcs, x, y, a, b, theta)
    assert ellipses is not None
    assert there.sum() > 1000
    np.testing.assert_allclose((ellipses.major * ellipses.minor)[there], (a * b)[there] * 1800**2, rtol=1e-6)
    # Where there is no sky there is no ellipse; and a thin one never gets wider than it is long.
    np.testing.assert_array_equal(np.isnan(ellipses.major), np.isnan(wcs.wcs_pix2world(x, y, 0)[0]))
    assert (ellipses.minor[there] <= ellipses.major[there]).all()


@pytest.mark.parametrize("projection", ["STG", "MER", "COO"])
def test_equal_shapes(projection: str) -> None:
    wcs = all_sky(projection)
    x, y, there = on_the_map(wcs)
    ellipses = sky_ellipses(wcs, x, y, np.full(len(x), 3.0), np.full(len(x), 2.0), np.full(len(x), 0.5))
    assert ellipses is not None
    assert there.sum() > 1000
    np.testing.assert_allclose((ellipses.major / ellipses.minor)[there], 1.5, rtol=1e-6)


@pytest.mark.parametrize("right_ascension", [0.1, 187.7059, 359.9])
def test_nearly_round_in_microarcseconds(right_ascension: float) -> None:
    """Degrees in float64 have no more than four digits of such a pixel; the angle of a round source needs more."""
    cards = header("SIN", 1e-6, 1e-6, turn=15, CRVAL1=right_ascension, CRVAL2=12.391)
    x, y = COLUMNS.astype(float), ROWS.astype(float)
    one, theta = np.ones(len(x)), np.radians(ANGLES)
    ellipses = sky_ellipses(WCS(cards), x, y, 3.03 * one, 3 * one, theta)
    assert ellipses is not None
    # East is to the left, and north turned by 15 degrees from up towards the right.
    assert np.abs(turn(ellipses.angle - ANGLES + 90 - 15)).max() < 0.05
    np.testing.assert_allclose(ellipses.major, 3.03e-6, rtol=1e-5)
    np.testing.assert_allclose(ellipses.minor, 3e-6, rtol=1e-5)
