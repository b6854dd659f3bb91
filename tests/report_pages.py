"""Pages of runs of all kinds, made once for the tests of what is in them and of what they do in a browser."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import source_extraction as se
from tests.conftest import TEST_DATA
from tests.simulated_sky import simulate

# Names that would be obeyed where they are not escaped.
NAME = "</script><script>document.title='obeyed'</script><img src=x onerror=document.title='obeyed'>"
EXTNAME = "<IMG SRC=X ONERROR=document.title='obeyed'>"
UNIT = '"><b onclick=x>adu'
# A field of SIDE x SIDE pixels, COPIES x COPIES times side by side, is as crowded as it takes a fraction of the time.
SIDE, COPIES, INJECTED = 815, 5, 6400

_made: dict[str, Path] = {}


def make_page(kind: str, folders: pytest.TempPathFactory) -> Path:
    """The page of a run of a kind, beside its catalog.tsv."""
    if kind not in _made:
        folder = folders.mktemp(kind)
        result = {
            "sky": lambda: se.extract(TEST_DATA / "sky.fits", zeropoint=25, saturation=7000),
            "empty": lambda: se.extract(TEST_DATA / "blank.fits", thresh=100),
            "tiff": lambda: se.extract(TEST_DATA / "sky.tiff"),
            "plane": lambda: se.extract(TEST_DATA / "planes.fits", hdu="SCI", plane=1, thresh=4),
            "hostile": lambda: se.extract(_hostile(folder), name=NAME),
            "crowded": lambda: se.extract(_crowded(), threads=2),
        }[kind]()
        _made[kind] = result.write(folder, "catalog.tsv,report.html")[-1]
    return _made[kind]


def _hostile(folder: Path) -> Path:
    """The shipped sky in an HDU that has such a name and such a unit."""
    header = fits.getheader(TEST_DATA / "sky.fits")
    hdu = fits.ImageHDU(fits.getdata(TEST_DATA / "sky.fits"), header)
    hdu.header["EXTNAME"], hdu.header["BUNIT"] = EXTNAME, UNIT
    path = folder / "hostile.fits"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path


def _crowded() -> np.ndarray:
    """More than 75,000 sources."""
    field = simulate((SIDE, SIDE), INJECTED, seed=1, faintest=400.0, fwhm=2.4, galaxies=0.05)
    return np.tile(field.pixels, (COPIES, COPIES))
