"""What programs write of the sky that the FITS standard does not know, or that wcslib reads in another way.

Each is brought to what wcslib reads as it was meant, or left out; then the log says so, and how far positions can be
off.
"""

from __future__ import annotations

import math
import re

import numpy as np

from . import fits_sky_iraf
from .fits_sky_cards import EQUINOXES, MATRIX, NoCoordinatesError, SkyCards, listed

SIP, SIP_INVERSE = re.compile(r"[AB]_(ORDER|\d+_\d+)"), re.compile(r"[AB]P_(ORDER|\d+_\d+)")
TABLES = re.compile(r"C[PQ](DIS|ERR)\d+|D[PQ]\d+|D2IM(DIS|ERR)?\d+|AXISCORR")
ERRORS = re.compile(r"D2IMERR\d+|CPERR\d+")
OF_AN_AXIS = re.compile(r"(CTYPE|CRVAL|CUNIT|CDELT|CNAME|CRDER|CSYER|CD|PV|WAT)([12])((?:_\d+)?)")
TEXTS_OF_IRAF = re.compile(r"WAT\d_\d+")
PLATE = re.compile(r"CNPIX[12]|PPO\d|[XY]PIXELSZ|PLTRA[HMS]|PLTDEC(SN|[DMS])|AMD[XY]\d+")
# What a plate solution of the Digitized Sky Survey cannot do without.
WHOLE_PLATE = frozenset((
    "CNPIX1", "CNPIX2", "PPO3", "PPO6", "XPIXELSZ", "YPIXELSZ", "AMDX1", "AMDX2", "AMDY1", "AMDY2",
    "PLTRAH", "PLTRAM", "PLTRAS", "PLTDECSN", "PLTDECD", "PLTDECM", "PLTDECS",
))  # fmt: skip

NO_POSITION = "no position depends on it"
NO_INVERSE = "the matrix of its CD, PC or CDELT has no inverse"


def place_the_image(cards: SkyCards) -> bool:
    """Whether they say anything of where the image lies."""
    return any(cards.of_both_axes("CTYPE")) or has_plate(cards)


def settle(cards: SkyCards) -> None:
    """Bring all of them to what wcslib reads as it was meant.

    Raises NoCoordinatesError where one that matters has no value that can be read.
    """
    _settle_unreadable(cards)
    _settle_matrix(cards)
    _settle_plate(cards)
    _settle_sip(cards)
    _settle_scamp(cards)
    _settle_order(cards)
    _settle_iraf(cards)


def leave_out_other_axes(cards: SkyCards) -> None:
    """Leave out the axes that the image does not have; the image's own have to be the first."""
    others = [name for name in cards.names(re.compile(".*")) if not cards.is_of_the_image(name)]
    if list(cards.axes) != [1, 2] or not others:
        return
    mixed = [name for name in others if MATRIX.fullmatch(name) and cards.axes_of(name) & set(cards.axes)]
    coupled = any(cards.number(name, 0) != 0 for name in mixed)
    effect = "positions are those where the other axes have their reference pixel" if coupled else NO_POSITION
    cards.leave_out(others, "as another axis than the image's cannot be used", effect)
    if "WCSAXES" in cards:
        cards.put("WCSAXES", "2")


def leave_out_tables(cards: SkyCards) -> None:
    """Leave out distortions that are tables."""
    largest = max((abs(cards.number(name, 0)) for name in cards.names(ERRORS)), default=0)
    off = f"up to {largest:.2g} pixels" if largest else "as much as it corrects, which the header does not say"
    why = "as the table of this distortion is not in the file or cannot be used"
    cards.leave_out(cards.names(TABLES), why, f"positions can be off by {off}")


def leave_out_polynomials(cards: SkyCards) -> None:
    """Leave out the polynomials that TNX adds to TAN."""
    types = cards.of_both_axes("CTYPE")
    if not all(kind.endswith("-TNX") for kind in types):
        return
    names = [*cards.names(TEXTS_OF_IRAF), *(f"CTYPE{axis}" for axis in cards.axes)]
    effect = "positions can be off by as much as they correct"
    cards.leave_out(names, "as TNX has no polynomials that can be used and TAN is used instead", effect)
    _rename(cards, types, "-TNX", "-TAN")


def leave_out_sip(cards: SkyCards, why: str = "as this distortion cannot be used") -> None:
    """Leave out the SIP polynomials, in the CTYPE as well."""
    terms = [*cards.names(SIP), *cards.names(SIP_INVERSE)]
    if terms:
        cards.leave_out(terms, why, f"applied, they would move positions by {_sip_moves(cards)}")
    _rename(cards, cards.of_both_axes("CTYPE"), "-SIP", "")


