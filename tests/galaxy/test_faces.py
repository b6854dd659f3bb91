"""Form, command line and Python are faces of the same functions: their catalogs are the same, digit for digit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bioblend.galaxy import GalaxyInstance

from tests.conftest import REPOSITORY, TEST_DATA, succeed
from tests.galaxy.waiting import wait_for_job

SKY, MASK = TEST_DATA / "sky.fits", TEST_DATA / "mask.fits"


def test_one_catalog(server: GalaxyInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    # What the history shows of a dataset begins with what was found.
    assert server.datasets.show_dataset(started["outputs"][0]["id"])["misc_info"].startswith("Sources: ")
    of_galaxy = server.datasets.download_dataset(started["outputs"][0]["id"])

    # As Galaxy starts its jobs: the last digits of windowed positions are those of numpy's linear algebra, which these
    # variables have choose another one.
    for name in [name for name in os.environ if name.startswith(("OPENBLAS", "OMP_"))]:
        monkeypatch.delenv(name)
    options = ("--mask_file", MASK, "--thresh", "2", "--gain", "GAIN", "--zeropoint", "25", "--outputs", "catalog.tsv")
    succeed(SKY, *options, folder=tmp_path)
    code = (
        "import source_extraction as se\n"
        f"result = se.extract({str(SKY)!r}, mask={str(MASK)!r}, thresh=2, gain='GAIN', zeropoint=25)\n"
        f"result.write({str(tmp_path / 'python')!r}, outputs='catalog.tsv')\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
    for folder in (tmp_path, tmp_path / "python"):
        is_the_same = (folder / "catalog.tsv").read_bytes() == of_galaxy
        assert is_the_same, folder
