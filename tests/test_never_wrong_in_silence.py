"""Input that used to give wrong numbers without a word. A row a case: what is given, what must come out, who says so.

Each kind of fault has an example that was found elsewhere, in a public report, which the row names.
"""

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import sep
import tifffile
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from source_extraction import Result, extract
from source_extraction.core import sep_extract
from source_extraction.core.columns import DETECTION_COLUMNS, PhotometryFlag
from source_extraction.core.records import measured_again
from tests import sep_directly
from tests.conftest import read_catalog
from tests.simulated_sky import simulate
from tests.test_against_sep import assert_same_catalog
from tests.test_awkward_inputs import MASKED, SHAPE, SKY, Maker, run, with_hole, write_fits, write_tiff

COUNTS = SKY.astype(np.uint16)
DIM = np.clip(SKY / 4, 1, 255).astype(np.uint8)
FITS_STANDARD, TIFF_6, GDAL = "FITS standard 4.0, 4.4.2.5", "TIFF 6.0", "GDAL, GTiff driver"


def with_card(pixels: np.ndarray, card: str) -> Maker:
    """A FITS image with one card more, spelled like this."""

    def make(path: Path) -> None:
        fits.PrimaryHDU(pixels).writeto(path)
        content = path.read_bytes()
        end = content.index(b"END" + b" " * 77)
        path.write_bytes(content[:end] + card.encode().ljust(80) + content[end : 2880 - 80] + content[2880:])

    return make


def compressed(pixels: np.ndarray, codec: str, **cards: float) -> Maker:
    def make(path: Path) -> None:
        image = fits.CompImageHDU(pixels, compression_type=codec)
        image.header.update(cards)
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)

    return make


def pages(*written: tuple[np.ndarray, int]) -> Maker:
    """A TIFF file of pages with their NewSubfileType; masks are of bits."""

    def make(path: Path) -> None:
        with tifffile.TiffWriter(path) as tiff:
            for pixels, kind in written:
                photometric = "mask" if kind & 4 else "minisblack"
                tiff.write(pixels, subfiletype=kind, photometric=photometric, metadata=None, contiguous=False)

    return make


def with_nodata(pixels: np.ndarray, nodata: str, **options: object) -> Maker:
    return write_tiff(pixels, extratags=[(42113, "s", 0, nodata, True)], **options)


def with_gdal_scale(pixels: np.ndarray, scale: float, offset: float, **options: object) -> Maker:
    items = "".join(
        f'<Item name="{role.upper()}" sample="0" role="{role}">{value}</Item>'
        for role, value in (("scale", scale), ("offset", offset))
    )
    tags = [(42112, "s", 0, f"<GDALMetadata>{items}</GDALMetadata>", True)]
    return write_tiff(pixels, extratags=tags + options.pop("tags", []), **options)


def with_garbage(path: Path) -> None:
    """An ImageDescription that is no text, and a tag of no known type."""
    tifffile.imwrite(path, SKY, description="A" * 40, software="B" * 40, metadata=None)
    content = path.read_bytes().replace(b"A" * 40, b"A" * 36 + b"\x8d\x8f\x03\x00")
    place = content.index(struct.pack("<HHI", 305, 2, 41))
    path.write_bytes(content[:place] + struct.pack("<HH", 305, 9986) + content[place + 4 :])


def palette(numbers: np.ndarray) -> Maker:
    """0 is white and 1 is black, as in an inverted look-up table."""
    ramp = np.linspace(65535, 0, 256).astype(np.uint16)
    ramp[1] = 0
    return write_tiff(numbers.astype(np.uint8), photometric="palette", colormap=np.stack([ramp] * 3))


class Values(NamedTuple):
    """An image, and the pixels that its file holds, NaN where it holds none: SEP finds its sources in these."""

    name: str
    image: Maker
    pixels: np.ndarray
    who_says_so: str
    mask: Maker | None = None
    options: tuple[str, ...] = ()
    said: str = ""


