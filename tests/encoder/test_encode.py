"""`encode` gives the embeddings of `embed`, of files too, in the forms that sentence-transformers has."""

import numpy as np
import pytest
import torch
from PIL import Image

from openjepa.encoder.baselines import seeded
from openjepa.encoder.encode import quantized
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError


@pytest.fixture
def encoder():
    network = seeded(0, image_size=(16, 16), patch_size=8, embed_dim=24, depth=1, num_heads=2)
    return Encoder(network, [0.5] * 3, [0.5] * 3)


@pytest.fixture
def paths(photos):
    return sorted(photos.rglob("*.jpg"))


def test_paths_images_and_arrays_give_the_embeddings_of_embed(encoder, paths):
    images = [Image.open(path).convert("RGB") for path in paths]
    expected = encoder.embed(images).numpy()
    mixed = [str(paths[0]), paths[1], images[2], np.asarray(images[3]), *paths[4:]]
    for given in (paths, images, mixed, iter(paths), np.stack([np.asarray(image) for image in images])):
        found = encoder.encode(given, batch_size=5)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-6)
    tensor = torch.stack([torch.tensor(np.asarray(image)).permute(2, 0, 1) for image in images])
    np.testing.assert_allclose(encoder.encode(tensor), expected, atol=1e-6)
    for single in (str(paths[3]), images[3], np.asarray(images[3])):
        np.testing.assert_allclose(encoder.encode(single), expected[3], atol=1e-6)


def test_embeddings_are_cut_before_they_are_normalised(encoder, paths):
    whole = encoder.encode(paths)
    found = encoder.encode(paths, normalize_embeddings=True, truncate_dim=7, show_progress_bar=True)
    cut = whole[:, :7]
    np.testing.assert_allclose(found, cut / np.linalg.norm(cut, axis=1, keepdims=True), atol=1e-6)


def test_precisions(encoder, paths):
    whole = encoder.encode(paths)
    assert encoder.encode(paths, precision="float16").dtype == np.float16
    low, high = whole.min(0), whole.max(0)
    levels = encoder.encode(paths, precision="uint8")
    back = low + levels * (high - low) / 255
    assert levels.dtype == np.uint8 and np.abs(back - whole).max() <= ((high - low) / 255).max() * 1.01
    signed = encoder.encode(paths, precision="int8")
    assert signed.dtype == np.int8 and np.abs(signed.astype(int) + 128 - levels).max() <= 1
    bits = encoder.encode(paths, precision="ubinary")
    np.testing.assert_array_equal(np.unpackbits(bits, axis=1)[:, :24], whole > 0)
    np.testing.assert_array_equal(encoder.encode(paths, precision="binary").astype(int) + 128, bits)
    assert quantized(np.ones((2, 3), np.float32), "uint8").tolist() == [[0, 0, 0]] * 2  # no division by zero


def test_what_is_no_image_is_refused_by_its_name(encoder, tmp_path):
    (tmp_path / "no.jpg").write_text("text")
    for given, said in (
        (tmp_path / "no.jpg", "no.jpg cannot be read as an image"),
        ([tmp_path / "missing.jpg"], r"missing\.jpg cannot be read \(No such file"),
        (tmp_path, r"cannot be read \(Is a directory"),
        ([], "no images given"),
        (3, "cannot read int as images"),
        ([3], "cannot read int as images"),
    ):
        with pytest.raises(UsageError, match=said):
            encoder.encode(given)
    with pytest.raises(UsageError, match="precision int4 is not known: known are float32"):
        encoder.encode(tmp_path, precision="int4")
