"""Every product that is not a map or a picture of the nine, read back by an independent reader."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from astropy import units
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from photutils.aperture import CircularAperture
from photutils.segmentation import SegmentationImage
from PIL import Image as Picture
from PIL.Image import Resampling
from regions import EllipsePixelRegion, EllipseSkyRegion, Regions

from source_extraction import __version__, extract
from source_extraction.core.columns import FLAGS
from source_extraction.run.products import PRODUCTS
from tests.conftest import TEST_DATA, read_catalog, succeed

SKY = TEST_DATA / "sky.fits"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All products of the shipped sky, with a zero point."""
    folder = tmp_path_factory.mktemp("everything")
    said = succeed(SKY, "--outputs", ",".join(PRODUCTS), "--zeropoint", "25", "--gain", "GAIN", folder=folder)
    assert f"{len(PRODUCTS)} files in " in said
    assert {path.name for path in folder.iterdir()} == set(PRODUCTS)
    return folder


@pytest.fixture(scope="module")
def catalog(everything: Path) -> pd.DataFrame:
    return read_catalog(everything)


def test_the_new_products_are_no_default(tmp_path: Path) -> None:
    succeed(SKY, folder=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "catalog.tsv", "background.fits", "background_rms.fits", "segmentation_map.fits", "image.png", "background.png",
        "background_rms.png", "segmentation_map.png", "sources.png",
    }  # fmt: skip


class TestFitsTable:
    def test_values(self, everything: Path, catalog: pd.DataFrame) -> None:
        table = Table.read(everything / "catalog.fits")
        assert table.colnames == list(catalog.columns)
        for name in table.colnames:
            if name == "image":
                assert set(table[name]) == {"sky.fits"}
            else:
                np.testing.assert_allclose(table[name], catalog[name], rtol=1e-8, err_msg=name)

    def test_units_and_descriptions(self, everything: Path) -> None:
        table = Table.read(everything / "catalog.fits")
        assert table["flux_auto"].unit == table["flux"].unit == units.adu
        assert table["ra"].unit == table["theta_sky"].unit == units.deg
        assert table["mag_auto"].unit == units.mag
        assert table["x2"].unit == units.pix**2
        assert table["cxx"].unit == units.pix**-2
        header = fits.getheader(everything / "catalog.fits", 1)
        assert all(header[f"TCOMM{number}"] for number in range(1, header["TFIELDS"] + 1))
        assert header["TCOMM1"] == "the source's value in the segmentation map, from 1"

    def test_provenance_and_legend(self, everything: Path) -> None:
        header = fits.getheader(everything / "catalog.fits", 1)
        assert header["CREATOR"] == f"source-extraction {__version__}"
        assert header["SEP THRESH"] == 1.5
        assert header["SEP APERTURES"] == "5,10"
        assert header["SEP GAIN"] == "GAIN"
        comments = " ".join(header["COMMENT"])
        for name, legend in FLAGS.items():
            for bit, meaning in legend.items():
                assert f"{name} {bit}: {meaning}" in comments

    def test_verifies(self, everything: Path) -> None:
        with fits.open(everything / "catalog.fits") as hdus:
            hdus.verify("exception")


def test_background_subtracted(everything: Path) -> None:
    with fits.open(everything / "background_subtracted.fits") as hdus:
        assert hdus[0].data.dtype == np.dtype(">f4")
        assert hdus[0].header["BUNIT"] == "adu"
        np.testing.assert_allclose(WCS(hdus[0].header).wcs.crval, WCS(fits.getheader(SKY)).wcs.crval)
        expected = fits.getdata(SKY) - fits.getdata(everything / "background.fits")
        np.testing.assert_allclose(hdus[0].data, expected, atol=1e-4)


