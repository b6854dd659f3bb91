"""Headers as people have them: positions that are right, or a line that says why there are none.

A row a case: what the header says, and the header to the letter of the standard that means the same. astropy.wcs reads
the second, and its positions are what is expected of the first. Where a row has a number, it is from a public report:
of astropy's issues unless another project is named.
"""

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from astropy.coordinates import FK4, FK5, Galactic, SkyCoord, Supergalactic
from astropy.io import fits
from astropy.wcs import PRJ_CODES, WCS, DistortionLookupTable
from hypothesis import example, given, settings
from hypothesis import strategies as st

import source_extraction as se
from source_extraction.core.coordinates import sky_positions
from source_extraction.core.image import Image
from source_extraction.readers.images import read_image
from tests.conftest import read_catalog, succeed

WIDTH, HEIGHT = 120, 90
STARS = ((20.3, 15.7), (60.1, 40.2), (100.6, 30.9), (25.2, 70.4), (95.8, 74.5))
PLAIN = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 60.5, "CRPIX2": 45.5, "CRVAL1": 150.0, "CRVAL2": 20.0,
    "CD1_1": -1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4,
}  # fmt: skip
NOTHING: Mapping[str, Any] = MappingProxyType({})
NO_MATRIX = dict.fromkeys(["CD1_1", "CD1_2", "CD2_1", "CD2_2"])
DECLINATION_FIRST = {
    "CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": 20.0, "CRVAL2": 150.0,
    "CD1_1": 0.0, "CD1_2": 1e-4, "CD2_1": -1e-4, "CD2_2": 0.0,
}  # fmt: skip
CDELT = NO_MATRIX | {"CDELT1": -1e-4, "CDELT2": 1e-4}
SIP = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}
TERMS = {"A_ORDER": 2, "A_2_0": 1e-4, "A_1_1": 5e-5, "B_ORDER": 2, "B_0_2": 1e-4}


def stars() -> np.ndarray:
    rows, columns = np.indices((HEIGHT, WIDTH))
    pixels = np.random.default_rng(5).normal(100, 3, (HEIGHT, WIDTH))
    for x, y in STARS:
        pixels += 1000 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    return pixels


PIXELS = stars().astype(">f4")


def fits_file(cards: Mapping[str, Any], verbatim: tuple[str, ...] = (), at: int | None = None) -> bytes:
    """An image of five stars whose header has these cards, those of `verbatim` as they are, in place of their like.

    `at` is where they are put among the cards behind the size; at the end without.
    """
    header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": WIDTH, "NAXIS2": HEIGHT})
    header.update({keyword: value for keyword, value in cards.items() if value is not None})
    texts = [str(card) for card in header.cards]
    replaced = {card[:8] for card in verbatim if re.match(r"[A-Z0-9_]+ *=", card)} if at is None else set()
    texts = [text for text in texts if text[:8] not in replaced]
    place = len(texts) if at is None else 5 + at % (len(texts) - 4)
    texts[place:place] = [card.ljust(80)[:80] for card in verbatim]
    content = "".join([*texts, "END".ljust(80)]).encode("latin-1")
    return content.ljust(-(-len(content) // 2880) * 2880) + PIXELS.tobytes() + bytes(-PIXELS.nbytes % 2880)


def read(content: bytes, folder: Path) -> Image:
    path = folder / "sky.fits"
    path.write_bytes(content)
    return read_image(path, "sky.fits", None, None)


class Case(NamedTuple):
    """`cards` and `verbatim` change the plain header; with `meaning` it is what they mean, None where nothing is.

    `words` are in the one line of the log; "" where there is nothing to say.
    """

    cards: Mapping[str, Any] = NOTHING
    verbatim: tuple[str, ...] = ()
    meaning: Mapping[str, Any] | None = NOTHING
    words: str = ""
    frame: Any = "icrs"


def ecliptic(longitude: np.ndarray, latitude: np.ndarray) -> SkyCoord:
    """The ICRS of ecliptic coordinates of J2000: turned about the equinox by 84381.406 arcsec (IAU 2006).

    The equinox of J2000 itself lies within 0.02 arcsec of the ICRS (the bias of the frame).
    """
    unit = SkyCoord(longitude, latitude, unit="deg").cartesian.xyz.value
    tilt = np.radians(84381.406 / 3600)
    x, y, z = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]) @ unit
    return SkyCoord(x=x, y=y, z=z, representation_type="cartesian")


