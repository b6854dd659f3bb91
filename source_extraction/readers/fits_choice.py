"""Which HDU of a FITS file is meant, and what the others could be used for."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..errors import InputError, counted
from .fits_structure import HDU, text_of

# EXTNAMEs by which observatories and programs call what goes with an image, and the options that take it.
NOISE, MASK = "error_file", "mask_file"
USES: dict[str, tuple[str, dict[str, str]]] = {
    **dict.fromkeys(("ERR", "ERROR", "SIGMA", "RMS", "NOISE", "UNCERT"), (NOISE, {})),
    **dict.fromkeys(("VAR", "VARIANCE", "STAT"), (NOISE, {"error_type": "variance"})),
    **dict.fromkeys(("WHT", "WEIGHT", "INVVAR", "IVAR"), (NOISE, {"error_type": "weight"})),
    **dict.fromkeys(("DQ", "MASK", "FLAGS", "BPM"), (MASK, {})),
}
# Tables of the coordinates, which look like images (FITS WCS Paper IV, and how HST writes its own).
OF_COORDINATES = ("WCSDVARR", "D2IMARR")


def choose_hdu(hdus: list[HDU], source: str, wanted: str | None, plane: int | None) -> HDU:
    """The HDU to read: the one that is wanted, else the first 2-D image.

    An empty or dummy (2 x 2) primary and cubes are passed over where a 2-D image follows; where a plane is wanted, it
    is that of the first cube.
    """
    images = [hdu for hdu in hdus if _is_image(hdu)]
    if not images:
        raise InputError(
            source, f"it holds {counted(len(hdus), 'HDU', 'HDUs')} and no image", "give a FITS file with a 2-D image"
        )
    if wanted is not None:
        return _wanted(hdus, images, source, wanted)
    flat = [hdu for hdu in images if hdu.is_flat]
    cubes = [hdu for hdu in images if not hdu.is_flat and len(hdu.shape) > 2]
    if plane is not None:
        return (cubes or images)[0]
    if len(flat) > 1 and flat[0].shape[-2:] == (2, 2):
        return flat[1]
    return (flat or cubes or images)[0]


def others_than(chosen: HDU, hdus: list[HDU]) -> str:
    """The other images of the file, with their sizes where these are others."""
    others = [hdu for hdu in hdus if _is_image(hdu) and hdu is not chosen and hdu.name.upper() not in OF_COORDINATES]
    return ", ".join(hdu.label if _goes_with(hdu, chosen) else hdu.described for hdu in others)


def uses_beside(chosen: HDU, hdus: list[HDU]) -> tuple[dict[str, str], ...]:
    """The options that take what else the file has for this image: its noise, and its mask.

    A file among their values is this one, with the HDU: "[ERR]".
    """
    fitting = [hdu for hdu in hdus if _is_image(hdu) and hdu is not chosen and _goes_with(hdu, chosen)]
    fitting.sort(key=lambda hdu: hdu.version != chosen.version)  # first those of the same detector
    found: dict[str, dict[str, str]] = {}
    for hdu in fitting:
        option, more = USES.get(hdu.name.upper(), ("", {}))
        if option and option not in found:
            first = {"err_option": "file"} if option == NOISE else {}
            last = more if option == NOISE else _bits_of(hdu, hdus[0])
            found[option] = first | {option: f"[{_name_of(hdu, hdus)}]"} | last
    return tuple(found.values())


def versions_of(name: str, hdus: Iterable[HDU]) -> tuple[int, ...]:
    """The EXTVERs that images of a name have."""
    return tuple(hdu.version for hdu in hdus if hdu.name == name and _is_image(hdu))


def _is_image(hdu: HDU) -> bool:
    return bool(hdu.shape) and 0 not in hdu.shape


def _goes_with(hdu: HDU, chosen: HDU) -> bool:
    """Whether it is one plane of the same rows and columns."""
    rows_and_columns = [side for side in chosen.shape if side > 1][-2:]
    return hdu.is_flat and [side for side in hdu.shape if side > 1] == rows_and_columns


def _name_of(hdu: HDU, hdus: list[HDU]) -> str:
    """By what it can be chosen."""
    names = (hdu.name, f"{hdu.name},{hdu.version}")
    return next((name for name in names if _named(hdus, name)[:1] == [hdu]), str(hdu.number))


def _wanted(hdus: list[HDU], images: list[HDU], source: str, wanted: str) -> HDU:
    found = _named(images, wanted)
    if found:
        return found[0]
    listed = f"choose one of: {', '.join(hdu.described for hdu in images)}"
    if others := _named(hdus, wanted):
        what = "is a table" if "TABLE" in text_of(others[0].header, "XTENSION").upper() else "has no pixels"
        raise InputError(source, f"{others[0].label} {what}, and no image", listed)
    raise InputError(source, f"there is no image HDU {wanted!r}", listed)


def _named(hdus: Iterable[HDU], wanted: str) -> list[HDU]:
    """The HDUs of a number, of an EXTNAME, or else of EXTNAME,EXTVER.

    A number is a number; a name that looks like one is given between quotes.
    """
    name = wanted.strip()
    if name.isascii() and name.isdecimal():
        return [hdu for hdu in hdus if str(hdu.number) == (name.lstrip("0") or "0")]
    names = [name.upper()]
    if len(name) > 2 and name[0] == name[-1] and name[0] in "'\"":
        names.append(name[1:-1].strip().upper())
    if found := [hdu for hdu in hdus if hdu.name.upper() in names]:
        return found
    versioned = re.fullmatch(r"(.+?)\s*,\s*0*(\d{1,10})", name)
    if versioned is None:
        return []
    name = versioned[1] if versioned[1][0] in "'\"" else f"'{versioned[1]}'"
    return [hdu for hdu in _named(hdus, name) if hdu.version == int(versioned[2])]


def _bits_of(mask: HDU, primary: HDU) -> dict[str, str]:
    """The bits by which a mask of an observatory says that a pixel is not to be used."""
    if text_of(primary.header, "TELESCOP").upper() == "JWST":
        return {"mask_bits": "jwst"}
    return {"mask_bits": "MP_BAD"} if "MP_BAD" in mask.header else {}
