"""The inputs of a run: the image and what comes with it, read and checked, and reported in the log."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.image import Celestial, Doubt, Image, Partner
from ..core.processes import Workers
from ..core.room import Room
from ..core.windows import strips
from ..errors import InputError
from ..readers.images import read_image
from ..settings import Settings
from .log import Log

if TYPE_CHECKING:
    from ..core.evidence import Glimpse
    from ..core.photometry import Calibration
    from ..core.psf import Psf
    from ..core.sky import NoiseMap

LEAST_LEFT = 0.05  # share of the pixels; a mask that leaves fewer is probably meant otherwise


class Inputs:
    """One image, the files that come with it, and properties of its pixels before they become those of a sky.

    Each attribute is the result of one step. It is computed on first use, from the results of other steps, and then
    kept; so a writer asks for what its product shows, and nothing else is computed. `pipeline` asks in the order that
    takes least memory.

    `wanted` says whether the values of the catalog, its text, or both are requested, since the processes that measure
    send back no more; `meanwhile` is work that can be done while other processes extract the sources.
    """

    def __init__(
        self,
        settings: Settings,
        workers: Workers,
        log: Log,
        wanted: Collection[str] = ("catalog",),
        meanwhile: Sequence[Callable[[Any], object]] = (),
    ) -> None:
        self.settings, self.workers, self.log = settings, workers, log
        self._wanted, self._meanwhile = frozenset(wanted), meanwhile
        self._where_is_said = False

    @property
    def room(self) -> Room:
        """The storage for image-sized arrays."""
        return self.workers.room

    def __getstate__(self) -> dict[str, Any]:
        """The state for another process, which works alone and finds the coordinates for itself, as the image does."""
        state = self.__dict__ | {"workers": Workers(1), "_meanwhile": ()}
        # The text may be in a file of this process, and can be made from the catalog again.
        state.pop("text", None)
        return state | ({"celestial": None} if "celestial" in state else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        if "celestial" in state:
            self.__dict__["celestial"] = self.image.celestial

    @cached_property
    def image(self) -> Image:
        """The image in which sources are searched for; its pixels become those of `sky`."""
        files = self.settings.files
        with self.log.step("Reading the image") as said:
            image = self._read()
            said.append(f"Image: {image.describe()}")
        self._say_where()
        if image.others:
            self.log.say(f"Also there: {image.describe_others()}")
        if image.map_of:
            self.log.warn(f"{image.source} is no image but a map that this program made of one: {image.map_of}")
        if self._take(image) == 0:
            self.log.warn(f"no pixel of {image.source} is exactly {files.missing:g}: --missing leaves out nothing")
        if files.unit is not None:
            image.unit = files.unit
        if files.wcs is not None:
            self._place(image, files.wcs)
        return image

    @cached_property
    def celestial(self) -> Celestial:
        """Where the image lies on the sky; the log says what in its header could not be used, or why it has none."""
        celestial = self.image.celestial
        for remark in celestial.remarks:
            self.log.note(remark)
        if celestial.wcs is None and not celestial.remarks and self.image.headers:
            self.log.say("Sky coordinates: none, because the header gives none")
        return celestial

    @cached_property
    def thumbnail(self) -> np.ndarray:
        """The image at a picture's resolution. To be requested before `sky`."""
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
                image.leave_out(missing, self.room)
        return greys(image.pixels, self.thumbnail, self.room)

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
    def given_psf(self) -> Psf | None:
        """The PSF from a file; None if it is to be made from the image's own stars."""
        from ..readers.psf_files import read_psf

        path = self.settings.files.psf_file
        # An image to measure on has the same shape.
        return None if path is None else read_psf(path, self.image.shape)

    @cached_property
    def mask(self) -> np.ndarray | None:
        """The pixels that the mask file excludes, True where masked; None without a file."""
        from ..readers.mask import read_mask

        files = self.settings.files
        which = files.which("mask_file")
        if which is None:
            return None
        mask = read_mask(which, files.maskthresh, files.mask_bits, self.image, self.room)
        self._say_where()
        self._say_all(mask.remarks, which.name)
        left = 1 - np.count_nonzero(mask.masked) / mask.masked.size
        if left < LEAST_LEFT:
            rule = "--mask_bits" if files.mask_bits else "--maskthresh, or --mask_bits where the values are bit flags"
            self.log.warn(f"the mask {which.name} leaves {100 * left:.2g} % of the pixels; check its HDU, and {rule}")
        return mask.masked

    @cached_property
    def noise_map(self) -> NoiseMap | None:
        """The noise map that came with the image; None if there is none."""
        from ..readers.noise_map import read_noise_map

        which = self.settings.files.which("error_file")
        if which is None:
            return None
        noise_map = read_noise_map(which, self.settings.files.error_type, self.image, self.room)
        self._say_where()
        self._say_all(noise_map.remarks, which.name)
        return noise_map

    @cached_property
    def masked(self) -> np.ndarray | None:
        """All pixels of the image to leave out; None if none. To be requested before `sky`."""
        return self._left_out(self.image, self.noise_map)

    @cached_property
    def measured_image(self) -> Image:
        """The image to measure sources on: the image itself, or the one given for it."""
        which = self.settings.files.which("measure_file")
        if which is None:
            return self.image
        with self.log.step("Reading the image to measure on") as said:
            remedy = "give an image of the same shape, aligned pixel by pixel"
            partner = Partner(self.image, "image to measure on", remedy, which.prefix, picture=True)
            image = read_image(which.given, which.name, which.hdu, which.plane, partner=partner, room=self.room)
            said.append(f"Image to measure on: {image.describe()}")
        self._say_where()
        self._take(image)
        return image

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration of the measured image's pixels."""
        from ..readers.calibration import read_calibration, unused_keywords

        calibration = read_calibration(self.measured_image, self.settings.photometry)
        if unused := unused_keywords(self.measured_image, self.settings.photometry):
            self.log.say(f"The header also has: {', '.join(unused)}")
        return calibration

    @cached_property
    def saturated(self) -> np.ndarray | None:
        """Flat indices of the saturated pixels of the measured image. To be requested before its sky."""
        level = self.calibration.saturation
        if level is None:
            return None
        pixels, width = self.measured_image.pixels, self.measured_image.shape[1]
        found = [np.flatnonzero(window.of(pixels) >= level) + window.top * width for window in strips(pixels.shape)]
        return np.concatenate(found)

    @cached_property
    def glimpse(self) -> Glimpse:
        """Properties of the image before its pixels become those of `sky`."""
        from ..core.evidence import Glimpse

        return Glimpse.of(self.image, self.masked)

    def _read(self) -> Image:
        files = self.settings.files
        return read_image(files.image, self.settings.source, files.hdu, files.plane, room=self.room)

    def _take(self, image: Image) -> int | None:
        """Log how an image was read, and leave out the pixels of --missing; returns their number, None if not given."""
        self._say_all(image.remarks)
        value = self.settings.files.missing
        if value is None:
            return None
        number = image.leave_out(value, self.room)
        if number:
            self.log.say(f"Pixels of exactly {value:g}, which have no value (--missing): {number}")
        return number

    def _say_where(self) -> None:
        """Log, once, where the room is if not in memory as usual: from the first image on that memory does not hold."""
        where = self.room.describe()
        if where and not self._where_is_said:
            self.log.say(where)
            self._where_is_said = True

    def _say_all(self, remarks: tuple[str, ...], source: str = "") -> None:
        """Log how an image was read, with its name if it is one that comes with the main one."""
        for remark in remarks:
            say = self.log.warn if isinstance(remark, Doubt) else self.log.say
            say(f"{source}: {remark}" if source else remark)

    def _place(self, image: Image, wcs: Any) -> None:
        """Give an image the sky coordinates that its owner supplied."""
        from ..readers.arrays import celestial_of

        celestial = celestial_of(wcs)
        if celestial is None:
            self.log.warn(f"there are no sky coordinates: the wcs is a {type(wcs).__name__}, not an astropy.wcs.WCS")
            celestial = Celestial()
        image.celestial = celestial

    def _left_out(self, image: Image, noise_map: NoiseMap | None) -> np.ndarray | None:
        """The pixels of an image to leave out: masked, without a value, or without a noise; None if none."""
        from ..core.sky import missing_pixels

        mask = self.settings.files.which("mask_file")
        reasons = {
            f"by {'' if mask is None else mask.name}": self.mask,
            "without a value (NaN or infinite)": missing_pixels(image.pixels, self.room),
            "without a noise in the noise map": noise_map.invalid if noise_map and noise_map.invalid.any() else None,
        }
        given = {reason: masked for reason, masked in reasons.items() if masked is not None}
        masked = next(iter(given.values()), None)
        if len(given) > 1:
            masked = self.room.shared(image.shape, bool)
            for some in given.values():
                masked |= some
        number = int(np.count_nonzero(masked)) if masked is not None else 0
        if number == image.pixels.size:
            raise InputError(
                image.source, "no pixel is left: all are masked or without a value", "check image and mask"
            )
        counted = ", ".join(f"{np.count_nonzero(masked)} {reason}" for reason, masked in given.items())
        self.log.say(f"Masked pixels: {number}" + (f" ({counted})" if counted else ""))
        return masked if number else None
