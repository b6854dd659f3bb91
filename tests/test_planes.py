"""Image, noise, mask and second band in one file, as observatories and programs write them: each can be used.

The oracle is the same planes as plain files, one image each, and a mask that numpy makes of the bits: the products must
be the same, digit for digit.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance

import source_extraction as se
from source_extraction.faces.source_extractor import parse
from source_extraction.readers.images import read_image
from source_extraction.settings import taken_apart
from tests.conftest import TEST_DATA, read_catalog
from tests.documents import PAGES, commands
from tests.simulated_sky import simulate
from tests.test_awkward_inputs import run

SHAPE = (120, 160)
FIELD = simulate(SHAPE, 60, seed=3, background=400.0, faintest=2000)
SCI = (FIELD.pixels / 2).astype(np.float32)
# The noise that the pixels have, in the image's unit.
ERR = np.full(SHAPE, np.sqrt(400.0) / 2, np.float32)
ERR[:, 80:] *= np.float32(1.25)
# Bits 1 and 4 are defects; 32 marks half of the image, and is none.
DQ = np.zeros(SHAPE, np.int32)
DQ[30:50, 40:60] |= 1
DQ[80:90, :30] |= 4
DQ[:, ::2] |= 32
R = 3 * SCI
TABLE = fits.BinTableHDU.from_columns([fits.Column("x", "D", array=np.arange(9.0))])
PRODUCTS = ("--outputs", "catalog.tsv,background.fits,segmentation_map.fits,background_subtracted.fits")


def has(bits: int) -> np.ndarray:
    return (DQ & bits) != 0


def table(name: str) -> fits.BinTableHDU:
    hdu = TABLE.copy()
    hdu.name = name
    return hdu


def image(pixels: np.ndarray, name: str = "", version: int = 1, **cards: object) -> fits.ImageHDU:
    hdu = fits.ImageHDU(pixels, name=name)
    if version != 1:
        hdu.header["EXTVER"] = version
    hdu.header.update(cards)
    return hdu


def packed(pixels: np.ndarray, name: str, codec: str = "GZIP_2", **cards: object) -> fits.CompImageHDU:
    hdu = fits.CompImageHDU(pixels, name=name, compression_type=codec, quantize_level=0)
    hdu.header.update(cards)
    return hdu


def with_nan(bits: int) -> np.ndarray:
    return np.where(has(bits), np.float32(np.nan), SCI)


OTHER_CHIP = np.zeros(SHAPE, np.float32)


class Layout(NamedTuple):
    """A file, where in it image, mask and noise are, and what these are. `bits` of the mask are to mask."""

    name: str
    hdus: tuple[fits.hdu.base.ExtensionHDU, ...]
    image: str | None = None
    mask: str | None = None
    bits: str | None = None
    masked: np.ndarray | None = None
    noise: str | None = None
    error_type: str = "rms"
    second: str | None = None
    primary: np.ndarray | None = None
    cards: tuple[tuple[str, object], ...] = ()
    also: str | None = None

    def write(self, path: Path) -> Path:
        primary = fits.PrimaryHDU(self.primary)
        primary.header.update(dict(self.cards))
        # A copy of what is compressed has forgotten how.
        copies = [hdu if isinstance(hdu, fits.CompImageHDU) else hdu.copy() for hdu in self.hdus]
        fits.HDUList([primary, *copies]).writeto(path)
        return path


JWST = (("TELESCOP", "JWST"),)
LSST_NAMES = {"MP_BAD": 0, "MP_INTRP": 2, "HIERARCH MP_DETECTED": 5, "MP_EDGE": 4}
LAYOUTS = [
    Layout(
        "JWST _cal",
        (image(with_nan(4), "SCI", BUNIT="MJy/sr"), image(ERR, "ERR"), image(DQ.astype(np.uint32), "DQ"),
         image(ERR, "AREA"), image(ERR**2, "VAR_POISSON"), image(ERR**2, "VAR_RNOISE"), table("ASDF")),
        image=None, mask="DQ", bits="jwst", masked=has(1), noise="ERR", cards=JWST,
        also="HDU 2 (ERR), HDU 3 (DQ), HDU 4 (AREA), HDU 5 (VAR_POISSON), HDU 6 (VAR_RNOISE): "
        "--err_option file --error_file ...[ERR], --mask_file ...[DQ] --mask_bits jwst",
    ),
    Layout(
        "JWST _i2d",
        (image(with_nan(1), "SCI"), image(ERR, "ERR"), image(np.ones((2, *SHAPE), np.int32), "CON"),
         image(1 / ERR, "WHT"), image(ERR**2, "VAR_POISSON"), table("HDRTAB"), table("ASDF")),
        image="SCI", noise="ERR", cards=JWST,
        also="HDU 2 (ERR), HDU 3 (CON) 160 x 120 x 2, HDU 4 (WHT), HDU 5 (VAR_POISSON): "
        "--err_option file --error_file ...[ERR]",
    ),
    Layout(
        "HST _flc, second chip",
        (image(OTHER_CHIP, "SCI"), image(OTHER_CHIP + 1, "ERR"), image(OTHER_CHIP.astype(np.int16), "DQ"),
         image(SCI, "SCI", 2), image(ERR, "ERR", 2), image(DQ.astype(np.int16), "DQ", 2), table("WCSCORR"),
         image(OTHER_CHIP[:9, :9], "WCSDVARR"), image(OTHER_CHIP[:9, :9], "D2IMARR")),
        image="SCI,2", mask="DQ,2", bits="1,4", masked=has(5), noise="ERR,2",
        also="HDU 1 (SCI), HDU 2 (ERR), HDU 3 (DQ), HDU 5 (ERR,2), HDU 6 (DQ,2): "
        "--err_option file --error_file ...[ERR,2], --mask_file ...[DQ,2]",
    ),
    Layout(
        "HST _drz", (image(SCI, "SCI"), image(1 / ERR**2, "WHT"), image(DQ, "CTX"), table("HDRTAB")),
        noise="WHT", error_type="weight",
        also="HDU 2 (WHT), HDU 3 (CTX): --err_option file --error_file ...[WHT] --error_type weight",
    ),
    Layout(
        "LSST exposure",
        (packed(SCI, "IMAGE"), packed(DQ, "MASK", "RICE_1", **LSST_NAMES), packed(ERR**2, "VARIANCE"),
         table("ARCHIVE_INDEX"), table("FilterLabel"), table("SkyWcs"), table("SkyWcs")),
        image="IMAGE", mask="MASK", bits="BAD,MP_INTRP", masked=has(5), noise="VARIANCE", error_type="variance",
        also="HDU 2 (MASK), HDU 3 (VARIANCE): --mask_file ...[MASK] --mask_bits MP_BAD, "
        "--err_option file --error_file ...[VARIANCE] --error_type variance",
    ),
    Layout(
        "Legacy Survey coadd",
        (packed(SCI, "IMAGE"), packed(np.where(has(4), 0, 1 / ERR**2), "INVVAR"),
         packed(DQ.astype(np.int16), "MASKBITS", "RICE_1")),
        image="1", mask="MASKBITS", bits="1", masked=has(1), noise="2", error_type="weight",
        also="HDU 2 (INVVAR), HDU 3 (MASKBITS): --err_option file --error_file ...[INVVAR] --error_type weight",
    ),
    Layout(
        "amateur software: no names", (image(has(1).astype(np.uint8)), image(ERR), image(R)), primary=SCI,
        mask="1", masked=has(1), noise="2", second="3", also="HDU 1, HDU 2, HDU 3",
    ),
    Layout(
        "names that are numbers, and names twice",
        (image(SCI, "2", 3), image(ERR, "7"), image(has(4).astype(np.int16), "1", 3), image(0 * SCI, "1"),
         image(R, "A, B")),
        image="'2'", mask="'1',3", masked=has(4), noise="2", second="a, b",
    ),
    Layout(
        "names twice without EXTVER", (image(SCI, "SCI"), image(ERR, "ERR"), image(R, "SCI"), image(2 * ERR, "ERR")),
        image="SCI", noise="ERR", second="3",
        also="HDU 2 (ERR), HDU 3 (SCI), HDU 4 (ERR): --err_option file --error_file ...[ERR]",
    ),
    Layout("masked noise, both bands", (image(SCI, "G"), image(ERR, "SIGMA"), image(R, "R")), image="G", noise="SIGMA",
           second="R"),
]  # fmt: skip


def plane(layout: Layout, wanted: str | None) -> np.ndarray:
    """What astropy reads of the HDU that has these values in the table above."""
    position = {"'2'": 1, "a, b": 5, None: 1 if layout.primary is None else 0}.get(wanted)
    if position == 0:
        return layout.primary
    if position is None:
        name, _, version = wanted.partition(",")
        position = (
            int(wanted)
            if wanted.isdecimal()
            else next(
                number
                for number, hdu in enumerate(layout.hdus, 1)
                if hdu.name == name and hdu.header.get("EXTVER", 1) == int(version or 1)
            )
        )
    return layout.hdus[position - 1].data


def plain(folder: Path, layout: Layout) -> tuple[object, ...]:
    """The same as single files, and the options for them."""
    arguments: list[object] = [folder / "image.fits", "--name", "image"]
    fits.writeto(folder / "image.fits", plane(layout, layout.image))
    if layout.masked is not None:
        fits.writeto(folder / "mask.fits", layout.masked.astype(np.uint8))
        arguments += ["--mask_file", folder / "mask.fits"]
    if layout.noise is not None:
        fits.writeto(folder / "noise.fits", plane(layout, layout.noise))
        arguments += ["--err_option", "file", "--error_file", folder / "noise.fits", "--error_type", layout.error_type]
    if layout.second is not None:
        fits.writeto(folder / "second.fits", plane(layout, layout.second))
        arguments += ["--measure_file", folder / "second.fits"]
    return tuple(arguments)


def in_names(path: Path, layout: Layout) -> list[object]:
    """As cfitsio names them: file.fits[DQ]."""
    arguments: list[object] = [f"{path}[{layout.image}]" if layout.image else path, "--name", "image"]
    if layout.mask is not None:
        arguments += ["--mask_file", f"{path}[{layout.mask}]", *(["--mask_bits", layout.bits] if layout.bits else [])]
    if layout.noise is not None:
        arguments += ["--err_option", "file", "--error_file", f"{path}[{layout.noise}]"]
        arguments += ["--error_type", layout.error_type]
    if layout.second is not None:
        arguments += ["--measure_file", f"{path}[{layout.second}]"]
    return arguments


def in_options(path: Path, layout: Layout) -> list[object]:
    arguments: list[object] = [path, "--name", "image", *(["--hdu", layout.image] if layout.image else [])]
    if layout.mask is not None:
        arguments += ["--mask_file", path, "--mask_hdu", layout.mask]
        arguments += ["--mask_bits", layout.bits] if layout.bits else []
    if layout.noise is not None:
        arguments += ["--err_option", "file", "--error_file", path, "--error_hdu", layout.noise]
        arguments += ["--error_type", layout.error_type]
    if layout.second is not None:
        arguments += ["--measure_file", path, "--measure_hdu", layout.second]
    return arguments


def products(folder: Path) -> dict[str, object]:
    made: dict[str, object] = {"catalog": (folder / "catalog.tsv").read_text()}
    for name in ("background", "segmentation_map", "background_subtracted"):
        made[name] = fits.getdata(folder / f"{name}.fits").tobytes()
    return made


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_layouts(tmp_path: Path, capsys: pytest.CaptureFixture, layout: Layout) -> None:
    """In the names, in options and in Python: the products of the single files."""
    path = layout.write(tmp_path / "together.fits")
    status, _, wrong = run(capsys, *plain(tmp_path, layout), *PRODUCTS, "--output_dir", tmp_path / "plain")
    assert (status, wrong) == (0, "")
    expected = products(tmp_path / "plain")
    assert expected["catalog"].count("\n") > 15
    for spelled in (in_names, in_options):
        folder = tmp_path / spelled.__name__
        status, said, wrong = run(capsys, *spelled(path, layout), *PRODUCTS, "--output_dir", folder)
        assert (status, wrong) == (0, "")
        assert products(folder) == expected
        assert layout.also is None or f"\nAlso there: {layout.also}\n" in said
        assert "Warning" not in said
    given = {
        "mask": None if layout.mask is None else f"{path}[{layout.mask}]",
        "error": None if layout.noise is None else f"{path}[{layout.noise}]",
        "measure": None if layout.second is None else f"{path}[{layout.second}]",
        "error_type": layout.error_type,
        **({} if layout.bits is None else {"mask_bits": layout.bits}),
    }
    result = se.extract(f"{path}[{layout.image}]" if layout.image else str(path), name="image", **given)
    result.write(tmp_path / "python", PRODUCTS[1].split(","))
    assert products(tmp_path / "python") == expected


def test_planes_of_cubes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A plane of a cube as image, mask, noise map and second image, of FITS and of TIFF files."""
    cubes = {"SCI": SCI, "DQ": has(1).astype(np.uint8), "ERR": ERR, "R": R}
    hdus = [image(np.stack([0 * pixels, pixels]), name) for name, pixels in cubes.items()]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "cubes.fits")
    layout = Layout("", tuple(image(pixels, name) for name, pixels in cubes.items()), "SCI", "DQ", None, has(1), "ERR",
                    second="R")  # fmt: skip
    run(capsys, *plain(tmp_path, layout), *PRODUCTS, "--output_dir", tmp_path / "plain")
    planes = [part for prefix in ("", "mask_", "error_", "measure_") for part in (f"--{prefix}plane", "1")]
    arguments = (*in_names(tmp_path / "cubes.fits", layout), *planes, *PRODUCTS)
    assert run(capsys, *arguments, "--output_dir", tmp_path / "cubes")[0] == 0
    assert products(tmp_path / "cubes") == products(tmp_path / "plain")

    tifffile.imwrite(tmp_path / "mask.tif", np.stack([0 * cubes["DQ"], cubes["DQ"]]), photometric="minisblack")
    arguments = (tmp_path / "image.fits", "--mask_file", tmp_path / "mask.tif")
    assert "choose one with --mask_plane K, K from 0 to 1" in run(capsys, *arguments, "--output_dir", tmp_path)[2]
    arguments = (*arguments, "--mask_plane", "1", "--outputs", "catalog.tsv", "--output_dir", tmp_path / "tiff")
    status, said, _ = run(capsys, *arguments)
    assert (status, f"Masked pixels: {has(1).sum()} " in said) == (0, True)


