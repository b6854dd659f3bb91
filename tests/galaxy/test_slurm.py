"""The survey workflow on a Slurm cluster: as on the local runner, in parallel; and what is seen when a job fails."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from bioblend.galaxy import GalaxyInstance
from bioblend.galaxy.datasets import TERMINAL_STATES
from bioblend.util import attach_file

from run import DEBIAN_PACKAGES
from tests.conftest import REPOSITORY
from tests.galaxy.conftest import Galaxy
from tests.galaxy.slurm import CPUS, INSTALLED, Cluster, running_slurm
from tests.galaxy.waiting import has_ended, states_of_jobs, wait_for_job, wait_until

pytestmark = pytest.mark.skipif(
    not INSTALLED, reason=f"needs Debian's packages {', '.join(DEBIAN_PACKAGES['slurmctld'])}"
)
STRIPS = 24
DAMAGED = "strip 01.fits"
SMALL_IMAGES = 200
# The test server runs the jobs of a history that is named so where it says (rules/by_history.py).
LOCAL, ONE_CPU, TWO_CPUS = "local", "slurm_1_cpu", "slurm_2_cpus"


@dataclass(frozen=True)
class Survey:
    """An invocation of the workflow that came to its end."""

    server: GalaxyInstance
    invocation: dict

    def jobs(self, tool: str | None = None) -> list[dict]:
        return self.server.jobs.get_jobs(invocation_id=self.invocation["id"], tool_id=tool)

    def states(self, output: str) -> dict[str, str]:
        """What became of every image."""
        return {name: dataset["state"] for name, dataset in self._datasets(output).items()}

    def catalogs(self) -> dict[str, str]:
        """The catalogs of the images that could be used."""
        good = {name: dataset for name, dataset in self._datasets("Catalogs").items() if dataset["state"] == "ok"}
        return {name: text(self.server, dataset) for name, dataset in good.items()}

    def joined_catalog(self) -> str:
        return text(self.server, self.invocation["outputs"]["Joined catalog"])

    def _datasets(self, output: str) -> dict[str, dict]:
        return datasets(self.server, self.invocation["output_collections"][output])


def datasets(server: GalaxyInstance, collection: dict) -> dict[str, dict]:
    """The datasets of a collection by their names, in its order."""
    shown = server.dataset_collections.show_dataset_collection(collection["id"])
    return {element["element_identifier"]: element["object"] for element in shown["elements"]}


def text(server: GalaxyInstance, dataset: dict) -> str:
    def state() -> str:
        return server.datasets.show_dataset(dataset["id"])["state"]

    wait_until(lambda: state() in TERMINAL_STATES, "end of a dataset", lambda: (state(), states_of_jobs(server)))
    return server.datasets.download_dataset(dataset["id"]).decode()


def upload(server: GalaxyInstance, folder: Path) -> dict:
    """The list of the images of a folder, in a history of its own."""
    history = server.histories.create_history(folder.name)["id"]
    files = {"src": "files", "elements_from": "archive"}
    target = {"destination": {"type": "hdca"}, "collection_type": "list", "name": "Images", **files}
    archive = attach_file(shutil.make_archive(str(folder), "zip", folder))
    payload = {"history_id": history, "targets": [target], "files_0|file_data": archive}
    uploaded = server.make_post_request(f"{server.url}/tools/fetch", payload, files_attached=True)
    assert wait_for_job(server, uploaded["jobs"][0]["id"]) == "ok"
    return {"src": "hdca", "id": uploaded["output_collections"][0]["id"]}


def survey_of(server: GalaxyInstance, images: dict) -> Survey:
    """Map the workflow over a list of images, on the cluster, a core for each."""
    workflow = yaml.safe_load((REPOSITORY / "workflows" / "survey.gxwf.yml").read_text())
    imported = server.workflows.import_workflow_dict(workflow)["id"]
    history = server.histories.create_history(ONE_CPU)["id"]
    invoke = server.workflows.invoke_workflow
    invoked = invoke(imported, {"Images": images}, history_id=history, inputs_by="name")["id"]

    def state() -> str:
        return server.invocations.show_invocation(invoked)["state"]

    ended = ("completed", "failed", "cancelled")
    wait_until(lambda: state() in ended, "end of the workflow", lambda: (state(), states_of_jobs(server)), interval=1)
    return Survey(server, server.invocations.show_invocation(invoked))


@pytest.fixture(scope="module")
def cluster(galaxy: Galaxy) -> Iterator[Cluster]:
    with running_slurm(galaxy.folder / "slurm") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def admin(galaxy: Galaxy) -> GalaxyInstance:
    """The server as its administrator, who is told the numbers of the jobs on the cluster."""
    return GalaxyInstance(galaxy.url, galaxy.key)


@pytest.fixture(scope="module")
def strips(sky: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped sky in strips: flat pictures, which Galaxy reads faster than square ones."""
    folder = tmp_path_factory.mktemp("strips")
    for number, strip in enumerate(np.split(sky, STRIPS)):
        fits.writeto(folder / f"strip {number:02}.fits", strip)
    return folder


