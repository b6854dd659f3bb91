"""Where a FITS image lies on the sky, by its header and, for some distortions, by other HDUs of its file."""

from __future__ import annotations

import io
from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from astropy.io import fits

from ..core.coordinates import reference_system, why_no_icrs
from ..core.image import Celestial
from .fits_sky_cards import NoCoordinatesError, SkyCards
from .fits_sky_conventions import (
    NO_INVERSE,
    leave_out_other_axes,
    leave_out_polynomials,
    leave_out_sip,
    leave_out_tables,
    place_the_image,
    settle,
)
from .fits_structure import BLOCK, CARD, HDU, quiet, text_of
from .fits_tiles import PRIMARY

if TYPE_CHECKING:
    from astropy.wcs import WCS

# Keywords of distortions that other HDUs hold (FITS WCS paper IV; -TAB: paper III), and what those are called.
DISTORTION_TABLES = ("CPDIS1", "CPDIS2", "D2IMDIS1", "D2IMDIS2", "PS1_0", "PS2_0")
NAMES_OF_TABLES = ("WCSDVARR", "D2IMARR")
MOST_TABLE_BYTES = 2**28
# What is left out, one after the other, where a header cannot be used: what matters least comes first.
Remedy = Callable[[SkyCards], None]
REMEDIES: tuple[tuple[Remedy, ...], ...] = (
    (),
    (leave_out_other_axes,),
    (leave_out_tables,),
    (leave_out_polynomials,),
    (leave_out_other_axes, leave_out_tables, leave_out_polynomials),
    (leave_out_other_axes, leave_out_tables, leave_out_polynomials, leave_out_sip),
)
# By the types of wcslib's errors, which astropy gives names.
REASONS = {
    "SingularMatrixError": NO_INVERSE,
    "InconsistentAxisTypesError": "its axes, {types}, do not go together, or are of a projection that is not known",
    "InvalidTransformError": "its CRVAL, LONPOLE, LATPOLE or PV have values that the projection does not allow",
}
POINTS = 33  # looked at along each side, to see whether the image is on the sky


def celestial_of(hdu: HDU, primary: HDU, tables: fits.HDUList | None, axes: list[int]) -> Celestial:
    """The celestial WCS of an HDU's columns and rows; where there is none, the remarks say why.

    `axes` are the FITS numbers of the two axes. They keep their order: some images have the declination first. The
    header of the `primary` HDU speaks for one that says so (INHERIT, FITS standard 4.0, 4.4.2.6) and nothing itself.
    """
    with quiet():
        try:
            cards = SkyCards(hdu.text, hdu.shape, axes)
            if not place_the_image(cards) and hdu.header.get("INHERIT") is True:
                cards = SkyCards(primary.text, hdu.shape, axes)
            if not place_the_image(cards):
                return Celestial()
            settle(cards)
            wcs, remarks = _wcs_of(cards, tables, axes)
            _settle_native_longitudes(wcs, cards)
            _require_sky(wcs, cards)
            remarks += _settle_system(wcs)
            return Celestial.of(wcs, tuple(remarks))
        except NoCoordinatesError as reason:
            return Celestial(remarks=(f"Sky coordinates: none, because {reason}",))
        except Exception:
            # What wcslib takes from a header it may still not be able to use, or to write.
            return Celestial(remarks=("Sky coordinates: none, because its keywords cannot be used together",))


def needs_tables(header: fits.Header) -> bool:
    """Whether other HDUs of the file belong to the coordinates."""
    return any(keyword in header for keyword in DISTORTION_TABLES)


