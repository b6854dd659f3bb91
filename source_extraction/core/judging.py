"""What a run's evidence says is wrong with it, and which options cure it.

Each kind of problem has a function that looks at the evidence and returns an advice or None, called in order of
importance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..settings import BackgroundOptions
from .advice import Advice
from .evidence import Evidence
from .filters import DEFAULT_KERNEL, gaussian_kernel, noise_after
from .threshold import is_matched

MOST_GIVEN = 3
# The share of detections that may be noise without comment, and the share that may be at the advised threshold.
MUCH_NOISE, LITTLE_NOISE, FEWEST_FALSE = 0.1, 0.01, 5
# The thresholds to try, in units of the one used.
HIGHER_THRESHOLDS = tuple(1.15**power for power in range(1, 23))
# Ordinary images are lower in one of the two, real ones with large galaxies or cells are higher in both.
SHARE_OF_LARGE, RANGE_OF_BACKGROUND = 0.5, 5.0
SMALL_CELL = 32
CELLS_OF_SPOTS, SMALLEST_CELL = 2.5, 8
MOST_CELLS = 4  # a cell of the mesh should be this many times as large as the largest source
# Around peaks in large sources, a cell's light has at least this share of the height of a spot on it; between crowded
# stars there is less.
AROUND_SPOTS = 0.27
SHARE_OF_SPOTS = 0.25  # at least this many peaks a source, or a mesh that removes the large ones is no gain
CONTRAST_OF_CROWDED = 0.0001
# The peaks of a network lie on ridges; stars and spots are more isolated than this.
ISOLATED = 0.25
# The ellipses of networks together are nearly as large as the image, and little of them is filled by source pixels.
COVERED_BY_ELLIPSES, FILLED = 0.8, 0.35
# The shares of the frame outside the image proper from which the noise is wrong, and from which nothing is inside.
FRAME, ALL = 0.1, 0.99
# Without a filter, ten images of 4096 x 4096 have no chance group of 5 pixels above this.
THRESH_UNFILTERED = 2.5
FEWEST_SINGLE, SHARE_OF_SINGLE = 10, 0.3
FEWEST_FLAT = 3
WIDE_SEEING, MORE_FOUND = 6.0, 1.03  # FWHM in pixels
# Over two steps of the threshold noise drops to less than this; holes beside structure, subtraction residuals, and
# sources hardly drop. A threshold is no cure if more than this share of the supposed noise is of the latter kind.
RARER, NOT_NOISE = 0.7, 1 / 3
# Nor is a threshold this many times as high: no noise of one width reaches that far.
FAR = 4.0
# At least this much of the supposed noise must leave the catalog with it, or it was never there.
TAKEN_AWAY = 0.5
# Holes that a smaller mesh fills: a background that varies by this many RMS, and sources of this fraction of a cell.
RANGE_OF_HOLES, SMALL_SOURCES = 2.0, 0.25
# Where a mesh does not follow the image, pixels without a source have this share of their variance in common over more
# than 10 pixels, 0.6 to 0.8 on tissue. Beside galaxies and in crowds of stars it is 0.3 at most.
IN_COMMON = 0.5
# In heavily compressed pictures, pixels differ this many times more across block edges than inside blocks; good 8-bit
# pictures have 1.4 at most after compression.
GREATEST_OF_PICTURES, BLOCKS_ALONG_ONE_AXIS, BLOCKS_ALONG_BOTH, FEW_FAINT = 255, 1.6, 1.25, 0.2
# Noise without a mirror image, but with more than nothing on the negated image. Most sources are fainter than twice the
# threshold and smaller than SMALL times the least area, and this share of them is left one and four steps higher. (For
# sources with the steepest number counts possible, the power -3/2 of their brightness, as in Euclidean space, it is
# 0.81 and 0.43.)
HARDLY_ANY, SMALL, MOSTLY, FEWEST_FAINT = 0.03, 4, 0.6, 50
LEFT_ONE_STEP, LEFT_FOUR_STEPS = 0.7, 0.15


def advise(evidence: Evidence) -> list[Advice]:
    """What is wrong, the most important first.

    Among kinds that explain each other only the first one seen is given, and likewise among those that need the same
    option: the next run reports what is still wrong after that.
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
    """Mesh cells that are mostly outside the image proper take their noise from nothing."""
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
    """Without noise the threshold has no unit: half the height of the faintest source above the sky serves as one."""
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
    """Chance groups of photons pass low thresholds: their noise is not Gaussian."""
    if seen.step is None or not seen.whole_numbers or not seen.noise_is_of_photons:
        return None
    false = seen.of_photons(seen.option("thresh"))
    if false < max(FEWEST_FALSE, MUCH_NOISE * len(seen.sources)):
        return None
    thresh = _threshold_without_noise(seen, lambda thresh: (len(seen.sources), seen.of_photons(thresh)))
    return Advice(
        "photon_counts",
        "single photons are counted, and chance groups of them are taken for sources",
        {"detections_in_photons_of_the_background_alone": false, "sources": len(seen.sources)},
        {"thresh": thresh},
    )


