"""Large arrays -> arrays of the pixels that a picture has."""

from __future__ import annotations

import numpy as np

LONGEST_SIDE_IN_PIXELS = 1500


def average(pixels: np.ndarray, masked: np.ndarray | None = None) -> np.ndarray:
    """The image (float32), averaged over square blocks where it has more pixels than the picture.

    What is `masked` or not finite is left out; NaN where nothing is left.
    """
    block = _block(pixels.shape)
    if block == 1:
        return np.where(False if masked is None else masked, np.nan, pixels).astype(np.float32)
    sums = 0.0
    counts = 0.0
    for row in range(block):
        for column in range(block):
            part = _part(pixels, row, column, block)
            finite = np.isfinite(part)
            if masked is not None:
                finite &= ~_part(masked, row, column, block)
            sums = sums + np.where(finite, part, 0)
            counts = counts + finite
    with np.errstate(invalid="ignore"):
        return (sums / counts).astype(np.float32)


def thin(labels: np.ndarray) -> np.ndarray:
    """A label map at the picture's resolution: a block shows its greatest label, so none vanishes to sky."""
    block = _block(labels.shape)
    thinned = _part(labels, 0, 0, block).copy()
    for row in range(block):
        for column in range(block):
            np.maximum(thinned, _part(labels, row, column, block), out=thinned)
    return thinned


def _block(shape: tuple[int, int]) -> int:
    return max(1, -(-max(shape) // LONGEST_SIDE_IN_PIXELS))


def _part(pixels: np.ndarray, row: int, column: int, block: int) -> np.ndarray:
    """Pixel (row, column) of every whole block; an axis shorter than a block is one block."""
    height, width = (max(1, side // block) * block for side in pixels.shape)
    rows, columns = min(row, pixels.shape[0] - 1), min(column, pixels.shape[1] - 1)
    return pixels[rows:height:block, columns:width:block]