HOLED = with_hole(SKY, np.nan)
CUT_OFF = (255 - DIM).astype(np.uint8)
VALID = ~MASKED
BIT_31 = MASKED.astype(np.uint32) << np.uint32(31)
ABOVE_2_TO_53 = MASKED.astype(np.int64) + 2**53

VALUES = [
    # BLANK in every spelling.
    *(
        Values(f"BLANK = {text}", with_card(with_hole(COUNTS.astype(np.int16), blank), f"BLANK   = {text:>20}"), HOLED,
               FITS_STANDARD)
        for text, blank in (("-9999", -9999), ("0", 0), ("-9999.", -9999), ("'-9999'", -9999))
    ),
    *(Values(f"BLANK = 0, {codec}", compressed(with_hole(COUNTS, 0).astype(np.int16), codec, BLANK=0), HOLED,
             FITS_STANDARD)
      for codec in ("RICE_1", "GZIP_1", "GZIP_2")),
    Values("BLANK = -2^63", with_card(np.where(MASKED, -(2**63), COUNTS.astype(np.int64)),
                                      "BLANK   = -9223372036854775808"), HOLED, "astropy/astropy#3865"),
    Values("BLANK of a cube of one plane", with_card(with_hole(COUNTS, 7).astype(np.int16)[None], "BLANK   = 7"), HOLED,
           "CARTAvis/carta-backend#1492"),
    # Integers of 64 bits, and of the other sign.
    *(Values(f"image {kind}", write_fits(COUNTS.astype(kind)), SKY.astype(np.uint16), FITS_STANDARD)
      for kind in ("uint32", "uint64", "int64")),
    *(Values(f"mask {kind}", write_fits(SKY), HOLED, FITS_STANDARD, write_fits(MASKED.astype(kind)))
      for kind in ("int8", "uint32", "uint64", "int64")),
    Values("mask int64, GZIP_1", write_fits(SKY), HOLED, FITS_STANDARD, compressed(MASKED.astype(np.int64), "GZIP_1")),
    Values("mask uint64, TIFF", write_fits(SKY), HOLED, TIFF_6, write_tiff(MASKED.astype(np.uint64))),
    Values("mask of bit 31", write_fits(SKY), HOLED, "EranOfek/AstroPack#1209", write_fits(BIT_31)),
    Values("mask of a low bit under a high one", write_fits(SKY), HOLED, "Caltech-IPAC/firefly#1945",
           write_fits(ABOVE_2_TO_53), ("--maskthresh", str(2**53))),
    # Pages of TIFF files that are no image.
    Values("reduced page first", pages((COUNTS[::8, ::8], 1), (COUNTS, 0)), COUNTS, TIFF_6, said="page 1, 160 x 120"),
    Values("mask page", pages((COUNTS, 0), (VALID, 4)), np.where(VALID, COUNTS, np.nan), GDAL),
    Values("masks and overviews by turns", pages((COUNTS, 0), (VALID, 4), (COUNTS[::2, ::2], 1), (VALID[::2, ::2], 5)),
           np.where(VALID, COUNTS, np.nan), "xarray-contrib/xarray-spatial#1504"),
    # What GDAL says of the numbers.
    Values("GDAL's scale and offset", with_gdal_scale(COUNTS, 0.5, 10), COUNTS * 0.5 + 10, GDAL,
           said="0.5 x stored value + 10"),
    Values("GDAL's scale, tiled float32", with_gdal_scale(SKY, 0.25, 0, tile=(16, 16)), SKY * 0.25,
           "geotiffjs/geotiff.js#222", said="0.25 x stored value + 0"),
    Values("nodata of what is stored", with_nodata(with_hole(DIM, 0), "0"), np.where(MASKED, np.nan, DIM), GDAL),
    Values("MinIsWhite, nodata", with_nodata(with_hole(CUT_OFF, 0), "0", photometric="miniswhite"),
           np.where(MASKED | (CUT_OFF == 0), np.nan, DIM), "xarray-contrib/xarray-spatial#1809", said="MinIsWhite"),
    Values("MinIsWhite, scale, nodata",
           with_gdal_scale(with_hole(CUT_OFF, 0), 0.5, 0, photometric="miniswhite", tags=[(42113, "s", 0, "0", True)]),
           np.where(MASKED | (CUT_OFF == 0), np.nan, (CUT_OFF[VALID].max() - CUT_OFF) * 0.5), GDAL, said="MinIsWhite"),
    Values("tags that are garbage", with_garbage, SKY, "cgohlke/tifffile#181, scikit-image/scikit-image#3963",
           said="Tags of the TIFF file are damaged and were passed over (number "),
    # A mask is what the file stores.
    Values("mask of bits, as tifffile writes it", write_fits(SKY), HOLED, "tifffile.imread", write_tiff(MASKED)),
    Values("mask of bits, MinIsWhite, LZW", write_fits(SKY), HOLED, "imageio/imageio#355",
           write_tiff(MASKED, photometric="miniswhite", compression="deflate", rowsperstrip=7)),
    Values("mask of bytes, MinIsWhite", write_fits(SKY), HOLED, "tifffile.imread",
           write_tiff(255 * MASKED.astype(np.uint8), photometric="miniswhite")),
    Values("mask with a palette", write_fits(SKY), HOLED, "tifffile.imread", palette(MASKED)),
]  # fmt: skip


