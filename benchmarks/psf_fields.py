"""The tables of science.py about the point spread function: ours beside SExtractor with PSFEx, and photutils.

Fields are those of tests/simulated_stars.py. Every number but the times has a bound, and one that breaks it is named at
the end.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

import source_extraction as se
from tests.simulated_stars import KINDS, Compared, Field, simulate_stars

FWHM = 3.5
SIDES = {"sparse": 2048, "crowded": 1024}
NETWORK = "/usr/share/source-extractor/default.nnw"
COLUMNS = """NUMBER X_IMAGE Y_IMAGE FLUX_AUTO FLUXERR_AUTO FLUX_APER(1) FLUXERR_APER(1) FLUX_RADIUS ELONGATION FLAGS
SNR_WIN CLASS_STAR"""
APERTURES = (3.0, 4.0, 5.0, 7.0, 10.0)
# What is measured, in which fields, with the least and the greatest value that it may have.
FLUXES = (
    ("bias, S/N above 50", "bias", 50, 1e9),
    ("scatter, S/N 20-50", "scatter", 20, 50),
    ("scatter, S/N 50-200", "scatter", 50, 200),
    ("pull, S/N 5-20", "pull", 5, 20),
    ("pull, S/N 20-100", "pull", 20, 100),
)
BOUNDS = {
    "sparse": {
        "bias, S/N above 50": (-0.005, 0.005),
        "scatter, S/N 20-50": (0, 1.4),
        "scatter, S/N 50-200": (0, 1.5),
        "pull, S/N 5-20": (0.9, 1.2),
        "pull, S/N 20-100": (0.9, 1.5),
        "5-10": (0.91, 1),
        "10-20": (0.98, 1),
        "20-50": (0.98, 1),
    },
    "crowded": {
        "bias, S/N above 50": (-0.005, 0.005),
        "scatter, S/N 20-50": (0, 2.8),
        "scatter, S/N 50-200": (0, 2.5),
        "pull, S/N 5-20": (0.9, 2.3),
        "pull, S/N 20-100": (0.9, 2.3),
        "5-10": (0.88, 1),
        "10-20": (0.93, 1),
        "20-50": (0.97, 1),
    },
}
MOST_STARS_THAT_ARE_NONE = 0.01


def tables(sources: int, head: Callable[..., None], row: Callable[..., None]) -> list[str]:
    """Print the tables of fields with `sources` sources; what breaks its bound."""
    broken: list[str] = []
    for kind, (density, faintest) in KINDS.items():
        number = round(density * SIDES[kind] ** 2)
        seeds = range(-(-sources // number))
        fields = [simulate_stars(SIDES[kind], number, seed, faintest=faintest) for seed in seeds]
        ours, stars, seconds = zip(*(of_ours(field) for field in fields), strict=True)
        others = {"SExtractor and PSFEx": [of_sextractor(field) for field in fields]}
        others["photutils, PSFPhotometry"] = [of_photutils(field) for field in fields]
        compared, bounds = Compared.joined(list(ours)), BOUNDS[kind]
        share = float(np.average(stars))
        head(f"{kind}, {len(seeds)} fields of {number} sources", "value", "bound")
        row("stars chosen that are stars", share, f"{1 - MOST_STARS_THAT_ARE_NONE}")
        row("time a source, ms", 1000 * sum(seconds) / len(compared.true), "-")
        if share < 1 - MOST_STARS_THAT_ARE_NONE:
            broken.append(f"{kind}, stars chosen: {share:.3f}")
        head(f"{kind}: fluxes of stars", *(name for name, *_ in FLUXES))
        values = [getattr(compared, what)("flux_psf", *snr) for _, what, *snr in FLUXES]
        broken += _broken(kind, bounds, dict(zip((name for name, *_ in FLUXES), values, strict=True)))
        row("ours, flux_psf", *values)
        row("bounds", *(f"{low:g} to {high:g}" for low, high in (bounds[name] for name, *_ in FLUXES)))
        row("ours, flux_auto", *_fluxes(compared, "flux_auto"))
        apertures = [name for name in compared.columns if name.startswith("flux_aper") and not name.endswith("err")]
        best = min(apertures, key=lambda name: compared.scatter(name, 50, 200))
        row(f"ours, {best}, its loss made up", "-", *_fluxes(compared, best)[1:3], "-", "-")
        for name, parts in others.items():
            joined = Compared.joined([part for part, _ in parts])
            row(
                f"{name}, {1000 * sum(s for _, s in parts) / len(joined.true):.2f} ms a source",
                *_fluxes(joined, "flux_psf"),
            )
        ranges = ((5, 10), (10, 20), (20, 50))
        head(f"{kind}: star or galaxy, area under the curve", *(f"snr {low}-{high}" for low, high in ranges))
        areas = [compared.area_under_curve("spread", *snr) for snr in ranges]
        broken += _broken(kind, bounds, {f"{low}-{high}": a for (low, high), a in zip(ranges, areas, strict=True)})
        row("ours, spread", *areas)
        row("bounds, at least", *(bounds[f"{low}-{high}"][0] for low, high in ranges))
        row("ours, flux_radius", *(compared.area_under_curve("flux_radius", *snr) for snr in ranges))
        theirs = Compared.joined([part for part, _ in others["SExtractor and PSFEx"]])
        for name, title in (("spread", "SPREAD_MODEL"), ("class_galaxy", "CLASS_STAR with the right seeing")):
            row(f"SExtractor, {title}", *(theirs.area_under_curve(name, *snr) for snr in ranges))
    return broken


def _broken(kind: str, bounds: dict[str, tuple[float, float]], values: dict[str, float]) -> list[str]:
    return [
        f"{kind}, {name}: {value:.4f}, not from {bounds[name][0]:g} to {bounds[name][1]:g}"
        for name, value in values.items()
        if not bounds[name][0] <= value <= bounds[name][1]
    ]


def _fluxes(compared: Compared, flux: str) -> list[float | str]:
    has_error = f"{flux}_err" in compared.columns
    return [getattr(compared, what)(flux, *snr) if what != "pull" or has_error else "-" for _, what, *snr in FLUXES]


def of_ours(field: Field) -> tuple[Compared, float, float]:
    """What we measured, the share of the PSF's stars that are stars, and the seconds that the PSF and its fit took."""
    result = se.extract(field.pixels, gain=1, psf=True, apertures=APERTURES)
    table = result.to_pandas()
    columns = {name: table[name].to_numpy() for name in table if name != "image"}
    compared = Compared.of(columns, field)
    rows = result._steps.psf_stars.label - 1
    seconds = result._steps.log.seconds
    are_stars = (compared.known & ~compared.true["galaxy"])[rows].mean()
    return compared, float(are_stars), seconds["Making the PSF"] + seconds["Fitting the PSF to the sources"]


