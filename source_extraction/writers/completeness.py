"""The figure of a catalog's completeness."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..core.completeness import Completeness, Limit, with_error
from .pictures import own_style, save, shortened

SIZE, DOTS_PER_INCH = (8, 5.5), 150
BLUE, RED, GREY = "#2b5c8a", "#c1442e", "#8a8a8a"


@own_style()
def draw_completeness(path: Path, completeness: Completeness, title: str, *, unit: str) -> None:
    """The share of the artificial stars found, with errors, by magnitude or flux; the fitted curve and its limits.

    `unit` is the unit of the fluxes. Faint is on the right, as with magnitudes.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(SIZE, dpi=DOTS_PER_INCH, layout="constrained")
    figure.suptitle(shortened(f"Completeness of {title}"), parse_math=False)
    axes = figure.subplots()
    columns = completeness.columns
    in_magnitudes = bool(np.isfinite(columns["mag_low"]).any())
    if in_magnitudes:
        zeropoint = columns["mag_high"][0] + 2.5 * math.log10(columns["flux_low"][0])
        axes.set_xlabel("magnitude of a point source")
        centre = (columns["mag_low"] + columns["mag_high"]) / 2
        reach = centre - columns["mag_low"], columns["mag_high"] - centre
        along = zeropoint - 2.5 * np.log10(completeness.curve_flux)
    else:
        axes.set_xlabel(f"flux of a point source [{unit or 'pixel value'}]", parse_math=False)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        centre = np.sqrt(columns["flux_low"] * columns["flux_high"])
        reach = centre - columns["flux_low"], columns["flux_high"] - centre
        along = completeness.curve_flux
    if not len(centre):
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no artificial stars: no PSF is known", transform=axes.transAxes, ha="center")
        save(figure, path)
        return
    axes.set_ylabel("share found")
    axes.set_ylim(-0.03, 1.05)
    axes.grid(alpha=0.25)
    stars = f"artificial stars: {columns['injected'].sum()}"
    bars = np.clip((columns["error_low"], columns["error_high"]), 0, None)
    axes.plot(along, completeness.curve, color=BLUE, linewidth=1.5, label="curve fitted to the stars", zorder=2)
    axes.errorbar(
        centre, columns["completeness"], yerr=bars, xerr=reach, fmt="o", color="black", markersize=5,
        elinewidth=1.2, label=stars, zorder=3,
    )  # fmt: skip
    for (level, limit), colour in zip(completeness.limits.items(), (RED, GREY), strict=True):
        at = limit.mag if in_magnitudes else limit.flux
        if math.isfinite(at):
            axes.plot([at, at], [-0.03, level], color=colour, linestyle="--", linewidth=1.2, zorder=1)
            axes.plot(at, level, marker="D", color=colour, markersize=6, zorder=4, linestyle="none",
                      label=f"{100 * level:g} % at {_said(limit, in_magnitudes)}")  # fmt: skip
        else:
            said = "more" if completeness.curve[-1] >= level else "less"
            axes.plot([], [], linestyle="none", label=f"{said} than {100 * level:g} % throughout")
    if in_magnitudes:
        axes.set_xlim(columns["mag_low"].min() - 0.1, columns["mag_high"].max() + 0.1)
    else:
        axes.set_xlim(columns["flux_high"].max() * 1.1, columns["flux_low"].min() / 1.1)
    # Bright stars are on the left: there is free space below the curve if most of them are found.
    axes.legend(loc="lower left" if completeness.curve.max() > 0.5 else "upper left", framealpha=0.9)
    save(figure, path)


def _said(limit: Limit, in_magnitudes: bool) -> str:
    if in_magnitudes:
        return f"{limit.mag:.2f} ± {limit.mag_err:.2f} mag"
    return with_error(limit.flux, limit.flux_err, "±")
