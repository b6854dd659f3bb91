"""FITS files that mean harm, or are damaged where it hurts: each ends with a result or a sentence.

Every run is a process of its own, limited to 10 seconds and to 1 GB more than the libraries have.
"""

import errno
import io
import itertools
import os
import signal
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from source_extraction.errors import InputError
from source_extraction.readers import fits_tiles
from source_extraction.readers.images import read_image
from tests.conftest import read_catalog
from tests.hostile import SHAPE, SKY, Ending, extract

PLAIN = ("SIMPLE  =                    T", "BITPIX  =                  -32")
SIDES = ("NAXIS1  =                   72", "NAXIS2  =                   60")
NAXIS = "NAXIS   =                    2"
EMPTY = ("SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0")
TABLE = (
    "XTENSION= 'BINTABLE'", "BITPIX  =                    8", "NAXIS   =                    2",
    "NAXIS1  =                    8", "NAXIS2  =                   60", "PCOUNT  =                    0",
    "GCOUNT  =                    1", "TTYPE1  = 'COMPRESSED_DATA'", "TFORM1  = '1PB(0)'",
)  # fmt: skip
ZIMAGE = (
    "ZIMAGE  =                    T", "ZCMPTYPE= 'RICE_1'", "ZBITPIX =                  -32",
    "ZNAXIS1 =                   72", "ZNAXIS2 =                   60",
)  # fmt: skip
ON_THE_SKY = (
    "CTYPE1  = 'RA---TAN-SIP'", "CTYPE2  = 'DEC--TAN-SIP'", "CRVAL1  = 10.0", "CRVAL2  = 10.0", "CDELT1  = 0.001",
    "CDELT2  = 0.001", "CRPIX1  = 10.0", "CRPIX2  = 10.0",
)  # fmt: skip


