"""Compare with SExtractor what is found in images of few distinct values, and how often it is none.

python benchmarks/few_values.py [IMAGE ...]

Ten images of each kind, stored as whole numbers and as these times 3, 10, 0.7 and powers of two in float32; SExtractor
(Debian's source-extractor) has the whole numbers. Of a real IMAGE nobody knows the sources: "right" are those that
SExtractor finds as well.
"""

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
from source_extraction import extract  # noqa: E402
from tests.few_valued_skies import FewValued, Found, eight_bit, photon_counts, tally  # noqa: E402

SEEDS = range(10)
KINDS: dict[str, Callable[[int], FewValued]] = {
    "photons, 0.01 a pixel, 64 stars": lambda seed: photon_counts(0.01, seed),
    "photons, 0.05 a pixel, 64 stars": lambda seed: photon_counts(0.05, seed),
    "photons, 0.2 a pixel, 64 stars": lambda seed: photon_counts(0.2, seed),
    "photons, 0.5 a pixel, 64 stars": lambda seed: photon_counts(0.5, seed),
    "photons, 1 a pixel, 64 stars": lambda seed: photon_counts(1.0, seed),
    "photons, 0.05 a pixel, none": lambda seed: photon_counts(0.05, seed, stars=False),
    "8 bits, noise 0.25, 25 spots": lambda seed: eight_bit(0.25, seed),
    "8 bits, noise 0.4, 25 spots": lambda seed: eight_bit(0.4, seed),
    "8 bits, noise 0.3 at 12.5, 25 spots": lambda seed: eight_bit(0.3, seed, background=12.5),
    "8 bits, noise 0.25, none": lambda seed: eight_bit(0.25, seed, spots=False),
}
THRESHOLDS = (3.0, 4.0)
SCALES = (1, 3, 10, 0.7, 2.0**-10, 2.0**-3, 2.0**5)


def main(images: list[str]) -> None:
    print(f"{'':37}{'thresh':>6}{'SExtractor':>16}", *(f"{f'x {scale:g}':>14}" for scale in SCALES))
    print(f"{'':37}{'':6}{'right, false':>16}", *(f"{'right, false':>14}" for _ in SCALES))
    for kind, make in KINDS.items():
        for thresh in THRESHOLDS:
            skies = [make(seed) for seed in SEEDS]
            row(kind, thresh, skies)
    for name in images:
        for thresh in (1.5, *THRESHOLDS):
            pixels = fits.getdata(name).astype(np.int32)
            row(Path(name).name, thresh, [FewValued(pixels, sextractor(pixels, thresh))])


def row(kind: str, thresh: float, skies: list[FewValued]) -> None:
    theirs = total([tally(sextractor(sky.pixels, thresh), sky.positions) for sky in skies])
    ours = [total([tally(found(sky.pixels, scale, thresh), sky.positions) for sky in skies]) for scale in SCALES]
    print(f"{kind:37}{thresh:6g}{words(theirs):>16}", *(f"{words(each):>14}" for each in ours))


def found(pixels: np.ndarray, scale: float, thresh: float) -> np.ndarray:
    """The positions that this tool finds."""
    scaled = pixels if scale == 1 else (pixels * np.float64(scale)).astype(np.float32)
    catalog = extract(scaled, thresh=thresh).to_pandas()
    return catalog[["x", "y"]].to_numpy()


def sextractor(pixels: np.ndarray, thresh: float) -> np.ndarray:
    """The positions that SExtractor finds, counted from 0."""
    with tempfile.TemporaryDirectory() as name:
        folder, settings = Path(name), REPOSITORY / "tests" / "sextractor"
        fits.writeto(folder / "image.fits", pixels.astype(np.int32))
        (folder / "columns.param").write_text("X_IMAGE\nY_IMAGE\n")
        command = ["source-extractor", "image.fits", "-c", settings / "sky.sex", "-PARAMETERS_NAME", "columns.param"]
        command += ["-FILTER_NAME", settings / "sky.conv", "-CATALOG_NAME", "catalog", "-CATALOG_TYPE", "ASCII_HEAD"]
        command += ["-DETECT_THRESH", str(thresh), "-ANALYSIS_THRESH", str(thresh), "-VERBOSE_TYPE", "QUIET"]
        subprocess.run(command, check=True, cwd=folder, stderr=subprocess.DEVNULL)
        catalog = Table.read(folder / "catalog", format="ascii.sextractor")
    return np.column_stack([catalog["X_IMAGE"], catalog["Y_IMAGE"]]) - 1 if len(catalog) else np.empty((0, 2))


def total(tallies: list[Found]) -> Found:
    return Found(*(sum(values) for values in zip(*tallies, strict=True)))


def words(number: Found) -> str:
    return f"{number.right}, {number.false}"


if __name__ == "__main__":
    main(sys.argv[1:])
