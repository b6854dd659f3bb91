"""One figure to judge a run by: its sources, their quality, and the background."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ..core.catalog import Catalog
from ..core.image import Image
from ..core.sky import Sky
from ..core.threshold import Threshold
from .pictures import own_style, save, shortened
from .thumbnails import average

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

SIZE, DOTS_PER_INCH = (13, 8), 120
BLUE, RED, GREY = "#2b5c8a", "#c1442e", "#8a8a8a"
GOOD_SNR = 5  # a common cut for catalogs
MOST_BINS = 40
MANY_DECADES = 2.5  # from this number on, each decade has one label


@own_style()
def draw_diagnostics(
    path: Path | BinaryIO,
    catalog: Catalog,
    sky: Sky,
    threshold: Threshold,
    image: Image,
    title: str,
    *,
    flux_unit: str,
    subtracted: bool,
) -> None:
    """Number counts, S/N and half-light radius against brightness; background, RMS and threshold along the image.

    `flux_unit` is the unit of the catalog's fluxes; `subtracted` says whether the background was subtracted, so that
    the threshold is measured from it.
    """
    from matplotlib.figure import Figure

    figure = Figure(SIZE, dpi=DOTS_PER_INCH, layout="constrained")
    figure.suptitle(shortened(title), parse_math=False)
    axes = figure.subplot_mosaic("AABBCC;DDDEEE")
    _draw_sources(axes["A"], axes["B"], axes["C"], catalog, flux_unit)
    _draw_background(axes["D"], axes["E"], sky, threshold, image, subtracted)
    save(figure, path)


def _draw_sources(counts: Axes, snr: Axes, size: Axes, catalog: Catalog, flux_unit: str) -> None:
    positive = np.isfinite(catalog["flux_auto"]) & (catalog["flux_auto"] > 0)
    flagged = ((catalog["flag"] != 0) | (catalog["flag_phot"] != 0))[positive]
    if "mag_auto" in catalog:
        brightness, label = catalog["mag_auto"][positive], "mag_auto [mag]"
    else:
        brightness, label = catalog["flux_auto"][positive], f"flux_auto [{flux_unit or 'pixel value'}]"
        for axes in (counts, snr, size):
            axes.set_xscale("log")
    for axes, title, ylabel in (
        (counts, "Number counts", "sources per bin"),
        (snr, "Signal-to-noise ratio", "snr"),
        (size, "Half-light radius", "flux_radius [pixel]"),
    ):
        axes.set_title(title)
        axes.set_xlabel(label, parse_math=False)
        axes.set_ylabel(ylabel)
    if not len(brightness):
        for axes in (counts, snr, size):
            axes.set(xscale="linear", xticks=[], yticks=[])
            axes.text(0.5, 0.5, "no source with a positive flux", transform=axes.transAxes, ha="center")
        return

    counts.hist(brightness, bins=_bins(brightness, counts.get_xscale() == "log").tolist(), color=BLUE)
    counts.set_yscale("log")
    counts.set_ylim(bottom=0.7)
    for axes, values in ((snr, catalog["snr"][positive]), (size, catalog["flux_radius"][positive])):
        style = {"s": max(2, 30 / np.sqrt(1 + len(values) / 100)), "linewidths": 0, "rasterized": True}
        for chosen, color, label in ((flagged, GREY, "flagged"), (~flagged, BLUE, "not flagged")):
            if chosen.any():
                axes.scatter(brightness[chosen], values[chosen], color=color, label=label, **style)
        if (values > 0).any():
            axes.set_yscale("log")
    snr.axhline(GOOD_SNR, color=RED, linewidth=1, label=f"S/N {GOOD_SNR}")
    snr.legend(loc="best", framealpha=0.8)
    for axes in (counts, snr, size):
        _label_decades(axes.xaxis, along_x=True)
        _label_decades(axes.yaxis, along_x=False)


def _label_decades(axis: Axis, *, along_x: bool) -> None:
    """Label a logarithmic axis so that no label lies over another, and there are at least two."""
    from matplotlib.ticker import LogLocator, NullFormatter

    if axis.get_scale() != "log":
        return
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    axis.set_minor_formatter(NullFormatter())
    if decades < MANY_DECADES:
        # Labels stand side by side along x, and one above the other along y.
        few, many = ((1, 3), (1, 2, 5)) if along_x else ((1, 2, 5), (1, 1.5, 2, 3, 5, 7))
        axis.set_major_locator(LogLocator(subs=many if decades < 1 else few))
        axis.set_major_formatter("{x:g}")


def _bins(brightness: np.ndarray, logarithmic: bool) -> np.ndarray:
    low, high = brightness.min(), brightness.max()
    number = int(np.clip(2 * np.sqrt(len(brightness)), 5, MOST_BINS))
    if low == high:
        low, high = (low / 2, high * 2) if logarithmic else (low - 1, high + 1)
    return np.geomspace(low, high, number + 1) if logarithmic else np.linspace(low, high, number + 1)


def _draw_background(
    along_x: Axes, along_y: Axes, sky: Sky, threshold: Threshold, image: Image, subtracted: bool
) -> None:
    """Background, noise and threshold, as medians over the other axis (for a noise map: its median)."""
    background, rms = average(sky.background_map), average(sky.rms_map)
    unit = image.unit or "pixel value"
    height, width = image.shape
    for axes, axis, name, side in ((along_x, 0, "x", width), (along_y, 1, "y", height)):
        level, noise = np.median(background, axis=axis), np.median(rms, axis=axis)
        position = np.linspace(-0.5, side - 0.5, 2 * len(level) + 1)[1::2]
        above = threshold.along(noise) + (level if subtracted else 0)
        axes.fill_between(position, level - noise, level + noise, color=BLUE, alpha=0.25, label="± RMS")
        axes.plot(position, level, color=BLUE, label="background")
        axes.plot(position, np.broadcast_to(above, level.shape), color=RED, linewidth=1, label="threshold")
        axes.set_title(f"Background along {name} (median across)")
        axes.set_xlabel(f"{name} [pixel]")
        axes.set_ylabel(f"[{unit}]", parse_math=False)
    along_x.legend(loc="best", framealpha=0.8)
