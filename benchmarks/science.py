"""How true errors and backgrounds are: ours beside SExtractor's and photutils', on simulations with a known truth.

python benchmarks/science.py [--tables stacks,galaxies,crowded,psf,completeness,real] [--sources 10000] [--kinds white]

Needs what the tests need (tests/requirements.txt), SExtractor (Debian's source-extractor), and for psf PSFEx (psfex).
The fields are those of tests/simulated_stacks.py, tests/simulated_galaxies.py, tests/simulated_stars.py and
tests/simulated_sky.py; their seeds count from 0. Real images are those in the folder that SOURCE_EXTRACTOR_IMAGES
names.

Pull widths are half the central 68 % of (measured - true) / error: 1 where errors are true. True is what the same
pixels hold without noise; of positions, where the source was drawn. In crowded fields it is what was drawn, so that
neighbours count.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))
import source_extraction as se  # noqa: E402
from benchmarks import completeness_fields, psf_fields  # noqa: E402
from source_extraction.core.columns import PhotometryFlag  # noqa: E402
from tests.empty_apertures import scatter_of_empty_apertures  # noqa: E402
from tests.simulated_galaxies import PROFILES, simulate_galaxy  # noqa: E402
from tests.simulated_sky import simulate  # noqa: E402
from tests.simulated_stacks import DIAMETERS, KINDS, NAMES, Measured, Stack, simulate_stack, width  # noqa: E402

SEXTRACTOR = shutil.which("source-extractor")
SIDE = 2048
GALAXIES = 10
WIDE_AND_SMALL = (2, *DIAMETERS, 20)
REAL_IMAGES = ("legacysurvey_g_360.fits", "sdss_r.fits.bz2", "m67_int16.fits", "sewpy_example.fits", "sep_image.fits")
SEXTRACTOR_COLUMNS = """NUMBER X_IMAGE Y_IMAGE A_IMAGE B_IMAGE THETA_IMAGE KRON_RADIUS FLUX_AUTO FLUXERR_AUTO FLUX_ISO
FLUXERR_ISO FLUX_APER(2) FLUXERR_APER(2) XWIN_IMAGE YWIN_IMAGE ERRX2WIN_IMAGE ERRY2WIN_IMAGE FLAGS"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", default="stacks,galaxies,crowded,psf,completeness,real")
    parser.add_argument("--sources", type=int, default=10_000)
    parser.add_argument("--kinds", default=",".join(KINDS))
    arguments = parser.parse_args()
    wanted = arguments.tables.split(",")
    if "stacks" in wanted:
        head("pull width, S/N 10 to 100", "sources", *NAMES)
        for kind in arguments.kinds.split(","):
            stacks(kind, arguments.sources)
    if "galaxies" in wanted:
        head(f"error of the background 80 to 120 pixels from a galaxy, in RMS ({GALAXIES} fields)", *PROFILES)
        galaxies()
    if "crowded" in wanted:
        head("flux_auto of 5000 stars in a crowded field, S/N 10 to 100", "bias (median)", "scatter", "pull width")
        crowded()
    broken: list[str] = []
    if "psf" in wanted:
        broken += psf_fields.tables(arguments.sources, head, row)
    if "completeness" in wanted:
        broken += completeness_fields.tables(arguments.sources, head, row)
    if "real" in wanted:
        head(
            "real image: factor of errors, and scatter of empty apertures",
            *(f"{d} pixels" for d in (2, *DIAMETERS, 20)),
        )
        real_images()
    if broken:
        sys.exit("Out of bounds: " + "; ".join(broken))


def head(*cells: str) -> None:
    """Begin a table."""
    print(f"\n| {' | '.join(cells)} |")
    print("|---" * len(cells) + "|", flush=True)


def row(name: str, *values: float | str) -> None:
    cells = (value if isinstance(value, str) else f"{value:.3f}" for value in values)
    print(f"| {' | '.join((name, *cells))} |", flush=True)