class TestLabelImages:
    def test_label_map(self, everything: Path) -> None:
        with tifffile.TiffFile(everything / "segmentation_map.tiff") as tiff:
            assert len(tiff.pages) == 1
            page = tiff.pages[0]
            assert (page.dtype, page.samplesperpixel, page.compression) == (np.uint16, 1, 1)
            labels = page.asarray()
        np.testing.assert_array_equal(labels, fits.getdata(everything / "segmentation_map.fits"))
        segments = SegmentationImage(labels)
        assert segments.is_consecutive
        assert segments.n_labels == 142

    def test_areas_are_npix(self, everything: Path, catalog: pd.DataFrame) -> None:
        segments = SegmentationImage(tifffile.imread(everything / "segmentation_map.tiff"))
        np.testing.assert_array_equal(segments.areas, catalog["npix"])

    def test_more_labels_than_uint16_holds(self, tmp_path: Path) -> None:
        """A lattice of 300 x 300 points."""
        pixels = np.random.default_rng(1).normal(0, 1, (900, 900)).astype(np.float32)
        pixels[1::3, 1::3] += 1000
        fits.writeto(tmp_path / "lattice.fits", pixels)
        options = ("--filter_case", "none", "--minarea", "1", "--thresh", "100", "--err_option", "none", "--no-clean")
        products = ("--outputs", "segmentation_map.tiff,segmentation_map.fits")
        said = succeed(tmp_path / "lattice.fits", *options, *products, folder=tmp_path)
        assert "Warning: segmentation_map.tiff is of type uint32" in said
        labels = tifffile.imread(tmp_path / "segmentation_map.tiff")
        assert labels.dtype == np.uint32
        assert labels.max() == 90000
        np.testing.assert_array_equal(labels, fits.getdata(tmp_path / "segmentation_map.fits"))

    @pytest.mark.parametrize("image", ["sky.fits", "sky.tiff"])
    def test_greys_are_those_of_the_picture(self, tmp_path: Path, image: str) -> None:
        """In the order of the label map's rows, as the pixels of the file."""
        succeed(TEST_DATA / image, "--outputs", "image.tiff,image.png,segmentation_map.tiff", folder=tmp_path)
        greys = tifffile.imread(tmp_path / "image.tiff")
        assert (greys.dtype, greys.shape) == (np.uint8, (360, 480))
        pixels = fits.getdata(TEST_DATA / image) if image.endswith(".fits") else tifffile.imread(TEST_DATA / image)
        brightest = np.unravel_index(pixels.argmax(), pixels.shape)
        assert greys[brightest] == 255
        order = np.argsort(pixels, axis=None)
        assert (np.diff(greys.ravel()[order].astype(int)) >= 0).all()
        labels = tifffile.imread(tmp_path / "segmentation_map.tiff")
        assert greys[labels > 0].mean() > greys[labels == 0].mean() + 50
        # Within its frame, the picture has 1500 x 1125 pixels of the image, the first row of a FITS file at the bottom.
        shown = (
            Picture.open(tmp_path / "image.png")
            .convert("L")
            .crop((230, 110, 1730, 1235))
            .resize((480, 360), Resampling.BOX)
        )
        shown = np.asarray(shown)[:: -1 if image.endswith(".fits") else 1]
        inside = (slice(20, -20), slice(20, -20))
        assert np.median(np.abs(shown[inside].astype(float) - greys[inside])) < 4

    def test_greys_from_python(self, tmp_path: Path) -> None:
        """Also where the image was read long ago, and for an array with pixels without a value."""
        succeed(SKY, "--outputs", "image.tiff", folder=tmp_path / "expected")
        expected = (tmp_path / "expected" / "image.tiff").read_bytes()
        pixels = fits.getdata(SKY).astype(np.float32)
        for given in (SKY, pixels):
            extract(given).write(tmp_path, ["image.tiff"])
            assert (tmp_path / "image.tiff").read_bytes() == expected
        pixels[10:20, 30:40] = np.nan
        extract(pixels).write(tmp_path, ["image.tiff"])
        assert not tifffile.imread(tmp_path / "image.tiff")[10:20, 30:40].any()

    def test_seeds(self, everything: Path, catalog: pd.DataFrame) -> None:
        seeds = tifffile.imread(everything / "seeds.tiff")
        assert (seeds.dtype, seeds.shape) == (np.uint8, (360, 480))
        assert set(np.unique(seeds)) == {0, 255}
        expected = {(round(y), round(x)) for x, y in zip(catalog["x"], catalog["y"], strict=True)}
        assert set(zip(*(axis.tolist() for axis in np.nonzero(seeds)), strict=True)) == expected

    def test_points(self, everything: Path, catalog: pd.DataFrame) -> None:
        points = pd.read_csv(everything / "points.tsv", sep="\t", float_precision="round_trip")
        assert list(points) == ["label", "pos_x", "pos_y"]
        np.testing.assert_array_equal(points["label"], catalog["label"])
        np.testing.assert_array_equal(points["pos_x"], catalog["x"])
        np.testing.assert_array_equal(points["pos_y"], catalog["y"])


