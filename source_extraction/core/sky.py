"""An Image -> the Sky: background and noise estimated, pixels ready for detection.

SEP computes in float32 and some of its rules depend on the unit of the pixels: variances of an
image in erg/s/cm2/A underflow, and its deblending compares with 1. So it is given *working pixels*:
the image times the power of two that brings the global background RMS into [1, 2). Powers of two
change no digit, and every result is scaled back, so a run does not depend on the unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..settings import BackgroundOptions
from .image import Image
from .in_order import in_the_middle
from .mesh import Mesh, estimate_mesh
from .processes import Workers
from .room import Room
from .windows import Map, Window, strips

# The pedestal of an image is removed in float64 if float32 resolves the noise less finely than this: at a thousandth of
# the noise, which is enough to find sources, their fluxes are already wrong by as much.
PRECISION_OF_NOISE = 1e-5
# Floor of the RMS map, in global RMS: the spline through the mesh can overshoot to zero and below.
RMS_FLOOR = 0.01
# In working units: the RMS of an image without any noise, instead of zero.
LEAST_RMS = 1e-6
# In an image of few values no source has a peak lower than this, in steps between values above the background: its
# pixels would be due to the rounding of a smooth background, and are up to half a step above it.
LEAST_PEAK = 0.75
# Working pixels are clipped here: SEP takes anything below -1e30 for masked, and float32 ends at 3e38.
BRIGHTEST = 1e29
# This many pixels are enough for the median and the spread of an image.
SAMPLE_SIZE = 1_000_000
EXACT_IN_FLOAT32 = (np.float32, np.float16, np.int16, np.uint16, np.int8, np.uint8)
FLOAT32_EXPONENTS = 120  # powers of two up to these are float32


@dataclass
class NoiseMap:
    """The noise of every pixel, as supplied with an image.

    `rms` are standard deviations (height, width), float64, in the image's units; `invalid` is True where there is none,
    and `rms` is 1 there. `source` is the map's name in messages; `remarks` are about how its file was read.
    """

    source: str
    rms: np.ndarray
    invalid: np.ndarray
    remarks: tuple[str, ...] = ()

    def good(self) -> Iterator[np.ndarray]:
        """The noise of all valid pixels, some at a time."""
        height, width = self.rms.shape
        return (window.of(self.rms)[~window.of(self.invalid)] for window in strips((height, width)))

    @property
    def number_of_good(self) -> int:
        """The number of valid pixels."""
        return self.invalid.size - int(np.count_nonzero(self.invalid))

    @property
    def median(self) -> float:
        """The median noise of all valid pixels."""
        return float(np.median(in_the_middle(self.good, self.number_of_good)))


@dataclass
class Sky:
    """A background-subtracted image in working units, and its background.

    `pixels` (float32, C order) is 0 where `masked` is True, and gone once released; `masked` is None if all are good. A
    working unit is `unit` (a power of two) in the image's own. `background` and `rms` are the global values in the
    image's units. `noise_map` is the noise map supplied with the image.
    """

    pixels: np.ndarray
    masked: np.ndarray | None
    unit: float
    background: float
    rms: float
    _mesh: Mesh
    _mesh_unit: float
    _pedestal: float
    noise_map: NoiseMap | None = None
    remarks: tuple[str, ...] = ()  # sentences for the log: how background and noise were estimated

    @property
    def background_map(self) -> Map:
        """The background, float32, in the image's units."""
        return Map(
            self._mesh.shape,
            np.dtype(np.float32),
            lambda window: _scaled(self._mesh.background_of(window), self._mesh_unit, self._pedestal),
        )

    @property
    def rms_map(self) -> Map:
        """The background RMS, float32, in the image's units, floored at `RMS_FLOOR` of the global RMS."""
        return Map(self._mesh.shape, np.dtype(np.float32), lambda window: self.rms_of(window) * np.float32(self.unit))

    @property
    def sigma_map(self) -> Map:
        """The noise of every pixel, float32, in the image's units, 0 where masked."""
        return Map(self._mesh.shape, np.dtype(np.float32), lambda window: self.sigma_of(window) * np.float32(self.unit))

    @property
    def subtracted(self) -> Map:
        """The background-subtracted image, float32, in the image's units, NaN where masked."""
        return Map(self._mesh.shape, np.dtype(np.float32), self._subtracted_of)

    def sigma_of(self, window: Window) -> np.ndarray:
        """Standard deviation of every pixel of a window, float32, in working units, 0 where masked.

        From the noise map supplied with the image, else the background RMS.
        """
        if self.noise_map is None:
            sigma = self.rms_of(window)
        else:
            sigma = np.clip(window.of(self.noise_map.rms) / self.unit, LEAST_RMS, BRIGHTEST).astype(np.float32)
        if self.masked is not None:
            sigma[window.of(self.masked)] = 0
        return sigma

    def rms_of(self, window: Window) -> np.ndarray:
        """The background RMS of every pixel of a window, float32, in working units, floored like `rms_map`."""
        rms = self._mesh.rms_of(window)
        rms *= np.float32(self._mesh_unit / self.unit)
        return np.maximum(rms, self._rms_floor, out=rms)

    def whole_sigma(self, room: Room) -> np.ndarray:
        """The noise of every pixel (height, width), as in `sigma_of`, as an array in `room`."""
        return Map(self._mesh.shape, np.dtype(np.float32), self.sigma_of).whole(room)

    @property
    def number_of_good(self) -> int:
        """The number of good pixels."""
        height, width = self._mesh.shape
        return height * width - (0 if self.masked is None else int(np.count_nonzero(self.masked)))

    def good_sigma(self) -> Iterator[np.ndarray]:
        """The noise of all good pixels, float32, in working units, some at a time."""
        return (self._good(window, self.sigma_of(window)) for window in strips(self._mesh.shape))

    def background_rms_over_noise(self) -> float:
        """The background RMS in units of the noise map: the median of their ratio over the good pixels."""
        if self.noise_map is None:
            return 1.0
        noise, rms = self.noise_map.rms, self.rms_map

        def ratios() -> Iterator[np.ndarray]:
            return (self._good(window, rms.of(window) / window.of(noise)) for window in strips(self._mesh.shape))

        return float(np.median(in_the_middle(ratios, self.number_of_good)))

    def _good(self, window: Window, values: np.ndarray) -> np.ndarray:
        """The values of the good pixels of a window."""
        return values.ravel() if self.masked is None else values[~window.of(self.masked)]

    def _subtracted_of(self, window: Window) -> np.ndarray:
        pixels = window.of(self.pixels) * np.float32(self.unit)
        if self.masked is not None:
            pixels[window.of(self.masked)] = np.nan
        return pixels

    def release_pixels(self) -> None:
        """Free the memory of `pixels` for good."""
        del self.pixels

    @property
    def step(self) -> float | None:
        """The step between the image's values, in its unit, if it has few distinct ones; None if many, or only one."""
        return self._mesh.step * self._mesh_unit if self._mesh.step else None

    @property
    def least_peak(self) -> float:
        """The lowest peak that a source may have, in working units; 0 if there is no limit."""
        return LEAST_PEAK * (self.step or 0) / self.unit

    @property
    def rms_is_sep_s(self) -> bool:
        """Whether the background RMS is SEP's, which the wings of sources raise by a few per cent."""
        return self._mesh.step is None

    def floored(self) -> np.ndarray:
        """The good pixels in which the RMS map is at its floor because the mesh is lower: flat indices."""
        windows = self._mesh.where_noise_may_fall_to(float(self._rms_floor) * self.unit / self._mesh_unit)
        return np.concatenate([np.zeros(0, dtype=np.int64), *map(self._floored_of, windows)])

    def _floored_of(self, window: Window) -> np.ndarray:
        floored = self.rms_of(window) == self._rms_floor
        y, x = np.nonzero(floored if self.masked is None else floored & ~window.of(self.masked))
        return (y + window.top) * self._mesh.shape[1] + x + window.left

    @property
    def _rms_floor(self) -> np.float32:
        return np.float32(max(RMS_FLOOR * self.rms / self.unit, LEAST_RMS))


