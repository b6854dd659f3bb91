"""The FITS maps: coordinates, units and provenance, read back by astropy."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from source_extraction import __version__
from tests.conftest import TEST_DATA, succeed

MAPS = ("background.fits", "background_rms.fits", "segmentation_map.fits")
CORNERS = np.array([[0, 0], [479, 0], [0, 359], [479, 359], [240.3, 100.7]])


@pytest.mark.parametrize(("name", "kind"), list(zip(MAPS, ("float32", "float32", "int32"), strict=True)))
def test_maps_of_the_shipped_sky(products: Path, name: str, kind: str) -> None:
    with fits.open(products / name) as hdus:
        assert len(hdus) == 1
        assert hdus[0].data.shape == (360, 480)
        assert hdus[0].data.dtype.newbyteorder("=") == kind
        header = hdus[0].header
    same_sky(header, fits.getheader(TEST_DATA / "sky.fits"))
    assert header.get("BUNIT") == (None if name.startswith("segmentation") else "adu")
    assert header["CREATOR"] == f"source-extraction {__version__}"
    assert header["SEPVER"] == "1.4.1"
    assert header["IMAGE"] == "sky.fits"
    assert header["SEP THRESH"] == 1.5
    assert header["SEP ERR_OPTION"] == "float_globalrms"
    assert header["SEP CLEAN"] is True


def same_sky(one: fits.Header, other: fits.Header) -> None:
    """The two headers put every pixel at the same place, to a thousandth of an arcsecond."""
    there, here = (WCS(header).celestial.all_pix2world(CORNERS, 0) for header in (one, other))
    np.testing.assert_allclose(there, here, atol=1e-3 / 3600, rtol=0)


def test_parameters_and_files_are_recorded(tmp_path: Path) -> None:
    options = ("--mask_file", TEST_DATA / "mask.tiff", "--maskthresh", "150", "--name", "field 7", "--bw", "32")
    succeed(TEST_DATA / "sky.tiff", *options, "--outputs", "background.fits", folder=tmp_path)
    header = fits.getheader(tmp_path / "background.fits")
    assert header["IMAGE"] == "field 7"
    assert header["SEP MASK_FILE"] == "mask.tiff"
    assert header["SEP MASKTHRESH"] == 150
    assert header["SEP BW"] == 32
    assert "BUNIT" not in header
    assert "CTYPE1" not in header


def test_distorted_coordinates_are_kept(tmp_path: Path) -> None:
    """SIP polynomials, galactic coordinates, and a cube's degenerate axes around the sky's."""
    pixels, header = fits.getdata(TEST_DATA / "sky.fits", header=True)
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    header["A_ORDER"] = header["B_ORDER"] = 2
    header["A_2_0"], header["B_1_1"] = 3e-5, -2e-5
    fits.writeto(tmp_path / "sip.fits", pixels, header)
    undistorted = WCS(header).wcs_pix2world(CORNERS, 0)
    assert np.abs(WCS(header).all_pix2world(CORNERS, 0) - undistorted).max() > 1e-4

    header = fits.getheader(TEST_DATA / "sky.fits")
    header["CTYPE1"], header["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
    fits.writeto(tmp_path / "galactic.fits", pixels, header)
    header["CTYPE3"], header["CRVAL3"], header["CUNIT3"] = "FREQ", 1.4e9, "Hz"
    fits.writeto(tmp_path / "degenerate.fits", pixels[None, None], header)
    for name in ("sip.fits", "galactic.fits", "degenerate.fits"):
        succeed(tmp_path / name, "--outputs", "segmentation_map.fits", folder=tmp_path / "products")
        same_sky(fits.getheader(tmp_path / "products" / "segmentation_map.fits"), fits.getheader(tmp_path / name))


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"},
        {"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"},
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": 0.0},
    ],
)
def test_without_usable_coordinates(tmp_path: Path, cards: dict) -> None:
    fits.writeto(tmp_path / "image.fits", fits.getdata(TEST_DATA / "sky.fits"), fits.Header(cards))
    succeed(tmp_path / "image.fits", "--outputs", "background.fits,image.png", folder=tmp_path)
    assert "CTYPE1" not in fits.getheader(tmp_path / "background.fits")


@pytest.mark.parametrize("product", ["segmentation_map.fits", "background.fits", "background_rms.fits"])
def test_a_map_is_no_image(tmp_path: Path, product: str) -> None:
    """Galaxy's form offers the newest dataset of the history, which after a run is one of its maps."""
    succeed(TEST_DATA / "sky.fits", "--outputs", f"{product},background_subtracted.fits", folder=tmp_path)
    said = succeed(tmp_path / product, "--outputs", "catalog.tsv", folder=tmp_path / "again")
    assert f"Warning: {tmp_path / product} is no image but a map that this program made of one: {product}" in said
    said = succeed(tmp_path / "background_subtracted.fits", "--outputs", "catalog.tsv", folder=tmp_path / "again")
    assert "is no image" not in said
