"""What a user can ask for: every option with its default, bounds and help, each stated once, and checked here.

The command line and the tables of the documents are made from this; a test holds the form's parameters to it. Every
face makes a `Settings`, so none can run with options that another would refuse.
"""

import difflib
import functools
import math
import numbers
import os
import re
import shlex
import types
import typing
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from .errors import InputError

INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Bounds:
    """The range of a number: `above` excludes its end, `least` and `most` include theirs."""

    above: float | None = None
    least: float | None = None
    most: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
        )

    def __str__(self) -> str:
        if self.above is not None:
            return f"a finite number above {self.above:g}"
        if self.least is not None and self.most is not None:
            return f"a number from {self.least} to {self.most}"
        if self.least is not None:
            return f"a number of at least {self.least}"
        return "a finite number"


@dataclass(frozen=True)
class Option:
    """One option: what it is called, which values it takes, and in which section a user finds it.

    `kind` is the type of its values; None among them means that the option may be left out.
    """

    name: str
    section: str
    kind: Any
    default: Any
    help: str
    bounds: Bounds | None = None
    choices: tuple[str, ...] = ()
    is_size: bool = False  # a number of bytes, which may be given as 4G

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types that a value may have, but None; of a list, those of its items."""
        found = _alternatives(self.kind)
        return _alternatives(typing.get_args(found[0])[0]) if self.is_list else found

    @property
    def is_list(self) -> bool:
        """Whether it takes several values."""
        return typing.get_origin(_alternatives(self.kind)[0]) is tuple

    def check(self, value: Any, shown: str | None = None) -> Any:
        """The value in the type of the option, or an InputError. `shown` is how messages spell it."""
        shown = repr(value) if shown is None else shown
        if value is None and self.default is None:
            return None
        if self.is_list:
            return self._check_list(value)
        if self.is_size and isinstance(value, str):
            value = self._number_from(value)
        if self.choices:
            if not isinstance(value, str) or value not in self.choices:
                raise InputError(
                    self.name, f"{shown} is not one of the choices", f"choose from {', '.join(self.choices)}"
                )
            return value
        if self.kinds == (bool,):
            if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
                raise InputError(self.name, f"{shown} is neither true nor false", "give one of them")
            return bool(value)
        if self.bounds is not None and not (isinstance(value, str) and str in self.kinds):
            return self._check_number(value, shown)
        return self._check_text_or_path(value, shown)

    def from_text(self, text: str) -> Any:
        """The value that a text on the command line stands for."""
        if self.is_list:
            parts = [part.strip() for part in text.split(",") if part.strip()]
            return self.check([part if str in self.kinds else self._number_from(part) for part in parts])
        if self.bounds is not None:
            number = self._number_from(text)
            return self.check(text if isinstance(number, str) and str in self.kinds else number, repr(text))
        return self.check(Path(text) if Path in self.kinds else text)

    @property
    def whole(self) -> bool:
        """Whether it is a number without a fraction."""
        return int in self.kinds

    @property
    def range(self) -> str:
        """Its bounds in words."""
        if self.is_size:
            return "a number of bytes, as 500M or 4G (K, M and G are powers of 1024)"
        return str(self.bounds).replace("a number", "a whole number" if self.whole else "a number")

    def _number_from(self, text: str) -> float | str:
        """The number that a text spells; the text itself if it spells none and the option takes texts."""
        try:
            if self.is_size:
                return _bytes_in(text)
            return int(text) if self.whole else float(text)
        except ValueError as problem:
            if str in self.kinds:
                return text
            raise InputError(self.name, f"{text!r} is out of range", f"give {self.range}") from problem

    def _check_number(self, value: Any, shown: str) -> float:
        """numpy's numbers count as Python's, whole ones also as fractions; True and False do not count as numbers."""
        if isinstance(value, numbers.Integral) and not isinstance(value, bool):
            number: float = int(value)
        elif isinstance(value, numbers.Real) and not self.whole and not isinstance(value, bool):
            number = float(value)
        else:
            whole = "whole " if self.whole else ""
            raise InputError(self.name, f"{shown} is not a {whole}number", f"give {self.range}")
        if self.bounds is not None and number not in self.bounds:
            raise InputError(self.name, f"{shown} is out of range", f"give {self.range}")
        return number if self.whole else float(number)

    def _check_list(self, value: Any) -> tuple[Any, ...]:
        if str not in self.kinds:
            return self._check_numbers(value)
        return self._check_texts(value) if self.bounds is None else self._check_numbers_and_names(value)

    def _check_numbers(self, value: Any) -> tuple[float, ...]:
        """Columns are named after 6 digits: what has the same name is the same aperture."""
        several = value if isinstance(value, Iterable) and not isinstance(value, str | bytes) else (value,)
        checked = [self._check_number(number, repr(number)) for number in several]
        if not checked:
            raise InputError(self.name, "no aperture is given", "give diameters in pixels, such as 5,10")
        return tuple(float(name) for name in dict.fromkeys(f"{number:g}" for number in checked))

    def _check_texts(self, value: Any) -> tuple[str, ...]:
        several = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
        for text in several:
            if not isinstance(text, str):
                raise InputError(self.name, f"{text!r} is not a text", "give texts")
        return several

    def _check_numbers_and_names(self, value: Any) -> tuple[float | str, ...]:
        """A text may hold several, as on the command line."""
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
        several = list(value) if isinstance(value, Iterable) else [value]
        if not several:
            raise InputError(self.name, "it is empty", f"give {self.range}, or a name")
        checked: list[float | str] = []
        for item in several:
            if isinstance(item, str) and item and not re.fullmatch(r"[-+.\d]+", item):
                checked.append(item)
            else:
                number = int(item) if isinstance(item, str) and re.fullmatch(r"[-+]?\d+", item) else item
                checked.append(self._check_number(number, repr(item)))
        return tuple(checked)

    def _check_text_or_path(self, value: Any, shown: str) -> Any:
        if isinstance(value, InMemory) and InMemory in self.kinds:
            return value
        if Path in self.kinds and isinstance(value, str | os.PathLike):
            if "\0" in str(value):
                raise InputError(self.name, f"{shown} is not a path: it has a NUL character", "give the path of a file")
            return Path(value)
        if str in self.kinds and isinstance(value, str) and (value.strip() or self.default is not None):
            return value.strip() if self.default is None else value
        if self.kinds == (str,) and isinstance(value, numbers.Integral) and not isinstance(value, bool):
            return str(value)  # the number of an HDU
        wanted = "a path" if Path in self.kinds else "a text"
        if self.bounds is not None:
            wanted = f"{self.range}, or a header keyword"
        raise InputError(self.name, f"{shown} is not what it takes", f"give {wanted}")


def _bytes_in(text: str) -> int:
    """The number of bytes that a text says, K, M and G being powers of 1024; ValueError where it says none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise ValueError(text)
    return int(float(found[1]) * 1024 ** " KMG".index(found[2].upper() or " "))


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The types that a value of a type may have, but None."""
    several = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return tuple(one for one in several if one is not type(None))


@dataclass(frozen=True, eq=False)
class InMemory:
    """An image that is in no file.

    `pixels` is whatever numpy makes an array of, `name` what messages and products call it, `unit` the unit of the
    pixels as text, `header` a mapping in which keywords are looked up.
    """

    pixels: Any
    name: str
    unit: str = ""
    header: Any = None


def name_of(image: Path | InMemory) -> str:
    """How messages call an image."""
    return image.name if isinstance(image, InMemory) else str(image)


class Which(NamedTuple):
    """Which image is meant: a file or an array, an HDU of the file, a plane of that.

    `prefix` is how the options that choose HDU and plane begin: "mask_" for --mask_hdu and --mask_plane.
    """

    given: Path | InMemory
    hdu: str | None
    plane: int | None
    prefix: str

    @property
    def name(self) -> str:
        """How messages call it: as it can be given."""
        return name_of(self.given) + ("" if self.hdu is None else f"[{self.hdu}]")


def taken_apart(path: Path) -> tuple[Path, str | None]:
    """A file, and the HDU where its name ends with one as cfitsio has it: `file.fits[DQ]`.

    A file of that very name comes first, and has no HDU in its name.
    """
    found = re.fullmatch(r"(.+)\[([^\[\]]+)\]", str(path), re.DOTALL)
    if found is None or not found[2].strip() or os.path.lexists(path):
        return path, None
    return Path(found[1]), found[2].strip()


def _option(default: Any, section: str, help: str, **metadata: Any) -> Any:
    return field(default=default, metadata={"section": section, "help": help, **metadata})


class _Checked:
    """Options that are what they should be, in whatever way they were given."""

    def __post_init__(self) -> None:
        for option in options_of(type(self)):  # type: ignore[arg-type]  # a class has a hash, if its instances have none
            object.__setattr__(self, option.name, option.check(getattr(self, option.name)))


@dataclass(frozen=True)
class OutputOptions(_Checked):
    """Where the products go, and how they are made: no number in them depends on it."""

    output_dir: Path = _option(Path("."), "output", "folder for the products; created if missing")
    outputs: tuple[str, ...] = _option(
        (), "output", "comma-separated file names of the products to make (default: the first nine)"
    )
    threads: int | None = _option(
        None,
        "output",
        "number of processes; the result does not depend on it (default: GALAXY_SLOTS, else the number of cores)",
        bounds=Bounds(least=1, most=1024),
    )
    memory: int | None = _option(
        None,
        "output",
        "memory that all processes together may take, as 500M or 4G (K, M and G are powers of 1024); an image that "
        "needs more is worked on in files; the result does not depend on it (default: what the machine, control groups "
        "and ulimit leave)",
        bounds=Bounds(least=1),
        is_size=True,
    )
    scratch: Path | None = _option(
        None,
        "output",
        "folder on a disk for the files that take the place of memory, which have no name there (default: the disk of "
        "the products)",
    )


@dataclass(frozen=True)
class DetectionOptions(_Checked):
    """What counts as a source."""

    thresh: float = _option(
        1.5,
        "detection",
        "a pixel belongs to a source if its filtered, background-subtracted value exceeds thresh * err",
        bounds=Bounds(above=0),
    )
    err_option: str = _option(
        "float_globalrms",
        "detection",
        "err is the global background RMS (float_globalrms), the background RMS map (array_rms) or the noise map of "
        "--error_file (file); with none, thresh is an absolute value",
        choices=("float_globalrms", "array_rms", "none", "file"),
    )
    minarea: int = _option(
        5,
        "detection",
        "smallest number of pixels of a source; the parts of a blend may have fewer",
        bounds=Bounds(least=1, most=INT32_MAX),
    )

    filter_case: str = _option(
        "default",
        "filter",
        "kernel that smooths the image before the threshold is applied: 3 x 3 pixels (1 2 1, 2 4 2, 1 2 1), none, that "
        "of --filter_file, or a Gaussian as wide as the stars (gauss), which needs a lower threshold",
        choices=("default", "none", "file", "gauss"),
    )
    filter_fwhm: float | None = _option(
        None,
        "filter",
        "FWHM of the Gaussian kernel, in pixels; needs --filter_case gauss",
        bounds=Bounds(least=0.5, most=100),
    )
    filter_type: str = _option(
        "matched",
        "filter",
        "with --err_option array_rms or file: apply the threshold to the signal-to-noise ratio of the filtered image "
        "(matched) or to the filtered image itself (conv); otherwise it is always conv",
        choices=("matched", "conv"),
    )

    deblend_nthresh: int = _option(
        32, "deblending", "number of brightness levels at which a blend is split", bounds=Bounds(least=1, most=64)
    )
    deblend_cont: float = _option(
        0.005,
        "deblending",
        "smallest share of a blend's flux for a peak to be a source of its own: 0 splits the most, 1 nothing",
        bounds=Bounds(least=0, most=1),
    )

    clean: bool = _option(
        True, "cleaning", "delete detections that the wing of a brighter neighbour explains; their pixels become sky"
    )
    clean_param: float = _option(
        1.0,
        "cleaning",
        "exponent of the Moffat profile that is assumed for this wing: a lower value deletes more",
        bounds=Bounds(above=0),
    )

    advice: bool = _option(
        True,
        "advice",
        "judge the run: count the detections on the negated image, and advise where other options suit the image "
        "better; without, neither is done nor said",
    )
    follow_advice: bool = _option(
        False,
        "advice",
        "if the first result is judged to be wrong and other options can cure that, run again with them; the products "
        "are those of the second run",
    )

    def __post_init__(self) -> None:
        """A width belongs to a Gaussian, and a Gaussian has one; advice that is followed has to be given."""
        super().__post_init__()
        if self.follow_advice and not self.advice:
            raise InputError("follow_advice", "--no-advice gives none to follow", "leave out one of them")
        if self.filter_case == "gauss" and self.filter_fwhm is None:
            raise InputError("filter_case gauss", "its width is not given", "add --filter_fwhm PIXELS")
        if self.filter_case != "gauss" and self.filter_fwhm is not None:
            raise InputError(
                "filter_fwhm", f"--filter_case {self.filter_case} does not use it", "add --filter_case gauss"
            )


@dataclass(frozen=True)
class BackgroundOptions(_Checked):
    """How the background is estimated."""

    subtract_background: bool = _option(
        True, "background", "subtract the background; if not, it is still estimated, for its noise and its maps"
    )
    bw: int = _option(
        64, "background", "width of a cell of the background mesh, in pixels", bounds=Bounds(least=4, most=INT32_MAX)
    )
    bh: int = _option(
        64, "background", "height of a cell of the background mesh, in pixels", bounds=Bounds(least=4, most=INT32_MAX)
    )
    fw: int = _option(
        3, "background", "width of the median filter over the mesh, in cells", bounds=Bounds(least=1, most=INT32_MAX)
    )
    fh: int = _option(
        3, "background", "height of the median filter over the mesh, in cells", bounds=Bounds(least=1, most=INT32_MAX)
    )
    fthresh: float = _option(
        0.0, "background", "smallest change for which the median filter replaces a cell's value", bounds=Bounds()
    )
    background_passes: int = _option(
        1,
        "background",
        "2: estimate the background a second time, without the sources above the first one and their surroundings, so "
        "that large galaxies are not taken for background",
        bounds=Bounds(least=1, most=2),
    )


@dataclass(frozen=True)
class PhotometryOptions(_Checked):
    """What is measured of a source."""

    apertures: tuple[float, ...] = _option(
        (5.0, 10.0),
        "photometry",
        "diameters of the circular apertures in pixels, separated by commas",
        bounds=Bounds(above=0),
    )
    kron_factor: float = _option(
        2.5, "photometry", "size of the ellipse for flux_auto, in Kron radii", bounds=Bounds(above=0)
    )
    kron_min_radius: float = _option(
        3.5, "photometry", "smallest size of this ellipse, in units of a and b", bounds=Bounds(least=0)
    )
    correlated_noise: bool = _option(
        True,
        "photometry",
        "include in the errors the noise that neighbouring pixels share, as measured on the image; without it, errors "
        "are those of independent pixels, too small on resampled images",
    )
    gain: float | str | None = _option(
        None,
        "photometry",
        "electrons per unit of the image, for the Poisson noise of the sources: a number or a header keyword",
        bounds=Bounds(above=0),
    )
    zeropoint: float | str | None = _option(
        None,
        "photometry",
        "magnitude of a source of flux 1; without it there are no magnitudes: a number or a header keyword",
        bounds=Bounds(),
    )
    saturation: float | str | None = _option(
        None,
        "photometry",
        "pixel value, as in the file, from which a pixel is saturated: a number or a header keyword",
        bounds=Bounds(),
    )


@dataclass(frozen=True)
class PsfOptions(_Checked):
    """Whether stars are measured with the image's own point spread function."""

    psf: bool = _option(
        False,
        "PSF",
        "make the point spread function (PSF) from the image's own stars, fit it to all sources together and tell "
        "stars from galaxies: columns flux_psf, chi2_psf, spread and their errors",
    )
    completeness: bool = _option(
        False,
        "PSF",
        "search for artificial stars, to learn at which flux half and 90 % of the point sources are found; takes up to "
        "15 times as long as finding the sources",
    )


