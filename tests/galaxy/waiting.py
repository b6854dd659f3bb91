"""Wait for what takes as long as a busy machine makes it take: by what has been done meanwhile, not by the clock."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bioblend.galaxy import GalaxyInstance

# It ends a wait for what will never come, and measures nothing: no step takes more than a fraction of it, even where
# many other processes want the processors.
SECONDS_WITHOUT_PROGRESS = 900


def wait_until(
    condition: Callable[[], object], what: str, progress: Callable[[], object], interval: float = 0.3
) -> None:
    """Wait until a condition is true, for as long as `progress` keeps changing, which says how far things are.

    Raises TimeoutError, with what was waited for and how far things were, where nothing has changed for long.
    """
    start = latest = monotonic()
    reached, steps = progress(), 0
    while not condition():
        if (now := progress()) != reached:
            reached, steps, latest = now, steps + 1, monotonic()
        elif monotonic() - latest > SECONDS_WITHOUT_PROGRESS:
            before = f"{steps} steps of progress in {latest - start:.0f} s"
            raise TimeoutError(f"no {what}: {before}, then none for {SECONDS_WITHOUT_PROGRESS} s, at {reached}")
        sleep(interval)


def wait_for_job(server: "GalaxyInstance", job: str) -> str:
    """Wait until a job of Galaxy has ended, for as long as any of its user's jobs gets on; its last state."""
    wait_until(lambda: has_ended(server, job), f"end of job {job}", lambda: states_of_jobs(server))
    return server.jobs.show_job(job)["state"]


def has_ended(server: "GalaxyInstance", job: str) -> bool:
    from bioblend.galaxy.jobs import JOB_TERMINAL_STATES

    return server.jobs.show_job(job)["state"] in JOB_TERMINAL_STATES


def states_of_jobs(server: "GalaxyInstance") -> dict[str, str]:
    """The jobs that changed last, which is progress enough to tell: a job whose state changes is among them.

    They are the user's, and everybody's for an administrator.
    """
    return {job["id"]: job["state"] for job in server.jobs.get_jobs(limit=20, order_by="update_time")}
