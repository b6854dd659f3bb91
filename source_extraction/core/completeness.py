"""The share of point sources found in an image as a function of brightness, from artificial stars.

Brightness here is in magnitudes m = -2.5 log10(flux), whatever the zero point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .artificial_stars import SEED, Stars, StarSearch, faintest_flux, work_of

# Width of a bin, in magnitudes.
BIN = 0.5
# Least number of stars per bin, and largest number in all bins.
STARS, MOST_STARS = 60, 6400
# The stars may take about as long as this many detections of the image, or the larger number while there are few stars.
DETECTIONS, MOST_DETECTIONS, ENOUGH_STARS = 12, 15, 360
# The bins to begin with: bin 0 holds the faintest star that the threshold lets through, higher ones are fainter.
FIRST_BINS = (0, -1, 1)
# Bins are added until the outermost ones are nearly empty and nearly complete.
NEARLY_EMPTY, NEARLY_COMPLETE = 0.15, 0.95
MOST_BINS = 16
# Fewer additional stars per bin are not worth another round.
STARS_WORTH_A_ROUND = 10
LEVELS = (0.5, 0.9)


@dataclass(frozen=True)
class Limit:
    """Where a given share of the point sources is found: a flux in the image's unit and its magnitude, with errors.

    NaN if the artificial stars do not show it; magnitudes are NaN without a zero point too.
    """

    flux: float = math.nan
    flux_err: float = math.nan
    mag: float = math.nan
    mag_err: float = math.nan


@dataclass(frozen=True)
class Completeness:
    """The share of the point sources that are found.

    `columns` are those of completeness.tsv, a row per flux bin from faint to bright. `curve` is the fitted share at the
    fluxes `curve_flux`.
    """

    columns: dict[str, np.ndarray]
    limits: dict[float, Limit]
    curve_flux: np.ndarray
    curve: np.ndarray

    @classmethod
    def of(cls, stars: Stars, zeropoint: float | None = None) -> Completeness:
        """The completeness that artificial stars show."""
        columns = _in_bins(stars, zeropoint)
        if not len(stars.flux):
            return cls(columns, {level: Limit() for level in LEVELS}, np.empty(0), np.empty(0))
        magnitude = magnitude_of(stars.flux)
        curve = Losses.fitted(magnitude, stars.found)
        limits = {level: _limit(curve, level, magnitude, zeropoint) for level in LEVELS}
        along = np.linspace(magnitude.max(), magnitude.min(), 200)
        return cls(columns, limits, flux_of(along), curve.completeness(along))

    @classmethod
    def unknown(cls) -> Completeness:
        """For an image into which no stars could be put."""
        return cls.of(Stars.joined([]))

    def describe(self, unit: str = "") -> str:
        """The limits, in words; fluxes are in `unit`."""
        if not len(self.curve):
            return "Artificial stars: none, because the image has no noise to be found in"
        said = [f"Artificial stars: {self.columns['injected'].sum()}"]
        unit = unit and f" {unit}"
        share = "{:g} % of the point sources are found".format
        unknown = [level for level, limit in self.limits.items() if math.isnan(limit.flux)]
        # If the 50 % limit is not reached, the 90 % limit is not either.
        if more := [level for level in unknown if self.curve[-1] >= level]:
            said.append(f"more than {share(100 * max(more))} at every flux from {self.curve_flux[0]:.4g}{unit}")
        for level, limit in self.limits.items():
            if level not in unknown:
                magnitude = "" if math.isnan(limit.mag) else f", magnitude {limit.mag:.2f} +- {limit.mag_err:.2f}"
                flux = with_error(limit.flux, limit.flux_err, "+-")
                said.append(f"{share(100 * level)} at a flux of {flux}{unit}{magnitude}")
        if less := [level for level in unknown if level not in more]:
            said.append(f"less than {share(100 * min(less))} at every flux up to {self.curve_flux[-1]:.4g}{unit}")
        return "; ".join(said)


def measure_completeness(search: StarSearch, sources: int, zeropoint: float | None = None) -> Completeness:
    """The completeness of an image in which `sources` sources were found.

    At least `STARS` are added per bin, over the bins in which completeness rises from nearly none to nearly all.
    """
    faintest = faintest_flux(search)
    if not faintest:
        return Completeness.unknown()
    at_a_time = search.at_a_time(sources)
    plan = Plan(float(magnitude_of(faintest)), zeropoint)
    random = np.random.default_rng(SEED)
    stars = []
    while numbers := plan.next(*_stars_left(search, sources)):
        fluxes = np.concatenate([plan.fluxes(number, many, random) for number, many in numbers.items()])
        stars.append(search.look_for(fluxes, at_a_time))
        plan.note(stars[-1])
    return Completeness.of(Stars.joined(stars), zeropoint)


def _stars_left(search: StarSearch, sources: int) -> tuple[int, int]:
    """How many more stars may be put in, at the cost so far: to begin bins, and to add to existing ones."""
    if not search.work:
        return ENOUGH_STARS - search.stars, 0
    in_a_detection = work_of(search.sky.pixels.size, sources) * search.stars / search.work
    most = min(int(DETECTIONS * in_a_detection), MOST_STARS)
    enough = min(int(MOST_DETECTIONS * in_a_detection), ENOUGH_STARS)
    return max(most, enough) - search.stars, most - search.stars


class Plan:
    """How many stars to put into which bins next; bin numbers rise with the magnitude.

    `first` is the magnitude to begin around. Bins end at multiples of half a magnitude, so that images with the same
    zero point share their bins.
    """

    def __init__(self, first: float, zeropoint: float | None) -> None:
        self.offset = 0.0 if zeropoint is None else -zeropoint % BIN
        self.first = math.floor((first - self.offset) / BIN)
        self.put_in: dict[int, int] = {}
        self.found: dict[int, int] = {}

    def fluxes(self, number: int, many: int, random: np.random.Generator) -> np.ndarray:
        """`many` fluxes, spread evenly over the magnitudes of a bin."""
        inside = (np.arange(many) + random.uniform(size=many)) / many
        return flux_of(self.offset + BIN * (number + inside))

    def note(self, stars: Stars) -> None:
        """Count the stars put in and found, by bin."""
        numbers = np.floor((magnitude_of(stars.flux) - self.offset) / BIN).astype(int)
        for number in np.unique(numbers).tolist():
            of_bin = stars.found[numbers == number]
            self.put_in[number] = self.put_in.get(number, 0) + len(of_bin)
            self.found[number] = self.found.get(number, 0) + int(of_bin.sum())

    def next(self, left: int, spare: int) -> dict[int, int]:
        """How many stars to put into which bins; empty once there are enough.

        `left` stars may be used to begin bins, `spare` ones to add to existing bins.
        """
        # A bin is begun only if there are enough stars left to fill it.
        if wanted := self._new_bins()[: left // STARS]:
            return dict.fromkeys(wanted, STARS)
        # The rest goes to the bins in between, twice as much to those where the curve crosses a limit. Only half of it
        # at a time: more stars may show that the brightest bin is not nearly complete.
        rising = [number for number in self.put_in if NEARLY_EMPTY < self._share(number) < 1]
        at_limits = {
            number
            for level in LEVELS
            for number in sorted(rising, key=lambda number: (abs(self._share(number) - level), number))[:2]
        }
        each = spare // 2 // (len(rising) + len(at_limits)) if rising else 0
        more = {number: each * (2 if number in at_limits else 1) for number in rising}
        return more if each >= STARS_WORTH_A_ROUND else {}

    def _new_bins(self) -> list[int]:
        """The first bins, or those beyond the brightest and the faintest one where the curve does not end there."""
        if not self.put_in:
            return [self.first + step for step in FIRST_BINS]
        if len(self.put_in) >= MOST_BINS:
            return []
        brightest, faintest = min(self.put_in), max(self.put_in)
        fainter = [faintest + 1] if self._share(faintest) > NEARLY_EMPTY else []
        if self._share(brightest) >= NEARLY_COMPLETE:
            return fainter
        # If time is short, the limits come first, and none of them is at the faint end.
        brighter = [brightest - 1, brightest - 2]
        return brighter + fainter if self._share(faintest) > min(LEVELS) else brighter

    def _share(self, number: int) -> float:
        return self.found[number] / self.put_in[number]


@dataclass(frozen=True)
class Losses:
    """A completeness curve: the share that noise leaves times the share that neighbours leave, each a logistic.

    c(m) = 1 / (1 + exp((m - half) / width)) * 1 / (1 + exp(slope * (m - middle) - crowd))

    `parameters` are half, ln(width), crowd and ln(slope), with their `covariance`; `middle` is a magnitude.
    """

    parameters: np.ndarray
    covariance: np.ndarray
    middle: float

    # The prior: usual values and their scatter, which decide where stars say little. Widths are those of noise alone
    # and of crowded fields, in simulations; the half level is left to the stars.
    USUAL = np.array((0.0, math.log(0.15), 3.0, math.log(0.5)))
    SPREAD = np.array((10.0, 0.7, 2.0, 0.7))

    @classmethod
    def fitted(cls, magnitude: np.ndarray, found: np.ndarray) -> Losses:
        """The most probable curve given what was found (Fisher scoring, with the usual values as a prior)."""
        # Start from the magnitude that best separates the stars found from the others.
        order = np.argsort(magnitude)
        middle = float(magnitude[order][np.argmax(np.cumsum(np.where(found[order], 1, -1)))])
        curve, damping = cls(cls.USUAL.copy(), np.eye(4), middle), 1e-3
        likelihood, gradient, information = curve._likelihood(magnitude, found)
        for _ in range(100):
            step = np.linalg.solve(information + damping * np.diag(np.diag(information)), gradient)
            trial = cls(curve.parameters + np.clip(step, -1, 1), curve.covariance, middle)
            there = trial._likelihood(magnitude, found)
            if there[0] < likelihood:
                damping *= 10
            else:
                curve, (likelihood, gradient, information) = trial, there
                damping /= 10
            if np.abs(step).max() < 1e-5:
                break
        return cls(curve.parameters, np.linalg.inv(information), middle)

    def completeness(self, magnitude: np.ndarray) -> np.ndarray:
        """The share of stars of these magnitudes that is found."""
        return np.exp(self._logarithm(magnitude)[0])

    def magnitude_at(self, level: float) -> float:
        """The magnitude at which this share of the stars is found."""
        bright, faint = self.middle - 50.0, self.middle + 50.0
        while faint - bright > 1e-6:
            between = np.linspace(bright, faint, 64)
            # The share falls with the magnitude.
            more = int(np.count_nonzero(self.completeness(between[1:-1]) > level))
            bright, faint = between[more : more + 2].tolist()
        return (bright + faint) / 2

    def error_at(self, magnitude: float) -> float:
        """The standard error of the magnitude at which the curve has its value at `magnitude`."""
        at = np.array([magnitude - 1e-4, magnitude, magnitude + 1e-4])
        values, slopes = self._logarithm(at)
        along = (values[2] - values[0]) / 2e-4
        return math.sqrt(slopes[:, 1] @ self.covariance @ slopes[:, 1]) / abs(along)

    def _logarithm(self, magnitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln c at magnitudes, and its derivatives by the parameters (4, n)."""
        half, width, crowd, slope = self.parameters
        away = magnitude - self.middle
        noise = (away - half) / math.exp(width)
        near = math.exp(slope) * away - crowd
        value = -np.logaddexp(0, noise) - np.logaddexp(0, near)
        lost_to_noise, lost_to_crowd = (np.exp(-np.logaddexp(0, -each)) for each in (noise, near))
        return value, np.array(
            (
                lost_to_noise / math.exp(width),
                lost_to_noise * noise,
                lost_to_crowd,
                -lost_to_crowd * math.exp(slope) * away,
            )
        )

    def _likelihood(self, magnitude: np.ndarray, found: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """The logarithm of the likelihood with the prior, its gradient, and the Fisher information."""
        value, slopes = self._logarithm(magnitude)
        value = np.minimum(value, -1e-9)
        odds = 1 / np.expm1(-value)  # c / (1 - c)
        away = (self.parameters - self.USUAL) / self.SPREAD
        likelihood = np.where(found, value, np.log(-np.expm1(value))).sum() - (away**2).sum() / 2
        gradient = slopes @ np.where(found, 1.0, -odds) - away / self.SPREAD
        return float(likelihood), gradient, (slopes * odds) @ slopes.T + np.diag(self.SPREAD**-2)


def wilson(found: np.ndarray, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The one-sigma interval of a share, of which `found` out of `number` were seen.

    Wilson (1927), JASA 22, 209: it stays between 0 and 1, and has a width even where none or all are found.
    """
    share, widened = found / number, 1 + 1 / number
    centre = (share + 0.5 / number) / widened
    half = np.sqrt(share * (1 - share) / number + 0.25 / number**2) / widened
    return centre - half, centre + half


def with_error(value: float, error: float, between: str) -> str:
    """A number and its error, rounded to the significant digits."""
    return f"{float(f'{value:.4g}'):g} {between} {float(f'{error:.2g}'):g}"


def magnitude_of(flux: ArrayLike) -> np.ndarray:
    """The magnitude of a flux, for a zero point of 0."""
    return -2.5 * np.log10(np.asarray(flux, dtype=np.float64))


def flux_of(magnitude: ArrayLike) -> np.ndarray:
    """The flux of a magnitude, for a zero point of 0."""
    return 10 ** (-0.4 * np.asarray(magnitude, dtype=np.float64))


def _in_bins(stars: Stars, zeropoint: float | None) -> dict[str, np.ndarray]:
    """The columns of completeness.tsv; magnitudes are NaN without a zero point."""
    offset = 0.0 if zeropoint is None else -zeropoint % BIN
    number = np.floor((magnitude_of(stars.flux) - offset) / BIN)
    bins, of_bin = np.unique(-number, return_inverse=True)
    injected, found = np.bincount(of_bin), np.bincount(of_bin, weights=stars.found).astype(int)
    bright, faint = (offset + BIN * edge for edge in (-bins, 1 - bins))
    share = found / np.maximum(injected, 1)
    low, high = wilson(found, np.maximum(injected, 1))
    shift = math.nan if zeropoint is None else zeropoint
    return {
        "flux_low": flux_of(faint),
        "flux_high": flux_of(bright),
        "mag_low": bright + shift,
        "mag_high": faint + shift,
        "injected": injected,
        "found": found,
        "completeness": share,
        "error_low": share - low,
        "error_high": high - share,
    }


def _limit(curve: Losses, level: float, magnitude: np.ndarray, zeropoint: float | None) -> Limit:
    """Where a curve has this level, if there are stars of these magnitudes on both sides of it."""
    at = curve.magnitude_at(level)
    if not magnitude.min() < at < magnitude.max():
        return Limit()
    error = curve.error_at(at)
    flux = float(flux_of(at))
    flux_err = flux * error * math.log(10) / 2.5
    return Limit(flux, flux_err) if zeropoint is None else Limit(flux, flux_err, at + zeropoint, error)