def estimate_background(
    image: Image,
    masked: np.ndarray | None,
    options: BackgroundOptions,
    noise_map: NoiseMap | None = None,
    *,
    without: np.ndarray | None = None,
    keep_pixels: bool = False,
    workers: Workers | None = None,
) -> Sky:
    """Estimate the background mesh of an image and, if the options say so, subtract it.

    The image's pixels are released, unless they are borrowed or `keep_pixels`: their memory may become the sky's.

    `masked` (height, width) is True where a pixel is to be left out, or None; it must include pixels that are not
    finite and those that `noise_map` calls invalid. `without` (height, width), or None, is True where a pixel tells
    nothing about the background, such as one of a source.
    """
    centre, spread = _centre_and_spread(image.pixels, masked)
    pedestal = centre if options.subtract_background and _float32_spacing(centre) > PRECISION_OF_NOISE * spread else 0.0
    # First a scale from the spread of the pixels, so that SEP's own estimate cannot under- or overflow ...
    exponent = _exponent_to_one(spread)
    keep_pixels = keep_pixels or image.borrowed
    workers = workers or Workers(1)
    pixels = _working_pixels(image.pixels, pedestal, exponent, workers.room, in_place=not keep_pixels)
    if not keep_pixels:
        image.release_pixels()
    mesh_unit = math.ldexp(1.0, -exponent)
    left_out = masked if without is None else without
    if masked is not None and without is not None:
        left_out = np.logical_or(masked, without, out=workers.room.empty(masked.shape, bool))
    mesh = estimate_mesh(pixels, left_out, options, math.ldexp(options.fthresh, exponent), workers)
    if options.subtract_background:
        mesh.subtract_from(pixels)
    # ... then the scale that the estimate asks for.
    refinement = _exponent_to_one(mesh.rms)
    if refinement:
        pixels *= np.float32(2.0**refinement)
    if masked is not None:
        pixels[masked] = 0
    return Sky(
        pixels=pixels,
        masked=masked,
        unit=math.ldexp(mesh_unit, -refinement),
        background=mesh.background * mesh_unit + pedestal,
        rms=mesh.rms * mesh_unit,
        _mesh=mesh,
        _mesh_unit=mesh_unit,
        _pedestal=pedestal,
        noise_map=noise_map,
        remarks=_remarks(mesh, mesh_unit),
    )


