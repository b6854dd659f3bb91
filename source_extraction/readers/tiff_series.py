"""What tifffile knows of a TIFF file: which series is the image, where the pixels of a plane are, and what they are.

All of this is to be called in a process of its own (`tiff.read_tiff`): tifffile and the codecs believe what they read.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import tifffile

from ..core.image import MapProjection
from ..errors import InputError
from .planes import choose_plane
from .tiff_directories import require_sound_directories
from .tiff_geography import projection_of
from .tiff_ome import own_name
from .tiff_values import Meaning, meaning_of

# NewSubfileType (TIFF 6.0): a smaller copy of another image, a transparency mask of another image.
REDUCED, MASK = 1, 4
UNCOMPRESSED = 1
JPEG = (6, 7, 34892, 33007)  # codecs that need the tables in the directory
# What a file may claim, in small files and by what they hold: sky has noise, which no codec makes much smaller. Without
# a bound, a sparse file of 1 kB, or one of zeros, takes all memory.
BYTES_ALLOWED, BYTES_A_BYTE = 200_000_000, 200
SEGMENTS_AT_A_TIME = 64
DAMAGED = "the TIFF file is damaged or truncated"


class Nameless:
    """A file that tifffile reads from. It has no name, folder or number by which others could be found beside it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read, self.seek, self.tell = file.read, file.seek, file.tell

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the file goes."""
        view = memoryview(buffer).cast("B")
        if isinstance(self._file, io.BufferedIOBase):
            return self._file.readinto(view)
        data = self._file.read(len(view))
        view[: len(data)] = data
        return len(data)

    def fileno(self) -> int:
        """As streams in memory answer."""
        raise io.UnsupportedOperation("fileno")


@dataclass(frozen=True)
class Layout:
    """Where a plane is in what is decoded, and what its pixels mean.

    The pixels of whole pages are decoded, `decoded` of them. The plane is in the block of the shape `block` that begins
    at `start`: `axes` brings its rows and columns to the end, and `index` chooses along the others.
    """

    decoded: int
    start: int
    block: tuple[int, ...]
    axes: tuple[int, ...]
    index: tuple[int, ...]
    dtype: np.dtype[Any]
    origin: str
    others: str
    meaning: Meaning
    projection: MapProjection | None
    has_mask: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Of the plane: (height, width)."""
        height, width = (self.block[axis] for axis in self.axes[-2:])
        return height, width

    def plane_of(self, decoded: np.ndarray) -> np.ndarray:
        """The plane, as a view."""
        block = decoded[self.start : self.start + math.prod(self.block)].reshape(self.block)
        plane: np.ndarray = block.transpose(self.axes)[self.index]
        return plane


@dataclass(frozen=True)
class _Found:
    """A plane in an open file: its layout, and the pages to decode, or the position where the pixels lie in a row."""

    layout: Layout
    series: tifffile.TiffPageSeries
    pages: list[Any]
    position: int | None
    mask: Any = None


def examine(file: BinaryIO, size: int, source: str, plane: int | None) -> Layout:
    """The layout of a plane of a file of `size` bytes; refuses what cannot be read."""
    with _open(file, size, source) as tiff:
        found = _find(tiff, size, source, plane)
        if found.position is None:
            _require_believable(found, size, source)
        return found.layout


def planes_in(file: BinaryIO, size: int, source: str) -> int:
    """The number of planes of the image of a file of `size` bytes."""
    with _open(file, size, source) as tiff:
        _, series, leading = _image_of(tiff, source)
        return math.prod(series.shape[axis] for axis in leading)


def decode(
    file: BinaryIO, size: int, source: str, plane: int | None, workers: int, pixels: np.ndarray, missing: np.ndarray
) -> tuple[int, int]:
    """Fill `pixels` with what `examine` told of, and set `missing` where the file holds none.

    Returns how many strips or tiles are missing, and of how many.
    """
    with _open(file, size, source) as tiff:
        found = _find(tiff, size, source, plane)
        if pixels.size != found.layout.decoded:
            raise ValueError("it changed while it was read")
        transform = found.series.transform
        stored = pixels if transform is None else np.empty(pixels.size, found.series.keyframe.dtype)
        lacking, segments = 0, 0
        if found.position is not None:
            kind = np.dtype(tiff.byteorder + stored.dtype.char)
            tiff.filehandle.read_array(kind, stored.size, found.position, out=stored)
        else:
            each = math.prod(found.series.keyframe.shape)
            for number, page in enumerate(found.pages):
                here = slice(number * each, (number + 1) * each)
                gone, there = _decode_page(page, size, stored[here], missing[here], workers)
                lacking, segments = lacking + gone, segments + there
            if lacking == segments:
                raise InputError(
                    source,
                    f"{DAMAGED} (none of the strips and tiles of the image are in it)",
                    "fetch it again",
                )
        if transform is not None:
            pixels[:] = transform(stored)
        if found.mask is not None:
            _leave_out(found.mask, size, found.layout, missing)
        return lacking, segments