def test_a_file_of_that_very_name_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    fits.HDUList([fits.PrimaryHDU(SCI), image(OTHER_CHIP, "DQ")]).writeto(tmp_path / "a.fits")
    fits.writeto(tmp_path / "a.fits[DQ]", R)
    assert taken_apart(tmp_path / "a.fits[DQ]") == (tmp_path / "a.fits[DQ]", None)
    status, said, _ = run(capsys, tmp_path / "a.fits[DQ]", "--outputs", "points.tsv", "--output_dir", tmp_path / "o")
    assert (status, f"Image: {tmp_path}/a.fits[DQ], HDU 0 (PRIMARY)" in said) == (0, True)
    # It may have an HDU of its own.
    assert taken_apart(tmp_path / "a.fits[DQ][0]") == (tmp_path / "a.fits[DQ]", "0")
    assert (
        run(capsys, tmp_path / "a.fits[DQ]", "--hdu", "0", "--outputs", "points.tsv", "--output_dir", tmp_path / "o")[0]
        == 0
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.fits[DQ]", ("a.fits", "DQ")),
        ("a.fits[ SCI, 2 ]", ("a.fits", "SCI, 2")),
        ("a b[c].fits[0]", ("a b[c].fits", "0")),
        ("a.fits['1']", ("a.fits", "'1'")),
        *(
            (name, (name, None))
            for name in ("a[1].fits", "a.fits[]", "a.fits[ ]", "[DQ]", "a.fits[DQ] ", "a.fits]", "a")
        ),
    ],
)
def test_names_are_taken_apart(name: str, expected: tuple[str, str | None]) -> None:
    path, hdu = taken_apart(Path(name))
    assert (str(path), hdu) == expected


