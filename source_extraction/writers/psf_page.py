"""One page to judge a point spread function by: how it looks, its profile, its stars, and what it leaves of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.image import Image
from ..core.psf import Psf
from ..core.psf_making import TOO_FEW, StarsOfPsf
from .pictures import GREYS, own_style, save, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

SIZE, DOTS_PER_INCH = (13, 8.5), 120
BLUE, RED = "#2b5c8a", "#c1442e"
# Of the maximum: from where the PSF is black, and how large the residuals of the page are.
FAINTEST, RESIDUAL = 1e-4, 0.05
MOST_POINTS = 20_000
PLACES = (0.1, 0.5, 0.9)


@own_style()
def draw_psf(path: Path, psf: Psf | None, stars: StarsOfPsf | None, image: Image, title: str, number: int) -> None:
    """The PSF at nine places, its profile with its stars', where they are, and what it leaves of them.

    `number` is how many sources could have been stars, for a page that says why there is no PSF.
    """
    from matplotlib.figure import Figure

    figure = Figure(SIZE, dpi=DOTS_PER_INCH, layout="constrained")
    if psf is None:
        figure.suptitle(shortened(f"No PSF: {title}"), parse_math=False)
        text = TOO_FEW.format(number=number).replace("; ", ";\n").replace(" that are", "\nthat are")
        figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=14)
        save(figure, path)
        return
    figure.suptitle(shortened(f"PSF of {title}: {psf.describe()}"), parse_math=False)
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    _draw_places(left, psf, image)
    axes = right.subplot_mosaic("AB;CD")
    _draw_profile(axes["A"], psf, stars)
    _draw_stars(axes["B"], stars, image)
    _draw_left(right, axes["C"], stars)
    _draw_widths(right, axes["D"], psf, image)
    save(figure, path)


def _draw_places(figure: SubFigure, psf: Psf, image: Image) -> None:
    """Nine places of the image, which lie on the page as they lie in it."""
    from matplotlib.colors import AsinhNorm

    height, width = image.shape
    rows = PLACES if image.rows_from_top else PLACES[::-1]
    axes = figure.subplots(len(rows), len(PLACES))
    half = psf.size // 2
    shades = None
    for line, down in zip(axes, rows, strict=True):
        for each, along in zip(line, PLACES, strict=True):
            x, y = round(along * (width - 1)), round(down * (height - 1))
            stamp = psf.stamps(np.array([x]), np.array([y]))[0]
            norm = AsinhNorm(3e-3, 0, 1)
            shades = each.imshow(
                stamp / stamp.max(),
                norm=norm,
                cmap=GREYS,
                origin="upper" if image.rows_from_top else "lower",
                extent=(-half - 0.5, half + 0.5, half + 0.5, -half - 0.5)
                if image.rows_from_top
                else (-half - 0.5, half + 0.5, -half - 0.5, half + 0.5),
            )
            each.set_title(f"{x}, {y}: FWHM {psf.fwhm_at(x, y):.2f}", fontsize=9)
            each.tick_params(labelsize=7)
    figure.suptitle("The PSF at nine places (x, y)", fontsize=11)
    figure.colorbar(shades, ax=axes, location="bottom", shrink=0.9, label="part of its maximum")


def _draw_profile(axes: Axes, psf: Psf, stars: StarsOfPsf | None) -> None:
    """The light against the distance from the centre: pixels of the stars, and the PSF in the middle of the image."""
    along = np.arange(psf.samples.shape[-1]) / psf.oversampling - psf.size // 2
    distance = np.hypot(along, along[:, np.newaxis])
    model = psf.samples_at(*psf.middle)
    top = model.max()
    if stars is not None:
        offset = np.arange(-(psf.size // 2), psf.size // 2 + 1)
        dx, dy = (offset - (place - np.rint(place))[:, np.newaxis] for place in (stars.x, stars.y))
        away = np.hypot(dx[:, np.newaxis, :], dy[:, :, np.newaxis])
        known = np.isfinite(stars.light)
        away, light = away[known], stars.light[known]
        step = max(1, len(away) // MOST_POINTS)
        style = {"s": 2, "linewidths": 0, "alpha": 0.3, "rasterized": True}
        axes.scatter(away[::step], light[::step] / top, color=BLUE, label="pixels of the stars", **style)
    rings = np.rint(2 * distance).astype(int)
    profile = np.bincount(rings.ravel(), model.ravel()) / np.bincount(rings.ravel())
    radius = np.arange(len(profile)) / 2
    inside = radius <= psf.size // 2
    axes.plot(radius[inside], profile[inside] / top, color=RED, label="PSF in the middle")
    axes.axvline(psf.fwhm / 2, color="black", linewidth=0.8, linestyle=":", label="half the FWHM")
    axes.set_yscale("log")
    axes.set_ylim(FAINTEST, 2)
    axes.set_xlim(0, psf.size // 2)
    axes.set_title("Profile")
    axes.set_xlabel("distance from the centre [pixel]")
    axes.set_ylabel("part of the maximum")
    axes.legend(loc="upper right", fontsize=8)


def _draw_stars(axes: Axes, stars: StarsOfPsf | None, image: Image) -> None:
    height, width = image.shape
    axes.set_title("The stars that it was made from" if stars is not None else "Made before: no stars here")
    if stars is not None:
        size = np.clip(np.sqrt(stars.snr), 3, 60)
        axes.scatter(stars.x, stars.y, s=size, color=BLUE, alpha=0.7, linewidths=0)
        axes.set_title(f"The {len(stars.x)} stars that it was made from")
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(*((height - 0.5, -0.5) if image.rows_from_top else (-0.5, height - 0.5)))
    axes.set_aspect("equal")
    axes.set_xlabel("x [pixel]")
    axes.set_ylabel("y [pixel]")


def _draw_left(figure: SubFigure, axes: Axes, stars: StarsOfPsf | None) -> None:
    """The median of what the PSF leaves of its stars."""
    axes.set_title("Left of the stars (median)")
    axes.set_xlabel("x - star [pixel]")
    axes.set_ylabel("y - star [pixel]")
    if stars is None:
        axes.text(0.5, 0.5, "made before", transform=axes.transAxes, ha="center")
        return
    top = float(np.nanmax(np.nanmedian(stars.light, axis=0)))
    half = stars.left.shape[1] // 2
    shown = 100 * np.median(stars.left, axis=0) / top
    extent = (-half - 0.5, half + 0.5, -half - 0.5, half + 0.5)
    most = 100 * RESIDUAL
    shades = axes.imshow(shown, cmap="RdBu_r", vmin=-most, vmax=most, origin="lower", extent=extent)
    figure.colorbar(shades, ax=axes, label="% of the maximum")


def _draw_widths(figure: SubFigure, axes: Axes, psf: Psf, image: Image) -> None:
    """The FWHM over the image."""
    height, width = image.shape
    along, down = (np.linspace(0, side - 1, 9) for side in (width, height))
    widths = np.array([[psf.fwhm_at(x, y) for x in along] for y in down])
    extent = (-0.5, width - 0.5, height - 0.5, -0.5) if image.rows_from_top else (-0.5, width - 0.5, -0.5, height - 0.5)
    origin = "upper" if image.rows_from_top else "lower"
    middle, most = float(np.median(widths)), max(0.05 * psf.fwhm, float(np.ptp(widths)) / 2)
    shades = axes.imshow(
        widths, origin=origin, extent=extent, aspect="equal", vmin=middle - most, vmax=middle + most, cmap="viridis"
    )
    axes.set_title("FWHM over the image")
    axes.set_xlabel("x [pixel]")
    axes.set_ylabel("y [pixel]")
    figure.colorbar(shades, ax=axes, label="FWHM [pixel]")
