"""Images of the kinds that advice is given on, of which the truth is known: x and y of what is to be found."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.fft import dctn, idctn

SAME_SOURCE = 3.0  # pixels
NOISE = 10.0


class Known(NamedTuple):
    """`pixels` (height, width), and `positions` of the sources (number, 2): x and y in pixels from 0.

    A source is found where something is found within `reach` pixels of it, and nothing else is right.
    """

    pixels: np.ndarray
    positions: np.ndarray
    reach: float = SAME_SOURCE


class Score(NamedTuple):
    """The share of the sources that were found, and the share of what was found that is one, each source once."""

    completeness: float
    purity: float


def score(x: np.ndarray, y: np.ndarray, known: Known) -> Score:
    """How good a catalog is. A source is matched once: what else is found of it is false."""
    if not len(x):
        return Score(0.0, 1.0)
    away = np.hypot(x[:, None] - known.positions[None, :, 0], y[:, None] - known.positions[None, :, 1])
    nearest = away.argmin(axis=1)
    matched = np.unique(nearest[away.min(axis=1) < known.reach])
    return Score(len(matched) / len(known.positions), len(matched) / len(x))


def stars(shape: tuple[int, int], positions: np.ndarray, peaks: np.ndarray | float, fwhm: float) -> np.ndarray:
    """Gaussian stars on nothing."""
    image, sigma = np.zeros(shape), fwhm / 2.3548
    reach = int(np.ceil(5 * sigma))
    for (x, y), peak in zip(positions, np.broadcast_to(peaks, len(positions)), strict=True):
        rows = np.arange(max(0, round(y) - reach), min(shape[0], round(y) + reach + 1))
        columns = np.arange(max(0, round(x) - reach), min(shape[1], round(x) + reach + 1))
        away = (columns[None, :] - x) ** 2 + (rows[:, None] - y) ** 2
        image[np.ix_(rows, columns)] += peak * np.exp(-away / (2 * sigma**2))
    return image


def scattered(shape: tuple[int, int], number: int, apart: float, random: np.random.Generator) -> np.ndarray:
    """Positions (number, 2), none nearer than `apart` to another or to the edge."""
    found: list[tuple[float, float]] = []
    for _ in range(200 * number):
        x, y = random.uniform(apart / 2, shape[1] - apart / 2), random.uniform(apart / 2, shape[0] - apart / 2)
        if all((x - a) ** 2 + (y - b) ** 2 > apart**2 for a, b in found):
            found.append((x, y))
        if len(found) == number:
            break
    return np.array(found)


def of_stars(seed: int = 0, *, shape: tuple[int, int] = (400, 480), number: int = 60, fwhm: float = 3.5) -> Known:
    """An ordinary field: nothing is wrong with it."""
    random = np.random.default_rng(seed)
    positions = scattered(shape, number, 8 * fwhm, random)
    peaks = NOISE * np.exp(random.uniform(np.log(4), np.log(300), len(positions)))
    return Known(stars(shape, positions, peaks, fwhm) + random.normal(200, NOISE, shape), positions)


def of_one_brightness(seed: int = 0) -> Known:
    """Stars of which each is nearly as faint as can be found."""
    random = np.random.default_rng(seed)
    shape = (400, 400)
    positions = scattered(shape, 200, 15, random)
    return Known(stars(shape, positions, 3 * NOISE, 3.0) + random.normal(200, NOISE, shape), positions)


def larger_than_mesh(seed: int = 0) -> Known:
    """Cells that are three times as large as those of the mesh, and small ones."""
    random = np.random.default_rng(seed)
    shape = (800, 800)
    positions = np.array([(200.0, 200.0), (580.0, 230.0), (320.0, 600.0)])
    positions += random.uniform(-10, 10, positions.shape)
    y, x = np.indices(shape)
    image = np.zeros(shape)
    for x0, y0 in positions:
        ratio, angle = random.uniform(0.8, 1), random.uniform(0, np.pi)
        dx, dy = x - x0, y - y0
        along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        image += 60 * NOISE / (1 + np.exp((np.hypot(along, across / ratio) - 110) / 4))
    image *= 1 + 0.1 * _smooth(shape, 12, random)
    return Known(image + random.normal(200, NOISE, shape), positions, reach=30)


def large_galaxies(seed: int = 0) -> Known:
    """Galaxies whose discs are as large as the mesh's cells, with arms and knots, among stars."""
    random = np.random.default_rng(seed)
    shape = (600, 600)
    positions = np.array([(170.0, 190.0), (420.0, 400.0)])
    y, x = np.indices(shape)
    image = np.zeros(shape)
    for x0, y0 in positions:
        radius, angle = np.hypot(x - x0, y - y0), np.arctan2(y - y0, x - x0)
        arms = 1 + 0.6 * np.cos(2 * angle - radius / 14)
        image += 60 * NOISE * np.exp(-radius / 35) * arms + 200 * NOISE * np.exp(-((radius / 6) ** 2))
    more = scattered(shape, 40, 40, random)
    more = more[np.min(np.hypot(*(more[:, None] - positions[None]).transpose(2, 0, 1)), axis=1) > 130]
    image += stars(shape, more, 30 * NOISE, 3.5)
    return Known(image + random.normal(200, NOISE, shape), np.concatenate((positions, more)))


