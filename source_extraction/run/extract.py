"""The Python interface for one image: a path, an array or an astropy object -> Result."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.processes import Workers
from ..errors import InputError
from ..readers.disk_room import RoomOnDisk
from ..settings import OPTIONS, InMemory, OutputOptions, Settings
from .log import Log
from .pipeline import memory_is_said, steps_for, steps_taken
from .products import PRODUCTS
from .result import Result

if TYPE_CHECKING:
    from astropy.wcs import WCS

# Images with another name in `extract` than on the command line.
PARAMETERS = {"mask_file": "mask", "error_file": "error", "measure_file": "measure"}
# The error_type for each uncertainty_type of astropy.
ERROR_TYPES = {"std": "rms", "var": "variance", "ivar": "weight"}
# The name of an image that is not in a file.
NAME = "image"
# The nine default products can be written from a result without reading the image again.
PREPARED = (PRODUCTS["catalog.fits"], PRODUCTS["image.png"])


def extract(
    image: Any,
    *,
    mask: Any = None,
    error: Any = None,
    measure: Any = None,
    wcs: WCS | None = None,
    unit: Any = None,
    threads: int = 1,
    memory: int | str | None = None,
    scratch: Any = None,
    **options: Any,
) -> Result:
    """Find and measure the sources in an image.

    Nothing is printed or written, and the inputs are not changed.

    Parameters
    ----------
    image : path, array, or astropy.nddata.NDData
        A FITS or TIFF file, ``"sky.fits[SCI]"`` with an HDU; or the pixels (height, width), of any real
        type, NaN or masked where they have no value; or an NDData or CCDData, whose mask, uncertainty, wcs, unit and
        header are used as well, unless they are given here.
    mask : path or array, optional
        Marks the pixels to leave out: True, above the option `maskthresh`, with one of `mask_bits`, or NaN. This and
        the next two may be another HDU of the image's file: ``"sky.fits[DQ]"``.
    error : path or array, optional
        The noise of every pixel, in the form that the option `error_type` says. The threshold is then in units of it
        (``err_option="file"``).
    measure : path or array, optional
        An image of the same shape to measure the sources on; they are found on the first.
    wcs : astropy.wcs.WCS, optional
        Where the pixels lie on the sky.
    unit : str or astropy.units.Unit, optional
        The unit of the pixels.
    threads : int
        Number of processes; the result does not depend on it.
    memory : int or str, optional
        The memory that all processes together may take, in bytes or as ``"4G"``. An image that needs more, or more than
        the machine has, is worked on in files.
    scratch : path, optional
        The folder for these files, which have no names there; by default the system's folder for temporary files.
    **options
        The options of the command line by the same names: ``thresh=3, gain="GAIN", apertures=(5, 10)``.

    Returns
    -------
    Result
        The catalog, the maps, and what the command line would write.

    Raises
    ------
    InputError
        If a file or an array cannot be used, or an option is out of its bounds, of the wrong type, or contradicts
        another; the message names it.
    TypeError
        If there is no such option; the message names the nearest.

    Notes
    -----
    The background is estimated in the cells of a mesh and subtracted; the image is filtered, thresholded, deblended and
    cleaned as in SExtractor [1]_, by SEP [2]_; the sources are then measured on the unfiltered image.

    References
    ----------
    .. [1] Bertin, E. & Arnouts, S. 1996, A&AS 117, 393, https://doi.org/10.1051/aas:1996164
    .. [2] Barbary, K. 2016, JOSS 1(6), 58, https://doi.org/10.21105/joss.00058
    """
    try:
        settings = _settings(_Given.of(image, wcs, unit), mask, error, measure, options)
        how = OutputOptions(threads=threads, memory=memory, scratch=scratch)  # type: ignore[arg-type]  # checked there
        number = how.threads or 1
        workers = Workers(number, RoomOnDisk(how.scratch, how.memory, number))
        with memory_is_said(settings):
            return Result(steps_taken(settings, workers, Log(quiet=True), steps_for(PREPARED, settings)))
    except InputError as problem:
        raise _in_python(problem) from problem.__cause__


def require_usable(threads: int, options: dict[str, Any]) -> None:
    """Raises what `extract` raises if no image could be used with these options."""
    options = dict(options)
    memory, scratch = options.pop("memory", None), options.pop("scratch", None)
    given = _Given.of("image", options.pop("wcs", None), options.pop("unit", None))
    # Images may bring their own mask and noise map.
    error = options.pop("error", None)
    if error is None and options.get("err_option") == "file":
        error = "error"
    measure = options.pop("measure", None)
    try:
        OutputOptions(threads=threads, memory=memory, scratch=scratch)
        _settings(given, "mask", error, measure, options)
    except InputError as problem:
        raise _in_python(problem) from problem.__cause__


@dataclass(frozen=True)
class _Given:
    """An image as it was given, with its metadata."""

    image: Path | InMemory
    mask: Any = None
    uncertainty: Any = None
    wcs: Any = None
    unit: str | None = None

    @classmethod
    def of(cls, image: Any, wcs: Any, unit: Any) -> _Given:
        """The parts of an image; `wcs` and `unit` replace its own."""
        if wcs is not None:
            _require_wcs(wcs)
        if isinstance(image, str | os.PathLike):
            return cls(Path(image), wcs=wcs, unit=_spelled(unit))
        own = InMemory(_values(image), NAME, _unit_of(image), getattr(image, "meta", None))
        if not hasattr(image, "uncertainty"):
            return cls(own, wcs=wcs, unit=_spelled(unit))
        own_wcs = getattr(image.wcs, "low_level_wcs", image.wcs)
        return cls(own, image.mask, image.uncertainty, own_wcs if wcs is None else wcs, _spelled(unit))


def _settings(given: _Given, mask: Any, error: Any, measure: Any, options: dict[str, Any]) -> Settings:
    for name in options:
        if name in PARAMETERS:
            raise TypeError(f"there is no option {name!r}; the nearest is {PARAMETERS[name]!r}")
        if name in ("output_dir", "outputs"):
            raise TypeError(f"there is no option {name!r}; the nearest is result.write(folder, outputs=...)")
    if error is None and options.get("err_option", "file") == "file":
        error = given.uncertainty
    if error is not None:
        kind = getattr(error, "uncertainty_type", None)
        implied = {} if kind is None else {"error_type": _error_type(kind, options)}
        options = {"err_option": "file"} | implied | options
    return Settings.of(
        given.image,
        wcs=given.wcs,
        unit=given.unit,
        mask_file=_path_or_array(given.mask if mask is None else mask, "the mask"),
        error_file=_path_or_array(error, "the noise map"),
        measure_file=_path_or_array(measure, "the image to measure on"),
        **options,
    )


def _error_type(kind: str, options: dict[str, Any]) -> str:
    """The error_type for an astropy uncertainty."""
    if kind not in ERROR_TYPES:
        raise InputError(
            "error", f"it is an uncertainty of type {kind!r}", f"give one of type {', '.join(ERROR_TYPES)}"
        )
    if options.get("error_type", ERROR_TYPES[kind]) != ERROR_TYPES[kind]:
        raise InputError(
            "error_type", f"{options['error_type']!r} contradicts the uncertainty of type {kind!r}", "leave it out"
        )
    return ERROR_TYPES[kind]


def _require_wcs(wcs: Any) -> None:
    from astropy.wcs import WCS

    if not isinstance(wcs, WCS):
        raise InputError("wcs", f"it is a {type(wcs).__name__}", "give an astropy.wcs.WCS")


def _values(array: Any) -> Any:
    """The plain values of an array, a Quantity, an NDData or an uncertainty."""
    if hasattr(array, "uncertainty_type"):
        return array.array
    if hasattr(array, "uncertainty"):
        return array.data
    return array.value if hasattr(array, "unit") and hasattr(array, "value") else array


def _unit_of(array: Any) -> str:
    """The unit of an array as text, "" if it has none."""
    return _spelled(getattr(array, "unit", None)) or ""


def _spelled(unit: Any) -> str | None:
    """A unit as text."""
    return None if unit is None else unit if isinstance(unit, str) else unit.to_string()


def _path_or_array(given: Any, name: str) -> Path | InMemory | None:
    if given is None:
        return None
    return Path(given) if isinstance(given, str | os.PathLike) else InMemory(_values(given), name, _unit_of(given))


def _in_python(problem: InputError) -> InputError:
    """The same error with Python's spelling of options: gain, not --gain, and clean=False, not --no-clean."""

    def spelled(text: str) -> str:
        text = re.sub(r"--no-(\w+)", lambda found: f"{found[1]}=False" if found[1] in OPTIONS else found[0], text)
        text = re.sub(r"--(\w+)", lambda found: found[1] if found[1] in OPTIONS else found[0], text)
        return re.sub(r"\b(\w+_file)\b", lambda found: PARAMETERS.get(found[1], found[1]), text)

    return InputError(spelled(problem.source), spelled(problem.problem), spelled(problem.remedy))
