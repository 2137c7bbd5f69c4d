"""The record of a run is read however it is damaged."""

import os
import sys

import pytest

from openjepa.errors import UsageError
from openjepa.studies.tune.stored import TRIALS, read_trials
from openjepa.training.monitoring.metrics_log import read_metrics
from openjepa.training.monitoring.run_log import RunLog

GOOD = '{"step": 1, "loss": 0.5, "status": "healthy"}'


@pytest.mark.parametrize(
    "line",
    [
        "",
        "5",
        "[]",
        "null",
        '{"step": "1"}',
        '{"step": true}',
        '{"step": -1}',
        '{"loss": 1}',
        '{"step": 1',
        "[" * 100_000,
    ],
)
def test_damaged_lines_are_left_out(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(f"{line[:200_000]}\n{GOOD}\n")
    assert read_metrics(tmp_path) == [{"step": 1, "loss": 0.5, "status": "healthy"}]


@pytest.mark.parametrize("value", ['"0.5"', "NaN", "Infinity", "1e999", "[1]", "null", "true", "{}", "9" * 400])
def test_values_that_are_no_numbers_are_left_out(tmp_path, value):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1, "loss": {value}, "rank": 2}}\n')
    assert read_metrics(tmp_path) == [{"step": 1, "rank": 2}]


def test_words_that_are_none_are_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "status": 5, "verdict": [1]}\n')
    assert read_metrics(tmp_path) == [{"step": 1}]


@pytest.mark.parametrize(
    "more", ['"images_per_second": 0', '"images_per_second": -5.0', '"verdict": "without a status"']
)
def test_what_cannot_be_shown_is_left_out(tmp_path, more):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1, {more}}}\n')
    assert read_metrics(tmp_path) == [{"step": 1}]


@pytest.mark.parametrize(
    ("read", "name"), [(read_metrics, "metrics.jsonl"), (RunLog, "metrics.jsonl"), (read_trials, TRIALS)]
)
def test_a_pipe_is_not_waited_for(tmp_path, read, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UsageError, match="not a regular file"):
        read(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are UTF-8 elsewhere")
def test_a_folder_whose_name_is_not_utf_8_has_no_tensorboard_files(tmp_path, capsys):
    folder = tmp_path / os.fsdecode(b"run\xff")
    log = RunLog(folder)
    log.add({"step": 1, "loss": 0.5})
    log.close()
    assert read_metrics(folder) == [{"step": 1, "loss": 0.5}]
    assert "no TensorBoard files" in " ".join(capsys.readouterr().out.split())
