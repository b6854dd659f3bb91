"""The correlation of the noise of neighbouring pixels, and its effect on the error of a sum of pixels.

The usual errors of sums assume independent noise in every pixel. Resampled images do not have that: neighbouring pixels
share part of their noise, and sums are up to three times as noisy. With rho(l), the correlation of pixels l apart,

    variance of a sum with the weights w = sigma^2 x sum over l of rho(l) x sum over pixels p of w(p) w(p + l)

For an aperture, the factor of rho(l) is the part of its area that it shares with itself moved by l. The noise is that
of empty sky, which includes light too faint to be detected. (Fruchter & Hook 2002, PASP 114, 144, have the same for
drizzled images, from the geometry instead of the pixels.)
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from .sky import Sky
from .windows import Window, blocks, grown

# Lags up to `FAR` pixels are measured. What pixels have in common beyond `NEAR` is large-scale residual background, and
# is subtracted everywhere. Resampling reaches 6 pixels at most; light too faint to be detected reaches farther, and on
# real images 10 comes nearer to the scatter of empty apertures.
NEAR, FAR = 10, 12
# This many pixels around a source are left out with it, for its faint light.
MARGIN = 4
# This many pixels give the correlation to half a per cent; they come in blocks from all over the image.
SAMPLE_SIZE = 1_000_000
BLOCK = 128
FFT_SIZE = 144  # at least BLOCK + FAR, and a fast size
FEWEST_PIXELS = 1000
# In background RMS: a single bright pixel, of a cosmic ray or a photon, says nothing about its neighbours.
BRIGHTEST = 5.0
# Noise counts as independent unless its sums in circles of these radii differ from those of independent pixels by this
# many of their uncertainties: errors then do not depend on chance features of the image.
SIGNIFICANT, RADII = 3.0, (1.0, 2.5, 5.0)
# Noise may cancel in sums, as in sharpened images, down to this fraction of the variance; below that it is not known.
LEAST_SHARE = 0.25
# Circles are placed at this many positions per axis of a pixel, rows of pixels are cut into this many strips; above the
# first radius the position makes no difference, and above the second the pixels make none.
PLACES, STRIPS = 21, 16
SMALL_CIRCLE, LARGE_CIRCLE = 8.0, 256.0
LEAST_RADIUS = 0.1  # strips meet no smaller circle


@dataclass(frozen=True, eq=False)
class Correlation:
    """The correlation `rho` (K) of pixels that are `dx`, `dy` (K) apart, with one entry for each pair of opposite lags.

    All are empty if pixels are independent. `level` is the pixels' true variance in units of their nominal one.
    `common` is the share of the variance that pixels farther apart have in common too: where the background did not
    follow the image.
    """

    dx: np.ndarray
    dy: np.ndarray
    rho: np.ndarray
    level: float = 1.0
    common: float = 0.0
    _circles: dict[float, np.ndarray] = field(default_factory=dict)
    _means: dict[float, float] = field(default_factory=dict)

    @property
    def independent(self) -> bool:
        """Whether the noise of every pixel is independent."""
        return not len(self.rho)

    def in_ellipses(self, a: np.ndarray, b: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """The variance of sums in ellipses, in units of that of independent pixels (N).

        `a`, `b` are the semi-axes in pixels (N), `theta` the angle of the first, in radians.
        """
        if self.independent:
            return np.ones(len(a))
        # Not a matrix product, whose last digit may depend on the number of cores.
        shared = (_shares(self.dx, self.dy, a, b, theta) * self.rho).sum(axis=1)
        return self.level * np.maximum(1 + 2 * shared, LEAST_SHARE)

    def in_circles(self, radius: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The variance of sums in circles of one radius around x, y (N), in units of sum(overlap x variance).

        A pixel partly in the circle enters the variance of the sum with the square of its overlap, so that in small
        circles the result is less than 1 even for independent pixels.
        """
        if radius > LARGE_CIRCLE:
            return self.in_ellipses(np.full(len(x), radius), np.full(len(x), radius), np.zeros(len(x)))
        table = self._table(radius)
        last = len(table) - 1
        (column, right), (row, up) = (_place_in((at - np.rint(at) + 0.5) * last, last) for at in (x, y))
        above = np.minimum(row + 1, last)
        beside = np.minimum(column + 1, last)
        low = table[row, column] * (1 - right) + table[row, beside] * right
        high = table[above, column] * (1 - right) + table[above, beside] * right
        return low * (1 - up) + high * up

    def in_a_circle(self, radius: float) -> float:
        """The same for one circle, averaged over the positions of its centre within a pixel."""
        if radius not in self._means:
            places = (np.arange(PLACES) + 0.5) / PLACES - 0.5
            x, y = (at.ravel() for at in np.meshgrid(places, places))
            self._means[radius] = float(self.in_circles(radius, x, y).mean())
        return self._means[radius]

    def in_windows(self, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The variance of x and of y of windowed positions, in units of that of independent pixels (N each).

        `sigma` (N) are the sigmas of the Gaussian windows, in pixels. For two windows l apart, sum(w(p) w(p + l) x(p)
        x(p + l)) is exp(-l^2 / 4 sigma^2) (1 - lx^2 / 2 sigma^2) times sum(w^2 x^2).
        """
        if self.independent:
            return np.ones(len(sigma)), np.ones(len(sigma))
        squared = 2 * sigma[:, np.newaxis] ** 2
        shared = np.exp(-(self.dx**2 + self.dy**2) / (2 * squared)) * self.rho
        x, y = (1 + 2 * (shared * (1 - lag**2 / squared)).sum(axis=1) for lag in (self.dx, self.dy))
        return self.level * np.maximum(x, LEAST_SHARE), self.level * np.maximum(y, LEAST_SHARE)

    def factor(self, diameter: float) -> float:
        """The factor by which independent pixels underestimate the error in a circle of this diameter in pixels."""
        radius = diameter / 2
        return float(np.sqrt(self.in_a_circle(radius) / INDEPENDENT.in_a_circle(radius)))

    def _table(self, radius: float) -> np.ndarray:
        """`in_circles` for centres all over a pixel (rows and columns of centres), computed once."""
        radius = max(radius, LEAST_RADIUS)
        if radius not in self._circles:
            shared, total = _shared_by_circles(radius, tuple(self.dx.tolist()), tuple(self.dy.tolist()))
            terms = np.concatenate((shared[:1], (2 * self.rho)[:, np.newaxis, np.newaxis] * shared[1:]))
            # Not `sum`, whose order, and with it the last digit, would depend on the number of positions.
            variance = np.add.accumulate(terms)[-1]
            self._circles[radius] = self.level * np.maximum(variance, LEAST_SHARE * shared[0]) / total
        return self._circles[radius]


def _no_lags() -> Correlation:
    none = np.zeros(0, dtype=int)
    return Correlation(none, none, np.zeros(0))


INDEPENDENT = _no_lags()


def overlaps(radius: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The fraction of every pixel that lies in a circle (len(y), len(x), rows, columns).

    The centre is at `x`, `y`, within half a pixel of the middle pixel's centre.
    """
    half = int(np.ceil(radius + 0.5))
    columns = np.arange(-half, half + 1)
    strips = (np.arange(len(columns) * STRIPS) + 0.5) / STRIPS - half - 0.5
    found = np.empty((len(y), len(x), len(columns), len(columns)))
    centre = x[:, np.newaxis, np.newaxis]
    for parts, at in zip(found, y, strict=True):
        chord = np.sqrt(np.maximum(radius**2 - (strips - at) ** 2, 0))[:, np.newaxis]
        covered = np.minimum(columns + 0.5, centre + chord) - np.maximum(columns - 0.5, centre - chord)
        parts[:] = np.maximum(covered, 0).reshape(len(x), len(columns), STRIPS, len(columns)).mean(axis=2)
    return found


@lru_cache(maxsize=16)
def _shared_by_circles(radius: float, dx: tuple[int, ...], dy: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The area that circles all over a pixel share with themselves moved by each lag (1 + K, y, x); and their areas.

    Computed as sums over pixels. It is the same for all images, and takes longer than everything else done to a small
    one.
    """
    places = np.linspace(-0.5, 0.5, PLACES) if radius <= SMALL_CIRCLE else np.zeros(1)
    overlap = overlaps(radius, places, places)
    padded = np.pad(overlap, ((0, 0), (0, 0), (NEAR, NEAR), (NEAR, NEAR)))
    side = overlap.shape[-1]
    shared = [(overlap**2).sum(axis=(2, 3))]
    for right, up in zip(dx, dy, strict=True):
        moved = padded[:, :, NEAR + up : NEAR + up + side, NEAR + right : NEAR + right + side]
        shared.append((overlap * moved).sum(axis=(2, 3)))
    return np.array(shared), overlap.sum(axis=(2, 3))


def _shares(dx: np.ndarray, dy: np.ndarray, a: np.ndarray, b: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """The fraction of their area that ellipses (N) share with themselves moved by lags (K): (N, K), float32.

    Where the ellipse is a unit circle the lag has a length d, and two unit circles d apart share (2 acos(d / 2) - d
    sqrt(1 - d^2 / 4)) / pi.
    """
    cos, sin = np.cos(theta)[:, np.newaxis], np.sin(theta)[:, np.newaxis]
    along = (dx * cos + dy * sin) / a[:, np.newaxis]
    across = (dy * cos - dx * sin) / b[:, np.newaxis]
    # float32 takes a fifth of the time.
    half = np.minimum(np.sqrt((along**2 + across**2).astype(np.float32)) / 2, 1)
    return np.asarray((np.arccos(half) - half * np.sqrt(1 - half**2)) * np.float32(2 / np.pi))


def _place_in(position: np.ndarray, last: int) -> tuple[np.ndarray, np.ndarray]:
    """The grid point at or below each position on a line of points from 0 to `last`, and the distance beyond it."""
    below = np.clip(position.astype(int), 0, max(last - 1, 0))
    return below, position - below


def correlation_of(sky: Sky, segmentation: np.ndarray) -> Correlation | None:
    """Measure the correlation of a sky's noise in its source-free pixels; None if there are too few of them.

    `segmentation` (height, width) is 0 where there is no source. A correlation that is not significant is returned as
    that of independent pixels. The level is relative to the sky's noise, whether SEP's RMS or a map that came with the
    image, so that errors are those of the image itself. Images of few values get no level: their RMS is right, and they
    are clipped.
    """
    products, pairs = _products(sky, segmentation)
    if pairs[0, 0] < FEWEST_PIXELS:
        return None
    lags = np.arange(-FAR, FAR + 1)
    dx, dy = (each.ravel() for each in np.meshgrid(lags, lags))
    half = (dy > 0) | ((dy == 0) & (dx > 0))
    dx, dy = dx[half], dy[half]
    length = np.hypot(dx, dy)
    number = pairs[dy, dx]
    known = number > 0
    covariance = np.where(known, products[dy, dx] / np.maximum(number, 1), 0)
    beyond = known & (length > NEAR) & (length <= FAR)
    common = covariance[beyond].mean() if beyond.any() else 0.0
    variance = products[0, 0] / pairs[0, 0] - common
    near = known & (length <= NEAR)
    if variance <= 0 or not near.any():
        return INDEPENDENT
    level = float(variance) if sky.rms_is_sep_s else 1.0
    share = float(common / (variance + common))
    found = Correlation(dx[near], dy[near], (covariance[near] - common) / variance, level, share)
    if _is_significant(found, float(pairs[0, 0]), int(np.count_nonzero(beyond))):
        return found
    return replace(INDEPENDENT, common=share)


def _is_significant(found: Correlation, pixels: float, beyond: int) -> bool:
    """Whether this many independent pixels would hardly show such a correlation, with `beyond` lags subtracted."""
    radii = np.array(RADII)
    for shares in _shares(found.dx, found.dy, radii, radii, np.zeros(len(radii))):
        excess = 2 * (shares * found.rho).sum()
        variance = 4 * (np.sum(shares**2) + np.sum(shares) ** 2 / max(beyond, 1)) / pixels
        if abs(excess) > SIGNIFICANT * np.sqrt(variance):
            return True
    return False


def _products(sky: Sky, segmentation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the products of pixels in units of their noise, and the numbers of pairs, by lag [dy, dx].

    Uses source-free pixels in blocks from all over the image, always the same ones, as many as are needed.
    """
    height, width = segmentation.shape
    powers = np.zeros((2, FFT_SIZE, FFT_SIZE // 2 + 1))
    number, noise = 0, None
    if segmentation.size <= SAMPLE_SIZE:
        # All blocks are needed, and are faster made at once.
        noise = _noise(sky, segmentation, Window(0, height, 0, width))
    for window in blocks((height, width), BLOCK):
        values, free = _noise(sky, segmentation, window) if noise is None else map(window.of, noise)
        number += int(np.count_nonzero(free))
        for power, each in zip(powers, (values, free), strict=True):
            transformed = np.fft.rfft2(each, (FFT_SIZE, FFT_SIZE))
            np.add(power, transformed.real**2 + transformed.imag**2, out=power)
        if number >= SAMPLE_SIZE:
            break
    products, pairs = (np.fft.irfft2(power, (FFT_SIZE, FFT_SIZE)) for power in powers)
    return products, np.rint(pairs)


def _noise(sky: Sky, segmentation: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of a window in units of their noise, 0 where they are not source-free; and which of them are."""
    around = window.grown(MARGIN, segmentation.shape)
    near = grown(around.of(segmentation) != 0, MARGIN)
    top, left = window.top - around.top, window.left - around.left
    sigma = sky.sigma_of(window)
    most = BRIGHTEST * (sigma if sky.noise_map is None else sky.rms_of(window))
    free = ~near[top : top + sigma.shape[0], left : left + sigma.shape[1]] & (sigma > 0)
    if sky.masked is not None:
        free &= ~window.of(sky.masked)
    values = np.clip(window.of(sky.pixels), -most, most) / np.where(free, sigma, 1)
    return np.where(free, values, 0), free
