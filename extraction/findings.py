"""What a run has found so far: filled step by step by the pipeline, read by whoever writes a product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from .background import Sky
    from .calibration import Calibration
    from .catalog import Catalog
    from .images import Image
    from .limits import Detections
    from .log import Log
    from .photometry import Measurable
    from .settings import Settings
    from .workers import Workers


@dataclass
class Run:
    """What a run has found so far; what no chosen product needs is None."""

    settings: Settings
    workers: Workers
    log: Log
    image: Image | None = None
    thumbnail: np.ndarray | None = None  # the image, in as many pixels as a picture has
    light: np.ndarray | None = None  # the same, background-subtracted, NaN where masked
    kernel: np.ndarray | None = None
    sky: Sky | None = None
    detections: Detections | None = None
    calibration: Calibration | None = None
    measured_image: Image | None = None
    saturated: np.ndarray | None = None  # flat indices of its saturated pixels
    measurable: Measurable | None = None
    catalog: Catalog | None = None
    rows: list[str] | None = None  # the text of catalog.tsv, where it is wanted, in parts
    negated: int | None = None  # detections on the negated image, where a product tells their number
