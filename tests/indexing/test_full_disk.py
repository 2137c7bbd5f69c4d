"""A disk that is full while an index is made: nothing is left without an image, and what has images is gone on with."""

import subprocess
import sys

import pytest

import openjepa
from openjepa.errors import UsageError
from openjepa.indexing import build, facts
from openjepa.indexing.store import Store

LIMITED = """
import resource, signal, sys
import openjepa
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for limit in (100, 3000):  # no version of the table, and versions without a row
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        openjepa.index("pixels", sys.argv[1], out=sys.argv[2], workers=0)
    except openjepa.UsageError as error:
        print("refused" if "cannot write" in str(error) and "make room" in str(error) else error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_a_first_index_without_room_leaves_nothing(photos, tmp_path):
    out = tmp_path / "photos.index"
    words = [sys.executable, "-c", LIMITED, str(photos), str(out)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout.split() == ["refused", "refused"], done.stderr
    assert not out.exists()
    openjepa.index("pixels", photos, out=out, workers=0)
    assert len(Store.open(out)) == 24


@pytest.mark.parametrize("before", [0, 6])
def test_an_index_that_has_images_is_kept_when_the_disk_is_full(photos, tmp_path, monkeypatch, capsys, before):
    monkeypatch.setattr(build, "CHUNK", 3)
    monkeypatch.setattr(facts, "CHUNK", 3)
    monkeypatch.setattr(build, "SHARD", 6)
    out, add = tmp_path / "photos.index", Store.add

    def full(self, rows, replace=False):
        if len(self) >= before:
            raise UsageError("cannot write: make room")
        add(self, rows, replace)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "add", full)
        for _ in range(2):
            with pytest.raises(UsageError, match="make room"):
                openjepa.index("pixels", photos, out=out, workers=0)
            assert out.exists() == (before > 0) and (not before or len(Store.open(out)) == before)
    openjepa.index("pixels", photos, out=out, workers=0)
    assert f"({24 - before} added, 0 changed, 0 removed, {before} unchanged)" in capsys.readouterr().out


def test_an_index_that_was_there_is_kept_without_a_row(photos, tmp_path, monkeypatch):
    def interrupted(*_args, **_keywords):
        raise KeyboardInterrupt

    out = tmp_path / "photos.index"
    openjepa.index("pixels", photos, out=out, workers=0)
    Store.open(out).remove(Store.open(out).read(["path"])["path"].to_pylist())
    monkeypatch.setattr(Store, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        openjepa.index("pixels", photos, out=out, workers=0)
    assert len(Store.open(out)) == 0