@pytest.mark.parametrize("case", VALUES, ids=lambda case: case.name)
def test_values(tmp_path: Path, capsys: pytest.CaptureFixture, case: Values) -> None:
    case.image(tmp_path / "image.dat")
    options = [*case.options, "--outputs", "catalog.tsv", "--output_dir", tmp_path]
    if case.mask is not None:
        case.mask(tmp_path / "mask.dat")
        options += ["--mask_file", tmp_path / "mask.dat"]
    status, said, wrong = run(capsys, tmp_path / "image.dat", *options)
    assert (status, wrong) == (0, "")
    missing = ~np.isfinite(case.pixels)
    assert f"Masked pixels: {missing.sum()}" in said
    assert case.said in said
    assert ("inverted" in said) == case.name.startswith("MinIsWhite")
    assert "tifffile" not in said
    expected, *_ = sep_directly.extract(np.where(missing, 0, case.pixels), missing if missing.any() else None)
    assert len(expected) >= 3
    assert_same_catalog(read_catalog(tmp_path), expected)


# astropy/astropy#19736: astropy stores these without the shift that it writes into the header.
SIGNED = np.clip(SKY - 130, -60, 127).astype(np.int8)
UNSHIFTED = {
    "mask int8": (MASKED.astype(np.int8), "RICE_1"),
    "mask int8, GZIP_1": (MASKED.astype(np.int8), "GZIP_1"),
    "mask uint64": (MASKED.astype(np.uint64), "GZIP_1"),
    "image int8": (SIGNED, "RICE_1"),
    "image uint64": (COUNTS.astype(np.uint64), "GZIP_2"),
}


@pytest.mark.parametrize("case", UNSHIFTED)
def test_integers_that_astropy_compresses_wrongly(tmp_path: Path, capsys: pytest.CaptureFixture, case: str) -> None:
    compressed(*UNSHIFTED[case])(tmp_path / "numbers.fits")
    write_fits(SKY)(tmp_path / "sky.fits")
    options = ("--mask_file", tmp_path / "numbers.fits") if "mask" in case else ()
    image = tmp_path / ("sky.fits" if "mask" in case else "numbers.fits")
    status, _, wrong = run(capsys, image, *options, "--output_dir", tmp_path / "out")
    assert status == 1
    assert f"compressed {UNSHIFTED[case][0].dtype} pixels look as astropy writes them by mistake: half" in wrong


def test_signed_bytes_that_others_compressed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """As the standard has them: stored with 128 more, BZERO = -128."""
    compressed((SIGNED.astype(int) + 128).astype(np.uint8), "RICE_1")(tmp_path / "image.fits")
    with fits.open(tmp_path / "image.fits", mode="update", disable_image_compression=True) as file:
        file[1].header["BZERO"] = -128
    status, said, wrong = run(capsys, tmp_path / "image.fits", "--outputs", "catalog.tsv", "--output_dir", tmp_path)
    assert (status, wrong) == (0, "")
    assert ", int8 (" in said
    assert_same_catalog(read_catalog(tmp_path), sep_directly.extract(SIGNED.astype(np.float32))[0])


