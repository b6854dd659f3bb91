"""Many images in one run: distributed over processes, a folder for each, and two tables of all."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from importlib import import_module
from itertools import groupby
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NamedTuple

from .. import __version__, core
from ..core.columns import NAME_COLUMN, NOT_A_NUMBER
from ..core.processes import Workers, default_number
from ..errors import InputError, OutputError, counted
from ..readers.images import count_planes
from ..settings import OutputOptions, Settings, as_cell, taken_apart
from ..writers.staging import settle, staged, staged_folder, writing_to
from ..writers.tables import write_lines
from ..writers.whole import whole_text
from .joining import IDENTITY, JOINED_CATALOG
from .lines import listed
from .log import Log, in_a_sentence, visible
from .pipeline import files_of, make_products, memory_is_said, room_for, steps_for, steps_taken
from .products import Product, chosen_products
from .steps import Steps

IMAGES_TABLE = "images.tsv"
COLUMNS = (
    "image", "plane", "width", "height", "background", "rms", "threshold", "sources", "depth", "advice", "seconds",
    "error",
)  # fmt: skip
# The file in each image's folder with its inputs and options, by which --resume knows whether to make it again.
RECORD = "image.json"
CATALOG = "catalog.tsv"
# The steps that the two tables need, whatever else is requested.
STEPS_OF_THE_TABLES = ("text", "depth", "advice")
# Files with more bytes per plane than this are searched one at a time, by all processes, in tiles: smaller ones are too
# many for that to pay, and one per process fits in memory.
LARGE = 32 * 2**20
# Options that need a mask.
OF_A_MASK = ("mask_hdu", "mask_plane", "mask_bits")
# What compressed files add to the extension of their content.
COMPRESSED = (".gz", ".bz2", ".fz")
MOST_BYTES_OF_A_NAME = 200


class Given(NamedTuple):
    """An image, the mask that comes with it, and its name in catalogs and messages instead of the file's."""

    image: Path
    mask: Path | None = None
    name: str = ""


class Job(NamedTuple):
    """An image to search: the input, its plane (None if it has only one), and the name of its folder."""

    given: Given
    plane: int | None
    planes: int
    folder: str

    def settings(self, options: dict[str, Any]) -> Settings:
        """The settings of its search. Raises InputError if they contradict themselves."""
        own: dict[str, Any] = {"mask_file": self.given.mask} if self.given.mask is not None else {}
        own |= {"name": self.given.name} if self.given.name else {}
        if self.given.mask is None and options.get("mask_file") is None:
            # Other images of the list may have masks although this one has none.
            own |= dict.fromkeys(OF_A_MASK)
        return Settings.of(self.given.image, **{**options, **own, "plane": self.plane})

    @property
    def is_large(self) -> bool:
        """Whether it is large enough to be searched by all processes."""
        return is_large(self.given.image, self.planes)


class Outcome(NamedTuple):
    """The result for an image: its row of the table by column, and the reason if it failed.

    `remarks` are its advice and warnings, as lines of the log. The reason is a sentence rather than an exception, since
    some exceptions do not survive the transfer between processes.
    """

    cells: dict[str, str]
    remarks: tuple[str, ...] = ()
    wrong: str = ""
    resumed: bool = False


def given_in(path: Path) -> list[Given]:
    """The images listed in a text file: one a line, followed by its mask and its name, each after a tab.

    Paths are relative to the folder of the list.
    """
    found = []
    for image, *more in listed(path, "images", most=3):
        mask, name, *_ = (*(part.strip() for part in more), "", "")
        found.append(Given(path.parent / image, path.parent / mask if mask else None, name))
    if not found:
        raise InputError(path, "the list names no image", "give a text file with one path per line")
    return found