@pytest.fixture(scope="module")
def images(server: GalaxyInstance, strips: Path) -> dict:
    return upload(server, strips)


@pytest.fixture(scope="module")
def local(server: GalaxyInstance, images: dict) -> dict:
    """The local runner at work on the same images, beside the cluster."""
    history = server.histories.create_history(LOCAL)["id"]
    inputs = {"image": {"batch": True, "values": [images]}, "outputs": "catalog.tsv"}
    return server.tools.run_tool(history, "source_extractor", inputs)


@pytest.fixture(scope="module")
def survey(cluster: Cluster, server: GalaxyInstance, images: dict, local: dict) -> Survey:
    return survey_of(server, images)


@pytest.fixture(scope="module")
def damaged_survey(
    cluster: Cluster, server: GalaxyInstance, strips: Path, tmp_path_factory: pytest.TempPathFactory
) -> Survey:
    """The same list, with one image cut off."""
    folder = shutil.copytree(strips, tmp_path_factory.mktemp("damaged") / "strips")
    os.truncate(folder / DAMAGED, 10_000)
    return survey_of(server, upload(server, folder))


def test_all_is_green(survey: Survey, strips: Path) -> None:
    names = [strip.name for strip in sorted(strips.iterdir())]
    assert len(survey.invocation["output_collections"]) == 9
    for output in survey.invocation["output_collections"]:
        assert survey.states(output) == dict.fromkeys(names, "ok"), output
    assert [job["state"] for job in survey.jobs()] == ["ok"] * (STRIPS + 3)


def test_catalogs_are_those_of_the_local_runner(
    server: GalaxyInstance, admin: GalaxyInstance, survey: Survey, local: dict
) -> None:
    for job in local["jobs"]:
        assert wait_for_job(server, job["id"]) == "ok"
    catalogs = datasets(server, local["implicit_collections"][0])
    assert len(catalogs) == STRIPS
    assert survey.catalogs() == {name: text(server, dataset) for name, dataset in catalogs.items()}
    runners = [{runner(admin, job["id"]) for job in jobs} for jobs in (survey.jobs("source_extractor"), local["jobs"])]
    assert runners == [{"cli"}, {"local"}]


def runner(admin: GalaxyInstance, job: str) -> str:
    return admin.jobs.get_destination_params(job)["Runner"]


def test_joined_catalog_has_all_sources(survey: Survey) -> None:
    assert_joined(survey, number=STRIPS)


def assert_joined(survey: Survey, number: int) -> None:
    """The joined catalog has the rows of `number` catalogs, one after the other."""
    catalogs = [catalog.splitlines() for catalog in survey.catalogs().values()]
    assert len(catalogs) == number
    assert all(len(catalog) > 1 for catalog in catalogs)
    assert survey.joined_catalog().splitlines() == [catalogs[0][0], *(row for rows in catalogs for row in rows[1:])]