# What writers of noise maps put where there is no noise, and the type of the map. 1e15 is from
# astrorama/SourceXtractorPlusPlus#453.
NO_NOISE = [
    *((value, "rms") for value in (1e15, 9.9e19, 1e20, 1e30, 3e38, np.inf, np.nan, 0, -1)),
    *((value, "variance") for value in (1e20, 1e30, np.inf, np.nan, 0)),
    *((value, "weight") for value in (0, 1e-20, 1e-30, np.nan, -1)),
]


@pytest.mark.parametrize("share", [0.04, 0.8])
@pytest.mark.parametrize(("value", "error_type"), NO_NOISE)
def test_noise_maps_without_a_noise(
    tmp_path: Path, capsys: pytest.CaptureFixture, value: float, error_type: str, share: float
) -> None:
    """Such pixels are masked, and said: as with a mask and the noise of the others everywhere."""
    bad = MASKED if share < 0.1 else np.arange(SHAPE[1]) >= (1 - share) * SHAPE[1] + 0 * np.arange(SHAPE[0])[:, None]
    noise = 8.8 + 0.002 * np.arange(SHAPE[1]) + np.zeros(SHAPE)
    stored = {"rms": noise, "variance": noise**2, "weight": noise**-2}[error_type]
    write_fits(SKY)(tmp_path / "image.fits")
    write_fits(np.where(bad, value, stored).astype(np.float32))(tmp_path / "noise.fits")
    write_fits(stored.astype(np.float32))(tmp_path / "good.fits")
    write_fits(bad.astype(np.uint8))(tmp_path / "mask.fits")
    both = ("--err_option", "file", "--error_type", error_type, "--filter_type", "conv", "--outputs", "catalog.tsv")
    options = (*both, "--output_dir", tmp_path / "bad", "--error_file", tmp_path / "noise.fits")
    status, said, wrong = run(capsys, tmp_path / "image.fits", *options)
    assert (status, wrong) == (0, "")
    assert f"Masked pixels: {bad.sum()} ({bad.sum()} without a noise in the noise map)" in said
    absurd = np.isfinite(value) and not (value <= 0)
    assert ("more, and that of good ones 8.8: they are masked" in said) == absurd
    options = (*both, "--output_dir", tmp_path / "good", "--error_file", tmp_path / "good.fits")
    assert run(capsys, tmp_path / "image.fits", *options, "--mask_file", tmp_path / "mask.fits")[0] == 0
    found, expected = read_catalog(tmp_path / "bad"), read_catalog(tmp_path / "good")
    assert len(found) >= 2
    assert np.isfinite(found.drop(columns="image").to_numpy(float)).all()
    assert found.equals(expected)


def test_a_noise_that_varies_much_is_a_noise(tmp_path: Path) -> None:
    """A million times the noise of the good pixels is not a number of a writer: it counts for what it is."""
    noise = np.where(MASKED, 8.8e6, 8.8)
    found = extract(SKY, error=noise, err_option="file", filter_type="conv").to_pandas()
    assert not found["masked_fraction"].any()


