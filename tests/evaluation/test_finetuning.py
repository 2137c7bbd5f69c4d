"""Parts of fine-tuning equal references: schedule, losses and scores; columns of other data sets are matched."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from openjepa.data.dataset import Columns
from openjepa.data.scenes.scenes import Scenes
from openjepa.errors import UsageError
from openjepa.evaluation.finetuning.objective import Kind, Objective, balanced_weights, units_of
from openjepa.evaluation.finetuning.scores import image_scores, mean_average_precision, measure
from openjepa.evaluation.finetuning.targets import Target, find_target, split
from openjepa.evaluation.finetuning.tuner import TuningPlan


@pytest.mark.parametrize("steps", [1, 7, 60, 333])
def test_the_rate_is_that_of_pytorchs_schedulers(steps):
    plan = TuningPlan(steps)
    rise = max(1, round(plan.warmup * steps))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    parts = [
        torch.optim.lr_scheduler.LinearLR(optimizer, 1 / rise, total_iters=rise),
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - rise)),
    ]
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, parts, [rise])
    for step in range(steps):
        assert plan.factor(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        schedule.step()


def test_average_precision_is_scikit_learns():
    rng = np.random.default_rng(0)
    outputs, truth = rng.normal(size=(50, 4)), (rng.random((50, 4)) < 0.3).astype(float)
    truth[:, 3] = 0  # a tag that no image has
    theirs = average_precision_score(truth[:, :3], outputs[:, :3])
    assert mean_average_precision(outputs, truth) == pytest.approx(theirs)
    assert mean_average_precision(outputs, np.zeros_like(truth)) == 0


def test_numbers_are_learnt_standardised_and_given_in_their_units():
    numbers = np.array([[10.0, 1.0], [20.0, 1.0], [60.0, 1.0]], np.float32)
    shift, scale = units_of(numbers)
    objective = Objective(Kind.NUMBERS, 2, shift=shift, scale=scale)
    weight, bias = objective.head(torch.eye(2), torch.zeros(2))
    standardised = torch.tensor([[0.5, 0.0], [-1.0, 0.0], [2.0, 0.0]])
    outputs = standardised @ weight.T + bias
    torch.testing.assert_close(objective.standardised(outputs), standardised)
    scores = measure(objective, outputs, numbers)
    assert scores.value == pytest.approx(float(np.abs(outputs.numpy() - numbers).mean()))
    assert scores.loss == pytest.approx(
        float((standardised - objective.standardised(torch.tensor(numbers))).square().mean()), rel=1e-5
    )


def test_of_equal_accuracies_the_lower_loss_wins():
    truth = np.array([0, 1])
    sure, unsure = (measure(Objective(Kind.CLASS, 2), torch.tensor([[a, 0.0], [0.0, a]]), truth) for a in (3.0, 0.1))
    wrong = measure(Objective(Kind.CLASS, 2), torch.tensor([[9.0, 0.0], [9.0, 0.0]]), truth)
    assert sure.value == unsure.value == 1 and sure.merit > unsure.merit > wrong.merit


def test_the_constant_of_a_score_is_the_best_that_training_values_alone_allow():
    seen = np.array([[1, 0], [1, 0], [1, 1]], np.float32)
    _, constant = image_scores(Kind.TAGS, torch.zeros(2, 2), np.array([[1, 0], [0, 1]], np.float32), seen)
    assert constant.tolist() == [1, 0]
    _, constant = image_scores(Kind.CLASS, torch.zeros(2, 3), np.array([2, 0]), np.array([2, 2, 1]))
    assert constant.tolist() == [1, 0]
    own, constant = image_scores(
        Kind.NUMBERS, torch.tensor([[4.0]]), np.array([[7.0]], np.float32), np.array([[1.0], [2], [9]])
    )
    assert (own.tolist(), constant.tolist()) == ([3], [5])


def test_weights_of_tags_balance_with_and_without():
    tags = np.array([[1, 0], [0, 0], [0, 0], [1, 1]], np.float32)
    assert balanced_weights(Kind.TAGS, tags, 2).tolist() == [1, 3]


def with_columns(**columns):
    dataset = Scenes(6)
    dataset.labels, dataset.classes, dataset.columns = {}, {}, Columns(**columns)
    return dataset


def test_tags_of_other_images_are_found_by_their_names():
    train = with_columns(tags={"t": np.array([[1, 0]] * 3 + [[0, 1]] * 3, np.int8)}, tag_names={"t": ["a", "b"]})
    test = with_columns(tags={"t": np.array([[1, 0, 1]] * 5 + [[-1] * 3], np.int8)}, tag_names={"t": ["b", "c", "a"]})
    target = find_target(train, ("t",), False)
    assert target == Target(Kind.TAGS, ("t",), ("a", "b"))
    values = target.values(test)
    assert values[0].tolist() == [1, 1] and target.known(values).tolist() == [True] * 5 + [False]
    with pytest.raises(UsageError, match="no labels, and no column t"):
        target.values(with_columns())


def test_numbers_split_by_chance_and_classes_by_class():
    numbers = Target(Kind.NUMBERS, ("n",), ("n",))
    train, held = split(numbers, np.zeros((50, 1), np.float32), 0)
    assert sorted([*train, *held]) == list(range(50)) and len(held) == 10
    train, held = split(Target(Kind.CLASS, ("c",), ("a", "b")), np.array([0] * 40 + [1] * 10), 0)
    assert (sum(held < 40), sum(held >= 40)) == (8, 2)
    with pytest.raises(UsageError, match="1 labelled image is too few"):
        split(numbers, np.zeros((1, 1), np.float32), 0)