def has_plate(cards: SkyCards) -> bool:
    """Whether there is a plate solution of the Digitized Sky Survey."""
    return all(keyword in cards for keyword in WHOLE_PLATE)


def _settle_unreadable(cards: SkyCards) -> None:
    harmless = []
    for keyword, value in cards.unreadable.items():
        kind = "year" if keyword in EQUINOXES else "number"
        wrong = f"{keyword} = {value} is not a {kind}" if value.text.strip() else f"{keyword} has no value"
        if any(pattern.fullmatch(keyword) for pattern in (PLATE, SIP, SIP_INVERSE)):
            continue  # what they belong to is not whole
        if _does_not_matter(cards, keyword):
            harmless.append(wrong)
        elif keyword in EQUINOXES:
            effect = "positions are off by 50 arcsec for each year that it is not 2000 (FK4: 1950)"
            cards.remark(f"{keyword} left out, as {wrong}; {effect}")
        else:
            raise NoCoordinatesError(wrong)
    if harmless:
        cards.remark(f"left out, as {listed(harmless)}; {NO_POSITION}")


def _does_not_matter(cards: SkyCards, keyword: str) -> bool:
    """Whether a keyword is of another axis, a scale that a matrix stands for, or an equinox that nothing needs."""
    if keyword in EQUINOXES:
        system = cards.text("RADESYS") or cards.text("RADECSYS")
        return any(name in cards for name in EQUINOXES) or system.upper().startswith("ICR")
    replaced = _matrix(cards) and keyword.startswith(("CDELT", "CROTA"))
    return bool(replaced) or keyword == "WCSAXES" or not cards.is_of_the_image(keyword)


def _matrix(cards: SkyCards) -> list[str]:
    """The keywords of the CD matrix."""
    return [keyword for keyword in cards.names(MATRIX) if keyword.startswith("CD")]


def _settle_matrix(cards: SkyCards) -> None:
    """What is not there of a CD matrix is 0 (FITS standard 4.0, 8.2), where wcslib puts 1 on the diagonal."""
    elements = _matrix(cards)
    if not any(cards.is_of_the_image(keyword) for keyword in elements):
        cards.leave_out(elements, "as it is a matrix of other axes than the image's", NO_POSITION)
        return
    (a, b), (c, d) = (
        [cards.number(f"CD{i}_{j}", cards.number(f"CD{i:03}{j:03}", 0)) for j in cards.axes] for i in cards.axes
    )
    if a * d == b * c:
        raise NoCoordinatesError(NO_INVERSE)


def _settle_plate(cards: SkyCards) -> None:
    """wcslib takes one keyword of a plate solution for the promise of all others."""
    if has_plate(cards) and cards.names(TABLES):
        # wcslib cannot have both, and takes the process down.
        cards.leave_out(cards.names(PLATE), "as the header has tables of distortions as well", "those are taken")
    elif has_plate(cards):
        # wcslib makes a name of it, or of anything that lies in its memory, and stumbles where it comes last.
        cards.put("PLATEID", cards.text("PLATEID"), quoted=True, first=True)
    else:
        cards.leave_out(cards.names(PLATE), "as they are not a complete plate solution (DSS)", NO_POSITION)


def _settle_sip(cards: SkyCards) -> None:
    """SIP is what CTYPE says (Shupe et al. 2005, ASPC 347, 491), and a polynomial for each axis."""
    unreadable = [name for name in cards.unreadable if SIP.fullmatch(name)]
    there = [axis for axis in "AB" if f"{axis}_ORDER" in cards]
    if has_plate(cards):
        leave_out_sip(cards, "as there is a plate solution (DSS)")
    elif not all(kind.endswith("-SIP") for kind in cards.of_both_axes("CTYPE")):
        leave_out_sip(cards, "as CTYPE has no -SIP")
    elif unreadable:
        leave_out_sip(cards, f"as {unreadable[0]} = {cards.unreadable[unreadable[0]]} is not a number")
    elif len(there) == 1:
        lacking = "B" if there == ["A"] else "A"
        leave_out_sip(cards, f"as there is {there[0]}_ORDER without {lacking}_ORDER")
    whole = "AP_ORDER" in cards and "BP_ORDER" in cards
    if not whole or any(SIP_INVERSE.fullmatch(name) for name in cards.unreadable):
        why = "as the polynomials from sky to pixels are not whole"
        cards.leave_out(cards.names(SIP_INVERSE), why, NO_POSITION)
    for keyword in ("A_ORDER", "B_ORDER"):
        # astropy forgets both polynomials where one has a lower order.
        if keyword in cards and cards.number(keyword, 0) < 2:
            cards.put(keyword, "2")


