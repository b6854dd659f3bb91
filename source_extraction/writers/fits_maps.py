"""Arrays -> FITS images with the input's sky coordinates and the provenance."""

from __future__ import annotations

import math
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import sep
from astropy.io import fits

from .. import __version__
from ..core.image import MAP, PROGRAM, Image
from ..core.windows import Map, strips
from ..settings import Settings, as_typed
from .header_cards import cards_of_the_image
from .whole import whole, write_blocks

FITS_BLOCK = 2880  # bytes; every part of a file is a multiple of it (FITS standard 4.0, 3.1)
CARD = 80
STRUCTURE = ("SIMPLE", "BITPIX", "NAXIS", "EXTEND")


def write_map(
    path: Path,
    data: np.ndarray | Map,
    image: Image,
    settings: Settings,
    *,
    unit: str = "",
    still_the_image: bool = False,
    alongside: bool = False,
) -> None:
    """Write `data` (height, width) as the primary HDU, with the celestial WCS of `image`.

    `unit` is the map's BUNIT; `settings` made it. If it is `still_the_image`, rather than a map of something else, it
    keeps the other cards of the image's header. Tables that a distorted WCS refers to follow as extensions. If
    `alongside`, some rows are computed while those before are written.
    """
    celestial = image.celestial
    of_the_sky = fits.Header() if celestial.header is None else celestial.header
    pixels = data if isinstance(data, Map) else Map.showing(data)
    if still_the_image:
        header = _header_of_the_image(pixels, image, of_the_sky, provenance(settings, unit))
    else:
        parts = (_structure(pixels.shape, pixels.dtype.str), _coordinates(of_the_sky))
        which = (MAP, path.name, "which map of the program this is")
        made_by = (_written((*_made_of(settings, unit), which)), _written(tuple(_made_with(settings))))
        header = _ended("".join((*parts, *made_by)))
    with whole(path) as file:
        file.write(header.encode("ascii"))
        # A few rows at a time: the whole map would be byte-swapped in place, in memory that other processes read.
        blocks = (_most_significant_first(pixels.of(window)) for window in strips(pixels.shape))
        write_blocks(file, blocks, alongside=alongside)
        file.write(bytes(-math.prod(pixels.shape) * pixels.dtype.itemsize % FITS_BLOCK))
        for hdu in celestial.tables:
            file.write(_as_extension(hdu))


def _header_of_the_image(
    pixels: Map, image: Image, of_the_sky: fits.Header, made_by: list[tuple[str, Any, str]]
) -> str:
    """The header of a modified image: its cards are kept, except those that the new ones replace."""
    header = fits.Header(cards_of_the_image(image.headers, placed=image.wcs is not None))
    header.extend(of_the_sky, strip=True, unique=True)
    for keyword, value, comment in made_by:
        header[keyword] = (value, comment)
    text: str = fits.PrimaryHDU(np.broadcast_to(pixels.dtype.type(0), pixels.shape), header).header.tostring()
    return text


# The parts of a map's header are independent. Making them card by card takes as long as finding the sources of a small
# image, and the first and the last part are the same for many maps.


@lru_cache(maxsize=64)
def _structure(shape: tuple[int, int], dtype: str) -> str:
    """The cards of a primary HDU that describe its data."""
    zeros = np.broadcast_to(np.zeros((), dtype), shape)
    header = fits.PrimaryHDU(zeros).header
    del header["EXTEND"]  # not needed (FITS standard 4.0, 4.4.2.1)
    return _cards_of(header)


def _coordinates(header: fits.Header) -> str:
    """The cards of the sky coordinates; those of the last image are cached for its other maps."""
    if _of_the_last_image[0] is not header:
        text = _cards_of(header)
        cards = (text[start : start + CARD] for start in range(0, len(text), CARD))
        _of_the_last_image[:] = header, "".join(card for card in cards if card[:8].rstrip() not in STRUCTURE)
    return str(_of_the_last_image[1])


_of_the_last_image: list[Any] = [None, ""]


@lru_cache(maxsize=64)
def _written(cards: tuple[tuple[str, Any, str], ...]) -> str:
    """Cards as text."""
    header = fits.Header()
    for keyword, value, comment in cards:
        header[keyword] = (value, comment)
    return _cards_of(header)


def _cards_of(header: fits.Header) -> str:
    text: str = header.tostring(endcard=False, padding=False)
    return text


def _ended(cards: str) -> str:
    """A header with its END card, padded to whole blocks."""
    text = cards + "END".ljust(CARD)
    return text.ljust(-(-len(text) // FITS_BLOCK) * FITS_BLOCK)


def _most_significant_first(rows: np.ndarray) -> memoryview:
    """The bytes of numbers in FITS's big-endian order."""
    return np.ascontiguousarray(rows, rows.dtype.newbyteorder(">")).data


def _as_extension(hdu: Any) -> bytes:
    """The bytes of an extension, which astropy writes only after a primary HDU: one block, if that is empty."""
    file = BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file)
    return file.getvalue()[FITS_BLOCK:]


def provenance(settings: Settings, unit: str = "") -> list[tuple[str, Any, str]]:
    """Header cards that record the software, the image and the options that made a file."""
    return [*_made_of(settings, unit), *_made_with(settings)]


def _made_of(settings: Settings, unit: str) -> list[tuple[str, Any, str]]:
    cards = [("BUNIT", ascii_only(unit), "unit of the pixels")] if unit else []
    return [
        *cards,
        ("CREATOR", f"{PROGRAM} {__version__}", "program that made this file"),
        ("SEPVER", sep.__version__, "version of SEP"),
        ("IMAGE", ascii_only(settings.title), "input image"),
    ]


def _made_with(settings: Settings) -> list[tuple[str, Any, str]]:
    # Names of more than 8 characters need the HIERARCH convention; all use it, so that they are found together.
    return [
        (f"HIERARCH SEP {name.upper()}", _value(value), "")
        for name, value in (settings.parameters() | {"advice_followed": as_typed(settings.followed)}).items()
    ]


def _value(value: Any) -> Any:
    if value is None:
        return ""
    return value if isinstance(value, bool | int | float) else ascii_only(str(value))


def ascii_only(text: str) -> str:
    """FITS headers hold printable ASCII only (FITS standard 4.0, 4.1.2.3)."""
    return ascii(text)[1:-1]
