"""Arrays -> FITS images that keep the input's sky coordinates and say how they were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import sep
from astropy.io import fits

from .. import __version__
from ..core.image import Image
from ..settings import Settings

ROWS_AT_A_TIME = 256
PROGRAM = "source-extraction"


def write_map(
    path: Path, data: np.ndarray, image: Image, settings: Settings, *, unit: str = "", scale: float | None = None
) -> None:
    """Write `data` (height, width), times `scale`, as the primary HDU, with the celestial WCS of `image`.

    `unit` is the map's BUNIT; `settings` made it. Tables that a distorted WCS refers to follow as
    extensions.
    """
    wcs_hdus = image.celestial.hdus or [fits.PrimaryHDU()]
    header = wcs_hdus[0].header.copy()
    for keyword, value, comment in provenance(settings, unit):
        header[keyword] = (value, comment)
    header = fits.PrimaryHDU(np.broadcast_to(data.dtype.type(0), data.shape), header).header
    # Rows at a time: astropy would turn the bytes of the whole map, in memory that other processes read.
    stream = fits.StreamingHDU(path, header)
    for first in range(0, len(data), ROWS_AT_A_TIME):
        rows = data[first : first + ROWS_AT_A_TIME]
        stream.write(rows if scale is None else rows * data.dtype.type(scale))
    stream.close()
    for hdu in wcs_hdus[1:]:
        fits.append(path, hdu.data, hdu.header)


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
        (f"HIERARCH SEP {name.upper()}", _value(value), "") for name, value in settings.parameters().items()
    ]


def _value(value: Any) -> Any:
    if value is None:
        return ""
    return value if isinstance(value, bool | int | float) else ascii_only(str(value))


def ascii_only(text: str) -> str:
    """FITS headers hold printable ASCII only (FITS standard 4.0, 4.1.2.3)."""
    return ascii(text)[1:-1]