def _sip_moves(cards: SkyCards) -> str:
    """How far the SIP polynomials move positions in the image, at most."""
    if any(SIP.fullmatch(keyword) for keyword in cards.unreadable):
        return "what cannot be read"
    u, v = (
        np.linspace(1, side, 9) - cards.number(f"CRPIX{axis}", 0)
        for axis, side in zip(cards.axes, cards.sides, strict=True)
    )
    moved = []
    for name in "AB":
        order = int(cards.number(f"{name}_ORDER", 0))
        terms = [[cards.number(f"{name}_{i}_{j}", 0) for j in range(order + 1)] for i in range(order + 1)]
        with np.errstate(all="ignore"):
            moved.append(np.polynomial.polynomial.polygrid2d(u, v, np.array(terms)))
    most = float(np.hypot(*moved).max())
    return f"up to {most:.2g} pixels" if math.isfinite(most) else "more than any number"


def _settle_scamp(cards: SkyCards) -> None:
    """The polynomials of TPV by their name, and those of their terms whose default is not 0."""
    types = cards.of_both_axes("CTYPE")
    if all(kind.endswith("-TAN") for kind in types) and _has_scamp_terms(cards):
        _rename(cards, types, "-TAN", "-TPV")
    for axis, kind in zip(cards.axes, cards.of_both_axes("CTYPE"), strict=True):
        if kind.endswith("-TPV") and f"PV{axis}_1" not in cards:
            cards.put(f"PV{axis}_1", "1.0")


def _has_scamp_terms(cards: SkyCards) -> bool:
    """Whether the PV of a TAN projection are the polynomials that SCAMP wrote before there was TPV.

    Those of TAN are but the native coordinates of the reference point, on the axis of the longitude (FITS WCS paper II,
    2.5), whose latitude is above 0.
    """
    longitude, latitude = sorted(cards.axes, key=lambda axis: _is_latitude(cards, axis))
    of_latitude = cards.names(re.compile(rf"PV{latitude}_\d+"))
    return bool(of_latitude and cards.number(f"PV{latitude}_1", 1)) or cards.number(f"PV{longitude}_2", 90) <= 0


def _settle_order(cards: SkyCards) -> None:
    """Put the right ascension first before polynomials: wcslib mixes up those of the other order, or forgets them.

    It is the axes of the sky that change places, not those of the pixels.
    """
    if not (_is_latitude(cards, cards.axes[0]) and cards.of_both_axes("CTYPE")[0].endswith(("-TPV", "-TNX", "-ZPX"))):
        return
    if list(cards.axes) != [1, 2] or not _matrix(cards):
        raise NoCoordinatesError("its declination comes first, in a form in which its distortion cannot be used")
    numbers = {"1": "2", "2": "1"}
    found = [(name, OF_AN_AXIS.fullmatch(name)) for name in cards.names(OF_AN_AXIS)]
    cards.rename({name: parts[1] + numbers[parts[2]] + parts[3] for name, parts in found if parts})


def _is_latitude(cards: SkyCards, axis: int) -> bool:
    return cards.text(f"CTYPE{axis}")[1:].startswith(("EC", "LA"))


def _settle_iraf(cards: SkyCards) -> None:
    """The texts of IRAF where TNX and ZPX use them: wcslib stumbles over some that nothing uses."""
    kind, texts = cards.of_both_axes("CTYPE")[0], cards.names(TEXTS_OF_IRAF)
    if not kind.endswith(("-TNX", "-ZPX")):
        cards.drop(texts)
    elif not texts:
        leave_out_polynomials(cards)
    else:
        names = [sorted(name for name in texts if name.startswith(f"WAT{axis}_")) for axis in (1, 2)]
        pieces = fits_sky_iraf.readable([[cards.whole_text(name) for name in of_axis] for of_axis in names])
        cards.drop([name for of_axis in names for name in of_axis])
        for axis, of_axis in enumerate(pieces, start=1):
            for number, piece in enumerate(of_axis, start=1):
                cards.put(f"WAT{axis}_{number:03}", piece, quoted=True)


def _rename(cards: SkyCards, types: list[str], ending: str, other: str) -> None:
    """Have both CTYPE end in another way, where they end in this one."""
    for axis, kind in zip(cards.axes, types, strict=True):
        if kind.endswith(ending):
            cards.put(f"CTYPE{axis}", kind.removesuffix(ending) + other, quoted=True)