def _spots_on_structure(seen: Evidence) -> Advice | None:
    """Spots on the light of cells: the mesh must follow that light."""
    if not _stand_on_structure(seen) or _keeps_large_sources(seen):
        return None
    return Advice(
        "spots_on_structure",
        "large sources hide many small spots on them",
        _of_peaks(seen),
        _mesh_for_spots(seen),
    )


def _stand_on_structure(seen: Evidence) -> bool:
    """Whether there are many peaks in large sources, on light of their own."""
    peaks = seen.many_peaks
    return peaks is not None and peaks.around >= AROUND_SPOTS and peaks.number >= SHARE_OF_SPOTS * len(seen.sources)


def _keeps_large_sources(seen: Evidence) -> bool:
    """Whether the options were chosen to keep large sources whole, as other advice does: one does not undo that."""
    largest_cell = max(seen.option("bw"), seen.option("bh"))
    levels_are_given = seen.option("err_option") == "none" and not seen.option("subtract_background")
    # A level below the sky makes one source of the whole image.
    above_the_sky = levels_are_given and seen.largest < min(seen.image.shape)
    return bool(largest_cell > max(BackgroundOptions.bw, BackgroundOptions.bh) or above_the_sky)


def _crowded(seen: Evidence) -> Advice | None:
    """Stars so close that the least contrast of deblending is more than the share of light that one of them has."""
    if seen.many_peaks is None or _stand_on_structure(seen):
        return None
    return Advice(
        "crowded",
        "large sources have swallowed many stars",
        _of_peaks(seen),
        {"deblend_cont": CONTRAST_OF_CROWDED},
    )


def _not_spots(seen: Evidence) -> Advice | None:
    """Networks, tissue, the Sun: no part of them is a source."""
    if seen.ellipses_cover < COVERED_BY_ELLIPSES or seen.filled_share > FILLED:
        return None
    if seen.many_peaks is not None and seen.many_peaks.isolated > ISOLATED:
        return None  # a crowd of stars covers as much
    return Advice(
        "not_spots",
        "what stands out is a network or a texture, not sources on a sky, and the catalog says little",
        {"area_of_the_ellipses": _rounded(seen.ellipses_cover), "filled": _rounded(seen.filled_share)},
    )


