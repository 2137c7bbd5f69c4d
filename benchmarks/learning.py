"""What an encoder learns in 10 and 30 minutes on one CPU thread: methods side by side, on CIFAR-10, over seeds.

python benchmarks/learning.py rates CIFAR.zip                              images/s, two processes abreast (--model)
python benchmarks/learning.py floors CIFAR.zip                             raw pixels and untrained encoders (--model)
python benchmarks/learning.py run CIFAR.zip METHOD --minutes 10 --seed 0   train and measure
python benchmarks/learning.py run CIFAR.zip METHOD --images 68192          the same for a number of images (--model)
python benchmarks/learning.py table --minutes 10                           mean and 95 % interval over seeds
python benchmarks/learning.py table --images 68192                         the same at equal images
python benchmarks/learning.py gap --minutes 10                             what of MAE's lead is left at equal images

A budget is turned into steps by the rates, so that a run is the same whatever else the machine does, and the seconds of
processor time that its steps took are recorded beside it. Rates, runs and tables are of one precision (`--precision`;
left out, the one this machine is faster at, as for anyone). The model is the recipe's for so many minutes, or
`--model`. `--validation` measures on a fifth of train that no probe learns from: for every choice. Without it the test
part is measured: once, in the end.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from record import RESULTS, commit
from scipy.stats import t as student

from openjepa.commands.pretrain import pretrain
from openjepa.config import Config, build_config
from openjepa.data.memory import hold_in_memory
from openjepa.data.open import open_dataset
from openjepa.data.statistics import channel_statistics
from openjepa.device import PRECISIONS, choose_precision
from openjepa.encoder.baselines import Pixels
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.feature_cache import FeatureStore
from openjepa.encoder.features import Model
from openjepa.evaluation.probes.best_linear import ONE_PROBE
from openjepa.evaluation.probes.logistic import linear_probe
from openjepa.evaluation.run_tasks import measure
from openjepa.evaluation.session import Part, Session
from openjepa.evaluation.splits import split_held_out
from openjepa.interop.load import load_encoder
from openjepa.recipe_settings import recipe
from openjepa.rng import SAMPLES, generator
from openjepa.runs.planning.build import build_batches, build_stepper
from openjepa.runs.planning.build_model import build_model
from openjepa.training.monitoring.metrics_log import read_metrics

RATES, LINES = RESULTS / "learning-rates.json", RESULTS / "learning.jsonl"
SCORES = ("linear", "knn", "one_percent")
NEAR = 0.05  # of as many images: methods differ by a few per cent in what a budget of time gives them
MODELS = ("vit_nano", "vit_micro")
# What runs start from: the reference has other first weights, and is not run wider.
UNTRAINED = (("untrained", "pure", "vit_nano"), ("untrained", "pure", "vit_micro"))
UNTRAINED += (("untrained reference", "reference", "vit_nano"),)

# A method is a recipe and what it changes.
METHODS: dict[str, tuple[str, dict]] = {
    "pure": ("laptop", {}),
    "hybrid": ("laptop", {"method": "hybrid"}),
    "mae": ("laptop", {"method": "mae"}),
    "reference": ("reference", {}),
}


def rates(data: str, model: str, precision: str) -> None:
    """Images per second of the steps of every method on one thread, beside another process that does the same."""
    about = ["--model", model, "--precision", precision]
    found: dict[str, float] = {}
    for method in METHODS:
        command = [sys.executable, __file__, "rate", data, method, *about]
        abreast = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        found[method] = statistics.fmean(float(process.communicate()[0].split()[-1]) for process in abreast)
        print(f"{model:<12}{method:<12}{found[method]:8.0f} images/s", flush=True)
    known = json.loads(RATES.read_text())
    command = " ".join(["python benchmarks/learning.py rates", data, *about])
    known.setdefault(precision, {})[model] = {"command": command, **machine(), "images_per_second": found}
    RATES.write_text(json.dumps(known, indent=2) + "\n")


def rate(data: str, method: str, model: str, precision: str, seconds: float = 30.0) -> float:
    """Images per second of processor time of one method's steps, input included."""
    config = config_of(method, model=model, precision=precision, steps=10_000)
    stepper = build_stepper(config, 10_000, [0.5] * 3, [0.25] * 3)
    dataset, _ = hold_in_memory(open_dataset(f"{data}/train").subset(range(2000)), 0)
    batches = build_batches(dataset, config)
    for step in range(3):
        stepper(step, batches[step])
    begun, done = time.process_time(), 0
    while time.process_time() - begun < seconds:
        stepper(done, batches[done])
        done += 1
    return done * config.batch_size / (time.process_time() - begun)


