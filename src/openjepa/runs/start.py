"""Start a run or go on with one: data, networks, plan, training, artifact."""

import copy
import dataclasses
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openjepa._version import __version__
from openjepa.config import MACHINE, Config, option, read_config, save_config, shown
from openjepa.console import TrainingDisplay, log
from openjepa.data.batches import Batches
from openjepa.data.crops import standardise
from openjepa.data.dataset import ImageDataset, fingerprint
from openjepa.data.decoding.pixel_format import RGB, stored_pixel_format
from openjepa.data.statistics import channel_statistics
from openjepa.data.summary import Summary
from openjepa.device import PRECISIONS, choose_device, choose_precision
from openjepa.encoder.baselines import pixels_beside
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError
from openjepa.interop.artifact import save_artifact
from openjepa.methods.base import Method
from openjepa.runs.build_training import build_batches, build_stepper, settle_compiler
from openjepa.runs.images import LISTED, check_new_folder, prepare_images, write_skipped
from openjepa.runs.initial_weights import advice, build_continued, build_shapes, keeps_statistics, open_init, shapes_of
from openjepa.runs.plan import plan_lines, resolve_steps
from openjepa.runs.unused_settings import check_settings
from openjepa.training.checkpoint import DamagedCheckpoint, checkpoint_path, checkpoint_steps, load_checkpoint
from openjepa.training.distributed import on_rank_zero, world_size
from openjepa.training.loop import Interrupted, Run, TooManySkipped
from openjepa.training.monitoring.monitors import Monitor
from openjepa.training.monitoring.online_probe import LEAST, OnlineProbe, sample_images
from openjepa.training.state import whole_model
from openjepa.training.step import Stepper
from openjepa.training.timing import measure_cost, peak_memory

MONITORED = 256


@dataclass
class Launch:
    """A run with what the person is told about it and what remains of it in the end."""

    run: Run
    config: Config
    data: str
    summary: Summary
    source: dict | None = None

    @property
    def folder(self) -> Path:
        return self.run.folder

    def describe(self, steps: int, origin: dict[str, Any] | None = None) -> None:
        """Make the run's folder with config.json in it: the settings, and what was resolved from data and machine.

        `origin` is what a run that goes on from other weights must know of them to be taken up again.
        """
        resolved = {
            "steps": steps,
            "mean": self.run.stepper.mean,
            "std": self.run.stepper.std,
            "pixel_format": dataclasses.asdict(self.run.batches.dataset.pixel_format),
            "data": self.data,
            "found": dataclasses.asdict(self.summary),
            "paths": fingerprint(self.run.batches.dataset),
            "command": " ".join(sys.argv),
            "openjepa_version": __version__,
        }
        resolved |= {"frozen": self.run.stepper.frozen, **origin} if origin else {}
        on_rank_zero(lambda: save_config(self.folder / "config.json", self.config, resolved))

    def train(self, *words: str) -> None:
        """All remaining steps, shown as they go; after Ctrl-C says how to go on with the command in `words`."""
        display = TrainingDisplay(self.run.steps, self.run.done)
        device = self.run.stepper.device
        try:
            with display:
                self.run.train(lambda record: display(record | {"memory": peak_memory(device)}))
        except Interrupted as stopped:
            again = shlex.join(["openjepa", *words, "--out", str(self.folder), "--resume"])
            log(f"{stopped}. Go on with: {again}")
            raise
        except TooManySkipped:
            self._write_skipped()
            raise

    def finish(self) -> None:
        """Write the artifact of the last step, and those of the best by each monitor under their own names."""
        model = whole_model(self.run.stepper.model)
        try:
            on_rank_zero(lambda: self._write_encoders(model))
        except OSError as error:
            raise UsageError(f"cannot write {self.folder}: {error}; make room, then go on with --resume") from error

    def _write_encoders(self, model: Method) -> None:
        self._write_skipped()
        self.export("encoder", model, self.run.done, None)
        for monitor, (value, step) in self.run.best.items():
            if step != self.run.done:
                self._export_best(model, monitor, value, step)
        log(f"encoder: {self.folder / 'encoder'}")

    def _export_best(self, model: Method, monitor: str, value: float, step: int) -> None:
        try:
            tensors, _ = load_checkpoint(checkpoint_path(self.run.checkpoints, step))
        except DamagedCheckpoint as error:
            log(f"the best encoder by {monitor} is lost: {error}")
            return
        best = copy.deepcopy(model)
        best.load_state_dict({k.removeprefix("model."): t for k, t in tensors.items() if k.startswith("model.")})
        self.export(f"encoder-best-{monitor}", best, step, {"monitor": monitor, "value": value})

    def export(self, name: str, model: Method, step: int, chosen_by: dict | None = None) -> None:
        """Write a model of this run as the artifact `name`."""
        about = {
            "openjepa_version": __version__,
            "step": step,
            "chosen_by": chosen_by,
            "saw_labels": bool(chosen_by) and chosen_by["monitor"] == "knn",
            "data": self.data,
            "images": len(self.run.batches.dataset),
            "settings": dataclasses.asdict(self.config),
        }
        about |= {"source": self.source} if self.source else {}
        pixel_format, stepper = self.run.batches.dataset.pixel_format, self.run.stepper
        save_artifact(self.folder / name, model, stepper.mean, stepper.std, about, pixel_format)

    def _write_skipped(self) -> None:
        write_skipped(self.folder / LISTED, [*self.summary.skipped, *self.run.skipped.items()])
        if self.run.skipped:
            log(f"{len(self.run.skipped):,} images could not be read during the run: {self.folder / LISTED}")


