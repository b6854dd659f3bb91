"""Measurements of every source from its pixels, in ellipses and in circles."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from .search import Search

if TYPE_CHECKING:
    from ..core.catalog import Catalog
    from ..core.correlation import Correlation
    from ..core.depth import Depth
    from ..core.photometry import Measurable
    from ..writers.tables import Text

# Errors larger than this multiple of those of independent pixels are not due to resampling.
MOST_OF_RESAMPLING = 3
SOURCES_AT_A_TIME = 1000


def that_was_asked_for(catalog: Catalog | None) -> Catalog:
    """The catalog, which the processes send back only if it was requested."""
    if catalog is None:
        raise RuntimeError("the values of the catalog were not asked for")
    return catalog


class Apertures(Search):
    """The steps from the sources to their measurements without a point spread function."""

    @cached_property
    def correlation(self) -> Correlation:
        """The noise correlation of neighbouring pixels in the measured image, whose pixels it needs."""
        from ..core.correlation import INDEPENDENT, correlation_of

        if not self.settings.photometry.correlated_noise:
            return INDEPENDENT
        of_another = self.measured_sky is not self.sky
        segmentation = self.detections.segmentation
        found = correlation_of(self.measured_sky, segmentation) if of_another else self.noise_correlation
        if found is None:
            self.log.say("Noise: errors of independent pixels, since too few pixels have no source")
            return INDEPENDENT
        if found.independent:
            self.log.say("Noise: errors of independent pixels (no correlation is seen)")
        return found

    @cached_property
    def noise_factors(self) -> dict[float, float]:
        """The factors by which independent pixels underestimate errors, by aperture diameter in pixels."""
        from ..core.depth import DIAMETER

        correlation = self.correlation
        diameters = sorted({DIAMETER, *self.settings.photometry.apertures})
        factors = {diameter: correlation.factor(diameter) for diameter in diameters}
        if not correlation.independent:
            factor = factors[DIAMETER]
            self.log.say(
                f"Noise: errors x {factor:.1f} in an aperture of {DIAMETER:g} pixels in diameter (correlated pixels)"
            )
            if factor > MOST_OF_RESAMPLING:
                self.log.warn(
                    f"errors are {factor:.1f} times those of independent pixels, which is more than resampling does: "
                    "nebulosity, the grain of a photographic plate or undetected light counts as noise too; a smaller "
                    "mesh (--bw, --bh) takes off what is smooth, --no-correlated_noise gives the errors of independent "
                    "pixels"
                )
        return factors

    @cached_property
    def depth(self) -> Depth:
        """The limiting flux of the measured image."""
        from ..core.depth import Depth

        return Depth.of(self.measured_sky, self.correlation, self.calibration.zeropoint)

    @property
    def _catalog_of_apertures(self) -> Catalog:
        return that_was_asked_for(self._in_apertures[0])

    @cached_property
    def _in_apertures(self) -> tuple[Catalog | None, Text | None]:
        """The catalog without PSF columns, and its text, each if requested.

        Each process measures some sources at a time, writes their rows, and sends back only values that are requested
        and not yet known.
        """
        from ..core.catalog import Catalog, build_catalog, detected_columns
        from ..core.photometry import measure
        from ..writers.tables import Text, tsv_header, tsv_rows

        detections, options, title = self.detections, self.settings.photometry, self.settings.title
        detected_on, measured_on = self._measurables()
        images, zeropoint = (self.image, self.measured_image), self.calibration.zeropoint
        parts = detections.in_parts(SOURCES_AT_A_TIME)
        # With a PSF, the text is made after its columns.
        wants_text = "text" in self._wanted and not self.settings.with_psf
        wants_values = "catalog" in self._wanted or self.settings.with_psf
        # Computed once, before the processes start.
        _ = self.noise_factors, self.celestial
        known = detected_columns(detections.sources, detections.labels)

        def measure_some(number: int) -> tuple[Catalog | None, str]:
            some = parts[number]
            sources = detections.of(some)
            measured = measure(sources, some, detections.segmentation, detected_on, measured_on, options)
            catalog = build_catalog(
                detected_columns(sources, some),
                measured,
                *images,
                title=title,
                apertures=options.apertures,
                zeropoint=zeropoint,
            )
            rows = ("" if number else tsv_header(catalog)) + tsv_rows(catalog) if wants_text else ""
            return catalog.without(known) if wants_values else None, rows

        text = Text(self.room) if wants_text else None

        def catalogs() -> Iterator[Catalog]:
            for catalog, rows in self.workers.map(measure_some, range(len(parts))):
                if text is not None:
                    text.add(rows)
                if catalog is not None:
                    yield catalog

        with self.log.step("Measuring the sources") as said:
            joined = Catalog.joined(catalogs(), known)
            said.append("Measured the sources")
        return joined if wants_values else None, text

    def _measurables(self) -> tuple[Measurable, Measurable]:
        """The image that the sources were detected on, and the one that they are measured on."""
        from ..core.photometry import Measurable

        measured_on = Measurable(self.measured_sky, self.calibration.gain, self.saturated, self.correlation)
        if self.measured_sky is self.sky:
            return measured_on, measured_on
        # The gain of another image does not apply to this one.
        return Measurable(self.sky), measured_on