def config_of(method: str, **changes) -> Config:
    name, settings = METHODS[method]
    settings = settings | {"workers": 0} | changes
    return build_config(recipe(name, settings), settings)


def affordable(method: str, model: str, precision: str, minutes: float) -> float:
    """Images that a method sees in so many minutes."""
    return 60 * minutes * json.loads(RATES.read_text())[precision][model]["images_per_second"][method]


def usual_precision() -> str:
    """The precision that this machine is faster at."""
    return next(name for name, dtype in PRECISIONS.items() if dtype == choose_precision("auto", torch.device("cpu")))


def usual_model(method: str, minutes: float) -> str:
    """The model that a method's recipe takes for so many minutes."""
    return build_config(recipe(METHODS[method][0], {"time": f"{minutes}m"}), {}).model


def run(
    data: str,
    method: str,
    seed: int,
    test: bool,
    out: Path,
    model: str,
    minutes: float | None = None,
    images: int | None = None,
    precision: str = "float32",
) -> dict:
    """Train one encoder for a budget of minutes or of images and measure it."""
    batch_size = config_of(method).batch_size
    steps = round((images or affordable(method, model, precision, minutes)) / batch_size)
    settings = METHODS[method][1] | {"model": model}
    how = {"out": out, "recipe": METHODS[method][0], "steps": steps, "seed": seed, "workers": 0, "precision": precision}
    begun = time.process_time()
    pretrain(f"{data}/train", **how, **settings)
    seconds = time.process_time() - begun
    scores = measured(load_encoder(out), data, test)
    verdicts = [(r["step"] / steps, r["status"]) for r in read_metrics(out) if "status" in r]
    return {
        "method": method,
        "model": model,
        "minutes": None if images else minutes,
        "seed": seed,
        "images": steps * batch_size,
        "processor_seconds": round(seconds),
        "settings": settings,
        "precision": precision,
        "part": "test" if test else "held-out fifth of train",
        **scores,
        "verdicts": verdicts,
        **machine(),
    }


def measured(model: Model, data: str, test: bool) -> dict[str, float]:
    """Accuracies in %: linear, k-NN and k-NN of whitened embeddings from all labels; linear from 1 %, five draws."""
    train = open_dataset(f"{data}/train")
    parts = (train, open_dataset(f"{data}/test")) if test else split_held_out(train, 0)
    session = Session(model, *map(Part, parts), FeatureStore(None, workers=0), probes=ONE_PROBE)
    scores = {r.task: 100 * r.record()["value"] for r in measure(session, ("linear", "knn", "knn-whitened"))}
    return scores | {"one_percent": statistics.fmean(one_percent(session, draw) for draw in range(5))}


def one_percent(session: Session, draw: int) -> float:
    """Linear accuracy in % from the labels of 1 % of the images, as many of every class, a fifth to validate."""
    answers = next(session.labels())
    (x, test_x), y, truth = answers.embeddings, answers.labels, answers.truth
    labels = y.numpy()
    order = generator(draw, SAMPLES).permutation(len(labels))
    each = len(labels) // 100 // len(np.unique(labels))
    chosen = np.concatenate([order[labels[order] == label][:each] for label in np.unique(labels)])
    held = np.arange(len(chosen)) % each < each // 5
    fit, validation = chosen[~held], chosen[held]
    probe = linear_probe(x[fit], y[fit], x[validation], y[validation], test_x)
    return 100 * (probe.predictions == truth).float().mean().item()


def floors(data: str, test: bool, only: str | None = None) -> Iterator[dict]:
    """The untrained encoders of three seeds, and raw pixels; or the untrained encoders of `only` one model."""
    mean, std = channel_statistics(open_dataset(f"{data}/train"), seed=0)
    about = {"minutes": 0, "images": 0, "part": "test" if test else "held-out fifth of train", **machine()}
    if not only:
        yield {"method": "pixels", "seed": 0, **about, **measured(Pixels((32, 32)), data, test)}
    wanted = [floor for floor in UNTRAINED if only in (None, floor[-1])]
    for (name, method, model), seed in itertools.product(wanted, range(3)):
        network = build_model(config_of(method, model=model, seed=seed)).encoder
        scores = measured(Encoder(network, mean, std), data, test)
        yield {"method": name, "model": model, "seed": seed, **about, **scores}


