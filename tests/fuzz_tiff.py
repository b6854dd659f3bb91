"""TIFF files for the fuzz test: valid but strange, with damaged compressed pixels, with hostile tags."""

import functools
import io
import struct
from typing import Any

import numpy as np
import tifffile

from tests.fuzz_cases import UUID, Case, chance, counts, pick, size
from tests.fuzz_fits import damage

TYPES = ("?", *("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"))
SMALL = ("u1", "u2")
OF_ANY_TYPE = ("lzw", "zlib", "deflate", "lzma", "zstd", "packbits", "pixtiff")
# What keeps every digit of which types.
LOSSLESS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    **{codec: (TYPES, {}) for codec in OF_ANY_TYPE},
    "png": (SMALL, {}),
    "jpeg": (SMALL, {"lossless": True}),
    "jpegxl": ((*SMALL, "f2", "f4"), {"lossless": True}),
    "jpeg2000": (("u1", "i1", "u2", "i2"), {"reversible": True, "level": 0}),
    "lerc": (("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"), {}),
    "jpegxr": (SMALL, {"level": 1.0}),
}
LOSSY: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "jpeg": (("u1",), {"level": 90}),
    "jpegxr": (("u1",), {"level": 0.9}),
    "webp": (("u1",), {"level": 80}),
}
NODATA, GDAL = 42113, 42112
# Tags that decide over sizes, loops and allocations (TIFF 6.0, and what tifffile knows besides).
TAGS = (
    *(254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339, 347),
    *(270, 32997, 32998, 33550, 33922, 34264, 34735, 42112, 42113, 50838, 50839, 65000),
)
SMALL_NUMBERS = (0, 1, 2, 3, 7, 8, 12, 15, 33, 64, 255, 4096, 2**15, 2**16 - 1)
NUMBERS = (*SMALL_NUMBERS, 2**16, 2**24, 2**30, 2**31 - 1, 2**31, 2**32 - 1)
LARGE_NUMBERS = (2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


def strange(random: np.random.Generator) -> Case:
    """A valid file as few write it: what it holds is known from how it is made."""
    kind = str(pick(random, TYPES))
    # tifffile writes samples of one bit that it does not read back.
    arrangement = str(pick(random, ("one", "one", "one", "pages", "planar", *(["samples"] if kind != "?" else []))))
    number = int(random.integers(2, 5)) if arrangement != "one" else 1
    stored = _stored(kind, number, random)
    chosen = int(random.integers(number))
    inverted = arrangement in ("one", "pages") and chance(random, 0.25)
    if inverted:
        stored = _inverted(stored)
    pixels = _inverted(stored) if inverted else stored
    # Of floats, the largest of the plane becomes 0.
    plane = pixels[chosen] if kind[0] != "f" or not inverted else np.nanmax(stored[chosen]) - stored[chosen]
    sample = chosen if arrangement in ("samples", "planar") else 0
    values, tags = _gdal(stored[chosen], plane.astype(np.float64), inverted, sample, random)
    options = _options(kind, arrangement, inverted, random)
    content = _written(stored, arrangement, tags, options)
    arguments = ("--plane", str(chosen)) if number > 1 else ()
    about = f"strange TIFF, {kind}, {arrangement} {stored.shape}, {options}, {tags}"
    return Case(about, content, arguments=arguments, pixels=values)


def _stored(kind: str, number: int, random: np.random.Generator) -> np.ndarray:
    """So many planes, in most of the range of a type."""
    seen = counts(random, number, *size(random))
    if kind == "?":
        return seen > 35
    if kind[0] == "f":
        return (seen + random.normal(0, 0.3, seen.shape)).astype(kind)
    room = int(np.iinfo(kind).max) // 127
    return seen.astype(kind) * np.dtype(kind).type(pick(random, (1, room, max(room // 9, 1))))


def _inverted(stored: np.ndarray) -> np.ndarray:
    """The same differences with the other sign."""
    if stored.dtype.kind == "f":
        return stored.max() - stored
    return ~stored


def _gdal(
    stored: np.ndarray, values: np.ndarray, inverted: bool, sample: int, random: np.random.Generator
) -> tuple[np.ndarray, list[tuple[Any, ...]]]:
    """Tags that say which value is none, or how values are scaled; and what the values then are."""
    tags: list[tuple[Any, ...]] = []
    if stored.dtype == bool or inverted:
        return values, tags
    missing = np.zeros(stored.shape, bool)
    if chance(random, 0.2):
        nodata = stored.flat[random.integers(stored.size)]
        missing = stored == nodata
        tags.append((NODATA, "s", 0, f"{nodata!s}" if stored.dtype.kind != "f" else repr(float(nodata)), True))
    if chance(random, 0.2):
        scale, offset = pick(random, (0.5, 3.7, 1e-3)), pick(random, (0.0, -100.0, 0.1))
        items = f'<Item sample="{sample}" role="scale">{scale!r}</Item><Item role="offset">{offset!r}</Item>'
        tags.append((GDAL, "s", 0, f"<GDALMetadata>{items}</GDALMetadata>", True))
        values = values * scale + offset
    return np.where(missing, np.nan, values), tags


def _options(kind: str, arrangement: str, inverted: bool, random: np.random.Generator) -> dict[str, Any]:
    """How it is written: byte order, strips or tiles, codec, predictor, metadata."""
    options: dict[str, Any] = {"byteorder": pick(random, "<>"), "bigtiff": chance(random, 0.3)}
    options["photometric"] = "miniswhite" if inverted else "minisblack"
    if arrangement in ("samples", "planar"):
        options["planarconfig"] = "contig" if arrangement == "samples" else "separate"
    codec = None
    if chance(random, 0.7):
        fit = [codec for codec, (kinds, _) in LOSSLESS.items() if kind in kinds]
        if arrangement == "samples":
            fit = [codec for codec in fit if codec in OF_ANY_TYPE]
        if inverted and kind == "u2":  # tifffile then writes that 12 bits are used, whatever the numbers are
            fit.remove("jpeg")
        codec = str(pick(random, fit))
        options |= {"compression": codec, "compressionargs": LOSSLESS[codec][1] or None}
        if codec not in OF_ANY_TYPE:  # these have a byte order of their own, and take this machine's
            options["byteorder"] = "="
    if codec in OF_ANY_TYPE and codec != "pixtiff" and kind != "?" and chance(random, 0.4):
        options["predictor"] = 3 if kind[0] == "f" else 2
    if chance(random, 0.4):
        options["tile"] = (int(16 * random.integers(1, 5)), int(16 * random.integers(1, 5)))
    elif chance(random, 0.7):
        options["rowsperstrip"] = int(pick(random, (1, 3, 7, 16, 59, 1000)))
    return options | _metadata(kind, arrangement, options, random)


def _metadata(kind: str, arrangement: str, options: dict[str, Any], random: np.random.Generator) -> dict[str, Any]:
    """None, tifffile's own, OME's or ImageJ's, as far as they allow such an image."""
    axes = {"one": "YX", "pages": "CYX", "samples": "YXS", "planar": "SYX"}[arrangement]
    fit: list[dict[str, Any]] = [{"metadata": None}, {"metadata": None, "description": "<OME not XML"}, {}]
    if arrangement in ("one", "pages"):
        if kind not in ("f2", "u8", "i8"):
            fit.append({"ome": True, "metadata": {"axes": axes, "UUID": UUID}})
        if kind in ("u1", "u2", "f4") and not options["bigtiff"] and options["photometric"] == "minisblack":
            fit.append({"imagej": True, "metadata": {"axes": axes, "unit": "um"}})
    return dict(pick(random, fit))


def _written(stored: np.ndarray, arrangement: str, tags: list[tuple[Any, ...]], options: dict[str, Any]) -> bytes:
    pixels = {"one": stored[0], "samples": np.moveaxis(stored, 0, -1)}.get(arrangement, stored)
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, extratags=tags, software=False, **options)
    return file.getvalue()


@functools.cache
def _codec_files() -> tuple[tuple[str, bytes], ...]:
    """Compressed images of every codec that can be written, in strips and tiles."""
    random = np.random.default_rng(4)
    seen = counts(random, 40, 50)
    files = []
    for codec, (kinds, arguments) in (*LOSSLESS.items(), *LOSSY.items()):
        for kind in sorted({"u1", "u2", "f4"} & set(kinds)):
            for places in ({}, {"tile": (16, 32)}):
                pixels = seen.astype(kind)
                more = {"photometric": "minisblack"}
                if codec == "webp":  # which has colours only
                    pixels, more = np.stack([pixels] * 3, -1), {"photometric": "rgb"}
                file = io.BytesIO()
                tifffile.imwrite(
                    file, pixels, compression=codec, compressionargs=arguments or None, metadata=None, **places, **more
                )
                files.append((codec, file.getvalue()))
    return tuple(files)


def damaged_stream(random: np.random.Generator) -> Case:
    """Damage in the compressed bytes of strips or tiles, or in the sizes that the directory gives for them."""
    codec, content = pick(random, _codec_files())
    data = bytearray(content)
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        page = tiff.pages[0]
        number = int(random.integers(len(page.dataoffsets)))
        begin, count = page.dataoffsets[number], page.databytecounts[number]
        sizes = page.tags[325 if page.is_tiled else 279]
    if chance(random, 0.2):
        begin, count = sizes.valueoffset, sizes.count * {3: 2, 4: 4, 16: 8}[int(sizes.dtype)]
    damage(data, begin, begin + count, random)
    arguments = ("--plane", "0") if codec == "webp" else ()
    return Case(f"damaged stream, {codec}", bytes(data), arguments=arguments)


@functools.cache
def _tagged_files() -> tuple[bytes, ...]:
    """Files with the tags that decide over sizes: strips, tiles, samples, pages, both widths and byte orders."""
    random = np.random.default_rng(5)
    seen = counts(random, 40, 50)
    geographic = [
        (33550, "d", 3, (1.0, 1.0, 0.0), True),
        (33922, "d", 6, (0.0,) * 6, True),
        (NODATA, "s", 0, "0", True),
    ]
    files = []
    for options in (
        {"byteorder": "<", "rowsperstrip": 7},
        {"byteorder": ">", "bigtiff": True, "tile": (16, 16)},
        {"compression": "lzw", "predictor": 2, "rowsperstrip": 8, "extratags": geographic},
        {"compression": "jpeg", "tile": (16, 16), "byteorder": ">"},
        {"compression": "zstd", "bigtiff": True, "ome": True, "metadata": {"UUID": UUID}},
    ):
        file = io.BytesIO()
        tifffile.imwrite(file, seen.astype(np.uint8), **options)
        files.append(file.getvalue())
    colours = (seen.astype(np.uint8), np.zeros((3, 256), np.uint16))
    for pixels, more in (
        (colours[0], {"photometric": "palette", "colormap": colours[1]}),
        (np.stack([seen] * 3), {"photometric": "rgb", "planarconfig": "separate"}),
    ):
        file = io.BytesIO()
        tifffile.imwrite(file, pixels.astype(np.uint8), **more)
        files.append(file.getvalue())
    return tuple(files)


def hostile_tags(random: np.random.Generator) -> Case:
    """Types, counts and values of tags are replaced by what no file of that size has; tags come twice."""
    content = pick(random, _tagged_files())
    data = bytearray(content)
    changed = [_change_tag(data, random) for _ in range(random.integers(1, 4))]
    # Of the file with three planes, and of others that may have become such.
    arguments = (
        ("--plane", str(random.integers(3))) if chance(random, 0.9 if content is _tagged_files()[-1] else 0.2) else ()
    )
    return Case(f"hostile tags, {changed}", bytes(data), arguments=arguments)


def _change_tag(data: bytearray, random: np.random.Generator) -> str:
    """One change in the first directory; what it was."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2 if order == "<" else 3] == 43
    number, tag, offset = ("Q", "HHQQ", "Q") if big else ("H", "HHII", "I")
    (first,) = struct.unpack_from(order + offset, data, 8 if big else 4)
    (tags,) = struct.unpack_from(order + number, data, first)
    begin, width = first + struct.calcsize(number), struct.calcsize("=" + tag)
    places = [begin + width * index for index in range(min(tags, 50)) if begin + width * (index + 1) <= len(data)]
    if not places:
        return "nothing left"
    numbers = NUMBERS + (LARGE_NUMBERS if big else ())
    place = int(pick(random, places))
    code, kind, count, value = struct.unpack_from(order + tag, data, place)
    way = str(pick(random, ("count", "count", "value", "value", "value", "type", "code", "twice", "next", "tags")))
    if way == "next":
        end = min(begin + width * tags, len(data) - struct.calcsize(offset))
        struct.pack_into(order + offset, data, end, int(pick(random, (first, 8, 1, len(data) - 2))))
        return "next directory"
    if way == "tags":
        struct.pack_into(order + number, data, first, int(pick(random, NUMBERS if big else SMALL_NUMBERS)))
        return "number of tags"
    if way == "twice":
        code, kind, count, value = struct.unpack_from(order + tag, data, int(pick(random, places)))
    elif way == "count":
        count = int(pick(random, numbers))
    elif way == "type":
        kind = int(pick(random, (*range(20), 255, 65535)))
    elif way == "code":
        code = int(pick(random, TAGS))
    if way in ("value", "twice"):
        value = int(pick(random, (*numbers, len(data), len(data) - 1, first, place)))
        if kind == 3 and count == 1 and order == ">":  # a short number stands at the beginning of its field
            value = (value & 0xFFFF) << (48 if big else 16)
    struct.pack_into(order + tag, data, place, code, kind, count, value)
    return f"{way} of {code}: type {kind}, count {count}, value {value}"
