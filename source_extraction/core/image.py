"""The Image: 2-D pixels, and what is known about them, whatever they came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError

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


class Celestial(NamedTuple):
    """Where an image lies on the sky: a 2-D WCS for pixel positions counted from 0, and the same in FITS.

    `hdus` are header cards and distortion tables. Both are None where the image has no sky coordinates. `remarks` are
    sentences for the log: what of its header could not be used, or why it has none.
    """

    wcs: WCS | None = None
    hdus: fits.HDUList | None = None
    remarks: tuple[str, ...] = ()


@dataclass
class Image:
    """A 2-D image as its file or its owner holds it.

    `pixels` has the `shape` (height, width), row 0 first in the file, any real type in this machine's byte order, NaN
    where the file says that there is no value. They are gone once they are released.
    """

    source: str  # how messages call the image
    origin: str  # where in the file: "HDU 1 (SCI)", "page 0"
    stored_type: str  # "int16", "float64", ...
    pixels: np.ndarray
    unit: str = ""  # physical unit of the pixels, as the file spells it
    find_celestial: Callable[[], Celestial] = Celestial
    rows_from_top: bool = False  # row 0 is the top of the picture (TIFF), not its bottom (FITS)
    others: str = ""  # what else the file holds
    headers: tuple[Mapping[str, Any], ...] = ()  # FITS: of the image, of the primary HDU
    projection: MapProjection | None = None  # GeoTIFF
    borrowed: bool = False  # the pixels are somebody else's, and not to be changed
    remarks: tuple[str, ...] = ()  # sentences for the log: how the file was read

    def __post_init__(self) -> None:
        height, width = self.pixels.shape
        self.shape: tuple[int, int] = (height, width)

    @cached_property
    def celestial(self) -> Celestial:
        """Where the image lies on the sky. Made when it is first asked for: it is slow."""
        return self.find_celestial()

    @property
    def wcs(self) -> WCS | None:
        """The celestial WCS, 2-D, for pixel positions counted from 0; None without."""
        return self.celestial.wcs

    def release_pixels(self) -> None:
        """Give the pixels' memory back: detection and photometry have their own."""
        del self.pixels

    def keyword(self, name: str) -> Any:
        """The value of a FITS keyword, in the image's own header or the primary HDU's; None without."""
        return next((header[name] for header in self.headers if name in header), None)

    def describe(self) -> str:
        """The file's content in a line: what was taken, and what else there is."""
        height, width = self.shape
        also = f"; also there: {self.others}" if self.others else ""
        return f"{self.source}, {self.origin}, {width} x {height} pixels, {self.stored_type}{also}"


class Partner(NamedTuple):
    """The image that another goes with, pixel by pixel, in the `role` of its mask for example.

    `remedy` is what to do where the other does not go with it.
    """

    image: Image
    role: str
    remedy: str

    def require_same_shape(self, source: str, shape: tuple[int, int]) -> None:
        """Refuse another of the name `source` whose shape (height, width) is not this one's."""
        if shape != self.image.shape:
            (height, width), (image_height, image_width) = shape, self.image.shape
            raise InputError(
                source,
                f"the {self.role} has {width} x {height} pixels, the image {self.image.source} "
                f"{image_width} x {image_height}",
                self.remedy,
            )
