"""The steps from an image to its catalog: what each takes, what it makes, and what the log says of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.image import Celestial, Doubt, Image, Partner
from ..core.processes import Workers
from ..core.windows import Map
from ..errors import InputError
from ..readers.images import read_image
from ..settings import DetectionOptions, Settings
from .log import Log

if TYPE_CHECKING:
    from ..core.advice import Advice
    from ..core.catalog import Catalog
    from ..core.completeness import Completeness
    from ..core.correlation import Correlation
    from ..core.depth import Depth
    from ..core.detections import Detections
    from ..core.evidence import Glimpse
    from ..core.photometry import Calibration, Measurable
    from ..core.psf import Psf
    from ..core.psf_making import StarsOfPsf
    from ..core.psf_photometry import Fitted
    from ..core.sky import NoiseMap, Sky
    from ..core.threshold import Threshold
    from ..core.windows import Window

# A noise map that differs from the noise of the image by more than this is probably of another type: surveys keep
# variances and weights under the same names, and few images have noise of about 1, where these are alike.
PLAUSIBLE_NOISE = 5
# Weights that are off by more than this are relative: those of HST are exposure times. An inverse variance is off by
# less: noise that is correlated makes the RMS of a mosaic smaller than it says, faint sources make it larger.
OF_INVERSE_VARIANCES = 2
LEAST_LEFT = 0.05  # share of the pixels that a mask leaves, below which it is probably meant otherwise
# Errors that are more than so many times those of independent pixels have another cause than resampled pixels.
MOST_OF_RESAMPLING = 3
SOURCES_AT_A_TIME = 2000


class Steps:
    """One image on its way to a catalog.

    Each attribute is what one step makes. It is made when it is first asked for, from what other steps made, and then
    kept; so whoever writes a product asks for what the product shows, and nothing else is computed. `pipeline` asks in
    the order that takes least memory.

    `wanted` says whether the values of the catalog, its text, or both are asked for, since the processes that measure
    send back no more; `meanwhile` is what may be done while others extract the sources.
    """

    def __init__(
        self,
        settings: Settings,
        workers: Workers,
        log: Log,
        wanted: Collection[str] = ("catalog",),
        meanwhile: Sequence[Callable[[Steps], object]] = (),
    ) -> None:
        self.settings, self.workers, self.log = settings, workers, log
        self._wanted, self._meanwhile = frozenset(wanted), meanwhile

    def __getstate__(self) -> dict[str, Any]:
        """What another process is sent, which works alone; it finds the coordinates for itself, as the image does."""
        state = self.__dict__ | {"workers": Workers(1), "_meanwhile": ()}
        return state | ({"celestial": None} if "celestial" in state else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        if "celestial" in state:
            self.__dict__["celestial"] = self.image.celestial

    @cached_property
    def image(self) -> Image:
        """The image that the sources are looked for in; its pixels become those of `sky`."""
        files = self.settings.files
        with self.log.step("Reading the image") as said:
            image = self._read()
            said.append(f"Image: {image.describe()}")
        if image.others:
            self.log.say(f"Also there: {image.describe_others()}")
        if self._take(image) == 0:
            self.log.warn(f"no pixel of {image.source} is exactly {files.missing:g}: --missing leaves out nothing")
        if files.unit is not None:
            image.unit = files.unit
        if files.wcs is not None:
            self._place(image, files.wcs)
        return image

    @cached_property
    def celestial(self) -> Celestial:
        """Where the image lies on the sky; the log says what of its header could not be used, or why it has none."""
        celestial = self.image.celestial
        for remark in celestial.remarks:
            self.log.note(remark)
        if celestial.wcs is None and not celestial.remarks and self.image.headers:
            self.log.say("Sky coordinates: none, because the header gives none")
        return celestial

    @cached_property
    def thumbnail(self) -> np.ndarray:
        """The image in as many pixels as a picture has. To be asked for before `sky`."""
        from ..writers.thumbnails import average

        return average(self.image.pixels)

    @cached_property
    def greys(self) -> np.ndarray:
        """All pixels of the image in the greys of its picture (uint8). After `sky` the image is read once more."""
        from ..writers.pictures import greys

        image, missing = self.image, self.settings.files.missing
        if not hasattr(image, "pixels"):
            image = self._read()
            if missing is not None:
                image.leave_out(missing)
        return greys(image.pixels, self.thumbnail)

    @cached_property
    def kernel(self) -> np.ndarray | None:
        """The weights of the filter, None for none; the log says what the choice means for the threshold."""
        from ..core.filters import DEFAULT_KERNEL, gaussian_kernel
        from ..core.threshold import filter_hint
        from ..readers.kernels import read_kernel

        options, path = self.settings.detection, self.settings.files.filter_file
        if hint := filter_hint(options):
            self.log.say(hint)
        if options.filter_case == "none":
            return None
        if options.filter_fwhm is not None:
            weights, source = gaussian_kernel(options.filter_fwhm), f"Gaussian of FWHM {options.filter_fwhm:g} pixels"
            remarks: list[str] = []
        elif path is not None:
            kernel, source = read_kernel(path), str(path)
            weights, remarks = kernel.weights, kernel.remarks
        else:
            return DEFAULT_KERNEL
        (rows, columns), (height, width) = weights.shape, self.image.shape
        if rows > height or columns > width:
            raise InputError(
                source,
                f"the kernel ({columns} x {rows}) is larger than the image ({width} x {height})",
                "give a smaller kernel",
            )
        self.log.say(f"Filter: {source}, {columns} x {rows}")
        for remark in remarks:
            self.log.warn(remark)
        return weights

    @cached_property
    def mask(self) -> np.ndarray | None:
        """The pixels that the mask file leaves out, True where masked; None without a file."""
        from ..readers.mask import read_mask

        files = self.settings.files
        which = files.which("mask_file")
        if which is None:
            return None
        mask = read_mask(which, files.maskthresh, files.mask_bits, self.image)
        self._say_all(mask.remarks, which.name)
        left = 1 - np.count_nonzero(mask.masked) / mask.masked.size
        if left < LEAST_LEFT:
            rule = "--mask_bits" if files.mask_bits else "--maskthresh, or --mask_bits where the values are bit flags"
            self.log.warn(f"the mask {which.name} leaves {100 * left:.2g} % of the pixels; check its HDU, and {rule}")
        return mask.masked

    @cached_property
    def noise_map(self) -> NoiseMap | None:
        """The noise that came with the image; None without."""
        from ..readers.noise_map import read_noise_map

        which = self.settings.files.which("error_file")
        if which is None:
            return None
        noise_map = read_noise_map(which, self.settings.files.error_type, self.image)
        self._say_all(noise_map.remarks, which.name)
        return noise_map

    @cached_property
    def masked(self) -> np.ndarray | None:
        """All pixels of the image to leave out; None if none. To be asked for before `sky`."""
        return self._left_out(self.image, self.noise_map)

    @cached_property
    def measured_image(self) -> Image:
        """The image that the sources are measured on: the image itself, or the one that was given for it."""
        which = self.settings.files.which("measure_file")
        if which is None:
            return self.image
        with self.log.step("Reading the image to measure on") as said:
            remedy = "give an image of the same shape, aligned pixel by pixel"
            partner = Partner(self.image, "image to measure on", remedy, which.prefix, picture=True)
            image = read_image(which.given, which.name, which.hdu, which.plane, partner=partner)
            said.append(f"Image to measure on: {image.describe()}")
        self._take(image)
        return image

    @cached_property
    def calibration(self) -> Calibration:
        """What the pixels of the image that is measured mean."""
        from ..readers.calibration import read_calibration, unused_keywords

        calibration = read_calibration(self.measured_image, self.settings.photometry)
        if unused := unused_keywords(self.measured_image, self.settings.photometry):
            self.log.say(f"The header also has: {', '.join(unused)}")
        return calibration

    @cached_property
    def saturated(self) -> np.ndarray | None:
        """Flat indices of the saturated pixels of the image that is measured. To be asked for before its sky."""
        level = self.calibration.saturation
        return None if level is None else np.flatnonzero(self.measured_image.pixels >= level)

    @cached_property
    def sky(self) -> Sky:
        """The image without its background, and its noise."""
        return self._estimate_background(self.image, self.masked, self.noise_map)

    @cached_property
    def measured_sky(self) -> Sky:
        """The same of the image that is measured."""
        if self.measured_image is self.image:
            return self.sky
        return self._estimate_background(self.measured_image, self._left_out(self.measured_image, None), None)

    @property
    def skies(self) -> list[Sky]:
        """Of the image, and of the one that is measured where it is another and was asked for."""
        others = [self.measured_sky] if "measured_sky" in self.__dict__ else []
        return [self.sky, *(sky for sky in others if sky is not self.sky)]

    @cached_property
    def threshold(self) -> Threshold:
        """What a pixel must exceed."""
        from ..core.threshold import Threshold

        threshold = Threshold.of(self.sky, self.settings.detection)
        self.log.say(f"Threshold: {threshold.describe()}")
        return threshold

    @cached_property
    def detections(self) -> Detections:
        """The sources and the segmentation map."""
        from ..core.detection import detect

        sky, threshold = self.sky, self.threshold
        # What is slow, and often not needed before the sources are found.
        alongside: list[Callable[[], object]] = [partial(each, self) for each in self._meanwhile]
        with self.log.step("Extracting the sources") as said:
            found = detect(sky, self.kernel, threshold, self.settings.detection, self.workers, alongside)
            nothing = "" if len(found) else ": nothing exceeds the threshold in enough connected pixels"
            said.append(f"Sources: {len(found)}{nothing}")
        if found.not_deblended:
            labels = ", ".join(map(str, found.not_deblended[:10]))
            self.log.warn(
                f"{len(found.not_deblended)} source(s) are too large to be deblended and stay whole (label {labels}); "
                "a higher threshold or a smaller background mesh makes them smaller"
            )
        return found

    @cached_property
    def correlation(self) -> Correlation:
        """What the noise of neighbouring pixels of the image that is measured has in common. It needs its pixels."""
        from ..core.correlation import INDEPENDENT, correlation_of

        if not self.settings.photometry.correlated_noise:
            return INDEPENDENT
        found = correlation_of(self.measured_sky, self.detections.segmentation)
        if found is None:
            self.log.say("Noise: errors of independent pixels, since too few are without sources to tell")
            return INDEPENDENT
        if found.independent:
            self.log.say("Noise: errors of independent pixels (no correlation is seen)")
        return found

    @cached_property
    def noise_factors(self) -> dict[float, float]:
        """By how much the errors of independent pixels are too small, by the diameter of an aperture in pixels."""
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
    def floored(self) -> list[int]:
        """How many sources lie where the RMS map of each sky stands at its floor, which makes their errors wrong."""
        from ..core.evidence import floored_sources
        from ..core.sky import RMS_FLOOR

        numbers = []
        for sky in self.skies:
            number, value = floored_sources(sky, self.detections.segmentation, self.glimpse)
            numbers.append(number)
            if number:
                cause = (
                    "the mesh follows sources there: a larger one (--bw, --bh) or a mask avoids it"
                    if value is None
                    else f"the image is exactly {value:g} there: --missing {value:g}, or a mask, leaves it out"
                )
                self.log.warn(
                    f"{number} source(s) lie where the background RMS map fell to zero or near it and was raised to "
                    f"{RMS_FLOOR:g} of the global RMS, so that their errors are too small; {cause}"
                )
        return numbers

    @property
    def catalog(self) -> Catalog:
        """The catalog: what was measured of every source."""
        catalog, _ = self.measured
        if catalog is None:
            raise RuntimeError("the values of the catalog were not asked for")
        return catalog

    @cached_property
    def text(self) -> list[str]:
        """The text of catalog.tsv, in parts."""
        from ..writers.tables import tsv_header

        _, text = self.measured
        return text or [tsv_header(self.catalog), *self._rows_of_text()]

    def _rows_of_text(self) -> list[str]:
        from ..writers.tables import tsv_rows

        firsts = range(0, len(self.catalog), SOURCES_AT_A_TIME)
        parts = [self.catalog.part(first, first + SOURCES_AT_A_TIME) for first in firsts]
        return list(self.workers.map(tsv_rows, parts))

    @cached_property
    def glimpse(self) -> Glimpse:
        """What the image shows before its pixels become those of `sky`."""
        from ..core.evidence import Glimpse

        return Glimpse.of(self.image, self.masked)

    @cached_property
    def negated(self) -> int | None:
        """The number of detections on the negated image, None where its noise is not symmetric (`is_symmetric`).

        Of a large image it is that of a part, times what the part is of the whole. It needs the pixels of `sky`.
        """
        from ..core.detection import count_negated
        from ..core.evidence import is_symmetric, noise_of

        if not is_symmetric(noise_of(self.sky, self.detections.segmentation)):
            return None
        with self.log.step("Extracting from the negated image") as said:
            number = count_negated(self.sky, self.kernel, self.threshold, self.settings.detection, self.workers)
            said.append(f"Detections on the negated image: {number}; about as many of the sources are noise")
        return number

    @cached_property
    def completeness(self) -> Completeness:
        """How many of the point sources are found. It needs the pixels of `sky`."""
        from ..core.artificial_stars import StarSearch
        from ..core.completeness import Completeness, measure_completeness

        if self.measured_image is not self.image:
            self.log.say(
                "Completeness: of the image that the sources are found on, with stars of its own, in its own unit"
            )
        psf, calibration = self.detection_psf, self._detection_calibration
        if psf is None:
            self.log.warn("the completeness is not known: there is no PSF to make artificial stars of")
            return Completeness.unknown()
        with self.log.step("Looking for artificial stars") as said:
            search = StarSearch(
                self.sky, psf, self.kernel, self.threshold, self.settings.detection, self.workers, calibration.gain,
                lambda number: self.log.show(f"Looking for artificial stars (image {number})"),
            )  # fmt: skip
            found = measure_completeness(search, len(self.detections), calibration.zeropoint)
            said.append(found.describe())
        return found

    @property
    def detection_psf(self) -> Psf | None:
        """The PSF of the image that the sources are found on."""
        from ..core.correlation import INDEPENDENT, correlation_of
        from ..core.photometry import Measurable
        from ..core.psf_making import psf_from_stars
        from ..core.psf_stars import choose_stars

        if self.measured_image is self.image:
            return self.psf
        image = Measurable(self.sky, correlation=correlation_of(self.sky, self.detections.segmentation) or INDEPENDENT)
        with self.log.step("Making the PSF of the image that the sources are found on") as said:
            values = self._measured_values(image)
            psf, _ = psf_from_stars(image, self.detections.segmentation, values, choose_stars(values), self.workers)
            said.append(f"PSF of the image that the sources are found on: {'none' if psf is None else psf.describe()}")
        return psf

    def _measured_values(self, image: Measurable) -> dict[str, np.ndarray]:
        """What `image` itself shows of the sources that were found on it."""
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
        """What the pixels mean that the sources are found on: nothing is known where another image is measured."""
        from ..core.photometry import Calibration

        return self.calibration if self.measured_image is self.image else Calibration(None, None, None)

    @cached_property
    def advice(self) -> list[Advice]:
        """What is wrong with the run, and what to change, the most important first. It needs the pixels of `sky`."""
        from ..core.evidence import Evidence
        from ..core.judging import advise

        with self.log.step("Judging the run") as said:
            given = advise(
                Evidence(
                    self.settings, self.image, self.glimpse, self.sky, self.detections, self.negated,
                    self._recounted, self._of_photons,
                )
            )  # fmt: skip
            said.append("Judged the run")
        for advice in given:
            self.log.say(f"Advice: {advice}")
        return given

    def _recounted(self, thresh: float, kernel: np.ndarray | None = None) -> tuple[int, int]:
        """The numbers of detections on the image and on the negated one at another threshold, or with a kernel."""
        from ..core.detection import count, count_negated
        from ..core.threshold import Threshold

        options = replace(self.settings.detection, thresh=thresh)
        kernel = self.kernel if kernel is None else kernel
        how = (kernel, Threshold.of(self.sky, options), options, self.workers)
        return count(self.sky, *how), count_negated(self.sky, *how)

    def _of_photons(self, thresh: float) -> int:
        """The number of detections at a threshold in an image of photons that is nothing but background."""
        from ..core.detection import count
        from ..core.threshold import Threshold

        options, photons = replace(self.settings.detection, thresh=thresh), self._photons
        number = count(photons, self.kernel, Threshold.of(photons, options), options, self.workers)
        return round(number * self.sky.pixels.size / photons.pixels.size)

    @cached_property
    def _photons(self) -> Sky:
        """A sky that has nothing but the photons of the background."""
        from ..core.evidence import photons_like

        return photons_like(self.sky, self.settings.background)

    @cached_property
    def depth(self) -> Depth:
        """How faint a source could be."""
        from ..core.depth import Depth

        return Depth.of(self.measured_sky, self.correlation, self.calibration.zeropoint)

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
        number = len(self.detections)
        return f"{number} source{'' if number == 1 else 's'} in {self.settings.title}"

    @property
    def draws_outlines(self) -> bool:
        """Whether pictures show outlines instead of ellipses."""
        return self.settings.pictures.draw == "outlines"

    def summary(self) -> dict[str, Any]:
        """The run in numbers."""
        from ..writers.summary import summarize

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
            completeness=self.completeness if self._measures_completeness else None,
            advice=self.advice,
            warnings=self.log.warnings,
            seconds=self.log.seconds,
        )

    @property
    def _measures_completeness(self) -> bool:
        """Whether it was asked for, by its option or by a product."""
        return self.settings.psf.completeness or "completeness" in self.__dict__

    def release_pixels(self) -> None:
        """Give back the memory of the pixels, which no further step may need."""
        for sky in self.skies:
            sky.release_pixels()

    def _read(self) -> Image:
        files = self.settings.files
        return read_image(files.image, self.settings.source, files.hdu, files.plane)

    def _take(self, image: Image) -> int | None:
        """Say how an image was read, and leave out the pixels of --missing; how many, None without that option."""
        self._say_all(image.remarks)
        value = self.settings.files.missing
        if value is None:
            return None
        number = image.leave_out(value)
        if number:
            self.log.say(f"Pixels of exactly {value:g}, which have no value (--missing): {number}")
        return number

    def _say_all(self, remarks: tuple[str, ...], source: str = "") -> None:
        """Say how an image was read; of one that goes with it, its name too."""
        for remark in remarks:
            say = self.log.warn if isinstance(remark, Doubt) else self.log.say
            say(f"{source}: {remark}" if source else remark)

    def _place(self, image: Image, wcs: Any) -> None:
        """Have an image lie where its owner says."""
        from ..readers.arrays import celestial_of

        celestial = celestial_of(wcs)
        if celestial is None:
            self.log.warn(f"there are no sky coordinates: the wcs is a {type(wcs).__name__}, not an astropy.wcs.WCS")
            celestial = Celestial()
        image.celestial = celestial

    def _left_out(self, image: Image, noise_map: NoiseMap | None) -> np.ndarray | None:
        """The pixels of an image to leave out: of the mask file, without a value, without a noise; None if none."""
        from ..core.sky import missing_pixels

        mask = self.settings.files.which("mask_file")
        reasons = {
            f"by {'' if mask is None else mask.name}": self.mask,
            "without a value (NaN or infinite)": missing_pixels(image.pixels),
            "without a noise in the noise map": noise_map.invalid if noise_map and noise_map.invalid.any() else None,
        }
        given = {reason: masked for reason, masked in reasons.items() if masked is not None}
        masked = np.logical_or.reduce(list(given.values())) if given else None
        number = int(np.count_nonzero(masked)) if masked is not None else 0
        if number == image.pixels.size:
            raise InputError(
                image.source, "no pixel is left: all are masked or without a value", "check image and mask"
            )
        counted = ", ".join(f"{np.count_nonzero(masked)} {reason}" for reason, masked in given.items())
        self.log.say(f"Masked pixels: {number}" + (f" ({counted})" if counted else ""))
        return masked if number else None

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
                del sky  # its memory is needed
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
        """Have relative weights say the noise that the image has; whether they are such."""
        if sky.noise_map is None or self.settings.files.error_type != "weight" or sky.rms == 0:
            return False
        factor = sky.background_rms_over_noise()
        if not 1 / OF_INVERSE_VARIANCES <= factor <= OF_INVERSE_VARIANCES:
            sky.noise_map.rms *= factor
            self.log.say(
                f"{sky.noise_map.source}: the weights are relative: 1 / sqrt(weight) times {factor:.4g} is the noise "
                "that the image has, and is taken (give absolute ones as variances)"
            )
            return True
        return False

    def _around_sources(self, sky: Sky, image: Image) -> np.ndarray | None:
        """The pixels that a second estimate of the background does without; None where one pass has to do."""
        from ..core.detection import detect
        from ..core.mesh import cell_of
        from ..core.source_mask import around_sources
        from ..core.threshold import UNITS, Threshold

        options = self.settings.detection
        if image is not self.image and not UNITS[options.err_option].from_image:
            # Neither the brightness that is the threshold nor the noise map is this image's.
            options = replace(options, err_option="array_rms", thresh=DetectionOptions.thresh)
        with self.log.step("Extracting the sources above the first background") as said:
            found = detect(sky, self.kernel, Threshold.of(sky, options), options, self.workers)
            said.append(f"Sources above the first background: {len(found)}")
        left_out = around_sources(found, sky.masked, cell_of(sky.pixels.shape, self.settings.background))
        if left_out is None:
            self.log.say("Background: the first one stays, since sources leave less than half of its mesh")
        return left_out

    def _warn_of_noise(self, sky: Sky) -> None:
        from ..core.threshold import UNITS

        if sky.noise_map is not None and sky.rms > 0:
            noise_map = sky.noise_map
            ratio = float(np.median(noise_map.rms[~noise_map.invalid])) / sky.rms
            if not 1 / PLAUSIBLE_NOISE < ratio < PLAUSIBLE_NOISE:
                self.log.warn(
                    f"the noise map {noise_map.source} says {ratio:.3g} times the noise that the image has; "
                    "check --error_type and its unit"
                )
        if sky.rms == 0:
            in_its_units = UNITS[self.settings.detection.err_option].from_image
            counts = "every pixel above it counts as a source's" if in_its_units else "errors are without it"
            self.log.warn(f"the background has no noise (RMS 0): {counts}")

    @property
    def psf(self) -> Psf | None:
        """The PSF of the image that is measured; None, with a warning, where too few stars show it."""
        return self._psf_and_stars[0]

    @property
    def psf_stars(self) -> StarsOfPsf | None:
        """The stars that the PSF was made of; None where it was made before, or of none."""
        return self._psf_and_stars[1]

    @cached_property
    def _psf_and_stars(self) -> tuple[Psf | None, StarsOfPsf | None]:
        from ..core.psf_making import TOO_FEW, psf_from_stars
        from ..readers.psf_files import read_psf

        path, rows, image = self.settings.files.psf_file, self.possible_stars, self._measurables()[1]
        psf, stars = None, None
        with self.log.step("Making the PSF") as said:
            if path is not None:
                psf = read_psf(path, self.measured_image.shape)
            else:
                catalog, segmentation = self._catalog_of_apertures, self.detections.segmentation
                psf, stars = psf_from_stars(image, segmentation, catalog.values, rows, self.workers)
            source = f" (from {path})" if path else f" (from {len(stars.label)} stars)" if stars else ""
            said.append(f"PSF: {'none' if psf is None else psf.describe()}{source}")
        if psf is None:
            self.log.warn(f"there is no PSF: its columns are empty (NaN); {TOO_FEW.format(number=len(rows))}")
        return psf, stars

    @cached_property
    def possible_stars(self) -> np.ndarray:
        """The rows of the catalog that are stars, as far as can be told without a PSF."""
        from ..core.psf_stars import choose_stars

        return choose_stars(self._catalog_of_apertures.values)

    @cached_property
    def fitted(self) -> Fitted:
        """What fits the sources if they are stars, in the working units of the image that is measured."""
        from ..core.psf_photometry import fit_catalog

        psf, image, values = self.psf, self._measurables()[1], self._catalog_of_apertures.values
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
        """The image that is measured less all fitted sources, float32, NaN where masked."""
        sky, model, subtracted = self.measured_sky, self.model, self.settings.background.subtract_background

        def of(window: Window) -> np.ndarray:
            left = sky.subtracted.of(window) - window.of(model) * np.float32(sky.unit)
            return left + sky.background_map.of(window) if subtracted else left

        return Map(sky.subtracted.shape, sky.subtracted.dtype, of)

    @property
    def _catalog_of_apertures(self) -> Catalog:
        catalog, _ = self._in_apertures
        if catalog is None:
            raise RuntimeError("the values of the catalog were not asked for")
        return catalog

    @cached_property
    def measured(self) -> tuple[Catalog | None, list[str] | None]:
        """The catalog and its text, as far as each is wanted."""
        catalog, text = self._in_apertures
        if self.settings.with_psf:
            catalog, text = self._joined_by_the_psf(), None
        return catalog, text

    def switch_on_psf(self) -> None:
        """Have what the PSF tells in the catalog from now on, as --psf does."""
        if not self.settings.with_psf:
            self.settings = self.settings.and_psf()
            for made_without in ("measured", "text"):
                self.__dict__.pop(made_without, None)

    def _joined_by_the_psf(self) -> Catalog:
        from ..core.catalog import with_more
        from ..core.psf_photometry import columns_of

        more, flags = columns_of(self.fitted, self.measured_sky.unit)
        zeropoint = self.calibration.zeropoint
        unit = self.measured_image.unit
        return with_more(self._catalog_of_apertures, more, unit=unit, flags=flags, zeropoint=zeropoint)

    @cached_property
    def _in_apertures(self) -> tuple[Catalog | None, list[str] | None]:
        """The catalog without what a PSF tells, and its text, as far as each is wanted.

        The processes measure some sources at a time, write their rows, and send back only what is wanted.
        """
        from ..core.catalog import Catalog, build_catalog, detected_columns
        from ..core.photometry import measure
        from ..writers.tables import tsv_header, tsv_rows

        detections, options, title = self.detections, self.settings.photometry, self.settings.title
        detected_on, measured_on = self._measurables()
        images, zeropoint = (self.image, self.measured_image), self.calibration.zeropoint
        parts = detections.in_parts(SOURCES_AT_A_TIME)
        # With a PSF the text is made when that is there.
        wants_text = "text" in self._wanted and not self.settings.with_psf
        wants_values = "catalog" in self._wanted or self.settings.with_psf
        # Made once, before the processes begin.
        _ = self.noise_factors, self.celestial

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
            text = ("" if number else tsv_header(catalog)) + tsv_rows(catalog) if wants_text else ""
            return catalog if wants_values else None, text

        with self.log.step("Measuring the sources") as said:
            measured = list(self.workers.map(measure_some, range(len(parts))))
            catalogs = [catalog for catalog, _ in measured if catalog is not None]
            said.append("Measured the sources")
        joined = Catalog.joined(catalogs) if catalogs else None
        return joined, [text for _, text in measured] if wants_text else None

    def _measurables(self) -> tuple[Measurable, Measurable]:
        """What the sources were detected on, and what they are measured on."""
        from ..core.photometry import Measurable

        measured_on = Measurable(self.measured_sky, self.calibration.gain, self.saturated, self.correlation)
        if self.measured_sky is self.sky:
            return measured_on, measured_on
        # The gain of another image says nothing of this one's.
        return Measurable(self.sky), measured_on
