"""The rooms of the house: arrows run one way, there is no circle, and no file is too long."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "openjepa"
FILES = sorted(SOURCE.rglob("*.py"))
MAY_IMPORT = {
    "core": {"core"},
    "data": {"data", "core"},
    "evaluation": {"evaluation", "data", "core"},
    "objectives": {"objectives", "core"},
    "training": {"training", "evaluation", "objectives", "data", "core"},
    "interop": {"interop", "evaluation", "data", "core"},
    "reporting": {"reporting", "evaluation", "data", "core"},
    "verbs": {"verbs", "training", "objectives", "interop", "reporting", "evaluation", "data", "core"},
}
ONLY_VERBS = {"config", "recipes", "variations"}


def name_of(path: Path) -> str:
    return ".".join(["openjepa", *path.relative_to(SOURCE).with_suffix("").parts])


def imports_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name and name.startswith("openjepa.")}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_arrows_run_one_way(room):
    for path in (SOURCE / room).glob("*.py"):
        for name in imports_of(path):
            target = name.split(".")[1]
            assert target not in ONLY_VERBS or room == "verbs", f"{path.name} imports {name}"
            assert target not in MAY_IMPORT or target in MAY_IMPORT[room], f"{path.name} imports {name}"


def test_core_imports_nothing_of_ours():
    for path in (SOURCE / "core").glob("*.py"):
        assert all(name.startswith("openjepa.core") for name in imports_of(path)), path


def test_no_circle_of_imports():
    modules = {name_of(path): path for path in FILES}
    graph = {name: imports_of(path) & modules.keys() for name, path in modules.items()}
    finished: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in finished:
            for target in graph[name]:
                visit(target, (*trail, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


def test_no_file_over_300_lines():
    too_long = {path.name: lines for path in FILES if (lines := len(path.read_text().splitlines())) > 300}
    assert not too_long