class TestRegions:
    def test_on_the_sky(self, everything: Path, catalog: pd.DataFrame) -> None:
        """Brought back to pixels by the WCS, they are the Kron ellipses."""
        regions = Regions.read(everything / "sources.reg", format="ds9")
        assert len(regions) == len(catalog)
        assert all(isinstance(region, EllipseSkyRegion) for region in regions)
        wcs = WCS(fits.getheader(SKY))
        for region, source in zip(regions, catalog.itertuples(), strict=True):
            assert region.meta["tag"] == [str(source.label)]
            ellipse = region.to_pixel(wcs)
            assert ellipse.center.x == pytest.approx(source.x, abs=0.001)
            assert ellipse.center.y == pytest.approx(source.y, abs=0.001)
            assert ellipse.width == pytest.approx(2 * source.kron_radius * source.a, rel=0.002)
            assert ellipse.height == pytest.approx(2 * source.kron_radius * source.b, rel=0.002)
            turn = ellipse.angle.to_value("deg") - np.degrees(source.theta)
            assert abs((turn + 90) % 180 - 90) < 0.05

    def test_in_pixels(self, tmp_path: Path) -> None:
        succeed(TEST_DATA / "sky.tiff", "--outputs", "catalog.tsv,sources.reg", folder=tmp_path)
        regions, catalog = Regions.read(tmp_path / "sources.reg", format="ds9"), read_catalog(tmp_path)
        assert all(isinstance(region, EllipsePixelRegion) for region in regions)
        # The reader counts pixels from 0, the file from 1.
        np.testing.assert_allclose([region.center.x for region in regions], catalog["x"], atol=1e-3)
        np.testing.assert_allclose([region.center.y for region in regions], catalog["y"], atol=1e-3)
        angles = [region.angle.to_value("deg") for region in regions]
        np.testing.assert_allclose(angles, np.degrees(catalog["theta"]), atol=0.01)


