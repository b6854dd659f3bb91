"""A run in numbers, for a workflow's report and for programs: summary.json."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sep

from . import __version__
from .detection import threshold_range
from .photometry import FLAG_PHOT_LEGEND

if TYPE_CHECKING:
    from .findings import Run

DEPTH_SIGMA, DEPTH_DIAMETER = 5, 5.0  # of the depth: standard deviations, and pixels across the aperture


def write_summary(path: Path, run: Run) -> None:
    """Write the facts of a run as JSON; a number that is none is null."""
    path.write_text(json.dumps(_plain(summarize(run)), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def summarize(run: Run) -> dict[str, Any]:
    """What was run, on what, and what came out. Fluxes are in the image's units."""
    image, sky, catalog = run.image, run.sky, run.catalog
    least, median, greatest = threshold_range(sky, run.settings)
    flags = catalog["flag_phot"]
    return {
        "source_extractor": __version__,
        "sep": sep.__version__,
        "parameters": run.settings.parameters(),
        "image": {
            "name": run.settings.title,
            "origin": image.origin,
            "width": image.shape[1],
            "height": image.shape[0],
            "type": image.stored_type,
            "unit": image.unit,
            "sky_coordinates": image.wcs is not None,
            "masked_pixels": 0 if sky.masked is None else int(sky.masked.sum()),
        },
        "background": {"global": sky.background, "rms": sky.rms, "subtracted": run.settings.subtract_background},
        "threshold": {"least": least, "median": median, "greatest": greatest},
        "calibration": vars(run.calibration),
        "counts": {
            "sources": len(catalog),
            "detections_on_the_negated_image": run.negated,
            "blended": int(np.count_nonzero(catalog["flag"] & 1)),
            "not_deblended": len(run.detections.not_deblended),
            "flag_phot": {str(bit): int(np.count_nonzero(flags & bit)) for bit in FLAG_PHOT_LEGEND},
        },
        "depth": _depth(run),
        "warnings": run.log.warnings,
        "seconds": run.log.seconds,
    }


def _depth(run: Run) -> dict[str, Any]:
    """The flux of which the sky's noise in an aperture is a fifth; the noise of pixels taken as independent."""
    sky = run.measurable.sky
    noise = sky.noise if sky.masked is None else sky.noise[~sky.masked]
    flux = DEPTH_SIGMA * float(np.median(noise)) * sky.unit * math.sqrt(math.pi * (DEPTH_DIAMETER / 2) ** 2)
    zeropoint = run.calibration.zeropoint
    magnitude = None if zeropoint is None or flux <= 0 else zeropoint - 2.5 * math.log10(flux)
    return {"sigma": DEPTH_SIGMA, "aperture_diameter": DEPTH_DIAMETER, "flux": flux, "magnitude": magnitude}


def _plain(value: Any) -> Any:
    """The same in what JSON knows: no numpy numbers, no NaN."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
