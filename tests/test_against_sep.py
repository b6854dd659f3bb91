"""Catalog, maps and segmentation are those of a direct use of SEP, to the last digit."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sep
from astropy.io import fits
from photutils.aperture import CircularAperture

from source_extraction import extract
from tests import sep_directly
from tests.conftest import TEST_DATA, read_catalog, succeed

# SEP computes these in float64; the others are float32, of which 9 digits are every digit.
FLOAT64 = ("x", "y", "x2", "y2", "xy", "errx2", "erry2", "errxy")
PRODUCTS = "catalog.tsv,segmentation_map.fits,background.fits,background_rms.fits"

KERNEL = np.loadtxt(TEST_DATA / "kernel.txt").astype(np.float32)
FILTERS = {
    "default": ((), {}),
    "conv": (("--filter_type", "conv"), {"filter_type": "conv"}),
    "none": (("--filter_case", "none"), {"kernel": None}),
    "file": (("--filter_case", "file", "--filter_file", TEST_DATA / "kernel.txt"), {"kernel": KERNEL}),
}
THRESHOLDS = {
    "float_globalrms": ((), {}),
    "array_rms": (("--err_option", "array_rms"), {"err_option": "array_rms"}),
    "none": (("--err_option", "none", "--thresh", "20"), {"err_option": "none", "thresh": 20}),
}
OTHERS = {
    "minarea": (("--minarea", "12"), {"minarea": 12}),
    "deblending": (
        ("--deblend_nthresh", "8", "--deblend_cont", "0.2"),
        {"deblend_nthresh": 8, "deblend_cont": 0.2},
    ),
    "no clean": (("--no-clean",), {"clean": False}),
    "clean": (("--clean", "--clean_param", "0.3"), {"clean_param": 0.3}),
    "mesh": (
        ("--bw", "40", "--bh", "25", "--fw", "5", "--fh", "1", "--fthresh", "3"),
        {"mesh": {"bw": 40, "bh": 25, "fw": 5, "fh": 1, "fthresh": 3}},
    ),
}


def assert_same(folder: Path, expected: tuple[np.ndarray, ...]) -> None:
    sources, labels, background, rms = expected
    assert len(sources) > 50
    assert_same_catalog(read_catalog(folder), sources)
    np.testing.assert_array_equal(fits.getdata(folder / "segmentation_map.fits"), labels)
    np.testing.assert_array_equal(fits.getdata(folder / "background.fits"), background)
    np.testing.assert_array_equal(fits.getdata(folder / "background_rms.fits"), rms)


def assert_same_catalog(catalog: pd.DataFrame, sources: np.ndarray) -> None:
    names = ["label", *sources.dtype.names]
    assert list(catalog.columns[: len(names)]) == names
    np.testing.assert_array_equal(catalog["label"], np.arange(1, len(sources) + 1))
    for field in sources.dtype.names:
        precision = np.float64 if field in FLOAT64 else np.float32
        np.testing.assert_array_equal(
            catalog[field].to_numpy(precision), sources[field].astype(precision), err_msg=field
        )


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("filtering", FILTERS)
def test_thresholds_and_filters(sky: np.ndarray, tmp_path: Path, threshold: str, filtering: str) -> None:
    options = (*THRESHOLDS[threshold][0], *FILTERS[filtering][0])
    succeed(TEST_DATA / "sky.fits", *options, "--outputs", PRODUCTS, folder=tmp_path)
    assert_same(tmp_path, sep_directly.extract(sky, **THRESHOLDS[threshold][1], **FILTERS[filtering][1]))


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_mask(sky: np.ndarray, tmp_path: Path, threshold: str) -> None:
    # With a noise map and the matched filter SEP alone cannot keep masked pixels out: not tested against it.
    options = (*THRESHOLDS[threshold][0], "--filter_type", "conv", "--mask_file", TEST_DATA / "mask.fits")
    succeed(TEST_DATA / "sky.fits", *options, "--outputs", PRODUCTS, folder=tmp_path)
    masked = fits.getdata(TEST_DATA / "mask.fits") > 0
    assert_same(tmp_path, sep_directly.extract(sky, masked, filter_type="conv", **THRESHOLDS[threshold][1]))
    assert not fits.getdata(tmp_path / "segmentation_map.fits")[masked].any()


@pytest.mark.parametrize("name", OTHERS)
def test_other_options(sky: np.ndarray, tmp_path: Path, name: str) -> None:
    options, arguments = OTHERS[name]
    succeed(TEST_DATA / "sky.fits", *options, "--outputs", PRODUCTS, folder=tmp_path)
    assert_same(tmp_path, sep_directly.extract(sky, **arguments))
    assert len(read_catalog(tmp_path)) > 0


@pytest.mark.parametrize("name", set(OTHERS) - {"clean"})
def test_other_options_matter(sky: np.ndarray, name: str) -> None:
    """The comparison above would not notice an option that never reached SEP, if SEP gave the same without."""
    assert not np.array_equal(sep_directly.extract(sky, **OTHERS[name][1])[1], sep_directly.extract(sky)[1])


def test_plain_sep(sky: np.ndarray, products: Path) -> None:
    """On an image whose RMS is above 1, the run is plain SEP without any precaution."""
    background = sep.Background(sky)
    assert background.globalrms > 1
    plain, labels = sep.extract(sky - background.back(), 1.5, err=background.globalrms, segmentation_map=True)
    assert_same_catalog(read_catalog(products), plain)
    np.testing.assert_array_equal(fits.getdata(products / "segmentation_map.fits"), labels)


@pytest.mark.parametrize("gain", [None, 2.0])
def test_fluxes_and_their_errors(sky: np.ndarray, gain: float | None) -> None:
    """Those of independent pixels: SEP's, but that it adds up overlap in circles where the variance has its square."""
    result = extract(sky, correlated_noise=False, gain=gain, apertures=(2, 5, 10))
    table, labels = result.to_pandas(), result.segmentation
    names = ("x", "y", "a", "b", "theta", "kron_radius")
    x, y, a, b, theta, kron = (table[name].to_numpy(np.float64) for name in names)
    of_source = {"seg_id": table.index.to_numpy(np.int32), "segmap": labels}
    theirs = {"err": result.background_rms, "gain": gain} | of_source
    pixels, theta = result.background_subtracted, np.clip(theta, -np.pi / 2, np.pi / 2)
    flux, error, _ = sep.sum_ellipse(pixels, x, y, a, b, theta, kron, subpix=1, **theirs)
    np.testing.assert_allclose(table["flux_auto"], flux, rtol=1e-6)
    np.testing.assert_allclose(table["flux_auto_err"], error, rtol=1e-6)
    for diameter in (2, 5, 10):
        flux, error, _ = sep.sum_circle(pixels, x, y, diameter / 2, subpix=5, **theirs)
        light = 0 if gain is None else np.maximum(flux, 0) / gain
        circles = CircularAperture(np.transpose((x, y)), diameter / 2).to_mask(method="exact")
        shares = np.array([(circle.data**2).sum() / circle.data.sum() for circle in circles])
        np.testing.assert_allclose(table[f"flux_aper_{diameter}"], flux, rtol=1e-5, atol=1e-3)
        expected = np.sqrt((error**2 - light) * shares + light)
        np.testing.assert_allclose(table[f"flux_aper_{diameter}_err"], expected, rtol=0.005)
