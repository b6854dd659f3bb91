"""The catalog is SExtractor's: held to the one that SExtractor 2.25 made of the same sky (tests/sextractor)."""

import numpy as np
import pandas as pd
import pytest
import sep
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from photutils.aperture import CircularAperture

from source_extraction import Result, extract
from tests.conftest import REPOSITORY, TEST_DATA, read_catalog, succeed

REFERENCE = REPOSITORY / "tests" / "sextractor" / "sky.cat"
SAME_SOURCE = 0.5  # pixels
BRIGHT = 20  # signal-to-noise ratio


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Table]:
    """Our row and SExtractor's of every source, in the same order."""
    folder = tmp_path_factory.mktemp("sextractor")
    options = ("--gain", "2", "--zeropoint", "25", "--apertures", "5,10", "--outputs", "catalog.tsv")
    options = (*options, "--no-correlated_noise")
    succeed(TEST_DATA / "sky.fits", *options, folder=folder)
    ours, theirs = read_catalog(folder), Table.read(REFERENCE, format="ascii.sextractor")
    distance = np.hypot(
        ours["x"].to_numpy()[:, None] + 1 - np.asarray(theirs["X_IMAGE"]),
        ours["y"].to_numpy()[:, None] + 1 - np.asarray(theirs["Y_IMAGE"]),
    )
    assert len(ours) == len(theirs) == (distance.min(axis=0) < SAME_SOURCE).sum() == 142
    return ours, theirs[distance.argmin(axis=1)]


@pytest.fixture(scope="module")
def isolated(pairs: tuple[pd.DataFrame, Table]) -> np.ndarray:
    """True where neither has a flag: no blend, no neighbour, no edge."""
    ours, theirs = pairs
    chosen = ((ours["flag"] == 0) & (ours["flag_phot"] == 0)).to_numpy() & (np.asarray(theirs["FLAGS"]) == 0)
    assert chosen.sum() > 80
    return chosen


@pytest.fixture(scope="module")
def bright(pairs: tuple[pd.DataFrame, Table]) -> np.ndarray:
    """True above a S/N of 20, blends and all."""
    chosen = np.asarray(pairs[1]["FLUX_AUTO"] / pairs[1]["FLUXERR_AUTO"]) > BRIGHT
    assert chosen.sum() > 40
    return chosen


