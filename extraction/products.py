"""The files a run can make: what each is, what it needs, and who writes it.

Writers import what they use: a run without a picture does not load matplotlib.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .findings import Run


class Stage(IntEnum):
    """How far a run must go for a product."""

    IMAGE = 0
    BACKGROUND = 1
    SOURCES = 2
    SEGMENTATION = 3
    CATALOG = 4


@dataclass(frozen=True)
class Product:
    """A file: what it is, how far a run must go for it, the module that knows how to make it, and its writer.

    `announce` tells the log what the user should know of it. Products of one `group` are made one after the other:
    each takes a map of the whole image into memory.
    """

    name: str
    description: str
    needs: Stage
    module: str
    write: Callable[[Path, Run], None]
    announce: Callable[[Run], None] | None = None
    group: str = ""
    needs_image: bool = False  # the image itself, or what its picture shows
    needs_light: bool = False  # the background-subtracted image as its picture shows it
    needs_pixels: bool = False  # all its pixels
    needs_rows: bool = False
    needs_negated: bool = False
    last: bool = False  # made after all others, as it tells of them


def _catalog_tsv(path: Path, run: Run) -> None:
    from .tables import write_lines

    write_lines(path, run.rows)


def _background_fits(path: Path, run: Run) -> None:
    from .maps import write_map

    write_map(path, run.sky.background_map(), run.image, run.settings, unit=run.image.unit)


def _background_rms_fits(path: Path, run: Run) -> None:
    from .maps import write_map

    sky = run.sky
    write_map(path, sky.working_rms_map(), run.image, run.settings, unit=run.image.unit, scale=sky.unit)


def _segmentation_map_fits(path: Path, run: Run) -> None:
    from .maps import write_map

    write_map(path, run.detections.segmentation, run.image, run.settings)


def _image_png(path: Path, run: Run) -> None:
    from .pictures import draw_image

    draw_image(path, run.thumbnail, run.image, run.settings.title)


def _background_png(path: Path, run: Run) -> None:
    from .pictures import draw_map
    from .thumbnails import average

    title = f"Background of {run.settings.title}"
    draw_map(path, average(run.sky.background_map()), run.image, title, "Background")


def _background_rms_png(path: Path, run: Run) -> None:
    from .pictures import draw_map
    from .thumbnails import average

    title = f"Background noise of {run.settings.title}"
    rms = run.sky.unit * average(run.sky.working_rms_map())
    draw_map(path, rms, run.image, title, "Background RMS")


def _segmentation_map_png(path: Path, run: Run) -> None:
    from .pictures import draw_segmentation

    title = f"{len(run.detections)} sources in {run.settings.title}"
    draw_segmentation(path, run.detections.segmentation, run.image, title)


def _sources_png(path: Path, run: Run) -> None:
    from .pictures import draw_sources

    title = f"{len(run.detections)} sources in {run.settings.title}"
    draw_sources(path, run.light, run.detections.sources, run.image, title)


def _catalog_fits(path: Path, run: Run) -> None:
    from .tables import write_fits_table

    write_fits_table(path, run.catalog, run.settings)


def _background_subtracted_fits(path: Path, run: Run) -> None:
    from .maps import write_map

    write_map(path, run.sky.subtracted(), run.image, run.settings, unit=run.image.unit)


def _segmentation_map_tiff(path: Path, run: Run) -> None:
    from .label_images import write_label_map

    write_label_map(path, run.detections.segmentation)


def _warn_of_labels(run: Run) -> None:
    from .label_images import MOST_UINT16

    if len(run.detections) > MOST_UINT16:
        run.log.warn(
            "segmentation_map.tiff is of type uint32, which not every tool takes: "
            f"it has more than {MOST_UINT16} labels"
        )


def _bright_mask_fits(path: Path, run: Run) -> None:
    from .bright import bright_mask
    from .maps import write_map

    settings = run.settings
    mask = bright_mask(run.detections, settings.bright_flux, settings.bright_grow, run.sky.masked)
    write_map(path, mask, run.image, settings)


def _tell_of_bright_sources(run: Run) -> None:
    from .bright import brightest

    chosen, flux = brightest(run.detections.sources, run.settings.bright_flux)
    run.log.say(f"Mask of bright sources: {len(chosen)} with a flux above {flux:.6g}")


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
        Product("catalog.tsv", "the sources, a row each", Stage.CATALOG, "tables", _catalog_tsv, needs_rows=True),
        Product(
            "background.fits",
            "background map (float32)",
            Stage.BACKGROUND,
            "maps",
            _background_fits,
            group="background",
        ),
        Product(
            "background_rms.fits",
            "background RMS map (float32)",
            Stage.BACKGROUND,
            "maps",
            _background_rms_fits,
            group="rms",
        ),
        Product(
            "segmentation_map.fits",
            "segmentation map (int32): 0 is sky, else the label of the source",
            Stage.SEGMENTATION,
            "maps",
            _segmentation_map_fits,
        ),
        Product("image.png", "picture of the image", Stage.IMAGE, "pictures", _image_png, needs_image=True),
        Product(
            "background.png",
            "picture of the background map",
            Stage.BACKGROUND,
            "pictures",
            _background_png,
            group="background",
        ),
        Product(
            "background_rms.png",
            "picture of the background RMS map",
            Stage.BACKGROUND,
            "pictures",
            _background_rms_png,
            group="rms",
        ),
        Product(
            "segmentation_map.png",
            "picture of the segmentation map",
            Stage.SEGMENTATION,
            "pictures",
            _segmentation_map_png,
        ),
        Product(
            "sources.png",
            "picture of the background-subtracted image with an ellipse (3 sigma) a source",
            Stage.SOURCES,
            "pictures",
            _sources_png,
            needs_light=True,
        ),
        Product("catalog.fits", "the catalog as a FITS table with units", Stage.CATALOG, "tables", _catalog_fits),
        Product(
            "background_subtracted.fits",
            "the image less its background (float32), NaN where masked",
            Stage.BACKGROUND,
            "maps",
            _background_subtracted_fits,
            group="background",
            needs_pixels=True,
        ),
        Product(
            "segmentation_map.tiff",
            "segmentation map (uint16; uint32 above 65,535 labels)",
            Stage.SEGMENTATION,
            "label_images",
            _segmentation_map_tiff,
            _warn_of_labels,
            group="rms",
        ),
        Product(
            "seeds.tiff",
            "255 in the pixel of every source, else 0 (uint8)",
            Stage.SOURCES,
            "label_images",
            _seeds_tiff,
            group="rms",
        ),
        Product(
            "bright_mask.fits",
            "mask of the brightest sources and of what was masked (uint8): 1 is masked",
            Stage.SEGMENTATION,
            "bright",
            _bright_mask_fits,
            _tell_of_bright_sources,
            group="rms",
        ),
        Product("points.tsv", "label and position of every source", Stage.SOURCES, "tables", _points_tsv),
        Product("sources.reg", "Kron ellipses as DS9 regions", Stage.CATALOG, "tables", _sources_reg),
        Product(
            "diagnostics.png",
            "number counts, S/N, half-light radii, background and threshold: a figure to judge a run by",
            Stage.CATALOG,
            "diagnostics",
            _diagnostics_png,
            group="background",
        ),
        Product(
            "summary.json",
            "the run in numbers, for reports and programs",
            Stage.CATALOG,
            "summary",
            _summary_json,
            needs_negated=True,
            last=True,
        ),
    )
}
DEFAULT_PRODUCTS = tuple(PRODUCTS)[:9]


def import_modules(chosen: list[Product], run: Run) -> None:
    """Import what the products need: the sky coordinates and the modules of their writers, slow ones among them."""
    has_sky = run.image.wcs is not None
    for module in {product.module for product in chosen if not product.last}:
        import_module(f".{module}", __package__)
        if module == "pictures" and has_sky:
            import_module("astropy.visualization.wcsaxes")


def make_products(folder: Path, chosen: list[Product], run: Run) -> None:
    """Write the chosen products into a folder, several at a time, and say so in their order."""
    for product in chosen:
        if product.announce is not None:
            product.announce(run)
    # Before the processes begin, so that each has them.
    import_modules(chosen, run)

    def make(group: list[Product]) -> list[float]:
        return [_seconds(product, folder, run) for product in group]

    # The largest first: maps, then pictures, then the rest.
    groups: dict[str, list[Product]] = {}
    for product in sorted(chosen, key=lambda product: (not product.group, product.module != "pictures")):
        if not product.last:
            groups.setdefault(product.group or product.name, []).append(product)
    seconds = {}
    for group, times in zip(groups.values(), run.workers.map(make, list(groups.values())), strict=True):
        seconds |= {product.name: time for product, time in zip(group, times, strict=True)}
    for product in chosen:
        if not product.last:
            run.log.tell(f"Making {product.name}", f"Made {product.name}", seconds[product.name])
    for product in chosen:
        if product.last:
            with run.log.step(f"Making {product.name}") as said:
                product.write(folder / product.name, run)
                said.append(f"Made {product.name}")


def _seconds(product: Product, folder: Path, run: Run) -> float:
    """Write a product; how long it took."""
    started = time.perf_counter()
    product.write(folder / product.name, run)
    return time.perf_counter() - started
