"""Arrays -> FITS images that keep the input's sky coordinates and say how they were made."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import sep
from astropy.io import fits

from .. import __version__
from ..core.image import Image
from ..settings import Settings, as_typed
from .header_cards import cards_of_the_image
from .whole import whole

ROWS_AT_A_TIME = 256
FITS_BLOCK = 2880  # bytes, of which every part of a file is a multiple (FITS standard 4.0, 3.1)
PROGRAM = "source-extraction"


def write_map(
    path: Path,
    data: np.ndarray,
    image: Image,
    settings: Settings,
    *,
    unit: str = "",
    scale: float | None = None,
    still_the_image: bool = False,
) -> None:
    """Write `data` (height, width), times `scale`, as the primary HDU, with the celestial WCS of `image`.

    `unit` is the map's BUNIT; `settings` made it. Where it is `still_the_image`, and no map of something else, it keeps
    the other cards of its header. Tables that a distorted WCS refers to follow as extensions.
    """
    wcs_hdus = image.celestial.hdus or [fits.PrimaryHDU()]
    header = wcs_hdus[0].header.copy()
    if still_the_image:
        header = fits.Header(cards_of_the_image(image.headers, placed=image.wcs is not None))
        header.extend(wcs_hdus[0].header, strip=True, unique=True)
    for keyword, value, comment in provenance(settings, unit):
        header[keyword] = (value, comment)
    header = fits.PrimaryHDU(np.broadcast_to(data.dtype.type(0), data.shape), header).header
    with whole(path) as file:
        file.write(header.tostring().encode("ascii"))
        # Rows at a time: the bytes of the whole map would be turned in memory that other processes read.
        for first in range(0, len(data), ROWS_AT_A_TIME):
            rows = data[first : first + ROWS_AT_A_TIME]
            file.write(_most_significant_first(rows if scale is None else rows * data.dtype.type(scale)))
        file.write(bytes(-data.nbytes % FITS_BLOCK))
        for hdu in wcs_hdus[1:]:
            file.write(_as_extension(hdu))


def _most_significant_first(rows: np.ndarray) -> memoryview:
    """The bytes of numbers in the order of FITS."""
    return np.ascontiguousarray(rows, rows.dtype.newbyteorder(">")).data


def _as_extension(hdu: Any) -> bytes:
    """The bytes of an extension, which astropy writes after a primary HDU only: of one block, if it is empty."""
    file = BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file)
    return file.getvalue()[FITS_BLOCK:]


def provenance(settings: Settings, unit: str = "") -> list[tuple[str, Any, str]]:
    """Header cards that say what made a file, of which image, with which options."""
    cards = [("BUNIT", ascii_only(unit), "unit of the pixels")] if unit else []
    cards += [
        ("CREATOR", f"{PROGRAM} {__version__}", "program that made this file"),
        ("SEPVER", sep.__version__, "version of SEP"),
        ("IMAGE", ascii_only(settings.title), "input image"),
    ]
    # Names of more than 8 characters need the HIERARCH convention; all get it, to be found together.
    return cards + [
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
