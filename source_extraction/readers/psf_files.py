"""Files that hold a point spread function: psf.fits of this program, and PSFEx's .psf.

Of both, what is read are numbers of the header and one block of pixels; a file of a stranger is walked as an image's.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits

from ..core.psf import Psf, spline_coefficients
from ..core.psf_model import MOST_REACH, oversampling_for
from ..errors import InputError
from .content import FITS_BEGINNING, beginning_of, failures_are_said, kind_of, open_again, opened
from .fits_structure import HDU, hdus_of, number_of, text_of, whole_number_of

# What psf.fits says of itself; the writer has these from here.
TERMS, OVERSAMPLING, TERM, ZERO, SCALE = "PSFTERMS", "OVERSAMP", "TERM", "ZERO_", "SCALE_"
PSFEX_TABLE = "PSF_DATA"
# Of a PSF: pixels along a side, points a pixel, and the degree of what it varies with; the points of all of its terms,
# since each of these may be large where the others are not.
MOST_SIDE, MOST_OVERSAMPLING, MOST_DEGREE, MOST_POINTS = 1025, 16, 10, 2**20
# The pixels are part of a PSF, so that none is much narrower than one.
LEAST_FWHM = 0.8
# What is far from these overflows float32, which stamps are made of.
LEAST_LIGHT, MOST_LIGHT = 1e-20, 1e20
# Of the sum of its values' sizes: where these nearly cancel each other, what is left is rounding.
LEAST_PART = 1e-3
PLACES = 33
# A PSF that is larger than those that are made here ends where it has all but this part of its light, and not within so
# many FWHM: every pixel of it takes time, of every source.
LOST, LEAST_KEPT = 1e-4, 3


def read_psf(path: Path, shape: tuple[int, int]) -> Psf:
    """The PSF in a file, for an image of a shape (height, width).

    Raises InputError if it holds none, or one that no star has.
    """
    source = str(path)
    try:
        # Numbers of a stranger may be anything; what becomes of them is looked at in the end.
        with np.errstate(all="ignore"):
            psf = _read_psf(path, shape, source)
            _require_a_star(psf, source)
            psf = _without_empty_wings(psf)
    except MemoryError as problem:
        raise InputError(
            source, "memory ran out while its PSF was read", "use a machine with more memory, or make the PSF smaller"
        ) from problem
    return psf


def _read_psf(path: Path, shape: tuple[int, int], source: str) -> Psf:
    content = opened(path, source)
    beginning = beginning_of(content, source)
    if not beginning.startswith(FITS_BEGINNING):
        raise _refused(source, f"it holds no PSF: it is {kind_of(beginning)}")
    with failures_are_said(source), open_again(content) as file:
        hdus = hdus_of(file, source)
        own = next((hdu for hdu in hdus if TERMS in hdu.header), None)
        theirs = next((hdu for hdu in hdus if hdu.name == PSFEX_TABLE), None)
        if own is not None:
            return _own(file, own, shape, source)
        if theirs is not None:
            return _of_psfex(file, theirs, shape, source)
    raise _refused(source, "it holds no PSF")


def _require_a_star(psf: Psf, source: str) -> None:
    """Raises InputError where a PSF is not what a star's light can be, anywhere in the image."""
    height, width = psf.shape
    u = (np.linspace(0, width - 1, PLACES) - psf.zero[0]) / psf.scale[0]
    v = (np.linspace(0, height - 1, PLACES)[:, np.newaxis] - psf.zero[1]) / psf.scale[1]
    weights = np.array([u**i * v**j for i, j in psf.powers])
    light = np.tensordot(psf.samples.sum(axis=(1, 2)), weights, 1)
    sizes = np.tensordot(np.abs(psf.samples).sum(axis=(1, 2)), np.abs(weights), 1)
    # What is not a number is not greater than another.
    if not (sizes.max() < MOST_LIGHT and np.abs(weights).max() < MOST_LIGHT and light.min() > -MOST_LIGHT):
        raise _refused(source, "the values of its PSF are too large, or not numbers")
    if not (light > np.maximum(LEAST_LIGHT, LEAST_PART * sizes)).all():
        raise _refused(source, "its PSF has no light in some part of the image")
    if not LEAST_FWHM <= psf.fwhm <= psf.widest:
        bounds = f"from {LEAST_FWHM:g} to {psf.widest} in a PSF of this size"
        raise _refused(source, f"its PSF has a FWHM of {psf.fwhm:.2f} pixels; a star has one {bounds}")


