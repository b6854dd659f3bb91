"""A run as a web page: report.html, which is self-contained, and the part of it for notebooks.

The template escapes every text; the page's security policy allows its own style and script by their hashes, and forbids
everything else, whether in the page or fetched.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from ..core.advice import Advice
from ..core.catalog import Catalog
from ..core.completeness import with_error
from ..core.coordinates import local_scales
from ..core.image import Image
from ..settings import OPTIONS, as_options, as_typed
from .report_pictures import Layer, as_uri
from .report_sources import ROWS_WITHOUT_A_SCRIPT, SHOWN, Sources, flux_unit, rows_of
from .thumbnails import covered
from .whole import whole

PARTS = Path(__file__).with_name("page")
# The publications on the methods: SExtractor's, and SEP's.
CITATIONS = (
    ("Bertin & Arnouts 1996, A&AS 117, 393", "10.1051/aas:1996164", "for the algorithms"),
    ("Barbary 2016, JOSS 1(6), 58", "10.21105/joss.00058", "for SEP"),
)


@dataclass(frozen=True)
class Orientation:
    """The orientation of the sky in the middle of an image: the pixel width in degrees, and where north and east are.

    Directions are (x, y) in pixels, of length 1.
    """

    pixel: float
    north: tuple[float, float]
    east: tuple[float, float]

    @classmethod
    def of(cls, image: Image) -> Orientation | None:
        """None if the image has no sky there."""
        if image.wcs is None:
            return None
        height, width = image.shape
        scales = local_scales(image.wcs, np.array([(width - 1) / 2]), np.array([(height - 1) / 2]))
        if scales is None or not np.isfinite(scales).all() or np.linalg.det(scales[0]) == 0:
            return None
        east, north = (direction / np.hypot(*direction) for direction in np.linalg.inv(scales[0]).T)
        return cls(
            float(np.sqrt(abs(np.linalg.det(scales[0])))),
            (float(north[0]), float(north[1])),
            (float(east[0]), float(east[1])),
        )


def write_report(
    path: Path,
    *,
    summary: dict[str, Any],
    advice: list[Advice] | None,
    catalog: Catalog,
    image: Image,
    pictures: list[Layer],
    diagnostics: bytes,
) -> None:
    """Write the page of a run.

    `summary` is the content of summary.json, `diagnostics` a PNG file; `advice` is None if the run was not judged.
    """
    orientation = Orientation.of(image)
    sources = Sources.of(catalog, orientation.pixel if orientation else None)
    height, width = image.shape
    shown_height, shown_width = covered(image.shape)
    drawing = {
        "width": width,
        "height": height,
        "shown": [shown_width, shown_height],
        "rowsFromTop": image.rows_from_top,
        "orientation": orientation and vars(orientation),
        "unit": image.unit,
    }
    style, script = ((PARTS / name).read_text("utf-8") for name in ("page.css", "page.js"))
    page = _environment().get_template("page.html")
    text = page.render(
        summary=summary,
        advice=advice,
        pictures=pictures,
        sources=sources,
        diagnostics=as_uri(diagnostics, "png"),
        image=image,
        orientation=orientation,
        shown=(shown_width, shown_height),
        manifest=sources.manifest | drawing,
        options=list(_options(summary["parameters"])),
        citations=CITATIONS,
        first_rows=ROWS_WITHOUT_A_SCRIPT,
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
    )
    with whole(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def for_a_notebook(
    summary: dict[str, Any], advice: list[Advice] | None, catalog: Catalog, picture: bytes, rows: int
) -> str:
    """The text, a picture (PNG) and the first rows of the catalog, as a part of a page."""
    header = [column for column in catalog.columns if column.name in SHOWN]
    return (
        _environment()
        .get_template("notebook.html")
        .render(
            summary=summary,
            advice=advice,
            picture=as_uri(picture, "png"),
            flux_unit=flux_unit(catalog),
            header=header,
            rows=list(rows_of(catalog, header, np.arange(min(rows, len(catalog))))),
            columns=len(catalog.columns),
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PARTS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters |= {"number": _number, "typed": as_options, "with_error": with_error}
    return environment


def _printable(value: Any) -> Any:
    """A text without characters that do not belong in a page, such as those that move a terminal's cursor."""
    if isinstance(value, str) and not isinstance(value, Markup) and not value.isprintable():
        return "".join(c if c.isprintable() else " " for c in value)
    return value


def _number(value: Any, digits: int = 4) -> str:
    """A number formatted for a sentence, whole ones with commas; anything else unchanged."""
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _options(parameters: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """The options of a run, those that differ from their default first."""
    listed = [
        {
            "name": name,
            "value": "" if value is None else as_typed(value),
            "default": "" if OPTIONS[name].default is None else as_typed(OPTIONS[name].default),
            "help": OPTIONS[name].help,
        }
        for name, value in parameters.items()
    ]
    return sorted(listed, key=lambda option: option["value"] == option["default"])


def _policy(style: str, script: str) -> str:
    """A content security policy that allows only what is in the page."""

    def hashed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; img-src data:; style-src {hashed(style)}; script-src {hashed(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
