"""Detections -> the measurements of each source: fluxes, their errors, sizes and positions.

The recipes are SExtractor's (Bertin & Arnouts 1996; the manual, "Measurements") as SEP implements them, except for the
windowed positions. Neighbours' pixels, known from the segmentation map, count as zero, and so do masked ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import sep

from ..settings import PhotometryOptions
from .columns import PHOTOMETRY_COLUMNS, Flag, PhotometryFlag, aperture_name, in_image_unit
from .correlation import INDEPENDENT, Correlation
from .half_light import LAST_CIRCLE, radii_of_half
from .sky import Sky
from .windowed import variances_of_windows, windowed_positions
from .windows import Window

# The size of the ellipse in which the Kron radius is measured, in units of a and b (SExtractor's photom.c, Kron 1980).
KRON_ELLIPSE = 6.0
# The window's Gaussian has the FWHM of the half-light diameter: sigma = 2 r / 2.35 (SExtractor manual, XWIN_IMAGE).
WINDOW_SIGMA = 2 / 2.35
# Samples per pixel and axis. Like SExtractor, AUTO includes a whole pixel if its centre is in the ellipse.
# 0 is the exact overlap of pixel and circle.
AUTO_SUBPIX, CIRCLE_SUBPIX, HALF_LIGHT_SUBPIX = 1, 5, 0
# The second moment of a pixel, for sources so thin that they have no width (SExtractor's analyse.c).
PIXEL_VARIANCE = 1 / 12
ROWS_AT_A_TIME = 512
MARGIN = 64  # pixels around sources measured together: most apertures do not reach farther

FWHM_OF_MOMENTS = 2 * np.sqrt(np.log(2))


@dataclass(frozen=True)
class Calibration:
    """Electrons per unit of the image, magnitude of flux 1, saturation level; None if not given."""

    gain: float | None
    zeropoint: float | None
    saturation: float | None


@dataclass
class Measurable:
    """An image to measure on, and the meaning of its pixels."""

    sky: Sky
    gain: float | None = None  # electrons per unit of the image
    saturated: np.ndarray | None = None  # flat indices of saturated pixels
    correlation: Correlation = INDEPENDENT  # of the noise of its pixels

    usual: tuple[Window, np.ndarray] | None = None  # the window with most of the sources to be measured, and its noise

    @property
    def working_gain(self) -> float | None:
        return None if self.gain is None else self.gain * self.sky.unit

    def around(self, window: Window) -> Measurable:
        """The same image, with the noise of a window precomputed."""
        return replace(self, usual=(window, self.sky.sigma_of(window)))

    def sigma_of(self, window: Window) -> np.ndarray:
        """The noise of every pixel of a window, in working units; not to be modified."""
        if self.usual is None or not self.usual[0].covers(window):
            return self.sky.sigma_of(window)
        usual, sigma = self.usual
        return window.moved(-usual.top, -usual.left).of(sigma)


def measure(
    sources: np.ndarray,
    labels: np.ndarray,
    segmentation: np.ndarray,
    detected_on: Measurable,
    measured_on: Measurable,
    options: PhotometryOptions,
) -> dict[str, np.ndarray]:
    """Measure sources; columns by name, of length N, fluxes in the units of the image that is measured on.

    `sources` are SEP's records, `labels` (int32, consecutive) their values in the segmentation map. Positions, shapes
    and the Kron radius come from the image that they were detected on. Values that cannot be measured are NaN and
    flagged in `flag_phot`.
    """
    detected_on, measured_on = _near(detected_on, measured_on, sources)
    columns = _footprints(sources, labels, segmentation, detected_on, measured_on) | _shapes(sources)
    flags = _flag_nothing(columns, "flux_iso")
    usable = _usable(sources)
    measured = _measure_usable(sources[usable], labels[usable], segmentation, detected_on, measured_on, options)
    flags[~usable] |= PhotometryFlag.NOT_MEASURED | PhotometryFlag.NOT_WINDOWED
    flags[usable] |= measured.pop("flag_phot")
    if measured_on.saturated is not None:
        flags[np.isin(labels, segmentation.ravel()[measured_on.saturated])] |= PhotometryFlag.SATURATED
    columns["flag_phot"] = flags
    for name, values in measured.items():
        columns[name] = np.full(len(sources), np.nan)
        columns[name][usable] = values
    for axis in "xy":
        columns[f"{axis}_win"][~usable] = sources[axis][~usable]
        # A position that falls back to the isophotal one takes its error.
        columns[f"{axis}_win_err"] = np.where(
            flags & PhotometryFlag.NOT_WINDOWED, columns[f"{axis}_err"], columns[f"{axis}_win_err"]
        )
    for name in in_image_unit(PHOTOMETRY_COLUMNS, columns):
        columns[name] *= measured_on.sky.unit
    with np.errstate(divide="ignore", invalid="ignore"):
        columns["snr"] = columns["flux_auto"] / columns["flux_auto_err"]
    return columns


def _measure_usable(
    sources: np.ndarray,
    labels: np.ndarray,
    segmentation: np.ndarray,
    detected_on: Measurable,
    measured_on: Measurable,
    options: PhotometryOptions,
) -> dict[str, np.ndarray]:
    """Aperture measurements of sources that have an ellipse; fluxes in working units, and their flags."""
    shapes, ground = _Shapes.of(sources, labels), _Ground(measured_on, segmentation)
    auto, auto_flags = _auto(shapes, ground, detected_on, options)
    circles, circle_flags = _circles(shapes, ground, options)
    del ground  # copies of pixels
    peaks = measured_on.sky.pixels[sources["ypeak"], sources["xpeak"]]
    radius = _half_light(shapes, segmentation, measured_on, auto["flux_auto"], peaks)
    windowed, windowed_flags = _windowed(shapes, segmentation, measured_on, radius)
    flags = auto_flags | circle_flags | windowed_flags
    return auto | circles | {"flux_radius": radius} | windowed | {"flag_phot": flags}


@dataclass
class _Shapes:
    """Positions and ellipses as SEP's functions take them; valid for working pixels of any image."""

    x: np.ndarray
    y: np.ndarray
    a: np.ndarray
    b: np.ndarray
    theta: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, sources: np.ndarray, labels: np.ndarray) -> _Shapes:
        x, y, a, b, theta = (sources[name].astype(np.float64) for name in ("x", "y", "a", "b", "theta"))
        # In float32 SEP's angle can lie just outside the range, and SEP would then refuse all sources.
        return cls(x, y, a, b, np.clip(theta, -np.pi / 2, np.pi / 2), labels)

    @property
    def ellipses(self) -> tuple[np.ndarray, ...]:
        return self.x, self.y, self.a, self.b, self.theta


