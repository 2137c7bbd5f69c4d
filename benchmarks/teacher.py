"""What a frozen teacher adds at equal time: students with and without one, on CIFAR-10, by size and seed.

python benchmarks/teacher.py rates CIFAR.zip TEACHER                 steps a second with and without, in turns
python benchmarks/teacher.py run CIFAR.zip TEACHER --minutes 5       train and measure what is not there yet
python benchmarks/teacher.py table                                   mean and 95 % interval over seeds, and of pairs

TEACHER is a run of `openjepa pretrain` on train/ of the archive. Minutes are turned into steps by the rates, which are
of processor time, so that other work on the machine does not matter; what the steps took is recorded beside them.
Encoders are measured on a fifth of train that no probe learns from; with --test on test/: once, in the end.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from learning import measured, spread
from record import RESULTS, commit

from openjepa.commands.pretrain import pretrain
from openjepa.config import Config, build_config
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.data.memory import hold_in_memory
from openjepa.data.open import open_dataset
from openjepa.interop.load import load_encoder
from openjepa.recipe_settings import recipe
from openjepa.runs.planning.build import build_batches, build_stepper
from openjepa.runs.planning.teacher import fresh_networks

RATES, LINES = RESULTS / "teacher-rates.json", RESULTS / "teacher.jsonl"
MODELS = ("vit_nano", "vit_micro")
SCORES = ("linear", "knn", "one_percent")
PARTS = {False: "held-out fifth of train", True: "test"}


def config_of(model: str, teacher: str | None, **changes: Any) -> Config:
    settings = {"model": model, "teacher": teacher, "workers": 0, "precision": "bf16", **changes}
    return build_config(recipe("laptop", settings), settings)


def rates(data: str, teacher: str, seconds: float = 5.0, rounds: int = 4) -> None:
    """Steps a second of processor time with and without the teacher, in turns."""
    dataset, _ = hold_in_memory(open_dataset(f"{data}/train").subset(range(2000)), 0)
    found = {}
    for model in MODELS:
        configs = {name: config_of(model, name, steps=10_000) for name in (teacher, None)}
        steppers = {name: stepper_of(config) for name, config in configs.items()}
        batches = build_batches(dataset, configs[None])
        turns = [(name, speed(steppers[name], batches, seconds)) for _ in range(rounds) for name in configs]
        for name in configs:
            spans = [value for other, value in turns if other == name]
            found[f"{model}, {'teacher' if name else 'none'}"] = statistics.median(spans)
    for name, value in found.items():
        print(f"{name:<24}{value:6.2f} steps/s")
    RATES.write_text(json.dumps({"commit": commit(), "torch": torch.__version__, "steps_per_second": found}, indent=2))


def stepper_of(config: Config) -> Any:
    mean, std = [0.5] * 3, [0.25] * 3
    networks = fresh_networks(config, mean, std, PixelFormat(3, "uint8", "first"))
    return build_stepper(config, 10_000, mean, std, networks.build())


def speed(stepper: Any, batches: Any, seconds: float) -> float:
    """Steps a second of processor time, after two that are not counted."""
    for step in range(2):
        stepper(step, batches[step])
    begun, done = time.process_time(), 0
    while time.process_time() - begun < seconds:
        stepper(done, batches[done])
        done += 1
    return done / (time.process_time() - begun)


def run(data: str, teacher: str, model: str, taught: bool, minutes: float, seed: int, test: bool) -> dict[str, Any]:
    """Train one student for as many steps as the minutes hold, and measure it."""
    per_second = json.loads(RATES.read_text())["steps_per_second"]
    steps = round(60 * minutes * per_second[f"{model}, {'teacher' if taught else 'none'}"])
    how = {"steps": steps, "seed": seed, "workers": 0, "precision": "bf16", "labels": False}
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        pretrain(f"{data}/train", out=Path(folder) / "run", model=model, teacher=teacher if taught else None, **how)
        seconds = time.process_time() - begun
        scores = measured(load_encoder(Path(folder) / "run"), data, test)
    about = {"model": model, "teacher": taught, "minutes": minutes, "seed": seed, "steps": steps, "part": PARTS[test]}
    return about | scores | {"processor_seconds": round(seconds), "commit": commit(), "torch": torch.__version__}


def stored() -> list[dict[str, Any]]:
    return [json.loads(line) for line in LINES.read_text().splitlines()] if LINES.exists() else []


def keep(row: dict[str, Any]) -> None:
    with LINES.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(", ".join(f"{key} {row[key]}" for key in ("model", "teacher", "seed", *SCORES)), flush=True)


def run_all(given: argparse.Namespace) -> None:
    """Every student without a row, a seed at a time; the teacher itself first."""
    done = {identity(row) for row in stored()}
    own = {"model": "the teacher", "teacher": False, "minutes": 0, "seed": 0, "part": PARTS[given.test]}
    if identity(own) not in done:
        keep(own | measured(load_encoder(given.teacher), given.archive, given.test) | {"commit": commit()})
    for seed, model, taught in itertools.product(given.seeds, given.models, (True, False)):
        about = {"model": model, "teacher": taught, "minutes": given.minutes, "seed": seed, "part": PARTS[given.test]}
        if identity(about) not in done:
            keep(run(given.archive, given.teacher, model, taught, given.minutes, seed, given.test))


def identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[key] for key in ("model", "teacher", "minutes", "seed", "part"))


def table(test: bool) -> None:
    """Mean and half of the 95 % interval over seeds of each student, and of the differences that a teacher makes."""
    rows = [row for row in stored() if row["part"] == PARTS[test]]
    print("| student | seeds | linear | k-NN | 1 % labels |\n|---|---|---|---|---|")
    for model, minutes in sorted({(row["model"], row["minutes"]) for row in rows}):
        arms = {taught: chosen(rows, model, minutes, taught) for taught in (True, False)}
        for taught, mine in arms.items():
            if mine:
                label = f"{model}, {minutes:g} minutes, {'with' if taught else 'without'} a teacher"
                line(label if minutes else model, [[row[key] for row in mine.values()] for key in SCORES])
        both = sorted(arms[True].keys() & arms[False].keys())
        if both:
            differences = [[arms[True][seed][key] - arms[False][seed][key] for seed in both] for key in SCORES]
            line("the difference, by pairs", differences)


def chosen(rows: list[dict[str, Any]], model: str, minutes: float, taught: bool) -> dict[int, dict[str, Any]]:
    wanted = (model, minutes, taught)
    return {row["seed"]: row for row in rows if (row["model"], row["minutes"], row["teacher"]) == wanted}


def line(label: str, columns: list[list[float]]) -> None:
    print(f"| {label} | {len(columns[0])} | {' | '.join(spread(values) for values in columns)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("rates", "run", "table"))
    parser.add_argument("archive", nargs="?")
    parser.add_argument("teacher", nargs="?")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--test", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.command == "rates":
        rates(given.archive, given.teacher)
    elif given.command == "run":
        run_all(given)
    if given.command != "rates":
        table(given.test)


if __name__ == "__main__":
    main()
