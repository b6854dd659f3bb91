"""Sources with known light on the noise of stacks: of images that were dithered, turned, and resampled.

Resampling is linear, so the stack of exposures is the stack of their noise and that of their light. The noise here has
been through the exposures; the light, which is known then, is drawn on the stack.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import affine_transform, map_coordinates

from tests.simulated_sky import RECORD, add_source

EXPOSURES = 8
LANCZOS = 3
# Drizzled pixels are half as large as those of the exposures, drops have this part of an exposure's pixel (pixfrac).
FINER, DROP = 2, 1.0


@dataclass
class Stack:
    """`pixels` is the `light` and noise of standard deviation 1 (height, width), `truth` the sources, see RECORD."""

    pixels: np.ndarray
    light: np.ndarray
    truth: np.ndarray


def simulate_stack(kind: str, side: int, seed: int) -> Stack:
    """A field of `side` x `side` pixels with sources that are alone, a jittered grid of them.

    `kind` is one of KINDS. Fluxes are such that the S/N of most lies between 10 and 100.
    """
    random = np.random.default_rng(seed)
    noise, fwhm, faintest = KINDS[kind](side, random), *SIZES.get(kind, (3.5, 100.0))
    noise /= np.nanstd(noise)
    spacing = round(9 * fwhm)
    places = np.arange(spacing, side - spacing, spacing)
    y, x = (each.ravel() for each in np.meshgrid(places, places, indexing="ij"))
    truth = np.zeros(len(x), dtype=RECORD)
    truth["x"], truth["y"] = (each + random.uniform(-1, 1, len(x)) for each in (x, y))
    truth["flux"] = faintest * 20 ** random.uniform(size=len(x))
    truth["galaxy"] = random.uniform(size=len(x)) < 0.3
    truth["radius"] = np.where(truth["galaxy"], fwhm * random.uniform(0.6, 1, len(x)), fwhm / 2)
    truth["ratio"] = np.where(truth["galaxy"], random.uniform(0.4, 1, len(x)), 1)
    truth["theta"] = np.where(truth["galaxy"], random.uniform(-np.pi / 2, np.pi / 2, len(x)), 0)
    light = np.zeros((side, side))
    for source in truth:
        add_source(light, source, fwhm)
    return Stack((noise + light).astype(np.float32), light.astype(np.float32), truth)


def white(side: int, random: np.random.Generator) -> np.ndarray:
    """One exposure, as it is."""
    return random.normal(size=(side, side))


def bilinear(side: int, random: np.random.Generator) -> np.ndarray:
    """Exposures interpolated between the four nearest pixels, as most do."""
    return _mean(side, random, 1, lambda exposure, matrix, shift: affine_transform(exposure, matrix, shift, order=1))


def finer_bilinear(side: int, random: np.random.Generator) -> np.ndarray:
    """The same on pixels half as large."""
    return _mean(side, random, 2, lambda exposure, matrix, shift: affine_transform(exposure, matrix, shift, order=1))


def lanczos3(side: int, random: np.random.Generator) -> np.ndarray:
    """Exposures interpolated as SWarp does by default."""
    return _mean(side, random, 1, _lanczos)


def drizzled(side: int, random: np.random.Generator) -> np.ndarray:
    """Exposures drizzled on pixels half as large, by STScI's package."""
    from drizzle.resample import Drizzle

    image = Drizzle(kernel="square", out_shape=(side, side))
    for matrix, shift in _geometries(random):
        # Where each pixel of the exposure falls on the stack.
        own = _own_side(side, FINER)
        pixels = np.stack(np.meshgrid(np.arange(own), np.arange(own), indexing="ij"))
        centre = (side - 1) / 2, (own - 1) / 2
        turned = np.tensordot(matrix, pixels - centre[1], axes=1) * FINER + centre[0] + shift[:, None, None]
        exposure = random.normal(size=(own, own)).astype(np.float32)
        image.add_image(exposure, exptime=1.0, pixmap=np.stack((turned[1], turned[0]), axis=-1), pixfrac=DROP)
    return image.out_img.astype(np.float64)


KINDS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "white": white,
    "lanczos3": lanczos3,
    "bilinear": bilinear,
    "drizzled": drizzled,
    "finer_bilinear": finer_bilinear,
}
# FWHM of the stars in pixels, and the faintest flux, where they are others.
SIZES = {
    "lanczos3": (3.5, 110.0),
    "bilinear": (3.5, 150.0),
    "drizzled": (7.0, 400.0),
    "finer_bilinear": (7.0, 600.0),
}


def _mean(
    side: int,
    random: np.random.Generator,
    finer: int,
    resample: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """The mean of exposures that are resampled to pixels `finer` times as small."""
    total, own = np.zeros((side, side)), _own_side(side, finer)
    for matrix, shift in _geometries(random):
        # Pixels of the stack on the exposure, about their centres.
        inverse = matrix.T / finer
        offset = (own - 1) / 2 - inverse @ np.full(2, (side - 1) / 2) + shift
        total += resample(random.normal(size=(own, own)), inverse, offset)[:side, :side]
    return total / EXPOSURES


def _geometries(random: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """How each exposure is turned, by up to 5 degrees, and shifted."""
    angles = np.radians(random.uniform(-5, 5, EXPOSURES))
    return [
        (np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]), random.uniform(-2, 2, 2))
        for angle in angles
    ]


def _own_side(side: int, finer: int) -> int:
    """Of exposures that cover the stack however they are turned."""
    return int(1.15 * side / finer) + 32


def _lanczos(exposure: np.ndarray, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """An exposure at the pixels that an affine map says, as `affine_transform` gives it."""
    side = len(exposure)
    pixels = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"))
    y, x = np.tensordot(matrix, pixels, axes=1) + offset[:, None, None]
    found, weights = np.zeros_like(exposure), np.zeros_like(exposure)
    for row in range(1 - LANCZOS, LANCZOS + 1):
        for column in range(1 - LANCZOS, LANCZOS + 1):
            at_y, at_x = np.floor(y) + row, np.floor(x) + column
            weight = _lanczos_weight(y - at_y) * _lanczos_weight(x - at_x)
            found += weight * map_coordinates(exposure, (at_y, at_x), order=0, mode="mirror")
            weights += weight
    return found / weights


def _lanczos_weight(distance: np.ndarray) -> np.ndarray:
    return np.where(np.abs(distance) < LANCZOS, np.sinc(distance) * np.sinc(distance / LANCZOS), 0)