def run_many(
    given: Sequence[Given],
    options: dict[str, Any],
    output: OutputOptions,
    sentence: Callable[[Exception], str],
    *,
    all_planes: bool = False,
    resume: bool = False,
    lists: Sequence[Path] = (),
) -> int:
    """Make the products of many images, with the same `options` of `Settings`; returns how many images failed.

    Each has a folder of its own in `output.output_dir`, which appears when its content is complete. The catalogs are
    joined, and a table has a row for each image. With `resume`, images whose folder was made from the same files with
    the same options are kept. `sentence` phrases the failure of an image. Raises OutputError if nothing can be written;
    no more images are then searched, and complete ones stay.
    """
    if not any(one.mask for one in given):
        Settings.of(given[0].image, **options)
    workers = Workers(output.threads or default_number())
    jobs = planned(given, options, workers, all_planes=all_planes)
    log = Log(len(jobs), estimate=True)
    names = [JOINED_CATALOG, IMAGES_TABLE]
    # The joined catalog is made from the catalogs.
    chosen = chosen_products({*(output.outputs or chosen_names()), CATALOG})
    folders = [job.folder for job in jobs if (output.output_dir / job.folder).is_dir()]
    for folder in folders:
        settle(output.output_dir / folder)
    # No product of one image may overwrite an input of another.
    others = (f"{folder}/{name}" for folder in folders for name in (*(product.name for product in chosen), RECORD))
    inputs = _inputs(given, options, lists)
    with closing(log), staged(output.output_dir, names, inputs, others) as stage:
        batch = _Batch(jobs, options, output, chosen, stage, workers, log, sentence, resume=resume)
        with writing_to(output.output_dir):
            with closing(batch.rows()) as rows:
                write_lines(stage / IMAGES_TABLE, rows)
            write_lines(stage / JOINED_CATALOG, batch.joined())
    _warn_of_names(jobs, log)
    log.say(
        f"Images: {len(jobs)}, of which {batch.number_failed} could not be used; sources: {batch.sources}. "
        f"{IMAGES_TABLE} and {JOINED_CATALOG} are in {in_a_sentence(output.output_dir)}."
    )
    log.finish()
    return batch.number_failed


def _inputs(given: Sequence[Given], options: dict[str, Any], lists: Sequence[Path]) -> dict[Path, str]:
    """The files that the whole run reads, and their names in messages."""
    paths = [path for one in given for path in (one.image, one.mask) if path is not None]
    paths += [path for path in options.values() if isinstance(path, Path)]
    return {taken_apart(path)[0]: str(path) for path in (*paths, *lists)}


def planned(given: Sequence[Given], options: dict[str, Any], workers: Workers, *, all_planes: bool) -> list[Job]:
    """A job for each image, or for each plane of each, with distinct folder names."""
    numbers: Iterator[int]
    if all_planes:
        hdu = options.get("hdu")
        numbers = workers.map_each(lambda one: _number_of_planes(one, hdu), given, lambda _: 1)
    else:
        numbers = iter([1] * len(given))
    jobs: list[Job] = []
    taken = {_compared(name) for name in (JOINED_CATALOG, IMAGES_TABLE)}
    for one, number in zip(given, numbers, strict=True):
        several = range(number) if number > 1 else [None if all_planes else options.get("plane")]
        folder = _free_name(folder_name(one.image), taken)
        for plane in several:
            own = folder if number == 1 else _free_name(f"{folder}_plane{plane:04}", taken)
            jobs.append(Job(one, plane, number, own))
    return jobs


def folder_name(image: Path) -> str:
    """A folder name from a file's name without its extension, never hidden."""
    file, _ = taken_apart(image)
    name = file.name
    for ending in COMPRESSED:
        name = name.removesuffix(ending) or name
    # File systems count bytes, and a character has up to four.
    short = (Path(name).stem or name).lstrip(".").encode("utf-8", "surrogateescape")[:MOST_BYTES_OF_A_NAME]
    return short.decode("utf-8", "ignore").strip() or "image"


def _free_name(name: str, taken: set[str]) -> str:
    """A name not yet in `taken`, which is added to it; with _2, _3 ... appended if needed."""
    free, number = name, 1
    while _compared(free) in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(_compared(free))
    return free


def _compared(name: str) -> str:
    """The name as compared by file systems that ignore case."""
    return name if sys.platform == "linux" else name.casefold()


def _number_of_planes(given: Given, hdu: str | None) -> int:
    """How many planes a file has; one if that cannot be told, in which case reading it reports why."""
    try:
        file, named = taken_apart(given.image)
        return count_planes(file, str(file), hdu if named is None else named)
    except Exception:
        return 1


def _warn_of_names(jobs: list[Job], log: Log) -> None:
    numbers = Counter((job.given.name or job.given.image.name, job.plane) for job in jobs)
    twice = [name for (name, _), number in numbers.items() if number > 1]
    if twice:
        log.warn(
            f"{counted(len(twice), 'name is that', 'names are those')} of several images, as {twice[0]}: "
            "image and label do not tell them apart"
        )