@dataclass(frozen=True)
class BrightMaskOptions(_Checked):
    """Which sources bright_mask.fits covers."""

    bright_flux: float | None = _option(
        None,
        "bright sources",
        "flux above which bright_mask.fits masks a source (default: the 99th percentile)",
        bounds=Bounds(),
    )
    bright_grow: int = _option(
        10,
        "bright sources",
        "width of the margin that bright_mask.fits adds around these sources, in pixels",
        bounds=Bounds(least=0, most=1000),
    )


@dataclass(frozen=True)
class PictureOptions(_Checked):
    """What the pictures show; no number depends on it."""

    draw: str = _option(
        "ellipses",
        "output",
        "how sources.png marks a source: by an ellipse, or its outline if a large one is not elliptical (ellipses); or "
        "always by its outline (outlines)",
        choices=("ellipses", "outlines"),
    )


@dataclass(frozen=True, eq=False)
class FileOptions(_Checked):
    """Which images are read, and what their pixels mean.

    `wcs` (an astropy WCS) and `unit` are said of the image in place of what its file says; they are no options.
    """

    image: Path | InMemory
    wcs: Any = None
    unit: str | None = None
    name: str = _option(
        "", "output", "title of the pictures, also recorded in the outputs (default: the image's file name)"
    )
    hdu: str | None = _option(
        None,
        "input",
        "FITS HDU of the image, as in IMAGE[HDU]: number (0 is the first), EXTNAME, or EXTNAME,EXTVER; put a name that "
        "is a number between quotes (default: the first 2-D image)",
    )
    plane: int | None = _option(
        None,
        "input",
        "which plane, counted from 0, if the file has several (a cube, RGB, several pages); all: every plane is an "
        "image",
        bounds=Bounds(least=0, most=INT32_MAX),
    )
    missing: float | None = _option(
        None,
        "input",
        "pixels of exactly this value are missing, such as the zeros outside a mosaic; in the image to measure on too",
        bounds=Bounds(),
    )
    mask_file: Path | InMemory | None = _option(
        None,
        "input",
        "FITS or TIFF image of the same size that marks the pixels to leave out; it may be in the same file as IMAGE",
    )
    mask_hdu: str | None = _option(None, "input", "FITS HDU of the mask, like --hdu; or give --mask_file FILE[HDU]")
    mask_plane: int | None = _option(
        None, "input", "which plane of the mask's file, like --plane", bounds=Bounds(least=0, most=INT32_MAX)
    )
    mask_bits: tuple[int | str, ...] | None = _option(
        None,
        "input",
        "for a mask of bit flags: mask only pixels with one of these bits, given as values (not bit numbers) such as "
        "1,4,512, or by their names in its header (LSST: MP_BAD); jwst is DO_NOT_USE",
        bounds=Bounds(least=1, most=2**64 - 1),
    )
    maskthresh: float | None = _option(
        None, "input", "pixels of a numeric mask above this value are masked (default: 0)", bounds=Bounds()
    )
    error_file: Path | InMemory | None = _option(
        None, "detection", "FITS or TIFF image of the noise of every pixel; needs --err_option file"
    )
    error_hdu: str | None = _option(
        None, "detection", "FITS HDU of the noise map, like --hdu; or give --error_file FILE[HDU]"
    )
    error_plane: int | None = _option(
        None, "detection", "which plane of the noise map's file, like --plane", bounds=Bounds(least=0, most=INT32_MAX)
    )
    error_type: str = _option(
        "rms",
        "detection",
        "what the noise map holds: standard deviations, variances, or weights (1 / variance, 0 = masked; weights that "
        "imply less than half or more than twice the background RMS are taken as relative, and scaled to it)",
        choices=("rms", "variance", "weight"),
    )
    filter_file: Path | None = _option(
        None, "filter", "text file with the kernel's weights, one row per line; needs --filter_case file"
    )
    measure_file: Path | InMemory | None = _option(
        None,
        "photometry",
        "measure the sources on this image of the same size, such as another band; they are found on IMAGE",
    )
    measure_hdu: str | None = _option(
        None, "photometry", "FITS HDU of the image to measure on, like --hdu; or give --measure_file FILE[HDU]"
    )
    measure_plane: int | None = _option(
        None, "photometry", "which plane of that file, like --plane", bounds=Bounds(least=0, most=INT32_MAX)
    )

    psf_file: Path | None = _option(
        None, "PSF", "use a PSF that was made before: psf.fits of another run, or a .psf file of PSFEx; implies --psf"
    )

    def __post_init__(self) -> None:
        """An HDU in the name of a file becomes the option; what says more of a file needs the file."""
        super().__post_init__()
        for name, (prefix, what) in FILES.items():
            given, hdu = getattr(self, name), f"{prefix}hdu"
            if isinstance(given, Path):
                file, named = taken_apart(given)
                if named is not None and getattr(self, hdu) is not None:
                    raise InputError(hdu, f"{str(given)!r} already names an HDU", "leave out one of them")
                if named is not None:
                    object.__setattr__(self, name, file)
                    object.__setattr__(self, hdu, named)
            for option in (hdu, f"{prefix}plane", f"{prefix}bits"):
                if given is None and getattr(self, option, None) is not None:
                    raise InputError(option, f"there is no {what}", f"add --{name} FILE")
        if self.mask_bits is not None and self.maskthresh is not None:
            raise InputError("mask_bits", "it cannot be combined with --maskthresh", "leave out one of them")

    def which(self, name: str) -> Which | None:
        """Which image is meant by "image", "mask_file", "error_file" or "measure_file"; None where none is given."""
        given, (prefix, _) = getattr(self, name), FILES[name]
        if given is None:
            return None
        return Which(given, getattr(self, f"{prefix}hdu"), getattr(self, f"{prefix}plane"), prefix)


