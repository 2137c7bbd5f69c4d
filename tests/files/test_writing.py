"""Files and folders are written whole or not at all, with the modes that the umask gives."""

import multiprocessing
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from support.photos import draw_photos

import openjepa
from openjepa.arrow import cache_file, load_tables
from openjepa.errors import UsageError
from openjepa.files import (
    atomic_file,
    atomic_folder,
    cache_folder,
    temporary,
    write_json,
    write_output,
    write_rows,
    write_text,
    writing,
)
from openjepa.files.vectors import write_vectors


@pytest.fixture(autouse=True)
def umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path):
    return oct(path.stat().st_mode & 0o777)


def test_a_file_is_replaced_at_the_end_and_kept_on_an_error(tmp_path):
    path = tmp_path / "made" / "notes.txt"
    write_text(path, "first")
    with pytest.raises(KeyboardInterrupt), atomic_file(path) as part:
        part.write_text("half")
        assert path.read_text() == "first"
        raise KeyboardInterrupt
    assert path.read_text() == "first" and list(path.parent.iterdir()) == [path]
    write_json(path, {"a": 1})
    assert path.read_text() == '{\n  "a": 1\n}\n'


def test_a_folder_takes_its_place_at_the_end_and_not_on_an_error(tmp_path):
    folder = tmp_path / "model"
    with pytest.raises(ValueError, match="stop"), atomic_folder(folder) as part:
        (part / "a").write_text("half")
        raise ValueError("stop")
    assert not list(tmp_path.iterdir())
    folder.mkdir()
    with atomic_folder(folder) as part:
        (part / "a").write_text("whole")
    with pytest.raises(OSError, match="not empty"), atomic_folder(folder) as part:
        (part / "a").write_text("another")
    assert (folder / "a").read_text() == "whole"
    with atomic_folder(folder, replace=True) as part:
        (part / "b").write_text("another")
    assert [path.name for path in folder.iterdir()] == ["b"] and list(tmp_path.iterdir()) == [folder]


def die_while_writing(path, at):
    with (atomic_folder if path.suffix == "" else atomic_file)(path) as part:
        (part / "half" if part.is_dir() else part).write_text("half")
        os.kill(os.getpid(), at)


@pytest.mark.parametrize("name", ["model", "rows.csv"])
def test_what_a_killed_writer_left_is_deleted_by_the_next(tmp_path, name):
    path = tmp_path / name
    child = multiprocessing.get_context("fork").Process(target=die_while_writing, args=(path, signal.SIGKILL))
    child.start()
    child.join()
    assert [left.name.startswith(".writing-") for left in tmp_path.iterdir()] == [True]
    write_text(tmp_path / "other", "")  # has nothing to do with it
    assert len(list(tmp_path.iterdir())) == 2
    with (atomic_folder if path.suffix == "" else atomic_file)(path) as part:
        (part / "fresh" if part.is_dir() else part).write_text("new")
    assert sorted(left.name for left in tmp_path.iterdir()) == sorted([name, "other"])


def test_what_another_process_is_writing_stays(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    with atomic_file(path) as ours:
        with atomic_file(path) as part:
            part.write_text("second")
        child = multiprocessing.get_context("fork").Process(target=write_text, args=(path, "third"))
        child.start()
        child.join()
        assert path.read_text() == "third"
        ours.write_text("first")
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]
    monkeypatch.setattr(temporary, "_place", lambda: "elsewhere")
    foreign = temporary.temporary(path)
    foreign.write_text("of another machine")
    monkeypatch.undo()
    write_text(path, "again")
    assert foreign.exists()
    os.utime(foreign, (0, 0))
    write_text(path, "again")
    assert not foreign.exists()


def test_leftovers_of_a_folder_are_deleted_at_any_depth(tmp_path):
    (tmp_path / "checkpoints" / ".writing-step-00000002").mkdir(parents=True)
    (tmp_path / "checkpoints" / "step-00000001").mkdir()
    with atomic_file(tmp_path / "config.json") as part:
        temporary.remove_leftovers(tmp_path)
        assert part.exists()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]


