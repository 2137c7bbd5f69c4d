import gc
import io
import multiprocessing
import os
import pickle
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openjepa.data.open import open_dataset
from openjepa.data.scenes.scenes import Scenes
from openjepa.data.sources.registry import known
from openjepa.errors import BadImage, UsageError


def fill(root, *names):
    """Each image is of one colour, that of its number."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in (".jpg", ".png", ".tif", ".webp", ".bmp"):
            Image.new("RGB", (4, 3), (number, 0, 0)).save(path, "PNG")
        else:
            path.write_text("words")
    return root


def zipped(root, path, prefix=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(root.rglob("*"), reverse=True):
            archive.write(file, prefix + file.relative_to(root).as_posix())
    return path


def numbers(dataset):
    return [dataset.load(index).getpixel((0, 0))[0] for index in range(len(dataset))]


def refusal(source):
    with pytest.raises(UsageError) as caught:
        open_dataset(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folder_zip_and_list_give_the_same_images_in_the_same_order(tmp_path):
    names = ["b/2.png", "b-c/1.JPG", "a/9.webp", "a/10.tif", "notes.csv", "a/.hidden.png", ".cache/x.png", "a/LICENSE"]
    folder = fill(tmp_path / "photos", *names)
    plain = zipped(folder, tmp_path / "photos.zip")
    wrapped = zipped(folder, tmp_path / "wrapped.zip", "outer/inner/")
    listed = tmp_path / "list.txt"
    listed.write_text("# chosen\n\n" + "".join(f"photos/{n}\n" for n in names[:4]), encoding="utf-8-sig")
    datasets = [open_dataset(source) for source in (folder, plain, f"{wrapped}/outer/inner", str(folder) + "/")]
    for dataset in datasets:
        assert dataset.paths == ["a/10.tif", "a/9.webp", "b-c/1.JPG", "b/2.png"]
        assert numbers(dataset) == [3, 2, 1, 0]
        assert dataset.classes == {"class": ["a", "b", "b-c"]}
        assert dataset.labels["class"].tolist() == [0, 0, 2, 1]
        assert dict(dataset.skipped) == {
            "notes.csv": "not an image file (suffix .csv)",
            "a/LICENSE": "not an image file (no suffix)",
        }
    dataset = open_dataset(listed)
    assert (dataset.paths, numbers(dataset)) == ([f"photos/{name}" for name in datasets[0].paths], [3, 2, 1, 0])
    assert dataset.labels == {} and dataset.classes == {}
    assert open_dataset(wrapped).classes == {"class": ["a", "b", "b-c"]}
    assert dataset.source == str(listed)


@pytest.mark.parametrize(
    "names", [["1.png", "2.png"], ["a/1.png"], ["a/1.png", "b/c/2.png"], ["a/1.png", "b/2.png", "3.png"]]
)
def test_no_labels_unless_each_image_is_in_one_of_several_class_folders(tmp_path, names):
    dataset = open_dataset(fill(tmp_path / "photos", *names))
    assert dataset.paths == sorted(names) and dataset.labels == {} and dataset.classes == {}


def test_subset_keeps_labels_and_classes(tmp_path):
    dataset = open_dataset(fill(tmp_path, "a/0.png", "a/1.png", "b/2.png")).subset([2, 0])
    assert (dataset.paths, numbers(dataset)) == (["b/2.png", "a/0.png"], [2, 0])
    assert dataset.labels["class"].tolist() == [1, 0] and dataset.labels["class"].dtype == np.int64
    assert dataset.subset(np.array([False, True])).paths == ["a/0.png"]


def test_train_and_test_side_by_side_are_refused_until_one_is_named(tmp_path):
    folder = fill(tmp_path / "set", "train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png", "docs/x.txt")
    for source in (folder, zipped(folder, tmp_path / "set.zip")):
        assert refusal(source) == f"{source} holds train, test: name one, e.g. {source}/train"
        assert numbers(open_dataset(f"{source}/train")) == [0, 1]
        assert open_dataset(f"{source}/test").classes == {"class": ["a", "b"]}
    wrapped = zipped(folder, tmp_path / "wrapped.zip", "set/")
    assert refusal(wrapped).endswith(f"name one, e.g. {wrapped}/set/train")
    shutil.copytree(folder, tmp_path / "around/set")
    assert refusal(tmp_path / "around").endswith(f"name one, e.g. {tmp_path}/around/set/train")


@pytest.mark.parametrize(
    ("tops", "refused"), [("Train Val", 1), ("unlabeled test", 1), ("train extra", 0), ("cat dog", 0)]
)
def test_which_top_folders_are_splits(tmp_path, tops, refused):
    folder = fill(tmp_path, *(f"{top}/1.png" for top in tops.split()))
    if refused:
        assert "name one" in refusal(folder)
    else:
        assert len(open_dataset(folder)) == 2


def test_list_reports_what_is_missing_and_repeated(tmp_path):
    fill(tmp_path, "a.png", "b.png", "c.csv")
    listed = tmp_path / "list.txt"
    listed.write_text(f"b.png\r\n./sub/../b.png\ngone.png\nc.csv\n{tmp_path}/a.png\n")
    dataset = open_dataset(listed)
    assert numbers(dataset) == [0, 1]
    assert sorted(dataset.skipped) == [
        ("b.png", "named twice"),
        ("c.csv", "not an image file (suffix .csv)"),
        ("gone.png", "missing"),
    ]
    listed.write_text("gone.png\nlost.jpg")
    assert "none of the 2 images listed" in refusal(listed)
    listed.write_text("# nothing\n")
    assert "found 0 files" in refusal(listed)


def test_links_are_followed_but_never_in_circles(tmp_path):
    fill(tmp_path / "real", "b/1.png", "elsewhere.png")
    (tmp_path / "real/b/loop").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "real/a-link").symlink_to(tmp_path / "real/b", target_is_directory=True)
    (tmp_path / "real/outside").symlink_to(fill(tmp_path / "other", "0.png"), target_is_directory=True)
    (tmp_path / "real/gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "real/self.png").symlink_to(tmp_path / "real/self.png")
    os.mkfifo(tmp_path / "real/pipe.png")
    dataset = open_dataset(tmp_path / "real")
    assert dataset.paths == ["b/1.png", "elsewhere.png", "outside/0.png"]
    assert dict(dataset.skipped) == {
        "gone.png": "broken link",
        "self.png": "broken link",
        "pipe.png": "not a regular file",
    }


def test_names_that_are_not_utf8(tmp_path):
    fill(tmp_path, "a/1.png", "b/2.png")
    for name in (b"a/caf\xe9.png", b"\xff\xfe.xyz"):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes((tmp_path / "b/2.png").read_bytes())
    dataset = open_dataset(tmp_path)
    assert numbers(dataset) == [0, 1, 1]
    for text in (*dataset.paths, *sum(dataset.skipped, ()), refusal(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9"))):
        text.encode("utf-8")
    listed = tmp_path / "list.txt"
    listed.write_bytes(b"a/caf\xe9.png\n")
    assert numbers(open_dataset(listed)) == [1]


def test_what_is_not_there_is_refused_in_words(tmp_path):
    photos = fill(tmp_path / "photos", "cats/1.png", "dogs/1.png", "x.jpg/2.png")
    archive = zipped(photos, tmp_path / "photos.zip")
    assert refusal(tmp_path / "photso") == f"{tmp_path}/photso does not exist: did you mean {photos}?"
    assert refusal(photos / "catz" / "deep").endswith(f"did you mean {photos}/cats?")
    assert refusal(f"{archive}/cat") == f"{archive} has no folder cat: did you mean {archive}/cats?"
    assert refusal(f"{archive}/zebra").endswith("it holds cats, dogs, x.jpg")
    assert "is a single image" in refusal(photos / "cats/1.png")
    assert "no images were named" in refusal("")
    words = fill(tmp_path / "words", "a.txt", "b.TXT", "c.csv")
    assert refusal(words).startswith(f"no images in {words}: found 3 files (.txt 2, .csv 1); openjepa reads JPEG")
    assert refusal(words / "c.csv").endswith("call the one with the paths path")
    assert f"give one of: {known()}" in refusal(fill(tmp_path / "odd", "c.doc") / "c.doc")
    (tmp_path / "none").mkdir()
    assert "found 0 files; openjepa reads" in refusal(tmp_path / "none")


def test_unusable_zips_are_refused_in_words(tmp_path):
    good = zipped(fill(tmp_path / "photos", "1.png"), tmp_path / "good.zip").read_bytes()
    locked = bytearray(good)
    locked[good.index(b"PK\x01\x02") + 8] |= 1
    for name, data in (("cut", good[:-30]), ("noise", b"no zip" * 99), ("empty", b""), ("locked", bytes(locked))):
        (tmp_path / f"{name}.zip").write_bytes(data)
        words = refusal(tmp_path / f"{name}.zip")
        assert ("is encrypted: unpack it" if name == "locked" else "is not a readable zip") in words


def test_damaged_member_is_one_bad_image(tmp_path):
    folder = fill(tmp_path / "photos", "1.png", "2.png")
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.write(folder / "1.png", "1.png")
        archive.write(folder / "2.png", "2.png")
        archive.writestr("__MACOSX/._1.png", "resource fork")
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 6] ^= 255
    path.write_bytes(data)
    dataset = open_dataset(path)
    assert dataset.paths == ["1.png", "2.png"]
    with pytest.raises(BadImage, match="CRC"):
        dataset.load(0)
    assert dataset.load(1).getpixel((0, 0)) == (1, 0, 0)


def test_file_that_vanished_or_is_absurdly_large_is_a_bad_image(tmp_path):
    dataset = open_dataset(fill(tmp_path, "a.png", "b.png"))
    (tmp_path / "a.png").unlink()
    os.truncate(tmp_path / "b.png", 1 << 31)
    for index, reason in ((0, "no such file"), (1, "file larger than")):
        with pytest.raises(BadImage, match=reason):
            dataset.load(index)


def check_many_times(dataset):
    for _ in range(20):
        assert numbers(dataset) == list(range(100))


def test_zip_is_read_by_forked_processes_at_once(tmp_path):
    folder = fill(tmp_path / "photos", *(f"{number:03d}.png" for number in range(100)))
    dataset = open_dataset(zipped(folder, tmp_path / "photos.zip"))
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=check_many_times, args=(dataset,)) for _ in range(3)]
    for child in children:
        child.start()
    check_many_times(dataset)
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0]


def test_zip_dataset_can_be_sent_to_another_process(tmp_path):
    folder = fill(tmp_path / "photos", "a/1.png", "b/2.png")
    dataset = open_dataset(zipped(folder, tmp_path / "photos.zip"))
    numbers(dataset)
    again = pickle.loads(pickle.dumps(dataset))
    assert (numbers(again), again.paths, again.classes) == ([0, 1], dataset.paths, dataset.classes)


def test_no_handle_is_left_behind(tmp_path):
    source = zipped(fill(tmp_path / "photos", "1.png"), tmp_path / "photos.zip")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = open_dataset(source)
        with dataset.open(0) as stream:
            assert Image.open(io.BytesIO(stream.read())).size == (4, 3)
        numbers(dataset)
        del dataset, stream
        gc.collect()
    assert caught == []
    assert str(source) not in {os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}


def test_scenes_by_name():
    for name, count, seed in (("scenes", 20000, 0), ("scenes:300", 300, 0), ("scenes:300:7", 300, 7)):
        opened = open_dataset(name)
        assert isinstance(opened, Scenes) and (len(opened), opened.seed) == (count, seed)
    for nonsense in ("scenes:", "scenes:0", "scenes:many", "scenes:-3", "scenes:3:4:5", "scenes:3:", "scenes:1e3"):
        assert "scenes:COUNT:SEED" in refusal(nonsense)