class TestSummary:
    def test_facts(self, everything: Path, catalog: pd.DataFrame) -> None:
        summary = json.loads((everything / "summary.json").read_text())
        assert summary["source_extractor"] == __version__
        assert summary["parameters"]["thresh"] == 1.5
        assert (summary["image"]["width"], summary["image"]["height"]) == (480, 360)
        assert summary["background"]["rms"] == pytest.approx(8.79457, rel=1e-5)
        assert list(summary["threshold"].values()) == pytest.approx([1.5 * 8.79457] * 3, rel=1e-5)
        assert summary["counts"]["sources"] == len(catalog)
        assert summary["counts"]["blended"] == (catalog["flag"] % 2 == 1).sum()
        assert summary["calibration"] == {"gain": 2.0, "zeropoint": 25.0, "saturation": None}
        assert summary["warnings"] == []
        assert {"Reading the image", "Measuring the sources", "Making diagnostics.png"} <= set(summary["seconds"])

    def test_depth(self, everything: Path) -> None:
        """The noise of circles of 5 pixels laid on noise alone is a fifth of the depth."""
        summary = json.loads((everything / "summary.json").read_text())
        depth, (factor,) = summary["depth"], [f["factor"] for f in summary["noise_factors"] if f["diameter"] == 5]
        rms = np.median(fits.getdata(everything / "background_rms.fits"))
        places = np.random.default_rng(0).uniform(10, 11, (2000, 2))
        overlaps = CircularAperture(places, 2.5).to_mask(method="exact")
        independent = np.sqrt(np.mean([(overlap.data**2).sum() for overlap in overlaps]))
        assert depth["flux"] == pytest.approx(5 * rms * independent * factor, rel=1e-3)
        assert depth["magnitude"] == pytest.approx(25 - 2.5 * np.log10(depth["flux"]))

    def test_depth_is_said(self, tmp_path: Path) -> None:
        """With a magnitude where there is one, and as a sentence either way."""
        for zeropoint, magnitude in (((), ""), (("--zeropoint", "25"), r", magnitude \d+\.\d\d,")):
            said = succeed(SKY, *zeropoint, "--outputs", "report.html", folder=tmp_path)
            flux = r"^Depth: a flux of \d+(\.\d+)? adu"
            assert re.search(rf"(?m){flux}{magnitude} is 5 times the noise in an aperture of 5 pixels", said)

    def test_thresholds_of_a_map(self, tmp_path: Path) -> None:
        options = ("--err_option", "array_rms", "--filter_type", "conv")
        succeed(SKY, *options, "--outputs", "summary.json,background_rms.fits", folder=tmp_path)
        threshold = json.loads((tmp_path / "summary.json").read_text())["threshold"]
        rms = fits.getdata(tmp_path / "background_rms.fits").astype(float)
        expected = 1.5 * np.percentile(rms, (0, 50, 100))
        np.testing.assert_allclose([threshold[key] for key in ("least", "median", "greatest")], expected, rtol=1e-6)

    def test_noise_is_as_frequent_in_the_negated_image(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(1).normal(100, 5, (512, 512)).astype(np.float32)
        fits.writeto(tmp_path / "noise.fits", noise)
        options = ("--filter_case", "none", "--minarea", "3", "--outputs", "summary.json,catalog.tsv")
        succeed(tmp_path / "noise.fits", *options, folder=tmp_path)
        counts = json.loads((tmp_path / "summary.json").read_text())["counts"]
        fits.writeto(tmp_path / "negated.fits", 200 - noise)
        succeed(tmp_path / "negated.fits", *options, folder=tmp_path / "negated")
        found = len(read_catalog(tmp_path / "negated"))
        # The background of the negated image is estimated anew.
        assert counts["detections_on_the_negated_image"] == pytest.approx(found, rel=0.01)
        assert counts["detections_on_the_negated_image"] == pytest.approx(counts["sources"], rel=0.1)
        assert found > 500

    def test_warnings_are_in_it(self, tmp_path: Path) -> None:
        fits.writeto(tmp_path / "flat.fits", np.zeros((64, 64), np.float32))
        succeed(tmp_path / "flat.fits", "--outputs", "summary.json", folder=tmp_path)
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert any("no noise (RMS 0)" in warning for warning in summary["warnings"])
        assert summary["counts"]["sources"] == 0


@pytest.mark.parametrize("image", ["sky.tiff", "blank.fits"])
def test_all_products_of_any_image(tmp_path: Path, image: str) -> None:
    """Without coordinates; without a source."""
    succeed(TEST_DATA / image, "--outputs", ",".join(PRODUCTS), "--zeropoint", "25", folder=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(PRODUCTS)
    table = Table.read(tmp_path / "catalog.fits")
    assert len(table) == len(read_catalog(tmp_path)) == (0 if image == "blank.fits" else 142)
