"""What cases of the fuzz test are made of: a sky of whole numbers, and the plain FITS file to compare others with."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

BLOCK, CARD = 2880, 80
UUID = "00000000-0000-0000-0000-000000000000"  # of OME-TIFF, which else has a new one each time


class Case(NamedTuple):
    """A file, the option that it is given to ("image": none), and what is given besides.

    `pixels` are what a valid file holds, float64, NaN where it holds nothing; None where the file is damaged.
    """

    kind: str
    content: bytes
    option: str = "image"
    arguments: tuple[str, ...] = ()
    pixels: np.ndarray | None = None


def pick(random: np.random.Generator, choices: Iterable[Any]) -> Any:
    """One of some things, as it is: `Generator.choice` makes numpy's own of them."""
    listed = list(choices)
    return listed[random.integers(len(listed))]


def chance(random: np.random.Generator, share: float) -> bool:
    """True in that share of the cases."""
    return bool(random.random() < share)


def counts(random: np.random.Generator, *shape: int) -> np.ndarray:
    """Whole numbers from 0 to 127, which every type holds: sky, and three sources in each plane."""
    sky = np.clip(random.normal(25, 3, shape).round(), 0, 47).astype(np.int64)
    height, width = shape[-2:]
    for plane in sky.reshape(-1, height, width):
        for _ in range(3):
            row, column = random.integers(3, height - 3), random.integers(3, width - 3)
            plane[row - 1 : row + 2, column - 1 : column + 2] += random.integers(15, 26)
    return np.minimum(sky, 127)


def size(random: np.random.Generator) -> tuple[int, int]:
    """Rows and columns, odd and even, never a whole number of tiles."""
    return int(random.integers(19, 60)), int(random.integers(19, 60))


def padded(data: bytes, filling: bytes = b"\0") -> bytes:
    """Whole blocks of FITS."""
    return data + filling * (-len(data) % BLOCK)


def plain_fits(pixels: np.ndarray) -> bytes:
    """The same values, as plainly as FITS has it: float32, or float64 where that would round; no library writes it."""
    with np.errstate(over="ignore"):
        rounds = not np.array_equal(pixels.astype(np.float32).astype(np.float64), pixels, equal_nan=True)
    height, width = pixels.shape
    values = {"SIMPLE": "T", "BITPIX": -64 if rounds else -32, "NAXIS": 2, "NAXIS1": width, "NAXIS2": height}
    cards = [f"{keyword:8}= {value:>20}".ljust(CARD) for keyword, value in values.items()]
    header = padded("".join([*cards, "END"]).encode(), b" ")
    return header + padded(pixels.astype(">f8" if rounds else ">f4").tobytes())
