"""What a user can ask for: every option with its default, bounds and help, each stated once.

The command line is made from this table; the Galaxy form and the README are held to it by tests.
"""

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

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


def _option(default: Any, section: str, help: str, **metadata: Any) -> Any:
    return field(default=default, metadata={"section": section, "help": help, **metadata})


@dataclass(frozen=True)
class Settings:
    """One run: the image, the options by their names on the command line, the products."""

    image: Path = field(metadata={"section": "input"})

    output_dir: Path = _option(Path("."), "output", "folder for the products; made where missing")
    name: str = _option("", "output", "title of the pictures, recorded in the outputs (default: the image's file name)")
    outputs: tuple[str, ...] = _option(
        (), "output", "comma-separated file names of the products to make (default: the first nine)"
    )

    threads: int | None = _option(
        None,
        "output",
        "processes that share the work; the result does not depend on it (default: GALAXY_SLOTS, else the cores)",
        bounds=Bounds(least=1, most=1024),
    )

    hdu: str | None = _option(
        None, "input", "FITS HDU of the image, by number (0 is the first) or EXTNAME; default: the first 2-D image"
    )
    plane: int | None = _option(
        None,
        "input",
        "which plane, from 0, where the image has several (a cube, RGB, several pages)",
        bounds=Bounds(least=0, most=INT32_MAX),
    )
    mask_file: Path | None = _option(
        None, "input", "FITS or TIFF image of the image's shape that marks the pixels to leave out"
    )
    maskthresh: float = _option(0.0, "input", "pixels of a numeric mask above this value are masked", bounds=Bounds())

    thresh: float = _option(
        1.5,
        "detection",
        "a pixel belongs to a source where its filtered, background-subtracted value exceeds thresh * err",
        bounds=Bounds(above=0),
    )
    err_option: str = _option(
        "float_globalrms",
        "detection",
        "err: the global background RMS (float_globalrms), the background RMS map (array_rms), "
        "or nothing: thresh is then an absolute value (none); or the noise map of --error_file (file)",
        choices=("float_globalrms", "array_rms", "none", "file"),
    )
    error_file: Path | None = _option(
        None, "detection", "FITS or TIFF image of the noise of every pixel; needs --err_option file"
    )
    error_type: str = _option(
        "rms",
        "detection",
        "what the error file holds: standard deviations, variances, or weights (1 / variance, 0 = masked)",
        choices=("rms", "variance", "weight"),
    )
    minarea: int = _option(5, "detection", "least number of pixels of a source", bounds=Bounds(least=1, most=INT32_MAX))

    filter_case: str = _option(
        "default",
        "filter",
        "kernel the image is convolved with before the threshold: 3 x 3 (1 2 1, 2 4 2, 1 2 1), none, or a file's",
        choices=("default", "none", "file"),
    )
    filter_file: Path | None = _option(
        None, "filter", "text file with the kernel's weights, a row a line; needs --filter_case file"
    )
    filter_type: str = _option(
        "matched",
        "filter",
        "with --err_option array_rms or file: threshold the filtered image's signal-to-noise ratio (matched) "
        "or the filtered image itself (conv); otherwise it is always conv",
        choices=("matched", "conv"),
    )

    deblend_nthresh: int = _option(
        32, "deblending", "number of thresholds to split a blend at", bounds=Bounds(least=1, most=64)
    )
    deblend_cont: float = _option(
        0.005,
        "deblending",
        "least share of a blend's flux for a branch to be a source: 0 splits most, 1 nothing",
        bounds=Bounds(least=0, most=1),
    )

    clean: bool = _option(True, "cleaning", "merge detections that a brighter neighbour's wing explains")
    clean_param: float = _option(
        1.0,
        "cleaning",
        "Moffat exponent of the neighbour's assumed wing: lower merges more",
        bounds=Bounds(above=0),
    )

    subtract_background: bool = _option(
        True, "background", "subtract the background; without, it is estimated for its noise and its maps alone"
    )
    bw: int = _option(64, "background", "width of a background mesh cell", bounds=Bounds(least=4, most=INT32_MAX))
    bh: int = _option(64, "background", "height of a background mesh cell", bounds=Bounds(least=4, most=INT32_MAX))
    fw: int = _option(
        3, "background", "width of the mesh's median filter, in cells", bounds=Bounds(least=1, most=INT32_MAX)
    )
    fh: int = _option(
        3, "background", "height of the mesh's median filter, in cells", bounds=Bounds(least=1, most=INT32_MAX)
    )
    fthresh: float = _option(
        0.0, "background", "least change for which the median filter replaces a cell's value", bounds=Bounds()
    )

    measure_file: Path | None = _option(
        None,
        "photometry",
        "measure the sources on this image of the same shape (another band); they are found on the first one",
    )
    apertures: tuple[float, ...] = _option(
        (5.0, 10.0),
        "photometry",
        "comma-separated diameters of the circular apertures, in pixels",
        bounds=Bounds(above=0),
    )
    kron_factor: float = _option(2.5, "photometry", "size of the AUTO ellipse, in Kron radii", bounds=Bounds(above=0))
    kron_min_radius: float = _option(
        3.5, "photometry", "least size of the AUTO ellipse, in units of a and b", bounds=Bounds(least=0)
    )
    gain: float | str | None = _option(
        None,
        "photometry",
        "electrons a unit of the image, for the Poisson noise of the sources; a number or a header keyword",
        bounds=Bounds(above=0),
    )
    zeropoint: float | str | None = _option(
        None,
        "photometry",
        "magnitude of a source of flux 1; without it there are no magnitudes; a number or a header keyword",
        bounds=Bounds(),
    )
    saturation: float | str | None = _option(
        None,
        "photometry",
        "pixel value from which a pixel is saturated, as in the file; a number or a header keyword",
        bounds=Bounds(),
    )

    bright_flux: float | None = _option(
        None,
        "bright sources",
        "bright_mask.fits masks sources whose flux is above this (default: the 99th percentile)",
        bounds=Bounds(),
    )
    bright_grow: int = _option(
        10, "bright sources", "and so many pixels around them", bounds=Bounds(least=0, most=1000)
    )

    @property
    def title(self) -> str:
        """What pictures, headers and catalog call the image: printable, on one line."""
        name = self.name or self.image.name
        return "".join(c if c.isprintable() else " " for c in name).strip() or "image"

    @property
    def has_estimated_noise(self) -> bool:
        """Whether the threshold is in units of the noise that the image shows."""
        return self.err_option in ("float_globalrms", "array_rms")

    @property
    def has_noise_map(self) -> bool:
        """Whether the threshold follows a map of the noise."""
        return self.err_option in ("array_rms", "file")

    def parameters(self) -> dict[str, Any]:
        """The options that decide what is found, by name: what an output records. Files by their names."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.metadata["section"] != "output"}
        del values["image"]
        return {name: _as_typed(value) for name, value in values.items()}


def _as_typed(value: Any) -> Any:
    """A value as an output records it: a file by its name, a list as on the command line."""
    if isinstance(value, tuple):
        return ",".join(f"{number:g}" for number in value)
    return value.name if isinstance(value, Path) else value