@contextlib.contextmanager
def _open(file: BinaryIO, size: int, source: str) -> Iterator[tifffile.TiffFile]:
    """The file, through tifffile; refused where its directories or its metadata lead astray."""
    require_sound_directories(file, size, source)
    name = None
    with _tiff_file(file, "image.tif") as tiff:
        first = tiff.pages[0] if len(tiff.pages) else None
        if tiff.is_ome and isinstance(first, tifffile.TiffPage):
            name = own_name(first.description, len(tiff.pages), source)
        if name is None:
            yield tiff
            return
    with _tiff_file(file, name) as tiff:
        yield tiff


def _tiff_file(file: BinaryIO, name: str) -> tifffile.TiffFile:
    """Never more than one file: OME-TIFF may name others, NDTiff has an index beside it."""
    file.seek(0)
    stream: Any = Nameless(file)
    return tifffile.TiffFile(stream, name=name, _multifile=False, is_ndtiff=False)


def _image_of(
    tiff: tifffile.TiffFile, source: str
) -> tuple[list[tifffile.TiffPageSeries], tifffile.TiffPageSeries, list[int]]:
    """The images of a file, the series that is its image, and the axes of that which are neither rows nor columns."""
    all_series = list(tiff.series)
    if not all_series:
        raise ValueError("it holds no image")
    images = [series for series in all_series if not _subfile_type(series) & (REDUCED | MASK)]
    series = images[0] if images else all_series[0]
    if series.dtype is None or series.keyframe.dtype is None:
        raise ValueError("its pixels are of no type that is known")
    names, shape = series.axes, series.shape
    if not {"Y", "X"} <= set(names):
        raise InputError(source, f"the TIFF image has no rows and columns (axes {names})", "give a 2-D image")
    return images, series, [axis for axis in range(len(shape)) if axis not in (names.index("Y"), names.index("X"))]


def _find(tiff: tifffile.TiffFile, size: int, source: str, plane: int | None) -> _Found:
    all_series = list(tiff.series)
    images, series, leading = _image_of(tiff, source)
    names, shape = series.axes, series.shape
    rows, columns = names.index("Y"), names.index("X")
    sides = ", ".join(f"{name} {side}" for name, side in zip(names, shape, strict=True))
    planes = tuple(shape[axis] for axis in leading)
    chosen = choose_plane(planes, plane, source, "the TIFF image", sides)
    if not math.prod(shape):
        raise ValueError("it has no pixels")

    outer = min(rows, columns)
    block = tuple(shape[outer:])
    number = int(np.ravel_multi_index(chosen[:outer], shape[:outer])) if outer else 0
    start = number * math.prod(block)
    pages, first, position = _pages_of(series, start, math.prod(block), size, source)
    each = math.prod(series.keyframe.shape)
    sample = dict(zip((names[axis] for axis in leading), chosen, strict=True)).get("S", 0)
    mask = _mask_page(all_series, images, series, first, tiff)
    index = series.keyframe.index
    layout = Layout(
        decoded=math.prod(block) if position is not None else len(pages) * each,
        start=0 if position is not None else start - first * each,
        block=block,
        axes=tuple(axis - outer for axis in (*leading[outer:], rows, columns)),
        index=chosen[outer:],
        dtype=np.dtype(series.dtype),
        origin=f"page {index}" if math.prod(planes) == 1 else f"plane {plane}",
        others=", ".join(
            f"series {i} {' x '.join(map(str, other.shape[::-1]))}"
            for i, other in enumerate(all_series)
            if other is not series
        ),
        meaning=meaning_of(series.keyframe, sample),
        projection=projection_of(series.keyframe),
        has_mask=mask is not None,
    )
    return _Found(layout, series, pages, position, mask)


def _subfile_type(series: tifffile.TiffPageSeries) -> int:
    kind = series.keyframe.subfiletype
    return int(kind) if isinstance(kind, int) else 0


def _pages_of(
    series: tifffile.TiffPageSeries, start: int, pixels: int, size: int, source: str
) -> tuple[list[Any], int, int | None]:
    """The pages that hold `pixels` pixels from `start` on, the index of the first, and where they lie in a row."""
    each, count = math.prod(series.keyframe.shape), len(series)
    item = np.dtype(series.keyframe.dtype).itemsize
    if series.transform is None and series.dataoffset is not None and _is_listed(series[0]):
        position = series.dataoffset + start * item
        if position + pixels * item <= size:
            return [], start // each, position
    if each * count != math.prod(series.shape):
        raise ValueError("its metadata do not fit its pages")
    first, last = start // each, -(-(start + pixels) // each)
    pages = [series[number] for number in range(first, last)]
    if None in pages:
        raise InputError(source, "the plane is not in the TIFF file", "choose another one with --plane K")
    return pages, first, None


def _is_listed(page: Any) -> bool:
    """Whether the directory lists all strips or tiles of a page, none of them empty."""
    offsets, counts = page.dataoffsets, page.databytecounts
    if not offsets or min(offsets) <= 0 or not counts or min(counts) <= 0:
        return False
    if page.keyframe.is_stk or page.parent.is_lsm:
        return True  # they count otherwise, tifffile knows how
    return len(offsets) == math.prod(page.chunked) and sum(counts) >= page.nbytes


