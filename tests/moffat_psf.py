"""The PSF of the stars of simulated_sky.py, as it is, where a PSF of an image is asked for."""

from dataclasses import dataclass

import numpy as np

from .simulated_sky import MOFFAT_BETA


@dataclass
class MoffatPsf:
    """A round Moffat profile at the centres of pixels, the same all over the image."""

    fwhm: float
    size: int = 51

    def stamps(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """As core.psf.Psf has them."""
        core = self.fwhm / (2 * np.sqrt(2 ** (1 / MOFFAT_BETA) - 1))
        away = np.arange(self.size) - self.size // 2
        dx, dy = ((away - (place - np.rint(place))[:, None]) for place in (x, y))
        light = (1 + (dx[:, None, :] ** 2 + dy[:, :, None] ** 2) / core**2) ** -MOFFAT_BETA
        return (light / light.sum(axis=(1, 2), keepdims=True)).astype(np.float32)

    def middles(self, x: np.ndarray, y: np.ndarray, half: int) -> np.ndarray:
        """As core.psf.Psf has them."""
        cut = max(0, self.size // 2 - half)
        return self.stamps(x, y)[:, cut : self.size - cut, cut : self.size - cut]
