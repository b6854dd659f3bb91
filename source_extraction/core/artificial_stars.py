"""Artificial stars: added to an image to see which of them are found again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .contact_sheet import ContactSheet
from .detection import Detector
from .processes import Workers
from .sky import Sky
from .star_windows import StarWindows
from .tiles import is_tiled
from .windows import Window, cut_out

if TYPE_CHECKING:
    from .psf import Psf

# A star counts as found if a source is within this many pixels of it.
MATCH = 1.5
# Light fainter than this fraction of the noise of a pixel is left out.
FAINTEST = 0.01
# The largest window searched for a single star (pixels).
LARGEST_WINDOW = 2**20
# The cost of a star searched for alone, and of each source, in pixels; a star's window comes on top.
WORK_OF_STAR, WORK_OF_SOURCE = 10_000, 5000
STAMPS_AT_A_TIME = 256
# The stars that share a sheet: at most so many, and so many pixels in their windows.
STARS_OF_SHEET, PIXELS_OF_SHEET = 60, 2**17
# Only as many stars at a time as change a field little: this share of its sources, or this number if that is more ...
MOST_SHARE, LEAST_AT_A_TIME = 0.04, 20
# ... but each has a square of at least this many FWHM to itself, so that they do not hide each other.
ROOM = 6
SEED = 20
MOST_PHOTONS = 1e18  # per pixel: the limit of the random numbers; the noise is below the last digit there
# The steps whose multiples fill a square most evenly: 1 / g and 1 / g^2, where g^3 = g + 1 (M. Roberts 2018, "The
# unreasonable effectiveness of quasirandom sequences"). No two of n successive points are nearer than 0.5 / sqrt(n).
EVENLY = np.array([0.7548776662466927, 0.5698402909980532])
GOLDEN = (math.sqrt(5) - 1) / 2  # the same for an interval


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


class Light(NamedTuple):
    """The light of a star in an image: `values` in a `window` of its pixels, in working units."""

    window: Window
    values: np.ndarray


@dataclass
class StarSearch:
    """A run's detection, repeated on its image with stars added.

    The stars are the `psf` times their fluxes, added to the background-subtracted pixels, with Poisson noise where the
    `gain` (electrons per unit of the image) is known. Background and threshold stay those of the original image, since
    a few stars hardly change them. `progress` is called with the number of stars searched for.

    Each star is alone in an image, and only the window that it can affect is searched (`star_windows`).
    Where that is much of the image, because a very large source is there, several stars share one image.
    """

    detector: Detector
    psf: Psf
    gain: float | None = None
    progress: Callable[[int], object] = lambda _: None

    def __post_init__(self) -> None:
        # Stars searched for so far, and the work that took, in pixels.
        self.stars, self.work = 0, 0
        self._places = Places(self.sky.pixels.shape, self.sky.masked)
        self._random = np.random.default_rng(SEED)

    @property
    def sky(self) -> Sky:
        """The sky that the stars are added to."""
        return self.detector.sky

    @cached_property
    def windows(self) -> StarWindows:
        """The windows to search, wherever a star is put."""
        return self.detector.star_windows()

    def at_a_time(self, sources: int) -> int:
        """How many stars to put into one image that has `sources` sources."""
        masked = self.sky.masked
        pixels = self.sky.pixels.size if masked is None else np.count_nonzero(~masked)
        room = int(pixels / (ROOM * self.psf.fwhm) ** 2)
        return max(1, min(room, max(LEAST_AT_A_TIME, int(MOST_SHARE * sources))))

    def look_for(self, fluxes: np.ndarray, at_a_time: int) -> Stars:
        """Put stars of these fluxes into images, at most `at_a_time` into one, and search for them.

        Which star goes where is not left to chance: those of about the same flux get an even sample of the light that
        is at the places already, since it decides where a star can be found.

        A source near a star counts as the star unless it was there before: the light already there, weighted by the
        PSF, must be less than the star's (the two together are then less than 0.75 magnitudes brighter than the star).

        The result depends on earlier searches, but not on the number of processes.
        """
        x, y = self._places.next(len(fluxes))
        there = self._light_at(x, y)
        fluxes = evenly_paired(fluxes, there)
        lights = self._added(x, y, fluxes)
        windows = self.windows.around([light.window for light in lights])
        together = self._together(np.array([window.size for window in windows]), at_a_time)
        visible = there < fluxes
        found = np.zeros(len(fluxes), bool)
        self._note(int(np.count_nonzero(~visible)), 0)
        self._look_for_each(np.flatnonzero(visible & ~together), x, y, lights, windows, found)
        self._look_for_all(np.flatnonzero(visible & together), x, y, lights, at_a_time, found)
        return Stars(x, y, fluxes, found)

    def _light_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The flux of the image at some places, weighted by the core of the PSF, in the image's unit."""
        sky, light = self.sky, np.empty(len(x))
        for first in range(0, len(x), STAMPS_AT_A_TIME):
            some = slice(first, first + STAMPS_AT_A_TIME)
            weights = self.psf.middles(x[some], y[some], math.ceil(self.psf.fwhm))
            around = x[some], y[some], weights.shape[1] // 2
            seen = cut_out(sky.pixels, *around, outside=np.nan)
            bad = np.isnan(seen) if sky.masked is None else cut_out(sky.masked, *around, outside=True)
            weights[bad] = seen[bad] = 0
            light[some] = (weights * seen).sum(axis=(1, 2)) / np.maximum((weights**2).sum(axis=(1, 2)), 1e-30)
        return light * sky.unit

    def _added(self, x: np.ndarray, y: np.ndarray, fluxes: np.ndarray) -> list[Light]:
        """The light of stars, cut off where it is far below the noise."""
        lights: dict[int, Light] = {}
        reaches = self._reaches(fluxes)
        order = np.argsort(reaches, kind="stable")
        for first in range(0, len(order), STAMPS_AT_A_TIME):
            some = order[first : first + STAMPS_AT_A_TIME]
            half = int(reaches[some[-1]])
            stamps = self.psf.middles(x[some], y[some], half)
            stamps *= fluxes[some].astype(np.float32)[:, np.newaxis, np.newaxis]
            for star, stamp in zip(some.tolist(), stamps, strict=True):
                middle = slice(half - reaches[star], half + reaches[star] + 1)
                window, own = overlap(x[star], y[star], stamp[middle, middle], self.sky)
                lights[star] = Light(window, self._light(own) / np.float32(self.sky.unit))
        return [lights[star] for star in range(len(order))]

    def _reaches(self, fluxes: np.ndarray) -> np.ndarray:
        """How many pixels from their middle one stars of these fluxes are drawn."""
        brighter = self._profile[np.newaxis] * fluxes[:, np.newaxis] > FAINTEST * self.sky.rms
        return np.where(brighter.any(axis=1), brighter.shape[1] - 1 - np.argmax(brighter[:, ::-1], axis=1), 0)

    @cached_property
    def _profile(self) -> np.ndarray:
        """The brightest pixel of the PSF at each distance along rows or columns, wherever a star is."""
        height, width = self.sky.pixels.shape
        # Between pixels it is brightest farther out.
        x, y = (np.floor([0, side / 2, side - 1]) + 0.5 for side in (width, height))
        stamps = self.psf.stamps(*(each.ravel() for each in np.meshgrid(x, y))).max(axis=0)
        along, half = np.maximum(stamps.max(axis=0), stamps.max(axis=1)), len(stamps) // 2
        return np.maximum(along[half:], along[half::-1])

    def _light(self, light: np.ndarray) -> np.ndarray:
        """The light of a star in the image's unit, with its Poisson noise where the gain is known."""
        if self.gain is None:
            return light
        expected = np.minimum(np.maximum(light, 0).astype(np.float64) * self.gain, MOST_PHOTONS)
        return light + ((self._random.poisson(expected) - expected) / self.gain).astype(np.float32)

    def _together(self, sizes: np.ndarray, at_a_time: int) -> np.ndarray:
        """Which stars share images, given the sizes of the windows that they would need alone."""
        whole = self.sky.pixels.size
        large = sizes > min(whole / at_a_time, LARGEST_WINDOW)
        few = sizes[large].sum() <= math.ceil(np.count_nonzero(large) / at_a_time) * whole
        return large & (sizes > LARGEST_WINDOW) if few else large

    def _look_for_each(
        self,
        stars: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        lights: list[Light],
        windows: list[Window],
        found: np.ndarray,
    ) -> None:
        """Search for each of some stars in a window of its own, many windows at a time."""

        def look_for_together(some: np.ndarray) -> tuple[np.ndarray, int]:
            sheet, sources = self._searched(some, lights, windows)
            near = is_near(*sheet.positions(x[some], y[some]), sources["x"], sources["y"])
            return near, WORK_OF_STAR * len(some) + work_of(sheet.size, len(sources))

        def look_for(some: np.ndarray) -> tuple[np.ndarray, int]:
            if not self.detector.threshold.matched:
                return look_for_together(some)
            # SEP's matched filter takes pixels beyond the image otherwise than masked ones.
            near, work = zip(*map(look_for_together, np.array_split(some, len(some))), strict=True)
            return np.concatenate(near), sum(work)

        parts = list(_sheets(stars, windows))
        for part, (are_found, work) in zip(parts, self.detector.workers.map(look_for, parts), strict=True):
            found[part] = are_found
            self._note(len(part), work)

    def _searched(
        self, stars: np.ndarray, lights: list[Light], windows: list[Window]
    ) -> tuple[ContactSheet, np.ndarray]:
        """The windows of some stars on a sheet, and the sources there, with positions on the sheet."""
        of_stars = [windows[star] for star in stars.tolist()]
        sheet = ContactSheet(of_stars, self.windows.apart(of_stars))
        pixels = sheet.of(lambda window: window.of(self.sky.pixels), 0, np.float32)
        for number, star in enumerate(stars.tolist()):
            sheet.moved(number, lights[star].window).of(pixels)[:] += lights[star].values
        return sheet, self.detector.extract.on(sheet, pixels).sources

    def _look_for_all(
        self,
        stars: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        lights: list[Light],
        at_a_time: int,
        found: np.ndarray,
    ) -> None:
        """Search for some stars in as few images as possible."""
        # A large image is shared out in tiles: an image for each process would take too much memory.
        tiled = is_tiled(self.sky.pixels.shape)
        alone = Workers(1, self.detector.workers.room)
        inner, outer = (self.detector.workers, alone) if tiled else (alone, self.detector.workers)

        def look_for(some: np.ndarray) -> tuple[np.ndarray, int]:
            pixels = self.detector.workers.room.empty(self.sky.pixels.shape, self.sky.pixels.dtype)
            pixels[:] = self.sky.pixels
            for star in some.tolist():
                lights[star].window.of(pixels)[:] += lights[star].values
            sources = replace(self.detector.with_pixels(pixels), workers=inner).sources()
            return is_near(x[some], y[some], sources["x"], sources["y"]), work_of(pixels.size, len(sources))

        parts = np.array_split(stars, math.ceil(len(stars) / at_a_time)) if len(stars) else []
        for part, (are_found, work) in zip(parts, outer.map(look_for, parts), strict=True):
            found[part] = are_found
            self._note(len(part), work)

    def _note(self, stars: int, work: int) -> None:
        self.stars += stars
        self.work += work
        self.progress(self.stars)


