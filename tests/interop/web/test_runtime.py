"""The runtime of a page comes from a folder or by npm, and is what the page was tested with."""

import hashlib
import json

import pytest

from openjepa.errors import UsageError
from openjepa.interop.web import runtime
from openjepa.interop.web.runtime import FILES, PACKAGE, VERSION, copy_runtime, has_runtime, package_json


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder of the package with small files."""
    dist = tmp_path / "package/dist"
    dist.mkdir(parents=True)
    for name in FILES:
        (dist / name).write_text(name)
    monkeypatch.setattr(runtime, "FILES", {name: hashlib.sha256(name.encode()).hexdigest() for name in FILES})
    (tmp_path / "page").mkdir()
    return tmp_path / "package"


@pytest.mark.parametrize("given", ["", "dist"])
def test_files_are_copied_from_the_package_or_its_files(package, tmp_path, given):
    assert not has_runtime(tmp_path / "page")
    copy_runtime(tmp_path / "page", str(package / given))
    assert has_runtime(tmp_path / "page") and len(list((tmp_path / "page").iterdir())) == 2


def test_other_files_are_refused(package, tmp_path):
    (package / "dist" / next(iter(FILES))).write_text("another version")
    with pytest.raises(UsageError, match=f"is not that of {PACKAGE} {VERSION}: give the folder of"):
        copy_runtime(tmp_path / "page", str(package))
    with pytest.raises(UsageError, match=r"nowhere holds no ort\.wasm"):
        copy_runtime(tmp_path / "page", str(tmp_path / "nowhere"))


def fake_npm(folder, script, monkeypatch):
    (folder / "bin").mkdir()
    (folder / "bin/npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin/npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")


def test_npm_fetches_the_pinned_package_without_running_its_scripts(package, tmp_path, monkeypatch):
    script = f"echo $* > {tmp_path}/words; cp package.json {tmp_path}; mkdir -p node_modules; "
    fake_npm(tmp_path, script + f"cp -r {package} node_modules/{PACKAGE}", monkeypatch)
    copy_runtime(tmp_path / "page", "npm")
    assert has_runtime(tmp_path / "page")
    assert "install --ignore-scripts" in (tmp_path / "words").read_text()
    assert json.loads((tmp_path / "package.json").read_text())["dependencies"] == {PACKAGE: VERSION}


def test_a_failure_of_npm_is_one_line(tmp_path, monkeypatch):
    fake_npm(tmp_path, "echo 'npm error network' >&2; echo more >&2; exit 1", monkeypatch)
    with pytest.raises(UsageError, match=rf"cannot fetch {PACKAGE} {VERSION} \(npm error network\): try again"):
        copy_runtime(tmp_path, "npm")
    monkeypatch.setattr(runtime, "SECONDS", 0.05)
    (tmp_path / "bin/npm").write_text("#!/bin/sh\nexec sleep 5\n")
    with pytest.raises(UsageError, match=r"npm took more than 0\.05 s"):
        copy_runtime(tmp_path, "npm")
    (tmp_path / "bin/npm").unlink()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(UsageError, match=r"npm is not installed: install Node\.js, or give the folder"):
        copy_runtime(tmp_path, "npm")


def test_npm_install_in_the_folder_puts_the_files_beside_the_page():
    script = package_json()["scripts"]["postinstall"]
    assert all(f"'{name}'" in script for name in FILES) and f"node_modules/{PACKAGE}/dist/" in script
