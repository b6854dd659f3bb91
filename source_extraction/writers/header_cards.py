"""The header cards of an image that still hold for images made from its pixels."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from astropy.io import fits

# A limit above any real image; each card takes 0.3 ms, and an unknown file may have a quarter of a million.
MOST_CARDS = 10_000
# How the file is built (FITS standard 4.0, 4.4.1), what its stored numbers mean, values derived from them, and when it
# was written: all of this is specific to the original file.
OF_THE_FILE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|EXTNAME|EXTVER|EXTLEVEL|INHERIT|NEXTEND|END|DATE"
    r"|BUNIT|BSCALE|BZERO|BLANK|DATAMIN|DATAMAX|CHECKSUM|DATASUM|BLOCKED"
)
# For the tables that hold compressed images (7.2.1, 10.1).
OF_THE_TABLE = re.compile(
    r"TFIELDS|THEAP|T(?:FORM|TYPE|UNIT|NULL|SCAL|ZERO|DISP|DIM|BCOL)\d+"
    r"|Z(?:IMAGE|TENSION|BITPIX|NAXIS\d*|TILE\d+|CMPTYPE|NAME\d+|VAL\d+|SCALE|ZERO|BLANK|QUANTIZ|DITHER0|MASKCMP)"
    r"|Z(?:SIMPLE|EXTEND|PCOUNT|GCOUNT|HECKSUM|DATASUM|BLOCKED)"
)
# Numbers (9.2) that some software writes as text.
DAYS = re.compile(r"MJD-(?:OBS|AVG|BEG|END)|MJDREF[IF]?")
# Coordinates (8): those of the sky are written anew, from the WCS. Of others only linear ones are kept, for an image
# without a third axis; the rest may confuse readers.
LINEAR = re.compile(r"(?:CTYPE|CRPIX|CRVAL|CDELT|CUNIT|CROTA|CNAME)\d+[A-Z]?|(?:CD|PC)\d+_\d+[A-Z]?|WCSNAME[A-Z]?")
COORDINATES = re.compile(
    rf"{LINEAR.pattern}|(?:PC|CD)\d{{6}}|WCSAXES[A-Z]?|(?:CRDER|CSYER)\d+[A-Z]?|P[VS]\d+_\d+[A-Z]?"
    r"|(?:LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX|EPOCH|SPECSYS|RESTFRQ|RESTWAV)[A-Z]?"
    r"|(?:A|B|AP|BP)_(?:ORDER|DMAX|\d+_\d+)|(?:CPDIS|CQDIS|CPERR|CQERR|D2IMDIS|D2IMERR|AXISCORR)\d*.*|D[PQ]\d+.*|D2IM\d+.*"
    # From the plates of the DSS and from IRAF: wcslib takes these for a second distortion beside the one written anew.
    r"|PLTRA[HMS]|PLTDEC(?:SN|[DMS])|PLATEID|PPO\d+|AMD[XY]\d+|CNPIX[12]|[XY]PIXELSZ|WAT\d_\d+|PROJP\d+"
    r"|(?:CZPHS|CPERI)\d+[A-Z]?"
)


def cards_of_the_image(headers: Iterable[Mapping[str, Any]], *, placed: bool) -> Iterator[fits.Card]:
    """The cards of an image's own header, then those that only the primary HDU has, as far as they still hold.

    They are rewritten to conform to the standard; cards for which that fails, or beyond a very large number, are
    dropped. Coordinates of an image `placed` on the sky come from elsewhere.
    """
    yield from islice(_all_cards(headers, placed), MOST_CARDS)


def _all_cards(headers: Iterable[Mapping[str, Any]], placed: bool) -> Iterator[fits.Card]:
    seen: set[str] = set()
    for header in headers:
        flat = header.get("NAXIS") in (None, 2)
        found = set()
        for keyword, value, comment in _cards(header):
            name = keyword.upper()
            if name in seen or not _holds(name, flat=flat, placed=placed):
                continue
            if name not in ("COMMENT", "HISTORY", ""):
                if name in found:
                    continue
                found.add(name)
            card = _written_anew(keyword, value, comment)
            if card is not None:
                yield card
        # The comments of the primary HDU concern the whole file.
        seen |= found | {"COMMENT", "HISTORY", ""}


def _holds(name: str, *, flat: bool, placed: bool) -> bool:
    """Whether a card still holds, for an image with two axes (`flat`), or with a place on the sky (`placed`)."""
    if OF_THE_FILE.fullmatch(name) or OF_THE_TABLE.fullmatch(name):
        return False
    if COORDINATES.fullmatch(name):
        return flat and not placed and bool(LINEAR.fullmatch(name))
    return True


def _cards(header: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Keyword, value and comment, of a FITS header or any other mapping."""
    cards = getattr(header, "cards", None)
    if cards is None:
        yield from ((str(keyword), value, "") for keyword, value in header.items())
        return
    for card in cards:
        with warnings.catch_warnings(action="ignore"):
            try:
                yield card.keyword, card.value, card.comment
            except (fits.VerifyError, ValueError):
                continue


def _written_anew(keyword: str, value: Any, comment: str) -> fits.Card | None:
    """A card that conforms to the standard; None if that is impossible."""
    with warnings.catch_warnings(action="ignore"):
        try:
            if DAYS.fullmatch(keyword.upper()):
                value = float(value)
            card = fits.Card(keyword, value, comment)
            str(card)
        except (fits.VerifyError, ValueError, TypeError):
            return None
    return card
