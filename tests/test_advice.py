"""Advice: given on images that need it, with options that make the result better; on no other."""

import json
import os
import random
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

from source_extraction import Result, extract
from source_extraction.core import windows
from source_extraction.core.columns import PhotometryFlag
from source_extraction.core.correlation import INDEPENDENT, Correlation
from source_extraction.core.evidence import is_symmetric
from source_extraction.core.filters import DEFAULT_KERNEL, gaussian_kernel, noise_after
from source_extraction.settings import OPTIONS, InputError, Settings, as_options
from tests import advised_skies as skies
from tests.advised_skies import NOISE, Known, Score, score
from tests.conftest import TEST_DATA, read_catalog, run_tool, succeed
from tests.few_valued_skies import eight_bit, photon_counts
from tests.simulated_sky import simulate
from tests.simulated_stacks import simulate_stack

SKY = TEST_DATA / "sky.fits"
REAL_IMAGES = os.environ.get("SOURCE_EXTRACTOR_IMAGES")


def of_photons(seed: int = 0) -> Known:
    counts = photon_counts(0.05, seed)
    return Known(counts.pixels, counts.positions)


class Kind(NamedTuple):
    """An image, what is advised, and the least that following it makes of completeness and purity."""

    make: Callable[..., Known]
    change: dict[str, Any]
    before: Score  # at most
    after: Score  # at least


ANY = object()
KINDS = {
    "larger_than_mesh": Kind(skies.larger_than_mesh, {"bw": 800, "bh": 800}, Score(0.5, 0.2), Score(1, 1)),
    "larger_than_mesh (galaxies)": Kind(skies.large_galaxies, {"bw": 600, "bh": 600}, Score(0.97, 0.97), Score(1, 1)),
    "crowded": Kind(skies.crowded, {"deblend_cont": 0.0001}, Score(0.17, 0.99), Score(0.26, 0.99)),
    "spots_on_structure": Kind(
        skies.spots_on_structure, {"bw": 10, "bh": 10, "thresh": 4.5}, Score(0.1, 0.5), Score(0.97, 0.9)
    ),
    "spots_on_structure (tissue)": Kind(
        skies.spots_on_tissue, {"bw": 10, "bh": 10, "thresh": 4.5}, Score(0.92, 0.82), Score(0.99, 0.98)
    ),
    "crowded (packed)": Kind(skies.packed, {"deblend_cont": 0.0001}, Score(0.05, 0.4), Score(0.48, 0.72)),
    "photon_counts": Kind(of_photons, {"thresh": ANY}, Score(1, 0.7), Score(0.98, 0.94)),
    "hot_pixels": Kind(skies.hot_pixels, {"filter_case": "none", "thresh": 2.5}, Score(1, 0.4), Score(1, 1)),
    "quantised": Kind(skies.quantised, {"thresh": ANY}, Score(1, 0.5), Score(1, 0.98)),
    "noise_in_catalog": Kind(skies.correlated, {"thresh": ANY}, Score(1, 0.2), Score(0.98, 0.97)),
    "noise_in_catalog (subtracted)": Kind(skies.subtracted, {"thresh": ANY}, Score(1, 0.1), Score(1, 0.75)),
    "noise_in_catalog (magnitudes)": Kind(skies.magnitudes, {"thresh": ANY}, Score(1, 0.1), Score(1, 0.8)),
    "zeros_outside": Kind(skies.mosaic, {"missing": 0.0}, Score(1, 0.1), Score(1, 1)),
    "seeing": Kind(
        skies.wide_seeing,
        {"filter_case": "gauss", "filter_fwhm": ANY, "thresh": ANY},
        Score(0.85, 1),
        Score(0.93, 0.98),
    ),
}