# The images that are read: how the options that say more of each begin, and what it is.
FILES = {
    "image": ("", "image"),
    "mask_file": ("mask_", "mask"),
    "error_file": ("error_", "noise map"),
    "measure_file": ("measure_", "image to measure on"),
}


@functools.cache
def options_of(group: type) -> tuple[Option, ...]:
    """The options of a group of them, in its order."""
    kinds = typing.get_type_hints(group)
    return tuple(
        Option(name=f.name, kind=kinds[f.name], default=f.default, **f.metadata) for f in fields(group) if f.metadata
    )


# In the order in which users read of them.
SECTIONS = (
    "output", "input", "advice", "detection", "filter", "deblending", "cleaning", "background", "photometry", "PSF",
    "bright sources",
)  # fmt: skip
GROUPS: dict[str, type] = {
    "detection": DetectionOptions,
    "background": BackgroundOptions,
    "photometry": PhotometryOptions,
    "psf": PsfOptions,
    "bright": BrightMaskOptions,
    "pictures": PictureOptions,
    "files": FileOptions,
}
# What is given with one choice of an option, and refused with the others.
BELONGING = (
    ("filter_case", "gauss", ("filter_fwhm",)),
    ("filter_case", "file", ("filter_file",)),
    ("err_option", "file", ("error_file", "error_hdu", "error_plane", "error_type")),
)
OPTIONS = {
    option.name: option
    for option in sorted(
        (option for group in (OutputOptions, *GROUPS.values()) for option in options_of(group)),
        key=lambda option: SECTIONS.index(option.section),
    )
}
_GROUP_OF = {option.name: name for name, group in GROUPS.items() for option in options_of(group)}


