"""Make the tutorial's workflow, in the form that the Training Network takes, from workflows/sort_sources.gxwf.yml.

    python make_workflow.py           write workflows/sort_sources.ga and workflows/sort_sources-tests.yml
    python make_workflow.py --check   say whether they are those that would be written

Needs gxformat2. The tools get their identifiers in the Tool Shed, and the test takes its files from the tool's home.
"""

import json
import re
import sys
from pathlib import Path

import yaml
from gxformat2.converter import python_to_workflow

FOLDER = Path(__file__).resolve().parent / "workflows"
SOURCE = FOLDER.parents[2] / "workflows" / "sort_sources.gxwf.yml"
TOOL_SHED = "toolshed.g2.bx.psu.edu/repos/astroteam/source_extractor"
HOME = "https://raw.githubusercontent.com/esg-epfl-apc/tools-astro/main/tools/source_extractor"


def converted() -> dict[str, str]:
    """The files by their names."""
    workflow = python_to_workflow(yaml.safe_load(SOURCE.read_text()), None, workflow_directory=str(SOURCE.parent))
    # Made anew each time.
    del workflow["uuid"]
    for step in workflow["steps"].values():
        if step.get("tool_id") == "source_extractor":
            step["tool_id"] = step["content_id"] = f"{TOOL_SHED}/source_extractor/{step['tool_version']}"
    tests = SOURCE.with_name("sort_sources.gxwf-tests.yml").read_text()
    return {
        "sort_sources.ga": json.dumps(workflow, indent=4) + "\n",
        "sort_sources-tests.yml": re.sub(r"path: \.\.", f"location: {HOME}", tests),
    }


def main() -> int:
    if sys.argv[1:] not in ([], ["--check"]):
        print(__doc__)
        return 2
    old = {}
    for name, content in converted().items():
        if sys.argv[1:] and (FOLDER / name).read_text() != content:
            old[name] = content
        elif not sys.argv[1:]:
            (FOLDER / name).write_text(content)
    for name in old:
        print(f"{name} is not what make_workflow.py makes of {SOURCE.name}")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
