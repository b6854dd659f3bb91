"""The files a run can make: what each is, what it needs, and who writes it.

Writers import what they use: a run without a picture does not load matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from .background import Sky
    from .calibration import Calibration
    from .catalog import Catalog
    from .detection import Detections
    from .images import Image
    from .log import Log
    from .photometry import Measurable
    from .settings import Settings


class Stage(IntEnum):
    """How far a run must go for a product."""

    IMAGE = 0
    BACKGROUND = 1
    SOURCES = 2
    SEGMENTATION = 3
    CATALOG = 4


@dataclass
class Run:
    """What a run has found so far; a stage that no chosen product needs is None."""

    settings: Settings
    image: Image
    log: Log
    kernel: np.ndarray | None = None
    sky: Sky | None = None
    detections: Detections | None = None
    calibration: Calibration | None = None
    measured_image: Image | None = None
    measurable: Measurable | None = None
    catalog: Catalog | None = None
    negated: int | None = None  # detections on the negated image, where a product tells their number


@dataclass(frozen=True)
class Product:
    name: str
    description: str
    needs: Stage
    write: Callable[[Path, Run], None]
    needs_negated: bool = False


def _catalog_tsv(path: Path, run: Run) -> None:
    from .tables import write_tsv

    write_tsv(path, run.catalog)


def _background_fits(path: Path, run: Run) -> None:
    from .maps import write_map

    write_map(path, run.sky.background_map(), run.image, run.settings, run.image.unit)


def _background_rms_fits(path: Path, run: Run) -> None:
    from .maps import write_map

    write_map(path, run.sky.rms_map(), run.image, run.settings, run.image.unit)


def _segmentation_map_fits(path: Path, run: Run) -> None:
    from .maps import write_map

    write_map(path, run.detections.segmentation, run.image, run.settings)


def _image_png(path: Path, run: Run) -> None:
    from .pictures import draw_image

    draw_image(path, run.image, run.settings.title)


def _background_png(path: Path, run: Run) -> None:
    from .pictures import draw_map

    title = f"Background of {run.settings.title}"
    draw_map(path, run.sky.background_map(), run.image, title, "Background")


def _background_rms_png(path: Path, run: Run) -> None:
    from .pictures import draw_map

    title = f"Background noise of {run.settings.title}"
    draw_map(path, run.sky.rms_map(), run.image, title, "Background RMS")


def _segmentation_map_png(path: Path, run: Run) -> None:
    from .pictures import draw_segmentation

    title = f"{len(run.detections)} sources in {run.settings.title}"
    draw_segmentation(path, run.detections.segmentation, run.image, title)


def _sources_png(path: Path, run: Run) -> None:
    from .pictures import draw_sources

    title = f"{len(run.detections)} sources in {run.settings.title}"
    draw_sources(path, run.sky.subtracted(), run.detections.sources, run.image, title)


def _catalog_fits(path: Path, run: Run) -> None:
    from .tables import write_fits_table

    write_fits_table(path, run.catalog, run.settings)


def _background_subtracted_fits(path: Path, run: Run) -> None:
    from .maps import write_map

    write_map(path, run.sky.subtracted(), run.image, run.settings, run.image.unit)


def _segmentation_map_tiff(path: Path, run: Run) -> None:
    from .label_images import MOST_UINT16, write_label_map

    if len(run.detections) > MOST_UINT16:
        run.log.warn(
            f"{path.name} is of type uint32, which not every tool takes: it has more than {MOST_UINT16} labels"
        )
    write_label_map(path, run.detections.segmentation)


def _seeds_tiff(path: Path, run: Run) -> None:
    from .label_images import write_seeds

    sources = run.detections.sources
    write_seeds(path, sources["x"], sources["y"], run.image.shape)


def _points_tsv(path: Path, run: Run) -> None:
    from .tables import write_points

    write_points(path, run.detections.sources)


def _sources_reg(path: Path, run: Run) -> None:
    from .tables import write_regions

    write_regions(path, run.catalog)


def _diagnostics_png(path: Path, run: Run) -> None:
    from .diagnostics import draw_diagnostics

    draw_diagnostics(path, run)


def _summary_json(path: Path, run: Run) -> None:
    from .summary import write_summary

    write_summary(path, run)


PRODUCTS = {
    product.name: product
    for product in (
        Product("catalog.tsv", "the sources, a row each", Stage.CATALOG, _catalog_tsv),
        Product("background.fits", "background map (float32)", Stage.BACKGROUND, _background_fits),
        Product("background_rms.fits", "background RMS map (float32)", Stage.BACKGROUND, _background_rms_fits),
        Product(
            "segmentation_map.fits",
            "segmentation map (int32): 0 is sky, else the label of the source",
            Stage.SEGMENTATION,
            _segmentation_map_fits,
        ),
        Product("image.png", "picture of the image", Stage.IMAGE, _image_png),
        Product("background.png", "picture of the background map", Stage.BACKGROUND, _background_png),
        Product("background_rms.png", "picture of the background RMS map", Stage.BACKGROUND, _background_rms_png),
        Product("segmentation_map.png", "picture of the segmentation map", Stage.SEGMENTATION, _segmentation_map_png),
        Product(
            "sources.png",
            "picture of the background-subtracted image with an ellipse (3 sigma) a source",
            Stage.SOURCES,
            _sources_png,
        ),
        Product("catalog.fits", "the catalog as a FITS table with units", Stage.CATALOG, _catalog_fits),
        Product(
            "background_subtracted.fits",
            "the image less its background (float32), NaN where masked",
            Stage.BACKGROUND,
            _background_subtracted_fits,
        ),
        Product(
            "segmentation_map.tiff",
            "segmentation map (uint16; uint32 above 65,535 labels)",
            Stage.SEGMENTATION,
            _segmentation_map_tiff,
        ),
        Product("seeds.tiff", "255 in the pixel of every source, else 0 (uint8)", Stage.SOURCES, _seeds_tiff),
        Product("points.tsv", "label and position of every source", Stage.SOURCES, _points_tsv),
        Product("sources.reg", "Kron ellipses as DS9 regions", Stage.CATALOG, _sources_reg),
        Product(
            "diagnostics.png",
            "number counts, S/N, half-light radii, background and threshold: a figure to judge a run by",
            Stage.CATALOG,
            _diagnostics_png,
        ),
        # The last, as it tells how long the others took.
        Product(
            "summary.json",
            "the run in numbers, for reports and programs",
            Stage.CATALOG,
            _summary_json,
            needs_negated=True,
        ),
    )
}
DEFAULT_PRODUCTS = tuple(PRODUCTS)[:9]
