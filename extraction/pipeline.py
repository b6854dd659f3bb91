"""The order of a run: image, mask and kernel, background, sources, products."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .errors import InputError
from .inputs import read_image, read_mask
from .log import Log
from .products import PRODUCTS, Product, Run, Stage
from .settings import Settings
from .staging import staged

if TYPE_CHECKING:
    from .background import Sky
    from .detection import Detections
    from .images import Image
    from .noise import NoiseMap

# A noise map that differs from the noise of the image by more than this is probably of another type.
PLAUSIBLE_NOISE = 5


def run(settings: Settings) -> None:
    """Make the products that `settings` asks for, saying what is done on standard output.

    Raises InputError where an input or the output folder cannot be used; no product is left then.
    """
    chosen = [PRODUCTS[name] for name in settings.outputs]
    furthest = max(product.needs for product in chosen)
    log = Log(steps=_number_of_steps(settings, chosen))
    try:
        with staged(settings.output_dir) as stage:
            found = _find(settings, furthest, log)
            if any(product.needs_negated for product in chosen):
                _count_negated(found)
            for product in chosen:
                with log.step(f"Making {product.name}") as said:
                    product.write(stage / product.name, found)
                    said.append(f"Made {product.name}")
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


def _find(settings: Settings, furthest: Stage, log: Log) -> Run:
    """Go from the image as far as the chosen products need."""
    with log.step("Reading the image") as said:
        image = read_image(settings.image, _source(settings), settings.hdu, settings.plane)
        said.append(f"Image: {image.describe()}")
    found = Run(settings, image, log)
    if furthest < Stage.BACKGROUND:
        return found

    found.kernel = _kernel(settings, image, log) if furthest >= Stage.SOURCES else None
    by_file = read_mask(settings.mask_file, settings.maskthresh, image) if settings.mask_file else None
    noise = _noise_map(settings, image)
    masked = _masked(settings, image, by_file, noise, log)
    found.sky = _estimate_background(settings, image, masked, noise, log)
    if furthest >= Stage.SOURCES:
        found.detections = _detect(settings, found.sky, found.kernel, furthest >= Stage.SEGMENTATION, log)
    if furthest >= Stage.CATALOG:
        _measure(found, by_file)
    return found


def _measure(found: Run, by_file: np.ndarray | None) -> None:
    """Measure the sources, on the image itself or on the one that was given for it."""
    from .calibration import resolve, unused_keywords
    from .catalog import build_catalog
    from .photometry import Measurable, measure

    settings, log = found.settings, found.log
    found.measured_image, sky = found.image, found.sky
    if settings.measure_file is not None:
        found.measured_image = _image_to_measure(found)
        masked = _masked(settings, found.measured_image, by_file, None, log)
        sky = _estimate_background(settings, found.measured_image, masked, None, log)
    found.calibration = resolve(settings, found.measured_image)
    if unused := unused_keywords(settings, found.measured_image):
        log.say(f"The header also has: {', '.join(unused)}")
    gain, saturation = found.calibration.gain, found.calibration.saturation
    saturated = None if saturation is None else np.flatnonzero(found.measured_image.pixels >= saturation)
    found.measurable = Measurable(sky, gain, saturated)
    # The gain of another image says nothing of this one's.
    detected_on = found.measurable if sky is found.sky else Measurable(found.sky)
    with log.step("Measuring the sources") as said:
        measured = measure(found.detections, detected_on, found.measurable, settings)
        images = found.image, found.measured_image
        found.catalog = build_catalog(found.detections.sources, measured, images, found.calibration.zeropoint, settings)
        said.append("Measured the sources")


def _image_to_measure(found: Run) -> Image:
    with found.log.step("Reading the image to measure on") as said:
        image = read_image(found.settings.measure_file)
        said.append(f"Image to measure on: {image.describe()}")
    if image.shape != found.image.shape:
        raise InputError(
            image.source,
            f"the image to measure on has {image.shape[1]} x {image.shape[0]} pixels, the image "
            f"{found.image.source} {found.image.shape[1]} x {found.image.shape[0]}",
            "give an image of the same shape, aligned pixel by pixel",
        )
    return image


def _count_negated(found: Run) -> None:
    from .detection import count_negated

    with found.log.step("Extracting from the negated image") as said:
        found.negated = count_negated(found.sky, found.kernel, found.settings)
        said.append(f"Detections on the negated image: {found.negated}; about as many of the sources are noise")


def _estimate_background(
    settings: Settings, image: Image, masked: np.ndarray | None, noise: NoiseMap | None, log: Log
) -> Sky:
    from .background import RMS_FLOOR, estimate_background

    with log.step("Estimating the background") as said:
        sky = estimate_background(image, masked, settings, noise)
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
        log.warn("the background has no noise (RMS 0): every pixel above it counts as a source's")
    elif floored := sky.floored_pixels():
        log.warn(
            f"in {floored} pixels the background RMS map fell to zero or near it and was raised to "
            f"{RMS_FLOOR:g} of the global RMS; a larger mesh (--bw, --bh) or a mask avoids it"
        )
    return sky


def _detect(settings: Settings, sky: Sky, kernel: np.ndarray | None, want_map: bool, log: Log) -> Detections:
    from .detection import describe_threshold, detect

    log.say(f"Threshold: {describe_threshold(sky, settings)}")
    with log.step("Extracting the sources") as said:
        detections = detect(sky, kernel, settings, want_map)
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
        log.say("Filter: none. Noise is not smoothed: below a threshold of 3 much of it counts as sources")
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
