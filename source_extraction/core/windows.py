"""Parts of an image: rectangles, and what lies around marked pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """A part of an image: rows from `top` to before `bottom`, columns from `left` to before `right`."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """What a whole image has there."""
        return image[self.top : self.bottom, self.left : self.right]

    def grown(self, pixels: int, shape: tuple[int, int]) -> Window:
        """With a margin of that many pixels, as far as the image of this shape goes."""
        height, width = shape
        return Window(
            max(0, self.top - pixels),
            min(height, self.bottom + pixels),
            max(0, self.left - pixels),
            min(width, self.right + pixels),
        )

    def with_all(self, others: Sequence[Window]) -> Window:
        """The least window that holds this one and the others."""
        tops, bottoms, lefts, rights = zip(self, *others, strict=True)
        return Window(min(tops), max(bottoms), min(lefts), max(rights))

    def holds(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """True where a pixel lies in it."""
        return (y >= self.top) & (y < self.bottom) & (x >= self.left) & (x < self.right)


def blocks(shape: tuple[int, int], side: int) -> Iterator[Window]:
    """The squares of an image, smaller at its ends; one after the other from all over it, the same in every run."""
    height, width = shape
    corners = [(y, x) for y in range(0, height, side) for x in range(0, width, side)]
    for y, x in np.random.default_rng(0).permutation(corners).tolist():
        yield Window(y, min(y + side, height), x, min(x + side, width))


def grown(marked: np.ndarray, pixels: int) -> np.ndarray:
    """The marked pixels (height, width), and so many more on all sides, corners included."""
    near: np.ndarray = marked.copy()
    for axis, side in enumerate(marked.shape):
        reached, wanted = 0, min(pixels, side - 1)
        # Twice as far with every step: what is marked is a band already, even at an end as wide as it has reached.
        while reached < wanted:
            step = min(wanted - reached, reached + 1)
            before = near.copy()
            earlier, later = (slice(None),) * axis + (slice(-step),), (slice(None),) * axis + (slice(step, None),)
            near[later] |= before[earlier]
            near[earlier] |= before[later]
            reached += step
    return near
