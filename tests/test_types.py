"""mypy and pyright see the signatures of the package, and the stub that states them is that of its functions."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.stub import STUB, stub

ROOT = Path(__file__).parents[1]
PAGE, WRONG = ROOT / "docs" / "python.md", ROOT / "tests" / "typing" / "wrong.py"
# Libraries whose types no promise rests on; torch alone would take most of the time.
SKIPPED = ("torch", "numpy", "datasets", "pyarrow", "PIL", "typer", "pydantic", "transformers", "sklearn", "scipy")


def test_the_stub_is_that_of_the_functions_and_settings():
    same = ast.dump(ast.parse(STUB.read_text())) == ast.dump(ast.parse(stub()))
    assert same, "run: python tests/support/stub.py; ruff format src/openjepa/__init__.pyi"


def mypy(files: list[Path], folder: Path) -> set[tuple[str, int]]:
    skipped = "".join(f"[mypy-{name}.*]\nfollow_imports = skip\nignore_errors = true\n" for name in SKIPPED)
    (folder / "mypy.ini").write_text(f"[mypy]\nfollow_imports = silent\nignore_missing_imports = true\n{skipped}")
    words = ["--config-file", folder / "mypy.ini", "--cache-dir", folder / "cache", "--no-error-summary", *files]
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | {"MYPYPATH": str(ROOT / "src")},
    )
    assert not ran.stderr, ran.stderr
    return {
        (Path(name).name, int(line)) for name, line in re.findall(r"^(\S+?):(\d+): error", ran.stdout, re.MULTILINE)
    }


def pyright(files: list[Path], folder: Path) -> set[tuple[str, int]]:
    about = {
        "include": [str(file) for file in files],
        "extraPaths": [str(ROOT / "src")],
        "typeCheckingMode": "standard",
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(about))
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "basedpyright",
            "--outputjson",
            "--pythonpath",
            sys.executable,
            "--project",
            str(folder),
        ],
        capture_output=True,
        text=True,
    )
    found = [each for each in json.loads(ran.stdout)["generalDiagnostics"] if each["severity"] == "error"]
    return {(Path(each["file"]).name, each["range"]["start"]["line"] + 1) for each in found}


@pytest.mark.types
@pytest.mark.parametrize("check", [mypy, pyright])
def test_right_scripts_pass_and_wrong_ones_fail_at_the_marked_lines(check, tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "page.py").write_text("\n".join(blocks))
    (tmp_path / "wrong.py").write_text(WRONG.read_text())
    lines = WRONG.read_text().splitlines()
    marked = {("wrong.py", number) for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    assert check([tmp_path / "page.py", tmp_path / "wrong.py"], tmp_path) == marked
