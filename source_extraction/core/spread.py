"""Star or galaxy: whether a source is larger than the point spread function.

SExtractor's SPREAD_MODEL (Desai et al. 2012, ApJ 757, 83; Mohr et al. 2012, SPIE 8451, 84510D):

    spread = G'WI / p'WI - G'Wp / p'Wp

with the image I of the source, the PSF p, the exponential disc G of scale length FWHM / 16 convolved with the PSF, and
the weights W, 1 / variance near the source and 0 elsewhere. It is 0 for stars, positive for larger sources, negative
for smaller ones, such as cosmic rays. Here I is without the fitted light of the neighbours.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np

from .psf import Psf
from .windows import Window

# The scale length of the disc, in FWHM.
DISC = 1 / 16
# The radius in FWHM of the comparison, and the radius in which chi^2 tells how well a star fits.
RADIUS, RADIUS_OF_CHI2 = 2.0, 1.0
SOURCES_AT_A_TIME = 4096


@lru_cache(maxsize=4)
def of_disc(psf: Psf) -> Psf:
    """An exponential disc convolved with a PSF, term by term.

    The Fourier transform of a disc of scale length h and sum 1 is (1 + (2 pi h q)^2)^(-3/2).
    """
    scale = DISC * psf.fwhm * psf.oversampling
    side = psf.samples.shape[-1]
    padded = 2 * side
    along, half = np.fft.fftfreq(padded), np.fft.rfftfreq(padded)
    transform = (1 + (2 * np.pi * scale) ** 2 * (along[:, np.newaxis] ** 2 + half**2)) ** -1.5
    spread = np.fft.irfft2(np.fft.rfft2(psf.samples, (padded, padded)) * transform, (padded, padded))
    return dataclasses.replace(psf, samples=spread[:, :side, :side])


def spreads(
    left: np.ndarray, variance: np.ndarray, window: Window, psf: Psf, x: np.ndarray, y: np.ndarray, flux: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For fitted sources (N): chi^2 per degree of freedom, spread, and its error; NaN if there is none.

    `left` are the residuals of all fitted sources in a `window`, `variance` is that of the pixels, infinite for
    unusable ones.
    """
    parts = [
        _spreads(left, variance, window, psf, *(each[first : first + SOURCES_AT_A_TIME] for each in (x, y, flux)))
        for first in range(0, len(x), SOURCES_AT_A_TIME)
    ]
    if not parts:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    chi2, spread, error = (np.concatenate(each) for each in zip(*parts, strict=True))
    return chi2, spread, error


def _spreads(
    left: np.ndarray, variance: np.ndarray, window: Window, psf: Psf, x: np.ndarray, y: np.ndarray, flux: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    half = min(psf.size // 2, int(np.ceil(RADIUS * psf.fwhm)))
    star, disc = psf.middles(x, y, half), of_disc(psf).middles(x, y, half)
    height, width = left.shape
    offset = np.arange(-half, half + 1)
    columns = np.rint(x).astype(int)[:, np.newaxis] - window.left + offset
    rows = np.rint(y).astype(int)[:, np.newaxis] - window.top + offset
    inside = ((rows >= 0) & (rows < height))[:, :, np.newaxis] & ((columns >= 0) & (columns < width))[:, np.newaxis]
    at = np.clip(rows, 0, height - 1)[:, :, np.newaxis], np.clip(columns, 0, width - 1)[:, np.newaxis]
    dx, dy = columns + window.left - x[:, np.newaxis], rows + window.top - y[:, np.newaxis]
    distance = dx[:, np.newaxis] ** 2 + dy[:, :, np.newaxis] ** 2
    rest = np.where(inside, left[at], 0).astype(np.float64)
    weight = np.where(inside & (distance <= (RADIUS * psf.fwhm) ** 2), 1 / variance[at], 0)
    light = rest + flux[:, np.newaxis, np.newaxis] * star

    def of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("nij,nij,nij->n", a, b, weight))

    near = weight * (distance <= (RADIUS_OF_CHI2 * psf.fwhm) ** 2)
    free = np.count_nonzero(near > 1e-200, axis=(1, 2)) - 3
    with np.errstate(divide="ignore", invalid="ignore"):
        chi2 = np.where(free > 0, np.einsum("nij,nij,nij->n", rest, rest, near) / np.maximum(free, 1), np.nan)
        of_star, expected = of(star, light), of(disc, star) / of(star, star)
        spread = of(disc, light) / of_star - expected
        # Both sums share the error of the flux, so the uncertain part is their difference.
        other = disc - (spread + expected)[:, np.newaxis, np.newaxis] * star
        error = np.sqrt(of(other, other)) / np.abs(of_star)
    good = of_star > 0
    return chi2, np.where(good, spread, np.nan), np.where(good, error, np.nan)
