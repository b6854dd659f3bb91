"""Where a GeoTIFF lies on the Earth (GeoTIFF 1.1, OGC 19-008r4)."""

from __future__ import annotations

import numpy as np
import tifffile

from ..core.image import MapProjection

# 7.2: model and raster types; the EPSG code of WGS 84.
GEOGRAPHIC, PIXEL_IS_POINT, WGS84 = 2, 2, 4326


def projection_of(page: tifffile.TiffPage) -> MapProjection | None:
    """The GeoTIFF's affine transformation; None if it has none, or only control points."""
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
