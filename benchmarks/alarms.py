"""Do the alarms tell broken runs from healthy ones, in time and by the right name? Runs that are broken on purpose.

python benchmarks/alarms.py CIFAR.zip/train [NAME [STEPS]]     one case or all; writes results/alarms-NAME.json
python benchmarks/alarms.py table                              what those files say, as a table

A run of 1,700 steps is 27,200 images, about four minutes of processor time.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from record import RESULTS, commit

from openjepa.commands.pretrain import pretrain
from openjepa.methods.ijepa import IJEPA
from openjepa.methods.registry import METHODS, Entry
from openjepa.models.vit import take
from openjepa.recipe_settings import config_of
from openjepa.runs.settings import read_config
from openjepa.training.monitoring.metrics_log import read_metrics
from openjepa.training.monitoring.verdict import Extremes, verdict

MONITORS = (
    "step",
    "loss",
    "rank",
    "std",
    "positional_fraction",
    "energy_gap",
    "ema_distance",
    "knn",
    "linear",
    "status",
)
QUIET = ("early", "healthy")
STEPS = 1700
LR = config_of("laptop", {}).lr


class NoStopGradient(IJEPA):
    """What must never be done: the targets learn to be easy to predict."""

    def targets(self, images, target_ids):
        tokens = self.context_encoder(images)
        return take(F.layer_norm(tokens, tokens.shape[-1:]), target_ids)


class LostStopGradient(NoStopGradient):
    """The same mistake from half of the run on."""

    taken = 0

    def loss(self, inputs):
        self.taken += 1
        return super().loss(inputs)

    def targets(self, images, target_ids):
        leaks = self.taken > STEPS // 2 and torch.is_grad_enabled()
        return (NoStopGradient if leaks else IJEPA).targets(self, images, target_ids)


class FaintPatches(IJEPA):
    """First weights of the patch embedding, and of nothing else, at the published scale: tokens say where."""

    std = 0.02

    def __init__(self, context_encoder, *parts):
        with torch.no_grad():
            weight = context_encoder.patch_embed.proj.weight
            weight.mul_(self.std / weight.std())
        super().__init__(context_encoder, *parts)


class FainterPatches(FaintPatches):
    std = 0.002


PUBLISHED = {"weight_init": "published", "optimizer": "adamw"}
# A case is what it changes of recipe laptop, and the networks it is trained with.
CASES: dict[str, tuple[dict, type[IJEPA]]] = {
    "healthy": ({}, IJEPA),
    "faint-patches": ({}, FaintPatches),
    "faint-patches-adamw": ({"optimizer": "adamw"}, FaintPatches),
    "published-adamw": (PUBLISHED | {"masks": "multiblock"}, IJEPA),
    "no-stop-gradient": ({"ema_momentum": (0.0, 0.0)}, NoStopGradient),
    "lr-x30": ({"lr": 30 * LR}, IJEPA),
    # Three ways into positional collapse, and three that break a run as it goes.
    "positional-fainter": ({"optimizer": "adamw", "lr": 1e-4}, FainterPatches),
    "positional-slow": (PUBLISHED | {"lr": 1e-5}, IJEPA),
    "positional-ema-0": (PUBLISHED | {"ema_momentum": (0.0, 0.0)}, IJEPA),
    "late-stop-gradient": ({}, LostStopGradient),
    "late-ema-0": ({"ema_momentum": (0.99, 0.0), "lr_end": LR}, IJEPA),
    "late-lr-x30": ({"lr_end": 30 * LR}, IJEPA),
}


def run(data: str, name: str, steps: int) -> None:
    settings, network = CASES[name]
    METHODS["ijepa"] = Entry(network.__module__, network.__name__, "one case")
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        out = pretrain(data, out=Path(folder) / name, recipe="laptop", steps=steps, workers=0, **settings)
        records = [record for record in read_metrics(out) if "status" in record]
        precision = read_config(out / "config.json")[0].precision
    about = {
        "command": f"python benchmarks/alarms.py {data} {name}",
        "commit": commit(),
        "steps": steps,
        "settings": settings,
        "networks": CASES[name][1].__name__,
        "precision": precision,
        "processor_seconds": round(time.process_time() - begun),
        "records": [{key: record[key] for key in MONITORS if key in record} for record in records],
    }
    (RESULTS / f"alarms-{name}.json").write_text(json.dumps(about, indent=1) + "\n")


def table() -> None:
    """Of every case on file, by today's rules: the first alarm and when, the last verdict, rank and linear probe."""
    print("| case | first alarm | at the end | rank | linear probe |\n|---|---|---|---|---|")
    for name in CASES:
        path = RESULTS / f"alarms-{name}.json"
        if path.exists():
            print(f"| {name} | {' | '.join(in_words(json.loads(path.read_text())))} |")


def in_words(told: dict) -> list[str]:
    first, *later = told["records"]
    said, extremes = [], Extremes()
    for record in later:
        fraction = record["step"] / told["steps"]
        said.append((fraction, verdict(record, first, fraction, extremes=extremes).status))
        extremes = extremes.after(record)
    alarms = (f"{status} at {fraction:.0%}" for fraction, status in said if status not in QUIET)
    rank = f"{first['rank']:.1f} to {later[-1]['rank']:.1f}"
    linear = f"{100 * first['linear']:.1f} to {100 * later[-1]['linear']:.1f}"
    return [next(alarms, "none"), said[-1][1], rank, linear]


def main() -> None:
    global STEPS
    torch.set_num_threads(1)
    if sys.argv[1] == "table":
        return table()
    STEPS = int(sys.argv[3]) if len(sys.argv) > 3 else STEPS
    for name in sys.argv[2:3] or CASES:
        run(sys.argv[1], name, STEPS)


if __name__ == "__main__":
    main()
