"""The house: imports go down only, and the core knows neither files nor what is said."""

import ast
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "source_extraction"
# From the bottom up: what stands on a floor may import from it and from the floors below. Readers and writers are side
# by side, and know nothing of each other.
FLOORS = {"errors": 0, "settings": 1, "core": 2, "readers": 3, "writers": 3, "run": 4, "faces": 5, "__main__": 6}
MODULES = sorted(PACKAGE.rglob("*.py"))
# What a module of the core has no business with.
NOT_IN_THE_CORE = {
    *("argparse", "pathlib", "tifffile", "matplotlib", "PIL", "pandas", "tqdm", "logging", "json", "csv", "tempfile"),
}


def room_of(module: str) -> str:
    """The room of a module of the package by its dotted name, the package itself having none."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(path: Path) -> list[tuple[str, bool]]:
    """The modules that a file imports, and whether for type checkers only."""
    tree = ast.parse(path.read_text())
    own = ("source_extraction", *path.relative_to(PACKAGE).with_suffix("").parts)
    package = own[:-1]
    for_types = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and getattr(branch.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node in for_types) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            # `from . import name` may name a module or a value.
            named = [module] if node.module else [f"{module}.{alias.name}" for alias in node.names]
            found += [(name, node in for_types) for name in named]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    own = room_of(".".join(("source_extraction", *path.relative_to(PACKAGE).with_suffix("").parts)))
    if own == "__init__":
        return  # the front door, which imports when it is asked
    for module, _ in imports(path):
        other = room_of(module) if module.split(".")[0] == "source_extraction" else None
        if other in FLOORS and other != own:
            assert FLOORS[other] < FLOORS[own], f"{path.name} imports {module}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").glob("*.py")), ids=lambda path: path.name)
def test_the_core_knows_no_file_and_no_log(path: Path) -> None:
    at_run_time = {module.split(".")[0] for module, for_types in imports(path) if not for_types}
    assert not at_run_time & NOT_IN_THE_CORE
    assert "astropy.io" not in {module.rpartition(".")[0] for module, for_types in imports(path) if not for_types}
    assert "print(" not in path.read_text()
    assert "open(" not in path.read_text()


def test_every_room_is_on_a_floor() -> None:
    rooms = {
        room_of(".".join(("source_extraction", *path.relative_to(PACKAGE).with_suffix("").parts))) for path in MODULES
    }
    assert rooms - {"__init__"} == set(FLOORS)


def test_the_map_of_the_house_names_every_module() -> None:
    text = ast.get_docstring(ast.parse((PACKAGE / "__init__.py").read_text()))
    for path in MODULES:
        if path.stem not in ("__init__", "__main__") and path.parent.name != "faces":
            assert path.stem in text, path.stem
