import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from openjepa.errors import UsageError
from openjepa.evaluation.intervals import accuracy_interval
from openjepa.evaluation.probes import knn
from openjepa.evaluation.probes.knn import knn_predict


def blobs(spread: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """900 features [24] around 6 centres of classes 3, 5, ..., 13; a large spread hides the centres."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(6, (900,), generator=g)
    centres = torch.randn(6, 24, generator=torch.Generator().manual_seed(99))
    return centres[y] + spread * torch.randn(900, 24, generator=g), 2 * y + 3


@pytest.mark.parametrize("spread", [1.0, 1000.0], ids=["clustered", "random"])
@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (20, 0.07), (7, 0.5), (600, 0.2)])
def test_equals_scikit_learn(spread, k, temperature, monkeypatch):
    monkeypatch.setattr(knn, "HELD_ELEMENTS", 10_000)  # many parts, the last one short
    x, y = blobs(spread)
    reference = KNeighborsClassifier(
        k, weights=lambda distance: np.exp((1 - distance) / temperature), metric="cosine", algorithm="brute"
    ).fit(x[:600].double(), y[:600])
    expected = reference.predict(x[600:].double())
    assert np.array_equal(knn_predict(x[:600], y[:600], x[600:], k, temperature), expected)


def test_a_k_beyond_the_training_part_asks_all_of_it():
    x, y = blobs(2.0)
    assert torch.equal(knn_predict(x[:50], y[:50], x, k=1000), knn_predict(x[:50], y[:50], x, k=50))


def test_equal_votes_go_to_the_smallest_label():
    x, query = torch.ones(6, 4), torch.ones(3, 4)
    assert knn_predict(x, torch.tensor([8, 7, 7, 8, 9, 9]), query).tolist() == [7, 7, 7]


def test_a_small_temperature_listens_to_the_nearest_alone():
    x, y = blobs(2.0)
    parts = x[:600], y[:600], x[600:]
    assert torch.equal(knn_predict(*parts, k=20, temperature=1e-6), knn_predict(*parts, k=1))


def test_a_planted_answer_scores_100_and_shuffled_labels_score_chance():
    x, y = blobs(0.1)
    assert torch.equal(knn_predict(x[:600], y[:600], x[600:]), y[600:])
    shuffled = y[torch.randperm(900, generator=torch.Generator().manual_seed(1))]
    _, low, high = accuracy_interval(knn_predict(x[:600], shuffled[:600], x[600:]) == shuffled[600:])
    assert low <= 1 / 6 <= high


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_refuses_features_that_are_not_finite(value):
    x, y = blobs(1.0)
    x[700, 3] = value
    with pytest.raises(UsageError, match="1 of 900 images have features that are NaN or infinite"):
        knn_predict(x[:600], y[:600], x[600:])
