"""What the OME metadata of a TIFF file claim: planes in this file, and not too many of them.

OME-TIFF (https://docs.openmicroscopy.org/ome-model/latest/ome-tiff/specification.html) may spread an image over files,
each named in the metadata of the others. A file from a stranger must not choose which files of this machine are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from ..errors import InputError, counted

# Planes that the metadata may claim for each page: acquisitions end early, and pages have several samples.
PLANES_A_PAGE, PLANES_ALLOWED = 100, 10_000
PLANES_OF_A_BLOCK = ("PlaneCount", "NumPlanes")
LABELS_ALLOWED = 100_000


def own_name(xml: str, pages: int, source: str) -> str | None:
    """The name that OME metadata give to the file they are in, where the planes are told by that name alone.

    Refuses metadata that name other files, and numbers that `pages` pages cannot bear out.
    """
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise InputError(source, "its OME metadata define entities of their own", "save it again as OME-TIFF")
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        # tifffile passes them over too, and takes the pages as they come.
        return None
    for pixels in _named(root, "Pixels"):
        _require_few_planes(pixels, pages, source)
    for element in root.iter():
        if element.tag.endswith(("AlongC", "AlongZ", "AlongT")):
            _require_few_labels(element, source)
    return _name(root, source)


def plain(text: str, length: int = 80) -> str:
    """Text of a file as a message can show it: characters that a terminal obeys are left out, and it ends."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: 2 * length]).strip()
    return shown if len(shown) <= length else f"{shown[:length]}..."


def _named(root: ElementTree.Element, ending: str) -> Iterator[ElementTree.Element]:
    """Elements by the end of their name, which begins with a version of the namespace; as tifffile finds them."""
    return (element for element in root.iter() if element.tag.endswith(ending))


def _name(root: ElementTree.Element, source: str) -> str | None:
    own = root.get("UUID")
    places = [
        (uuid.text, uuid.get("FileName", "")) for data in _named(root, "TiffData") for uuid in _named(data, "UUID")
    ]
    if own is None and len({text for text, _ in places}) == 1:
        # The only file there is must be this one, whatever it is called now.
        return places[0][1] or None
    others = sorted({plain(name) or "a file without a name" for text, name in places if text != own})
    if others:
        named = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        raise InputError(
            source,
            f"its planes lie in other files ({named}), and only the file that is given is read",
            "give a file that holds all of its planes",
        )
    return None


def _require_few_planes(pixels: ElementTree.Element, pages: int, source: str) -> None:
    """Refuse sizes that no file with this number of pages has, before anything is made of them."""
    try:
        sizes = [int(pixels.get(f"Size{axis}", 1)) for axis in "CZT"]
        claimed = max(sizes[0], 1) * max(sizes[1], 1) * max(sizes[2], 1)
        for data in _named(pixels, "TiffData"):
            numbers = [int(data.get(name, 0)) for name in (*PLANES_OF_A_BLOCK, "IFD")]
            sizes += [number + 1 for number in numbers]
            claimed = max(claimed, *numbers)
    except ValueError as problem:
        raise _beyond(source, "hold no number where one must be") from problem
    if min(sizes) < 1:
        raise _beyond(source, "hold a size below 1")
    if claimed > max(PLANES_ALLOWED, PLANES_A_PAGE * pages):
        raise _beyond(source, f"claim {claimed} planes, and it has {counted(pages, 'page', 'pages')}")


def _require_few_labels(along: ElementTree.Element, source: str) -> None:
    """Refuse an axis inside another whose labels would fill memory."""
    try:
        start, end = float(along.get("Start", 0)), float(along.get("End", 0))
        labels = abs(end - start) / abs(float(along.get("Step", 1)))
    except (ValueError, ZeroDivisionError) as problem:
        raise _beyond(source, "hold no number where one must be") from problem
    if not labels <= LABELS_ALLOWED:
        raise _beyond(source, f"claim {labels:g} labels for an axis")


def _beyond(source: str, what: str) -> InputError:
    return InputError(
        source, f"the TIFF file is damaged or truncated (its OME metadata {what})", "save it again as OME-TIFF"
    )
