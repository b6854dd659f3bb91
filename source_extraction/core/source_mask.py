"""Detections -> the pixels excluded from the second background estimate: those of sources and around them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .detections import Detections
from .mesh import serving_cells
from .room import Room
from .windows import Window, grown

# A source is excluded with a margin of this many of its radii (of the circle of its area). If that leaves less than
# this share of the mesh, which would then take its background only from distant cells, the next smaller margin is
# tried.
MARGINS = (2.0, 1.0, 0.5, 0.0)
# Clipping within a cell removes the light around small sources: they have the full margin from this radius on, in units
# of the cell, and proportionally less below.
LARGE = 0.25
LEAST_SERVING = 0.5
PIXELS_AT_A_TIME = 2**25
# Margins are rounded down to these steps, since each distinct margin costs a pass.
STEPS = np.array([0, *np.unique(np.geomspace(1, 4096, 25).astype(np.uint16))], dtype=np.uint16)


def around_sources(
    detections: Detections, masked: np.ndarray | None, cell: tuple[int, int], room: Room | None = None
) -> np.ndarray | None:
    """True in the pixels (height, width) of sources and around them; None if that would leave too little.

    `masked` (height, width), or None, are left out anyway; `cell` is the (height, width) of a cell of the mesh, which
    counts if half of its pixels are left.
    """
    room, shape = room or Room(), detections.segmentation.shape
    nothing = room.shared(shape, bool) if masked is None else masked
    wanted = LEAST_SERVING * np.count_nonzero(serving_cells(nothing, cell))
    for times in MARGINS:
        light = _grown_sources(detections, times, LARGE * min(cell), room)
        left_out = light if masked is None else np.logical_or(light, masked, out=room.empty(shape, bool))
        if np.count_nonzero(serving_cells(left_out, cell)) >= wanted:
            return light
    return None


def _grown_sources(detections: Detections, times: float, large: float, room: Room) -> np.ndarray:
    """The pixels of sources, each with a margin of `times` its radius, proportionally less below the radius `large`."""
    radii = np.sqrt(detections.sources["npix"] / np.pi)
    wanted = times * radii * np.minimum(radii / large, 1)
    margins = np.zeros(len(detections) + 1, dtype=np.uint16)
    margins[1:] = STEPS[np.searchsorted(STEPS, wanted, side="right") - 1]
    widest = int(margins.max())
    height, width = detections.segmentation.shape
    light = room.empty((height, width), bool)
    # The margins of sources outside these rows reach into them.
    rows = max(PIXELS_AT_A_TIME // width, 2 * widest, 1)
    for top in range(0, height, rows):
        window = Window(top, min(top + rows, height), 0, width)
        around = window.grown(widest, (height, width))
        near = _grown(margins[around.of(detections.segmentation)])
        window.of(light)[:] = window.moved(-around.top, 0).of(near)
        window.of(light)[window.of(detections.segmentation) > 0] = True
    return light


def _grown(margins: np.ndarray) -> np.ndarray:
    """True within each pixel's margin (height, width)."""
    light = np.zeros(margins.shape, dtype=bool)
    # From the widest margin down: each step grows what is marked so far to the next smaller margin.
    for margin, following in pairwise([*np.unique(margins)[::-1], 0]):
        light = grown(light | (margins == margin), int(margin) - int(following)) if margin else light
    return light