def _larger_than_mesh(seen: Evidence) -> Advice | None:
    """Sources larger than a mesh cell are taken for background, and cut up."""
    share = seen.share_of_light(seen.extents > seen.cell)
    if seen.cell < SMALL_CELL and np.median(seen.extents) <= seen.cell:
        return None  # deliberately that small
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
    """Correlated noise reaches the threshold in as many adjacent pixels as a source needs."""
    number, negated = len(seen.sources), seen.negated
    on_structure = _may_be_holes(seen) and seen.correlation.common >= IN_COMMON
    if negated is None and on_structure:
        # Not a number of false sources, but one of holes.
        negated = seen.negated_recounted(seen.option("thresh"))
    if negated is None or negated < max(FEWEST_FALSE, MUCH_NOISE * number):
        return _noise_without_a_mirror_image(seen)
    evidence = {"detections_on_the_negated_image": negated, "sources": number}
    if on_structure:
        return _holes(seen, evidence)
    thresh = _threshold_without_noise(
        seen, lambda thresh: (seen.recounted(thresh), seen.negated_recounted(thresh)), negated
    )
    if thresh is None or thresh > FAR * seen.option("thresh"):
        return _holes(seen, evidence)
    if number - seen.recounted(thresh) < TAKEN_AWAY * negated:
        return _holes(seen, evidence)
    few_levels = seen.step is not None
    return Advice(
        "quantised" if few_levels else "noise_in_catalog",
        "the image has few grey levels, and their noise is taken for sources"
        if few_levels
        else "much of the catalog is noise, which has the size of sources at this threshold",
        evidence,
        {"thresh": thresh},
    )


def _compressed(seen: Evidence) -> Advice | None:
    """Pictures that lost their faint parts to compression: their noise differs from block to block."""
    if not seen.whole_numbers or seen.glimpse.greatest > GREATEST_OF_PICTURES:
        return None
    if np.count_nonzero(seen.faint) < FEW_FAINT * len(seen.sources):
        return None
    less, more = sorted(seen.block_steps)
    if not (more >= BLOCKS_ALONG_ONE_AXIS and less >= BLOCKS_ALONG_BOTH):  # nor NaN, of masked pixels
        return None
    return Advice(
        "quantised",
        "the picture was compressed in blocks, and what is faint in it is partly of their making: take the original",
        {"steps_between_blocks_over_those_inside": _rounded(more)},
    )


def _noise_without_a_mirror_image(seen: Evidence) -> Advice | None:
    """Non-Gaussian noise, such as that of magnitudes: a slightly higher threshold leaves hardly any source."""
    number = len(seen.sources)
    faint = seen.faint & (seen.sources["npix"] <= SMALL * seen.option("minarea"))
    if number < FEWEST_FAINT or np.count_nonzero(faint) < MOSTLY * number:
        return None
    if seen.negated is not None and seen.negated < HARDLY_ANY * number:
        return None
    for step, most in ((0, LEFT_ONE_STEP), (3, LEFT_FOUR_STEPS)):
        left = seen.recounted(HIGHER_THRESHOLDS[step] * seen.option("thresh"))
        if left > most * number:
            return None
    thresh = _threshold_without_noise(seen, lambda thresh: (0, seen.recounted(thresh)), number)
    if thresh is None:
        return None
    return Advice(
        "noise_in_catalog",
        "most sources are hardly above the threshold, and become fewer with it as fast as noise does",
        {"sources": number, "faint_and_small": int(faint.sum()), "left_at_1.75_times_the_threshold": left},
        {"thresh": thresh},
    )


def _may_be_holes(seen: Evidence) -> bool:
    """Whether the background may have holes beside the structure beneath small sources, which a smaller mesh follows.

    With SEP's matched filter they cannot be told from noise. A low threshold lets in so much that its groups merge, and
    there are fewer than at a higher one; and bright sources, of which the negated image has none, clean it away.
    """
    if is_matched(seen.settings.detection) or _keeps_large_sources(seen):
        return False
    if seen.background_range < RANGE_OF_HOLES or np.median(seen.extents) > SMALL_SOURCES * seen.cell:
        return False
    return bool(_mesh_for_spots(seen)["bw"] < seen.cell)


def _holes(seen: Evidence, evidence: dict[str, Any]) -> Advice | None:
    """Holes that no threshold removes: the background does not follow the structure beneath small sources."""
    if not _may_be_holes(seen):
        return None
    return Advice(
        "spots_on_structure",
        "what small sources stand on varies faster than the background can follow, with holes as deep as sources",
        evidence | {"range_of_the_background_in_RMS": _rounded(seen.background_range)},
        _mesh_for_spots(seen),
    )


