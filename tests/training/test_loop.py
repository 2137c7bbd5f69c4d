"""A run is a pure function of its settings: not of restarts, not of worker counts."""

import dataclasses
import itertools
import os
import signal
import time

import pytest
import torch
from plain import PLAIN
from support.processes import child, small_run

from openjepa.config import build_config
from openjepa.data import batches as batches_module
from openjepa.data.batches import load_batches
from openjepa.data.memory import hold_in_memory
from openjepa.data.open import open_dataset
from openjepa.errors import UsageError
from openjepa.runs.planning.build import build_batches, build_run
from openjepa.training import loop as run_module
from openjepa.training import monitoring_intervals
from openjepa.training.checkpoint import DamagedCheckpoint, checkpoint_steps
from openjepa.training.loop import Interrupted
from openjepa.training.monitoring.metrics_log import read_metrics
from openjepa.training.monitoring.verdict import EARLY
from openjepa.training.monitoring_intervals import LEAST_IMAGES, monitor_interval, probe_interval
from openjepa.training.signals import stop_on_signals
from openjepa.training.state import load_tensors, optimizer_tensors, run_tensors

SMALL = {"image_size": "16", "batch_size": 5, "steps": 6, "log_every": 1, "predictor_depth": 1, "workers": 0}


def make_run(photos, out, **changes):
    config = build_config(PLAIN, SMALL | changes)
    dataset, _ = hold_in_memory(open_dataset(photos), 0)
    out.mkdir(exist_ok=True)
    return build_run(config, dataset, out, statistics=([0.5] * 3, [0.25] * 3))


def watched_run(photos, out, **changes):
    """Monitors and probes at every step."""
    run = make_run(photos, out, **changes)
    return dataclasses.replace(run, intervals=dataclasses.replace(run.intervals, monitor=1, probe=1))


