"""The sources that are stars suited for the point spread function: those of the size of most bright ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .columns import PhotometryFlag

LEAST_SNR = 20.0
# With fewer, there is no point spread function; with the larger number, stars that a neighbour's light may have touched
# are not needed.
FEWEST, ENOUGH = 5, 50
# More than this many of the brightest add only computing time.
MOST = 400
# In standard deviations: how far the logarithm of a size and an ellipticity may be from those of most stars. The
# scatter of sizes is measured on the smaller ones, which are not galaxies, within the factor that stars can differ at
# all. It is taken to be no less than what noise does to a star with an S/N of 100, which a few stars may not show.
WIDTH, ROUNDNESS, AT_ALL = 2.5, 3.0, 1.3
LEAST_SIGMA = 0.01
# The image is split into this many parts per axis; a part with this many sources can tell the size of its stars.
PARTS, FEWEST_OF_A_PART, ROUNDS = 3, 12, 3
# Isolated: nothing brighter than this fraction of its flux is nearer than this many times its size (flux_radius).
COMPANION, APART = 0.05, 5.0
SPOILED = (
    PhotometryFlag.SATURATED
    | PhotometryFlag.NOT_WINDOWED
    | PhotometryFlag.NOT_MEASURED
    | PhotometryFlag.TRUNCATED
    | PhotometryFlag.ALL_COVERED
)


def choose_stars(catalog: Mapping[str, np.ndarray]) -> np.ndarray:
    """The rows of the stars in the order of the catalog, at most `MOST`; it needs the columns of every catalog.

    The half-sample mode of log(flux_radius) is the size of the stars, since galaxies have all sizes (Bickel &
    Fruehwirth 2006, Computational Statistics & Data Analysis 50, 3500).
    """
    usable = (catalog["flag"] == 0) & (catalog["snr"] > LEAST_SNR) & (catalog["flux_radius"] > 0)
    usable &= (catalog["flag_phot"] & int(SPOILED) == 0) & (catalog["masked_fraction"] == 0)
    clean = usable & (catalog["flag_phot"] == 0)
    found = _star_like(catalog, clean)
    if len(found) < ENOUGH:
        found = _star_like(catalog, usable)
    brightest = found[np.argsort(-catalog["snr"][found], kind="stable")[:MOST]]
    return np.sort(brightest)


def _star_like(catalog: Mapping[str, np.ndarray], usable: np.ndarray) -> np.ndarray:
    """The isolated ones of the usable sources that have the size and the roundness of most."""
    rows = np.flatnonzero(usable)
    if len(rows) < 2:
        return rows
    size = np.log(catalog["flux_radius"][rows])
    trend = _trend(size, catalog["x"][rows], catalog["y"][rows])
    alike, mode = _of_one_size(size - trend)
    rows = rows[alike]
    ellipticity = catalog["ellipticity"][rows]
    typical = float(np.median(ellipticity)) if len(rows) else 0.0
    spread = max(1.4826 * float(np.median(np.abs(ellipticity - typical))), LEAST_SIGMA) if len(rows) else LEAST_SIGMA
    rows = rows[ellipticity < typical + ROUNDNESS * spread]
    return rows[_isolated(catalog, rows, APART * np.exp(mode))]


def _of_one_size(size: np.ndarray) -> tuple[np.ndarray, float]:
    """Which logarithms of sizes belong to stars (boolean), and the mode of all."""
    mode = half_sample_mode(size)
    below = mode - size[(size <= mode) & (size > mode - np.log(AT_ALL))]
    sigma = max(1.4826 * float(np.median(below)), LEAST_SIGMA) if len(below) else LEAST_SIGMA
    return np.abs(size - mode) < min(WIDTH * sigma, np.log(AT_ALL)), mode


def _trend(size: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How much larger than average stars are at each position, in logarithms; 0 if there are too few.

    A plane through the modes of parts of the image, then through the stars near it: where the PSF varies, the stars on
    one side have quite another size than those on the other.
    """
    plane = np.zeros(len(size))
    if len(size) < PARTS**2 * FEWEST_OF_A_PART:
        return plane
    part = sum(
        factor * np.clip(PARTS * (at - at.min()) / max(float(np.ptp(at)), 1), 0, PARTS - 1).astype(int)
        for factor, at in ((1, x), (PARTS, y))
    )
    terms = np.column_stack((np.ones(len(size)), x - x.mean(), y - y.mean()))
    parts = [np.flatnonzero(part == number) for number in range(PARTS**2)]
    parts = [rows for rows in parts if len(rows) >= FEWEST_OF_A_PART]
    if len(parts) < PARTS**2 / 2:
        return plane
    modes = np.array([half_sample_mode(size[rows]) for rows in parts])
    at = np.array([terms[rows].mean(axis=0) for rows in parts])
    near = np.abs(modes - np.median(modes)) < np.log(AT_ALL)
    for _ in range(ROUNDS):
        coefficients = np.linalg.lstsq(at[near], modes[near], rcond=None)[0]
        plane = terms[:, 1:] @ coefficients[1:]
        alike, _ = _of_one_size(size - plane)
        at, modes, near = terms[alike], size[alike], np.ones(np.count_nonzero(alike), bool)
    return plane


def half_sample_mode(values: np.ndarray) -> float:
    """Where values lie densest: the half of them with the smallest range, then that half's half, and so on."""
    left = np.sort(values)
    while len(left) > 3:
        half = (len(left) + 1) // 2
        spans = left[half - 1 :] - left[: len(left) - half + 1]
        first = int(np.argmin(spans))
        left = left[first : first + half]
    if len(left) == 3:
        left = left[:2] if left[1] - left[0] < left[2] - left[1] else left[1:]
    return float(left.mean())


def _isolated(catalog: Mapping[str, np.ndarray], rows: np.ndarray, apart: float) -> np.ndarray:
    """Whether each source has no companion within a distance (pixels); boolean."""
    from scipy.spatial import KDTree

    places = np.column_stack((catalog["x"], catalog["y"]))
    flux = np.nan_to_num(catalog["flux_auto"])
    near = KDTree(places).query_ball_point(places[rows], apart)
    return np.array(
        [np.sum(flux[others] > COMPANION * flux[row]) <= 1 for row, others in zip(rows, near, strict=True)], bool
    )
