"""Probes beside scikit-learn: on features of CIFAR-10, and on planted problems."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import average_precision_score, jaccard_score, r2_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import normalize

from openjepa.data.open import open_dataset
from openjepa.encoder.baselines import seeded
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.feature_cache import FeatureStore
from openjepa.errors import UsageError
from openjepa.evaluation.annotations.quantities import classes_of, count_edges
from openjepa.evaluation.probes import ridge as ridge_module
from openjepa.evaluation.probes import streamed
from openjepa.evaluation.probes.best_linear import Features, best_linear, validation_split
from openjepa.evaluation.probes.dense import Dense, mean_iou, segment_rows
from openjepa.evaluation.probes.knn import knn_predict
from openjepa.evaluation.probes.logistic import linear_probe
from openjepa.evaluation.probes.ridge import ridge
from openjepa.evaluation.tasks.appearance import explained, explained_rows
from openjepa.evaluation.tasks.fewshot import draw_shots, parse_shots
from openjepa.evaluation.tasks.retrieval import average_precision, retrieve


@pytest.fixture(scope="module")
def cifar(request, tmp_path_factory):
    """Features of an untrained encoder on 2,000 + 2,000 images of CIFAR-10, and their classes."""
    from conftest import SHARED

    if not SHARED.is_dir():
        message = f"reference files are not at {SHARED}"
        pytest.fail(message) if request.config.getoption("--need-shared") else pytest.skip(message)
    network = seeded(0, image_size=(32, 32), patch_size=8, embed_dim=96, depth=2, num_heads=3)
    model, store = Encoder(network, [0.5] * 3, [0.25] * 3), FeatureStore(tmp_path_factory.mktemp("cifar"), 0)
    parts = []
    for part in ("train", "test"):
        whole = open_dataset(SHARED / "data" / "cifar10_jpeg.zip" / part)
        dataset = whole.subset(np.random.default_rng(0).permutation(len(whole))[:2000])
        features, _ = store.get(model, dataset, "layers")
        parts += [features, torch.from_numpy(dataset.labels["class"])]
    return parts


def test_the_linear_probe_is_within_half_a_point_of_logistic_regression(cifar):
    train, y, test, truth = cifar
    fit, validation = validation_split(len(y), 0)
    ours = linear_probe(train[fit], y[fit], train[validation], y[validation], test)
    scaler = StandardScaler().fit(train[fit])
    x, val_x, test_x = (scaler.transform(part) for part in (train[fit], train[validation], test))
    tried = []
    for c in np.geomspace(1e-4, 10, 6):
        model = LogisticRegression(C=c, max_iter=1000, tol=1e-3).fit(x, y[fit])
        tried.append((model.score(val_x, y[validation]), (model.predict(test_x) == truth.numpy()).mean()))
    theirs = max(tried, key=lambda pair: pair[0])[1]
    assert (ours.predictions == truth).double().mean().item() >= theirs - 0.005


def test_knn_equals_scikit_learn(cifar):
    train, y, test, _ = cifar
    theirs = KNeighborsClassifier(
        20, weights=lambda distance: np.exp((1 - distance) / 0.07), metric="cosine", algorithm="brute"
    ).fit(train.double(), y)
    agree = theirs.predict(test.double()) == knn_predict(train, y, test).numpy()
    assert agree.mean() >= 0.999  # float32 and float64 may order near ties otherwise


def test_the_best_of_four_is_no_worse_on_validation_than_any(cifar):
    train, y, test, truth = cifar
    features = [Features(x[:, -96:], x) for x in (train, test)]
    choice = best_linear(features[0], y, features[1], 0)
    assert torch.equal(choice.predict(features[1]), choice.probe.predictions)
    fit, validation = validation_split(len(y), 0)
    single = [
        linear_probe(
            x[fit], y[fit], x[validation], y[validation], test[:1].expand(1, -1)[:, -x.shape[1] :]
        ).val_accuracy
        for x in (train[:, -96:].clone(), train)
    ]
    error = (max(single) * (1 - max(single)) / len(validation)) ** 0.5
    assert choice.probe.val_accuracy >= max(single) - error
    assert (choice.probe.predictions == truth).double().mean() > 0.2


def test_search_finds_what_scikit_learn_finds(cifar):
    train, y, test, truth = (part[:400] for part in cifar)
    hits, precision = retrieve(train, y, test, truth)
    order = NearestNeighbors(n_neighbors=10, metric="cosine").fit(train.double()).kneighbors(test.double())[1]
    relevant = y.numpy()[order] == truth.numpy()[:, None]
    for k, hit in hits.items():
        assert (hit.numpy() == relevant[:, :k].any(1)).mean() >= 0.997
    cosine = normalize(test.double()) @ normalize(train.double()).T
    expected = [average_precision_score(y == label, row) for label, row in zip(truth, cosine, strict=True)]
    np.testing.assert_allclose(precision, expected, atol=1e-3)


def test_features_that_are_all_alike_are_found_no_better_than_by_chance():
    y = torch.arange(5).repeat_interleave(20)
    hits, precision = retrieve(torch.ones(100, 3), y, torch.ones(100, 3), y)
    assert hits[1].double().mean() <= 0.2 and precision.tolist() == pytest.approx([0.2] * 100)


def test_probes_say_where_each_tensor_lies(cifar):
    """Under a default device that holds no numbers, a tensor made without its device would end the computation."""
    train, y, test, truth = (part[:200] for part in cifar)
    fit, held = validation_split(200, 0)
    parts = train[fit], y[fit], train[held], y[held]
    looks = torch.randn(200, 2)
    with torch.device("meta"):
        linear_probe(*parts, test, device="cpu")
        knn_predict(train, y, test, device="cpu")
        retrieve(train, y, test, truth, device="cpu")
        ridge(train[:, :50], looks, test[:, :50], looks, device="cpu")
        streamed.streamed_probe(train, y, fit, held, test, epochs=1, device="cpu")


def test_the_streamed_probe_is_no_worse_than_the_linear_probe(cifar, monkeypatch):
    monkeypatch.setattr(streamed, "BATCH", 256)
    train, y, test, truth = cifar
    fit, validation = validation_split(len(y), 0)
    whole = linear_probe(train[fit], y[fit], train[validation], y[validation], test)
    mapped = streamed.streamed_probe(train, y, fit, validation, test, epochs=200)  # as many steps as a large set has
    right = [(probe.predictions == truth).double().mean().item() for probe in (whole, mapped)]
    assert right[1] >= right[0] - 0.015 and min(right) > 0.25
    assert mapped.setting["l2"] > 0  # 1,800 images of 192 numbers each: without a penalty it would overfit


def test_a_head_without_batch_norm_is_that_of_one_scale():
    rng = torch.Generator().manual_seed(0)
    y = torch.randint(3, (900,), generator=rng)
    x = torch.randn(900, 8, generator=rng) * torch.logspace(0, -2, 8) + 5
    x[:, 0] += y
    parts = x[:500], y[:500], x[500:600], y[500:600], x[600:]
    probe = linear_probe(*parts, batch_norm=False, inverse_strengths=(1.0,))
    scale = x[:500].var(0, correction=0).mean().sqrt().item()
    scaled = ((x - x[:500].mean(0)) / scale).double()
    theirs = LogisticRegression(C=1.0, max_iter=5000, tol=1e-8).fit(scaled[:500], y[:500])
    assert (theirs.predict(scaled[600:]) == probe.predictions.numpy()).mean() > 0.99
    assert torch.equal(probe.predict(x[600:]), probe.predictions)


@pytest.mark.parametrize("n", [300, 30], ids=["many", "few"])
def test_ridge_equals_scikit_learn(n, monkeypatch):
    monkeypatch.setattr(ridge_module, "PART_ROWS", 70)
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(n + 100, 60, generator=rng) @ torch.randn(60, 60, generator=rng) + 3
    y = x @ torch.randn(60, 2, generator=rng) + torch.tensor([2.0, 90.0]) * torch.randn(n + 100, 2, generator=rng) - 7
    head = ridge(x[:n], y[:n], x[n:], y[n:])
    assert head.strengths[0] < head.strengths[1]  # more noise asks for more penalty
    scale = torch.linalg.eigvalsh(torch.cov(x[:n].T, correction=0)).clamp(min=0).sum().item() / min(n, 60)
    for target, strength in enumerate(head.strengths):
        theirs = Ridge(alpha=strength * scale * n).fit(x[:n].double(), y[:n, target].double())
        np.testing.assert_allclose(head.predict(x[n:])[:, target], theirs.predict(x[n:].double()), rtol=1e-3, atol=0.05)


def test_explained_variance_average_precision_and_iou_equal_scikit_learn():
    rng = np.random.default_rng(0)
    truth = rng.normal(3, 1, (50, 3))
    guess = truth + rng.normal(0, 0.7, (50, 3))
    assert explained(explained_rows(truth, guess).sum(0)) == pytest.approx(r2_score(truth, guess))
    relevant, similarity = rng.random(40) < 0.2, rng.integers(12, size=(20, 40)).astype(np.float32)  # with ties
    expected = [average_precision_score(relevant, row) for row in similarity]
    found = average_precision(torch.from_numpy(similarity), torch.from_numpy(relevant))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert average_precision(torch.ones(2, 5), torch.zeros(5, dtype=torch.bool)).tolist() == [0, 0]
    masks = torch.from_numpy(rng.integers(3, size=(30, 8, 8))).repeat_interleave(4, 1).repeat_interleave(4, 2)
    tokens = torch.nn.functional.one_hot(masks[:, ::4, ::4], 3).flatten(1, 2).float()
    part = Dense(tokens + 0.7 * torch.randn(tokens.shape, generator=torch.Generator().manual_seed(0)), masks, (8, 8))
    rows, _ = segment_rows(part, part, part, 0)
    one, probe_rows = rows.sum(0), rows
    assert probe_rows[:, 3:].min() > 0 and 0.4 < mean_iou(one) < 1
    truth, said = rng.integers(3, size=500), rng.integers(3, size=500)
    both = [np.sum((truth == k) & (said == k)) for k in range(3)]
    either = [np.sum((truth == k) | (said == k)) for k in range(3)]
    assert mean_iou(np.array([*both, *either])) == pytest.approx(jaccard_score(truth, said, average="macro"))


def test_shots_are_drawn_by_class_and_anew_each_time():
    labels = np.repeat([0, 1, 2], [100, 30, 5])
    few = draw_shots(labels, "4", 0, 0, ["a", "b", "c"])
    assert np.bincount(labels[few]).tolist() == [4, 4, 4]
    share = draw_shots(labels, "10%", 0, 0, ["a", "b", "c"])
    assert np.bincount(labels[share]).tolist() == [10, 3, 1]
    assert np.bincount(labels[draw_shots(labels.repeat(2), "1%", 0, 0, ["a", "b", "c"]) // 2]).tolist() == [2, 1, 1]
    assert np.array_equal(few, draw_shots(labels, "4", 0, 0, [])) and not np.array_equal(
        few, draw_shots(labels, "4", 0, 1, [])
    )
    assert parse_shots(" 1%, 10") == ("1%", "10")
    for wrong in ("", "ten", "0", "100%", "2.5", "-1", "0%"):
        with pytest.raises(UsageError, match="--shots"):
            parse_shots(wrong)


def test_counts_as_classes():
    edges, names = count_edges(np.repeat([3, 4, 7], 10))
    assert names == ["3", "4", "7"]
    assert classes_of(np.array([3, 4, 5, 6, 7, 9]), edges).tolist() == [0, 1, 1, 2, 2, 2]
    counts = np.arange(1, 31).repeat(3)
    edges, names = count_edges(counts)
    assert np.bincount(classes_of(counts, edges)).tolist() == [15] * 6
    assert names[0] == "1 to 5" and names[-1] == "26 to 30"
    with pytest.raises(UsageError, match="every training image shows 4 objects"):
        count_edges(np.full(9, 4))
    with pytest.raises(UsageError, match="no training image has annotations"):
        count_edges(np.empty(0))
