"""The same images from wherever they come: same order, same batches, same embeddings; and what bad sources do."""

import contextlib
import gzip
import json
import os
import pickle
import random
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from support.packing import add, as_hub, as_parquet, as_shards, as_table, as_tar, as_zip, names_in
from support.photos import draw_photos
from support.servers import DataHub, Files

import openjepa
from openjepa.data.batches import Batches, epoch_order, in_order
from openjepa.data.crops import Frame
from openjepa.data.open import open_dataset
from openjepa.data.storage import remote
from openjepa.data.storage.streaming import WINDOW, Sequential
from openjepa.encoder.features import compute_features
from openjepa.errors import BadImage, UsageError
from openjepa.interop.open_model import open_model
from openjepa.masking.settings import MaskSettings

COUNT = 36


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The same 36 pictures in every way that has them one by one."""
    home = tmp_path_factory.mktemp("packed")
    folder = draw_photos(home / "photos", COUNT)
    as_zip(folder, home / "photos.zip")
    as_tar(folder, home / "photos.tar")
    as_tar(folder, home / "photos.tar.gz", names_in(folder), "w:gz")
    as_shards(folder, home / "shards", 3)
    as_parquet(folder, home / "photos.parquet")
    saved = home / "saved"
    saved.mkdir()
    table = as_table(folder)
    for number, part in enumerate((table.slice(0, 20), table.slice(20))):
        with (
            pa.OSFile(str(saved / f"data-0000{number}.arrow"), "wb") as sink,
            pa.ipc.new_stream(sink, part.schema) as file,
        ):
            file.write_table(part)
    (saved / "state.json").write_text("{}")
    rows = "".join(f"photos/{name},{name.split('/')[0]},{number}\n" for number, name in enumerate(names_in(folder)))
    (home / "list.csv").write_text("image_path,animal,id\n" + rows)
    return home


def refusal(source):
    with pytest.raises(UsageError) as caught:
        open_dataset(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def batches_of(dataset, **changes):
    settings = {"dataset": dataset, "masks": MaskSettings((4, 4)), "image_size": (16, 16)}
    return Batches(**settings | {"crop_scale": (0.3, 1.0), "batch_size": 8, "seed": 3} | changes)


KINDS = ("photos.zip", "photos.tar", "shards", "shards/data-{0000..0002}.tar", "photos.parquet", "saved", "list.csv")


@pytest.mark.parametrize("kind", [*KINDS, "photos/*/*.jpg", "file://{home}/shards/data-*.tar"])
def test_every_kind_gives_the_same_batches_and_the_same_embeddings(packed, kind):
    here = open_dataset(packed / "photos")
    there = open_dataset(kind.format(home=packed) if "://" in kind else packed / kind)
    assert len(there) == COUNT and there.skipped == []
    (classes,) = here.labels.values()
    (theirs,) = there.labels.values()
    assert theirs.tolist() == classes.tolist()
    for step in (0, 4, 5):
        ours, other = batches_of(here)[step], batches_of(pickle.loads(pickle.dumps(there)))[step]
        assert torch.equal(ours.indices, other.indices) and torch.equal(ours.images, other.images)
        assert torch.equal(ours.masks.context_ids, other.masks.context_ids)
    encoder = open_model("untrained:vit_nano", torch.device("cpu"), torch.float32, Frame((32, 32)))
    vectors = [compute_features(encoder, dataset, workers=0)[0] for dataset in (here, there)]
    assert torch.equal(*vectors)


def test_what_can_only_be_streamed_gives_the_same_images_each_epoch_window_by_window(packed, monkeypatch):
    monkeypatch.setattr("openjepa.data.storage.streaming.WINDOW", 10)
    monkeypatch.setattr(Sequential, "window", 10)
    here, there = open_dataset(packed / "photos"), open_dataset(packed / "photos.tar.gz")
    assert list(there.paths) == list(here.paths) and there.window == 10
    order = epoch_order(3, COUNT, 1, 10).tolist()
    assert sorted(order) == list(range(COUNT)) and [
        sorted({i // 10 for i in order[a : a + 10]}) for a in (0, 10, 20, 30)
    ] == [[0], [1], [2], [3]]
    stepped = [batches_of(there, batch_size=12)[step] for step in range(6)]
    for epoch in (stepped[:3], stepped[3:]):
        assert sorted(torch.cat([batch.indices for batch in epoch]).tolist()) == list(range(COUNT))
    assert torch.equal(stepped[4].images, batches_of(open_dataset(packed / "photos.tar.gz"), batch_size=12)[4].images)


def test_shards_killed_and_resumed_over_ranks_and_workers_show_each_image_once_an_epoch(packed):
    """Two ranks of two workers each take half of every batch; each life of the run ends at a random step."""
    source = packed / "shards/data-{0000..0002}.tar"
    rng, seen, step, last = random.Random(5), [], 0, 4 * COUNT // 12
    while step < last:
        stop = min(last, step + rng.randint(1, 4))
        parts = [batches_of(open_dataset(source), batch_size=12, rank=rank, world_size=2) for rank in range(2)]
        ranks = [in_order(part, range(step, last), 2) for part in parts]
        for _ in range(step, stop):
            seen += torch.cat([next(rank).indices for rank in ranks]).tolist()
        del ranks
        step = stop
    for epoch in range(4):
        assert sorted(seen[epoch * COUNT : (epoch + 1) * COUNT]) == list(range(COUNT))


def test_shards_are_indexed_once_and_again_when_they_change(packed, tmp_path, monkeypatch):
    folder = as_shards(packed / "photos", tmp_path / "own", 2)
    first = open_dataset(folder)
    with monkeypatch.context() as patch:
        patch.setattr("openjepa.data.storage.tar_index.read_index", lambda *_: pytest.fail("read again"))
        assert open_dataset(folder).paths == first.paths
    as_tar(packed / "photos", folder / "data-0001.tar", names_in(packed / "photos")[:3])
    assert len(open_dataset(folder)) == COUNT // 2 + 3


def test_over_http_only_the_images_asked_for_are_fetched(packed):
    server = Files(packed)
    try:
        here, there = open_dataset(packed / "shards"), open_dataset(server.address + "/shards/data-{0000..0002}.tar")
        server.asked.clear()
        assert there.paths == here.paths and there.read(30) == here.read(30)
        assert [name for name, _ in server.asked] == ["data-0002.tar"] and server.asked[0][1] > 0
        assert open_dataset(server.address + "/photos.zip/cat").read(2) == open_dataset(packed / "photos/cat").read(2)
        wrong = refusal(server.address + "/shards/data-{0002..0003}.tar")
        assert "1 of 2 archives cannot be read" in wrong and "data-0003.tar" in wrong
    finally:
        server.stop()
        remote._connect.cache_clear()  # connections that are kept would still be answered
    with pytest.raises(BadImage):
        there.load(1)
    assert "cannot be read" in refusal("http://127.0.0.1:9/data-{0..3}.tar")


def test_a_shard_that_ends_in_the_middle_loses_only_what_is_behind(packed, tmp_path):
    whole = as_tar(packed / "photos", tmp_path / "a.tar", names_in(packed / "photos"))
    count = len(open_dataset(whole))
    content = whole.read_bytes()
    inside = content.index(b"\xff\xd8", len(content) // 2) + 40
    (tmp_path / "b.tar").write_bytes(content[:inside])
    cut = open_dataset(tmp_path / "b.tar")
    assert 0 < len(cut) < count and all(cut.load(index) for index in range(len(cut)))
    reasons = [reason for _, reason in cut.skipped]
    assert any("ends in the middle of it" in reason for reason in reasons)
    edge = content.index(b"dog/001.jpg")  # a header: nothing is half there, and the end mark is missing
    (tmp_path / "c.tar").write_bytes(content[:edge])
    assert [reason.split(" (")[0] for _, reason in open_dataset(tmp_path / "c.tar").skipped] == ["no end mark"]
    packed_small = gzip.compress(content)
    (tmp_path / "d.tar.gz").write_bytes(packed_small[: len(packed_small) * 2 // 3])
    cut = open_dataset(tmp_path / "d.tar.gz")
    assert 0 < len(cut) <= count and "ends in the middle" in cut.skipped[-1][1]
    with pytest.raises(BadImage, match="stream ended"):
        [cut.load(index) for index in range(len(cut))]
    (tmp_path / "e.tar").write_bytes(b"words" * 200)
    assert "cannot be read" in refusal(tmp_path / "e.tar")


def test_members_that_point_outside_or_are_links_are_left_out_and_listed(packed, tmp_path):
    photo = (packed / "photos/cat/000.jpg").read_bytes()
    with tarfile.open(tmp_path / "odd.tar", "w") as archive:
        for name in ("./a.jpg", "../../etc/b.jpg", "/etc/c.jpg", ".hidden/d.jpg", "line\nbreak.jpg", "x.jpg/e.jpg"):
            add(archive, name, photo)
        link = tarfile.TarInfo("f.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    dataset = open_dataset(tmp_path / "odd.tar")
    assert list(dataset.paths) == ["a.jpg", "line\\nbreak.jpg", "x.jpg/e.jpg"]
    assert all(dataset.load(index).size == (20, 20) for index in range(3))
    assert dict(dataset.skipped) == {
        "../../etc/b.jpg": "points outside of the archive",
        "/etc/c.jpg": "points outside of the archive",
        "f.jpg": "a link inside of an archive",
    }
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        archive.writestr("a.jpg", photo)
        archive.writestr("../b.jpg", photo)
    dataset = open_dataset(tmp_path / "odd.zip")
    assert list(dataset.paths) == ["a.jpg"] and dataset.skipped == [("../b.jpg", "points outside of the archive")]


def test_columns_become_labels(tmp_path):
    draw_photos(tmp_path / "p", 12, ())
    rows = [f"p/{i:03}.jpg\t{('b', 'a', '')[i % 3]}\t{i % 2 + 9}\t{i}\t{i / 7}" for i in range(12)]
    (tmp_path / "list.tsv").write_text(
        "file\tkind\tgrade\tid\tscore\n" + "\n".join(rows) + "\np/gone.jpg\ta\t9\t99\t1\n"
    )
    dataset = open_dataset(tmp_path / "list.tsv")
    assert dataset.classes == {"kind": ["a", "b"], "grade": ["9", "10"]}
    assert dataset.labels["kind"].tolist() == [1, 0, -1] * 4 and dataset.labels["grade"].tolist() == [0, 1] * 6
    assert dataset.skipped == [("p/gone.jpg", "missing")]
    lines = [json.dumps({"file_name": f"{i:03}.jpg", "grade": i % 3}) for i in range(11)]
    (tmp_path / "p/metadata.jsonl").write_text("\n".join(lines))
    assert open_dataset(tmp_path / "p").classes == {"grade": ["0", "1", "2"]}
    (tmp_path / "odd.csv").write_text("path,kind\np/000.jpg,a\np/001.jpg\n")
    assert "row 3 has 1 values, the first has 2" in refusal(tmp_path / "odd.csv")
    pq.write_table(pa.table({"path": ["p/000.jpg", "p/nope.jpg"]}), tmp_path / "paths.parquet")
    assert open_dataset(tmp_path / "paths.parquet").skipped == [("p/nope.jpg", "missing")]


def test_damaged_tables_are_refused_in_words(packed, tmp_path):
    content = (packed / "photos.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(content[: len(content) // 2])
    assert "not a readable Parquet file" in refusal(tmp_path / "cut.parquet")
    pq.write_table(pa.table({"number": [1, 2]}), tmp_path / "numbers.parquet")
    assert "call the one with the paths path" in refusal(tmp_path / "numbers.parquet")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/state.json").write_text("{}")
    assert "no .arrow file" in refusal(tmp_path / "saved")
    (tmp_path / "saved/data.arrow").write_bytes(b"words" * 50)
    assert "data.arrow is not a readable Arrow file" in refusal(tmp_path / "saved")
    (tmp_path / "both/train").mkdir(parents=True)
    (tmp_path / "both/test").mkdir()
    (tmp_path / "both/dataset_dict.json").write_text("{}")
    assert refusal(tmp_path / "both").endswith(f"name one, e.g. {tmp_path}/both/train")


def test_patterns_that_match_nothing_or_too_much_are_refused(tmp_path):
    assert refusal(tmp_path / "*.jpg").startswith("nothing matches")
    for braces in ("{0..9999999}", "{0..99999}{0..99999}", "{0..9}" * 9):
        assert "give a million at most" in refusal(str(tmp_path / f"data-{braces}.tar"))
    for braces in ("{a,b}" * 2000, "{0.." + "9" * 5000 + "}"):
        refusal(str(tmp_path / f"data-{braces}.tar"))


HUB = """
import json, sys, time
time.sleep = lambda seconds: None  # between the tries of the library
from openjepa.data.open import open_dataset
from openjepa.errors import UsageError
for source in sys.stdin:
    try:
        found = open_dataset(source.strip())
        print(json.dumps([len(found), found.window, {k: v.tolist() for k, v in found.labels.items()},
                          [found.read(i).hex() for i in (0, len(found) - 1)]]), flush=True)
    except UsageError as error:
        print(json.dumps(str(error)), flush=True)
