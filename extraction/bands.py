"""Extraction of a large image in bands of rows, each in a process of its own.

SEP's cleaning compares every pair of sources, so that bands are faster even one after the other. An image of few
rows is one band: then the result is that of one call of SEP. The bands depend on the image alone, and so
does the result, however many processes share the work.

No source is lost, doubled or cut at a seam. A *parent*, the connected pixels above the threshold before they
are deblended, belongs to the band that its first row is in. Parents are found first, in a strip around every seam
that grows until it holds those that cross the seam whole; then every band is extracted with as many rows around it as
its parents need, and a source is kept by the band that owns its parent, the one with its brightest filtered pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .limits import Detections
from .workers import Workers, shared_array

BAND_ROWS = 512
MOST_ROWS_OF_ONE_BAND = 1024
# Rows around a band, at least: cleaning looks for brighter neighbours there, as far as 10 times the sum of both
# sources' a (CLEAN_ZONE in SEP's extract.h). More rows bring the sources no closer to those of one call.
OVERLAP = 32
# Rows on either side of a seam in which its parents are looked for first.
STRIP = 64
ROWS_AT_A_TIME = 128


# Extracts the rows from `first` to before `last`: see `detection`, whose it is.
Extract = Callable[..., Detections]


@dataclass
class Crossing:
    """The parents across a seam: their pixels as sorted flat indices, with the parent's number; its rows and size."""

    pixels: np.ndarray
    numbers: np.ndarray
    first_rows: np.ndarray
    last_rows: np.ndarray
    sizes: np.ndarray

    def parent_of(self, pixels: np.ndarray) -> np.ndarray:
        """The number of the parent that each pixel (flat index) belongs to, -1 for none of these."""
        if not len(self.pixels):
            return np.full(len(pixels), -1)
        place = np.minimum(np.searchsorted(self.pixels, pixels), len(self.pixels) - 1)
        return np.where(self.pixels[place] == pixels, self.numbers[place], -1)

    def giants(self, largest: float) -> np.ndarray:
        """The pixels of the parents that are larger than so many pixels."""
        return self.pixels[self.sizes[self.numbers] > largest]


@dataclass(frozen=True)
class Edge:
    """What to mind where a band ends.

    Of `margin` rows there, at least 1, all but the last are filtered otherwise than in the image. A parent of more
    pixels than `largest` is not deblended, nor shall its parts be in the bands that it reaches into.
    """

    margin: int
    largest: float


NO_CROSSING = Crossing(*(np.empty(0, dtype=np.int64) for _ in range(5)))


def extract_in_bands(
    extract: Extract, shape: tuple[int, int], edge: Edge, want_map: bool, workers: Workers
) -> Detections:
    """Extract an image of `shape` (height, width)."""
    height, width = shape
    if height <= MOST_ROWS_OF_ONE_BAND:
        return extract(0, height, want_map=want_map)
    number = round(height / BAND_ROWS)
    edges = [round(height * band / number) for band in range(number + 1)]
    overlap = max(OVERLAP, 2 * edge.margin)
    seams = edges[1:-1]

    def find(some: list[int]) -> dict[int, Crossing]:
        return {seam: _find_crossing(extract, seam, height, edge.margin) for seam in some}

    # A group for every process: none has to wait for this one, which may be about an errand.
    groups = [seams[first :: workers.number] for first in range(min(workers.number, len(seams)))]
    crossings = {seam: crossing for found in workers.map(find, groups) for seam, crossing in found.items()}
    segmentation = shared_array(shape, np.int32) if want_map else None
    # Labels are dealt out by band at first, from numbers so far apart that none is dealt twice.
    spacing = np.iinfo(np.int32).max // number

    def band(index: int) -> Detections:
        start, stop = edges[index : index + 2]
        before, behind = crossings.get(start, NO_CROSSING), crossings.get(stop, NO_CROSSING)
        own = behind.last_rows[behind.first_rows >= start]
        last = max([stop + overlap, *(own + 1 + edge.margin)])
        found = extract(max(0, start - overlap), min(height, last), without=before.giants(edge.largest))
        kept = _owned(found.sources, (start, stop), width, before, behind)
        return _keep(found, kept, max(0, start - overlap), index * spacing, segmentation)

    bands = list(workers.map(band, range(number)))
    offsets = np.cumsum([0, *(len(part) for part in bands)])
    if segmentation is not None:

        def renumber(index: int) -> None:
            _renumber(segmentation, bands[index].sources, index * spacing, int(offsets[index]))

        list(workers.map(renumber, range(number)))
    whole = [label + int(offset) for part, offset in zip(bands, offsets, strict=False) for label in part.not_deblended]
    return Detections(np.concatenate([part.sources for part in bands]), segmentation, whole)