def _without_empty_wings(psf: Psf) -> Psf:
    """A large PSF without the pixels around it that have none of its light, anywhere in the image."""
    half = psf.size // 2
    height, width = psf.shape
    away = np.abs(np.arange(psf.samples.shape[-1]) - half * psf.oversampling)
    ring = -(-np.maximum(away, away[:, np.newaxis]) // psf.oversampling)
    reach = max(MOST_REACH, math.ceil(LEAST_KEPT * psf.fwhm))
    for x in (0, width - 1):
        for y in (0, height - 1):
            light = np.cumsum(np.bincount(ring.ravel(), psf.samples_at(x, y).ravel()))
            outside = np.abs(1 - light / light[-1]) > LOST
            reach = max(reach, int(np.flatnonzero(outside).max(initial=-1)) + 1)
    if reach >= half:
        return psf
    kept = slice((half - reach) * psf.oversampling, (half + reach) * psf.oversampling + 1)
    return dataclasses.replace(psf, samples=psf.samples[:, kept, kept])


def _require_points(terms: int, side: int, source: str) -> None:
    """Raises InputError where the terms of a PSF have too many points."""
    if terms * side**2 > MOST_POINTS:
        raise InputError(
            source,
            f"its PSF is too large: {terms} x {side} x {side} points, and at most {MOST_POINTS} can be used",
            "make it smaller, or give it a lower degree (PSF_SIZE, PSFVAR_DEGREES of PSFEx)",
        )


def _own(file: BinaryIO, hdu: HDU, shape: tuple[int, int], source: str) -> Psf:
    """As writers/psf_files.py writes it."""
    header = hdu.header
    oversampling = _whole(header, OVERSAMPLING, 1, MOST_OVERSAMPLING, source)
    if len(hdu.shape) != 3 or hdu.shape[1] != hdu.shape[2] or (hdu.shape[1] - 1) % (2 * oversampling):
        raise _refused(source, "its PSF is not a square centred on a pixel")
    number = _whole(header, TERMS, 1, (MOST_DEGREE + 1) * (MOST_DEGREE + 2) // 2, source)
    if number != hdu.shape[0]:
        raise _refused(source, "its PSF does not have the size that its header gives")
    _require_points(number, hdu.shape[1], source)
    powers = tuple(_powers(text_of(header, f"{TERM}{n}"), source) for n in range(1, number + 1))
    (zero_x, zero_y), (scale_x, scale_y) = (
        tuple(_number(header, f"{name}{axis}", source) for axis in "XY") for name in (ZERO, SCALE)
    )
    if not (scale_x and scale_y):
        raise _refused(source, f"its {SCALE}X or {SCALE}Y is 0")
    samples = _read(file, hdu, math.prod(hdu.shape), ">f8" if hdu.bits == -64 else ">f4", source).reshape(hdu.shape)
    return Psf(samples, powers, (zero_x, zero_y), (scale_x, scale_y), shape, oversampling)


def _of_psfex(file: BinaryIO, hdu: HDU, shape: tuple[int, int], source: str) -> Psf:
    """As PSFEx writes it (its manual, "The PSF model file"): a table whose one cell has the terms of a polynomial.

    They are at points PSF_SAMP pixels apart, which become points of ours by a spline through them.
    """
    header = hdu.header
    width, height = (_whole(header, f"PSFAXIS{axis}", 3, MOST_SIDE, source) for axis in (1, 2))
    terms = _whole(header, "PSFAXIS3", 1, 10_000, source, default=1)
    axes = _whole(header, "POLNAXIS", 0, 10, source, default=0)
    degree = _whole(header, "POLDEG1", 0, MOST_DEGREE, source, default=0) if axes else 0
    names = [text_of(header, f"POLNAME{axis}") for axis in range(1, axes + 1)]
    powers = tuple((i, j) for j in range(degree + 1) for i in range(degree + 1 - j))
    if degree and not (axes == 2 and names[0].startswith("X") and names[1].startswith("Y")):
        raise _refused(source, f"its PSF varies with {', '.join(names)}, not with the place in the image")
    if len(powers) != terms or text_of(header, "TTYPE1") != "PSF_MASK":
        raise _refused(source, "it is not as PSFEx writes it")
    step = _number(header, "PSF_SAMP", source)
    step = step or 1.0
    if not 0.05 <= step <= 20:
        raise _refused(source, f"its points are {step:g} pixels apart")
    zero, scale = (0.0, 0.0), (1.0, 1.0)
    if degree:
        # FITS counts pixels from 1.
        zero = (_number(header, "POLZERO1", source) - 1, _number(header, "POLZERO2", source) - 1)
        scale = (_number(header, "POLSCAL1", source), _number(header, "POLSCAL2", source))
        if not (scale[0] and scale[1]):
            raise _refused(source, "its POLSCAL1 or POLSCAL2 is 0")
    pixels = _read(file, hdu, terms * height * width, ">f4", source).reshape(terms, height, width)
    _require_points(terms, max(height, width), source)
    above = max(int(np.count_nonzero(pixels[0] > pixels[0].max() / 2)), 1)
    oversampling = oversampling_for(2 * step * math.sqrt(above / math.pi))
    _require_points(terms, 2 * _reach(max(height, width), step) * oversampling + 1, source)
    samples = _at_our_points(pixels, step, oversampling)
    # Fluxes are those of all of its light; PSFEx has them in the aperture of its stars' fluxes.
    middle = ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    whole = float(Psf(samples, powers, zero, scale, shape, oversampling).samples_at(*middle).sum()) / oversampling**2
    return Psf(samples / whole if whole > 0 else samples, powers, zero, scale, shape, oversampling)


def _at_our_points(pixels: np.ndarray, step: float, oversampling: int) -> np.ndarray:
    """Terms (terms, height, width) at points `step` pixels apart around the middle one -> at points of ours."""
    terms, height, width = pixels.shape
    side = max(height, width) | 1
    square = np.zeros((terms, side, side))
    down, along = side // 2 - height // 2, side // 2 - width // 2
    square[:, down : down + height, along : along + width] = pixels
    half = _reach(side, step)
    place = np.arange(-half * oversampling, half * oversampling + 1) / (oversampling * step) + side // 2
    away = np.abs(place[:, np.newaxis] - np.arange(side))
    # The cubic B-spline.
    spline = np.where(away < 1, 2 / 3 - away**2 + away**3 / 2, np.maximum(2 - away, 0) ** 3 / 6)
    return np.einsum("pi,tij,qj->tpq", spline, spline_coefficients(square), spline, optimize=True)


def _reach(side: int, step: float) -> int:
    """How many pixels a PSF of `side` points, `step` pixels apart, reaches from its middle one."""
    return max(1, math.floor(side // 2 * step))


def _powers(text: str, source: str) -> tuple[int, int]:
    """Of a term such as 'x^1 y^0'."""
    parts = [part.partition("^") for part in text.split()]
    if [name for name, _, _ in parts] != ["x", "y"] or not all(power.isdecimal() for _, _, power in parts):
        raise _refused(source, f"{text!r} is not a term of its PSF")
    i, j = (int(power) for _, _, power in parts)
    if i + j > MOST_DEGREE:
        raise _refused(source, f"its PSF varies with the place to the power {i + j}")
    return i, j


def _read(file: BinaryIO, hdu: HDU, number: int, kind: str, source: str) -> np.ndarray:
    """The first numbers of an HDU, float64."""
    size = number * np.dtype(kind).itemsize
    file.seek(hdu.data_start)
    content = file.read(size) if size <= hdu.data_size else b""
    if len(content) != size:
        raise _refused(source, "it is cut off, or not as its header says")
    return np.frombuffer(content, kind).astype(np.float64)


def _whole(header: fits.Header, keyword: str, least: int, most: int, source: str, *, default: int | None = None) -> int:
    if keyword not in header and default is not None:
        return default
    number = whole_number_of(header, keyword)
    if number is None or not least <= number <= most:
        raise _refused(source, f"its {keyword} is not a whole number from {least} to {most}")
    return number


def _number(header: fits.Header, keyword: str, source: str) -> float:
    number = number_of(header, keyword, math.nan)
    if number is None or math.isnan(number):
        raise _refused(source, f"it has no {keyword}")
    return number


def _refused(source: str, problem: str) -> InputError:
    return InputError(source, problem, "give psf.fits of a run with --psf, or the .psf file of PSFEx")