def crowded(seed: int = 0, *, number: int = 900) -> Known:
    """The core of a globular cluster: stars of FWHM 4 whose wings overlap."""
    random = np.random.default_rng(seed)
    shape = (300, 300)
    radius = 45 * np.sqrt(1 / (1 - random.uniform(0, 0.92, number)) - 1)
    angle = random.uniform(0, 2 * np.pi, number)
    positions = np.column_stack((150 + radius * np.cos(angle), 150 + radius * np.sin(angle)))
    peaks = 8 * NOISE * random.uniform(size=number) ** (-1 / 1.2)
    inside = ((positions > 5) & (positions < 295)).all(axis=1)
    positions, peaks = positions[inside], np.minimum(peaks, 400 * NOISE)[inside]
    return Known(stars(shape, positions, peaks, 4.0) + random.normal(200, NOISE, shape), positions)


def spots_on_structure(seed: int = 0) -> Known:
    """Single molecules: spots of FWHM 3 on the light of the cells that they are in."""
    random = np.random.default_rng(seed)
    shape = (512, 512)
    cells = scattered(shape, 7, 150, random)
    y, x = np.indices(shape)
    image, inside = np.zeros(shape), np.zeros(shape, bool)
    for x0, y0 in cells:
        radius = np.hypot(x - x0, y - y0)
        image += 80 * NOISE / (1 + np.exp((radius - 50) / 8))
        inside |= radius < 48
    positions = scattered(shape, 400, 9, random)
    positions = positions[inside[tuple(np.rint(positions).astype(int).T[::-1])]]
    image = ndimage.gaussian_filter(image, 4) + stars(shape, positions, 30 * NOISE, 3.0)
    return Known(image + random.normal(200, NOISE, shape), positions)


def spots_on_tissue(seed: int = 0) -> Known:
    """Spots of FWHM 4 on cells side by side, each of its own brightness, with narrow gaps."""
    random = np.random.default_rng(seed)
    shape = (400, 400)
    positions = scattered(shape, 150, 14, random)
    y, x = np.indices(shape)
    cells = np.zeros(shape)
    for _ in range(80):
        x0, y0, radius, light = random.uniform((0, 0, 15, 3), (400, 400, 35, 12))
        cells = np.maximum(cells, light * NOISE / (1 + np.exp((np.hypot(x - x0, y - y0) - radius) / 3)))
    spots = stars(shape, positions, 20 * NOISE, 4.0)
    return Known(200 + cells + spots + NOISE * _smooth(shape, 1.0, random), positions)


def packed(seed: int = 0) -> Known:
    """Blinking molecules: spots of FWHM 3 so dense that most touch another, on an even ground."""
    random = np.random.default_rng(seed)
    shape = (256, 256)
    positions = 20 + scattered((216, 216), 1200, 4.5, random)
    peaks = NOISE * random.uniform(60, 100, len(positions))
    return Known(stars(shape, positions, peaks, 3.0) + random.normal(200, NOISE, shape), positions, reach=1.5)


