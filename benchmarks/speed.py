"""Time and memory of this tool, SExtractor and plain SEP on the same simulated fields.

python benchmarks/speed.py [--fields small,many,large,crowded,mosaic,growth,huge,giant] [--repeat 3] [--table]
                           [--folder DIR]

Prints a table: medians of the seconds of whole processes, which take turns; ratios to SExtractor (Debian's
source-extractor, where it is installed); the seconds with the default options, and what they are times the first; the
share of the processor's seconds in which one core alone is at work; and the peak memory of all processes, shared
pages counted once. SExtractor computes and writes what this tool does but for the correlation of the noise and the
advice, which are left out of the first seconds. The fields stay in the folder for the next time.
"""

import argparse
import filecmp
import math
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))
from benchmarks.watching import of_no_file, seconds_of, watch  # noqa: E402
from source_extraction.run.products import DEFAULT_PRODUCTS  # noqa: E402
from tests.simulated_sky import simulate  # noqa: E402

SCRIPT = REPOSITORY / "source_extractor.py"
SEXTRACTOR = shutil.which("source-extractor")
CATALOG_AND_MAPS = "catalog.tsv,background.fits,background_rms.fits,segmentation_map.fits"
# What report.html adds where its pictures are made anyway.
PICTURES = ",".join((*DEFAULT_PRODUCTS, "diagnostics.png"))
AND_REPORT = f"{PICTURES},report.html"
CROWDED = {"fwhm": 2.4, "galaxies": 0.05}
# Side in pixels, number of sources injected, how the field differs from the ordinary one.
FIELDS = {
    "small": (360, 118, {}),
    "large": (4096, 15_360, {}),
    "crowded": (4096, 160_000, CROWDED),
    "mosaic": (8192, 420_000, {}),
}
FAINTEST = 400.0
# Without what SExtractor has not.
LIKE_SEXTRACTOR = ("--no-correlated_noise", "--no-advice")
# What SExtractor's pixel stack has to hold where its default is too small. A larger one than needed takes as long to
# begin with as a small image to search.
PIXEL_STACKS = {"large": 10_000_000, "crowded": 10_000_000, "mosaic": 10_000_000}
MANY, DIFFERENT, AT_A_TIME = 1000, 20, 2
GROWTH = (1500, 2000, 3000, 4500, 6500)  # sides in pixels of crowded fields of one density
# What the products use, for the time that merely importing it takes.
IMPORTS = {
    "catalog and maps": "import argparse, numpy, sep, astropy.io.fits, astropy.wcs, astropy.coordinates",
    "all nine": (
        "import argparse, numpy, sep, astropy.io.fits, astropy.wcs, astropy.coordinates, matplotlib.figure, "
        "matplotlib.backends.backend_agg, astropy.visualization.wcsaxes"
    ),
}
PLAIN_SEP = """
import sys, numpy as np, sep
from astropy.io import fits
sep.set_extract_pixstack(10_000_000)
data = fits.getdata(sys.argv[1]).astype(np.float32)
background = sep.Background(data)
background.subfrom(data)
sources, labels = sep.extract(data, 1.5, err=background.globalrms, segmentation_map=True)
np.savetxt(sys.argv[2] + "/plain.txt", sources)
"""
OF_THE_TABLE = ("catalog and maps", "all nine", "catalog and maps, 1 thread")
OLD = "products-of-earlier-runs-"
SEXTRACTOR_COLUMNS = """NUMBER X_IMAGE Y_IMAGE XWIN_IMAGE YWIN_IMAGE ALPHA_J2000 DELTA_J2000 FLUX_ISO FLUXERR_ISO
FLUX_AUTO FLUXERR_AUTO KRON_RADIUS FLUX_APER(2) FLUXERR_APER(2) FLUX_RADIUS X2_IMAGE Y2_IMAGE XY_IMAGE ERRX2_IMAGE
ERRY2_IMAGE ERRXY_IMAGE A_IMAGE B_IMAGE THETA_IMAGE THETA_J2000 CXX_IMAGE CYY_IMAGE CXY_IMAGE XMIN_IMAGE XMAX_IMAGE
YMIN_IMAGE YMAX_IMAGE FWHM_IMAGE FWHM_WORLD ELLIPTICITY ELONGATION THRESHOLD FLUX_MAX XPEAK_IMAGE YPEAK_IMAGE
ISOAREA_IMAGE ISOAREAF_IMAGE ERRX2WIN_IMAGE ERRY2WIN_IMAGE ERRXYWIN_IMAGE FLAGS"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", default=",".join(FIELDS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--table", action="store_true", help="only what the table in docs/administration.md shows")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "source-extractor-benchmark")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(
        f"{'field':9} {'sources':>8}  {'what':32} {'seconds':>8} {'ratio':>6} {'defaults':>8} {'times':>6} "
        f"{'alone':>7} {'peak MB':>8} {'bytes/pixel':>11}"
    )
    for name in arguments.fields.split(","):
        if name == "growth":
            growth(arguments.folder)
        elif name == "huge":
            huge(arguments.folder)
        elif name == "giant":
            giant(arguments.folder)
        elif name == "many":
            many(arguments.folder, arguments.repeat)
        else:
            compare(name, arguments.folder, arguments.repeat, OF_THE_TABLE if arguments.table else None)
    for old in arguments.folder.glob(f"{OLD}*"):
        shutil.rmtree(old)


def new_folder(out: Path) -> None:
    """An empty folder for the products, as a job's: there is nothing to overwrite, and the disk is not at work.

    The files of the run before are emptied and moved away: file systems such as ext4 avoid the inodes of files deleted
    in the last minutes, and take longer to create files the more there are of these.
    """
    if out.exists():
        for file in out.rglob("*"):
            if file.is_file():
                os.truncate(file, 0)
        out.rename(Path(tempfile.mkdtemp(dir=out.parent, prefix=OLD)) / out.name)
    out.mkdir()
    os.sync()


def compare(name: str, folder: Path, repeat: int, only: tuple[str, ...] | None = None) -> None:
    """Time everything on a field, or `only` some of it, in turns."""
    image, out = field(name, folder), folder / "out"
    commands = {
        "catalog and maps": ours(image, out, CATALOG_AND_MAPS),
        "all nine": ours(image, out),
        "all nine, diagnostics": ours(image, out, PICTURES),
        "all nine, diagnostics, report": ours(image, out, AND_REPORT),
        "catalog and maps, 1 thread": ours(image, out, CATALOG_AND_MAPS, threads=1),
        "all nine, 1 thread": ours(image, out, threads=1),
        "plain SEP": [sys.executable, "-c", PLAIN_SEP, image, out],
    }
    commands = {what: command for what, command in commands.items() if only is None or what in only}
    with_defaults = {f"{what}, defaults": command for what, command in commands.items() if SCRIPT in command}
    commands = {what: like_sextractor(command) for what, command in commands.items()} | with_defaults
    if name == "small":
        commands |= {f"imports: {what}": [sys.executable, "-c", code] for what, code in IMPORTS.items()}
    if SEXTRACTOR:
        commands["SExtractor, catalog and maps"] = sextractor(image, folder, out, PIXEL_STACKS.get(name))
    seconds = {what: [] for what in commands}
    for _ in range(repeat):
        for what, command in commands.items():
            new_folder(out)
            seconds[what].append(seconds_of(command))
            if what == "all nine":
                sources = number_of_sources(out)
    medians = {what: statistics.median(times) for what, times in seconds.items()}
    if only is None:
        more = medians["all nine, diagnostics, report"] - medians["all nine, diagnostics"]
        print(f"{name:9} {sources:8}  {'report.html adds':32} {more:8.2f}", flush=True)
    pixels = fits.getheader(image)["NAXIS1"] ** 2
    for what, command in commands.items():
        if what in with_defaults:
            continue
        reference = f"imports: {what}" if f"imports: {what}" in commands else "SExtractor, catalog and maps"
        ratio = f"{medians[what] / medians[reference]:6.2f}" if reference in medians else "     -"
        defaults = in_defaults(medians[what], medians.get(f"{what}, defaults"))
        watched = with_defaults.get(f"{what}, defaults", command)
        peak = watch(watched).peak_memory
        new_folder(out)
        seen = watch(like_sextractor(command), memory_of=lambda _: 0)
        alone = f"{seen.alone / seen.processor_seconds:7.0%}"
        above = (peak - idle_memory(folder, what, out)) / pixels if what in ("catalog and maps", "all nine") else None
        shown = f"{above:11.1f}" if above is not None and name != "small" else f"{'':11}"
        row = f"{name:9} {sources:8}  {what:32} {medians[what]:8.2f} {ratio} {defaults} {alone} {peak / 1e6:8.0f}"
        print(f"{row} {shown}", flush=True)


def idle_memory(folder: Path, what: str, out: Path) -> int:
    """The peak memory of the same run on a field of hardly any pixels: interpreters and imports."""
    image = field("small", folder)
    products = CATALOG_AND_MAPS if what == "catalog and maps" else None
    return max(watch(ours(image, out, products)).peak_memory for _ in range(2))


def many(folder: Path, repeat: int) -> None:
    """Small images in one run of ours, and in as many of SExtractor as there are images, two at a time; in turns."""
    images, out = folder / "many", folder / "out"
    images.mkdir(exist_ok=True)
    for number in range(MANY):
        if not (image := images / f"{number:04}.fits").exists():
            image.hardlink_to(field(f"small{number % DIFFERENT}", folder, (*FIELDS["small"], number % DIFFERENT + 1)))
    (images / "list").write_text("".join(f"{number:04}.fits\n" for number in range(MANY)))
    command = ours(images / "list", out, CATALOG_AND_MAPS, threads=AT_A_TIME)
    command = [*command[:2], "--list", *command[2:]]
    one_run, with_defaults = "catalog and maps, one run", "catalog and maps, one run, defaults"
    commands = {one_run: like_sextractor(command), with_defaults: command}
    if SEXTRACTOR:
        each = " ".join(map(str, sextractor(images / "{}.fits", folder, out, None))).replace(f"{out}/", f"{out}/{{}}")
        numbers = f"seq -w 0 {MANY - 1:04}"
        commands["SExtractor, a process each"] = ["sh", "-c", f"{numbers} | xargs -P {AT_A_TIME} -I{{}} {each}"]
    seconds = {what: [] for what in commands}
    for _ in range(repeat):
        for what, command in commands.items():
            new_folder(out)
            seconds[what].append(seconds_of(command))
    medians = {what: statistics.median(times) for what, times in seconds.items()}
    for what, median in medians.items():
        if what != with_defaults:
            ratio = median / medians.get("SExtractor, a process each", math.nan)
            defaults = in_defaults(median, medians[with_defaults] if what == one_run else None)
            print(f"{'many':9} {MANY:8}  {what:32} {median:8.2f} {ratio:6.2f} {defaults}", flush=True)


def growth(folder: Path) -> None:
    """The exponent of the time against the number of sources, at one density."""
    numbers, times = [], []
    for side in GROWTH:
        image = field(f"growth{side}", folder, (side, round(160_000 * (side / 4096) ** 2), CROWDED))
        out = folder / "out"
        times.append(statistics.median(seconds_of(ours(image, out, CATALOG_AND_MAPS)) for _ in range(3)))
        numbers.append(number_of_sources(out))
        print(f"{'growth':9} {numbers[-1]:8}  {'catalog and maps':32} {times[-1]:8.2f}", flush=True)
    exponent = np.polyfit(np.log(numbers), np.log(times), 1)[0]
    print(f"time grows as sources ^ {exponent:.2f}")


def huge(folder: Path) -> None:
    """16384 x 16384: the mosaic, four times."""
    image = folder / "huge.fits"
    if not image.exists():
        quarter = fits.getdata(field("mosaic", folder))
        header = fits.getheader(field("mosaic", folder))
        fits.writeto(image, np.tile(quarter, (2, 2)), header)
    out = folder / "out"
    seconds, *_, peak = watch(ours(image, out, CATALOG_AND_MAPS))
    sources = number_of_sources(out)
    print(f"{'huge':9} {sources:8}  {'catalog and maps':32} {seconds:8.2f} {'':6} {peak / 1e6:8.0f}")


def giant(folder: Path) -> None:
    """24576 x 24576, the mosaic nine times (2.4 GB), with less memory than it needs and without a limit.

    The memory shown is that of no file, which the system cannot put elsewhere, of all processes together; beside it the
    seconds of processors, which other work on the machine changes less.
    """
    image = folder / "giant.fits"
    if not image.exists():
        tile, header = fits.getdata(field("mosaic", folder)), fits.getheader(field("mosaic", folder))
        header["NAXIS1"], header["NAXIS2"] = (3 * side for side in tile.shape[::-1])
        with fits.StreamingHDU(image, header) as file:
            for first in range(0, 3 * len(tile), 512):
                rows = tile[first % len(tile) :][:512]
                file.write(np.tile(rows, 3).astype(">f4"))
    made = {}
    for what, limit in (("catalog and maps, --memory 4G", ["--memory", "4G"]), ("catalog and maps", [])):
        out = folder / f"giant{len(limit)}"
        seen = watch([*ours(image, out, CATALOG_AND_MAPS), *limit], of_no_file)
        row = f"{'giant':9} {number_of_sources(out):8}  {what:32} {seen.seconds:8.2f} {'':6}"
        print(f"{row} {seen.peak_memory / 1e6:8.0f} MB, {seen.processor_seconds:.0f} CPU seconds", flush=True)
        made[what] = out
    for product in CATALOG_AND_MAPS.split(","):
        if not filecmp.cmp(*(out / product for out in made.values()), shallow=False):
            sys.exit(f"error: {product} differs")
    for out in made.values():
        shutil.rmtree(out)


def field(name: str, folder: Path, size: tuple | None = None) -> Path:
    """The simulated image, made where it is missing."""
    image = folder / f"{name}.fits"
    if not image.exists():
        side, number, changes, *seed = size or FIELDS[name]
        sky = simulate((side, side), number, seed=seed[0] if seed else 1, faintest=FAINTEST, **changes)
        scale = 0.25 / 3600
        header = fits.Header(
            {
                "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.1, "CRVAL2": 2.2, "CRPIX1": side / 2,
                "CRPIX2": side / 2, "CD1_1": -scale, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": scale, "RADESYS": "ICRS",
            }
        )  # fmt: skip
        fits.writeto(image, sky.pixels, header)
    return image


def ours(image: Path, out: Path, products: str | None = None, threads: int | None = None) -> list:
    options = ["--outputs", products] if products else []
    options += ["--threads", threads] if threads else []
    return [sys.executable, SCRIPT, image, "--output_dir", out, *options]


def like_sextractor(command: list) -> list:
    """The same command, if it is ours, without what SExtractor does not do."""
    return [*command, *LIKE_SEXTRACTOR] if SCRIPT in command else command


def in_defaults(median: float, with_defaults: float | None) -> str:
    """The seconds with the default options, and what they are times the others, in two columns."""
    return f"{'':15}" if with_defaults is None else f"{with_defaults:8.2f} {with_defaults / median:6.2f}"


def sextractor(image: Path, folder: Path, out: Path, pixel_stack: int | None) -> list:
    """The configuration of the tests' reference, with the columns that we have."""
    (folder / "columns.param").write_text("\n".join(SEXTRACTOR_COLUMNS.split()) + "\n")
    shutil.copy(REPOSITORY / "tests" / "sextractor" / "sky.conv", folder)
    checks = ["back.fits", "rms.fits", "seg.fits"]
    return [
        SEXTRACTOR, image, "-c", REPOSITORY / "tests" / "sextractor" / "sky.sex",
        "-PARAMETERS_NAME", folder / "columns.param", "-FILTER_NAME", folder / "sky.conv",
        "-CATALOG_NAME", out / "sextractor.cat", "-CHECKIMAGE_TYPE", "BACKGROUND,BACKGROUND_RMS,SEGMENTATION",
        "-CHECKIMAGE_NAME", ",".join(str(out / check) for check in checks),
        *([] if pixel_stack is None else ["-MEMORY_PIXSTACK", str(pixel_stack)]),
    ]  # fmt: skip


def number_of_sources(out: Path) -> int:
    with (out / "catalog.tsv").open() as rows:
        return sum(1 for _ in rows) - 1


if __name__ == "__main__":
    main()
