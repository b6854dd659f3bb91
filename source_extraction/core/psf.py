"""The point spread function (PSF): the distribution of a star's light on pixels, anywhere in the image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

# Stars at a time, so that their data stay in the processor's cache; and points of all of them, for large PSFs.
AT_A_TIME, MOST_AT_A_TIME = 256, 2**24
# The half maximum is measured on this many points per pixel and axis.
FINE = 16


@dataclass(frozen=True, eq=False)
class Psf:
    """A PSF that is a cubic B-spline on the image, with coefficients that vary over it as a polynomial.

    It is the effective PSF, which includes the pixel response: the light of a star at x, y in the pixel at column, row
    is its flux times the spline at column - x, row - y.

    `samples` (terms, side, side) are its values at points `oversampling` to a pixel, with the star at the middle point
    and rows along y; `side` is oversampling * (size - 1) + 1, and beyond them it is 0. Term n is multiplied by u^i v^j,
    where (i, j) is `powers[n]` and u = (x - zero[0]) / scale[0], likewise v for y. `shape` is that of the image
    (height, width).
    """

    samples: np.ndarray
    powers: tuple[tuple[int, int], ...]
    zero: tuple[float, float]
    scale: tuple[float, float]
    shape: tuple[int, int]
    oversampling: int = 1

    @property
    def size(self) -> int:
        """The side of its stamps in pixels, an odd number."""
        return (self.samples.shape[-1] - 1) // self.oversampling + 1

    @property
    def widest(self) -> int:
        """The side in pixels (odd) of the middle of its stamps in which its FWHM is measured; no FWHM is larger."""
        return 2 * max(2, self.size // 5) + 1

    @property
    def varies(self) -> bool:
        """Whether it varies with the position in the image."""
        return len(self.powers) > 1

    def describe(self) -> str:
        """One line for the log."""
        degree = max(i + j for i, j in self.powers)
        how = {0: "the same all over the image", 1: "varying linearly over the image"}
        return f"FWHM {self.fwhm:.2f} pixels, " + how.get(degree, f"varying over the image (degree {degree})")

    @property
    def middle(self) -> tuple[float, float]:
        """The middle of the image: x, y."""
        height, width = self.shape
        return (width - 1) / 2, (height - 1) / 2

    @cached_property
    def fwhm(self) -> float:
        """Its full width at half maximum in the middle of the image, in pixels.

        That is the diameter of the circle with the area of the part above half its maximum.
        """
        return self._fwhm_at(*self.middle)

    def fwhm_at(self, x: float, y: float) -> float:
        """Its full width at half maximum at a position in the image, in pixels."""
        return self._fwhm_at(x, y) if self.varies else self.fwhm

    def _fwhm_at(self, x: float, y: float) -> float:
        column, row = round(x), round(y)
        # Points between those of one stamp are the points of stamps of slightly shifted stars.
        steps = (np.arange(FINE) + 0.5) / FINE - 0.5
        dx, dy = (each.ravel() for each in np.meshgrid(steps, steps))
        at = np.full(len(dx), x), np.full(len(dx), y)
        values = self._drawn(column + dx, row + dy, *at, slopes=False, half=self.widest // 2)[0]
        area = np.count_nonzero(values > values.max() / 2) / FINE**2
        return float(2 * np.sqrt(area / np.pi))

    def samples_at(self, x: float, y: float) -> np.ndarray:
        """Its values at its points (side, side), at a position in the image."""
        u, v = (x - self.zero[0]) / self.scale[0], (y - self.zero[1]) / self.scale[1]
        return np.asarray(sum(u**i * v**j * term for (i, j), term in zip(self.powers, self.samples, strict=True)))

    def stamps(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The PSF of stars at `x`, `y` (pixels from 0, n each): (n, size, size), float32, each of sum 1.

        The middle pixel of a stamp is the one at round(x), round(y), rounded as in numpy; its rows are along y.
        """
        return self._drawn(x, y, x, y, slopes=False)[0]

    def stamps_and_slopes(
        self, x: np.ndarray, y: np.ndarray, half: int | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The stamps, and their derivatives with respect to x and y: (n, size, size) each, float32, per pixel.

        With `half`, only the pixels within `half` of the middle one.
        """
        stamps, in_x, in_y = self._drawn(x, y, x, y, slopes=True, half=half)
        return stamps, in_x, in_y

    def middles(self, x: np.ndarray, y: np.ndarray, half: int) -> np.ndarray:
        """The stamps within `half` pixels of the middle one: (n, 2 half + 1, 2 half + 1)."""
        return self._drawn(x, y, x, y, slopes=False, half=half)[0]

    def _drawn(
        self,
        x: np.ndarray,
        y: np.ndarray,
        at_x: np.ndarray,
        at_y: np.ndarray,
        *,
        slopes: bool,
        half: int | None = None,
    ) -> list[np.ndarray]:
        """Stamps, and their slopes, of stars at `x`, `y` with the PSF as it is at `at_x`, `at_y`."""
        x, y, at_x, at_y = (np.asarray(each, dtype=np.float64) for each in (x, y, at_x, at_y))
        whole = self.size // 2
        half = whole if half is None else min(half, whole)
        side = 2 * half + 1
        # The middle of the coefficients, as much as is needed for a star anywhere in the middle pixel.
        first_point = -(-self.oversampling // 2) + 2
        cut = self._margin + self.oversampling * (whole - half) - first_point
        terms = self._padded[:, cut : self._padded.shape[1] - cut, cut : self._padded.shape[2] - cut]
        drawn = [np.empty((len(x), side, side), np.float32) for _ in range(3 if slopes else 1)]
        along = partial(splines_along, count=side, stride=self.oversampling)
        at_a_time = max(1, min(AT_A_TIME, MOST_AT_A_TIME // terms[0].size))
        for first in range(0, len(x), at_a_time):
            some = slice(first, first + at_a_time)
            weights = self._weights_of_terms(at_x[some], at_y[some])
            coefficients = _combined(weights, terms)
            column, row = (first_point - self.oversampling * (each[some] - np.rint(each[some])) for each in (x, y))
            along_y = along(coefficients, row)
            stamps = along(along_y.swapaxes(1, 2), column).swapaxes(1, 2)
            # Over the whole stamp; a spline's sum is that of its coefficients, except for what is cut off at its sides.
            total = stamps.sum(axis=(1, 2), dtype=np.float64) if half == whole else weights @ self._sums
            total = total.astype(np.float32)[:, np.newaxis, np.newaxis]
            drawn[0][some] = stamps / total
            if slopes:
                in_x = along(along_y.swapaxes(1, 2), column, slopes=True).swapaxes(1, 2)
                in_y = along(along(coefficients, row, slopes=True).swapaxes(1, 2), column).swapaxes(1, 2)
                # The spline's own slope is along the pixels, opposite to the star's motion.
                drawn[1][some], drawn[2][some] = (-self.oversampling * slope / total for slope in (in_x, in_y))
        return drawn

    @property
    def _margin(self) -> int:
        """The number of zeros around the coefficients."""
        return self.oversampling + 2

    @cached_property
    def _padded(self) -> np.ndarray:
        """The coefficients padded with the zeros that splines need; float32."""
        margin = (self._margin, self._margin)
        return np.pad(spline_coefficients(self.samples), ((0, 0), margin, margin)).astype(np.float32)

    @cached_property
    def _sums(self) -> np.ndarray:
        """The light of each term (terms), if nothing of it is cut off."""
        return np.asarray(self._padded.sum(axis=(1, 2), dtype=np.float64) / self.oversampling**2)

    def _weights_of_terms(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """What each term is multiplied by at positions in the image (n, terms)."""
        u, v = (x - self.zero[0]) / self.scale[0], (y - self.zero[1]) / self.scale[1]
        return np.array([u**i * v**j for i, j in self.powers]).T


def _combined(weights: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """The sum of terms (terms, side, side), weighted (n, terms): (n, side, side), float32."""
    if len(terms) == 1 and (weights == 1).all():
        return np.broadcast_to(terms[0], (len(weights), *terms.shape[1:]))
    found = np.zeros((len(weights), *terms.shape[1:]), np.float32)
    for weight, term in zip(weights.T.astype(np.float32), terms, strict=True):
        found += weight[:, np.newaxis, np.newaxis] * term
    return found


def spline_coefficients(samples: np.ndarray) -> np.ndarray:
    """Coefficients of the cubic B-splines through samples (..., side, side), zero beyond them; float64."""
    side = samples.shape[-1]
    matrix = (4 * np.eye(side) + np.eye(side, k=1) + np.eye(side, k=-1)) / 6
    inverse = np.linalg.inv(matrix)
    return np.asarray(np.einsum("ij,...jk,lk->...il", inverse, samples, inverse, optimize=True))


def splines_along(
    coefficients: np.ndarray, place: np.ndarray, *, count: int, stride: int = 1, slopes: bool = False
) -> np.ndarray:
    """Splines along the second axis of their coefficients (n, points, any): (n, count, any), or their slopes.

    The first value of each is at `place` (n) on the axis, the following ones are `stride` points apart. Coefficients
    are needed from the point before the first one's to two beyond the last one's.
    """
    below = np.floor(place).astype(int)
    weights = (_slopes if slopes else _weights)((place - below).astype(coefficients.dtype))
    found = np.empty((len(place), count, coefficients.shape[2]), coefficients.dtype)
    length = stride * (count - 1) + 1
    # Stars at the same offset use the same points, which are a slice.
    for first in np.unique(below) - 1:
        those = np.flatnonzero(below == first + 1)
        chosen, weight = coefficients[those], weights[:, those, np.newaxis, np.newaxis]
        found[those] = sum(weight[tap] * chosen[:, first + tap : first + tap + length : stride] for tap in range(4))
    return found


def _weights(t: np.ndarray) -> np.ndarray:
    """The weights of the four coefficients around a point that is `t` (n), from 0 to 1, beyond the second: (4, n)."""
    s = 1 - t
    return np.array((s**3, 4 - 3 * t**2 * (2 - t), 4 - 3 * s**2 * (2 - s), t**3)) / t.dtype.type(6)


def _slopes(t: np.ndarray) -> np.ndarray:
    """The derivatives of the weights with respect to t."""
    s = 1 - t
    return np.array((-(s**2), t * (3 * t - 4), s * (4 - 3 * s), t**2)) / t.dtype.type(2)
