"""Stars -> their point spread function.

An effective PSF (Anderson & King 2000, PASP 112, 1360): the residuals of the stars from the model, moved to the stars'
centres, are averaged with clipping and added to the model; then positions and fluxes are fitted again, and so on. If
there are enough stars, every point of the model varies linearly over the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .psf import Psf, spline_coefficients, splines_along

# The model reaches this many FWHM from its centre; positions and fluxes are fitted within the second number.
REACH, CORE = 4.5, 1.5
LEAST_REACH, MOST_REACH = 6, 50
# At least this many points per FWHM: a spline through fewer is not the PSF.
POINTS_A_FWHM, MOST_OVERSAMPLING = 4.5, 4
ROUNDS = 6
# As a fraction of a star's flux: no star counts as better known, so that the brightest do not dominate the model.
LEAST_ERROR = 0.01
# In standard deviations, which include the noise and this fraction of the model, which no model gets right.
CLIP, OF_THE_MODEL = 4.0, 0.03
ENOUGH_FOR_SLOPES = 30
CONSTANT, LINEAR = ((0, 0),), ((0, 0), (1, 0), (0, 1))
# Beyond this many FWHM it is round, and varies as it does where the seam begins; the seam's width is in pixels.
WINGS, SEAM, WIDTH_OF_SEAM = 2.0, 1.75, 2.0
# Beyond this many FWHM, pixels of faint and bright stars show the residual sky level, if it is this many errors large
# and the stars' fluxes differ by at least this fraction.
FAR, LEVEL_IN_ERRORS, LEAST_RANGE = 3.0, 2.0, 0.3
# The sum of the model is known to this fraction from the pixels within a radius; beyond, a smooth profile takes over.
SURE = 0.003
# Exponents of such a profile (Moffat 1969, A&A 3, 455).
EXPONENTS = np.arange(1.5, 6.1, 0.1)


@dataclass
class Stars:
    """Star data, an entry each: the pixels (n, side, side) have the star in the middle one.

    `pixels` are in units of the image, `sigma` is their noise, 0 for unused ones; `x`, `y` are the positions in the
    image, and `flux` a first guess.
    """

    pixels: np.ndarray
    sigma: np.ndarray
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray

    def __len__(self) -> int:
        return len(self.x)


def reach_of(fwhm: float) -> int:
    """How many pixels a model extends from its middle one."""
    return int(np.clip(np.ceil(REACH * fwhm), LEAST_REACH, MOST_REACH))


def oversampling_for(fwhm: float) -> int:
    """How many points per pixel a model needs."""
    return int(np.clip(np.ceil(POINTS_A_FWHM / fwhm), 1, MOST_OVERSAMPLING))


def make_psf(stars: Stars, fwhm: float, shape: tuple[int, int], rounds: int = ROUNDS) -> tuple[Psf, np.ndarray]:
    """The PSF of stars in an image of this shape (height, width), and their residuals, in units of their flux.

    `fwhm` is a first guess in pixels, refined in this many `rounds`. The positions and fluxes of the stars are replaced
    by the fitted ones.
    """
    oversampling = oversampling_for(fwhm)
    half = stars.pixels.shape[1] // 2
    powers = LINEAR if len(stars) >= ENOUGH_FOR_SLOPES else CONSTANT
    zero, scale = ((shape[1] - 1) / 2, (shape[0] - 1) / 2), (max(shape[1], 2) / 2, max(shape[0], 2) / 2)
    places = np.arange(-half * oversampling, half * oversampling + 1) / oversampling
    samples = np.zeros((len(powers), len(places), len(places)))
    distance = np.hypot(places, places[:, np.newaxis])
    samples[0] = _moffat(distance, fwhm, 3.0)

    def psf() -> Psf:
        return Psf(samples.copy(), powers, zero, scale, shape, oversampling)

    terms = np.array([((stars.x - zero[0]) / scale[0]) ** i * ((stars.y - zero[1]) / scale[1]) ** j for i, j in powers])
    for number in range(rounds):
        model = psf()
        left = _fit(stars, model, CORE * fwhm)
        if number == 0:
            stars.pixels -= stars.pixels.dtype.type(_left_of_the_sky(stars, fwhm))
            left = _fit(stars, model, CORE * fwhm)
        samples += _average(stars, left, terms, samples[0], oversampling, clip=number >= 2)
        wings = _wings(stars, left + model.stamps(stars.x, stars.y), distance, model.fwhm)
        share = np.clip((distance - WINGS * fwhm) / WIDTH_OF_SEAM + 0.5, 0, 1)
        # They vary as the parts inside them do.
        beside = np.abs(distance - SEAM * fwhm) < WIDTH_OF_SEAM / 2
        for term in range(1, len(samples)):
            ratio = samples[term][beside].sum() / samples[0][beside].sum()
            samples[term] += share * (wings * ratio - samples[term])
        samples[0] += share * (wings - samples[0])
        samples /= samples[0].sum() / oversampling**2
    return psf(), _fit(stars, psf(), CORE * fwhm)


def _fit(stars: Stars, psf: Psf, radius: float) -> np.ndarray:
    """Set the stars' fluxes and positions to the fitted ones; returns the residuals (n, side, side), per flux."""
    stamps, in_x, in_y = psf.stamps_and_slopes(stars.x, stars.y)
    weight = _weights_of(stars, radius)
    columns = (stamps, in_x, in_y)
    matrix = np.array([[np.einsum("nij,nij,nij->n", a, b, weight) for a in columns] for b in columns])
    vector = np.array([np.einsum("nij,nij,nij->n", a, stars.pixels, weight) for a in columns])
    matrix[range(3), range(3)] += 1e-30
    found = np.linalg.solve(matrix.transpose(2, 0, 1), vector.T[..., np.newaxis])[..., 0]
    flux = found[:, 0]
    good = flux > 0
    middle_x, middle_y = np.rint(stars.x), np.rint(stars.y)
    for place, middle, step in ((stars.x, middle_x, found[:, 1]), (stars.y, middle_y, found[:, 2])):
        # Within the middle pixel of the cutout.
        moved = place + np.clip(step / np.where(good, flux, np.inf), -0.5, 0.5)
        place[:] = np.clip(moved, middle - 0.499, middle + 0.499)
    stars.flux[:] = np.where(good, flux, stars.flux)
    stamps = psf.stamps(stars.x, stars.y)
    return np.where(stars.sigma > 0, stars.pixels / stars.flux[:, np.newaxis, np.newaxis] - stamps, 0)


