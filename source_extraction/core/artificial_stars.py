"""Stars that are put into an image, to see which of them are found again."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..settings import DetectionOptions
from .detection import find_sources
from .processes import Workers
from .sky import Sky
from .threshold import Threshold
from .tiles import is_tiled

if TYPE_CHECKING:
    from .psf import Psf

# A star is found where a source is within so many pixels of it.
MATCH = 1.5
# At a time as many as change a field little: this share of its sources, or this number where it is more ...
MOST_SHARE, LEAST_AT_A_TIME = 0.04, 20
# ... but each has a square of at least so many FWHM to itself, so that they do not hide each other.
ROOM = 6
SEED = 20
MOST_PHOTONS = 1e18  # of a pixel, as far as random numbers go; their noise is less than a digit there
# The numbers whose multiples fill a square most evenly: 1 / g and 1 / g^2, where g^3 = g + 1 (M. Roberts 2018, "The
# unreasonable effectiveness of quasirandom sequences"). Of n in a row, none are nearer than 0.5 / sqrt(n).
EVENLY = np.array([0.7548776662466927, 0.5698402909980532])


@dataclass(frozen=True)
class Stars:
    """Artificial stars: positions in pixels from 0, fluxes in the image's unit, and whether each was found."""

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    found: np.ndarray

    @classmethod
    def joined(cls, parts: list[Stars]) -> Stars:
        """The stars of all parts."""
        nothing = np.empty(0)
        none = cls(nothing, nothing, nothing, np.empty(0, dtype=bool))
        columns = ("x", "y", "flux", "found")
        return cls(*(np.concatenate([getattr(part, name) for part in (none, *parts)]) for name in columns))


