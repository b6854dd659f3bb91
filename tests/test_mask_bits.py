"""--mask_bits: only pixels with one of these bits are masked. And what is said of masks that are used without it.

The oracle is Python's own arithmetic, of whole numbers of any size.
"""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits

import source_extraction as se
from source_extraction.core.image import Image
from source_extraction.readers.images import read_image
from source_extraction.readers.mask import read_mask
from source_extraction.settings import FileOptions, InMemory
from tests.conftest import TEST_DATA
from tests.test_awkward_inputs import SHAPE, SKY, run, with_hole

Bits = tuple[int | str, ...]
# Some of the mask planes of a visit image of the Rubin Observatory, as bit numbers: https://dp1.lsst.io/products/images
LSST = {"MP_BAD": 0, "MP_SAT": 1, "MP_INTRP": 2, "MP_CR": 3, "MP_EDGE": 4, "MP_DETECTED": 5, "MP_NO_DATA": 8}
RANDOM = np.random.default_rng(1)
HOLED = with_hole(SKY, np.nan)


def masked(given: Path | InMemory, bits: Bits, pixels: np.ndarray) -> np.ndarray:
    """What a mask masks of an image of its shape."""
    which = FileOptions(image=InMemory(None, ""), mask_file=given, mask_bits=bits).which("mask_file")
    return read_mask(which, None, bits, Image("image", "array", "", np.zeros(pixels.shape, np.float32))).masked


def expected(pixels: np.ndarray, wanted: int, width: int) -> np.ndarray:
    """In Python, where negative numbers have all of the higher bits: those beyond the type are left out."""
    return np.array([[(int(value) & wanted % (1 << width)) != 0 for value in row] for row in pixels])


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "?"])
@pytest.mark.parametrize("bits", [(1,), (1, 4, 512), (3,), (2, 64), (128,), (2**15,), (2**31,), (2**63, 8), (2**40,)])
def test_every_type(tmp_path: Path, kind: str, bits: Bits) -> None:
    """Values, not bit numbers: 3 is the bits 1 and 2; the highest bit of a signed type is one too."""
    dtype = np.dtype(kind)
    width = 8 * dtype.itemsize
    values = RANDOM.integers(0, 2**63, (9, 11), dtype=np.uint64) << np.uint64(1)
    values |= RANDOM.integers(0, 2, (9, 11), dtype=np.uint64)
    if dtype.kind == "f":
        pixels = (values & np.uint64(2**20 - 1)).astype(dtype)
    elif dtype.kind == "b":
        pixels = (values & np.uint64(1)) != 0
    else:
        pixels = values.astype(f"u{dtype.itemsize}").view(dtype)
    wanted = 0
    for bit in bits:
        wanted |= bit
    found = expected(pixels, wanted, max(width, 64) if dtype.kind == "f" else width)
    np.testing.assert_array_equal(masked(InMemory(pixels, "mask"), bits, pixels), found)
    if dtype.kind == "b":
        return
    fits.writeto(tmp_path / "mask.fits", pixels)
    np.testing.assert_array_equal(masked(tmp_path / "mask.fits", bits, pixels), found)
    tifffile.imwrite(tmp_path / "mask.tif", pixels)
    np.testing.assert_array_equal(masked(tmp_path / "mask.tif", bits, pixels), found)


@pytest.mark.parametrize("kind", ["i2", "i4"])
def test_no_value_is_masked(tmp_path: Path, kind: str) -> None:
    """BLANK in a mask of whole numbers, NaN in one of floats, beside bits that do not mask."""
    pixels = np.full((5, 7), 2, kind)
    pixels[0, 0], pixels[1, 1], pixels[2, 2] = 4, 6, -999
    image = fits.PrimaryHDU(pixels)
    image.header["BLANK"] = -999
    image.writeto(tmp_path / "mask.fits")
    wanted = np.zeros((5, 7), bool)
    wanted[[0, 1, 2], [0, 1, 2]] = True
    np.testing.assert_array_equal(masked(tmp_path / "mask.fits", (4,), pixels), wanted)
    floats = np.where(pixels == -999, np.nan, pixels)
    np.testing.assert_array_equal(masked(InMemory(floats, "mask"), (4,), pixels), wanted)


