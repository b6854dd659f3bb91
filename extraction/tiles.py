"""Extraction of a large image in tiles, each in a process of its own.

SEP's cleaning compares every pair of sources, so that tiles are faster even one after the other. An image of few
rows is one tile: then the result is that of one call of SEP. The tiles depend on the image alone, and so
does the result, however many processes share the work.

No source is lost, doubled or cut at a seam. A *parent*, the connected pixels above the threshold before they
are deblended, belongs to the tile that its first pixel is in. Parents that cross a seam are found first, and seen
whole, however large; then every tile is extracted with as much around it as its parents need, and a source is kept
by the tile that owns its parent, the one with its brightest filtered pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .limits import Detections
from .workers import Workers, shared_array

TILE = 1024
MOST_ROWS_OF_ONE_TILE = 1024
# Pixels around a tile, at least: cleaning looks for brighter neighbours there, as far as 10 times the sum of both
# sources' a (CLEAN_ZONE in SEP's extract.h). More bring the sources no closer to those of one call.
OVERLAP = 32
# Pixels on either side of a seam in which its parents are looked for first. One that goes farther has as many there.
REACH = 64
ROWS_AT_A_TIME = 128


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
        """With so many pixels around it, as far as the image goes."""
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


# Extracts a window of the image: see `detection`, whose it is.
Extract = Callable[..., Detections]


@dataclass(frozen=True)
class Edge:
    """What to mind where a tile ends.

    Of `margin` pixels there, at least 1, all but the last are filtered otherwise than in the image. A parent of more
    pixels than `largest` is not deblended, nor shall its parts be in the tiles that it reaches into.
    """

    margin: int
    largest: float


@dataclass
class Parents:
    """Parents, seen whole: sorted pixels (flat indices) with the parent's number; box, first pixel and size of each."""

    pixels: np.ndarray
    numbers: np.ndarray
    boxes: list[Window]
    first: np.ndarray
    sizes: np.ndarray

    @classmethod
    def among(cls, found: Detections, window: Window, labels: np.ndarray, width: int) -> Parents:
        """Those with the given labels among what was found in a window of an image of `width`."""
        number = np.full(len(found) + 1, -1, dtype=np.int32)
        number[labels] = np.arange(len(labels))
        numbers = number[found.segmentation].ravel()
        places = np.flatnonzero(numbers >= 0)
        numbers = numbers[places]
        rows, columns = np.divmod(places, found.segmentation.shape[1])
        pixels = (rows + window.top) * width + columns + window.left
        sources = found.sources[labels - 1]
        boxes = zip(*(sources[name].tolist() for name in ("ymin", "ymax", "xmin", "xmax")), strict=True)
        return cls(
            pixels,
            numbers,
            [Window(top, last_row + 1, left, last_column + 1) for top, last_row, left, last_column in boxes],
            pixels[np.unique(numbers, return_index=True)[1]],
            sources["npix"],
        )

    @classmethod
    def joined(cls, parts: Sequence[Parents]) -> Parents:
        """All of them; one in a corner, which was found at two seams, is twice among them."""
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
        """The number of the parent that each pixel (flat index) belongs to, -1 for none of these."""
        if not len(self.pixels):
            return np.full(len(pixels), -1)
        place = np.minimum(np.searchsorted(self.pixels, pixels), len(self.pixels) - 1)
        return np.where(self.pixels[place] == pixels, self.numbers[place], -1)


def extract_in_tiles(
    extract: Extract, shape: tuple[int, int], edge: Edge, want_map: bool, workers: Workers
) -> Detections:
    """Extract an image of `shape` (height, width)."""
    row_edges, column_edges = _edges(shape)
    tiles = [Window(*rows, *columns) for rows in pairwise(row_edges) for columns in pairwise(column_edges)]
    if len(tiles) == 1:
        return extract(tiles[0], want_map=want_map)
    crossing = _crossing_parents(extract, tiles, shape, edge.margin, workers)
    rows, columns = np.divmod(crossing.first, shape[1])
    owners = (np.searchsorted(row_edges, rows, "right") - 1) * (len(column_edges) - 1)
    owners += np.searchsorted(column_edges, columns, "right") - 1
    giants = crossing.sizes > edge.largest
    segmentation = shared_array(shape, np.int32) if want_map else None
    # Labels are dealt out by tile at first, from numbers so far apart that none is dealt twice.
    spacing = np.iinfo(np.int32).max // len(tiles)

    def extract_tile(index: int) -> Detections:
        own = owners == index
        boxes = [crossing.boxes[parent].grown(edge.margin, shape) for parent in np.flatnonzero(own)]
        window = tiles[index].grown(max(OVERLAP, 2 * edge.margin), shape).with_all(boxes)
        others = crossing.pixels[(giants & ~own)[crossing.numbers]]
        found = extract(window, want_map=want_map, without=others)
        x, y = found.sources["xcpeak"], found.sources["ycpeak"]
        parent = crossing.of(y * shape[1] + x)
        kept = np.where(parent >= 0, np.append(own, False)[parent], tiles[index].holds(x, y))
        return _keep(found, kept, window, index * spacing, segmentation)

    parts = list(workers.map(extract_tile, range(len(tiles))))
    offsets = np.cumsum([0, *(len(part) for part in parts)])
    if segmentation is not None:

        def renumber(index: int) -> None:
            _renumber(segmentation, parts[index].sources, index * spacing, int(offsets[index]))

        list(workers.map(renumber, range(len(tiles))))
    whole = [label + int(offset) for part, offset in zip(parts, offsets, strict=False) for label in part.not_deblended]
    return Detections(np.concatenate([part.sources for part in parts]), segmentation, whole)