@dataclass
class StarSearch:
    """The detection of a run, done again on its image with stars in it.

    The stars are the `psf` times their fluxes, added to the background-subtracted pixels, with Poisson noise where the
    `gain` (electrons per unit of the image) is known. Background and threshold stay those of the image itself: so few
    stars hardly change them. `progress` is told how many images have been searched.
    """

    sky: Sky
    psf: Psf
    kernel: np.ndarray | None
    threshold: Threshold
    options: DetectionOptions
    workers: Workers
    gain: float | None = None
    progress: Callable[[int], object] = lambda _: None

    def __post_init__(self) -> None:
        self.images = 0  # searched so far
        self._places = evenly_spread(self.sky.pixels.shape, self.sky.masked)

    def at_a_time(self, sources: int) -> int:
        """How many stars an image takes that has so many sources."""
        masked = self.sky.masked
        pixels = self.sky.pixels.size if masked is None else np.count_nonzero(~masked)
        room = int(pixels / (ROOM * self.psf.fwhm) ** 2)
        return max(1, min(room, max(LEAST_AT_A_TIME, int(MOST_SHARE * sources))))

    def look_for(self, fluxes: np.ndarray, at_a_time: int) -> Stars:
        """Put stars of these fluxes into as few images as it takes, and look for them.

        The result depends on what was looked for before, but not on the number of processes.
        """
        number = math.ceil(len(fluxes) / at_a_time)
        images = []
        for image, some in enumerate(np.array_split(fluxes, number), self.images):
            x, y = np.array([next(self._places) for _ in some]).T
            images.append((image, x, y, some))
        # A large image is shared out in tiles: an image for each process would take too much memory.
        tiled = is_tiled(self.sky.pixels.shape)
        alone = Workers(1, self.workers.room)
        inner, outer = (self.workers, alone) if tiled else (alone, self.workers)
        parts = []
        for found in outer.map(lambda image: self._find(*image, inner), images):
            parts.append(found)
            self.images += 1
            self.progress(self.images)
        return Stars.joined([Stars(x, y, some, found) for (_, x, y, some), found in zip(images, parts, strict=True)])

    def _find(self, image: int, x: np.ndarray, y: np.ndarray, fluxes: np.ndarray, workers: Workers) -> np.ndarray:
        """Which stars are found where all of them are in one image.

        What is near a star counts as the star if it was not there before: if the light that was there, weighed by the
        PSF, is less than the star's (both together are then less than 0.75 magnitudes brighter than the star).
        """
        there = np.empty(len(x))
        with_stars = copy.copy(self.sky)
        with_stars.pixels = self.workers.room.empty(self.sky.pixels.shape, self.sky.pixels.dtype)
        with_stars.pixels[:] = self.sky.pixels
        random = np.random.default_rng((SEED, image))
        for star, stamp in enumerate(self.psf.stamps(x, y)):
            window, own = overlap(x[star], y[star], stamp, self.sky)
            there[star] = (own * self.sky.pixels[window]).sum() / max((own**2).sum(), 1e-30) * self.sky.unit
            with_stars.pixels[window] += self._light(own * fluxes[star], random) / np.float32(self.sky.unit)
        sources = find_sources(with_stars, self.kernel, self.threshold, self.options, workers)
        return is_near(x, y, sources["x"], sources["y"]) & (there < fluxes)

    def _light(self, light: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The light of a star in the image's unit, with its noise where that is known."""
        if self.gain is None:
            return light
        expected = np.minimum(np.maximum(light, 0).astype(np.float64) * self.gain, MOST_PHOTONS)
        return light + ((random.poisson(expected) - expected) / self.gain).astype(np.float32)


def faintest_flux(search: StarSearch) -> float:
    """The flux of a star in the middle of the image that the threshold just lets through; 0 where none does.

    Of its filtered pixels as many as a source needs are then above the threshold, without any noise.
    """
    height, width = search.sky.pixels.shape
    stamp = search.psf.stamps(np.array([(width - 1) / 2]), np.array([(height - 1) / 2]))[0]
    filtered = stamp if search.kernel is None else _filtered(stamp, search.kernel, matched=search.threshold.matched)
    least = np.sort(filtered, axis=None)[::-1][min(search.options.minarea, filtered.size) - 1]
    return search.threshold.median / float(least) if least > 0 < search.threshold.median else 0.0


def _filtered(stamp: np.ndarray, kernel: np.ndarray, *, matched: bool) -> np.ndarray:
    """A stamp as SEP filters it; `matched`: in units of the noise of the filtered image, if each pixel's is 1."""
    (rows, columns), size = kernel.shape, len(stamp)
    padded = np.pad(stamp, ((rows // 2, rows // 2), (columns // 2, columns // 2)))
    found = sum(
        weight * padded[row : row + size, column : column + size] for (row, column), weight in np.ndenumerate(kernel)
    )
    return found / (np.sqrt((kernel**2).sum()) if matched else kernel.sum())


def overlap(x: float, y: float, stamp: np.ndarray, sky: Sky) -> tuple[tuple[slice, slice], np.ndarray]:
    """The pixels of an image that a stamp covers, and the stamp there, 0 where masked."""
    height, width = sky.pixels.shape
    top, left = (round(place) - len(stamp) // 2 for place in (y, x))
    rows, columns = slice(max(top, 0), top + len(stamp)), slice(max(left, 0), left + len(stamp))
    own = stamp[rows.start - top : height - top, columns.start - left : width - left]
    window = rows, columns
    return window, own if sky.masked is None else np.where(sky.masked[window], np.float32(0), own)


def is_near(x: np.ndarray, y: np.ndarray, of_x: np.ndarray, of_y: np.ndarray) -> np.ndarray:
    """Whether one of the places `of_x`, `of_y` is within `MATCH` pixels of each `x`, `y`."""
    order = np.argsort(of_y)
    of_x, of_y = of_x[order], of_y[order]
    first, end = np.searchsorted(of_y, y - MATCH), np.searchsorted(of_y, y + MATCH, "right")
    return np.array(
        [
            bool((np.hypot(of_x[a:b] - one_x, of_y[a:b] - one_y) <= MATCH).any())
            for one_x, one_y, a, b in zip(x, y, first, end, strict=True)
        ],
        dtype=bool,
    )


def evenly_spread(shape: tuple[int, int], masked: np.ndarray | None) -> Iterator[tuple[float, float]]:
    """Places x, y (pixels from 0) in the pixels that are not masked, without an end."""
    height, width = shape
    # The image lies with its longer side along the step that is nearer to the golden section.
    step = EVENLY if width >= height else EVENLY[::-1]
    place = np.array([0.5, 0.5])
    while True:
        place = (place + step) % 1
        x, y = place * (width, height) - 0.5
        if masked is None or not masked[min(round(y), height - 1), min(round(x), width - 1)]:
            yield float(x), float(y)