def distortion_tables(header: fits.Header, hdus: list[HDU], file: BinaryIO) -> fits.HDUList:
    """The HDUs that distortions may name, and no others, in memory; none where they cannot be read."""
    named = {*NAMES_OF_TABLES, text_of(header, "PS1_0").upper(), text_of(header, "PS2_0").upper()} - {""}
    content = io.BytesIO()
    content.write(PRIMARY)
    for hdu in hdus[1:]:
        if hdu.name.upper() in named and hdu.data_size + content.tell() < MOST_TABLE_BYTES:
            file.seek(hdu.data_start)
            data = file.read(hdu.data_size)
            for part, padding in ((hdu.text.encode("ascii") + b"END".ljust(CARD), b" "), (data, b"\0")):
                content.write(part.ljust(-(-len(part) // BLOCK) * BLOCK, padding))
    content.seek(0)
    with quiet():
        try:
            return fits.open(content, memmap=False, lazy_load_hdus=False)
        except MemoryError:
            raise
        except Exception:
            # astropy meets damage with every kind of exception; the pixels are good all the same.
            return fits.HDUList()


def _wcs_of(cards: SkyCards, tables: fits.HDUList | None, axes: list[int]) -> tuple[WCS, list[str]]:
    """What astropy makes of the cards, with as few as possible left out, and what there is to say of it."""
    from astropy.wcs import WCS

    first: Exception | None = None
    for remedies in REMEDIES:
        tried = deepcopy(cards)
        for remedy in remedies:
            remedy(tried)
        try:
            wcs = WCS(tried.header(), tables).sub(axes)
            if wcs.has_celestial:
                return wcs, tried.remarks
        except Exception as problem:
            # wcslib and astropy raise a dozen types for unusable keywords, MemoryError among them; the pixels are good
            # all the same.
            first = first or problem
    reason = REASONS.get(type(first).__name__, "its axes, {types}, are not on the sky")
    if "CUNIT" in str(first):
        reason = "its CUNIT, {units}, are not units of angle"
    types, units = (" and ".join(text or "none" for text in cards.of_both_axes(name)) for name in ("CTYPE", "CUNIT"))
    raise NoCoordinatesError(reason.format(types=types, units=units))


def _settle_native_longitudes(wcs: WCS, cards: SkyCards) -> None:
    """Have native longitudes lie around 0 where a cylindrical projection has its reference point far away.

    wcslib takes those beyond 180 degrees for places off the map. Counted from another meridian, the reference point
    is another point of the native equator, and LONPOLE is as much less; the sky under each pixel stays the same.
    """
    from astropy.wcs import PRJ_CYLINDRICAL

    projection = wcs.wcs.cel.prj
    if projection.category != PRJ_CYLINDRICAL or (projection.phi0, projection.theta0) != (0, 0):
        return
    width, height = cards.sides
    corners = np.array([(1, 1), (width, 1), (1, height), (width, height)]) - wcs.wcs.crpix
    x = (corners @ wcs.pixel_scale_matrix.T)[:, wcs.wcs.lng] / projection.w[0]
    if np.abs(x).max() <= 180:
        return
    turn = (x.min() + x.max()) / 2 if np.ptp(x) <= 360 else 360 * np.round(x.mean() / 360)
    along = np.zeros(2)
    along[wcs.wcs.lng] = turn * projection.w[0]
    wcs.wcs.bounds_check(False, True)
    crpix = wcs.wcs.crpix + np.linalg.solve(wcs.pixel_scale_matrix, along)
    crval = wcs.wcs_pix2world([crpix], 1)[0]
    wcs.wcs.bounds_check(True, True)
    lonpole = (wcs.wcs.lonpole - turn + 180) % 360 - 180
    wcs.wcs.crpix, wcs.wcs.crval, wcs.wcs.lonpole = crpix, crval, lonpole


def _require_sky(wcs: WCS, cards: SkyCards) -> None:
    """Raises NoCoordinatesError where no pixel of the image is on the sky; the middle almost always is."""
    if np.isfinite(wcs.wcs_pix2world([[(side - 1) / 2 for side in cards.sides]], 0)).all():
        return
    across, along = (np.linspace(0, side - 1, POINTS) for side in cards.sides)
    x, y = (axis.ravel() for axis in np.meshgrid(across, along))
    if not np.isfinite(wcs.wcs_pix2world(x, y, 0)).all(axis=0).any():
        raise NoCoordinatesError("no pixel of the image lies on the sky")


def _settle_system(wcs: WCS) -> list[str]:
    """Give RADESYS its name of the standard, which programs know that read the maps; what there is to say of it."""
    if reason := why_no_icrs(wcs):
        return [f"Sky coordinates: none, because {reason}"]
    spelled, system = wcs.wcs.radesys, reference_system(wcs)
    if wcs.wcs.lngtyp.strip() != "RA" or spelled in ("", system.name):
        return []
    wcs.wcs.radesys = system.name
    if system.is_known:
        return []
    return [
        f"Sky coordinates: RADESYS = '{spelled}' left out, as it is not a known system; {system.name} is used instead, "
        "which differs from others of the same equinox by less than 2 arcsec"
    ]
