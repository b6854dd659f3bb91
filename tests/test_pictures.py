"""The pictures, read back: which way up, what is marked, and how large images become small."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from matplotlib.image import imread

from source_extraction.writers import pictures, thumbnails
from tests.conftest import succeed

RED = np.array([1, 0, 0])


def noise(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(3).normal(100, 5, shape).astype(np.float32)


def inside(path: Path) -> np.ndarray:
    """The part of a picture within its axes (which have the margins of `writers.pictures`), rows from the top."""
    picture = imread(path)
    dots = {side: round(inches * pictures.DOTS_PER_INCH) for side, inches in pictures.MARGINS.items()}
    return picture[dots["top"] : -dots["bottom"], dots["left"] : -dots["right"]]


def mark(shape: tuple[int, int], x: float, y: float) -> np.ndarray:
    """An image with one bright source."""
    rows, columns = np.indices(shape)
    return noise(shape) + 5000 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8).astype(np.float32)


@pytest.mark.parametrize(("suffix", "top"), [("fits", False), ("tiff", True)])
def test_which_way_up(tmp_path: Path, suffix: str, top: bool) -> None:
    """The source of row 30 is at the bottom of a FITS picture, at the top of a TIFF one; its ellipse is there."""
    image = mark((150, 200), x=40, y=30)
    path = tmp_path / f"image.{suffix}"
    fits.writeto(path, image) if suffix == "fits" else tifffile.imwrite(path, image)
    succeed(path, "--outputs", "image.png,sources.png,segmentation_map.png", "--thresh", "5", folder=tmp_path)

    down = 30.5 / 150 if top else 1 - 30.5 / 150
    bright = inside(tmp_path / "image.png")[..., 0] > 0.95
    labelled = inside(tmp_path / "segmentation_map.png").max(axis=2) > 0.3
    red = np.abs(inside(tmp_path / "sources.png") - RED).max(axis=2) < 0.2
    for marked in (bright, labelled, red):
        # A dozen dots along the frame belong to its line.
        rows, columns = np.nonzero(marked[12:-12, 12:-12])
        assert rows.size > 50
        assert abs((rows.mean() + 12) / marked.shape[0] - down) < 0.02
        assert abs((columns.mean() + 12) / marked.shape[1] - 40.5 / 200) < 0.02


def test_ellipse_is_three_sigma_and_turned(tmp_path: Path) -> None:
    rows, columns = np.indices((200, 200))
    turn, sigma = np.radians(30), (9, 3)
    along = (columns - 100) * np.cos(turn) + (rows - 100) * np.sin(turn)
    across = (rows - 100) * np.cos(turn) - (columns - 100) * np.sin(turn)
    image = noise((200, 200)) + 1e5 * np.exp(-(along**2) / 2 / sigma[0] ** 2 - across**2 / 2 / sigma[1] ** 2)
    fits.writeto(tmp_path / "image.fits", image.astype(np.float32))
    succeed(tmp_path / "image.fits", "--outputs", "sources.png", "--bw", "200", "--bh", "200", folder=tmp_path)
    red = np.abs(inside(tmp_path / "sources.png") - RED).max(axis=2) < 0.2
    red_rows, red_columns = np.nonzero(red)
    dots = red.shape[0] / 200
    x, y = red_columns / dots - 0.5 - 100, 199.5 - red_rows / dots - 100
    lengths = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    # Both diameters: 6 sigma, a little less for what lies below the threshold.
    assert 6 * 9 * 0.93 < np.ptp(lengths[0]) < 6 * 9 * 1.04
    assert 6 * 3 * 0.93 < np.ptp(lengths[1]) < 6 * 3 * 1.08


def test_touching_labels_have_different_colors() -> None:
    random = np.random.default_rng(1)
    labels = np.kron(random.permutation(np.arange(1, 901)).reshape(30, 30), np.ones((4, 4), dtype=np.int32))
    labels[random.uniform(size=labels.shape) < 0.05] = 0
    colors = pictures.color_labels(labels)
    np.testing.assert_array_equal(colors == 0, labels == 0)
    for one, other in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        for first, second in ((np.s_[one, :], np.s_[other, :]), (np.s_[:, one], np.s_[:, other])):
            touch = (labels[first] != labels[second]) & (labels[first] > 0) & (labels[second] > 0)
            assert touch.sum() > 100
            assert (colors[first] != colors[second])[touch].all()


def test_averaging_and_downsampling_keep_what_matters() -> None:
    image = np.zeros((4000, 3100), dtype=np.float32)
    image[1000:1003, 2000:2003] = 9
    image[0, 0] = np.nan
    small = thumbnails.average(image)
    assert max(small.shape) <= thumbnails.LONGEST_SIDE_IN_PIXELS
    assert np.isfinite(small).all()
    assert small.sum() * 9 == pytest.approx(image[1:].sum())
    labels = np.zeros(image.shape, dtype=np.int32)
    labels[17, 2999] = 5
    downsampled = thumbnails.downsample_labels(labels)
    assert downsampled.shape == small.shape
    assert (downsampled == 5).sum() == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (3000, 2), (40, 900), (4000, 3000)])
def test_any_shape(tmp_path: Path, shape: tuple[int, int]) -> None:
    fits.writeto(tmp_path / "image.fits", noise(shape))
    names = ["image", "background", "background_rms", "segmentation_map", "sources"]
    succeed(tmp_path / "image.fits", "--outputs", ",".join(f"{name}.png" for name in names), folder=tmp_path)
    for name in names:
        height, width, _ = imread(tmp_path / f"{name}.png").shape
        assert 500 <= width <= 2100
        assert 500 <= height <= 1900
