"""The background mesh, made and drawn some rows at a time, is SEP's digit for digit."""

from typing import Any

import numpy as np
import pytest
import sep
from hypothesis import given, settings
from hypothesis import strategies as st

from source_extraction.core import mesh as mesh_module
from source_extraction.core.mesh import Mesh, estimate_mesh
from source_extraction.core.processes import Workers
from source_extraction.core.sky import RMS_FLOOR, Sky
from source_extraction.core.surfaces import BANDS, ROWS_OF_BAND
from source_extraction.core.windows import Window
from source_extraction.settings import BackgroundOptions

# Processors that fuse a multiplication and an addition round once where others round twice.
DIGITS = 2e-6


def rough_sky(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Noise on a slope, with many bright pixels."""
    random = np.random.default_rng(seed)
    y, x = np.indices(shape)
    pixels = random.normal(100, 5, shape) + 0.3 * x - 0.1 * y
    pixels += (random.random(shape) < 0.01) * random.exponential(300, shape)
    return pixels.astype(np.float32)


def with_holes(shape: tuple[int, int], share: float, seed: int) -> np.ndarray:
    """A mask of single pixels and of large holes, which leaves at least a corner."""
    random = np.random.default_rng(seed)
    masked = random.random(shape) < share / 4
    for _ in range(round(20 * share)):
        top, left = (random.integers(0, side) for side in shape)
        masked[top : top + shape[0] // 4, left : left + shape[1] // 4] = True
    masked[: shape[0] // 3, : shape[1] // 3] = False
    return masked


def compare(pixels: np.ndarray, masked: np.ndarray | None, workers: int = 1, **options: Any) -> None:
    """With SEP's, where it has one: it has none where no cell is half valid."""
    mesh = estimate_mesh(pixels, masked, BackgroundOptions(**options), options.get("fthresh", 0.0), Workers(workers))
    if mesh.pooled:
        return
    theirs = sep.Background(pixels, mask=masked, **{"bw": 64, "bh": 64, "fw": 3, "fh": 3} | options)
    whole = Window(0, len(pixels), 0, pixels.shape[1])
    for ours, expected in ((mesh.background_of(whole), theirs.back()), (mesh.rms_of(whole), theirs.rms())):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, expected, rtol=DIGITS, atol=DIGITS)
    assert (mesh.background, mesh.rms) == pytest.approx((theirs.globalback, theirs.globalrms), rel=DIGITS)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(70, 330), st.integers(70, 330)),
    cell=st.tuples(st.integers(4, 70), st.integers(4, 70)),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    fthresh=st.sampled_from([0.0, 0.5, 2.0]),
    share=st.sampled_from([0.0, 0.2, 0.5]),
    seed=st.integers(0, 99),
)
def test_is_that_of_sep(
    shape: tuple[int, int],
    cell: tuple[int, int],
    size: tuple[int, int],
    fthresh: float,
    share: float,
    seed: int,
) -> None:
    masked = with_holes(shape, share, seed) if share else None
    (bh, bw), (fh, fw) = cell, size
    compare(rough_sky(shape, seed), masked, bh=bh, bw=bw, fh=fh, fw=fw, fthresh=fthresh)


@pytest.mark.parametrize("shape", [(64, 64), (64, 640), (640, 64), (65, 64), (129, 1000), (1, 300), (300, 1), (63, 50)])
def test_few_cells(shape: tuple[int, int]) -> None:
    """One row of cells has straight lines between them, unlike several; the last ones may be a pixel wide."""
    pixels = rough_sky(shape, 3)
    mesh = estimate_mesh(pixels, None, BackgroundOptions(), 0.0, Workers(1))
    theirs = sep.Background(pixels, bh=min(64, shape[0]), bw=min(64, shape[1]))
    whole = Window(0, shape[0], 0, shape[1])
    np.testing.assert_allclose(mesh.background_of(whole), theirs.back(), rtol=DIGITS)
    np.testing.assert_allclose(mesh.rms_of(whole), theirs.rms(), rtol=DIGITS)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_of_several_processes(workers: int) -> None:
    compare(rough_sky((3000, 2100), 4), None, workers)


def test_windows_of_a_tall_image_in_any_order() -> None:
    """More rows than are kept at a time, and windows over several bands of them."""
    pixels = rough_sky(((BANDS + 2) * ROWS_OF_BAND + 77, 70), 8)
    mesh = estimate_mesh(pixels, None, BackgroundOptions(bw=16, bh=16), 0.0, Workers(1))
    expected = sep.Background(pixels, bw=16, bh=16).back()
    ends = np.random.default_rng(9).integers(0, len(pixels), (30, 2))
    for top, bottom in [(0, len(pixels) - 1), *(sorted(some) for some in ends.tolist())]:
        drawn = mesh._level.of(Window(top, bottom + 1, 3, 60))
        np.testing.assert_allclose(drawn, expected[top : bottom + 1, 3:60], rtol=DIGITS)


