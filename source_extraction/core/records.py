"""SEP's record of a source, recomputed from its pixels (analyse.c there), for sources that have lost some."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .columns import Flag

# SEP's addition to the variances of a source so thin that it has no width, if their determinant is below this.
PIXEL_VARIANCE, LEAST_DETERMINANT = 0.0833333, 0.00694


def measured_again(
    sources: np.ndarray,
    labels: np.ndarray,
    segmentation: np.ndarray,
    pixels: np.ndarray,
    kernel: np.ndarray,
    sigma: np.ndarray,
    threshold: float,
) -> np.ndarray:
    """SEP's records of sources, recomputed from their pixels in the segmentation map, at least one each.

    `sources` (N) are the previous records, `labels` (N, ascending) their values in the map; `pixels` and `sigma`
    (height, width) are SEP's input, in the same units, with its `kernel` and `threshold`. The flag of deblended sources
    is kept from the previous records.
    """
    number_of = np.full(segmentation.max(initial=0) + 1, -1)
    number_of[labels] = np.arange(len(labels))
    y, x = np.nonzero(number_of[segmentation] >= 0)
    number = number_of[segmentation[y, x]]
    order = np.argsort(number, kind="stable")
    y, x, number = y[order], x[order], number[order]
    first = np.searchsorted(number, np.arange(len(labels)))

    def total(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, first, dtype=np.float64)

    value, filtered, noise = pixels[y, x], _filtered(pixels, kernel, y, x), sigma[y, x]
    made = sources.copy()
    made["npix"] = np.bincount(number)
    made["thresh"] = total(np.float32(threshold) * noise) / made["npix"]
    made["tnpix"] = total(value > made["thresh"][number])
    made["flux"], made["cflux"] = total(value), total(filtered)
    for axis, place in (("x", x), ("y", y)):
        made[f"{axis}min"], made[f"{axis}max"] = np.minimum.reduceat(place, first), np.maximum.reduceat(place, first)
    for name, values in (("peak", value), ("cpeak", filtered)):
        made[name] = np.maximum.reduceat(values, first)
        brightest = np.flatnonzero(values == made[name][number])
        brightest = brightest[np.unique(number[brightest], return_index=True)[1]]
        made[f"x{name}"], made[f"y{name}"] = x[brightest], y[brightest]
    bottom, right = (side - 1 for side in pixels.shape)
    inside = (made["xmin"] > 0) & (made["ymin"] > 0) & (made["xmax"] < right) & (made["ymax"] < bottom)
    made["flag"] &= np.where(inside, ~Flag.AT_THE_EDGE, -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        _set_moments(made, number, x, y, filtered.astype(np.float64), noise.astype(np.float64) ** 2, total)
    return made


def _set_moments(
    made: np.ndarray,
    number: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    light: np.ndarray,
    variance: np.ndarray,
    total: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Positions, their errors, and the ellipse; `flag`."""
    # Relative to the corner of each source, so that no digits are lost far from the image's origin.
    x, y = x - made["xmin"][number], y - made["ymin"][number]
    flux = total(light)
    mean_x, mean_y = total(light * x) / flux, total(light * y) / flux
    x2 = total(light * x * x) / flux - mean_x**2
    y2 = total(light * y * y) / flux - mean_y**2
    xy = total(light * x * y) / flux - mean_x * mean_y
    dx, dy = x - mean_x[number], y - mean_y[number]
    errx2, erry2, errxy, err = (
        total(variance * product) / flux**2 for product in (dx * dx, dy * dy, dx * dy, np.ones_like(dx))
    )
    thin = x2 * y2 - xy**2 < LEAST_DETERMINANT
    x2, y2 = x2 + thin * PIXEL_VARIANCE, y2 + thin * PIXEL_VARIANCE
    err *= PIXEL_VARIANCE
    thin_error = thin & (errx2 * erry2 - errxy**2 < err**2)
    made["x"], made["y"] = mean_x + made["xmin"], mean_y + made["ymin"]
    made["x2"], made["y2"], made["xy"] = x2, y2, xy
    made["errx2"], made["erry2"], made["errxy"] = errx2 + thin_error * err, erry2 + thin_error * err, errxy
    determinant = x2 * y2 - xy**2
    made["cxx"], made["cyy"], made["cxy"] = y2 / determinant, x2 / determinant, -2 * xy / determinant
    middle, half = (x2 + y2) / 2, np.sqrt((x2 - y2) ** 2 / 4 + xy**2)
    made["a"], made["b"] = np.sqrt(middle + half), np.sqrt(middle - half)
    made["theta"] = np.where(x2 == y2, np.pi / 4, np.arctan2(2 * xy, x2 - y2) / 2)
    made["flag"] = (made["flag"] & ~Flag.SINGULAR) | np.where(thin, Flag.SINGULAR, 0)


def _filtered(pixels: np.ndarray, kernel: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The filtered image at some pixels: nothing beyond the edges counts; SEP divides a kernel by its absolute sum."""
    weights = kernel.astype(np.float32) / np.abs(kernel).sum(dtype=np.float32)
    rows, columns = weights.shape
    padded = np.pad(pixels, ((rows // 2, rows), (columns // 2, columns)))
    filtered = np.zeros(len(y), dtype=np.float32)
    for (down, right), weight in np.ndenumerate(weights):
        filtered += weight * padded[y + down, x + right]
    return filtered
