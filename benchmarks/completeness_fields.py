"""The table of science.py about completeness: artificial stars of the image's own PSF against the truth.

True is what SEP, called directly, finds of stars that were drawn before the noise. Every number but the costs has a
bound, and one that breaks it is named at the end.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

import source_extraction as se
from tests.simulated_sky import Sky, simulate
from tests.true_completeness import TrueCompleteness, true_completeness

# Of 10,000 sources: pixels along a side, how they are drawn, and the fluxes over which completeness is compared.
FIELDS: dict[str, tuple[int, dict[str, Any], tuple[float, float]]] = {
    "sparse": (2048, {"faintest": 60}, (250, 4000)),
    "stars and galaxies": (2048, {}, (250, 10_000)),
    "crowded": (1280, {"faintest": 400, "galaxies": 0, "fwhm": 2.4}, (250, 16_000)),
}
SEEDS = 2
MOST = {"curve (rms)": 0.035, "50 % limit": 0.05, "90 % limit": 0.25}


def tables(sources: int, head: Callable[..., None], row: Callable[..., None]) -> list[str]:
    """Print the table; what is out of bounds."""
    head(f"completeness of {sources} sources, less the true one [mag]", *MOST, "error of that", "plain detections")
    row("bounds", *(f"{most:g}" for most in MOST.values()), "-", "-")
    broken = []
    fields = [(name, seed, sources) for name in FIELDS for seed in range(SEEDS)]
    # The truth takes minutes for each field. Nothing else is at work while the rest is timed.
    with ProcessPoolExecutor() as processes:
        truths = list(processes.map(truth_of, *zip(*fields, strict=True)))
    for (name, seed, _), truth in zip(fields, truths, strict=True):
        away, *others = compared(truth, sky_of(name, seed, sources).pixels, FIELDS[name][2])
        row(f"{name}, seed {seed}", *away, *others)
        pairs = zip(MOST.items(), away, strict=True)
        broken += [f"{name}, {what}: {value:.3f}" for (what, most), value in pairs if not abs(value) <= most]
    return broken


def sky_of(name: str, seed: int, sources: int) -> Sky:
    """A field."""
    side, drawn, _ = FIELDS[name]
    pixels = round(side * math.sqrt(sources / 10_000))
    return simulate((pixels, pixels), sources, seed, **drawn)


def truth_of(name: str, seed: int, sources: int) -> TrueCompleteness:
    """Its completeness, by 86,400 stars."""
    _, drawn, fluxes = FIELDS[name]
    sky = sky_of(name, seed, sources)
    return true_completeness(sky, fwhm=drawn.get("fwhm", 3.5), fluxes=fluxes, images=600, across=12)


def compared(
    truth: TrueCompleteness, pixels: np.ndarray, fluxes: tuple[float, float]
) -> tuple[list[float], float, float]:
    """How far curve and limits are from the truth, the error of the last, and how many plain detections it took."""
    result = se.extract(pixels, gain=1, zeropoint=0, threads=1)
    steps = result._steps
    _ = steps.psf
    took = seconds_of(lambda: steps.completeness)
    plain = seconds_of(steps.detector.detect)
    columns, limits = steps.completeness.columns, steps.completeness.limits
    inside = (columns["flux_low"] >= fluxes[0]) & (columns["flux_high"] <= fluxes[1])
    low, high, share = (columns[name][inside] for name in ("flux_low", "flux_high", "completeness"))
    away = share - [truth.between(a, b) for a, b in zip(low, high, strict=True)]
    of_limits = [limits[level].mag - truth.limit(level) for level in (0.5, 0.9)]
    return [float(np.sqrt(np.mean(away**2))), *of_limits], limits[0.9].mag_err, took / plain


def seconds_of(work: Callable[[], object]) -> float:
    """Of the processor."""
    started = time.process_time()
    work()
    return time.process_time() - started
