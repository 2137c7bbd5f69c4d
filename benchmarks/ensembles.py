"""What soups and concatenated features gain on CIFAR-10, and how a soup of different starts is refused, by seed.

python benchmarks/ensembles.py run CIFAR.zip --folder RUNS     train and measure what is not there yet
python benchmarks/ensembles.py table                           means and 95 % intervals over seeds

Of each seed: a start (1,200 steps of I-JEPA), three runs of 600 steps with --init of it that differ in their seed, an
I-JEPA run of another start, and runs of MAE and VICReg. Measured: the uniform and the greedy soup of the three beside
them; the features of the first, of MAE and of VICReg side by side, whole and projected to the width of one; and the
barrier for which a soup with the other start is refused. One seed takes some ten minutes of one core.

Probes learn from 10,000 images of train and are tested on 5,000 others of it; with --test on test/: once, in the end.
Greedy soups and projections see the former alone.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from learning import spread
from record import RESULTS, commit

import openjepa
from openjepa.data.dataset import ImageDataset
from openjepa.data.memory import hold_in_memory
from openjepa.data.open import open_dataset
from openjepa.encoder.feature_cache import FeatureStore
from openjepa.errors import UsageError
from openjepa.evaluation.probes.best_linear import ONE_PROBE
from openjepa.evaluation.run_tasks import measure
from openjepa.evaluation.session import Part, Session
from openjepa.studies.trial import split_labelled

LINES = RESULTS / "ensembles.jsonl"
PARTS = {False: "5,000 images of train", True: "test"}
TASKS = ("linear", "knn")
LONG, SHORT = 1200, 600
GENTLE = {"lr": 2e-4, "ema_momentum": (0.99, 1.0)}
SIBLINGS = ("first", "second", "third")
RUNS: dict[str, dict[str, Any]] = {
    "start": {"steps": LONG},
    **{name: {"steps": SHORT, "init": "start", **GENTLE} for name in SIBLINGS},
    "other": {"steps": SHORT},
    "mae": {"steps": LONG, "method": "mae"},
    "vicreg": {"steps": LONG, "method": "vicreg"},
}
DIFFERENT = ("first", "mae", "vicreg")
ALONE = ("start", *SIBLINGS, "mae", "vicreg")


def trained(name: str, folder: Path, data: str, seed: int) -> Path:
    """The run of a name and seed; trained, or taken up again, where it has not finished."""
    place, settings = folder / f"{name}-{seed}", dict(RUNS[name])
    if (place / "encoder").is_dir():
        return place
    if init := settings.get("init"):
        settings["init"] = str(folder / f"{init}-{seed}")
    number = 10 * seed + [*RUNS].index(name)
    how = {"recipe": "laptop", "precision": "bf16", "workers": 0, "labels": False, "device": "cpu"}
    begun = (place / "config.json").is_file()
    again = {"resume": True} if begun else {}
    return Path(openjepa.pretrain(data, out=place, seed=number, **how, **settings, **again).folder)


def scores(model: Path, parts: tuple[ImageDataset, ImageDataset]) -> dict[str, float]:
    """Accuracies in %."""
    encoder = openjepa.load_encoder(model, precision="bf16")
    session = Session(encoder, *map(Part, parts), FeatureStore(None, workers=0), probes=ONE_PROBE)
    return {result.task: 100 * result.record()["value"] for result in measure(session, TASKS)}


def made(folder: Path, seed: int, data: ImageDataset) -> dict[str, Path]:
    """The ensembles of a seed."""
    how = {"data": data, "workers": 0, "precision": "bf16", "device": "cpu", "overwrite": True}
    alike = [folder / f"{name}-{seed}" for name in SIBLINGS]
    unlike = [folder / f"{name}-{seed}" for name in DIFFERENT]
    width = openjepa.load_encoder(unlike[0]).network.embed_dim
    return {
        "soup": openjepa.ensemble(alike, how="soup", out=folder / f"soup-{seed}", **how),
        "greedy": openjepa.ensemble(alike, how="greedy", out=folder / f"greedy-{seed}", **how),
        "concat": openjepa.ensemble(unlike, how="concat", out=folder / f"concat-{seed}", **how),
        "projected": openjepa.ensemble(unlike, how="concat", out=folder / f"pca-{seed}", width=width, **how),
    }


def refusal(folder: Path, seed: int, data: ImageDataset) -> str:
    """What a soup of two starts is refused with."""
    models = [folder / f"first-{seed}", folder / f"other-{seed}"]
    try:
        openjepa.ensemble(models, how="soup", out=folder / "none", data=data, workers=0, device="cpu")
    except UsageError as error:
        return str(error)
    raise SystemExit("a soup of different starts was made")


def run(archive: str, folder: Path, seed: int, test: bool) -> dict[str, Any]:
    data = f"{archive}/train"
    runs = {name: trained(name, folder, data, seed) for name in RUNS}
    fit, held = (hold_in_memory(part, 0)[0] for part in split_labelled(open_dataset(data), 0))
    tested = open_dataset(f"{archive}/test") if test else held
    models = {name: runs[name] for name in ALONE} | made(folder, seed, fit)
    found = {name: scores(model, (fit, tested)) for name, model in models.items()}
    barriers = json.loads((models["soup"] / "openjepa.json").read_text())["soup"]["barriers"]
    about = {"seed": seed, "part": PARTS[test], "scores": found, "barriers": [*barriers.values()]}
    return about | {"refusal": refusal(folder, seed, fit), "commit": commit(), "torch": torch.__version__}


def stored(test: bool) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in LINES.read_text().splitlines()] if LINES.exists() else []
    return [row for row in rows if row["part"] == PARTS[test]]


def table(test: bool) -> None:
    """Accuracies of each model, and what the ensembles gain over the best of their members, by pairs."""
    rows = stored(test)
    if not rows:
        raise SystemExit("nothing was measured")
    print(f"| model, {len(rows)} seeds | linear | k-NN |\n|---|---|---|")
    for name in rows[0]["scores"]:
        print(f"| {name} | {' | '.join(spread([row['scores'][name][task] for row in rows]) for task in TASKS)} |")
    for name, members in (("soup", SIBLINGS), ("greedy", SIBLINGS), ("concat", DIFFERENT), ("projected", DIFFERENT)):
        gains = [[gain(row["scores"], name, members, task) for row in rows] for task in TASKS]
        print(f"| {name} over its best member | {' | '.join(map(spread, gains))} |")
    print("barriers within a start:", ", ".join(f"{barrier:.3f}" for row in rows for barrier in row["barriers"]))
    print(*(row["refusal"] for row in rows), sep="\n")


def gain(scores: dict[str, dict[str, float]], name: str, members: tuple[str, ...], task: str) -> float:
    return scores[name][task] - max(scores[member][task] for member in members)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("archive", nargs="?")
    parser.add_argument("--folder", type=Path, default=Path("runs/ensembles"))
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--test", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for seed in given.seeds if given.command == "run" else ():
        if seed not in {row["seed"] for row in stored(given.test)}:
            row = run(given.archive, given.folder, seed, given.test)
            with LINES.open("a") as file:
                file.write(json.dumps(row) + "\n")
    table(given.test)


if __name__ == "__main__":
    main()