def differences(ours: pd.Series, theirs: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Relative differences, absolute values."""
    return np.abs(ours.to_numpy()[which] / np.asarray(theirs, dtype=float)[which] - 1)


@pytest.mark.parametrize("kind", ["", "win"])
def test_positions(pairs: tuple[pd.DataFrame, Table], isolated: np.ndarray, kind: str) -> None:
    ours, theirs = pairs
    dx, dy = (
        ours[axis + ("_win" if kind else "")] + 1 - np.asarray(theirs[f"{axis}{kind}_image".upper()]) for axis in "xy"
    )
    away = np.hypot(dx, dy)[isolated]
    assert np.median(away) < 0.001
    assert np.percentile(away, 95) < 0.01


def test_windowed_positions_of_all(pairs: tuple[pd.DataFrame, Table]) -> None:
    """Blends, neighbours and all: what is a neighbour's counts for neither."""
    ours, theirs = pairs
    away = np.hypot(*(ours[f"{axis}_win"] + 1 - np.asarray(theirs[f"{axis}win_image".upper()]) for axis in "xy"))
    assert np.percentile(away, 90) < 0.02
    assert np.percentile(away, 95) < 0.05


def test_sky_positions(pairs: tuple[pd.DataFrame, Table]) -> None:
    ours, theirs = pairs
    arcsec = 3600 * np.hypot(
        (ours["ra"] - np.asarray(theirs["ALPHA_J2000"])) * np.cos(np.radians(ours["dec"])),
        ours["dec"] - np.asarray(theirs["DELTA_J2000"]),
    )
    # SExtractor prints 7 digits, 0.4 milliarcsec.
    assert np.percentile(arcsec, 95) < 0.001


def test_auto_fluxes(pairs: tuple[pd.DataFrame, Table], bright: np.ndarray) -> None:
    ours, theirs = pairs
    away = differences(ours["flux_auto"], theirs["FLUX_AUTO"], bright)
    assert np.median(away) < 0.005
    assert np.percentile(away, 95) < 0.05
    # Magnitudes are printed with 4 digits.
    magnitudes = np.abs(ours["mag_auto"] - np.asarray(theirs["MAG_AUTO"]))[bright]
    assert np.median(magnitudes) < 0.0001
    assert np.percentile(magnitudes, 95) < 0.05


@pytest.mark.parametrize(
    ("column", "theirs_column", "most"),
    [
        ("flux_aper_5", "FLUX_APER", 0.001),
        ("flux_aper_10", "FLUX_APER_1", 0.001),
        ("flux_iso", "FLUX_ISO", 0.001),
        ("flux_radius", "FLUX_RADIUS", 0.01),
        ("kron_radius", "KRON_RADIUS", 0.002),  # printed with 2 digits
        ("a", "A_IMAGE", 0.001),
        ("b", "B_IMAGE", 0.001),
        ("elongation", "ELONGATION", 0.001),
        ("flux_auto_err", "FLUXERR_AUTO", 0.05),
        ("flux_iso_err", "FLUXERR_ISO", 0.05),
        ("mag_auto_err", "MAGERR_AUTO", 0.05),
    ],
)
def test_medians(
    pairs: tuple[pd.DataFrame, Table], isolated: np.ndarray, column: str, theirs_column: str, most: float
) -> None:
    assert np.median(differences(pairs[0][column], pairs[1][theirs_column], isolated)) < most


@pytest.mark.parametrize(("diameter", "theirs_column"), [(5, "FLUXERR_APER"), (10, "FLUXERR_APER_1")])
def test_errors_in_circles(
    pairs: tuple[pd.DataFrame, Table], isolated: np.ndarray, diameter: int, theirs_column: str
) -> None:
    """SExtractor adds up the overlap of pixels in part in a circle, where the variance has its square."""
    ours, theirs = pairs
    of_sky = ours[f"flux_aper_{diameter}_err"] ** 2 - ours[f"flux_aper_{diameter}"].clip(lower=0) / 2
    x, y = (ours[axis].to_numpy() for axis in "xy")
    circles = CircularAperture(np.transpose((x, y)), diameter / 2).to_mask(method="exact")
    shares = np.array([(overlap.data**2).sum() / overlap.data.sum() for overlap in circles])
    corrected = np.sqrt(of_sky / shares + ours[f"flux_aper_{diameter}"].clip(lower=0) / 2)
    assert np.median(differences(corrected, theirs[theirs_column], isolated)) < 0.05


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("kind", ["", "win"])
def test_errors_of_positions(pairs: tuple[pd.DataFrame, Table], isolated: np.ndarray, axis: str, kind: str) -> None:
    ours, theirs = pairs
    column, name = axis + ("_win_err" if kind else "_err"), f"err{axis}2{kind}_image".upper()
    away = differences(ours[column], np.sqrt(theirs[name]), isolated)
    assert np.median(away) < 0.05
    assert np.percentile(away, 95) < 0.15


def test_angles(pairs: tuple[pd.DataFrame, Table], isolated: np.ndarray) -> None:
    ours, theirs = pairs
    elongated = isolated & (ours["elongation"] > 1.2).to_numpy()
    assert elongated.sum() > 20
    angle = np.degrees(ours["theta"]).to_numpy()[elongated] - np.asarray(theirs["THETA_IMAGE"])[elongated]
    away = np.abs((angle + 90) % 180 - 90)
    assert np.median(away) < 0.01  # degrees, as printed


def test_angles_on_the_sky(pairs: tuple[pd.DataFrame, Table], isolated: np.ndarray) -> None:
    """SExtractor's differ by one term: in the variances east and north it counts the covariance of x and y once.

    In its astrom.c that is `lm0*lm1*dxy`, where J C J^T has twice as much; nothing on images with north along an axis.
    """
    ours, theirs = pairs
    elongated = isolated & (ours["elongation"] > 1.2).to_numpy()
    a, b, theta = (np.asarray(theirs[f"{name}_IMAGE"], dtype=float) for name in ("A", "B", "THETA"))
    cos, sin = np.cos(np.radians(theta)), np.sin(np.radians(theta))
    x2, y2, xy = (a * cos) ** 2 + (b * sin) ** 2, (a * sin) ** 2 + (b * cos) ** 2, (a**2 - b**2) * cos * sin
    (east_x, east_y), (north_x, north_y) = WCS(fits.getheader(TEST_DATA / "sky.fits")).pixel_scale_matrix
    for times, angle in ((1, theirs["THETA_J2000"]), (2, ours["theta_sky"])):
        east2 = east_x**2 * x2 + east_y**2 * y2 + times * east_x * east_y * xy
        north2 = north_x**2 * x2 + north_y**2 * y2 + times * north_x * north_y * xy
        both = east_x * north_x * x2 + east_y * north_y * y2 + (east_x * north_y + east_y * north_x) * xy
        away = np.degrees(np.arctan2(2 * both, north2 - east2)) / 2 - np.asarray(angle)
        # A and B are printed with 3 digits.
        assert np.abs((away + 90) % 180 - 90)[elongated].max() < 0.1


def off(ours: np.ndarray, theirs: np.ndarray, by: float) -> np.ndarray:
    """True where a value is off by more than that, relative to theirs."""
    return np.abs(np.asarray(ours) / np.asarray(theirs, dtype=float) - 1) > by


def test_what_cleaning_deletes_is_nobody_s(sky: np.ndarray, pairs: tuple[pd.DataFrame, Table]) -> None:
    """SExtractor adds a detection that it cleans to its neighbour, SEP drops it: the difference is its very flux."""
    ours, theirs = pairs
    found, all_of_them = extract(sky), extract(sky, clean=False)
    deleted = np.setdiff1d(all_of_them.segmentation[found.segmentation == 0], 0)
    assert len(deleted) == len(all_of_them) - len(found) == 12
    fluxes = all_of_them.to_pandas().loc[deleted, "flux"].to_numpy()
    more = np.asarray(theirs["FLUX_ISO"]) - ours["flux_iso"].to_numpy()
    merged = off(ours["flux_iso"], theirs["FLUX_ISO"], 0.05) & (np.abs(more[:, None] - fluxes).min(axis=1) < 0.001)
    assert merged.sum() == 5
    # Nothing else makes an unblended source differ.
    unblended = (ours["flag"] & 1 == 0).to_numpy() & (np.asarray(theirs["FLAGS"]) & 2 == 0)
    assert (off(ours["flux_iso"], theirs["FLUX_ISO"], 0.05) & unblended & ~merged).sum() == 0


def with_small_groups(pixels: np.ndarray, found: Result, diameter: float) -> np.ndarray:
    """Our fluxes in circles, groups of fewer pixels than DETECT_MINAREA being zero, as SExtractor's BLANK has them."""
    groups = extract(pixels, minarea=1, clean=False, deblend_nthresh=1)
    small = np.flatnonzero(groups.to_pandas()["npix"] < 5) + 1
    owners = np.where(np.isin(groups.segmentation, small), len(found) + 1, found.segmentation)
    assert (owners > len(found)).any()
    x, y = (found.to_pandas()[axis].to_numpy() for axis in "xy")
    subtracted = found.background_subtracted.astype(np.float32)
    labels = np.arange(1, len(found) + 1)
    return sep.sum_circle(subtracted, x, y, diameter / 2, subpix=5, seg_id=labels, segmap=owners)[0]


def test_small_groups_are_zero_in_its_apertures(sky: np.ndarray, pairs: tuple[pd.DataFrame, Table]) -> None:
    ours, theirs = pairs
    unblended = (ours["flag"] & 1 == 0).to_numpy() & (np.asarray(theirs["FLAGS"]) & 2 == 0)
    assert (off(ours["flux_aper_10"], theirs["FLUX_APER_1"], 0.001) & unblended).sum() == 3
    imitated = with_small_groups(sky, extract(sky), 10)
    assert not (off(imitated, theirs["FLUX_APER_1"], 1e-6) & unblended).any()
