"""The pictures of the tutorial, of the runs that its numbers come from: run_tutorial.py --write."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from PIL import Image
from run_tutorial import Run, cells_of, sort

from source_extraction import Result

LARGEST = 160_000  # bytes
# Told apart by all readers, on grey: Okabe and Ito.
COLOURS = {"star": "#56b4e9", "galaxy": "#e69f00", "artefact": "#cc79a7", "faint": "#999999"}
PART = (190, 310, 190, 290)  # xmin, xmax, ymin, ymax


def draw(done: Run, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, figure in {
        "sources": sources(done),
        "thresholds": thresholds(done),
        "second-run": second_run(done),
        "cells": cells(done),
        "sorted": sorted_sources(done),
        "match": match(done),
        "stack": stack(done),
    }.items():
        pixels, size = FigureCanvasAgg(figure).print_to_buffer()
        file = io.BytesIO()
        picture = Image.frombuffer("RGBA", size, pixels).convert("RGB")
        picture.save(file, "JPEG", quality=80, subsampling=0, optimize=True, progressive=True)
        if len(file.getvalue()) > LARGEST:
            raise ValueError(f"the picture {name} has {len(file.getvalue())} bytes; at most {LARGEST} are wanted")
        (folder / f"{name}.jpg").write_bytes(file.getvalue())


def side_by_side(number: int, height: float, width: float = 9) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure((width, height), dpi=100, layout="constrained")
    return figure, np.ravel(figure.subplots(1, number))


def plot(axes: Axes, result: Result, title: str) -> None:
    result.plot(axes)
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()


def sources(done: Run) -> Figure:
    figure, (axes,) = side_by_side(1, 6, width=7.5)
    plot(axes, done.first, f"{len(done.first)} sources")
    return figure


def thresholds(done: Run) -> Figure:
    figure, panels = side_by_side(3, 2.75)
    for axes, result, title in zip(
        panels,
        (done.low, done.first, done.high),
        ("Threshold 0.9, 2 pixels: noise", "Threshold 1.5, 5 pixels: good", "Threshold 10: faint ones missing"),
        strict=True,
    ):
        plot(axes, result, title)
        axes.set_xlim(PART[:2])
        axes.set_ylim(PART[2:])
    return figure


def second_run(done: Run) -> Figure:
    figure, panels = side_by_side(2, 3.66)
    for axes, result, title in zip(panels, (done.first, done.second), ("First run", "Second run"), strict=True):
        plot(axes, result, f"{title}: {len(result)} sources")
    mask = fits.getdata(done.folder / "bright_mask.fits").astype(bool)
    panels[1].imshow(np.where(mask, 1, np.nan), cmap=ListedColormap(["#0072b2"]), alpha=0.6, origin="lower")
    return figure


def cells(done: Run) -> Figure:
    """Every source in a colour, with the border of its cell, as the workflow with the imaging tools draws them."""
    labels = done.first.segmentation
    table = done.first.to_pandas()
    cell = cells_of(table, labels.shape)
    border = np.zeros(labels.shape, bool)
    border[:, 1:] |= cell[:, 1:] != cell[:, :-1]
    border[1:] |= cell[1:] != cell[:-1]
    colours = np.random.default_rng(4).permutation(np.linspace(0.1, 1, len(table)))
    figure, (axes,) = side_by_side(1, 6, width=7.5)
    picture = np.zeros((*labels.shape, 3))
    picture[labels > 0] = colormaps["turbo"](colours[labels[labels > 0] - 1])[:, :3]
    picture[border] = 1
    axes.imshow(picture, origin="lower", interpolation="nearest")
    axes.set_title(f"{len(table)} sources and their cells", fontsize=10)
    axes.set_axis_off()
    return figure


def sorted_sources(done: Run) -> Figure:
    """A ring around each source, in the colour of its kind."""
    figure, (axes,) = side_by_side(1, 6.2, width=7.5)
    pixels = done.with_artefacts.background_subtracted
    axes.imshow(pixels, origin="lower", cmap="gray", vmin=-15, vmax=90)
    table, kinds = done.with_artefacts.to_pandas(), sort(done.with_artefacts)
    for kind, colour in COLOURS.items():
        of_kind = table[kinds == kind]
        ring(axes, of_kind, colour, f"{kind}: {len(of_kind)}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, fontsize=9, frameon=False)
    axes.set_axis_off()
    return figure


def ring(axes: Axes, table: pd.DataFrame, colour: str, label: str) -> None:
    axes.scatter(table["x"], table["y"], s=90, facecolors="none", edgecolors=colour, linewidths=1.5, label=label)


def match(done: Run) -> Figure:
    """How far the entries of the archive are from the sources."""
    figure, (axes,) = side_by_side(1, 4.2, width=4.6)
    archive = pd.read_csv(done.folder / "reference.tsv", sep="\t").set_index("id").loc[done.matched["id"]]
    declination = np.radians(done.matched["dec"])
    east = (archive["ra"].to_numpy() - done.matched["ra"]) * np.cos(declination) * 3600
    north = (archive["dec"].to_numpy() - done.matched["dec"]) * 3600
    axes.scatter(east, north, s=10, color="#0072b2")
    turn = np.linspace(0, 2 * np.pi, 200)
    axes.plot(np.cos(turn), np.sin(turn), color="#d55e00", label="1 arcsec")
    axes.set(xlabel="to the east (arcsec)", ylabel="to the north (arcsec)", aspect="equal")
    axes.legend(loc="upper right", fontsize=9)
    return figure


def stack(done: Run) -> Figure:
    figure = Figure((9, 4.9), dpi=100, layout="constrained")
    for plane, (axes, result) in enumerate(zip(np.ravel(figure.subplots(2, 4)), done.nuclei, strict=True)):
        axes.imshow(result.background_subtracted, cmap="gray", origin="upper")
        axes.contour(result.segmentation > 0, [0.5], colors="#d55e00", linewidths=1)
        axes.set_title(f"plane {plane}: {len(result)}", fontsize=10)
        axes.set_axis_off()
    return figure
