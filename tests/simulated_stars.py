"""Fields of stars, whose PSF is known everywhere, and of galaxies that are blurred by it."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree
from scipy.stats import rankdata

from tests.simulated_sky import MOFFAT_BETA, RECORD, add_source
from tests.simulated_stacks import width

BACKGROUND = 200.0
SAME_SOURCE = 2.0  # pixels
# Sources a pixel, and the flux of the faintest.
KINDS = {"sparse": (0.0012, 300.0), "crowded": (0.0062, 400.0)}
# b of Sersic's profile: half of the light within the half-light radius. Both are sums of exponential variates.
EXPONENTIAL, DE_VAUCOULEURS = 1.6783, 7.6692


@dataclass
class Field:
    """`pixels` (height, width), float32, in electrons; `truth` a structured array, one record per source, see RECORD.

    `fwhm` (a number a source) is that of the PSF where the source is, before it is sampled.
    """

    pixels: np.ndarray
    truth: np.ndarray
    fwhm: np.ndarray

    def optimum(self) -> np.ndarray:
        """The standard deviation that the flux of each has at best, by the noise of the sky and its own, if a star."""
        offset = np.arange(-15, 16)
        squared = offset**2 + offset[:, np.newaxis] ** 2
        stars = np.array([moffat(squared, fwhm) for fwhm in self.fwhm])
        flux = self.truth["flux"][:, np.newaxis, np.newaxis]
        return np.asarray(1 / np.sqrt((stars**2 / (BACKGROUND + flux * stars)).sum(axis=(1, 2))))


def simulate_stars(
    side: int,
    number: int,
    seed: int,
    *,
    fwhm: float = 3.5,
    rise: float = 0.0,
    galaxies: float = 0.3,
    faintest: float = 300.0,
    brightest: float = 1e6,
    slope: float = 0.8,
    sizes: tuple[float, float] = (0.25, 1.2),
) -> Field:
    """Draw `number` sources with N(>F) ~ F^-slope, uniformly over the image, and Poisson noise.

    The FWHM of the stars, in pixels, rises by the part `rise` of it from the left edge to the right. The share
    `galaxies` are exponential discs and de Vaucouleurs' bulges, one as often as the other, with half-light radii of
    `sizes` FWHM, any axis ratio above 0.3, drawn photon by photon.
    """
    random = np.random.default_rng(seed)
    truth = np.zeros(number, dtype=RECORD)
    truth["x"], truth["y"] = random.uniform(-0.5, side - 0.5, (2, number))
    truth["flux"] = np.minimum(faintest * random.uniform(size=number) ** (-1 / slope), brightest)
    truth["galaxy"] = random.uniform(size=number) < galaxies
    widths = fwhm * (1 + rise * (truth["x"] / side - 0.5))
    truth["radius"], truth["ratio"] = widths / 2, 1
    light = np.zeros((side, side))
    for row in np.flatnonzero(~truth["galaxy"]):
        add_source(light, truth[row], widths[row])
    pixels = random.poisson(BACKGROUND + light).astype(np.float64)
    for row in np.flatnonzero(truth["galaxy"]):
        source = truth[row]
        source["radius"] = widths[row] * np.exp(random.uniform(*np.log(sizes)))
        source["ratio"], source["theta"] = random.uniform(0.3, 1), random.uniform(-np.pi / 2, np.pi / 2)
        _add_photons(pixels, source, widths[row], bool(random.integers(2)), random)
    return Field(pixels.astype(np.float32), truth, widths)


def moffat(squared: np.ndarray, fwhm: float) -> np.ndarray:
    """The PSF at squared distances, in pixels."""
    core = fwhm / (2 * np.sqrt(2 ** (1 / MOFFAT_BETA) - 1))
    return np.asarray((1 + squared / core**2) ** -MOFFAT_BETA * (MOFFAT_BETA - 1) / (np.pi * core**2))


def _add_photons(pixels: np.ndarray, source: np.void, fwhm: float, bulge: bool, random: np.random.Generator) -> None:
    """Add a galaxy: every photon comes from a place in it, and the PSF has moved it."""
    number = random.poisson(source["flux"])
    radius, first, second = source["radius"], *random.uniform(0, 2 * np.pi, (2, number))
    if bulge:
        distance = radius * (random.gamma(8, size=number) / DE_VAUCOULEURS) ** 4
    else:
        distance = radius * random.gamma(2, size=number) / EXPONENTIAL
    # The area of the ellipse is that of the circle.
    along = distance * np.cos(first) / np.sqrt(source["ratio"])
    across = distance * np.sin(first) * np.sqrt(source["ratio"])
    cos, sin = np.cos(source["theta"]), np.sin(source["theta"])
    core = fwhm / (2 * np.sqrt(2 ** (1 / MOFFAT_BETA) - 1))
    blur = core * np.sqrt((1 - random.uniform(size=number)) ** (1 / (1 - MOFFAT_BETA)) - 1)
    x = np.rint(source["x"] + along * cos - across * sin + blur * np.cos(second)).astype(int)
    y = np.rint(source["y"] + along * sin + across * cos + blur * np.sin(second)).astype(int)
    height, width = pixels.shape
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    np.add.at(pixels, (y[inside], x[inside]), 1)


@dataclass
class Compared:
    """A catalog beside the truth, a row for each detection: what was measured, and the source that it is.

    `true` are records of the brightest sources within two pixels, `optimum` their least errors, and `known` is False
    where there is none.
    """

    columns: dict[str, np.ndarray]
    true: np.ndarray
    optimum: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, columns: dict[str, np.ndarray], field: Field) -> "Compared":
        near = KDTree(np.column_stack((field.truth["x"], field.truth["y"]))).query_ball_point(
            np.column_stack((columns["x"], columns["y"])), SAME_SOURCE
        )
        flux = field.truth["flux"]
        rows = np.array([max(each, key=flux.__getitem__) if each else -1 for each in near], dtype=int)
        return cls(columns, field.truth[rows], field.optimum()[rows], rows >= 0)

    @classmethod
    def joined(cls, parts: list["Compared"]) -> "Compared":
        names = parts[0].columns
        columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in names}
        rest = (np.concatenate([getattr(part, name) for part in parts]) for name in ("true", "optimum", "known"))
        return cls(columns, *rest)

    def stars(self, least: float, most: float) -> np.ndarray:
        """Which are stars that could be measured with an S/N in a range at best."""
        snr = self.true["flux"] / self.optimum
        return self.known & ~self.true["galaxy"] & (snr >= least) & (snr < most)

    def bias(self, flux: str, least: float, most: float) -> float:
        """By which part the fluxes of stars are too high (the median)."""
        chosen = self.stars(least, most) & np.isfinite(self.columns[flux])
        return float(np.median(self.columns[flux][chosen] / self.true["flux"][chosen]) - 1)

    def scatter(self, flux: str, least: float, most: float) -> float:
        """Half the central 68 % of the errors of stars' fluxes, in units of the least errors; a bias is taken off."""
        chosen = self.stars(least, most) & np.isfinite(self.columns[flux])
        factor = np.median(self.columns[flux][chosen] / self.true["flux"][chosen])
        return width((self.columns[flux][chosen] / factor - self.true["flux"][chosen]) / self.optimum[chosen])

    def pull(self, flux: str, least: float, most: float) -> float:
        """Half the central 68 % of the errors of stars' fluxes in units of the error that was given."""
        chosen = self.stars(least, most) & np.isfinite(self.columns[flux])
        away = self.columns[flux][chosen] - self.true["flux"][chosen]
        return width(away / self.columns[f"{flux}_err"][chosen])

    def area_under_curve(self, name: str, least: float, most: float) -> float:
        """How often a galaxy has the larger value than a star, of sources in a range of the catalog's S/N."""
        snr, values = self.columns["snr"], self.columns[name]
        chosen = self.known & (snr >= least) & (snr < most) & np.isfinite(values)
        galaxy = self.true["galaxy"][chosen]
        ranks = rankdata(values[chosen])
        number, others = np.count_nonzero(galaxy), np.count_nonzero(~galaxy)
        return float((ranks[galaxy].sum() - number * (number + 1) / 2) / (number * others))
