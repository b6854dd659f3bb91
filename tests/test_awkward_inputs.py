"""Any image that people bring: taken and right, or refused with a sentence. A row a case.

A taken image gives the sources that SEP finds directly in the pixels that the file holds. The run is in this
process, which would not outlive a crash.
"""

import bz2
import gzip
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits

from source_extraction.faces import source_extractor
from tests import sep_directly
from tests.conftest import TEST_DATA, read_catalog
from tests.test_against_sep import assert_same_catalog

SHAPE = (120, 160)
SKY = fits.getdata(TEST_DATA / "sky.fits")[: SHAPE[0], : SHAPE[1]].astype(np.float32)
# For types of few bits: the brighter sources, on a background of 33 with noise enough for many values.
DIM = np.clip(SKY / 4, 0, 255).astype(np.uint8)
HOLE = (slice(40, 60), slice(30, 70))
OTHER = np.zeros((20, 30), dtype=np.float32)

Maker = Callable[[Path], object]


def with_hole(pixels: np.ndarray, value: float) -> np.ndarray:
    pixels = pixels.copy()
    pixels[HOLE] = value
    return pixels


MASKED = with_hole(np.zeros(SHAPE, dtype=bool), True)


def run(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a run in this process."""
    try:
        status = source_extractor.main([str(argument) for argument in arguments])
    except SystemExit as end:
        status = end.code
    said = capsys.readouterr()
    return status, said.out, said.err


def hdus(*images: np.ndarray | fits.PrimaryHDU | None, names: tuple[str, ...] = ()) -> fits.HDUList:
    """A file of a primary HDU and extensions."""
    first, *others = images
    primary = first if isinstance(first, fits.PrimaryHDU) else fits.PrimaryHDU(first)
    return fits.HDUList([primary, *(fits.ImageHDU(image, name=f"EXT{i}") for i, image in enumerate(others, 1))])


def write_fits(*images: np.ndarray | None, **cards: float) -> Maker:
    def make(path: Path) -> None:
        file = hdus(*images)
        file[0].header.update(cards)
        file.writeto(path)

    return make


def scaled(pixels: np.ndarray, kind: str, scale: float, zero: float, blank: int | None = None) -> Maker:
    """Stored integers that BSCALE and BZERO make the pixels of."""

    def make(path: Path) -> None:
        stored = np.round((pixels.astype(np.float64) - zero) / scale)
        if blank is not None:
            stored[HOLE] = blank
        raw = fits.PrimaryHDU(stored.astype(kind))
        path_of_raw = path.with_suffix(".raw")
        raw.writeto(path_of_raw)
        content = path_of_raw.read_bytes()
        cards = {"BSCALE": scale, "BZERO": zero} | ({} if blank is None else {"BLANK": blank})
        text = "".join(fits.Card(key, value).image for key, value in cards.items())
        end = content.index(b"END" + b" " * 77)
        path.write_bytes(content[:end] + text.encode() + content[end : 2880 - len(text)] + content[2880:])
        path_of_raw.unlink()

    return make


def compressed(kind: str) -> Maker:
    def make(path: Path) -> None:
        image = fits.CompImageHDU(SKY.astype(np.int16), compression_type=kind, hcomp_scale=0)
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)

    return make


def packed(pack: Callable[[bytes], bytes], inner: Maker) -> Maker:
    def make(path: Path) -> None:
        inner(path)
        path.write_bytes(pack(path.read_bytes()))

    return make


def without_padding(path: Path) -> None:
    write_fits(SKY)(path)
    path.write_bytes(path.read_bytes()[: 2880 + SKY.nbytes])


def table_first(path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("x", "D", array=np.arange(9.0))])
    fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(SKY)]).writeto(path)


def write_tiff(pixels: np.ndarray, **options: object) -> Maker:
    return lambda path: tifffile.imwrite(path, pixels, **options)


def with_thumbnail(path: Path) -> None:
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(SKY.astype(np.uint16))
        tiff.write(SKY[::4, ::4].astype(np.uint16), subfiletype=1)


def geotiff(path: Path) -> None:
    tags = [(42113, "s", 6, "-9999", True), (33550, "d", 3, (0.1, 0.1, 0.0), True)]
    tifffile.imwrite(path, with_hole(SKY, -9999).astype(np.int32), extratags=tags)


CUBE = np.stack([OTHER[0, 0] * SKY, SKY, 2 * SKY])
RGB = np.stack([DIM // 2, DIM, DIM // 3], axis=-1)

# name: (what makes the file, options, the pixels that it holds, a line that the log must have)
TAKEN: dict[str, tuple[Maker, tuple[str, ...], np.ndarray, str]] = {
    **{
        f"FITS {kind}": (write_fits(SKY.astype(kind)), (), SKY, f"160 x 120 pixels, {kind} ")
        for kind in ("int16", "int32", "int64", "float32", "float64")
    },
    "FITS uint8": (write_fits(DIM), (), DIM, "uint8 "),
    "FITS uint16": (write_fits(SKY.astype(np.uint16)), (), SKY, "uint16 "),
    "FITS uint32": (write_fits(SKY.astype(np.uint32)), (), SKY, "uint32 "),
    "FITS BSCALE BZERO": (scaled(SKY, "i4", 0.5, 100), (), SKY, "int32 scaled by 0.5 + 100 "),
    "FITS BLANK": (scaled(SKY, "i2", 1, 0, blank=-1), (), with_hole(SKY, np.nan), "Masked pixels: 800 "),
    "FITS BLANK uint16": (scaled(SKY, "i2", 1, 32768, -32768), (), with_hole(SKY, np.nan), "Masked pixels: 800 "),
    "FITS BLANK scaled": (scaled(SKY, "i4", 0.5, 100, blank=7), (), with_hole(SKY, np.nan), "Masked pixels: 800 "),
    "FITS NaN": (write_fits(with_hole(SKY, np.nan)), (), with_hole(SKY, np.nan), "800 without a value"),
    "FITS infinite": (write_fits(with_hole(SKY, np.inf)), (), with_hole(SKY, np.nan), "800 without a value"),
    "FITS -infinite": (write_fits(with_hole(SKY, -np.inf)), (), with_hole(SKY, np.nan), "800 without a value"),
    "FITS (1, N, M)": (write_fits(SKY[None]), (), SKY, "160 x 120 pixels"),
    "FITS (1, 1, N, M)": (write_fits(SKY[None, None]), (), SKY, "160 x 120 pixels"),
    "FITS (N, 1, M)": (write_fits(SKY[:, None]), (), SKY, "160 x 120 pixels"),
    "FITS empty primary": (write_fits(None, SKY), (), SKY, "HDU 1 (EXT1)"),
    "FITS dummy primary": (write_fits(OTHER[:2, :2], SKY), (), SKY, "HDU 1 (EXT1)"),
    "FITS table first": (table_first, (), SKY, "HDU 2"),
    "FITS cube first": (write_fits(CUBE, SKY), (), SKY, "HDU 1 (EXT1)"),
    "FITS several images": (write_fits(SKY, OTHER), (), SKY, "HDU 0 (PRIMARY), 160 x 120 pixels, float32 ("),
    "FITS --hdu number": (write_fits(OTHER, OTHER, SKY), ("--hdu", "2"), SKY, "HDU 2 (EXT2)"),
    "FITS --hdu name": (write_fits(OTHER, OTHER, SKY), ("--hdu", "ext2"), SKY, "HDU 2 (EXT2)"),
    "FITS --plane": (write_fits(CUBE), ("--plane", "1"), SKY, "160 x 120 pixels"),
    "FITS --hdu --plane": (write_fits(SKY, CUBE), ("--hdu", "1", "--plane", "2"), 2 * SKY, "HDU 1 (EXT1)"),
    "FITS 4-D --plane": (write_fits(np.stack([CUBE, 3 * CUBE])), ("--plane", "4"), 3 * SKY, "160 x 120 pixels"),
    "FITS scaled cube": (scaled(CUBE, "i4", 0.5, 100), ("--plane", "1"), SKY, "160 x 120 pixels"),
    **{f"FITS {kind}": (compressed(kind), (), SKY, "HDU 1") for kind in ("RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1")},
    "FITS .gz": (packed(gzip.compress, write_fits(SKY)), (), SKY, "160 x 120 pixels"),
    "FITS .bz2": (packed(bz2.compress, write_fits(SKY)), (), SKY, "160 x 120 pixels"),
    "FITS without padding": (without_padding, (), SKY, "160 x 120 pixels"),
    **{
        f"TIFF {kind}": (write_tiff(SKY.astype(kind)), (), SKY, f"page 0, 160 x 120 pixels, {kind} ")
        for kind in ("int16", "uint16", "int32", "uint32", "int64", "float32", "float64")
    },
    "TIFF uint8": (write_tiff(DIM), (), DIM, "uint8 "),
    "TIFF float16": (write_tiff(SKY.astype(np.float16)), (), SKY.astype(np.float16).astype(np.float32), "float16 "),
    **{
        f"TIFF {kind}": (write_tiff(SKY.astype(np.uint16), compression=kind), (), SKY, "uint16 ")
        for kind in ("lzw", "deflate", "packbits", "zstd")
    },
    "TIFF predictor": (write_tiff(SKY, compression="lzw", predictor=True), (), SKY, "float32 "),
    "TIFF tiled": (write_tiff(SKY, tile=(64, 64)), (), SKY, "float32 "),
    "TIFF big": (write_tiff(SKY, bigtiff=True), (), SKY, "float32 "),
    "TIFF big-endian": (write_tiff(SKY, byteorder=">"), (), SKY, "float32 "),
    "TIFF big big-endian": (write_tiff(SKY, byteorder=">", bigtiff=True), (), SKY, "float32 "),
    "TIFF OME": (write_tiff(SKY, ome=True), (), SKY, "float32 "),
    "TIFF OME --plane": (write_tiff(CUBE, ome=True, metadata={"axes": "ZYX"}), ("--plane", "1"), SKY, "plane 1"),
    "TIFF thumbnail": (with_thumbnail, (), SKY, "160 x 120 pixels, uint16 "),
    "TIFF nodata": (geotiff, (), with_hole(SKY, np.nan), "Masked pixels: 800 "),
    "TIFF MinIsWhite 8": (write_tiff(255 - DIM, photometric="miniswhite"), (), DIM, "uint8 "),
    "TIFF MinIsWhite 16": (
        write_tiff((65535 - SKY).astype(np.uint16), photometric="miniswhite"), (), SKY, "uint16 "
    ),
    "TIFF RGB --plane": (write_tiff(RGB, photometric="rgb"), ("--plane", "1"), DIM, "plane 1"),
    "TIFF planar RGB --plane": (
        write_tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate"), ("--plane", "1"), DIM, "plane 1",
    ),
    "TIFF pages --plane": (write_tiff(CUBE, photometric="minisblack"), ("--plane", "2"), 2 * SKY, "plane 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", TAKEN)
def test_taken(tmp_path: Path, capsys: pytest.CaptureFixture, case: str) -> None:
    make, options, pixels, line = TAKEN[case]
    path = tmp_path / "dataset_1.dat"
    make(path)
    status, said, wrong = run(capsys, path, "--outputs", "catalog.tsv", "--output_dir", tmp_path, *options)
    assert (status, wrong) == (0, "")
    assert line in said
    missing = ~np.isfinite(pixels.astype(np.float64))
    expected, *_ = sep_directly.extract(pixels, missing if missing.any() else None)
    assert len(expected) >= 3
    assert_same_catalog(read_catalog(tmp_path), expected)


MASK_NUMBERS = 7 * MASKED.astype(np.int16)
# name: (what makes the mask, options)
MASKS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    **{f"FITS {kind}": (write_fits(MASK_NUMBERS.astype(kind)), ()) for kind in ("u1", "i2", "u2", "i4", "i8", "f4")},
    "FITS NaN": (write_fits(with_hole(np.zeros(SHAPE), np.nan)), ()),
    "FITS extension": (write_fits(None, MASK_NUMBERS), ()),
    "FITS (1, N, M)": (write_fits(MASK_NUMBERS[None]), ()),
    "FITS threshold": (write_fits(MASK_NUMBERS - 3), ("--maskthresh", "3.5")),
    "FITS negative threshold": (write_fits(MASK_NUMBERS - 7), ("--maskthresh", "-1")),
    "TIFF 1 bit": (write_tiff(MASKED, photometric="minisblack"), ()),
    "TIFF 1 bit, threshold": (write_tiff(MASKED, photometric="minisblack"), ("--maskthresh", "1")),
    "TIFF 1 bit, MinIsWhite": (write_tiff(MASKED, photometric="miniswhite"), ()),
    "TIFF 0/255": (write_tiff(255 * MASKED.astype(np.uint8)), ()),
    "TIFF float": (write_tiff(0.5 * MASKED.astype(np.float32)), ()),
    "TIFF uint16 lzw": (write_tiff(MASK_NUMBERS.astype(np.uint16), compression="lzw"), ()),
}


@pytest.mark.parametrize("case", MASKS)
def test_masks(tmp_path: Path, capsys: pytest.CaptureFixture, case: str) -> None:
    make, options = MASKS[case]
    write_fits(SKY)(tmp_path / "image.dat")
    make(tmp_path / "mask.dat")
    chosen = ("--outputs", "catalog.tsv", "--output_dir", tmp_path)
    status, said, wrong = run(capsys, tmp_path / "image.dat", "--mask_file", tmp_path / "mask.dat", *chosen, *options)
    assert (status, wrong) == (0, "")
    assert f"Masked pixels: 800 (800 by {tmp_path / 'mask.dat'})\n" in said
    assert_same_catalog(read_catalog(tmp_path), sep_directly.extract(SKY, MASKED)[0])


MEXHAT = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])
# name: (the file's text, its weights, a line that the log must have)
KERNELS = {
    "rows": ("1 2 1\n2 4 2\n1 2 1\n", sep_directly.DEFAULT_KERNEL, ", 3 x 3\n"),
    "comments": ("# three\n1 2 1 # one\n\n2 4 2\n1 2 1", sep_directly.DEFAULT_KERNEL, ", 3 x 3\n"),
    "commas": ("1, 2, 1\n2,4,2\n1,2,1\n", sep_directly.DEFAULT_KERNEL, ", 3 x 3\n"),
    "one row": ("1 2 4 2 1\n", np.array([[1, 2, 4, 2, 1]]), ", 5 x 1\n"),
    "one column": ("1\n2\n1\n", np.array([[1], [2], [1]]), ", 1 x 3\n"),
    "CONV NORM": ("CONV NORM\n# 3x3\n1 2 1\n2 4 2\n1 2 1\n", sep_directly.DEFAULT_KERNEL, ", 3 x 3\n"),
    "CONV NONORM": ("CONV NONORM\n1 2 1\n2 4 2\n1 2 1\n", sep_directly.DEFAULT_KERNEL, "NONORM cannot be honoured"),
    "zero sum": ("0 -1 0\n-1 4 -1\n0 -1 0\n", MEXHAT, ", 3 x 3\n"),
    "even": ("1 1\n1 1\n", np.ones((2, 2)), "shifts the filtered image by half a pixel"),
}


@pytest.mark.parametrize("case", KERNELS)
def test_kernels(tmp_path: Path, capsys: pytest.CaptureFixture, case: str) -> None:
    text, weights, line = KERNELS[case]
    write_fits(SKY)(tmp_path / "image.fits")
    (tmp_path / "kernel.dat").write_text(text)
    options = ("--filter_case", "file", "--filter_file", tmp_path / "kernel.dat", "--thresh", "2")
    status, said, wrong = run(capsys, tmp_path / "image.fits", "--output_dir", tmp_path, *options)
    assert (status, wrong) == (0, "")
    assert line in said
    expected = sep_directly.extract(SKY, kernel=weights.astype(np.float32), thresh=2)[0]
    assert len(expected) > 3
    assert_same_catalog(read_catalog(tmp_path), expected)


def write_text(text: str | bytes) -> Maker:
    return lambda path: path.write_bytes(text if isinstance(text, bytes) else text.encode())


def cut(make: Maker, size: int) -> Maker:
    return packed(lambda content: content[:size], make)


def png(path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\0")))


def huge(path: Path) -> None:
    """A header that claims 160 GB of pixels."""
    path.write_bytes(fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": 200000, "NAXIS2": 200000})
                     .tostring().encode())  # fmt: skip


# A header with which astropy would be busy for hours.
of_many_axes = packed(
    lambda content: content.replace(b"NAXIS   =%21d" % 2, b"NAXIS   =%21d" % 2**31, 1), write_fits(SKY)
)


def table_only(path: Path) -> None:
    table_first(path)
    with fits.open(path) as file:
        fits.HDUList(file[:2]).writeto(path.with_suffix(".cut"))
    path.with_suffix(".cut").rename(path)


MEMORY = (
    r"claims 40000000000 pixels, which need 640\.0 GB of memory; there are [\d.]+ GB, and [\d.]+ GB on the disk of .*; "
)
# name: (what makes the file, options, the sentence behind the file's name)
REFUSED: dict[str, tuple[Maker, tuple[str, ...], str]] = {
    "empty": (write_text(""), (), "the file is empty; give a FITS or TIFF image"),
    "text": (write_text("SIMPLE text\n"), (), "this is text, not a FITS or TIFF image; convert it to one of these"),
    "PNG": (png, (), "this is a PNG picture, not a FITS or TIFF image; convert it to one of these"),
    "JPEG": (write_text(b"\xff\xd8\xff\xe0\0\x10JFIF"), (), "this is a JPEG picture, not a FITS or TIFF image; convert"),
    "binary": (write_text(bytes(range(64))), (), "this is a file of another kind, not a FITS or TIFF image; convert"),
    "truncated FITS": (cut(write_fits(SKY), 20000), (), r"the FITS file is truncated: 59680 bytes of its pixels are"),
    "FITS of many axes": (of_many_axes, (), "the FITS file is damaged: an image of 2147483648 axes"),
    "gzip of many axes": (packed(gzip.compress, of_many_axes), (), "the FITS file is damaged: an image of 2147483648 axes"),
    "FITS cut in its header": (cut(write_fits(SKY), 500), (), "the FITS file is damaged or truncated"),
    "truncated Rice": (cut(compressed("RICE_1"), 12000), (), "the FITS file is (damaged or )?truncated"),
    "truncated gzip": (cut(packed(gzip.compress, write_fits(SKY)), 9000), (), "the FITS file is damaged or truncated"),
    "truncated bzip2": (cut(packed(bz2.compress, write_fits(SKY)), 9000), (), "the (FITS|compressed) file is damaged"),
    "gzip of nothing": (write_text(b"\x1f\x8b\x08\0"), (), "the compressed file is damaged"),
    "truncated TIFF": (cut(write_tiff(SKY), 20000), (), "the TIFF file is damaged or truncated"),
    "truncated LZW TIFF": (cut(write_tiff(SKY, compression="lzw"), 9000), (), "the TIFF file is damaged or truncated"),
    "TIFF cut in its header": (cut(write_tiff(SKY), 100), (), "the TIFF file is damaged or truncated"),
    "TIFF of 8 bytes": (cut(write_tiff(SKY), 8), (), "the TIFF file is damaged or truncated"),
    "FITS table": (table_only, (), r"it holds 2 HDUs and no image; give a FITS file with a 2-D image"),
    "FITS header": (write_fits(None), (), r"it holds 1 HDU and no image; give a FITS file with a 2-D"),
    "FITS 1-D": (write_fits(SKY[0]), (), r"HDU 0 \(PRIMARY\) has one axis only \(160 values\); give a 2-D image"),
    "TIFF complex": (write_tiff(SKY.astype(np.complex64)), (), "its pixels are of type complex64, not real numbers; give"),
    "FITS cube": (write_fits(CUBE), (), r"HDU 0 \(PRIMARY\) holds 3 planes \(3 x 120 x 160\); choose one with --plane K"),
    "TIFF RGB": (write_tiff(RGB, photometric="rgb"), (), r"the TIFF image holds 3 planes \(Y 120, X 160, S 3\); choose"),
    "TIFF RGBA": (
        write_tiff(np.dstack([RGB, DIM]), photometric="rgb", extrasamples=["unassalpha"]),
        (), r"the TIFF image holds 4 planes \(Y 120, X 160, S 4\); choose one with --plane K, K from 0 to 3"),
    "TIFF pages": (write_tiff(CUBE, photometric="minisblack"), (), "the TIFF image holds 3 planes"),
    "TIFF OME": (
        write_tiff(np.stack([CUBE, CUBE]), ome=True, metadata={"axes": "TCYX"}), (),
        r"the TIFF image holds 6 planes \(T 2, C 3, Y 120, X 160\); choose one with --plane K, K from 0 to 5"),
    "no such plane": (
        write_fits(CUBE), ("--plane", "3"), r"there is no plane 3 in HDU 0 \(PRIMARY\); it has 3: --plane 0 to 2"),
    "one plane": (write_fits(SKY), ("--plane", "1"), r"there is no plane 1 in HDU 0 \(PRIMARY\); it has one: leave out"),
    "no such HDU": (
        write_fits(SKY, OTHER), ("--hdu", "7"),
        r"there is no image HDU '7'; choose one of: HDU 0 \(PRIMARY\) 160 x 120, HDU 1 \(EXT1\) 30 x 20"),
    "no such name": (write_fits(SKY), ("--hdu", "$(SCI); '\""), r"there is no image HDU .*; choose one of: HDU 0"),
    "HDU of a TIFF": (write_tiff(SKY), ("--hdu", "0"), "a TIFF file has no HDU '0'; leave out --hdu"),
    "all NaN": (write_fits(np.nan * SKY), (), "no pixel is left: all are masked or without a value; check image and mask"),
    "too large": (huge, (), rf"HDU 0 \(PRIMARY\) {MEMORY}"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, capsys: pytest.CaptureFixture, case: str) -> None:
    make, options, sentence = REFUSED[case]
    path = tmp_path / "dataset_1.dat"
    make(path)
    status, _, wrong = run(capsys, path, "--output_dir", tmp_path / "out", *options)
    assert status == 1
    assert re.fullmatch(rf"error: {re.escape(str(path))}: {sentence}.*\n", wrong), wrong
    assert "; " in wrong
    assert not (tmp_path / "out").exists()


# name: (what makes the file, option, other options, the sentence behind the file's name)
REFUSED_COMPANIONS: dict[str, tuple[Maker, str, str]] = {
    "mask of another shape": (
        write_fits(OTHER), "--mask_file", "the mask has 30 x 20 pixels, the image .* 160 x 120; give a mask of the image's"),
    "mask of everything": (write_fits(1 + 0 * SKY), "--mask_file", "the mask leaves no pixel of the image; check it: "),
    "mask that is text": (write_text("1 0"), "--mask_file", "this is text, not a FITS or TIFF image; convert it"),
    "kernel empty": (write_text(""), "--filter_file", "the kernel is empty; give its weights as text, one row per line"),
    "kernel of comments": (write_text("# 1 2\n"), "--filter_file", "the kernel is empty; give its weights as text"),
    "kernel ragged": (write_text("1 2\n1\n"), "--filter_file", r"the kernel is not a table of numbers \(the number of"),
    "kernel of words": (write_text("a b\n"), "--filter_file", r"the kernel is not a table of numbers \(could not conv"),
    "kernel binary": (write_text(b"\xff\xfe\0"), "--filter_file", "the kernel is not a text file; give its weights as"),
    "kernel NaN": (write_text("1 nan\n"), "--filter_file", "the kernel has weights that are not finite; give finite"),
    "kernel infinite": (write_text("1 inf\n"), "--filter_file", "the kernel has weights that are not finite; give finite"),
    "kernel 1e300": (write_text("1 1e300\n"), "--filter_file", "the kernel has weights that are not finite; give finite"),
    "kernel 0": (write_text("0 0\n0 0\n"), "--filter_file", "all weights of the kernel are 0; give at least one weight"),
    "kernel negative": (write_text("-1 0\n"), "--filter_file", "the kernel has no positive weight; give at least one"),
    "kernel too large": (
        write_text("1 " * 161), "--filter_file", r"the kernel \(161 x 1\) is larger than the image \(160 x 120\); give"),
    "no such mask": (lambda path: None, "--mask_file", r"cannot be read \(No such file or directory\); check the path"),
    "no such kernel": (lambda path: None, "--filter_file", r"cannot be read \(No such file or directory\); check the"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_COMPANIONS)
def test_refused_mask_or_kernel(tmp_path: Path, capsys: pytest.CaptureFixture, case: str) -> None:
    make, option, sentence = REFUSED_COMPANIONS[case]
    write_fits(SKY)(tmp_path / "image.fits")
    path = tmp_path / "dataset_2.dat"
    make(path)
    more = ("--filter_case", "file") if option == "--filter_file" else ()
    status, _, wrong = run(capsys, tmp_path / "image.fits", option, path, *more, "--output_dir", tmp_path / "out")
    assert status == 1
    assert re.fullmatch(rf"error: {re.escape(str(path))}: {sentence}.*\n", wrong), wrong
    assert not (tmp_path / "out").exists()


def damaged_fits(path: Path) -> None:
    """Tiles that no decoder reads, of an image of another shape."""
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(SKY[:20, :30].astype(np.int32))]).writeto(path)
    with fits.open(path, disable_image_compression=True) as hdus:
        first = hdus[1].fileinfo()["datLoc"]
    spoil(path, first, path.stat().st_size - first)


def damaged_tiff(path: Path) -> None:
    tifffile.imwrite(path, SKY[:20, :30].astype(np.int32), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        first, length = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    spoil(path, first, length)


def spoil(path: Path, first: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(first)
        file.write(length * b"\xff")


@pytest.mark.parametrize("make", [damaged_fits, damaged_tiff])
@pytest.mark.parametrize(
    ("option", "role"),
    [("--mask_file", "mask"), ("--error_file", "noise map"), ("--measure_file", "image to measure on")],
)
def test_the_shape_is_compared_before_any_pixel_is_decoded(
    tmp_path: Path, capsys: pytest.CaptureFixture, make: Maker, option: str, role: str
) -> None:
    """A file that claims millions of pixels takes their memory only where the image has as many."""
    write_fits(SKY)(tmp_path / "image.fits")
    path = tmp_path / "dataset_2.dat"
    make(path)
    status, _, wrong = run(capsys, path, "--output_dir", tmp_path / "out")
    assert status == 1
    assert "damaged" in wrong
    more = ("--err_option", "file") if option == "--error_file" else ()
    status, _, wrong = run(capsys, tmp_path / "image.fits", option, path, *more, "--output_dir", tmp_path / "out")
    assert status == 1
    assert f"{path}: the {role} has 30 x 20 pixels, the image {tmp_path / 'image.fits'} 160 x 120; " in wrong


INT = "a whole number"
# option: values out of its range, and the range that is named
RANGES = {
    "thresh": (("0", "-1", "nan", "inf", "-inf", "x", ""), "a finite number above 0"),
    "minarea": (("0", "-1", "2147483648", "1.5", "nan"), f"{INT} from 1 to 2147483647"),
    "bw": (("3", "0", "-1", "2147483648"), f"{INT} from 4 to 2147483647"),
    "bh": (("3", "0", "-1", "2147483648"), f"{INT} from 4 to 2147483647"),
    "fw": (("0", "-7", "2147483648"), f"{INT} from 1 to 2147483647"),
    "fh": (("0", "-7", "2147483648"), f"{INT} from 1 to 2147483647"),
    "deblend_nthresh": (("0", "-1", "65", "1000000"), f"{INT} from 1 to 64"),
    "deblend_cont": (("-0.1", "1.1", "nan"), "a number from 0 to 1"),
    "clean_param": (("0", "-1", "nan", "inf"), "a finite number above 0"),
    "maskthresh": (("nan", "inf"), "a finite number"),
    "fthresh": (("nan", "-inf"), "a finite number"),
    "plane": (("-1", "x"), f"{INT} from 0 to 2147483647, or all"),
}
OUT_OF_RANGE = [(option, value) for option, (values, _) in RANGES.items() for value in values]


@pytest.mark.parametrize(("option", "value"), OUT_OF_RANGE)
def test_out_of_range(tmp_path: Path, capsys: pytest.CaptureFixture, option: str, value: str) -> None:
    status, _, wrong = run(capsys, TEST_DATA / "sky.fits", f"--{option}={value}", "--output_dir", tmp_path / "out")
    assert status == 2
    assert wrong.splitlines()[-1] == f"error: --{option}: {value!r} is out of range; give {RANGES[option][1]}"
    assert not (tmp_path / "out").exists()


AT_THE_BOUNDS = [
    *("thresh=1e-300", "thresh=1e30", "minarea=1", "minarea=2147483647", "bw=4", "bw=2147483647", "bh=2147483647"),
    *("fw=1", "fw=2147483647", "fh=2147483647", "deblend_nthresh=1", "deblend_nthresh=64", "deblend_cont=0"),
    *("deblend_cont=1", "clean_param=1e-6", "clean_param=1e6", "fthresh=-1e30", "fthresh=1e30", "maskthresh=-1e300"),
]


@pytest.mark.parametrize("option", AT_THE_BOUNDS)
def test_at_the_bounds(tmp_path: Path, capsys: pytest.CaptureFixture, option: str) -> None:
    write_fits(SKY)(tmp_path / "image.fits")
    outputs = "catalog.tsv,background_rms.fits,segmentation_map.fits"
    status, _, wrong = run(
        capsys, tmp_path / "image.fits", f"--{option}", "--outputs", outputs, "--output_dir", tmp_path
    )
    assert (status, wrong) == (0, "")
    labels = fits.getdata(tmp_path / "segmentation_map.fits")
    assert len(np.unique(labels[labels > 0])) == len(read_catalog(tmp_path))
    rms = fits.getdata(tmp_path / "background_rms.fits")
    assert np.isfinite(rms).all()
    assert (rms > 0).all()


def test_gzip_of_more_than_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Decompressing stops where memory would: here 100 MB for file and image, and 64 MB of zeros."""
    monkeypatch.setattr("source_extraction.readers.content.available_memory", lambda: 100_000_000)
    write_fits(np.zeros((4000, 4000), dtype=np.float32))(tmp_path / "image.fits")
    (tmp_path / "image.gz").write_bytes(gzip.compress((tmp_path / "image.fits").read_bytes(), 1))
    status, _, wrong = run(capsys, tmp_path / "image.gz", "--output_dir", tmp_path / "out")
    assert status == 1
    assert "decompressed, it needs more than 0.1 GB of memory; there are 0.1 GB; use a machine" in wrong


def test_fits_of_no_known_type(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """FITS images have no complex type: BITPIX -128 is damage."""
    write_fits(SKY)(tmp_path / "image.fits")
    content = (tmp_path / "image.fits").read_bytes().replace(b"                  -32 /", b"                 -128 /")
    (tmp_path / "image.fits").write_bytes(content)
    status, _, wrong = run(capsys, tmp_path / "image.fits", "--output_dir", tmp_path / "out")
    assert status == 1
    assert re.fullmatch(r"error: [^\n]*; [^\n]*\n", wrong)
