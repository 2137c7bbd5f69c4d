"""The layout of src/openjepa: imports run one way, there is no circle, and files and folders stay small."""

import ast
import shutil
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

import openjepa

SOURCE = Path(__file__).parents[1] / "src" / "openjepa"
MOST_LINES, MOST_MODULES = 400, 14

# Modules that any room may import. They import only each other.
BOTTOM = {
    "_version",
    "arrow",
    "console",
    "device",
    "errors",
    "escaping",
    "files",
    "optional",
    "own",
    "ranks",
    "renamed",
    "rng",
    "waited",
    "safety",
}
PURE = {"models", "masking", "methods"}
# The rooms that each room may import besides itself; a room's own requirements include what lies below them.
BELOW: dict[str, set[str]] = {
    "safety": set(),
    "models": set(),
    "masking": set(),
    "methods": {"masking", "models"},
    "data": {"methods"},
    "encoder": {"data"},
    "evaluation": {"encoder"},
    "anomaly": {"interop"},
    "interop": {"evaluation"},
    "training": {"evaluation"},
    "runs": {"training", "interop", "anomaly"},
    "indexing": {"runs"},
    "sklearn": {"runs"},
    "studies": {"runs"},
    "reports": {"studies", "indexing"},
    "exploring": {"indexing"},
    "installation": {"training"},
    "commands": {"exploring", "reports", "installation"},
}
MAY_READ_CONFIG = {"cli", "runs", "commands", "config", "recipe_settings"}
# Imports against the arrows that remain: (file, imported module).
EXCEPTIONS: set[tuple[str, str]] = set()


def rooms_below(room: str) -> set[str]:
    return BELOW[room].union(*map(rooms_below, BELOW[room]))


def allowed(room: str, target: str) -> bool:
    """Whether files of a room may import a module or package of the name `target` in openjepa."""
    if room in PURE:
        return target in {room, "rng"} | rooms_below(room)
    if target in {"config", "recipe_settings"}:
        return room in MAY_READ_CONFIG
    if room in BOTTOM:
        return target in BOTTOM
    return room not in BELOW or target == room or target in BOTTOM or target in rooms_below(room)


@cache
def imported(source: str) -> frozenset[str]:
    """The modules that a source text imports, and what might be modules among the names that it takes from them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(found)


@dataclass(frozen=True)
class House:
    """The modules below a folder `root` that holds the package."""

    root: Path

    @cached_property
    def modules(self) -> dict[str, Path]:
        """Every Python file by its module's name."""
        return {".".join(["openjepa", *self._module(path).parts]): path for path in sorted(self.root.rglob("*.py"))}

    def _module(self, path: Path) -> Path:
        """A package is imported by the name of its folder; that of all, which has no room, counts as a module."""
        name = path.relative_to(self.root).with_suffix("")
        return name.parent if name.name == "__init__" and name.parent.name else name

    def imports(self, path: Path) -> set[str]:
        """The modules of openjepa that a file imports, at its top or inside of functions."""
        return imported(path.read_text()) & self.modules.keys()

    def wrong_imports(self) -> set[tuple[str, str]]:
        """(file, module) of every import against the arrows."""
        return {
            (str(path.relative_to(self.root)), target)
            for path in self.modules.values()
            for target in self.imports(path)
            if not allowed(path.relative_to(self.root).parts[0].removesuffix(".py"), target.split(".")[1])
        }

    def circle(self) -> str:
        """A circle of imports as a -> b -> a, or nothing."""
        graph = {name: self.imports(path) for name, path in self.modules.items()}
        finished: set[str] = set()

        def visit(name: str, trail: tuple[str, ...]) -> str:
            if name in trail:
                return " -> ".join([*trail[trail.index(name) :], name])
            found = "" if name in finished else next(filter(None, (visit(n, (*trail, name)) for n in graph[name])), "")
            finished.add(name)
            return found

        return next(filter(None, (visit(name, ()) for name in graph)), "")

    def full_folders(self) -> dict[str, int]:
        """The folders with more modules than allowed."""
        folders = {path.parent for path in self.modules.values()}
        counts = {str(f): sum(not p.name.startswith("_") for p in f.glob("*.py")) for f in folders}
        return {folder: count for folder, count in counts.items() if count > MOST_MODULES}

    def long_files(self) -> dict[str, int]:
        """The files with more lines than allowed."""
        counts = {str(path): len(path.read_text().splitlines()) for path in self.modules.values()}
        return {name: count for name, count in counts.items() if count > MOST_LINES}


HOUSE = House(SOURCE)


def test_every_file_is_looked_at():
    assert len(HOUSE.modules) == sum(1 for path in SOURCE.glob("**/*") if path.suffix == ".py") > 100


def test_every_folder_is_a_known_room():
    assert {
        path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"
    } <= BELOW.keys() | BOTTOM


def test_no_room_hides_a_function_of_the_same_name():
    rooms = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in HOUSE.modules.values()}
    assert not rooms & set(openjepa.__all__)  # importing a package sets that attribute


def test_imports_run_one_way():
    assert HOUSE.wrong_imports() == EXCEPTIONS


def test_no_circle_of_imports():
    assert not HOUSE.circle()


def test_no_folder_has_too_many_modules():
    assert not HOUSE.full_folders()


def test_no_file_is_too_long():
    assert not HOUSE.long_files()


@pytest.fixture
def copy(tmp_path: Path) -> House:
    """A copy of the source to plant faults in."""
    shutil.copytree(SOURCE, tmp_path / "openjepa", ignore=shutil.ignore_patterns("__pycache__"))
    return House(tmp_path / "openjepa")


@pytest.mark.parametrize(
    ("file", "line", "target"),
    [
        ("data/batches.py", "from openjepa.training.loop import TrainingRun", "openjepa.training.loop"),
        ("training/loop.py", "from openjepa.config import Config", "openjepa.config"),
        ("models/vit.py", "from openjepa.errors import UsageError", "openjepa.errors"),
        ("methods/ijepa.py", "def late():\n    import openjepa.files", "openjepa.files"),
        ("masking/deeper/planted.py", "import openjepa.data.dataset", "openjepa.data.dataset"),
    ],
)
def test_a_planted_import_is_found(copy, file, line, target):
    path = copy.root / file
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")
    assert copy.wrong_imports() == EXCEPTIONS | {(file, target)}


def test_a_planted_circle_is_found(copy):
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        (copy.root / f"training/{name}.py").write_text(f"from openjepa.training.{other} import x\n")
    assert copy.circle().count("openjepa.training.a") + copy.circle().count("openjepa.training.b") >= 2


def test_a_planted_module_too_many_is_found(copy):
    room = copy.root / "training"
    for number in range(MOST_MODULES + 1 - sum(not p.name.startswith("_") for p in room.glob("*.py"))):
        (room / f"planted{number}.py").touch()
    assert copy.full_folders() == {str(room): MOST_MODULES + 1}


def test_a_planted_long_file_is_found(copy):
    (copy.root / "training/monitoring/planted.py").write_text("\n" * (MOST_LINES + 1))
    assert list(copy.long_files().values()) == [MOST_LINES + 1]