def of_sextractor(field: Field) -> tuple[Compared, float]:
    """With the PSF that PSFEx makes of its first catalog, linear in x and y. The seconds are the second run's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fits.writeto(folder / "image.fits", field.pixels)
        (folder / "kernel").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
        (folder / "none").touch()
        common = {
            "PARAMETERS_NAME": "columns", "FILTER_NAME": "kernel", "PHOT_APERTURES": "20", "GAIN": "1",
            "VERBOSE_TYPE": "QUIET", "STARNNW_NAME": NETWORK, "SEEING_FWHM": str(FWHM), "PIXEL_SCALE": "1",
        }  # fmt: skip
        (folder / "columns").write_text("\n".join([*COLUMNS.split(), "VIGNET(35,35)"]))
        _run("source-extractor", folder, "image.fits", common | {"CATALOG_NAME": "a.cat", "CATALOG_TYPE": "FITS_LDAC"})
        _run("psfex", folder, "a.cat", {
            "PSFVAR_DEGREES": "1", "PSF_SIZE": "31,31", "CHECKPLOT_TYPE": "NONE", "CHECKIMAGE_TYPE": "NONE",
            "WRITE_XML": "N", "VERBOSE_TYPE": "QUIET",
        })  # fmt: skip
        more = ["FLUX_PSF", "FLUXERR_PSF", "SPREAD_MODEL"]
        (folder / "columns").write_text("\n".join([*COLUMNS.split(), *more]))
        started = time.perf_counter()
        _run("source-extractor", folder, "image.fits",
             common | {"CATALOG_NAME": "b.cat", "CATALOG_TYPE": "FITS_1.0", "PSF_NAME": "a.psf"})  # fmt: skip
        seconds = time.perf_counter() - started
        table = Table.read(folder / "b.cat")
    get = {name: np.asarray(table[name], dtype=np.float64) for name in table.colnames}
    columns = {
        "x": get["X_IMAGE"] - 1, "y": get["Y_IMAGE"] - 1, "flux_psf": get["FLUX_PSF"],
        "flux_psf_err": get["FLUXERR_PSF"], "snr": get["FLUX_AUTO"] / get["FLUXERR_AUTO"],
        "spread": get["SPREAD_MODEL"], "class_galaxy": -get["CLASS_STAR"],
    }  # fmt: skip
    return Compared.of(columns, field), seconds


def of_photutils(field: Field) -> tuple[Compared, float]:
    """With the PSF that was drawn, at our positions, in groups, on our background."""
    from photutils.psf import MoffatPSF, PSFPhotometry, SourceGrouper

    result = se.extract(field.pixels)
    table = result.to_pandas()
    data = np.asarray(result.background_subtracted, dtype=np.float64)
    core = FWHM / (2 * np.sqrt(2 ** (1 / 3) - 1))
    psf = MoffatPSF(alpha=core, beta=3.0)
    start = Table({"x": table["x_win"], "y": table["y_win"], "flux": table["flux_auto"]})
    error = np.sqrt(result.background_rms.astype(np.float64) ** 2 + np.maximum(data, 0))
    fit = PSFPhotometry(psf, (9, 9), grouper=SourceGrouper(2 * FWHM), aperture_radius=3)
    started = time.perf_counter()
    found = fit(data, error=error, init_params=start)
    seconds = time.perf_counter() - started
    columns = {
        "x": table["x"].to_numpy(), "y": table["y"].to_numpy(), "snr": table["snr"].to_numpy(),
        "flux_psf": np.asarray(found["flux_fit"], dtype=np.float64),
        "flux_psf_err": np.asarray(found["flux_err"], dtype=np.float64),
    }  # fmt: skip
    return Compared.of(columns, field), seconds


def _run(program: str, folder: Path, file: str, settings: dict[str, str]) -> None:
    options = [part for name, value in settings.items() for part in (f"-{name}", value)]
    subprocess.run([str(shutil.which(program)), file, "-c", "none", *options], cwd=folder, check=True)