def _hot_pixels(seen: Evidence) -> Advice | None:
    """The filter turns any pixel that is bright enough into a source; without it, one pixel is too small for one."""
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
    """Planes that the file has for this image and nobody asked for."""
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
    """Tops cut off at one value: the fluxes of these sources are too low."""
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
    """A kernel as wide as the stars finds fainter ones, at a threshold equally far above the noise that it leaves."""
    fwhm = seen.fwhm_of_stars
    if fwhm is None or fwhm < WIDE_SEEING or seen.negated is None:
        return None
    if seen.option("filter_case") != "default" or seen.option("err_option") == "none":
        return None
    fwhm = _rounded(fwhm, 2)
    kernel = gaussian_kernel(fwhm)
    left = noise_after(kernel, seen.correlation) / noise_after(DEFAULT_KERNEL, seen.correlation)
    thresh = _rounded(seen.option("thresh") * left, 2)
    found = seen.recounted(thresh, kernel)
    if found - seen.negated_recounted(thresh, kernel) < MORE_FOUND * (len(seen.sources) - (seen.negated or 0)):
        return None
    return Advice(
        "seeing",
        "stars are wider than the filter is made for, which finds fainter ones if it is as wide as they are",
        {"FWHM_of_stars": fwhm, "sources": len(seen.sources), "sources_with_such_a_filter": found},
        {"filter_case": "gauss", "filter_fwhm": fwhm, "thresh": thresh},
    )


def _of_peaks(seen: Evidence) -> dict[str, Any]:
    return {
        "peaks_in_large_sources": seen.peaks.number,
        "sources": len(seen.sources),
        "light_around_them": _rounded(seen.peaks.around),
    }


def _mesh_for_spots(seen: Evidence) -> dict[str, Any]:
    """Cells that follow the structure beneath spots, and a threshold for what is left of its rims."""
    side = max(SMALLEST_CELL, round(CELLS_OF_SPOTS * seen.peaks.fwhm))
    subtracted = {} if seen.option("subtract_background") else {"subtract_background": True}
    return {"bw": side, "bh": side, "thresh": _rounded(3 * seen.option("thresh"))} | subtracted


def _threshold_without_noise(
    seen: Evidence, count: Callable[[float], tuple[int, int]], noise: int | None = None
) -> float | None:
    """The first threshold at which hardly anything is noise, or at which the remaining false detections are not noise.

    `count` gives detections and false ones at a threshold; `noise` is the number of false ones at the threshold used,
    None if they are all noise. None if too many of the false ones are not noise.
    """
    tried = [(seen.option("thresh"), noise or 0)]
    for factor in HIGHER_THRESHOLDS:
        higher = _rounded(factor * seen.option("thresh"))
        number, false = count(higher)
        if false <= LITTLE_NOISE * number:
            return higher
        tried.append((higher, false))
        if noise is not None and len(tried) > 2 and false > RARER * tried[-3][1]:
            thresh, rest = tried[-3]
            return thresh if rest <= NOT_NOISE * noise else None
    return tried[-1][0]


def _rounded(value: float, digits: int = 3) -> float:
    return float(f"{value:.{digits}g}")


# Only the first kind seen in a row is given: it explains the others.
KINDS: tuple[tuple[Callable[[Evidence], Advice | None], ...], ...] = (
    (
        _zeros_outside, _no_noise, _photon_counts, _not_spots, _spots_on_structure, _larger_than_mesh, _crowded,
        _noise_in_catalog, _compressed,
    ),
    (_hot_pixels,),
    (_unused_planes,),
    (_saturated,),
    (_seeing,),
)  # fmt: skip
# The advice possible if nothing was found.
WITHOUT_SOURCES = ((_zeros_outside,), (_unused_planes,))
