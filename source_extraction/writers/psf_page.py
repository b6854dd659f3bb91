"""One page to judge a point spread function by: its images, its profile, its stars, and their residuals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.image import Image
from ..core.psf import Psf
from ..core.psf_making import TOO_FEW, StarsOfPsf
from .pictures import GREYS, own_style, save, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE, DOTS_PER_INCH = (15, 8), 100
BLUE, RED = "#2b5c8a", "#c1442e"
# As fractions of the maximum: the lowest value of the profile, the black level of the nine pictures, and the range of
# residuals.
FAINTEST, BLACK, RESIDUAL = 1e-4, 3e-3, 0.05
MOST_POINTS = 10_000
PLACES = (0.1, 0.5, 0.9)


@own_style()
def draw_psf(path: Path, psf: Psf | None, stars: StarsOfPsf | None, image: Image, title: str, number: int) -> None:
    """The PSF at nine positions, its profile with that of its stars, their positions and residuals, and its FWHM.

    `number` is how many sources could have been stars, for a page that says why there is no PSF.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # The space below is for a label that pictures with square pixels push down.
    figure = Figure(SIZE, dpi=DOTS_PER_INCH, layout=ConstrainedLayoutEngine(rect=(0, 0.02, 1, 0.98)))
    if psf is None:
        figure.suptitle(shortened(f"No PSF: {title}"), parse_math=False)
        why = TOO_FEW.format(number=number).replace("; ", ";\n").replace(" that are", "\nthat are")
        text = f"There is no point spread function (PSF):\n{why}"
        figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=14)
        save(figure, path)
        return
    figure.suptitle(f"{shortened(f'PSF of {title}')}\n{psf.describe()}", parse_math=False)
    # The nine take a third of the width, and a third of the height each.
    page = "001122PPPSSS;001122PPPSSS;334455PPPSSS;334455LLLWWW;667788LLLWWW;667788LLLWWW"
    # If the PSF is the same everywhere, the title gives the FWHM, and the other plots share the space of its map.
    axes = figure.subplot_mosaic(page if psf.varies else page.replace("S", "P").replace("W", "S"))
    _draw_places([axes[str(number)] for number in range(9)], figure, psf, image)
    _draw_profile(axes["P"], psf, stars)
    _draw_stars(axes["S"], stars, image)
    _draw_left(axes["L"], figure, stars)
    if psf.varies:
        _draw_widths(axes["W"], figure, psf, image)
    save(figure, path)


def _draw_places(axes: list[Axes], figure: Figure, psf: Psf, image: Image) -> None:
    """The PSF at nine positions, arranged on the page as in the image."""
    from matplotlib.colors import AsinhNorm

    height, width = image.shape
    rows = PLACES if image.rows_from_top else PLACES[::-1]
    places = [(round(along * (width - 1)), round(down * (height - 1))) for down in rows for along in PLACES]
    for each, (x, y) in zip(axes, places, strict=True):
        stamp = psf.stamps(np.array([x]), np.array([y]))[0]
        half = psf.size // 2
        norm = AsinhNorm(BLACK, 0, 1)
        each.imshow(stamp / stamp.max(), norm=norm, cmap=GREYS, **_lying(image, -half, half, -half, half))
        each.set_title(f"{x}, {y}\nFWHM {psf.fwhm_at(x, y):.2f}", fontsize=8)
        each.tick_params(labelsize=7)
    axes[1].set_title(f"At nine places (x, y), {psf.size} pixels wide\n\n{axes[1].get_title()}", fontsize=8)


def _lying(image: Image, left: float, right: float, bottom: float, top: float) -> dict[str, Any]:
    """Arguments that show pixels from `left` to `right` and `bottom` to `top` oriented like the image."""
    x, y = (left - 0.5, right + 0.5), (bottom - 0.5, top + 0.5)
    if image.rows_from_top:
        return {"origin": "upper", "extent": (*x, *y[::-1])}
    return {"origin": "lower", "extent": (*x, *y)}


def _draw_profile(axes: Axes, psf: Psf, stars: StarsOfPsf | None) -> None:
    """The light against the distance from the centre, for the brighter half of the stars and for the PSF."""
    along = np.arange(psf.samples.shape[-1]) / psf.oversampling - psf.size // 2
    distance = np.hypot(along, along[:, np.newaxis])
    model = psf.samples_at(*psf.middle)
    top = model.max()
    if stars is not None:
        offset = np.arange(-(psf.size // 2), psf.size // 2 + 1)
        dx, dy = (offset - (place - np.rint(place))[:, np.newaxis] for place in (stars.x, stars.y))
        away = np.hypot(dx[:, np.newaxis, :], dy[:, :, np.newaxis])
        shown = np.isfinite(stars.light) & (stars.snr >= np.median(stars.snr))[:, np.newaxis, np.newaxis]
        away, light = away[shown], stars.light[shown]
        some = np.random.default_rng(0).permutation(len(away))[:MOST_POINTS]
        axes.scatter(away[some], light[some] / top, s=2, color=BLUE, alpha=0.4, label="pixels of the brighter stars")
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
    axes.set_title("Made before: no stars here" if stars is None else f"The {len(stars.x)} stars it was made from")
    if stars is not None:
        axes.scatter(stars.x, stars.y, s=np.clip(np.sqrt(stars.snr), 3, 60), color=BLUE, alpha=0.7, linewidths=0)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(-0.5, height - 0.5)
    if image.rows_from_top:
        axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.set_xlabel("x [pixel]")
    axes.set_ylabel("y [pixel]")


def _draw_left(axes: Axes, figure: Figure, stars: StarsOfPsf | None) -> None:
    """The median residual of the PSF's stars."""
    axes.set_title("Residuals of the stars (median)")
    axes.set_xlabel("x - star [pixel]")
    axes.set_ylabel("y - star [pixel]")
    if stars is None:
        axes.text(0.5, 0.5, "made before", transform=axes.transAxes, ha="center")
        return
    half = stars.left.shape[1] // 2
    top = float(np.median(stars.light[:, half, half][np.isfinite(stars.light[:, half, half])]))
    shown, most = 100 * np.median(stars.left, axis=0) / top, 100 * RESIDUAL
    edges = (-half - 0.5, half + 0.5, -half - 0.5, half + 0.5)
    shades = axes.imshow(shown, cmap="RdBu_r", vmin=-most, vmax=most, origin="lower", extent=edges)
    figure.colorbar(shades, ax=axes, label="% of the maximum")


def _draw_widths(axes: Axes, figure: Figure, psf: Psf, image: Image) -> None:
    """The FWHM over the image."""
    height, width = image.shape
    along, down = (np.linspace(0, side - 1, 9) for side in (width, height))
    widths = np.array([[psf.fwhm_at(x, y) for x in along] for y in down])
    middle, most = float(np.median(widths)), max(0.05 * psf.fwhm, float(np.ptp(widths)) / 2)
    limits: dict[str, Any] = {"vmin": middle - most, "vmax": middle + most}
    shades = axes.imshow(widths, cmap="viridis", aspect="equal", **limits, **_lying(image, 0, width - 1, 0, height - 1))
    axes.set_title("FWHM over the image")
    axes.set_xlabel("x [pixel]")
    axes.set_ylabel("y [pixel]")
    figure.colorbar(shades, ax=axes, label="FWHM [pixel]")
