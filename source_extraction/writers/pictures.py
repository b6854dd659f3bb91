"""Arrays -> PNG pictures for people.

A FITS picture has row 0 at the bottom and, with a celestial WCS, sky coordinates on its axes; a TIFF picture has row 0
at the top. Large images are averaged to the picture's resolution.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

try:
    import matplotlib
except UnicodeDecodeError:
    # The user's matplotlibrc is not a text file. From the folder of its own data, matplotlib reads its own one first.
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        del sys.modules[name]
    own = importlib.util.find_spec("matplotlib")
    with contextlib.chdir(Path(own.origin if own and own.origin else "").parent / "mpl-data"):
        import matplotlib

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.colors import AsinhNorm, LinearSegmentedColormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from PIL.Image import Image as Picture
from PIL.Image import frombuffer
from PIL.ImageChops import invert

from ..core.detections import Detections
from ..core.image import Image
from ..core.room import Room
from .thumbnails import LONGEST_SIDE_IN_PIXELS, downsample_labels
from .whole import whole

DOTS_PER_INCH = 200
LONGEST_SIDE = LONGEST_SIDE_IN_PIXELS / DOTS_PER_INCH  # of the image, in inches
SHORTEST_SIDE = 1.5
MARGINS = {"left": 1.15, "right": 0.35, "bottom": 0.8, "top": 0.55}
COLOR_BAR_MARGIN = 1.45
COLOR_BAR = 0.202, 0.2525  # inches: gap and width, 2 and 2.5 % of the widest picture
# Inches at both sides, for labels of small fields and titles of narrow images; cropped where empty.
SPARE, LEAST_MARGIN = 2.0, 0.05
LONGEST_TITLE = 70
# Sources that fill less of their 3 sigma ellipse are not shown by it; but a small source is too faint to fill it,
# whatever its shape.
FILLED, PIXELS_OF_A_SHAPE = 0.5, 100
ROWS_AT_A_TIME = 256
# zlib's level: for a noisy sky it takes a quarter of the time of the default 6, and makes a smaller file.
COMPRESSION = 2

# Light enough on black, and distinct to most colour-blind people (Paul Tol's bright and light schemes).
LABEL_COLORS = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377",
    "#ee8866", "#bbcc33", "#99ddff", "#ffaabb", "#44bb99", "#dddddd",
)  # fmt: skip

MASKED_COLOR = "#27496d"  # a dark blue that no grey and no ellipse uses

# Not matplotlib's own "gray": its number of shades follows the user's settings at import.
GREYS = LinearSegmentedColormap.from_list("greys", ["black", "white"], N=256)


@contextlib.contextmanager
def own_style() -> Iterator[None]:
    """Draw with matplotlib's defaults, whatever the user's settings, which are restored afterwards."""
    # A figure's backend follows from its canvas.
    defaults: dict[Any, Any] = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # settings that this version of matplotlib no longer has
        with matplotlib.rc_context(defaults):
            yield


@own_style()
def draw_image(path: Path, thumbnail: np.ndarray, image: Image, title: str) -> None:
    """The image itself (its `thumbnail`), in greys that show both faint and bright sources."""
    figure, axes = _frame(image, title)
    _show(axes, thumbnail, image)
    save(figure, path, spare=SPARE)


@own_style()
def draw_map(path: Path, thumbnail: np.ndarray, image: Image, title: str, meaning: str) -> None:
    """A smooth map (its `thumbnail`) with a colour bar labelled with `meaning` and the image's unit."""
    figure, axes = _frame(image, title, MARGINS | {"right": COLOR_BAR_MARGIN})
    drawn = axes.imshow(thumbnail, cmap="viridis", **_placement(image))
    left, bottom, width, height = axes.get_position().bounds
    gap, bar = (inches / figure.get_figwidth() for inches in COLOR_BAR)
    bar_axes = figure.add_axes((left + width + gap, bottom, bar, height))
    figure.colorbar(drawn, cax=bar_axes).set_label(f"{meaning} [{image.unit or 'pixel value'}]", parse_math=False)
    save(figure, path, spare=SPARE)


@own_style()
def draw_segmentation(path: Path, segmentation: np.ndarray, image: Image, title: str) -> None:
    """The segmentation map; sources that touch have different colours."""
    labels = downsample_labels(segmentation)
    figure, axes = _frame(image, title)
    axes.imshow(
        color_labels(labels),
        cmap=ListedColormap(["black", *LABEL_COLORS]),
        norm=Normalize(0, len(LABEL_COLORS)),
        interpolation="nearest",
        **_placement(image),
    )
    save(figure, path, spare=SPARE)


@own_style()
def draw_sources(
    path: Path | BinaryIO,
    thumbnail: np.ndarray,
    detections: Detections,
    image: Image,
    title: str,
    dots_per_inch: int = DOTS_PER_INCH,
    *,
    outlines: bool = False,
) -> None:
    """The background-subtracted image (its `thumbnail`) with an ellipse of 3 sigma around each source.

    A large source that is not elliptical gets its outline instead; with `outlines`, every source does.
    """
    figure, axes = _frame(image, title)
    figure.set_dpi(dots_per_inch)
    show_sources(axes, thumbnail, detections, image, outlines=outlines)
    save(figure, path, spare=SPARE)


