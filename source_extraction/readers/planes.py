"""Which 2-D plane of an image of more axes is meant."""

from __future__ import annotations

import math

from ..errors import InputError, counted


def choose_plane(planes: tuple[int, ...], plane: int | None, source: str, origin: str, size: str) -> tuple[int, ...]:
    """The index, in the axes `planes` that come before rows and columns, of the plane that was asked for.

    `plane` counts from 0 with the last axis running fastest; None is the only one there is. `origin` and
    `size` describe the image for the message.
    """
    count = math.prod(planes)
    if plane is None and count > 1:
        raise InputError(
            source, f"{origin} holds {count} planes ({size})", f"choose one with --plane K, K from 0 to {count - 1}"
        )
    if plane is not None and not 0 <= plane < count:
        there = f"it has {count}: --plane 0 to {count - 1}" if count > 1 else "it has one: leave out --plane"
        raise InputError(source, f"there is no plane {plane} in {origin}", there)
    index, left = [], plane or 0
    for side in reversed(planes):  # not numpy's unravel_index: it refuses what would not fit into memory
        left, place = divmod(left, side)
        index.append(place)
    return tuple(reversed(index))


def rows_and_columns(shape: tuple[int, ...], source: str, origin: str) -> tuple[list[int], list[int]]:
    """The axes of the planes, and the two of rows and columns; axes of length 1 belong to neither."""
    keep = list(range(len(shape)))
    for axis in range(len(shape)):
        if len(keep) > 2 and shape[axis] == 1:
            keep.remove(axis)
    if len(keep) < 2:
        values = f"one axis only ({counted(shape[0], 'value', 'values')})" if shape else "no axes"
        raise InputError(source, f"{origin} has {values}", "give a 2-D image")
    return keep[:-2], keep[-2:]
