"""Where a FITS image lies on the sky, by its header and, for some distortions, by other HDUs of its file."""

from __future__ import annotations

import io
import re
from typing import BinaryIO

import numpy as np
from astropy.io import fits

from ..core.image import Celestial
from .fits_structure import BLOCK, CARD, HDU, numbers_in, quiet, text_of
from .fits_tiles import PRIMARY

# Keywords of distortions that other HDUs hold (FITS WCS paper IV; -TAB: paper III), and what those are called.
DISTORTION_TABLES = ("CPDIS1", "CPDIS2", "D2IMDIS1", "D2IMDIS2", "PS1_0", "PS2_0")
NAMES_OF_TABLES = ("WCSDVARR", "D2IMARR")
MOST_TABLE_BYTES = 2**28
# astropy and wcslib make arrays of the square of these, or loop over them (SIP: the order of a polynomial; the number
# of axes; terms of a distortion). No image has more than some ten.
SQUARED = re.compile(r"(?:HIERARCH\s+)?(?:(?:A|B|AP|BP)_ORDER|WCSAXES[A-Z]?|NAXIS)\s*=", re.IGNORECASE)
TERMS = re.compile(r"(?:HIERARCH\s+)?D[PQ]\d+[A-Z]?\b.*(?:NAXES|NTERMS|NAUX)", re.IGNORECASE)
MOST = 99


def celestial_of_header(header: fits.Header, tables: fits.HDUList | None, axes: list[int]) -> Celestial:
    """The celestial WCS of an image's columns and rows.

    `axes` are the FITS numbers of the two axes. They keep their order: some images have the declination first.
    """
    axes_there = min(int(header.get("NAXIS", 0)), MOST)
    if not any(text_of(header, f"CTYPE{i}") for i in range(1, axes_there + 1)):
        return Celestial()
    from astropy.wcs import WCS

    with quiet():
        try:
            if not _is_bounded(header):
                return Celestial()
            wcs = WCS(header, tables).sub(axes)
            if not wcs.has_celestial or not np.isfinite(wcs.wcs_pix2world([[0, 0]], 0)).all():
                return Celestial()
            return Celestial(wcs, wcs.to_fits(relax=True))
        except Exception:
            # wcslib and astropy raise a dozen types for unusable keywords; the pixels are good all the same.
            return Celestial()


def needs_tables(header: fits.Header) -> bool:
    """Whether other HDUs of the file belong to the coordinates."""
    return any(keyword in header for keyword in DISTORTION_TABLES)


def distortion_tables(header: fits.Header, hdus: list[HDU], file: BinaryIO) -> fits.HDUList:
    """The HDUs that distortions may name, and no others, in memory."""
    named = {*NAMES_OF_TABLES, text_of(header, "PS1_0").upper(), text_of(header, "PS2_0").upper()} - {""}
    content = io.BytesIO()
    content.write(PRIMARY)
    for hdu in hdus[1:]:
        if hdu.name.upper() in named and hdu.data_size + content.tell() < MOST_TABLE_BYTES:
            file.seek(hdu.data_start)
            data = file.read(hdu.data_size)
            for part, padding in ((hdu.text.encode("ascii") + b"END".ljust(CARD), b" "), (data, b"\0")):
                content.write(part.ljust(-(-len(part) // BLOCK) * BLOCK, padding))
    content.seek(0)
    with quiet():
        return fits.open(content, memmap=False, lazy_load_hdus=False)


def _is_bounded(header: fits.Header) -> bool:
    """Whether no keyword makes arrays or loops that are out of all proportion."""
    text = header.tostring(sep="", endcard=False, padding=False)
    cards = (text[start : start + CARD] for start in range(0, len(text), CARD))
    return not any(
        max(numbers_in(card), default=0) > MOST
        for card in cards
        if SQUARED.match(card.lstrip()) or TERMS.match(card.lstrip())
    )