def test_a_noise_map_is_what_the_file_stores(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_fits(SKY)(tmp_path / "image.fits")
    write_tiff(np.full(SHAPE, 9, np.uint8), photometric="miniswhite")(tmp_path / "noise.tiff")
    options = ("--err_option", "file", "--error_file", tmp_path / "noise.tiff", "--output_dir", tmp_path)
    status, said, _ = run(capsys, tmp_path / "image.fits", *options, "--outputs", "catalog.tsv")
    assert status == 0
    assert "Threshold: 13.5 to 13.5, median 13.5 (1.5 x noise map)" in said


class TestSecondBand:
    """Where the second band has no pixel, there is no flux: sep-developers/sep#63, lightkurve/lightkurve#651."""

    FLUXES = ("flux_iso", "flux_auto", "flux_aper_5", "flux_aper_10")

    def test_half_a_band(self) -> None:
        band = np.where(np.arange(SHAPE[1]) < 80, SKY, np.nan)
        found = extract(SKY, measure=band, zeropoint=25.0).to_pandas()
        beyond = (found["xmin"] > 110).to_numpy()
        assert beyond.sum() >= 3
        for name in (*self.FLUXES, "mag_auto", "mag_aper_5"):
            assert found[name][beyond].isna().all()
            assert found[f"{name}_err"][beyond].isna().all()
        assert found[["snr", "flux_radius"]][beyond].isna().all(axis=None)
        assert (found["flag_phot"][beyond].to_numpy() & PhotometryFlag.ALL_COVERED > 0).all()
        within = (found["xmax"] < 60).to_numpy()
        assert within.sum() >= 3
        assert found[list(self.FLUXES)][within].notna().all(axis=None)
        assert (found["flag_phot"][within].to_numpy() & PhotometryFlag.ALL_COVERED == 0).all()

    def test_one_aperture_of_two(self) -> None:
        star = extract(SKY).to_pandas().sort_values("snr").iloc[-1]
        rows, columns = np.indices(SHAPE)
        band = np.where(np.hypot(rows - star["y"], columns - star["x"]) < 4, np.nan, SKY)
        found = extract(SKY, measure=band).to_pandas().loc[star.name]
        assert np.isnan([found["flux_aper_5"], found["flux_aper_5_err"]]).all()
        assert found["flux_aper_10_err"] > 0
        assert int(found["flag_phot"]) & PhotometryFlag.ALL_COVERED


FIELD = simulate((160, 180), 60, seed=5, background=100).pixels
GAUSSIAN = np.exp(-(np.square(np.indices((5, 5)) - 2).sum(axis=0)) / 3)
KERNELS = {
    "default": sep_directly.DEFAULT_KERNEL,
    "none": np.ones((1, 1)),
    "5 x 5": GAUSSIAN,
    "1 x 4": np.array([[1.0, 3, 2, 0.5]]),
    "9 x 2": np.ones((9, 2)),
    "Mexican hat": np.array([[0, -1.0, 0], [-1, 8, -1], [0, -1, 0]]),
}
# Of the noise of FIELD, about 10, where it is the unit.
THRESHOLDS = {"float_globalrms": 2.0, "array_rms": 2.0, "file": 2.0, "none": 20.0}
FOUND = [column.name for column in DETECTION_COLUMNS if column.name != "label"]


def holes(kind: str, seed: int) -> np.ndarray:
    """A mask: specks, a bad row and column, discs on stars, a border, everything but a disc."""
    random, masked = np.random.default_rng(seed), np.zeros(FIELD.shape, bool)
    rows, columns = np.indices(FIELD.shape)
    if kind == "specks":
        masked |= random.uniform(size=FIELD.shape) < 0.03
    elif kind == "lines":
        masked[random.integers(160, size=4)] = masked[:, random.integers(180, size=4)] = True
    elif kind == "cores":
        brightest = np.argsort(FIELD.ravel())[-300 :: random.integers(20, 60)]
        for row, column in zip(*np.divmod(brightest, 180), strict=True):
            masked |= np.hypot(rows - row, columns - column) < random.uniform(0.5, 4)
    elif kind == "border":
        masked[:5] = masked[:, -int(random.integers(3, 40)) :] = True
    else:
        masked |= np.hypot(rows - 80, columns - 90) > 70
    return masked


def assert_rows_are_of_the_map(found: Result, masked: np.ndarray, kernel: np.ndarray, threshold: np.ndarray) -> None:
    """Every row holds what follows from the pixels that the map shows, none of them masked.

    Moments are checked where no source was split from a blend: SEP keeps the position of its core.
    """
    light, labels, rows = np.nan_to_num(found.background_subtracted), found.segmentation, found.to_pandas()
    filtered = ndimage.correlate(light.astype(float), kernel / np.abs(kernel).sum(), mode="constant")
    assert not labels[masked].any()
    assert set(np.unique(labels)) == set(range(len(rows) + 1))
    assert (rows[FOUND].abs().to_numpy(float) < 1e10).all()
    # An aperture with nothing but masked pixels has no flux.
    assert not (rows.drop(columns="image").abs().to_numpy(float) >= 1e10).any()
    for label, row in rows.iterrows():
        y, x = np.nonzero(labels == label)
        own, weight, level = light[y, x], filtered[y, x], threshold[y, x]
        close = {"rel": 2e-4, "abs": 1e-3}
        assert row["npix"] == len(x)
        assert (row["xmin"], row["xmax"], row["ymin"], row["ymax"]) == (x.min(), x.max(), y.min(), y.max())
        # That of a blend is SEP's mean over the whole of it, for all of its parts that have no masked pixel.
        assert row["thresh"] == pytest.approx(level.mean(), rel=0.1 if row["flag"] & 1 else 2e-4)
        assert row["tnpix"] == pytest.approx((own > row["thresh"]).sum(), abs=1)
        assert (row["flux"], row["cflux"]) == (pytest.approx(own.sum(), **close), pytest.approx(weight.sum(), **close))
        assert (row["peak"], row["cpeak"]) == (pytest.approx(own.max(), **close), pytest.approx(weight.max(), **close))
        for name, values, peak in (("peak", light, own.max()), ("cpeak", filtered, weight.max())):
            assert values[int(row[f"y{name}"]), int(row[f"x{name}"])] == pytest.approx(peak, **close)
        if row["flag"] & 1 == 0 and weight.sum() > 1:
            mean = (weight * x).sum() / weight.sum()
            spread = (weight * x * x).sum() / weight.sum() - mean**2 + (1 / 12 if row["flag"] & 8 else 0)
            assert (row["x"], row["x2"]) == (pytest.approx(mean, **close), pytest.approx(spread, rel=1e-2, abs=1e-2))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    err_option=st.sampled_from(sorted(THRESHOLDS)),
    kernel=st.sampled_from(sorted(KERNELS)),
    filter_type=st.sampled_from(["matched", "conv"]),
    mask=st.sampled_from(["specks", "lines", "cores", "border", "all but a disc"]),
    deblend_cont=st.sampled_from([0.005, 1.0]),
    seed=st.integers(0, 10**6),
)
def test_rows_are_of_unmasked_pixels(
    tmp_path_factory: pytest.TempPathFactory,
    err_option: str,
    kernel: str,
    filter_type: str,
    mask: str,
    deblend_cont: float,
    seed: int,
) -> None:
    masked, options = holes(mask, seed), {"err_option": err_option, "filter_type": filter_type}
    options |= {"thresh": THRESHOLDS[err_option] * (2 if filter_type == "matched" else 1), "deblend_cont": deblend_cont}
    if kernel not in ("default", "none"):
        np.savetxt(tmp_path_factory.getbasetemp() / "kernel.txt", KERNELS[kernel])
        options |= {"filter_case": "file", "filter_file": tmp_path_factory.getbasetemp() / "kernel.txt"}
    elif kernel == "none":
        options["filter_case"] = "none"
    noise = np.where(masked, 1e30, 10 + np.arange(180) / 60) + np.zeros(FIELD.shape)
    if err_option == "file":
        options["error"] = noise
    found = extract(FIELD, mask=masked, **options)
    units = {"array_rms": found.background_rms, "file": noise, "none": 1}
    unit = units.get(err_option, found.summary["background"]["rms"])
    assert_rows_are_of_the_map(found, masked, KERNELS[kernel], np.broadcast_to(options["thresh"] * unit, FIELD.shape))


