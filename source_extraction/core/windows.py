"""Parts of an image: rectangles, and what lies around marked pixels."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .room import Room

# A megabyte of float32: what is computed of a strip stays in the processor's cache, and the next one uses its memory
# again. For larger ones the system would take longer to provide fresh memory than to write a map.
PIXELS_OF_STRIP = 2**18


class Window(NamedTuple):
    """A part of an image: rows from `top` to before `bottom`, columns from `left` to before `right`."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> int:
        """Its number of pixels."""
        return (self.bottom - self.top) * (self.right - self.left)

    @property
    def longest(self) -> int:
        """The length of its longer side, in pixels."""
        return max(self.bottom - self.top, self.right - self.left)

    def of(self, image: np.ndarray) -> np.ndarray:
        """The part of an image inside the window."""
        return image[self.top : self.bottom, self.left : self.right]

    def grown(self, pixels: int, shape: tuple[int, int]) -> Window:
        """The window with a margin of that many pixels, cut at the edges of an image of this shape."""
        height, width = shape
        return Window(
            max(0, self.top - pixels),
            min(height, self.bottom + pixels),
            max(0, self.left - pixels),
            min(width, self.right + pixels),
        )

    def moved(self, down: int, right: int) -> Window:
        """The window shifted by this many pixels."""
        return Window(self.top + down, self.bottom + down, self.left + right, self.right + right)

    def with_all(self, others: Sequence[Window]) -> Window:
        """The smallest window that holds this one and the others."""
        tops, bottoms, lefts, rights = zip(self, *others, strict=True)
        return Window(min(tops), max(bottoms), min(lefts), max(rights))

    def covers(self, other: Window) -> bool:
        """Whether another window lies inside this one."""
        return (
            self.top <= other.top
            and self.bottom >= other.bottom
            and self.left <= other.left
            and self.right >= other.right
        )

    def holds(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """True for pixels inside the window."""
        return (y >= self.top) & (y < self.bottom) & (x >= self.left) & (x < self.right)


@dataclass(frozen=True)
class Map:
    """A map of an image, `shape` (height, width), computed only where it is read, and never all at once."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    of: Callable[[Window], np.ndarray]

    @classmethod
    def showing(cls, pixels: np.ndarray) -> Map:
        """The map of an array's values."""
        height, width = pixels.shape
        return cls((height, width), pixels.dtype, lambda window: window.of(pixels))

    def whole(self, room: Room | None = None) -> np.ndarray:
        """The whole map, as an array in `room`."""
        pixels = (room or Room()).empty(self.shape, self.dtype)
        for window in strips(self.shape):
            window.of(pixels)[:] = self.of(window)
        return pixels


def strips(shape: tuple[int, int]) -> Iterator[Window]:
    """All rows of an image, some at a time, from the first, so that processing needs no memory for the whole."""
    height, width = shape
    rows = max(1, PIXELS_OF_STRIP // max(1, width))
    for top in range(0, height, rows):
        yield Window(top, min(top + rows, height), 0, width)


def number_of_blocks(shape: tuple[int, int], side: int) -> int:
    """How many squares of this side `blocks` makes of an image."""
    return -(-shape[0] // side) * -(-shape[1] // side)


def blocks(shape: tuple[int, int], side: int) -> Iterator[Window]:
    """The squares of an image, smaller at its ends, in a random order that is the same in every run."""
    height, width = shape
    across = -(-width // side)
    # numpy's random numbers take 0.01 s to import.
    left, chance = list(range(number_of_blocks(shape, side))), random.Random(0)
    while left:
        # One after the other: of a large image, most are never asked for.
        place = chance.randrange(len(left))
        left[place], left[-1] = left[-1], left[place]
        row, column = divmod(left.pop(), across)
        top, first = row * side, column * side
        yield Window(top, min(top + side, height), first, min(first + side, width))


def grown(marked: np.ndarray, pixels: int) -> np.ndarray:
    """The marked pixels (height, width), and all within this many pixels on all sides, corners included."""
    near: np.ndarray = marked.copy()
    for axis, side in enumerate(marked.shape):
        reached, wanted = 0, min(pixels, side - 1)
        # The step doubles every time: the marked pixels already form a band, even at an end, as wide as the reach.
        while reached < wanted:
            step = min(wanted - reached, reached + 1)
            before = near.copy()
            earlier, later = (slice(None),) * axis + (slice(-step),), (slice(None),) * axis + (slice(step, None),)
            near[later] |= before[earlier]
            near[earlier] |= before[later]
            reached += step
    return near


def cut_out(image: np.ndarray, x: np.ndarray, y: np.ndarray, half: int, outside: float = 0) -> np.ndarray:
    """The pixels within `half` pixels of those at round(x), round(y): (n, 2 half + 1, 2 half + 1).

    Those beyond the image are `outside`.
    """
    steps = np.arange(-half, half + 1)
    rows, columns = (np.rint(at).astype(int)[:, np.newaxis] + steps for at in (y, x))
    height, width = image.shape
    stamps = image[np.clip(rows, 0, height - 1)[:, :, np.newaxis], np.clip(columns, 0, width - 1)[:, np.newaxis]]
    above_or_below, beside = (rows < 0) | (rows >= height), (columns < 0) | (columns >= width)
    stamps[above_or_below[:, :, np.newaxis] | beside[:, np.newaxis]] = outside
    return stamps
