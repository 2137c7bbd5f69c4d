"""A run is as long as fits into its time, measurements included."""

import time

import pytest
import torch

from openjepa.config import build_config
from openjepa.errors import UsageError
from openjepa.runs.planning import plan
from openjepa.runs.planning.plan import OVERHEAD, resolve_steps, run_seconds
from openjepa.training.timing import Cost, Stopwatch, Waiting


def test_on_a_cpu_measurements_are_a_fixed_fraction_of_the_steps():
    config = build_config({}, {"time": "10m"})
    assert resolve_steps(config, 1000, Cost(0.01, 0)) == int(600 / (0.01 * OVERHEAD))


@pytest.mark.parametrize(("monitor", "probe"), [(0.0, 0.0), (0.5, 2.0), (5.0, 20.0)])
@pytest.mark.parametrize("budget", ["30s", "10m", "3h"])
def test_on_a_gpu_they_are_counted_as_they_were_measured(monitor, probe, budget):
    config, cost = build_config({}, {"time": budget}), Cost(0.01, 0, 0.0, monitor, probe)
    steps, seconds = resolve_steps(config, 1000, cost), {"30s": 30, "10m": 600, "3h": 10800}[budget]
    spent = run_seconds(steps, config.batch_size, cost)
    assert spent <= seconds or steps == 1
    assert spent > 0.9 * seconds or monitor == 5.0  # what is left over is less than some measurements


def test_the_shortest_of_several_lengths_holds_and_one_is_needed():
    config = build_config({}, {"time": "10m", "steps": 7, "epochs": 100.0})
    assert resolve_steps(config, 1000, Cost(0.01, 0)) == 7
    assert resolve_steps(build_config({}, {"epochs": 2.0, "batch_size": 10}), 1000) == 200
    with pytest.raises(UsageError, match="a run needs a length"):
        resolve_steps(build_config({}, {"time": "10m"}), 1000)


def test_pauses_are_not_counted_as_time_of_steps():
    watch = Stopwatch(torch.device("cpu"), Waiting([]))
    with watch.paused():
        time.sleep(0.3)
    assert watch.seconds < 0.2
    time.sleep(0.05)
    assert watch.seconds >= 0.05


@pytest.mark.parametrize(
    ("device", "precision", "times", "warned"),
    [
        ("cpu", torch.bfloat16, 37.0, True),
        ("cpu", torch.bfloat16, 2.0, False),
        ("cpu", torch.float32, 37.0, False),
        ("cuda", torch.bfloat16, 37.0, False),
    ],
)
def test_a_precision_that_the_processor_lacks_is_warned_of(monkeypatch, device, precision, times, warned):
    monkeypatch.setattr(plan, "times_slower", lambda dtype: times)
    lines = plan.emulation_lines(torch.device(device), precision)
    expected = "  warning: bfloat16 is about 37 times slower than float32 on this CPU: give --precision float32"
    assert lines == [expected] * warned
