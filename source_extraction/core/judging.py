"""What the evidence of a run says is wrong with it, and which options cure it.

A function per kind looks at the evidence and gives an advice or None. They are asked in the order of importance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .advice import Advice
from .evidence import Evidence
from .filters import DEFAULT_KERNEL, gaussian_kernel, noise_after

MOST_GIVEN = 3
# Of the detections this share may be noise without a word, and this share may be at the threshold that is advised.
MUCH_NOISE, LITTLE_NOISE, FEWEST_FALSE = 0.1, 0.01, 5
# The thresholds that are tried, in units of the one that was used.
HIGHER_THRESHOLDS = tuple(1.15**power for power in range(1, 23))
# Ordinary images have less in one of the two, real ones with large galaxies or cells more in both.
SHARE_OF_LARGE, RANGE_OF_BACKGROUND = 0.5, 5.0
SMALL_CELL = 32
CELLS_OF_SPOTS = 2.5
MOST_CELLS = 4  # a cell of the mesh should be so many times as large as the largest source
# Peaks in large sources: above what is around them, spots on cells have this part of their light at most, stars more.
CONTRAST_OF_SPOTS = 0.4
CONTRAST_OF_CROWDED = 0.0001
# The ellipses of networks are nearly as large as the image together, and their pixels fill little of them.
COVERED_BY_ELLIPSES, FILLED = 0.8, 0.35
# The share of an image that lies outside of it, from which its noise is wrong; and from which nothing is inside.
FRAME, ALL = 0.1, 0.99
# Without a filter a chance group of 5 pixels above this is in none of ten images of 4096 x 4096.
THRESH_UNFILTERED = 2.5
FEWEST_SINGLE, SHARE_OF_SINGLE = 10, 0.3
FEWEST_FLAT = 3
WIDE_SEEING, MORE_FOUND = 6.0, 1.03  # FWHM in pixels
TAKEN_AWAY = 0.5


def advise(evidence: Evidence) -> list[Advice]:
    """What is wrong, the most important first.

    Of the kinds that explain each other the first that is seen is given, and of those that need the same option, too:
    what is still wrong after that, the next run says.
    """
    given: list[Advice] = []
    for kinds in KINDS if len(evidence.detections) else WITHOUT_SOURCES:
        found = next(filter(None, (kind(evidence) for kind in kinds)), None)
        if found is None or any(found.change.keys() & other.change.keys() for other in given):
            continue
        if not found.change or any(evidence.option(name) != value for name, value in found.change.items()):
            given.append(found)
    return given[:MOST_GIVEN]


def _zeros_outside(seen: Evidence) -> Advice | None:
    """Cells of the mesh that are mostly outside of the image proper have a noise out of nothing."""
    if seen.frame is None or seen.option("missing") is not None or seen.step is not None:
        return None
    value, share = seen.frame
    if not FRAME <= share < ALL:
        return None
    return Advice(
        "zeros_outside",
        f"the border and much of the image have exactly the value {value:g}, as outside of a mosaic",
        {"share_of_pixels": _rounded(share), "background_RMS": _rounded(seen.sky.rms)},
        {"missing": value},
    )


def _no_noise(seen: Evidence) -> Advice | None:
    """Without noise a threshold has no unit: half of what the faintest source has above the sky is one."""
    if seen.option("err_option") == "none" or not (seen.sky.rms == 0 or seen.sky_of_one_value):
        return None
    faintest = float(np.min(seen.sources["peak"]))
    return Advice(
        "no_noise",
        "the sky has no noise to measure a threshold in",
        {"background_RMS": _rounded(seen.sky.rms), "faintest_peak": _rounded(faintest)},
        {"err_option": "none", "thresh": _rounded(faintest / 2, 2), "filter_case": "none"},
    )


def _photon_counts(seen: Evidence) -> Advice | None:
    """Chance groups of photons are sources at low thresholds: their noise is not that of a Gaussian."""
    if seen.step is None or not seen.whole_numbers or not seen.noise_is_of_photons:
        return None
    false = seen.of_photons(seen.option("thresh"))
    if false < max(FEWEST_FALSE, MUCH_NOISE * len(seen.sources)):
        return None
    return _higher_threshold(
        seen,
        "photon_counts",
        "single photons are counted, and chance groups of them are taken for sources",
        {"detections_in_photons_of_the_background_alone": false, "sources": len(seen.sources)},
        lambda thresh: (len(seen.sources), seen.of_photons(thresh)),
    )


def _spots_on_structure(seen: Evidence) -> Advice | None:
    """Spots on the light of cells: the mesh has to follow that light."""
    peaks = seen.many_peaks
    if peaks is None or peaks.contrast > CONTRAST_OF_SPOTS:
        return None
    side = max(8, round(CELLS_OF_SPOTS * peaks.fwhm))
    return Advice(
        "spots_on_structure",
        "large sources hide many small spots on them",
        {"peaks_in_large_sources": peaks.number, "sources": len(seen.sources), "contrast": _rounded(peaks.contrast)},
        {"bw": side, "bh": side, "thresh": _rounded(3 * seen.option("thresh"))},
    )


def _crowded(seen: Evidence) -> Advice | None:
    """Stars so close that the least contrast of deblending is more than one of them has of their light."""
    peaks = seen.many_peaks
    if peaks is None:
        return None
    return Advice(
        "crowded",
        "large sources have swallowed many stars",
        {"peaks_in_large_sources": peaks.number, "sources": len(seen.sources), "contrast": _rounded(peaks.contrast)},
        {"deblend_cont": CONTRAST_OF_CROWDED},
    )


def _not_spots(seen: Evidence) -> Advice | None:
    """Networks, tissue, the Sun: no part of it is a source."""
    if seen.ellipses_cover < COVERED_BY_ELLIPSES or seen.filled_share > FILLED:
        return None
    return Advice(
        "not_spots",
        "what stands out is a network or a texture, not sources on a sky, and the catalog says little",
        {"area_of_the_ellipses": _rounded(seen.ellipses_cover), "filled": _rounded(seen.filled_share)},
    )


def _larger_than_mesh(seen: Evidence) -> Advice | None:
    """Sources that are larger than a cell are taken for background, and cut up."""
    share = seen.share_of_light(seen.extents > seen.cell)
    if seen.cell < SMALL_CELL and np.median(seen.extents) <= seen.cell:
        return None  # as small as it is on purpose
    if share < SHARE_OF_LARGE or seen.background_range < RANGE_OF_BACKGROUND:
        return None
    height, width = seen.image.shape
    side = 64 * math.ceil(MOST_CELLS * seen.largest / 64)
    return Advice(
        "larger_than_mesh",
        "sources that are larger than a cell of the background mesh hold most of the light, and the background "
        "follows them",
        {
            "largest_source": seen.largest,
            "share_of_light": _rounded(share),
            "range_of_the_background_in_RMS": _rounded(seen.background_range),
        },
        {"bw": min(side, max(width, 4)), "bh": min(side, max(height, 4))},
    )


def _noise_in_catalog(seen: Evidence) -> Advice | None:
    """Noise whose pixels go together reaches the threshold in as many as a source needs."""
    if seen.negated is None or seen.negated < max(FEWEST_FALSE, MUCH_NOISE * len(seen.sources)):
        return None
    few_levels = seen.step is not None
    return _higher_threshold(
        seen,
        "quantised" if few_levels else "noise_in_catalog",
        "the image has few grey levels, and their noise is taken for sources"
        if few_levels
        else "much of the catalog is noise, which has the size of sources at this threshold",
        {"detections_on_the_negated_image": seen.negated, "sources": len(seen.sources)},
        seen.recounted,
        seen.negated,
    )


def _hot_pixels(seen: Evidence) -> Advice | None:
    """The filter makes a source of any pixel that is bright enough; without it one is too small to be one."""
    single = seen.sources["tnpix"] <= 2
    number = int(single.sum())
    if seen.option("filter_case") == "none" or number < FEWEST_SINGLE or number < SHARE_OF_SINGLE * len(single):
        return None
    thresh = seen.option("thresh")
    return Advice(
        "hot_pixels",
        "many sources are one or two pixels that are far brighter than those beside them, as hot pixels and cosmic "
        "rays are",
        {"sources_of_one_or_two_pixels": number, "sources": len(single)},
        {"filter_case": "none"} | ({} if thresh >= THRESH_UNFILTERED else {"thresh": THRESH_UNFILTERED}),
    )


def _unused_planes(seen: Evidence) -> Advice | None:
    """What the file has for this image and nobody asked for."""
    file, change = seen.settings.files.image, dict[str, Any]()
    for use in seen.image.uses:
        if all(seen.option(name) in (None, "float_globalrms", "rms") for name in use):
            change |= {name: f"{file}{value}" if value.startswith("[") else value for name, value in use.items()}
    if not change:
        return None
    names = ", ".join(value.rpartition("[")[2][:-1] for value in change.values() if value.endswith("]"))
    more = {"filter_type": "conv"} if "error_file" in change else {}
    return Advice(
        "unused_planes", "the file has planes for this image that were not used", {"HDUs": names}, change | more
    )


def _saturated(seen: Evidence) -> Advice | None:
    """Tops that are cut off at one value: fluxes of these sources are too low."""
    if seen.option("saturation") is not None or seen.step is not None or seen.flat_tops < FEWEST_FLAT:
        return None
    if seen.option("measure_file") is not None:
        return None  # the saturation is that of the other image
    return Advice(
        "saturated",
        "the brightest sources are cut off at one value, and their fluxes are too low; with it they are flagged",
        {"sources_with_a_flat_top": seen.flat_tops, "value": seen.glimpse.greatest},
        {"saturation": seen.glimpse.greatest},
    )


def _seeing(seen: Evidence) -> Advice | None:
    """A kernel as wide as stars finds fainter ones, at a threshold that is as high above the noise that it leaves."""
    fwhm = seen.fwhm_of_stars
    if fwhm is None or fwhm < WIDE_SEEING or seen.negated is None:
        return None
    if seen.option("filter_case") != "default" or seen.option("err_option") == "none":
        return None
    fwhm = _rounded(fwhm, 2)
    kernel = gaussian_kernel(fwhm)
    left = noise_after(kernel, seen.correlation) / noise_after(DEFAULT_KERNEL, seen.correlation)
    thresh = _rounded(seen.option("thresh") * left, 2)
    found, false = seen.recounted(thresh, kernel)
    if found - false < MORE_FOUND * (len(seen.sources) - (seen.negated or 0)):
        return None
    return Advice(
        "seeing",
        "stars are wider than the filter is made for, which finds fainter ones if it is as wide as they are",
        {"FWHM_of_stars": fwhm, "sources": len(seen.sources), "sources_with_such_a_filter": found},
        {"filter_case": "gauss", "filter_fwhm": fwhm, "thresh": thresh},
    )


def _higher_threshold(
    seen: Evidence,
    kind: str,
    what: str,
    evidence: dict[str, Any],
    count: Callable[[float], tuple[int, int]],
    noise: int = 0,
) -> Advice | None:
    """The first threshold at which hardly anything is noise; `count` says detections and false ones at one.

    None where it hardly takes away so many sources as are held for `noise`: holes between sources are none.
    """
    thresh = seen.option("thresh")
    for factor in HIGHER_THRESHOLDS:
        higher = _rounded(factor * thresh)
        number, false = count(higher)
        if factor > 2 and len(seen.sources) - number < TAKEN_AWAY * noise:
            return None
        if false <= LITTLE_NOISE * number:
            break
    return Advice(kind, what, evidence, {"thresh": higher})


def _rounded(value: float, digits: int = 3) -> float:
    return float(f"{value:.{digits}g}")


# Of the kinds in one row only the first that is seen is given: it explains the others.
KINDS: tuple[tuple[Callable[[Evidence], Advice | None], ...], ...] = (
    (
        _zeros_outside, _no_noise, _photon_counts, _not_spots, _spots_on_structure, _larger_than_mesh, _crowded,
        _noise_in_catalog,
    ),
    (_hot_pixels,),
    (_unused_planes,),
    (_saturated,),
    (_seeing,),
)  # fmt: skip
# What can be said where nothing was found.
WITHOUT_SOURCES = ((_zeros_outside,), (_unused_planes,))
