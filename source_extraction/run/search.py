"""The search: background and noise, the sources above them, and advice on the options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from ..core.image import Image
from ..errors import counted
from ..settings import BackgroundOptions, DetectionOptions, as_number, as_options
from .inputs import Inputs

if TYPE_CHECKING:
    from ..core.advice import Advice
    from ..core.correlation import Correlation
    from ..core.detection import Detector
    from ..core.detections import Detections
    from ..core.sky import NoiseMap, Sky
    from ..core.threshold import Threshold

# A noise map that differs from the noise of the image by more than this factor is probably of another type: surveys
# store variances and weights under the same names, and few images have noise of about 1, where these are alike.
PLAUSIBLE_NOISE = 5
# Weights that are off by more than this factor are relative, such as HST's exposure times. Inverse variances are off by
# less: correlated noise makes the RMS of a mosaic smaller than they say, faint sources make it larger.
OF_INVERSE_VARIANCES = 2


class Search(Inputs):
    """The steps from an image to its sources."""

    @cached_property
    def sky(self) -> Sky:
        """The image without its background, and its noise."""
        return self._estimate_background(self.image, self.masked, self.noise_map)

    @cached_property
    def measured_sky(self) -> Sky:
        """The sky of the measured image."""
        if self.measured_image is self.image:
            return self.sky
        return self._estimate_background(self.measured_image, self._left_out(self.measured_image, None), None)

    @property
    def skies(self) -> list[Sky]:
        """The sky of the image, and that of the measured one if it is another and was requested."""
        others = [self.measured_sky] if "measured_sky" in self.__dict__ else []
        return [self.sky, *(sky for sky in others if sky is not self.sky)]

    @cached_property
    def threshold(self) -> Threshold:
        """The level that a pixel must exceed."""
        from ..core.threshold import Threshold

        threshold = Threshold.of(self.sky, self.settings.detection)
        self.log.say(f"Threshold: {threshold.describe()}")
        return threshold

    @property
    def detector(self) -> Detector:
        """How the sources of the image are found."""
        from ..core.detection import Detector

        return Detector(self.sky, self.kernel, self.threshold, self.settings.detection, self.workers)

    @cached_property
    def detections(self) -> Detections:
        """The sources and the segmentation map."""
        detector = self.detector
        # Slow work that is often not needed before the sources are found.
        alongside: list[Callable[[], object]] = [partial(each, self) for each in self._meanwhile]
        with self.log.step("Extracting the sources") as said:
            found = detector.detect(alongside)
            nothing = "" if len(found) else ": nothing exceeds the threshold in enough connected pixels"
            said.append(f"Sources: {len(found)}{nothing}")
        if found.not_deblended:
            labels = ", ".join(map(str, found.not_deblended[:10]))
            too_large = counted(len(found.not_deblended), "source is", "sources are")
            self.log.warn(
                f"{too_large} too large to be deblended, and kept whole (label {labels}); a higher threshold or a "
                "smaller background mesh makes such sources smaller"
            )
        return found

    @cached_property
    def floored(self) -> list[int]:
        """How many sources lie where each sky's RMS map is at its floor, which makes their errors wrong."""
        from ..core.evidence import floored_sources, value_of_blank
        from ..core.sky import RMS_FLOOR

        numbers = []
        for sky in self.skies:
            number, pixels = floored_sources(sky, self.detections.segmentation)
            numbers.append(number)
            if number:
                own = sky is self.sky
                value = value_of_blank(pixels, self.image.shape[1], self.glimpse, sky.rms) if own else None
                if value is not None:
                    typed = as_options({"missing": value})
                    cause = f"the image is exactly {as_number(value)} there: {typed}, or a mask, leaves it out"
                elif own:
                    cause = "the mesh follows sources there" + self._if_it_may_be_larger
                else:
                    cause = (
                        "that of the image to measure on: --missing or a mask leaves out what has no value there, and "
                        "where the mesh follows sources a larger one (--bw, --bh) avoids it"
                    )
                self.log.warn(
                    f"{counted(number, 'source lies', 'sources lie')} where the background RMS map fell to zero or "
                    f"near it and was raised to {RMS_FLOOR:g} of the global RMS, so that the errors are too small; "
                    f"{cause}"
                )
        return numbers

    @property
    def _if_it_may_be_larger(self) -> str:
        """What avoids a mesh that follows sources, unless the advice is on the mesh or it was made small on purpose."""
        changed = {name for advice in self.advice or () for name in advice.change}
        options = self.settings.background
        small = min(options.bw, options.bh) < min(BackgroundOptions.bw, BackgroundOptions.bh)
        return "" if small or "bw" in changed else ": a larger one (--bw, --bh) or a mask avoids it"

    @cached_property
    def negated(self) -> int | None:
        """The number of detections on the negated image; None if its noise is not symmetric, or without advice.

        See `is_symmetric`. In a large image it is estimated from a part, scaled by area. It needs the pixels of `sky`.
        """
        if not self.settings.detection.advice:
            return None
        from ..core.detection import is_counted_in_part
        from ..core.evidence import is_symmetric, noise_of

        if not is_symmetric(noise_of(self.sky, self.detections.segmentation)):
            return None
        with self.log.step("Extracting from the negated image") as said:
            number = self.detector.count_negated()
            about = " about" if is_counted_in_part(self.sky.pixels.shape) else ""
            of_part = " (counted in a part of it)" if about else ""
            # There is less noise among the sources if cleaning removes it beside bright sources, which the negated
            # image lacks: a matched filter admits much of such noise.
            share = "at most" if self.threshold.matched else "about"
            means = f"{share} as many of the sources are noise"
            if number > len(self.detections):
                means = "more than there are sources, so they are dark parts of the image rather than noise"
            said.append(f"Detections on the negated image:{about} {number}{of_part}; {means}")
        return number

    @cached_property
    def advice(self) -> list[Advice] | None:
        """What is wrong with the run and what to change, the most important first; None if not requested.

        It needs the pixels of `sky`.
        """
        if not self.settings.detection.advice:
            return None
        from ..core.evidence import Evidence
        from ..core.judging import advise

        with self.log.step("Judging the run") as said:
            given = advise(
                Evidence(
                    self.settings, self.image, self.glimpse, self.sky, self.detections, self.negated,
                    lambda *how: self._otherwise(*how).count(), lambda *how: self._otherwise(*how).count_negated(),
                    self._of_photons, lambda: self.noise_correlation,
                )
            )  # fmt: skip
            said.append("Judged the run")
        for advice in given:
            self.log.say(f"Advice: {advice}")
        return given

    @cached_property
    def noise_correlation(self) -> Correlation | None:
        """What the noise of neighbouring pixels of `sky` has in common, which needs its pixels.

        None if too few of them have no source.
        """
        from ..core.correlation import correlation_of

        return correlation_of(self.sky, self.detections.segmentation)

    def _otherwise(self, thresh: float, kernel: np.ndarray | None = None) -> Detector:
        """How the sources are found at another threshold, or with another kernel as well."""
        detector = self._detector_of(self.sky, replace(self.settings.detection, thresh=thresh))
        return detector if kernel is None else replace(detector, kernel=kernel)

    def _of_photons(self, thresh: float) -> int:
        """The number of detections at a threshold in an image of only the photons of the background."""
        photons = self._photons
        number = self._detector_of(photons, replace(self.settings.detection, thresh=thresh)).count()
        return round(number * self.sky.pixels.size / photons.pixels.size)

    def _detector_of(self, sky: Sky, options: DetectionOptions) -> Detector:
        """How the sources of another sky are found, or those of the same with other options."""
        from ..core.detection import Detector
        from ..core.threshold import Threshold

        return Detector(sky, self.kernel, Threshold.of(sky, options), options, self.workers)

    @cached_property
    def _photons(self) -> Sky:
        """A sky of only the photons of the background."""
        from ..core.evidence import photons_like

        return photons_like(self.sky, self.settings.background)

    def release_pixels(self) -> None:
        """Free the memory of the pixels, which no further step may need."""
        for sky in self.skies:
            sky.release_pixels()

    def _estimate_background(self, image: Image, masked: np.ndarray | None, noise_map: NoiseMap | None) -> Sky:
        from ..core.sky import estimate_background

        options = self.settings.background
        twice = options.background_passes == 2
        kept = "" if options.subtract_background else "; not subtracted"
        with self.log.step("Estimating the background") as said:
            sky = estimate_background(image, masked, options, noise_map, keep_pixels=twice, workers=self.workers)
            said.append(f"Background: {sky.background:.6g}, RMS {sky.rms:.6g} (global values){kept}")
        relative = self._scale_weights(sky)
        if twice:
            sources = self._around_sources(sky, image)
            if sources is not None:
                del sky  # free its memory
                with self.log.step("Estimating the background again") as said:
                    sky = estimate_background(image, masked, options, noise_map, without=sources, workers=self.workers)
                    share = f"{100 * np.count_nonzero(sources) / sources.size:.3g} % of the pixels"
                    said.append(f"Background without {share}, those of sources and around them:")
                    said.append(f"{sky.background:.6g}, RMS {sky.rms:.6g}{kept}")
                if relative and sky.noise_map is not None:
                    sky.noise_map.rms *= sky.background_rms_over_noise()
            elif not image.borrowed:
                image.release_pixels()
        for remark in sky.remarks:
            self.log.say(remark)
        self._warn_of_noise(sky)
        return sky

    def _scale_weights(self, sky: Sky) -> bool:
        """Scale relative weights to the noise of the image; returns whether they are relative."""
        if sky.noise_map is None or self.settings.files.error_type != "weight" or sky.rms == 0:
            return False
        factor = sky.background_rms_over_noise()
        if not 1 / OF_INVERSE_VARIANCES <= factor <= OF_INVERSE_VARIANCES:
            sky.noise_map.rms *= factor
            self.log.say(
                f"{sky.noise_map.source}: the weights are relative: {factor:.4g} / sqrt(weight) is taken as the "
                "noise, which agrees with the image (give absolute weights as variances)"
            )
            return True
        return False

    def _around_sources(self, sky: Sky, image: Image) -> np.ndarray | None:
        """The pixels left out of the second background estimate; None if one pass must do."""
        from ..core.mesh import cell_of
        from ..core.source_mask import around_sources
        from ..core.threshold import UNITS

        options = self.settings.detection
        if image is not self.image and not UNITS[options.err_option].from_image:
            # Neither an absolute threshold nor the noise map applies to this image.
            options = replace(options, err_option="array_rms", thresh=DetectionOptions.thresh)
        with self.log.step("Extracting the sources above the first background") as said:
            found = self._detector_of(sky, options).detect()
            said.append(f"Sources above the first background: {len(found)}")
        left_out = around_sources(found, sky.masked, cell_of(sky.pixels.shape, self.settings.background), self.room)
        if left_out is None:
            self.log.say("Background: no second pass, since sources cover more than half of the mesh")
        return left_out

    def _warn_of_noise(self, sky: Sky) -> None:
        from ..core.threshold import UNITS

        if sky.noise_map is not None and sky.rms > 0:
            noise_map = sky.noise_map
            ratio = noise_map.median / sky.rms
            if not 1 / PLAUSIBLE_NOISE < ratio < PLAUSIBLE_NOISE:
                self.log.warn(
                    f"the noise map {noise_map.source} says {ratio:.3g} times the noise that the image has; "
                    "check --error_type and its unit"
                )
        if sky.rms == 0:
            in_its_units = UNITS[self.settings.detection.err_option].from_image
            counts = "every pixel above it counts as a source's" if in_its_units else "errors are without it"
            self.log.warn(f"the background has no noise (RMS 0): {counts}")
