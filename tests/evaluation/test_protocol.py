"""The measurement: features in order, planted answers score high, chance scores chance, bad sets are refused."""

import numpy as np
import pytest
import torch
from support.photos import draw_photos

from openjepa.data.open import open_dataset
from openjepa.encoder.baselines import Pixels, seeded, untrained_like
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import compute_features
from openjepa.errors import UsageError
from openjepa.evaluation.protocol import Labelled, aligned_labels, check_labels, measure, split_held_out


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


def test_pixels_are_no_larger_than_32():
    assert Pixels((32, 32)).image_size == (32, 32)
    assert Pixels((16, 20)).image_size == (16, 20)
    assert Pixels((64, 128)).image_size == (16, 32)


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


def labelled(answers, features):
    return Labelled(features, {"shape": answers})


def test_planted_answers_and_chance():
    rng = torch.Generator().manual_seed(0)
    answers = [torch.randint(0, 4, (n,), generator=rng) for n in (800, 400)]
    noise = [torch.randn(n, 16, generator=rng) for n in (800, 400)]
    told = [torch.cat([x, 8 * torch.nn.functional.one_hot(y, 4)], 1) for x, y in zip(noise, answers, strict=True)]
    records = measure(*map(labelled, answers, told), ("linear", "knn"), 0)
    assert [r["task"] for r in records] == ["linear:shape", "knn:shape"]
    assert all(r["value"] > 0.98 for r in records)
    for record in measure(*map(labelled, answers, noise), ("linear", "knn"), 0):
        assert record["low"] < 0.25 < record["high"]
        assert record["protocol"]["train_images"] == 800 and record["protocol"]["test_images"] == 400


def test_labels_are_aligned_by_name(tmp_path):
    train = open_dataset(draw_photos(tmp_path / "train", 12, ("ant", "bee", "cow")))
    test = open_dataset(draw_photos(tmp_path / "test", 6, ("bee", "cow")))
    check_labels(train, test)
    labels = aligned_labels(test, train, np.arange(6))["class"]
    assert {path.split("/")[0]: int(label) for path, label in zip(test.paths, labels, strict=True)} == {
        "bee": 1,
        "cow": 2,
    }
    with pytest.raises(UsageError, match="ant"):
        check_labels(test, train)


def test_the_held_out_fifth(photos):
    train, test = split_held_out(open_dataset(photos), 0)
    assert not set(train.paths) & set(test.paths) and len(train) + len(test) == 24
    assert sorted(np.bincount(test.labels["class"])) == [2, 2]
    assert split_held_out(open_dataset(photos), 0)[1].paths == test.paths
    assert split_held_out(open_dataset(photos), 1)[1].paths != test.paths