def scored(result: Result, known: Known) -> Score:
    table = result.to_table()
    return score(np.asarray(table["x"]), np.asarray(table["y"]), known)


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_seen_and_its_advice_makes_the_result_better(name: str) -> None:
    kind = KINDS[name]
    known = kind.make()
    first = extract(known.pixels)
    advice = first.advice[0]
    assert [each.id for each in first.advice] == [name.partition(" ")[0]]
    assert {option: ANY if kind.change.get(option) is ANY else value for option, value in advice.change.items()} == (
        kind.change
    )
    # As it stands, in Python.
    second = extract(known.pixels, **advice.change)
    before, after = scored(first, known), scored(second, known)
    assert before.completeness <= kind.before.completeness
    assert before.purity <= kind.before.purity
    assert after.completeness >= kind.after.completeness
    assert after.purity >= kind.after.purity
    assert second.advice == []


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if ANY in kind.change.values()])
def test_computed_values_serve_other_images_of_the_kind(name: str) -> None:
    """The thresholds and the width are not those of one image."""
    kind = KINDS[name]
    for seed in (1, 2):
        known = kind.make(seed)
        followed = extract(known.pixels, follow_advice=True)
        after = scored(followed, known)
        assert after.completeness >= kind.after.completeness - 0.03
        assert after.purity >= kind.after.purity - 0.03


@pytest.mark.parametrize("seed", range(1, 6))
def test_tissue_is_seen_however_deep_its_holes_are(seed: int) -> None:
    """The noise of some such images is symmetric; in some a threshold would remove the holes, and true spots too."""
    kind = KINDS["spots_on_structure (tissue)"]
    known = kind.make(seed)
    first = extract(known.pixels)
    assert [(advice.id, advice.change) for advice in first.advice] == [("spots_on_structure", kind.change)]
    after = scored(extract(known.pixels, follow_advice=True), known)
    assert after.completeness >= kind.after.completeness
    assert after.purity >= kind.after.purity