# In the files of `test_refused` HDU 1 is what comes first.
OF_SCI = "is HDU 1 (SCI), the very image that is searched; choose another with"
LISTED = "HDU 2 (ERR), HDU 3 (DQ), HDU 4 (R), HDU 5 (WIDE) 40 x 30, HDU 6 (EMPTY,2)"
REFUSED: list[tuple[tuple[str, ...], int, str]] = [
    (("--mask_file", "FILE"), 1, f"FILE: the mask {OF_SCI} --mask_hdu: {LISTED}"),
    (("--mask_file", "FILE", "--mask_bits", "1"), 1, f"FILE: the mask {OF_SCI} --mask_hdu: {LISTED}"),
    (("--err_option", "file", "--error_file", "FILE"), 1, f"FILE: the noise map {OF_SCI} --error_hdu: {LISTED}"),
    (("--measure_file", "FILE"), 1, f"FILE: the image to measure on {OF_SCI} --measure_hdu: {LISTED}"),
    (("--measure_file", "LINK"), 1, f"LINK: the image to measure on {OF_SCI} --measure_hdu: {LISTED}"),
    (("--hdu", "NOT"), 1, "FILE: there is no image HDU 'NOT'; choose one of: HDU 1 (SCI) 160 x 120, HDU 2 (ERR)"),
    (("--mask_file", "FILE[NOT]"), 1, "FILE[NOT]: there is no image HDU 'NOT'; choose one of: HDU 1 (SCI) 160 x 120"),
    (("--mask_file", "FILE[DQ,2]"), 1, "FILE[DQ,2]: there is no image HDU 'DQ,2'; choose one of: HDU 1 (SCI)"),
    (("--mask_file", "FILE[99]"), 1, "FILE[99]: there is no image HDU '99'; choose one of: HDU 1 (SCI) 160 x 120"),
    (("--mask_file", "FILE[CAT]"), 1, "FILE[CAT]: HDU 7 (CAT) is a table, and no image; choose one of: HDU 1 (SCI)"),
    (("--measure_file", "FILE[7]"), 1, "FILE[7]: HDU 7 (CAT) is a table, and no image; choose one of: HDU 1 (SCI)"),
    (("--mask_file", "FILE[0]"), 1, "FILE[0]: HDU 0 (PRIMARY) has no pixels, and no image; choose one of: HDU 1 (SCI)"),
    (("--mask_file", "FILE[WIDE]"), 1, "FILE[WIDE]: the mask has 40 x 30 pixels, the image FILE 160 x 120; give a"),
    (("--mask_file", "FILE[DQ]", "--mask_plane", "1"), 1,
     "FILE[DQ]: there is no plane 1 in HDU 3 (DQ); it has one: leave out --mask_plane"),
    (("--mask_file", "PAGES[1]"), 1, "PAGES[1]: a TIFF file has no HDU '1'; leave out --mask_hdu"),
    (("--mask_file", "FILE[DQ]", "--mask_hdu", "3"), 2, "--mask_hdu: 'FILE[DQ]' already names an HDU; leave out one"),
    (("--measure_file", "FILE[R]", "--measure_hdu", "R"), 2, "--measure_hdu: 'FILE[R]' already names an HDU; leave"),
    (("--err_option", "file", "--error_file", "FILE[ERR]", "--error_hdu", "2"), 2, "--error_hdu: 'FILE[ERR]' already"),
    (("--mask_hdu", "DQ"), 2, "--mask_hdu: there is no mask; add --mask_file FILE"),
    (("--mask_bits", "4"), 2, "--mask_bits: there is no mask; add --mask_file FILE"),
    (("--mask_plane", "0"), 2, "--mask_plane: there is no mask; add --mask_file FILE"),
    (("--error_hdu", "ERR"), 2, "--error_hdu: there is no noise map; add --error_file FILE"),
    (("--measure_plane", "1"), 2, "--measure_plane: there is no image to measure on; add --measure_file FILE"),
    (("--mask_file", "FILE[DQ]", "--mask_bits", "1", "--maskthresh", "0"), 2,
     "--mask_bits: it cannot be combined with --maskthresh; leave out one of them"),
    (("--mask_file", "FILE[DQ]", "--mask_bits", "0"), 2, "--mask_bits: '0' is out of range; give a whole number"),
    (("--mask_file", "FILE[DQ]", "--mask_bits", "-4"), 2, "--mask_bits: '-4' is out of range; give a whole number"),
    (("--mask_file", "FILE[DQ]", "--mask_bits", "1.5"), 2, "--mask_bits: '1.5' is not a whole number; give a whole"),
    (("--mask_file", "FILE[DQ]", "--mask_bits", ","), 2, "--mask_bits: it is empty; give a whole number from 1"),
    (("--mask_file", "FILE[DQ]", "--mask_bits", "BAD"), 1,
     "FILE[DQ]: it has no bit 'BAD' for --mask_bits; its header names no bits; give values, such as 1,4,512"),
    (("--mask_file", "FILE[ERR]", "--mask_bits", "4"), 1,
     "FILE[ERR]: its values are not whole numbers, as bit flags are; leave out --mask_bits; --maskthresh compares"),
    (("--missing", "nan"), 2, "--missing: 'nan' is out of range; give a finite number"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "sentence"), REFUSED)
