"""Large arrays -> arrays at a picture's resolution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..core.windows import Map, Window

LONGEST_SIDE_IN_PIXELS = 1500
ROWS_AT_A_TIME = 64  # of the picture


def average(pixels: np.ndarray | Map, masked: np.ndarray | None = None) -> np.ndarray:
    """The image (float32), averaged over square blocks if it has more pixels than the picture.

    Pixels that are `masked` or not finite are left out; blocks without any other are NaN.
    """
    image = pixels if isinstance(pixels, Map) else Map.showing(pixels)
    blocks = _Blocks.of(image.shape)
    averaged = np.empty(blocks.number, dtype=np.float32)
    for rows, window in blocks.parts():
        block = blocks.split(image.of(window))
        with np.errstate(invalid="ignore", over="ignore"):
            sums = block.sum(axis=1, dtype=np.float64).sum(axis=2)
            counts = block.shape[1] * block.shape[3]
            if masked is not None or not np.isfinite(sums).all():
                good = np.isfinite(block)
                if masked is not None:
                    good &= ~blocks.split(window.of(masked))
                sums = np.where(good, block, 0).sum(axis=(1, 3), dtype=np.float64)
                counts = good.sum(axis=(1, 3))
            averaged[rows] = sums / counts
    return averaged


def downsample_labels(labels: np.ndarray) -> np.ndarray:
    """A label map at the picture's resolution: a block shows its greatest label, so none vanishes to sky."""
    blocks = _Blocks.of(labels.shape)
    downsampled = np.empty(blocks.number, dtype=labels.dtype)
    for rows, window in blocks.parts():
        downsampled[rows] = blocks.split(window.of(labels)).max(axis=1).max(axis=2)
    return downsampled


def covered(shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width, in pixels, of the part of an image of that shape that its picture shows: whole blocks."""
    (rows, columns), (height, width) = _Blocks.of(shape)
    return rows * height, columns * width


class _Blocks(NamedTuple):
    """The whole blocks of an image: their numbers of rows and columns, and the (height, width) of one."""

    number: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> _Blocks:
        """The blocks of an image of this shape; an axis shorter than a block is one block."""
        side = max(1, -(-max(shape) // LONGEST_SIDE_IN_PIXELS))
        height, width = shape
        number = max(1, height // side), max(1, width // side)
        return cls(number, (min(side, height), min(side, width)))

    def parts(self) -> Iterator[tuple[slice, Window]]:
        """Some rows of the picture at a time, and the part of the image that they show."""
        (rows, columns), (height, width) = self
        for first in range(0, rows, ROWS_AT_A_TIME):
            last = min(first + ROWS_AT_A_TIME, rows)
            yield slice(first, last), Window(first * height, last * height, 0, columns * width)

    def split(self, part: np.ndarray) -> np.ndarray:
        """The blocks of a part: (rows of blocks, rows of a block, columns of blocks, columns of a block)."""
        return part.reshape(-1, self.size[0], self.number[1], self.size[1])
