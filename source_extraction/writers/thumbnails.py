"""Large arrays -> arrays of the pixels that a picture has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

LONGEST_SIDE_IN_PIXELS = 1500
ROWS_AT_A_TIME = 64  # of the picture


def average(pixels: np.ndarray, masked: np.ndarray | None = None) -> np.ndarray:
    """The image (float32), averaged over square blocks where it has more pixels than the picture.

    What is `masked` or not finite is left out; NaN where nothing is left.
    """
    averaged = np.empty(_blocks(pixels).shape[::2], dtype=np.float32)
    for rows, blocks in _in_parts(pixels):
        with np.errstate(invalid="ignore", over="ignore"):
            sums = blocks.sum(axis=1, dtype=np.float64).sum(axis=2)
            counts = blocks.shape[1] * blocks.shape[3]
            if masked is not None or not np.isfinite(sums).all():
                good = np.isfinite(blocks)
                if masked is not None:
                    good &= ~_blocks(masked)[rows]
                sums = np.where(good, blocks, 0).sum(axis=(1, 3), dtype=np.float64)
                counts = good.sum(axis=(1, 3))
            averaged[rows] = sums / counts
    return averaged


def downsample_labels(labels: np.ndarray) -> np.ndarray:
    """A label map at the picture's resolution: a block shows its greatest label, so none vanishes to sky."""
    downsampled = np.empty(_blocks(labels).shape[::2], dtype=labels.dtype)
    for rows, blocks in _in_parts(labels):
        downsampled[rows] = blocks.max(axis=1).max(axis=2)
    return downsampled


def _in_parts(pixels: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Some rows of the picture at a time, and the blocks that they are made of."""
    blocks = _blocks(pixels)
    for first in range(0, len(blocks), ROWS_AT_A_TIME):
        rows = slice(first, first + ROWS_AT_A_TIME)
        yield rows, blocks[rows]


def covered(shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width, in pixels of an image of that shape, of what its picture shows: whole blocks."""
    height, rows, width, columns = _blocks(np.broadcast_to(False, shape)).shape
    return height * rows, width * columns


def _blocks(pixels: np.ndarray) -> np.ndarray:
    """A view of the whole blocks: (rows of blocks, rows of a block, columns of blocks, columns of a block).

    An axis shorter than a block is one block.
    """
    block = max(1, -(-max(pixels.shape) // LONGEST_SIDE_IN_PIXELS))
    (height, rows), (width, columns) = ((max(1, side // block), min(block, side)) for side in pixels.shape)
    return pixels[: height * rows, : width * columns].reshape(height, rows, width, columns)
