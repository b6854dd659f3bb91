"""The search for the circles that hold half of the light of sources."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# The least and greatest radius of the first circle, and the greatest of all, SExtractor's, in units of the semi-major
# axis.
FIRST_CIRCLES, LAST_CIRCLE = (0.5, 4.0), 6.0
# The search ends with a circle that holds half of the light within this fraction of all of it. The straight line
# through it leads on to a radius that is off by less than 1e-6 for half of all sources, by 1e-4 for one in a hundred.
TOLERANCE = 1e-3
MOST_CIRCLES = 12  # three or four do for nearly all sources
# What a circle holds is taken to be within these shares, so that the logarithm of the rest is finite.
SHARES = 0.01, 0.99


def radii_of_half(share: Callable[[np.ndarray, np.ndarray], np.ndarray], a: np.ndarray, area: np.ndarray) -> np.ndarray:
    """The radii (N) of circles that hold half of the light of sources, NaN if not found.

    `a` are the semi-major axes, `area` what the light would cover if it were everywhere as bright as at the peak, in
    square pixels. `share` is given rows of sources and a radius for each, and returns how much of their light these
    circles hold.

    The first circle is that of a Gaussian. What is outside a circle falls exponentially with its area for a Gaussian,
    and nearly so for others. So the next circle comes from the straight line through the logarithms of the last two,
    but always lies between the largest that was too small and the smallest that was too large.
    """
    found = np.full(len(a), np.nan)
    with np.errstate(invalid="ignore"):
        radius = np.sqrt(np.log(2) / np.pi * area)
    least, greatest = FIRST_CIRCLES
    rows, radius = np.arange(len(a)), np.clip(np.nan_to_num(radius, nan=0), least * a, greatest * a)
    low, high = np.zeros(len(a)), LAST_CIRCLE * a
    last_area, last_fall = np.zeros((2, len(a)))  # of a circle without light
    for _ in range(MOST_CIRCLES):
        held = share(rows, radius)
        low, high = np.where(held < 0.5, radius, low), np.where(held < 0.5, high, radius)
        covered, fall = radius**2, -np.log1p(-np.clip(held, *SHARES))
        with np.errstate(divide="ignore", invalid="ignore"):
            straight = np.sqrt(covered + (np.log(2) - fall) * (covered - last_area) / (fall - last_fall))
        is_half, is_between = np.abs(held - 0.5) < TOLERANCE, (low <= straight) & (straight <= high)
        found[rows[is_half]] = np.where(is_between, straight, radius)[is_half]
        if is_half.all():
            break
        radius = np.where(is_between, straight, (low + high) / 2)
        rows, state = rows[~is_half], np.array((radius, low, high, covered, fall))
        radius, low, high, last_area, last_fall = state[:, ~is_half]
    return found
