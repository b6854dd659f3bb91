"""Numbers that turn pixel values into physics: given as numbers, or as keywords of the image's header."""

from __future__ import annotations

import math
from typing import SupportsFloat

from ..core.image import Image
from ..core.photometry import Calibration
from ..errors import InputError
from ..settings import OPTIONS, PhotometryOptions

# Keywords by which cameras, surveys and pipelines record these, in the order in which they are looked for.
USUAL_KEYWORDS = {
    "gain": ("GAIN", "EGAIN", "CCDGAIN", "GAINEFF", "ARAWGAIN"),
    "zeropoint": ("MAGZERO", "MAGZPT", "MAGZP", "ZEROPT", "ZPT", "PHOTZP", "SEXMGZPT", "MAG_ZP"),
    "saturation": ("SATURATE", "SATURATION", "SATLEVEL", "SATURATA"),
}


def read_calibration(image: Image, options: PhotometryOptions) -> Calibration:
    """The values of `--gain`, `--zeropoint` and `--saturation` for the image that is measured.

    Raises InputError where its header has no such keyword or no number in it.
    """
    return Calibration(**{name: _number(options, name, image) for name in USUAL_KEYWORDS})


def _number(options: PhotometryOptions, name: str, image: Image) -> float | None:
    asked = getattr(options, name)
    if not isinstance(asked, str):
        return asked
    value = image.keyword(asked)
    if value is None:
        raise InputError(
            image.source, f"its header has no keyword {asked!r} for --{name}", "give the number or another keyword"
        )
    option, number = OPTIONS[name], _as_number(value)
    if option.bounds is None or number not in option.bounds:
        raise InputError(
            image.source,
            f"its keyword {asked} = {value!r} is not a value for --{name}, {option.range}",
            "give the number",
        )
    return number


def unused_keywords(image: Image, options: PhotometryOptions) -> list[str]:
    """Options that were not given though the header has a keyword for them, as `--gain GAIN (2)`."""
    found = []
    for name, keywords in USUAL_KEYWORDS.items():
        for keyword in keywords if getattr(options, name) is None else ():
            value = _as_number(image.keyword(keyword))
            if math.isfinite(value):
                found.append(f"--{name} {keyword} ({value:g})")
                break
    return found


def _as_number(value: object) -> float:
    """A keyword's value as a number, NaN if it is not one; some writers put numbers between quotes."""
    if isinstance(value, bool) or not isinstance(value, SupportsFloat | str):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
