"""TIFF -> Image: the first series of a file, right side up in brightness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from .errors import InputError
from .images import Image, squeeze_to_plane

GDAL_NODATA = 42113  # GDAL's private tag: the value of missing pixels, as text


def read_tiff(path: Path, source: str, plane: int | None) -> Image:
    """Read one 2-D image; see `extraction.images.read_image`."""
    try:
        with tifffile.TiffFile(path) as tiff:
            return _read(tiff, source, plane)
    except InputError:
        raise
    except Exception as problem:
        # tifffile and the codecs meet damage with every kind of exception.
        raise InputError(source, f"the TIFF file is damaged or truncated ({problem})", "fetch it again") from problem


def _read(tiff: tifffile.TiffFile, source: str, plane: int | None) -> Image:
    series = tiff.series[0]
    page = series.keyframe
    index = squeeze_to_plane(series.shape, source, "the TIFF image", plane, series.axes)
    others = [f"series {i} {' x '.join(map(str, s.shape[::-1]))}" for i, s in enumerate(tiff.series) if i]
    return Image(
        source=source,
        origin="page 0" if plane is None else f"plane {plane}",
        stored_type=str(series.dtype),
        pixels=_valid(_upright(series.asarray()[index], page), page),
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
