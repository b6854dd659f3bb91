"""A sky of which the truth is known: Moffat stars and exponential galaxies on a noisy background."""

from dataclasses import dataclass

import numpy as np

MOFFAT_BETA = 3.0
# Position (pixels from 0), flux (electrons), half-light radius (pixels), axis ratio, angle (radians), kind.
RECORD = [(name, float) for name in ("x", "y", "flux", "radius", "ratio", "theta")] + [("galaxy", bool)]


@dataclass
class Sky:
    """`pixels` (height, width), float32, in electrons; `truth` a structured array, one record per source."""

    pixels: np.ndarray
    truth: np.ndarray


def simulate(
    shape: tuple[int, int],
    number: int,
    seed: int,
    *,
    fwhm: float = 3.5,
    galaxies: float = 0.35,
    faintest: float = 300.0,
    brightest: float = 3e6,
    slope: float = 0.8,
    background: float = 200.0,
    gradient: float = 0.0,
) -> Sky:
    """Draw `number` sources with N(>F) ~ F^-slope, uniformly over the image, and Poisson noise.

    `fwhm` of the stars in pixels, `galaxies` the fraction of sources that are galaxies (half-light
    radius 1 to 2.5 FWHM, any axis ratio above 0.3), fluxes and background in electrons; `gradient` is the rise
    of the background from the left edge to the right.
    """
    random = np.random.default_rng(seed)
    height, width = shape
    truth = np.zeros(number, dtype=RECORD)
    truth["x"] = random.uniform(-0.5, width - 0.5, number)
    truth["y"] = random.uniform(-0.5, height - 0.5, number)
    truth["flux"] = np.minimum(faintest * random.uniform(size=number) ** (-1 / slope), brightest)
    truth["galaxy"] = random.uniform(size=number) < galaxies
    half_light = fwhm / 2 * np.sqrt((2 ** (1 / (MOFFAT_BETA - 1)) - 1) / (2 ** (1 / MOFFAT_BETA) - 1))
    truth["radius"] = np.where(truth["galaxy"], fwhm * random.uniform(1, 2.5, number), half_light)
    truth["ratio"] = np.where(truth["galaxy"], random.uniform(0.3, 1, number), 1)
    truth["theta"] = np.where(truth["galaxy"], random.uniform(-np.pi / 2, np.pi / 2, number), 0)

    pixels = np.broadcast_to(background + gradient * np.arange(width) / width, shape).astype(np.float64)
    for source in truth:
        add_source(pixels, source, fwhm)
    return Sky(random.poisson(pixels).astype(np.float32), truth)


def add_source(pixels: np.ndarray, source: np.void, fwhm: float) -> None:
    """Add a source where it is brighter than a thousandth of an electron or so."""
    height, width = pixels.shape
    peak = source["flux"] / (2 * np.pi * source["radius"] ** 2 * source["ratio"])
    reach = int(np.clip(3 * source["radius"] * (1 + peak) ** 0.25, 8, 250))
    x0, y0 = round(source["x"]), round(source["y"])
    columns = np.arange(max(0, x0 - reach), min(width, x0 + reach + 1))
    rows = np.arange(max(0, y0 - reach), min(height, y0 + reach + 1))
    dx, dy = columns[None, :] - source["x"], rows[:, None] - source["y"]
    if source["galaxy"]:
        cos, sin = np.cos(source["theta"]), np.sin(source["theta"])
        # An exponential disc, its core softened as seeing does: scale length = half-light radius / 1.678.
        along, across = dx * cos + dy * sin, (dy * cos - dx * sin) / source["ratio"]
        scale = source["radius"] / 1.678
        profile = np.exp(-np.sqrt(along**2 + across**2 + (fwhm / 3) ** 2) / scale)
        softened = 2 * np.pi * scale**2 * source["ratio"] * (1 + fwhm / 3 / scale) * np.exp(-fwhm / 3 / scale)
        light = profile / softened
    else:
        core = fwhm / (2 * np.sqrt(2 ** (1 / MOFFAT_BETA) - 1))
        light = (1 + (dx**2 + dy**2) / core**2) ** -MOFFAT_BETA * (MOFFAT_BETA - 1) / (np.pi * core**2)
    pixels[np.ix_(rows, columns)] += source["flux"] * light