def _weights_of(stars: Stars, radius: float) -> np.ndarray:
    """1 / variance of the pixels within a radius of the stars, 0 elsewhere."""
    half = stars.pixels.shape[1] // 2
    along = np.arange(-half, half + 1)
    dx, dy = ((along - (place - np.rint(place))[:, np.newaxis]) for place in (stars.x, stars.y))
    inside = dx[:, np.newaxis, :] ** 2 + dy[:, :, np.newaxis] ** 2 <= radius**2
    known = inside & (stars.sigma > 0)
    return known / np.where(known, stars.sigma, 1) ** 2


def _average(
    stars: Stars, left: np.ndarray, terms: np.ndarray, model: np.ndarray, oversampling: int, *, clip: bool
) -> np.ndarray:
    """The mean residual of the stars: the change of the model's samples (terms, side, side)."""
    dx, dy = stars.x - np.rint(stars.x), stars.y - np.rint(stars.y)
    known = _at_points((stars.sigma > 0).astype(np.float32), dx, dy, oversampling, nearest=True) > 0.5
    moved = _at_points(left.astype(np.float32), dx, dy, oversampling)
    relative = np.where(stars.sigma > 0, stars.sigma, 0).max(axis=(1, 2)) / stars.flux
    if clip:
        sigma = np.hypot(relative[:, np.newaxis, np.newaxis], OF_THE_MODEL * model)
        away = (moved - np.median(moved, axis=0)) / sigma
        known &= np.abs(away) < CLIP
    # The relative precision of the stars: the noise of a pixel in units of a typical one of the core.
    core = np.sqrt((model**2).sum()) / oversampling
    weight = 1 / ((relative / core) ** 2 + LEAST_ERROR**2)
    weights = known * weight[:, np.newaxis, np.newaxis].astype(np.float32)
    number = len(terms)
    matrix = np.array(
        [[np.einsum("n,nij->ij", terms[a] * terms[b], weights) for a in range(number)] for b in range(number)]
    )
    vector = np.array([np.einsum("n,nij->ij", term, weights * moved) for term in terms])
    # Points that no star covers do not change.
    matrix[range(number), range(number)] += 1e-6 * weight.sum()
    change = np.linalg.solve(matrix.transpose(2, 3, 0, 1), vector.transpose(1, 2, 0)[..., np.newaxis])[..., 0]
    return change.transpose(2, 0, 1)


def _at_points(
    values: np.ndarray, dx: np.ndarray, dy: np.ndarray, oversampling: int, *, nearest: bool = False
) -> np.ndarray:
    """Values in pixels (n, side, side), at the points of a model whose middle is dx, dy off the middle pixel (n)."""
    number, side, _ = values.shape
    margin = 3
    padding = ((0, 0), (margin, margin), (margin, margin))
    coefficients = np.pad(values if nearest else spline_coefficients(values), padding).astype(np.float32)
    points = oversampling * (side - 1) + 1
    found = np.zeros((number, points, points), np.float32)
    for down in range(oversampling):
        for along in range(oversampling):
            row, column = margin + dy + down / oversampling, margin + dx + along / oversampling
            if nearest:
                row, column = np.rint(row), np.rint(column)
            rows, columns = side - (down > 0), side - (along > 0)
            if nearest:
                part = np.array(
                    [
                        each[int(r) : int(r) + rows, int(c) : int(c) + columns]
                        for each, r, c in zip(coefficients, row, column, strict=True)
                    ]
                )
            else:
                part = splines_along(coefficients, row, count=rows)
                part = splines_along(part.swapaxes(1, 2), column, count=columns).swapaxes(1, 2)
            found[:, down::oversampling, along::oversampling] = part
    return found


