"""The filter kernel: the default one, or a text file's."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np

from .errors import InputError

# SExtractor's default.conv: an approximate Gaussian of FWHM 2 pixels.
DEFAULT_KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=np.float32)


def read_kernel(path: Path) -> np.ndarray:
    """Read a kernel's weights, a row a line: a 2-D float32 array.

    Takes what numpy.loadtxt reads (comments with #), commas between the weights, and SExtractor's
    .conv files, whose first line is CONV NORM or CONV NONORM (SExtractor manual, "Filtering"). SEP
    divides every kernel by the sum of its absolute weights, so NONORM cannot be honoured.
    """
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError as problem:
        raise InputError(path, "the kernel is not a text file", "give its weights as text, a row a line") from problem
    except OSError as problem:
        raise InputError(
            path, f"cannot be read ({problem.strerror})", "check the path and its permissions"
        ) from problem
    rows = [line.replace(",", " ") for line in lines if line.split()[:1] != ["CONV"]]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns of an empty file; the refusal below says it
            weights = np.loadtxt(io.StringIO("\n".join(rows)), ndmin=2)
    except ValueError as problem:
        reason = str(problem).split(";")[0]
        raise InputError(
            path, f"the kernel is not a table of numbers ({reason})", "give as many weights in every row"
        ) from problem
    _check(path, weights)
    return weights.astype(np.float32)


def _check(path: Path, weights: np.ndarray) -> None:
    if not weights.size:
        raise InputError(path, "the kernel is empty", "give its weights as text, a row a line")
    if not np.isfinite(weights).all():
        raise InputError(path, "the kernel has weights that are not finite", "give finite numbers")
    if not (weights > 0).any():
        raise InputError(path, "the kernel has no positive weight", "give at least one weight above 0")
