"""Serve the tools from a real Galaxy: web, job handler and Celery in one process.

    python serve.py FOLDER PORT TOOL_ENVIRONMENT [own]

Runs in Galaxy's own environment (requirements.txt beside this file). FOLDER takes the configuration, the
database and the datasets, and may have those of an earlier start; TOOL_ENVIRONMENT is the virtual environment
that every requirement of the tools resolves to, under exactly the name and version that they ask for. On a server of
one's `own` everybody is its administrator, without a question.
"""

import os
import shutil
import sys
import threading
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))
from tests.galaxy.forms import expanded  # noqa: E402

FORMS = ("source_extractor.xml", "join_catalogs.xml", "source_extractor_many.xml")
ADMIN_EMAIL, ADMIN_KEY = "admin@example.org", "the-key-of-the-admin"

# A job that Slurm ends together with its script leaves no exit code behind, which Galaxy takes for a success: so there
# is one beforehand, which that of the tool replaces. The runner has one worker, because with two Galaxy finishes jobs
# without waiting for their metadata. A thread waits for the database as long as a busy machine makes it wait: it would
# give up after five seconds.
CONFIGURATION = """
galaxy:
  data_dir: {folder}/database
  database_connection: sqlite:///{folder}/database/universe.sqlite?isolation_level=IMMEDIATE&timeout=900
  tool_config_file: {folder}/tool_conf.xml
  admin_users: {email}
  bootstrap_admin_api_key: {key}
  sanitize_allowlist_file: {folder}/allowlist.txt
  enable_celery_tasks: true
  metadata_strategy: directory_celery
  job_handler_monitor_sleep: 0.2
  job_runner_monitor_sleep: 0.2
  workflow_monitor_sleep: 0.2
  workflow_completion_monitor_sleep: 1
  job_config:
    runners:
      local: {{load: "galaxy.jobs.runners.local:LocalJobRunner", workers: 2}}
      cli: {{load: "galaxy.jobs.runners.cli:ShellJobRunner", workers: 1}}
    execution:
      default: local
      environments:
        local: {{runner: local}}
        by_history: {{runner: dynamic, rules_module: rules, function: environment_of_the_history}}
        slurm_1_cpu: &slurm
          runner: cli
          job_plugin: Slurm
          job_ncpus: 1
          embed_metadata_in_job: false
          env:
            - execute: 'ec="$_GALAXY_JOB_DIR/galaxy_${{_GALAXY_JOB_DIR##*/}}.ec"; [ -e "$ec" ] || echo 137 > "$ec"'
        slurm_2_cpus: {{<<: *slurm, job_ncpus: 2}}
    tools:
      - {{id: source_extractor, environment: by_history}}
      - {{id: source_extractor_join, environment: by_history}}
      - {{id: source_extractor_many, environment: by_history}}
  dependency_resolvers:
    - {{type: galaxy_packages, base_path: {folder}/dependencies}}
"""

# Whoever opens a page is logged in.
OWN = """
  single_user: {email}
"""

TOOLS = """
<toolbox tool_path="{repository}">
  <section id="astronomy" name="Astronomy">
    <tool file="source_extractor.xml"/>
    <tool file="join_catalogs.xml"/>
    <tool file="source_extractor_many.xml"/>
  </section>
  <section id="collections" name="Collections">
    <tool file="${{model_tools_path}}/filter_failed_collection.xml"/>
  </section>
  <section id="tables" name="Tables">
    <tool file="${{model_tools_path}}/bundled/stats/filtering.xml"/>
  </section>
</toolbox>
"""


def configure(folder: Path, tool_environment: Path, own: bool) -> None:
    """Write the configuration and the folder in which the tools' requirements are looked up."""
    (folder / "database").mkdir(parents=True, exist_ok=True)
    configuration = CONFIGURATION + OWN if own else CONFIGURATION
    (folder / "galaxy.yml").write_text(configuration.format(folder=folder, email=ADMIN_EMAIL, key=ADMIN_KEY))
    (folder / "tool_conf.xml").write_text(TOOLS.format(repository=REPOSITORY))
    (folder / "allowlist.txt").write_text("source_extractor\n")
    shutil.rmtree(folder / "dependencies", ignore_errors=True)
    for name, version in set().union(*map(requirements, FORMS)):
        package = folder / "dependencies" / name / version
        package.parent.mkdir(parents=True)
        package.symlink_to(tool_environment)


def program_of(form: str) -> str:
    """The program that a form runs."""
    (include,) = (item for item in expanded(form).iterfind("required_files/include") if item.get("type") == "literal")
    return include.get("path", "")


def requirements(form: str) -> set[tuple[str, str]]:
    """Name and version of every package that a form requires, those that all require included."""
    return {
        (package.text or "", package.get("version", ""))
        for package in expanded(form).iterfind("requirements/requirement")
    }


def start_celery() -> None:
    """Set the metadata of datasets in a thread; without it every job starts a process of its own for that."""
    from celery import signals
    from celery.concurrency.thread import TaskPool
    from galaxy.celery import celery_app
    from kombu.transport import virtual

    signals.setup_logging.connect(lambda **_: None, weak=False)  # or Celery silences Galaxy's log
    virtual.Transport.polling_interval = 0.05
    # Galaxy's job runner waits for the tasks in this same process, which Celery would refuse.
    TaskPool.task_join_will_block = False
    celery_app.conf.update(broker_url="memory://", result_backend="cache+memory://")
    worker = celery_app.Worker(
        pool="threads",
        concurrency=2,
        queues=["galaxy.internal", "galaxy.external"],
        without_heartbeat=True,
        without_mingle=True,
        without_gossip=True,
    )
    threading.Thread(target=worker.start, daemon=True).start()


def main() -> None:
    folder, port, tool_environment = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    configure(folder, tool_environment, own=sys.argv[4:] == ["own"])
    os.environ["GALAXY_CONFIG_FILE"] = str(folder / "galaxy.yml")
    # Job scripts enter this environment again for Galaxy's own steps.
    os.environ["VIRTUAL_ENV"] = sys.prefix
    os.environ["PATH"] = f"{sys.prefix}/bin:{os.environ['PATH']}"
    for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
        os.environ.pop(name, None)

    import uvicorn

    start_celery()
    uvicorn.run("galaxy.webapps.galaxy.fast_factory:factory", factory=True, host="127.0.0.1", port=port)


if __name__ == "__main__":
    main()
