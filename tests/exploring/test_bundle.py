"""The page that is shipped is made from its sources in web/."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEB, STATIC = ROOT / "web", ROOT / "src/openjepa/exploring/static"
FILES = {"LICENSES.txt", "app.css", "app.js", "built.json", "index.html"}


def sources():
    files = [WEB / name for name in ("build.mjs", "package.json", "package-lock.json")]
    files += [path for path in (WEB / "src").rglob("*") if path.is_file()]
    return sorted(path.relative_to(WEB).as_posix() for path in files)


def test_the_page_is_built_from_the_sources_that_are_here():
    digest = hashlib.sha256()
    for name in sources():
        digest.update(name.encode() + b"\0" + (WEB / name).read_bytes() + b"\0")
    assert {path.name for path in STATIC.iterdir()} == FILES
    assert json.loads((STATIC / "built.json").read_text())["sources"] == digest.hexdigest(), "run make web"


def test_building_again_gives_the_same_page(tmp_path):
    if not shutil.which("node") or not (WEB / "node_modules/esbuild").is_dir():
        pytest.skip("node or web/node_modules is not there: make web installs esbuild")
    subprocess.run(["node", WEB / "build.mjs", tmp_path], check=True, capture_output=True)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert all((tmp_path / name).read_bytes() == (STATIC / name).read_bytes() for name in FILES)


def test_the_page_runs_under_its_content_security_policy():
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|style=|<script>|\son\w+=|https?:", page)
    code = (STATIC / "app.js").read_text()
    assert not re.search(r"\beval\(|\bFunction\(|new Worker|innerHTML|insertAdjacentHTML|document\.write", code)
    addresses = set(re.findall(r"https?://[^\"'`\s]+", code + (STATIC / "app.css").read_text()))
    assert addresses <= {"http://www.w3.org/2000/svg"}, "the page asks nothing of other machines"


def test_the_versions_of_what_builds_it_are_exact():
    asked = json.loads((WEB / "package.json").read_text())["devDependencies"]
    locked = json.loads((WEB / "package-lock.json").read_text())["packages"]
    assert all(locked[f"node_modules/{name}"]["version"] == version for name, version in asked.items())
