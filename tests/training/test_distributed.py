"""Several processes train the run that one would: losses, gradients, weights, checkpoints, agreement with rank 0."""

import contextlib
import os
import signal

import pytest
import torch
from plain import PLAIN
from support.photos import draw_photos
from support.processes import parts, small_run, start_ranks, together

from openjepa.cli import of_rank_zero
from openjepa.config import build_config
from openjepa.errors import UsageError
from openjepa.runs.start import start_run
from openjepa.training.checkpoint import checkpoint_steps, load_newest
from openjepa.training.distributed import (
    anyone,
    check_alike,
    everyones,
    is_sharded,
    mean_over_ranks,
    on_rank_zero,
    rank,
    whole,
)
from openjepa.training.loop import Interrupted
from openjepa.training.monitoring.metrics_log import read_metrics

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
LOGGED = {"loss": 1e-4, "grad_norm": 1e-4, "rank": 1e-3, "energy_gap": 1e-3, "knn": 0, "linear": 0}


def curve(photos, parallel, **changes):
    """The losses and the gradients of all steps."""
    config, stepper, batches = parts(photos, parallel, **changes)
    losses, gradients = [], {}
    for step in range(config.steps):
        stepper.gradients(batches[step])
        for name, parameter in stepper.model.named_parameters():
            if parameter.grad is not None:
                gradients[step, name] = whole(parameter.grad).numpy()
        losses.append(mean_over_ranks(stepper(step, batches[step])[0]))
    return losses, gradients, is_sharded(stepper.model)


def assert_alike(found, expected):
    assert torch.allclose(torch.tensor(found[0]), torch.tensor(expected[0]), **CLOSE)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        assert torch.allclose(torch.tensor(found[1][name]), torch.tensor(gradient), **CLOSE), name


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_are_one(photos, parallel):
    """The batch of 5 cannot be halved, so gradients are right only if they are weighted by images."""
    expected = curve(photos, "auto", steps=12)
    for found in together(2, lambda: curve(photos, parallel, steps=12)):
        assert_alike(found, expected)
        assert found[2] == (parallel == "fsdp")


def test_less_memory_is_the_same_update(photos):
    few = {"steps": 6, "masks_per_image": 2}
    expected = curve(photos, "auto", **few)
    assert_alike(curve(photos, "auto", **few, accumulate=3), expected)
    assert_alike(curve(photos, "auto", **few, checkpoint_activations=True), expected)
    both = few | {"accumulate": 2, "checkpoint_activations": True}
    for parallel in ("ddp", "fsdp"):
        for found in together(2, lambda parallel=parallel: curve(photos, parallel, **both)):
            assert_alike(found, expected)


def train(photos, out, parallel, steps, resume):
    """Train up to `steps` of 9 steps as if the run had been interrupted there."""
    run = small_run(photos, out, parallel, steps=9)
    if resume:
        run.resume()
    started, reported = run.done, []

    def stop_there(record):
        reported.append(record)
        if record["step"] == steps < 9:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted) if steps < 9 else contextlib.nullcontext():
        run.train(stop_there)
    return started, run.done, len(reported)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_any_number_of_processes_goes_on(photos, tmp_path, parallel):
    whole_run, parted = tmp_path / "whole", tmp_path / "parted"
    for out in (whole_run, parted):
        out.mkdir()
    train(photos, whole_run, "auto", 9, False)
    first_leg = together(2, lambda: train(photos, parted, parallel, 3, False))
    assert [leg[:2] for leg in first_leg] == [(0, 3), (0, 3)] and first_leg[1][2] == 0
    assert train(photos, parted, "auto", 6, True)[:2] == (3, 6)
    assert together(2, lambda: train(photos, parted, parallel, 9, True))[0][:2] == (6, 9)
    assert checkpoint_steps(parted / "checkpoints")[-1] == 9
    ours, theirs = (load_newest(out / "checkpoints")[0] for out in (parted, whole_run))
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        # The bias of keys has no gradient but rounding, which AdamW blows up.
        assert name.endswith("qkv.bias") or torch.allclose(ours[name], tensor, **CLOSE), name
    logs = [read_metrics(out) for out in (parted, whole_run)]
    assert [record["step"] for record in logs[0]] == [record["step"] for record in logs[1]] == list(range(10))
    for ours, theirs in zip(*logs, strict=True):
        for name, close in LOGGED.items():
            assert ours.get(name) == pytest.approx(theirs.get(name), abs=close), name


def agree():
    def fails():
        raise UsageError("the disk is full")

    with pytest.raises(UsageError, match="the disk is full") as caught:
        on_rank_zero(fails)
    return on_rank_zero(rank), anyone(False, rank() == 1), everyones(rank()), of_rank_zero(caught.value)


def test_rank_0_has_the_word():
    assert together(2, agree) == [(0, [False, True], [0, 1], False), (0, [False, True], [0, 1], True)]


def test_one_process_needs_nobody():
    assert agree() == (0, [False, False], [0], False)


def compare(value, alike):
    with contextlib.nullcontext() if alike else pytest.raises(UsageError) as caught:
        check_alike("images", f"{value + (0 if alike else rank())} images", "give every process the same DATA")
    return "" if alike else str(caught.value)


@pytest.mark.parametrize("alike", [True, False])
def test_processes_that_see_other_images_are_told_which(alike):
    said = "process 1 has other images than process 0 (6 images, not 5 images): give every process the same DATA"
    assert together(2, compare, 5, alike) == ["" if alike else said] * 2


def start(photos, out, seed):
    """The error of a run whose second process is started with another seed or other images."""
    given = {"image_size": 16, "batch_size": 4, "steps": 1, "workers": 0}
    changes = {"seed": rank()} if seed else {}
    data = photos if seed or rank() == 0 else photos.parent / "fewer"
    with pytest.raises(UsageError) as caught:
        start_run(str(data), out, build_config(PLAIN, given | changes), given | changes)
    return str(caught.value)


@pytest.mark.parametrize(("seed", "what"), [(True, "options"), (False, "images")])
def test_a_run_is_not_started_by_processes_that_differ(photos, tmp_path, seed, what):
    draw_photos(tmp_path / "fewer", 10)
    for said in together(2, start, photos, tmp_path / "run", seed):
        assert f"process 1 has other {what} than process 0" in said
    assert not (tmp_path / "run").exists()


def lose_the_other():
    if rank() == 1:
        os._exit(9)
    everyones(0)


def test_a_process_that_lost_the_others_says_so():
    _, results = start_ranks(2, lose_the_other)
    who, error = results.get(timeout=60)
    assert who == 0 and isinstance(error, UsageError) and "lost the connection to the other processes" in str(error)
