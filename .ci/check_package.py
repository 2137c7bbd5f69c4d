"""What was built is whole: contents and metadata of the wheel and the source archive, and the wheel runs installed.

    python .ci/check_package.py dist

Installs the wheel without its dependencies, which the running Python has, in a folder of its own.
"""

import email
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

NEEDED = ("py.typed", "__init__.pyi", "reports/templates/run.html", "exploring/static/index.html")
NEEDED += ("interop/web/page/index.html", "cli.py")
FOREIGN = ("tests", "benchmarks", "docs", "web/", ".ci")
SOURCES = ("LICENSE", "README.md", "pyproject.toml", "src/openjepa/py.typed")


def only(folder: Path, pattern: str) -> Path:
    """The one file of a pattern in a folder."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        sys.exit(f"{folder} has {len(found)} files {pattern}: build into an empty folder")
    return found[0]


def check_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    missing = [name for name in NEEDED if f"openjepa/{name}" not in names]
    foreign = [name for name in names if name.startswith(FOREIGN)]
    tracked = subprocess.run(["git", "ls-files", "src"], capture_output=True, text=True, check=True).stdout.split()
    left_out = [name for name in tracked if name.removeprefix("src/") not in names]
    if missing or foreign or left_out:
        sys.exit(f"{wheel}: missing {missing}, foreign {foreign}, left out {left_out}")
    check_metadata(wheel, names)


def check_metadata(wheel: Path, names: set[str]) -> None:
    place = next(name for name in names if name.endswith(".dist-info/METADATA"))
    about = email.message_from_bytes(zipfile.ZipFile(wheel).read(place))
    if about["License-Expression"] != "Apache-2.0" or about["Requires-Python"] != ">=3.11" or not about["Summary"]:
        sys.exit(f"{wheel}: licence, Python versions or summary are not stated")
    if not any(name.endswith("/LICENSE") for name in names):
        sys.exit(f"{wheel} has no licence")


def check_source(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        names = opened.getnames()
    top = names[0].split("/")[0]
    if missing := [name for name in SOURCES if f"{top}/{name}" not in names]:
        sys.exit(f"{archive}: missing {missing}")
    if foreign := [name for name in names if name.split("/")[1:2] == ["tests"]]:
        sys.exit(f"{archive} has a part of the tests, which need the repository: {foreign[:3]}")


def run_installed(wheel: Path) -> None:
    """Train for two steps with what the wheel installs, away from the repository."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", f"{folder}/installed"]
        subprocess.run([*pip, str(wheel.resolve())], check=True)
        environment = os.environ | {"PYTHONPATH": f"{folder}/installed", "PYTHONSAFEPATH": "1"}
        run = ["pretrain", "scenes:32", "--out", "run", "--steps", "2", "--batch-size", "8", "--device", "cpu"]
        for words in (["--version"], run):
            command = [sys.executable, "-m", "openjepa", *words]
            subprocess.run(command, check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        where = [sys.executable, "-c", "import openjepa; print(openjepa.__file__)"]
        said = subprocess.run(where, capture_output=True, text=True, cwd=folder, env=environment)
        if not said.stdout.startswith(folder) or not Path(folder, "run/report.html").exists():
            sys.exit(f"{wheel}: what ran was {said.stdout or said.stderr}")


def main() -> None:
    folder = Path(sys.argv[1])
    wheel = only(folder, "*.whl")
    check_wheel(wheel)
    check_source(only(folder, "*.tar.gz"))
    run_installed(wheel)
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, whole, and runs")


if __name__ == "__main__":
    main()