def start_run(
    data: str,
    out: Path,
    config: Config,
    given: dict[str, Any],
    settle: Callable[[Summary], Config] | None = None,
    parallel: str = "auto",
) -> Launch:
    """A new run in `out`, planned and described; nothing is written before everything has been checked.

    `given` are the settings that the person gave, which weights to go on from (`--init`) may contradict and which must
    have an effect. `settle` gives the config once the images have been seen, where that decides.
    """
    on_rank_zero(lambda: check_new_folder(out, "go on with --resume, or give --out another name"))
    config, source = open_init(config, given) if config.init else (config, None)
    check_settings(config, given)
    choose_device(config.device)
    channels = source.encoder("context").in_chans if source else config.channels
    wanted = {"max_skipped": config.max_skipped, "channels": channels, "pages": config.pages}
    dataset, summary = prepare_images(data, config.workers, str(out / LISTED), **wanted)
    config = settle_compiler(on_rank_zero(lambda: resolve_precision(settle(summary) if settle else config)))
    check_ranks(config)
    check_settings(config, given)
    check_patches(data, summary, config.patch_size)
    kept = source and keeps_statistics(source, dataset.pixel_format)
    mean, std = (
        (source.mean, source.std) if kept else on_rank_zero(lambda: channel_statistics(dataset, seed=config.seed))
    )
    batches = build_batches(dataset, config)

    def build(steps: int) -> Stepper:
        model = build_continued(config, source) if source else None
        return build_stepper(config, steps, mean, std, model, parallel, batches)

    cost = measure_cost(build(1), batches, config.workers)
    steps = on_rank_zero(lambda: resolve_steps(config, len(dataset), cost.step_seconds))
    stepper = build(steps)
    log(*plan_lines(config, stepper, batches, cost), *(advice(config, source) if source else []))
    origin = {"name": config.init, "kind": source.kind, "licence": source.licence} if source else None
    stepper.frozen = config.init_freeze if source and not source.predictor else 0.0
    launch = assemble(out, stepper, batches, config, data, summary, origin)
    launch.describe(steps, {"source": origin, "networks": shapes_of(config, source)} if source else {})
    on_rank_zero(launch._write_skipped)
    return launch


def check_ranks(config: Config) -> None:
    if world_size() * config.accumulate > config.batch_size:
        raise UsageError(
            f"--batch-size {config.batch_size} is not enough for an image in each of --accumulate {config.accumulate} "
            f"parts of every process ({world_size()}): give a larger batch"
        )


def check_patches(data: str, summary: Summary, patch_size: int) -> None:
    if summary.smallest_side < patch_size:
        raise UsageError(
            f"{data} holds images of {summary.smallest_side} px a side, smaller than a patch: "
            f"give --patch-size {summary.smallest_side} or less, or leave these images out"
        )