def _usable(sources: np.ndarray) -> np.ndarray:
    """True where SEP can measure: one source without a valid ellipse would make it refuse them all."""
    finite = np.all([np.isfinite(sources[name]) for name in ("x", "y", "a", "b", "theta")], axis=0)
    return finite & (sources["b"] > 0) & (sources["a"] >= sources["b"])


def _footprints(
    sources: np.ndarray,
    labels: np.ndarray,
    segmentation: np.ndarray,
    detected_on: Measurable,
    measured_on: Measurable,
) -> dict[str, np.ndarray]:
    """Sums over each source's own pixels: isophotal flux with its error, errors of the position.

    The variance of a pixel is that of the noise plus, with a gain, that of its own light (Poisson). Position errors:
    sum(variance * dx^2) / cflux^2 (SExtractor manual, ERRX2_IMAGE), for independent pixels as in SExtractor.
    """
    flux, sky, light, variance, x_spread, y_spread = np.zeros((6, len(sources)))
    if not len(sources):
        return {"flux_iso": flux, "flux_iso_err": sky, "x_err": x_spread, "y_err": y_spread}
    x, y = sources["x"], sources["y"]
    whole = _window_of(sources)
    for start in range(whole.top, whole.bottom, ROWS_AT_A_TIME):
        window = whole._replace(top=start, bottom=min(start + ROWS_AT_A_TIME, whole.bottom))
        block = window.of(segmentation)
        # A search along one axis takes a tenth of the time of one along two.
        rows, place = np.divmod(np.flatnonzero((block >= labels[0]) & (block <= labels[-1])), block.shape[1])
        number = block[rows, place] - labels[0]
        own = rows, place

        def add(values: np.ndarray, number: np.ndarray = number) -> np.ndarray:
            return np.bincount(number, weights=values, minlength=len(sources))

        of_sky, of_light = _variances(detected_on, window, own)
        variances = of_sky + of_light
        x_spread += add(variances * (place + window.left - x[number]) ** 2)
        y_spread += add(variances * (rows + window.top - y[number]) ** 2)
        variance += add(variances)
        flux += add(window.of(measured_on.sky.pixels)[own])
        if measured_on is not detected_on:
            of_sky, of_light = _variances(measured_on, window, own)
        sky += add(of_sky)
        light += add(of_light)

    filtered_light = sources["cflux"] / detected_on.sky.unit
    thin = np.where(sources["flag"] & Flag.SINGULAR, PIXEL_VARIANCE, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "flux_iso": flux,
            "flux_iso_err": np.sqrt(sky * measured_on.correlation.in_ellipses(*_footprint_ellipses(sources)) + light),
            "x_err": np.sqrt(x_spread + thin * variance) / filtered_light,
            "y_err": np.sqrt(y_spread + thin * variance) / filtered_light,
        }