def test_half_of_a_cell_is_enough() -> None:
    pixels, masked = rough_sky((300, 300), 5), np.zeros((300, 300), bool)
    masked[:64, :32] = True  # exactly half of the first cell
    masked[64:128, :33] = True  # more than half of that below
    compare(pixels, masked)


def test_windows_are_parts_of_the_whole() -> None:
    cells = np.random.default_rng(6).normal(100, 5, (7, 5)).astype(np.float32)
    for step in (None, 1.0):
        mesh = Mesh(cells, cells, (430, 301), (64, 64), step)
        for of in (mesh.background_of, mesh.rms_of):
            whole = of(Window(0, 430, 0, 301))
            for window in (
                Window(0, 1, 0, 301),
                Window(31, 33, 10, 11),
                Window(100, 300, 60, 200),
                Window(429, 430, 290, 301),
            ):
                np.testing.assert_array_equal(of(window), window.of(whole))


@settings(max_examples=300, deadline=None)
@given(
    number=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    cell=st.tuples(st.integers(4, 20), st.integers(4, 20)),
    cut=st.tuples(st.integers(0, 19), st.integers(0, 19)),
    contrast=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_noise_exceeds_a_level_outside_of_the_windows_where_it_may_not(
    number: tuple[int, int], cell: tuple[int, int], cut: tuple[int, int], contrast: float, seed: int
) -> None:
    # The two extremes, cell by cell, overshoot most.
    noises = np.random.default_rng(seed).choice([1 - contrast, 1 + contrast], number).astype(np.float32)
    shape = tuple(rows * side - min(less, side - 1) for rows, side, less in zip(number, cell, cut, strict=True))
    mesh = Mesh(noises, noises, shape, cell, None)
    noise = mesh.rms_of(Window(0, shape[0], 0, shape[1]))
    for level in (float(noise.min()), float(np.median(noise)), 0.1):
        looked_at = np.zeros(shape, dtype=int)
        for window in mesh.where_noise_may_fall_to(level):
            window.of(looked_at)[:] += 1
        assert looked_at.max() <= 1
        assert not (noise[looked_at == 0] < level * 0.99999).any()  # but for rounding


def test_the_most_that_a_surface_can_overshoot() -> None:
    """The sums of the absolute weights of all cells, in a mesh of many large ones: at the ends, and between centres."""
    cells, side = 12, 300
    centres = slice(side // 2, -side // 2)
    at_ends, inside = np.ones(2), np.ones(2)
    for axis in (0, 1):
        weights = []
        for one in np.eye(cells, dtype=np.float32):
            values = np.stack([one] * 2, axis=1 - axis)
            shape = values.shape[0] * side, values.shape[1] * side
            mesh = Mesh(values, values, shape, (side, side), None)
            line = Window(0, shape[0], side, side + 1) if axis == 0 else Window(side, side + 1, 0, shape[1])
            weights.append(np.abs(mesh.rms_of(line)).ravel())
        at_ends[axis], inside[axis] = np.sum(weights, axis=0).max(), np.sum(weights, axis=0)[centres].max()
    assert 0.97 * mesh_module.OVERSHOOT_AT_ENDS < at_ends.prod() < mesh_module.OVERSHOOT_AT_ENDS
    assert 0.97 * mesh_module.OVERSHOOT_INSIDE < inside.prod() < mesh_module.OVERSHOOT_INSIDE


def test_floored_pixels_in_the_frame_alone() -> None:
    """Noise is lower beyond the last centres of cells that differ: the pixels are those of the whole map."""
    noises = np.tile(np.array([0.6, 1, 0.6, 1, 0.6], np.float32), (4, 1))
    mesh = Mesh(noises, noises, (80, 100), (20, 20), None)
    assert len(mesh.where_noise_may_fall_to(0.36)) == 4
    masked = np.random.default_rng(0).random((80, 100)) < 0.1
    for mask in (None, masked):
        sky = Sky(np.zeros((80, 100), np.float32), mask, 1.0, 1.0, 36.0, mesh, 1.0, 0.0)
        low = mesh.rms_of(Window(0, 80, 0, 100)) <= np.float32(RMS_FLOOR * 36)
        expected = np.flatnonzero(low if mask is None else low & ~mask)
        assert len(expected) > 50
        assert sorted(sky.floored()) == expected.tolist()
