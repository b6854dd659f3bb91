"""Where the HDUs of a FITS file lie, and what their headers claim.

The file is walked from header to header, here and not by astropy: what a header claims decides over loops, allocations
and over where the next HDU begins, so every such number is bounded by its value before anything is done with it. The
value is what astropy makes of the card, however it is spelled; where a keyword comes twice with different values,
nobody knows which is meant.
"""

from __future__ import annotations

import contextlib
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from astropy.io import fits

from ..errors import InputError
from .content import size_of

BLOCK, CARD = 2880, 80  # bytes (FITS standard 4.0, 3.1 and 4.1)
MOST_CARDS = 2**18  # of a header; the largest that people bring have some thousands
MOST_AXES, MOST_FIELDS = 999, 999  # FITS standard 4.0, 4.4.1.1 and 7.3.1
MOST_HDUS = 100_000
LARGEST = 2**63 - 1  # number of bytes or pixels that a file may claim
# FITS standard 4.0, table 8.
STORED_TYPES = {8: "uint8", 16: "int16", 32: "int32", 64: "int64", -32: "float32", -64: "float64"}
# The letters of a header; no other character may reach a terminal.
PRINTABLE = bytes(byte if 32 <= byte < 127 else b" "[0] if byte == 0 else b"?"[0] for byte in range(256))
CONTINUED = re.compile(r"&'\s*(/.*)?$")  # how a text ends that goes on in the next card (FITS standard 4.0, 4.2.1.2)
COMPRESSED_NAME = "COMPRESSED_IMAGE"  # what writers call an HDU of compressed pixels for want of a name


def quiet() -> contextlib.AbstractContextManager[object]:
    """Where headers are read: astropy warns of every card that is not to the letter, which is nobody's business."""
    return warnings.catch_warnings(action="ignore")


class _DamagedError(Exception):
    """An HDU that cannot be used, nor what lies behind it; its text says why."""


@dataclass(frozen=True, eq=False)
class HDU:
    """One HDU: where it lies in its file, and its header. `shape` is () where it holds no image."""

    number: int
    name: str
    shape: tuple[int, ...]
    text: str  # its header, 80 characters a card, without END
    header: fits.Header
    data_start: int
    data_size: int  # without padding
    bits: int = 0  # BITPIX of the pixels, decompressed
    compressed: bool = False
    version: int = 1  # EXTVER, which tells HDUs of one name apart

    @property
    def label(self) -> str:
        """How messages call it."""
        version = f",{self.version}" if self.version != 1 else ""
        return f"HDU {self.number}" + (f" ({self.name}{version})" if self.name else "")

    @property
    def described(self) -> str:
        """Its label and size."""
        return self.label + (f" {' x '.join(map(str, self.shape[::-1]))}" if self.shape else "")

    @property
    def is_flat(self) -> bool:
        """Whether it is one 2-D image."""
        return sum(side > 1 for side in self.shape) <= 2 <= len(self.shape)


class Keywords(Mapping[str, Any]):
    """A header in which every value can be asked for: that of a card against the standard is its text."""

    def __init__(self, header: fits.Header) -> None:
        self.header = header

    def __getitem__(self, keyword: str) -> Any:
        with quiet():
            try:
                value = self.header[keyword]
            except fits.VerifyError:
                return _text_behind(str(self.header.cards[self.header.index(keyword)].image))
        return None if isinstance(value, fits.card.Undefined) else value

    def __contains__(self, keyword: object) -> bool:
        return keyword in self.header

    @property
    def cards(self) -> Iterable[fits.Card]:
        """With comments, as they stand there."""
        return self.header.cards

    def __iter__(self) -> Iterator[str]:
        return iter(self.header)

    def __len__(self) -> int:
        return len(self.header)


def _text_behind(card: str) -> str:
    """What stands behind a card's keyword."""
    return card.partition("=")[2].partition(" /")[0].strip()


