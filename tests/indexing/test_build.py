"""An index has what the images are, and is brought up to date by reading no more than what is new."""

import io
import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import openjepa
import openjepa.files.lock
from openjepa.data.dataset import ImageFiles
from openjepa.encoder.baselines import Pixels
from openjepa.encoder.feature_cache import model_hash
from openjepa.errors import UsageError
from openjepa.indexing import build, facts, store
from openjepa.indexing.store import BASE, KEY, Store
from openjepa.interop.open_model import open_model

open_image = ImageFiles.open


def make(photos, out, **more):
    return openjepa.index("pixels", photos, out=out, workers=0, max_skipped=1.0, **more)


def rows(folder):
    opened = Store.open(folder)
    found = opened.read([*BASE, "vector", *opened.labels]).to_pylist()
    return {row["path"]: row for row in found}


@pytest.fixture
def embedded(monkeypatch):
    """How many images each call of the model was given."""
    counts = []
    compute = Pixels.features
    monkeypatch.setattr(Pixels, "features", lambda self, images: (counts.append(len(images)), compute(self, images))[1])
    return counts


def test_no_header_is_read_of_images_that_are_there(photos, tmp_path, monkeypatch):
    """Nor of new ones, where the model says how images are read."""
    model, out = "untrained:vit_nano_patch8_16", tmp_path / "index"
    for path in photos.rglob("*.jpg"):
        os.utime(path, (10**9, 10**9))  # files that have just changed are read again
    openjepa.index(model, photos, out=out, workers=0)
    opened = []
    monkeypatch.setattr(ImageFiles, "open", lambda self, index: opened.append(index) or open_image(self, index))
    shutil.copy(next(photos.rglob("*.jpg")), photos / "new.jpg")
    openjepa.index(model, photos, out=out, workers=0)
    assert len(opened) <= 2 and len(Store.open(out)) == 25


def test_a_folder_without_a_readable_image_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    for model in ("pixels", "untrained:vit_nano_patch8_16"):
        with pytest.raises(UsageError, match=r"no image in .*photos can be read .1 tried; a.jpg"):
            openjepa.index(model, tmp_path / "photos", out=tmp_path / model[:4], workers=0, max_skipped=1.0)
        assert not (tmp_path / model[:4]).exists()


