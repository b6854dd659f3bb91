"""The Image: 2-D pixels and their metadata, independent of the file format."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError
from .room import Room
from .windows import strips

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.wcs import WCS

# By these cards of their headers this program knows its own maps.
PROGRAM, MAP = "source-extraction", "MAP"


@dataclass(frozen=True)
class MapProjection:
    """Where a GeoTIFF lies on the Earth.

    Map coordinates are matrix @ (x, y, 1), with the matrix (2 x 3) for pixel positions counted from 0; `names` are
    their names, ("lon", "lat") in degrees of WGS 84 or ("map_x", "map_y") in the unit of the projection.
    """

    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]
    names: tuple[str, str]


class Celestial(NamedTuple):
    """Where an image lies on the sky: a 2-D WCS for pixel positions counted from 0, and its FITS form.

    `header` has its cards, `tables` are the HDUs of its distortions. Both are empty without sky coordinates. `remarks`
    are sentences for the log: which parts of its header could not be used, or why it has none.
    """

    wcs: WCS | None = None
    header: fits.Header | None = None
    tables: tuple[Any, ...] = ()
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, wcs: WCS, remarks: tuple[str, ...] = ()) -> Celestial:
        """A WCS with its FITS form as astropy writes it. Raises what astropy raises if it cannot."""
        if wcs.has_distortion:
            first, *tables = wcs.to_fits(relax=True)
            return cls(wcs, first.header, tuple(tables), remarks)
        # Making an HDU takes five times as long as making its cards.
        return cls(wcs, wcs.to_header(relax=True), (), remarks)


class Doubt(str):
    """A remark that the user should act on: a warning."""


class Whence(NamedTuple):
    """Where an image came from: the numbers of its HDU and plane, and an identifier of its file.

    `version` is the EXTVER of the HDU, `versions` are those of all images with its name.
    """

    hdu: int = 0
    plane: int = 0
    version: int = 1
    versions: tuple[int, ...] = ()
    file: Hashable = None


@dataclass
class Image:
    """A 2-D image as its file or its owner holds it.

    `pixels` has the `shape` (height, width), row 0 first in the file, any real type in native byte order, NaN where the
    file has no value. They are gone once released.
    """

    source: str  # the image's name in messages
    origin: str  # where in the file: "HDU 1 (SCI)", "page 0"
    stored_type: str  # "int16", "float64", ...
    pixels: np.ndarray
    unit: str = ""  # physical unit of the pixels, as the file spells it
    find_celestial: Callable[[], Celestial] = Celestial
    rows_from_top: bool = False  # row 0 is the top of the picture (TIFF), not its bottom (FITS)
    others: str = ""  # the other contents of the file
    uses: tuple[Mapping[str, str], ...] = ()  # the options that use some of these; "[ERR]" is an HDU of this file
    whence: Whence = Whence()
    headers: tuple[Mapping[str, Any], ...] = ()  # FITS: of the image, of the primary HDU
    projection: MapProjection | None = None  # GeoTIFF
    borrowed: bool = False  # the pixels belong to someone else and must not be changed
    remarks: tuple[str, ...] = ()  # sentences for the log: how the file was read

    def __post_init__(self) -> None:
        height, width = self.pixels.shape
        self.shape: tuple[int, int] = (height, width)

    def __getstate__(self) -> dict[str, Any]:
        """State for another process, which rebuilds the coordinates from the header, identical to the last digit."""
        return {name: value for name, value in self.__dict__.items() if name != "celestial"}

    @cached_property
    def celestial(self) -> Celestial:
        """Where the image lies on the sky. Computed on first use, as it is slow."""
        return self.find_celestial()

    @property
    def wcs(self) -> WCS | None:
        """The celestial WCS, 2-D, for pixel positions counted from 0; None without."""
        return self.celestial.wcs

    def leave_out(self, value: float, room: Room) -> int:
        """Set pixels of exactly this value, as their type rounds it, to NaN; returns their number.

        If their type has no NaN, the pixels are replaced by copies in `room`.
        """
        kind = self.pixels.dtype
        if kind.kind != "f" and not (float(value).is_integer() and _within(kind, value)):
            return 0
        with np.errstate(over="ignore"):
            sought = kind.type(value)
        number = sum(int(np.count_nonzero(window.of(self.pixels) == sought)) for window in strips(self.shape))
        if number:
            # float64 holds all 32-bit integers exactly, and 64-bit ones to the precision that the sky is computed with.
            holding = kind if kind.kind == "f" else np.float32 if kind.itemsize <= 2 else np.float64
            if self.borrowed or kind != holding:
                own = room.empty(self.shape, holding)
                own[:] = self.pixels
            else:
                own = self.pixels
            for window in strips(self.shape):
                window.of(own)[window.of(self.pixels) == sought] = np.nan
            self.pixels, self.borrowed = own, False
        return number

    def release_pixels(self) -> None:
        """Free the pixels' memory: detection and photometry have their own."""
        del self.pixels

    def keyword(self, name: str) -> Any:
        """The value of a FITS keyword, in the image's own header or the primary HDU's; None without."""
        return next((header[name] for header in self.headers if name in header), None)

    @property
    def map_of(self) -> str | None:
        """Which of this program's maps it is, such as "background.fits"; None if it is another image."""
        made_here = str(self.keyword("CREATOR")).startswith(f"{PROGRAM} ")
        return str(self.keyword(MAP)) if made_here and self.keyword(MAP) else None

    def describe_others(self) -> str:
        """The other contents of the file, and the options that use some of them."""
        uses = (
            " ".join(f"--{option} {'...' if value.startswith('[') else ''}{value}" for option, value in use.items())
            for use in self.uses
        )
        return f"{self.others}: {', '.join(uses)}" if self.uses else self.others

    def describe(self) -> str:
        """One line on what was read from the file."""
        height, width = self.shape
        return f"{self.source}, {self.origin}, {width} x {height} pixels, {self.stored_type}"


