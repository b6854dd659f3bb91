"""Extraction of a large image in tiles, each in a process of its own.

SEP's cleaning compares every pair of sources, so tiles are faster even one after the other. An image with few rows is
one tile, with the result of a single SEP call. The tiles depend only on the image, and so does the result, however many
processes share the work.

No source is lost, doubled or cut at a seam. A *parent*, the connected pixels above the threshold before deblending,
belongs to the tile that contains its first pixel. Parents that cross a seam are found first, and seen whole, however
large; then every tile is extracted with as much around it as its parents need, and a source is kept by the tile that
owns its parent, the one with its brightest filtered pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .detections import Detections, new_labels
from .parents import ExtractWindow, Parents, ParentSearch, boxes_of
from .processes import Workers
from .windows import Window

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

TILE = 1024
MOST_ROWS_OF_ONE_TILE = 1024
# Least number of pixels around a tile: cleaning looks for brighter neighbours there. In one call it does so up to 10
# times the sum of both sources' a (CLEAN_ZONE in SEP's extract.h), which is hundreds of pixels beside a large galaxy;
# most of what it deletes that far away are real sources (tests/test_tiles.py).
OVERLAP = 32
ROWS_AT_A_TIME = 128


@dataclass(frozen=True)
class Edge:
    """The edge effects of a tile.

    In all but the last of the `margin` pixels there (at least 1), the filter gives other values than in the image. A
    parent of more than `largest` pixels is not deblended, and its parts stay out of the other tiles that it reaches
    into.
    """

    margin: int
    largest: float


class Grid:
    """The tiles of an image of `shape` (height, width), and the assignment of pixels to them."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        numbers = [1, 1] if shape[0] <= MOST_ROWS_OF_ONE_TILE else [max(1, round(side / TILE)) for side in shape]
        # Where the tiles begin, and where the image ends.
        self._rows, self._columns = (
            [round(side * tile / number) for tile in range(number + 1)]
            for side, number in zip(shape, numbers, strict=True)
        )
        self.tiles = [Window(*rows, *columns) for rows in pairwise(self._rows) for columns in pairwise(self._columns)]

    def seams(self) -> list[Window]:
        """The two rows or columns on either side of each border between two tiles."""
        height, width = self.shape
        below = [Window(tile.bottom - 1, tile.bottom + 1, *tile[2:]) for tile in self.tiles if tile.bottom < height]
        beside = [Window(*tile[:2], tile.right - 1, tile.right + 1) for tile in self.tiles if tile.right < width]
        return below + beside

    def tile_of(self, pixels: np.ndarray) -> np.ndarray:
        """The number of each pixel's tile (flat indices)."""
        y, x = np.divmod(pixels, self.shape[1])
        row = np.searchsorted(self._rows, y, "right") - 1
        return row * (len(self._columns) - 1) + np.searchsorted(self._columns, x, "right") - 1


def is_tiled(shape: tuple[int, int]) -> bool:
    """Whether an image of this shape is extracted in several tiles."""
    return len(Grid(shape).tiles) > 1


class TileSources(NamedTuple):
    """The sources that a tile keeps, in the order of their labels, and the labels of those not deblended, from 1."""

    sources: np.ndarray
    not_deblended: list[int]