@dataclass(frozen=True, eq=False)
class Settings:
    """One run: the images, and the options that decide what is found and measured."""

    files: FileOptions
    detection: DetectionOptions = DetectionOptions()
    background: BackgroundOptions = BackgroundOptions()
    photometry: PhotometryOptions = PhotometryOptions()
    psf: PsfOptions = PsfOptions()
    bright: BrightMaskOptions = BrightMaskOptions()
    pictures: PictureOptions = PictureOptions()
    followed: tuple[str, ...] = ()  # the options that are as advice said

    @classmethod
    def of(cls, image: Path | InMemory, *, wcs: Any = None, unit: str | None = None, **options: Any) -> "Settings":
        """The settings for an image with options by their names on the command line.

        Raises InputError where a value is out of its bounds, of another type, or contradicts another, and TypeError
        where there is no such option.
        """
        groups: dict[str, dict[str, Any]] = {name: {} for name in GROUPS}
        for name, value in options.items():
            if name not in _GROUP_OF:
                nearest = difflib.get_close_matches(name, _GROUP_OF, n=1, cutoff=0)[0]
                raise TypeError(f"there is no option {name!r}; the nearest is {nearest!r}")
            groups[_GROUP_OF[name]][name] = value
        groups["files"] |= {"image": image, "wcs": wcs, "unit": unit}
        return cls(**{name: GROUPS[name](**given) for name, given in groups.items()})

    def __post_init__(self) -> None:
        """Options that contradict each other."""
        files, detection = self.files, self.detection
        for choice, value, file, what in (
            ("filter_case", detection.filter_case, "filter_file", "kernel"),
            ("err_option", detection.err_option, "error_file", "noise map"),
        ):
            given = getattr(files, file) is not None
            if value == "file" and not given:
                raise InputError(f"{choice} file", f"there is no {what}", f"add --{file} FILE")
            if value != "file" and given:
                raise InputError(file, f"--{choice} {value} does not use it", f"add --{choice} file")

    @property
    def title(self) -> str:
        """What pictures, headers and catalog call the image: printable, on one line."""
        name = self.files.name or self.files.image.name
        return "".join(c if c.isprintable() else " " for c in name).strip() or "image"

    @property
    def with_psf(self) -> bool:
        """Whether the catalog is to have what a PSF tells."""
        return self.psf.psf or self.files.psf_file is not None

    def asking_for(self, steps: Collection[str]) -> "Settings":
        """The same with the options on that products switch on by the steps that they need: --psf, --completeness."""
        needs_psf, measures = "psf" in steps and not self.with_psf, "completeness" in steps
        switches = {"psf": self.psf.psf or needs_psf, "completeness": self.psf.completeness or measures}
        return replace(self, psf=replace(self.psf, **switches))

    @property
    def source(self) -> str:
        """What messages call the image."""
        return self.files.name or name_of(self.files.image)

    def parameters(self) -> dict[str, Any]:
        """The options that decide what is found, by name: what an output records. Files by their names."""
        return {name: value for name, value in self.everything().items() if OPTIONS[name].section != "output"}

    def everything(self) -> dict[str, Any]:
        """All options, those that decide only what the products look like among them. Files by their names."""
        return {name: _recorded(self.option(name)) for name in OPTIONS if name in _GROUP_OF}

    def option(self, name: str) -> Any:
        """The value of an option."""
        return getattr(getattr(self, _GROUP_OF[name]), name)

    def not_following(self) -> "Settings":
        """The same without following the advice."""
        return replace(self, detection=replace(self.detection, follow_advice=False))

    def following(self, changes: dict[str, Any]) -> "Settings":
        """The same with the options that an advice changes; it is not followed once more.

        Options that belong to another choice than the new one are taken back.
        """
        groups: dict[str, dict[str, Any]] = {}
        of_another = {
            name: OPTIONS[name].default
            for choice, value, names in BELONGING
            if choice in changes and changes[choice] != value
            for name in names
        }
        for name, new in (of_another | changes | {"follow_advice": False}).items():
            value = OPTIONS[name].from_text(new) if isinstance(new, str) else new
            groups.setdefault(_GROUP_OF[name], {})[name] = value
        changed = {name: replace(getattr(self, name), **given) for name, given in groups.items()}
        return replace(self, **changed, followed=tuple(changes))


def as_cell(text: str) -> str:
    """A text as a table has it: where a spreadsheet would take it for a formula, or a reader of tables for a quoted
    field, an apostrophe comes first, which spreadsheets do not show."""
    return f"'{text}" if text.startswith(('"', "=", "+", "-", "@")) else text


def _recorded(value: Any) -> Any:
    """A value as an output records it: a file by its name, a list as on the command line."""
    if isinstance(value, tuple):
        return as_typed(value)
    return value.name if isinstance(value, Path | InMemory) else value


def as_typed(value: Any) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, tuple):
        return ",".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    return str(value)


def as_options(values: dict[str, Any]) -> str:
    """Options as they are typed: what a shell would change is quoted, and a number has all of its digits."""
    return " ".join(_as_option(name, value) for name, value in values.items())


def _as_option(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    typed = shlex.quote(as_number(value) if isinstance(value, float) else as_typed(value))
    # What begins with a sign would be taken for an option.
    return f"--{name}={typed}" if typed.startswith("-") else f"--{name} {typed}"


def as_number(value: float) -> str:
    """A number in as few digits as it takes to read it back."""
    return repr(float(value)).removesuffix(".0")
