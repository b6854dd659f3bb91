"""Form, command line and Python are faces of the same functions: their catalogs are the same, digit for digit."""

from pathlib import Path

import pandas as pd
from bioblend.galaxy import GalaxyInstance

import source_extraction
from tests.conftest import TEST_DATA, read_catalog, succeed
from tests.galaxy.waiting import wait_for_job

SKY, MASK = TEST_DATA / "sky.fits", TEST_DATA / "mask.fits"


def test_one_catalog(server: GalaxyInstance, tmp_path: Path) -> None:
    history = server.histories.create_history("faces")["id"]
    uploads = {
        path: server.tools.upload_file(path, history, file_type="fits", file_name=path.name) for path in (SKY, MASK)
    }
    for upload in uploads.values():
        assert wait_for_job(server, upload["jobs"][0]["id"]) == "ok"
    image, mask = ({"src": "hda", "id": upload["outputs"][0]["id"]} for upload in uploads.values())
    inputs = {
        "image": image,
        "mask|mask_file": mask,
        "thresh": "2",
        "photometry|gain": "GAIN",
        "photometry|zeropoint": "25",
        "outputs": "catalog.tsv",
    }
    started = server.tools.run_tool(history, "source_extractor", inputs)
    assert wait_for_job(server, started["jobs"][0]["id"]) == "ok"
    of_galaxy = server.datasets.download_dataset(started["outputs"][0]["id"])

    options = ("--mask_file", MASK, "--thresh", "2", "--gain", "GAIN", "--zeropoint", "25", "--outputs", "catalog.tsv")
    succeed(SKY, *options, folder=tmp_path)
    assert (tmp_path / "catalog.tsv").read_bytes() == of_galaxy

    of_python = source_extraction.extract(SKY, mask=MASK, thresh=2, gain="GAIN", zeropoint=25)
    (path,) = of_python.write(tmp_path / "python", outputs="catalog.tsv")
    assert path.read_bytes() == of_galaxy
    frame = of_python.to_pandas().reset_index()
    pd.testing.assert_frame_equal(frame, read_catalog(tmp_path), rtol=1e-8, atol=0, check_dtype=False)