def test_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    path = tmp_path / "several.fits"
    hdus = [
        image(SCI, "SCI"),
        image(ERR / 3, "ERR"),
        image(DQ, "DQ"),
        image(R, "R"),
        image(OTHER_CHIP[:30, :40], "WIDE"),
    ]
    hdus += [image(SCI, "EMPTY", 2), table("CAT")]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    tifffile.imwrite(tmp_path / "mask.tif", has(1).astype(np.uint8))
    os.symlink(path, tmp_path / "link.fits")
    names = {"FILE": path, "PAGES": tmp_path / "mask.tif", "LINK": tmp_path / "link.fits"}

    def spelled(text: str) -> str:
        for name, file in names.items():
            text = text.replace(name, str(file)) if not text.endswith("add --mask_file FILE") else text
        return text

    if "; add --" in sentence:
        names = {}
    status, _, wrong = run(capsys, path, *map(spelled, arguments), "--output_dir", tmp_path / "out")
    assert status == code
    assert f"error: {spelled(sentence)}" in wrong
    assert not (tmp_path / "out").exists()


def test_no_input_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Whatever HDU of it is named."""
    fits.writeto(tmp_path / "background.fits", SCI)
    before = (tmp_path / "background.fits").read_bytes()
    arguments = (TEST_DATA / "blank.fits", "--measure_file", f"{tmp_path}/background.fits[0]", "--output_dir", tmp_path)
    status, _, wrong = run(capsys, *arguments, "--outputs", "background.fits")
    assert (status, "background.fits" in wrong) == (1, True)
    assert (tmp_path / "background.fits").read_bytes() == before


def test_the_image_twice(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """IMAGE[x] with --hdu; the image itself where it is meant: named, alone in its file, or a mask by brightness."""
    fits.HDUList([fits.PrimaryHDU(), image(SCI, "SCI"), image(DQ, "DQ")]).writeto(tmp_path / "several.fits")
    fits.writeto(tmp_path / "one.fits", SCI)
    several, one, out = (
        tmp_path / "several.fits",
        tmp_path / "one.fits",
        ("--outputs", "catalog.tsv", "--output_dir", tmp_path),
    )
    status, _, wrong = run(capsys, f"{several}[SCI]", "--hdu", "1", *out)
    assert (status, f"error: --hdu: '{several}[SCI]' already names an HDU; leave out one of them" in wrong) == (2, True)
    for arguments, line in (
        ((several, "--mask_file", several, "--maskthresh", "300"), f"{several}: the mask is the image itself"),
        (
            (several, "--mask_file", f"{several}[SCI]", "--maskthresh", "300"),
            f"{several}[SCI]: the mask is the image itself",
        ),
        ((several, "--measure_file", f"{several}[1]"), "The image to measure on is the image itself"),
        ((one, "--measure_file", one), "The image to measure on is the image itself"),
        ((one, "--mask_file", one, "--maskthresh", "300"), f"{one}: the mask is the image itself"),
    ):
        status, said, wrong = run(capsys, *arguments, *out)
        assert (status, wrong) == (0, "")
        assert f"\n{line}\n" in said
        assert "--maskthresh" not in arguments or f"Masked pixels: {(SCI > 300).sum()} " in said
    with pytest.raises(se.InputError, match=r"the mask is HDU 1 .*; choose another with mask_hdu: HDU 2"):
        se.extract(several, mask=several)
    plain_flux = se.extract(SCI).to_table()["flux_auto"]
    np.testing.assert_array_equal(se.extract(SCI, measure=SCI).to_table()["flux_auto"], plain_flux)


def test_a_mask_of_another_detector_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """DQ without EXTVER is the first one, as in cfitsio; beside SCI,2 that is hardly meant."""
    flc = next(layout for layout in LAYOUTS if layout.name.startswith("HST _flc"))
    path = flc.write(tmp_path / "flc.fits")
    arguments = (path, "--hdu", "SCI,2", "--outputs", "catalog.tsv", "--output_dir", tmp_path)
    status, said, _ = run(capsys, *arguments, "--mask_file", f"{path}[DQ]")
    expected = f"Warning: {path}[DQ]: the mask is of EXTVER 1, the image of EXTVER 2: not of one detector"
    assert (status, expected in said) == (0, True)
    assert "Warning" not in run(capsys, *arguments, "--mask_file", f"{path}[DQ,2]")[1]


class TestMissing:
    """--missing"""

    @pytest.mark.parametrize(
        ("kind", "value"), [("f4", "0.1"), ("f8", "0.1"), ("f4", "0"), ("i2", "0"), ("i4", "-9999"), ("u2", "65535")]
    )
    @pytest.mark.parametrize("writer", ["FITS", "TIFF"])
    def test_the_same_as_nan(
        self, tmp_path: Path, capsys: pytest.CaptureFixture, kind: str, value: str, writer: str
    ) -> None:
        """As a float32 holds it, 0.1 is 0.100000001490116."""
        pixels = np.round(SCI).astype(kind)
        pixels[has(1)] = np.dtype(kind).type(float(value))
        expected = np.where(has(1), np.nan, pixels).astype(np.float64 if kind in ("f8", "i4") else np.float32)
        write: Callable[[Path, np.ndarray], object] = fits.writeto if writer == "FITS" else tifffile.imwrite
        write(tmp_path / "image.dat", pixels)
        write(tmp_path / "nan.dat", expected)
        made = []
        for name, options in (("image", ("--missing", value)), ("nan", ())):
            arguments = (tmp_path / f"{name}.dat", "--name", "x", *options, *PRODUCTS, "--output_dir", tmp_path / name)
            status, said, _ = run(capsys, *arguments)
            assert (status, f"Masked pixels: {has(1).sum()} (" in said) == (0, True)
            made.append(products(tmp_path / name))
        assert made[0] == made[1]

    def test_of_both_images(self, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
        fits.writeto(tmp_path / "g.fits", np.where(has(1), 0, SCI))
        fits.writeto(tmp_path / "r.fits", np.where(has(4), 0, R))
        bands = (tmp_path / "g.fits", "--measure_file", tmp_path / "r.fits")
        arguments = (*bands, "--missing", "0", "--outputs", "catalog.tsv")
        status, said, _ = run(capsys, *arguments, "--output_dir", tmp_path)
        assert status == 0
        for bits in (1, 4):
            assert f"Pixels of exactly 0, which have no value (--missing): {has(bits).sum()}\n" in said

    def test_an_array_is_not_changed(self) -> None:
        pixels = np.where(has(1), 0, SCI)
        before = pixels.copy()
        result = se.extract(pixels, missing=0)
        np.testing.assert_array_equal(pixels, before)
        assert np.isnan(result.background_subtracted[has(1)]).all()

    def test_a_value_that_no_pixel_has_is_said(self, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
        fits.writeto(tmp_path / "image.fits", SCI.astype(np.int16))
        for value in ("0.5", "-1", "1e6"):
            arguments = (
                tmp_path / "image.fits",
                "--missing",
                value,
                "--outputs",
                "points.tsv",
                "--output_dir",
                tmp_path,
            )
            status, said, _ = run(capsys, *arguments)
            assert (status, f"is exactly {float(value):g}: --missing leaves out nothing" in said) == (0, True)

    def test_a_mosaic_of_zeros(self, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
        """The noise of every pixel is 10: the error of a circle of 10 pixels is that of its area."""
        field = simulate((300, 300), 25, seed=8, galaxies=0, background=100.0, faintest=2000, brightest=9000)
        rows, columns = np.indices(field.pixels.shape)
        inside = np.abs(rows - 150) + np.abs(columns - 150) < 140
        fits.writeto(tmp_path / "mosaic.fits", np.where(inside, field.pixels - 100, 0).astype(np.float32))
        arguments = (tmp_path / "mosaic.fits", "--outputs", "catalog.tsv", "--output_dir", tmp_path / "o")
        there = field.truth[inside[field.truth["y"].round().astype(int), field.truth["x"].round().astype(int)]]
        expected = 10 * np.sqrt(np.pi * 5.0**2)

        def error(*options: str) -> float:
            assert run(capsys, *arguments, *options)[0] == 0
            return read_catalog(tmp_path / "o")["flux_aper_10_err"].median()

        assert error() < 0.9 * expected
        assert error("--missing", "0") == pytest.approx(expected, rel=0.05)
        found = read_catalog(tmp_path / "o")
        away = np.hypot(*(there[axis] - found[axis].to_numpy()[:, None] for axis in ("x", "y")))
        assert (away.min(axis=0) < 2).mean() >= 0.85
        assert len(found) <= len(there) + 3


def test_greys_leave_out_what_is_missing_in_python_too(tmp_path: Path) -> None:
    """There the image is read once more, after its pixels were given back."""
    pixels = np.random.default_rng(5).normal(0, 3, (120, 160)).astype(np.float32)
    pixels[:, :40] = 0
    fits.writeto(tmp_path / "image.fits", pixels)
    result = se.extract(tmp_path / "image.fits", missing=0)
    result.write(tmp_path, outputs=["image.tiff"])
    greys = tifffile.imread(tmp_path / "image.tiff")
    assert set(np.unique(greys[:, :40])) == {0}
    assert len(np.unique(greys[:, 40:])) > 20


class TestWeights:
    """--error_type weight: inverse variances as they are, relative weights scaled."""

    OPTIONS = ("--err_option", "file", "--filter_type", "conv", "--outputs", "catalog.tsv")

    def catalog(
        self, folder: Path, capsys: pytest.CaptureFixture, noise: np.ndarray, error_type: str
    ) -> tuple[str, str]:
        fits.writeto(folder / "noise.fits", noise, overwrite=True)
        arguments = (
            folder / "image.fits",
            *self.OPTIONS,
            "--error_file",
            folder / "noise.fits",
            "--error_type",
            error_type,
        )
        status, said, wrong = run(capsys, *arguments, "--output_dir", folder)
        assert (status, wrong) == (0, "")
        return (folder / "catalog.tsv").read_text(), said

    @pytest.mark.parametrize("off", [0.7, 1.0, 1.5])
    def test_an_inverse_variance_is_taken_as_it_is(
        self, tmp_path: Path, capsys: pytest.CaptureFixture, off: float
    ) -> None:
        """That of a Legacy Survey, 0 where there is nothing, and off as far as those of real mosaics are."""
        fits.writeto(tmp_path / "image.fits", SCI)
        variance = (off * ERR.astype(np.float64)) ** 2
        weight = np.where(has(1), 0, 1 / variance)
        found, said = self.catalog(tmp_path, capsys, weight, "weight")
        assert "relative" not in said
        assert "Warning" not in said
        expected, _ = self.catalog(tmp_path, capsys, np.where(has(1), 0, 1 / np.where(has(1), 1, weight)), "variance")
        numbers, wanted = (
            np.genfromtxt(text.splitlines(), names=True, usecols=range(40)) for text in (found, expected)
        )
        for name in wanted.dtype.names:
            np.testing.assert_allclose(numbers[name], wanted[name], rtol=1e-6, err_msg=name)

    def test_relative_weights(self, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
        """Exposure times, as of HST, of which only half the image has the longer one: the true noise comes out."""
        shape = (256, 320)
        light = simulate(shape, 30, seed=5, galaxies=0, background=0.0, faintest=2000, brightest=9000).pixels
        true = np.where(np.arange(shape[1]) < 128, 4.0, 8.0) * np.ones(shape)
        fits.writeto(tmp_path / "image.fits", (light + np.random.default_rng(5).normal(0, true)).astype(np.float32))
        self.catalog(tmp_path, capsys, true, "rms")
        expected = read_catalog(tmp_path)
        times = 16 * 700 / true**2
        text, said = self.catalog(tmp_path, capsys, times, "weight")
        line = next(line for line in said.splitlines() if "the weights are relative" in line)
        factor = float(line.split(" / sqrt")[0].split()[-1])
        assert factor == pytest.approx(4 * np.sqrt(700), rel=0.03)
        assert "Warning" not in said
        found = read_catalog(tmp_path)
        assert len(found) == pytest.approx(len(expected), abs=2)
        near = [
            int(np.hypot(found["x"] - x, found["y"] - y).argmin())
            for x, y in zip(expected["x"], expected["y"], strict=True)
        ]
        ratio = found["flux_aper_5_err"].to_numpy()[near] / expected["flux_aper_5_err"].to_numpy()
        np.testing.assert_allclose(ratio, 1, rtol=0.04)
        # In whatever unit the weights are.
        assert self.catalog(tmp_path, capsys, times * 2**20, "weight")[0] == text

    def test_uncertainties_of_astropy(self) -> None:
        data = CCDData(SCI, unit="adu", uncertainty=InverseVariance(1 / ERR.astype(np.float64) ** 2))
        expected = se.extract(SCI, error=ERR.astype(np.float64)).to_table()
        np.testing.assert_allclose(
            se.extract(data).to_table()["flux_auto_err"].value, expected["flux_auto_err"], rtol=1e-6
        )


IMAGES = Path(os.environ.get("SOURCE_EXTRACTOR_IMAGES", "/nowhere"))


@pytest.mark.skipif(not IMAGES.exists(), reason="needs real images")
def test_real_files(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The HDUs of an HST _flc and of a Gemini file, and the noise of the latter."""
    flc, gmos = IMAGES / "kinds/hst_flc.fits", IMAGES / "gmos_empty_primary_3ext.fits"
    for name in ("SCI", "ERR", "DQ"):
        for version in (1, 2):
            expected = fits.getdata(flc, name, version)
            np.testing.assert_array_equal(read_image(flc, hdu=f"{name},{version}").pixels, expected)
    status, said, _ = run(capsys, f"{flc}[SCI,2]", "--outputs", "points.tsv", "--output_dir", tmp_path)
    assert status == 0
    assert (
        "\nAlso there: HDU 1 (SCI), HDU 2 (ERR), HDU 3 (DQ), HDU 5 (ERR,2), HDU 6 (DQ,2): "
        "--err_option file --error_file ...[ERR,2], --mask_file ...[DQ,2]\n" in said
    )
    options = ("--err_option", "file", "--error_type", "variance", "--outputs", "catalog.tsv", "--name", "x")
    fits.writeto(tmp_path / "sci.fits", fits.getdata(gmos, "SCI"))
    fits.writeto(tmp_path / "var.fits", fits.getdata(gmos, "VAR"))
    texts = []
    for image_, noise in ((gmos, f"{gmos}[VAR]"), (tmp_path / "sci.fits", tmp_path / "var.fits")):
        assert run(capsys, image_, *options, "--error_file", noise, "--output_dir", tmp_path)[0] == 0
        catalog = read_catalog(tmp_path)
        texts.append(
            catalog.drop(columns=[name for name in ("ra", "dec", "theta_sky", "fwhm_arcsec") if name in catalog])
        )
    assert len(texts[0]) > 20
    assert texts[0].equals(texts[1])