def stacks(kind: str, wanted: int) -> None:
    """The rows of a kind of stack: every program's pull widths over about `wanted` sources."""
    pulls: dict[str, list[dict[str, np.ndarray]]] = {program: [] for program in PROGRAMS}
    seed = 0
    while sum(len(each["flux_auto"]) for each in pulls["ours"]) < wanted:
        stack = simulate_stack(kind, SIDE, seed)
        for program, measure in PROGRAMS.items():
            pulls[program].append(measure(stack).pulls(stack))
        seed += 1
    for program, parts in pulls.items():
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        widths = [width(joined[name]) if name in joined else "-" for name in NAMES]
        row(f"{kind}, {seed} fields: {program}", str(len(joined["flux_auto"])), *widths)


def galaxies() -> None:
    """Backgrounds beside large galaxies."""
    fields = {profile: [simulate_galaxy(profile, seed) for seed in range(GALAXIES)] for profile in PROFILES}
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "SExtractor": sextractor_background,
        "photutils, Background2D": photutils_background,
        "ours": lambda pixels: se.extract(pixels).background,
        "ours, --background_passes 2": lambda pixels: se.extract(pixels, background_passes=2).background,
        "ours, --bw 256 --bh 256": lambda pixels: se.extract(pixels, bw=256, bh=256).background,
    }
    for name, background in ways.items():
        errors = [np.mean([f.background_error(background(f.pixels)) for f in each]) for each in fields.values()]
        row(name, *map(float, errors))


def crowded() -> None:
    """What is drawn against what is measured, where neighbours are more than the noise."""
    ways: dict[str, dict[str, Any]] = {
        "ours, --no-correlated_noise": {"correlated_noise": False},
        "ours": {},
        "ours, --background_passes 2": {"background_passes": 2},
    }
    for name, options in ways.items():
        pulls, relative = [], []
        for seed in range(3):
            sky = simulate((1024, 1024), 6500, seed, faintest=400, galaxies=0, fwhm=2.4)
            table = se.extract(sky.pixels, gain=1, **options).to_pandas()
            near = np.hypot(*(table[axis].to_numpy()[:, None] - sky.truth[axis] for axis in "xy")) < 2
            # Each is the brightest of what was drawn where it was found.
            true = np.where(near, sky.truth["flux"], 0).max(axis=1)
            usable = table["snr"].between(10, 100) & (table["flag_phot"] & ~int(PhotometryFlag.COVERED) == 0)
            chosen = near.any(axis=1) & usable.to_numpy()
            away = (table["flux_auto"] - true).to_numpy()[chosen]
            pulls.append(away / table["flux_auto_err"].to_numpy()[chosen])
            relative.append(away / true[chosen])
        of_all = np.concatenate(relative)
        row(name, float(np.median(of_all)), width(of_all), width(np.concatenate(pulls)))


def real_images() -> None:
    """The factors of errors, and how empty apertures scatter in units of the error of independent pixels."""
    folder = os.environ.get("SOURCE_EXTRACTOR_IMAGES")
    for name in REAL_IMAGES if folder else ():
        result = se.extract(Path(folder) / name, apertures=WIDE_AND_SMALL)
        factors = [each["factor"] for each in result.summary["noise_factors"]]
        scatters = [scatter_of_empty_apertures(result, diameter) for diameter in WIDE_AND_SMALL]
        row(name, *(f"{factor:.2f}, {scatter:.2f}" for factor, scatter in zip(factors, scatters, strict=True)))


def ours(stack: Stack) -> Measured:
    return Measured.of(se.extract(stack.pixels))


def ours_of_independent_pixels(stack: Stack) -> Measured:
    return Measured.of(se.extract(stack.pixels, correlated_noise=False))