def hdus_of(file: BinaryIO, source: str) -> list[HDU]:
    """The HDUs up to the first that is damaged: what lies behind it is anybody's guess.

    Raises InputError where that is the first one, or the damage leaves no image, and where a header claims what no
    image has.
    """
    size, start, found = size_of(file), 0, list[HDU]()
    while start < size and len(found) < MOST_HDUS:
        try:
            text, data_start = _header_text(file, start)
            if found and text[:8].upper() != "XTENSION":
                break  # what some writers leave behind the last HDU
            hdu = _understood(len(found), text, data_start, source)
        except _DamagedError as damage:
            if any(hdu.shape for hdu in found):
                break
            what = f"the FITS file is damaged or truncated (HDU {len(found)}: {damage})"
            raise InputError(source, what, "fetch it again") from damage
        found.append(hdu)
        start = data_start + -(-hdu.data_size // BLOCK) * BLOCK
    return found


def number_of(header: fits.Header, keyword: str, default: float) -> float | None:
    """A finite number of a header, quotes or none around it; None where there is something else."""
    try:
        with quiet():
            value = header.get(keyword, default)
    except fits.VerifyError:
        return None
    if value is None or isinstance(value, fits.card.Undefined) or value == "":
        return default
    try:
        number = math.nan if isinstance(value, bool | complex) else float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def whole_number_of(header: fits.Header, keyword: str) -> int | None:
    """A whole number of a header to its last digit: float64 does not hold all of 64 bits. None if there is none."""
    number = number_of(header, keyword, math.nan)
    if number is None or not number.is_integer():
        return None
    with quiet():
        value = header[keyword]
    try:
        return int(value)
    except ValueError:  # a text such as '1E3'
        return int(number)


def text_of(header: fits.Header, keyword: str) -> str:
    """A text of a header; "" where there is none that can be read."""
    try:
        with quiet():
            value = header.get(keyword)
    except fits.VerifyError:
        return ""
    return "" if value is None or isinstance(value, fits.card.Undefined) else str(value).strip()


def _header_text(file: BinaryIO, start: int) -> tuple[str, int]:
    """The cards of the header that begins there, and where its data begin."""
    file.seek(start)
    blocks: list[bytes] = []
    while len(blocks) * BLOCK < MOST_CARDS * CARD:
        block = file.read(BLOCK)
        if len(block) < BLOCK:
            break
        for place in range(0, len(block), CARD):
            if block[place : place + CARD].rstrip(b" \0") == b"END":
                blocks.append(block[:place])
                text = b"".join(blocks).translate(PRINTABLE).decode("ascii")
                return _without_strays(text), start + len(blocks) * BLOCK
        blocks.append(block)
    raise _DamagedError("its header has no end")


def _without_strays(text: str) -> str:
    """A header in which CONTINUE stands behind texts that are continued only: behind any other card it is a comment.

    astropy takes it for a part of whatever is before, which then has no value.
    """
    if "CONTINUE" not in text:
        return text
    cards = [text[place : place + CARD] for place in range(0, len(text), CARD)]
    for number, card in enumerate(cards):
        if card.startswith("CONTINUE") and not CONTINUED.search(cards[number - 1] if number else ""):
            cards[number] = "COMMENT ".ljust(len("CONTINUE")) + card.removeprefix("CONTINUE")
    return "".join(cards)


def _understood(number: int, text: str, data_start: int, source: str) -> HDU:
    """What a header says of its HDU."""
    with quiet():
        header = fits.Header.fromstring(text)
        claims = _Claims(header, number, source)
        axes = claims.whole("NAXIS", 0, MOST_AXES)
        sides = [claims.whole(f"NAXIS{axis + 1}", 0) for axis in range(axes)]
        bits = claims.whole("BITPIX", -64, 64)
        groups = _is_true(header, "GROUPS") and sides[:1] == [0]
        values = math.prod(sides[1:] if groups else sides) if sides else 0
        extra, copies = claims.whole("PCOUNT", 0, default=0), claims.whole("GCOUNT", 0, default=1)
        data_size = abs(bits) // 8 * copies * (extra + values)
        kind = "" if number == 0 else text_of(header, "XTENSION").upper()
        fields = claims.whole("TFIELDS", 0, MOST_FIELDS, default=0)
        compressed = kind in ("BINTABLE", "A3DTABLE") and fields > 0 and _is_true(header, "ZIMAGE")
        shape: tuple[int, ...] = ()
        if compressed:
            bits = claims.whole("ZBITPIX", -64, 64)
            axes = claims.whole("ZNAXIS", 0, MOST_AXES)
            shape = tuple(claims.whole(f"ZNAXIS{axis}", 0) for axis in range(axes, 0, -1))
        elif not groups and (number == 0 or kind in ("IMAGE", "IUEIMAGE")):
            shape = tuple(reversed(sides))
        if shape and bits not in STORED_TYPES:
            raise _DamagedError(f"BITPIX = {bits} is not a type of pixels")
        if max(data_size, math.prod(shape)) > LARGEST:
            raise _DamagedError("it claims more bytes than any file has")
        name = _name_of(header, number, compressed)
        version = whole_number_of(header, "EXTVER")
        version = 1 if version is None or abs(version) > MOST_HDUS else version
        return HDU(number, name, shape, text, header, data_start, data_size, bits, compressed, version)


class _Claims:
    """The numbers by which a header says how large its HDU is."""

    def __init__(self, header: fits.Header, number: int, source: str) -> None:
        self.header, self.number, self.source = header, number, source

    def whole(self, keyword: str, least: int, most: int | None = None, default: int | None = None) -> int:
        """A whole number of the header within its bounds.

        A file that claims more than a FITS file may is refused; any other wrong value is damage.
        """
        values = self._values(keyword)
        if not values and default is not None:
            return default
        if not values:
            raise _DamagedError(f"it has no {keyword}")
        numbers = [self._number(value) for value in values]
        for number in numbers:
            if most is not None and number is not None and number > most:
                what = f"an image of {number:.0f} axes" if keyword.endswith("NAXIS") else f"{keyword} = {number:.0f}"
                raise InputError(self.source, f"the FITS file is damaged: {what}", "fetch it again")
        if len(set(numbers)) > 1:
            raise _DamagedError(f"{keyword} comes twice, with different values")
        # What is a number to astropy as well, not a text.
        value = values[0]
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST:
            raise _DamagedError(f"{keyword} = {value} is not a size")
        return value

    def _values(self, keyword: str) -> list[Any]:
        try:
            return [self.header[keyword, index] for index in range(self.header.count(keyword))]
        except KeyError:
            return []
        except fits.VerifyError as unparsable:
            raise _DamagedError(f"{keyword} has no value that can be read") from unparsable

    @staticmethod
    def _number(value: Any) -> float | None:
        try:
            return float(str(value).upper().replace("D", "E"))
        except ValueError:
            return None


def _is_true(header: fits.Header, keyword: str) -> bool:
    try:
        return header.get(keyword) is True
    except fits.VerifyError:
        return False


def _name_of(header: fits.Header, number: int, compressed: bool) -> str:
    """EXTNAME; of two names, which some writers give a compressed image, the one that says something."""
    try:
        names = [str(header["EXTNAME", index]).strip() for index in range(header.count("EXTNAME"))]
    except (KeyError, fits.VerifyError):
        names = []
    if compressed:
        return next((name for name in names if name != COMPRESSED_NAME), COMPRESSED_NAME)
    return names[0] if names else "" if number else "PRIMARY"


def numbers_in(card: str) -> list[float]:
    """All numbers in a card behind its keyword and before its comment, in whatever form they are written."""
    value = re.split("[=:]", card, maxsplit=1)[-1].partition(" /")[0]
    spelled = re.findall(r"[+-]?\s*(?:\d+\.?\d*|\.\d+)(?:[eEdD]\s*[+-]?\s*\d+)?", value)
    return [float(re.sub(r"\s", "", number).upper().replace("D", "E")) for number in spelled]
