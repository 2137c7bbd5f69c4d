"""Features are computed once: the same images and weights find them again, anything else does not."""

import tempfile

import numpy as np
import pytest
import torch
from support.photos import draw_photos

from openjepa.data.decoding.pillow import bad_image_on_error
from openjepa.data.memory import hold_in_memory
from openjepa.data.open import open_dataset
from openjepa.encoder.baselines import Pixels, seeded
from openjepa.encoder.content_hashes import content_hash
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.feature_cache import FeatureStore, model_hash
from openjepa.encoder.features import compute_features
from openjepa.errors import UsageError


def encoder(seed=0, mean=0.5, depth=3, num_heads=2) -> Encoder:
    network = seeded(seed, image_size=(16, 16), patch_size=4, embed_dim=16, depth=depth, num_heads=num_heads)
    return Encoder(network, [mean] * 3, [0.25] * 3, "e")


def test_stored_features_are_the_computed_ones_and_are_not_computed_again(photos, tmp_path):
    dataset = open_dataset(photos)
    (photos / dataset.paths[5]).write_bytes(b"no picture")
    expected, kept, _ = compute_features(encoder(), dataset, 0)
    for computed, reused in ((1, 0), (0, 1)):
        store = FeatureStore(tmp_path / "kept", 0)
        features, indices = store.get(encoder(), dataset)
        assert torch.equal(features, expected) and np.array_equal(indices, kept)
        assert (store.computed, store.reused) == (computed, reused)


def test_layers_end_in_the_embedding_and_agree_with_the_blocks(photos, tmp_path):
    model, dataset = encoder(), open_dataset(photos)
    store = FeatureStore(tmp_path / "kept", 0)
    layers, tokens = store.get(model, dataset, "layers")[0], store.get(model, dataset, "tokens")[0]
    assert layers.shape == (24, 3 * 16)  # of three blocks, all
    torch.testing.assert_close(layers[:, -16:], tokens.mean(1))
    images = model.preprocess([dataset.load(i) for i in range(3)])
    shallow = encoder(depth=3)
    shallow.network.blocks = shallow.network.blocks[:2]
    torch.testing.assert_close(layers[:3, 16:32], shallow.features(images))


def test_other_weights_images_and_kinds_are_other_features(photos, tmp_path):
    dataset = open_dataset(photos)
    models = [encoder(), encoder(1), encoder(mean=0.4), encoder(num_heads=4), Pixels((16, 16)), Pixels((8, 8))]
    assert len({model_hash(model) for model in models}) == len(models)
    other = open_dataset(draw_photos(tmp_path / "other", 24, ("a", "b", "c")))
    assert content_hash(dataset) != content_hash(other) != content_hash(dataset.subset(range(23)))
    moved = open_dataset(draw_photos(tmp_path / "moved", 24))
    assert content_hash(moved) == content_hash(dataset)
    held, again = (hold_in_memory(d, 0)[0] for d in (dataset, moved))
    assert content_hash(held) == content_hash(again)


def test_a_computation_that_is_stopped_leaves_nothing(photos, tmp_path):
    class Failing(Pixels):
        def features(self, images):
            raise KeyboardInterrupt

    store = FeatureStore(tmp_path / "kept", 0)
    with pytest.raises(KeyboardInterrupt):
        store.get(Failing((16, 16)), open_dataset(photos))
    assert not list((tmp_path / "kept").iterdir())


def test_a_store_without_a_folder_computes_the_same_and_writes_nothing(photos, tmp_path, monkeypatch):
    dataset, kept = open_dataset(photos), FeatureStore(tmp_path / "kept", 0)
    stored = {kind: kept.get(encoder(), dataset, kind) for kind in ("embedding", "layers", "tokens")}
    monkeypatch.setattr(tempfile, "mkdtemp", None)
    store = FeatureStore(None, 0)
    for kind, (features, indices) in stored.items():
        computed, same = store.get(encoder(), dataset, kind)
        assert torch.equal(computed, features) and np.array_equal(indices, same)
    with pytest.raises(TypeError, match="pixels has no features of the kind tokens"):
        store.get(Pixels((8, 8)), dataset, "tokens")


def test_a_place_that_cannot_be_written_is_said(photos, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="another folder with --cache"):
        FeatureStore(tmp_path / "file" / "cache", 0).get(Pixels((8, 8)), open_dataset(photos))


def test_images_that_cannot_be_decoded_are_named_also_when_features_are_found_again(photos, tmp_path):
    (photos / "cat/000.jpg").write_bytes((photos / "cat/000.jpg").read_bytes()[:-60])
    dataset = open_dataset(photos)
    for computed in (1, 0):
        store = FeatureStore(tmp_path / "store", workers=0)
        features, kept = store.get(Pixels((8, 8)), dataset)
        assert store.computed == computed and len(features) == len(kept) == 23
        assert store.left_out(dataset) == [("cat/000.jpg", "truncated")]


def test_features_are_not_kept_where_images_failed_for_a_reason_that_may_pass(photos, tmp_path, monkeypatch):
    dataset = open_dataset(photos)
    store = FeatureStore(tmp_path / "store", workers=0)
    store.hash(dataset)
    load = type(dataset).load

    def fail(self, index):
        if index == 3:
            with bad_image_on_error():
                raise OSError(5, "Input/output error")
        return load(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(type(dataset), "load", fail)
        _, kept = store.get(Pixels((8, 8)), dataset)
        assert len(kept) == 23 and store.left_out(dataset) == [(dataset.paths[3], "input/output error")]
    assert len(store.get(Pixels((8, 8)), dataset)[1]) == 24 and store.left_out(dataset) == []
    assert store.computed == 2 and not list((tmp_path / "store").glob("*passing*"))