def _sheets(stars: np.ndarray, windows: Sequence[Window]) -> Iterator[np.ndarray]:
    """Divide stars into those whose windows, of about the same size, can share a sheet."""
    longest = np.array([windows[star].longest for star in stars.tolist()], dtype=int)
    part: list[int] = []
    pixels = 0
    for star in stars[np.argsort(longest, kind="stable")].tolist():
        if part and (pixels + windows[star].size > PIXELS_OF_SHEET or len(part) == STARS_OF_SHEET):
            yield np.array(part)
            part, pixels = [], 0
        part.append(star)
        pixels += windows[star].size
    if part:
        yield np.array(part)


def work_of(pixels: int, sources: int) -> int:
    """The cost of a detection, in pixels: deblending and measuring the sources takes longer than the rest."""
    return pixels + WORK_OF_SOURCE * sources


def evenly_paired(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The values, one for each of `at`, so ordered that successive ones have an even sample of `at`, and vice versa."""
    pairs = np.empty(len(values), int)
    # Successive multiples of the golden section fill the interval 0 to 1 evenly.
    pairs[np.argsort(np.arange(len(values)) * GOLDEN % 1, kind="stable")] = np.argsort(at, kind="stable")
    paired = np.empty(len(values))
    paired[pairs] = np.sort(values)
    return paired


def faintest_flux(search: StarSearch) -> float:
    """The flux of a star in the middle of the image that the threshold just lets through; 0 where none does.

    Without any noise, just as many of its filtered pixels as a source needs are then above the threshold.
    """
    detector = search.detector
    height, width = detector.sky.pixels.shape
    stamp = search.psf.stamps(np.array([(width - 1) / 2]), np.array([(height - 1) / 2]))[0]
    kernel, threshold = detector.kernel, detector.threshold
    filtered = stamp if kernel is None else _filtered(stamp, kernel, matched=threshold.matched)
    least = np.sort(filtered, axis=None)[::-1][min(detector.options.minarea, filtered.size) - 1]
    return threshold.median / float(least) if least > 0 < threshold.median else 0.0


def _filtered(stamp: np.ndarray, kernel: np.ndarray, *, matched: bool) -> np.ndarray:
    """A stamp as SEP filters it; if `matched`, in units of the noise of the filtered image, for pixels of noise 1."""
    (rows, columns), size = kernel.shape, len(stamp)
    padded = np.pad(stamp, ((rows // 2, rows // 2), (columns // 2, columns // 2)))
    found = sum(
        weight * padded[row : row + size, column : column + size] for (row, column), weight in np.ndenumerate(kernel)
    )
    return found / (np.sqrt((kernel**2).sum()) if matched else kernel.sum())


def overlap(x: float, y: float, stamp: np.ndarray, sky: Sky) -> tuple[Window, np.ndarray]:
    """The window of an image that a stamp covers, and the stamp there, 0 where masked."""
    half = len(stamp) // 2
    row, column = round(y), round(x)
    window = Window(row, row + 1, column, column + 1).grown(half, sky.pixels.shape)
    own = window.moved(half - row, half - column).of(stamp)
    return window, own if sky.masked is None else np.where(window.of(sky.masked), np.float32(0), own)


def is_near(x: np.ndarray, y: np.ndarray, of_x: np.ndarray, of_y: np.ndarray) -> np.ndarray:
    """Whether each `x`, `y` is within `MATCH` pixels of one of the positions `of_x`, `of_y`."""
    from scipy.spatial import KDTree

    distance, _ = KDTree(np.column_stack((of_x, of_y))).query(np.column_stack((x, y)))
    return np.asarray(distance <= MATCH)


class Places:
    """An endless sequence of positions in unmasked pixels, evenly spread over an image of `shape` (height, width)."""

    def __init__(self, shape: tuple[int, int], masked: np.ndarray | None) -> None:
        height, width = shape
        self._size, self._masked, self._number = np.array([width, height]), masked, 0
        # The longer side of the image takes the step that is nearer to the golden section.
        self._step = EVENLY if width >= height else EVENLY[::-1]

    def next(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The next ones: x and y in pixels from 0 (`number` each)."""
        found = np.empty((0, 2))
        while len(found) < number:
            numbers = self._number + 1 + np.arange(number - len(found))
            self._number += len(numbers)
            places = (0.5 + numbers[:, np.newaxis] * self._step) % 1 * self._size - 0.5
            if self._masked is not None:
                columns, rows = np.minimum(np.rint(places).astype(int), self._size - 1).T
                places = places[~self._masked[rows, columns]]
            found = np.concatenate((found, places))
        return found[:, 0], found[:, 1]