def _flag_nothing(columns: dict[str, np.ndarray], flux: str) -> np.ndarray:
    """Make a flux and its error NaN if the sum has no pixel; returns flags.

    The error is 0 in that case only: every unmasked pixel has noise.
    """
    nothing = columns[f"{flux}_err"] == 0
    for name in (flux, f"{flux}_err"):
        columns[name] = np.where(nothing, np.nan, columns[name])
    return np.where(nothing, PhotometryFlag.ALL_COVERED, 0).astype(np.int32)


def _footprint_ellipses(sources: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ellipses of the shape of the sources and the area of their pixels; circles if they have no shape."""
    ratio, theta = sources["b"] / sources["a"].astype(np.float64), sources["theta"].astype(np.float64)
    has_shape = np.isfinite(ratio) & (ratio > 0) & np.isfinite(theta)
    radius, root = np.sqrt(sources["npix"] / np.pi), np.sqrt(np.where(has_shape, ratio, 1))
    return radius / root, radius * root, np.where(has_shape, theta, 0)


def _variances(image: Measurable, window: Window, own: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The variance of pixels, rows and columns in a window: that of the sky, and that of their own light."""
    sky = image.sigma_of(window)[own].astype(np.float64) ** 2
    if image.working_gain is None:
        return sky, np.zeros(len(sky))
    return sky, np.maximum(window.of(image.sky.pixels)[own], 0) / image.working_gain


def _shapes(sources: np.ndarray) -> dict[str, np.ndarray]:
    a, b = sources["a"].astype(np.float64), sources["b"].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "fwhm": gaussian_fwhm(a, b),
            "ellipticity": 1 - b / a,
            "elongation": a / b,
        }