def _edges(shape: tuple[int, int]) -> tuple[list[int], list[int]]:
    """Where the tiles of an image begin, and where it ends: rows and columns."""
    height, width = shape
    if height <= MOST_ROWS_OF_ONE_TILE:
        return [0, height], [0, width]
    numbers = [max(1, round(side / TILE)) for side in shape]
    rows, columns = (
        [round(side * tile / number) for tile in range(number + 1)] for side, number in zip(shape, numbers, strict=True)
    )
    return rows, columns


def _crossing_parents(
    extract: Extract, tiles: list[Window], shape: tuple[int, int], margin: int, workers: Workers
) -> Parents:
    """The parents that have pixels in more than one tile."""
    height, width = shape
    seams = [Window(tile.bottom - 1, tile.bottom + 1, *tile[2:]) for tile in tiles if tile.bottom < height]
    seams += [Window(*tile[:2], tile.right - 1, tile.right + 1) for tile in tiles if tile.right < width]

    def find(some: list[Window]) -> list[tuple[Parents, np.ndarray]]:
        return [_across(extract, seam, shape, margin) for seam in some]

    # A group for every process: none has to wait for this one, which may be about an errand.
    groups = [seams[first :: workers.number] for first in range(min(workers.number, len(seams)))]
    found = [result for results in workers.map(find, groups) for result in results]
    parents = [Parents.joined([whole for whole, _ in found])]
    cut = np.unique(np.concatenate([pixels for _, pixels in found]))
    # One after the other, so that a giant is looked for once, however many seams it crosses.
    while len(cut := cut[parents[-1].of(cut) < 0]):
        parents.append(_grow(extract, int(cut[0]), shape, margin))
        cut = cut[1:]
    return Parents.joined(parents)


def _across(extract: Extract, seam: Window, shape: tuple[int, int], margin: int) -> tuple[Parents, np.ndarray]:
    """The parents with pixels on both sides of a seam (two rows or columns), and a pixel each of those not seen whole.

    The parents of a neighbouring seam may be among them, as far as they come here.
    """
    window = seam.grown(REACH + margin, shape)
    found = extract(window, parents=True)
    # The seam and what continues it: a parent may change sides behind its end.
    row, column = seam.top - window.top, seam.left - window.left
    flat = seam.bottom - seam.top == 2
    sides = found.segmentation[row : row + 2] if flat else found.segmentation[:, column : column + 2].T
    on_it = found.segmentation[row : row + seam.bottom - seam.top, column : column + seam.right - seam.left]
    labels = np.intersect1d(np.intersect1d(*sides), on_it)
    labels = labels[labels > 0]
    sources = found.sources[labels - 1]
    whole = _lie_inside(sources, window, shape, margin)
    y, x = np.nonzero(np.isin(on_it, labels[~whole]))
    _, one_each = np.unique(on_it[y, x], return_index=True)
    cut = (seam.top + y[one_each]) * shape[1] + seam.left + x[one_each]
    return Parents.among(found, window, labels[whole], shape[1]), cut


def _grow(extract: Extract, pixel: int, shape: tuple[int, int], margin: int) -> Parents:
    """The parent with a pixel, seen whole."""
    row, column = divmod(pixel, shape[1])
    reach = 2 * REACH
    while True:
        window = Window(row, row + 1, column, column + 1).grown(reach, shape)
        found = extract(window, parents=True)
        labels = found.segmentation[row - window.top, column - window.left].reshape(1)
        # None where it was a source only by how a window's edge is filtered.
        labels = labels[labels > 0]
        if _lie_inside(found.sources[labels - 1], window, shape, margin).all():
            return Parents.among(found, window, labels, shape[1])
        reach *= 2


def _lie_inside(sources: np.ndarray, window: Window, shape: tuple[int, int], margin: int) -> np.ndarray:
    """True where a source does not come so near to the end of a window that there may be more of it."""
    height, width = shape
    inside = np.ones(len(sources), dtype=bool)
    for axis, first, last, side in (("y", window.top, window.bottom, height), ("x", window.left, window.right, width)):
        inside &= (first == 0) | (sources[f"{axis}min"] >= first + margin)
        inside &= (last == side) | (sources[f"{axis}max"] < last - margin)
    return inside


def _keep(
    found: Detections, kept: np.ndarray, window: Window, base: int, segmentation: np.ndarray | None
) -> Detections:
    """The kept sources; their pixels get the labels base + 1, ... in the map of the whole image."""
    labels = np.zeros(len(found) + 1, dtype=np.int32)
    labels[1:][kept] = np.arange(base + 1, base + kept.sum() + 1)
    if segmentation is not None:
        target = window.of(segmentation)
        for row in range(0, len(target), ROWS_AT_A_TIME):
            own = labels[found.segmentation[row : row + ROWS_AT_A_TIME]]
            np.copyto(target[row : row + ROWS_AT_A_TIME], own, where=own > 0)
    whole = [int(labels[label]) - base for label in found.not_deblended if labels[label]]
    return Detections(found.sources[kept], None, whole)


def _renumber(segmentation: np.ndarray, sources: np.ndarray, base: int, offset: int) -> None:
    """Put the final labels of a tile's sources, after `offset`, in place of those after `base`."""
    if not len(sources) or base == offset:
        return
    columns = slice(sources["xmin"].min(), sources["xmax"].max() + 1)
    end = sources["ymax"].max() + 1
    for first in range(sources["ymin"].min(), end, ROWS_AT_A_TIME):
        block = segmentation[first : min(first + ROWS_AT_A_TIME, end), columns]
        # Pixels around two tiles' sources are two processes' work, each on its own; what the other's become meanwhile
        # must not make them look like own ones between two comparisons.
        labels = block.copy()
        own = (labels > base) & (labels <= base + len(sources))
        labels -= np.int32(base - offset)
        np.copyto(block, labels, where=own)
