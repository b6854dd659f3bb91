"""Sources and a point spread function -> the flux that each would have as a star, fitted to all of them together.

The image is the sum of the stars' PSFs, so that neighbours share the light between them. Fluxes are linear, and so are
small steps of the positions with the slopes of the PSF: weighted least squares, whose normal equations are sparse
because a source overlaps few others. DAOPHOT (Stetson 1987, PASP 99, 191) fits group by group; here all sources of a
tile are one group, and those around it are fitted with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .columns import PhotometryFlag
from .correlation import LEAST_SHARE, Correlation
from .photometry import Measurable
from .processes import Workers
from .psf import Psf
from .room import Room
from .sky import Sky
from .spread import spreads
from .windows import Window

if TYPE_CHECKING:
    from scipy.sparse import csr_array

TILE = 1024
# A star is drawn to where it falls to this fraction of the noise of a pixel, but to this many FWHM at least.
FAINTEST, LEAST_REACH = 0.2, 2.0
# Positions (pixels): the expected offset from where a source was found, and the largest one allowed.
EXPECTED_STEP, LONGEST_STEP = 0.5, 1.0
STEPS = 2
# A source with less than this fraction of its light in usable pixels is not fitted.
LEAST_SEEN = 0.1
# The number of neighbours that count for the error of a flux: those that overlap most.
NEIGHBOURS = 6
TOLERANCE, MOST_ROUNDS = 1e-6, 300
LEAST_NOISE = 1e-6  # working units
# This many stars tell how uncertain the spread of bright ones is.
FEWEST_FOR_FLOOR = 10


@dataclass
class Fitted:
    """The fit of the sources, an entry each, in the working units of the image; NaN where there is none.

    `x`, `y` are the fitted positions, `flux` with its `error`, `chi2` the mean squared deviation in units of the noise,
    and `spread` with its error says whether a source is larger than the PSF (see `spread`).
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    error: np.ndarray
    chi2: np.ndarray
    spread: np.ndarray
    spread_error: np.ndarray

    @classmethod
    def none(cls, number: int) -> Fitted:
        """The fit without a PSF: NaN only."""
        return cls(*(np.full(number, np.nan) for _ in range(7)))

    def of(self, rows: np.ndarray) -> Fitted:
        """The fit of some sources."""
        return Fitted(*(values[rows] for values in vars(self).values()))


class Weights(NamedTuple):
    """The `pixels` of a window of an image and the `variance` of its sky, infinite for unusable pixels."""

    pixels: np.ndarray
    variance: np.ndarray


def fit_sources(
    image: Measurable,
    psf: Psf,
    x: np.ndarray,
    y: np.ndarray,
    flux: np.ndarray,
    workers: Workers,
    steps: int = STEPS,
) -> Fitted:
    """Fit all sources (N) together, found at `x`, `y`; `flux` is a first guess, in working units.

    Positions are fitted in this many `steps`. The result does not depend on the number of processes, since tiles depend
    on the image alone.
    """
    shape = image.sky.pixels.shape
    unusable = unusable_pixels(image, workers.room)
    scale = noise_factor(psf, image.correlation) ** 2
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    column, row = _pixels_of(x[known], y[known], shape)
    tiles = [tile for tile in _tiles(shape) if tile.holds(column, row).any()]

    def fit_tile(tile: Window) -> tuple[np.ndarray, Fitted]:
        around = tile.grown(psf.size, shape)
        near = around.holds(column, row)
        rows, of_tile = known[near], tile.holds(column[near], row[near])
        variance = image.sky.sigma_of(around).astype(np.float64) ** 2
        variance[around.of(unusable)] = np.inf
        data = Weights(around.of(image.sky.pixels), variance)
        fitted = _fit(data, around, image, psf, x[rows], y[rows], flux[rows], scale, steps)
        return rows[of_tile], fitted.of(np.flatnonzero(of_tile))

    found = Fitted.none(len(x))
    for rows, fitted in workers.map(fit_tile, tiles):
        for name, values in vars(fitted).items():
            vars(found)[name][rows] = values
    return found


