"""Images that a program holds are read as the same images in files are."""

import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from openjepa.data.dataset import fingerprint
from openjepa.data.decoding.pillow import upright_rgb
from openjepa.data.memory import hold_in_memory
from openjepa.data.open import open_dataset
from openjepa.data.sources.objects import as_dataset
from openjepa.data.summary import inspect_dataset
from openjepa.errors import UsageError

ARRAYS = [np.random.default_rng(seed).integers(0, 256, (12, 10, 3), dtype=np.uint8) for seed in range(6)]


def tensor(array):
    return torch.from_numpy(array).permute(2, 0, 1)


class Own:
    """A data set of the user's: any class with a length and items."""

    targets = torch.tensor([0, 1, 0, 1, 0, 1])
    classes = ("cat", "dog")

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return Image.fromarray(ARRAYS[index]), int(self.targets[index])


def files(tmp_path):
    for number, array in enumerate(ARRAYS):
        Image.fromarray(array).save(tmp_path / f"{number}.png")
    return [tmp_path / f"{number}.png" for number in range(len(ARRAYS))]


@pytest.mark.parametrize(
    "given",
    [
        lambda path: [Image.fromarray(array) for array in ARRAYS],
        lambda path: ARRAYS,
        lambda path: np.stack(ARRAYS),
        lambda path: [tensor(array) for array in ARRAYS],
        lambda path: files(path),
        lambda path: [str(file) for file in files(path)],
        lambda path: [(array, "a") for array in ARRAYS],
        lambda path: [{"image": array, "note": 1} for array in ARRAYS],
        lambda path: torch.utils.data.TensorDataset(torch.stack([tensor(array) for array in ARRAYS])),
        lambda path: torch.utils.data.Subset(Own(), range(6)),
        lambda path: Own(),
    ],
)
def test_every_kind_of_item_is_read_as_its_image(given, tmp_path):
    dataset, summary = inspect_dataset(as_dataset(given(tmp_path)))
    assert summary.images == 6 and summary.sizes == [(10, 12, 6)]
    for index, array in enumerate(ARRAYS):
        np.testing.assert_array_equal(np.asarray(dataset.load(index)), array)


def test_a_hugging_face_dataset_brings_its_pictures_and_labels():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "kind": datasets.ClassLabel(names=["cat", "dog"]),
            "x": datasets.Value("string"),
        }
    )
    columns = {"picture": [Image.fromarray(a) for a in ARRAYS], "kind": [0, 1, 1, 0, 1, 0], "x": list("abcdef")}
    dataset = as_dataset(datasets.Dataset.from_dict(columns, features))
    np.testing.assert_array_equal(np.asarray(dataset.load(3)), ARRAYS[3])
    assert dataset.classes == {"kind": ["cat", "dog"]}
    assert dataset.labels["kind"].tolist() == [0, 1, 1, 0, 1, 0]


def test_values_of_other_depths_keep_them():
    """16 bits, floating-point numbers and many channels are read as from a .npy file."""
    deep = [np.random.default_rng(s).integers(0, 65536, (8, 8), dtype=np.uint16) for s in range(3)]
    for given in (deep, [Image.fromarray(array) for array in deep], [torch.from_numpy(array) for array in deep]):
        dataset, _ = inspect_dataset(as_dataset(given))
        assert dataset.pixel_format.values == "unit"
        np.testing.assert_allclose(dataset.load(1)[..., 0], deep[1] / np.float32(65535))
    many = [np.random.default_rng(s).normal(size=(8, 8, 7)).astype(np.float32) for s in range(3)]
    for given in (many, [tensor(array) for array in many]):
        dataset, _ = inspect_dataset(as_dataset(given))
        np.testing.assert_array_equal(dataset.load(2), many[2])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "HSV", "YCbCr", "LAB"])
def test_every_mode_of_pillow_is_read_as_the_encoder_reads_it(mode):
    image = Image.fromarray(ARRAYS[0]).convert("RGB").convert(mode)
    dataset, _ = inspect_dataset(as_dataset([image]))
    got = dataset.load(0).convert("RGB")
    np.testing.assert_array_equal(np.asarray(got), np.asarray(upright_rgb(image)))


