"""The Image: 2-D pixels, and what is known about them, whatever they came from."""

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

    `header` has its cards, `tables` are the HDUs of its distortions. Without sky coordinates there is neither.
    `remarks` are sentences for the log: what of its header could not be used, or why it has none.
    """

    wcs: WCS | None = None
    header: fits.Header | None = None
    tables: tuple[Any, ...] = ()
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, wcs: WCS, remarks: tuple[str, ...] = ()) -> Celestial:
        """A WCS, and the same in FITS as astropy writes it. Raises what astropy does where it cannot."""
        if wcs.has_distortion:
            first, *tables = wcs.to_fits(relax=True)
            return cls(wcs, first.header, tuple(tables), remarks)
        # To make an HDU takes five times as long as its cards.
        return cls(wcs, wcs.to_header(relax=True), (), remarks)


class Doubt(str):
    """A remark that the user should act on: a warning."""


class Whence(NamedTuple):
    """Where an image was: HDU and plane, by their numbers, of a file, which is anything that tells files apart.

    `version` is the EXTVER of the HDU, `versions` those of all images of its name.
    """

    hdu: int = 0
    plane: int = 0
    version: int = 1
    versions: tuple[int, ...] = ()
    file: Hashable = None


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
    uses: tuple[Mapping[str, str], ...] = ()  # the options that take some of that; "[ERR]" is an HDU of this file
    whence: Whence = Whence()
    headers: tuple[Mapping[str, Any], ...] = ()  # FITS: of the image, of the primary HDU
    projection: MapProjection | None = None  # GeoTIFF
    borrowed: bool = False  # the pixels are somebody else's, and not to be changed
    remarks: tuple[str, ...] = ()  # sentences for the log: how the file was read

    def __post_init__(self) -> None:
        height, width = self.pixels.shape
        self.shape: tuple[int, int] = (height, width)

    def __getstate__(self) -> dict[str, Any]:
        """What another process is sent: it finds the coordinates from the header as this one did, to the last digit."""
        return {name: value for name, value in self.__dict__.items() if name != "celestial"}

    @cached_property
    def celestial(self) -> Celestial:
        """Where the image lies on the sky. Made when it is first asked for: it is slow."""
        return self.find_celestial()

    @property
    def wcs(self) -> WCS | None:
        """The celestial WCS, 2-D, for pixel positions counted from 0; None without."""
        return self.celestial.wcs

    def leave_out(self, value: float, room: Room) -> int:
        """Have no value (NaN) where the pixels are exactly this one, as their type rounds it; in how many.

        Where they are of a type without NaN, others take their place, in a room.
        """
        kind = self.pixels.dtype
        if kind.kind != "f" and not (float(value).is_integer() and _within(kind, value)):
            return 0
        with np.errstate(over="ignore"):
            sought = kind.type(value)
        number = sum(int(np.count_nonzero(window.of(self.pixels) == sought)) for window in strips(self.shape))
        if number:
            # float64 holds all of 32 bits; of 64, it holds what the sky is computed with.
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
        """Give the pixels' memory back: detection and photometry have their own."""
        del self.pixels

    def keyword(self, name: str) -> Any:
        """The value of a FITS keyword, in the image's own header or the primary HDU's; None without."""
        return next((header[name] for header in self.headers if name in header), None)

    def describe_others(self) -> str:
        """What else the file holds, and the options that take some of that."""
        uses = (
            " ".join(f"--{option} {'...' if value.startswith('[') else ''}{value}" for option, value in use.items())
            for use in self.uses
        )
        return f"{self.others}: {', '.join(uses)}" if self.uses else self.others

    def describe(self) -> str:
        """In a line what was taken of the file."""
        height, width = self.shape
        return f"{self.source}, {self.origin}, {width} x {height} pixels, {self.stored_type}"


def _within(kind: np.dtype[Any], value: float) -> bool:
    limits = np.iinfo(np.uint8 if kind.kind == "b" else kind)
    return int(limits.min) <= value <= int(limits.max)


class Partner(NamedTuple):
    """The image that another goes with, pixel by pixel, in the `role` of its mask for example.

    `remedy` is what to do where the other does not go with it, `prefix` how the options begin that choose the other:
    "mask_" for --mask_hdu. A `picture` shows bright as large, however a TIFF file shows its numbers; of what is none,
    the numbers themselves are taken. `may_be_itself` says whether the image itself is meant where it is what comes
    first in the file.
    """

    image: Image
    role: str
    remedy: str
    prefix: str
    picture: bool = False
    may_be_itself: bool = False

    def require_meant(self, other: Image, *, named: bool) -> tuple[str, ...]:
        """Refuse the image itself in the other's place where nobody said so; what the log should say of the two.

        `named` says whether the HDU of the other was chosen.
        """
        mine, its = self.image.whence, other.whence
        which = (f"the {self.role} is {other.origin}",) if other.others and not self.picture else ()
        if its.file is None or its.file != mine.file:
            return which
        if (its.hdu, its.plane) == (mine.hdu, mine.plane):
            # In a TIFF file, which has no such headers, nothing could be chosen in its place.
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
        """A refusal that names the options of an image, with those of this one's."""

        def spelled(text: str) -> str:
            return re.sub(r"--(hdu|plane)\b", rf"--{self.prefix}\1", text)

        return InputError(problem.source, spelled(problem.problem), spelled(problem.remedy))

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
