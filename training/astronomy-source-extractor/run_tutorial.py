"""Do what the tutorial does; say which numbers come out.

    python run_tutorial.py                 print the numbers, and where the text has others
    python run_tutorial.py --write         write them into tutorial.md, and the pictures into images/
    python run_tutorial.py --data FOLDER   write the datasets of the tutorial, for Zenodo

In the text every number is followed by a comment with its name: 142<!-- sources -->. Needs the package
source-extraction, and the folder test-data of its repository, with a simulated sky whose truth is known.
"""

import re
import shutil
import sqlite3
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from astropy.io import fits
from astropy.wcs import WCS
from scipy.spatial import cKDTree

FOLDER = Path(__file__).resolve().parent
TUTORIAL, IMAGES = FOLDER / "tutorial.md", FOLDER / "images"
REPOSITORY = FOLDER.parents[1]
TEST_DATA = REPOSITORY / "test-data"
sys.path.insert(0, str(REPOSITORY))

from source_extraction import Result, extract, extract_many  # noqa: E402

NUMBER = re.compile(r"(-?[0-9][0-9,.]*[0-9]|[0-9])<!-- ([a-z0-9_.]+) -->")
SEED = 20
SAME_SOURCE = 2.5  # pixels, an arcsecond on the simulated sky
HOT_PIXELS, TRACKS = 12, 6

# The choices of the text.
LOW = {"thresh": 0.9, "minarea": 2}
HIGH = {"thresh": 10}
FINE = {"bw": 8, "bh": 8}
NUCLEI = {
    "err_option": "none",
    "thresh": 40,
    "minarea": 30,
    "filter_case": "none",
    "subtract_background": False,
    "deblend_cont": 0.01,
}
PLANES, NUCLEUS_RADIUS, PLANES_APART = 8, 12, 4  # the last two in pixels


@dataclass
class Run:
    """What was made of the datasets in a folder."""

    folder: Path
    first: Result
    second: Result
    low: Result
    high: Result
    fine: Result
    with_artefacts: Result
    bands: list[Result]
    nuclei: list[Result]
    matched: pd.DataFrame

    @property
    def truth(self) -> pd.DataFrame:
        return pd.read_csv(TEST_DATA / "sky_truth.tsv", sep="\t")


def write_datasets(folder: Path) -> None:
    """The files that a reader of the tutorial uploads."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(TEST_DATA / "sky.fits", folder / "sky.fits")
    pixels, header = fits.getdata(folder / "sky.fits", header=True)
    header["OBJECT"] = "simulated sky with artefacts"
    fits.writeto(folder / "artefacts.fits", add_artefacts(pixels), header, overwrite=True)
    tifffile.imwrite(folder / "bands.tiff", bands(pixels), photometric="rgb", planarconfig="separate")
    reference(WCS(header), pixels.shape).to_csv(folder / "reference.tsv", sep="\t", index=False, float_format="%.7f")
    tifffile.imwrite(folder / "nuclei.tiff", nuclei()[0], photometric="minisblack", compression="deflate")


def add_artefacts(pixels: np.ndarray) -> np.ndarray:
    """The sky with single hot pixels, short tracks of cosmic rays, and the trail of a satellite."""
    random = np.random.default_rng(SEED)
    height, width = pixels.shape
    spoilt = pixels.copy()
    rows, columns = np.indices(pixels.shape)
    spoilt += 60 * np.exp(-((rows - 40 - 0.55 * columns) ** 2) / (2 * 1.5**2 * (1 + 0.55**2)))
    for row, column in zip(*hot_pixels(), strict=True):
        spoilt[row, column] += 3000
    for _ in range(TRACKS):
        row, column, angle = random.uniform(20, height - 20), random.uniform(20, width - 20), random.uniform(0, np.pi)
        along = np.linspace(-5, 5, 41)
        track = np.zeros(pixels.shape, bool)
        track[np.rint(row + along * np.sin(angle)).astype(int), np.rint(column + along * np.cos(angle)).astype(int)] = 1
        spoilt[track] += 400
    return spoilt


def hot_pixels() -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns."""
    random = np.random.default_rng(SEED + 1)
    return random.integers(10, 350, HOT_PIXELS), random.integers(10, 470, HOT_PIXELS)


