"""TIFF -> Image: the first series of a file, right side up in brightness."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from ..core.image import Image, MapProjection
from ..errors import InputError
from .memory import require_memory
from .planes import choose_plane

# GeoTIFF 1.1 (OGC 19-008r4), 7.2: model and raster types; the EPSG code of WGS 84.
GEOGRAPHIC, PIXEL_IS_POINT, WGS84 = 2, 2, 4326
GDAL_NODATA = 42113  # GDAL's private tag: the value of missing pixels, as text


def read_tiff(path: Path, source: str, plane: int | None) -> Image:
    """Read one 2-D image; see `readers.images.read_image`."""
    with contextlib.ExitStack() as stack:
        with _damage_is_said(source):
            tiff = stack.enter_context(tifffile.TiffFile(path))
            series = list(tiff.series)
        return _read(series, source, plane)


@contextlib.contextmanager
def _damage_is_said(source: str) -> Iterator[None]:
    """Where tifffile and the codecs are called: they meet damage with every kind of exception."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as problem:
        raise InputError(source, f"the TIFF file is damaged or truncated ({problem})", "fetch it again") from problem


def _read(all_series: list[tifffile.TiffPageSeries], source: str, plane: int | None) -> Image:
    with _damage_is_said(source):
        series = all_series[0]
        page, names, shape, dtype = series.keyframe, series.axes, series.shape, series.dtype
        others = [f"series {i} {' x '.join(map(str, s.shape[::-1]))}" for i, s in enumerate(all_series) if i]
        if dtype is None:
            raise ValueError("its pixels are of no type that is known")
    if not {"Y", "X"} <= set(names):
        raise InputError(source, f"the TIFF image has no rows and columns (axes {names})", "give a 2-D image")
    rows, columns = names.index("Y"), names.index("X")
    leading = [axis for axis in range(len(shape)) if axis not in (rows, columns)]
    sides = ", ".join(f"{name} {side}" for name, side in zip(names, shape, strict=True))
    planes = tuple(shape[axis] for axis in leading)
    chosen = choose_plane(planes, plane, source, "the TIFF image", sides)
    require_memory(source, "the TIFF image", math.prod(shape), dtype.itemsize)
    with _damage_is_said(source):
        pixels = series.asarray().transpose(*leading, rows, columns)[chosen]
        return Image(
            source=source,
            origin="page 0" if math.prod(planes) == 1 else f"plane {plane}",
            stored_type=str(dtype),
            pixels=_valid(_upright(pixels, page), page),
            rows_from_top=True,
            others=", ".join(others),
            projection=_projection(page),
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


def _projection(page: tifffile.TiffPage) -> MapProjection | None:
    """The GeoTIFF's affine transformation; None where there is none, or only control points."""
    try:
        tags = page.geotiff_tags or {}
    except Exception:
        # Damaged geographic keys; the pixels are good all the same.
        return None
    if "ModelTransformation" in tags:
        (a, b, _, c), (d, e, _, f) = np.reshape(tags["ModelTransformation"], (4, 4))[:2].tolist()
    elif "ModelPixelScale" in tags and len(tags.get("ModelTiepoint", ())) == 6:
        (a, down, _), (column, row, _, east, north, _) = tags["ModelPixelScale"], tags["ModelTiepoint"]
        b, d, e = 0.0, 0.0, -down
        c, f = east - a * column, north + down * row
    else:
        return None
    if tags.get("GTRasterTypeGeoKey") != PIXEL_IS_POINT:
        # Raster coordinates then count from the corner of the first pixel, ours from its centre.
        c, f = c + (a + b) / 2, f + (d + e) / 2
    geographic = tags.get("GTModelTypeGeoKey") == GEOGRAPHIC
    epsg = tags.get("GeographicTypeGeoKey" if geographic else "ProjectedCSTypeGeoKey")
    names = ("lon", "lat") if geographic and epsg == WGS84 else ("map_x", "map_y")
    return MapProjection(((a, b, c), (d, e, f)), names)
