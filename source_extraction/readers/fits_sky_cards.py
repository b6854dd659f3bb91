"""The cards of a FITS header that say where its pixels lie, put right where it is plain what they mean.

astropy and wcslib take a number that they cannot read for one that is not there, and refuse all for one card. So they
get the cards of the image's coordinates and no others, each of which says something that they read as it was meant.
What is put right or left out is said, with how far positions can be off by it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from astropy.io import fits

from . import fits_sky_iraf
from .fits_structure import CARD, numbers_in

NUMBERS = re.compile(
    r"(CRVAL|CRPIX|CDELT|CROTA)[1-9]\d*|(CD|PC)[1-9]\d*_[1-9]\d*|(CD|PC)\d{6}|PV[1-9]\d*_\d+|PROJP\d|LONPOLE|LATPOLE"
    r"|WCSAXES|EQUINOX|EPOCH|[AB]P?_(ORDER|\d+_\d+)"
    r"|CNPIX[12]|PPO\d|[XY]PIXELSZ|PLTRA[HMS]|PLTDEC[DMS]|AMD[XY]\d+"
)
TEXTS = re.compile(r"CTYPE[1-9]\d*|CUNIT[1-9]\d*|RADESYS|RADECSYS|PLTDECSN")
# Of these nothing here makes sense of: tables of distortions, polynomials of IRAF, and what maps repeat from the image:
# when and from where it was taken.
OTHERS = re.compile(
    r"(CNAME|CRDER|CSYER|CZPHS|CPERI)[1-9]\d*|PS[1-9]\d*_\d+|WAT\d_\d+|C[PQ](DIS|ERR)\d+|D[PQ]\d+|D2IM(DIS|ERR)?\d+"
    r"|AXISCORR|WCSNAME|PLATEID|(DATE|MJD)-(OBS|BEG|AVG|END)|MJDREF[IF]?|DATEREF|TIMESYS|TREFPOS|TREFDIR|PLEPHEM"
    r"|TIMEUNIT|TIMEOFFS|TIMEPIXR|TIMEDEL|TIMSYER|TIMRDER|TELAPSE|XPOSURE|[JB]EPOCH|TSTART|TSTOP|OBSGEO-[XYZLBH]"
    r"|OBSORBIT|RESTFRE?Q|RESTWAV|SPECSYS|SSYSOBS|SSYSSRC|VELOSYS|VELREF|VELANGL|[ZV]SOURCE"
    r"|(RSUN_REF|[DH]SUN_OBS|(CRLN|CRLT|HGLN|HGLT|HEEX|HEEY|HEEZ)_OBS|[ABC]_RADIUS|(BLON|BLAT|BDIS)_OBS)"
)
RECORDS = re.compile(r"D[PQ]\d+|D2IM\d+")  # their keyword comes once for each field (FITS WCS paper IV, draft)
AXES_OF = re.compile(r"(?:CRVAL|CRPIX|CDELT|CROTA|CTYPE|CUNIT|CNAME|CRDER|CSYER|CZPHS|CPERI|PV|PS)(\d+)(?:_\d+)?")
MATRIX = re.compile(r"(?:CD|PC)(?:(\d+)_(\d+)|(\d{3})(\d{3}))")
SIP, SIP_INVERSE = re.compile(r"[AB]_(ORDER|\d+_\d+)"), re.compile(r"[AB]P_(ORDER|\d+_\d+)")
TABLES = re.compile(r"C[PQ](DIS|ERR)\d+|D[PQ]\d+|D2IM(DIS|ERR)?\d+|AXISCORR")
PLATE = re.compile(r"CNPIX[12]|PPO\d|[XY]PIXELSZ|PLTRA[HMS]|PLTDEC(SN|[DMS])|AMD[XY]\d+")
# What a plate solution of the Digitized Sky Survey cannot do without.
WHOLE_PLATE = frozenset((
    "CNPIX1", "CNPIX2", "PPO3", "PPO6", "XPIXELSZ", "YPIXELSZ", "AMDX1", "AMDX2", "AMDY1", "AMDY2",
    "PLTRAH", "PLTRAM", "PLTRAS", "PLTDECSN", "PLTDECD", "PLTDECM", "PLTDECS",
))  # fmt: skip

KEYWORD = re.compile(r"([A-Z][A-Z0-9_-]{0,7})\s*=(.*)", re.IGNORECASE)
QUOTED = re.compile(r"'((?:[^']|'')*)'?")
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[ED][+-]?\d+)?"  # FITS standard 4.0, 4.2.3 and 4.2.4
WITH_COMMA = r"[+-]?\d+,\d+(?:[ED][+-]?\d+)?"
CELESTIAL = re.compile(r"(RA|DEC|[A-Z]LON|[A-Z]LAT|[A-Z]{2}LN|[A-Z]{2}LT)-+([A-Z]{3})(-SIP)?")
# What writers call the units of angles; those of the standard, their plurals and capitals are wcslib's own to read.
UNITS = {"deg": ("dd", "degr", "decdeg"), "arcsec": ("asec", "arcsecond"), "arcmin": ("amin", "arcminute")}
# astropy and wcslib make arrays of the square of these, or loop over them. No image has more than some ten.
MOST = 99
FIRST_YEAR, LAST_YEAR = 1700, 2200  # of equinoxes that anybody uses
NO_POSITION = "no position depends on it"
NO_INVERSE = "the matrix of its CD, PC or CDELT has no inverse"


class NoCoordinatesError(Exception):
    """Why an image has no sky coordinates: the end of a sentence that begins "there are none, because"."""


class _Value(NamedTuple):
    """What stands behind a keyword's equals sign, without quotes and comment."""

    text: str
    quoted: bool

    @classmethod
    def of(cls, field: str) -> _Value:
        field = field.strip()
        if found := QUOTED.match(field):
            return cls(found[1].replace("''", "'"), True)
        return cls(field.partition("/")[0].strip(), False)

    def __str__(self) -> str:
        return f"'{self.text.rstrip()}'" if self.quoted else self.text

    def number(self) -> str:
        """The number that is meant, as wcslib reads it; "" where none is, or an infinite one.

        Between quotes and with a decimal comma it is plain what is meant. wcslib forgets the exponent of 1.5D+02.
        """
        text = self.text.strip().upper()
        if re.fullmatch(WITH_COMMA, text):
            text = text.replace(",", ".")
        text = text.replace("D", "E")
        return text if re.fullmatch(NUMBER, text) and math.isfinite(float(text)) else ""

    def year(self) -> str:
        """The same of an equinox, which may be written as J2000."""
        text = self._replace(text=re.sub(r"^\s*[JB]", "", self.text, flags=re.IGNORECASE)).number()
        return text if text and FIRST_YEAR < float(text) < LAST_YEAR else ""