NUMBERS = {
    "as text": Case(
        verbatim=("CRVAL1  = '150.0   '", "CRVAL2  = '20.0    '", "CRPIX1  = '60.5'", "CD1_1   = '-0.0001 '")),
    "CROTA as text (caracal 1273)": Case(
        CDELT, ("CROTA2  = '30.0    '",), CDELT | {"CROTA2": 30.0}),
    "decimal comma": Case(verbatim=("CRVAL1  =               150,00",), words="CRVAL1 = 150,00 is read as 150.00"),
    "decimal comma and exponent (python-casacore 82)": Case(
        verbatim=("CRPIX2  =   4,550000000000E+01",), words="CRPIX2 = 4,550000000000E+01 is read as 4.55"),
    "decimal commas all over": Case(
        CDELT | dict.fromkeys(["CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CDELT1", "CDELT2"]),
        (
            "CRPIX1  = 60,5", "CRPIX2  = 45,5", "CRVAL1  = 150,0", "CRVAL2  = 20,0", "CDELT1  = -1,0E-4",
            "CDELT2  = 0,0001",
        ),
        CDELT, "CRPIX1 = 60,5 is read as 60.5, CRPIX2 = 45,5 is read as 45.5, ... CDELT2 = 0,0001 is read as 0.0001"),
    "a third axis that is none": Case(
        CDELT | {"CTYPE3": "FREQ"}, ("CRVAL3  = NaN", "CDELT3  ="), CDELT,
        "left out, as CRVAL3 = NaN is not a number, CDELT3 has no value; no position depends on it"),
    "exponent of D (FITS standard 4.0, 4.2.4)": Case(verbatim=("CRVAL1  = 1.5D+02", "CD1_1   = -1D-4")),
    "exponent in lower case": Case(verbatim=("CRVAL1  = 1.5d2", "CD1_1   = -1e-4")),
    "no blank behind the equals sign": Case(verbatim=("CRVAL1  =150.0",)),
    "keyword in lower case": Case({"CRVAL1": None}, ("crval1  = 150.0",)),
    "NaN": Case(verbatim=("CRVAL1  =                  NaN",), meaning=None, words="CRVAL1 = NaN is not a number"),
    "NaN in the matrix": Case(verbatim=("CD1_1   = nan",), meaning=None, words="CD1_1 = nan is not a number"),
    "infinite": Case(verbatim=("CRPIX1  = 1E999",), meaning=None, words="CRPIX1 = 1E999 is not a number"),
    "sexagesimal": Case(verbatim=("CRVAL1  = '10:00:00'",), meaning=None, words="CRVAL1 = '10:00:00' is not a number"),
    "exponent without its letter (36)": Case(
        CDELT, ("CDELT2  =   1.0000000000000-04",), None, "CDELT2 = 1.0000000000000-04 is not a number"),
    "no value": Case(verbatim=("CRVAL2  =",), meaning=None, words="CRVAL2 has no value"),
    "both comma and point": Case(
        verbatim=("CRPIX1  = 1,060.5",), meaning=None, words="CRPIX1 = 1,060.5 is not a number"),
    "NaN in what a matrix replaces": Case(
        verbatim=("CDELT1  = NaN",), words="left out, as CDELT1 = NaN is not a number; no position depends on it"),
    "NaN of an axis that is not there": Case(
        verbatim=("CRVAL3  = NaN",), words="left out, as CRVAL3 = NaN is not a number; no position depends on it"),
    "twice": Case(
        {"CRVAL1": None}, ("CRVAL1  = 151.0", "CRVAL1  = 150.0"), words="the last value of CRVAL1 is used"),
}  # fmt: skip
SYSTEMS = {
    **{
        f"RADESYS = '{spelled}'": Case({"RADESYS": spelled}, frame=frame)
        for spelled, frame in {
            "J2000": FK5(), "fk5": FK5(), "GSC1": FK5(), "FK5 / mean": FK5(), "icrs": "icrs", "ICRF2": "icrs",
            "GAIA-DR2": "icrs", "B1950": FK4(), "fk4": FK4(),
        }.items()
    },
    "RADESYS that is Hubble's REFFRAME (drizzlepac 1423)": Case({"RADESYS": "GSC1", "EQUINOX": 2000.0}, frame=FK5()),
    "ICRS beside an EQUINOX (carta-backend 1511)": Case({"RADESYS": "ICRS", "EQUINOX": 2000.0}),
    "EQUINOX alone (3403)": Case({"EQUINOX": 2000.0}, frame=FK5()),
    "RADESYS that is a kind of axes (dysh 1140)": Case(
        {"RADESYS": "galactic"}, words="RADESYS = 'galactic' left out, as it is not a known system; ICRS is"),
    "RADESYS of nobody": Case(
        {"RADESYS": "TELESCOPE"}, words="RADESYS = 'TELESCOPE' left out, as it is not a known system; ICRS is"),
    "RADESYS of nobody, EQUINOX": Case(
        {"RADESYS": "MEAN", "EQUINOX": 1950.0}, words="FK4 is used instead", frame=FK4()),
    "apparent places": Case({"RADESYS": "GAPPT"}, meaning=None, words="RADESYS = 'GAPPT' means apparent places"),
    "EQUINOX = 'J2000'": Case({"EQUINOX": "J2000"}, frame=FK5()),
    "EQUINOX = 'B1950.0'": Case({"EQUINOX": "B1950.0"}, frame=FK4()),
    "EQUINOX of 1975": Case({"EQUINOX": 1975.0, "RADESYS": "fk5"}, frame=FK5(equinox="J1975")),
    "EQUINOX = NaN": Case(
        verbatim=("EQUINOX = NaN",), words="EQUINOX left out, as EQUINOX = NaN is not a year; positions are off by"),
    "EPOCH of the observation as text, beside EQUINOX": Case(
        {"EPOCH": "2003-07-22", "EQUINOX": 2000.0}, words="as EPOCH = '2003-07-22' is not a year; no", frame=FK5()),
    "EQUINOX = 0": Case({"EQUINOX": 0.0}, words="as EQUINOX = 0.0 is not a year"),
    "ecliptic (6483)": Case(
        {"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN"}, (), {"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN"}, frame=ecliptic),
    "ecliptic, in the ICRS": Case(
        {"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN", "RADESYS": "ICRS"},
        meaning={"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN"}, frame=ecliptic),
    "galactic, said to be ICRS": Case(
        {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "RADESYS": "ICRS"},
        meaning={"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}, frame=Galactic()),
    "supergalactic": Case(
        {"CTYPE1": "SLON-TAN", "CTYPE2": "SLAT-TAN"}, meaning={"CTYPE1": "SLON-TAN", "CTYPE2": "SLAT-TAN"},
        frame=Supergalactic()),
    **{
        kind: Case({"CTYPE1": f"{lon}-TAN", "CTYPE2": f"{lat}-TAN"}, meaning=None, words=f"its axes, {lon} and {lat}")
        for kind, lon, lat in (
            ("heliographic", "HLON", "HLAT"), ("geographic", "TLON", "TLAT"), ("the Sun", "HPLN", "HPLT"),
            ("Mars", "MALN", "MALT"),
        )
    },
    "right ascension below 0": Case({"CRVAL1": -2.0}, meaning={"CRVAL1": 358.0}),
    "right ascension around 0": Case({"CRVAL1": -0.001}, meaning={"CRVAL1": 359.999}),
    "right ascension of 983 degrees (1854)": Case({"CRVAL1": 983.178172783}, meaning={"CRVAL1": 263.178172783}),
}  # fmt: skip
AXES = {
    "CTYPE without quotes (carta-backend 436)": Case(
        {}, ('CTYPE1  = RA---TAN / WCS: Projection type axis 1, default="LINEAR"', "CTYPE2  = DEC--TAN")),
    "CTYPE in lower case": Case({"CTYPE1": "ra---tan", "CTYPE2": "dec--tan"}),
    "a dash too many (10615)": Case(
        {"CTYPE1": "GLON---TAN", "CTYPE2": "GLAT---TAN"}, meaning={"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"},
        words="CTYPE1 = 'GLON---TAN' is read as 'GLON-TAN'", frame=Galactic()),
    "a dash too few": Case({"CTYPE1": "RA--TAN"}, words="CTYPE1 = 'RA--TAN' is read as 'RA---TAN'"),
    "a projection of nobody": Case({"CTYPE1": "RA---XYZ"}, meaning=None, words="a projection that is not known"),
    "two projections": Case({"CTYPE2": "DEC--SIN"}, meaning=None, words="RA---TAN and DEC--SIN, do not go together"),
    "no sky": Case({"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}, meaning=None, words="LINEAR and LINEAR, are not on"),
    **{
        f"CUNIT = '{unit}'": Case({"CUNIT1": unit, "CUNIT2": unit}, words=f"CUNIT1 = '{unit}' is read as 'deg'")
        for unit in ("dd", "deg/pix", "degrees per pixel")
    },
    "CUNIT = 'Degrees' (2977, 18553)": Case({"CUNIT1": "Degrees", "CUNIT2": "Degrees"}),
    "CUNIT = 'pixel'": Case({"CUNIT1": "pixel", "CUNIT2": "pixel"}, meaning=None, words="pixel and pixel, are no"),
    "CUNIT = 'arcsec/pix'": Case({"CUNIT1": "arcsec/pix", "CUNIT2": "arcsec/pix"}, meaning=None, words="are not units"),
    "CDELT3 = 0 (sunraster 78)": Case(
        CDELT | {"CDELT3": 0.0, "CRVAL3": 0.0, "CRPIX3": 0.0}, meaning=CDELT,
        words="CDELT3, CRVAL3, CRPIX3 left out, as another axis than the image's cannot be used; no position depends"),
    "a Stokes axis with CDELT3 = 0 (5829)": Case(
        CDELT | {"WCSAXES": 3, "CTYPE3": "STOKES", "CRVAL3": 1.0, "CRPIX3": 1.0, "CDELT3": 0.0}, meaning=CDELT,
        words="CTYPE3, CRVAL3, CRPIX3, CDELT3 left out"),
    "a velocity in m/S (2977)": Case(
        CDELT | {"CTYPE3": "VELO-LSR", "CUNIT3": "m/S", "CDELT3": 1.0}, meaning=CDELT, words="CTYPE3, CUNIT3, CDELT3"),
    "a matrix with an axis that is not there": Case(
        {"CD1_3": 1e-5, "CDELT3": 0.0}, words="positions are those where the other axes have their reference pixel"),
    "a matrix of another axis only": Case(CDELT | {"CD3_3": 1.0}, meaning=CDELT, words="CD3_3 left out, as it is a"),
    "a row of zeros in the matrix": Case({"CD1_1": 0.0}, meaning=None, words="has no inverse"),
    "half a matrix": Case(NO_MATRIX | {"CD2_2": 1e-4}, meaning=None, words="has no inverse"),
    "CDELT1 = 0": Case(CDELT | {"CDELT1": 0.0}, meaning=None, words="the matrix of its CD, PC or CDELT has no inverse"),
    "a declination of 100": Case({"CRVAL2": 100.0}, meaning=None, words="values that the projection does not allow"),
    "no pixel on the sky": Case(
        {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRPIX1": 1e6}, meaning=None, words="no pixel of the image"),
    "WCSAXES that is none": Case(verbatim=("WCSAXES = two",), words="left out, as WCSAXES = two is not a number"),
}  # fmt: skip
DISTORTIONS = {
    "SIP": Case(SIP | TERMS, meaning=SIP | TERMS),
    "SIP of one axis": Case(
        SIP | {"A_ORDER": 2, "A_2_0": 1e-4, "B_ORDER": 0}, meaning=SIP | {"A_ORDER": 2, "A_2_0": 1e-4, "B_ORDER": 2}),
    "SIP as text": Case(SIP | TERMS, ("A_2_0   = '1E-4    '", "A_ORDER = '2'"), SIP | TERMS),
    "SIP without -SIP, left over by drizzling (5239)": Case(
        TERMS, words="left out, as CTYPE has no -SIP; applied, they would move positions by up to 0.53 pixels"),
    "A_ORDER without B_ORDER": Case(
        SIP | {"A_ORDER": 2, "A_2_0": 1e-4}, words="as there is A_ORDER without B_ORDER; applied, they would move"),
    "B_ORDER without A_ORDER": Case(SIP | {"B_ORDER": 2, "B_0_2": 1e-4}, words="as there is B_ORDER without A_ORDER"),
    "AP_ORDER without BP_ORDER": Case(
        SIP | TERMS | {"AP_ORDER": 2}, meaning=SIP | TERMS, words="AP_ORDER left out, as the polynomials from sky to"),
    "a term that is none": Case(SIP | TERMS, ("A_2_0   = 'x'",), {}, "as A_2_0 = 'x' is not a number"),
    "SCAMP of degree 1": Case(
        {"PV1_0": 0.001, "PV1_1": 1.01, "PV1_2": 0.02, "PV2_0": -0.002, "PV2_1": 0.98, "PV2_2": 0.01},
        meaning={"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_0": 0.001, "PV1_1": 1.01, "PV1_2": 0.02,
                 "PV2_0": -0.002, "PV2_1": 0.98, "PV2_2": 0.01}),
    # To wcslib itself, TPV of this order is another map even where all polynomials are 1; SExtractor reads it as here.
    "SCAMP of degree 1, declination first": Case(
        DECLINATION_FIRST | {"PV1_0": -0.002, "PV1_1": 0.98, "PV1_2": 0.01, "PV2_0": 0.001, "PV2_1": 1.01,
                             "PV2_2": 0.02},
        meaning={"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_0": 0.001, "PV1_1": 1.01, "PV1_2": 0.02,
                 "PV2_0": -0.002, "PV2_1": 0.98, "PV2_2": 0.01}),
    "TPV that changes nothing, declination first": Case(
        DECLINATION_FIRST | {"CTYPE1": "DEC--TPV", "CTYPE2": "RA---TPV", "PV1_1": 1.0, "PV2_1": 1.0}),
    "TPV, declination first, without a matrix": Case(
        CDELT | {"CTYPE1": "DEC--TPV", "CTYPE2": "RA---TPV", "CRVAL1": 20.0, "CRVAL2": 150.0}, meaning=None,
        words="its declination comes first, in a form"),
    "SCAMP of a higher degree (3559)": Case(
        {"PV1_1": 1.0, "PV1_5": 0.5, "PV2_1": 1.0, "PV2_5": -0.5},
        meaning={"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_1": 1.0, "PV1_5": 0.5, "PV2_1": 1.0, "PV2_5": -0.5}),
    "TPV without the terms that are 1": Case(
        {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_7": 0.5}, (),
        {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_7": 0.5, "PV1_1": 1.0, "PV2_1": 1.0}),
    "the reference point of TAN itself": Case({"PV1_1": 0.0, "PV1_2": 90.0}),
    "the reference point of CAR, with terms of SIP (14255)": Case(
        TERMS | {"CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR", "PV1_0": 1.0, "PV1_1": 120.0, "PV1_2": 29.0},
        meaning={"CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR", "PV1_0": 1.0, "PV1_1": 120.0, "PV1_2": 29.0},
        words="as CTYPE has no -SIP"),
    "a table that was cut away (5144)": Case(
        {"D2IMDIS1": "Lookup"}, words="D2IMDIS1 left out, as the table of this distortion is not in the file or cannot "
        "be used; positions can be off by as much as it corrects, which the header does not say"),
    "a table that was cut away, beside a good third axis": Case(
        CDELT | {"CTYPE3": "FREQ", "CRVAL3": 1.4e9, "CDELT3": 1e6, "CRPIX3": 1.0, "D2IMDIS1": "Lookup"}, (), CDELT,
        "D2IMDIS1 left out"),
    "a table that was cut away, of HST": Case(
        SIP | TERMS | {"D2IMDIS1": "LOOKUP", "D2IMERR1": 0.002770500956103206}, ("D2IM1   = 'EXTVER: 1'",), SIP | TERMS,
        "positions can be off by up to 0.0028 pixels"),
    "a table that was cut away, of a later paper": Case(
        {"CPDIS1": "LOOKUP", "CPERR1": 0.3}, ("DP1     = 'EXTVER: 1'", "DP1     = 'AXIS.1: 1'"),
        words="positions can be off by up to 0.3 pixels"),
    **{
        f"of the DSS: {', '.join(cards)}": Case(cards, words=f"{', '.join(cards)} left out, as they are not a complete")
        for cards in (
            {"XPIXELSZ": 9.0, "YPIXELSZ": 9.0}, {"CNPIX1": 0, "CNPIX2": 0}, {"PPO3": 1.0, "PPO6": 1.0},
        )
    },
    "of the DSS: XPIXELSZ (15558, 15633)": Case(CDELT | {"XPIXELSZ": 6.0, "YPIXELSZ": 6.0}, (), CDELT, "XPIXELSZ, Y"),
    "of the DSS: as text (18157)": Case(
        verbatim=("XPIXELSZ= '                12'", "YPIXELSZ= '                12'"), words="XPIXELSZ, YPIXELSZ left"),
    "of the DSS: binning (9883)": Case({"CNPIX1": 4, "CNPIX2": 4, "RADECSYS": "FK5"}, (), {}, "CNPIX1", FK5()),
    "TNX without its polynomials": Case(
        {"CTYPE1": "RA---TNX", "CTYPE2": "DEC--TNX"}, words="TAN is used instead; positions can be off by"),
    "TNX with a polynomial for one axis": Case(
        {"CTYPE1": "RA---TNX", "CTYPE2": "DEC--TNX"},
        ("WAT1_001= 'wtype=tnx axtype=ra lngcor = \"3. 1. 1. 2. 0. 1. 0. 1. 0.\"'",),
        words="WAT1_001, CTYPE1, CTYPE2 left out, as TNX has no polynomials that can be used and TAN is used instead"),
    "WAT of IRAF (4089)": Case(
        {"WAT0_001": "system=image", "WAT1_001": "wtype=tan axtype=ra", "WAT2_001": "wtype=tan axtype=dec"}),
}  # fmt: skip
OTHER_CARDS = {
    "NUL": Case(verbatim=("OBJECT  = 'M31\0\0\0\0\0'",)),
    "newline (5396)": Case(verbatim=("ORIGIN  = 'CASA 4.7.0-REL (r38335)\n'",)),
    "CONTINUE without what it continues": Case(verbatim=("CONTINUE  'bbbb' / c",)),
    "a card without a value, which takes the next one along": Case(
        {"CRVAL1": None, "CTYPE1": None}, ("DATE-OBS=", "CRVAL1  = 150.0", "MJD-OBS =", "CTYPE1  = 'RA---TAN'")),
    "numbers that are none": Case(
        verbatim=("GAIN    =                  NaN", "SATURATE=  1,5", "MAGZERO =  1.5 e-/ADU", "EGAIN   =")),
    "no quotes (lemon 68)": Case(verbatim=("RA      = 12:34:56.7", "BUNIT   = ADU", "OBJECT  = 'M31")),
    "another solution that is none": Case(
        {"CTYPE1A": "RA---TAN", "CTYPE2A": "LINEAR", "CDELT1A": 0.0}, ("CRVAL1A = NaN", "WCSAXESA= 900")),
    "HIERARCH": Case(verbatim=("HIERARCH CRVAL1 = NaN", "HIERARCH A_ORDER = 20000")),
}  # fmt: skip
CASES = {
    f"{kind}: {name}": case
    for kind, table in {
        "numbers": NUMBERS, "systems": SYSTEMS, "axes": AXES, "distortions": DISTORTIONS, "other cards": OTHER_CARDS,
    }.items()
    for name, case in table.items()
}  # fmt: skip


def expected_positions(cards: Mapping[str, Any], frame: Any, x: np.ndarray, y: np.ndarray) -> SkyCoord:
    """What astropy makes of a header to the letter."""
    header = fits.Header({keyword: value for keyword, value in (PLAIN | cards).items() if value is not None})
    wcs = WCS(header)
    world = wcs.all_pix2world(x, y, 0)
    longitude, latitude = world[wcs.wcs.lng], world[wcs.wcs.lat]
    if callable(frame):
        return frame(longitude, latitude)
    return SkyCoord(longitude, latitude, unit="deg", frame=frame).icrs


@pytest.mark.parametrize("name", CASES)
def test_header(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    path = tmp_path / "sky.fits"
    path.write_bytes(fits_file(PLAIN | case.cards, case.verbatim))
    result = se.extract(path)
    assert len(result) == len(STARS)
    table, has_coordinates = result.to_table(), case.meaning is not None
    assert result.summary["image"]["sky_coordinates"] == ("ra" in table.colnames) == has_coordinates

    said = [line for line in result.warnings if line.startswith("Sky coordinates: ")]
    assert result.warnings == said
    assert bool(said) == bool(case.words)
    assert case.words in " ".join(said)
    assert len(said) <= 1
    assert not re.search(r"Error|<|nan,|None|wcslib|line \d", " ".join(said))
    if case.meaning is None:
        assert said[0].startswith("Sky coordinates: none, because ")
        return

    x, y = (np.asarray(table[axis]) for axis in "xy")
    expected = expected_positions(case.meaning, case.frame, x, y)
    found = SkyCoord(table["ra"], table["dec"], unit="deg")
    assert found.separation(expected).arcsec.max() < (0.05 if case.frame is ecliptic else 1e-6)
    assert ((table["ra"] >= 0) & (table["ra"] < 360)).all()


def test_the_primary_header_speaks_for_an_extension_that_says_so(tmp_path: Path) -> None:
    """FITS standard 4.0, 4.4.2.6."""
    for inherit in (True, False):
        primary, image = fits.PrimaryHDU(header=fits.Header(PLAIN)), fits.ImageHDU(PIXELS)
        image.header["INHERIT"] = inherit
        fits.HDUList([primary, image]).writeto(tmp_path / "sky.fits", overwrite=True)
        wcs = read_image(tmp_path / "sky.fits", "sky.fits", None, None).wcs
        assert (wcs is not None) == inherit
        if wcs is not None:
            np.testing.assert_allclose(wcs.wcs_pix2world(9, 9, 0), WCS(fits.Header(PLAIN)).wcs_pix2world(9, 9, 0))


def test_a_bad_third_axis_leaves_a_good_distortion(tmp_path: Path) -> None:
    """A table in the file stays in use, whatever else of the header has to be left out."""
    wcs = WCS(fits.Header(PLAIN | {"NAXIS": 2, "NAXIS1": WIDTH, "NAXIS2": HEIGHT}))
    shifts = np.linspace(0, 3, 12, dtype=np.float32).reshape(3, 4)
    wcs.cpdis1 = wcs.cpdis2 = DistortionLookupTable(shifts, (1.0, 1.0), (1.0, 1.0), (40.0, 40.0))
    hdus = wcs.to_fits(relax=True)
    hdus[0].data = PIXELS
    hdus[0].header.update({"CTYPE3": "STOKES", "CRVAL3": 1.0, "CRPIX3": 1.0, "CDELT3": 0.0})
    hdus.writeto(tmp_path / "sky.fits")
    image = read_image(tmp_path / "sky.fits", "sky.fits", None, None)
    x, y = np.array([5.0, 60.3, 110.0]), np.array([7.0, 44.1, 80.0])
    np.testing.assert_allclose(sky_positions(image.wcs, x, y), wcs.all_pix2world(x, y, 0), rtol=0, atol=1e-10)
    assert np.abs(np.subtract(wcs.all_pix2world(x, y, 0), wcs.wcs_pix2world(x, y, 0))).max() > 1e-4
    assert len(image.celestial.remarks) == 1
    assert "CDELT3" in image.celestial.remarks[0]


# How far the sky reaches along the second axis from the middle of the map, in degrees of its plane, by the equations of
# the FITS WCS paper II; infinite where it has no end.
REACHES = {
    "AZP": np.inf, "SZP": np.inf, "TAN": np.inf, "STG": np.inf, "SIN": np.degrees(1), "ARC": 180.0, "ZPN": 180.0,
    "ZEA": np.degrees(2), "AIR": np.inf, "CYP": np.degrees(2), "CEA": np.degrees(1), "CAR": 90.0, "MER": np.inf,
    "SFL": 90.0, "PAR": 90.0, "MOL": np.degrees(np.sqrt(2)), "AIT": np.degrees(np.sqrt(2)),
    "TSC": 135.0, "CSC": 135.0, "QSC": 135.0, "HPX": 90.0,
}  # fmt: skip
PARAMETERS = {
    "ZPN": {"PV2_1": 1.0}, "CYP": {"PV2_1": 1.0, "PV2_2": 1.0}, "BON": {"PV2_1": 45.0}, "AIR": {"PV2_1": 45.0},
    **{conic: {"PV2_1": 45.0, "PV2_2": 20.0} for conic in ("COP", "COE", "COD", "COO")},
}  # fmt: skip
ALL_PROJECTIONS = [*PRJ_CODES, "NCP", "GLS", "TPV"]
# The equations of CSC are polynomials whose inverse is good to 24 arcsec (FITS WCS paper II, 5.6.2).
ROUND_TRIP = {"CSC": 24 / 3600}


@pytest.mark.parametrize("code", ALL_PROJECTIONS)
def test_projection(tmp_path: Path, code: str) -> None:
    """Pixel -> sky -> pixel in the middle, near the edge of the sky and all over; NaN beyond the edge."""
    latitude = 60.0 if code == "NCP" else 0.0
    image = read(fits_file(all_sky(code, latitude)), tmp_path)
    rows, columns = np.indices((HEIGHT, WIDTH)).reshape(2, -1) + 0.137
    ra, dec = sky_positions(image.wcs, columns, rows)
    on_the_sky = np.isfinite(ra)
    assert on_the_sky.sum() > 0.05 * len(ra)
    np.testing.assert_array_equal(on_the_sky, np.isfinite(dec))
    assert_returns(image.wcs, columns[on_the_sky], rows[on_the_sky], code)
    if code not in REACHES or not np.isfinite(REACHES[code]):
        return

    step = 1e-4
    # A gap of HPX begins on the first meridian.
    column = 59.5 + (45 / 4 if code == "HPX" else 0)
    edge = 44.5 + (REACHES[code] + np.array([-step, step])) / all_sky(code)["CDELT2"]
    _, dec = sky_positions(image.wcs, np.full(2, column), edge)
    assert np.isfinite(dec).tolist() == [True, False]
    assert_returns(image.wcs, np.array([column]), edge[:1], code)


def all_sky(code: str, latitude: float = 0.0) -> dict[str, Any]:
    """The header of a map in which the image has more room than the sky, where that ends."""
    return PLAIN | NO_MATRIX | PARAMETERS.get(code, {}) | {
        "CTYPE1": f"RA---{code}", "CTYPE2": f"DEC--{code}", "CRVAL1": 30.0, "CRVAL2": latitude,
        "CDELT1": -4.0, "CDELT2": 4.1,
    }  # fmt: skip


def assert_returns(wcs: WCS, x: np.ndarray, y: np.ndarray, code: str) -> None:
    world = wcs.all_pix2world(x, y, 0)
    # Parts of the sky that a map shows twice come back where it shows them first.
    wcs = wcs.deepcopy()
    wcs.wcs.bounds_check(True, False)
    back_x, back_y = wcs.wcs_world2pix(*world, 0)
    turn = 360 / 4.0
    away = np.abs((back_x - x + turn / 2) % turn - turn / 2 if code in ("TSC", "CSC", "QSC") else back_x - x)
    assert max(away.max(), np.abs(back_y - y).max()) < ROUND_TRIP.get(code, 1e-6)


@pytest.mark.parametrize("code", ["AIT", "MOL", "SIN", "ZEA", "HPX", "CAR"])
def test_sources_off_the_sky(tmp_path: Path, code: str) -> None:
    """Their positions are NaN and no others, and they are in no region; the first pixel of the image is off the sky."""
    (tmp_path / "sky.fits").write_bytes(fits_file(all_sky(code)))
    succeed(tmp_path / "sky.fits", "--outputs", "catalog.tsv,sources.reg,image.png", folder=tmp_path)
    catalog = read_catalog(tmp_path)
    expected = expected_positions(all_sky(code), "icrs", catalog["x"], catalog["y"])
    off = np.isnan(expected.ra.degree)
    assert 0 < off.sum() < len(STARS)
    for column in ("ra", "dec", "theta_sky", "fwhm_arcsec"):
        np.testing.assert_array_equal(catalog[column].isna(), off)
    found = SkyCoord(catalog["ra"][~off], catalog["dec"][~off], unit="deg")
    assert found.separation(expected[~off]).arcsec.max() < 1e-6
    assert (tmp_path / "sources.reg").read_text().count("ellipse") <= (~off).sum()


# Positions of pixels from 0, in the header's own system, as the reports have them; NaN off the sky.
REPORTED = {
    "slant orthographic, 950 pixels further in (107)": (
        {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRPIX1": 75.0, "CRPIX2": 75.0, "CDELT1": -0.0819629704013,
         "CDELT2": 0.0819629704013, "CRVAL1": 79.95701, "CRVAL2": -45.779, "PV2_1": -0.755124458581295,
         "PV2_2": 0.209028857410973},
        {(-850, -450): (np.nan, np.nan), (-750, -750): (np.nan, np.nan), (50, 50): (82.96101414, -47.72314271)}),
    "CAR with its reference pixel far away (2763)": (
        {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRVAL1": 0.0, "CRVAL2": 0.0, "CRPIX1": 30977.0, "CRPIX2": 305.0,
         "CDELT1": -0.00625, "CDELT2": 0.00625},
        {(0, 0): (193.6, -1.9), (119, 89): (192.85625, -1.34375)}),
    "CAR of all longitudes, from its reference pixel on (2639, 13201)": (
        {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRVAL1": 180.0, "CRVAL2": 0.0, "CRPIX1": 1.0, "CRPIX2": 61.0,
         "CDELT1": -3.0, "CDELT2": 1.0},
        {(0, 60): (180.0, 0.0), (60, 60): (0.0, 0.0), (90, 0): (270.0, -60.0), (119, 60): (183.0, 0.0)}),
}  # fmt: skip


@pytest.mark.parametrize("name", REPORTED)
def test_reported_positions(tmp_path: Path, name: str) -> None:
    cards, positions = REPORTED[name]
    image = read(fits_file(PLAIN | NO_MATRIX | cards), tmp_path)
    x, y = np.array(list(positions), float).T
    longitude, latitude = sky_positions(image.wcs, x, y)
    if "GLON" in cards["CTYPE1"]:
        galactic = SkyCoord(longitude, latitude, unit="deg").galactic
        longitude, latitude = galactic.l.degree, galactic.b.degree
    for found, expected in zip((longitude, latitude), zip(*positions.values(), strict=True), strict=True):
        np.testing.assert_allclose(
            (found - expected + 180) % 360 - 180, np.where(np.isnan(expected), np.nan, 0), atol=1e-8
        )


PLATE = {
    "PLTRAH": 8, "PLTRAM": 55, "PLTRAS": 55.04834, "PLTDECSN": "+", "PLTDECD": 11, "PLTDECM": 26, "PLTDECS": 58.31554,
    "CNPIX1": 8734, "CNPIX2": 7218, "XPIXELSZ": 25.28445, "YPIXELSZ": 25.28445, "EQUINOX": 2000.0,
    **{f"PPO{i}": 0.0 for i in (1, 2, 4, 5)}, "PPO3": 174974.71555, "PPO6": 174974.71555,
    **{f"AMD{axis}{i}": 0.0 for axis in "XY" for i in range(1, 21)},
    "AMDX1": 67.24608, "AMDX2": 0.7103704, "AMDX3": -66.94035, "AMDX4": -9.574964e-06, "AMDX5": -8.615729e-06,
    "AMDX12": 2.058013e-06,
    "AMDY1": 67.26229, "AMDY2": -0.7113677, "AMDY3": -136.6796, "AMDY4": -3.408405e-05, "AMDY5": 1.250545e-06,
    "AMDY12": 2.122284e-06,
}  # fmt: skip


def test_plate_solution_of_the_dss(tmp_path: Path) -> None:
    """By the equations of the guide to the Digitized Sky Survey, and the pixel and place of an object in the header."""
    none = dict.fromkeys(PLAIN)
    image = read(fits_file(PLAIN | none | PLATE), tmp_path)
    x, y = np.array([0.0, 60.3, 119.0]), np.array([0.0, 44.1, 89.0])
    millimetres = (
        (PLATE["PPO3"] - PLATE["XPIXELSZ"] * (PLATE["CNPIX1"] + x + 0.5)) / 1000,
        (PLATE["YPIXELSZ"] * (PLATE["CNPIX2"] + y + 0.5) - PLATE["PPO6"]) / 1000,
    )
    standard = []
    for axis, (u, v) in (("X", millimetres), ("Y", millimetres[::-1])):
        a = {i: PLATE[f"AMD{axis}{i}"] for i in range(1, 14)}
        r = u * u + v * v
        terms = (u, v, 1, u * u, u * v, v * v, r, u**3, u * u * v, u * v * v, v**3, u * r, u * r * r)
        standard.append(np.radians(sum(a[i] * term for i, term in enumerate(terms, start=1)) / 3600))
    ra_0 = np.radians(15 * (8 + 55 / 60 + 55.04834 / 3600))
    dec_0 = np.radians(11 + 26 / 60 + 58.31554 / 3600)
    xi, eta = standard
    away = np.arctan2(xi / np.cos(dec_0), 1 - eta * np.tan(dec_0))
    dec = np.arctan(np.cos(away) * (eta + np.tan(dec_0)) / (1 - eta * np.tan(dec_0)))
    expected = SkyCoord(ra_0 + away, dec, unit="rad", frame=FK5()).icrs
    found = SkyCoord(*sky_positions(image.wcs, x, y), unit="deg")
    assert found.separation(expected).arcsec.max() < 0.01

    # OBJCTX, OBJCTY and OBJCTRA, OBJCTDEC of the plate that these numbers are of.
    m67 = SkyCoord(*sky_positions(image.wcs, np.array([9263.92 - 8734]), np.array([7747.76 - 7218])), unit="deg")
    assert m67.separation(SkyCoord("08h51m20.100s +11d48m43.00s", frame=FK5()).icrs).arcsec < 2


@pytest.mark.parametrize("first", ["RA", "DEC"])
@pytest.mark.parametrize("last", ["-1.", "-1", "-1.E0"])
@pytest.mark.parametrize("blanks", ["kept", "dropped"])
def test_polynomial_of_iraf(tmp_path: Path, blanks: str, last: str, first: str) -> None:
    """TNX, whose coefficients run over several cards, one of which ends between two of them.

    The other axis has a polynomial of a lower order, as in headers of Keck's MOSFIRE.
    """
    terms = [
        "0.00010000000001",
        "0.00020000000002",
        "-0.0003000000003",
        "0.00040000000004",
        "0.05000000000005",
        "-0.04",
    ]
    # With as many zeros as it takes for a card to end in the blank that separates two numbers.
    texts = [
        f'wtype=tnx axtype=ra lngcor = "3. 3. 3. 2. -1.{zeros} 1. {last} 1. {" ".join(terms)} "'
        for zeros in ("0" * number for number in range(20))
    ]
    text = next(text for text in texts if text[67] == " ")
    pieces = [text[i : i + 68] for i in range(0, len(text), 68)]
    if blanks == "dropped":
        pieces = [piece.rstrip() for piece in pieces]
    ra, dec = ("1", "2") if first == "RA" else ("2", "1")
    verbatim = tuple(f"WAT{ra}_{i:03}= '{piece}'" for i, piece in enumerate(pieces, start=1))
    verbatim += (f"WAT{dec}_001= 'wtype=tnx axtype=dec latcor = \"3. 2. 2. 2. -1. 1. -1. 1. 0. 0. 0.\"'",)
    cards = (DECLINATION_FIRST if first == "DEC" else {}) | {"WAT0_001": "system=image"}
    cards |= {f"CTYPE{ra}": "RA---TNX", f"CTYPE{dec}": "DEC--TNX"}
    image = read(fits_file(PLAIN | cards, verbatim), tmp_path)

    x, y = np.array([0.0, 60.3, 119.0]), np.array([0.0, 44.1, 89.0])
    xi, eta = -1e-4 * (x - 59.5), 1e-4 * (y - 44.5)
    c = [float(term) for term in terms]
    xi = xi + c[0] + c[1] * xi + c[2] * xi**2 + c[3] * eta + c[4] * xi * eta + c[5] * eta**2
    expected = WCS(fits.Header(PLAIN)).wcs_pix2world(59.5 - xi / 1e-4, y, 0)
    found = SkyCoord(*sky_positions(image.wcs, x, y), unit="deg")
    assert found.separation(SkyCoord(*expected, unit="deg")).arcsec.max() < 1e-6


def test_lines_of_the_log(tmp_path: Path) -> None:
    """What is left out and what is not there is said once, where somebody asks for positions."""
    (tmp_path / "sky.fits").write_bytes(fits_file(PLAIN | {"CNPIX1": 0, "CNPIX2": 0}))
    outputs = ("--outputs", "catalog.tsv,summary.json,image.png,background.fits")
    log = succeed(tmp_path / "sky.fits", *outputs, folder=tmp_path / "out").splitlines()
    reason = "as they are not a complete plate solution (DSS)"
    line = f"Sky coordinates: CNPIX1, CNPIX2 left out, {reason}; no position depends on it"
    assert log.count(line) == sum("Sky" in line for line in log) == 1

    (tmp_path / "sky.fits").write_bytes(fits_file(PLAIN, ("CRVAL1  = NaN",)))
    log = succeed(tmp_path / "sky.fits", *outputs, folder=tmp_path / "out").splitlines()
    assert log.count("Sky coordinates: none, because CRVAL1 = NaN is not a number") == 1
    assert "ra" not in read_catalog(tmp_path / "out")
    assert "CTYPE1" not in fits.getheader(tmp_path / "out/background.fits")

    (tmp_path / "sky.fits").write_bytes(fits_file({}))
    log = succeed(tmp_path / "sky.fits", *outputs, folder=tmp_path / "out").splitlines()
    assert log.count("Sky coordinates: none, because the header gives none") == 1

    # Nobody asks where the sources are.
    log = succeed(tmp_path / "sky.fits", "--outputs", "points.tsv", folder=tmp_path / "out")
    assert "Sky coordinates" not in log


def test_a_map_tells_other_programs_what_was_understood(tmp_path: Path) -> None:
    """FITS products of a header that astropy does not understand have one that it does."""
    path = tmp_path / "sky.fits"
    path.write_bytes(fits_file(PLAIN | {"RADESYS": "J2000", "CUNIT1": "dd", "CUNIT2": "dd"}, ("CRPIX1  = '60.5'",)))
    result = se.extract(path)
    result.write(tmp_path, outputs=["background.fits"])
    expected = expected_positions({}, FK5(), np.array([10.0]), np.array([20.0]))
    found = WCS(fits.getheader(tmp_path / "background.fits")).pixel_to_world(10, 20)
    assert found.frame.name == "fk5"
    assert found.icrs.separation(expected).arcsec < 1e-6


@pytest.mark.parametrize("kind", ["HPLN", "LINEAR"])
def test_a_wcs_of_the_owner_without_right_ascensions(kind: str) -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["HPLN-TAN", "HPLT-TAN"] if kind == "HPLN" else ["LINEAR", "LINEAR"]
    result = se.extract(PIXELS.astype(np.float32), wcs=wcs)
    assert "ra" not in result.to_table().colnames
    assert not result.summary["image"]["sky_coordinates"]
    assert [line.partition("because")[0] for line in result.warnings] == ["Sky coordinates: none, "]


@pytest.mark.parametrize("value", ["NaN", "1,5", "1.5 e-/ADU", "", "'1,5'", "inf"])
def test_a_number_that_is_asked_for(tmp_path: Path, value: str) -> None:
    """One sentence where somebody asks for it, nothing where nobody does."""
    (tmp_path / "sky.fits").write_bytes(
        fits_file(PLAIN, (f"GAIN    = {value}", f"SATURATE= {value}", f"MAGZERO = {value}"))
    )
    assert se.extract(tmp_path / "sky.fits").warnings == []
    for option in ("gain", "saturation", "zeropoint"):
        keyword = {"gain": "GAIN", "saturation": "SATURATE", "zeropoint": "MAGZERO"}[option]
        with pytest.raises(
            se.InputError, match=rf"its (keyword {keyword} = .* is not a value|header has no keyword)"
        ) as raised:
            se.extract(tmp_path / "sky.fits", **{option: keyword})
        assert not re.search(r"format|float|None|<|Error", str(raised.value).rpartition("sky.fits")[2])


# Keywords of the size and the values of the pixels, and of where they lie (FITS standard 4.0; the others are of SIP,
# the DSS, IRAF, and of distortions). Any other card changes nothing.
OF_THE_PIXELS = (
    r"SIMPLE|BITPIX|NAXIS\d*|END|EXTEND|XTENSION|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|BLANK|Z\w+|TFIELDS|EXTNAME|INHERIT"
)
OF_THE_SKY = (
    r"C(TYPE|RVAL|RPIX|DELT|UNIT|ROTA)\d+|(CD|PC)\d+_?\d+|P[VS]\d+_\d+|LONPOLE|LATPOLE|RADE(C)?SYS|EQUINOX|EPOCH"
    r"|WCSAXES|[AB]P?_\w+|CNPIX\d|PPO\d|[XY]PIXELSZ|PLT\w+|AMD[XY]\d+|WAT\d_\d+|PROJP\d"
    r"|C[PQ]\w+\d|D[PQ]\d|D2IM\w*\d|AXISCORR"
)
keywords = st.one_of(
    st.sampled_from(["MJDREF", "TIMESYS", "OBSGEO-X", "RESTFRQ", "SPECSYS", "WCSNAME", "CNAME1", "WCSAXESA"]),
    st.sampled_from(
        ["GAIN", "OBJECT", "COMMENT", "HISTORY", "CONTINUE", "HIERARCH", "", "DATE-OBS", "MJD-OBS", "CRVAL1A"]
    ),
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=1, max_size=8),
)
values = st.one_of(
    st.sampled_from(
        ["NaN", "1,5", "'", "''", "'a&'", "T", "(1, 2)", "1E999", "-", "/", "= =", "'a' 'b'", "0x1F", "1_000"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=70),
)
printable = st.one_of(
    st.builds("{:8}= {}".format, keywords, values),
    st.builds("{:8}{}".format, keywords, values),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80),
)
quickly = settings(max_examples=150, deadline=None, derandomize=True)


def positions_of(content: bytes) -> tuple[int, np.ndarray]:
    """The number of sources of an image, and where three pixels are."""
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "sky.fits").write_bytes(content)
        result = se.extract(folder / "sky.fits")
        at = np.array([0.0, 59.5, 119.0]), np.array([0.0, 44.5, 89.0])
        return len(result), np.array(sky_positions(result.wcs, *at) if result.wcs is not None else [])
    finally:
        shutil.rmtree(folder)


@quickly
@given(card=printable, at=st.integers(0, 100), sip=st.booleans())
@example(card="CONTINUE  'bbbb' / c", at=7, sip=True)
@example(card="GAIN    = NaN", at=0, sip=False)
@example(card="CONTINUE= NaN", at=0, sip=False)
@example(card="DATE-OBS= ", at=2, sip=False)
def test_any_card_in_any_place(card: str, at: int, sip: bool) -> None:
    keyword = card[:8].upper().partition("=")[0].strip()
    if re.fullmatch(f"{OF_THE_PIXELS}|{OF_THE_SKY}", keyword):
        return
    cards = PLAIN | (SIP | TERMS if sip else {})
    number, positions = positions_of(fits_file(cards, (card,), at))
    assert number == len(STARS)
    np.testing.assert_array_equal(positions, positions_of(fits_file(cards))[1])


@quickly
@given(
    keyword=st.sampled_from(
        [*PLAIN, *SIP, *TERMS, "CDELT1", "CROTA2", "PV1_1", "PV2_1", "PC1_1", "EQUINOX", "LONPOLE"]
    ),
    value=values | st.floats().map(repr),
    at=st.integers(0, 100),
)
def test_any_value_of_a_card_of_the_sky(keyword: str, value: str, at: int) -> None:
    """There are positions, or none; never an error, nor one of Python's."""
    number, positions = positions_of(fits_file(PLAIN | SIP | TERMS, (f"{keyword:8}= {value}",), at))
    assert number == len(STARS)
    assert positions.size in (0, 6)