def state(run):
    tensors = run.stepper.model.state_dict() | optimizer_tensors(run.stepper.optimizer)
    return {name: value.clone() for name, value in tensors.items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def interrupt_at(step):
    def on_record(record):
        if record["step"] == step:
            os.kill(os.getpid(), signal.SIGINT)

    return on_record


def make_small_run(photos, out, **changes):
    out.mkdir(exist_ok=True)
    return small_run(photos, out, **changes)


@pytest.mark.parametrize(("precision", "make"), [("float32", make_run), ("bf16", make_small_run)])
def test_six_steps_are_three_and_three(photos, tmp_path, precision, make):
    settings = {"precision": precision, "steps": 6}
    whole = make(photos, tmp_path / "whole", **settings)
    whole.train(lambda record: None)
    first = make(photos, tmp_path / "parts", **settings)
    with pytest.raises(Interrupted, match="after step 3 of 6"):
        first.train(interrupt_at(3))
    second = make(photos, tmp_path / "parts", **settings)
    assert second.resume() == []
    assert second.done == 3
    assert same(state(second), state(first))
    second.train(lambda record: None)
    assert same(state(whole), state(second))
    assert not same(state(whole), state(first))
    changing = ("images_per_second", "input_wait")
    logs = [read_metrics(tmp_path / name) for name in ("whole", "parts")]
    for a, b in zip(*logs, strict=True):
        assert {k: v for k, v in a.items() if k not in changing} == {k: v for k, v in b.items() if k not in changing}


def test_the_seed_decides(photos, tmp_path):
    runs = [make_run(photos, tmp_path / str(i), seed=seed) for i, seed in enumerate((1, 1, 2))]
    for run in runs:
        run.train(lambda record: None)
    assert same(state(runs[0]), state(runs[1]))
    assert not same(state(runs[0]), state(runs[2]))


def test_workers_and_start_do_not_change_a_batch(photos, tmp_path):
    batches = make_run(photos, tmp_path / "run").batches
    expected = [batches[step] for step in range(7)]
    for workers in (0, 1, 3):
        for start in (0, 2):
            for ours, batch in zip(expected[start:], load_batches(batches, start, 7, workers), strict=True):
                assert torch.equal(ours.images, batch.images)
                assert torch.equal(ours.indices, batch.indices)
                assert torch.equal(ours.masks.context_ids, batch.masks.context_ids)
                assert torch.equal(ours.masks.target_ids, batch.masks.target_ids)


def test_an_epoch_visits_every_image_once(photos, tmp_path):
    batches = make_run(photos, tmp_path / "run").batches  # 24 images in batches of 5: epochs straddle batches
    seen = torch.cat([batches[step].indices for step in range(24)])
    for epoch in seen.view(5, 24):
        assert sorted(epoch.tolist()) == list(range(24))
    assert not torch.equal(seen[:24], seen[24:48])


def test_a_vanished_image_is_replaced_and_listed(photos, tmp_path):
    config = build_config(PLAIN, SMALL)
    dataset = open_dataset(photos)
    batches = build_batches(dataset, dataclasses.replace(config, batch_size=24))
    (photos / dataset.paths[7]).write_bytes(b"\xff\xd8 not a picture any more")
    batch = batches[0]
    assert 7 not in batch.indices
    assert [path for path, _ in batch.skipped] == [dataset.paths[7]]
    assert set(range(24)) - {7} <= set(batch.indices.tolist())
    for path in dataset.paths:
        (photos / path).unlink()
    for workers in (0, 1):
        with pytest.raises(UsageError, match=r"^none of the 24 images"):
            next(load_batches(batches, 1, 2, workers))


def test_monitors_and_probes_do_not_touch_the_run(photos, tmp_path):
    plain = make_run(photos, tmp_path / "plain")
    plain.train(lambda record: None)
    watched = watched_run(photos, tmp_path / "watched")
    watched.train(lambda record: None)
    assert same(state(plain), state(watched))
    assert all("rank" in record for record in read_metrics(tmp_path / "watched"))


@pytest.mark.parametrize(
    ("batch_size", "images", "first_judged"),
    [(16, 20_480, 0.25), (16, 68_192, 0.251), (64, 119_488, 0.251), (16, 10_880, 0.5), (2048, 10**8, 0.25)],
)
def test_measurements_follow_the_length_of_the_run(batch_size, images, first_judged):
    steps = images // batch_size
    every = monitor_interval(steps, batch_size)
    assert next(step for step in range(every, steps, every) if step >= EARLY * steps) <= first_judged * steps
    assert every * batch_size >= LEAST_IMAGES and steps / every <= 51
    assert probe_interval(steps, batch_size) % every == 0


@pytest.mark.parametrize("batch_size", [5, 7, 24])
def test_probes_happen_through_the_run(photos, tmp_path, monkeypatch, batch_size):
    monkeypatch.setattr(monitoring_intervals, "MONITOR_IMAGES", 40)
    monkeypatch.setattr(monitoring_intervals, "PROBE_IMAGES", 100)
    make_small_run(photos, tmp_path / "run", batch_size=batch_size, steps=60, log_every=7).train(lambda record: None)
    probed = [record["step"] for record in read_metrics(tmp_path / "run") if "knn" in record]
    gaps = [after - before for before, after in itertools.pairwise(probed)]
    assert probed[0] == 0 and probed[-1] == 60 and len(probed) >= 4
    assert max(gaps) * batch_size <= 200


def test_the_best_checkpoints_are_kept(photos, tmp_path):
    run = watched_run(photos, tmp_path / "run", checkpoint_minutes=0.0)
    ranks, monitor = iter([1.0, 5.0, 9.0, 8.0, 7.0, 6.0, 4.0]), run.monitor
    run = dataclasses.replace(run, monitor=lambda model: monitor(model) | {"rank": next(ranks)})
    run.train(lambda record: None)
    assert run.best["rank"] == (9.0, 2)
    knn_step = run.best["knn"][1]
    assert checkpoint_steps(run.checkpoints) == sorted({2, 5, 6, knn_step})


def test_a_checkpoint_of_another_model_is_refused_in_words(photos, tmp_path):
    make_run(photos, tmp_path / "run").train(lambda record: None)
    other = make_run(photos, tmp_path / "run", predictor_dim=32)
    with pytest.raises(DamagedCheckpoint, match="of another run"):
        other.resume()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed 0, not 1"),
        ({"clip_grad": 0.5}, "clip_grad .*, not 0.5"),
        ({"masks_per_image": 2}, "masks_per_image 1, not 2"),
        ({"steps": 7}, "steps 6, not 7"),
    ],
)
def test_a_checkpoint_of_a_run_with_other_settings_is_refused(photos, tmp_path, change, said):
    make_run(photos, tmp_path / "run").train(lambda record: None)
    with pytest.raises(DamagedCheckpoint, match=f"is of another run \\({said}\\)"):
        make_run(photos, tmp_path / "run", **change).resume()
    again = make_run(photos, tmp_path / "run", workers=1, log_every=2, keep_every=3)
    assert again.resume() == [] and again.done == 6


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda tensors: tensors.pop("optimizer.0.momentum"), "optimizer.0.momentum is missing"),
        (lambda tensors: tensors.pop("model.predictor.mask_token"), "mask_token is missing"),
        (lambda tensors: tensors.update({"optimizer.x.y": torch.zeros(1)}), "not of this model"),
        (lambda tensors: tensors.update({"model.nothing": torch.zeros(1)}), "not of this model"),
        (lambda tensors: tensors.update({"optimizer.-1.step": torch.zeros(())}), "not of this model"),
        (lambda tensors: tensors.update({"optimizer.0.step": torch.zeros(3)}), "has the shape"),
    ],
)
def test_tensors_of_another_model_are_refused(photos, tmp_path, harm, said):
    run = make_run(photos, tmp_path / "run", steps=1)
    run.train(lambda record: None)
    tensors = run_tensors(run.stepper)
    harm(tensors)
    with pytest.raises(ValueError, match=said):
        load_tensors(run.stepper, tensors)