def test_as_many_jobs_at_a_time_as_there_are_cpus(survey: Survey, cluster: Cluster, admin: GalaxyInstance) -> None:
    records = [cluster.job(on_cluster(admin, job["id"])) for job in survey.jobs("source_extractor")]
    assert {(record["JobState"], record["NumCPUs"]) for record in records} == {("COMPLETED", "1")}
    at_a_time = [
        sum(other["StartTime"] <= record["StartTime"] < other["EndTime"] for other in records) for record in records
    ]
    assert max(at_a_time) == CPUS


def test_jobs_have_the_cpus_of_their_destination(survey: Survey, admin: GalaxyInstance) -> None:
    assert {slots(admin, job["id"]) for job in survey.jobs("source_extractor")} == {1}


def on_cluster(admin: GalaxyInstance, job: str) -> str:
    """A job's number on the cluster, once it is there."""

    def number() -> str | None:
        return admin.jobs.show_job(job)["external_id"]

    wait_until(lambda: number() or has_ended(admin, job), "job on the cluster", lambda: states_of_jobs(admin))
    assert number(), "the job ended before it was on the cluster"
    return number()


def slots(admin: GalaxyInstance, job: str) -> float:
    """GALAXY_SLOTS as it was in the job."""
    metrics = {metric["name"]: metric["raw_value"] for metric in admin.jobs.get_metrics(job)}
    return float(metrics["galaxy_slots"])


def test_a_corrupt_image_is_red_and_says_why(damaged_survey: Survey, strips: Path) -> None:
    expected = {strip.name: "error" if strip.name == DAMAGED else "ok" for strip in sorted(strips.iterdir())}
    assert damaged_survey.states("Catalogs") == expected
    (failed,) = [job for job in damaged_survey.jobs("source_extractor") if job["state"] == "error"]
    said = damaged_survey.server.jobs.show_job(failed["id"], full_details=True)["tool_stderr"]
    problem = "the FITS file is truncated: 21680 bytes of its pixels are missing; fetch it again"
    assert said == f"error: {DAMAGED}: {problem}\n"


def test_the_others_are_joined(damaged_survey: Survey) -> None:
    assert_joined(damaged_survey, number=STRIPS - 1)


