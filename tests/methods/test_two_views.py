"""A method of two crops and a projector trains, resumes, is measured and exported without another line of code."""

import dataclasses
import shutil

import pytest
import torch
from plain import PLAIN
from safetensors.torch import load_file
from support.processes import together
from support.two_views import TwoViews

import openjepa
from openjepa.config import build_config
from openjepa.data.batches import Batches
from openjepa.data.memory import hold_in_memory
from openjepa.data.open import open_dataset
from openjepa.errors import UsageError
from openjepa.methods.registry import METHODS, Entry
from openjepa.runs.planning.build import build_batches, build_stepper
from openjepa.training.distributed import whole
from openjepa.training.monitoring.metrics_log import read_metrics

SMALL = {"method": "two_views", "image_size": "16", "batch_size": 6, "workers": 0, "precision": "float32"}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(METHODS, "two_views", Entry(TwoViews.__module__, "TwoViews", "tells crops apart"))


@pytest.mark.usefixtures("reports")
def test_a_run_trains_the_projector_and_gives_an_encoder_and_a_report(photos, tmp_path, capsys):
    run = openjepa.pretrain(photos, out=tmp_path / "run", steps=4, log_every=1, keep_every=1, **SMALL)
    states = [load_file(run / f"checkpoints/step-{step:08d}/state.safetensors") for step in (1, 4)]
    assert not torch.equal(*(state["model.projector.0.weight"] for state in states))
    records, printed = read_metrics(run), capsys.readouterr().out
    assert records[-1]["rank"] > 1 and "energy_gap" not in records[-1] and "knn" in records[-1]
    assert records[-1]["verdict"] and "projector" in printed and "2 crops of each image" in printed
    assert (run / "report.html").is_file()
    encoder = openjepa.load_encoder(run)
    assert encoder.embed(torch.zeros(2, 3, 16, 16, dtype=torch.uint8)).shape == (2, 128)


def test_it_resumes_to_the_bit(photos, tmp_path):
    whole_run = openjepa.pretrain(photos, out=tmp_path / "whole", steps=4, keep_every=2, **SMALL)
    last = whole_run / "checkpoints/step-00000004"
    expected = load_file(last / "state.safetensors")
    shutil.rmtree(last)
    openjepa.pretrain(photos, out=whole_run, resume=True)
    found = load_file(last / "state.safetensors")
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


def test_mask_settings_are_refused(photos, tmp_path):
    for name, value in (("num_targets", 2), ("masks", "random"), ("ema_momentum", (0.9, 1)), ("predictor_dim", 32)):
        with pytest.raises(UsageError, match="would do nothing: "):
            openjepa.pretrain(photos, out=tmp_path / "run", steps=1, **SMALL, **{name: value})


def test_views_are_independent_crops_and_the_first_is_that_of_one_view(photos):
    dataset, _ = hold_in_memory(open_dataset(photos), 0)
    two = build_batches(dataset, build_config(PLAIN, SMALL))
    one = dataclasses.replace(two, views=1)
    for step in range(3):
        assert torch.equal(two[step].views[:1], one[step].views) and torch.equal(two[step].indices, one[step].indices)
        assert not torch.equal(two[step].views[0], two[step].views[1])
        assert torch.equal(two[step].views, two[step].views)
    parts = [part.views for part in two[0].split(4)]
    assert torch.equal(torch.cat(parts, dim=1), two[0].views)


def test_mirrored_views_are_mirrored_each_on_its_own(photos):
    dataset, _ = hold_in_memory(open_dataset(photos), 0)
    batches = Batches(dataset, None, (16, 16), (1.0, 1.0), 24, 0, horizontal_flip=True, views=2)
    turned = [[batches._orientation(0, index, view) for index in range(24)] for view in (0, 1)]
    assert turned[0] != turned[1] and set(turned[0]) == set(turned[1]) == {0, 4}


def gradients(photos, parallel):
    config = build_config(PLAIN, SMALL)
    stepper = build_stepper(config, 10, [0.5] * 3, [0.25] * 3, None, parallel)
    dataset, _ = hold_in_memory(open_dataset(photos), 0)
    stepper.gradients(build_batches(dataset, config)[0])
    return {name: whole(p.grad).numpy() for name, p in stepper.model.named_parameters() if name.startswith("projector")}


def test_the_projector_is_averaged_over_processes_sharded_or_not(photos):
    """Each process compares its own images only, so that a loss over them differs; but DDP and FSDP agree."""
    ddp, fsdp = (together(2, gradients, photos, parallel) for parallel in ("ddp", "fsdp"))
    for name, gradient in ddp[0].items():
        for other in (ddp[1], *fsdp):
            torch.testing.assert_close(torch.tensor(other[name]), torch.tensor(gradient), atol=1e-5, rtol=1e-4)
