"""Labels -> TIFF images as tools for microscopy take them: rows in the order of the array, uncompressed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

MOST_UINT16 = 2**16 - 1
SEED = 255


def write_label_map(path: Path, segmentation: np.ndarray) -> None:
    """Write a segmentation map as uint16, as uint32 where a label is too large for it."""
    dtype = np.uint16 if segmentation.max(initial=0) <= MOST_UINT16 else np.uint32
    tifffile.imwrite(path, segmentation.astype(dtype), photometric="minisblack", metadata=None)


def write_seeds(path: Path, x: np.ndarray, y: np.ndarray, shape: tuple[int, int]) -> None:
    """Write an image of `shape` (height, width) that is `SEED` in the pixel of every position and 0 elsewhere."""
    seeds = np.zeros(shape, dtype=np.uint8)
    rows, columns = (
        np.clip(np.rint(position), 0, side - 1).astype(int) for position, side in zip((y, x), shape, strict=True)
    )
    seeds[rows, columns] = SEED
    tifffile.imwrite(path, seeds, photometric="minisblack", metadata=None)
