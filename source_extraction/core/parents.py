"""Parents that lie in more than one tile: connected pixels above the threshold, before deblending.

They are searched for in windows around the seams. One that does not end inside such a window is searched for alone, in
a window that grows until the parent is seen whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .detections import Detections
from .windows import Window

# Pixels on either side of a seam in which its parents are first searched for. A parent that extends farther has at
# least as many pixels there.
REACH = 64

# Extracts the sources of a window of the image, as `detection.WindowExtractor` does.
ExtractWindow = Callable[..., Detections]


@dataclass
class Parents:
    """Parents seen whole: sorted pixels (flat indices) with the parent's number; box, first pixel, size of each."""

    pixels: np.ndarray
    numbers: np.ndarray
    boxes: list[Window]
    first: np.ndarray
    sizes: np.ndarray

    @classmethod
    def among(cls, found: Detections, window: Window, labels: np.ndarray, width: int) -> Parents:
        """The parents with the given labels among the detections in a window of an image of this `width`."""
        number = np.full(len(found) + 1, -1, dtype=np.int32)
        number[labels] = np.arange(len(labels))
        numbers = number[found.segmentation].ravel()
        places = np.flatnonzero(numbers >= 0)
        numbers = numbers[places]
        rows, columns = np.divmod(places, found.segmentation.shape[1])
        pixels = (rows + window.top) * width + columns + window.left
        sources = found.of(labels)
        return cls(
            pixels,
            numbers,
            boxes_of(sources),
            pixels[np.unique(numbers, return_index=True)[1]],
            sources["npix"],
        )

    @classmethod
    def joined(cls, parts: Sequence[Parents]) -> Parents:
        """All parents of the parts; one in a corner, found at two seams, is included twice."""
        offsets = np.cumsum([0, *(len(part.first) for part in parts)])
        pixels = np.concatenate([part.pixels for part in parts])
        numbers = np.concatenate([part.numbers + start for part, start in zip(parts, offsets, strict=False)])
        order = np.argsort(pixels, kind="stable")
        return cls(
            pixels[order],
            numbers[order],
            [box for part in parts for box in part.boxes],
            np.concatenate([part.first for part in parts]),
            np.concatenate([part.sizes for part in parts]),
        )

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """The number of the parent that each pixel (flat index) belongs to, -1 if none."""
        if not len(self.pixels):
            return np.full(len(pixels), -1)
        place = np.minimum(np.searchsorted(self.pixels, pixels), len(self.pixels) - 1)
        return np.where(self.pixels[place] == pixels, self.numbers[place], -1)


def boxes_of(sources: np.ndarray) -> list[Window]:
    """The smallest window that holds each source's pixels."""
    ends = zip(*(sources[name].tolist() for name in ("ymin", "ymax", "xmin", "xmax")), strict=True)
    return [Window(top, last_row + 1, left, last_column + 1) for top, last_row, left, last_column in ends]


@dataclass(frozen=True)
class ParentSearch:
    """The search for parents in an image of `shape` (height, width).

    In all but the last of the `margin` pixels at the end of a window, the filter gives other values than in the image.
    A parent that stays out of the margin is seen whole.
    """

    extract_window: ExtractWindow
    shape: tuple[int, int]
    margin: int

    def across(self, seam: Window) -> tuple[Parents, np.ndarray]:
        """The parents with pixels on both sides of a seam, and one pixel of each parent not seen whole.

        A seam is two rows or two columns. Parents of a neighbouring seam may be included if they reach this one.
        """
        window = seam.grown(REACH + self.margin, self.shape)
        found = self.extract_window(window, parents=True)
        # The seam and its continuation: a parent may change sides beyond its end.
        row, column = seam.top - window.top, seam.left - window.left
        flat = seam.bottom - seam.top == 2
        sides = found.segmentation[row : row + 2] if flat else found.segmentation[:, column : column + 2].T
        on_it = found.segmentation[row : row + seam.bottom - seam.top, column : column + seam.right - seam.left]
        labels = np.intersect1d(np.intersect1d(*sides), on_it)
        labels = labels[labels > 0]
        whole = self._are_whole(found.of(labels), window)
        y, x = np.nonzero(np.isin(on_it, labels[~whole]))
        _, one_each = np.unique(on_it[y, x], return_index=True)
        cut = (seam.top + y[one_each]) * self.shape[1] + seam.left + x[one_each]
        return Parents.among(found, window, labels[whole], self.shape[1]), cut

    def around(self, pixel: int) -> Parents:
        """The parent that a pixel (flat index) belongs to, seen whole; empty if there is none."""
        row, column = divmod(pixel, self.shape[1])
        reach = 2 * REACH
        while True:
            window = Window(row, row + 1, column, column + 1).grown(reach, self.shape)
            found = self.extract_window(window, parents=True)
            labels = found.segmentation[row - window.top, column - window.left].reshape(1)
            # No parent if it was a source only because of the filtering at a window's edge.
            labels = labels[labels > 0]
            if self._are_whole(found.of(labels), window).all():
                return Parents.among(found, window, labels, self.shape[1])
            reach *= 2

    def _are_whole(self, sources: np.ndarray, window: Window) -> np.ndarray:
        """True where a source stays far enough from the end of a window to be complete."""
        height, width = self.shape
        inside = np.ones(len(sources), dtype=bool)
        for axis, first, last, side in (
            ("y", window.top, window.bottom, height),
            ("x", window.left, window.right, width),
        ):
            inside &= (first == 0) | (sources[f"{axis}min"] >= first + self.margin)
            inside &= (last == side) | (sources[f"{axis}max"] < last - self.margin)
        return inside
