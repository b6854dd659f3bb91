"""An image and its catalog -> the point spread function, from the image's own stars.

It is made first from stars whose neighbours' pixels are left out, then from stars whose neighbours' fitted light is
subtracted: faint wings of neighbours would make the wings of the PSF too bright, by one per cent in crowded images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .photometry import Measurable
from .processes import Workers
from .psf import Psf
from .psf_model import Stars, make_psf, reach_of
from .psf_photometry import fit_sources, model_of, unusable_pixels
from .psf_stars import FEWEST, LEAST_SNR
from .windows import cut_out

# More star pixels than this are not needed; the brightest stars supply them.
MOST_PIXELS = 1_500_000
# The first PSF serves only to subtract neighbours.
ROUNDS_OF_FIRST = 4
# The log's message if there is no PSF.
TOO_FEW = (
    f"it needs at least {FEWEST} stars, isolated sources with an S/N above {LEAST_SNR:g} and without a flag that are "
    "as large as most of these, and {number} could be such; --psf_file FILE takes a PSF that was made before"
)


@dataclass
class StarsOfPsf:
    """The stars that a PSF was made from, an entry each: `label`, `x`, `y` and `snr`.

    `light` (n, size, size) are their pixels without neighbours, in units of their fluxes, NaN where not used, and
    `left` are the residuals of the PSF.
    """

    label: np.ndarray
    x: np.ndarray
    y: np.ndarray
    snr: np.ndarray
    light: np.ndarray
    left: np.ndarray


def psf_from_stars(
    image: Measurable, segmentation: np.ndarray, catalog: Mapping[str, np.ndarray], rows: np.ndarray, workers: Workers
) -> tuple[Psf, StarsOfPsf] | tuple[None, None]:
    """The PSF of an image and the stars it is made from, among the `rows` of its catalog; None if they show none.

    `segmentation` is the map of the catalog's labels.
    """
    if len(rows) < FEWEST:
        return None, None
    fwhm = 2 * float(np.median(catalog["flux_radius"][rows]))
    half = reach_of(fwhm)
    most = max(FEWEST, MOST_PIXELS // (2 * half + 1) ** 2)
    rows = np.sort(rows[np.argsort(-catalog["snr"][rows], kind="stable")[:most]])
    shape, unit = segmentation.shape, image.sky.unit
    sigma = image.sky.whole_sigma(workers.room)
    sigma[unusable_pixels(image, workers.room)] = 0
    x, y, flux = catalog["x_win"].copy(), catalog["y_win"].copy(), catalog["flux_auto"] / unit
    places = x[rows], y[rows]
    own = cut_out(segmentation, *places, half)
    noise = cut_out(sigma, *places, half)
    noise[(own != 0) & (own != catalog["label"][rows][:, np.newaxis, np.newaxis])] = 0
    stars = Stars(cut_out(image.sky.pixels, *places, half), noise, x[rows].copy(), y[rows].copy(), flux[rows])
    first = make_psf(stars, fwhm, shape, ROUNDS_OF_FIRST)[0]
    if not is_one(first):
        return None, None
    near = _near(x, y, rows, first.size)
    fitted = fit_sources(image, first, x[near], y[near], flux[near], workers, steps=0)
    light = model_of(fitted, first, image.sky, workers)
    ours = np.searchsorted(near, rows)
    known = np.isfinite(fitted.flux[ours])
    rows, ours = rows[known], ours[known]
    if len(rows) < FEWEST:
        return None, None
    places, flux = (x[rows], y[rows]), fitted.flux[ours]
    pixels = cut_out(image.sky.pixels, *places, half) - cut_out(light, *places, half)
    pixels += flux.astype(np.float32)[:, np.newaxis, np.newaxis] * first.stamps(*places)
    stars = Stars(pixels, cut_out(sigma, *places, half), x[rows].copy(), y[rows].copy(), flux.copy())
    psf, left = make_psf(stars, first.fwhm, shape)
    if not is_one(psf):
        return None, None
    light = np.where(stars.sigma > 0, left + psf.stamps(stars.x, stars.y), np.nan)
    return psf, StarsOfPsf(catalog["label"][rows], stars.x, stars.y, catalog["snr"][rows], light, left)


def is_one(psf: Psf) -> bool:
    """Whether a model is plausible as a PSF: finite, and brightest near its middle, all over the image."""
    height, width = psf.shape
    for x in (0, width - 1):
        for y in (0, height - 1):
            samples = psf.samples_at(x, y)
            middle, reach = samples.shape[0] // 2, 2 * psf.oversampling
            core = samples[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
            if not np.isfinite(samples).all() or samples.sum() <= 0 or core.max() < samples.max():
                return False
    return True


def _near(x: np.ndarray, y: np.ndarray, rows: np.ndarray, distance: float) -> np.ndarray:
    """The rows of all sources near the given ones, including these."""
    from scipy.spatial import KDTree

    places = np.column_stack((x, y))
    away, _ = KDTree(places[rows]).query(places, distance_upper_bound=distance)
    return np.flatnonzero(np.isfinite(away))