def resolve_precision(config: Config) -> Config:
    """The config with "auto" settled, so that a run that is taken up again computes as before."""
    precision = choose_precision(config.precision, choose_device(config.device))
    return dataclasses.replace(config, precision=next(name for name, dtype in PRECISIONS.items() if dtype == precision))


def stored_run(out: Path) -> tuple[Config, dict[str, Any]]:
    if not (out / "config.json").is_file():
        raise UsageError(f"{out} holds no run to resume: leave out --resume to start one")
    return read_config(out / "config.json")


def resume_run(data: str, out: Path, config: Config, given: dict[str, Any], parallel: str = "auto") -> Launch:
    """The run in `out` from its newest sound checkpoint. Raises UsageError if it is another run or there is none."""
    stored, resolved = on_rank_zero(lambda: stored_run(out))
    for name, value in given.items():
        if value is not None and name not in MACHINE and getattr(config, name) != getattr(stored, name):
            theirs = shown(getattr(stored, name))
            raise UsageError(
                f"{out} was started with {option(name)} {theirs}, not {shown(value)}: leave it out to resume"
            )
    machine = {name: getattr(config, name) for name in MACHINE if given.get(name) is not None}
    config = settle_compiler(dataclasses.replace(stored, **machine))
    check_ranks(config)
    pixel_format = stored_pixel_format(resolved) or RGB
    dataset, summary = prepare_images(data, config.workers, str(out / LISTED), pixel_format, config.max_skipped)
    if len(dataset) != resolved["found"]["images"]:
        raise UsageError(f"{data} holds {len(dataset):,} images, the run in {out} had {resolved['found']['images']:,}")
    if fingerprint(dataset) != resolved["paths"]:
        raise UsageError(f"{data} holds other images than the run in {out} was started with: give it another --out")
    model = build_shapes(config, resolved["networks"]) if config.init else None
    batches = build_batches(dataset, config)
    how = resolved["steps"], resolved["mean"], resolved["std"], model, parallel, batches
    stepper = build_stepper(config, *how)
    stepper.frozen = resolved.get("frozen", 0.0)
    launch = assemble(out, stepper, batches, config, data, summary, resolved.get("source"))
    _load_newest_checkpoint(launch.run)
    return launch


def _load_newest_checkpoint(run: Run) -> None:
    if not on_rank_zero(lambda: checkpoint_steps(run.checkpoints)):
        log("no checkpoint yet: starting from step 0")
        return
    try:
        complaints = run.resume()
    except DamagedCheckpoint as error:
        raise UsageError(f"{error}: give --out another name to start again") from error
    log(*complaints, f"resuming after step {run.done:,} of {run.steps:,}")


def assemble(
    out: Path,
    stepper: Stepper,
    batches: Batches,
    config: Config,
    data: str,
    summary: Summary,
    source: dict | None = None,
) -> Launch:
    """The run with its monitor and, where labels exist, its probe; `source` is what it goes on from."""
    sample, _ = sample_images(batches.dataset, config.size, MONITORED, config.seed)
    images = standardise(sample.to(stepper.device), stepper.mean, stepper.std)
    monitor = Monitor(images, batches.masks, config.seed, stepper.precision)
    run = Run(out, stepper, batches, monitor, _probe(batches.dataset, stepper, config), config.workers)
    run.log_every, run.checkpoint_minutes = config.log_every, config.checkpoint_minutes
    run.keep_every, run.imported = config.keep_every, bool(source)
    run.max_skipped = int(config.max_skipped * len(batches.dataset))
    config = dataclasses.replace(config, ema_momentum=stepper.schedule.ema_momentum)
    return Launch(run, config, str(data), summary, source)


def _probe(dataset: ImageDataset, stepper: Stepper, config: Config) -> OnlineProbe | None:
    if not dataset.labels or len(dataset) < LEAST:
        return None

    def wrap(network) -> Encoder:
        how = stepper.device, stepper.precision, dataset.pixel_format
        return Encoder(network, stepper.mean, stepper.std, "probe", *how)

    pixels = pixels_beside(config.size, dataset.pixel_format, stepper.mean, stepper.std)
    return OnlineProbe(dataset, config.size, config.seed, wrap, pixels)
