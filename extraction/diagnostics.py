"""One figure to judge a run by: what was found, how well, and on what background."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from .detection import threshold_range
from .pictures import save, shortened
from .thumbnails import average

if TYPE_CHECKING:
    from .findings import Run

SIZE, DOTS_PER_INCH = (13, 8), 120
BLUE, RED, GREY = "#2b5c8a", "#c1442e", "#8a8a8a"
GOOD_SNR = 5  # where one commonly cuts a catalog
MOST_BINS = 40


def draw_diagnostics(path: Path, run: Run) -> None:
    """Number counts, S/N and half-light radius against brightness; background, RMS and threshold along the image."""
    figure = Figure(SIZE, dpi=DOTS_PER_INCH, layout="constrained")
    figure.suptitle(shortened(f"{len(run.catalog)} sources in {run.settings.title}"), parse_math=False)
    axes = figure.subplot_mosaic("AABBCC;DDDEEE")
    _draw_sources(axes["A"], axes["B"], axes["C"], run)
    _draw_background(axes["D"], axes["E"], run)
    save(figure, path)


def _draw_sources(counts: Axes, snr: Axes, size: Axes, run: Run) -> None:
    catalog = run.catalog
    positive = np.isfinite(catalog["flux_auto"]) & (catalog["flux_auto"] > 0)
    flagged = ((catalog["flag"] != 0) | (catalog["flag_phot"] != 0))[positive]
    if "mag_auto" in catalog:
        brightness, label = catalog["mag_auto"][positive], "mag_auto [mag]"
    else:
        unit = run.measured_image.unit or "pixel value"
        brightness, label = catalog["flux_auto"][positive], f"flux_auto [{unit}]"
        for axes in (counts, snr, size):
            axes.set_xscale("log")
    for axes, title, ylabel in (
        (counts, "Number counts", "sources a bin"),
        (snr, "Signal-to-noise ratio", "snr"),
        (size, "Half-light radius", "flux_radius [pixel]"),
    ):
        axes.set_title(title)
        axes.set_xlabel(label, parse_math=False)
        axes.set_ylabel(ylabel)
    if not len(brightness):
        for axes in (counts, snr, size):
            axes.text(0.5, 0.5, "no source with a positive flux", transform=axes.transAxes, ha="center")
        return

    counts.hist(brightness, bins=_bins(brightness, counts.get_xscale() == "log"), color=BLUE)
    counts.set_yscale("log")
    counts.set_ylim(bottom=0.7)
    for axes, values in ((snr, catalog["snr"][positive]), (size, catalog["flux_radius"][positive])):
        style = {"s": max(2, 30 / np.sqrt(1 + len(values) / 100)), "linewidths": 0, "rasterized": True}
        axes.scatter(brightness[flagged], values[flagged], color=GREY, label="flagged", **style)
        axes.scatter(brightness[~flagged], values[~flagged], color=BLUE, label="not flagged", **style)
        if (values > 0).any():
            axes.set_yscale("log")
    if size.get_yscale() == "log":
        # Radii span a decade or two: plain numbers, more than one a decade.
        size.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        size.yaxis.set_major_formatter("{x:g}")
        size.yaxis.set_minor_formatter(NullFormatter())
    snr.axhline(GOOD_SNR, color=RED, linewidth=1, label=f"S/N {GOOD_SNR}")
    snr.legend(loc="best", framealpha=0.8)


def _bins(brightness: np.ndarray, logarithmic: bool) -> np.ndarray:
    low, high = brightness.min(), brightness.max()
    number = int(np.clip(2 * np.sqrt(len(brightness)), 5, MOST_BINS))
    if low == high:
        low, high = (low / 2, high * 2) if logarithmic else (low - 1, high + 1)
    return np.geomspace(low, high, number + 1) if logarithmic else np.linspace(low, high, number + 1)


def _draw_background(along_x: Axes, along_y: Axes, run: Run) -> None:
    """Medians over the other axis, of the background and its noise, and the threshold (of a noise map: its median)."""
    background, rms = average(run.sky.background_map()), run.sky.unit * average(run.sky.working_rms_map())
    _, threshold, _ = threshold_range(run.sky, run.settings)
    unit = run.image.unit or "pixel value"
    for axes, axis, name, side in ((along_x, 0, "x", run.image.shape[1]), (along_y, 1, "y", run.image.shape[0])):
        level, noise = np.median(background, axis=axis), np.median(rms, axis=axis)
        position = np.linspace(-0.5, side - 0.5, 2 * len(level) + 1)[1::2]
        # With the RMS map as the unit, the threshold follows it.
        above = run.settings.thresh * noise if run.settings.err_option == "array_rms" else threshold
        if run.settings.subtract_background:
            above = level + above
        axes.fill_between(position, level - noise, level + noise, color=BLUE, alpha=0.25, label="± RMS")
        axes.plot(position, level, color=BLUE, label="background")
        axes.plot(position, np.broadcast_to(above, level.shape), color=RED, linewidth=1, label="threshold")
        axes.set_title(f"Background along {name} (median across)")
        axes.set_xlabel(f"{name} [pixel]")
        axes.set_ylabel(f"[{unit}]", parse_math=False)
    along_x.legend(loc="best", framealpha=0.8)