def bands(pixels: np.ndarray) -> np.ndarray:
    """Red, green and blue, in which the same sky has less and less light."""
    random = np.random.default_rng(SEED)
    return np.stack([random.poisson(pixels * share) for share in (1, 0.5, 0.2)]).astype(np.uint16)


def reference(wcs: WCS, shape: tuple[int, int]) -> pd.DataFrame:
    """A table as an archive has it: the brighter half of the true sources, 0.1 arcsec off, and as many elsewhere."""
    random = np.random.default_rng(SEED)
    truth = pd.read_csv(TEST_DATA / "sky_truth.tsv", sep="\t").nlargest(130, "flux")
    height, width = shape
    x = np.concatenate([truth["x"] + random.normal(0, 0.25, 130), random.uniform(0, width, 40)])
    y = np.concatenate([truth["y"] + random.normal(0, 0.25, 130), random.uniform(0, height, 40)])
    ra, dec = wcs.pixel_to_world_values(x, y)
    magnitude = np.concatenate([27.5 - 2.5 * np.log10(truth["flux"]), random.uniform(16, 20, 40)])
    table = pd.DataFrame({"ra": ra, "dec": dec, "mag": magnitude}).sort_values("ra", ignore_index=True)
    table.insert(0, "id", [f"R{number:03}" for number in table.index])
    return table


def nuclei() -> tuple[np.ndarray, np.ndarray]:
    """A stack (planes, height, width) of round nuclei on a dark ground, and how many each plane cuts."""
    random = np.random.default_rng(SEED)
    side, apart = 240, 40
    places = [(y, x) for y in range(30, side - 10, apart) for x in range(30, side - 10, apart)]
    depths = random.integers(0, PLANES, len(places))
    depths[random.random(len(places)) < 0.4] = -PLANES  # none there
    rows, columns = np.indices((side, side))
    stack = np.empty((PLANES, side, side), np.uint8)
    cut = np.zeros(PLANES, int)
    for plane in range(PLANES):
        light = random.normal(12, 3, (side, side))
        for (y, x), depth in zip(places, depths, strict=True):
            squared = NUCLEUS_RADIUS**2 - (PLANES_APART * (plane - depth)) ** 2
            if squared > 0:
                cut[plane] += 1
                light[np.hypot(rows - y, columns - x) < np.sqrt(squared)] += 120
        stack[plane] = np.clip(np.rint(light), 0, 255)
    return stack, cut


def query() -> str:
    """The cross-match of the text."""
    (box,) = re.findall(r"```sql\n(.*?)> *```", TUTORIAL.read_text(), re.DOTALL)
    return re.sub(r"^> ?", "", box, flags=re.MULTILINE)


def cross_match(catalog: pd.DataFrame, archive: pd.DataFrame) -> pd.DataFrame:
    """The query of the text in SQLite, the database in which Query Tabular runs it."""
    with sqlite3.connect(":memory:") as database:
        catalog.to_sql("t1", database, index=False)
        archive.to_sql("t2", database, index=False)
        return pd.read_sql(query(), database)


