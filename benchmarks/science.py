"""How true errors and backgrounds are: ours beside SExtractor's and photutils', on simulations with a known truth.

python benchmarks/science.py [--sources 10000] [--tables stacks,others,galaxies]

Needs what the tests need, and SExtractor (Debian's source-extractor). The fields are those of
tests/simulated_stacks.py and tests/simulated_galaxies.py; their seeds count from 0.

Pull widths are half the central 68 % of (measured - true) / error: 1 where errors are true. True is what the same
pixels hold without noise; of positions, where the source was drawn.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))
import source_extraction as se  # noqa: E402
from tests.simulated_stacks import DIAMETERS, KINDS, NAMES, Measured, Stack, simulate_stack, width  # noqa: E402

SEXTRACTOR = shutil.which("source-extractor")
SIDE = 2048
SEXTRACTOR_COLUMNS = """NUMBER X_IMAGE Y_IMAGE A_IMAGE B_IMAGE THETA_IMAGE KRON_RADIUS FLUX_AUTO FLUXERR_AUTO FLUX_ISO
FLUXERR_ISO FLUX_APER(2) FLUXERR_APER(2) XWIN_IMAGE YWIN_IMAGE ERRX2WIN_IMAGE ERRY2WIN_IMAGE FLAGS"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", type=int, default=10_000)
    parser.add_argument("--tables", default="stacks")
    parser.add_argument("--kinds", default=",".join(KINDS))
    arguments = parser.parse_args()
    print("| pull width, S/N 10 to 100 | sources |", *(f"{name} |" for name in NAMES))
    print("|---" * (len(NAMES) + 2) + "|")
    for kind in arguments.kinds.split(","):
        stacks(kind, arguments.sources)


def stacks(kind: str, wanted: int) -> None:
    """The rows of a kind of stack: every program's pull widths over about so many sources."""
    pulls: dict[str, list[dict[str, np.ndarray]]] = {program: [] for program in PROGRAMS}
    seed = 0
    while sum(len(each["flux_auto"]) for each in pulls["ours"]) < wanted:
        stack = simulate_stack(kind, SIDE, seed)
        for program, measure in PROGRAMS.items():
            pulls[program].append(measure(stack).pulls(stack))
        seed += 1
    for program, parts in pulls.items():
        widths = [
            f"{width(np.concatenate([part[name] for part in parts])):.3f} |" if name in parts[0] else "- |"
            for name in NAMES
        ]
        print(
            f"| {kind}, {seed} fields: {program} | {sum(len(part['flux_auto']) for part in parts)} |",
            *widths,
            flush=True,
        )


def ours(stack: Stack) -> Measured:
    return Measured.of(se.extract(stack.pixels))


def ours_of_independent_pixels(stack: Stack) -> Measured:
    return Measured.of(se.extract(stack.pixels, correlated_noise=False))


def sextractor(stack: Stack) -> Measured:
    """With its default configuration but for the mesh of 64 pixels, which is its default too, and our apertures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fits.writeto(folder / "stack.fits", np.nan_to_num(stack.pixels))
        (folder / "columns").write_text("\n".join(SEXTRACTOR_COLUMNS.split()))
        (folder / "kernel").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
        settings = {
            "CATALOG_NAME": "catalog", "CATALOG_TYPE": "FITS_1.0", "PARAMETERS_NAME": "columns",
            "FILTER_NAME": "kernel", "CHECKIMAGE_TYPE": "SEGMENTATION", "CHECKIMAGE_NAME": "segmentation.fits",
            "PHOT_APERTURES": ",".join(map(str, DIAMETERS)), "MASK_TYPE": "BLANK", "VERBOSE_TYPE": "QUIET", "GAIN": "0",
        }  # fmt: skip
        options = [part for name, value in settings.items() for part in (f"-{name}", value)]
        (folder / "none").touch()
        subprocess.run([SEXTRACTOR, "stack.fits", "-c", "none", *options], cwd=folder, check=True)
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


PROGRAMS: dict[str, Callable[[Stack], Measured]] = {
    "SExtractor": sextractor,
    "photutils": photutils,
    "ours, --no-correlated_noise": ours_of_independent_pixels,
    "ours": ours,
}

if __name__ == "__main__":
    main()
