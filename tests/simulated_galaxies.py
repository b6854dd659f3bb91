"""Fields with one large galaxy, whose light reaches far, on a background that is known."""

from dataclasses import dataclass

import numpy as np
from scipy.special import gamma

from tests.simulated_sky import simulate

BACKGROUND = 200.0
SIDE = 1024
# Of a de Vaucouleurs profile and an exponential one (Sersic's n of 4 and 1): b, and the flux at which its light takes
# the background at a mesh of 64 along by 0.6 and 0.33 of the noise, 80 to 120 pixels from its centre.
PROFILES = {"exponential": (1, 1.6783, 2.0e6), "de Vaucouleurs": (4, 7.6692, 3.0e6)}


@dataclass
class GalaxyField:
    """`pixels` (height, width) in electrons, and where the light of the galaxy has its centre."""

    pixels: np.ndarray
    x: float
    y: float

    def background_error(self, background: np.ndarray, nearest: float = 80, farthest: float = 120) -> float:
        """By how much a background is too high around the galaxy, in units of the noise of the sky."""
        rows, columns = np.indices(self.pixels.shape)
        distance = np.hypot(columns - self.x, rows - self.y)
        ring = (distance >= nearest) & (distance < farthest)
        return float((background[ring].mean() - BACKGROUND) / np.sqrt(BACKGROUND))


def simulate_galaxy(profile: str, seed: int, *, radius: float = 40.0, ratio: float = 0.8) -> GalaxyField:
    """A galaxy with this half-light radius in pixels amid 400 faint sources, with Poisson noise."""
    random = np.random.default_rng(seed)
    index, b, flux = PROFILES[profile]
    x, y = SIDE / 2 + random.uniform(-32, 32, 2)
    theta = random.uniform(-np.pi / 2, np.pi / 2)
    rows, columns = np.indices((SIDE, SIDE))
    along = (columns - x) * np.cos(theta) + (rows - y) * np.sin(theta)
    across = ((rows - y) * np.cos(theta) - (columns - x) * np.sin(theta)) / ratio
    # The centre as soft as seeing makes it.
    distance = np.sqrt(along**2 + across**2 + 1) / radius
    total = 2 * np.pi * index * radius**2 * ratio * b ** (-2 * index) * gamma(2 * index)
    light = flux * np.exp(-b * distance ** (1 / index)) / total
    pixels = simulate((SIDE, SIDE), 400, seed, background=BACKGROUND).pixels + random.poisson(light)
    return GalaxyField(pixels.astype(np.float32), x, y)