def test_numbers_as_labels_of_images_that_all_are_cut_off_are_refused_in_words(tmp_path):
    (tmp_path / "photos").mkdir()
    content = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(content, "PNG")
    for number in range(3):
        (tmp_path / "photos" / f"{number}.png").write_bytes(content.getvalue()[:2000])
    lines = [f"{number}.png,{number}.5" for number in range(3)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,weight", *lines]))
    with pytest.raises(UsageError, match="can be read"):
        make(tmp_path / "photos", tmp_path / "index", labels=tmp_path / "labels.csv")


def test_an_index_whose_images_are_gone_says_so(photos, tmp_path):
    out = make(photos, tmp_path / "index")
    Store.open(out).remove([*rows(out)])
    with pytest.raises(UsageError, match=r"a.jpg is not a file, and names none of the images of .*, which has none"):
        openjepa.open_index(out).search("a.jpg")


def test_a_row_holds_the_vector_and_the_facts_of_its_image(photos, tmp_path):
    exif = Image.Exif()
    exif[0x0132] = "2024:05:06 07:08:09"
    Image.fromarray(np.full((120, 200, 3), 51, np.uint8)).save(photos / "cat" / "grey.jpg", exif=exif)
    (photos / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    found = rows(make(photos, tmp_path / "index"))
    assert len(found) == 25 and "cat/broken.jpg" not in found
    dataset = openjepa.data.open.open_dataset(str(photos))
    for number, path in enumerate(dataset.paths):
        if path in found:
            from_image = Pixels().features(
                facts.Looks(dataset, Pixels().frame, np.array([number]), {})[0 + number // 256].crops
            )
            assert found[path]["vector"] == from_image[0].half().tolist()
    grey = found["cat/grey.jpg"]
    assert (grey["width"], grey["height"], grey["folder"], grey["class"]) == (200, 120, "cat", "cat")
    assert grey["bytes"] == (photos / "cat" / "grey.jpg").stat().st_size
    assert grey["captured"].isoformat() == "2024-05-06T07:08:09"
    assert grey["brightness"] == pytest.approx(0.2, abs=0.01) and grey["contrast"] == pytest.approx(0, abs=0.01)
    assert grey["sharpness"] < 1 < found["cat/000.jpg"]["sharpness"]
    assert Image.open(io.BytesIO(grey["thumbnail"])).size == (96, 58)


def test_only_what_is_new_or_has_changed_is_embedded(photos, tmp_path, embedded, capsys):
    out = make(photos, tmp_path / "index")
    before = rows(out)
    assert sum(embedded) == 24 + 1  # one black image tells the length of a vector
    shutil.copy(photos / "cat" / "000.jpg", photos / "cat" / "new's.jpg")
    (photos / "dog" / "001.jpg").unlink()
    shutil.copy(photos / "cat" / "002.jpg", photos / "dog" / "003.jpg")
    os.utime(photos / "dog" / "005.jpg", (1, 1))
    embedded.clear()
    make(photos, out)
    assert sum(embedded) == 2
    assert "24 images (1 added, 1 changed, 1 removed, 22 unchanged)" in capsys.readouterr().out
    after = rows(out)
    assert after.keys() == before.keys() - {"dog/001.jpg"} | {"cat/new's.jpg"}
    assert after["dog/003.jpg"]["vector"] == after["cat/002.jpg"]["vector"] == before["cat/002.jpg"]["vector"]
    shutil.rmtree(tmp_path / "whole", ignore_errors=True)
    assert after == rows(make(photos, tmp_path / "whole"))  # stamps of touched files too
    embedded.clear()
    make(photos, out)
    assert not embedded


def test_a_run_that_is_ended_goes_on_and_ends_equal(photos, tmp_path, monkeypatch, embedded):
    monkeypatch.setattr(build, "CHUNK", 4)
    monkeypatch.setattr(facts, "CHUNK", 4)
    monkeypatch.setattr(build, "SHARD", 6)
    (photos / "cat" / "001.jpg").write_bytes((photos / "cat" / "000.jpg").read_bytes()[:-60])
    whole = rows(make(photos, tmp_path / "whole"))
    add = Store.add
    for fails_at in (0, 1):
        left = [fails_at]

        def fail(self, *given, left=left, **more):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            add(self, *given, **more)

        monkeypatch.setattr(Store, "add", fail)
        with pytest.raises(KeyboardInterrupt):
            make(photos, tmp_path / "ended")
    assert len(rows(tmp_path / "ended")) == 7  # a shard, of which one image cannot be read
    monkeypatch.setattr(Store, "add", add)
    embedded.clear()
    assert rows(make(photos, tmp_path / "ended")) == whole
    assert sum(embedded) == 24 - 7


def test_labels_of_a_file_change_without_the_images(photos, tmp_path, embedded):
    table = tmp_path / "labels.csv"
    table.write_text("path,kind,weight\ncat/000.jpg,tabby,3.5\n001.jpg,hound,\n")
    out = make(photos, tmp_path / "index", labels=table)
    found = rows(out)
    assert (found["cat/000.jpg"]["kind"], found["cat/000.jpg"]["class"]) == ("tabby", "cat")
    assert (found["dog/001.jpg"]["kind"], found["dog/001.jpg"]["weight"], found["cat/002.jpg"]["kind"]) == (
        "hound",
        None,
        None,
    )
    table.write_text("path,kind,path of it\ncat/002.jpg,siamese,x\n")
    embedded.clear()
    found = rows(make(photos, out, labels=table))
    assert not embedded
    assert found["cat/002.jpg"]["kind"] == "siamese" and found["cat/000.jpg"]["kind"] is None
    assert found["cat/002.jpg"]["path_of_it"] == "x" and "weight" not in found["cat/002.jpg"]


def test_drawn_images_are_recognised_by_their_pixels(tmp_path, embedded):
    out = make("scenes:20:1", tmp_path / "index")
    embedded.clear()
    make("scenes:20:1", out)
    assert not embedded and len(rows(out)) == 20


def test_what_does_not_belong_into_an_index_is_refused(photos, tmp_path):
    out = make(photos, tmp_path / "index")
    with pytest.raises(
        UsageError, match="was made with another model, pixels: give that one, or index the images again with untrained"
    ):
        openjepa.index("untrained:vit_nano", photos, out=out, workers=0)
    with pytest.raises(UsageError, match=r"is of the images .*photos, not scenes:20:1"):
        make("scenes:20:1", out)
    with pytest.raises(UsageError, match="is not an index"):
        make(photos, photos)
    with pytest.raises(UsageError, match="lies in"):
        make(photos, photos / "index")
    (tmp_path / "labels.csv").write_text("path,kind\nbird/9.jpg,owl\n")
    with pytest.raises(UsageError, match="names none of the 24 images"):
        make(photos, out, labels=tmp_path / "labels.csv")
    with openjepa.files.lock.locked(out), pytest.raises(UsageError, match="another process works in"):
        make(photos, out)


def test_a_damaged_index_is_refused_in_one_line(photos, tmp_path):
    out = make(photos, tmp_path / "index")
    data = next((out / "images.lance" / "data").iterdir())
    os.truncate(data, 100)
    with pytest.raises(UsageError, match="is damaged"):
        rows(out)
    for manifest in (out / "images.lance" / "_versions").glob("*.manifest"):
        content = manifest.read_bytes()
        manifest.write_bytes(content[:-16] + (5).to_bytes(8, "little") + content[-8:])  # LanceDB panics
    with pytest.raises(UsageError, match=r"is damaged \(rust future panicked"):
        make(photos, out)
    for manifest in (out / "images.lance" / "_versions").glob("*.manifest"):
        os.truncate(manifest, 10)
    with pytest.raises(UsageError, match="is damaged"):
        make(photos, out)


def test_files_may_vanish_while_an_index_is_opened(photos, tmp_path, monkeypatch):
    out = make(photos, tmp_path / "index")

    def gone(path):
        raise FileNotFoundError(path)  # as when another process tidies the table

    with monkeypatch.context() as patch:
        patch.setattr(store.os, "lstat", gone)
        opened = Store.open(out)
    assert len(opened) == len(rows(out))


def test_a_pipe_in_an_index_is_not_waited_for(photos, tmp_path):
    out = make(photos, tmp_path / "index")
    data = next((out / "images.lance" / "data").iterdir())
    data.unlink()
    os.mkfifo(data)
    with pytest.raises(UsageError, match=r"is damaged: .* is neither a file nor a folder"):
        rows(out)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layout": 99}, "newer openjepa"),
        ({"dimensions": 7}, "column vector"),
        ({"model_hash": "x"}, "model_hash"),
        ({"dimensions": 10**9}, "dimensions"),
    ],
)
def test_a_table_that_lies_about_itself_is_refused(photos, tmp_path, change, said):
    out = make(photos, tmp_path / "index")
    table = Store.open(out).table
    about = json.loads(table.schema.metadata[KEY]) | change
    schema, all_rows = table.schema.with_metadata({KEY: json.dumps(about)}), table.to_arrow()
    store.lancedb().connect(str(out)).create_table("images", all_rows.cast(schema), mode="overwrite")
    with pytest.raises(UsageError, match=said):
        Store.open(out)


def test_the_model_hash_of_an_index_does_not_depend_on_arithmetic():
    exact, fast = (
        open_model("untrained:vit_nano", torch.device("cpu"), kind) for kind in (torch.float32, torch.bfloat16)
    )
    assert model_hash(exact) != model_hash(fast)
    assert model_hash(exact, arithmetic=False) == model_hash(fast, arithmetic=False)