def fit_catalog(
    image: Measurable, psf: Psf, catalog: Mapping[str, np.ndarray], stars: np.ndarray, workers: Workers
) -> Fitted:
    """Fit all sources of a catalog, in which the rows `stars` are stars.

    Errors of the spread are those from the noise, times the square root of chi^2 where that is above 1, as neighbours
    make it, and at least the uncertainty of the spread of bright stars.
    """
    found = fit_sources(image, psf, catalog["x_win"], catalog["y_win"], catalog["flux_auto"] / image.sky.unit, workers)
    found.spread_error *= np.sqrt(np.maximum(found.chi2, 1))
    spread, error = found.spread[stars], found.spread_error[stars]
    bright = np.isfinite(spread) & (error <= (np.nanmedian(error) if len(error) else 0))
    if np.count_nonzero(bright) >= FEWEST_FOR_FLOOR:
        middle = np.median(spread[bright])
        width = 1.4826 * np.median(np.abs(spread[bright] - middle))
        floor = np.sqrt(max(0.0, float(width**2 - np.median(error[bright] ** 2))))
        found.spread_error = np.hypot(found.spread_error, floor)
    return found


def columns_of(fitted: Fitted, unit: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The columns of the catalog by name, in the unit of the image, which is `unit` working units, and flags."""
    columns = {
        "flux_psf": fitted.flux * unit,
        "flux_psf_err": fitted.error * unit,
        "chi2_psf": fitted.chi2,
        "spread": fitted.spread,
        "spread_err": fitted.spread_error,
    }
    return columns, np.where(np.isfinite(fitted.flux), 0, PhotometryFlag.NO_PSF_FIT)


def model_of(fitted: Fitted, psf: Psf | None, sky: Sky, workers: Workers) -> np.ndarray:
    """The light of all sources fitted to the pixels of a sky (height, width), float32, in working units."""
    shape = sky.pixels.shape
    model = workers.room.shared(shape, np.float32)
    if psf is None:
        return model
    noise = max(sky.rms / sky.unit, LEAST_NOISE)
    good = np.isfinite(fitted.flux)
    x, y, flux = fitted.x[good], fitted.y[good], fitted.flux[good]

    def draw_tile(tile: Window) -> None:
        column, row = _pixels_of(x, y, shape)
        rows = np.flatnonzero(tile.grown(psf.size // 2, shape).holds(column, row))
        if len(rows):
            rows = rows[np.argsort(_reaches(psf, flux[rows], noise), kind="stable")]
            design = _design(tile, psf, np.array((x[rows], y[rows])), _reaches(psf, flux[rows], noise), slopes=False)[0]
            tile.of(model)[:] = (flux[rows] @ design).reshape(tile.of(model).shape)

    for _ in workers.map(draw_tile, _tiles(shape)):
        pass
    return model


def noise_factor(psf: Psf, correlation: Correlation) -> float:
    """The factor by which correlated pixels make the error of a flux larger than independent ones do.

    As in `correlation`, with the overlap of the PSF with itself moved by a lag.
    """
    if correlation.independent:
        return 1.0
    stamp = psf.stamps(*(np.array([each]) for each in psf.middle))[0].astype(np.float64)
    reach = int(max(np.abs(correlation.dx).max(), np.abs(correlation.dy).max()))
    padded = np.pad(stamp, reach)
    side = len(stamp)
    shared = [
        (stamp * padded[reach + dy : reach + dy + side, reach + dx : reach + dx + side]).sum()
        for dx, dy in zip(correlation.dx, correlation.dy, strict=True)
    ]
    excess = 2 * float((np.array(shared) * correlation.rho).sum()) / float((stamp**2).sum())
    return float(np.sqrt(correlation.level * max(1 + excess, LEAST_SHARE)))


def unusable_pixels(image: Measurable, room: Room) -> np.ndarray:
    """The pixels (height, width) excluded from the fit: masked and saturated ones."""
    masked, unusable = image.sky.masked, room.shared(image.sky.pixels.shape, bool)
    if masked is not None:
        unusable[:] = masked
    if image.saturated is not None:
        unusable.ravel()[image.saturated] = True
    return unusable


def _tiles(shape: tuple[int, int]) -> list[Window]:
    rows, columns = (
        [round(side * tile / number) for tile in range(number + 1)]
        for side, number in ((side, max(1, round(side / TILE))) for side in shape)
    )
    return [Window(*row, *column) for row in pairwise(rows) for column in pairwise(columns)]


def _pixels_of(x: np.ndarray, y: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The column and the row of the pixel that contains each position, or is nearest to it."""
    height, width = shape
    return np.clip(np.rint(x), 0, width - 1).astype(int), np.clip(np.rint(y), 0, height - 1).astype(int)


def _fit(
    data: Weights,
    window: Window,
    image: Measurable,
    psf: Psf,
    x: np.ndarray,
    y: np.ndarray,
    flux: np.ndarray,
    scale: float,
    steps: int,
) -> Fitted:
    """Fit the sources of a window."""
    if not np.isfinite(data.variance).any():
        return Fitted.none(len(x))
    noise = float(np.sqrt(np.median(data.variance)))
    reaches = _reaches(psf, flux, noise if np.isfinite(noise) else 1.0)
    order = np.argsort(reaches, kind="stable")
    reaches = reaches[order]
    start = np.array((x, y))[:, order]
    flux = np.nan_to_num(flux[order])
    pixels, variance = data.pixels.astype(np.float64).ravel(), data.variance.ravel()
    weight, at = 1 / variance, start
    for number in range(steps + 2 if steps else 1):
        design = _design(window, psf, at, reaches, slopes=0 < number <= steps)
        flux, step, normal = _solve(design, pixels, weight, flux)
        at = start + np.clip(at + step - start, -LONGEST_STEP, LONGEST_STEP)
        # In crowded fields, some of the sources' light has been taken for sky, or faint sources were not found.
        pixels -= np.median((pixels - flux @ design[0])[weight > 0])
    model = flux @ design[0]
    gain = image.working_gain
    of_light = np.zeros(len(model)) if gain is None else np.maximum(model, 0) / gain
    error = np.sqrt(_variances(normal) * (scale + _of_light(design[0], weight, of_light)))
    seen = (design[0] @ np.isfinite(variance).astype(np.float64)) >= LEAST_SEEN
    seen &= np.isfinite(error)
    left, total = ((each.reshape(data.pixels.shape)) for each in (pixels - model, variance + of_light))
    chi2, spread, spread_error = spreads(left, total, window, psf, at[0], at[1], flux)
    found = Fitted(at[0], at[1], flux, error, chi2, spread, spread_error * np.sqrt(scale))
    back = np.argsort(order, kind="stable")
    for name, values in vars(found).items():
        vars(found)[name] = np.where(seen, values, np.nan)[back]
    return found


def _reaches(psf: Psf, flux: np.ndarray, noise: float) -> np.ndarray:
    """The radius in pixels within which each source is drawn: one of three, by its flux."""
    stamp = psf.stamps(*(np.array([each]) for each in psf.middle))[0]
    whole = psf.size // 2
    least = min(whole, int(np.ceil(LEAST_REACH * psf.fwhm)))
    found = np.full(len(flux), whole)
    for reach in (min(whole, round(1.5 * least)), least):
        # The brightest pixel that would be left out.
        edge = max(stamp[whole - reach].max(), stamp[:, whole - reach].max(), stamp[whole + reach].max())
        found[flux * edge < FAINTEST * noise] = reach
    return found


def _design(window: Window, psf: Psf, at: np.ndarray, reaches: np.ndarray, *, slopes: bool) -> list[csr_array]:
    """The stamps of sources as rows (N, pixels of the window), and their slopes in x and y.

    The sources are `at` x and y (2, N), sorted by their reach.
    """
    from scipy.sparse import csr_array

    x, y = at
    height, width = window.bottom - window.top, window.right - window.left
    values: list[list[np.ndarray]] = [[] for _ in range(3 if slopes else 1)]
    indices: list[np.ndarray] = []
    for reach in np.unique(reaches):
        some = reaches == reach
        drawn = psf.stamps_and_slopes(x[some], y[some], reach) if slopes else (psf.middles(x[some], y[some], reach),)
        offset = np.arange(-reach, reach + 1)
        columns = np.rint(x[some]).astype(int)[:, np.newaxis] - window.left + offset
        rows = np.rint(y[some]).astype(int)[:, np.newaxis] - window.top + offset
        inside = ((rows >= 0) & (rows < height))[:, :, np.newaxis] & ((columns >= 0) & (columns < width))[:, np.newaxis]
        place = np.clip(rows, 0, height - 1)[:, :, np.newaxis] * width + np.clip(columns, 0, width - 1)[:, np.newaxis]
        indices.append(place.astype(np.int32).ravel())
        for kept, each in zip(values, drawn, strict=True):
            kept.append((each * inside).ravel())
    place = np.concatenate(indices)
    ends = np.concatenate(([0], np.cumsum((2 * reaches + 1) ** 2))).astype(np.int32)
    shape = (len(x), height * width)
    return [csr_array((np.concatenate(each), place, ends), shape=shape) for each in values]


def _solve(
    design: list[csr_array], pixels: np.ndarray, weight: np.ndarray, flux: np.ndarray
) -> tuple[np.ndarray, np.ndarray, csr_array]:
    """The fitted fluxes (N), the steps of the positions (2, N), and the matrix of the normal equations.

    Conjugate gradients, starting from the given fluxes. Steps are limited to the size expected: faint sources and those
    in close pairs would wander.
    """
    from scipy.sparse import diags_array, vstack
    from scipy.sparse.linalg import cg

    number = len(flux)
    root = np.sqrt(weight).astype(np.float32)
    weighted = [
        type(each)((each.data * root[each.indices], each.indices, each.indptr), shape=each.shape) for each in design
    ]
    rows = vstack(weighted, format="csr").astype(np.float64) if len(weighted) > 1 else weighted[0].astype(np.float64)
    normal = (rows @ rows.T).tocsr()
    vector = rows @ (root * pixels)
    diagonal = np.maximum(normal.diagonal(), 1e-30)
    if len(design) > 1:
        expected = 1 / (EXPECTED_STEP * np.maximum(np.abs(flux), 1e-6)) ** 2
        added = np.concatenate((np.zeros(number), expected, expected))
        normal = (normal + diags_array(added)).tocsr()
        diagonal = np.maximum(normal.diagonal(), 1e-30)
    start = np.concatenate((flux, np.zeros(len(vector) - number)))
    found, _ = cg(normal, vector, start, rtol=TOLERANCE, maxiter=MOST_ROUNDS, M=diags_array(1 / diagonal))
    step = np.zeros((2, number))
    if len(design) > 1:
        positive = found[:number] > 0
        step = np.where(positive, found[number:].reshape(2, number) / np.where(positive, found[:number], 1), 0)
        step = np.clip(step, -EXPECTED_STEP, EXPECTED_STEP)
    return found[:number], step, normal


def _of_light(stamps: csr_array, weight: np.ndarray, of_light: np.ndarray) -> np.ndarray:
    """The contribution of the light's own noise to the variances of fluxes, relative to the variances without it."""
    squared = type(stamps)((stamps.data.astype(np.float64) ** 2, stamps.indices, stamps.indptr), shape=stamps.shape)
    return np.asarray((squared @ (weight**2 * of_light)) / np.maximum(squared @ weight, 1e-300))


def _variances(normal: csr_array) -> np.ndarray:
    """The variance of each flux, from the inverse normal equations of the source and those that overlap it most."""
    number = normal.shape[0]
    diagonal = normal.diagonal()
    root = np.sqrt(np.maximum(diagonal, 1e-300))
    lengths = np.diff(normal.indptr)
    row = np.repeat(np.arange(number), lengths)
    overlap = np.abs(normal.data) / (root[row] * root[normal.indices])
    overlap[row == normal.indices] = -1
    order = np.lexsort((normal.indices, -overlap, row))
    place = np.arange(len(row)) - np.repeat(normal.indptr[:-1], lengths)
    first = place < NEIGHBOURS
    members = np.full((number, NEIGHBOURS + 1), -1)
    members[:, 0] = np.arange(number)
    members[row[order][first], place[first] + 1] = np.where(overlap[order][first] > 0, normal.indices[order][first], -1)
    there = members >= 0
    both = there[:, :, np.newaxis] & there[:, np.newaxis, :]
    a, b = np.broadcast_arrays(members[:, :, np.newaxis], members[:, np.newaxis, :])
    blocks = np.zeros(both.shape)
    blocks[both] = np.asarray(normal[a[both], b[both]]).ravel()
    scale = np.where(there, root[members], 1)
    blocks /= scale[:, :, np.newaxis] * scale[:, np.newaxis, :]
    blocks[:, range(NEIGHBOURS + 1), range(NEIGHBOURS + 1)] = 1 + 1e-9
    found = np.linalg.inv(blocks)[:, 0, 0] / np.maximum(diagonal, 1e-300)
    return np.where(diagonal > 0, np.maximum(found, 0), np.inf)