@pytest.mark.parametrize("name", KINDS)
def test_what_is_advised_does_not_depend_on_the_parts_that_are_looked_at(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = KINDS[name].make().pixels
    for order in (1, 2):
        monkeypatch.setattr(windows.random, "Random", lambda _, order=order, chance=random.Random: chance(order))
        assert [advice.id for advice in extract(pixels).advice] == [name.partition(" ")[0]]
        monkeypatch.undo()


def test_the_light_of_large_galaxies_is_whole_with_the_mesh_that_is_advised() -> None:
    known = skies.large_galaxies()
    sizes = []
    for options in ({}, {"follow_advice": True}):
        table = extract(known.pixels, **options).to_table()
        sizes.append(float(np.sort(np.asarray(table["flux_auto"]))[-2:].sum()))
    y, x = np.indices(known.pixels.shape)
    near = np.min([np.hypot(x - x0, y - y0) for x0, y0 in known.positions[:2]], axis=0) < 105
    truth = float((known.pixels - 200)[near].sum())
    assert abs(sizes[1] / truth - 1) < 0.12 < abs(sizes[0] / truth - 1)


def test_networks_are_told_to_be_none() -> None:
    first = extract(skies.tissue().pixels)
    assert [(advice.id, advice.change) for advice in first.advice] == [("not_spots", {})]


def test_a_picture_that_lost_its_noise_in_a_compression() -> None:
    """Eight spots among 63 sources: no threshold is known that tells them, and none is given."""
    first = extract(skies.compressed().pixels)
    (advice,) = first.advice
    assert (advice.id, advice.change) == ("quantised", {})
    assert advice.evidence["steps_between_blocks_over_those_inside"] > 2


def test_saturated_stars_are_flagged_with_what_is_advised() -> None:
    known = skies.saturated()
    first = extract(known.pixels)
    assert [(advice.id, advice.change) for advice in first.advice] == [("saturated", {"saturation": 800.0})]
    second = extract(known.pixels, saturation=800.0)
    flagged = second.to_pandas()[lambda table: table.flag_phot & int(PhotometryFlag.SATURATED) > 0]
    of_the_sky = skies.of_stars()
    positions = np.rint(of_the_sky.positions).astype(int)
    cut = of_the_sky.pixels[positions[:, 1], positions[:, 0]] > 800 + 3 * NOISE
    assert np.hypot(
        flagged.x.to_numpy()[:, None] - known.positions[cut, 0], flagged.y.to_numpy()[:, None] - known.positions[cut, 1]
    ).min(axis=0) == pytest.approx(0, abs=1)
    assert second.advice == []


def test_a_sky_without_noise_has_a_threshold_of_brightness() -> None:
    """A map of settlements: nothing else in it, and bright ones beside dim ones."""
    pixels = np.zeros((200, 200), np.float32)
    pixels[50:60, 40:50] = 7.0
    first = extract(pixels)
    assert [advice.id for advice in first.advice] == ["no_noise"]
    change = first.advice[0].change
    assert change["err_option"] == "none"
    assert 0 < change["thresh"] < 7
    second = extract(pixels, **change)
    assert second.to_pandas()["npix"].tolist() == [100]
    assert first.to_pandas()["npix"].tolist() != [100], "the filter carries light out of them"


def test_planes_of_the_file_are_named(tmp_path: Path) -> None:
    known = skies.of_stars()
    spoilt = known.pixels.copy()
    spoilt[:, 100:110] = 5000
    mask = np.zeros(spoilt.shape, np.int16)
    mask[:, 100:110] = 1
    planes = [fits.ImageHDU(spoilt, name="SCI"), fits.ImageHDU(np.full(spoilt.shape, NOISE), name="ERR")]
    path = tmp_path / "exposure.fits"
    fits.HDUList([fits.PrimaryHDU(), *planes, fits.ImageHDU(mask, name="DQ")]).writeto(path)
    first = extract(path)
    advice = next(each for each in first.advice if each.id == "unused_planes")
    assert advice.change == {
        "err_option": "file",
        "error_file": f"{path}[ERR]",
        "mask_file": f"{path}[DQ]",
        "filter_type": "conv",
    }
    followed = extract(path, follow_advice=True)
    assert [int(result.to_pandas().x.between(99, 111).sum()) for result in (first, followed)] == [1, 0]
    assert scored(followed, known).purity == 1
    assert followed.summary["advice_followed"]["error_file"] == "exposure.fits"
    in_python = {
        {"error_file": "error", "mask_file": "mask"}.get(name, name): advice.change[name] for name in advice.change
    }
    assert extract(path, **in_python).to_pandas().equals(followed.to_pandas())


def simulated(**options: Any) -> np.ndarray:
    return simulate((512, 512), 250, 5, **options).pixels


ORDINARY: dict[str, Callable[[], Any]] = {
    "the shipped sky": lambda: SKY,
    "the shipped sky as TIFF": lambda: TEST_DATA / "sky.tiff",
    "stars": lambda: skies.of_stars(3).pixels,
    "one star": lambda: skies.of_stars(number=1).pixels,
    "galaxies": lambda: simulated(galaxies=0.9),
    "a gradient": lambda: simulated(gradient=400.0),
    "a crowded field": lambda: simulate((512, 512), 1500, 6).pixels,
    "undersampled stars": lambda: simulated(fwhm=1.8, galaxies=0.1),
    "noise": lambda: np.random.default_rng(1).normal(10, 1, (300, 300)),
    "Poisson noise of 3": lambda: np.random.default_rng(1).poisson(3, (300, 300)),
    "grey levels": lambda: eight_bit(0.8, 1).pixels,
    "nothing": lambda: np.full((100, 100), 3.0),
    "no pixel but one": lambda: np.full((1, 1), 3.0),
    "a border of zeros": lambda: np.pad(skies.of_stars().pixels, 4),
    "a sky that ends at its lowest value": lambda: skies.cut_off_sky().pixels,
    "stars of one brightness, hardly above the threshold": lambda: skies.of_one_brightness().pixels,
    "nuclei with dark gaps": lambda: skies.nuclei().pixels,
    "missing pixels": lambda: np.where(np.indices((400, 480))[0] < 90, np.nan, skies.of_stars().pixels),
    "a stack": lambda: simulate_stack("bilinear", 512, 2).pixels,
    "a Lanczos stack": lambda: simulate_stack("lanczos3", 512, 2).pixels,
}


@pytest.mark.parametrize("name", ORDINARY)
def test_silence_on_ordinary_images(name: str) -> None:
    assert [str(advice) for advice in extract(ORDINARY[name]()).advice] == []


def test_the_noise_of_a_matched_filter_is_no_structure() -> None:
    """Of the shipped sky with its noise map 9 of 147 sources are none; with a mesh for holes 57 true ones are lost."""
    given = {"mask": TEST_DATA / "mask.fits", "error": TEST_DATA / "noise_variance.tiff", "error_type": "variance"}
    result = extract(SKY, **given)
    assert result.summary["counts"]["detections_on_the_negated_image"] > 90
    assert result.advice == []


def test_a_mesh_is_of_use_where_it_is_subtracted() -> None:
    """The whole image is one source, whose peaks are the stars on its background."""
    known = skies.of_stars(3)
    options = {"subtract_background": False, "err_option": "none", "thresh": 20.0}
    first, second = (extract(known.pixels, follow_advice=follow, **options) for follow in (False, True))
    assert len(first) == 1
    assert first.advice[0].change["subtract_background"] is True
    assert "--subtract_background" in str(first.advice[0])
    assert scored(second, known).completeness > 0.5


def test_whoever_wants_large_sources_whole_is_not_told_to_cut_them_up() -> None:
    """Neither by a small mesh nor by deblending; with the default mesh the first is what is advised."""
    known = skies.spots_on_structure()
    assert [advice.id for advice in extract(known.pixels).advice] == ["spots_on_structure"]
    result = extract(known.pixels, bw=200, bh=200)
    assert result.to_table()["npix"].max() > 500
    assert [advice.id for advice in result.advice] == []


@pytest.mark.skipif(not REAL_IMAGES, reason="SOURCE_EXTRACTOR_IMAGES names no folder of real images")
@pytest.mark.parametrize(
    ("name", "chosen", "ids"),
    [
        ("legacysurvey_g_360.fits", {"bw": 360, "bh": 360}, []),
        (
            "BBBC033_C2_z28-lzw.tiff",
            {
                "err_option": "none",
                "thresh": 40.0,
                "minarea": 200,
                "filter_case": "none",
                "subtract_background": False,
                "deblend_cont": 0.01,
            },
            ["saturated"],
        ),
    ],
    ids=["mesh", "levels"],
)
def test_nor_with_a_real_image(name: str, chosen: dict[str, Any], ids: list[str]) -> None:
    """The mesh that is advised for a galaxy, and the tutorial's levels for nuclei."""
    assert [advice.id for advice in extract(Path(REAL_IMAGES) / name, **chosen).advice] == ids


def test_a_warning_does_not_contradict_the_advice() -> None:
    """Where the mesh follows sources a larger one avoids it, but not where a smaller one is advised or chosen."""
    remedy = "a larger one (--bw, --bh)"
    known = skies.cut_off_sky()
    for options, said in (({}, True), ({"bw": 32, "bh": 32}, False)):
        warnings = " ".join(extract(known.pixels, **options).warnings)
        assert "RMS map fell to zero" in warnings
        assert (remedy in warnings) is said


@pytest.mark.skipif(not REAL_IMAGES, reason="SOURCE_EXTRACTOR_IMAGES names no folder of real images")
@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("sep_image.fits", []),
        ("sdss_r.fits.bz2", []),
        ("sewpy_example.fits", []),
        ("m67_int16.fits", []),
        ("input2_yx.tiff", []),
        ("kinds/jwst_2114.fits", []),
        ("legacysurvey_g_360.fits", ["larger_than_mesh"]),
        ("BBBC033_C2_z28-lzw.tiff", ["larger_than_mesh", "saturated"]),
        ("kinds/m13_rice.fits", ["crowded"]),
        ("kinds/raj_tmr001.tif", ["spots_on_structure"]),
        ("kinds/chandra_image2.fits", ["photon_counts"]),
        ("kinds/rosat_allsky.fits", ["zeros_outside"]),
        ("kinds/hst_flc.fits", ["unused_planes"]),
    ],
)
def test_real_images(name: str, ids: list[str]) -> None:
    assert [advice.id for advice in extract(Path(str(REAL_IMAGES)) / name).advice] == ids