@pytest.mark.parametrize(
    ("bits", "value"),
    [(("MP_BAD",), 1), (("bad", "NO_DATA"), 257), (("MP_SAT", 8), 10), (("mp_detected",), 32), (("jwst",), 1),
     (("JWST", "EDGE"), 17)],
)  # fmt: skip
def test_names(tmp_path: Path, bits: Bits, value: int) -> None:
    """LSST's headers have bit numbers: MP_SAT = 1 is of the value 2. jwst is DO_NOT_USE, 1."""
    pixels = RANDOM.integers(0, 512, (9, 11)).astype(np.int32)
    mask = fits.PrimaryHDU(pixels)
    for keyword, number in LSST.items():
        mask.header[keyword if len(keyword) <= 8 else f"HIERARCH {keyword}"] = number
    mask.writeto(tmp_path / "mask.fits")
    np.testing.assert_array_equal(masked(tmp_path / "mask.fits", bits, pixels), expected(pixels, value, 32))


@pytest.mark.parametrize("given", ["4", "1,4", 4, (1, 4), [4, 1], np.int64(4), ["4"], "jwst,4"])
def test_in_python(given: object) -> None:
    """As on the command line, or as numbers."""
    flags = with_hole(np.zeros(SHAPE, np.int32), 5) + 2
    result = se.extract(SKY, mask=flags, mask_bits=given)
    assert np.isnan(result.background_subtracted).sum() == (flags == 7).sum()


