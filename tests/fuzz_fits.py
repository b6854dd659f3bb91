"""FITS files for the fuzz test: valid but strange, with damaged compressed pixels, with hostile numbers in headers."""

import bz2
import functools
import gzip
import io
from collections.abc import Sequence

import numpy as np
from astropy.io import fits

from tests.fuzz_cases import BLOCK, CARD, Case, chance, counts, padded, pick, size

Cards = list[tuple[str, object]]

TYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
CODECS = ("RICE_1", "GZIP_1", "GZIP_2", "PLIO_1", "HCOMPRESS_1", "NOCOMPRESS")
# Numbers that decide over sizes, loops and allocations.
SIZES = (
    *("BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "PCOUNT", "GCOUNT", "TFIELDS", "THEAP", "TFORM1", "TFORM2"),
    *("ZNAXIS", "ZNAXIS1", "ZNAXIS2", "ZTILE1", "ZTILE2", "ZBITPIX", "ZVAL1", "ZVAL2", "ZBLANK", "ZCMPTYPE"),
    *("ZDITHER0", "ZQUANTIZ", "ZSCALE", "ZZERO"),
    *("BLANK", "BSCALE", "BZERO", "EXTVER", "SIMPLE", "WCSAXES", "A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER"),
    *("LONPOLE", "CRPIX1", "CD1_1", "PV1_1"),
)
FORMS = ("{0:8}= {1:>20}", "{0:8}= {1:>20}", "{0:8}={1}", "{0:8}= {1} / more", "HIERARCH {0} = {1}")
SPELLINGS = (
    *("99999999999999999999", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "9" * 60),
    *("2147483647", "2147483648", "4294967296", "1000000000", "65536", "1000", "-1", "0", "-0", "+2", "007"),
    *("2.0", "2.5", "1E3", "1e9", "1D9", "1.0D+300", "1E400", "-1E400", "NaN", "nan", "Inf", "-inf", "1.", ".5", "E5"),
    *("0x10", "0b1", "1_000", "2 000", "1,5", "(2,3)", "2/3", "--2", "2-", "T", "F", "", "/ none", "2 / a comment"),
    *("'2'", "'1000000000'", "''", "'", "'RICE_1'", "'999999999999B'", "'1PB(999999999)'", "'1QB(-1)'", "'1PJ(1'"),
    *("\x00", "\xb2"),
)


def strange(random: np.random.Generator) -> Case:
    """A valid file as few write it: what it holds is known from how it is made."""
    stored, cards, pixels = _numbers(random)
    shape, planes = stored.shape, stored.shape[:-2]
    arguments: list[str] = []
    if planes:
        number = int(random.integers(np.prod(planes)))
        arguments += ["--plane", str(number)]
        pixels = pixels.reshape(-1, *shape[-2:])[number]
    shape = _with_axes_of_one(shape, random)
    # Compressed int8 and uint64 are refused where astropy may have made them.
    may_compress = not {("BZERO", -128), ("BZERO", 2**63)} & set(cards)
    codec = _codec_for(stored, shape, random) if chance(random, 0.4) and may_compress else None
    first = codec is None and chance(random, 0.5)
    name = str(pick(random, ("SCI", "sci", "1", "O'BRIEN", "A/B", "a b", "X" * 60)))
    spelled = [_card(*card, random) for card in [*cards, ("EXTNAME", name)]] + [_others_cards(random)]
    random.shuffle(spelled)
    image = _image(stored.reshape(shape), codec, first, "".join(spelled), random)
    before = [] if first else [_primary(random), *_fillers(random)]
    hdus = [*before, image, *_fillers(random)]
    if chance(random, 0.5):
        hdus.append(_hdu("IMAGE", 16, (5, 7), "", bytes(35 * 2)))
    if chance(random, 0.3):
        quoted = f"'{name}'" if name.isdecimal() else name
        arguments += ["--hdu", str(len(before)) if chance(random, 0.5) else quoted]
    # Where the pixels end the file, what pads them may be missing.
    padding = -stored.nbytes % BLOCK if image is hdus[-1] and not codec else 0
    content = _ended(b"".join(hdus), padding, random)
    about = f"strange FITS, BITPIX {_bits(stored)}, {codec}, shape {shape}, {cards}"
    return Case(about, _packed(content, random), arguments=tuple(arguments), pixels=pixels)


def _numbers(random: np.random.Generator) -> tuple[np.ndarray, Cards, np.ndarray]:
    """Numbers as they are stored, the cards that say what they mean, and what they mean."""
    planes = pick(random, ((), (), (), (3,), (2, 2)))
    seen = counts(random, *planes, *size(random))
    bits = pick(random, TYPES)
    if bits < 0:
        stored = seen + random.normal(0, 0.3, seen.shape)
        stored = (stored * pick(random, (1, 1e-20, 1e20, 1e-3))).astype(TYPES[bits][1:])
        if chance(random, 0.6):
            stored[seen == 21] = pick(random, (np.nan, np.inf, -np.inf))
    else:
        room = 2 ** (bits - (bits != 8)) - 1
        factor = pick(random, (1, max(room // 127, 1), max(room // 1000, 1)))
        stored = seen * factor
        if bits != 8 and chance(random, 0.5):
            stored = stored - (127 * factor) // 2
        stored = stored.astype(TYPES[bits][1:])
    cards, pixels = _scaled(stored, bits, random)
    if bits > 0 and chance(random, 0.4):
        blank = int(stored.flat[random.integers(stored.size)]) if chance(random, 0.7) else 0
        cards.append(("BLANK", blank))
        pixels = np.where(stored == blank, np.nan, pixels)
    return stored, cards, pixels


def _scaled(stored: np.ndarray, bits: int, random: np.random.Generator) -> tuple[Cards, np.ndarray]:
    """BSCALE and BZERO, the conventions for numbers of the other sign among them."""
    # A zero point must not swallow the differences: then there is no source.
    spread = np.ptp(stored[np.isfinite(stored)].astype(np.float64))
    other_sign = {8: -128, 16: 2**15, 32: 2**31, 64: 2**63}
    if bits in other_sign and (bits < 64 or spread > 1e6) and chance(random, 0.3):
        zero = other_sign[bits]
        # Whole numbers, of which float64 is made at the end.
        pixels = (stored.astype(object) + zero).astype(np.float64)
        return [("BSCALE", 1), ("BZERO", zero)][chance(random, 0.5) :], pixels
    if chance(random, 0.5):
        return [], stored.astype(np.float64)
    scale = float(pick(random, (0.5, 2.0, 0.1, 1e-17, 3.7, 1.0)))
    zero = float(pick(random, (0.0, 100.0, -1.5, 1e3, 0.1))) if spread * scale > 1 else 0.0
    with np.errstate(all="ignore"):
        return [("BSCALE", scale), ("BZERO", zero)], stored.astype(np.float64) * scale + zero


def _bits(stored: np.ndarray) -> int:
    return stored.itemsize * (-8 if stored.dtype.kind == "f" else 8)


def _with_axes_of_one(shape: tuple[int, ...], random: np.random.Generator) -> tuple[int, ...]:
    sides = list(shape)
    for _ in range(pick(random, (0, 0, 1, 2, 5))):
        sides.insert(random.integers(len(sides) + 1), 1)
    return tuple(sides)


def _codec_for(stored: np.ndarray, shape: tuple[int, ...], random: np.random.Generator) -> str:
    """One that keeps every digit of such numbers."""
    fit = ["GZIP_1", "GZIP_2", "NOCOMPRESS"]
    if stored.dtype.kind != "f" and stored.itemsize < 8:
        fit.append("RICE_1")
        if stored.max() < 2**20 and stored.min() > -(2**20) and min(shape[-2:]) >= 4:
            fit.append("HCOMPRESS_1")
        if stored.min() >= 0 and stored.max() < 2**24:
            fit.append("PLIO_1")
    return str(pick(random, fit))


def _tile(shape: tuple[int, ...], codec: str, random: np.random.Generator) -> tuple[int, ...] | None:
    """Rows, all, or what does not divide the sides; HCOMPRESS takes two axes, of 4 pixels and more at the edges too."""
    if codec != "HCOMPRESS_1":
        return pick(random, (None, shape, tuple(int(random.integers(1, side + 1)) for side in shape)))
    rows, columns = [axis for axis, side in enumerate(shape) if side > 1][-2:]
    tile = [1] * len(shape)
    for axis in (rows, columns):
        fit = [side for side in range(4, shape[axis] + 1) if not 0 < shape[axis] % side < 4]
        tile[axis] = int(pick(random, fit))
    return tuple(tile)


def _image(stored: np.ndarray, codec: str | None, first: bool, cards: str, random: np.random.Generator) -> bytes:
    """The HDU of an image."""
    if codec is None:
        bits = _bits(stored)
        return _hdu("SIMPLE" if first else "IMAGE", bits, stored.shape, cards, stored.astype(TYPES[bits]).tobytes())
    tile = _tile(stored.shape, codec, random)
    file = io.BytesIO()
    hdu = fits.CompImageHDU(stored, compression_type=codec, tile_shape=tile, quantize_level=0)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file)
    return _with_cards(file.getvalue()[BLOCK:], cards)


def _with_cards(hdu: bytes, more: str) -> bytes:
    """The HDU with cards added at the end of its header."""
    end = next(place for place in range(0, len(hdu), CARD) if hdu[place : place + CARD].rstrip() == b"END")
    data = hdu[-(-(end + CARD) // BLOCK) * BLOCK :]
    return padded(hdu[:end] + more.encode("latin-1") + b"END", b" ") + data


def _hdu(kind: str, bits: int, shape: Sequence[int], cards: str, data: bytes) -> bytes:
    """An HDU: what its kind must say in this order, then the cards."""
    begin = ("SIMPLE", True) if kind == "SIMPLE" else ("XTENSION", f"{kind:8}")
    sides = [(f"NAXIS{number + 1}", side) for number, side in enumerate(reversed(shape))]
    counted = [] if kind == "SIMPLE" else [("PCOUNT", 0), ("GCOUNT", 1)]
    mandatory = "".join(_fixed(*card) for card in (begin, ("BITPIX", bits), ("NAXIS", len(shape)), *sides, *counted))
    return padded((mandatory + cards + "END").encode("latin-1"), b" ") + padded(data)


def _fixed(keyword: str, value: object) -> str:
    """A card in fixed format."""
    if isinstance(value, str):
        return f"{keyword:8}= {_quoted(value)}".ljust(CARD)
    return f"{keyword:8}= {_number(value):>20}".ljust(CARD)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''").ljust(8) + "'"


def _number(value: object) -> str:
    return {True: "T", False: "F"}[value] if isinstance(value, bool) else repr(value).upper()


def _card(keyword: str, value: object, random: np.random.Generator) -> str:
    """A card in one of the formats that there are."""
    if isinstance(value, str):
        spelled = _quoted(value) if chance(random, 0.5) else "'" + value.replace("'", "''") + "'"
    else:
        spelled = _spelled(value, random)
    before, between = (" " * int(random.integers(1, most)) for most in (10, 4))
    comment = str(pick(random, ("", "", "/", "/ it's = 1 / 2", "/comment"))) if len(spelled) < 40 else ""
    return f"{keyword:8}={before}{spelled}{between}{comment}".ljust(CARD)[:CARD]


def _spelled(value: object, random: np.random.Generator) -> str:
    """The same number to every digit, in one of the ways in which FITS and FITS writers write it."""
    if isinstance(value, bool):
        return _number(value)
    sign = "+" if value >= 0 and chance(random, 0.3) else ""
    if isinstance(value, int):
        zeros = "00" if value > 0 and chance(random, 0.2) else ""
        return f"{sign}{zeros}{value}"
    exponent = f"{value:.17e}"
    return sign + str(pick(random, (_number(value), exponent, exponent.upper(), exponent.upper().replace("E", "D"))))


def _others_cards(random: np.random.Generator) -> str:
    """Cards that say nothing of the pixels, some of them odd."""
    odd = (
        "COMMENT = 'not a value",
        "HISTORY BSCALE  =                   5.",
        "",
        "        BZERO   =                   5.",
        "UNDEF   =",
        "OBJECT  = 'it''s / no comment' / 'a quote",
        "HIERARCH ESO DET BLANK = 21 / not BLANK",
        "LONGTEXT= 'it goes on &'".ljust(CARD) + "CONTINUE  'BSCALE = 5 &'".ljust(CARD) + "CONTINUE  'END' / at last",
        "COMPLEX = (1.0, -2.5E3)",
        "DATE-OBS= '2020-01-01T00:00:00'",
        "FLAG    =                    F",
        "BUNIT   = 'adu     '",
        "COMMENT " + "E" * 72,
        "END_    =                    1",
    )  # fmt: skip
    chosen = [str(pick(random, odd)) for _ in range(random.integers(0, 60 if chance(random, 0.2) else 6))]
    return "".join(card.ljust(-(-max(len(card), 1) // CARD) * CARD) for card in chosen)


def _primary(random: np.random.Generator) -> bytes:
    """A primary HDU without pixels: no axes, or one that is empty."""
    shape = pick(random, ((), (), (0,), (0, 10)))
    return _hdu("SIMPLE", int(pick(random, TYPES)), shape, _fixed("EXTEND", True), b"")


def _fillers(random: np.random.Generator) -> list[bytes]:
    """HDUs that hold no image."""
    return [_filler(random) for _ in range(random.integers(0, 3))]


def _filler(random: np.random.Generator) -> bytes:
    kind = pick(random, ("BINTABLE", "TABLE", "IMAGE", "FOREIGN"))
    if kind == "IMAGE":
        return _hdu("IMAGE", 16, (), _fixed("EXTNAME", "EMPTY"), b"")
    if kind == "FOREIGN":
        return _hdu("FOREIGN", 8, (3000,), "", random.bytes(3000))
    rows = int(random.integers(0, 400))
    forms = {"BINTABLE": ("1J", "8A"), "TABLE": ("I4", "A8")}[kind]
    cards = [("TFIELDS", 2), ("TFORM1", forms[0]), ("TFORM2", forms[1])]
    if kind == "TABLE":
        cards += [("TBCOL1", 1), ("TBCOL2", 5)]
    data = (random.bytes(12) if kind == "BINTABLE" else b"  12SIMPLE =") * rows
    return _hdu(str(kind), 8, (rows, 12), "".join(_fixed(*card) for card in cards), data)


def _ended(content: bytes, padding: int, random: np.random.Generator) -> bytes:
    """A file to its end: as it is, without some bytes of padding, or with something behind it."""
    way = random.integers(6)
    if way == 0:
        return content[: len(content) - padding]
    return content + {1: bytes(BLOCK), 2: b"\n", 3: random.bytes(500)}.get(int(way), b"")


def _packed(content: bytes, random: np.random.Generator) -> bytes:
    """The whole file, compressed or not; gzip in two members too."""
    way = random.integers(8)
    if way == 0:
        return gzip.compress(content, mtime=0)
    if way == 1:
        return gzip.compress(content[:3000], mtime=0) + gzip.compress(content[3000:], mtime=0)
    return bz2.compress(content) if way == 2 else content


@functools.cache
def _codec_files() -> tuple[tuple[str, bytes], ...]:
    """Compressed images of every codec and the types that it takes, floats quantized too."""
    random = np.random.default_rng(2)
    numbers = counts(random, 40, 50)
    floats = (numbers + random.normal(0, 1, numbers.shape)).astype(np.float32)
    kinds: dict[str, tuple[np.ndarray, ...]] = {codec: (numbers.astype(np.int16), floats) for codec in CODECS}
    kinds["RICE_1"] += (numbers.astype(np.uint8), numbers.astype(np.int32))
    files = []
    for codec, images in kinds.items():
        for image in images:
            for tile in (None, (15, 21) if codec != "HCOMPRESS_1" else (20, 25)):
                level = 16 if image.dtype.kind == "f" else 0
                hdu = fits.CompImageHDU(image, compression_type=codec, tile_shape=tile, quantize_level=level)
                file = io.BytesIO()
                fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file)
                files.append((codec, file.getvalue()))
    return tuple(files)


def damaged_stream(random: np.random.Generator) -> Case:
    """Damage in the compressed bytes of tiles, or in what the table says of their sizes; the headers are whole."""
    codec, content = pick(random, _codec_files())
    with fits.open(io.BytesIO(content), disable_image_compression=True) as hdus:
        table, start = hdus[1].header, hdus.fileinfo(1)["datLoc"]
    heap = start + table["NAXIS1"] * table["NAXIS2"]
    data = bytearray(content)
    # A share of the cases damages sizes; what stands at the beginning of a stream decides most.
    begin, end = (start, heap) if chance(random, 0.2) else (heap, heap + table["PCOUNT"])
    damage(data, begin, end, random)
    return Case(f"damaged stream, {codec}", bytes(data))


def damage(data: bytearray, begin: int, end: int, random: np.random.Generator) -> None:
    """Damage bytes within bounds, and leave the length as it is."""
    for _ in range(random.integers(1, 4)):
        here = int(random.integers(begin, end))
        stop = min(here + int(random.integers(1, 40)), end)
        way = random.integers(5)
        if way == 0:
            data[here] ^= 1 << random.integers(8)
        elif way == 1:
            data[here:stop] = random.bytes(stop - here)
        elif way == 2:
            data[here:stop] = bytes([pick(random, (0, 255, 127, 128))]) * (stop - here)
        elif way == 3:  # what follows is moved up, as where bytes are lost
            data[here:end] = data[stop:end] + bytes(stop - here)
        else:
            data[int(random.integers(begin, min(begin + 24, end)))] = int(random.integers(256))


@functools.cache
def _header_files() -> tuple[bytes, ...]:
    """Files in which the numbers stand that decide over sizes: images, cubes, compressed ones, with distortions."""
    random = np.random.default_rng(3)
    numbers = counts(random, 40, 50).astype(">i2")
    sky: Cards = [("CTYPE1", "RA---TAN-SIP"), ("CTYPE2", "DEC--TAN-SIP"), ("WCSAXES", 2), ("LONPOLE", 180.0)]
    sky += [("CRVAL1", 10.0), ("CRVAL2", 5.0), ("CRPIX1", 5.0), ("CRPIX2", 5.0), ("CD1_1", 1e-4), ("CD2_2", 1e-4)]
    sky += [(f"{axis}_ORDER", 2) for axis in ("A", "B", "AP", "BP")] + [("A_2_0", 1e-7), ("PV1_1", 0.0)]
    cards = "".join(_fixed(*card) for card in [*sky, ("BSCALE", 1.0), ("BZERO", 0.0), ("BLANK", -1)])
    plain = _hdu("SIMPLE", 16, (40, 50), cards, numbers.tobytes())
    cube = _hdu("SIMPLE", 16, (2, 40, 50), cards, numbers.tobytes() * 2)
    empty = _hdu("SIMPLE", 8, (), "", b"")
    extended = empty + _hdu("IMAGE", 16, (40, 50), cards + _fixed("EXTVER", 1), numbers.tobytes()) + _filler(random)
    return (plain, cube, extended, *(_with_cards_of_sky(content, cards) for _, content in _codec_files()[::2]))


def _with_cards_of_sky(content: bytes, cards: str) -> bytes:
    return content[:BLOCK] + _with_cards(content[BLOCK:], cards)


def hostile_header(random: np.random.Generator) -> Case:
    """Numbers that decide over sizes are spelled in ways that they should not be, or come twice."""
    content = pick(random, _header_files())
    arguments = ("--plane", "1") if b"NAXIS3" in content else ("--hdu", "1") if b"XTENSION" in content else ()
    data = bytearray(content)
    changed = []
    for _ in range(random.integers(1, 4)):
        there = [keyword for keyword in SIZES if data.find(f"{keyword:8}=".encode()) >= 0]
        keyword, value = str(pick(random, there)), str(pick(random, SPELLINGS))
        card = str(pick(random, FORMS)).format(keyword, value).ljust(CARD)[:CARD].encode("latin-1")
        _put(data, keyword, card, random)
        changed.append(card.decode("latin-1").strip())
    arguments = arguments if chance(random, 0.5) else ()
    return Case(f"hostile header, {changed}", bytes(data), arguments=arguments)


def _put(data: bytearray, keyword: str, card: bytes, random: np.random.Generator) -> None:
    """In the place of the card of that keyword, of a card near it, or behind the last card of its header."""
    places = [place for place in range(0, len(data), CARD) if data[place : place + 9] == f"{keyword:8}=".encode()]
    place = int(pick(random, places)) if places else 0
    way = random.integers(4)
    if way == 2:
        place = max(place + CARD * int(random.integers(-2, 3)), 0)
    elif way == 3:
        end = next(
            (at for at in range(place, len(data), CARD) if data[at : at + CARD].rstrip() == b"END"), BLOCK - CARD
        )
        if (end + CARD) % BLOCK:  # there is room in the block
            data[end : end + 2 * CARD] = card + b"END".ljust(CARD)
        return
    data[place : place + CARD] = card
