"""A run in numbers, for a workflow's report and for programs: summary.json."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import sep

from .. import __version__
from ..core.advice import Advice
from ..core.catalog import Catalog
from ..core.columns import FLAGS, Flag
from ..core.completeness import Completeness
from ..core.depth import Depth
from ..core.detections import Detections
from ..core.image import Image
from ..core.photometry import Calibration
from ..core.psf import Psf
from ..core.psf_making import StarsOfPsf
from ..core.sky import Sky
from ..core.threshold import Threshold
from ..settings import Settings
from .whole import whole_text


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write the facts of a run as JSON."""
    with whole_text(path) as file:
        file.write(json.dumps(summary, indent=2, allow_nan=False) + "\n")


def summarize(
    settings: Settings,
    image: Image,
    sky: Sky,
    threshold: Threshold,
    detections: Detections,
    catalog: Catalog,
    calibration: Calibration,
    depth: Depth,
    noise_factors: dict[float, float],
    *,
    negated: int | None,
    psf: Psf | None,
    stars: StarsOfPsf | None,
    completeness: Completeness | None,
    advice: list[Advice] | None,
    warnings: list[str],
    seconds: dict[str, float],
) -> dict[str, Any]:
    """The run's settings, image and results; numbers that are not finite are None. Fluxes are in the image's units.

    `noise_factors` are the errors' noise factors by aperture diameter in pixels, `negated` is the number of detections
    on the negated image, None if it is not informative. `psf` and the `stars` that it was made from, `completeness` and
    `advice` are None if not requested; so is a PSF that the image does not show.
    """
    flags = catalog["flag_phot"]
    facts = {
        # First, so that a report shows it without scrolling.
        "advice": None if advice is None else [asdict(each) for each in advice],
        "advice_followed": {name: settings.parameters()[name] for name in settings.followed},
        "warnings": list(warnings),
        "image": {
            "name": settings.title,
            "origin": image.origin,
            "width": image.shape[1],
            "height": image.shape[0],
            "type": image.stored_type,
            "unit": image.unit,
            "sky_coordinates": "ra" in catalog,
            "masked_pixels": 0 if sky.masked is None else int(sky.masked.sum()),
        },
        "counts": {
            "sources": len(catalog),
            "detections_on_the_negated_image": negated,
            "blended": int(np.count_nonzero(catalog["flag"] & Flag.BLENDED)),
            "not_deblended": len(detections.not_deblended),
            "flag_phot": {str(int(bit)): int(np.count_nonzero(flags & bit)) for bit in FLAGS["flag_phot"]},
        },
        "depth": {
            "sigma": depth.sigma,
            "aperture_diameter": depth.aperture_diameter,
            "flux": depth.flux,
            "magnitude": depth.magnitude,
        },
        "background": {
            "global": sky.background,
            "rms": sky.rms,
            "subtracted": settings.background.subtract_background,
        },
        "threshold": {"least": threshold.least, "median": threshold.median, "greatest": threshold.greatest},
        "calibration": {
            "gain": calibration.gain,
            "zeropoint": calibration.zeropoint,
            "saturation": calibration.saturation,
        },
        "noise_factors": [{"diameter": diameter, "factor": factor} for diameter, factor in noise_factors.items()],
        "psf": None if psf is None else _facts_of(psf, stars),
        "completeness": None if completeness is None else _limits(completeness, negated),
        "seconds": dict(seconds),
        "source_extractor": __version__,
        "sep": sep.__version__,
        "parameters": settings.parameters(),
    }
    return _plain(facts)


def _facts_of(psf: Psf, stars: StarsOfPsf | None) -> dict[str, Any]:
    """The FWHM of a PSF in the middle of the image (pixels), its number of stars, and whether it varies."""
    return {"fwhm": psf.fwhm, "stars": None if stars is None else len(stars.label), "varies": psf.varies}


def _limits(completeness: Completeness, negated: int | None) -> dict[str, Any]:
    """The limits of the completeness, and the number of false sources, from the negated image."""
    facts: dict[str, Any] = {}
    for quantity in ("flux", "mag"):
        for level, limit in completeness.limits.items():
            name = f"{quantity}_{100 * level:.0f}"
            facts |= {name: getattr(limit, quantity), f"{name}_err": getattr(limit, f"{quantity}_err")}
    return facts | {"false_sources": negated}


def _plain(value: Any) -> Any:
    """The value in JSON's types: no numpy numbers, no NaN."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