class _Batch:
    """The images of a run, and their outcomes."""

    def __init__(
        self,
        jobs: list[Job],
        options: dict[str, Any],
        output: OutputOptions,
        chosen: list[Product],
        stage: Path,
        workers: Workers,
        log: Log,
        sentence: Callable[[Exception], str],
        *,
        resume: bool,
    ) -> None:
        self._jobs, self._options, self._stage, self._workers = jobs, options, stage, workers
        self._log, self._sentence, self._resume = log, sentence, resume
        self._output, self._folder, self._chosen = output, output.output_dir, chosen
        tables = Product(IMAGES_TABLE, "", STEPS_OF_THE_TABLES, "tables", lambda *_: None)
        self._shown = [*self._chosen, tables]
        # For every image whether it failed; the headers of the catalogs, hardly ever more than one or two.
        self._failed = bytearray(len(jobs))
        self._headers: dict[str, None] = {}
        self.sources = 0

    @property
    def number_failed(self) -> int:
        return sum(self._failed)

    def rows(self) -> Generator[str]:
        """The lines of the table of images, each as soon as its image is done."""
        yield "\t".join(COLUMNS) + "\n"
        with closing(self._outcomes()) as outcomes:
            for number, (job, outcome) in enumerate(zip(self._jobs, outcomes, strict=True)):
                if outcome.wrong:
                    self._failed[number] = True
                    self._log.complain(f"error: {outcome.wrong}")
                else:
                    self._headers[self._header_of(job)] = None
                    self.sources += int(outcome.cells["sources"])
                    self._say(job, outcome)
                yield "\t".join(outcome.cells[name] for name in COLUMNS) + "\n"

    def joined(self) -> Iterator[str]:
        """The lines of the joined catalog: the rows of all catalogs, some at a time."""
        columns = list(dict.fromkeys(name for header in self._headers for name in header.split("\t"))) or list(IDENTITY)
        # The image's name stays the last of the catalog's own columns.
        columns.sort(key=NAME_COLUMN.name.__eq__)
        with_planes = any(job.plane is not None for job in self._jobs)
        whole = columns + (["plane"] if with_planes else [])
        yield "\t".join(whole) + "\n"
        for number, job in enumerate(self._jobs):
            if self._failed[number]:
                continue
            plane = _number(job.plane)
            with (self._folder / job.folder / CATALOG).open(encoding="utf-8", newline="") as catalog:
                own = catalog.readline().rstrip("\n").split("\t")
                if own == whole:
                    yield from catalog
                    continue
                places = [own.index(name) if name in own else -1 for name in columns]
                for line in catalog:
                    # Columns that a catalog does not have are NaN.
                    fields = [*line.rstrip("\n").split("\t"), NOT_A_NUMBER]
                    row = [fields[place] for place in places]
                    yield "\t".join([*row, plane] if with_planes else row) + "\n"

    def _outcomes(self) -> Generator[Outcome]:
        """The outcomes of the images, in order: small ones are searched in parallel, one per process.

        Large ones are searched in a separate process as well, since the system may kill it if memory runs out.
        """
        self._import()
        alone, together = Workers(1), self._workers
        for large, group in groupby(self._jobs, key=lambda job: job.is_large):
            jobs = list(group)
            number, own = (alone, together) if large else (together, alone)
            search = partial(self._search, workers=own)
            with closing(number.map_each(search, jobs, lambda problem: problem)) as outcomes:
                for job, outcome in zip(jobs, outcomes, strict=True):
                    yield outcome if isinstance(outcome, Outcome) else self._without(job, outcome)

    def _import(self) -> None:
        """Import what every process would import for itself."""
        modules = [f"..core.{module.name}" for module in iter_modules(core.__path__)]
        modules += [f"..writers.{product.module}" for product in self._chosen]
        for module in (*modules, "..readers.fits", "..writers.thumbnails"):
            import_module(module, __package__)
        for library in ("astropy.coordinates", "astropy.wcs"):
            import_module(library)

    def _search(self, job: Job, workers: Workers) -> Outcome | InputError:
        """Search one image. Raises only OutputError, if its products cannot be written."""
        started, place = time.perf_counter(), self._folder / job.folder
        try:
            settings = job.settings(self._options)
            wanted = steps_for(self._shown, settings)
            settings = settings.asking_for(wanted)
            record = _record_of(settings)
            if self._resume and (done := self._done(place, record)):
                return done
            if os.path.lexists(place) and not place.is_dir():
                raise InputError(
                    place, "there is a file where the folder of an image should be", "choose another folder"
                )
            names = [*(product.name for product in self._chosen), RECORD]
            log = Log(quiet=True)
            with (
                memory_is_said(settings),
                staged_folder(place, self._stage, names, files_of(settings)) as folder,
            ):
                at_a_time = self._workers.number if workers.number == 1 else 1
                own = Workers(workers.number, room_for(self._output, folder, workers.number, at_a_time))
                steps = steps_taken(settings, own, log, wanted)
                cells = _cells(job, steps)
                if "pixels" not in wanted:
                    steps.release_pixels()
                with writing_to(place):
                    make_products(folder, self._chosen, steps)
                    cells["seconds"] = f"{time.perf_counter() - started:.3f}"
                    remarks = [f"Advice: {advice}" for advice in steps.advice or ()]
                    remarks += [f"Warning: {warning}" for warning in log.warnings]
                    _write_record(folder / RECORD, record, names[:-1], cells, remarks)
            return Outcome(cells, tuple(remarks))
        except OutputError:
            raise
        except Exception as problem:
            return self._without(job, problem, time.perf_counter() - started)

    def _without(self, job: Job, problem: Exception, seconds: float = 0.0) -> Outcome:
        """The outcome of an image that could not be used."""
        wrong = self._sentence(problem)
        try:
            title = job.settings(self._options).title
        except InputError:
            title = job.given.name or visible(job.given.image.name)
        known = {"image": as_cell(title), "plane": _number(job.plane), "advice": "", "seconds": f"{seconds:.3f}"}
        cells = dict.fromkeys(COLUMNS, NOT_A_NUMBER) | known
        return Outcome(cells | {"error": as_cell(visible(wrong).replace("\t", " "))}, wrong=wrong)

    def _done(self, place: Path, record: dict[str, Any]) -> Outcome | None:
        """The outcome of an earlier run with the same files and options; None if there is none."""
        if not place.is_dir():
            return None
        settle(place)
        try:
            found = json.loads((place / RECORD).read_text(encoding="utf-8"))
            same = found["made_of"] == json.loads(json.dumps(record))
            products = {product.name for product in self._chosen}
            there = products <= set(found["products"]) and all((place / name).is_file() for name in products)
            cells = {name: str(found["table"][name]) for name in COLUMNS}
            int(cells["sources"])
            remarks = tuple(str(remark) for remark in found["remarks"])
            return Outcome(cells, remarks, resumed=True) if same and there else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _header_of(self, job: Job) -> str:
        with (self._folder / job.folder / CATALOG).open(encoding="utf-8") as catalog:
            return catalog.readline().rstrip("\n")

    def _say(self, job: Job, outcome: Outcome) -> None:
        done = " (done before)" if outcome.resumed else ""
        plane = f", plane {job.plane}" if job.given.name and job.planes > 1 else ""
        image = f"{job.given.name or job.folder}{plane}"
        line = f"{image}: {counted(int(outcome.cells['sources']), 'source', 'sources')}{done}"
        self._log.tell("Searching the images", line, None if outcome.resumed else float(outcome.cells["seconds"]))
        for remark in outcome.remarks:
            kind, _, text = remark.partition(": ")
            self._log.say(f"{kind}: {image}: {text}")