def _mask_page(
    all_series: list[tifffile.TiffPageSeries],
    images: list[tifffile.TiffPageSeries],
    series: tifffile.TiffPageSeries,
    page: int,
    tiff: tifffile.TiffFile,
) -> Any:
    """The page that says which pixels of the image there are, as GDAL writes it; None without.

    It is the only mask of the file, or one of as many as there are images.
    """
    if series not in images:
        return None
    shape = series.keyframe.imagelength, series.keyframe.imagewidth
    for other in all_series:
        key = other.keyframe
        if _subfile_type(other) & (REDUCED | MASK) == MASK and key.shape == shape and other.transform is None:
            masks = list(other)
            if len(masks) in (1, len(series)):
                return masks[page if len(masks) > 1 else 0]
    return None


def _leave_out(page: Any, size: int, layout: Layout, missing: np.ndarray) -> None:
    """Pixels are missing where their mask is 0 (TIFF 6.0, NewSubfileType)."""
    mask = np.zeros(math.prod(page.shape), page.keyframe.dtype)
    _decode_page(page, size, mask, np.zeros(mask.size, bool), 1)
    layout.plane_of(missing)[:] |= mask.reshape(page.shape) == 0


def _segments(page: Any) -> list[tuple[int, int, int]]:
    """Number, position and bytes of the strips or tiles that the directory lists."""
    listed = zip(page.dataoffsets, page.databytecounts, strict=False)
    segments = [(number, int(offset), int(count)) for number, (offset, count) in enumerate(listed)]
    return segments[: math.prod(page.chunked)]


def _there(page: Any, size: int) -> list[tuple[int, int, int]]:
    """Those of them that are in the file, all of them."""
    return [
        (number, offset, count)
        for number, offset, count in _segments(page)
        if offset > 0 and count > 0 and offset + count <= size
    ]


def _require_believable(found: _Found, size: int, source: str) -> None:
    """Refuse an image that is out of all proportion to what the file holds of it."""
    item = np.dtype(found.series.keyframe.dtype).itemsize
    claimed = found.layout.decoded * item
    stored = min(sum(count for page in found.pages for _, _, count in _there(page, size)), size)
    if claimed > max(BYTES_ALLOWED, BYTES_A_BYTE * stored):
        raise InputError(
            source,
            f"{DAMAGED} ({stored} bytes claim to be {claimed / 1e9:.1f} GB of pixels)",
            "fetch it again, or save it without compression if it is right",
        )


def _decode_page(page: Any, size: int, pixels: np.ndarray, missing: np.ndarray, workers: int) -> tuple[int, int]:
    """Fill in the pixels of a page; how many strips or tiles are missing, and of how many."""
    keyframe = page.keyframe
    whole, gaps = pixels.reshape(keyframe.shaped), missing.reshape(keyframe.shaped)
    number = math.prod(page.chunked)
    if keyframe.is_contiguous and _is_listed(page) and page.dataoffsets[0] + page.nbytes <= size:
        page.asarray(out=whole)
        return 0, number
    there = sorted(_there(page, size), key=lambda segment: segment[1])
    lacking = len(there) < number
    if lacking:
        # Those that are not listed are never looked at: there may be any number of them.
        gaps[:] = True
    found = 0
    with ThreadPoolExecutor(workers) as executor:
        run = executor.map if workers > 1 and keyframe.compression != 1 else map
        for begin in range(0, len(there), SEGMENTS_AT_A_TIME):
            some = [
                (index, _read(page, offset, count))
                for index, offset, count in there[begin : begin + SEGMENTS_AT_A_TIME]
            ]
            for segment, (sample, depth, row, column, _), shape in run(lambda read: _decode_segment(page, *read), some):
                here = (
                    sample,
                    slice(depth, depth + shape[0]),
                    slice(row, row + shape[1]),
                    slice(column, column + shape[2]),
                )
                if lacking or segment is None:
                    gaps[here] = segment is None
                if segment is not None:
                    inside = keyframe.imagedepth - depth, keyframe.imagelength - row, keyframe.imagewidth - column
                    whole[here] = segment[: inside[0], : inside[1], : inside[2]]
                    found += 1
    return number - found, number


def _read(page: Any, offset: int, count: int) -> bytes:
    """Bytes of the file."""
    page.parent.filehandle.seek(offset)
    data: bytes = page.parent.filehandle.read(count)
    return data


def _decode_segment(page: Any, index: int, data: bytes) -> tuple[np.ndarray | None, tuple[int, ...], tuple[int, ...]]:
    """A strip or tile, where it begins in the page, and its shape; None in its place where it ends too early."""
    keyframe = page.keyframe
    tables = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader} if keyframe.compression in JPEG else {}
    try:
        segment: tuple[np.ndarray | None, tuple[int, ...], tuple[int, ...]] = keyframe.decode(data, index, **tables)
    except ValueError:
        if keyframe.compression != UNCOMPRESSED:
            raise
        segment = keyframe.decode(None, index)
    return segment