@pytest.fixture(scope="module")
def large_image(sky: np.ndarray, server: GalaxyInstance, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """An image that takes two processes some seconds, in a history whose jobs have two cores."""
    path = tmp_path_factory.mktemp("large") / "large.fits"
    fits.writeto(path, np.tile(sky, (6, 5)))
    history = server.histories.create_history(TWO_CPUS)["id"]
    uploaded = server.tools.upload_file(path, history, file_type="fits")
    assert wait_for_job(server, uploaded["jobs"][0]["id"]) == "ok"
    return uploaded["outputs"][0]


def kill_the_tool(cluster: Cluster, job: str) -> None:
    """As the system does when memory runs out."""
    os.kill(min(tool_processes(cluster, job)), signal.SIGKILL)


def cancel_the_job(cluster: Cluster, job: str) -> None:
    """As an administrator does, or Slurm at the end of a job's time."""
    cluster.ask("scancel", job)


def wait_until_at_work(cluster: Cluster, job: str) -> None:
    """Wait until the tool runs with one process that shares out the work, and one for each core."""

    def state() -> str:
        state = cluster.job(job)["JobState"]
        assert state in ("PENDING", "RUNNING"), "the job ended before the tool was seen at work"
        return state

    wait_until(lambda: len(tool_processes(cluster, job)) == 1 + CPUS, "tool at work", state, interval=0.1)


def tool_processes(cluster: Cluster, job: str) -> list[int]:
    processes = cluster.processes(job).items()
    return [process for process, words in processes if any(word.endswith("source_extractor.py") for word in words)]


@pytest.mark.parametrize("kill", [kill_the_tool, cancel_the_job])
def test_a_job_that_is_killed_is_red_and_a_rerun_green(
    cluster: Cluster, server: GalaxyInstance, admin: GalaxyInstance, large_image: dict, kill: Callable
) -> None:
    inputs = {"image": {"src": "hda", "id": large_image["id"]}, "outputs": "catalog.tsv"}
    started = server.tools.run_tool(large_image["history_id"], "source_extractor", inputs)
    (job,), (catalog,) = started["jobs"], started["outputs"]
    number = on_cluster(admin, job["id"])
    wait_until_at_work(cluster, number)
    kill(cluster, number)
    assert wait_for_job(server, job["id"]) == "error"
    assert server.datasets.show_dataset(catalog["id"])["state"] == "error"

    rerun = server.jobs.rerun_job(job["id"])
    (job,), (catalog,) = rerun["jobs"], rerun["outputs"]
    assert wait_for_job(server, job["id"]) == "ok"
    assert cluster.job(on_cluster(admin, job["id"]))["JobState"] == "COMPLETED"
    assert slots(admin, job["id"]) == CPUS
    assert len(text(server, catalog).splitlines()) > 1000


@pytest.fixture(scope="module")
def small_images(sky: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many as nobody maps a tool over, with names whose order is not that of the alphabet; one is cut off."""
    folder = tmp_path_factory.mktemp("small")
    for number in range(SMALL_IMAGES):
        y, x = divmod(number * 7 % 336, 24)
        fits.writeto(folder / f"cut {SMALL_IMAGES - number} of the sky.fits", sky[24 * y :, 16 * x :][:40, :60])
    os.truncate(folder / f"cut {SMALL_IMAGES - 7} of the sky.fits", 5000)
    return folder


@pytest.fixture(scope="module")
def many(cluster: Cluster, server: GalaxyInstance, small_images: Path) -> tuple[dict, dict, list[str]]:
    """The job and the outputs of the tool for many images, and the names of its images in their order."""
    images = upload(server, small_images)
    names = list(datasets(server, images))
    history = server.histories.create_history(TWO_CPUS)["id"]
    inputs = {"images": images, "outputs": "catalog.tsv"}
    started = server.tools.run_tool(history, "source_extractor_many", inputs)
    (job,) = started["jobs"]
    assert wait_for_job(server, job["id"]) == "ok"
    return job, started, names


def test_many_images_are_one_job(many: tuple[dict, dict, list[str]], cluster: Cluster, admin: GalaxyInstance) -> None:
    record = cluster.job(on_cluster(admin, many[0]["id"]))
    assert (record["JobState"], record["NumCPUs"]) == ("COMPLETED", "2")


def test_order_and_names_of_many_images(many: tuple[dict, dict, list[str]], server: GalaxyInstance) -> None:
    """But for the one that cannot be used, which the table of images tells of."""
    _, started, names = many
    damaged = f"cut {SMALL_IMAGES - 7} of the sky.fits"
    assert len(names) == SMALL_IMAGES
    assert names != sorted(names) or names != sorted(names, key=len)
    (collection,) = started["output_collections"]
    assert list(datasets(server, collection)) == [name for name in names if name != damaged]
    joined_catalog, images_table = (text(server, output) for output in started["outputs"])
    rows = [line.split("\t") for line in images_table.splitlines()[1:]]
    assert [row[0] for row in rows] == names
    assert {row[0]: row[-1] for row in rows if row[-1]} == {
        damaged: f"{damaged}: the FITS file is truncated: 7480 bytes of its pixels are missing; fetch it again"
    }
    assert len(joined_catalog.splitlines()) - 1 == sum(int(row[7]) for row in rows if row[7] != "NaN")


def test_many_images_have_the_catalogs_of_single_jobs(
    many: tuple[dict, dict, list[str]], server: GalaxyInstance, small_images: Path
) -> None:
    _, started, names = many
    catalogs = datasets(server, started["output_collections"][0])
    history = server.histories.create_history(LOCAL)["id"]
    name = names[0]
    uploaded = server.tools.upload_file(small_images / name, history, file_type="fits", file_name=name)
    inputs = {"image": {"src": "hda", "id": uploaded["outputs"][0]["id"]}, "outputs": "catalog.tsv"}
    assert wait_for_job(server, uploaded["jobs"][0]["id"]) == "ok"
    single = server.tools.run_tool(history, "source_extractor", inputs)
    assert wait_for_job(server, single["jobs"][0]["id"]) == "ok"
    assert text(server, single["outputs"][0]) == text(server, catalogs[name])
