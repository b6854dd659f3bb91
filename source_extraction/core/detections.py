"""The detections: the sources, a record each, and the map of their pixels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Detections:
    """The detections of an image.

    `sources` is SEP's structured array, `segmentation` the map of the labels (int32, 0 = sky). `not_deblended` are the
    labels of sources too large to be deblended. `starts` are the rows of `sources` at which the sources of another tile
    begin.
    """

    sources: np.ndarray
    segmentation: np.ndarray
    not_deblended: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def labels(self) -> np.ndarray:
        """The labels of all sources, int32."""
        return labels_of(np.arange(len(self), dtype=np.int32))

    def of(self, labels: np.ndarray) -> np.ndarray:
        """The sources with these labels."""
        return self.sources[rows_of(labels)]

    def in_parts(self, most: int) -> list[np.ndarray]:
        """The labels of all sources, in parts of at most `most`, each within one tile; one empty part if none."""
        tiles = np.split(self.labels, [start for start in self.starts if start < len(self)])
        parts = [part for tile in tiles for part in np.split(tile, range(most, len(tile), most)) if len(part)]
        return parts or [self.labels]

    def only(self, kept: np.ndarray) -> Detections:
        """The detections `kept` (boolean, an entry a source), relabelled from 1 without a gap."""
        if kept.all():
            return self
        labels = new_labels(kept)
        not_deblended = [int(labels[label]) for label in self.not_deblended if labels[label]]
        return Detections(self.sources[kept], labels[self.segmentation], not_deblended)


def labels_of(rows: np.ndarray) -> np.ndarray:
    """The labels of sources by their rows, which count from 0; labels count from 1, as 0 is the sky."""
    return rows + rows.dtype.type(1)


def rows_of(labels: np.ndarray) -> np.ndarray:
    """The rows of sources by their labels."""
    return labels - labels.dtype.type(1)


def new_labels(kept: np.ndarray, first: int = 1) -> np.ndarray:
    """The new labels of 0, 1, ... if only the `kept` sources (boolean) stay: first, first + 1, ..., else 0.

    int32, with one entry more than there are sources, for the sky.
    """
    labels = np.zeros(len(kept) + 1, dtype=np.int32)
    labels[1:][kept] = np.arange(first, first + np.count_nonzero(kept))
    return labels
