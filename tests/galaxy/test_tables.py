"""The catalogs as Galaxy has them: what it calls their columns, and what its own tools make of them."""

from pathlib import Path

import pandas as pd
import pytest
from bioblend.galaxy import GalaxyInstance

import source_extraction as se
from tests.conftest import TEST_DATA
from tests.galaxy.waiting import wait_for_job

# Galaxy learns the types of columns from this number of lines.
LINES_THAT_GALAXY_READS = 100_000


@pytest.fixture(scope="module")
def history(server: GalaxyInstance) -> str:
    return server.histories.create_history("tables")["id"]


def upload(server: GalaxyInstance, history: str, path: Path, file_type: str) -> str:
    uploaded = server.tools.upload_file(path, history, file_type=file_type)
    assert wait_for_job(server, uploaded["jobs"][0]["id"]) == "ok"
    return uploaded["outputs"][0]["id"]


def run(server: GalaxyInstance, history: str, tool: str, inputs: dict) -> tuple[dict, dict]:
    """Run a tool; its first output and its job, as Galaxy knows them."""
    started = server.tools.run_tool(history, tool, inputs)
    job = started["jobs"][0]["id"]
    assert wait_for_job(server, job) == "ok", server.jobs.show_job(job, full_details=True)["tool_stderr"]
    return server.datasets.show_dataset(started["outputs"][0]["id"]), server.jobs.show_job(job, full_details=True)


def dataset(identifier: str) -> dict:
    return {"src": "hda", "id": identifier}


@pytest.fixture(scope="module")
def catalogs(server: GalaxyInstance, history: str) -> list[dict]:
    """With sky coordinates and magnitudes; without."""
    found = []
    for image, options in (("sky.fits", {"photometry|zeropoint": "25"}), ("sky.tiff", {"photometry|apertures": "2.5"})):
        uploaded = upload(server, history, TEST_DATA / image, image.partition(".")[2])
        inputs = {"image": dataset(uploaded), "outputs": "catalog.tsv", **options}
        catalog, job = run(server, history, "source_extractor", inputs)
        assert job["command_version"] == f"source-extraction {se.__version__}"
        found.append(catalog)
    return found


def assert_named(server: GalaxyInstance, catalog: dict) -> list[str]:
    """Every column has its name, for tools that ask for one (tests/galaxy/test_browser.py looks at the preview)."""
    header = server.datasets.download_dataset(catalog["id"]).decode().splitlines()[0].split("\t")
    assert catalog["metadata_column_names"] == header
    assert len(catalog["metadata_column_types"]) == len(header)
    return header


def test_every_column_has_its_name(server: GalaxyInstance, catalogs: list[dict]) -> None:
    named = [assert_named(server, catalog) for catalog in catalogs]
    assert {"ra", "flux_aper_5_err", "mag_aper_10", "image"} < set(named[0])
    assert "flux_aper_2_5" in named[1]


def test_so_has_every_column_of_a_joined_catalog(server: GalaxyInstance, history: str, catalogs: list[dict]) -> None:
    given = {"values": [dataset(catalog["id"]) for catalog in catalogs[::-1]]}
    joined, job = run(server, history, "source_extractor_join", {"catalogs": given})
    assert job["command_version"] == f"source-extraction {se.__version__}"
    assert {"ra", "flux_aper_2_5", "image"} < set(assert_named(server, joined))
    types = dict(zip(joined["metadata_column_names"], joined["metadata_column_types"], strict=True))
    # The first catalog has no ra.
    assert (types["label"], types["ra"], types["masked_fraction"], types["image"]) == ("int", "float", "float", "str")


def test_its_filter_loses_no_line(server: GalaxyInstance, history: str, tmp_path: Path) -> None:
    """What is 0.0 in all lines that Galaxy reads is a float further down, in a joined catalog."""
    columns = ["label", "x", "masked_fraction", "image"]
    for name, mask in (("plain", None), ("masked", TEST_DATA / "mask.fits")):
        se.extract(TEST_DATA / "sky.fits", mask=mask).write(tmp_path / name, ["catalog.tsv"])
        text = pd.read_csv(tmp_path / name / "catalog.tsv", sep="\t", dtype=str)[columns]
        text.to_csv(tmp_path / f"{name}.tsv", sep="\t", index=False)
    several = LINES_THAT_GALAXY_READS // len(text) + 1
    given = [tmp_path / "plain.tsv"] * several + [tmp_path / "masked.tsv"] * 100
    joined = se.join_catalogs(given, tmp_path)
    table = pd.read_csv(joined.path, sep="\t")
    assert not table["masked_fraction"][:LINES_THAT_GALAXY_READS].any()
    expected = (table["masked_fraction"] > 0).sum()
    assert expected > 500
    uploaded = upload(server, history, joined.path, "tabular")
    inputs = {"input": dataset(uploaded), "cond": "c3>0", "header_lines": "1"}
    filtered, _ = run(server, history, "Filter1", inputs)
    assert len(server.datasets.download_dataset(filtered["id"]).decode().splitlines()) == expected + 1
