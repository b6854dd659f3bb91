"""The window in which a star added to an image can change the sources.

The star's light changes the filtered pixels as far as the kernel reaches, and with them the parents that it touches:
connected pixels above the threshold, before deblending. A source depends on its parent alone, except for cleaning,
which compares sources with those around them. A window that holds these parents whole, and everything near enough to
clean them, gives the same result as the whole image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .windows import Window

# Cleaning removes sources fainter than another's wings. Beyond a source's pixels its wings are below its threshold, so
# they matter up to this fraction of its longer side, and for all sources up to this many pixels. The thresholds of
# SEP's matched filter are in units of the noise but are compared with pixels that are not: there the wings reach
# farther.
WINGS, AROUND = 0.5, 8
WINGS_IF_MATCHED, AROUND_IF_MATCHED = 2.0, 32


class StarWindows:
    """The windows of an image of `shape` (height, width) whose parents are in `boxes`.

    Parents of fewer than `least` pixels are not included. Within `margin` pixels of a window's end, all but the last
    differ in the filtered image from the whole image's. `matched`: whether the filter is SEP's matched one.
    """

    def __init__(
        self, boxes: Sequence[Window], shape: tuple[int, int], least: int, margin: int, *, matched: bool
    ) -> None:
        self._shape, self._least, self._margin = shape, least, margin
        wings, self._around = (WINGS_IF_MATCHED, AROUND_IF_MATCHED) if matched else (WINGS, AROUND)
        found = np.array(boxes, dtype=int).reshape(-1, len(Window._fields))
        self._boxes = found[np.argsort(found[:, 0], kind="stable")]
        top, bottom, left, right = self._boxes.T
        reach = np.ceil(wings * np.maximum(bottom - top, right - left)).astype(int)
        self._reached = self._boxes + np.column_stack((-reach, reach, -reach, reach))
        # The boxes are sorted by their tops: those that begin far above have ended.
        self._tallest = int((self._reached[:, 1] - top).max(initial=0))
        self._farthest = int(reach.max(initial=0))

    def around(self, light: Window) -> Window:
        """The window to search for a star whose light is in the window `light`."""
        changed = light.grown(self._margin, self._shape)
        first, end = np.searchsorted(
            self._boxes[:, 0], (changed.top - self._tallest, changed.bottom + self._farthest), "left"
        )
        top, bottom, left, right = self._reached[first:end].T
        near = (top < changed.bottom) & (bottom > changed.top) & (left < changed.right) & (right > changed.left)
        # Even a parent too small for a source may merge with the star.
        window = changed.grown(self._least - 1, self._shape)
        boxes = self._boxes[first:end][near]
        if len(boxes):
            (top, _, left, _), (_, bottom, _, right) = boxes.min(axis=0).tolist(), boxes.max(axis=0).tolist()
            window = window.with_all([Window(top, bottom, left, right)])
        return window.grown(self._margin + self._around, self._shape)