def magnitudes(seed: int = 0) -> Known:
    """A magnetic resonance image: the noise is that of a length, which is skewed, and its pixels share it."""
    random = np.random.default_rng(seed)
    shape = (384, 384)
    positions = scattered(shape, 5, 100, random)
    signal = stars(shape, positions, 60 * NOISE, 20.0)
    real, imaginary = (NOISE * _smooth(shape, 1.0, random) for _ in range(2))
    return Known(np.rint(np.hypot(signal + real, imaginary)), positions)


def subtracted(seed: int = 0) -> Known:
    """A difference of two images: few sources that changed, and what is left, light and dark, of bright stars."""
    random = np.random.default_rng(seed)
    known = correlated(seed)
    shape = known.pixels.shape
    new, left = known.positions[:10], known.positions[10:20]
    image = stars(shape, new, 30 * NOISE, 4.5)
    image += stars(shape, left, 300 * NOISE, 4.5) - stars(shape, left + 0.3, 300 * NOISE, 4.5)
    return Known(image + NOISE * _smooth(shape, 1.2, random), np.concatenate((new, left)), reach=6.0)


def cut_off_sky(seed: int = 0) -> Known:
    """A picture whose sky ends at its lowest value, and comes near to it smoothly, as pictures without noise do."""
    random = np.random.default_rng(seed)
    shape = (256, 256)
    positions = scattered(shape, 60, 22, random)
    ground = np.maximum(_smooth(shape, 40, random), 0)
    return Known((stars(shape, positions, 50.0, 6.0) + ground).astype(np.float32), positions)


def nuclei(seed: int = 1) -> Known:
    """Nuclei side by side in 8 bits: the background follows them, with dark gaps; no source is noise."""
    random = np.random.default_rng(seed)
    shape = (500, 500)
    positions = scattered((200, 500), 110, 21, random) + np.array([0, 190])
    y, x = np.indices(shape)
    image = random.normal(12, 2, shape)
    for x0, y0 in positions:
        image += random.uniform(20, 90) / (1 + np.exp((np.hypot(x - x0, y - y0) - 8) / 1.5))
    return Known(np.rint(image).astype(np.uint8), positions)


def hot_pixels(seed: int = 0) -> Known:
    """An ordinary field with hot pixels, which a camera without darks has."""
    random = np.random.default_rng(seed)
    known = of_stars(seed)
    shape = known.pixels.shape
    where = random.choice(known.pixels.size, 120, replace=False)
    known.pixels.ravel()[where] += NOISE * np.exp(random.uniform(np.log(30), np.log(800), len(where)))
    return Known(np.rint(known.pixels).reshape(shape), known.positions)


def correlated(seed: int = 0, *, smoothing: float = 1.2) -> Known:
    """A resampled image: its pixels share their noise, so that noise has the size of faint stars."""
    random = np.random.default_rng(seed)
    shape = (512, 512)
    positions = scattered(shape, 60, 30, random)
    noise = ndimage.gaussian_filter(random.normal(0, 1, shape), smoothing)
    peaks = NOISE * np.exp(random.uniform(np.log(8), np.log(300), len(positions)))
    return Known(stars(shape, positions, peaks, 4.5) + 200 + NOISE * noise / noise.std(), positions)


def quantised(seed: int = 0) -> Known:
    """A picture of grey levels whose noise is compressed as JPEG does: blocks of a few coefficients."""
    known = of_stars(seed, shape=(400, 480))
    image = (known.pixels - 200) / NOISE * 2 + 20
    blocks = image.reshape(50, 8, 60, 8).transpose(0, 2, 1, 3)
    coefficients = dctn(blocks, axes=(2, 3), norm="ortho")
    y, x = np.indices((8, 8))
    step = 2.0 + 1.5 * (x + y)
    image = idctn(np.rint(coefficients / step) * step, axes=(2, 3), norm="ortho").transpose(0, 2, 1, 3)
    return Known(np.clip(np.rint(image.reshape(400, 480)), 0, 255).astype(np.uint8), known.positions)