def show_sources(
    axes: Axes, thumbnail: np.ndarray, detections: Detections, image: Image, *, outlines: bool = False
) -> None:
    """Draw the ellipses and outlines on any axes in pixels. An ellipse is 6 a wide and 6 b high, at the angle theta."""
    _show(axes, thumbnail, image)
    sources = detections.sources
    drawable = np.isfinite(sources["a"]) & np.isfinite(sources["b"]) & np.isfinite(sources["theta"])
    filled = sources["npix"] >= FILLED * 9 * np.pi * sources["a"] * sources["b"]
    ellipses = drawable & (not outlines) & (filled | (sources["npix"] < PIXELS_OF_A_SHAPE))
    shown = sources[ellipses]
    width = _line_width(sources[drawable], image)
    if not ellipses.all():
        axes.add_collection(
            LineCollection(list(_outlines(detections, ~ellipses, image)), colors="red", linewidths=width), autolim=False
        )
    if not len(shown):
        return
    axes.add_collection(
        EllipseCollection(
            6 * shown["a"],
            6 * shown["b"],
            np.degrees(shown["theta"]),
            units="xy",
            offsets=np.column_stack((shown["x"], shown["y"])),
            offset_transform=axes.transData,
            facecolors="none",
            edgecolors="red",
            linewidths=width,
        ),
        autolim=False,
    )


def _outlines(detections: Detections, chosen: np.ndarray, image: Image) -> np.ndarray:
    """The edges between the pixels of the chosen sources (boolean) and others: (number, 2 ends, x and y), in pixels.

    For a large image, the edges between pixels of its picture.
    """
    wanted = np.concatenate(([False], chosen))
    labels = downsample_labels(detections.segmentation)
    labels = np.pad(np.where(wanted[labels], labels, 0), 1)
    (height, width), (rows, columns) = image.shape, labels.shape
    found = []
    for axis in (0, 1):
        first, second = (np.take(labels, range(part, labels.shape[axis] - 1 + part), axis) for part in (0, 1))
        y, x = np.nonzero(first != second)
        # The edge below a pixel, or to its right; the padding is pixel -1.
        ends = [(y, x - 0.5), (y, x + 0.5)] if axis == 0 else [(y - 0.5, x), (y + 0.5, x)]
        shift = (0.5, 0.0) if axis == 0 else (0.0, 0.5)
        found.append(np.stack([np.stack((x + shift[1] - 1, y + shift[0] - 1), axis=-1) for y, x in ends], axis=1))
    edges = np.concatenate(found)
    # Both the picture's pixels and the image's are centred on whole numbers.
    return np.asarray((edges + 0.5) * (width / (columns - 2), height / (rows - 2)) - 0.5)


def color_labels(labels: np.ndarray) -> np.ndarray:
    """A colour number (1 to len(LABEL_COLORS)) for every label, 0 for sky; touching labels differ."""
    colors = np.where(labels > 0, 1 + labels % len(LABEL_COLORS), 0).astype(np.uint8)
    neighbours: dict[int, set[int]] = {}
    for one, other in _touching(labels):
        neighbours.setdefault(one, set()).add(other)
        neighbours.setdefault(other, set()).add(one)
    chosen: dict[int, int] = {}
    for label in sorted(neighbours):
        taken = {chosen[other] for other in neighbours[label] if other in chosen}
        wishes = ((label + shift) % len(LABEL_COLORS) + 1 for shift in range(len(LABEL_COLORS)))
        chosen[label] = next((color for color in wishes if color not in taken), 1)
    if chosen:
        lookup = np.concatenate(([0], 1 + np.arange(1, labels.max() + 1) % len(LABEL_COLORS))).astype(np.uint8)
        lookup[list(chosen)] = list(chosen.values())
        colors = lookup[labels]
    return colors