def _wings(stars: Stars, light: np.ndarray, distance: np.ndarray, fwhm: float) -> np.ndarray:
    """The model at given distances from its middle in the wings, from the `light` of stars of flux 1.

    The median of the stars' medians in rings, which neighbours do not change; where that is too uncertain for the sum
    of the model, the profile that fits it.
    """
    half = light.shape[1] // 2
    along = np.arange(-half, half + 1)
    rings = np.rint(np.hypot(along, along[:, np.newaxis])).astype(int)
    radius = np.arange(max(1, round(0.5 * fwhm)), half + 1)
    pixels = np.where(stars.sigma > 0, light, np.nan)
    noise = np.where(stars.sigma > 0, stars.sigma, 0).max(axis=(1, 2)) / stars.flux
    weight = 1 / (noise**2 + np.median(noise) ** 2 / 4)
    of_rings = [_of_ring(pixels[:, rings == each], weight) for each in radius]
    profile, error = (np.array(each) for each in zip(*of_rings, strict=True))
    around = 2 * np.pi * radius
    of_sum = np.sqrt(np.cumsum(np.where(radius > WINGS * fwhm, around * error, 0) ** 2))
    sure = np.isfinite(of_sum) & ((of_sum < SURE) | (radius <= WINGS * fwhm)) & np.isfinite(profile)
    sure &= np.cumsum(~sure) == 0
    relative = np.hypot(error, OF_THE_MODEL * profile)[sure]
    fits = []
    for exponent in EXPONENTS:
        shape = _moffat(radius.astype(float), fwhm, exponent)
        scale = ((shape * profile)[sure] / relative**2).sum() / (shape[sure] ** 2 / relative**2).sum()
        rest = (((profile - scale * shape)[sure] / relative) ** 2).sum()
        fits.append((float(rest), float(exponent), float(scale)))
    _, exponent, scale = min(fits)
    ratio = np.where(sure, profile / (scale * _moffat(radius.astype(float), fwhm, exponent)), 1)
    return np.asarray(np.interp(distance, radius, ratio) * scale * _moffat(distance, fwhm, exponent))


def _left_of_the_sky(stars: Stars, fwhm: float) -> float:
    """The flux-independent level of pixels far from stars: in crowded fields, light of sources has been taken for sky.

    It is the level of a line through the medians of the stars' rings against their fluxes.
    """
    half = stars.pixels.shape[1] // 2
    along = np.arange(-half, half + 1)
    distance = np.hypot(along, along[:, np.newaxis])
    far = (distance > FAR * fwhm) & (distance <= half)
    pixels = np.where(stars.sigma > 0, stars.pixels, np.nan)[:, far]
    known = np.isfinite(pixels).sum(axis=1) > pixels.shape[1] / 2
    if np.count_nonzero(known) < ENOUGH_FOR_SLOPES:
        return 0.0
    level, flux = np.nanmedian(pixels[known], axis=1), stars.flux[known]
    used = np.ones(len(level), bool)
    at_zero = error = 0.0
    for _ in range(ROUNDS):
        middle, span = flux[used].mean(), np.square(flux[used] - flux[used].mean()).sum()
        if span < np.count_nonzero(used) * (LEAST_RANGE * middle) ** 2:
            return 0.0  # stars of equal brightness cannot tell
        slope = ((flux[used] - middle) * level[used]).sum() / span
        at_zero = level[used].mean() - slope * middle
        away = np.abs(level - at_zero - slope * flux)
        error = 1.4826 * np.median(away) * np.sqrt(1 / np.count_nonzero(used) + middle**2 / span)
        used = away <= 3 * 1.4826 * np.median(away)
    return float(at_zero) if abs(at_zero) > LEVEL_IN_ERRORS * error else 0.0


def _of_ring(pixels: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """The weighted median of the medians of stars (n, pixels of a ring), and its error; NaN if none is known."""
    known = np.isfinite(pixels).any(axis=1)
    if not known.any():
        return np.nan, np.nan
    medians, weight = np.nanmedian(pixels[known], axis=1), weight[known]
    order = np.argsort(medians, kind="stable")
    below = np.cumsum(weight[order])
    middle = medians[order][np.searchsorted(below, below[-1] / 2)]
    away = np.abs(medians - middle)
    order = np.argsort(away, kind="stable")
    below = np.cumsum(weight[order])
    spread = 1.4826 * away[order][np.searchsorted(below, below[-1] / 2)]
    return float(middle), float(1.25 * spread * np.sqrt((weight**2).sum()) / weight.sum())


def _moffat(distance: np.ndarray, fwhm: float, exponent: float) -> np.ndarray:
    """The Moffat profile with a sum of 1 in the plane."""
    core = fwhm / (2 * np.sqrt(2 ** (1 / exponent) - 1))
    return np.asarray((1 + (distance / core) ** 2) ** -exponent * (exponent - 1) / (np.pi * core**2))
