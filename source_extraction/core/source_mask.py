"""Detections -> the pixels that a second estimate of the background does without: those of sources and around them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .detections import Detections
from .mesh import serving_cells
from .windows import grown

# A source is left out with a margin of so many of its radii, that of a circle of as many pixels. Where that leaves less
# than this share of the mesh, which then has no background but that of cells far away, the next is tried.
MARGINS = (2.0, 1.0, 0.5, 0.0)
# The light around small sources the clipping of a cell takes off: they have the full margin from this radius on, in
# units of the cell, and less in proportion below.
LARGE = 0.25
LEAST_SERVING = 0.5
# Margins grow in steps, so that there are few.
STEPS = np.array([0, *np.unique(np.geomspace(1, 4096, 25).astype(np.uint16))], dtype=np.uint16)


def around_sources(detections: Detections, masked: np.ndarray | None, cell: tuple[int, int]) -> np.ndarray | None:
    """True in the pixels (height, width) of sources and around them; None where that would leave too little.

    `masked` (height, width), or None, are left out anyway; `cell` is the (height, width) of a cell of the mesh, which
    serves where half of its pixels are left.
    """
    nothing = np.zeros(detections.segmentation.shape, dtype=bool) if masked is None else masked
    wanted = LEAST_SERVING * np.count_nonzero(serving_cells(nothing, cell))
    for times in MARGINS:
        light = _grown_sources(detections, times, LARGE * min(cell))
        left_out = light if masked is None else light | masked
        if np.count_nonzero(serving_cells(left_out, cell)) >= wanted:
            return light
    return None


def _grown_sources(detections: Detections, times: float, large: float) -> np.ndarray:
    """The pixels of sources, each with a margin of so many times its radius, less where that is not `large`."""
    radii = np.sqrt(detections.sources["npix"] / np.pi)
    wanted = times * radii * np.minimum(radii / large, 1)
    margins = np.zeros(len(detections) + 1, dtype=np.uint16)
    margins[1:] = STEPS[np.searchsorted(STEPS, wanted, side="right") - 1]
    of_pixels = margins[detections.segmentation]
    light = np.zeros(of_pixels.shape, dtype=bool)
    # From the widest margin on, each together with what is left of those before.
    for margin, following in pairwise([*np.unique(margins)[::-1], 0]):
        light = grown(light | (of_pixels == margin), int(margin) - int(following)) if margin else light
    return np.asarray(light | (detections.segmentation > 0))