def test_masked_pixels_of_a_public_report() -> None:
    """sep-developers/sep#149: three masked pixels of a square appear in the map of its source."""
    pixels, masked = np.ones((7, 7)), np.zeros((7, 7), bool)
    masked[3, 3:], pixels[2:5, 2:5] = True, 21
    for options in ({"err_option": "none"}, {"err_option": "file", "error": np.ones((7, 7))}):
        found = extract(pixels, mask=masked, thresh=2, subtract_background=False, minarea=1, **options)
        assert len(found) == 1
        assert_rows_are_of_the_map(found, masked, sep_directly.DEFAULT_KERNEL, np.full((7, 7), 2.0))


def test_a_star_with_a_masked_core_stays(tmp_path: Path) -> None:
    """Where the filtered image is brightest in a masked pixel, as with the kernel of a wide star."""
    np.savetxt(tmp_path / "kernel.txt", GAUSSIAN)
    options = {"filter_case": "file", "filter_file": tmp_path / "kernel.txt", "deblend_cont": 1.0}
    options |= {"err_option": "array_rms", "thresh": 4.0}
    star = extract(FIELD, **options).to_pandas().query("20 < x < 160 and 20 < y < 140").sort_values("cflux").iloc[-1]
    masked = np.zeros(FIELD.shape, bool)
    masked[int(star["ycpeak"]), int(star["xcpeak"])] = True
    found = extract(FIELD, mask=masked, **options)
    beside = found.to_pandas()[lambda rows: np.hypot(rows["x"] - star["x"], rows["y"] - star["y"]) < 1]
    assert len(beside) == 1
    assert 0.9 * star["npix"] < beside["npix"].iloc[0] < star["npix"]


