"""Give the tool damaged files by the thousand: every run must end with exit code 0, 1 or 2.

    python -m tests.fuzz [NUMBER] [SEED]

A FITS or TIFF image, a mask or a kernel has bytes flipped, is cut, or has header cards changed. Every run is
a child process, forked with the libraries loaded, with a limit on memory and time. A run that ends by a
signal, with a traceback or not at all is printed with its number; the same number and seed make the same
file again. Exits with 1 if there was one.
"""

import bz2
import contextlib
import gzip
import io
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from astropy.io import fits

from source_extraction.faces import source_extractor

SHAPE = (40, 50)
# A run takes a fraction of a second: what is not done by then hangs, on a machine however busy.
SECONDS = 600
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
        gzip.compress(plain),
        bz2.compress(plain),
        of_tiff(sky),
        of_tiff(integers, compression="lzw", predictor=True),
        of_tiff(sky, compression="zstd", tile=(16, 16)),
        of_tiff(sky, bigtiff=True, byteorder=">"),
        of_tiff(np.stack([sky, sky]), ome=True, metadata={"axes": "CYX"}),
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


def cases(number: int, seed: int) -> list[tuple[str, bytes]]:
    """What is given to which option: as many images as masks and kernels together."""
    files = originals()
    options = ("image", "image", "--mask_file", "--filter_file")
    chosen = []
    for index in range(number):
        random = np.random.default_rng((seed, index))
        option = options[index % len(options)]
        content = files[option][random.integers(len(files[option]))]
        chosen.append((option, mutate(content, random)))
    return chosen


def fuzz(number: int, seed: int) -> list[str]:
    """Run so many cases; what went wrong, a line each."""
    wrong = []
    sound = originals()["image"][0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sound").write_bytes(sound)
        # A run in this process loads, once for all children, what they import.
        with open(os.devnull, "w") as silence, contextlib.redirect_stdout(silence):
            for content in originals()["image"][:12:7]:
                (folder / "whole").write_bytes(content)
                source_extractor.main(
                    [str(folder / "whole"), "--outputs", OUTPUTS, "--output_dir", str(folder / "out")]
                )
        for index, (option, content) in enumerate(cases(number, seed)):
            (folder / "damaged").write_bytes(content)
            arguments = [str(folder / ("damaged" if option == "image" else "sound")), "--outputs", OUTPUTS]
            arguments += ["--output_dir", str(folder / "out")]
            if option != "image":
                arguments += [option, str(folder / "damaged")]
            if option == "--filter_file":
                arguments += ["--filter_case", "file"]
            if index % 3 == 0:
                arguments += ["--plane", "0"]
            process = os.fork()
            if not process:
                child(arguments, folder / "log")
            _, status = os.waitpid(process, 0)
            code, said = os.waitstatus_to_exitcode(status), (folder / "log").read_text(errors="replace")
            unsaid = code == 1 and not said[said.rstrip().rfind("\n") + 1 :].startswith("error: ")
            if code not in (0, 1, 2) or "Traceback" in said or unsaid:
                wrong.append(f"case {index} of seed {seed} ({option}): exit code {code}: {said[-1000:]}")
    return wrong


def main() -> int:
    number, seed = (int(text) for text in (*sys.argv[1:], *("5000", "0")[len(sys.argv) - 1 :]))
    started = time.monotonic()
    wrong = fuzz(number, seed)
    print(*wrong, sep="\n")
    print(f"{number} damaged files, {len(wrong)} wrong endings, {time.monotonic() - started:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
