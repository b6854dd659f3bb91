"""All steps of a run, from an image to its catalog, and what pictures and summary show of them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ..errors import counted
from .stars import Stars


class Steps(Stars):
    """One image on its way to its products: see `Inputs`."""

    @cached_property
    def sky_thumbnail(self) -> np.ndarray:
        """The image without its background in as many pixels as a picture has, NaN where masked."""
        from ..writers.thumbnails import average

        return self.sky.unit * average(self.sky.pixels, self.sky.masked)

    @cached_property
    def background_thumbnail(self) -> np.ndarray:
        """The background, in the image's unit, in as many pixels as a picture has."""
        from ..writers.thumbnails import average

        return average(self.sky.background_map)

    @cached_property
    def rms_thumbnail(self) -> np.ndarray:
        """The same of its noise."""
        from ..writers.thumbnails import average

        return average(self.sky.rms_map)

    @property
    def title(self) -> str:
        """What stands above pictures of the sources."""
        return f"{counted(len(self.detections), 'source', 'sources')} in {self.settings.title}"

    @property
    def draws_outlines(self) -> bool:
        """Whether pictures show outlines instead of ellipses."""
        return self.settings.pictures.draw == "outlines"

    def summary(self) -> dict[str, Any]:
        """The run in numbers."""
        from ..writers.summary import summarize

        # Artificial stars have that of the image that the sources are found on.
        with_psf = self.settings.with_psf or (self.settings.psf.completeness and self.measured_image is self.image)
        return summarize(
            self.settings,
            self.image,
            self.sky,
            self.threshold,
            self.detections,
            self.catalog,
            self.calibration,
            self.depth,
            self.noise_factors,
            negated=self.negated,
            psf=self.psf if with_psf else None,
            stars=self.psf_stars if with_psf else None,
            completeness=self.completeness if self.settings.psf.completeness else None,
            advice=self.advice,
            warnings=self.log.warnings,
            seconds=self.log.seconds,
        )
