"""The order of a run: image, mask and kernel, background, sources, products."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .errors import InputError
from .findings import Run
from .images import require_same_shape
from .inputs import read_image, read_mask
from .log import Log
from .products import PRODUCTS, Product, Stage, import_modules, make_products
from .settings import Settings
from .staging import staged
from .thumbnails import average
from .workers import Workers, default_number

if TYPE_CHECKING:
    from .background import Sky
    from .images import Image
    from .limits import Detections
    from .noise import NoiseMap
    from .photometry import Measurable

# A noise map that differs from the noise of the image by more than this is probably of another type.
PLAUSIBLE_NOISE = 5
SOURCES_AT_A_TIME = 2000


def run(settings: Settings) -> None:
    """Make the products that `settings` asks for, saying what is done on standard output.

    Raises InputError where an input or the output folder cannot be used; no product is left then.
    """
    chosen = [PRODUCTS[name] for name in settings.outputs]
    workers = Workers(settings.threads or default_number())
    log = Log(steps=_number_of_steps(settings, chosen))
    try:
        with staged(settings.output_dir) as stage:
            found = _find(Run(settings, workers, log), chosen)
            make_products(stage, chosen, found)
    except MemoryError as problem:
        raise InputError(
            _source(settings), "memory ran out", "use a machine with more memory or cut the image"
        ) from problem
    finally:
        log.close()
    log.say(f"{len(chosen)} file{'s' if len(chosen) != 1 else ''} in {settings.output_dir}.")
    log.finish()


def _source(settings: Settings) -> str:
    """How messages call the image."""
    return settings.name or str(settings.image)


def _number_of_steps(settings: Settings, chosen: list[Product]) -> int:
    furthest = max(product.needs for product in chosen)
    steps = 1 + min(furthest, Stage.SOURCES) + len(chosen)
    if furthest >= Stage.CATALOG:
        steps += 1 if settings.measure_file is None else 3
    return steps + any(product.needs_negated for product in chosen)


def _find(found: Run, chosen: list[Product]) -> Run:
    """Go from the image as far as the chosen products need."""
    settings, log = found.settings, found.log
    furthest = max(product.needs for product in chosen)
    with log.step("Reading the image") as said:
        found.image = image = read_image(settings.image, _source(settings), settings.hdu, settings.plane)
        said.append(f"Image: {image.describe()}")
    if any(product.needs_image for product in chosen):
        found.thumbnail = average(image.pixels)
    if furthest < Stage.BACKGROUND:
        return found

    found.kernel = _kernel(settings, image, log) if furthest >= Stage.SOURCES else None
    by_file = read_mask(settings.mask_file, settings.maskthresh, image) if settings.mask_file else None
    noise = _noise_map(settings, image)
    masked = _masked(settings, image, by_file, noise, log)
    if furthest >= Stage.CATALOG and settings.measure_file is None:
        _calibrate(found, image)
    found.sky = _estimate_background(settings, image, masked, noise, log)
    image.release()
    if furthest >= Stage.CATALOG:
        found.measurable = _measurable(found, by_file)
    if furthest >= Stage.SOURCES:
        # Slow, and not needed before the sources are found (the noise: for some thresholds).
        found.workers.meanwhile(lambda: found.sky.noise)
        found.workers.meanwhile(lambda: import_modules(chosen, found))
        found.detections = _detect(found, want_map=furthest >= Stage.SEGMENTATION)
    for sky in _skies(found):
        _warn_of_floor(sky, log)
    if furthest >= Stage.CATALOG:
        of_the_catalog = [product for product in chosen if product.needs == Stage.CATALOG]
        want_rows = any(product.needs_rows for product in of_the_catalog)
        _measure(found, want_rows, want_values=not all(product.needs_rows for product in of_the_catalog))
    if any(product.needs_negated for product in chosen):
        _count_negated(found)
    _make_room(found, chosen)
    return found


def _make_room(found: Run, chosen: list[Product]) -> None:
    """Take from the pixels what the picture shows of them, and leave their memory to the maps to be written."""
    if any(product.needs_light for product in chosen):
        found.light = found.sky.unit * average(found.sky.pixels, found.sky.masked)
    if not any(product.needs_pixels for product in chosen):
        for sky in _skies(found):
            sky.forget_pixels()


def _skies(found: Run) -> list[Sky]:
    """Of the image, and of the one that is measured where it is another."""
    skies = [found.sky]
    if found.measurable is not None and found.measurable.sky is not found.sky:
        skies.append(found.measurable.sky)
    return skies


def _calibrate(found: Run, image: Image) -> None:
    """Look up what the pixels of the image that is measured mean, and which are saturated."""
    from .calibration import resolve, unused_keywords

    found.measured_image, found.calibration = image, resolve(found.settings, image)
    if unused := unused_keywords(found.settings, image):
        found.log.say(f"The header also has: {', '.join(unused)}")
    if found.calibration.saturation is not None:
        found.saturated = np.flatnonzero(image.pixels >= found.calibration.saturation)


def _measurable(found: Run, by_file: np.ndarray | None) -> Measurable:
    """What the sources are measured on: the image itself, or the one that was given for it."""
    from .photometry import Measurable

    settings, sky = found.settings, found.sky
    if settings.measure_file is not None:
        image = _image_to_measure(found)
        _calibrate(found, image)
        masked = _masked(settings, image, by_file, None, found.log)
        sky = _estimate_background(settings, image, masked, None, found.log)
        image.release()
    return Measurable(sky, found.calibration.gain, found.saturated)


def _measure(found: Run, want_rows: bool, want_values: bool) -> None:
    """Measure the sources, so many at a time in every process; the rows of catalog.tsv are written there too.

    The processes send back only what is wanted: these rows, or the values for other products.
    """
    from .catalog import Catalog, build_catalog, detected_columns
    from .photometry import Measurable, measure
    from .tables import tsv_header, tsv_rows

    detections, settings = found.detections, found.settings
    same = found.measurable.sky is found.sky
    # The gain of another image says nothing of this one's.
    measurables = (found.measurable if same else Measurable(found.sky)), found.measurable
    images, zeropoint = (found.image, found.measured_image), found.calibration.zeropoint
    for measurable in measurables:
        _ = measurable.sky.noise  # made once, before the processes begin

    def measure_some(first: int) -> tuple[Catalog | None, str]:
        sources = detections.sources[first : first + SOURCES_AT_A_TIME]
        labels = np.arange(first + 1, first + 1 + len(sources), dtype=np.int32)
        measured = measure(sources, labels, detections.segmentation, measurables, settings)
        catalog = build_catalog(detected_columns(sources, labels), measured, images, zeropoint, settings)
        header = "" if first else tsv_header(catalog)
        return catalog if want_values else None, header + tsv_rows(catalog) if want_rows else ""

    with found.log.step("Measuring the sources") as said:
        parts = list(found.workers.map(measure_some, range(0, max(len(detections), 1), SOURCES_AT_A_TIME)))
        catalogs = [catalog for catalog, _ in parts if catalog is not None]
        found.catalog = Catalog.joined(catalogs) if catalogs else None
        found.rows = [rows for _, rows in parts]
        said.append("Measured the sources")
    for measurable in measurables:
        measurable.sky.forget_noise()


def _image_to_measure(found: Run) -> Image:
    with found.log.step("Reading the image to measure on") as said:
        image = read_image(found.settings.measure_file)
        remedy = "give an image of the same shape, aligned pixel by pixel"
        require_same_shape(image, found.image, "image to measure on", remedy)
        said.append(f"Image to measure on: {image.describe()}")
    return image


def _count_negated(found: Run) -> None:
    from .detection import count_negated

    with found.log.step("Extracting from the negated image") as said:
        found.negated = count_negated(found.sky, found.kernel, found.settings, found.workers)
        said.append(f"Detections on the negated image: {found.negated}; about as many of the sources are noise")


def _estimate_background(
    settings: Settings, image: Image, masked: np.ndarray | None, noise: NoiseMap | None, log: Log
) -> Sky:
    from .background import estimate_background

    with log.step("Estimating the background") as said:
        sky = estimate_background(image, masked, settings, noise, in_place=True)
        kept = "" if settings.subtract_background else "; not subtracted"
        said.append(f"Background: {sky.background:.6g}, RMS {sky.rms:.6g} (global values){kept}")
    if noise is not None and sky.rms > 0:
        ratio = float(np.median(noise.rms[~noise.invalid])) / sky.rms
        if not 1 / PLAUSIBLE_NOISE < ratio < PLAUSIBLE_NOISE:
            log.warn(
                f"the noise map {noise.source} says {ratio:.3g} times the noise that the image has; "
                "check --error_type and its unit"
            )
    if sky.rms == 0:
        counts = (
            "every pixel above it counts as a source's" if settings.has_estimated_noise else "errors are without it"
        )
        log.warn(f"the background has no noise (RMS 0): {counts}")
    return sky


def _warn_of_floor(sky: Sky, log: Log) -> None:
    from .background import RMS_FLOOR

    if sky.rms > 0 and (floored := sky.floored_pixels()):
        log.warn(
            f"in {floored} pixels the background RMS map fell to zero or near it and was raised to "
            f"{RMS_FLOOR:g} of the global RMS; a larger mesh (--bw, --bh) or a mask avoids it"
        )


def _detect(found: Run, want_map: bool) -> Detections:
    from .detection import describe_threshold, detect

    settings, sky, log = found.settings, found.sky, found.log
    log.say(f"Threshold: {describe_threshold(sky, settings)}")
    with log.step("Extracting the sources") as said:
        detections = detect(sky, found.kernel, settings, want_map, found.workers)
        nothing = "" if len(detections) else ": nothing exceeds the threshold in enough connected pixels"
        said.append(f"Sources: {len(detections)}{nothing}")
    if detections.not_deblended:
        labels = ", ".join(map(str, detections.not_deblended[:10]))
        log.warn(
            f"{len(detections.not_deblended)} source(s) are too large to be deblended and stay whole (label {labels}); "
            "a higher threshold or a smaller background mesh makes them smaller"
        )
    return detections


def _kernel(settings: Settings, image: Image, log: Log) -> np.ndarray | None:
    """The weights of the filter, None for none; says what the choice means for the threshold."""
    from .kernels import DEFAULT_KERNEL, read_kernel

    if settings.filter_case == "none":
        noise = "" if settings.err_option == "none" else ". Below a threshold of 3 much noise counts as sources"
        log.say(f"Filter: none{noise}")
        return None
    if settings.has_noise_map and settings.filter_type == "matched":
        log.say(
            "Filter: matched, with a noise map. The threshold is in units of the noise of the filtered image, which is "
            "lower: below a threshold of 4 much noise counts as sources; --filter_type conv avoids it"
        )
    if settings.filter_case == "default":
        return DEFAULT_KERNEL
    kernel = read_kernel(settings.filter_file)
    rows, columns = kernel.weights.shape
    if rows > image.shape[0] or columns > image.shape[1]:
        raise InputError(
            settings.filter_file,
            f"the kernel ({columns} x {rows}) is larger than the image ({image.shape[1]} x {image.shape[0]})",
            "give a smaller kernel",
        )
    log.say(f"Filter: {settings.filter_file}, {columns} x {rows}")
    for remark in kernel.remarks:
        log.warn(remark)
    return kernel.weights


def _noise_map(settings: Settings, image: Image) -> NoiseMap | None:
    from .noise import read_noise_map

    if settings.err_option != "file":
        return None
    return read_noise_map(settings.error_file, settings.error_type, image)


def _masked(
    settings: Settings, image: Image, by_file: np.ndarray | None, noise: NoiseMap | None, log: Log
) -> np.ndarray | None:
    """The pixels to leave out: of the mask file, without a value, without a noise; None if none."""
    from .background import missing_pixels

    reasons = {
        f"by {settings.mask_file}": by_file,
        "without a value (NaN or infinite)": missing_pixels(image.pixels),
        "without a noise in the noise map": noise.invalid if noise is not None and noise.invalid.any() else None,
    }
    given = {reason: masked for reason, masked in reasons.items() if masked is not None}
    masked = np.logical_or.reduce(list(given.values())) if given else None
    number = int(masked.sum()) if masked is not None else 0
    if number == image.pixels.size:
        raise InputError(image.source, "no pixel is left: all are masked or without a value", "check image and mask")
    counted = ", ".join(f"{masked.sum()} {reason}" for reason, masked in given.items())
    log.say(f"Masked pixels: {number}" + (f" ({counted})" if counted else ""))
    return masked if number else None