def test_specks_change_little_of_what_is_found() -> None:
    """With 3 % of the pixels masked, a row and three columns: as many of the sources drawn, and no more false ones."""
    sky = simulate((600, 600), 1100, seed=1, fwhm=3)
    masked = np.random.default_rng(1).uniform(size=sky.pixels.shape) < 0.03
    masked[300] = masked[:, 200:203] = True
    drawn = sky.truth["x"] + 1j * sky.truth["y"]
    right, false = {}, {}
    for name, mask in (("unmasked", None), ("masked", masked)):
        found = extract(sky.pixels, mask=mask, err_option="array_rms", thresh=4).to_pandas()
        nearest = np.abs((found["x"] + 1j * found["y"]).to_numpy()[:, None] - drawn).min(axis=1)
        right[name], false[name] = (nearest < 2).sum(), (nearest >= 2).sum()
    assert right["masked"] == pytest.approx(right["unmasked"], rel=0.05)
    assert false["masked"] <= false["unmasked"] + 2


def test_giants_that_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left out around sources too large to be deblended is no part of the others' rows either."""
    monkeypatch.setattr(sep_extract, "MOST_BYTES_TO_DEBLEND", 32 * 44 * 60)
    monkeypatch.setattr(sep_extract, "PIXEL_BUFFER", 600)
    masked = holes("specks", 1)
    sep.set_extract_pixstack(600)
    try:
        found = extract(FIELD, mask=masked, err_option="array_rms", thresh=3.0, clean=False)
    finally:
        sep.set_extract_pixstack(300_000)
    sizes = np.bincount(found.segmentation.ravel())[1:]
    assert (sizes > 60).any()
    np.testing.assert_array_equal(found.to_pandas()["npix"], sizes)
    assert_rows_are_of_the_map(found, masked, sep_directly.DEFAULT_KERNEL, 3 * found.background_rms)


@pytest.mark.parametrize("kernel", ["default", "1 x 4", "9 x 2"])
def test_a_record_made_anew_is_sep_s(kernel: str) -> None:
    """Of sources that have lost nothing, what is measured again is what SEP measured."""
    weights = KERNELS[kernel].astype(np.float32)
    sky = sep.Background(FIELD)
    light, noise = FIELD - sky.back(), sky.rms() * np.linspace(1, 2, 180, dtype=np.float32)
    sources, labels = sep.extract(
        light, 2.5, err=noise, filter_kernel=weights, segmentation_map=True, deblend_nthresh=1, minarea=1
    )
    assert len(sources) > 10
    assert np.bitwise_or.reduce(sources["flag"]) == 10
    again = measured_again(sources, np.arange(1, len(sources) + 1), labels, light, weights, noise, 2.5)
    for name in sources.dtype.names:
        np.testing.assert_allclose(again[name], sources[name], rtol=1e-4, atol=1e-4, err_msg=name)
