"""The cards of a FITS header that say where its pixels lie, each as it was meant.

astropy and wcslib take a number that they cannot read for one that is not there, and refuse all for one card. So they
get the cards of the image's coordinates and no others, each of which says something that they read as it was meant.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from astropy.io import fits

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
EQUINOXES = ("EQUINOX", "EPOCH")
AXES_OF = re.compile(r"(?:CRVAL|CRPIX|CDELT|CROTA|CTYPE|CUNIT|CNAME|CRDER|CSYER|CZPHS|CPERI|PV|PS)(\d+)(?:_\d+)?")
MATRIX = re.compile(r"(?:CD|PC)(?:(\d+)_(\d+)|(\d{3})(\d{3}))")
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


class NoCoordinatesError(Exception):
    """Why an image has no sky coordinates: the end of a sentence that begins "there are none, because"."""


class Value(NamedTuple):
    """What stands behind a keyword's equals sign, without quotes and comment."""

    text: str
    quoted: bool

    @classmethod
    def of(cls, field: str) -> Value:
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
    columns and rows are the FITS `axes`. Raises NoCoordinatesError where a number is out of all proportion.

    `unreadable` are the cards without a value that can be read, which are in no header. `remarks` are sentences for
    the log: what is read in another way than it is written, and what was left out.
    """

    def __init__(self, text: str, shape: tuple[int, ...], axes: Sequence[int]) -> None:
        self.axes = axes
        self.sides = [shape[-axis] for axis in axes]
        self.remarks: list[str] = []
        self.unreadable: dict[str, Value] = {}
        self._shape = shape
        self._cards: dict[str, str] = {}
        self._read_as: list[str] = []
        self._twice: list[str] = []
        self._read(text)
        if self._read_as:
            self.remark(listed(self._read_as))
        if self._twice:
            self.remark(f"the last value of {listed(self._twice)} is used, since the header has others before")

    def __contains__(self, keyword: str) -> bool:
        return keyword in self._cards

    def names(self, pattern: re.Pattern[str]) -> list[str]:
        """The keywords of this pattern; of records, with the field."""
        return [name for name in self._cards if pattern.fullmatch(name.partition(".")[0])]

    def text(self, keyword: str) -> str:
        """The text of a card, "" without."""
        return self.whole_text(keyword).strip()

    def whole_text(self, keyword: str) -> str:
        """The same with the blanks around it."""
        card = self._cards.get(keyword)
        return "" if card is None else Value.of(card.partition("=")[2]).text

    def number(self, keyword: str, default: float) -> float:
        """The number of a card, or what it is without the card."""
        text = self.text(keyword)
        return float(text) if text else default

    def of_both_axes(self, name: str) -> list[str]:
        """The texts of CTYPE, for example."""
        return [self.text(f"{name}{axis}") for axis in self.axes]

    def is_of_the_image(self, keyword: str) -> bool:
        """Whether a keyword speaks of no other axes than the image's."""
        return self.axes_of(keyword) <= set(self.axes)

    def axes_of(self, keyword: str) -> set[int]:
        """The axes that a keyword speaks of."""
        found = AXES_OF.fullmatch(keyword) or MATRIX.fullmatch(keyword)
        return {int(axis) for axis in found.groups() if axis} if found else set()

    def header(self) -> fits.Header:
        """They as a header, of no more axes than up to the image's."""
        sides = self._shape[::-1][: max(self.axes)]
        size = {"NAXIS": len(sides)} | {f"NAXIS{axis}": side for axis, side in enumerate(sides, start=1)}
        cards = (*(f"{keyword:8}= {value:>20}" for keyword, value in size.items()), *self._cards.values())
        return fits.Header.fromstring("".join(card.ljust(CARD) for card in cards))

    def put(self, keyword: str, value: str, *, quoted: bool = False, first: bool = False) -> None:
        """Give a card a value as FITS spells it, a text without its quotes."""
        doubled = value.replace("'", "''")
        card = f"{keyword:8}= '{doubled:8}'" if quoted else f"{keyword:8}= {value:>20}"
        if first:
            self._cards = {keyword: card} | self._cards
        self._cards[keyword] = card

    def rename(self, others: Mapping[str, str]) -> None:
        """Give cards other keywords, all at once."""
        self._cards = {
            others.get(name, name): f"{others[name]:8}={card.partition('=')[2]}" if name in others else card
            for name, card in self._cards.items()
        }

    def drop(self, keywords: Iterable[str]) -> list[str]:
        """Leave cards out; those that were there."""
        return [keyword for keyword in keywords if self._cards.pop(keyword, None) is not None]

    def leave_out(self, keywords: Iterable[str], why: str, effect: str) -> None:
        """Leave cards out and say so: "Sky coordinates: `keywords` left out, `why`; `effect`"."""
        if names := self.drop(keywords):
            self.remark(f"{listed(names)} left out, {why}; {effect}")

    def remark(self, text: str) -> None:
        """Have the log say something."""
        self.remarks.append(f"Sky coordinates: {text}")

    def _read(self, text: str) -> None:
        for start in range(0, len(text), CARD):
            card = text[start : start + CARD]
            found = KEYWORD.match(card)
            if found is None or card.find("=") > 8:
                continue
            keyword, value = found[1].upper(), Value.of(found[2])
            if NUMBERS.fullmatch(keyword):
                self._read_number(keyword, card, value)
            elif TEXTS.fullmatch(keyword):
                self._read_text(keyword, card, value)
            elif not (value.quoted or value.number()):
                continue  # where there is no value, wcslib passes over the next card as well
            elif RECORDS.fullmatch(keyword):
                self._read_record(keyword, card, value)
            elif OTHERS.fullmatch(keyword):
                self._cards[keyword] = card

    def _read_number(self, keyword: str, card: str, value: Value) -> None:
        self.unreadable.pop(keyword, None)
        number = value.year() if keyword in EQUINOXES else value.number()
        if not number:
            self._cards.pop(keyword, None)
            self.unreadable[keyword] = value
            return
        if keyword == "WCSAXES" or keyword.endswith("_ORDER"):
            self._require_proportion(keyword, float(number))
        earlier = self.text(keyword)
        if earlier and float(earlier) != float(number):
            self._twice.append(keyword)
        self._cards[keyword] = card
        if value.quoted or number != value.text or not card.startswith(keyword.ljust(8) + "= "):
            self.put(keyword, number)
        if "," in value.text:
            self._read_as.append(f"{keyword} = {value} is read as {number}")

    def _read_record(self, keyword: str, card: str, value: Value) -> None:
        field, _, number = value.text.partition(":")
        if field in ("NAXES", "NTERMS") or field.startswith("NAUX"):
            self._require_proportion(f"{field} of {keyword}", max(numbers_in(number), default=0))
        self._cards[f"{keyword}.{field}"] = card

    def _read_text(self, keyword: str, card: str, value: Value) -> None:
        self._cards[keyword] = card
        text = value.text.strip()
        meant = text
        if keyword.startswith("CTYPE"):
            meant = _type_meant(text)
        elif keyword.startswith("CUNIT"):
            meant = _unit_meant(text)
        if meant != text or not value.quoted or not card.startswith(keyword.ljust(8) + "= "):
            self.put(keyword, meant, quoted=True)
        if meant.upper() != text.upper():
            self._read_as.append(f"{keyword} = {value} is read as '{meant}'")

    def _require_proportion(self, keyword: str, number: float) -> None:
        if number > MOST:
            raise NoCoordinatesError(f"{keyword} = {number:.0f} is out of all proportion")


def listed(names: list[str]) -> str:
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