def run(folder: Path) -> Run:
    """Everything that the tutorial does, on datasets that are made anew."""
    write_datasets(folder)
    sky = folder / "sky.fits"
    first = extract(sky, psf=True)
    first.write(folder, "bright_mask.fits,catalog.tsv")
    archive = pd.read_csv(folder / "reference.tsv", sep="\t")
    stack = tifffile.imread(folder / "nuclei.tiff")
    return Run(
        folder,
        first,
        second=extract(sky, mask=folder / "bright_mask.fits"),
        low=extract(sky, **LOW),
        high=extract(sky, **HIGH),
        fine=extract(sky, **FINE),
        with_artefacts=extract(folder / "artefacts.fits", psf=True),
        bands=[extract(folder / "bands.tiff", plane=plane) for plane in range(3)],
        nuclei=list(extract_many(stack, on_error="raise", **NUCLEI)),
        matched=cross_match(first.to_pandas().reset_index(), archive),
    )


def sort(result: Result) -> pd.Series:
    """What the three filters of the text take each source for; "faint" is what none of them takes."""
    table = result.to_pandas()
    artefact = ((table["snr"] > 10) & (table["fwhm"] < 2.5)) | (table["elongation"] > 3.5)
    bright = (table["snr"] > 10) & ~artefact
    larger = table["spread"] > 0.003 + 3 * table["spread_err"]
    kinds = np.select([artefact, bright & larger, bright], ["artefact", "galaxy", "star"], "faint")
    return pd.Series(kinds, table.index)


