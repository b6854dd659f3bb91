"""The order of a run: image, mask and kernel, background, sources, products."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import InputError
from .inputs import read_image, read_mask
from .log import Log
from .products import PRODUCTS, Run, Stage
from .settings import Settings
from .staging import staged

if TYPE_CHECKING:
    import numpy as np

    from .background import Sky
    from .detection import Detections
    from .images import Image


def run(settings: Settings) -> None:
    """Make the products that `settings` asks for, saying what is done on standard output.

    Raises InputError where an input or the output folder cannot be used; no product is left then.
    """
    chosen = [PRODUCTS[name] for name in settings.outputs]
    furthest = max(product.needs for product in chosen)
    log = Log(steps=1 + min(furthest, Stage.SOURCES) + len(chosen))
    try:
        with staged(settings.output_dir) as stage:
            found = _find(settings, furthest, log)
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


def _find(settings: Settings, furthest: Stage, log: Log) -> Run:
    """Go from the image as far as the chosen products need."""
    with log.step("Reading the image") as said:
        image = read_image(settings.image, _source(settings), settings.hdu, settings.plane)
        said.append(f"Image: {image.describe()}")
    found = Run(settings, image)
    if furthest < Stage.BACKGROUND:
        return found

    kernel = _kernel(settings, image, log) if furthest >= Stage.SOURCES else None
    masked = _masked(settings, image, log)
    found.sky = _estimate_background(settings, image, masked, log)
    if furthest >= Stage.SOURCES:
        found.detections = _detect(settings, found.sky, kernel, furthest >= Stage.SEGMENTATION, log)
    return found


def _estimate_background(settings: Settings, image: Image, masked: np.ndarray | None, log: Log) -> Sky:
    from .background import RMS_FLOOR, estimate_background

    with log.step("Estimating the background") as said:
        sky = estimate_background(image, masked, settings)
        said.append(f"Background: {sky.background:.6g}, RMS {sky.rms:.6g} (global values)")
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
    if settings.err_option == "array_rms" and settings.filter_type == "matched":
        log.say(
            "Filter: matched, with an RMS map. The threshold is in units of the noise of the filtered image, which is "
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


def _masked(settings: Settings, image: Image, log: Log) -> np.ndarray | None:
    """The pixels to leave out: those of the mask file and those without a value; None if none."""
    from .background import missing_pixels

    masked = read_mask(settings.mask_file, settings.maskthresh, image) if settings.mask_file else None
    missing = missing_pixels(image.pixels)
    by_file = f"{masked.sum()} by {settings.mask_file}" if masked is not None else ""
    without_value = f"{missing.sum()} without a value (NaN or infinite)" if missing is not None else ""
    if missing is not None:
        masked = missing if masked is None else masked | missing
    number = int(masked.sum()) if masked is not None else 0
    if number == image.pixels.size:
        raise InputError(image.source, "no pixel is left: all are masked or without a value", "check image and mask")
    reasons = ", ".join(reason for reason in (by_file, without_value) if reason)
    log.say(f"Masked pixels: {number}" + (f" ({reasons})" if reasons else ""))
    return masked if number else None
