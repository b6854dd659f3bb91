"""The workflows ask source-extractor for products and outputs that it has, and the Tool Shed for what they name."""

import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from source_extraction.faces.source_extractor import parse
from source_extraction.run.products import DEFAULT_PRODUCTS, PRODUCTS
from source_extraction.settings import OPTIONS
from tests.conftest import REPOSITORY
from tests.galaxy.forms import expanded

WORKFLOWS = sorted((REPOSITORY / "workflows").glob("*.gxwf.yml"))
FORM = expanded("source_extractor.xml")
# The product behind each output of the form.
OUTPUTS = {output.get("name"): Path(output.get("from_work_dir")).name for output in FORM.iterfind("outputs/data")}
TOKENS = {token.get("name"): token.text for token in ElementTree.parse(REPOSITORY / "macros.xml").iter("token")}
VERSION = f"{TOKENS['@TOOL_VERSION@']}+galaxy{TOKENS['@VERSION_SUFFIX@']}"

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def steps(workflow: dict) -> dict[str, dict]:
    return {name: step for name, step in workflow["steps"].items() if step.get("tool_id")}


def connected_to(step: dict) -> Iterator[str]:
    """What a step takes: inputs of the workflow, and STEP/OUTPUT."""
    for connected in step.get("in", {}).values():
        source = connected.get("source", []) if isinstance(connected, dict) else connected
        yield from source if isinstance(source, list) else [source]


def sources(workflow: dict) -> Iterator[tuple[str, str]]:
    """The step and the output at the start of every connection from a step."""
    connections = [output["outputSource"] for output in workflow["outputs"].values()]
    for step in workflow["steps"].values():
        connections += connected_to(step)
    for connection in connections:
        if connection not in workflow["inputs"]:
            step, output = connection.split("/")
            yield step, output


def test_there_are_workflows() -> None:
    assert "voronoi.gxwf.yml" in {path.name for path in WORKFLOWS}


@each_workflow
def test_products_and_outputs_of_the_tool(path: Path) -> None:
    """An output that is used is one whose product is chosen; every step that is connected is there."""
    workflow = yaml.safe_load(path.read_text())
    chosen = {}
    for name, step in steps(workflow).items():
        if step["tool_id"] in ("source_extractor", "source_extractor_join"):
            assert step["tool_version"] == VERSION
        if step["tool_id"] == "source_extractor":
            chosen[name] = step.get("state", {}).get("outputs", DEFAULT_PRODUCTS)
            assert set(chosen[name]) <= set(PRODUCTS)
    assert chosen
    for name, output in sources(workflow):
        assert name in workflow["steps"]
        if name in chosen:
            assert OUTPUTS[output] in chosen[name]


@each_workflow
def test_state_of_the_tool(path: Path) -> None:
    """Every parameter is connected or has a value, or Galaxy asks about it before it runs; the value is the default."""
    for step in steps(yaml.safe_load(path.read_text())).values():
        if step["tool_id"] == "source_extractor":
            state = dict(flattened(step["state"]))
            assert not set(state) & set(step["in"])
            assert set(parameters(FORM.find("inputs"))) <= set(state) | set(step["in"])
            for name in set(state) - {"filter|filter_case", "outputs", "photometry|apertures"}:
                assert state[name] == OPTIONS[name.rpartition("|")[2]].default, name
            settings, _ = parse(["image", f"--apertures={state['photometry|apertures']}"])
            assert settings.photometry.apertures == OPTIONS["apertures"].default
            assert state["filter|filter_case"] == ("file" if "filter|filter_file" in step["in"] else "default")


def parameters(inputs: ElementTree.Element, section: str = "") -> Iterator[str]:
    """The parameters that the form always has, as a workflow names them."""
    for element in inputs:
        if element.tag == "param":
            yield section + (element.get("name") or element.get("argument").removeprefix("--"))
        elif element.tag in ("section", "conditional"):
            yield from parameters(element, f"{section}{element.get('name')}|")


def flattened(state: dict, section: str = "") -> Iterator[tuple[str, object]]:
    for name, value in state.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{section}{name}|")
        else:
            yield section + name, value


@each_workflow
def test_tools_of_the_tool_shed(path: Path) -> None:
    """The repository to install is the one that the tool's id names."""
    for step in steps(yaml.safe_load(path.read_text())).values():
        if "/repos/" in step["tool_id"]:
            repository = step["tool_shed_repository"]
            named = f"{repository['tool_shed']}/repos/{repository['owner']}/{repository['name']}/"
            assert step["tool_id"].startswith(named)
            assert len(bytes.fromhex(repository["changeset_revision"])) == 6


@each_workflow
def test_the_report_shows_what_there_is(path: Path) -> None:
    """planemo checks the form of the report, not the names in it."""
    workflow = yaml.safe_load(path.read_text())
    report = workflow["report"]["markdown"]
    shown = {kind: set(re.findall(rf'{kind}="([^"]*)"', report)) for kind in ("output", "input", "step")}
    assert shown["output"]
    assert shown["output"] <= set(workflow["outputs"])
    assert shown["input"] <= set(workflow["inputs"])
    assert shown["step"] <= set(workflow["steps"])
    # Galaxy leaves the commas out of the words that open what is collapsed.
    assert not re.findall(r'collapse="[^"]*,[^"]*"', report)
    # Open, it is a small box of JSON.
    assert all("collapse=" in arguments for arguments in re.findall(r"history_dataset_embedded\((.*)\)", report))
    # The first line of a table has the names of its columns already.
    tables = re.findall(r"history_dataset_as_table\((.*)\)", report)
    assert all("show_column_headers=false" in arguments for arguments in tables)


@each_workflow
def test_the_graph_can_be_read(path: Path) -> None:
    """Data go from left to right, and no step lies on another (Galaxy puts those without a position on one pile)."""
    workflow = yaml.safe_load(path.read_text())
    nodes = workflow["inputs"] | workflow["steps"]
    places = {name: (node["position"]["left"], node["position"]["top"]) for name, node in nodes.items()}
    for one, other in combinations(places, 2):
        across, down = (abs(a - b) for a, b in zip(places[one], places[other], strict=True))
        assert across >= 200 or down >= 100, (one, other)
    for name, step in workflow["steps"].items():
        for source in connected_to(step):
            assert places[name][0] > places[source.partition("/")[0]][0], (source, name)


@each_workflow
def test_the_history_shows_the_outputs_and_no_others(path: Path) -> None:
    """What only passes from step to step is hidden."""
    workflow = yaml.safe_load(path.read_text())
    shown = {output["outputSource"] for output in workflow["outputs"].values()}
    made = {f"{step}/{output}" for step, output in sources(workflow)}
    for name, step in steps(workflow).items():
        chosen = step.get("state", {}).get("outputs", [])
        made |= {f"{name}/{output}" for output, product in OUTPUTS.items() if product in chosen}
    hidden = {
        f"{name}/{output}"
        for name, step in steps(workflow).items()
        for output, change in step.get("out", {}).items()
        if change.get("hide")
    }
    assert hidden == made - shown
