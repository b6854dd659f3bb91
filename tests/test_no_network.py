"""Nothing opens a connection: neither to look for tables, nor for anything else."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from tests.conftest import REPOSITORY, TEST_DATA, read_catalog

# Processes of one run talk through sockets of the system, which lead nowhere else.
BLOCKED = """
import socket, sys

class Blocked(socket.socket):
    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):
        if fileno is None and family not in (getattr(socket, "AF_UNIX", None),):
            refuse(family)
        super().__init__(family, type, proto, fileno)

def refuse(*what, **_):
    print("NETWORK", what, file=sys.stderr)
    raise OSError("there is no network")

socket.socket = Blocked
socket.getaddrinfo = socket.create_connection = socket.gethostbyname = refuse
"""
# The tables that astropy comes with are out of date.
LATE = """
from astropy.time import Time
from astropy.utils.iers import iers
iers.LeapSeconds._today = classmethod(lambda _: Time("2090-01-01", scale="tai"))
"""
RUN = "from source_extraction.faces.source_extractor import program\nprogram()\n"
PRODUCTS = (
    "catalog.tsv,catalog.fits,catalog.ecsv,catalog.vot,background.fits,background_subtracted.fits,image.png,sources.png,"
    "sources.reg,diagnostics.png,report.html,summary.json"
)


def of_1950(path: Path, date: str) -> Path:
    """The shipped sky in coordinates of another equinox, with a date."""
    pixels, header = fits.getdata(TEST_DATA / "sky.fits", header=True)
    header["RADESYS"], header["EQUINOX"] = "FK4", 1950.0
    header["DATE-OBS"] = date
    fits.writeto(path, pixels, header)
    return path


@pytest.mark.parametrize("date", ["2020-06-01T12:00:00", "2090-06-01T12:00:00"])
@pytest.mark.parametrize("late", ["", LATE], ids=["today", "late"])
def test_no_connection(tmp_path: Path, date: str, late: str) -> None:
    image = of_1950(tmp_path / "image.fits", date)
    run = subprocess.run(
        [sys.executable, "-c", BLOCKED + late + RUN, image, "--output_dir", tmp_path, "--outputs", PRODUCTS],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr) == (0, "")
    catalog = read_catalog(tmp_path)
    assert np.isfinite(catalog[["ra", "dec"]]).all(axis=None)


def test_the_user_s_settings_stay(tmp_path: Path) -> None:
    """A notebook may be online before and after."""
    image = of_1950(tmp_path / "image.fits", "2090-06-01T12:00:00")
    code = f"""
from astropy.utils import data, iers
before = dict(auto=iers.conf.auto_download, age=iers.conf.auto_max_age, net=data.conf.allow_internet)
import source_extraction as se
se.extract({str(image)!r}).to_pandas().to_csv({str(tmp_path / "catalog.csv")!r})
assert before == dict(auto=iers.conf.auto_download, age=iers.conf.auto_max_age, net=data.conf.allow_internet)
assert before == dict(auto=True, age=30, net=True), before
assert iers.conf.iers_degraded_accuracy == "error"
"""
    subprocess.run([sys.executable, "-c", BLOCKED + code], cwd=REPOSITORY, check=True)
    assert np.isfinite(pd.read_csv(tmp_path / "catalog.csv")[["ra", "dec"]]).all(axis=None)
