"""Sources with known light on the noise of stacks: of images that were dithered, turned, and resampled.

Resampling is linear, so the stack of exposures is the stack of their noise and that of their light. The noise here has
been through the exposures; the light, which is known then, is drawn on the stack.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import sep
from scipy.ndimage import affine_transform

from source_extraction import Result
from tests.simulated_sky import RECORD, add_source

EXPOSURES = 8
LANCZOS = 3
# Drizzled pixels are half as large as those of the exposures, drops have this part of an exposure's pixel (pixfrac).
FINER, DROP = 2, 1.0
DIAMETERS = (5, 10)
NAMES = ("flux_auto", "flux_aper_5", "flux_aper_10", "flux_iso", "x_win", "y_win")
LEAST_SNR, MOST_SNR = 10, 100
SAME_SOURCE = 3.0  # pixels


@dataclass
class Stack:
    """`pixels` is the `light` and noise of standard deviation 1 (height, width), `truth` the sources, see RECORD."""

    pixels: np.ndarray
    light: np.ndarray
    truth: np.ndarray


@dataclass
class Measured:
    """What a program measured on a stack, one row per source, by the names of our columns.

    `columns` has at least x, y, a, b, theta and kron_radius, the ellipses of `flux_auto`; `errors` those of the fluxes
    and positions in it. `segmentation` has the `labels` of the sources, `usable` is True where nothing is flagged.
    `truth` are the fluxes without noise where apertures are not SEP's.
    """

    columns: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    labels: np.ndarray
    segmentation: np.ndarray
    usable: np.ndarray
    truth: dict[str, np.ndarray] | None = None

    @classmethod
    def of(cls, result: Result) -> "Measured":
        """What we measured."""
        table = result.to_pandas()
        columns = {name: table[name].to_numpy() for name in table if name != "image"}
        usable = ((table["flag"] == 0) & (table["flag_phot"] == 0)).to_numpy()
        errors = {name: columns[f"{name}_err"] for name in NAMES}
        return cls(columns, errors, table.index.to_numpy(np.int32), result.segmentation, usable)

    def pulls(self, stack: Stack) -> dict[str, np.ndarray]:
        """Deviations from the truth in units of the error that was given, of sources with an S/N from 10 to 100."""
        x, y = self.columns["x"], self.columns["y"]
        away = np.hypot(x[:, None] - stack.truth["x"], y[:, None] - stack.truth["y"])
        nearest = stack.truth[away.argmin(axis=1)]
        fluxes = self.truth or self.light_in_apertures(stack.light)
        truth = fluxes | {"x_win": nearest["x"], "y_win": nearest["y"]}
        snr = truth["flux_auto"] / self.errors["flux_auto"]
        chosen = self.usable & (away.min(axis=1) < SAME_SOURCE) & (snr > LEAST_SNR) & (snr < MOST_SNR)
        return {name: ((self.columns[name] - truth[name]) / self.errors[name])[chosen] for name in self.errors}

    def light_in_apertures(self, light: np.ndarray) -> dict[str, np.ndarray]:
        """The fluxes that the same pixels have without noise."""
        x, y, a, b, theta, kron_radius = (
            self.columns[name].astype(np.float64) for name in ("x", "y", "a", "b", "theta", "kron_radius")
        )
        of_source = {"seg_id": self.labels, "segmap": self.segmentation}
        theta = np.clip(theta, -np.pi / 2, np.pi / 2)
        auto, _, _ = sep.sum_ellipse(light, x, y, a, b, theta, kron_radius, subpix=1, **of_source)
        circles = {
            f"flux_aper_{diameter}": sep.sum_circle(light, x, y, diameter / 2, subpix=5, **of_source)[0]
            for diameter in DIAMETERS
        }
        iso = np.bincount(self.segmentation.ravel(), light.ravel(), minlength=self.labels.max() + 1)
        return {"flux_auto": auto, "flux_iso": iso[self.labels]} | circles


def width(pulls: np.ndarray) -> float:
    """Half the central 68 %: 1 where errors are true."""
    low, high = np.percentile(pulls, (15.87, 84.13))
    return float(high - low) / 2


def simulate_stack(kind: str, side: int, seed: int) -> Stack:
    """A field of `side` x `side` pixels with sources that are alone, a jittered grid of them.

    `kind` is one of KINDS. Fluxes are such that the S/N of most lies between 10 and 100.
    """
    random = np.random.default_rng(seed)
    noise, fwhm, faintest = KINDS[kind](side, random), *SIZES.get(kind, (3.5, 100.0))
    noise /= np.nanstd(noise)
    spacing = round(9 * fwhm)
    places = np.arange(spacing, side - spacing, spacing)
    y, x = (each.ravel() for each in np.meshgrid(places, places, indexing="ij"))
    truth = np.zeros(len(x), dtype=RECORD)
    truth["x"], truth["y"] = (each + random.uniform(-1, 1, len(x)) for each in (x, y))
    truth["flux"] = faintest * 20 ** random.uniform(size=len(x))
    truth["galaxy"] = random.uniform(size=len(x)) < 0.3
    truth["radius"] = np.where(truth["galaxy"], fwhm * random.uniform(0.6, 1, len(x)), fwhm / 2)
    truth["ratio"] = np.where(truth["galaxy"], random.uniform(0.4, 1, len(x)), 1)
    truth["theta"] = np.where(truth["galaxy"], random.uniform(-np.pi / 2, np.pi / 2, len(x)), 0)
    light = np.zeros((side, side))
    for source in truth:
        add_source(light, source, fwhm)
    return Stack((noise + light).astype(np.float32), light.astype(np.float32), truth)


def white(side: int, random: np.random.Generator) -> np.ndarray:
    """One exposure, as it is."""
    return random.normal(size=(side, side))


def bilinear(side: int, random: np.random.Generator) -> np.ndarray:
    """Exposures interpolated between the four nearest pixels, as most do."""
    return _mean(side, random, 1, _bilinear)


def finer_bilinear(side: int, random: np.random.Generator) -> np.ndarray:
    """The same on pixels half as large."""
    return _mean(side, random, 2, _bilinear)


def lanczos3(side: int, random: np.random.Generator) -> np.ndarray:
    """Exposures interpolated as SWarp does by default."""
    return _mean(side, random, 1, _lanczos)


def drizzled(side: int, random: np.random.Generator) -> np.ndarray:
    """Exposures drizzled on pixels half as large, by STScI's package."""
    from drizzle.resample import Drizzle

    image = Drizzle(kernel="square", out_shape=(side, side))
    for matrix, shift in _geometries(random):
        # Where each pixel of the exposure falls on the stack.
        own = _own_side(side, FINER)
        pixels = np.stack(np.meshgrid(np.arange(own), np.arange(own), indexing="ij"))
        centre = (side - 1) / 2, (own - 1) / 2
        turned = np.tensordot(matrix, pixels - centre[1], axes=1) * FINER + centre[0] + shift[:, None, None]
        exposure = random.normal(size=(own, own)).astype(np.float32)
        image.add_image(exposure, exptime=1.0, pixmap=np.stack((turned[1], turned[0]), axis=-1), pixfrac=DROP)
    return image.out_img.astype(np.float64)