def read_rows(test: bool, precision: str) -> list[dict]:
    """The rows of a part that are of a precision, or of none, as untrained encoders are."""
    rows = [json.loads(line) for line in LINES.read_text().splitlines()]
    part = "test" if test else "held-out fifth of train"
    return [row for row in rows if row["part"] == part and row.get("precision", precision) == precision]


def at(rows: list[dict], minutes: float | None, images: int | None) -> list[dict]:
    """The rows of a budget; images within NEAR of it."""
    if images:
        return [row for row in rows if abs(row["images"] - images) < NEAR * images]
    return [row for row in rows if row["minutes"] == minutes]


def table(rows: list[dict], minutes: float | None, images: int | None) -> None:
    """Mean and 95 % interval over seeds of every method at a budget, the floors below."""
    trained, floors = at(rows, minutes, images), [row for row in rows if row["images"] == 0]
    models = {row.get("model") for row in trained} | {None}
    rows = trained + [row for row in floors if row.get("model") in models]
    budget = f"{images:,} images" if images else f"{minutes:g} minutes"
    print(f"| {budget} | seeds | images | linear | k-NN | 1 % labels |\n|---|---|---|---|---|---|")
    for name, mine in methods_of(rows).items():
        cells = [spread([row[key] for row in mine]) for key in SCORES]
        print(f"| {name} | {len(mine)} | {mine[0]['images'] // 1000}k | {' | '.join(cells)} |")


def methods_of(rows: list[dict]) -> dict[str, list[dict]]:
    """Rows by method, model and precision."""
    found: dict[str, list[dict]] = {}
    for row in rows:
        name = ", ".join(row[key] for key in ("method", "model", "precision") if key in row)
        found.setdefault(name, []).append(row)
    return found


def spread(values: list[float]) -> str:
    """The mean, and half of Student's 95 % interval for it where there are two values or more."""
    if len(values) < 2:
        return f"{statistics.fmean(values):.1f}"
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.fmean(values):.1f} ± {half:.1f}"


def gap(rows: list[dict], minutes: float) -> None:
    """MAE's lead over I-JEPA at equal time, what is left of it at equal images, and so what images per second make."""
    print(f"| MAE over, {minutes:g} minutes | | at equal time | at equal images | by images/s |\n|---|---|---|---|---|")
    for method in ("pure", "hybrid"):
        mine, theirs = of(at(rows, minutes, None), method), of(at(rows, minutes, None), "mae")
        same = [row for row in rows if mine and row.get("model") == mine[0].get("model")]
        alike = of(at(same, None, mine[0]["images"]), "mae") if mine else []
        if not (mine and theirs and alike):
            print(f"| {method} | needs runs of {method} and mae, and mae with --images as many as {method} saw ||||")
            continue
        for key in SCORES:
            own, *others = (statistics.fmean(row[key] for row in part) for part in (mine, theirs, alike))
            lead, left = (other - own for other in others)
            print(f"| {method} | {key} | {lead:+.1f} | {left:+.1f} | {lead - left:+.1f} |")


def of(rows: list[dict], method: str) -> list[dict]:
    return [row for row in rows if row["method"] == method]


def machine() -> dict:
    return {"commit": commit(), "torch": torch.__version__, "threads": torch.get_num_threads()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rates", "rate", "run", "floors", "table", "gap"))
    parser.add_argument("data", nargs="?", type=str, help="a zip with train/CLASS and test/CLASS")
    parser.add_argument("method", nargs="?", choices=METHODS)
    parser.add_argument("--model", choices=MODELS)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--images", type=int, help="a budget of images instead of minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=PRECISIONS)
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("runs/learning"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    precision = given.precision or usual_precision()
    if given.what == "rates":
        for model in (given.model,) if given.model else MODELS:
            rates(given.data, model, precision)
    elif given.what == "rate":
        print(rate(given.data, given.method, given.model, precision))
    elif given.what == "table":
        table(read_rows(not given.validation, precision), given.minutes, given.images)
    elif given.what == "gap":
        gap(read_rows(not given.validation, precision), given.minutes)
    else:
        budget = f"{given.images}images" if given.images else f"{given.minutes:g}m"
        model = given.model or usual_model(given.method, given.minutes)
        folder = given.out / f"{given.method}-{model}-{precision}-{budget}-seed{given.seed}"
        how = {"model": model, "minutes": given.minutes, "images": given.images, "precision": precision}
        lines = (
            floors(given.data, not given.validation, given.model)
            if given.what == "floors"
            else [run(given.data, given.method, given.seed, not given.validation, folder, **how)]
        )
        with LINES.open("a", buffering=1) as file:  # a line as soon as it is measured
            for line in lines:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
