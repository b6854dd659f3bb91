"""An array in memory -> Image."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.coordinates import why_no_icrs
from ..core.image import Celestial, Image, Partner, Whence
from ..errors import InputError
from ..settings import InMemory
from .planes import choose_plane, rows_and_columns


def read_array(given: InMemory, plane: int | None, partner: Partner | None) -> Image:
    """One 2-D image of an array, which is not changed; what is masked in it is NaN in the image.

    Raises InputError where it is not an array of numbers with rows and columns.
    """
    try:
        pixels = np.ma.asanyarray(given.pixels)
    except Exception as problem:
        # numpy asks the object, which may answer with any exception.
        raise InputError(given.name, f"it is not an array of numbers ({problem})", "give a 2-D array") from problem
    stored_type = str(pixels.dtype)
    planes, rest = rows_and_columns(pixels.shape, given.name, "the array")
    if 0 in pixels.shape:
        raise InputError(given.name, f"the array is empty ({_size(pixels.shape)})", "give a 2-D array")
    chosen = choose_plane(
        tuple(pixels.shape[axis] for axis in planes), plane, given.name, "the array", _size(pixels.shape)
    )
    index = dict(zip(planes, chosen, strict=True))
    pixels = pixels[tuple(index.get(axis, slice(None)) for axis in range(pixels.ndim))]
    pixels = pixels.reshape([side for axis, side in enumerate(np.shape(given.pixels)) if axis in rest])
    if partner is not None:
        height, width = pixels.shape
        partner.require_same_shape(given.name, (height, width))
    return Image(
        source=given.name,
        origin="array" if plane is None else f"plane {plane}",
        stored_type=stored_type,
        pixels=_unmasked(pixels),
        unit=given.unit,
        headers=() if given.header is None else (given.header,),
        borrowed=True,
        whence=Whence(plane=plane or 0),
    )


def _unmasked(pixels: np.ma.MaskedArray) -> np.ndarray:
    """A plain array in this machine's byte order, NaN where it was masked."""
    plain = np.asarray(np.ma.getdata(pixels))
    plain = plain.astype(plain.dtype.newbyteorder("="), copy=False)
    masked = np.ma.getmaskarray(pixels)
    return np.where(masked, np.nan, plain) if masked.any() else plain


def celestial_of(wcs: Any) -> Celestial | None:
    """The celestial axes of a WCS that its owner gave, or a remark that says why there are none with an ICRS.

    None where it is no FITS WCS.
    """
    from astropy.wcs import WCS

    if not isinstance(wcs, WCS):
        return None
    if not wcs.has_celestial:
        return Celestial(remarks=("Sky coordinates: none, because the wcs has no celestial axes",))
    wcs = wcs if wcs.naxis == 2 else wcs.celestial
    reason = why_no_icrs(wcs)
    return Celestial.of(wcs, (f"Sky coordinates: none, because {reason}",) if reason else ())


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)
