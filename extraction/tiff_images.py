"""TIFF -> Image: the first series of a file, right side up in brightness."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import tifffile

from .errors import InputError
from .images import Image, choose_plane
from .memory import require_memory

GDAL_NODATA = 42113  # GDAL's private tag: the value of missing pixels, as text


def read_tiff(path: Path, source: str, plane: int | None) -> Image:
    """Read one 2-D image; see `extraction.inputs.read_image`."""
    try:
        with tifffile.TiffFile(path) as tiff:
            return _read(tiff, source, plane)
    except (InputError, MemoryError):
        raise
    except Exception as problem:
        # tifffile and the codecs meet damage with every kind of exception.
        raise InputError(source, f"the TIFF file is damaged or truncated ({problem})", "fetch it again") from problem


def _read(tiff: tifffile.TiffFile, source: str, plane: int | None) -> Image:
    series = tiff.series[0]
    page = series.keyframe
    if not {"Y", "X"} <= set(series.axes):
        raise InputError(source, f"the TIFF image has no rows and columns (axes {series.axes})", "give a 2-D image")
    rows, columns = series.axes.index("Y"), series.axes.index("X")
    leading = [axis for axis in range(series.ndim) if axis not in (rows, columns)]
    sides = ", ".join(f"{name} {side}" for name, side in zip(series.axes, series.shape, strict=True))
    planes = tuple(series.shape[axis] for axis in leading)
    chosen = choose_plane(planes, plane, source, "the TIFF image", sides)
    require_memory(source, "the TIFF image", series.size, series.dtype.itemsize)
    pixels = series.asarray().transpose(*leading, rows, columns)[chosen]
    others = [f"series {i} {' x '.join(map(str, s.shape[::-1]))}" for i, s in enumerate(tiff.series) if i]
    return Image(
        source=source,
        origin="page 0" if math.prod(planes) == 1 else f"plane {plane}",
        stored_type=str(series.dtype),
        pixels=_valid(_upright(pixels, page), page),
        rows_from_top=True,
        others=", ".join(others),
    )


def _upright(pixels: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
    """Bright as large: MinIsWhite files (TIFF 6.0, PhotometricInterpretation 0) store it the other way."""
    if page.photometric != tifffile.PHOTOMETRIC.MINISWHITE:
        return pixels
    if pixels.dtype == bool:
        return ~pixels
    if pixels.dtype.kind == "u":
        return pixels.dtype.type(2**page.bitspersample - 1) - pixels
    return pixels.max() - pixels


def _valid(pixels: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
    """NaN in place of GDAL's nodata value."""
    tag = page.tags.get(GDAL_NODATA)
    if tag is None:
        return pixels
    try:
        nodata = float(str(tag.value).strip(" \0"))
    except ValueError:
        return pixels
    missing = pixels == nodata
    return np.where(missing, np.nan, pixels) if missing.any() else pixels
