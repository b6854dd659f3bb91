"""What Galaxy's imaging tools take: the label map, the seeds and the points have the form that those tools read.

They read a TIFF image as rows and columns (giatools; scikit-image 0.14 and later), label the seeds with
`scipy.ndimage.label`, and round the columns pos_x and pos_y of a table to indices of pixels, counted from 0.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import tifffile
from astropy.io import fits
from scipy import ndimage

from tests.conftest import TEST_DATA, read_catalog, succeed

PRODUCTS = "catalog.tsv,segmentation_map.tiff,image.tiff,seeds.tiff,points.tsv"
IMAGES = {"sky.fits": fits.getdata, "sky.tiff": tifffile.imread}


class Made(NamedTuple):
    """An image as a tool reads it, and what was made of it."""

    pixels: np.ndarray
    folder: Path
    labels: np.ndarray
    seeds: np.ndarray
    points: pd.DataFrame
    catalog: pd.DataFrame


def make(image: Path, pixels: np.ndarray, folder: Path, *options: str) -> Made:
    succeed(image, "--outputs", PRODUCTS, *options, folder=folder)
    labels, seeds = (tifffile.imread(folder / name) for name in ("segmentation_map.tiff", "seeds.tiff"))
    return Made(pixels, folder, labels, seeds, pd.read_csv(folder / "points.tsv", sep="\t"), read_catalog(folder))


@pytest.fixture(scope="module", params=IMAGES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    image = TEST_DATA / request.param
    return make(image, IMAGES[request.param](image), tmp_path_factory.mktemp("made"))


@pytest.mark.parametrize("name", ["segmentation_map.tiff", "image.tiff", "seeds.tiff"])
def test_plain_tiff(made: Made, name: str) -> None:
    """One plane of rows and columns, 0 is black, nothing is compressed, and Galaxy recognizes the format."""
    with tifffile.TiffFile(made.folder / name) as tiff:
        assert not tiff.is_bigtiff
        assert [(series.axes, series.shape) for series in tiff.series] == [("YX", made.pixels.shape)]
        (page,) = tiff.pages
        assert page.photometric == tifffile.PHOTOMETRIC.MINISBLACK
        assert page.compression == tifffile.COMPRESSION.NONE
        assert not page.is_tiled
        # An integer type, without a sign.
        assert page.dtype.kind == "u"


def test_one_label_for_every_seed(made: Made) -> None:
    """Labelled as binary2labelimage does it, every seed is an object of one pixel."""
    labels, count = ndimage.label(made.seeds > 0)
    assert count == len(made.catalog) == 142
    assert set(np.bincount(labels.ravel())[1:]) == {1}


def test_the_same_labels_everywhere(made: Made) -> None:
    background, *labels = np.unique(made.labels)
    assert background == 0
    assert labels == made.catalog["label"].tolist() == made.points["label"].tolist()
    assert made.points["label"].dtype.kind == "i"


def test_the_map_lies_over_the_catalog(made: Made) -> None:
    """Neither flipped nor transposed: every label's box in the map is the one in the catalog."""
    boxes = ndimage.find_objects(made.labels)
    found = [(x.start, x.stop - 1, y.start, y.stop - 1) for y, x in boxes]
    np.testing.assert_array_equal(found, made.catalog[["xmin", "xmax", "ymin", "ymax"]])


def test_the_map_lies_over_the_image(made: Made) -> None:
    """In the order in which a tool reads the image itself, the brightest pixel of a label is its source's peak."""
    background = ndimage.maximum(made.pixels, made.labels, made.catalog["label"]) - made.catalog["peak"]
    assert background.between(*np.percentile(made.pixels, (1, 99))).all()


def test_points_are_pixels_of_the_image(made: Made) -> None:
    positions = made.points[["pos_x", "pos_y"]].to_numpy()
    assert np.isfinite(positions).all()
    columns, rows = np.rint(positions).astype(int).T
    # None is negative, which numpy would count from the other end.
    assert min(columns.min(), rows.min()) >= 0
    assert (made.seeds[rows, columns] == 255).all()


def test_sources_at_the_edges(tmp_path: Path) -> None:
    """Lines of nine pixels along the four edges: positions in the outermost pixels stay indices of pixels."""
    pixels = np.random.default_rng(3).normal(0, 1, (60, 90)).astype(np.float32)
    pixels[20:29, [0, -1]] += 1000
    pixels[[0, -1], 40:49] += 1000
    fits.writeto(tmp_path / "edges.fits", pixels)
    made = make(tmp_path / "edges.fits", pixels, tmp_path, "--filter_case", "none", "--thresh", "50")
    positions = np.rint(made.points[["pos_x", "pos_y"]]).astype(int)
    assert set(positions.itertuples(index=False, name=None)) == {(0, 24), (89, 24), (44, 0), (44, 59)}
    assert set(zip(*np.nonzero(made.seeds.T), strict=True)) == {(0, 24), (89, 24), (44, 0), (44, 59)}


def test_without_a_source(tmp_path: Path) -> None:
    """The same types and the same header, and nothing but background."""
    image = TEST_DATA / "blank.fits"
    made = make(image, fits.getdata(image), tmp_path)
    assert (made.labels.dtype, made.seeds.dtype) == (np.uint16, np.uint8)
    assert made.labels.shape == made.seeds.shape == made.pixels.shape
    assert not made.labels.any()
    assert not made.seeds.any()
    assert list(made.points) == ["label", "pos_x", "pos_y"]
    assert made.points.empty