def _renumber(segmentation: np.ndarray, sources: np.ndarray, base: int, offset: int) -> None:
    """Put the final labels of a band's sources, after `offset`, in place of those after `base`."""
    if not len(sources) or base == offset:
        return
    end = sources["ymax"].max() + 1
    for first in range(sources["ymin"].min(), end, ROWS_AT_A_TIME):
        block = segmentation[first : min(first + ROWS_AT_A_TIME, end)]
        # Rows of two bands are two processes' work, each on its own pixels; what the other's become meanwhile must not
        # make them look like own ones between two comparisons.
        labels = block.copy()
        own = (labels > base) & (labels <= base + len(sources))
        labels -= np.int32(base - offset)
        np.copyto(block, labels, where=own)


def _find_crossing(extract: Extract, seam: int, height: int, margin: int) -> Crossing:
    """The parents that have pixels on both sides of a seam, seen whole."""
    reach = STRIP + margin
    while True:
        first, last = max(0, seam - reach), min(height, seam + reach)
        found = extract(first, last, parents=True)
        labels = np.intersect1d(found.segmentation[seam - first - 1], found.segmentation[seam - first])
        labels = labels[labels > 0]
        rows = found.sources[["ymin", "ymax"]][labels - 1]
        cut_above = first > 0 and (rows["ymin"] < first + margin).any()
        cut_below = last < height and (rows["ymax"] >= last - margin).any()
        if not cut_above and not cut_below:
            break
        reach *= 2
    number = np.full(len(found) + 1, -1)
    number[labels] = np.arange(len(labels))
    numbers = number[found.segmentation].ravel()
    pixels = np.flatnonzero(numbers >= 0)
    sizes = found.sources["npix"][labels - 1]
    return Crossing(pixels + first * found.segmentation.shape[1], numbers[pixels], rows["ymin"], rows["ymax"], sizes)


def _owned(sources: np.ndarray, rows: tuple[int, int], width: int, before: Crossing, behind: Crossing) -> np.ndarray:
    """True where a band owns the parent of a source; `before` and `behind` are the crossings of its seams."""
    start, stop = rows
    peaks = sources["ycpeak"] * width + sources["xcpeak"]
    from_before = before.parent_of(peaks) >= 0
    inside = (sources["ycpeak"] >= start) & (sources["ycpeak"] < stop)
    parent = behind.parent_of(peaks)
    begun_here = np.zeros(len(sources), dtype=bool)
    begun_here[parent >= 0] = behind.first_rows[parent[parent >= 0]] >= start
    return ~from_before & (inside | begun_here)


def _keep(found: Detections, kept: np.ndarray, first: int, base: int, segmentation: np.ndarray | None) -> Detections:
    """The kept sources; their pixels get the labels base + 1, ... in the map of the whole image."""
    labels = np.zeros(len(found) + 1, dtype=np.int32)
    labels[1:][kept] = np.arange(base + 1, base + kept.sum() + 1)
    for row in range(0, len(found.segmentation) if segmentation is not None else 0, ROWS_AT_A_TIME):
        own = labels[found.segmentation[row : row + ROWS_AT_A_TIME]]
        target = segmentation[first + row : first + row + len(own)]
        np.copyto(target, own, where=own > 0)
    whole = [int(labels[label]) - base for label in found.not_deblended if labels[label]]
    return Detections(found.sources[kept], None, whole)
