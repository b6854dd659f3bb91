"""Order statistics of more values than should be in memory at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

# The bits of a value that one pass over all values decides, and how many values are few enough to sort in memory.
BITS, FEW = 16, 8_000_000

# Yields all values in parts, the same at every call: floats that are neither negative nor NaN.
Parts = Callable[[], Iterable[np.ndarray]]


class _Alike(NamedTuple):
    """Values that begin with the same bits, and which are wanted: their places within the group by place among all."""

    beginning: int
    wanted: dict[int, int]


def values_at(parts: Parts, places: Sequence[int]) -> np.ndarray:
    """The values at given places, from 0, when all values are sorted.

    Such floats sort like their bits taken as integers. So a histogram of the first bits gives those of each wanted
    value, and histograms of the next bits, among the values that share the bits so far, narrow it down until few values
    or no bits are left.
    """
    kind = next(iter(parts())).dtype
    left, groups, few = 8 * kind.itemsize, [_Alike(0, {place: place for place in places})], False
    while left and not few:
        groups, most = _narrowed(parts, groups, left)
        left, few = left - BITS, most <= FEW
    found: dict[int, np.generic] = {}
    for group in groups:
        bits = np.array([group.beginning], f"u{kind.itemsize}")
        in_order = np.sort(np.concatenate(list(_those(parts, group, left)))) if left else bits
        found |= {place: in_order.view(kind)[own if left else 0] for place, own in group.wanted.items()}
    return np.array([found[place] for place in places], kind)


def _narrowed(parts: Parts, groups: list[_Alike], left: int) -> tuple[list[_Alike], int]:
    """The groups narrowed by some of the `left` bits not yet known; and the largest number of values in any."""
    counts = np.zeros((len(groups), 2**BITS), dtype=np.int64)
    for part in parts():
        for number, group in enumerate(groups):
            bits = _of_group(part, group, left) >> (left - BITS)
            counts[number] += np.bincount(bits & (2**BITS - 1), minlength=2**BITS)
    narrowed: dict[int, dict[int, int]] = {}
    most = 0
    for group, numbers in zip(groups, counts, strict=True):
        ends = np.cumsum(numbers)
        for place, own in group.wanted.items():
            next_bits = int(np.searchsorted(ends, own, "right"))
            among = own - int(ends[next_bits] - numbers[next_bits])
            narrowed.setdefault((group.beginning << BITS) + next_bits, {})[place] = among
            most = max(most, int(numbers[next_bits]))
    return [_Alike(beginning, wanted) for beginning, wanted in narrowed.items()], most


def _those(parts: Parts, group: _Alike, left: int) -> Iterator[np.ndarray]:
    return (_of_group(part, group, left) for part in parts())


def _of_group(part: np.ndarray, group: _Alike, left: int) -> np.ndarray:
    """The bits of the values that belong to a group, of which the last `left` are not yet known."""
    bits = np.ascontiguousarray(part).reshape(-1).view(f"u{part.itemsize}")
    return bits if left == 8 * part.itemsize else bits[bits >> left == group.beginning]


def in_the_middle(parts: Parts, number: int) -> np.ndarray:
    """The two middle ones of `number` values, equal if the number is odd."""
    upper = number // 2
    if number > FEW:
        return values_at(parts, ((number - 1) // 2, upper))
    # One place at a time: NumPy takes fifteen times as long for both.
    parted = np.partition(np.concatenate(list(parts())), upper)
    return parted[[upper, upper]] if number % 2 else np.array([parted[:upper].max(), parted[upper]])


def percentile(parts: Parts, number: int, share: float) -> float:
    """np.percentile of `number` float64 values."""
    place = (number - 1) * (share / 100)
    below = math.floor(place)
    low, high = (float(value) for value in values_at(parts, (below, min(below + 1, number - 1))))
    beyond = place - below
    return high - (high - low) * (1 - beyond) if beyond >= 0.5 else low + (high - low) * beyond
