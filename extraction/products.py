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
    from .background import Sky
    from .detection import Detections
    from .images import Image
    from .settings import Settings


class Stage(IntEnum):
    """How far a run must go for a product."""

    IMAGE = 0
    BACKGROUND = 1
    SOURCES = 2
    SEGMENTATION = 3


@dataclass
class Run:
    """What a run has found so far; a stage that no chosen product needs is None."""

    settings: Settings
    image: Image
    sky: Sky | None = None
    detections: Detections | None = None


@dataclass(frozen=True)
class Product:
    name: str
    description: str
    needs: Stage
    write: Callable[[Path, Run], None]


def _catalog_tsv(path: Path, run: Run) -> None:
    from .catalog import build_catalog, write_tsv

    write_tsv(path, build_catalog(run.detections))


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


PRODUCTS = {
    product.name: product
    for product in (
        Product("catalog.tsv", "the sources, a row each", Stage.SOURCES, _catalog_tsv),
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
    )
}
DEFAULT_PRODUCTS = tuple(PRODUCTS)
