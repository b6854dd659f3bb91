"""Give the tool damaged and strange files by the thousand: every run must end with exit code 0, 1 or 2.

    python -m tests.fuzz [NUMBER] [SEED]

A FITS or TIFF image, a mask or a kernel has bytes flipped, is cut, or has header cards changed; compressed pixels are
damaged within the streams of their codec; numbers that decide over sizes are spelled as they should not be. And files
are made that are valid but strange: the catalog must have the same rows as that of a plain FITS file of the same
values.

Every run is a child process, forked with the libraries loaded, with a limit on memory and time. A run that ends by a
signal, with a traceback or not at all, or takes longer than files of its size may, is printed with its number; the same
number and seed make the same file again. Exits with 1 if there was one.
"""

import bz2
import contextlib
import functools
import gzip
import io
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import tifffile
from astropy.io import fits

from source_extraction.faces import source_extractor
from tests import fuzz_fits, fuzz_tiff
from tests.fuzz_cases import UUID, Case, pick, plain_fits

SHAPE = (40, 50)
# A run takes a fraction of a second: what is not done by then hangs, on a machine however busy.
SECONDS = 600
# What an invalid file of less than 1 MB may take (SECURITY.md), of a processor and of memory.
PROCESSOR_SECONDS, MEMORY = 10, 10**9
BYTES_A_UNIT = 1 if sys.platform == "darwin" else 1024  # of getrusage
BYTES = 4 * 2**30
OUTPUTS = "catalog.tsv,background_rms.fits,segmentation_map.fits"
# What a header card is changed to: what people's files hold, and what nobody's should.
VALUES = (
    "0",
    "1",
    "-1",
    "2",
    "3",
    "8",
    "16",
    "-32",
    "-64",
    "999999999",
    "1E300",
    "NaN",
    "T",
    "'x'",
    "''",
    "",
    "2147483648",
)
CARDS = (
    *("BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "BSCALE", "BZERO", "BLANK", "EXTEND", "PCOUNT", "GCOUNT", "XTENSION"),
    *("CTYPE1", "CTYPE2", "CD1_1", "CRVAL1", "CRPIX1", "ZCMPTYPE", "ZTILE1", "ZBITPIX", "TFORM1", "THEAP", "BUNIT", "EXTNAME"),
)  # fmt: skip


@functools.cache
def originals() -> dict[str, tuple[bytes, ...]]:
    """Sound files, by the option that they are given to."""
    random = np.random.default_rng(1)
    sky = random.normal(100, 5, SHAPE).astype(np.float32)
    sky[18:22, 18:22] += 300
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRPIX1": 5.0, "CD1_1": 1e-4,
                          "CD2_2": 1e-4, "BUNIT": "adu"})  # fmt: skip
    integers = sky.astype(np.int16)

    def of_fits(*hdus: object) -> bytes:
        file = io.BytesIO()
        fits.HDUList(list(hdus)).writeto(file, output_verify="silentfix")
        return file.getvalue()

    def of_tiff(pixels: np.ndarray, **options: object) -> bytes:
        file = io.BytesIO()
        tifffile.imwrite(file, pixels, **options)
        return file.getvalue()

    plain = of_fits(fits.PrimaryHDU(integers, header + fits.Header({"BLANK": -1})))
    images = (
        plain,
        of_fits(fits.PrimaryHDU(sky.astype(np.float64))),
        of_fits(fits.PrimaryHDU(), fits.ImageHDU(np.stack([sky, sky])), fits.ImageHDU(sky, header, name="SCI")),
        *(of_fits(fits.PrimaryHDU(), fits.CompImageHDU(integers, compression_type=c)) for c in ("RICE_1", "HCOMPRESS_1")),
        gzip.compress(plain, mtime=0),
        bz2.compress(plain),
        of_tiff(sky),
        of_tiff(integers, compression="lzw", predictor=True),
        of_tiff(sky, compression="zstd", tile=(16, 16)),
        of_tiff(sky, bigtiff=True, byteorder=">"),
        of_tiff(np.stack([sky, sky]), ome=True, metadata={"axes": "CYX", "UUID": UUID}),
    )  # fmt: skip
    mask = (sky > 200).astype(np.uint8)
    masks = (of_fits(fits.PrimaryHDU(mask)), of_tiff(mask), of_tiff(mask > 0))
    weights = (b"1 2 1\n2 4 2\n1 2 1\n", b"CONV NORM\n# 3x3\n0.1, 0.2, 0.1\n1e-1 2e0 .3\n0 0 1\n")
    return {"image": images, "--mask_file": masks, "--filter_file": weights}


def mutate(content: bytes, random: np.random.Generator) -> bytes:
    """Damage a file in one of the ways that files are damaged, or in several."""
    data = bytearray(content)
    for _ in range(random.integers(1, 4)):
        if not data:
            break
        way = random.integers(5)
        if way == 0:
            for place in random.integers(0, len(data), random.integers(1, 9)):
                data[place] = random.integers(256)
        elif way == 1:  # most of what a program decides on stands at the beginning
            for place in random.integers(0, min(len(data), 400), random.integers(1, 5)):
                data[place] ^= 1 << random.integers(8)
        elif way == 2:
            del data[random.integers(1, len(data) + 1) :]
        elif way == 3:
            start = random.integers(0, len(data))
            del data[start : start + random.integers(1, 100)]
        else:
            _change_card(data, random)
    return bytes(data)


def _change_card(data: bytearray, random: np.random.Generator) -> None:
    keyword, value = (str(random.choice(choices)) for choices in (CARDS, VALUES))
    place = data.find(f"{keyword:8}= ".encode())
    if place >= 0:
        data[place : place + 80] = f"{keyword:8}= {value:>20}".ljust(80).encode()


