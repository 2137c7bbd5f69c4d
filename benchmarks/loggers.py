"""Weights & Biases and MLflow, without a network, hold the numbers of metrics.jsonl, also of a run that was resumed.

python benchmarks/loggers.py

Needs `pip install 'openjepa[wandb,mlflow]'`. Prints a line for each and ends with exit code 1 where they differ.
"""

import json
import os
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}

import mlflow
from wandb.proto import wandb_internal_pb2

import openjepa

HOW = {"recipe": "laptop", "batch_size": 16, "log_every": 1, "workers": 0, "device": "cpu", "precision": "float32"}
BLOCK, FULL, LAST = 2**15, 1, 4
Numbers = dict[int, dict[str, float]]


def of_metrics(run: Path) -> Numbers:
    """The numbers of every step in metrics.jsonl, by their name."""
    found: Numbers = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        numbers = {name: float(value) for name, value in record.items() if isinstance(value, int | float)}
        found.setdefault(int(numbers.pop("step")), {}).update(numbers)
    return found


def records_of(data: bytes) -> Iterator[wandb_internal_pb2.Record]:
    """The records of a file of W&B: a log as LevelDB writes it, in blocks of 32 KiB, after a head of 7 bytes."""
    place, whole = 7, b""
    while place + 7 <= len(data):
        if BLOCK - place % BLOCK < 7:  # the rest of a block that no head fits into
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def of_wandb(run: Path) -> Numbers:
    """The same of the files that W&B keeps until they are synchronised."""
    found: Numbers = {}
    for file in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        for record in records_of(file.read_bytes()):
            if record.WhichOneof("record_type") == "history":
                row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
                numbers = {name: value for name, value in row.items() if not name.startswith("_")}
                found.setdefault(int(numbers.pop("step")), {}).update(numbers)
    return found


def of_mlflow() -> Numbers:
    """The same of the run that MLflow has."""
    client = mlflow.MlflowClient()
    (experiment,) = client.search_experiments(filter_string="name = 'openjepa'")
    (run,) = client.search_runs([experiment.experiment_id])
    found: Numbers = {}
    for name in run.data.metrics:
        for metric in client.get_metric_history(run.info.run_id, name):
            found.setdefault(metric.step, {})[name] = metric.value
    return found


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{name}/mlflow.db"
        out = Path("runs/logged")
        openjepa.pretrain("scenes:64:0", out=out, steps=4, log_to="wandb,mlflow", **HOW)
        openjepa.pretrain("scenes:64:0", out=out, steps=8, resume=True, log_to="wandb,mlflow")
        wanted, codes = of_metrics(out), []
        for name, found in (("wandb", of_wandb(out)), ("mlflow", of_mlflow())):
            count = sum(len(numbers) for numbers in wanted.values())
            print(f"{name}: {count} numbers of {len(wanted)} steps are {'equal' if found == wanted else 'NOT equal'}")
            codes.append(found != wanted)
        return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