KINDS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "white": white,
    "lanczos3": lanczos3,
    "bilinear": bilinear,
    "drizzled": drizzled,
    "finer_bilinear": finer_bilinear,
}
# FWHM of the stars in pixels, and the faintest flux, where they are others.
SIZES = {
    "lanczos3": (3.5, 110.0),
    "bilinear": (3.5, 150.0),
    "drizzled": (7.0, 400.0),
    "finer_bilinear": (7.0, 600.0),
}


def _mean(
    side: int,
    random: np.random.Generator,
    finer: int,
    resample: Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray],
) -> np.ndarray:
    """The mean of exposures that are resampled to pixels `finer` times as small."""
    total, own = np.zeros((side, side)), _own_side(side, finer)
    for matrix, shift in _geometries(random):
        # Pixels of the stack on the exposure, about their centres.
        inverse = matrix.T / finer
        offset = (own - 1) / 2 - inverse @ np.full(2, (side - 1) / 2) + shift
        total += resample(random.normal(size=(own, own)), inverse, offset, side)
    return total / EXPOSURES


def _geometries(random: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """How each exposure is turned, by up to 5 degrees, and shifted."""
    angles = np.radians(random.uniform(-5, 5, EXPOSURES))
    return [
        (np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]), random.uniform(-2, 2, 2))
        for angle in angles
    ]


def _own_side(side: int, finer: int) -> int:
    """Of exposures that cover the stack however they are turned."""
    return int(1.15 * side / finer) + 32


def _lanczos(exposure: np.ndarray, matrix: np.ndarray, offset: np.ndarray, side: int) -> np.ndarray:
    """An exposure at the pixels that an affine map says, with 6 x 6 weights for each."""
    pixels = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"))
    at = np.tensordot(matrix, pixels, axes=1) + offset[:, None, None]
    first = np.floor(at).astype(int)
    steps = np.arange(1 - LANCZOS, LANCZOS + 1)
    rows, columns = ([_lanczos_weight(fraction - step) for step in steps] for fraction in at - first)
    start = first[0] * len(exposure) + first[1]
    found = np.zeros((side, side))
    for row, row_weight in zip(steps, rows, strict=True):
        for column, column_weight in zip(steps, columns, strict=True):
            found += row_weight * column_weight * exposure.ravel()[start + (row * len(exposure) + column)]
    return found / (sum(rows) * sum(columns))


def _lanczos_weight(distance: np.ndarray) -> np.ndarray:
    return np.where(np.abs(distance) < LANCZOS, np.sinc(distance) * np.sinc(distance / LANCZOS), 0)


def _bilinear(exposure: np.ndarray, matrix: np.ndarray, offset: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(affine_transform(exposure, matrix, offset, output_shape=(side, side), order=1))
