"""`data prepare`: a smaller copy that says the same, gone on with wherever it was stopped."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from support.packing import as_dicom
from support.photos import draw_photos

import openjepa
from openjepa.data.crops import resize_centre_crop, resized
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.data.open import open_dataset
from openjepa.data.summary import inspect_dataset


def opened(source):
    return inspect_dataset(open_dataset(source))[0]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("shard-*")}


@pytest.mark.parametrize("to", ["shards", "parquet"])
def test_the_copy_has_the_images_and_labels(tmp_path, to):
    photos = draw_photos(tmp_path / "photos", 22, side=60)
    Image.new("RGB", (10, 12), "red").save(photos / "cat/small.png")
    (photos / "dog/cut.jpg").write_bytes((photos / "dog/001.jpg").read_bytes()[:-90])
    small = openjepa.data_prepare(photos, tmp_path / "small", size=24, to=to, per_shard=5, workers=0, max_skipped=0.1)
    first, copy = opened(photos), opened(small)
    kept = [i for i, path in enumerate(first.paths) if path != "dog/cut.jpg"]
    assert len(copy) == len(kept) == 23 and len(contents(small)) == 5
    assert copy.labels["class"].tolist() == first.labels["class"][kept].tolist()
    assert copy.classes == first.classes
    assert (small / "skipped.txt").read_text() == "dog/cut.jpg\ttruncated\n"
    for place, index in enumerate(kept):
        image, original = copy.load(place), first.load(index)
        assert min(image.size) == min(24, *original.size)
        gap = np.asarray(image, float) - resize_centre_crop(original, image.size[::-1])
        assert np.abs(gap).mean() < 4
    red = kept.index(first.paths.index("cat/small.png"))
    assert copy.read(red) == (photos / "cat/small.png").read_bytes()


def test_any_number_of_workers_writes_the_same_bytes(tmp_path):
    photos = draw_photos(tmp_path / "photos", 12, side=40)
    for workers in (0, 2):
        openjepa.data_prepare(photos, tmp_path / f"{workers}", size=16, per_shard=4, workers=workers)
    assert contents(tmp_path / "0") == contents(tmp_path / "2")


@pytest.mark.parametrize(
    ("array", "pixel_format"),
    [
        (np.random.default_rng(0).integers(0, 65536, (30, 40), dtype=np.uint16), PixelFormat(1, "unit")),
        (np.random.default_rng(0).normal(900, 80, (30, 40, 12)).astype(np.float32), PixelFormat(12, "raw")),
        (np.random.default_rng(0).integers(0, 256, (30, 40, 5), dtype=np.uint8), PixelFormat(5)),
        (np.random.default_rng(0).integers(0, 65536, (30, 40, 3), dtype=np.uint16), PixelFormat(3, "unit")),
    ],
)
def test_other_numbers_stay_what_they_are(tmp_path, array, pixel_format):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in/a.npy", array)
    for size in (30, 16):
        copy = opened(openjepa.data_prepare(tmp_path / "in", tmp_path / f"{size}", size=size, workers=0))
        assert copy.pixel_format == pixel_format
        shape = (size, round(size * 4 / 3))
        whole = opened(tmp_path / "in").load(0)
        expected = resized(whole, shape, (0, 0, 40, 30))
        pixels = np.asarray(copy.load(0)).reshape(expected.shape)
        np.testing.assert_allclose(
            pixels, expected.clip(0, 1) if pixel_format.values == "unit" else expected, atol=1e-5
        )


def test_killed_and_gone_on_with(tmp_path):
    photos = draw_photos(tmp_path / "photos", 30, side=300)
    settings = {"size": 200, "per_shard": 2, "format": "png"}
    code = f"import openjepa; openjepa.data_prepare({str(photos)!r}, {str(tmp_path / 'b')!r}, workers=1, **{settings})"
    openjepa.data_prepare(photos, tmp_path / "a", workers=0, **settings)
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    until = time.monotonic() + 60
    while len(contents(tmp_path / "b")) < 3 and time.monotonic() < until:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)
    there = contents(tmp_path / "b")
    assert there.items() <= contents(tmp_path / "a").items()
    openjepa.data_prepare(photos, tmp_path / "b", workers=0, **settings)
    assert contents(tmp_path / "b") == contents(tmp_path / "a")
    with pytest.raises(openjepa.UsageError, match=r"begun with another size \(200, now 100\)"):
        openjepa.data_prepare(photos, tmp_path / "b", workers=0, **settings | {"size": 100})
    (photos / "cat/new.jpg").write_bytes((photos / "cat/000.jpg").read_bytes())
    with pytest.raises(openjepa.UsageError, match="begun with another images"):
        openjepa.data_prepare(photos, tmp_path / "b", workers=0, **settings)


def test_mistakes_are_said_and_nothing_is_written(tmp_path):
    photos = draw_photos(tmp_path / "photos", 4)
    for settings, said in (
        ({"size": 0}, "--size 0"),
        ({"to": "zip"}, "known are shards, parquet"),
        ({"format": "gif"}, "known are jpg, png"),
        ({"quality": 101}, "1 to 100"),
        ({"per_shard": 0}, "--per-shard 0"),
        ({"pages": "none"}, "known are first"),
    ):
        with pytest.raises(openjepa.UsageError, match=said):
            openjepa.data_prepare(photos, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()
    with pytest.raises(openjepa.UsageError, match="of which it would become a part"):
        openjepa.data_prepare(photos, photos)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").touch()
    with pytest.raises(openjepa.UsageError, match="not empty"):
        openjepa.data_prepare(photos, tmp_path / "full")


@pytest.mark.parametrize("kind", ["npy", "hdf5", "dicom"])
def test_images_that_are_no_larger_are_written_whatever_their_kind(tmp_path, kind):
    images = np.random.default_rng(0).integers(0, 255, (3, 12, 14), dtype=np.uint8)
    source = tmp_path / "source"
    source.mkdir()
    if kind == "npy":
        np.save(source / "a.npy", images)
        source = source / "a.npy"
    elif kind == "hdf5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(source / "a.h5", "w") as file:
            file["images"] = images
        source = source / "a.h5"
    else:
        pytest.importorskip("pydicom")
        for number, image in enumerate(images):
            (source / f"{number}.dcm").write_bytes(as_dicom(image))
    small = openjepa.data_prepare(source, tmp_path / "small", size=64, format="png", workers=0)
    copy = opened(small)
    assert [np.asarray(copy.load(row).convert("L")).tolist() for row in range(3)] == images.tolist()