def test_a_name_of_the_greatest_length_is_written(tmp_path):
    path = tmp_path / ("a." + "b" * 253)
    write_text(path, "text")
    assert path.read_text() == "text"


def test_weights_have_the_mode_of_other_files(tmp_path):
    with atomic_file(tmp_path / "a.safetensors") as part:
        save_file({"a": torch.zeros(2)}, part)
    with atomic_folder(tmp_path / "b") as part:
        save_file({"a": torch.zeros(2)}, part / "b.safetensors")
    assert mode(tmp_path / "a.safetensors") == mode(tmp_path / "b" / "b.safetensors") == "0o644"


def test_writers_of_one_cache_file_do_not_meet(tmp_path):
    path, both = tmp_path / "kept", threading.Barrier(2)

    def write(text):
        with atomic_file(path) as part:
            part.write_text(text)
            both.wait(10)

    threads = [threading.Thread(target=write, args=(letter * 9,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in ("a" * 9, "b" * 9) and list(tmp_path.iterdir()) == [path]


def test_a_pipe_is_written_directly(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_output(tmp_path / "pipe", "page")
    reader.join()
    assert read == ["page"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for write in (
        write_output,
        lambda path, _: write_rows(path, ["a"], []),
        lambda path, _: write_vectors(path.with_suffix(".csv"), [], ROW),
    ):
        with pytest.raises(UsageError, match=r"cannot write .*file/out"):
            write(tmp_path / "file" / "out", "")


ROW = np.zeros((0, 2), np.float32)


def test_tables_hold_what_was_given(tmp_path):
    write_rows(tmp_path / "rows.csv", ["path", "class"], [["a,b.png", 1]])
    assert (tmp_path / "rows.csv").read_bytes() == b'path,class\r\n"a,b.png",1\r\n'
    write_vectors(tmp_path / "v.parquet", ["a", "b"], np.arange(4, dtype=np.float32).reshape(2, 2))
    assert pq.read_table(tmp_path / "v.parquet").to_pydict() == {"path": ["a", "b"], "vector": [[0, 1], [2, 3]]}


def test_one_variable_moves_every_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("OPENJEPA_CACHE", raising=False)
    assert cache_folder("hub", "a/b") == tmp_path / "xdg" / "openjepa" / "hub" / "a" / "b"
    monkeypatch.setenv("OPENJEPA_CACHE", str(tmp_path / "moved"))
    assert cache_folder("features") == tmp_path / "moved" / "features"
    assert cache_file("tables", 1, "a").parent == tmp_path / "moved" / "tables"
    assert load_tables(cache_file("tables", 1, "a"), 1) is None


def test_without_a_home_the_cache_must_be_named(tmp_path, monkeypatch):
    def homeless(*_args, **_kwargs):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("OPENJEPA_CACHE", raising=False)
    for nowhere in (homeless, lambda *_args, **_kwargs: Path("~/.cache/openjepa")):
        monkeypatch.setattr(writing, "user_cache_path", nowhere)
        with pytest.raises(UsageError, match="no home folder for a cache: set OPENJEPA_CACHE"):
            cache_folder("features")
        photos = draw_photos(tmp_path / "photos")
        with pytest.raises(UsageError, match="set OPENJEPA_CACHE"):
            openjepa.evaluate("pixels", photos, workers=0)
        assert openjepa.embed("pixels", photos, out=tmp_path / "v.parquet", workers=0).exists()
    monkeypatch.setenv("OPENJEPA_CACHE", str(tmp_path / "cache"))
    assert openjepa.evaluate("pixels", photos, workers=0)


def test_the_weights_of_an_artifact_can_be_read_by_others(tmp_path):
    from interop.test_formats import SIZES, ours

    from openjepa.runs.planning.initial_weights import store

    store(tmp_path / "model", ours(SIZES[0]), "target", {})
    openjepa.export(tmp_path / "model", to="timm")
    weights = [*(tmp_path / "model").rglob("*.safetensors")]
    assert len(weights) == 4 and {mode(path) for path in weights} == {"0o644"}