@pytest.mark.skipif(not REAL_IMAGES, reason="SOURCE_EXTRACTOR_IMAGES names no folder of real images")
@pytest.mark.parametrize("plane", [0, 1])
def test_a_real_picture_that_was_compressed(plane: int) -> None:
    result = extract(Path(str(REAL_IMAGES)) / "kinds" / "cp_embryo.tif", plane=plane)
    assert "quantised" in [advice.id for advice in result.advice]


def test_what_is_said_written_and_followed(tmp_path: Path) -> None:
    known = skies.hot_pixels()
    fits.writeto(tmp_path / "camera.fits", known.pixels.astype(np.float32))
    chosen = ("--outputs", "catalog.tsv,background.fits,summary.json")
    said = succeed(tmp_path / "camera.fits", *chosen, folder=tmp_path / "first")
    line = next(line for line in said.splitlines() if line.startswith("Advice: "))
    assert line.endswith("; run again with --filter_case none --thresh 2.5")
    assert "(sources of one or two pixels 101, sources 179)" in line
    summary = json.loads((tmp_path / "first" / "summary.json").read_text())
    (advice,) = summary["advice"]
    assert set(advice) == {"id", "seen", "evidence", "change"}
    assert advice["change"] == {"filter_case": "none", "thresh": 2.5}
    assert advice["evidence"] == {"sources_of_one_or_two_pixels": 101, "sources": 179}
    assert summary["advice_followed"] == {}

    again = succeed(tmp_path / "camera.fits", *chosen, "--filter_case=none", "--thresh=2.5", folder=tmp_path / "again")
    assert "Advice" not in again
    outputs = f"{chosen[1]},report.html"
    said = succeed(tmp_path / "camera.fits", "--outputs", outputs, "--follow_advice", folder=tmp_path / "followed")
    page = (tmp_path / "followed" / "report.html").read_text()
    assert "a second run, which followed the advice on the first: filter_case = none, thresh = 2.5." in page
    assert "Following the advice, once more with --filter_case none --thresh 2.5\n" in said
    assert read_catalog(tmp_path / "followed").equals(read_catalog(tmp_path / "again"))
    summary = json.loads((tmp_path / "followed" / "summary.json").read_text())
    assert summary["advice_followed"] == {"filter_case": "none", "thresh": 2.5}
    assert summary["parameters"]["thresh"] == 2.5
    assert summary["advice"] == []
    header = fits.getheader(tmp_path / "followed" / "background.fits")
    assert header["SEP ADVICE_FOLLOWED"] == "filter_case,thresh"
    assert (header["SEP THRESH"], header["SEP FILTER_CASE"]) == (2.5, "none")