def gaussian_fwhm(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Full width at half maximum of a round Gaussian with the mean square of the semi-axes, in their unit."""
    return FWHM_OF_MOMENTS * np.sqrt(a**2 + b**2)


def _auto(
    shapes: _Shapes, ground: _Ground, detected_on: Measurable, options: PhotometryOptions
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The flux in the Kron ellipse (SExtractor's FLUX_AUTO), its radius in units of a and b; flags."""
    measured_on = ground.image
    of_source = {"seg_id": shapes.labels, "segmap": ground.segmentation}
    kron, kron_flags = sep.kron_radius(detected_on.sky.pixels, *shapes.ellipses, KRON_ELLIPSE, **of_source)
    radius = np.maximum(options.kron_factor * kron, options.kron_min_radius)
    flux, error, masked, inside = np.zeros((4, len(radius)))
    flags = np.zeros(len(radius), dtype=np.int32)
    for view in ground.views(shapes, shapes.a * radius):
        ellipses = view.x, view.y, *(of_all[view.some] for of_all in (shapes.a, shapes.b, shapes.theta, radius))
        flux[view.some], error[view.some], flags[view.some] = sep.sum_ellipse(
            view.pixels, *ellipses, err=view.sigma, subpix=AUTO_SUBPIX, **view.of_source
        )
        if view.masked is not None:
            masked[view.some], _, _ = sep.sum_ellipse(view.masked, *ellipses, subpix=AUTO_SUBPIX)
            inside[view.some], _, _ = sep.sum_ellipse(np.ones_like(view.masked), *ellipses, subpix=AUTO_SUBPIX)
    scale = measured_on.correlation.in_ellipses(shapes.a * radius, shapes.b * radius, shapes.theta)
    flags |= np.where(masked > 0, PhotometryFlag.COVERED, 0)
    columns = {
        "flux_auto": flux,
        "flux_auto_err": _error(error, scale, flux, measured_on.working_gain),
        "kron_radius": radius,
        "masked_fraction": masked / np.maximum(inside, 1),
    }
    flags = flags | _flag_nothing(columns, "flux_auto")
    return columns, flags | (kron_flags & PhotometryFlag.NO_KRON)


def _circles(shapes: _Shapes, ground: _Ground, options: PhotometryOptions) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The flux in circles of the given diameters (SExtractor's FLUX_APER); flags."""
    measured_on = ground.image
    columns: dict[str, np.ndarray] = {}
    flags = np.zeros(len(shapes.labels), dtype=np.int32)
    for diameter in options.apertures:
        name = aperture_name("flux_aper_D", diameter)
        flux, error = np.zeros((2, len(flags)))
        for view in ground.views(shapes, np.full(len(flags), diameter / 2)):
            flux[view.some], error[view.some], touched = sep.sum_circle(
                view.pixels, view.x, view.y, diameter / 2, err=view.sigma, subpix=CIRCLE_SUBPIX, **view.of_source
            )
            flags[view.some] |= touched
        scale = measured_on.correlation.in_circles(diameter / 2, shapes.x, shapes.y)
        columns |= {name: flux, f"{name}_err": _error(error, scale, flux, measured_on.working_gain)}
        flags |= _flag_nothing(columns, name)
    return columns, flags


def _near(detected_on: Measurable, measured_on: Measurable, sources: np.ndarray) -> tuple[Measurable, Measurable]:
    """The images to measure on, with the noise around the sources precomputed."""
    if not len(sources):
        return detected_on, measured_on
    window = _window_of(sources).grown(MARGIN, detected_on.sky.pixels.shape)
    near = measured_on.around(window)
    return near if measured_on is detected_on else detected_on.around(window), near


def _window_of(sources: np.ndarray) -> Window:
    """The window of the sources' pixels."""
    return Window(sources["ymin"].min(), sources["ymax"].max() + 1, sources["xmin"].min(), sources["xmax"].max() + 1)


@dataclass
class _View:
    """A window of an image in the form that SEP's functions take, and the sources to measure in it.

    `some` are their numbers, `x` and `y` their positions in the window.
    """

    some: np.ndarray
    x: np.ndarray
    y: np.ndarray
    pixels: np.ndarray
    sigma: np.ndarray
    masked: np.ndarray | None
    of_source: dict[str, np.ndarray]


@dataclass
class _Ground:
    """An image to measure on, and which source each pixel belongs to."""

    image: Measurable
    segmentation: np.ndarray

    def views(self, shapes: _Shapes, reach: np.ndarray) -> Iterator[_View]:
        """All sources, in windows that hold everything within their reach (N) in pixels.

        SEP reads the noise of every pixel that it is given, so it is given no more than it needs: the usual window of
        the image for the sources that fit in it, and one of its own for each of the others.
        """
        height, width = self.segmentation.shape
        # Any pixel touched counts; and a source without a size reaches nowhere.
        reach = np.nan_to_num(reach, nan=0, posinf=height + width) + 1
        top, bottom = np.maximum(shapes.y - reach, 0), np.minimum(shapes.y + reach, height - 1)
        left, right = np.maximum(shapes.x - reach, 0), np.minimum(shapes.x + reach, width - 1)
        usual = self.image.usual[0] if self.image.usual else Window(0, 0, 0, 0)
        within = (top >= usual.top) & (bottom < usual.bottom) & (left >= usual.left) & (right < usual.right)
        if within.any():
            yield self._view(np.flatnonzero(within), shapes, usual, self._of_usual)
        for one in np.flatnonzero(~within):
            window = Window(int(top[one]), math.ceil(bottom[one]) + 1, int(left[one]), math.ceil(right[one]) + 1)
            yield self._view(np.array([one]), shapes, window, self._of(window))

    def _view(self, some: np.ndarray, shapes: _Shapes, window: Window, made: tuple[np.ndarray, ...]) -> _View:
        pixels, sigma, owners, *masked = made
        of_source = {"seg_id": shapes.labels[some], "segmap": owners}
        x, y = shapes.x[some] - window.left, shapes.y[some] - window.top
        return _View(some, x, y, pixels, sigma, masked[0] if masked else None, of_source)

    @cached_property
    def _of_usual(self) -> tuple[np.ndarray, ...]:
        """The data of the usual window, for all apertures."""
        return self._of(self.image.usual[0]) if self.image.usual else ()

    def _of(self, window: Window) -> tuple[np.ndarray, ...]:
        """Pixels, noise, owners, and the mask if there is one."""
        sky = self.image.sky
        found = (window.of(sky.pixels), self.image.sigma_of(window), window.of(self.segmentation))
        masked = () if sky.masked is None else (window.of(sky.masked),)
        return tuple(np.ascontiguousarray(each) for each in (*found, *masked))


def _error(sky: np.ndarray, scale: np.ndarray, flux: np.ndarray, gain: float | None) -> np.ndarray:
    """The error of fluxes: that of independent pixels of `sky` variance times `scale`, and the light's own."""
    variance = sky**2 * scale
    if gain is not None:
        variance += np.maximum(flux, 0) / gain
    return np.sqrt(variance)


def _half_light(
    shapes: _Shapes, segmentation: np.ndarray, measured_on: Measurable, flux_auto: np.ndarray, peaks: np.ndarray
) -> np.ndarray:
    """The radius of the circle that holds half of flux_auto (SExtractor's FLUX_RADIUS).

    SExtractor and SEP measure 64 rings, each pixel at 25 points, and interpolate. A few circles with exact overlaps
    take half the time, and do not leave a radius off by a per cent.
    """
    pixels, radius = measured_on.sky.pixels, np.full(len(flux_auto), np.nan)
    wanted = np.flatnonzero(flux_auto > 0)

    def of_source(some: np.ndarray) -> dict[str, np.ndarray]:
        return {"seg_id": shapes.labels[some], "segmap": segmentation}

    def share(some: np.ndarray, radii: np.ndarray) -> np.ndarray:
        circles = shapes.x[some], shapes.y[some], radii
        flux, _, _ = sep.sum_circle(pixels, *circles, subpix=HALF_LIGHT_SUBPIX, **of_source(some))
        return np.asarray(flux / flux_auto[some])

    # How large the light would be if it were everywhere as bright as at the peak; nothing follows from a dark peak.
    area = flux_auto[wanted] / np.where(peaks[wanted] > 0, peaks[wanted], np.inf)
    radius[wanted] = radii_of_half(lambda rows, radii: share(wanted[rows], radii), shapes.a[wanted], area)
    # The light of these few does not grow with the circle as that of others does.
    left = wanted[np.isnan(radius[wanted])]
    if len(left):
        circles, flux = (shapes.x[left], shapes.y[left], LAST_CIRCLE * shapes.a[left]), flux_auto[left]
        radius[left], _ = sep.flux_radius(pixels, *circles, 0.5, normflux=flux, subpix=CIRCLE_SUBPIX, **of_source(left))
    return radius


def _windowed(
    shapes: _Shapes, segmentation: np.ndarray, measured_on: Measurable, flux_radius: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Positions weighted by a Gaussian window (SExtractor's XWIN_IMAGE), more precise for faint sources; flags.

    If other light draws the window out of the source, or it has no half-light radius, they are the isophotal ones, and
    their errors are NaN.
    """
    sigma = WINDOW_SIGMA * np.where(flux_radius > 0, flux_radius, np.nan)
    sky, start = measured_on.sky, np.array((shapes.x, shapes.y))
    x, y = windowed_positions(sky.pixels, segmentation, shapes.labels, start, sigma)
    height, width = segmentation.shape
    inside = (np.abs(x - (width - 1) / 2) <= width / 2) & (np.abs(y - (height - 1) / 2) <= height / 2)
    row, column = (
        np.clip(np.rint(np.where(inside, position, 0)), 0, side - 1).astype(int)
        for position, side in ((y, height), (x, width))
    )
    inside &= segmentation[row, column] == shapes.labels
    found = np.flatnonzero(inside)
    at, labels = np.array((x, y))[:, found], shapes.labels[found]
    of_sky, of_light = variances_of_windows(
        sky.pixels, measured_on.sigma_of, segmentation, labels, at, sigma[found], measured_on.working_gain
    )
    columns: dict[str, np.ndarray] = {}
    scales = measured_on.correlation.in_windows(sigma[found])
    for number, axis in enumerate("xy"):
        position, error = start[number].copy(), np.full(len(inside), np.nan)
        position[found] = at[number]
        error[found] = np.sqrt(of_sky[number] * scales[number] + of_light[number])
        columns |= {f"{axis}_win": position, f"{axis}_win_err": error}
    return columns, np.where(inside, 0, PhotometryFlag.NOT_WINDOWED)
