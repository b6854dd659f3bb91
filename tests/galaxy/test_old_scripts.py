"""Scripts that were written for the tool of version 0.0.1, which had no sections: docs/from-the-old-tool.md."""

import json

import pytest
from bioblend.galaxy import GalaxyInstance

from tests.conftest import TEST_DATA
from tests.galaxy.waiting import wait_for_job


@pytest.fixture(scope="module")
def history(server: GalaxyInstance) -> str:
    return server.histories.create_history("old scripts")["id"]


@pytest.fixture(scope="module")
def image(server: GalaxyInstance, history: str) -> dict:
    upload = server.tools.upload_file(TEST_DATA / "sky.fits", history, file_type="fits")
    assert wait_for_job(server, upload["jobs"][0]["id"]) == "ok"
    return {"src": "hda", "id": upload["outputs"][0]["id"]}


def mesh_of_a_run(server: GalaxyInstance, history: str, inputs: dict, **options: str) -> str:
    """Run the tool; the width of the mesh's cells that the job had, after its image and threshold are as wanted."""
    inputs = inputs | {"thresh": 3.0, "outputs": "catalog.tsv"}
    job = server.tools.run_tool(history, "source_extractor", inputs, **options)["jobs"][0]["id"]
    assert wait_for_job(server, job) == "ok"
    done = server.jobs.show_job(job, full_details=True)
    assert json.loads(done["params"]["thresh"]) == "3.0"
    assert "Image: sky.fits" in done["tool_stdout"]
    return json.loads(done["params"]["background"])["bw"]


def test_old_names_are_left_out_in_silence(server: GalaxyInstance, history: str, image: dict) -> None:
    """The image is what the form would show, and the mesh has its default; the threshold counts."""
    assert mesh_of_a_run(server, history, {"input_file": image, "bw": 32}) == "64"
    assert mesh_of_a_run(server, history, {"image": image, "bw": 32}) == "64"


def test_names_in_sections_count(server: GalaxyInstance, history: str, image: dict) -> None:
    """In both of the forms that the page gives."""
    assert mesh_of_a_run(server, history, {"image": image, "background|bw": 32}) == "32"
    nested = {"image": image, "background": {"bw": 32}}
    assert mesh_of_a_run(server, history, nested, input_format="21.01") == "32"
