"""Folders whose names are not valid UTF-8: images are read from them, and no weights are written to them."""

import os

import pytest
from support.photos import draw_photos

import openjepa
from openjepa.data.open import open_dataset
from openjepa.errors import UsageError
from openjepa.files import check_folder_name, write_json
from openjepa.interop.weights.files import read_safetensors
from openjepa.safety.schema import Schema, Text, read_json

SMALL = {"image_size": 16, "batch_size": 8, "predictor_depth": 1, "workers": 0, "precision": "float32"}


class Named(Schema):
    name: Text


@pytest.fixture
def bad(tmp_path):
    """A folder with such a name, and images with such names in it."""
    folder = tmp_path / os.fsdecode(b"photos\xff")
    try:
        draw_photos(folder)
    except OSError:
        pytest.skip("the file system has no such names")
    first = next(folder.rglob("*.jpg"))
    first.rename(first.with_name(os.fsdecode(b"x\xff.jpg")))
    return folder


def test_what_is_stored_of_such_a_name_is_json_that_can_be_read(tmp_path):
    name = os.fsdecode(b"photos\xff")
    write_json(tmp_path / "names.json", {"name": name, name: [name, {"a": (name, 1, None)}]})
    assert read_json(tmp_path / "names.json", Named, "").name == "photos\\udcff"
    assert Named(name=name).name == "photos\\udcff"
    write_json(tmp_path / "names.json", {"name": "übung 😀"})
    assert read_json(tmp_path / "names.json", Named, "").name == "übung 😀"


@pytest.mark.usefixtures("reports")
def test_a_run_on_such_a_folder_ends_with_its_report_and_is_resumed(bad, tmp_path):
    run = openjepa.pretrain(str(bad), out=tmp_path / "run", steps=1, probe=str(bad), **SMALL)
    assert run.finished and (run / "report.html").is_file()
    assert "photos\\udcff" in openjepa.open_run(run.folder).stored()[1].data
    assert openjepa.pretrain(str(bad), out=run.folder, resume=True, probe=str(bad), steps=2, **SMALL).done == 2


def test_such_a_folder_is_indexed_and_brought_up_to_date(bad, tmp_path, capsys):
    for told in ("added", "unchanged"):
        openjepa.index("pixels", str(bad), out=tmp_path / "photos.index", workers=0)
        assert f"{len([*bad.rglob('*.jpg')])} {told}" in capsys.readouterr().out


def test_images_are_prepared_into_such_a_folder(bad, tmp_path):
    to = tmp_path / os.fsdecode(b"small\xff")
    openjepa.data_prepare(str(bad), to, size=16, workers=0)
    assert len(open_dataset(to)) == len([*bad.rglob("*.jpg")])


@pytest.mark.parametrize("command", ["pretrain", "finetune", "index", "anomaly_fit", "evaluate", "export", "import_"])
def test_no_weights_are_written_where_no_library_reads_them(photos, tmp_path, monkeypatch, command):
    out = tmp_path / os.fsdecode(b"out\xff")
    calls = {
        "pretrain": lambda: openjepa.pretrain(str(photos), out=out, steps=1, **SMALL),
        "finetune": lambda: openjepa.finetune("untrained:vit_tiny", str(photos), out=out, workers=0),
        "index": lambda: openjepa.index("pixels", str(photos), out=out, workers=0),
        "anomaly_fit": lambda: openjepa.anomaly_fit("pixels", str(photos), out=out, workers=0),
        "evaluate": lambda: openjepa.evaluate("pixels", str(photos), save_head=out, workers=0),
        "export": lambda: openjepa.export("run", to="hf", out=out),
        "import_": lambda: openjepa.import_("run", out),
    }
    with pytest.raises(UsageError, match=r"is not valid UTF-8.*give another name"):
        calls[command]()
    assert not out.exists()


def test_weights_under_such_a_name_are_refused_with_the_reason(tmp_path):
    with pytest.raises(UsageError, match="not valid UTF-8, so it cannot be read: rename it"):
        read_safetensors(tmp_path / os.fsdecode(b"model\xff") / "model.safetensors")
    check_folder_name(tmp_path / "übung")
