"""The processes of torchrun fill one table together."""

import os
import subprocess
import sys
from pathlib import Path

from support.photos import draw_photos

import openjepa
from openjepa.indexing import build, facts
from openjepa.indexing.store import BASE, Store

TESTS = Path(__file__).parents[1]
MODEL = "untrained:vit_micro_patch8_16"
HOW = {"workers": 0, "patches": True, "device": "cpu", "precision": "float32"}
# In a process of its own, because LanceDB cannot be forked once it was used; so not of the size that tests change.
SCRIPT = f"""
import openjepa
from support.processes import together
from openjepa.indexing import build, facts

def index():
    build.CHUNK = facts.CHUNK = build.SHARD = 4
    openjepa.index({MODEL!r}, "photos", out="two", **{HOW!r})

together(2, index, meet=False)
"""


def rows(folder):
    return Store.open(folder).read([*BASE, "vector", "patches"]).sort_by("path").to_pylist()


def two_processes(folder):
    paths = [TESTS, TESTS.parent / "benchmarks", *sys.path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=folder, check=True, timeout=120, env=environment)


def test_two_processes_make_and_update_the_index_of_one(tmp_path, monkeypatch):
    for module in (build, facts):
        monkeypatch.setattr(module, "CHUNK", 4)  # the images that are embedded together, as in the script
    photos = draw_photos(tmp_path / "photos")
    openjepa.index(MODEL, photos, out=tmp_path / "two", **HOW)
    names = sorted(photos.rglob("*.jpg"))
    names[0].unlink()
    names[3].write_bytes(b"\xff\xd8\xff")
    for number in (5, 11, 17):
        names[number].write_bytes(names[1].read_bytes())
    draw_photos(photos / "new", 12)
    two_processes(tmp_path)
    openjepa.index(MODEL, photos, out=tmp_path / "one", **HOW)
    assert rows(tmp_path / "two") == rows(tmp_path / "one")
    assert len(Store.open(tmp_path / "two")) == 34
