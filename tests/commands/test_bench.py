"""bench counts what a step computes and names what limits a run."""

import dataclasses

import pytest
import torch
from support.processes import parts

import openjepa
from openjepa.runs.planning.plan import bottleneck, limit
from openjepa.training import timing
from openjepa.training.timing import Cost, Speed, matrix_peak, measure_cost, step_flops


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_flops_are_those_of_the_products(photos, precision):
    """By hand: 2 for a weight and token, thrice that with its gradients; and attention's two products."""
    _, stepper, batches = parts(photos, "auto", num_targets=1)
    batch, stepper = batches[0], dataclasses.replace(stepper, precision=precision)
    images, (context, targets) = 5, (ids.shape[-1] for ids in batch.masks[:2])
    seen, predicted = images * context, images * (context + targets)

    def block(dim, tokens, length):
        return 2 * tokens * 12 * dim**2 + 2 * 2 * tokens * length * dim

    target_encoder = 2 * block(32, 16 * images, 16) + 2 * 16 * images * 48 * 32
    encoder = 2 * block(32, seen, context) + 2 * seen * 48 * 32
    predictor = block(16, predicted, context + targets) + 2 * (seen + images * targets) * 16 * 32
    pixels = 2 * seen * 48 * 32  # no gradient goes into the pixels
    assert step_flops(stepper, batch) == target_encoder + 3 * (encoder + predictor) - pixels


def test_waiting_is_measured(photos):
    _, stepper, batches = parts(photos, "auto")
    assert 0 < measure_cost(stepper, batches, 0).input_fraction < 1


@pytest.mark.parametrize(
    ("waited", "workers", "words"),
    [
        (0.01, 2, "the step limits the run"),
        (0.11, 0, "the step limits the run"),
        (0.6, 1, "give --workers 3"),
        (0.6, 4, "store the images smaller"),
    ],
)
def test_the_bottleneck_is_named(waited, workers, words, monkeypatch):
    monkeypatch.setattr("openjepa.runs.planning.plan.cores", lambda: 4)
    assert words in limit(Cost(1.0, 0, waited, workers=workers))
    assert "smaller" not in limit(Cost(1.0, 0, waited, workers=workers), in_memory=True)


@pytest.mark.parametrize(
    ("step", "loaded", "together", "words"),
    [
        (181, 3571, 157, "share the processors: together they reach 157 images/s, the slower of them alone 181"),
        (181, 3571, 178, "the step limits the run"),
        (3571, 181, 178, "the input limits the run"),
        (181, 181, 90, "share the processors"),
    ],
)
def test_what_limits_a_run_follows_from_the_rates(step, loaded, together, words):
    cost = Cost(16 / together, 0, 0.09 * 16 / together if loaded > step else 0.9 * 16 / together, workers=2)
    speed = Speed(step, loaded, cost, 16, 1, 1.0)
    assert words in bottleneck(speed)


def test_bench_measures_a_users_own_images(photos, capsys):
    settings = {"image_size": 16, "batch_size": 5, "predictor_depth": 1, "workers": 0, "precision": "float32"}
    found = openjepa.bench(str(photos), seconds=0.05, **settings)
    said = capsys.readouterr().out
    assert (
        "step alone" in said and "input alone" in said and ("limits the run" in said or "share the processors" in said)
    )
    assert min(found.values()) > 0 and 0 < found["input_fraction"] < 1
    with pytest.raises(openjepa.UsageError, match="--seconds 0 is not possible"):
        openjepa.bench(str(photos), seconds=0)


def test_the_peak_of_an_emulated_precision_is_that_of_small_products(monkeypatch):
    """Each of the products of the usual size can take minutes there."""
    sides = []
    randn = torch.randn

    def small(*shape, **how):
        sides.append(shape)
        return randn(*shape, **how)

    monkeypatch.setattr(timing, "times_slower", lambda dtype: 50.0)
    monkeypatch.setattr(torch, "randn", small)
    assert matrix_peak(torch.device("cpu"), torch.bfloat16) > 0
    assert sides == [(128, 128)]