def test_where_there_is_nothing_to_follow(tmp_path: Path) -> None:
    said = succeed(SKY, "--follow_advice", "--outputs", "catalog.tsv,background.fits", folder=tmp_path)
    assert "Following the advice: there is nothing to change\n" in said
    assert fits.getheader(tmp_path / "background.fits")["SEP ADVICE_FOLLOWED"] == ""
    succeed(SKY, "--outputs", "catalog.tsv", folder=tmp_path / "without")
    assert (tmp_path / "catalog.tsv").read_text() == (tmp_path / "without" / "catalog.tsv").read_text()


def test_without_advice_the_run_is_not_judged(tmp_path: Path) -> None:
    """Neither is the negated image looked at; what is found stays the same."""
    fits.writeto(tmp_path / "noisy.fits", KINDS["noise_in_catalog"].make().pixels)
    products = ("--outputs", "catalog.tsv,summary.json,report.html")
    judged = succeed(tmp_path / "noisy.fits", *products, folder=tmp_path / "judged")
    assert "Advice: " in judged
    said = succeed(tmp_path / "noisy.fits", *products, "--no-advice", folder=tmp_path / "quick")
    assert [line for line in said.splitlines() if re.match("Advice|Detections|Judged", line)] == []
    summary = json.loads((tmp_path / "quick" / "summary.json").read_text())
    assert summary["advice"] is None
    assert summary["counts"]["detections_on_the_negated_image"] is None
    assert "<dt>Advice</dt><dd>not asked for</dd>" in (tmp_path / "quick" / "report.html").read_text()
    catalogs = [(tmp_path / folder / "catalog.tsv").read_bytes() for folder in ("judged", "quick")]
    assert catalogs[0] == catalogs[1]
    assert extract(tmp_path / "noisy.fits", advice=False).advice is None