def compressed(seed: int = 1) -> Known:
    """A picture of which the compression left the mean and the slopes of its blocks, but for what is bright."""
    random = np.random.default_rng(seed)
    shape = (320, 320)
    positions = scattered(shape, 8, 60, random)
    image = 8 + 5 * np.exp(0.5 * _smooth(shape, 5, random)) + stars(shape, positions, 120.0, 14.0)
    coefficients = dctn(image.reshape(40, 8, 40, 8).transpose(0, 2, 1, 3), axes=(2, 3), norm="ortho")
    coefficients[np.abs(coefficients) < 12] = 0
    blocks = idctn(coefficients, axes=(2, 3), norm="ortho").transpose(0, 2, 1, 3)
    return Known(np.clip(np.rint(blocks.reshape(shape)), 0, 255).astype(np.uint8), positions)


def mosaic(seed: int = 0, *, value: float = 0.0, valid: float = 0.1) -> Known:
    """A tilted footprint in a frame of one exact value."""
    random = np.random.default_rng(seed)
    shape = (600, 600)
    y, x = np.indices(shape)
    along, across = (x - 300) * 0.8 + (y - 300) * 0.6, (y - 300) * 0.8 - (x - 300) * 0.6
    half = np.sqrt(valid) * 300
    inside = (np.abs(along) < half) & (np.abs(across) < half)
    positions = scattered(shape, 120, 28, random)
    at = np.rint(positions).astype(int)
    positions = positions[ndimage.binary_erosion(inside, iterations=6)[at[:, 1], at[:, 0]]]
    peaks = NOISE * np.exp(random.uniform(np.log(6), np.log(300), len(positions)))
    image = stars(shape, positions, peaks, 3.5) + random.normal(0.4 * NOISE, NOISE, shape)
    return Known(np.where(inside, image, value).astype(np.float32), positions)


def labels(seed: int = 0) -> Known:
    """An image without noise: discs, each of its own value."""
    random = np.random.default_rng(seed)
    shape = (300, 300)
    positions = scattered(shape, 60, 30, random)
    y, x = np.indices(shape)
    image = np.zeros(shape, np.uint16)
    for number, (x0, y0) in enumerate(positions, 1):
        image[np.hypot(x - x0, y - y0) < random.uniform(3, 13)] = number
    return Known(image, positions)


def saturated(seed: int = 0) -> Known:
    """Stars whose tops are cut off at what the detector holds."""
    known = of_stars(seed)
    return Known(np.minimum(known.pixels, 200 + 60 * NOISE).astype(np.uint16), known.positions)


def wide_seeing(seed: int = 0, *, fwhm: float = 9.0) -> Known:
    """Stars of bad seeing, most of them faint."""
    random = np.random.default_rng(seed)
    shape = (640, 640)
    positions = scattered(shape, 150, 40, random)
    peaks = NOISE * np.exp(random.uniform(np.log(0.7), np.log(30), len(positions)))
    return Known(stars(shape, positions, peaks, fwhm) + random.normal(200, NOISE, shape), positions)


def tissue(seed: int = 0) -> Known:
    """Membranes: walls between cells everywhere, no single source."""
    random = np.random.default_rng(seed)
    shape = (400, 400)
    places = scattered(shape, 150, 20, random)
    away = np.full(shape, np.inf)
    second = away.copy()
    y, x = np.indices(shape)
    for x0, y0 in places:
        distance = np.hypot(x - x0, y - y0)
        second = np.minimum(second, np.maximum(away, distance))
        away = np.minimum(away, distance)
    walls = np.exp(-(((second - away) / 3) ** 2))
    return Known(60 * NOISE * walls + random.normal(200, NOISE, shape), places)


def _smooth(shape: tuple[int, int], sigma: float, random: np.random.Generator) -> np.ndarray:
    noise = ndimage.gaussian_filter(random.normal(0, 1, shape), sigma)
    return np.asarray(noise / noise.std())


KINDS: dict[str, Callable[..., Known]] = {
    "larger_than_mesh": larger_than_mesh,
    "crowded": crowded,
    "spots_on_structure": spots_on_structure,
    "hot_pixels": hot_pixels,
    "noise_in_catalog": correlated,
    "quantised": quantised,
    "zeros_outside": mosaic,
    "no_noise": labels,
    "saturated": saturated,
    "seeing": wide_seeing,
    "not_spots": tissue,
}
