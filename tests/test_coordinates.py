"""Sky and map coordinates: against astropy's own functions and GDAL."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales
from rasterio.transform import Affine

from tests.conftest import TEST_DATA, read_catalog, succeed

SKY = TEST_DATA / "sky.fits"
ARCSEC = 1 / 3600

SIP = {
    "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP",
    "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-4, "A_0_2": -5e-5, "B_1_1": 8e-5, "B_0_2": 3e-5,
}  # fmt: skip
TPV = {
    "CTYPE1": "RA---TPV",
    "CTYPE2": "DEC--TPV",
    "PV1_0": 0.0,
    "PV1_1": 1.01,
    "PV1_4": 2.0,
    "PV2_1": 0.99,
    "PV2_5": 1.5,
}
POLE = {"CRVAL1": 40.0, "CRVAL2": 89.999}
FRAMES = {
    "ICRS": {},
    "distorted (SIP)": SIP,
    "distorted (TPV)": TPV,
    "FK5": {"RADESYS": "FK5", "EQUINOX": 2000.0},
    "FK4 of 1950": {"RADESYS": "FK4", "EQUINOX": 1950.0},
    "galactic": {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRVAL1": 120.0, "CRVAL2": 0.0, "RADESYS": None},
    "declination first": {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": 12.0, "CRVAL2": 186.0},
    "at the pole": POLE,
    "mirrored": {"CD1_1": 1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4},
}


def sky_with(cards: dict, folder: Path) -> tuple[pd.DataFrame, WCS]:
    """The catalog of the shipped sky with other header cards, and its WCS."""
    header = fits.getheader(SKY)
    for keyword, value in cards.items():
        if value is None:
            header.remove(keyword, ignore_missing=True)
        else:
            header[keyword] = value
    fits.writeto(folder / "sky.fits", fits.getdata(SKY), header)
    succeed(folder / "sky.fits", "--outputs", "catalog.tsv", folder=folder)
    return read_catalog(folder), WCS(header)


@pytest.mark.parametrize("cards", FRAMES.values(), ids=FRAMES)
def test_sky_positions(tmp_path: Path, cards: dict) -> None:
    catalog, wcs = sky_with(cards, tmp_path)
    expected = wcs.pixel_to_world(catalog["x"], catalog["y"]).icrs
    found = SkyCoord(catalog["ra"], catalog["dec"], unit="deg")
    assert found.separation(expected).arcsec.max() < 1e-6

    # Small ellipses around the sources, as seen from them: their farthest point, and the mean square of all of them.
    around = np.radians(np.arange(0, 360, 0.25))[:, None]
    small = 0.05 / catalog["a"].to_numpy()
    along, across = small * catalog["a"].to_numpy() * np.cos(around), small * catalog["b"].to_numpy() * np.sin(around)
    cos, sin = np.cos(catalog["theta"].to_numpy()), np.sin(catalog["theta"].to_numpy())
    x, y = catalog["x"].to_numpy() + along * cos - across * sin, catalog["y"].to_numpy() + along * sin + across * cos
    points = wcs.pixel_to_world(x, y).icrs
    distance, angle = expected.separation(points).arcsec, expected.position_angle(points).degree
    farthest = np.take_along_axis(angle, distance.argmax(axis=0)[None], axis=0)[0]
    away = np.abs((farthest - catalog["theta_sky"] + 90) % 180 - 90)
    elongated = distance.max(axis=0) > 1.02 * distance.min(axis=0)
    assert elongated.sum() > 100
    assert away[elongated].max() < 0.3
    assert catalog["theta_sky"].between(-90, 90).all()
    # The mean over an ellipse's parameter of the squared distance is half of the sum of the squared semi-axes.
    fwhm = np.sqrt(4 * np.log(2) * 2 * (distance**2).mean(axis=0)) / small
    np.testing.assert_allclose(catalog["fwhm_arcsec"], fwhm, rtol=1e-4)


def test_distortion_matters(tmp_path: Path) -> None:
    """The SIP terms of the test above move sources by arcseconds."""
    catalog, wcs = sky_with(SIP, tmp_path)
    linear = wcs.wcs_pix2world(catalog["x"], catalog["y"], 0)
    assert np.abs(catalog["dec"] - linear[1]).max() > ARCSEC


def test_sizes_on_the_sky(tmp_path: Path) -> None:
    catalog, wcs = sky_with({}, tmp_path)
    scale = proj_plane_pixel_scales(wcs).mean() * 3600
    np.testing.assert_allclose(catalog["fwhm_arcsec"], catalog["fwhm"] * scale, rtol=1e-4)


def test_positions_against_the_truth(tmp_path: Path, truth: pd.DataFrame) -> None:
    """Where the simulated sources are on the sky, to 0.05 arcsec (an eighth of a pixel)."""
    catalog, wcs = sky_with({}, tmp_path)
    true = wcs.pixel_to_world(truth["x"], truth["y"])
    found = SkyCoord(catalog["ra"], catalog["dec"], unit="deg")
    index, separation, _ = found.match_to_catalog_sky(true)
    apart = true[index].match_to_catalog_sky(true, nthneighbor=2)[1].arcsec
    good = (catalog["flag"] == 0) & (catalog["flag_phot"] == 0) & (catalog["snr"] > 40) & (apart > 5)
    assert good.sum() > 10
    assert separation[good].arcsec.max() < 0.05


@pytest.mark.parametrize(
    "cards",
    [
        {"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "RADESYS": None},
        {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR", "RADESYS": None},
    ],
    ids=["the Sun", "no sky"],
)
def test_no_sky_no_columns(tmp_path: Path, cards: dict) -> None:
    catalog, _ = sky_with(cards, tmp_path)
    assert {"ra", "dec", "theta_sky", "fwhm_arcsec"}.isdisjoint(catalog)
    assert "flux_auto" in catalog


@pytest.mark.parametrize(
    ("epsg", "names"), [(4326, ("lon", "lat")), (4269, ("map_x", "map_y")), (32633, ("map_x", "map_y"))]
)
@pytest.mark.parametrize("point", [False, True], ids=["area", "point"])
@pytest.mark.parametrize("rotated", [False, True], ids=["north up", "rotated"])
def test_geotiff(tmp_path: Path, epsg: int, names: tuple[str, str], point: bool, rotated: bool) -> None:
    scale = 0.004 if epsg < 5000 else 463.83
    transform = Affine.translation(12.5, 48.25) @ Affine.scale(scale, -scale)
    if rotated:
        transform = transform @ Affine.rotation(10)
    pixels = fits.getdata(SKY)
    with rasterio.open(
        tmp_path / "lights.tif", "w", driver="GTiff", width=480, height=360, count=1, dtype="float32",
        crs=f"EPSG:{epsg}", transform=transform,
    ) as image:  # fmt: skip
        image.write(pixels, 1)
        if point:
            image.update_tags(AREA_OR_POINT="Point")
    succeed(tmp_path / "lights.tif", "--outputs", "catalog.tsv", folder=tmp_path)
    catalog = read_catalog(tmp_path)
    with rasterio.open(tmp_path / "lights.tif") as image:
        # GDAL's coordinates of the centre of row 0, column 0 are xy(0, 0).
        expected = image.xy(catalog["y"].to_numpy(), catalog["x"].to_numpy())
    for name, values in zip(names, expected, strict=True):
        np.testing.assert_allclose(catalog[name], values, rtol=1e-12)
    assert "ra" not in catalog


def test_a_plain_tiff_has_no_coordinates(tmp_path: Path) -> None:
    succeed(TEST_DATA / "sky.tiff", "--outputs", "catalog.tsv", folder=tmp_path)
    assert {"ra", "map_x", "lon"}.isdisjoint(read_catalog(tmp_path))
