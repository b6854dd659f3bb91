"""Labels and grey images -> uncompressed TIFF images for microscopy tools: rows in the order of the array."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import tifffile

from ..core.windows import Map, Window, strips
from .whole import whole

MOST_UINT16 = 2**16 - 1
SEED = 255


def write_label_map(path: Path, segmentation: np.ndarray) -> None:
    """Write a segmentation map as uint16, or as uint32 if a label is too large."""
    dtype = np.uint16 if segmentation.max(initial=0) <= MOST_UINT16 else np.uint32
    _write_image(path, segmentation, dtype)


def write_greys(path: Path, greys: np.ndarray) -> None:
    """Write a picture (uint8) of the image's own pixels, for display under a segmentation map."""
    _write_image(path, greys, np.uint8)


def write_seeds(path: Path, x: np.ndarray, y: np.ndarray, shape: tuple[int, int]) -> None:
    """Write an image of `shape` (height, width) that is `SEED` in the pixel of every position and 0 elsewhere."""
    rows, columns = (
        np.clip(np.rint(position), 0, side - 1).astype(int) for position, side in zip((y, x), shape, strict=True)
    )

    def seeds(window: Window) -> np.ndarray:
        marked = np.zeros((window.bottom - window.top, window.right - window.left), dtype=np.uint8)
        here = window.holds(columns, rows)
        marked[rows[here] - window.top, columns[here] - window.left] = SEED
        return marked

    _write_image(path, Map(shape, np.dtype(np.uint8), seeds), np.uint8)


def _write_image(path: Path, image: np.ndarray | Map, dtype: type) -> None:
    """Write pixels (height, width) as one of `dtype`.

    tifffile reserves the space, and the pixels follow a few rows at a time: for anything but a real file, it would copy
    them all.
    """
    pixels = image if isinstance(image, Map) else Map.showing(image)
    with whole(path) as file:
        place = tifffile.imwrite(
            file, shape=pixels.shape, dtype=dtype, photometric="minisblack", metadata=None, returnoffset=True
        )
        offset, _ = cast(tuple[int, int], place)
        file.seek(offset)
        for window in strips(pixels.shape):
            file.write(np.ascontiguousarray(pixels.of(window), dtype).data)
