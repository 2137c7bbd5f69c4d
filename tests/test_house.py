"""The layout of src/openjepa: imports run one way, there is no circle, and files and folders stay small."""

import ast
from pathlib import Path

import pytest

import openjepa

SOURCE = Path(__file__).parents[1] / "src" / "openjepa"
FILES = sorted(SOURCE.rglob("*.py"))
MOST_LINES, MOST_MODULES = 400, 14

# Modules that any room may import. They import only each other.
BOTTOM = {"_version", "console", "device", "errors", "files", "optional", "process_group", "rng"}
PURE = {"models", "masking", "methods"}
# The rooms that each room may import besides itself; a room's own requirements include what lies below them.
BELOW = {
    "models": set(),
    "masking": set(),
    "methods": {"masking", "models"},
    "data": {"methods"},
    "encoder": {"data"},
    "evaluation": {"encoder"},
    "anomaly": {"evaluation"},
    "search": {"evaluation"},
    "interop": {"evaluation"},
    "training": {"evaluation"},
    "runs": {"training", "interop", "search", "anomaly"},
    "studies": {"runs"},
    "reports": {"studies"},
    "explore": {"studies"},
    "commands": {"explore", "reports"},
}
MAY_READ_CONFIG = {"cli", "runs", "commands", "config", "recipes"}
# Imports against the arrows that remain: (file, imported module).
EXCEPTIONS: set[tuple[str, str]] = {
    ("reports/tuning.py", "openjepa.config"),
    ("runs/export.py", "openjepa.reports.model_card"),
    ("studies/tune/costs.py", "openjepa.config"),
    ("studies/tune/space.py", "openjepa.config"),
    ("studies/tune/start.py", "openjepa.config"),
    ("studies/tune/start.py", "openjepa.recipes"),
    ("studies/tune/study.py", "openjepa.config"),
    ("studies/tune/trials.py", "openjepa.config"),
    ("training/monitoring/monitors.py", "openjepa.anomaly.energy"),
}


def rooms_below(room: str) -> set[str]:
    return BELOW[room].union(*map(rooms_below, BELOW[room]))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    return ".".join(["openjepa", *path.relative_to(SOURCE).with_suffix("").parts])


MODULES = {name_of(path): path for path in FILES}


def imports_of(path: Path) -> set[str]:
    """The modules of openjepa that a file imports, at its top or inside of functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & MODULES.keys()


def allowed(room: str, target: str) -> bool:
    if room in PURE:
        return target in {room, "rng"} | rooms_below(room)
    if target in {"config", "recipes"}:
        return room in MAY_READ_CONFIG
    if room in BOTTOM:
        return target in BOTTOM
    return room not in BELOW or target == room or target in BOTTOM or target in rooms_below(room)


def violations() -> set[tuple[str, str]]:
    return {
        (str(path.relative_to(SOURCE)), name)
        for path in FILES
        for name in imports_of(path)
        if not allowed(room_of(path), name.split(".")[1])
    }


def test_every_folder_is_a_known_room():
    assert {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"} <= BELOW.keys()


def test_no_room_hides_a_function_of_the_same_name():
    assert not {room_of(path) for path in FILES} & set(openjepa.__all__)  # importing a package sets that attribute


def test_imports_run_one_way():
    assert violations() <= EXCEPTIONS


def test_every_exception_is_needed():
    assert violations() >= EXCEPTIONS


def test_no_circle_of_imports():
    graph = {name: imports_of(path) for name, path in MODULES.items()}
    finished: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in finished:
            for target in graph[name]:
                visit(target, (*trail, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=lambda folder: folder.name)
def test_no_folder_has_too_many_modules(folder):
    modules = [path for path in folder.glob("*.py") if not path.name.startswith("_")]
    assert len(modules) <= MOST_MODULES


def test_no_file_is_too_long():
    too_long = {path.name: lines for path in FILES if (lines := len(path.read_text().splitlines())) > MOST_LINES}
    assert not too_long
