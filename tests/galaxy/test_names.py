"""Nothing that a user types reaches a shell: names and texts arrive as they are, through the form."""

import pytest
from bioblend.galaxy import GalaxyInstance

from tests.conftest import TEST_DATA
from tests.galaxy.waiting import wait_for_job

NAMES = [
    'it\'s "quoted"; touch gone $(touch gone) `touch gone` ${HOME} $HOME',
    "../a & b | c > d < e * ? [x] {y} ~ ! # \\ %",
    "-rf M\N{LATIN SMALL LETTER U WITH DIAERESIS}nchen \N{GREEK SMALL LETTER BETA} \N{TELESCOPE}\ntwo lines\ta tab",
    # Letters of two, three and four bytes: more of them than a file's name may have.
    "\N{LATIN SMALL LETTER E WITH ACUTE}" * 20 + "\u6f22" * 86 + "\N{TELESCOPE}" * 9,
]
HDUS = ["SCI'; touch gone; '\"$(touch gone)\" `id`", "--thresh=3 \N{GREEK SMALL LETTER BETA}"]


@pytest.fixture(scope="module")
def history(server: GalaxyInstance) -> str:
    return server.histories.create_history("names")["id"]


def job(server: GalaxyInstance, history: str, name: str, **parameters: str) -> dict:
    """Upload the sky under a name, run the tool on it, and wait; what Galaxy knows of the job."""
    upload = server.tools.upload_file(TEST_DATA / "sky.fits", history, file_type="fits", file_name=name)
    image = upload["outputs"][0]
    assert wait_for_job(server, upload["jobs"][0]["id"]) == "ok"
    inputs = {"image": {"src": "hda", "id": image["id"]}, "outputs": "catalog.tsv", **parameters}
    started = server.tools.run_tool(history, "source_extractor", inputs)
    identifier = started["jobs"][0]["id"]
    wait_for_job(server, identifier)
    return server.jobs.show_job(identifier, full_details=True) | {
        "uploaded": server.datasets.show_dataset(image["id"])["name"]
    }


@pytest.mark.parametrize("name", NAMES)
def test_name_of_the_image(server: GalaxyInstance, history: str, name: str) -> None:
    done = job(server, history, name)
    assert done["exit_code"] == 0, done["tool_stderr"]
    said = done["tool_stdout"].splitlines()
    image = " ".join(next(line for line in said if line.startswith("Image: ")).split())
    shown = " ".join(done["uploaded"].split())
    assert image.startswith(f"Image: {shown}, HDU 0 (PRIMARY), 480 x 360 pixels"), image
    assert said[0].startswith("Sources: 142 ")


@pytest.mark.parametrize("hdu", HDUS)
def test_text_of_the_form(server: GalaxyInstance, history: str, hdu: str) -> None:
    done = job(server, history, "sky.fits", **{"part|hdu": hdu})
    assert done["exit_code"] == 1
    assert done["tool_stderr"].strip() == (
        f"error: sky.fits: there is no image HDU {hdu!r}; choose one of: HDU 0 (PRIMARY) 480 x 360"
    )
