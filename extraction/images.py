"""The Image: 2-D pixels, and what their file says about them; what the readers of all formats share."""

from __future__ import annotations

import bz2
import gzip
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.wcs import WCS


@dataclass(frozen=True)
class MapProjection:
    """Where a GeoTIFF lies on the Earth.

    Map coordinates are matrix @ (x, y, 1), the matrix (2 x 3) for pixel positions counted from 0; `names` are what
    they are called, ("lon", "lat") in degrees of WGS 84 or ("map_x", "map_y") in the unit of the projection.
    """

    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]
    names: tuple[str, str]
    epsg: int | None


@dataclass
class Image:
    """A 2-D image as its file holds it.

    `pixels` has the `shape` (height, width), row 0 first in the file, any real type, NaN where the file
    says that there is no value; None once they are released.
    """

    source: str  # how messages call the file
    origin: str  # where in the file: "HDU 1 (SCI)", "page 0"
    stored_type: str  # "int16", "float64", ...
    pixels: np.ndarray | None
    unit: str = ""  # physical unit of the pixels, as the file spells it
    celestial: Callable[[], tuple[WCS | None, fits.HDUList | None]] = lambda: (None, None)
    rows_from_top: bool = False  # row 0 is the top of the picture (TIFF), not its bottom (FITS)
    others: str = ""  # what else the file holds
    headers: tuple[fits.Header, ...] = ()  # FITS: of the image, of the primary HDU
    projection: MapProjection | None = None  # GeoTIFF

    def __post_init__(self) -> None:
        self.shape: tuple[int, int] = self.pixels.shape

    @cached_property
    def _sky(self) -> tuple[WCS | None, fits.HDUList | None]:
        return self.celestial()

    @property
    def wcs(self) -> WCS | None:
        """The celestial WCS, 2-D, for pixel positions counted from 0. Made when it is first asked for: it is slow."""
        return self._sky[0]

    @property
    def wcs_hdus(self) -> fits.HDUList | None:
        """The same in FITS: header cards, distortion tables."""
        return self._sky[1]

    def release(self) -> None:
        """Give the pixels' memory back: detection and photometry have their own."""
        self.pixels = None

    def keyword(self, name: str) -> Any:
        """The value of a FITS keyword, in the image's own header or the primary HDU's; None without."""
        return next((header[name] for header in self.headers if name in header), None)

    def describe(self) -> str:
        """The file's content in a line: what was taken, and what else there is."""
        height, width = self.shape
        also = f"; also there: {self.others}" if self.others else ""
        return f"{self.source}, {self.origin}, {width} x {height} pixels, {self.stored_type}{also}"


def require_same_shape(other: Image, image: Image, role: str, remedy: str) -> None:
    """Refuse a file that goes with an image, in the `role` of its mask for example, but has another shape."""
    if other.shape != image.shape:
        raise InputError(
            other.source,
            f"the {role} has {other.shape[1]} x {other.shape[0]} pixels, the image {image.source} "
            f"{image.shape[1]} x {image.shape[0]}",
            remedy,
        )


def choose_plane(planes: tuple[int, ...], plane: int | None, source: str, origin: str, size: str) -> tuple[int, ...]:
    """The index, in the axes `planes` that come before rows and columns, of the plane that was asked for.

    `plane` counts from 0 with the last axis running fastest; None is the only one there is. `origin` and
    `size` describe the image for the message.
    """
    count = math.prod(planes)
    if plane is None and count > 1:
        raise InputError(
            source, f"{origin} holds {count} planes ({size})", f"choose one with --plane K, K from 0 to {count - 1}"
        )
    if plane is not None and not 0 <= plane < count:
        there = f"it has {count}: --plane 0 to {count - 1}" if count > 1 else "it has one: leave out --plane"
        raise InputError(source, f"there is no plane {plane} in {origin}", there)
    return tuple(int(index) for index in np.unravel_index(plane or 0, planes)) if planes else ()


def open_decompressed(path: Path) -> BinaryIO:
    """The file for reading, through gzip or bzip2 where it is compressed."""
    with path.open("rb") as file:
        start = file.read(3)
    opener = gzip.open if start.startswith(b"\x1f\x8b") else bz2.open if start == b"BZh" else open
    return opener(path, "rb")
