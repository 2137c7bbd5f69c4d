"""`--workers auto`: few beside steps on a CPU, what steps on a GPU need, and what was chosen in words."""

import pytest
import torch

import openjepa
from openjepa import device
from openjepa.config import build_config
from openjepa.data.open import open_dataset
from openjepa.data.workers import workers_for
from openjepa.errors import UsageError
from openjepa.runs.images import count_workers, prepare_images
from openjepa.runs.planning import workers as planning
from openjepa.runs.planning.build import build_batches
from openjepa.runs.planning.workers import first_workers, settled_workers, workers_in_words
from openjepa.runs.resuming.resume import resume_run
from openjepa.runs.settings import read_config
from openjepa.runs.start import start_run
from openjepa.training.timing import Cost

TINY = {"image_size": 16, "batch_size": 8, "steps": 2, "device": "cpu", "precision": "float32", "predictor_depth": 1}


@pytest.fixture
def opened(photos):
    return open_dataset(str(photos)), prepare_images(str(photos), 0)[0]


@pytest.fixture
def many_cores(monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(32), raising=False)


def on_gpu(monkeypatch):
    monkeypatch.setattr(planning, "choose_device", lambda _: torch.device("cuda"))


def chosen(dataset, seconds=1.0, waited=0.0, given="auto"):
    """The workers that are tried, and those that a run has where a step takes `seconds` and waits for `waited`."""
    config = build_config({}, {**TINY, "workers": given})
    first = first_workers(config, dataset)
    cost = Cost(seconds, 0, waited * seconds, workers=first)
    return first, settled_workers(config, build_batches(dataset, config), cost)


def test_on_a_cpu_workers_are_few_and_none_where_a_step_hardly_waits_for_crops(opened, many_cores):
    files, in_memory = opened
    assert chosen(files) == (2, 2)
    assert chosen(in_memory, waited=0.1) == (0, 0)
    assert chosen(in_memory, waited=0.3) == (0, 2)
    assert chosen(files, given=5) == (5, 5) == chosen(in_memory, waited=0.9, given="5")


def test_on_a_gpu_they_are_what_keeps_up_with_the_steps(opened, many_cores, monkeypatch):
    on_gpu(monkeypatch)
    monkeypatch.setattr(planning, "reading_seconds", lambda _: 0.3)
    for dataset in opened:
        assert chosen(dataset, seconds=0.001) == (16, 16)  # all that were tried
        assert chosen(dataset, seconds=0.1) == (16, 6)
        assert chosen(dataset, seconds=10) == (16, 1)
        assert chosen(dataset, seconds=0.1, given=3) == (3, 3)


def test_a_stream_is_read_once(opened, many_cores, monkeypatch):
    on_gpu(monkeypatch)
    monkeypatch.setattr(opened[0], "window", 512)
    assert chosen(opened[0]) == (1, 1)
    assert [workers_for(dataset, 16) for dataset in opened] == [2, 16]


def test_processes_of_one_machine_share_its_cores(many_cores, monkeypatch):
    assert count_workers("auto", "cpu") == 2
    assert count_workers("auto") == 16
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert device.cores() == 4 and device.usual_workers(torch.device("mps")) == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "eight")
    assert device.cores() == 32
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    assert [device.usual_workers(torch.device(kind)) for kind in ("cpu", "cuda")] == [1, 1]


@pytest.mark.parametrize("given", ["many", "", "-1", 4097, 2.5, True])
def test_anything_else_is_refused(given, photos):
    with pytest.raises(UsageError, match=r"--workers .*: give a whole number from 0 to 4,096, or auto|at most 4,096"):
        openjepa.embed("pixels", photos, out="a.parquet", workers=given)
    with pytest.raises(UsageError, match=r"--workers .*: give a whole number from 0 to 4,096, or auto|at most 4,096"):
        openjepa.pretrain(photos, out="run", workers=given)


def test_a_run_stores_auto_and_resumes_with_a_number(tmp_path, capsys):
    given = TINY | {"labels": False, "workers": "auto"}
    started = start_run("scenes:16", tmp_path / "run", build_config({}, given), given)
    assert started.run.workers == 0
    assert "--workers auto: no workers, images in memory take" in capsys.readouterr().out
    given = {"workers": "3"}
    resumed = resume_run("scenes:16", tmp_path / "run", build_config({}, given), given)
    assert resumed.run.workers == 3
    assert read_config(tmp_path / "run" / "config.json")[0].workers is None  # 3 are of the machine that resumed


def test_the_plan_says_what_was_chosen_and_why(opened, monkeypatch):
    config = build_config({}, TINY)
    batches, cost = build_batches(opened[0], config), Cost(0.031, 0, workers=10)
    on_gpu(monkeypatch)
    assert workers_in_words(config, batches, cost) == "--workers auto: 10 workers, enough for steps of 31 ms"
