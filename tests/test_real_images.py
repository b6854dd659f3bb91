"""Real images, where a folder with them is at hand: SOURCE_EXTRACTOR_IMAGES names it.

Every image in it must give all products or a sentence, and the same sources as SEP directly.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from astropy.io import fits
from astropy.table import Table

from source_extraction import extract
from source_extraction.core.tiles import MOST_ROWS_OF_ONE_TILE
from tests import sep_directly
from tests.conftest import REPOSITORY, read_catalog, run_tool
from tests.empty_apertures import scatter_of_empty_apertures
from tests.test_against_sep import assert_same_catalog
from tests.test_an_image_to_go_on_with import assert_same_sources, second_run
from tests.test_sextractor import SAME_SOURCE, off, with_small_groups

FOLDER = Path(os.environ.get("SOURCE_EXTRACTOR_IMAGES", "/nowhere"))
IMAGES = sorted(path for path in FOLDER.glob("*") if re.search(r"\.(fits|tiff?)(\.\w+)?$", path.name))

# Sources that SEP finds at the defaults in well-known images.
SOURCES = {
    "legacysurvey_g_360.fits": 187,
    "sewpy_example.fits": 31,
    "sep_image.fits": 69,
    "sdss_r.fits.bz2": 878,
    "m67_int16.fits": 2026,
}


def first_plane(path: Path) -> np.ndarray:
    """The first 2-D image of a file, scaled in float64."""
    if ".fits" not in path.name:
        return tifffile.imread(path)
    with fits.open(path, do_not_scale_image_data=True) as hdus:
        hdu = next(hdu for hdu in hdus if hdu.is_image and hdu.data is not None and hdu.data.ndim == 2)
        scale, zero = hdu.header.get("BSCALE", 1), hdu.header.get("BZERO", 0)
        return hdu.data if (scale, zero) == (1, 0) else hdu.data * np.float64(scale) + zero


def assert_same(catalog: pd.DataFrame, expected: tuple[np.ndarray, ...]) -> None:
    """The same to the last digit; in more than one tile all but a few, in another order."""
    sources, labels = expected[:2]
    if len(labels) <= MOST_ROWS_OF_ONE_TILE:
        assert_same_catalog(catalog, sources)
        return
    away = np.hypot(catalog["x"].to_numpy()[:, None] - sources["x"], catalog["y"].to_numpy()[:, None] - sources["y"])
    # SEP deals out the faint pixels of blends by chance.
    few = max(2, 0.002 * len(sources))
    assert (away.min(axis=0) > 1e-6).sum() <= few
    assert (away.min(axis=1) > 1e-6).sum() <= few


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_real_image(tmp_path: Path, path: Path) -> None:
    run = run_tool(path, folder=tmp_path)
    if run.returncode:
        assert re.fullmatch(rf"error: {re.escape(str(path))}: .*holds \d+ planes .*--plane K.*\n", run.stderr)
        assert not list(tmp_path.iterdir())
        return
    assert run.stderr == ""
    assert len(list(tmp_path.iterdir())) == 9
    catalog = read_catalog(tmp_path)
    assert_same(catalog, sep_directly.extract(first_plane(path)))
    if path.name in SOURCES:
        assert len(catalog) == pytest.approx(SOURCES[path.name], rel=0.001)
    labels = fits.getdata(tmp_path / "segmentation_map.fits")
    np.testing.assert_array_equal(np.unique(labels[labels > 0]), catalog["label"])


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_a_second_run_finds_the_same(tmp_path: Path, path: Path) -> None:
    """On the image less its background, at the same threshold."""
    if run_tool(path, "--outputs", "points.tsv", folder=tmp_path).returncode:
        return  # it has several planes
    assert_same_sources(*second_run(path, tmp_path))


def sextractor(pixels: np.ndarray, folder: Path) -> Table:
    """SExtractor's catalog of an image, with the configuration of the shipped sky."""
    fits.writeto(folder / "image.fits", pixels.astype(np.float32))
    its_own = REPOSITORY / "tests" / "sextractor"
    command = [
        "source-extractor",
        folder / "image.fits",
        "-c",
        its_own / "sky.sex",
        "-CATALOG_NAME",
        folder / "sky.cat",
    ]
    subprocess.run(command, check=True, cwd=its_own)
    return Table.read(folder / "sky.cat", format="ascii.sextractor")


@pytest.mark.skipif(shutil.which("source-extractor") is None, reason="SExtractor is not installed")
@pytest.mark.parametrize(
    ("name", "merged", "apertures", "imitated"),
    [("sdss_r.fits.bz2", 24, 30, 3), ("legacysurvey_g_360.fits", 3, 12, 2)],
)
def test_differences_from_sextractor(tmp_path: Path, name: str, merged: int, apertures: int, imitated: int) -> None:
    """The figures of docs/validation.md: sources of which a flux differs by more than 5 %."""
    if not (FOLDER / name).exists():
        pytest.skip(f"{name} is not at hand")
    pixels = first_plane(FOLDER / name).astype(np.float32)
    found, theirs = extract(pixels), sextractor(pixels, tmp_path)
    ours = found.to_pandas()
    away = np.hypot(*(ours[axis].to_numpy()[:, None] + 1 - theirs[f"{axis.upper()}_IMAGE"] for axis in "xy"))
    assert len(ours) == len(theirs) == (away.min(axis=1) < SAME_SOURCE).sum()
    theirs = theirs[away.argmin(axis=1)]
    unblended = (ours["flag"] & 1 == 0).to_numpy() & (np.asarray(theirs["FLAGS"]) & 2 == 0)
    assert (off(ours["flux_iso"], theirs["FLUX_ISO"], 0.05) & unblended).sum() == merged
    assert off(ours["flux_aper_10"], theirs["FLUX_APER_1"], 0.05).sum() == apertures
    assert off(with_small_groups(pixels, found, 10), theirs["FLUX_APER_1"], 0.05).sum() == imitated


@pytest.mark.parametrize(
    ("name", "within"),
    [
        ("sdss_r.fits.bz2", {2: 0.1, 5: 0.05, 10: 0.15}),
        ("m67_int16.fits", {2: 0.1, 5: 0.1, 10: 0.15}),
        ("sewpy_example.fits", {2: 0.1, 5: 0.1, 10: 0.1}),
        # Nebulosity on all scales: what is of large scale is not measured.
        ("legacysurvey_g_360.fits", {2: 0.1, 5: 0.3, 10: 0.45}),
    ],
)
def test_errors_are_the_scatter_of_empty_apertures(name: str, within: dict[int, float]) -> None:
    """By how much the errors of independent pixels are too small, measured both ways."""
    if not (FOLDER / name).exists():
        pytest.skip("SOURCE_EXTRACTOR_IMAGES names no folder with it")
    result = extract(FOLDER / name, apertures=tuple(within))
    for each in result.summary["noise_factors"]:
        scatter = scatter_of_empty_apertures(result, each["diameter"])
        assert scatter > 1.02
        assert abs(each["factor"] / scatter - 1) < within[each["diameter"]]
