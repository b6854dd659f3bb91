"""The files that a run can make: the content of each, the steps it needs, and its writer.

Writers import what they use: a run without a picture does not load matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from ..core.image import Image
    from ..core.windows import Map
    from .steps import Steps

SMALL = 2**19  # pixels
# Products of one lane are made one after the other, since each takes a map of the whole image into memory.
FIRST_LANE, SECOND_LANE = "first", "second"


@dataclass(frozen=True)
class Product:
    """A file: its description, the steps that it shows, its writer, and the writer's module.

    `announce` logs what the user should know about it.
    """

    name: str
    description: str
    needs: tuple[str, ...]
    module: str
    write: Callable[[Path, Steps], None]
    announce: Callable[[Steps], None] | None = None
    lane: str = ""
    after_all_others: bool = False  # it reports on them

    @property
    def is_in_memory(self) -> bool:
        """Whether it is a map that need not be computed, but only written."""
        return self.module == "fits_maps" and not self.lane

    def is_quickly_made_of(self, image: Image) -> bool:
        """Whether a process takes longer to start than to make this product of an image."""
        return self.module in ("fits_maps", "tables") and _is_small(image)

    @property
    def is_picture(self) -> bool:
        """Whether it is a picture, which takes longer than other products."""
        return self.module == "pictures"


def _is_small(image: Image) -> bool:
    height, width = image.shape
    return height * width <= SMALL


def chosen_products(names: Iterable[str]) -> list[Product]:
    """The products with these names, in the order of the registry; the default ones if no name is given."""
    wanted = [name.strip() for name in names]
    for name in wanted:
        if name not in PRODUCTS:
            raise InputError("outputs", f"there is no product {name!r}", f"choose from {', '.join(PRODUCTS)}")
    return [product for name, product in PRODUCTS.items() if name in (wanted or DEFAULT_PRODUCTS)]


def _catalog_tsv(path: Path, steps: Steps) -> None:
    steps.text.write_to(path)


def _background_fits(path: Path, steps: Steps) -> None:
    _write_map(path, steps, steps.sky.background_map, steps.image, unit=steps.image.unit)


def _background_rms_fits(path: Path, steps: Steps) -> None:
    _write_map(path, steps, steps.sky.rms_map, steps.image, unit=steps.image.unit)


def _segmentation_map_fits(path: Path, steps: Steps) -> None:
    _write_map(path, steps, steps.detections.segmentation, steps.image)


def _write_map(
    path: Path, steps: Steps, data: np.ndarray | Map, image: Image, *, unit: str = "", still_the_image: bool = False
) -> None:
    from ..writers.fits_maps import write_map

    alongside = steps.workers.number > 1 and not _is_small(image)
    write_map(path, data, image, steps.settings, unit=unit, still_the_image=still_the_image, alongside=alongside)


def _image_png(path: Path, steps: Steps) -> None:
    from ..writers.pictures import draw_image

    draw_image(path, steps.thumbnail, steps.image, steps.settings.title)


def _background_png(path: Path, steps: Steps) -> None:
    from ..writers.pictures import draw_map

    draw_map(path, steps.background_thumbnail, steps.image, f"Background of {steps.settings.title}", "Background")


def _background_rms_png(path: Path, steps: Steps) -> None:
    from ..writers.pictures import draw_map

    draw_map(path, steps.rms_thumbnail, steps.image, f"Background noise of {steps.settings.title}", "Background RMS")


def _segmentation_map_png(path: Path, steps: Steps) -> None:
    from ..writers.pictures import draw_segmentation

    draw_segmentation(path, steps.detections.segmentation, steps.image, steps.title)


def _sources_png(path: Path, steps: Steps) -> None:
    from ..writers.pictures import draw_sources

    draw_sources(path, steps.sky_thumbnail, steps.detections, steps.image, steps.title, outlines=steps.draws_outlines)


def _catalog_fits(path: Path, steps: Steps) -> None:
    from ..writers.described_tables import write_fits_table

    write_fits_table(path, steps.catalog, steps.settings)


def _catalog_ecsv(path: Path, steps: Steps) -> None:
    from ..writers.described_tables import write_ecsv

    write_ecsv(path, steps.catalog, steps.settings)


def _catalog_vot(path: Path, steps: Steps) -> None:
    from ..writers.described_tables import write_votable

    write_votable(path, steps.catalog, steps.settings)


def _background_subtracted_fits(path: Path, steps: Steps) -> None:
    _write_map(path, steps, steps.sky.subtracted, steps.image, unit=steps.image.unit, still_the_image=True)


def _segmentation_map_tiff(path: Path, steps: Steps) -> None:
    from ..writers.label_images import write_label_map

    write_label_map(path, steps.detections.segmentation)


def _image_tiff(path: Path, steps: Steps) -> None:
    from ..writers.label_images import write_greys

    write_greys(path, steps.greys)


def _warn_of_labels(steps: Steps) -> None:
    from ..writers.label_images import MOST_UINT16

    if len(steps.detections) > MOST_UINT16:
        steps.log.warn(
            "segmentation_map.tiff is of type uint32, which not every tool takes: "
            f"it has more than {MOST_UINT16} labels"
        )


def _seeds_tiff(path: Path, steps: Steps) -> None:
    from ..writers.label_images import write_seeds

    sources = steps.detections.sources
    write_seeds(path, sources["x"], sources["y"], steps.image.shape)


def _bright_mask_fits(path: Path, steps: Steps) -> None:
    from ..core.bright_mask import bright_mask

    options = steps.settings.bright
    mask = bright_mask(steps.detections, options.bright_flux, options.bright_grow, steps.sky.masked, steps.room)
    _write_map(path, steps, mask, steps.image)


def _tell_of_bright_sources(steps: Steps) -> None:
    from ..core.bright_mask import brightest

    chosen, flux = brightest(steps.detections.sources, steps.settings.bright.bright_flux)
    steps.log.say(f"Mask of bright sources: {len(chosen)} with a flux above {flux:.6g}")


def _points_tsv(path: Path, steps: Steps) -> None:
    from ..writers.tables import write_points

    write_points(path, steps.detections)


def _sources_reg(path: Path, steps: Steps) -> None:
    from ..writers.tables import write_regions

    write_regions(path, steps.catalog, steps.image.wcs)


def _tell_of_ds9(steps: Steps) -> None:
    from ..core.coordinates import not_square

    if steps.image.wcs is not None and not_square(steps.image.wcs, steps.catalog["x"], steps.catalog["y"]).any():
        steps.log.say(
            "sources.reg has ellipses as they are on the sky, where the pixels of the image are not square; DS9 takes "
            "them for square and shows other ellipses (sources.png shows the right ones)"
        )


def _completeness_tsv(path: Path, steps: Steps) -> None:
    from ..writers.tables import write_columns

    write_columns(path, steps.completeness.columns)


def _completeness_png(path: Path, steps: Steps) -> None:
    from ..writers.completeness import draw_completeness

    draw_completeness(path, steps.completeness, steps.settings.title, unit=steps.image.unit)


def _diagnostics_png(path: Path | BinaryIO, steps: Steps) -> None:
    from ..writers.diagnostics import draw_diagnostics

    draw_diagnostics(
        path,
        steps.catalog,
        steps.sky,
        steps.threshold,
        steps.image,
        steps.title,
        flux_unit=steps.measured_image.unit,
        subtracted=steps.settings.background.subtract_background,
    )


def _psf_fits(path: Path, steps: Steps) -> None:
    from ..writers.psf_files import write_psf

    write_psf(path, steps.psf, steps.psf_stars, steps.settings)


def _psf_png(path: Path, steps: Steps) -> None:
    from ..writers.psf_page import draw_psf

    title = steps.settings.title
    draw_psf(path, steps.psf, steps.psf_stars, steps.measured_image, title, len(steps.possible_stars))


def _residual_fits(path: Path, steps: Steps) -> None:
    image = steps.measured_image
    _write_map(path, steps, steps.residual(), image, unit=image.unit, still_the_image=True)


def _report_html(path: Path, steps: Steps) -> None:
    from ..writers.report import write_report
    from ..writers.report_pictures import layers

    write_report(
        path,
        summary=steps.summary(),
        advice=steps.advice,
        catalog=steps.catalog,
        image=steps.image,
        pictures=layers(
            steps.thumbnail,
            steps.sky_thumbnail,
            steps.background_thumbnail,
            steps.rms_thumbnail,
            steps.detections.segmentation,
            unit=steps.image.unit,
            rows_from_top=steps.image.rows_from_top,
        ),
        diagnostics=_diagnostics(path.with_name("diagnostics.png"), steps),
    )


def _tell_of_the_depth(steps: Steps) -> None:
    depth, unit = steps.depth, steps.measured_image.unit
    magnitude = "" if depth.magnitude is None else f", magnitude {depth.magnitude:.2f},"
    steps.log.say(
        f"Depth: a flux of {depth.flux:.4g}{unit and ' '}{unit}{magnitude} is {depth.sigma} times the noise in an "
        f"aperture of {depth.aperture_diameter:g} pixels in diameter"
    )


def _diagnostics(made: Path, steps: Steps) -> bytes:
    """The figure of the diagnostics: the product, if this run has made it, else one for the page alone."""
    if made.exists():
        return made.read_bytes()
    drawn = BytesIO()
    _diagnostics_png(drawn, steps)
    return drawn.getvalue()


def _summary_json(path: Path, steps: Steps) -> None:
    from ..writers.summary import write_summary

    write_summary(path, steps.summary())


PRODUCTS = {
    product.name: product
    for product in (
        Product("catalog.tsv", "the catalog: one row per source", ("text",), "tables", _catalog_tsv),
        Product(
            "background.fits",
            "the background, in the image's unit (float32)",
            ("sky",),
            "fits_maps",
            _background_fits,
            lane=FIRST_LANE,
        ),
        Product(
            "background_rms.fits",
            "the noise of the background (its RMS), in the image's unit (float32)",
            ("sky",),
            "fits_maps",
            _background_rms_fits,
            lane=SECOND_LANE,
        ),
        Product(
            "segmentation_map.fits",
            "0 is sky, every other number the `label` of the source that the pixel belongs to (int32)",
            ("detections",),
            "fits_maps",
            _segmentation_map_fits,
        ),
        Product(
            "image.png",
            "the image, in greys that show faint and bright sources alike",
            ("thumbnail",),
            "pictures",
            _image_png,
        ),
        Product(
            "background.png", "the background, with a scale", ("sky",), "pictures", _background_png, lane=FIRST_LANE
        ),
        Product(
            "background_rms.png",
            "the noise of the background, with a scale",
            ("sky",),
            "pictures",
            _background_rms_png,
            lane=SECOND_LANE,
        ),
        Product(
            "segmentation_map.png",
            "the segmentation map; sources that touch have different colours",
            ("detections",),
            "pictures",
            _segmentation_map_png,
        ),
        Product(
            "sources.png",
            "the image without its background; each source has a red ellipse (3 sigma: width 6 `a`, height 6 `b`, "
            "angle `theta`), or its outline if it is large and not elliptical; blue is masked",
            ("detections", "sky_thumbnail"),
            "pictures",
            _sources_png,
        ),
        Product(
            "catalog.fits",
            "the catalog as a FITS table with units, descriptions and UCDs, for TOPCAT, Aladin, Gnuastro and astropy",
            ("catalog",),
            "described_tables",
            _catalog_fits,
        ),
        Product(
            "catalog.ecsv",
            "the catalog as text with units, descriptions and UCDs, for astropy and TOPCAT",
            ("catalog",),
            "described_tables",
            _catalog_ecsv,
        ),
        Product(
            "catalog.vot",
            "the catalog as a table of the Virtual Observatory (VOTable), for TOPCAT, Aladin and similar programs",
            ("catalog",),
            "described_tables",
            _catalog_vot,
        ),
        Product(
            "background_subtracted.fits",
            "the image less its background (float32), in the image's unit, with the image's header; masked pixels have "
            "no value (NaN)",
            ("sky", "pixels"),
            "fits_maps",
            _background_subtracted_fits,
            lane=FIRST_LANE,
        ),
        Product(
            "segmentation_map.tiff",
            "the segmentation map for microscopy tools: one channel, uint16 (uint32 above 65,535 labels), uncompressed",
            ("detections",),
            "label_images",
            _segmentation_map_tiff,
            _warn_of_labels,
            lane=SECOND_LANE,
        ),
        Product(
            "image.tiff",
            "the image in the greys of image.png, pixel by pixel (uint8): for microscopy tools to lay "
            "segmentation_map.tiff over",
            ("greys",),
            "label_images",
            _image_tiff,
        ),
        Product(
            "seeds.tiff",
            "255 in the pixel of every source, 0 elsewhere (uint8): seeds of a watershed or a Voronoi tessellation",
            ("detections",),
            "label_images",
            _seeds_tiff,
            lane=SECOND_LANE,
        ),
        Product(
            "bright_mask.fits",
            "a mask (uint8, 1 is masked) of the brightest sources (`bright_flux`) with a margin (`bright_grow`), "
            "and of what this run left out: the mask of a second run, in which bright stars neither spoil the "
            "background nor hide the faint",
            ("detections",),
            "fits_maps",
            _bright_mask_fits,
            _tell_of_bright_sources,
            lane=SECOND_LANE,
        ),
        Product(
            "points.tsv",
            "`label`, `pos_x` and `pos_y` of every source (pixels from 0), as Galaxy's tools for points take them",
            ("detections",),
            "tables",
            _points_tsv,
        ),
        Product(
            "sources.reg",
            "the ellipses of the total flux as regions with labels as tags, to lay over the image in DS9: on the sky "
            "where the image has sky coordinates, else in pixels from 1",
            ("catalog",),
            "tables",
            _sources_reg,
            _tell_of_ds9,
        ),
        Product(
            "diagnostics.png",
            "a figure to judge the run by: number counts, signal-to-noise ratio, half-light radii, background and "
            "threshold",
            ("catalog",),
            "diagnostics",
            _diagnostics_png,
            lane=FIRST_LANE,
        ),
        Product(
            "psf.fits",
            "the point spread function (PSF) of the image, which `psf_file` takes for another run: the planes are "
            "terms of a polynomial in x and y (its header explains them); the table STARS has `label`, `x` and `y` "
            "(pixels from 0) of the stars that it was made from",
            ("fitted",),
            "psf_files",
            _psf_fits,
        ),
        Product(
            "psf.png",
            "a page to judge the PSF by: at nine places of the image, its profile, the stars it was made from, and "
            "what it leaves of them",
            ("fitted",),
            "psf_page",
            _psf_png,
            lane=SECOND_LANE,
        ),
        Product(
            "residual.fits",
            "the image less all sources, fitted with the PSF (float32), in the image's unit, with the image's header; "
            "stars vanish, what is left of galaxies shows; masked pixels have no value (NaN)",
            ("model", "pixels"),
            "fits_maps",
            _residual_fits,
            lane=FIRST_LANE,
        ),
        Product(
            "completeness.tsv",
            "how many point sources are found, by their flux, from artificial stars: a row for each half magnitude "
            "(switches `completeness` on)",
            ("completeness",),
            "tables",
            _completeness_tsv,
        ),
        Product(
            "completeness.png",
            "the same as a figure, with the fluxes or magnitudes at which half and 90 % of the point sources are found",
            ("completeness",),
            "completeness",
            _completeness_png,
        ),
        Product(
            "report.html",
            "a page that shows the run, to look at in a browser and to send to others: words, a picture to zoom into, "
            "a table to sort, diagnostics, options; it needs no other file and no network",
            ("catalog", "depth", "advice", "thumbnail", "sky_thumbnail", "background_thumbnail", "rms_thumbnail"),
            "report",
            _report_html,
            _tell_of_the_depth,
            after_all_others=True,
        ),
        Product(
            "summary.json",
            "the run in numbers: options, background, threshold, numbers of sources and flags, factors of the noise, "
            "depth, PSF, completeness, warnings, seconds, and how many detections the negated image has, which is "
            "about how many of the sources are noise",
            ("catalog", "negated", "depth"),
            "summary",
            _summary_json,
            after_all_others=True,
        ),
    )
}
DEFAULT_PRODUCTS = tuple(PRODUCTS)[:9]
