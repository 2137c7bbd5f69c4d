"""`openjepa demo`: no data, no network, a few minutes on a laptop; ends with a table and a report."""

import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from openjepa.commands.arguments.options import Settings
from openjepa.commands.report import report_at_end
from openjepa.config import Config, build_config
from openjepa.console import log, took
from openjepa.encoder.feature_cache import FeatureStore
from openjepa.evaluation.probes.best_linear import ONE_PROBE
from openjepa.evaluation.session import Part, Session
from openjepa.evaluation.splits import split_held_out
from openjepa.files.lock import locked
from openjepa.files.path_arguments import checks_paths
from openjepa.recipe_settings import recipe
from openjepa.runs.evaluation import make_records, measure, open_models, versions
from openjepa.runs.images import prepare_images
from openjepa.runs.outputs import show_records, write_records
from openjepa.runs.resuming.resume import resume_run
from openjepa.runs.start import start_run

TRAIN, TEST = "scenes:20000:0", "scenes:8000:1"
PROBED = 8000
TASKS = ("linear", "knn")
# What the demo changes of `laptop`. Scenes are mostly background, so the context shows more of them. A slower machine
# does as many of the steps as fit in the time. Without workers, because on two cores they take more from the arithmetic
# than they give to the crops.
CHANGES = {"image_size": "48", "patch_size": 8, "context_ratio": 0.2, "steps": 4000, "time": "360s", "workers": 0}
SETTINGS = Settings(values=CHANGES)


@checks_paths
def demo(
    *,
    data: Annotated[str | None, Option(help="Your own images instead of drawn scenes.")] = None,
    out: Annotated[Path, Option(help="Folder to write the run to.")] = Path("runs/demo"),
    resume: Annotated[bool, Option("--resume", help="Resume the demo in --out from its last checkpoint.")] = False,
    **settings: Annotated[Any, SETTINGS],
) -> Path:
    """Draw scenes, train an encoder on them, measure it beside pixels and an untrained encoder, write a report.

    The encoder never sees the labels it is measured by: the nearest object's shape, its distance in six bins, and the
    number of objects. With --data the same is done with a folder of images; it is measured if it holds one folder a
    class.

    Returns the run folder. Raises UsageError.
    """
    begun, settings = time.monotonic(), SETTINGS.given(settings)
    source, out = str(data or TRAIN), Path(out)
    config = demo_config(settings)
    with locked(out):
        launch = resume_run(source, out, config, settings) if resume else start_run(source, out, config, settings)
        if launch.run.batches.dataset.labels:
            split_held_out(launch.run.batches.dataset, config.seed)  # an error now, not after the training
        started = time.monotonic()
        launch.train(
            shlex.join(["openjepa", "demo", *(["--data", source] if data else []), "--out", str(out), "--resume"])
        )
        training = time.monotonic() - started
        launch.finish()
        if launch.run.batches.dataset.labels:
            _measure(launch, data)
        else:
            log(f"{data} has no labels to measure by: with one folder a class there would be a table here")
        report_at_end(out, source)
        log(took(begun, training))
    return out


def demo_config(given: Mapping[str, Any]) -> Config:
    """The settings of a demo with those that are given; more time makes no larger model."""
    return build_config({**recipe("laptop", {**given, "time": None}), **CHANGES}, given)


def _measure(launch: Any, data: str | None) -> None:
    """Evaluate the run beside its baselines on what it was trained on, and on images that it has not seen."""

    config, train = launch.config, launch.run.batches.dataset
    if data:
        (train, test), named = split_held_out(train, config.seed), f"a fifth of {data} (the encoder saw it, unlabelled)"
    else:
        train, (test, _), named = train.subset(range(PROBED)), prepare_images(TEST, config.readers), TEST
    source, parts, store = data or TRAIN, (Part(train), Part(test)), FeatureStore(None, config.readers)
    models = open_models([str(launch.folder)], config.device, config.precision)
    sessions = [Session(model, *parts, store, config.seed, probes=ONE_PROBE) for model in models]
    log(f"training probes on {len(train):,} images of {source}, testing on {len(test):,} of {named}")
    records = make_records(measure(sessions, TASKS), source, {"train": source, "test": named} | versions())
    write_records(launch.folder / "evaluation.json", records)
    show_records(records)
