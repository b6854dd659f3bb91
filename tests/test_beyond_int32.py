"""Images of more than 2^31 pixels: where something lies is counted in 64 bits, by SEP, too."""

from pathlib import Path

import numpy as np
import pytest
import sep

from source_extraction.core.detection import WindowExtractor
from source_extraction.core.filters import DEFAULT_KERNEL
from source_extraction.core.mesh import Mesh
from source_extraction.core.parents import ParentSearch
from source_extraction.core.photometry import Measurable, measure
from source_extraction.core.sky import Sky
from source_extraction.core.threshold import Threshold
from source_extraction.core.tiles import Grid
from source_extraction.core.windows import Window
from source_extraction.settings import DetectionOptions, PhotometryOptions

SIDE, PATCH = 47_000, 200
SHAPE = SIDE, SIDE
# Where the patch begins: a corner of four tiles is in its middle, and the last pixel before it is beyond 2^31.
FAR = Grid(SHAPE).tiles[-1]
TOP, LEFT = FAR.top - PATCH // 2, FAR.left - PATCH // 2


def sparse(path: Path, dtype: type) -> np.ndarray:
    """An array of zeros that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(SIDE * SIDE * np.dtype(dtype).itemsize)
    return np.asarray(np.memmap(path, dtype, "r+", shape=SHAPE))


def stars() -> np.ndarray:
    """Three stars in noise; the first lies on the corner of the tiles."""
    y, x = np.mgrid[:PATCH, :PATCH]
    pixels = np.random.default_rng(47).normal(size=(PATCH, PATCH))
    for at_x, at_y, peak in ((99.6, 99.7, 800), (40.2, 60.9, 300), (150.5, 160.1, 90)):
        pixels += peak * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / 8)
    return pixels.astype(np.float32)


def sky_of(pixels: np.ndarray) -> Sky:
    cells = np.ones([-(-side // 64) for side in pixels.shape], np.float32)
    mesh = Mesh(np.zeros_like(cells), cells, pixels.shape, (64, 64), None)
    return Sky(pixels, None, 1.0, 0.0, 1.0, mesh, 1.0, 0.0)


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    folder = tmp_path_factory.mktemp("sparse")
    pixels, labels = sparse(folder / "pixels", np.float32), sparse(folder / "labels", np.int32)
    pixels[TOP : TOP + PATCH, LEFT : LEFT + PATCH] = stars()
    assert TOP * SIDE + LEFT > 2**31
    return pixels, labels


def extractor(pixels: np.ndarray) -> WindowExtractor:
    sky, options = sky_of(pixels), DetectionOptions()
    noise = Threshold.of(sky_of(stars()), options)
    return WindowExtractor(sky, DEFAULT_KERNEL, noise, options)


def test_sep_measures_there(far: tuple[np.ndarray, np.ndarray]) -> None:
    """Its apertures are laid on the whole image (SEP 1.4 has 64 bits for what was C's `int` before)."""
    pixels, _ = far
    x, y = np.array([99.6]), np.array([99.7])
    near, there = stars(), (x + LEFT, y + TOP)
    np.testing.assert_allclose(sep.sum_circle(pixels, *there, 5.0)[0], sep.sum_circle(near, x, y, 5.0)[0], rtol=1e-9)
    shape = (np.array([2.1]), np.array([2.0]), np.array([0.1]))
    radii = (sep.kron_radius(image, *at, *shape, 6.0)[0] for image, at in ((pixels, there), (near, (x, y))))
    np.testing.assert_allclose(*radii, rtol=1e-9)


def test_sources_and_what_is_measured_of_them(far: tuple[np.ndarray, np.ndarray]) -> None:
    """The same as in an image that is no larger than the patch, but for where they are."""
    pixels, labels = far
    near = extractor(stars())(Window(0, PATCH, 0, PATCH))
    found = extractor(pixels)(Window(TOP, TOP + PATCH, LEFT, LEFT + PATCH))
    assert len(found) == 3
    for axis, first in (("x", LEFT), ("y", TOP)):
        for name in (axis, f"{axis}min", f"{axis}max", f"{axis}cpeak", f"{axis}peak"):
            np.testing.assert_allclose(found.sources[name] - first, near.sources[name], rtol=1e-9)
    np.testing.assert_array_equal(found.sources["flux"], near.sources["flux"])
    labels[TOP : TOP + PATCH, LEFT : LEFT + PATCH] = found.segmentation
    options = PhotometryOptions()
    there, ours = Measurable(sky_of(pixels)), Measurable(sky_of(stars()))
    rows, columns = np.nonzero(stars() > 700)
    there.saturated = (rows + TOP) * SIDE + columns + LEFT
    ours.saturated = rows * PATCH + columns
    expected = measure(near.sources, near.labels, near.segmentation, ours, ours, options)
    measured = measure(found.sources, found.labels, labels, there, there, options)
    assert np.count_nonzero(measured["flag_phot"]) == 1
    for name, values in expected.items():
        offset = {"x_win": LEFT, "y_win": TOP}.get(name, 0)
        np.testing.assert_allclose(measured[name] - offset, values, rtol=1e-7, atol=1e-9, err_msg=name)


def test_parents_that_cross_a_seam(far: tuple[np.ndarray, np.ndarray]) -> None:
    """Their pixels are flat indices; the tile of each is known from them."""
    pixels, _ = far
    grid = Grid(SHAPE)
    seam = grid.seams()[grid.seams().index(Window(FAR.top - 1, FAR.top + 1, FAR.left, FAR.right))]
    parents, cut = ParentSearch(extractor(pixels), SHAPE, margin=2).across(seam)
    assert len(cut) == 0
    assert len(parents.first) == 1
    assert parents.pixels.dtype == np.int64
    y, x = np.divmod(parents.pixels, SIDE)
    assert np.hypot(y - TOP - 99.7, x - LEFT - 99.6).max() < 12
    assert parents.of(np.array([(TOP + 100) * SIDE + LEFT + 100])) == 0
    assert grid.tiles[int(grid.tile_of(parents.first)[0])].bottom == FAR.top
    assert grid.tile_of(np.array([SIDE * SIDE - 1])) == len(grid.tiles) - 1


def test_labels_of_tiles_are_apart() -> None:
    """At first each tile has labels of its own, within the 31 bits that a label has."""
    from source_extraction.core.processes import Workers
    from source_extraction.core.tiles import Edge, Tiling

    tiling = Tiling(lambda *_, **__: None, SHAPE, Edge(2, 1e6), Workers(1))
    last = len(tiling.grid.tiles) - 1
    assert tiling._base(last) - tiling._base(last - 1) > 900_000
    assert tiling._base(last) + 900_000 < 2**31