def nearest(table: pd.DataFrame, truth: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """How far the nearest true source is, and its row."""
    return cKDTree(truth[["x", "y"]]).query(table[["x", "y"]])


def cells_of(table: pd.DataFrame, shape: tuple[int, int]) -> np.ndarray:
    """For every pixel the row of the source that is nearest."""
    rows, columns = np.indices(shape)
    return cKDTree(np.rint(table[["x", "y"]])).query(np.stack([columns, rows], axis=-1))[1]


def numbers(done: Run) -> dict[str, str]:
    """The numbers of the text by their names, as they are written there."""
    first, truth = done.first.to_pandas(), done.truth
    height, width = done.first.segmentation.shape
    summary = done.first.summary
    found: dict[str, float | str] = {
        "width": width,
        "height": height,
        "put_in": len(truth),
        "sources": len(first),
        "background": f"{summary['background']['global']:.1f}",
        "rms": f"{summary['background']['rms']:.1f}",
        "threshold": f"{summary['threshold']['median']:.1f}",
        "negated": summary["counts"]["detections_on_the_negated_image"],
        "real": (nearest(first, truth)[0] < SAME_SOURCE).sum(),
        "low.sources": len(done.low),
        "low.negated": done.low.summary["counts"]["detections_on_the_negated_image"],
        "low.thresh": done.low.advice[0].change["thresh"],
        "high.sources": len(done.high),
        "mesh.highest": f"{done.first.background.max():.0f}",
        "fine.highest": f"{done.fine.background.max():.0f}",
        "masked": int(done.second.summary["image"]["masked_pixels"]),
        "second.sources": len(done.second),
    }
    areas = np.bincount(cells_of(first, (height, width)).ravel(), minlength=len(first))
    found |= {
        "cells": np.count_nonzero(areas),
        "cell.mean": round(areas.mean()),
        "cell.median": round(np.median(areas)),
        "cell.least": areas.min(),
        "cell.most": areas.max(),
    }
    found |= {f"{name}.sources": len(band) for name, band in zip(("red", "green", "blue"), done.bands, strict=True)}
    catalog = (done.folder / "catalog.tsv").read_text().partition("\n")[0].split("\t")
    for name in ("snr", "flux_radius", "fwhm", "elongation", "spread", "spread_err"):
        found[f"column.{name}"] = catalog.index(name) + 1
    return {
        name: f"{value:,}" if isinstance(value, int | np.integer) else str(value) for name, value in found.items()
    } | {
        **numbers_of_kinds(done),
        **numbers_of_the_match(done),
        **numbers_of_the_stack(done),
    }


def numbers_of_kinds(done: Run) -> dict[str, str]:
    kinds, table, truth = sort(done.with_artefacts), done.with_artefacts.to_pandas(), done.truth
    distance, row = nearest(table, truth)
    is_galaxy = truth["galaxy"].to_numpy()[row] == 1
    known = distance < SAME_SOURCE
    hot = cKDTree(np.column_stack(hot_pixels()[::-1])).query(table[["x", "y"]])[0] < 1
    large = (table["snr"] > 10) & (kinds != "artefact") & (table["flux_radius"] > 2.8)
    found = {
        "spoilt.sources": len(table),
        "psf.stars": done.with_artefacts.summary["psf"]["stars"],
        "psf.fwhm": f"{done.with_artefacts.summary['psf']['fwhm']:.2f}",
        "sharp": f"{0.7 * done.with_artefacts.summary['psf']['fwhm']:.1f}",
        "hot": HOT_PIXELS,
        "hot.sorted": (hot & (kinds == "artefact")).sum(),
        "tracks": TRACKS,
        "long": ((kinds == "artefact") & ~hot).sum(),
        "faint": (kinds == "faint").sum(),
        "stars": (kinds == "star").sum(),
        "galaxies": (kinds == "galaxy").sum(),
        "artefacts": (kinds == "artefact").sum(),
        "stars.right": ((kinds == "star") & known & ~is_galaxy).sum(),
        "galaxies.right": ((kinds == "galaxy") & known & is_galaxy).sum(),
        "galaxies.bright": (kinds.isin(["star", "galaxy"]) & known & is_galaxy).sum(),
        "large": large.sum(),
        "large.right": (large & known & is_galaxy).sum(),
    }
    return {name: str(value) for name, value in found.items()}


def numbers_of_the_match(done: Run) -> dict[str, str]:
    archive = pd.read_csv(done.folder / "reference.tsv", sep="\t")
    elsewhere = archive.assign(dec=archive["dec"] + 10 / 3600)
    by_chance = cross_match(done.first.to_pandas().reset_index(), elsewhere)
    separation = np.sqrt(done.matched["squared"])
    return {
        "archive": str(len(archive)),
        "matched": str(len(done.matched)),
        "matched.sources": str(done.matched["label"].nunique()),
        "unmatched": str(len(done.first) - done.matched["label"].nunique()),
        "separation": f"{separation.median():.2f}",
        "by_chance": str(len(by_chance)),
    }


def numbers_of_the_stack(done: Run) -> dict[str, str]:
    counts = [len(result) for result in done.nuclei]
    best = int(np.argmax(counts))
    return {
        "planes": str(len(counts)),
        "objects": str(sum(counts)),
        "best.plane": str(best),
        "best.objects": str(counts[best]),
        "first.objects": str(counts[0]),
        "seen_in": str(1 + 2 * ((NUCLEUS_RADIUS - 1) // PLANES_APART)),
    }


def wrong_numbers(text: str, right: dict[str, str]) -> list[str]:
    """What is wrong with the numbers of a text, a sentence each."""
    marked = NUMBER.findall(text)
    wrong = [
        f"{name} is {right.get(name, 'no number')}, not {value}" for value, name in marked if right.get(name) != value
    ]
    return wrong + [
        f"{name} ({right[name]}) is not in the text" for name in sorted(set(right) - {n for _, n in marked})
    ]


def main() -> int:
    match sys.argv[1:]:
        case ["--data", folder]:
            write_datasets(Path(folder))
            return 0
        case [] | ["--write"]:
            pass
        case _:
            print(__doc__)
            return 2
    with tempfile.TemporaryDirectory() as folder:
        done = run(Path(folder))
        right = numbers(done)
        text = TUTORIAL.read_text()
        if sys.argv[1:]:
            text = NUMBER.sub(lambda found: f"{right.get(found[2], found[1])}<!-- {found[2]} -->", text)
            TUTORIAL.write_text(text)
            from tutorial_pictures import draw

            draw(done, IMAGES)
    for name, value in right.items():
        print(f"{name} {value}")
    wrong = wrong_numbers(text, right)
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
