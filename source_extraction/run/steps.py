"""All steps of a run, from an image to its catalog, and the data of pictures and summary."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ..errors import counted
from .stars import Stars


class Steps(Stars):
    """One image and all steps of its run: see `Inputs`."""

    @cached_property
    def sky_thumbnail(self) -> np.ndarray:
        """The image without its background at a picture's resolution, NaN where masked."""
        from ..writers.thumbnails import average

        return self.sky.unit * average(self.sky.pixels, self.sky.masked)

    @cached_property
    def background_thumbnail(self) -> np.ndarray:
        """The background at a picture's resolution, in the image's unit."""
        from ..writers.thumbnails import average

        return average(self.sky.background_map)

    @cached_property
    def rms_thumbnail(self) -> np.ndarray:
        """The background RMS at a picture's resolution, in the image's unit."""
        from ..writers.thumbnails import average

        return average(self.sky.rms_map)

    @property
    def title(self) -> str:
        """The title of pictures of the sources."""
        return f"{counted(len(self.detections), 'source', 'sources')} in {self.settings.title}"

    @property
    def draws_outlines(self) -> bool:
        """Whether pictures show outlines instead of ellipses."""
        return self.settings.pictures.draw == "outlines"

    def summary(self) -> dict[str, Any]:
        """The summary of the run in numbers."""
        from ..writers.summary import summarize

        # Artificial stars use the PSF of the image that the sources are detected on.
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
