"""The pixels of a tile-compressed FITS image (FITS standard 4.0, 10), decompressed in a process of its own.

The decoders are C code that believes what a tile's bytes and the header say. So what can be checked is checked before
they see it: where each tile's bytes lie, and the sizes that the bytes of some codecs repeat. What is left can end or
hold up no more than the process that it is in, which is limited in time and memory.
"""

from __future__ import annotations

import io
import math
import re
import signal
import struct
import sys
from typing import NamedTuple

import numpy as np
from astropy.io import fits

from ..core.processes import isolated
from ..core.room import Room
from ..errors import InputError
from .fits_structure import BLOCK, CARD, HDU, STORED_TYPES, number_of, quiet
from .memory import of_the_process

# Bytes of the types of a table's columns (FITS standard 4.0, table 18), but for bits.
WIDTHS = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
COMPRESSED, FALLBACK = "COMPRESSED_DATA", "GZIP_COMPRESSED_DATA"
HCOMPRESS_BEGINNING = struct.Struct(">2sii")  # magic, rows, columns
HCOMPRESS_MAGIC = b"\xdd\x99"
PLIO_WORDS = struct.Struct(">5h")
DITHER_SEEDS = range(1, 10_001)  # ZDITHER0; from any other, the decoder would read outside its table of numbers
# What decoding may take: ten times what the slowest codec needs on an old machine.
SECONDS, SECONDS_A_PIXEL, SECONDS_A_TILE = 10.0, 2e-6, 1e-3
# Pixels decoded at a time, bytes that a decoder takes for each, and what Python and astropy need besides.
BAND_PIXELS, BYTES_A_PIXEL, BYTES_BESIDES = 2**24, 48, 2**29
PRIMARY = fits.Header({"SIMPLE": True, "BITPIX": 8, "NAXIS": 0, "EXTEND": True}).tostring().encode()


class _Column(NamedTuple):
    """Where a table's rows say where the bytes of their tiles are."""

    offset: int  # in a row
    numbers: str  # numpy's type of the two numbers, how many items and where
    itemsize: int


def image_header(hdu: HDU, source: str) -> fits.Header:
    """The header of the image that is compressed in an HDU."""
    with quiet():
        try:
            with fits.open(io.BytesIO(PRIMARY + _header_bytes(hdu)), memmap=False) as file:
                return file[1].header.copy()
        except MemoryError:
            raise
        except Exception as problem:
            raise _undecodable(source) from problem


