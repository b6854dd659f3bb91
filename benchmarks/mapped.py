"""How long 200 small images take on a Slurm cluster: in one job, and in as many jobs as there are images.

python3 run.py test -- benchmarks/mapped.py -s

It starts the Galaxy server and the cluster of tests/galaxy; the catalog is the only product of an image.
"""

import time
from collections import Counter
from pathlib import Path

from bioblend.galaxy import GalaxyInstance

from tests.galaxy.slurm import Cluster
from tests.galaxy.test_slurm import ONE_CPU, SMALL_IMAGES, TWO_CPUS, cluster, small_images, upload  # noqa: F401
from tests.galaxy.waiting import wait_for_job

pytest_plugins = ("tests.conftest", "tests.galaxy.conftest")  # for their fixtures
INTERVAL = 1  # seconds


def test_mapped_or_in_one_job(cluster: Cluster, server: GalaxyInstance, small_images: Path) -> None:  # noqa: F811
    """The upload, which both need, is not counted."""
    images = upload(server, small_images)
    started = time.monotonic()
    history = server.histories.create_history(TWO_CPUS)["id"]
    inputs = {"images": images, "outputs": "catalog.tsv"}
    (job,) = server.tools.run_tool(history, "source_extractor_many", inputs)["jobs"]
    assert wait_for_job(server, job["id"]) == "ok"
    print(f"\n{SMALL_IMAGES} images in one job: {time.monotonic() - started:.0f} s")

    started = time.monotonic()
    history = server.histories.create_history(ONE_CPU)["id"]
    inputs = {"image": {"batch": True, "values": [images]}, "outputs": "catalog.tsv"}
    server.tools.run_tool(history, "source_extractor", inputs)
    states: Counter[str] = Counter()
    while states["ok"] + states["error"] < SMALL_IMAGES:
        time.sleep(INTERVAL)
        states = Counter(job["state"] for job in server.jobs.get_jobs(history_id=history, limit=2 * SMALL_IMAGES))
    print(f"{SMALL_IMAGES} images in {SMALL_IMAGES} jobs: {time.monotonic() - started:.0f} s")
    assert states == {"ok": SMALL_IMAGES - 1, "error": 1}
