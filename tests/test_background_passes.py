"""--background_passes 2: a background that does not eat galaxies, against simulations whose background is known."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import maximum_filter

from source_extraction import extract
from source_extraction.core.detections import Detections
from source_extraction.core.mesh import serving_cells
from source_extraction.core.source_mask import around_sources
from source_extraction.core.windows import grown
from tests.conftest import read_catalog, succeed
from tests.few_valued_skies import photon_counts
from tests.simulated_galaxies import PROFILES, simulate_galaxy
from tests.simulated_sky import simulate

TWICE = {"background_passes": 2}
# In units of the noise: what one pass has at least, and two at most.
ERRORS = {"exponential": (0.28, 0.05), "de Vaucouleurs": (0.55, 0.25)}


@pytest.mark.parametrize("profile", PROFILES)
def test_beside_a_galaxy(profile: str) -> None:
    """Mean of three fields; a larger mesh does as well for one galaxy."""
    fields = [simulate_galaxy(profile, seed) for seed in range(3)]
    one, two, wide = (
        np.mean([field.background_error(extract(field.pixels, **options).background) for field in fields])
        for options in ({}, TWICE, {"bw": 256, "bh": 256})
    )
    least, most = ERRORS[profile]
    assert one > least
    assert abs(two) < most
    assert abs(wide) < 0.08


def test_the_galaxy_s_light_is_its_own() -> None:
    """Its flux is larger than with one pass, which takes part of it for background."""
    field = simulate_galaxy("exponential", 5)
    one, two = (extract(field.pixels, **options).to_pandas()["flux_auto"].max() for options in ({}, TWICE))
    _, _, drawn = PROFILES["exponential"]
    assert 0.75 * drawn < one < 0.97 * two
    assert two < 1.02 * drawn


@pytest.mark.parametrize("gradient", [0.0, 120.0])
def test_no_more_false_sources_in_a_sparse_field(gradient: float) -> None:
    false, negated, errors = ({1: 0, 2: 0} for _ in range(3))
    for seed in range(3):
        sky = simulate((1024, 1024), 500, seed, gradient=gradient)
        for passes in (1, 2):
            result = extract(sky.pixels, background_passes=passes)
            table = result.to_pandas()
            away = np.hypot(*(table[axis].to_numpy()[:, None] - sky.truth[axis] for axis in "xy")).min(axis=1)
            false[passes] += int((away > 4).sum())
            negated[passes] += result.summary["counts"]["detections_on_the_negated_image"]
            true = 200 + gradient * np.arange(1024) / 1024
            errors[passes] += np.sqrt(np.mean((result.background - true) ** 2 / true)) / 3
    assert false[2] <= false[1] + 1
    assert negated[2] <= negated[1] + 1
    assert errors[2] < max(1.2 * errors[1], 0.05)


def test_where_little_is_left() -> None:
    """The margin shrinks until half of the mesh is left; where even without one it is not, there is one pass."""
    shape, cell = (256, 256), (64, 64)
    rows, columns = np.indices(shape)
    for radius, margin in ((20, True), (60, True), (100, False)):
        segmentation = (np.hypot(rows - 128, columns - 128) < radius).astype(np.int32)
        sources = np.array([(segmentation.sum(),)], dtype=[("npix", int)])
        light = around_sources(Detections(sources, segmentation), None, cell)
        if margin:
            assert light[segmentation > 0].all()
            assert serving_cells(light, cell).sum() >= 8
        else:
            assert light is None or not (light & (segmentation == 0)).any()
    full = np.ones(shape, np.int32)
    assert around_sources(Detections(np.array([(65536,)], dtype=[("npix", int)]), full), None, cell) is None


@pytest.mark.parametrize("pixels", [0, 1, 2, 3, 7, 40])
def test_growing(pixels: int) -> None:
    """Against scipy, on small images and along both axes."""
    random = np.random.default_rng(pixels)
    for shape in ((30, 50), (1, 40), (40, 1), (5, 5)):
        marked = random.uniform(size=shape) < 0.02
        before = marked.copy()
        np.testing.assert_array_equal(grown(marked, pixels), maximum_filter(marked, 2 * pixels + 1, mode="constant"))
        np.testing.assert_array_equal(marked, before)


def test_said(tmp_path: Path) -> None:
    field = simulate_galaxy("exponential", 1)
    fits.writeto(tmp_path / "galaxy.fits", field.pixels)
    made = ("--outputs", "catalog.tsv,background.fits")
    said = succeed(tmp_path / "galaxy.fits", "--background_passes", "2", *made, folder=tmp_path)
    assert "Sources above the first background: " in said
    assert "% of the pixels, those of sources and around them: " in said
    in_python = extract(field.pixels, **TWICE, name="galaxy.fits")
    np.testing.assert_array_equal(fits.getdata(tmp_path / "background.fits"), in_python.background)
    np.testing.assert_allclose(read_catalog(tmp_path)["flux_auto"], in_python.to_pandas()["flux_auto"], rtol=1e-8)


def test_what_is_masked_is_masked_in_the_second_pass() -> None:
    """Masked pixels stay out of the background and of the sources; those of sources are found again."""
    field = simulate_galaxy("exponential", 2)
    mask = np.zeros(field.pixels.shape, bool)
    mask[:300, :300] = True
    pixels = np.where(mask, 1e5, field.pixels).astype(np.float32)
    result = extract(pixels, mask=mask, **TWICE)
    assert not result.segmentation[mask].any()
    assert result.summary["image"]["masked_pixels"] == mask.sum()
    assert result.segmentation[int(field.y), int(field.x)] > 0
    assert abs(field.background_error(result.background)) < 0.1


def test_a_crowded_field_is_no_worse() -> None:
    """Most is masked there; what is left says less than all of it, but nothing wrong."""
    sky = simulate((1024, 1024), 6500, 3, faintest=400)
    errors = [
        abs((extract(sky.pixels, background_passes=passes).background - 200).mean()) / np.sqrt(200) for passes in (1, 2)
    ]
    assert errors[1] < errors[0]


@pytest.mark.parametrize(
    "pixels",
    [
        photon_counts(0.05, 2).pixels,
        np.random.default_rng(0).normal(size=(30, 40)),
        np.ones((20, 20)),
        np.zeros((200, 200)),
        np.arange(400.0).reshape(20, 20),
        (np.random.default_rng(0).normal(200, 14, size=(128, 128))).astype(np.int16),
    ],
    ids=lambda pixels: "x".join(map(str, pixels.shape)),
)
def test_odd_images(pixels: np.ndarray) -> None:
    """What is given is not changed, whatever it is."""
    before = pixels.copy()
    result = extract(pixels, **TWICE)
    np.testing.assert_array_equal(pixels, before)
    assert np.isfinite(result.background).all()


def test_with_what_else_there_is() -> None:
    """A noise map, an image to measure on, pixels that are not subtracted."""
    field, other = simulate_galaxy("exponential", 3), simulate_galaxy("exponential", 3)
    noise = np.full(field.pixels.shape, np.sqrt(200.0))
    with_noise = extract(field.pixels, error=noise, filter_type="conv", **TWICE)
    assert abs(field.background_error(with_noise.background)) < 0.1
    measured = extract(field.pixels, measure=3 * other.pixels, **TWICE).to_pandas()
    plain = extract(field.pixels, **TWICE).to_pandas()
    np.testing.assert_allclose(measured["flux_aper_5"], 3 * plain["flux_aper_5"], rtol=1e-3, atol=3)
    kept = extract(field.pixels, subtract_background=False, err_option="none", thresh=240, **TWICE)
    np.testing.assert_array_equal(kept.background_subtracted, field.pixels)


@pytest.mark.parametrize("times", [1e-4, 1e4])
def test_a_threshold_in_the_unit_of_the_image_says_nothing_of_another(times: float) -> None:
    """The image to measure on has sources of its own to leave out, in its own unit."""
    field = simulate_galaxy("exponential", 6)
    options = TWICE | {"err_option": "none", "thresh": 3 * np.std(field.pixels[:100, :100])}
    same, other = (
        extract(field.pixels, measure=field.pixels * np.float32(factor), **options).to_pandas() for factor in (1, times)
    )
    np.testing.assert_allclose(other["flux_auto"] / times, same["flux_auto"], rtol=0.02, atol=200)