def child(arguments: list[str], log: Path) -> None:
    """Run the tool and end: never returns."""
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    signal.alarm(SECONDS)
    output = log.open("w")
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    sys.stdout = sys.stderr = output  # pytest has others, which it keeps
    status = 70  # a traceback, if it is not set anew
    try:
        status = source_extractor.main(arguments)
    except SystemExit as end:
        status = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _damaged(option: str) -> Callable[[np.random.Generator], Case]:
    """What makes a damaged file for an option."""

    def make(random: np.random.Generator) -> Case:
        content = mutate(pick(random, originals()[option]), random)
        return Case(f"damaged {option}", content, option, ("--plane", "0") if random.random() < 1 / 3 else ())

    return make


# What cases are made by in turn: a share of them each.
MAKERS: tuple[Callable[[np.random.Generator], Case], ...] = (
    *(_damaged("image"), fuzz_fits.strange, _damaged("--mask_file"), fuzz_tiff.strange, fuzz_fits.damaged_stream),
    *(_damaged("image"), fuzz_fits.hostile_header, _damaged("--filter_file"), fuzz_tiff.hostile_tags, fuzz_tiff.damaged_stream),
)  # fmt: skip


def cases(number: int, seed: int) -> Iterator[Case]:
    """So many cases; each depends on its number and the seed alone."""
    for index in range(number):
        with mock.patch("time.time", return_value=0.0):  # it stands in what gzip makes
            case = MAKERS[index % len(MAKERS)](np.random.default_rng((seed, index)))
        yield case


class Ending(NamedTuple):
    """How a run ended: exit code, what was said, seconds of a processor, bytes of memory more than this process took."""

    code: int
    said: str
    seconds: float
    memory: int

    @property
    def wrong(self) -> str:
        """What is wrong with it whatever the file is, "" where nothing is."""
        sentence = self.said.rstrip("\n").rpartition("\n")[2]
        if self.code not in (0, 1, 2) or "Traceback" in self.said:
            return f"exit code {self.code}: {self.said[-1000:]}"
        if self.code == 1 and not (sentence.startswith("error: ") and self.said.count("\nerror: ") <= 1):
            return f"no sentence at the end: {self.said[-1000:]}"
        if self.seconds > PROCESSOR_SECONDS or self.memory > MEMORY:
            return f"{self.seconds:.0f} s of a processor, {self.memory / 1e9:.1f} GB: {self.said[-1000:]}"
        return ""


class Runs:
    """Runs of the tool in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.catalog = folder, folder / "log", folder / "out" / "catalog.tsv"
        (folder / "sound").write_bytes(originals()["image"][0])

    def load(self) -> None:
        """A run in this process loads, once for all children, what they import."""
        with open(os.devnull, "w") as silence, contextlib.redirect_stdout(silence):
            for content in originals()["image"][:12:7]:
                (self.folder / "image").write_bytes(content)
                source_extractor.main(self._arguments(Case("sound", content)))

    def _arguments(self, case: Case) -> list[str]:
        image = self.folder / ("image" if case.option == "image" else "sound")
        arguments = [str(image), "--outputs", OUTPUTS, "--output_dir", str(self.folder / "out"), *case.arguments]
        if case.option != "image":
            arguments += [case.option, str(self.folder / "given")]
        return [*arguments, *(("--filter_case", "file") if case.option == "--filter_file" else ())]

    def run(self, case: Case) -> Ending:
        """Run the tool on a case in a child process."""
        self.catalog.unlink(missing_ok=True)
        (self.folder / ("image" if case.option == "image" else "given")).write_bytes(case.content)
        process = os.fork()
        if not process:
            child(self._arguments(case), self.log)
        _, status, used = os.wait4(process, 0)  # with what it has waited for
        return Ending(
            os.waitstatus_to_exitcode(status),
            self.log.read_text(errors="replace"),
            used.ru_utime + used.ru_stime,
            (used.ru_maxrss - resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * BYTES_A_UNIT,
        )

    def wrong(self, case: Case) -> str:
        """What is wrong with how a run on a case ends, "" where nothing is."""
        ending = self.run(case)
        if (what := ending.wrong) or case.pixels is None:
            return what
        if ending.code:
            return f"refused, but valid: {ending.said[-1000:]}"
        rows = self.catalog.read_text()
        ending = self.run(Case("plain FITS", plain_fits(case.pixels)))
        plainly = "" if ending.code else self.catalog.read_text()
        if plainly.count("\n") < 2:
            return f"the plain FITS file shows no source, the case tests nothing: {ending.said[-1000:]}"
        return "" if rows == plainly else f"other sources than in the plain FITS file:\n{rows}\n{plainly}"


def fuzz(number: int, seed: int) -> list[str]:
    """Run a number of cases; what went wrong, one line per case."""
    wrong = []
    with tempfile.TemporaryDirectory() as name:
        runs = Runs(Path(name))
        runs.load()
        for index, case in enumerate(cases(number, seed)):
            if what := runs.wrong(case):
                wrong.append(f"case {index} of seed {seed} ({case.kind}, {' '.join(case.arguments)}): {what}")
    return wrong


def main() -> int:
    number, seed = (int(text) for text in (*sys.argv[1:], *("5000", "0")[len(sys.argv) - 1 :]))
    started = time.monotonic()
    wrong = fuzz(number, seed)
    print(*wrong, sep="\n")
    print(f"{number} damaged and strange files, {len(wrong)} wrong endings, {time.monotonic() - started:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