def _touching(labels: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of labels that share an edge or a corner."""
    height, width = labels.shape
    pairs = []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        first = labels[: height - down, max(0, -right) : width - max(0, right)]
        second = labels[down:, max(0, right) : width + min(0, right)]
        touching = (first != second) & (first > 0) & (second > 0)
        pairs.append(first[touching] * np.int64(2**32) + second[touching])
    ones, others = np.divmod(np.unique(np.concatenate(pairs)), 2**32)
    return list(zip(ones.tolist(), others.tolist(), strict=True))


def _show(axes: Axes, pixels: np.ndarray, image: Image) -> None:
    """Draw pixels in greys."""
    sky, norm = _greys_for(pixels)
    axes.imshow(pixels - sky, cmap=GREYS, norm=norm, **_placement(image))


@own_style()
def greys(pixels: np.ndarray, thumbnail: np.ndarray, room: Room | None = None) -> np.ndarray:
    """All pixels (height, width) in the greys of the picture that shows their `thumbnail`, as uint8.

    Pixels without a value are black.
    """
    sky, norm = _greys_for(thumbnail)
    levels = (room or Room()).empty(pixels.shape, np.uint8)
    for first in range(0, len(pixels), ROWS_AT_A_TIME):
        rows = np.asarray(pixels[first : first + ROWS_AT_A_TIME], np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            share = norm(np.where(np.isnan(rows), -np.inf, rows) - sky)
        levels[first : first + ROWS_AT_A_TIME] = np.clip(share * 256, 0, 255)
    return levels


def _greys_for(pixels: np.ndarray) -> tuple[float, AsinhNorm]:
    """The level of the sky, and greys from there to the brightest 0.1 %: linear through the noise, logarithmic above.

    An asinh (Lupton et al. 2004, PASP 116, 133) of the difference from the median, taken as the sky; the noise is
    measured on the fainter half of the pixels, which holds few sources.
    """
    finite = pixels[np.isfinite(pixels)]
    below, sky, brightest = np.percentile(finite, (15.87, 50, 99.9)) if finite.size else (0, 0, 1)
    noise = sky - below
    top = max(brightest - sky, 10 * noise) or float(np.ptp(finite)) or 1.0
    return sky, AsinhNorm(linear_width=4 * noise or top, vmin=-noise, vmax=top)


def _frame(image: Image, title: str, margins: dict[str, float] = MARGINS) -> tuple[Figure, Axes]:
    """A figure whose axes have the shape of the image, and its pixel or sky coordinates."""
    height, width = image.shape
    scale = LONGEST_SIDE / max(width, height)
    inner = max(SHORTEST_SIDE, width * scale), max(SHORTEST_SIDE, height * scale)
    size = inner[0] + margins["left"] + margins["right"] + 2 * SPARE, inner[1] + margins["bottom"] + margins["top"]
    figure = Figure(size, dpi=DOTS_PER_INCH)
    left = margins["left"] + SPARE
    place = (left / size[0], margins["bottom"] / size[1], inner[0] / size[0], inner[1] / size[1])
    axes = figure.add_axes(place, **projection_of(image))
    label_axes(axes, image)
    axes.set_facecolor(MASKED_COLOR)
    axes.set_title(shortened(title), parse_math=False)
    return figure, axes


def projection_of(image: Image) -> dict[str, Any]:
    """Arguments for new axes that know the image's sky coordinates, if it has any."""
    if image.wcs is None:
        return {}
    from .sky_axes import Sides

    return {"projection": image.wcs, "frame_class": Sides}


def label_axes(axes: Axes, image: Image) -> None:
    """Label the axes: with sky coordinates if the image has any (the axes must then know them), else with pixels."""
    if image.wcs is None:
        axes.set(xlabel="x [pixel]", ylabel="y [pixel]")
    else:
        from .sky_axes import label_sky

        label_sky(axes, image.wcs, image.shape)


def _placement(image: Image) -> dict[str, Any]:
    """Arguments of imshow that place the pixels of any picture of the image at their own coordinates."""
    height, width = image.shape
    bottom, top = (height - 0.5, -0.5) if image.rows_from_top else (-0.5, height - 0.5)
    return {
        "origin": "upper" if image.rows_from_top else "lower",
        "extent": (-0.5, width - 0.5, bottom, top),
        "aspect": "auto",  # the axes have the image's shape, except for very thin images
        "interpolation_stage": "data",
    }


def _line_width(sources: np.ndarray, image: Image) -> float:
    """Line width in points: thin if ellipses are small in the picture, so that a crowded field stays readable."""
    if not len(sources):
        return 1.0
    points_a_pixel = 72 * LONGEST_SIDE / max(image.shape)
    return float(np.clip(0.1 * points_a_pixel * np.median(6 * sources["a"]), 0.2, 1.0))


def shortened(title: str) -> str:
    """A title shortened to fit above a picture."""
    return title if len(title) <= LONGEST_TITLE else title[: LONGEST_TITLE - 1] + "…"


def save(figure: Figure, path: Path | BinaryIO, spare: float = 0.0) -> None:
    """Write a figure, even if the font lacks glyphs; without an alpha channel, which would make it larger.

    Of the `spare` inches at its sides only those with content are kept. Galaxy counts the distinct values in all
    channels of every PNG file, which takes longer than this.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glyphs that the font lacks, grid lines beyond the sky
        pixels, size = FigureCanvasAgg(figure).print_to_buffer()
    picture = frombuffer("RGBA", size, pixels).convert("RGB")
    picture = picture.crop(_needed(picture, round(spare * figure.dpi), round(LEAST_MARGIN * figure.dpi)))
    with whole(path) if isinstance(path, Path) else nullcontext(path) as file:
        picture.save(file, "PNG", compress_level=COMPRESSION, dpi=(figure.dpi, figure.dpi))


def _needed(picture: Picture, spare: int, least: int) -> tuple[int, int, int, int]:
    """The box of a white picture without `spare` dots at its sides, but with all content and `least` around it."""
    left, _, right, _ = invert(picture).getbbox() or (spare, 0, picture.width - spare, 0)
    return (
        min(spare, max(0, left - least)),
        0,
        max(picture.width - spare, min(picture.width, right + least)),
        picture.height,
    )
