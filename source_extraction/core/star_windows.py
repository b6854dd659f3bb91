"""The window in which a star added to an image can change the sources.

The star's light changes the filtered pixels as far as the kernel reaches, and with them the parents that it touches:
connected pixels above the threshold, before deblending. A source depends on its parent alone, except for cleaning,
which compares sources with those around them. A window that holds these parents whole, and everything near enough to
clean them, gives the same result as the whole image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import starmap

import numpy as np

from .windows import Window

# Cleaning removes sources fainter than another's wings. Beyond a source's pixels its wings are below its threshold, so
# they matter up to this fraction of its longer side, and for all sources up to this many pixels. The thresholds of
# SEP's matched filter are in units of the noise but are compared with pixels that are not: there the wings reach
# farther.
WINGS, AROUND = 0.5, 8
WINGS_IF_MATCHED, AROUND_IF_MATCHED = 2.0, 32
PAIRS_AT_A_TIME = 1_000_000  # of stars and parents
OUTWARDS = np.array((-1, 1, -1, 1))  # of top, bottom, left, right


class StarWindows:
    """The windows of an image of `shape` (height, width) whose parents are in `boxes`.

    Parents of fewer than `least` pixels are not included. Within `margin` pixels of a window's end, all but the last
    differ in the filtered image from the whole image's. `matched`: whether the filter is SEP's matched one.
    """

    def __init__(
        self, boxes: Sequence[Window], shape: tuple[int, int], least: int, margin: int, *, matched: bool
    ) -> None:
        self._shape, self._least, self._margin = shape, least, margin
        self._wings, self._surround = (WINGS_IF_MATCHED, AROUND_IF_MATCHED) if matched else (WINGS, AROUND)
        found = np.array(boxes, dtype=int).reshape(-1, len(Window._fields))
        self._boxes = found[np.argsort(found[:, 0], kind="stable")]
        top, bottom, left, right = self._boxes.T
        reach = np.ceil(self._wings * np.maximum(bottom - top, right - left)).astype(int)
        self._reached = self._boxes + np.column_stack((-reach, reach, -reach, reach))
        self._tallest = int((self._reached[:, 1] - top).max(initial=0))
        self._farthest = int(reach.max(initial=0))

    def around(self, lights: Sequence[Window]) -> list[Window]:
        """The windows to search for stars whose light is in these windows, each star alone in the image."""
        around, at_a_time = list[Window](), max(1, PAIRS_AT_A_TIME // max(1, len(self._boxes)))
        for first in range(0, len(lights), at_a_time):
            around += self._around_some(np.array(lights[first : first + at_a_time]))
        return around

    def _around_some(self, lights: np.ndarray) -> list[Window]:
        changed = self._grown(lights, self._margin)
        star, box = self._touched(changed)
        # Even a parent too small for a source may merge with the star.
        windows = self._grown(changed, self._least - 1)
        for side, merged in enumerate((np.minimum, np.maximum, np.minimum, np.maximum)):
            merged.at(windows[:, side], star, self._boxes[box, side])
        return list(starmap(Window, self._grown(windows, self._margin + self._surround).tolist()))

    def _touched(self, changed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pairs of a changed part and a parent that reaches into it: their numbers."""
        # The boxes are sorted by their tops: those that begin far above a part have ended.
        tops = self._boxes[:, 0]
        first = np.searchsorted(tops, changed[:, 0] - self._tallest)
        many = np.searchsorted(tops, changed[:, 1] + self._farthest) - first
        part = np.repeat(np.arange(len(changed)), many)
        box = np.arange(len(part)) + np.repeat(first - (np.cumsum(many) - many), many)
        (top, bottom, left, right), of_box = changed[part].T, self._reached[box]
        near = (of_box[:, 0] < bottom) & (of_box[:, 1] > top) & (of_box[:, 2] < right) & (of_box[:, 3] > left)
        return part[near], box[near]

    def _grown(self, windows: np.ndarray, pixels: int) -> np.ndarray:
        """Windows with a margin of that many pixels, cut at the edges of the image."""
        height, width = self._shape
        return np.clip(windows + pixels * OUTWARDS, 0, (height, height, width, width))

    def apart(self, windows: Sequence[Window]) -> int:
        """How many pixels have to be between these windows, side by side, so that none changes what another shows."""
        longest = max(window.longest for window in windows)
        # What a star changes is as far inside its window as sources of any size clean.
        return max(self._margin, math.ceil(self._wings * longest) - self._surround)
