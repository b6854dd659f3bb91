"""Make every file of this folder but catalogs/ and psfex.psf: a simulated sky, its truth, masks and kernels.

    python test-data/make_test_data.py

The sky is 480 x 360 pixels of stars and galaxies on a background that rises to the right; the masks
cover its five brightest sources. The TIFF image holds the same pixels. The noise maps are of its
background: two of the sky, and weights for planes.fits, 0 in the first 10 columns. together.fits has an image with its
noise, its mask and another band: the first 10 columns of the image are 0, as outside a mosaic.

psfex.psf is what PSFEx 3.21.1 made of sky.fits, with -PSFVAR_DEGREES 1 -PSF_SIZE 21,21 -PSF_SAMPLING 1, from a catalog
of SExtractor 2.28 with VIGNET(25,25) and PHOT_APERTURES 12.
"""

import sys
from pathlib import Path

import numpy as np
import tifffile
from astropy.io import fits

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "tests"))
from simulated_sky import simulate  # noqa: E402

SHAPE = (360, 480)
GAIN = 2.0  # electrons a count
BACKGROUND, GRADIENT = 200.0, 120.0  # electrons: at the left edge, and how much more at the right


def header() -> fits.Header:
    """A tangential projection of 0.4 arcsec pixels, turned by 20 degrees."""
    scale, turn = 0.4 / 3600, np.radians(20)
    return fits.Header(
        {
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CRVAL1": 186.445,
            "CRVAL2": 12.662,
            "CRPIX1": SHAPE[1] / 2,
            "CRPIX2": SHAPE[0] / 2,
            "CD1_1": -scale * np.cos(turn),
            "CD1_2": scale * np.sin(turn),
            "CD2_1": scale * np.sin(turn),
            "CD2_2": scale * np.cos(turn),
            "RADESYS": "ICRS",
            "BUNIT": "adu",
            "GAIN": GAIN,
            "OBJECT": "simulated sky",
        }
    )


def discs(sources: np.ndarray, radius: float) -> np.ndarray:
    """True within `radius` pixels of a source."""
    rows, columns = np.indices(SHAPE)
    return np.any([np.hypot(columns - source["x"], rows - source["y"]) < radius for source in sources], axis=0)


def sky_variance() -> np.ndarray:
    """The Poisson variance of the background, in counts."""
    electrons = BACKGROUND + GRADIENT * np.arange(SHAPE[1]) / SHAPE[1]
    return np.broadcast_to(electrons / GAIN**2, SHAPE).astype(np.float32)


def write_compressed(name: str, pixels: np.ndarray, **options: object) -> None:
    """An image in compressed tiles, which keep every digit: the Tool Shed asks for small files."""
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels, tile_shape=pixels.shape, **options)]).writeto(
        FOLDER / name, overwrite=True
    )


def main() -> None:
    sky = simulate(SHAPE, 260, seed=20, background=BACKGROUND, gradient=GRADIENT, faintest=500)
    counts = np.round(sky.pixels / GAIN)
    fits.writeto(FOLDER / "sky.fits", counts.astype(np.float32), header(), overwrite=True)
    tifffile.imwrite(FOLDER / "sky.tiff", counts.astype(np.uint16), compression="deflate")

    brightest = sky.truth[np.argsort(sky.truth["flux"])[-5:]]
    masked = discs(brightest, 15)
    write_compressed("mask.fits", masked.astype(np.uint8))
    # For a mask threshold in between: 100 at the brightest sources, 200 at the brightest of all.
    graded = 100 * masked.astype(np.uint8) + 100 * discs(brightest[-1:], 15).astype(np.uint8)
    tifffile.imwrite(FOLDER / "mask.tiff", graded, compression="deflate")
    fits.writeto(FOLDER / "small_mask.fits", masked[:100, :90].astype(np.uint8), overwrite=True)
    fits.writeto(FOLDER / "blank.fits", np.full((60, 80), 7, dtype=np.int16), overwrite=True)

    variance = sky_variance()
    tifffile.imwrite(FOLDER / "noise_rms.tiff", np.sqrt(variance), compression="deflate")
    tifffile.imwrite(FOLDER / "noise_variance.tiff", variance, compression="deflate")

    # The second of the three planes is the lower left of the sky.
    corner = counts[:90, :120].astype(np.int16)
    fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.CompImageHDU(np.stack([0 * corner, corner, 2 * corner]), name="SCI"),
            fits.CompImageHDU(np.zeros_like(corner), name="DQ"),
        ]
    ).writeto(FOLDER / "planes.fits", overwrite=True)
    weight = 1 / variance[:90, :120]
    weight[:, :10] = 0
    write_compressed("noise_weight.fits", weight, compression_type="GZIP_2", quantize_level=0)
    together(corner, np.sqrt(variance[:90, :120])).writeto(FOLDER / "together.fits", overwrite=True)

    np.savetxt(FOLDER / "kernel.txt", gaussian(fwhm=3.5, side=7), fmt="%.6f", header="Gaussian, FWHM 3.5 pixels")
    (FOLDER / "ragged_kernel.txt").write_text("1 2 1\n2 4\n1 2 1\n")

    names = sky.truth.dtype.names
    rows = [[f"{value:.6g}" for value in source] for source in sky.truth.tolist()]
    lines = ["\t".join(row) for row in [list(names), *rows]]
    (FOLDER / "sky_truth.tsv").write_text("\n".join(lines) + "\n")


def together(image: np.ndarray, noise: np.ndarray) -> fits.HDUList:
    """An image, its noise, its mask and another band in one file, compressed; each but the image is the second of two.

    The mask has bit 4 (MP_BAD) in 20 x 15 pixels, bit 32 (MP_DETECTED) where the image is bright.
    """
    mosaic, mask = image.copy(), np.zeros_like(image)
    mosaic[:, :10] = 0
    mask[40:55, 60:80] |= 4
    mask[image > 150] |= 32
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(mosaic, name="SCI", compression_type="RICE_1")])
    for name, pixels, codec in (("ERR", noise, "GZIP_2"), ("DQ", mask, "RICE_1"), ("R", 2 * image, "RICE_1")):
        cube = np.stack([0 * pixels, pixels])
        tile = (1, *pixels.shape)
        hdus.append(fits.CompImageHDU(cube, name=name, compression_type=codec, tile_shape=tile, quantize_level=0))
    hdus["DQ"].header.update({"MP_BAD": 2, "HIERARCH MP_DETECTED": 5})
    return hdus


def gaussian(fwhm: float, side: int) -> np.ndarray:
    """A Gaussian kernel with a peak of 1."""
    away = np.arange(side) - side // 2
    sigma = fwhm / np.sqrt(8 * np.log(2))
    return np.exp(-(away[:, None] ** 2 + away[None, :] ** 2) / (2 * sigma**2))


if __name__ == "__main__":
    main()