def test_every_face_refuses_the_same(tmp_path: Path) -> None:
    """In Python: the same sentences, without dashes; the settings know the file and its HDU apart."""
    fits.HDUList([fits.PrimaryHDU(), image(SCI, "SCI"), image(DQ, "DQ")]).writeto(tmp_path / "a.fits")
    settings, _ = parse(
        [f"{tmp_path}/a.fits[SCI]", "--mask_file", f"{tmp_path}/a.fits[DQ]", "--mask_bits", "1, 4,jwst"]
    )
    assert (settings.files.image, settings.files.hdu) == (tmp_path / "a.fits", "SCI")
    recorded = settings.parameters()
    assert (recorded["hdu"], recorded["mask_file"], recorded["mask_hdu"]) == ("SCI", "a.fits", "DQ")
    assert recorded["mask_bits"] == "1,4,jwst"
    assert settings.title == "a.fits"
    for options, sentence in (
        ({"mask_bits": 4}, "mask_bits: there is no mask; add mask FILE"),
        ({"mask": SCI > 300, "mask_hdu": 1}, "the mask: an array has no HDU '1'; leave out mask_hdu"),
        (
            {"mask": f"{tmp_path}/a.fits[DQ]", "mask_bits": 4, "maskthresh": 0},
            "mask_bits: it cannot be combined with maskthresh",
        ),
        ({"mask": f"{tmp_path}/a.fits[DQ]", "mask_bits": [True]}, "mask_bits: True is not a whole number"),
        ({"mask": f"{tmp_path}/a.fits[DQ]", "mask_bits": ()}, "mask_bits: it is empty; give a whole number"),
    ):
        with pytest.raises(se.InputError) as refused:
            se.extract(tmp_path / "a.fits", **options)
        assert str(refused.value).startswith(sentence)


def test_examples_of_the_tutorial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each is a command line that is taken, and its files are named apart from their HDUs."""
    monkeypatch.chdir(tmp_path)
    typed = [command for command, _ in commands(PAGES["docs/tutorial.md"].read_text())]
    files = [parse(arguments)[0].files for _, *arguments in typed]
    assert [(one.hdu, one.mask_hdu, one.error_hdu, one.mask_bits, one.error_type) for one in files] == [
        ("SCI", "DQ", "ERR", ("jwst",), "rms"),
        (None, None, None, (2, 4096), "weight"),
        ("IMAGE", "MASK", "VARIANCE", ("BAD", "SAT", "NO_DATA"), "variance"),
    ]