def test_advice_that_is_not_given_cannot_be_followed(tmp_path: Path) -> None:
    run = run_tool(SKY, "--no-advice", "--follow_advice", folder=tmp_path)
    assert run.returncode == 2
    assert "follow_advice: --no-advice gives none to follow; leave out one of them" in run.stderr
    with pytest.raises(InputError, match="follow_advice: advice=False gives none to follow; leave out one of them"):
        extract(SKY, advice=False, follow_advice=True)


def test_a_pipe_cannot_be_followed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    run = run_tool(tmp_path / "pipe", "--follow_advice", folder=tmp_path / "products")
    assert run.returncode == 1
    assert "it is a pipe, which --follow_advice would read twice; copy it to a file" in run.stderr


def test_pictures_and_all_pixels_in_memory_are_those_of_the_second_run(tmp_path: Path) -> None:
    known = skies.mosaic()
    given = known.pixels.copy()
    followed = extract(given, follow_advice=True)
    assert (given == known.pixels).all()
    assert len(followed) == 8
    assert followed.warnings == extract(given, missing=0).warnings
    assert np.isnan(followed.background_subtracted).sum() == (given == 0).sum()
    followed.write(tmp_path, "sources.png,image.png,image.tiff")


def test_three_at_most_and_no_option_twice() -> None:
    """Hot pixels on the cells with spots: both need another threshold, and the first says which."""
    known = skies.spots_on_structure()
    spoilt = known.pixels.copy()
    random = np.random.default_rng(2)
    spoilt.ravel()[random.choice(spoilt.size, 200, replace=False)] += 200 * NOISE
    given = extract(spoilt).advice
    options = [option for advice in given for option in advice.change]
    assert 1 <= len(given) <= 3
    assert len(options) == len(set(options))


def test_changes_are_options_that_can_be_given() -> None:
    for kind in KINDS.values():
        for advice in extract(kind.make().pixels).advice:
            for option, value in advice.change.items():
                assert OPTIONS[option].check(value) == value
                assert type(value) in (int, float, str)


@pytest.mark.parametrize(
    ("noise", "symmetric"),
    [
        (lambda random: random.normal(0, 1, 20_000), True),
        (lambda random: random.normal(0, 3, 600), True),
        (lambda random: ndimage.gaussian_filter(random.normal(0, 1, (300, 300)), 1.5).ravel(), True),
        (lambda random: np.rint(random.normal(0, 1.2, 50_000)), True),
        (lambda random: random.poisson(0.1, 50_000).astype(float), False),
        (lambda random: np.maximum(random.normal(0, 1, 50_000), -0.4), False),
        (lambda random: random.exponential(1, 50_000), False),
        (lambda random: np.where(random.random(50_000) < 0.05, -8, random.normal(0, 1, 50_000)), False),
        (lambda random: random.normal(0, 1, 100), False),
        (lambda random: np.zeros(50_000), False),
    ],
    ids=["Gauss", "few", "correlated", "whole numbers", "photons", "cut off", "radio", "holes", "too few", "constant"],
)
def test_which_noise_is_symmetric(noise: Callable[[np.random.Generator], np.ndarray], symmetric: bool) -> None:
    for seed in range(3):
        assert is_symmetric(noise(np.random.default_rng(seed))) is symmetric


def test_the_line_on_the_negated_image(tmp_path: Path) -> None:
    line = "Detections on the negated image: 0; about as many of the sources are noise ("
    assert line in succeed(SKY, "--outputs", "catalog.tsv", folder=tmp_path)
    fits.writeto(tmp_path / "photons.fits", of_photons().pixels)
    said = succeed(tmp_path / "photons.fits", "--outputs", "catalog.tsv,summary.json", folder=tmp_path)
    assert "Detections on the negated" not in said
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["counts"]["detections_on_the_negated_image"] is None


