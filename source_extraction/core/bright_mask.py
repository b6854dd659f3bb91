"""Segmentation map -> mask of the brightest sources, to leave them out of another run."""

from __future__ import annotations

import math

import numpy as np

from .detections import Detections, labels_of
from .room import Room

# If no flux is given: the brightest hundredth of the sources.
PERCENTILE = 99


def brightest(sources: np.ndarray, flux: float | None) -> tuple[np.ndarray, float]:
    """The rows of the sources (SEP's array) with a `flux` above a limit, and the limit.

    The default limit is the 99th percentile of all fluxes, nan if there are no sources.
    """
    if flux is None:
        flux = float(np.percentile(sources["flux"], PERCENTILE)) if len(sources) else math.nan
    return np.flatnonzero(sources["flux"] > flux), flux


def bright_mask(
    detections: Detections, flux: float | None, radius: int, masked: np.ndarray | None, room: Room
) -> np.ndarray:
    """1 in the pixels of the brightest sources and at most `radius` pixels around them, else 0 (uint8).

    Pixels that this run left out (`masked`) are 1 too: a run with this mask leaves out both. All arrays are (height,
    width).
    """
    shape = detections.segmentation.shape
    mask = room.shared(shape, np.uint8)
    if masked is not None:
        mask[:] = masked
    chosen, _ = brightest(detections.sources, flux)
    for source, label in zip(detections.sources[chosen], labels_of(chosen), strict=True):
        box = tuple(
            slice(max(source[f"{axis}min"] - radius, 0), min(source[f"{axis}max"] + radius + 1, side))
            for axis, side in zip("yx", shape, strict=True)
        )
        mask[box] |= dilate_disc(detections.segmentation[box] == label, radius)
    return mask


def dilate_disc(marked: np.ndarray, radius: int) -> np.ndarray:
    """The pixels (height, width) whose centre is at most `radius` pixels from the centre of a marked one."""
    height, width = marked.shape
    # The number of marked pixels in a row before each column, padded for discs that reach over the sides.
    before = np.pad(np.cumsum(marked, axis=1), ((0, 0), (radius + 1, 0)))
    before = np.pad(before, ((0, 0), (0, radius)), mode="edge")
    near = np.zeros_like(marked)
    for down in range(-min(radius, height - 1), min(radius, height - 1) + 1):
        reach = math.isqrt(radius**2 - down**2)
        first, last = radius - reach, radius + reach + 1
        in_reach = before[:, last : last + width] > before[:, first : first + width]
        to, start = slice(max(down, 0), height + min(down, 0)), slice(max(-down, 0), height - max(down, 0))
        near[to] |= in_reach[start]
    return near