def sextractor(stack: Stack) -> Measured:
    """Without neighbours' light in apertures, and with our apertures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fits.writeto(folder / "stack.fits", np.nan_to_num(stack.pixels))
        run_sextractor(folder, "stack.fits", CHECKIMAGE_TYPE="SEGMENTATION", CHECKIMAGE_NAME="segmentation.fits")
        table = Table.read(folder / "catalog")
        segmentation = fits.getdata(folder / "segmentation.fits").astype(np.int32)
    get = {name: np.asarray(table[name], dtype=np.float64) for name in table.colnames if table[name].ndim == 1}
    columns = {
        "x": get["X_IMAGE"] - 1, "y": get["Y_IMAGE"] - 1, "a": get["A_IMAGE"], "b": get["B_IMAGE"],
        "theta": np.radians(get["THETA_IMAGE"]), "kron_radius": get["KRON_RADIUS"], "flux_auto": get["FLUX_AUTO"],
        "flux_iso": get["FLUX_ISO"], "x_win": get["XWIN_IMAGE"] - 1, "y_win": get["YWIN_IMAGE"] - 1,
    }  # fmt: skip
    errors = {
        "flux_auto": get["FLUXERR_AUTO"], "flux_iso": get["FLUXERR_ISO"],
        "x_win": np.sqrt(get["ERRX2WIN_IMAGE"]), "y_win": np.sqrt(get["ERRY2WIN_IMAGE"]),
    }  # fmt: skip
    for number, diameter in enumerate(DIAMETERS):
        columns[f"flux_aper_{diameter}"] = np.asarray(table["FLUX_APER"], dtype=np.float64)[:, number]
        errors[f"flux_aper_{diameter}"] = np.asarray(table["FLUXERR_APER"], dtype=np.float64)[:, number]
    labels = np.asarray(table["NUMBER"]).astype(np.int32)
    return Measured(columns, errors, labels, segmentation, get["FLAGS"] == 0)


def photutils(stack: Stack) -> Measured:
    """Of our background and segmentation map. Its positions have no errors."""
    from photutils.aperture import CircularAperture
    from photutils.segmentation import SegmentationImage, SourceCatalog

    result = se.extract(stack.pixels)
    measured = Measured.of(result)
    light, noise = np.nan_to_num(result.background_subtracted), result.background_rms.astype(np.float64)
    found = SourceCatalog(light, SegmentationImage(result.segmentation), error=noise)
    apertures = {f"flux_aper_{d}": CircularAperture(found.centroid, d / 2) for d in DIAMETERS}
    circles = {name: circle.do_photometry(light, error=noise) for name, circle in apertures.items()}
    truth = {
        "flux_iso": measured.light_in_apertures(stack.light)["flux_iso"],
        "flux_auto": np.array(
            [np.nan if a is None else a.do_photometry(stack.light)[0][0] for a in found.kron_aperture]
        ),
    } | {name: circle.do_photometry(stack.light)[0] for name, circle in apertures.items()}
    fluxes = {"flux_auto": found.kron_flux, "flux_iso": found.segment_flux}
    errors = {"flux_auto": found.kron_flux_err, "flux_iso": found.segment_flux_err}
    fluxes |= {name: flux for name, (flux, _) in circles.items()}
    errors |= {name: error for name, (_, error) in circles.items()}
    columns = measured.columns | fluxes
    return Measured(columns, errors, measured.labels, measured.segmentation, measured.usable, truth)


def sextractor_background(pixels: np.ndarray) -> np.ndarray:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fits.writeto(folder / "image.fits", pixels)
        run_sextractor(folder, "image.fits", CHECKIMAGE_TYPE="BACKGROUND", CHECKIMAGE_NAME="background.fits")
        return np.asarray(fits.getdata(folder / "background.fits"))


def photutils_background(pixels: np.ndarray) -> np.ndarray:
    """With its defaults, which are SExtractor's estimator and a median filter of 3 x 3 cells."""
    from photutils.background import Background2D

    return np.asarray(Background2D(pixels, 64).background)


def run_sextractor(folder: Path, image: str, **settings: str) -> None:
    """With its default configuration but for what is said."""
    (folder / "columns").write_text("\n".join(SEXTRACTOR_COLUMNS.split()))
    (folder / "kernel").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
    (folder / "none").touch()
    given = {
        "CATALOG_NAME": "catalog", "CATALOG_TYPE": "FITS_1.0", "PARAMETERS_NAME": "columns", "FILTER_NAME": "kernel",
        "PHOT_APERTURES": ",".join(map(str, DIAMETERS)), "MASK_TYPE": "BLANK", "VERBOSE_TYPE": "QUIET", "GAIN": "0",
    } | settings  # fmt: skip
    options = [part for name, value in given.items() for part in (f"-{name}", value)]
    subprocess.run([str(SEXTRACTOR), image, "-c", "none", *options], cwd=folder, check=True)


PROGRAMS: dict[str, Callable[[Stack], Measured]] = {
    "SExtractor": sextractor,
    "photutils": photutils,
    "ours, --no-correlated_noise": ours_of_independent_pixels,
    "ours": ours,
}

if __name__ == "__main__":
    main()
