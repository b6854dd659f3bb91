"""The search for the circles that hold half of the light of sources."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# The radii of the first circle, near which most half-light radii are, and of the largest one, SExtractor's, in units of
# the semi-major axis.
FIRST_CIRCLE, LAST_CIRCLE = 1.3, 6.0
# The radius is known when its circle holds half of the light within this fraction of all of it, which is about the
# relative error of the radius.
TOLERANCE = 1e-4
MOST_CIRCLES = 12  # four or five do for nearly all sources
# What a circle holds is taken to be within these shares, so that the logarithm of the rest is finite.
SHARES = 0.01, 0.99


def radii_of_half(share: Callable[[np.ndarray, np.ndarray], np.ndarray], a: np.ndarray) -> np.ndarray:
    """The radii (N) of circles that hold half of the light of sources with the semi-major axes `a`, NaN if not found.

    `share` is given rows of sources and a radius for each, and returns how much of their light these circles hold.
    What is outside a circle falls exponentially with its area for a Gaussian, and nearly so for others. So the next
    circle comes from the straight line through the logarithms of the last two, but always lies between the largest that
    was too small and the smallest that was too large.
    """
    found = np.full(len(a), np.nan)
    rows, radius = np.arange(len(a)), FIRST_CIRCLE * a
    low, high = np.zeros(len(a)), LAST_CIRCLE * a
    last_area, last_fall = np.zeros((2, len(a)))  # of a circle without light
    for _ in range(MOST_CIRCLES):
        held = share(rows, radius)
        is_half = np.abs(held - 0.5) < TOLERANCE
        found[rows[is_half]] = radius[is_half]
        if is_half.all():
            break
        rows, state = rows[~is_half], np.array((held, radius, low, high, last_area, last_fall))
        held, radius, low, high, last_area, last_fall = state[:, ~is_half]
        low, high = np.where(held < 0.5, radius, low), np.where(held < 0.5, high, radius)
        area, fall = radius**2, -np.log1p(-np.clip(held, *SHARES))
        with np.errstate(divide="ignore", invalid="ignore"):
            straight = np.sqrt(area + (np.log(2) - fall) * (area - last_area) / (fall - last_fall))
        radius = np.where((low < straight) & (straight < high), straight, (low + high) / 2)
        last_area, last_fall = area, fall
    return found