def test_a_run_is_that_of_the_mask_of_these_bits(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A bit that half of the pixels have and that masks nothing (R10: BAD = 1, DETECTED = 32)."""
    flags = with_hole(np.zeros(SHAPE, np.int32), 1)
    flags[SKY > 140] |= 32
    fits.writeto(tmp_path / "flags.fits", flags)
    fits.writeto(tmp_path / "image.fits", SKY)
    fits.writeto(tmp_path / "hole.fits", (flags & 1).astype(np.uint8))
    made = []
    for options in (("flags.fits", "--mask_bits", "1"), ("hole.fits",)):
        arguments = (
            "--mask_file",
            tmp_path / options[0],
            *options[1:],
            "--outputs",
            "catalog.tsv",
            "--output_dir",
            tmp_path,
        )
        status, said, wrong = run(capsys, tmp_path / "image.fits", *arguments)
        assert (status, wrong) == (0, "")
        assert "bit flags" not in said
        made.append((tmp_path / "catalog.tsv").read_text())
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (SKY + np.float32(0.5), "its values are not whole numbers, as bit flags are; leave out --mask_bits"),
        (np.full(SHAPE, 1e30), "its values are not whole numbers"),
        (np.full(SHAPE, 4, np.int16), "the mask leaves no pixel of the image; check it: pixels that have one of"),
    ],
)
def test_refused(tmp_path: Path, capsys: pytest.CaptureFixture, values: np.ndarray, complaint: str) -> None:
    fits.writeto(tmp_path / "image.fits", SKY)
    fits.writeto(tmp_path / "mask.fits", values)
    arguments = (tmp_path / "image.fits", "--mask_file", tmp_path / "mask.fits", "--mask_bits", "4")
    status, _, wrong = run(capsys, *arguments, "--output_dir", tmp_path / "out")
    assert (status, f"error: {tmp_path}/mask.fits: {complaint}" in wrong) == (1, True)


def test_an_unknown_name_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    mask = fits.PrimaryHDU(np.zeros((5, 7), np.int32))
    mask.header.update({"MP_BAD": 0, "MP_SAT": 1, "MP_ODD": "x", "MP_HUGE": 64})
    mask.writeto(tmp_path / "mask.fits")
    with pytest.raises(
        se.InputError, match="no bit 'CLOUD' for --mask_bits; names of this mask are MP_BAD, MP_SAT; give"
    ):
        masked(tmp_path / "mask.fits", ("CLOUD",), np.zeros((5, 7)))


def flags(*present: tuple[int, int]) -> np.ndarray:
    """A mask with a number of pixels of each value."""
    pixels = np.zeros(SHAPE, np.int32)
    start = 0
    for value, number in present:
        pixels.flat[start : start + number] = value
        start += number
    return pixels


@pytest.mark.parametrize(
    ("values", "line"),
    [
        # As the bits count: a pixel of 5 has bits 1 and 4.
        (flags((1, 100), (4, 50), (5, 7)), "1 in 107, 4 in 57"),
        (flags((1, 100), (32, 50)).astype(np.uint8), "1 in 100, 32 in 50"),
        (flags((2, 9), (16, 8), (18, 7), (512, 6)).astype(np.int16), "2 in 16, 16 in 15, 512 in 6"),
        (flags((1, 3), (-(2**31), 2)), "1 in 3, 2147483648 in 2"),
        (flags((1, 3)), None),
        (flags((255, 3)).astype(np.uint8), None),
        (flags((1, 3), (3, 2)), None),
        (flags((1, 3), (4, 2), (9, 5)), None),
        # Labels of sources; a mask in greys.
        (flags(*((label, 10) for label in range(1, 9))), None),
        (flags((100, 3), (200, 5)), None),
        (flags((1, 100), (4, 50), (5, 7)).astype(np.float32), None),
        (flags((1, 100)) > 0, None),
    ],
)
def test_bit_flags_are_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture, values: np.ndarray, line: str | None
) -> None:
    fits.writeto(tmp_path / "image.fits", SKY)
    fits.writeto(tmp_path / "mask.fits", values.astype(np.uint8) if values.dtype == bool else values)
    arguments = (tmp_path / "image.fits", "--mask_file", tmp_path / "mask.fits", "--outputs", "points.tsv")
    status, said, _ = run(capsys, *arguments, "--output_dir", tmp_path)
    assert status == 0
    said_of_it = [one for one in said.splitlines() if "bit flags" in one]
    expected_line = f"{tmp_path}/mask.fits: the values look like bit flags: {line} pixels; choose those that mask"
    assert said_of_it == ([] if line is None else [f"{expected_line} with --mask_bits"])
    assert "bit flags" not in run(capsys, *arguments, "--mask_bits", "1", "--output_dir", tmp_path)[1]


def test_bit_flags_by_their_names(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    mask = fits.PrimaryHDU(flags((1, 100), (32, 50), (33, 5)))
    mask.header.update({"MP_BAD": 0, "HIERARCH MP_DETECTED": 5})
    mask.writeto(tmp_path / "mask.fits")
    fits.writeto(tmp_path / "image.fits", SKY)
    arguments = (tmp_path / "image.fits", "--mask_file", tmp_path / "mask.fits", "--outputs", "points.tsv")
    assert (
        "bit flags: 1 (MP_BAD) in 105, 32 (MP_DETECTED) in 55 pixels; choose"
        in run(capsys, *arguments, "--output_dir", tmp_path)[1]
    )


@pytest.mark.parametrize(("left", "warned"), [(0.04, True), (0.06, False)])
def test_a_mask_that_leaves_little_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture, left: float, warned: bool
) -> None:
    fits.writeto(tmp_path / "image.fits", SKY)
    fits.writeto(tmp_path / "mask.fits", flags((1, round((1 - left) * SKY.size))))
    arguments = (tmp_path / "image.fits", "--mask_file", tmp_path / "mask.fits", "--outputs", "points.tsv")
    _, said, _ = run(capsys, *arguments, "--output_dir", tmp_path)
    assert (f"Warning: the mask {tmp_path}/mask.fits leaves 4 % of the pixels; check" in said) == warned
    assert ("Warning: the mask" in said) == warned


def test_ordinary_masks_are_as_before() -> None:
    """Without bits, a numeric mask masks above its threshold, 0 where none is given."""
    for threshold in (None, 0.0):
        image = read_image(TEST_DATA / "sky.fits")
        which = FileOptions(image=TEST_DATA / "sky.fits", mask_file=TEST_DATA / "mask.tiff").which("mask_file")
        np.testing.assert_array_equal(
            read_mask(which, threshold, None, image).masked, tifffile.imread(TEST_DATA / "mask.tiff") > 0
        )


def test_no_pixel_has_one_of_the_bits(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A bit beyond those of the mask's type, for example."""
    fits.writeto(tmp_path / "image.fits", SKY)
    fits.writeto(tmp_path / "mask.fits", np.full(SHAPE, 3, np.uint8))
    arguments = (tmp_path / "image.fits", "--mask_file", tmp_path / "mask.fits", "--mask_bits", "1024")
    status, said, _ = run(capsys, *arguments, "--output_dir", tmp_path / "out", "--outputs", "catalog.tsv")
    assert status == 0
    assert "Warning: " in said
    assert "no pixel has one of --mask_bits: nothing is masked" in said
