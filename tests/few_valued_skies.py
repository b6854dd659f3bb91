"""Images of few distinct values whose sources are known: photon counts, and 8-bit pictures of little noise."""

from typing import NamedTuple

import numpy as np

PSF_SIGMA = 2.0  # pixels
SAME_SOURCE = 2.0  # pixels


class FewValued(NamedTuple):
    """`pixels` are whole numbers (height, width), `positions` of the sources (number, 2): x and y in pixels from 0."""

    pixels: np.ndarray
    positions: np.ndarray


class Found(NamedTuple):
    """How many of the sources were found, and how many of what was found is none."""

    right: int
    false: int


def photon_counts(background: float, seed: int, *, stars: bool = True) -> FewValued:
    """Photons in 512 x 512 pixels: `background` in each on average, and 64 stars of 30 to 2000."""
    random = np.random.default_rng(seed)
    places = range(40, 512, 60)
    positions = np.array([(x + random.uniform(-5, 5), y + random.uniform(-5, 5)) for x in places for y in places])
    fluxes = np.exp(random.uniform(np.log(30), np.log(2000), len(positions)))
    peaks = fluxes / (2 * np.pi * PSF_SIGMA**2)
    if not stars:
        positions, peaks = np.empty((0, 2)), np.empty(0)
    mean = background + _spots((512, 512), positions, peaks)
    return FewValued(random.poisson(mean).astype(np.int16), positions)


def eight_bit(noise: float, seed: int, *, background: float = 12.0, spots: bool = True) -> FewValued:
    """A picture of 256 grey levels: `noise` levels before it is rounded, and 25 spots of 60 levels."""
    random = np.random.default_rng(seed)
    shape = (400, 480)
    positions = np.array([(x, y) for x in range(40, 470, 90) for y in range(40, 390, 80)], dtype=float)
    if not spots:
        positions = np.empty((0, 2))
    levels = random.normal(background, noise, shape) + _spots(shape, positions, np.full(len(positions), 60.0))
    return FewValued(np.clip(np.round(levels), 0, 255).astype(np.uint8), positions)


def tally(found: np.ndarray, positions: np.ndarray) -> Found:
    """Compare what was found, (number, 2), with the true positions."""
    if not len(found) or not len(positions):
        return Found(0, len(found))
    away = np.hypot(*(found[:, None, axis] - positions[None, :, axis] for axis in (0, 1)))
    return Found(int((away.min(axis=0) < SAME_SOURCE).sum()), int((away.min(axis=1) >= SAME_SOURCE).sum()))


def _spots(shape: tuple[int, int], positions: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    y, x = np.indices(shape)
    image = np.zeros(shape)
    for (x0, y0), peak in zip(positions, peaks, strict=True):
        image += peak * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * PSF_SIGMA**2))
    return image