class SkyCards:
    """The cards of a header that say where an image lies.

    `text` is the header, 80 characters a card, `shape` that of its pixels with the slowest axis first; the image's
    columns and rows are the FITS `axes`. Raises NoCoordinatesError where a card that matters has no value that can be
    read.
    """

    def __init__(self, text: str, shape: tuple[int, ...], axes: Sequence[int]) -> None:
        self.axes = axes
        self.sides = [shape[-axis] for axis in axes]
        self.remarks: list[str] = []
        self._cards: dict[str, str] = {}
        self._unreadable: dict[str, _Value] = {}
        self._read(text)
        if not self.place_the_image:
            return
        self._leave_out_the_unreadable()
        self._require_matrix()
        self._settle_plate()
        self._settle_sip()
        self._settle_scamp()
        self._settle_iraf()

    @property
    def place_the_image(self) -> bool:
        """Whether they say anything of where the image lies."""
        return any(self.text(f"CTYPE{axis}") for axis in self.axes) or self.have_plate

    @property
    def have_plate(self) -> bool:
        """Whether there is a plate solution of the Digitized Sky Survey."""
        return self._cards.keys() >= WHOLE_PLATE

    def of_both_axes(self, name: str) -> str:
        """The texts of CTYPE, for example, for a message."""
        return " and ".join(self.text(f"{name}{axis}") or "none" for axis in self.axes)

    def text(self, keyword: str) -> str:
        """The text of a card, "" without."""
        card = self._cards.get(keyword)
        return "" if card is None else _Value.of(card.partition("=")[2]).text.strip()

    def number(self, keyword: str, default: float) -> float:
        """The number of a card, or what it is without the card."""
        text = self.text(keyword)
        return float(text) if text else default

    def header(self) -> fits.Header:
        """They as a header, of an image of these axes only."""
        size = {"NAXIS": max(self.axes)} | {
            f"NAXIS{axis}": side for axis, side in zip(self.axes, self.sides, strict=True)
        }
        return fits.Header(size) + fits.Header.fromstring("".join(card.ljust(CARD) for card in self._cards.values()))

    def leave_out(self, keywords: Iterable[str], why: str, effect: str) -> None:
        """Leave cards out and say so: "Sky coordinates: `keywords` left out, `why`; `effect`"."""
        names = [keyword for keyword in keywords if self._cards.pop(keyword, None) is not None]
        if names:
            self._remark(f"{_listed(names)} left out, {why}; {effect}")

    def leave_out_other_axes(self) -> None:
        """Leave out the axes that the image does not have; the image's own have to be the first."""
        others = [keyword for keyword in self._cards if not self._axes_of(keyword) <= set(self.axes)]
        if list(self.axes) != [1, 2] or not others:
            return
        mixed = [name for name in others if MATRIX.fullmatch(name) and self._axes_of(name) & set(self.axes)]
        coupled = any(self.number(name, 0) != 0 for name in mixed)
        effect = "positions are those where the other axes have their reference pixel" if coupled else NO_POSITION
        self.leave_out(others, "as another axis than the image's cannot be used", effect)
        if "WCSAXES" in self._cards:
            self._put("WCSAXES", "2")

    def leave_out_tables(self) -> None:
        """Leave out distortions that are tables, those that are named without being in the file."""
        errors = [self.number(f"{name}{axis}", 0) for name in ("D2IMERR", "CPERR") for axis in (1, 2)]
        largest = max(map(abs, errors))
        off = f"up to {largest:.2g} pixels" if largest else "as much as it corrects, which the header does not say"
        names = [keyword for keyword in self._cards if TABLES.fullmatch(_keyword_of(keyword))]
        self.leave_out(names, "as no table of this distortion is in the file", f"positions can be off by {off}")

    def leave_out_polynomials(self) -> None:
        """Leave out the polynomials that TNX adds to TAN."""
        names = [keyword for keyword in self._cards if keyword.startswith("WAT")]
        for axis in self.axes:
            if self.text(f"CTYPE{axis}").endswith("-TNX"):
                names.append(f"CTYPE{axis}")
        if not any(name.startswith("CTYPE") for name in names):
            return
        types = {axis: self.text(f"CTYPE{axis}").replace("-TNX", "-TAN") for axis in self.axes}
        effect = "positions can be off by as much as they correct"
        self.leave_out(names, "as TNX has no polynomials that can be used and TAN is taken", effect)
        for axis, kind in types.items():
            self._cards[f"CTYPE{axis}"] = ""
            self._put_text(f"CTYPE{axis}", kind)

    def leave_out_sip(self, why: str = "as this distortion cannot be used") -> None:
        """Leave out the SIP polynomials, in the CTYPE as well."""
        terms = [keyword for keyword in self._cards if SIP.fullmatch(keyword) or SIP_INVERSE.fullmatch(keyword)]
        if terms:
            self.leave_out(terms, why, f"applied, they would move positions by {self._sip_moves()}")
        for axis in self.axes:
            if self.text(f"CTYPE{axis}").endswith("-SIP"):
                self._put_text(f"CTYPE{axis}", self.text(f"CTYPE{axis}").removesuffix("-SIP"))

    def _read(self, text: str) -> None:
        for start in range(0, len(text), CARD):
            card = text[start : start + CARD]
            found = KEYWORD.match(card)
            if found is None or card.find("=") > 8:
                continue
            keyword, value = found[1].upper(), _Value.of(found[2])
            if NUMBERS.fullmatch(keyword):
                self._read_number(keyword, card, value)
            elif TEXTS.fullmatch(keyword):
                self._read_text(keyword, card, value)
            elif RECORDS.fullmatch(keyword):
                self._read_record(keyword, card, value)
            elif OTHERS.fullmatch(keyword):
                self._cards[keyword] = card

    def _read_number(self, keyword: str, card: str, value: _Value) -> None:
        self._unreadable.pop(keyword, None)
        number = value.year() if keyword in ("EQUINOX", "EPOCH") else value.number()
        if not number:
            self._cards.pop(keyword, None)
            self._unreadable[keyword] = value
            return
        if keyword == "WCSAXES" or keyword.endswith("_ORDER"):
            self._require_proportion(keyword, float(number))
        earlier = self.text(keyword)
        if earlier and float(earlier) != float(number):
            self._remark(f"{keyword} comes twice, {earlier} and {number}; the last is taken")
        self._cards[keyword] = card
        if value.quoted or number != value.text or not card.startswith(keyword.ljust(8) + "= "):
            self._put(keyword, number)
        if "," in value.text:
            self._remark(f"{keyword} = {value} is read as {number}")

    def _read_record(self, keyword: str, card: str, value: _Value) -> None:
        field, _, number = value.text.partition(":")
        if field in ("NAXES", "NTERMS") or field.startswith("NAUX"):
            self._require_proportion(f"{field} of {keyword}", max(numbers_in(number), default=0))
        self._cards[f"{keyword}.{field}"] = card

    def _read_text(self, keyword: str, card: str, value: _Value) -> None:
        self._cards[keyword] = card
        text = value.text.strip()
        meant = text
        if keyword.startswith("CTYPE"):
            meant = _type_meant(text)
        elif keyword.startswith("CUNIT"):
            meant = _unit_meant(text)
        if meant != text or not value.quoted or not card.startswith(keyword.ljust(8) + "= "):
            self._put_text(keyword, meant)
        if meant.upper() != text.upper():
            self._remark(f"{keyword} = {value} is read as '{meant}'")

    def _require_proportion(self, keyword: str, number: float) -> None:
        if number > MOST:
            raise NoCoordinatesError(f"{keyword} = {number:.0f} is out of all proportion")

    def _leave_out_the_unreadable(self) -> None:
        for keyword, value in self._unreadable.items():
            is_year = keyword in ("EQUINOX", "EPOCH")
            why = f"as {value} is no {'year' if is_year else 'number'}" if value.text.strip() else "as it has no value"
            if PLATE.fullmatch(keyword) or SIP.fullmatch(keyword) or SIP_INVERSE.fullmatch(keyword):
                continue  # what they belong to is not whole
            if is_year:
                effect = "positions are off by 50 arcsec for each year that it is not 2000 (FK4: 1950)"
                self._remark(f"{keyword} left out, {why}; {effect}")
            elif self._does_not_matter(keyword):
                self._remark(f"{keyword} left out, {why}; {NO_POSITION}")
            elif value.text.strip():
                raise NoCoordinatesError(f"{keyword} = {value} is no number")
            else:
                raise NoCoordinatesError(f"{keyword} has no value")

    def _does_not_matter(self, keyword: str) -> bool:
        """Whether a keyword is of another axis, or of a scale that a matrix stands for."""
        has_matrix = any(name.startswith("CD") and MATRIX.fullmatch(name) for name in self._cards)
        replaced = has_matrix and keyword.startswith(("CDELT", "CROTA"))
        return replaced or keyword == "WCSAXES" or not self._axes_of(keyword) <= set(self.axes)

    def _require_matrix(self) -> None:
        """What is not there of a CD matrix is 0 (FITS standard 4.0, 8.2), where wcslib puts 1 on the diagonal."""
        elements = [keyword for keyword in self._cards if keyword.startswith("CD") and MATRIX.fullmatch(keyword)]
        if not any(self._axes_of(keyword) <= set(self.axes) for keyword in elements):
            self.leave_out(elements, "as it is a matrix of other axes than the image's", NO_POSITION)
        else:
            (a, b), (c, d) = (
                [self.number(f"CD{i}_{j}", self.number(f"CD{i:03}{j:03}", 0)) for j in self.axes] for i in self.axes
            )
            if a * d == b * c:
                raise NoCoordinatesError(NO_INVERSE)

    def _settle_plate(self) -> None:
        """wcslib takes one keyword of a plate solution for the promise of all others."""
        if self.have_plate:
            # wcslib makes a name of it, or of anything that lies in its memory, and stumbles where it comes last.
            self._cards = {"PLATEID": self._cards.get("PLATEID", "PLATEID = '        '")} | self._cards
        else:
            plate = [keyword for keyword in self._cards if PLATE.fullmatch(keyword)]
            self.leave_out(plate, "as they are no whole plate solution (DSS)", NO_POSITION)

    def _settle_sip(self) -> None:
        """SIP is what CTYPE says (Shupe et al. 2005, ASPC 347, 491), and a polynomial for each axis."""
        types = [self.text(f"CTYPE{axis}") for axis in self.axes]
        unreadable = [name for name in self._unreadable if SIP.fullmatch(name)]
        if not all(kind.endswith("-SIP") for kind in types):
            self.leave_out_sip("as CTYPE has no -SIP")
        elif unreadable:
            self.leave_out_sip(f"as {unreadable[0]} = {self._unreadable[unreadable[0]]} is no number")
        elif ("A_ORDER" in self._cards) != ("B_ORDER" in self._cards):
            there, lacking = ("A", "B") if "A_ORDER" in self._cards else ("B", "A")
            self.leave_out_sip(f"as there is {there}_ORDER without {lacking}_ORDER")
        inverse = {"AP_ORDER", "BP_ORDER"} - self._cards.keys()
        if inverse or any(SIP_INVERSE.fullmatch(name) for name in self._unreadable):
            terms = [keyword for keyword in self._cards if SIP_INVERSE.fullmatch(keyword)]
            self.leave_out(terms, "as the polynomials from sky to pixels are not whole", NO_POSITION)
        for keyword in ("A_ORDER", "B_ORDER"):
            # astropy forgets both polynomials where one has a lower order.
            if keyword in self._cards and self.number(keyword, 0) < 2:
                self._put(keyword, "2")

    def _settle_scamp(self) -> None:
        """The polynomials of TPV by their name, and those of their terms whose default is not 0."""
        if all(self.text(f"CTYPE{axis}").endswith("-TAN") for axis in self.axes) and self._has_scamp_terms():
            for axis in self.axes:
                self._put_text(f"CTYPE{axis}", self.text(f"CTYPE{axis}").replace("-TAN", "-TPV"))
        for axis in self.axes:
            if self.text(f"CTYPE{axis}").endswith("-TPV") and f"PV{axis}_1" not in self._cards:
                self._put(f"PV{axis}_1", "1.0")

    def _settle_iraf(self) -> None:
        """The polynomials of TNX and ZPX, where they are used: wcslib stumbles over some that are not."""
        kind = self.text(f"CTYPE{self.axes[0]}")
        if not kind.endswith(("-TNX", "-ZPX")):
            for name in [keyword for keyword in self._cards if keyword.startswith("WAT")]:
                del self._cards[name]
        elif kind.endswith("-TNX") and not any(keyword.startswith("WAT") for keyword in self._cards):
            self.leave_out_polynomials()
        else:
            self._rewrite_polynomials()

    def _has_scamp_terms(self) -> bool:
        """Whether the PV of a TAN projection are the polynomials that SCAMP wrote before there was TPV.

        Those of TAN are but the native coordinates of the reference point, on the axis of the longitude (FITS WCS
        paper II, 2.5), whose latitude is above 0.
        """
        longitude, latitude = sorted(self.axes, key=lambda axis: self.text(f"CTYPE{axis}")[1:].startswith(("EC", "LA")))
        of_latitude = any(re.fullmatch(rf"PV{latitude}_\d+", keyword) for keyword in self._cards)
        return (of_latitude and self.number(f"PV{latitude}_1", 1) != 0) or self.number(f"PV{longitude}_2", 90) <= 0

    def _sip_moves(self) -> str:
        """How far the SIP polynomials move positions in the image, at most."""
        if any(SIP.fullmatch(keyword) for keyword in self._unreadable):
            return "what cannot be read"
        u, v = (
            np.linspace(1, side, 9) - self.number(f"CRPIX{axis}", 0)
            for axis, side in zip(self.axes, self.sides, strict=True)
        )
        moved = []
        for name in "AB":
            order = int(self.number(f"{name}_ORDER", 0))
            terms = [[self.number(f"{name}_{i}_{j}", 0) for j in range(order + 1)] for i in range(order + 1)]
            with np.errstate(all="ignore"):
                moved.append(np.polynomial.polynomial.polygrid2d(u, v, np.array(terms)))
        most = float(np.hypot(*moved).max())
        return f"up to {most:.2g} pixels" if math.isfinite(most) else "more than any number"

    def _rewrite_polynomials(self) -> None:
        pieces = []
        for axis in (1, 2):
            names = sorted(keyword for keyword in self._cards if keyword.startswith(f"WAT{axis}_"))
            pieces.append([_Value.of(self._cards.pop(name).partition("=")[2]).text for name in names])
        for axis, of_axis in enumerate(fits_sky_iraf.readable(pieces), start=1):
            for number, piece in enumerate(of_axis, start=1):
                self._cards[f"WAT{axis}_{number:03}"] = f"WAT{axis}_{number:03}= '{piece}'"

    def _put(self, keyword: str, number: str) -> None:
        self._cards[keyword] = f"{keyword:8}= {number:>20}"

    def _put_text(self, keyword: str, text: str) -> None:
        if keyword in self._cards:
            quoted = text.replace("'", "''")
            self._cards[keyword] = f"{keyword:8}= '{quoted:8}'"

    def _remark(self, text: str) -> None:
        self.remarks.append(f"Sky coordinates: {text}")

    def _axes_of(self, keyword: str) -> set[int]:
        """The axes that a keyword speaks of."""
        found = AXES_OF.fullmatch(keyword) or MATRIX.fullmatch(keyword)
        return {int(axis) for axis in found.groups() if axis} if found else set()


def _keyword_of(name: str) -> str:
    """The keyword of a card that is one of several with it."""
    return name.partition(".")[0]


def _listed(names: list[str]) -> str:
    """Some names, the first and the last of many."""
    return ", ".join(names) if len(names) <= 4 else f"{names[0]}, {names[1]}, ... {names[-1]} ({len(names)} cards)"


def _type_meant(text: str) -> str:
    """A celestial CTYPE as the standard spells it; anything else as it is."""
    found = CELESTIAL.fullmatch(text.upper())
    return f"{found[1]:-<4}-{found[2]}{found[3] or ''}" if found else text


def _unit_meant(text: str) -> str:
    """A unit of angles as the standard spells it; anything else as it is."""
    per_pixel = re.sub(r"\s*(/|per)\s*pix(el)?s?$", "", text.lower())
    if per_pixel != text.lower():
        # Of arcsec/pixel nobody knows whether CRVAL is in arcsec as well.
        return "deg" if per_pixel in ("deg", "degree", "degrees") else text
    return next((unit for unit, spelled in UNITS.items() if text.lower().removesuffix("s") in spelled), text)
