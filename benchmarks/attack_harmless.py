"""Harmless inputs, of which the hostile ones are damaged copies: images, a run, weights in every layout, a study."""

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

RUN = ["--recipe", "laptop", "--image-size", "16", "--patch-size", "4", "--batch-size", "4", "--predictor-depth", "1"]
RUN += ["--predictor-dim", "32", "--workers", "0", "--precision", "float32", "--device", "cpu", "--log-every", "1"]
RUN += ["--checkpoint-minutes", "0", "--steps", "2"]
TUNE = ["--time", "0.2s", "--batch-size", "4", "--precision", "float32", "--workers", "0", "--device", "cpu"]
MACHINE = ("--workers", "0", "--device", "cpu")
COMPARED = ["--methods", "vicreg", "--budget", "images:4", "--seeds", "1", "--image-size", "16", *MACHINE]
COMPARED += ["--batch-size", "4", "--precision", "float32"]
BOTH = ["--encoder", "both", "--data", "scenes:64"]  # an ensemble of one model
TUNED = ("--image-size", "--patch-size", "--batch-size", "--predictor-depth", "--predictor-dim", "--precision")


def make_harmless(folder: Path, light: bool = False) -> None:
    """Write them below a folder, in a child process, so that no thread is started in this one.

    `light` leaves out layouts of transformers and timm, and the study.
    """
    folder.mkdir(parents=True)
    _forked(lambda: _make(folder, light), folder / "said.txt")


def make_guard(folder: Path) -> None:
    """A folder that nothing may open, with files worth taking and files worth destroying."""
    folder.mkdir(parents=True)
    Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(folder / "secret.png")
    for name in ("victim", "secret.txt", "owned.txt", "secret.h5"):
        (folder / name).write_text("kept\n")


def command(*words: str) -> None:
    """Run one command of the command line in this process. Raises RuntimeError if it fails."""
    from openjepa import cli

    sys.argv = ["openjepa", *words]
    try:
        cli.main()
    except SystemExit as error:
        if error.code:
            raise RuntimeError(f"openjepa {' '.join(words)} failed: {error.code}") from error


def link_tree(source: Path, to: Path) -> Path:
    """A copy of a folder in which large files are links to the same content."""
    for base, _, names in os.walk(source):
        place = to / Path(base).relative_to(source)
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            path = Path(base) / name
            (os.link if path.stat().st_size > 300_000 else shutil.copyfile)(path, place / name)
    return to


def rewrite(path: Path, content: bytes) -> None:
    """Replace a file of a `link_tree` without changing what it may be linked to."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def _forked(call: Callable[[], None], log: Path) -> None:
    pid = os.fork()
    if not pid:
        status = 1
        try:
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            call()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError(f"the harmless inputs cannot be made:\n{log.read_text()[-3000:]}")


def _make(folder: Path, light: bool) -> None:
    data, run, weights = folder / "classes", folder / "run", folder / "weights"
    os.environ["OPENJEPA_CACHE"] = str(folder / "cache")
    draw(data)
    command("pretrain", str(data), "--out", str(run), *RUN, "--keep-every", "1")
    command("evaluate", str(run), str(data), "--save-head", str(folder / "head"), "--tasks", "knn", *MACHINE)
    command("anomaly", "fit", str(run), str(data), "--out", str(folder / "detector"), *MACHINE)
    for form in ("safetensors", "official") if light else ("safetensors", "official", "hf", "timm"):
        command("export", str(run), "--to", form, "--out", str(weights / form), "--licence", "MIT")
    command("import", str(run), str(folder / "artifact"))
    _begun(run, folder / "begun")
    command("finetune", str(folder / "artifact"), str(data), "--out", str(folder / "tuned"), *TUNE)
    if not light:
        _study(folder, data)
        command("compare", str(data), "--out", str(folder / "comparison"), *COMPARED)
        command("ensemble", str(run), "--how", "concat", *BOTH, "--out", str(folder / "ensemble"), *MACHINE)
        command("index", str(run), str(data), "--out", str(folder / "index"), "--patches", *MACHINE)
        _foreign(folder / "foreign")


def _foreign(folder: Path) -> None:
    """Small networks that are no ViT, as timm and transformers store them."""
    import timm
    from timm.models._hub import save_for_hf
    from transformers import ConvNextConfig, ConvNextModel

    sizes = {"dims": (8, 8, 16, 16), "depths": (1, 1, 1, 1)}
    model = timm.create_model("convnext_tiny", pretrained=False, num_classes=5, **sizes)
    save_for_hf(model, folder / "timm", model_args=sizes, safe_serialization=True)
    config = ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], image_size=32)
    ConvNextModel(config).save_pretrained(folder / "hf")


def draw(folder: Path, count: int = 12) -> None:
    """Pictures in two classes."""
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        rough = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(rough).resize((20, 20), Image.Resampling.BICUBIC).save(path)


def _begun(run: Path, to: Path) -> None:
    """A copy of a finished run that was stopped one step before its end."""
    shutil.copytree(run, to, ignore=shutil.ignore_patterns("encoder", "report.html", "tensorboard", "evaluation.json"))
    last = max((to / "checkpoints").glob("step-*"))
    shutil.rmtree(last)


def _study(folder: Path, data: Path) -> None:
    """A study of `tune` whose trials were not run; the last is missing."""
    from openjepa.studies.tune import costs, study
    from openjepa.studies.tune import start as tuning
    from openjepa.studies.tune.halving import Costs

    baselines = {name: {"linear": 0.4, "knn": 0.4} for name in ("untrained", "pixels")}
    now = {"rank": 20.0, "std": 1.0, "positional_fraction": 0.2, "energy_gap": 0.5, "ema_distance": 0.1}
    result = {"steps": 1, "images": 8, "seconds": 1.0, "monitors": now, "untrained": now, "linear": 0.5, "knn": 0.5}
    tuning.measure_costs = lambda data, base, names: (
        Costs(dict.fromkeys(names, 0.05), "recipe", 0.05, 2, 0.1),
        baselines,
    )
    costs.LEAST_STEPS = 1
    study.run_trial = lambda trial, data, config, steps, progress: result | {"steps": steps}
    out = folder / "study"
    fixed = [word for name, value in zip(RUN[::2], RUN[1::2], strict=True) if name in TUNED for word in (name, value)]
    try:
        command("tune", str(data), "--out", str(out), "--budget", "40s", *MACHINE, *fixed)
    except Exception:  # the page of trials that left no folder
        if not (out / "trials.jsonl").exists():
            raise
    lines = (out / "trials.jsonl").read_text().splitlines()
    (out / "trials.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    (out / "command.json").write_text(json.dumps(["--budget", "40s", *MACHINE, *fixed]))