@pytest.mark.parametrize(("step", "cure"), [(0, "the weights of --init, or the images"), (2, "lower --lr")])
def test_weights_that_are_not_finite_at_a_monitor_end_the_run_in_words(photos, tmp_path, step, cure):
    run = watched_run(photos, tmp_path / "run")
    measure = run.monitor

    def spoilt(model):
        if run.done == step:  # by the update after the last loss, or before the first
            model.encoder.norm.bias.data.fill_(float("nan"))
        return measure(model)

    run.monitor = spoilt
    with pytest.raises(UsageError, match=f"the encoder's output is not finite at step {step}: {cure}"):
        run.train(lambda record: None)


def test_a_diverging_loss_ends_the_run_in_words(photos, tmp_path):
    run = make_run(photos, tmp_path / "run")

    def spoil(_record):
        run.stepper.model.predictor.mask_token.data.fill_(float("nan"))

    with pytest.raises(UsageError, match="the loss is nan at step 1: lower --lr"):
        run.train(spoil)


def test_a_full_disk_ends_the_run_in_words(photos, tmp_path, monkeypatch):
    run = make_run(photos, tmp_path / "run", checkpoint_minutes=0.0)
    write = run_module.save_checkpoint

    def fills_up(folder, step, *rest):
        if step == 4:
            raise OSError(28, "No space left on device")
        return write(folder, step, *rest)

    monkeypatch.setattr(run_module, "save_checkpoint", fills_up)
    with pytest.raises(UsageError, match=r"No space left on device.*--resume"):
        run.train(lambda record: None)
    again = make_run(photos, tmp_path / "run")
    assert again.resume() == [] and again.done == 3


def train_slowly(photos, out):
    make_run(photos, out, steps=10_000, workers=2).train(lambda record: None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_run_and_its_workers_writes_a_checkpoint(photos, tmp_path, number):
    process = child(train_slowly, photos, tmp_path / "run")
    log = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text().count("loss")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, number)
    process.join(60)
    process.kill()
    (step,) = checkpoint_steps(tmp_path / "run" / "checkpoints")
    assert process.exitcode == 1 and step > 0  # the exit code of an exception


def test_signals_that_are_ignored_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.asked
    finally:
        signal.signal(signal.SIGHUP, before)


def test_only_batches_for_cuda_are_page_locked(photos, tmp_path, monkeypatch):
    """Page-locking starts CUDA, which a run on the CPU beside a GPU must leave alone."""
    batches = make_run(photos, tmp_path / "run").batches
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    asked = []
    monkeypatch.setattr(batches_module, "DataLoader", lambda *_, pin_memory, **__: asked.append(pin_memory) or [])
    for device in (None, "cpu", "mps", "cuda:0"):
        list(load_batches(batches, 0, 1, 0, device and torch.device(device)))
    assert asked == [False, False, False, True]