class Tiling:
    """An image of `shape` (height, width), extracted in tiles by `workers`."""

    def __init__(self, extract_window: ExtractWindow, shape: tuple[int, int], edge: Edge, workers: Workers) -> None:
        self.grid = Grid(shape)
        self.extract_window, self.edge, self.workers = extract_window, edge, workers

    def extract(self, alongside: Sequence[Callable[[], object]] = ()) -> Detections:
        """Extract the image.

        `alongside` is work for a thread of this process while others extract the tiles. With only one process or one
        tile, it is skipped.
        """
        tiles = self.grid.tiles
        if len(tiles) == 1:
            return self.extract_window(tiles[0])
        segmentation = self.workers.room.shared(self.grid.shape, np.int32)
        parts = self._extract_tiles(segmentation, alongside)
        offsets = np.cumsum([0, *(len(part.sources) for part in parts)]).tolist()

        def renumber(tile: int) -> None:
            _renumber(segmentation, parts[tile].sources, self._base(tile), offsets[tile])

        # numpy leaves the GIL to other threads meanwhile, and these are ready sooner than processes.
        with _threads(self.workers.number) as threads:
            renumbered = threads.map(renumber, range(len(tiles)))
            sources = np.concatenate([part.sources for part in parts])
            list(renumbered)
        whole = [label + offset for part, offset in zip(parts, offsets, strict=False) for label in part.not_deblended]
        return Detections(sources, segmentation, whole, offsets[:-1])

    def sources(self) -> np.ndarray:
        """The sources, found without a map of them."""
        tiles = self.grid.tiles
        if len(tiles) == 1:
            return self.extract_window(tiles[0]).sources
        return np.concatenate([part.sources for part in self._extract_tiles(None, ())])

    def boxes_of_parents(self) -> list[Window]:
        """The boxes of all sources' parents, and also those of parts of parents that cross seams."""
        crossing = self._crossing_parents().boxes if len(self.grid.tiles) > 1 else []

        def boxes_of_tile(tile: Window) -> list[Window]:
            return boxes_of(self.extract_window(tile.grown(self.edge.margin, self.grid.shape), parents=True).sources)

        return crossing + [box for boxes in self.workers.map(boxes_of_tile, self.grid.tiles) for box in boxes]

    def _base(self, tile: int) -> int:
        """The number after which a tile's labels are assigned at first; the tiles' ranges do not overlap."""
        return tile * (int(np.iinfo(np.int32).max) // len(self.grid.tiles))

    def _extract_tiles(
        self, segmentation: np.ndarray | None, alongside: Sequence[Callable[[], object]]
    ) -> list[TileSources]:
        """The sources of every tile; their pixels get their labels after the tile's base in `segmentation`."""
        grid, shape, margin = self.grid, self.grid.shape, self.edge.margin
        crossing = self._crossing_parents()
        owners = grid.tile_of(crossing.first)
        giants = crossing.sizes > self.edge.largest

        def extract_tile(tile: int) -> TileSources:
            own = owners == tile
            boxes = [crossing.boxes[parent].grown(margin, shape) for parent in np.flatnonzero(own)]
            window = grid.tiles[tile].grown(max(OVERLAP, 2 * margin), shape).with_all(boxes)
            others = crossing.pixels[(giants & ~own)[crossing.numbers]]
            found = self.extract_window(window, without=others)
            x, y = found.sources["xcpeak"], found.sources["ycpeak"]
            parent = crossing.of(y * shape[1] + x)
            kept = np.where(parent >= 0, np.append(own, False)[parent], grid.tiles[tile].holds(x, y))
            return _keep(found, kept, None if segmentation is None else window.of(segmentation), self._base(tile))

        with _in_a_thread(alongside) as begin:
            return list(self.workers.map(extract_tile, range(len(grid.tiles)), [begin]))

    def _crossing_parents(self) -> Parents:
        """The parents with pixels in more than one tile."""
        search = ParentSearch(self.extract_window, self.grid.shape, self.edge.margin)
        found = list(self.workers.map(search.across, self.grid.seams()))
        parents = [Parents.joined([whole for whole, _ in found])]
        cut = np.unique(np.concatenate([pixels for _, pixels in found]))
        # One after the other, so that a giant is searched for once, however many seams it crosses.
        while len(cut := cut[parents[-1].of(cut) < 0]):
            parents.append(search.around(int(cut[0])))
            cut = cut[1:]
        return Parents.joined(parents)


@contextmanager
def _in_a_thread(work: Sequence[Callable[[], object]]) -> Iterator[Callable[[], object]]:
    """A function that begins the work, which is done at the end of the context; raises what the work raises.

    To be called when the processes have begun, which must not find modules half imported.
    """
    begun: list[Future[object]] = []
    with _threads(1) as thread:
        yield lambda: begun.extend(map(thread.submit, work))
    for each in begun:
        each.result()


def _threads(number: int) -> ThreadPoolExecutor:
    """Threads, whose module only images with several tiles need."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(number)


def _keep(found: Detections, kept: np.ndarray, target: np.ndarray | None, base: int) -> TileSources:
    """The kept sources; their pixels get the labels base + 1, ... in the window of the whole image's map."""
    labels = new_labels(kept, first=base + 1)
    if target is not None:
        for row in range(0, len(target), ROWS_AT_A_TIME):
            own = labels[found.segmentation[row : row + ROWS_AT_A_TIME]]
            np.copyto(target[row : row + ROWS_AT_A_TIME], own, where=own > 0)
    whole = [int(labels[label]) - base for label in found.not_deblended if labels[label]]
    return TileSources(found.sources[kept], whole)


def _renumber(segmentation: np.ndarray, sources: np.ndarray, base: int, offset: int) -> None:
    """Replace the labels of a tile's sources, counted from `base`, by their final ones, counted from `offset`."""
    if not len(sources) or base == offset:
        return
    columns = slice(sources["xmin"].min(), sources["xmax"].max() + 1)
    end = sources["ymax"].max() + 1
    for first in range(sources["ymin"].min(), end, ROWS_AT_A_TIME):
        block = segmentation[first : min(first + ROWS_AT_A_TIME, end), columns]
        # Pixels near two tiles' sources are handled by two threads; labels that the other one changes meanwhile must
        # not look like this one's between two comparisons.
        labels = block.copy()
        own = (labels > base) & (labels <= base + len(sources))
        labels -= np.int32(base - offset)
        np.copyto(block, labels, where=own)