def header(*cards: str) -> bytes:
    text = "".join(card.ljust(80) for card in (*cards, "END"))
    return text.ljust(-(-len(text) // 2880) * 2880).encode("latin-1")


def padded(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // 2880) * 2880, b"\0")


PIXELS = padded(SKY.astype(">f4").tobytes())


def image(*cards: str) -> bytes:
    return header(*PLAIN, NAXIS, *SIDES, *cards) + PIXELS


def run(folder: Path, content: bytes, *options: str) -> Ending:
    (folder / "image.fits").write_bytes(content)
    return extract(folder, folder / "image.fits", *options)


BIG = 2**31
AXES = {
    "fixed": f"NAXIS   = {BIG:20d}",
    "free": f"NAXIS   = {BIG} / x",
    "plus": f"NAXIS   =          +{BIG}",
    "zeros": f"NAXIS   = {BIG:030d}",
    "float": f"NAXIS   = {BIG}.0",
    "exponent": "NAXIS   = 2.147E9",
    "D": "NAXIS   = 2.147D9",
    "text": f"NAXIS   = '{BIG}'",
    "lower case": f"naxis   = {BIG:20d}",
    "HIERARCH": f"HIERARCH NAXIS = {BIG}",
    "one too many": "NAXIS   =                 1000",
}
# name: (the file, words of the sentence)
ABSURD: dict[str, tuple[bytes, str]] = {
    **{f"NAXIS {name}": (header(*PLAIN, card) + PIXELS, "axes; fetch it again") for name, card in AXES.items()},
    "NAXIS without a space": (header(*PLAIN, f"NAXIS={BIG}") + PIXELS, "damaged or truncated"),
    "NAXIS no space before": (header(*PLAIN, f"NAXIS   ={BIG}") + PIXELS, "damaged or truncated"),
    "NAXIS twice": (image(AXES["fixed"]), "axes; fetch it again"),
    "NAXIS of an extension": (
        image() + header("XTENSION= 'IMAGE   '", PLAIN[1], AXES["plus"]) + PIXELS, "axes; fetch it again"),
    "NAXIS1 twice": (image("NAXIS1  =                   60"), "NAXIS1 comes twice, with different values"),
    "NAXIS1 negative": (header(*PLAIN, NAXIS, "NAXIS1  = -72", SIDES[1]) + PIXELS, "NAXIS1 = -72 is not a size"),
    "NAXIS1 text": (header(*PLAIN, NAXIS, "NAXIS1  = '72'", SIDES[1]) + PIXELS, "NAXIS1 = 72 is not a size"),
    "NAXIS1 beyond 64 bits": (header(*PLAIN, NAXIS, f"NAXIS1  = {10**60}", SIDES[1]) + PIXELS, "is not a size"),
    "999 axes of 2^62": (
        header(*PLAIN, "NAXIS   = 999", *(f"NAXIS{i:<3d}= {2**62}" for i in range(1, 1000))), "more bytes than any"),
    "planes beyond memory": (
        header(*PLAIN, "NAXIS   = 4", *SIDES, "NAXIS3  = 1000000", "NAXIS4  = 1000000"), "holds 1000000000000 planes"),
    "BITPIX": (header(PLAIN[0], "BITPIX  = 2147483647", NAXIS, *SIDES) + PIXELS, "BITPIX = 2147483647"),
    "ZNAXIS": (header(*EMPTY) + header(*TABLE, "TFIELDS = 1", *ZIMAGE, f"ZNAXIS  = +{BIG}") + PIXELS, "axes; fetch it"),
    "TFIELDS": (header(*EMPTY) + header(*TABLE, f"TFIELDS = {BIG}") + PIXELS, f"TFIELDS = {BIG}; fetch it again"),
    "TFIELDS of an image": (
        header(*EMPTY) + header(*TABLE, "TFIELDS = 1E9", *ZIMAGE, "ZNAXIS  = 2") + PIXELS, "TFIELDS = 1000000000"),
    "PCOUNT": (header(*EMPTY) + header(*TABLE[:5], "PCOUNT  = -5000", "TFIELDS = 1") + PIXELS, "PCOUNT = -5000 is no"),
    "no end": (b"".join(card.ljust(80).encode() for card in (*PLAIN, NAXIS, *SIDES)) + PIXELS, "its header has no end"),
    "spaces only": (b"SIMPLE  =".ljust(900_000), "its header has no end"),
}  # fmt: skip


@pytest.mark.parametrize("case", ABSURD)
def test_absurd_structure_is_refused(tmp_path: Path, case: str) -> None:
    content, words = ABSURD[case]
    assert len(content) < 2**20
    run(tmp_path, content).assert_refused(words)


# Keywords of the sky by which astropy or wcslib would allocate or loop.
OFF_THE_SKY = {
    "SIP": ("A_ORDER =                20000", "B_ORDER =                20000"),
    "SIP text": ("A_ORDER = '20000'", "B_ORDER = '20000'"),
    "SIP plus": ("A_ORDER = +20000 / order", "B_ORDER = +20000"),
    "SIP lower case": ("a_order = 20000", "b_order = 20000"),
    "SIP twice": ("A_ORDER = 2", "B_ORDER = 2", "A_ORDER = 20000", "B_ORDER = 20000"),
    "SIP inverse": ("A_ORDER = 2", "B_ORDER = 2", "AP_ORDER= 20000", "BP_ORDER= 20000"),
    "WCSAXES": ("WCSAXES =                 9999",),
    "WCSAXES huge": ("WCSAXES = +2147483647",),
    "distortion": ("CPDIS1  = 'Polynomial'", "DP1     = 'NAXES: 2'", "DP1     = 'NTERMS: 999999999'"),
}
# Those that do no harm, as measured, or never reach these libraries.
HARMLESS = {
    "SIP HIERARCH": ("HIERARCH A_ORDER = 20000", "HIERARCH B_ORDER = 20000"),
    "WCSAXES alternate": ("WCSAXESB= 9999",),
} | {
    card: (card,)
    for card in ("PV2_9999= 1.0", "PS2_9999= 'x'", "CD9999_9= 1.0", "PC9999_9= 1.0", "CTYPE999= 'x'", "CRPIX999= 1.0")
}


@pytest.mark.parametrize("case", [*OFF_THE_SKY, *HARMLESS])
def test_absurd_coordinates_leave_the_image(tmp_path: Path, case: str) -> None:
    ending = run(tmp_path, image(*ON_THE_SKY, *(OFF_THE_SKY | HARMLESS)[case]))
    ending.assert_orderly()
    assert ending.code == 0, ending.said
    catalog = read_catalog(tmp_path / "out")
    assert len(catalog) == 3
    assert ("ra" in catalog) == (case in HARMLESS)


def test_ordinary_distortions_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "sky.fits"
    path.write_bytes(image(*ON_THE_SKY, "A_ORDER = 9", "B_ORDER = 9", "A_0_2   = 1E-5", "B_2_0   = 1E-5"))
    wcs = read_image(path, "sky.fits", None, None).wcs
    assert wcs is not None
    assert wcs.sip.a_order == 9


CODECS = ("RICE_1", "PLIO_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "NOCOMPRESS")


def compressed(
    codec: str, kind: str = "i2", tile: tuple[int, int] = (30, 24), pixels: np.ndarray = SKY, **options: object
) -> bytes:
    file = io.BytesIO()
    hdu = fits.CompImageHDU(pixels.astype(kind), compression_type=codec, tile_shape=tile, **options)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file)
    return file.getvalue()


def with_card(content: bytes, keyword: str, value: object) -> bytes:
    place = content.index(f"{keyword:8}= ".encode())
    return content[:place] + f"{keyword:8}= {value:>20}".ljust(80).encode() + content[place + 80 :]


def start_of_data(content: bytes) -> int:
    """Where the table of the compressed image begins."""
    return content.index(b"END" + b" " * 77, content.index(b"XTENSION")) // 2880 * 2880 + 2880


def test_astropy_writes_rows_before_columns_into_hcompress() -> None:
    """The order in which a stream is compared with its tile."""
    content = compressed("HCOMPRESS_1")
    place = content.index(b"\xdd\x99", 2 * 2880)
    assert struct.unpack_from(">ii", content, place + 2) == (30, 24)


STREAM_SIZES = [
    (24, 30),
    (31, 24),
    (30, 25),
    (200, 200),
    (2000, 2000),
    (-1, -1),
    (0, 0),
    (2**31 - 1, 2**31 - 1),
    (1, 1),
]


@pytest.mark.parametrize("size", STREAM_SIZES)
@pytest.mark.parametrize("which", [0, 3])
def test_hcompress_stream_of_another_size(tmp_path: Path, size: tuple[int, int], which: int) -> None:
    content, place = compressed("HCOMPRESS_1"), 2 * 2880
    for _ in range(which + 1):
        place = content.index(b"\xdd\x99\0\0\0", place + 1)
    changed = content[: place + 2] + struct.pack(">ii", *size) + content[place + 10 :]
    run(tmp_path, changed).assert_refused("its compressed pixels cannot be decoded; ")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "cards",
    [
        {"ZTILE1": 8}, {"ZTILE1": 8, "ZTILE2": 8}, {"ZTILE1": 72}, {"ZTILE2": 31}, {"ZTILE1": 0}, {"ZTILE1": -24},
        {"ZNAXIS1": 16}, {"ZNAXIS1": 2**31 - 1}, {"ZNAXIS1": 70000, "ZNAXIS2": 70000}, {"ZBITPIX": -64}, {"ZBITPIX": 8},
        {"NAXIS1": 4}, {"NAXIS2": 1}, {"NAXIS2": 10**9}, {"PCOUNT": 10**9}, {"PCOUNT": 0}, {"ZNAXIS": 1},
        {"TFORM1": "'1QB(9)'"}, {"TFORM1": "'1PK(9)'"}, {"TFORM1": "'9PB(9)'"}, {"TTYPE1": "'OTHER'"},
        {"ZCMPTYPE": "'PLIO_1'"}, {"ZCMPTYPE": "'HCOMPRESS_1'"}, {"ZCMPTYPE": "'RICE_1'"}, {"ZCMPTYPE": "'GZIP_2'"},
    ],
    ids=str,
)  # fmt: skip
def test_header_that_contradicts_the_tiles(tmp_path: Path, codec: str, cards: dict[str, object]) -> None:
    content = compressed(codec)
    for keyword, value in cards.items():
        content = with_card(content, keyword, value)
    run(tmp_path, content).assert_orderly()


@pytest.mark.parametrize(
    ("codec", "kind"), [(codec, kind) for codec in CODECS for kind in ("i2", "f4") if (codec, kind) != ("PLIO_1", "f4")]
)
def test_damaged_streams(tmp_path: Path, codec: str, kind: str) -> None:
    """Bytes of tiles and of their places turned over, tiles emptied, the end cut. PLIO holds integers only."""
    content, random = compressed(codec, kind), np.random.default_rng(5)
    start = start_of_data(content)
    for _ in range(25):
        data = bytearray(content)
        for place in random.integers(start, len(content), random.integers(1, 40)):
            data[place] = random.integers(256)
        place = int(random.integers(start, len(content)))
        match random.integers(4):
            case 0:
                data[place : place + 200] = bytes(len(data[place : place + 200]))
            case 1:
                data[place : place + 200] = b"\xff" * len(data[place : place + 200])
            case 2:
                del data[place:]
        run(tmp_path, bytes(data)).assert_orderly()


def test_dither_outside_of_the_decoder_s_table(tmp_path: Path) -> None:
    content = compressed("RICE_1", "f4", quantize_method=1, dither_seed=42)
    for seed in (0, -1, -(10**9), 10_001):
        run(tmp_path, with_card(content, "ZDITHER0", seed)).assert_refused("cannot be decoded")


def test_decompression_bomb_in_a_tile(tmp_path: Path) -> None:
    """1 GB of zeros in 1 MB, where the header has a tile of some kilobytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(2**24)
    bomb = b"".join(packer.compress(zeros) for _ in range(64)) + packer.flush()
    content = compressed("GZIP_1", tile=SHAPE)
    place = start_of_data(content)
    changed = with_card(content, "PCOUNT", len(bomb))[:place] + struct.pack(">ii", len(bomb), 0) + bomb
    ending = run(tmp_path, padded(changed))
    ending.assert_refused("its compressed pixels cannot be decoded")


@pytest.mark.parametrize("death", ["kill", "spin"])
def test_a_decoder_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, death: str) -> None:
    def die(*_: object) -> None:
        while death == "spin":
            pass
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # pytest would tell of it
        os.kill(os.getpid(), signal.SIGSEGV)

    monkeypatch.setattr(fits_tiles, "_decode", die)
    monkeypatch.setattr(fits_tiles, "SECONDS", 1.0)
    (tmp_path / "image.fits").write_bytes(compressed("RICE_1"))
    with pytest.raises(InputError, match="its compressed pixels cannot be decoded; fetch it again"):
        read_image(tmp_path / "image.fits")


def test_a_decoder_that_the_system_ends_is_not_the_file_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits_tiles, "_decode", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    (tmp_path / "image.fits").write_bytes(compressed("RICE_1"))
    with pytest.raises(InputError, match="ended by the system, most likely because memory ran out; use a machine"):
        read_image(tmp_path / "image.fits")


def test_no_process_to_decode_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", none_left)
    (tmp_path / "image.fits").write_bytes(compressed("RICE_1"))
    with pytest.raises(InputError, match=r"no further process could be started; raise the limit \(ulimit -u\)"):
        read_image(tmp_path / "image.fits")


KINDS, TILES = ("u1", "i2", "u2", "i4", "f4", "f8"), ((30, 24), (17, 70), (1, 72), (60, 72), (7, 5))


def can_be_written(codec: str, kind: str, tile: tuple[int, int]) -> bool:
    """Whether astropy can: PLIO holds integers from 0 to 2^24, and HCOMPRESS no tile of less than 4 pixels a side."""
    if codec == "PLIO_1":
        return kind in ("u1", "i2", "i4")
    # The last tiles have what is left of 60 x 72 pixels.
    sides = [side for whole, most in zip(SHAPE, tile, strict=True) for side in (most, whole % most or most)]
    return codec != "HCOMPRESS_1" or min(sides) >= 4


WRITTEN = [each for each in itertools.product(CODECS, KINDS, TILES) if can_be_written(*each)]


@pytest.mark.parametrize(("codec", "kind", "tile"), WRITTEN)
def test_compressed_pixels_are_astropy_s(tmp_path: Path, codec: str, kind: str, tile: tuple[int, int]) -> None:
    pixels = SKY.copy()
    if kind[0] == "f" and codec != "NOCOMPRESS":
        pixels[3:5, 10:20] = np.nan
    (tmp_path / "image.fits").write_bytes(compressed(codec, kind, tile, pixels))
    read = read_image(tmp_path / "image.fits").pixels
    with fits.open(tmp_path / "image.fits") as file:
        np.testing.assert_array_equal(read, file[1].data)


def test_plane_of_a_compressed_cube(tmp_path: Path) -> None:
    cube = np.stack([SKY, 2 * SKY, 3 * SKY]).astype(np.int16)
    for tile in ((1, 30, 24), (2, 60, 72)):
        hdu = fits.CompImageHDU(cube, tile_shape=tile)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "cube.fits", overwrite=True)
        for plane in range(3):
            np.testing.assert_array_equal(read_image(tmp_path / "cube.fits", plane=plane).pixels, cube[plane])


def with_stored(stored: np.ndarray, compress: bool, cards: str) -> bytes:
    """A file of numbers as they are stored, with cards that say what they mean."""
    file = io.BytesIO()
    hdu = fits.CompImageHDU(stored) if compress else fits.PrimaryHDU(stored)
    fits.HDUList([fits.PrimaryHDU(), hdu] if compress else [hdu]).writeto(file)
    content = file.getvalue()
    end = content.rindex(b"END" + b" " * 77)
    stop = -(-end // 2880) * 2880
    text = b"".join(card.ljust(80).encode() for card in cards.split("|")) + b"END"
    assert end + len(text) <= stop
    return content[:end] + text.ljust(stop - end) + content[stop:]


@pytest.mark.parametrize(
    ("kind", "cards", "scale", "zero", "compress"),
    [
        (*row, compress)
        # Compressed floating-point numbers are not stored as they are.
        for compress in (False, True)
        for row in [
            ("u1", "BSCALE  = 3|BZERO   = -2147483648", 3, -(2**31)),
            ("i2", "BSCALE  = 0.1|BZERO   = 1E6", 0.1, 1e6),
            ("i2", "BSCALE  = '0.5'", 0.5, 0),
            ("i4", "BSCALE  = 0.1", 0.1, 0),
            ("f4", "BSCALE  = 1.0000001|BZERO   = 16777216", 1.0000001, 2**24),
            ("f8", "BZERO   = 100", 1, 100),
        ]
        if not (compress and row[0][0] == "f")
    ],
)
def test_scaled_in_double_precision(
    tmp_path: Path, kind: str, cards: str, scale: float, zero: float, compress: bool
) -> None:
    stored = (SKY / 4).astype(kind)
    (tmp_path / "image.fits").write_bytes(with_stored(stored, compress, cards))
    pixels = read_image(tmp_path / "image.fits").pixels
    assert pixels.dtype == np.float64
    np.testing.assert_array_equal(pixels, stored.astype(np.float64) * scale + zero)


def test_large_zero_point_hides_no_source(tmp_path: Path) -> None:
    content = with_stored((SKY / 4).astype(np.uint8), False, "BSCALE  = 3|BZERO   = -2147483648")
    assert run(tmp_path, content).code == 0
    assert len(read_catalog(tmp_path / "out")) == 3


@pytest.mark.parametrize("kind", ["i1", "u2", "u4", "u8"])
def test_integers_of_the_other_sign_are_exact(tmp_path: Path, kind: str) -> None:
    limits = np.iinfo(kind)
    pixels = np.array([[limits.min, limits.min + 1, 0], [1, limits.max - 1, limits.max]], dtype=kind)
    fits.writeto(tmp_path / "image.fits", pixels)
    image = read_image(tmp_path / "image.fits")
    assert image.stored_type == pixels.dtype.name
    assert image.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(image.pixels, pixels)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("kind", ["u1", "i2", "i4"])
@pytest.mark.parametrize("spelled", ["{}", "{}.", "'{}'", "{}.0E0"])
@pytest.mark.parametrize("blank", [0, 7])
@pytest.mark.parametrize("more", ["", "|BSCALE  = 0.5"])
def test_blank_is_no_value(tmp_path: Path, kind: str, spelled: str, blank: int, more: str, compress: bool) -> None:
    stored = SKY.astype(kind)
    stored[10:14, 20:30] = blank
    (tmp_path / "image.fits").write_bytes(with_stored(stored, compress, f"BLANK   = {spelled.format(blank)}{more}"))
    pixels = read_image(tmp_path / "image.fits").pixels
    np.testing.assert_array_equal(np.isnan(pixels), stored == blank)
    assert np.count_nonzero(np.isnan(pixels)) >= 40


def test_blank_of_floats_is_a_value(tmp_path: Path) -> None:
    (tmp_path / "image.fits").write_bytes(image("BLANK   =                  100"))
    np.testing.assert_array_equal(read_image(tmp_path / "image.fits").pixels, SKY)


@pytest.mark.parametrize("keyword", ["BSCALE", "BZERO"])
@pytest.mark.parametrize("value", ["'NaN'", "'x'", "T", "(1.0, 2.0)", "1.2.3"])
def test_scale_that_is_no_number(tmp_path: Path, keyword: str, value: str) -> None:
    run(tmp_path, image(f"{keyword:8}= {value}")).assert_refused(f"its keyword {keyword} is not a number")


SLOPPY = (
    "1.5 e-/ADU",
    "1,5",
    "'unterminated",
    "1.2.3",
    "--",
    "<undef>",
    "[1.5]",
    "2.0 2.0",
    "0x10",
    "1.0E",
    "(1.0, 2.0)",
)


@pytest.mark.parametrize("codec", [None, "GZIP_1", "NOCOMPRESS"])
@pytest.mark.parametrize("spelled", ["{}", "'{}'"])
def test_blank_of_64_bits_to_its_last_digit(tmp_path: Path, spelled: str, codec: str | None) -> None:
    blank = 2**53 + 1  # float64 holds the numbers beside it
    stored = np.full(SHAPE, blank - 1, "i8")
    stored[30:40] = blank
    file = io.BytesIO()
    hdu = fits.CompImageHDU(stored, compression_type=codec) if codec else fits.PrimaryHDU(stored)
    hdu.header["BLANK_"] = 0
    hdu.writeto(file)
    placed = f"BLANK   = {spelled.format(blank)}".ljust(80).encode()
    (tmp_path / "image.fits").write_bytes(file.getvalue().replace(b"BLANK_  =                    0".ljust(80), placed))
    pixels = read_image(tmp_path / "image.fits").pixels
    np.testing.assert_array_equal(np.isnan(pixels), stored == blank)


@pytest.mark.parametrize("keyword", ["GAIN", "SATURATE", "MAGZERO", "BUNIT", "EXTNAME", "BLANK", "DATE-OBS", "CTYPE3"])
def test_sloppy_cards_harm_nothing(tmp_path: Path, keyword: str) -> None:
    for value, options in itertools.product(SLOPPY, ((), ("--gain", keyword))):
        ending = run(tmp_path, image(f"{keyword:8}= {value}", *ON_THE_SKY), *options)
        ending.assert_orderly()
        assert options or ending.code == 0, ending.said
        assert "format string" not in ending.said
        assert "WARNING" not in ending.said


def test_numbers_and_names_of_hdus(tmp_path: Path) -> None:
    images = [fits.ImageHDU(i * SKY, name=name) for i, name in enumerate(("2", "SCI", "'x'"), 1)]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "image.fits")
    for wanted, factor in (("2", 2), ("02", 2), ("'2'", 1), ('"2"', 1), ("1", 1), ("sci", 2), ("'SCI'", 2), ("'x'", 3)):
        np.testing.assert_array_equal(read_image(tmp_path / "image.fits", hdu=wanted).pixels, factor * SKY)
    for wanted in ("4", "9" * 5000, "''", "'4'"):
        with pytest.raises(InputError, match="there is no image HDU"):
            read_image(tmp_path / "image.fits", hdu=wanted)


def test_control_characters_reach_no_terminal(tmp_path: Path) -> None:
    ending = run(tmp_path, image("EXTNAME = '\x1b[2J\x07'", "BUNIT   = '\x1b[31m'"))
    ending.assert_orderly()
    assert ending.said.isascii()
    assert "\x1b" not in ending.said
