"""Where Galaxy runs a job: in the environment that the job's history is named after, else on this machine."""

from typing import Any


def environment_of_the_history(job: Any, app: Any) -> str:
    """A user chooses by the history alone, so that the form is the same as everywhere."""
    name = job.history.name if job.history else ""
    return name if name in app.job_config.destinations else "local"
