"""The point spread function, the measurements with it, the final catalog, and its completeness."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..core.windows import Map
from .apertures import SOURCES_AT_A_TIME, Apertures, that_was_asked_for

if TYPE_CHECKING:
    from ..core.catalog import Catalog
    from ..core.completeness import Completeness
    from ..core.photometry import Calibration, Measurable
    from ..core.psf import Psf
    from ..core.psf_making import StarsOfPsf
    from ..core.psf_photometry import Fitted
    from ..core.windows import Window
    from ..settings import Settings
    from ..writers.tables import Text


class Stars(Apertures):
    """The steps to the catalog, including a point spread function if wanted."""

    @property
    def catalog(self) -> Catalog:
        """The catalog: the measurements of every source."""
        return that_was_asked_for(self.measured[0])

    @cached_property
    def text(self) -> Text:
        """The text of catalog.tsv."""
        from ..writers.tables import Text, tsv_header, tsv_rows

        _, text = self.measured
        if text is None:
            firsts = range(0, len(self.catalog), SOURCES_AT_A_TIME)
            parts = [self.catalog.part(first, first + SOURCES_AT_A_TIME) for first in firsts]
            text = Text(self.room)
            text.add(tsv_header(self.catalog))
            for rows in self.workers.map(tsv_rows, parts):
                text.add(rows)
        return text

    @cached_property
    def measured(self) -> tuple[Catalog | None, Text | None]:
        """The catalog and its text, each if requested."""
        catalog, text = self._in_apertures
        if self.settings.with_psf:
            catalog, text = self._joined_by_the_psf(), None
        return catalog, text

    def switch_on(self, settings: Settings) -> None:
        """Use additional settings from now on; with a PSF, the catalog gets its columns too."""
        if settings.with_psf and not self.settings.with_psf:
            for made_without in ("measured", "text"):
                self.__dict__.pop(made_without, None)
        self.settings = settings

    @property
    def psf(self) -> Psf | None:
        """The PSF of the measured image; None, with a warning, if it has too few stars."""
        return self._psf_and_stars[0]

    @property
    def psf_stars(self) -> StarsOfPsf | None:
        """The stars that the PSF was made from; None if it was read from a file, or there is none."""
        return self._psf_and_stars[1]

    @cached_property
    def _psf_and_stars(self) -> tuple[Psf | None, StarsOfPsf | None]:
        from ..core.psf_making import TOO_FEW, psf_from_stars

        path, rows, image = self.settings.files.psf_file, self.possible_stars, self._measurables()[1]
        psf, stars = self.given_psf, None
        with self.log.step("Making the PSF") as said:
            if psf is None:
                catalog, segmentation = self._catalog_of_apertures, self.detections.segmentation
                psf, stars = psf_from_stars(image, segmentation, catalog.values, rows, self.workers)
            source = f" (from {path})" if path else f" (from {len(stars.label)} stars)" if stars else ""
            said.append(f"PSF: {'none' if psf is None else psf.describe()}{source}")
        if psf is None:
            empty = ": its columns are empty (NaN)" if self.settings.with_psf else ""
            self.log.warn(f"there is no PSF{empty}; {TOO_FEW.format(number=len(rows))}")
        return psf, stars

    @cached_property
    def possible_stars(self) -> np.ndarray:
        """The rows of the catalog that may be stars, as far as can be told without a PSF."""
        from ..core.psf_stars import choose_stars

        return choose_stars(self._catalog_of_apertures.values)

    @cached_property
    def fitted(self) -> Fitted:
        """The fit of the sources as stars, in the working units of the measured image."""
        from ..core.psf_photometry import Fitted, fit_catalog

        psf, image, values = self.psf, self._measurables()[1], self._catalog_of_apertures.values
        if psf is None:
            return Fitted.none(len(self.detections))
        with self.log.step("Fitting the PSF to the sources") as said:
            found = fit_catalog(image, psf, values, self.possible_stars, self.workers)
            said.append(f"Fitted the PSF to {np.count_nonzero(np.isfinite(found.flux))} of {len(found.flux)} sources")
        return found

    @cached_property
    def model(self) -> np.ndarray:
        """The light of all fitted sources (height, width), float32, in working units."""
        from ..core.psf_photometry import model_of

        return model_of(self.fitted, self.psf, self.measured_sky, self.workers)

    def residual(self) -> Map:
        """The measured image minus all fitted sources, float32, NaN where masked."""
        sky, model, subtracted = self.measured_sky, self.model, self.settings.background.subtract_background

        def of(window: Window) -> np.ndarray:
            left = sky.subtracted.of(window) - window.of(model) * np.float32(sky.unit)
            return left + sky.background_map.of(window) if subtracted else left

        return Map(sky.subtracted.shape, sky.subtracted.dtype, of)

    def _joined_by_the_psf(self) -> Catalog:
        from ..core.catalog import with_more
        from ..core.psf_photometry import columns_of

        more, flags = columns_of(self.fitted, self.measured_sky.unit)
        zeropoint = self.calibration.zeropoint
        unit = self.measured_image.unit
        return with_more(self._catalog_of_apertures, more, unit=unit, flags=flags, zeropoint=zeropoint)

    @cached_property
    def completeness(self) -> Completeness:
        """The share of the point sources that are found. It needs the pixels of `sky`."""
        from ..core.artificial_stars import StarSearch
        from ..core.completeness import Completeness, measure_completeness

        if self.measured_image is not self.image:
            self.log.say(
                "Completeness: of the image that the sources are found on, with stars of its own, in its own unit"
            )
        if self.sky.step is not None:
            self.log.warn("the completeness is not known: stars that are added to an image of few values have others")
            return Completeness.unknown()
        psf, calibration = self.detection_psf, self._detection_calibration
        if psf is None:
            self.log.warn("the completeness is not known: there is no PSF to make artificial stars of")
            return Completeness.unknown()
        with self.log.step("Looking for artificial stars") as said:
            search = StarSearch(
                self.detector, psf, calibration.gain,
                lambda number: self.log.show(f"Looking for artificial stars ({number} so far)"),
            )  # fmt: skip
            found = measure_completeness(search, len(self.detections), calibration.zeropoint)
            said.append(found.describe(self.image.unit))
        return found

    @property
    def detection_psf(self) -> Psf | None:
        """The PSF of the image that the sources are detected on."""
        from ..core.correlation import INDEPENDENT
        from ..core.photometry import Measurable
        from ..core.psf_making import psf_from_stars
        from ..core.psf_stars import choose_stars

        if self.measured_image is self.image:
            return self.psf
        image = Measurable(self.sky, correlation=self.noise_correlation or INDEPENDENT)
        with self.log.step("Making the PSF of the image that the sources are found on") as said:
            values = self._measured_values(image)
            psf, _ = psf_from_stars(image, self.detections.segmentation, values, choose_stars(values), self.workers)
            said.append(f"PSF of the image that the sources are found on: {'none' if psf is None else psf.describe()}")
        return psf

    def _measured_values(self, image: Measurable) -> dict[str, np.ndarray]:
        """Measurements of the sources on `image`, the one that they were detected on."""
        from ..core.catalog import detected_columns
        from ..core.photometry import measure

        detections, options = self.detections, self.settings.photometry

        def measure_some(some: np.ndarray) -> dict[str, np.ndarray]:
            sources = detections.of(some)
            own = measure(sources, some, detections.segmentation, image, image, options)
            return detected_columns(sources, some) | own

        parts = list(self.workers.map(measure_some, detections.in_parts(SOURCES_AT_A_TIME)))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    @property
    def _detection_calibration(self) -> Calibration:
        """The calibration of the detection image: unknown if another image is measured."""
        from ..core.photometry import Calibration

        return self.calibration if self.measured_image is self.image else Calibration(None, None, None)
