"""Crops: the mean of the embeddings of fixed views, in every way that an encoder gives embeddings."""

import numpy as np
import pytest
import torch
from PIL import Image

from openjepa.data.crops import resize_centre_crop
from openjepa.encoder.baselines import seeded
from openjepa.encoder.cropped import CROPS, Cropped, larger
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.feature_cache import model_hash
from openjepa.errors import UsageError


@pytest.fixture(scope="module")
def encoder():
    network = seeded(0, image_size=(28, 28), patch_size=7, embed_dim=32, depth=2, num_heads=2)
    return Encoder(network, [0.5] * 3, [0.25] * 3, "model")


@pytest.fixture
def images():
    rough = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3), dtype=np.uint8)
    return [Image.fromarray(each).resize((50, 40), Image.Resampling.BICUBIC) for each in rough]


def views(image: np.ndarray, crops: int) -> list[np.ndarray]:
    """What a crop is, written out."""
    cut = [image[2:30, 2:30], image[:28, :28], image[:28, 4:], image[4:, :28], image[4:, 4:]]
    return cut if crops == 5 else [*cut, *(each[:, ::-1] for each in cut)]


@pytest.mark.parametrize("crops", [5, 10])
def test_an_embedding_is_the_mean_over_crops_of_a_larger_image(encoder, images, crops):
    model = Cropped(encoder, crops)
    assert model.frame.size == larger((28, 28)) == (32, 32) and larger((224, 224)) == (256, 256)
    whole = [resize_centre_crop(image, (32, 32)) for image in images]
    wanted = torch.stack([encoder.embed(np.stack(views(each, crops))).mean(dim=0) for each in whole])
    torch.testing.assert_close(model.embed(images), wanted)
    torch.testing.assert_close(model(model.preprocess(images)), wanted)
    torch.testing.assert_close(model.layer_features(model.preprocess(images))[:, -32:], wanted)


def test_two_crops_are_the_image_and_its_mirror_image(encoder, images):
    mirrored = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images]
    wanted = (encoder.embed(images) + encoder.embed(mirrored)) / 2
    torch.testing.assert_close(Cropped(encoder, 2).embed(images), wanted, atol=0.02, rtol=0.02)


def test_features_of_crops_are_kept_apart(encoder):
    hashes = {model_hash(encoder), *(model_hash(Cropped(encoder, crops)) for crops in CROPS)}
    assert len(hashes) == 4 and Cropped(encoder, 5).name == "model (5 crops)"


def test_there_are_no_tokens_and_no_other_numbers(encoder, images):
    with pytest.raises(UsageError, match=r"model \(5 crops\) has no patch tokens: leave out --crops"):
        Cropped(encoder, 5).patch_tokens(images)
    with pytest.raises(UsageError, match=r"--crops 3 is not possible: possible are 2 \(the image and its mirror"):
        Cropped(encoder, 3)
