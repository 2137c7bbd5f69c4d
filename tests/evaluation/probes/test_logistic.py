from typing import NamedTuple

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from openjepa.errors import UsageError
from openjepa.evaluation.intervals import accuracy_interval
from openjepa.evaluation.probes import logistic
from openjepa.evaluation.probes.logistic import linear_probe

CLASSES = 10


class Problem(NamedTuple):
    train_x: torch.Tensor
    train_y: torch.Tensor
    val_x: torch.Tensor
    val_y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor

    def with_features(self, change) -> "Problem":
        return Problem(*(change(part) if part.is_floating_point() else part for part in self))


def problem(n: int, dims: int, seed: int = 0) -> Problem:
    """Classes overlap in 16 hidden directions, features are correlated over two decades, 5 % of the labels wrong."""
    rng = np.random.default_rng(seed)
    centres, mix = rng.normal(size=(CLASSES, 16)), rng.normal(size=(16, dims)) / 4
    nuisance = np.linalg.qr(rng.normal(size=(dims, dims)))[0] * np.geomspace(5, 0.05, dims)[:, None]

    def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        y = rng.integers(CLASSES, size=count)
        x = (centres[y] + 1.2 * rng.normal(size=(count, 16))) @ mix + rng.normal(size=(count, dims)) @ nuisance
        wrong = rng.random(count) < 0.05
        return torch.tensor(x, dtype=torch.float32), torch.tensor(np.where(wrong, rng.integers(CLASSES, size=count), y))

    return Problem(*draw(n), *draw(max(500, n // 4)), *draw(4000))


def accuracy(problem: Problem) -> float:
    return (linear_probe(*problem[:5]).predictions == problem.test_y).double().mean().item()


def scikit_learn(problem: Problem, c: float) -> tuple[float, np.ndarray]:
    """Validation accuracy and test predictions of the same model, in float64 and to convergence."""
    scaler = StandardScaler().fit(problem.train_x.double())
    train, val, test = (scaler.transform(x.double()) for x in (problem.train_x, problem.val_x, problem.test_x))
    reference = LogisticRegression(C=c, max_iter=2000).fit(train, problem.train_y)
    return reference.score(val, problem.val_y), reference.predict(test)


def tuned_scikit_learn(problem: Problem) -> float:
    """Test accuracy of the C that is most accurate on the validation part."""
    results = [scikit_learn(problem, c) for c in np.geomspace(1e-3, 10, 9)]
    return (max(results, key=lambda result: result[0])[1] == problem.test_y.numpy()).mean()


@pytest.fixture(scope="module")
def base() -> Problem:
    return problem(4000, 96)


@pytest.fixture(scope="module")
def base_reference(base: Problem) -> float:
    return tuned_scikit_learn(base)


def one_column_huge(x):
    return torch.cat([x[:, :1] * 1e4, x[:, 1:]], 1)


def one_column_far_away(x):
    return torch.cat([x[:, :1] + 1e4, x[:, 1:]], 1)


def one_column_constant(x):
    return torch.cat([x, torch.full((len(x), 1), 0.1)], 1)


@pytest.mark.parametrize("change", [torch.clone, one_column_huge, one_column_far_away, one_column_constant])
def test_is_as_good_as_a_tuned_scikit_learn(base, base_reference, change):
    assert abs(accuracy(base.with_features(change)) - base_reference) <= 0.005


def test_is_as_good_with_a_class_missing_from_validation(base):
    present = base.val_y != 4
    lacking = base._replace(val_x=base.val_x[present], val_y=base.val_y[present])
    assert abs(accuracy(lacking) - tuned_scikit_learn(lacking)) <= 0.005


@pytest.mark.parametrize(("n", "dims"), [(500, 64), (300, 700), (4000, 128)], ids=["few", "wide", "many"])
def test_finds_the_same_minimum_as_scikit_learn(n, dims):
    parts = problem(n, dims, seed=1)
    probe = linear_probe(*parts[:5])
    _, expected = scikit_learn(parts, c=1 / (probe.setting["l2"] * n))
    assert (probe.predictions.numpy() == expected).mean() >= 0.998


def test_reports_the_accuracy_of_the_head_it_chose(base):
    on_validation = linear_probe(*base[:4], base.val_x)
    assert on_validation.val_accuracy == pytest.approx((on_validation.predictions == base.val_y).double().mean().item())


def test_a_column_that_only_rounding_moves_in_training_is_ignored_when_it_changes_later(base):
    def rounding(x):
        return torch.cat([x, 0.1 + 1e-8 * x[:, :1]], 1)

    test_x = torch.cat([base.test_x, torch.full((len(base.test_x), 1), 1e6)], 1)
    later = base._replace(train_x=rounding(base.train_x), val_x=rounding(base.val_x), test_x=test_x)
    assert accuracy(later) == pytest.approx(accuracy(base), abs=0.001)


def test_heads_fitted_in_groups_are_the_heads_fitted_together(base, monkeypatch):
    together = linear_probe(*base[:5])
    monkeypatch.setattr(logistic, "HELD_ELEMENTS", 5 * CLASSES * len(base.train_x))
    apart = linear_probe(*base[:5])
    assert apart.setting == together.setting
    assert (apart.predictions == together.predictions).double().mean() > 0.998


def test_is_the_same_for_a_seed_and_leaves_the_global_generator_alone(base):
    state = torch.random.get_rng_state()
    first, again = linear_probe(*base[:5], seed=5), linear_probe(*base[:5], seed=5)
    assert torch.equal(first.predictions, again.predictions)
    assert (first.setting, first.val_accuracy) == (again.setting, again.val_accuracy)
    assert torch.equal(state, torch.random.get_rng_state())


def test_predicts_only_labels_of_the_training_part(base):
    sparse = base._replace(train_y=torch.where(base.train_y < 5, -7, 1000))
    assert set(linear_probe(*sparse[:5]).predictions.tolist()) == {-7, 1000}


def test_collapsed_features_score_the_most_common_class(base):
    collapsed = base.with_features(torch.ones_like)
    common = base.train_y.mode().values
    probe = linear_probe(*collapsed[:5])
    assert (probe.predictions == common).all()
    assert probe.val_accuracy == pytest.approx((base.val_y == common).double().mean().item())


def test_a_planted_answer_scores_100(base):
    planted = Problem(*(part.clone() for part in base))
    for x, y in zip(planted[::2], planted[1::2], strict=True):
        x[:, :CLASSES] = torch.eye(CLASSES)[y]
    assert accuracy(planted) == 1


def test_shuffled_labels_score_chance(base):
    g = torch.Generator().manual_seed(0)
    shuffled = Problem(*(p if p.is_floating_point() else p[torch.randperm(len(p), generator=g)] for p in base))
    _, low, high = accuracy_interval(linear_probe(*shuffled[:5]).predictions == shuffled.test_y)
    assert low <= 1 / CLASSES <= high


def test_refuses_features_that_are_not_finite(base):
    val_x = base.val_x.clone()
    val_x[5, 0] = torch.nan
    with pytest.raises(UsageError, match="1 of 9000 images have features that are NaN or infinite"):
        linear_probe(*base._replace(val_x=val_x)[:5])