def _within(kind: np.dtype[Any], value: float) -> bool:
    limits = np.iinfo(np.uint8 if kind.kind == "b" else kind)
    return int(limits.min) <= value <= int(limits.max)


class Partner(NamedTuple):
    """The image that another must match pixel by pixel, for example in the `role` of its mask.

    `remedy` is what to do if the other does not match, `prefix` the beginning of the options that choose the other:
    "mask_" for --mask_hdu. A `picture` shows bright as large, however a TIFF file stores its numbers; otherwise the
    numbers themselves are used. `may_be_itself` says whether the image itself is meant if it comes first in the file.
    """

    image: Image
    role: str
    remedy: str
    prefix: str
    picture: bool = False
    may_be_itself: bool = False

    def require_meant(self, other: Image, *, named: bool) -> tuple[str, ...]:
        """Refuse the image itself as the other unless it was chosen explicitly; returns remarks on the two for the log.

        `named` says whether the HDU of the other was chosen.
        """
        mine, its = self.image.whence, other.whence
        which = (f"the {self.role} is {other.origin}",) if other.others and not self.picture else ()
        if its.file is None or its.file != mine.file:
            return which
        if (its.hdu, its.plane) == (mine.hdu, mine.plane):
            # In a TIFF file, which has no such headers, nothing else could be chosen.
            if other.others and other.headers and not (named or self.may_be_itself):
                raise InputError(
                    other.source,
                    f"the {self.role} is {other.origin}, the very image that is searched",
                    f"choose another with --{self.prefix}hdu: {other.others}",
                )
            return (f"{'The' if self.picture else 'the'} {self.role} is the image itself",)
        if its.version != mine.version and mine.version in its.versions:
            doubt = (
                f"the {self.role} is of EXTVER {its.version}, the image of EXTVER {mine.version}: not of one detector"
            )
            return (*which, Doubt(doubt))
        return which

    def in_its_options(self, problem: InputError) -> InputError:
        """The refusal with this role's options named in place of the image's."""

        def spelled(text: str) -> str:
            return re.sub(r"--(hdu|plane)\b", rf"--{self.prefix}\1", text)

        return InputError(problem.source, spelled(problem.problem), spelled(problem.remedy))

    def require_same_shape(self, source: str, shape: tuple[int, int]) -> None:
        """Refuse another image, called `source`, if its shape (height, width) differs."""
        if shape != self.image.shape:
            (height, width), (image_height, image_width) = shape, self.image.shape
            raise InputError(
                source,
                f"the {self.role} has {width} x {height} pixels, the image {self.image.source} "
                f"{image_width} x {image_height}",
                self.remedy,
            )