def _remarks(mesh: Mesh, unit: float) -> tuple[str, ...]:
    """What the log says of a mesh that differs from SEP's; its unit is `unit` in the image's own."""
    said = []
    if mesh.step:
        said.append(
            f"Few distinct values, {mesh.step * unit:.4g} apart: background and RMS are the clipped mean and standard "
            "deviation of each mesh cell, since SEP's estimate needs many values"
        )
    if mesh.pooled:
        said.append(
            "No cell of the background mesh has half of its pixels: background and RMS are those of all valid pixels, "
            "the same everywhere; a smaller mesh (--bw, --bh) follows the image"
        )
    return tuple(said)


def missing_pixels(pixels: np.ndarray, room: Room) -> np.ndarray | None:
    """True where a pixel is NaN or infinite, as an array in `room`; None if there are none."""
    if pixels.dtype.kind != "f":
        return None
    if all(np.isfinite(window.of(pixels)).all() for window in strips((pixels.shape[0], pixels.shape[1]))):
        return None
    missing = np.isfinite(pixels, out=room.empty(pixels.shape, bool))
    return np.logical_not(missing, out=missing)


def _centre_and_spread(pixels: np.ndarray, masked: np.ndarray | None) -> tuple[float, float]:
    """Median and robust standard deviation (half the central 68 %) of a regular sample."""
    step = max(1, math.isqrt(pixels.size // SAMPLE_SIZE))
    sample = pixels[::step, ::step]
    if masked is not None:
        sample = sample[~masked[::step, ::step]]
        if not sample.size:
            sample = pixels[~masked]
    low, centre, high = _percentiles(sample, (15.87, 50, 84.13))
    spread = (high - low) / 2
    if not spread:
        # Most pixels share one value: the others set the scale, outside the sample too.

        def away() -> Iterator[np.ndarray]:
            for window in strips((pixels.shape[0], pixels.shape[1])):
                good = window.of(pixels) if masked is None else window.of(pixels)[~window.of(masked)]
                distance = np.abs(good.astype(np.float64) - centre)
                yield distance[distance > 0]

        number = sum(map(len, away()))
        spread = float(np.median(in_the_middle(away, number))) if number else 0.0
    return float(centre), float(spread)


def _percentiles(values: np.ndarray, shares: tuple[float, ...]) -> list[float]:
    """The result of np.percentile on float64, in a twentieth of its time, by sorting float32."""
    in_order, found = np.sort(values, axis=None), []
    for share in shares:
        place = (len(in_order) - 1) * (share / 100)
        below = math.floor(place)
        low, high = (float(in_order[at]) for at in (below, min(below + 1, len(in_order) - 1)))
        beyond = place - below
        found.append(high - (high - low) * (1 - beyond) if beyond >= 0.5 else low + (high - low) * beyond)
    return found


def _exponent_to_one(value: float) -> int:
    """The power of two that brings a value into [1, 2); 0 for 0."""
    return 1 - math.frexp(value)[1] if value > 0 else 0


def _float32_spacing(value: float) -> float:
    """The distance to the next float32, also for values beyond the range of float32."""
    return math.ldexp(1.0, math.frexp(value)[1] - 24) if value else 0.0


def _working_pixels(pixels: np.ndarray, pedestal: float, exponent: int, room: Room, *, in_place: bool) -> np.ndarray:
    """(pixels - pedestal) * 2^exponent as float32 in C order, rounded once, within `BRIGHTEST`."""
    in_place = in_place and pixels.dtype == np.float32 and pixels.dtype.isnative and pixels.flags.carray
    working = pixels if in_place else room.empty(pixels.shape, np.float32)
    # float32 holds these values, and a power of two changes none of their digits.
    exact = pixels.dtype in EXACT_IN_FLOAT32 and not pedestal and abs(exponent) < FLOAT32_EXPONENTS
    for window in strips((pixels.shape[0], pixels.shape[1])):
        rows = slice(window.top, window.bottom)
        if exact:
            with np.errstate(over="ignore"):
                block = np.multiply(pixels[rows], np.float32(2.0**exponent), out=working[rows], dtype=np.float32)
            np.clip(block, -BRIGHTEST, BRIGHTEST, out=block)
            continue
        block = np.subtract(pixels[rows], pedestal, dtype=np.float64)
        np.ldexp(block, exponent, out=block)
        working[rows] = np.clip(block, -BRIGHTEST, BRIGHTEST, out=block)
    return working


def _scaled(values: np.ndarray, unit: float, offset: float = 0.0) -> np.ndarray:
    """values * unit + offset, in place where float32 can do it exactly."""
    if offset:
        return (values.astype(np.float64) * unit + offset).astype(np.float32)
    values *= np.float32(unit)
    return values