def test_more_detections_on_the_negated_image_than_sources(tmp_path: Path) -> None:
    """Dark spots are none of the noise among the sources."""
    pixels = np.random.default_rng(5).normal(100, 1, (900, 900)).astype(np.float32)
    y, x = np.indices((9, 9)) - 4
    spot = 10 * np.exp(-(x**2 + y**2) / 4)
    for number, (row, column) in enumerate((r, c) for r in range(50, 850, 180) for c in range(50, 850, 180)):
        pixels[row : row + 9, column : column + 9] += spot if number < 3 else -spot
    fits.writeto(tmp_path / "dark.fits", pixels)
    said = succeed(tmp_path / "dark.fits", "--outputs", "catalog.tsv,report.html", folder=tmp_path)
    dark = "more than there are sources, so they are dark parts of the image rather than noise"
    assert "Sources: 3 (" in said
    assert f"Detections on the negated image: 22; {dark}" in said
    assert f"The negated image has 22 detections: {dark}." in (tmp_path / "report.html").read_text()


def test_a_large_image_is_counted_in_parts() -> None:
    """What the negated image has per pixel is the same everywhere: a part tells it."""
    pixels = ndimage.gaussian_filter(np.random.default_rng(3).normal(0, 1, (2600, 2600)), 1.2).astype(np.float32)
    result = extract(pixels, follow_advice=False)
    assert result.summary["counts"]["detections_on_the_negated_image"] == pytest.approx(len(result), rel=0.06)
    assert [advice.id for advice in result.advice] == ["noise_in_catalog"]


def test_the_gaussian_kernel() -> None:
    """Half of its height at half its width, and the noise that it leaves as scipy's correlation of noise has it."""
    kernel = gaussian_kernel(5.0)
    middle = kernel.shape[0] // 2
    assert kernel.shape == (15, 15)
    assert kernel[middle, middle] == 1
    assert np.interp(2.5, range(middle + 1), kernel[middle, middle:]) == pytest.approx(0.5, abs=0.02)
    random = np.random.default_rng(0)
    white = random.normal(0, 1, (1500, 1500))
    stacked = (white + np.roll(white, 1, axis=1)) / np.sqrt(2)  # rho of 0.5 along x
    beside = Correlation(np.array([1]), np.array([0]), np.array([0.5]))
    for weights in (kernel, DEFAULT_KERNEL):
        for noise, correlation in ((white, INDEPENDENT), (stacked, beside)):
            filtered = ndimage.convolve(noise, weights.astype(float) / weights.sum(), mode="wrap")
            assert noise_after(weights, correlation) == pytest.approx(filtered.std(), rel=0.03)


def test_a_gaussian_kernel_gives_what_its_file_gives(tmp_path: Path) -> None:
    along = np.exp(-4 * np.log(2) * (np.arange(-4, 5) / 3.0) ** 2)
    np.savetxt(tmp_path / "kernel.txt", np.outer(along, along), fmt="%.9g")
    by_file = extract(SKY, filter_case="file", filter_file=tmp_path / "kernel.txt").to_pandas()
    assert extract(SKY, filter_case="gauss", filter_fwhm=3.0).to_pandas().equals(by_file)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"filter_case": "gauss"}, "add --filter_fwhm"),
        ({"filter_fwhm": 3.0}, "add --filter_case gauss"),
        ({"filter_case": "gauss", "filter_fwhm": 0.0}, "out of range"),
        ({"filter_case": "gauss", "filter_fwhm": 90.0}, "larger than the image"),
    ],
)
def test_a_gaussian_needs_its_width(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said.replace("--", "(--)?")):
        extract(skies.of_stars(shape=(60, 60), number=2).pixels, **options)