def test_a_stored_orientation_is_applied_once():
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(ARRAYS[0]).save(stream, "PNG", exif=exif)
    dataset, summary = inspect_dataset(as_dataset([Image.open(stream)]))
    assert summary.sizes == [(12, 10, 1)]
    np.testing.assert_array_equal(np.asarray(dataset.load(0)), np.rot90(ARRAYS[0], -1))


def test_labels():
    assert as_dataset(Own()).classes == {"class": ["cat", "dog"]}
    assert as_dataset(Own()).labels["class"].tolist() == [0, 1, 0, 1, 0, 1]
    pairs = [(array, "ab"[number % 2]) for number, array in enumerate(ARRAYS)]
    assert as_dataset(pairs).classes == {"class": ["a", "b"]}
    named = as_dataset(ARRAYS, labels={"site": list("xxyyxy"), "day": np.array([1, 2, 1, 2, 1, 2])})
    assert named.classes == {"site": ["x", "y"], "day": ["1", "2"]}
    assert as_dataset(ARRAYS).labels == {}


def test_the_fingerprint_tells_contents_apart_and_a_given_one_replaces_it():
    first, other = fingerprint(as_dataset(ARRAYS)), fingerprint(as_dataset(ARRAYS[::-1]))
    assert first == fingerprint(as_dataset([a.copy() for a in ARRAYS])) != other
    assert fingerprint(as_dataset(ARRAYS, fingerprint="v1")) == fingerprint(as_dataset(ARRAYS[::-1], fingerprint="v1"))
    held, _ = hold_in_memory(as_dataset(ARRAYS), 0)
    assert fingerprint(held) == first


def test_workers_and_pickles_give_the_same_images():
    dataset = as_dataset(ARRAYS)
    alone, _ = hold_in_memory(dataset, 0)
    apart, _ = hold_in_memory(pickle.loads(pickle.dumps(dataset)), 2)
    np.testing.assert_array_equal(alone.pixels, apart.pixels)


def test_a_bad_item_is_skipped_with_its_reason():
    _, summary = inspect_dataset(as_dataset([*ARRAYS * 4, "a missing file.png", *ARRAYS * 4][:30]))
    assert summary.images == 29
    assert summary.skipped == [("image-000024", "no such file or directory")]


class Changing(Own):
    def __getitem__(self, index):
        return np.random.default_rng().integers(0, 256, (8, 8, 3), dtype=np.uint8)


class Failing(Own):
    def __getitem__(self, index):
        raise KeyError("no column\nof that name")


@pytest.mark.parametrize(
    "given, said",
    [
        ([], "no images given"),
        ((array for array in ARRAYS), "cannot read images from generator: give a sequence"),
        ({"a": ARRAYS[0]}, "cannot read images from dict"),
        (7, "cannot read images from int"),
        ([1, 2], "image 0 cannot be read: cannot read int as an image"),
        ([{"pixels": ARRAYS[0]}], "dict with the keys pixels"),
        ([np.zeros((2, 3, 4, 5))], r"float64 \[2, 3, 4, 5\]"),
        ([np.array([["a"]])], "cannot read"),
        (Changing(), "image 0 is another each time"),
        (Failing(), "image 0 cannot be read"),
    ],
)
def test_what_is_no_images_is_refused_in_one_line(given, said):
    with pytest.raises(UsageError, match=said) as raised:
        as_dataset(given)
    assert "\n" not in str(raised.value)


def test_labels_of_another_length_are_refused():
    with pytest.raises(UsageError, match="label class has 2 values for 6 images"):
        as_dataset(ARRAYS, labels=["a", "b"])


def test_open_dataset_takes_what_a_program_holds():
    dataset = as_dataset(ARRAYS, name="cells")
    assert open_dataset(dataset) is dataset and str(dataset) == "cells"
    assert len(open_dataset(ARRAYS)) == 6