"""


@contextlib.contextmanager
def asking_hub(home, endpoint):
    """A function from a source to what a process answers that knows the Hub by this address."""
    chosen = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_ETAG_TIMEOUT": "2",
    }
    environment = os.environ | chosen | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", HUB], text=True, env=environment, cwd=home, **pipes) as process:

        def ask(source):
            process.stdin.write(source + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


def test_hub_names_streaming_or_not_and_without_a_network(packed, tmp_path):
    pytest.importorskip("datasets")
    server = DataHub(as_hub(packed / "photos", tmp_path / "hub"))
    (tmp_path / "home").mkdir()
    folder = open_dataset(packed / "photos")
    ends = [folder.read(0).hex(), folder.read(COUNT - 1).hex()]
    with asking_hub(tmp_path / "home", server.address) as ask:
        whole = ask("hf:lab/photos")
        assert whole == [COUNT, 0, {"label": folder.labels["class"].tolist()}, ends]
        assert ask("hf-stream:lab/photos") == [COUNT, WINDOW, {}, ends]
        assert "train" in ask("hf:lab/photos:nope")
        assert "cannot be fetched" in ask("hf:lab/nothing")
        server.stop()
        assert ask("hf:lab/photos") == whole
        assert "without a network give a folder" in ask("hf:lab/other")


def test_pictures_of_torchvision(monkeypatch):
    datasets = pytest.importorskip("torchvision.datasets")

    class Drawn(datasets.FakeData):
        def __init__(self, root, split="train", download=False):
            super().__init__(6, (3, 8, 10), 3)
            self.targets, self.classes = [0, 1, 2, 0, 1, 2], ["a", "b", "c"]

    monkeypatch.setattr(datasets, "Food101", Drawn)
    dataset = open_dataset("torchvision:Food101")
    assert len(dataset) == 6 and dataset.labels["class"].tolist() == [0, 1, 2, 0, 1, 2]
    assert np.array_equal(np.asarray(dataset.load(4)), np.asarray(Drawn("")[4][0]))
    assert "did you mean torchvision:Food101" in refusal("torchvision:food_101")
    assert "has no part nope" in refusal("torchvision:CIFAR10:nope")


def test_files_that_vanish_or_turn_into_folders_are_bad_images(tmp_path):
    folder = draw_photos(tmp_path / "p", 8, ())
    dataset = open_dataset(folder)
    (folder / "003.jpg").unlink()
    (folder / "004.jpg").unlink()
    (folder / "004.jpg").mkdir()
    for index in (3, 4):
        with pytest.raises(BadImage, match=r"no such file|directory"):
            dataset.load(index)
    assert Path(folder / "004.jpg").is_dir() and len(open_dataset(folder)) == 6
    Image.new("RGB", (4, 4)).save(folder / "004.jpg/inside.png")
    assert "004.jpg/inside.png" in list(open_dataset(folder).paths)


def test_images_in_a_table_may_all_be_without_a_path(packed, tmp_path):
    """pyarrow gives a column of nothing but None the type null, as `datasets` stores images that came from memory."""
    content = [path.read_bytes() for path in sorted((packed / "photos").rglob("*.jpg"))]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.null())])
    cells = pa.array([{"bytes": each, "path": None} for each in content], kind)
    pq.write_table(pa.table({"image": cells}), tmp_path / "memory.parquet")
    with pa.ipc.new_stream(tmp_path / "memory.arrow", pa.schema([("image", kind)])) as writer:
        writer.write_table(pa.table({"image": cells}))
    for name in ("memory.parquet", "memory.arrow"):
        found = open_dataset(tmp_path / name)
        assert len(found) == len(content) > 0 and found.paths[0].endswith("-000000")
        openjepa.embed("pixels", tmp_path / name, out=tmp_path / "vectors.csv", workers=0)
        assert len((tmp_path / "vectors.csv").read_text().splitlines()) == len(content) + 1


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([[1, 2]], "list<element: int64>"),
        ([{"bytes": "x", "path": None}], "struct<bytes: string, path: null>"),
        ([{"bytes": b"x"}], "struct<bytes: binary>"),
        ([5], "int64"),
    ],
)
def test_a_column_called_image_of_another_type_is_named_with_what_is_allowed(cells, kind, tmp_path):
    pq.write_table(pa.table({"image": cells, "label": [0]}), tmp_path / "t.parquet")
    told = f"its column image is {kind}, not binary (image files) or a struct of bytes (binary) and path (text or null)"
    assert told in refusal(tmp_path / "t.parquet")
    pq.write_table(pa.table({"image": cells, "path": ["nope.jpg"]}), tmp_path / "paths.parquet")
    assert "its column image" not in refusal(tmp_path / "paths.parquet")
