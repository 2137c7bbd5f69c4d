"""Every joint method: several processes equal one, a run resumes to the bit after Ctrl-C, and is judged."""

import dataclasses
import os
import signal

import numpy as np
import pytest
import torch
from plain import PLAIN
from support.processes import together

from openjepa.config import build_config
from openjepa.data.memory import hold_in_memory
from openjepa.data.open import open_dataset
from openjepa.errors import UsageError
from openjepa.methods.joint.base import JointMethod
from openjepa.methods.registry import METHODS
from openjepa.models.vit import VisionTransformer
from openjepa.runs.planning.build import build_batches, build_stepper, draft
from openjepa.runs.planning.build_model import Networks
from openjepa.runs.start import check_ranks
from openjepa.training.distributed import mean_over_ranks, whole
from openjepa.training.loop import Interrupted
from openjepa.training.monitoring.metrics_log import read_metrics
from openjepa.training.monitoring.monitors import alignment, uniformity
from openjepa.training.state import run_tensors

SMALL = {"image_size": "16", "batch_size": 6, "log_every": 1, "workers": 0, "precision": "float32", "steps": 6}
JOINT = [name for name, entry in METHODS.items() if issubclass(entry.load(), JointMethod)]


def tiny(method):
    torch.manual_seed(0)
    return METHODS[method].load().build(VisionTransformer((16, 16), 4, embed_dim=16, depth=1, num_heads=2))


@pytest.fixture
def dataset(photos):
    return hold_in_memory(open_dataset(photos), 0)[0]


def make_run(dataset, out, method):
    out.mkdir(exist_ok=True)
    config = build_config(PLAIN, SMALL | {"method": method})
    blueprint = draft(config, dataset, [0.5] * 3, [0.25] * 3, Networks(lambda: tiny(method)))
    run = dataclasses.replace(blueprint, probe=None).run(out, 6)
    return dataclasses.replace(run, intervals=dataclasses.replace(run.intervals, monitor=3))


def interrupt(record):
    if record["step"] == 3:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("method", JOINT)
def test_a_run_goes_on_to_the_bit_after_an_interrupt_and_is_judged(dataset, tmp_path, method):
    run = make_run(dataset, tmp_path / "whole", method)
    run.train(lambda record: None)
    first = make_run(dataset, tmp_path / "parts", method)
    with pytest.raises(Interrupted, match="after step 3 of 6"):
        first.train(interrupt)
    second = make_run(dataset, tmp_path / "parts", method)
    assert second.resume() == [] and second.done == 3
    second.train(lambda record: None)
    found, expected, before = run_tensors(second.stepper), run_tensors(run.stepper), run_tensors(first.stepper)
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
    assert not all(torch.equal(found[name], before[name]) for name in found)
    logs = [[r for r in read_metrics(tmp_path / name) if "rank" in r] for name in ("whole", "parts")]
    for ours, theirs in zip(*logs, strict=True):
        measured = {"rank", "std", "alignment", "uniformity", "status"} & ours.keys()
        assert len(measured) == 5 and all(ours[name] == theirs[name] for name in measured)
        assert 0 <= ours["alignment"] <= 4 and -8 <= ours["uniformity"] <= 0 and ours["verdict"]


def curves(dataset, parallel, methods):
    """By method the losses and gradients of two steps."""
    found = {}
    for method in methods:
        config = build_config(PLAIN, SMALL | {"method": method})
        stepper = build_stepper(config, 2, [0.5] * 3, [0.25] * 3, tiny(method), parallel)
        batches, values = build_batches(dataset, config), []
        for step in range(2):
            stepper.gradients(batches[step])
            values += [whole(p.grad).numpy() for p in stepper.model.parameters() if p.grad is not None]
            values.append(np.array(mean_over_ranks(stepper(step, batches[step])[0])))
        found[method] = values
    return found


# Sharding does not touch a loss: a method with a target network and a state, and one whose loss is of the whole batch.
@pytest.mark.parametrize(("parallel", "methods"), [("ddp", JOINT), ("fsdp", ["dino", "vicreg"])])
def test_two_processes_are_one(dataset, parallel, methods):
    expected = curves(dataset, "auto", methods)
    for found in together(2, curves, dataset, parallel, methods):
        for method in methods:
            largest = max(np.abs(value).max() for value in expected[method])
            for ours, theirs in zip(found[method], expected[method], strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * largest, err_msg=method)


def refused(dataset, batch_size):
    with pytest.raises(UsageError, match="of a batch: give 2 or more, a multiple of the 2 processes"):
        check_ranks(build_config(PLAIN, SMALL | {"method": "vicreg", "batch_size": batch_size}))


def test_a_batch_that_processes_cannot_halve_is_refused(dataset):
    together(2, refused, dataset, 5)


def test_alignment_and_uniformity_of_known_places():
    square = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    assert alignment(square, square) == 0 and alignment(square, -square) == 4
    assert uniformity(square[:1].expand(5, -1)) == 0
    expected = np.log((4 * np.exp(-4) + 2 * np.exp(-8)) / 6)
    assert uniformity(square) == pytest.approx(expected, rel=1e-5)
