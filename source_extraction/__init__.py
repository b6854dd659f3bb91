"""Find and measure the sources in an image: from Python, from the command line, and from Galaxy.

    import source_extraction as se
    result = se.extract("sky.fits", thresh=2, gain="GAIN")
    table = result.to_table()

`extract` takes a file or an array and gives a `Result`, `extract_many` gives those of many; `join_catalogs` makes one
catalog of many; an `InputError` says what cannot be used.

The map of the house, from the bottom up; what is below knows nothing of what is above::

    errors      InputError, the one exception for input that cannot be used
    settings    every option, with its default, bounds and help, and the check that all faces go through

    core/       arrays in, arrays out: no file, no log
        image          an Image: pixels, and what is known about them
        room           where arrays as large as an image have their place (in_order: medians of what is not in memory)
        sky            an Image -> the Sky: background, noise, working pixels
        mesh           background and noise in the cells of an image: SEP's (sep_mesh), or those of few_values; and at
                       its pixels (surfaces)
        source_mask    what a second estimate of the background does without: sources and what is around them
        threshold      what a pixel must exceed
        filters        the kernels of the filter
        detection      a Sky -> Detections: a record per source, the segmentation map (detections)
                       tiles, parents and windows divide large images among the processes of `processes`;
                       sep_extract keeps SEP's buffers large enough, and masked pixels out of the sources (records)
        correlation    what the noise of neighbouring pixels has in common, and what that makes of errors
        photometry     Detections -> fluxes, errors, sizes (half_light), windowed positions (windowed)
        psf            the point spread function: a star's light on the pixels around it, anywhere in the image
                       psf_making makes it from an image and its catalog: psf_stars (which are stars), psf_model (what
                       they show); psf_photometry fits it to all sources together, spread tells stars from galaxies
        coordinates    pixel positions -> positions on the sky or a map
        columns        what every column of the catalog is
        catalog        all these -> the catalog
        depth          how faint a source could be
        completeness   how many of the point sources are found, by their flux: artificial_stars are looked for again,
                       each in a window of star_windows, many windows on a contact_sheet
        evidence       what a run shows of its image
        judging        that -> advice: what is wrong, and which options cure it
        bright_mask    the segmentation map -> a mask of the brightest sources

    readers/    files and arrays -> images, and what comes with them: mask, noise_map, kernels, calibration, psf_files
        images         which reader an image needs: fits, tiff, arrays (content and planes serve them)
        disk_room      room on the disk for what memory (which `memory` asks for) does not hold
        fits           is helped by fits_structure (where the HDUs lie), fits_choice (which is meant), fits_tiles
                       (compressed pixels), fits_pixels (what the numbers mean), fits_sky (coordinates; fits_sky_cards:
                       what headers say of them, fits_sky_conventions and fits_sky_iraf: what they mean by it)
        tiff           is helped by tiff_series (what tifffile knows of a file, within bounds: tiff_directories,
                       tiff_ome), tiff_values (what the numbers mean) and tiff_geography

    writers/    what was found -> files
        tables, described_tables, fits_maps (header_cards: what holds of the image's), label_images,
        pictures (sky_axes: the coordinates at their sides), diagnostics, completeness, summary, psf_files
        (and psf_page)
        report         a run as a page, made of the parts in the folder page; report_pictures and report_sources put
                       arrays and catalog into it
        thumbnails     large arrays -> the pixels that a picture has
        whole          a file that is written to its end, or an error
        staging        files appear only when all are whole
        moves          they take their places all or not at all; locks say whose a hidden folder is

    run/        from an image to its products
        steps          what each step takes and makes, in layers of which each knows those before it: inputs, search,
                       apertures, stars, and what pictures show
        pipeline       the order of the steps
        products       which file shows what
        extract        the front door for Python, and result what it gives
        many           many images in one run, shared out among the processes (extract_many: from Python)
        joining        catalogs of many images -> one, and their summaries -> advice_table (lines: tables and lists of
                       strangers)
        log            what a run says

    faces/      the command lines
"""

from typing import TYPE_CHECKING, Any

from .errors import InputError

if TYPE_CHECKING:
    from .run.extract import extract
    from .run.extract_many import extract_many
    from .run.joining import JoinedCatalog, join_catalogs
    from .run.result import Result

__version__ = "1.0.0"
__all__ = ["InputError", "JoinedCatalog", "Result", "__version__", "extract", "extract_many", "join_catalogs"]

# Where a name is that is imported when it is first used: importing the package itself takes no time.
_LATER = {
    "extract": "extract",
    "extract_many": "extract_many",
    "Result": "result",
    "join_catalogs": "joining",
    "JoinedCatalog": "joining",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(f".run.{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
