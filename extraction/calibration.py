"""Numbers that turn pixel values into physics: given as numbers, or as keywords of the image's header."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from .errors import InputError
from .images import Image
from .settings import Settings

# Keywords by which cameras, surveys and pipelines record these, in the order in which they are looked for.
USUAL_KEYWORDS = {
    "gain": ("GAIN", "EGAIN", "CCDGAIN", "GAINEFF", "ARAWGAIN"),
    "zeropoint": ("MAGZERO", "MAGZPT", "MAGZP", "ZEROPT", "ZPT", "PHOTZP", "SEXMGZPT", "MAG_ZP"),
    "saturation": ("SATURATE", "SATURATION", "SATLEVEL", "SATURATA"),
}


@dataclass(frozen=True)
class Calibration:
    """Electrons a unit of the image, magnitude of flux 1, level of saturation; None where not given."""

    gain: float | None
    zeropoint: float | None
    saturation: float | None


def resolve(settings: Settings, image: Image) -> Calibration:
    """The values of `--gain`, `--zeropoint` and `--saturation` for the image that is measured.

    Raises InputError where its header has no such keyword or no number in it.
    """
    return Calibration(**{name: _number(settings, name, image) for name in USUAL_KEYWORDS})


def _number(settings: Settings, name: str, image: Image) -> float | None:
    asked = getattr(settings, name)
    if not isinstance(asked, str):
        return asked
    value = image.keyword(asked)
    if value is None:
        raise InputError(
            image.source, f"its header has no keyword {asked!r} for --{name}", "give the number or another keyword"
        )
    bounds = next(option.metadata["bounds"] for option in dataclasses.fields(Settings) if option.name == name)
    number = _as_number(value)
    if number not in bounds:
        raise InputError(
            image.source, f"its keyword {asked} = {value!r} is no value for --{name}, {bounds}", "give the number"
        )
    return number


def unused_keywords(settings: Settings, image: Image) -> list[str]:
    """Options that were not given though the header has a keyword for them, as `--gain GAIN (2)`."""
    found = []
    for name, keywords in USUAL_KEYWORDS.items():
        for keyword in keywords if getattr(settings, name) is None else ():
            value = _as_number(image.keyword(keyword))
            if math.isfinite(value):
                found.append(f"--{name} {keyword} ({value:g})")
                break
    return found


def _as_number(value: object) -> float:
    """A keyword's value as a number, NaN where it is none; some writers put numbers between quotes."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return math.nan
