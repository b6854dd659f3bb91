"""What is put into a sky comes back, and little else."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from source_extraction import extract
from source_extraction.core.threshold import filter_hint
from source_extraction.faces.source_extractor import parse
from source_extraction.settings import DetectionOptions
from tests import advised_skies
from tests.advised_skies import Known, score
from tests.conftest import REPOSITORY, read_catalog, succeed
from tests.simulated_sky import simulate

SIDE = 1024
# Flux in electrons (2.5 log10 of it is a magnitude), on a noise of 14 electrons a pixel.
BINS = (1000, 2000, 4000, 8000, 100000)
# Stars are lost only beside brighter ones; galaxies also where their surface is fainter than the noise.
LEAST_COMPLETENESS_OF_STARS = (0.95, 0.95, 0.95, 0.97)
LEAST_COMPLETENESS = (0.7, 0.8, 0.9, 0.95)
SAME_SOURCE = 2.0  # pixels


def test_completeness_and_purity(tmp_path: Path) -> None:
    sky = simulate((SIDE, SIDE), 900, seed=5)
    fits.writeto(tmp_path / "sky.fits", sky.pixels)
    succeed(tmp_path / "sky.fits", "--outputs", "catalog.tsv", folder=tmp_path)
    catalog, truth = read_catalog(tmp_path), sky.truth
    distance = np.hypot(
        truth["x"][:, None] - catalog["x"].to_numpy()[None, :], truth["y"][:, None] - catalog["y"].to_numpy()[None, :]
    )
    found = distance.min(axis=1) < SAME_SOURCE
    numbers = np.digitize(truth["flux"], BINS)
    completeness = [found[numbers == number].mean() for number in range(1, len(BINS))]
    stars = [found[(numbers == number) & ~truth["galaxy"]].mean() for number in range(1, len(BINS))]
    assert all(np.array(stars) >= LEAST_COMPLETENESS_OF_STARS), stars
    assert all(np.array(completeness) >= LEAST_COMPLETENESS), completeness
    # A source that is found twice is not pure: every detection is matched with the nearest truth.
    pure = distance.min(axis=0) < SAME_SOURCE * 2
    assert pure.mean() > 0.99

    # Of the bright and isolated: the position to a tenth of a pixel, most of the flux (isophotal: never more).
    apart = np.hypot(truth["x"][:, None] - truth["x"], truth["y"][:, None] - truth["y"]) + 1e9 * np.eye(len(truth))
    inside = (np.minimum(truth["x"], truth["y"]) > 20) & (np.maximum(truth["x"], truth["y"]) < SIDE - 20)
    clean = found & (truth["flux"] > 20000) & (apart.min(axis=1) > 15) & inside & ~truth["galaxy"]
    assert clean.sum() >= 5
    assert np.median(distance.min(axis=1)[clean]) < 0.1
    ratio = catalog["flux"].to_numpy()[distance.argmin(axis=1)[clean]] / truth["flux"][clean]
    assert 0.9 < np.median(ratio) < 1.0
    # The Kron ellipse leaves out the wings of these stars, some 4 to 5 % of their light, as SExtractor's does.
    total = catalog["flux_auto"].to_numpy()[distance.argmin(axis=1)[clean]] / truth["flux"][clean]
    assert 0.94 < np.median(total) < 0.975


def test_windowed_positions_of_blends(tmp_path: Path) -> None:
    """In a crowded field they are the better ones too."""
    sky = simulate((SIDE, SIDE), 6500, seed=8, faintest=400)
    fits.writeto(tmp_path / "sky.fits", sky.pixels)
    succeed(tmp_path / "sky.fits", "--outputs", "catalog.tsv", folder=tmp_path)
    catalog, truth = read_catalog(tmp_path), sky.truth
    blends = catalog[(catalog["flag"] & 1 == 1) & (catalog["snr"] > 10)]
    # Each is the brightest of what was put in where it was found.
    near = np.hypot(blends["x"].to_numpy()[:, None] - truth["x"], blends["y"].to_numpy()[:, None] - truth["y"]) < 2
    blends, near = blends[near.any(axis=1)], near[near.any(axis=1)]
    source = truth[np.where(near, truth["flux"], 0).argmax(axis=1)]
    away = {kind: np.hypot(blends["x" + kind] - source["x"], blends["y" + kind] - source["y"]) for kind in ("", "_win")}
    assert len(blends) > 400
    assert np.median(away["_win"]) < 0.85 * np.median(away[""])
    assert np.percentile(away["_win"], 90) < np.percentile(away[""], 90)
    assert (blends["flag_phot"] & 2 == 0).mean() > 0.98


def field_of_stars(number: int) -> Known:
    sky = simulate((512, 512), number, seed=0, galaxies=0, faintest=400)
    return Known(sky.pixels, np.column_stack((sky.truth["x"], sky.truth["y"])))


def test_options_for_crowded_fields() -> None:
    """What a page says that they make of stars close together is true: the shares found, and of stars among sources."""
    page = (REPOSITORY / "docs" / "choosing.md").read_text()
    rows = re.findall(r"^\| (defaults|`--[^`]*`) \| (.* %, .* %) \|$", page, re.MULTILINE)
    fields = advised_skies.crowded(), field_of_stars(1640), field_of_stars(316)
    assert len(rows) == 6
    for choice, cells in rows:
        settings, _ = parse(["image", *shlex.split(choice.strip("`").removeprefix("defaults"))])
        options = {name: getattr(settings.detection, name) for name in ("deblend_cont", "filter_case", "thresh")}
        for known, cell in zip(fields, cells.split("|"), strict=True):
            table = extract(known.pixels, advice=False, **options).to_table()
            got = score(np.asarray(table["x"]), np.asarray(table["y"]), known)
            told = [float(share) / 100 for share in re.findall(r"[\d.]+", cell)]
            assert got == pytest.approx(told, abs=0.025), (choice, cell)


def test_the_threshold_without_a_filter() -> None:
    """What form and log name leaves a handful of false sources in a million pixels of noise, instead of hundreds."""
    form = (REPOSITORY / "form.xml").read_text()
    said = re.findall(r"[Ww]ithout a filter, use (?:a threshold of )?([\d.]+) or more", form)
    said += re.findall(r"threshold of ([\d.]+)", filter_hint(DetectionOptions(filter_case="none")) or "")
    assert len(said) == 3
    noise = np.random.default_rng(0).normal(100, 5, (SIDE, SIDE))
    false = {
        thresh: len(extract(noise, filter_case="none", thresh=thresh, advice=False).to_table())
        for thresh in {1.5, *map(float, said)}
    }
    assert false.pop(1.5) > 300
    assert [number < 15 for number in false.values()] == [True], false
