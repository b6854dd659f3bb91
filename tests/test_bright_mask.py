"""bright_mask.fits against scipy's distance transform, and as the mask of a second run."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from scipy.ndimage import distance_transform_edt

from tests.conftest import TEST_DATA, read_catalog, succeed

SKY, MASK = TEST_DATA / "sky.fits", TEST_DATA / "mask.fits"
PRODUCTS = ("--outputs", "catalog.tsv,segmentation_map.fits,bright_mask.fits")


def expected(folder: Path, flux: float, radius: float) -> np.ndarray:
    """The pixels within a radius of the sources above a flux, from catalog and segmentation map."""
    catalog = read_catalog(folder)
    labels = catalog["label"][catalog["flux"] > flux]
    bright = np.isin(fits.getdata(folder / "segmentation_map.fits"), labels)
    return distance_transform_edt(~bright) <= radius if bright.any() else bright


def mask_of(folder: Path) -> np.ndarray:
    mask = fits.getdata(folder / "bright_mask.fits")
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 1}
    return mask == 1


def test_the_brightest_hundredth_with_a_margin_of_10_pixels(tmp_path: Path) -> None:
    succeed(SKY, *PRODUCTS, folder=tmp_path)
    fluxes = read_catalog(tmp_path)["flux"]
    assert (fluxes > np.percentile(fluxes, 99)).sum() == 2
    assert (mask_of(tmp_path) == expected(tmp_path, np.percentile(fluxes, 99), 10)).all()
    skies = [WCS(fits.getheader(path)).pixel_to_world(100, 200) for path in (SKY, tmp_path / "bright_mask.fits")]
    assert skies[0].separation(skies[1]).arcsec < 1e-6


@pytest.mark.parametrize("radius", [0, 1, 7, 1000])
@pytest.mark.parametrize("flux", [0, 6000.0, 60000.0, 1e9])
def test_a_flux_and_a_margin(flux: float, radius: int, tmp_path: Path) -> None:
    said = succeed(SKY, *PRODUCTS, f"--bright_flux={flux}", f"--bright_grow={radius}", folder=tmp_path)
    number = (read_catalog(tmp_path)["flux"] > flux).sum()
    assert f"Mask of bright sources: {number} with a flux above {flux:g}" in said
    assert (mask_of(tmp_path) == expected(tmp_path, flux, radius)).all()


def test_a_second_run_leaves_out_both_masks(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    succeed(SKY, *PRODUCTS, "--mask_file", MASK, folder=first)
    left_out = fits.getdata(MASK) > 0
    mask = mask_of(first)
    assert left_out.any()
    assert (mask == left_out | expected(first, np.percentile(read_catalog(first)["flux"], 99), 10)).all()
    said = succeed(SKY, *PRODUCTS, "--mask_file", first / "bright_mask.fits", folder=second)
    assert f"Masked pixels: {mask.sum()} " in said
    assert not fits.getdata(second / "segmentation_map.fits")[mask].any()
    before, after = read_catalog(first), read_catalog(second)
    assert after["flux"].max() < before["flux"].max()
    assert len(after) > 0.9 * len(before)


def test_without_sources_nothing_is_masked(tmp_path: Path) -> None:
    succeed(TEST_DATA / "blank.fits", "--thresh", "100", *PRODUCTS, folder=tmp_path)
    assert len(read_catalog(tmp_path)) == 0
    assert not mask_of(tmp_path).any()
