"""Features are in the order of the images; baselines have an encoder's shape."""

import math

import numpy as np
import pytest
import torch

from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.data.open import open_dataset
from openjepa.encoder.baselines import Pixels, pixels_beside, seeded, untrained_like
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.feature_cache import FeatureStore
from openjepa.encoder.features import compute_features, frame_of
from openjepa.errors import UsageError

BAD = torch.tensor([2, 3])


def test_features_are_in_order_at_any_worker_count_and_without_bad_images(photos):
    dataset = open_dataset(photos)
    model = Pixels((20, 20))
    (photos / dataset.paths[5]).write_bytes(b"no picture")
    expected = [np.asarray(dataset.load(i)) for i in range(len(dataset)) if i != 5]
    for workers in (0, 2):
        features, kept, skipped = compute_features(model, dataset, workers, batch_size=7)
        assert kept.tolist() == [i for i in range(24) if i != 5]
        assert [path for path, _ in skipped] == [dataset.paths[5]]
        for row, image in zip(features, expected, strict=True):
            assert torch.equal(row, torch.from_numpy(image.copy()).permute(2, 0, 1).flatten() / 255)


def test_the_pixels_baseline_depends_on_the_images_alone():
    rgb, raw = PixelFormat(3), PixelFormat(3, "raw")
    for model in (Pixels(), pixels_beside(rgb, [0.1] * 3, [0.2] * 3), pixels_beside(raw, [0.1] * 3, [0.2] * 3)):
        frame = frame_of(model)
        assert frame.size == (32, 32) and frame.box(640, 480) == (0, 0, 640, 480)


def test_untrained_has_the_shape_and_not_the_weights():
    encoder = Encoder(
        seeded(3, image_size=(8, 8), patch_size=4, embed_dim=16, depth=1, num_heads=2), [0.5] * 3, [1.0] * 3
    )
    state = torch.get_rng_state()
    untrained = untrained_like(encoder)
    assert torch.equal(torch.get_rng_state(), state)
    assert untrained.network.arguments() == encoder.network.arguments()
    assert not torch.equal(untrained.network.blocks[0].attn.qkv.weight, encoder.network.blocks[0].attn.qkv.weight)
    again = untrained_like(encoder)
    assert torch.equal(untrained.network.blocks[0].attn.qkv.weight, again.network.blocks[0].attn.qkv.weight)


@pytest.mark.parametrize("folder", [None, "cache"])
def test_features_that_are_not_finite_are_left_out_or_refused(photos, tmp_path, monkeypatch, folder):
    dataset, model = open_dataset(photos), Pixels((20, 20))
    store = FeatureStore(tmp_path / folder if folder else None, workers=0)
    monkeypatch.setattr(model, "features", lambda images: Pixels.features(model, images).index_fill(0, BAD, math.inf))
    features, kept = store.get(model, dataset)
    assert kept.tolist() == [0, 1, *range(4, 24)] and features.isfinite().all()
    _, _, skipped = compute_features(model, dataset, workers=0)
    assert skipped == [(dataset.paths[i], "the model gives numbers for it that are not finite") for i in (2, 3)]
    monkeypatch.setattr(model, "features", lambda images: torch.full((len(images), 4), math.nan))
    with pytest.raises(UsageError, match="pixels gives numbers that are not finite: its weights are damaged"):
        FeatureStore(None, workers=0).get(model, dataset)
