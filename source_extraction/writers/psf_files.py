"""A point spread function -> psf.fits, which --psf_file reads again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from ..core.psf import Psf
from ..core.psf_making import StarsOfPsf
from ..settings import Settings
from .fits_maps import provenance
from .whole import whole

EXPLAINED = (
    "The planes of the primary array are terms of the point spread function (PSF): the PSF at x, y (pixels from 0) is "
    "the sum over n of plane n times u^i v^j, with x^i y^j as TERMn says, u = (x - ZERO_X) / SCALE_X and v = (y - "
    "ZERO_Y) / SCALE_Y. Its points are 1 / OVERSAMP pixels apart, the star is in the middle one, rows are along y, and "
    "between them goes a cubic spline. Its value at the centre of a pixel is the share of the star's light in that "
    "pixel. STARS has the stars that it was made from."
)


def write_psf(path: Path, psf: Psf | None, stars: StarsOfPsf | None, settings: Settings) -> None:
    """Write the terms of a PSF and a table of its stars (pixels from 0); without a PSF, no array and no star."""
    primary = fits.PrimaryHDU(None if psf is None else psf.samples)
    header = primary.header
    if psf is not None:
        header["PSFTERMS"] = (len(psf.powers), "planes of the array: terms of a polynomial")
        header["OVERSAMP"] = (psf.oversampling, "points a pixel")
        for number, (i, j) in enumerate(psf.powers, start=1):
            header[f"TERM{number}"] = (f"x^{i} y^{j}", f"what plane {number} is multiplied by")
        for axis, zero, scale in zip("XY", psf.zero, psf.scale, strict=True):
            header[f"ZERO_{axis}"] = (float(zero), f"where {axis.lower()} counts as 0 (pixels from 0)")
            header[f"SCALE_{axis}"] = (float(scale), f"where {axis.lower()} counts as 1, from there (pixels)")
        header["PSF_FWHM"] = (psf.fwhm, "[pix] full width at half maximum, in the middle")
        header["COMMENT"] = EXPLAINED
    else:
        header["COMMENT"] = "There is no point spread function: too few stars show it."
    for keyword, value, comment in provenance(settings):
        header[keyword] = (value, comment)
    columns = {
        "label": ("J", None, np.zeros(0, np.int32) if stars is None else stars.label),
        "x": ("D", "pix", np.zeros(0) if stars is None else stars.x),
        "y": ("D", "pix", np.zeros(0) if stars is None else stars.y),
    }
    table = fits.BinTableHDU.from_columns(
        [fits.Column(name, form, unit, array=values) for name, (form, unit, values) in columns.items()], name="STARS"
    )
    with whole(path) as file:
        fits.HDUList([primary, table]).writeto(file)