def test_settings_that_follow_are_checked_like_others() -> None:
    settings = Settings.of(SKY)
    changed = settings.following({"mask_file": f"{SKY}[0]", "mask_bits": "jwst", "thresh": 3})
    assert (changed.files.mask_hdu, changed.files.mask_bits) == ("0", ("jwst",))
    assert (changed.detection.thresh, changed.background) == (3.0, settings.background)
    with pytest.raises(InputError, match="thresh"):
        settings.following({"thresh": -1.0})


@pytest.mark.parametrize(
    "options",
    [
        {"filter_case": "gauss", "filter_fwhm": 3.0},
        {"filter_case": "file", "filter_file": TEST_DATA / "kernel.txt"},
    ],
)
def test_what_belongs_to_another_choice_is_taken_back(options: dict[str, Any]) -> None:
    """An advice that says --filter_case none is followed where the width or the file of a filter was given."""
    pixels = np.zeros((200, 200), np.float32)
    pixels[50:60, 40:50] = 7.0
    plain = extract(pixels, **options)
    assert [advice.id for advice in plain.advice] == ["no_noise"]
    followed = extract(pixels, **options, follow_advice=True)
    assert followed.summary["advice_followed"] == plain.advice[0].change
    assert all(followed.summary["parameters"][name] is None for name in ("filter_fwhm", "filter_file"))
    assert followed.to_pandas()["npix"].tolist() == [100]


def test_advice_that_cannot_be_followed_costs_nothing(tmp_path: Path) -> None:
    """A plane that masks everything: the result is the one without it, and a warning says why."""
    sky = skies.of_stars(shape=(300, 300), number=20).pixels.astype(np.float32)
    everywhere = fits.ImageHDU(np.ones(sky.shape, np.int16), name="DQ")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(sky, name="SCI"), everywhere]).writeto(tmp_path / "image.fits")
    plain = extract(tmp_path / "image.fits")
    assert "unused_planes" in [advice.id for advice in plain.advice]
    followed = extract(tmp_path / "image.fits", follow_advice=True)
    assert followed.to_pandas().equals(plain.to_pandas())
    assert followed.summary["advice_followed"] == {}
    assert ["the advice cannot be followed" in warning for warning in followed.warnings] == [True]


def test_the_saturation_of_another_image_is_not_told() -> None:
    sky = skies.of_stars(shape=(300, 300), number=40).pixels
    cut_off = np.minimum(sky, np.quantile(sky, 0.999))
    assert "saturated" in [advice.id for advice in extract(cut_off).advice]
    assert "saturated" not in [advice.id for advice in extract(cut_off, measure=sky / 100).advice]


@pytest.mark.parametrize(
    ("changes", "typed"),
    [
        ({"missing": 1 / 3}, "--missing 0.3333333333333333"),
        ({"missing": float(np.finfo(np.float32).min)}, "--missing=-3.4028234663852886e+38"),
        ({"saturation": 254.0, "clean": False}, "--saturation 254 --no-clean"),
        ({"error_file": "a b; touch c #.fits[ERR]"}, "--error_file 'a b; touch c #.fits[ERR]'"),
    ],
)
def test_options_are_printed_as_a_shell_takes_them(changes: dict[str, Any], typed: str) -> None:
    assert as_options(changes) == typed
    assert len(shlex.split(typed)) <= 3
    value = next(iter(changes.values()))
    if isinstance(value, float):
        assert float(shlex.split(typed)[0].partition("=")[2] or shlex.split(typed)[1]) == value


def test_a_sky_is_not_said_to_be_missing() -> None:
    """Its lowest value is that of many pixels, and what is beside them is hardly more."""
    said = " ".join(extract(skies.cut_off_sky().pixels).warnings)
    assert "RMS map fell to zero" in said
    assert "missing" not in said


def test_the_floored_noise_of_another_image_is_not_explained_by_this_one() -> None:
    sky = skies.of_stars(shape=(300, 300), number=40).pixels
    other = sky.copy()
    other[:, :200] = 0
    said = " ".join(extract(sky, measure=other).warnings)
    assert "the image to measure on" in said
    assert "--missing" in said.replace("missing or", "--missing or")