def is_large(image: Path, planes: int = 1) -> bool:
    """Whether one of a file's `planes` is large enough to be searched by all processes."""
    file, _ = taken_apart(image)
    try:
        return os.stat(file).st_size > LARGE * planes
    except (OSError, ValueError):
        return False


def chosen_names() -> list[str]:
    """The names of the default products."""
    return [product.name for product in chosen_products(())]


def _record_of(settings: Settings) -> dict[str, Any]:
    """The inputs and options of an image's products: the same ones give the same products."""
    files = {}
    for role, path in vars(settings.files).items():
        if isinstance(path, Path):
            status = path.stat() if path.exists() else None
            files[role] = [os.path.abspath(path), *((status.st_size, status.st_mtime_ns) if status else ())]
    return {"version": __version__, "image": settings.title, "options": settings.everything(), "files": files}


def _write_record(
    path: Path, record: dict[str, Any], products: list[str], cells: dict[str, str], remarks: list[str]
) -> None:
    known = {"made_of": record, "products": products, "table": cells, "remarks": remarks}
    with whole_text(path) as file:
        file.write(json.dumps(known, indent=1) + "\n")


def _cells(job: Job, steps: Steps) -> dict[str, str]:
    """An image's row of the table."""
    height, width = steps.image.shape
    depth = steps.depth
    return {
        "image": as_cell(steps.settings.title),
        "plane": _number(job.plane),
        "width": str(width),
        "height": str(height),
        "background": _number(steps.sky.background),
        "rms": _number(steps.sky.rms),
        "threshold": _number(steps.threshold.median),
        "sources": str(len(steps.detections)),
        "depth": _number(depth.flux if depth.magnitude is None else depth.magnitude),
        "advice": ",".join(advice.id for advice in steps.advice or ()),
        "seconds": NOT_A_NUMBER,
        "error": "",
    }


def _number(value: float | None) -> str:
    return NOT_A_NUMBER if value is None else f"{value:.9g}"