def decoded(hdu: HDU, data: bytes, index: tuple[int | slice, ...], source: str, room: Room) -> np.ndarray:
    """One plane of a compressed image, as integers or floats before BSCALE and BZERO.

    `data` is all behind the HDU's header. Raises InputError where it cannot be decompressed.
    """
    tile_shape = _checked(hdu, data, source)
    shape = tuple(side for side, place in zip(hdu.shape, index, strict=True) if isinstance(place, slice))
    pixels = room.shared(shape, STORED_TYPES[hdu.bits])
    tiles = math.prod(-(-side // tile) for side, tile in zip(hdu.shape, tile_shape, strict=True))
    seconds = SECONDS + SECONDS_A_PIXEL * pixels.size + SECONDS_A_TILE * tiles
    band = min(_rows_at_a_time(shape, tile_shape[_axis_of_rows(index)]), shape[0])
    isolated(lambda: _decode(hdu, data, index, pixels, band, source), lambda number: _ended(source, number), seconds)
    return pixels


def _ended(source: str, number: int) -> InputError:
    """What to say where a signal ended the decoder: no decoder makes SIGKILL, but a system without memory does."""
    if sys.platform != "win32" and number == signal.SIGKILL:
        what = "the process that decodes its pixels was ended by the system, most likely because memory ran out"
        return InputError(source, what, "use a machine with more memory")
    return _undecodable(source)


def _decode(hdu: HDU, data: bytes, index: tuple[int | slice, ...], pixels: np.ndarray, band: int, source: str) -> None:
    """Fill `pixels`, so many rows at a time. In a process of its own."""
    limited = _limit_memory(len(data) + band * math.prod(pixels.shape[1:]) * BYTES_A_PIXEL + BYTES_BESIDES)
    content = io.BytesIO(PRIMARY + _header_bytes(hdu) + data)
    try:
        with (
            quiet(),
            fits.open(content, memmap=False, do_not_scale_image_data=True) as file,
        ):
            image = file[1]
            if not isinstance(image, fits.CompImageHDU) or tuple(image.shape) != hdu.shape:
                raise _undecodable(source)
            axis = _axis_of_rows(index)
            for start in range(0, pixels.shape[0], band):
                stop = min(start + band, pixels.shape[0])
                part = (*index[:axis], slice(start, stop), *index[axis + 1 :])
                pixels[start:stop] = image.section[part]
    except MemoryError:
        # The limit is far above what the pixels that the header speaks of need.
        raise (_undecodable(source) if limited else MemoryError()) from None
    except InputError:
        raise
    except Exception as problem:
        raise _undecodable(source) from problem


def _limit_memory(more: int) -> bool:
    """Limit what this process may take besides what it has; whether it was less limited before."""
    if sys.platform != "linux":
        return False
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        limit = int(file.read().split()[0]) * resource.getpagesize() + more
    if of_the_process() <= more:
        return False
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    return True


def _axis_of_rows(index: tuple[int | slice, ...]) -> int:
    return next(axis for axis, place in enumerate(index) if isinstance(place, slice))


def _rows_at_a_time(shape: tuple[int, ...], tile: int) -> int:
    """Whole tiles, of not many more pixels than a band may have."""
    rows = BAND_PIXELS // max(shape[1], 1)
    return max(rows // tile, 1) * tile


def _checked(hdu: HDU, data: bytes, source: str) -> tuple[int, ...]:
    """The shape of the tiles; raises InputError where the table and the bytes of the tiles do not agree with it."""
    header = hdu.header
    try:
        axes = len(hdu.shape)
        tile_shape = tuple(_tile_side(header, axes - axis, side, axes) for axis, side in enumerate(hdu.shape))
        if str(header.get("ZQUANTIZ", "")).upper().startswith("SUBTRACTIVE"):
            _require(header.get("ZDITHER0") in DITHER_SEEDS)
        counts = [-(-side // tile) for side, tile in zip(hdu.shape, tile_shape, strict=True)]
        row, rows = int(header["NAXIS1"]), int(header["NAXIS2"])
        tiles = math.prod(counts)
        _require(tiles <= rows and row * rows <= len(data))
        columns = _columns(header, row)
        _require(COMPRESSED in columns)
        heap_start = int(header.get("THEAP", row * rows))
        _require(row * rows <= heap_start <= len(data))
        table = np.frombuffer(data, np.uint8, row * rows).reshape(rows, row)[:tiles]
        heap = memoryview(data)[heap_start : row * rows + int(header["PCOUNT"])]
        placed = {name: _places(table, column, len(heap)) for name, column in columns.items()}
        codec = str(header["ZCMPTYPE"]).strip()
        if codec in ("HCOMPRESS_1", "PLIO_1"):
            for number, (size, offset) in enumerate(placed[COMPRESSED].tolist()):
                if size:
                    check = _check_hcompress if codec == "HCOMPRESS_1" else _check_plio
                    check(heap[offset : offset + size], _shape_of_tile(number, hdu.shape, tile_shape, counts))
    except MemoryError:
        raise
    except Exception as problem:
        raise _undecodable(source) from problem
    return tile_shape


def _tile_side(header: fits.Header, axis: int, side: int, axes: int) -> int:
    """ZTILEn; by default a tile is a row of the image (FITS standard 4.0, 10.1.1)."""
    tile = header.get(f"ZTILE{axis}", side if axis == 1 else 1)
    _require(isinstance(tile, int) and not isinstance(tile, bool) and 0 < tile < 2**31)
    return min(tile, side)


def _columns(header: fits.Header, row: int) -> dict[str, _Column]:
    """The columns that say where the bytes of the tiles are, by name."""
    found, offset = {}, 0
    for number in range(1, int(header["TFIELDS"]) + 1):
        form = re.fullmatch(r"(\d*)([A-Z])([A-Z]?).*", str(header[f"TFORM{number}"]).strip())
        _require(form is not None)
        repeat, kind, item = form.groups() if form else ("", "", "")
        name = str(header.get(f"TTYPE{number}", "")).strip().upper()
        if name in (COMPRESSED, FALLBACK):
            _require(kind in ("P", "Q") and repeat in ("", "1") and item in ("B", "I", "J"))
            found[name] = _Column(offset, ">i4" if kind == "P" else ">i8", WIDTHS[item])
        count = int(repeat or 1)
        offset += -(-count // 8) if kind == "X" else count * WIDTHS[kind]
        _require(offset <= row)
    return found


def _places(table: np.ndarray, column: _Column, heap: int) -> np.ndarray:
    """How many bytes in the heap each tile has, and where they begin; all lie within it."""
    width = 2 * np.dtype(column.numbers).itemsize
    numbers = np.ascontiguousarray(table[:, column.offset : column.offset + width]).view(column.numbers)
    numbers = numbers.astype(np.int64)
    _require(not numbers.size or bool((numbers >= 0).all() and (numbers <= heap).all()))
    numbers[:, 0] *= column.itemsize
    _require(not numbers.size or bool((numbers.sum(axis=1) <= heap).all()))
    return numbers


def _shape_of_tile(
    number: int, shape: tuple[int, ...], tile_shape: tuple[int, ...], counts: list[int]
) -> tuple[int, ...]:
    """The sides of a tile, which the image's edge may clip, last axis fastest."""
    sides = []
    for side, tile, count in zip(reversed(shape), reversed(tile_shape), reversed(counts), strict=True):
        number, place = divmod(number, count)
        sides.append(min(tile, side - place * tile))
    return tuple(reversed(sides))


def _check_hcompress(stream: memoryview, shape: tuple[int, ...]) -> None:
    """The stream's own size is the tile's: the decoder writes as many pixels as the stream says."""
    magic, rows, columns = HCOMPRESS_BEGINNING.unpack_from(stream)
    _require(magic == HCOMPRESS_MAGIC and (rows, columns) == tuple(side for side in shape if side != 1))


def _check_plio(stream: memoryview, shape: tuple[int, ...]) -> None:
    """The list's own length is no more than its bytes: the decoder reads as many words as the list says."""
    words = len(stream) // 2
    _require(words >= 3)
    if struct.unpack_from(">h", stream, 4)[0] > 0:  # a list of the first version
        length, first = struct.unpack_from(">h", stream, 4)[0], 3
    else:
        _, header, _, low, high = PLIO_WORDS.unpack_from(stream)
        length, first = (high << 15) + low, header
    _require(0 <= length <= words and 0 <= first <= words)


def _header_bytes(hdu: HDU) -> bytes:
    """The header of the table, for astropy: with BLANK and ZBLANK as it compares them with pixels, or without.

    It reads the sums of the table, though nobody asked whether they are right.
    """
    cards = [hdu.text[start : start + CARD] for start in range(0, len(hdu.text), CARD)]
    for place, card in enumerate(cards):
        if (keyword := card[:8].strip().upper()) in ("BLANK", "ZBLANK"):
            value = number_of(hdu.header, keyword, math.nan)
            sound = value is not None and value.is_integer() and -(2**31) <= value < 2**31
            cards[place] = f"{keyword:8}= {int(value or 0):>20}".ljust(CARD) if sound else ""
        elif keyword in ("CHECKSUM", "DATASUM", "ZHECKSUM", "ZDATASUM"):
            cards[place] = ""
    text = "".join(cards) + "END".ljust(CARD)
    return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("ascii")


def _require(sound: bool) -> None:
    if not sound:
        raise ValueError("the compressed image contradicts itself")


def _undecodable(source: str) -> InputError:
    return InputError(
        source, "the FITS file is damaged: its compressed pixels cannot be decoded", "fetch it again, or decompress it"
    )
