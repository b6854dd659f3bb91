"""Count what each way to threshold finds in pure noise, where every source is false.

python benchmarks/false_sources.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

SCRIPT = Path(__file__).resolve().parents[1] / "source_extractor.py"
WAYS = (
    "--err_option float_globalrms",
    "--err_option array_rms --filter_type conv",
    "--err_option array_rms --filter_type matched",
    "--filter_case none",
)
THRESHOLDS = (1.5, 2, 3, 4)


def main() -> None:
    print(f"{'false sources at a threshold of':45}", *(f"{thresh:>6}" for thresh in THRESHOLDS))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        noise = np.random.default_rng(1).normal(0, 1, (1024, 1024)).astype(np.float32)
        fits.writeto(folder / "noise.fits", noise)
        for way in WAYS:
            numbers = [count(folder, *way.split(), "--thresh", str(thresh)) for thresh in THRESHOLDS]
            print(f"{way:45}", *(f"{number:>6}" for number in numbers))


def count(folder: Path, *options: str) -> int:
    """The number of rows of the catalog."""
    command = [sys.executable, SCRIPT, folder / "noise.fits", "--output_dir", folder, "--outputs", "catalog.tsv"]
    subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
    return len((folder / "catalog.tsv").read_text().splitlines()) - 1


if __name__ == "__main__":
    main()
