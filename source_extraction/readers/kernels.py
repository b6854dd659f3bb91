"""The filter kernel of a text file."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from .content import failures_are_said, open_again, opened

MOST_BYTES = 2**24


@dataclass
class Kernel:
    """`weights` (rows, columns), float32, and what the user should know about them."""

    weights: np.ndarray
    remarks: list[str]


def read_kernel(path: Path) -> Kernel:
    """Read a kernel's weights, one row per line.

    Takes what numpy.loadtxt reads (comments with #), commas between the weights, and SExtractor's
    .conv files, whose first line is CONV NORM or CONV NONORM (SExtractor manual, "Filtering").
    Raises InputError where they are no weights, or none that can find a source.
    """
    lines = _lines(path)
    rows = [line.replace(",", " ") for line in lines if line.split()[:1] != ["CONV"]]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns of an empty file; the refusal below says it
            # float32, which SEP computes in: a weight that it cannot hold is 0 or infinite.
            weights = np.loadtxt(io.StringIO("\n".join(rows)), ndmin=2).astype(np.float32)
    except ValueError as problem:
        reason = str(problem).split(";")[0]
        raise InputError(
            path, f"the kernel is not a table of numbers ({reason})", "give as many weights in every row"
        ) from problem
    _check(path, weights)
    return Kernel(weights, _remarks(weights, lines))


def _lines(path: Path) -> list[str]:
    """The lines of a kernel's file, without the byte order mark that some editors put before the first."""
    with failures_are_said(path), open_again(opened(path, path)) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise InputError(path, "the kernel is larger than any filter", "give its weights as text, one row per line")
    try:
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as problem:
        raise InputError(
            path, "the kernel is not a text file", "give its weights as text, one row per line"
        ) from problem


def _check(path: Path, weights: np.ndarray) -> None:
    if not weights.size:
        raise InputError(path, "the kernel is empty", "give its weights as text, one row per line")
    if not np.isfinite(weights).all():
        raise InputError(path, "the kernel has weights that are not finite", "give finite numbers")
    if not weights.any():
        raise InputError(path, "all weights of the kernel are 0", "give at least one weight above 0")
    if not (weights > 0).any():
        raise InputError(path, "the kernel has no positive weight", "give at least one weight above 0")


def _remarks(weights: np.ndarray, lines: list[str]) -> list[str]:
    remarks = []
    if any(line.split()[:2] == ["CONV", "NONORM"] for line in lines):
        remarks.append("CONV NONORM cannot be honoured: SEP divides every kernel by the sum of its absolute weights")
    if not all(side % 2 for side in weights.shape):
        remarks.append("a kernel with an even number of rows or columns shifts the filtered image by half a pixel")
    return remarks
