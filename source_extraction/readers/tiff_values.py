"""What the stored numbers of a TIFF image mean: missing values, GDAL's scale, brightness, colours."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from ..core.room import Room
from ..core.windows import Window, strips

# PhotometricInterpretation (TIFF 6.0) and the tags of these things; GDAL's own are text.
MIN_IS_WHITE, PALETTE = 0, 3
PHOTOMETRIC, COLOR_MAP = 262, 320
GDAL_METADATA, GDAL_NODATA = 42112, 42113
# The grey of a colour: ITU-R BT.601, luma.
RED, GREEN, BLUE = 0.299, 0.587, 0.114


@dataclass(frozen=True)
class Meaning:
    """How brightness follows from what is stored."""

    nodata: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    inverted_from: int | None = None  # MinIsWhite: of how many bits the numbers are; 0: of all that the type has
    greys: np.ndarray | None = None  # of a palette, for each number

    @property
    def bytes_more(self) -> int:
        """Bytes that a pixel takes besides those it is stored in."""
        if self.greys is not None:
            return 4
        return 8 if self.is_scaled else 0

    @property
    def of_numbers(self) -> Meaning:
        """The same where the numbers are not shown: neither inverted nor coloured."""
        return dataclasses.replace(self, inverted_from=None, greys=None)

    @property
    def is_scaled(self) -> bool:
        """Whether GDAL's scale and offset change anything."""
        return (self.scale, self.offset) != (1.0, 0.0)

    def remarks(self) -> list[str]:
        """What the log should say of it."""
        said = []
        if self.greys is not None:
            said.append(
                f"Palette image: the grey of its colours is taken, {RED} red + {GREEN} green + {BLUE} blue, 0 to 65535"
            )
        if self.is_scaled:
            said.append(f"GDAL's scale and offset are applied: {self.scale:g} x stored value + {self.offset:g}")
        if self.inverted_from is not None:
            said.append("MinIsWhite: values are inverted, so that bright is large")
        return said


def meaning_of(page: tifffile.TiffPage, sample: int) -> Meaning:
    """What the directory of a page says of its numbers; `sample` counts the channels of a pixel."""
    # Without the tag there is nothing to invert; tifffile then says 0, which is MinIsWhite.
    photometric = page.tags.valueof(PHOTOMETRIC)
    photometric = int(photometric) if isinstance(photometric, int) else None
    bits = page.bitspersample
    scale, offset = _scale(page.tags.valueof(GDAL_METADATA), sample)
    return Meaning(
        nodata=_nodata(page.tags.valueof(GDAL_NODATA)),
        scale=scale,
        offset=offset,
        inverted_from=(bits if isinstance(bits, int) else 0) if photometric == MIN_IS_WHITE else None,
        greys=_greys(page) if photometric == PALETTE else None,
    )


def brightness(stored: np.ndarray, missing: np.ndarray | None, meaning: Meaning, room: Room) -> np.ndarray:
    """Bright as large, NaN where `missing` is set or the value says so. May change `stored`."""
    windows = list(strips((stored.shape[0], stored.shape[1])))

    def absent_in(window: Window) -> np.ndarray | None:
        absent = None if missing is None else window.of(missing)
        if meaning.nodata is None:
            return absent
        # Of what is stored: inverted or scaled, it is another value.
        without = window.of(stored) == meaning.nodata
        return without if absent is None else absent | without

    lacking = any(absent is not None and absent.any() for absent in map(absent_in, windows))
    kind = np.result_type(_unscaled(windows[0].of(stored), meaning), *([np.float64] if meaning.is_scaled else []))
    highest = -np.inf
    if meaning.inverted_from is not None and kind.kind == "f":
        highest = max(_greatest(_scaled(window.of(stored), meaning), absent_in(window)) for window in windows)
    holding = np.dtype(np.float64) if lacking and kind.kind in "biu" else kind
    changed = meaning.greys is not None or meaning.is_scaled or meaning.inverted_from is not None
    pixels = stored if not changed and holding == stored.dtype else room.empty(stored.shape, holding)
    for window in windows if changed or lacking else ():
        absent, some = absent_in(window), _scaled(window.of(stored), meaning)
        if meaning.inverted_from is not None:
            some = _inverted(some, highest, meaning.inverted_from)
        window.of(pixels)[:] = some
        if absent is not None and lacking:
            window.of(pixels)[absent] = np.nan
    return pixels


def _unscaled(stored: np.ndarray, meaning: Meaning) -> np.ndarray:
    return stored if meaning.greys is None else _grey(stored, meaning.greys)


def _scaled(stored: np.ndarray, meaning: Meaning) -> np.ndarray:
    pixels = _unscaled(stored, meaning)
    return pixels.astype(np.float64) * meaning.scale + meaning.offset if meaning.is_scaled else pixels


def _greatest(pixels: np.ndarray, missing: np.ndarray | None) -> float:
    good = np.isfinite(pixels) if missing is None else np.isfinite(pixels) & ~missing
    return pixels.max(where=good, initial=-np.inf)


def _inverted(pixels: np.ndarray, highest: float, bits: int) -> np.ndarray:
    """The same differences with the other sign, in the same type; `highest` is the greatest of all floats."""
    kind = pixels.dtype.kind
    if kind in ("b", "i"):
        # -1 - value: no number overflows.
        return ~pixels
    if kind == "u":
        most = np.iinfo(pixels.dtype).max if not 0 < bits < 8 * pixels.dtype.itemsize else 2**bits - 1
        return pixels.dtype.type(most) - pixels
    return highest - pixels if np.isfinite(highest) else pixels


def _grey(stored: np.ndarray, greys: np.ndarray) -> np.ndarray:
    # A number beyond the palette has no colour.
    return np.take(
        np.append(greys, np.float32(np.nan)), stored.astype(np.uint8) if stored.dtype == bool else stored, mode="clip"
    )


def _greys(page: tifffile.TiffPage) -> np.ndarray:
    """The grey of each colour of the palette; ValueError if it has none that fits."""
    colors = page.tags.valueof(COLOR_MAP)
    if colors is None or np.size(colors) % 3 or page.dtype is None or page.dtype.kind not in "bu":
        raise ValueError("it is a palette image without the colours of its palette")
    if page.samplesperpixel != 1:
        raise ValueError("it is a palette image with more than one number for each pixel")
    red, green, blue = np.reshape(np.asarray(colors, np.float64), (3, -1))
    # Rounded: a palette of greys gives the greys themselves.
    return np.round(RED * red + GREEN * green + BLUE * blue, 6).astype(np.float32)


def _nodata(text: Any) -> float | None:
    """GDAL's value of missing pixels. Whole numbers stay whole: float64 does not hold all of 64 bits."""
    text = str(text if text is not None else "").strip(" \0")
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return None


def _scale(text: Any, sample: int) -> tuple[float, float]:
    """GDAL's scale and offset of a channel, from its metadata in XML; 1 and 0 without."""
    found = {"scale": 1.0, "offset": 0.0}
    try:
        items = ElementTree.fromstring(str(text).strip(" \0\n")) if text is not None else ()
        for item in items:
            role = item.get("role", "")
            value = float(item.text or "nan") if role in found else math.nan
            if math.isfinite(value) and int(item.get("sample", sample)) == sample:
                found[role] = value
    except (ElementTree.ParseError, ValueError):
        return 1.0, 0.0
    return (found["scale"], found["offset"]) if found["scale"] else (1.0, 0.0)
