"""The order of a run: which steps are taken, when memory is released, and how the products are made."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from ..core.processes import Workers, can_fork, default_number
from ..errors import InputError, counted
from ..readers.disk_room import RoomOnDisk
from ..settings import OutputOptions, Settings, as_options
from ..writers.staging import staged, writing_to
from .log import Log, in_a_sentence
from .products import Product, chosen_products
from .steps import Steps

# The order in which steps are taken, if wanted. Those that look at the image's own pixels (thumbnail, greys, masked,
# saturated) come before `sky`, which reuses them; all files are read before anything is estimated, so that an unusable
# one is rejected at once.
ORDER = (
    "image", "thumbnail", "greys", "kernel", "given_psf", "masked", "measured_image", "calibration", "saturated",
    "glimpse", "sky", "measured_sky", "threshold", "detections", "negated", "advice", "floored", "noise_factors",
    "psf", "fitted", "model", "measured", "text", "completeness",
    "sky_thumbnail", "background_thumbnail", "rms_thumbnail",
)  # fmt: skip
# The other steps that a step needs; their own needs are included too.
NEEDS = {
    "thumbnail": ("image",),
    "greys": ("thumbnail",),
    "sky": ("image", "masked"),
    "detections": ("sky", "kernel", "threshold", "floored", "advice"),
    "measured": ("detections", "measured_image", "calibration", "saturated", "measured_sky", "noise_factors"),
    "psf": ("measured", "given_psf"),
    "fitted": ("psf",),
    "model": ("fitted",),
    "catalog": ("measured",),
    "text": ("measured",),
    "depth": ("measured",),
    "negated": ("detections",),
    "completeness": ("detections", "catalog"),
    "floored": ("glimpse",),
    "advice": ("glimpse", "negated"),
    "sky_thumbnail": ("sky",),
    "background_thumbnail": ("sky",),
    "rms_thumbnail": ("sky",),
}
# The steps that a progress bar counts, one each; reading another image to measure on and its background count too.
LONG_STEPS = ("image", "sky", "detections", "negated", "advice", "measured", "psf", "fitted", "completeness")
# The steps that --no-advice skips.
OF_THE_ADVICE = {"negated", "advice"}
# The step of a PSF and its fluxes; products that need it also get its columns in the catalog.
WITH_PSF = "fitted"


def run(settings: Settings, output: OutputOptions) -> None:
    """Make the products that `output` asks for, and report each step on standard output.

    Raises InputError if an input or the output folder cannot be used; no product is left then.
    """
    chosen = chosen_products(output.outputs)
    wanted = steps_for(chosen, settings)
    settings = settings.asking_for(wanted)
    asked = output.threads or default_number()
    log = Log(_number_of_long_steps(wanted, settings) + len(chosen))
    with contextlib.closing(log), memory_is_said(settings):
        if asked > 1 and not can_fork():
            log.say("Processes: 1, because this system cannot fork")
        names = [product.name for product in chosen]
        with staged(output.output_dir, names, files_of(settings)) as folder:
            workers = Workers(asked, room_for(output, folder, asked))
            # The imports run alongside the extraction, once the image has been read.
            steps = steps_taken(settings, workers, log, wanted, [lambda steps: import_modules(chosen, steps)])
            if "sky" in wanted and "pixels" not in wanted:
                steps.release_pixels()
            with writing_to(output.output_dir):
                make_products(folder, chosen, steps)
    log.say(f"{counted(len(chosen), 'file', 'files')} in {in_a_sentence(output.output_dir)}.")
    log.finish()


def room_for(output: OutputOptions, folder: Path, processes: int, images: int = 1) -> RoomOnDisk:
    """The room for one image whose products are made in `folder` by `processes`; `images` are made at a time."""
    memory = None if output.memory is None else output.memory // images
    if output.scratch is not None:
        return RoomOnDisk(output.scratch, memory, processes)
    what, remedy = "the products", "choose another --output_dir or make room"
    return RoomOnDisk(folder, memory, processes, what=what, called=output.output_dir, remedy=remedy)


def files_of(settings: Settings) -> dict[Path, str]:
    """The files that are read, and their names in messages."""
    return {file: str(file) for file in vars(settings.files).values() if isinstance(file, Path)}


def steps_for(products: Iterable[Product], settings: Settings | None = None) -> frozenset[str]:
    """All steps that products need, and with `settings` those of its options: a PSF if there is a catalog."""
    wanted = _with_their_needs(name for product in products for name in product.needs)
    if settings is not None and settings.with_psf and "measured" in wanted:
        wanted |= _with_their_needs([WITH_PSF])
    if settings is not None and settings.psf.completeness:
        wanted |= _with_their_needs(["completeness"])
    return wanted if settings is None or settings.detection.advice else wanted - OF_THE_ADVICE


def _with_their_needs(names: Iterable[str]) -> frozenset[str]:
    wanted, left = set(), list(names)
    while left:
        name = left.pop()
        if name not in wanted:
            wanted.add(name)
            left += NEEDS.get(name, ())
    return frozenset(wanted)


def steps_taken(
    settings: Settings,
    workers: Workers,
    log: Log,
    wanted: frozenset[str],
    meanwhile: Sequence[Callable[[Steps], object]] = (),
) -> Steps:
    """All wanted steps, taken; with --follow_advice once more, as the advice on the first run says.

    `meanwhile` is work that can be done while other processes extract the sources.
    """
    follows = settings.detection.follow_advice and "advice" in wanted
    if follows:
        _require_files_to_be_read_twice(settings)
    steps = Steps(settings, workers, log, wanted, meanwhile)
    if follows:
        first = wanted.intersection(ORDER[: ORDER.index("advice") + 1])
        take_steps(steps, first)
        changes = {name: value for advice in steps.advice or () for name, value in advice.change.items()}
        if changes:
            log.say(f"Following the advice, once more with {as_options(changes)}")
            log.expect(_number_of_long_steps(first, settings))
            log.warnings.clear()
            try:
                steps = Steps(settings.following(changes), workers, log, wanted, meanwhile)
                take_steps(steps, wanted)
            except InputError as problem:
                # The first result is gone: two would not fit in the memory for one.
                steps = Steps(settings.not_following(), workers, log, wanted, meanwhile)
                log.warn(f"the advice cannot be followed: {problem}; this is the result without it")
        else:
            log.say("Following the advice: there is nothing to change")
    take_steps(steps, wanted)
    return steps


def _require_files_to_be_read_twice(settings: Settings) -> None:
    for file, name in files_of(settings).items():
        if file.is_fifo():
            raise InputError(name, "it is a pipe, which --follow_advice would read twice", "copy it to a file")


def take_steps(steps: Steps, wanted: frozenset[str]) -> None:
    """Take the wanted steps that have not been taken yet."""
    for name in ORDER:
        if name in wanted:
            getattr(steps, name)


@contextlib.contextmanager
def memory_is_said(settings: Settings) -> Iterator[None]:
    """Raises InputError if memory runs out."""
    try:
        yield
    except MemoryError as problem:
        raise InputError(
            settings.source, "memory ran out", "use a machine with more memory or cut the image"
        ) from problem


def _number_of_long_steps(wanted: frozenset[str], settings: Settings) -> int:
    another = "measured" in wanted and settings.files.measure_file is not None
    # A second pass means one more extraction and one more estimate.
    again = 2 * (settings.background.background_passes - 1) if "sky" in wanted else 0
    # Artificial stars need a PSF, even if the catalog does not.
    more = "completeness" in wanted and "psf" not in wanted and settings.files.measure_file is None
    return sum(name in wanted for name in LONG_STEPS) + (2 if another else 0) + again * (2 if another else 1) + more


def import_modules(chosen: list[Product], steps: Steps) -> None:
    """Import what the products need, some of it slowly: the sky coordinates and the modules of their writers."""
    modules = {product.module for product in chosen}
    for module in modules:
        import_module(f"..writers.{module}", __package__)
    # These and the measurements need the sky coordinates, which are slow to find.
    show_sky = modules & {"pictures", "fits_maps"} or "measured" in steps_for(chosen)
    if show_sky and steps.celestial.wcs is not None and "pictures" in modules:
        import_module("..writers.sky_axes", __package__)


def make_products(folder: Path, chosen: list[Product], steps: Steps) -> None:
    """Write the chosen products into a folder, several at a time, and log them in order."""
    for product in chosen:
        if product.announce is not None:
            product.announce(steps)
    # Before the processes start, so that each has the modules.
    import_modules(chosen, steps)
    seconds: dict[str, float] = {}

    def make(lane: list[Product]) -> list[float]:
        return [_seconds_to_make(product, folder, steps) for product in lane]

    # This process writes what is in memory meanwhile: with two processes for three maps, one would soon be idle.
    in_memory = [product for product in chosen if product.is_in_memory]
    lanes = _lanes(product for product in chosen if not (product.after_all_others or product.is_in_memory))
    # A process shares this one's memory, and takes as much again for a picture: if memory is short, this one makes all.
    # So it does if that takes less time than other processes take to start.
    alone = steps.room.is_short or all(product.is_quickly_made_of(steps.image) for product in chosen)
    workers = Workers(1) if alone else steps.workers
    written = cache(lambda: make(in_memory))
    for lane, times in zip(lanes, workers.map(make, lanes, [written] if in_memory else []), strict=True):
        seconds |= {product.name: time for product, time in zip(lane, times, strict=True)}
    seconds |= {product.name: time for product, time in zip(in_memory, written(), strict=True)}
    for product in chosen:
        if not product.after_all_others:
            steps.log.tell(f"Making {product.name}", f"Made {product.name}", seconds[product.name])
    for product in chosen:
        if product.after_all_others:
            with steps.log.step(f"Making {product.name}") as said:
                product.write(folder / product.name, steps)
                said.append(f"Made {product.name}")


def _lanes(products: Iterable[Product]) -> list[list[Product]]:
    """Groups of products to be made one after the other; the largest first: maps, then pictures, then the rest."""
    lanes: dict[str, list[Product]] = {}
    for product in sorted(products, key=lambda product: (not product.lane, not product.is_picture)):
        lanes.setdefault(product.lane or product.name, []).append(product)
    return list(lanes.values())


def _seconds_to_make(product: Product, folder: Path, steps: Steps) -> float:
    """Write a product; returns the time it took."""
    started = time.perf_counter()
    product.write(folder / product.name, steps)
    return time.perf_counter() - started
