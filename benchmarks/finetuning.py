"""Fine-tuning beside training from scratch and the linear probe, on CIFAR-10, by labels and seeds.

python benchmarks/finetuning.py run CIFAR.zip RUN --fraction 0.01 --seed 0    three rows in results/finetuning.jsonl
python benchmarks/finetuning.py all CIFAR.zip RUN --seeds 0 1 2               each fraction and seed without rows
python benchmarks/finetuning.py table                                         mean and 95 % interval over seeds

RUN is a run of `openjepa pretrain` on train/ of the archive. For a seed and a fraction of the labels, the same images
are learnt from by `openjepa finetune RUN`, by the same command from an untrained encoder of the same shape, and by the
linear probe of `openjepa evaluate RUN`. Training from scratch takes as many steps of the same batches, so that it takes
the same time, and the same early stop. It has no layer decay, which suits trained weights alone, and its rate is chosen
from `--rates` by the validation images of the first seed of a fraction. All are tested on test/ of the archive.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import RESULTS, commit
from scipy.stats import t as student

import openjepa
from openjepa.data.dataset import ImageDataset
from openjepa.data.memory import hold_in_memory
from openjepa.data.open import open_dataset
from openjepa.evaluation.splits import holdout_split
from openjepa.rng import SAMPLES, generator

ROWS = RESULTS / "finetuning.jsonl"
FRACTIONS = (0.01, 0.1, 1.0)
METHODS = ("fine-tuned", "from scratch", "linear probe")
RATES = (1e-3, 3e-3)  # of training from scratch


def labelled(archive: str, fraction: float, seed: int) -> ImageDataset:
    """A stratified part of the training images, in memory."""
    whole = open_dataset(f"{archive}/train")
    if fraction < 1:
        whole = whole.subset(holdout_split(whole.labels["class"], fraction, seed)[1])
    order = generator(seed, SAMPLES, 9).permutation(len(whole))
    return hold_in_memory(whole.subset(np.sort(order)), 0)[0]


def tuned(model: str, data: ImageDataset, test: ImageDataset, out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Accuracy on the test images, and what it took."""
    begun, busy = time.perf_counter(), time.process_time()
    openjepa.finetune(model, data, test=test, out=out, **settings)
    seconds = {"seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - busy}
    about = json.loads((out / "model/openjepa.json").read_text())
    steps = {"step": about["step"], "steps": about["steps"], "train_images": about["train_images"]}
    (known,) = about["test"]
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    validation = max(line["validation_accuracy"] for line in lines if "validation_accuracy" in line)
    return {"value": known["value"], "validation": validation, "test_images": known["test_images"], **steps, **seconds}


def rows_of(given: argparse.Namespace, fraction: float, seed: int) -> list[dict[str, Any]]:
    """A row for each method. The settings of fine-tuning are the defaults, but for mirroring."""
    data, test = labelled(given.archive, fraction, seed), hold_in_memory(open_dataset(f"{given.archive}/test"), 0)[0]
    settings = {"seed": seed, "flip": True, "workers": given.workers, "epochs": given.epochs, "time": given.time}
    about = {"model": given.run, "fraction": fraction, "seed": seed, "images": len(data), "commit": commit()}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        found = {"fine-tuned": tuned(given.run, data, test, place / "tuned", settings)}
        epochs = found["fine-tuned"]["steps"] * min(64, found["fine-tuned"]["train_images"])
        epochs /= found["fine-tuned"]["train_images"]
        fresh = settings | {"epochs": epochs, "time": None, "layer_decay": 1.0}
        scratch = [
            {"lr": lr, **tuned(f"untrained:{given.run}", data, test, place / f"scratch{lr}", fresh | {"lr": lr})}
            for lr in rates_left(given, fraction)
        ]
        found["from scratch"] = max(scratch, key=lambda row: row["validation"])
        records = openjepa.evaluate([given.run], data, test=test, tasks="linear", workers=given.workers, seed=seed)
    linear = next(record for record in records if record["model"] == given.run)
    found["linear probe"] = {"value": linear["value"], "test_images": linear["protocol"]["test_images"]}
    return [about | {"method": method} | found[method] for method in METHODS]


def rates_left(given: argparse.Namespace, fraction: float) -> Sequence[float]:
    """The rate that an earlier seed of this fraction chose, or all that may be chosen."""
    known = [row for row in stored() if (row["model"], row["fraction"]) == (given.run, fraction) and "lr" in row]
    return [known[0]["lr"]] if known else given.rates


def stored() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def run(given: argparse.Namespace, fraction: float, seed: int) -> None:
    """Measure and keep the rows, unless they are there."""
    if any((row["model"], row["fraction"], row["seed"]) == (given.run, fraction, seed) for row in stored()):
        print(f"{fraction:g} of the labels, seed {seed}: done before")
        return
    rows = rows_of(given, fraction, seed)
    RESULTS.mkdir(exist_ok=True)
    with ROWS.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    for row in rows:
        print(f"{fraction:g} of the labels, seed {seed}, {row['method']}: {row['value']:.1%}", flush=True)


def table() -> str:
    """Mean over seeds and the 95 % interval of the mean, in %; single numbers where there is one seed."""
    rows, lines = stored(), ["| labels | " + " | ".join(METHODS) + " |", "|---|" + "---|" * len(METHODS)]
    for fraction in sorted({row["fraction"] for row in rows}):
        cells = []
        for method in METHODS:
            values = [100 * row["value"] for row in rows if (row["fraction"], row["method"]) == (fraction, method)]
            cells.append(f"{statistics.fmean(values):.1f}{interval(values)}" if values else "")
        lines.append(f"| {fraction:.0%} | {' | '.join(cells)} |")
    return "\n".join(lines)


def interval(values: list[float]) -> str:
    if len(values) < 2:
        return ""
    return f" ± {student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "all"):
        command = commands.add_parser(name)
        command.add_argument("archive")
        command.add_argument("run")
        command.add_argument("--workers", type=int, default=0)
        command.add_argument("--epochs", type=float, help="of fine-tuning; left out, the default of the command")
        command.add_argument("--time", help="of fine-tuning")
        command.add_argument("--rates", type=float, nargs="+", default=RATES, help="tried from scratch")
        if name == "run":
            command.add_argument("--fraction", type=float, required=True)
            command.add_argument("--seed", type=int, default=0)
        else:
            command.add_argument("--fractions", type=float, nargs="+", default=FRACTIONS)
            command.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    commands.add_parser("table")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.command == "run":
        run(given, given.fraction, given.seed)
    elif given.command == "all":
        for fraction in given.fractions:
            for seed in given.seeds:
                run(given, fraction, seed)
    print(table())


if __name__ == "__main__":
    main()
