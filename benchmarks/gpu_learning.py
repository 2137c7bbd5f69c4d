"""Part 3 of gpu.py: recipe `small` on photographs for as many of 200 epochs as fit, measured on images kept apart.

Other seeds follow with as many steps, where the time limit allows.

Linear probes on the last and the last four layers and k-NN, beside raw pixels and the untrained encoder.
"""

import ast
import os
import signal
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

from gpu_rows import Rows, about, arguments, photos

import openjepa
from openjepa.runs.resuming.resume import resume_run
from openjepa.runs.settings import read_config
from openjepa.training.monitoring.metrics_log import read_metrics

EPOCHS = 200
RESERVE, STARTUP = 55, 30  # seconds for export and evaluation, and before the first step
SURE = 0.96  # fraction of the time that is left for training, so that the schedule comes to its end
SEEDS = (0, 1, 2)
CURVES = (
    "step",
    "loss",
    "rank",
    "positional_fraction",
    "energy_gap",
    "knn",
    "linear",
    "images_per_second",
    "input_wait",
)
TINY = {"model": "vit_nano", "image_size": 32, "patch_size": 8, "batch_size": 16, "steps": 6, "workers": 0}
TINY |= {"predictor_dim": 64, "predictor_heads": 4, "seed": 0}


def settings_of(words: list[str]) -> dict[str, object]:
    """Settings of pretrain from NAME=VALUE; a value is a Python literal or, failing that, a word."""
    found: dict[str, object] = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found


def follow(rows: Rows, run: Path, seed: object, ended: threading.Event) -> None:
    """Add a row for each record of a run with monitors as soon as it is logged, until `ended`."""
    seen, last = 0, False
    while not last:
        last = ended.wait(3.0)
        records = read_metrics(run) if (run / "metrics.jsonl").exists() else []
        for record in records[seen:]:
            if "rank" in record:
                rows.add("curve", seed=seed, **{name: record[name] for name in CURVES if name in record})
        seen = len(records)


def train(data: str, out: Path, settings: dict[str, object], seconds: float) -> None:
    """Train for at most so many seconds; a run that is stopped then writes the encoder of the step it reached."""
    alarm = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    alarm.daemon = True
    alarm.start()
    try:
        openjepa.pretrain(data, out=out, recipe="small", **settings)
    except KeyboardInterrupt:
        config, _ = read_config(out / "config.json")
        resume_run(data, out, config, {}).finish()
    finally:
        alarm.cancel()


def learn(rows: Rows, data: str, test: str | None, out: Path, settings: dict[str, object], seconds: float) -> dict:
    """Train, then measure; one row for each record with monitors and for each task and model. Returns the steps."""
    ended = threading.Event()
    follower = threading.Thread(target=follow, args=(rows, out, settings["seed"], ended), daemon=True)
    follower.start()
    try:
        train(data, out, settings, seconds)
    finally:
        ended.set()
        follower.join()
    records = openjepa.evaluate(
        [str(out)], data, test=test, tasks="linear,knn", workers=settings["workers"], device=settings["device"]
    )
    for record in records:
        scored = {name: record[name] for name in ("task", "value", "low", "high", "protocol")}
        rows.add("score", seed=settings["seed"], model=Path(record["model"]).name, **scored)
    planned, done = read_config(out / "config.json")[1].steps, max(r["step"] for r in read_metrics(out))
    return {"steps": planned, "done": done, "settings": {name: str(value) for name, value in settings.items()}}


def main(words: list[str] | None = None) -> bool:
    """Run the part with the options `words` (those of the command line); whether something failed."""
    parser = arguments(__doc__)
    parser.add_argument("--settings", nargs="*", default=[], metavar="NAME=VALUE")
    given = parser.parse_args(words)
    rows = Rows(given.rows, "learning")
    rows.add("about", **about(given.device))
    stop = time.monotonic() + given.limit - RESERVE
    settings: dict[str, object] = {"workers": "auto", "epochs": EPOCHS, "device": str(given.device)}
    settings |= {"time": f"{max(20.0, SURE * (given.limit - RESERVE - STARTUP)):.0f}s"}
    settings |= (TINY | {"epochs": None, "time": None} if given.tiny else {}) | settings_of(given.settings)
    with tempfile.TemporaryDirectory() as folder:
        data, test = photos(Path("none") if given.tiny else given.carry, Path(folder))
        for seed in (settings["seed"],) if "seed" in settings else SEEDS:
            begun, out = time.monotonic(), Path(folder, f"seed{seed}")
            used = {name: value for name, value in {**settings, "seed": seed}.items() if value is not None}
            rows.attempt(f"small, seed {seed}", partial(learn, rows, data, test, out, used, stop - begun))
            if rows.failed or 2 * time.monotonic() - begun > stop + RESERVE:  # another would take as long
                break
            settings |= {"steps": read_config(out / "config.json")[1].steps, "time": None, "epochs": None}
    return rows.failed


if __name__ == "__main__":
    sys.exit(main())
