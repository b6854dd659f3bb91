"""The kernels of the filter, and the noise of the filtered image."""

from __future__ import annotations

import math

import numpy as np

from .correlation import Correlation

# SExtractor's default.conv: an approximate Gaussian of FWHM 2 pixels.
DEFAULT_KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=np.float32)
SIGMAS_A_FWHM = 2 * math.sqrt(2 * math.log(2))
REACH = 1.25  # of a Gaussian, in FWHM: it has fallen to 1.3 % of its height there


def gaussian_kernel(fwhm: float) -> np.ndarray:
    """A round Gaussian (size, size), float32, of a FWHM in pixels, 1 in its middle."""
    reach = max(1, math.ceil(REACH * fwhm))
    along = np.exp(-0.5 * (np.arange(-reach, reach + 1) * SIGMAS_A_FWHM / fwhm) ** 2)
    return np.outer(along, along).astype(np.float32)


def noise_after(kernel: np.ndarray, correlation: Correlation) -> float:
    """The noise of a filtered image in units of its pixels' noise; SEP divides a kernel by its absolute sum."""
    weights = kernel.astype(np.float64) / np.abs(kernel).sum()
    (height, width), variance = weights.shape, float((weights**2).sum())
    for dx, dy, rho in zip(correlation.dx.tolist(), correlation.dy.tolist(), correlation.rho.tolist(), strict=True):
        if abs(dx) < width and dy < height:
            upper, lower = weights[dy:], weights[: height - dy]
            right, left = (upper[:, dx:], lower[:, : width - dx]) if dx >= 0 else (upper[:, :dx], lower[:, -dx:])
            variance += 2 * rho * float((right * left).sum())
    return math.sqrt(max(variance, 0.0))
