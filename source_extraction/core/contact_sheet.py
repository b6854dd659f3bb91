"""Windows of an image side by side in one image, like the frames of a film on a contact sheet.

A call of SEP takes longer to begin than to search a small window, so many small windows are searched in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .windows import Window


class ContactSheet:
    """Windows in a row, with at least `gap` columns between them that are of none."""

    def __init__(self, windows: Sequence[Window], gap: int) -> None:
        self.windows = windows
        heights = np.array([window.bottom - window.top for window in windows])
        widths = np.array([window.right - window.left for window in windows])
        ends = np.cumsum(widths + gap) - gap
        self.shape = int(heights.max()), int(ends[-1])
        # Where the windows are on the sheet.
        self.places = [
            Window(0, height, end - width, end)
            for height, width, end in zip(heights.tolist(), widths.tolist(), ends.tolist(), strict=True)
        ]

    @property
    def size(self) -> int:
        """Its number of pixels."""
        return self.shape[0] * self.shape[1]

    def of(self, part: Callable[[Window], Any], between: Any, dtype: Any) -> np.ndarray:
        """The sheet of an image: the `part` of it in each window, and the value `between` in pixels of none."""
        sheet = np.full(self.shape, between, dtype)
        for window, place in zip(self.windows, self.places, strict=True):
            place.of(sheet)[:] = part(window)
        return sheet

    def moved(self, number: int, window: Window) -> Window:
        """A part of the window with this number, as it lies on the sheet."""
        here, there = self.windows[number], self.places[number]
        return window.moved(there.top - here.top, there.left - here.left)

    def positions(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions in the image, one in each window, as they are on the sheet."""
        right = [place.left - here.left for here, place in zip(self.windows, self.places, strict=True)]
        down = [place.top - here.top for here, place in zip(self.windows, self.places, strict=True)]
        return x + np.array(right), y + np.array(down)
