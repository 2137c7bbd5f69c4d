"""Start a run: data, networks, plan, training, artifact."""

import copy
import dataclasses
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openjepa._version import __version__
from openjepa.config import MACHINE, Config
from openjepa.console import TrainingDisplay, log
from openjepa.data.dataset import ImageDataset, fingerprint
from openjepa.data.open import DataSource
from openjepa.data.shard_folders import shard_lines
from openjepa.data.statistics import channel_statistics
from openjepa.data.summary import Summary
from openjepa.errors import UsageError
from openjepa.files import usage_error
from openjepa.files.temporary import remove_leftovers
from openjepa.interop.artifact import save_artifact
from openjepa.interop.foreign.artifact import save_foreign
from openjepa.interop.foreign.own_artifact import save_own
from openjepa.interop.foreign.patch_encoder import ForeignPatchEncoder
from openjepa.interop.loaded_weights import Source
from openjepa.interop.weights.shapes import StoredTeacher
from openjepa.methods.base import Method
from openjepa.models.protocol import has_statistics
from openjepa.own import names_own
from openjepa.runs.command_line import option_words, typed_command
from openjepa.runs.images import IGNORE_SHARDS, LISTED, check_new_folder, leave_out_small, prepare_images, write_skipped
from openjepa.runs.planning.build import Blueprint, draft, settle_compiler
from openjepa.runs.planning.foreign_weights import open_foreign_init
from openjepa.runs.planning.initial_weights import (
    advice,
    continued_networks,
    keeps_statistics,
    open_init,
    shapes_of,
)
from openjepa.runs.planning.memory import check_memory, enough_memory
from openjepa.runs.planning.own_classes import OwnModel, describe_method
from openjepa.runs.planning.plan import plan_lines, resolve_steps
from openjepa.runs.planning.teacher import check_teacher, open_teacher, taught
from openjepa.runs.planning.unused_settings import check_settings
from openjepa.runs.planning.views import check_batch
from openjepa.runs.probe_images import open_probe, stored_probe
from openjepa.runs.resuming.image_names import write_names
from openjepa.runs.settings import CONFIG, resolve_precision, save_config
from openjepa.training.callbacks import CallbackFailed, Callbacks
from openjepa.training.checkpoint import DamagedCheckpoint, checkpoint_path, load_checkpoint
from openjepa.training.distributed import check_alike, on_rank_zero, world_size
from openjepa.training.loop import Interrupted, TooManySkipped, TrainingRun
from openjepa.training.state import whole_model
from openjepa.training.timing import peak_memory
from openjepa.waited import waited


@dataclass(frozen=True)
class StartedRun:
    """A run in its folder, with what config.json and the artifacts record of it.

    `config` has the EMA momentum that the length resolved; `source` is what --init names, with its kind and licence.
    """

    run: TrainingRun
    blueprint: Blueprint
    config: Config
    data: DataSource
    summary: Summary
    source: dict[str, Any] | None = None

    @property
    def teacher(self) -> StoredTeacher | None:
        """The frozen target encoder, where there is one."""
        teacher = self.blueprint.networks.teacher
        return teacher.record if teacher else None

    @property
    def folder(self) -> Path:
        return self.run.folder

    def describe(self, about: Mapping[str, Any] = {}, origin: Mapping[str, Any] = {}) -> None:
        """Write config.json: the settings, `about` the run, and what was resolved from data and machine.

        `origin` is what --resume needs to know about the --init weights.
        """
        dataset, stepper = self.run.batches.dataset, self.run.stepper
        resolved = {
            "steps": self.run.steps,
            "mean": stepper.mean,
            "std": stepper.std,
            "pixel_format": dataclasses.asdict(dataset.pixel_format),
            "data": str(self.data),
            "found": dataclasses.asdict(self.summary),
            "paths": fingerprint(dataset),
            "command": typed_command(),
            "openjepa_version": __version__,
            "segments": [],
            "monitored": self.blueprint.monitored,
            **about,
        }
        resolved |= {} if isinstance(self.data, str) else {"from_python": True}
        resolved |= {"teacher": self.teacher.model_dump()} if self.teacher else {}
        resolved |= {**describe_method(self.config), **self.blueprint.networks.about}
        resolved |= {"frozen": stepper.frozen, **origin} if origin else {}
        on_rank_zero(lambda: self._save_config(resolved))

    def _save_config(self, resolved: dict[str, Any]) -> None:
        with usage_error(self.folder):
            write_names(self.folder, self.run.batches.dataset)
            save_config(self.folder / CONFIG, self.config, resolved)

    def train(self, again: str, callbacks: Callbacks | None = None) -> bool:
        """Take all remaining steps with a progress display; `again` is the command that Ctrl-C prints to resume.

        Returns whether the run is finished: a callback may have stopped it.
        """
        display = TrainingDisplay(self.run.steps, self.run.done, self.config.batch_size)
        device = self.run.stepper.device
        try:
            with display, enough_memory(self.config):
                self.run.train(lambda record: display(record | {"memory": peak_memory(device)}), callbacks)
        except (Interrupted, CallbackFailed) as stopped:
            log(f"{stopped}. Continue with: {again}")
            raise
        except TooManySkipped:
            self.write_skipped()
            raise
        if stopped_by := self.run.stopped_by:
            log(f"stopped by {stopped_by}, after step {self.run.done:,} of {self.run.steps:,}. Continue with: {again}")
        return not stopped_by

    def finish(self) -> None:
        """Write the artifact of the last step, and those of the best by each monitor under their own names."""
        model = whole_model(self.run.stepper.model, self.blueprint.networks.build)
        try:
            on_rank_zero(lambda: self._write_encoders(model) if model else None)
        except OSError as error:
            raise UsageError(f"cannot write {self.folder}: {error}; make room, then continue with --resume") from error

    def _write_encoders(self, model: Method) -> None:
        self.write_skipped()
        self.export("encoder", model, self.run.done)
        for monitor, (value, step) in self.run.best.items():
            if step != self.run.done:
                self._export_best(model, monitor, value, step)
        own = f"; openjepa.load_encoder(path, model=...) opens it, given a {type(model.encoder).__name__}"
        needed = names_own(self.config.model) and not isinstance(model.encoder, ForeignPatchEncoder)
        log(f"encoder: {self.folder / 'encoder'}{own * needed}")

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
        dataset, stepper = self.run.batches.dataset, self.run.stepper
        about = {
            "openjepa_version": __version__,
            "step": step,
            "chosen_by": chosen_by,
            "saw_labels": chosen_by is not None and chosen_by["monitor"] == "knn",
            "data": str(self.data),
            "images": len(dataset),
            "settings": dataclasses.asdict(self.config),
        }
        about |= {"source": self.source} if self.source else {}
        about |= {"teacher": self.teacher.about} if self.teacher else {}
        how = dataset.pixel_format, self.config.max_stretch
        if isinstance(model.encoder, ForeignPatchEncoder):
            licence = self.source["licence"] if self.source else None
            source = model.encoder.as_source(stepper.mean, stepper.std, self.config.frame, licence, how[0])
            save_foreign(self.folder / name, model.parts(), source, about)
            return
        if names_own(self.config.model):
            about |= self.blueprint.networks.about
            save_own(self.folder / name, model.encoder, stepper.mean, stepper.std, about, *how)
            return
        save_artifact(self.folder / name, model, stepper.mean, stepper.std, about, *how)

    def write_skipped(self) -> None:
        """List the images that could not be used, if there are any."""
        write_skipped(self.folder / LISTED, [*self.summary.skipped, *self.run.skipped.items()])
        if self.run.skipped:
            log(f"{len(self.run.skipped):,} images could not be read during the run: {self.folder / LISTED}")


def start_run(
    data: DataSource,
    out: Path,
    config: Config,
    given: dict[str, Any],
    settle: Callable[[Summary], Config] | None = None,
    parallel: str = "auto",
    recipe: str | None = None,
    probe: DataSource | None = None,
    model: OwnModel | None = None,
) -> StartedRun:
    """A new run in `out`, planned and described; nothing is written before everything has been checked.

    `given` are the settings that the user gave: each must have an effect, and --init may not contradict it. `settle`
    makes the config once the images are known, where they decide. `recipe` is the one that the user named. `probe` are
    labelled images for the probes, where they are not those of the run, `model` the network where a program gave it.
    """
    begun = time.monotonic()
    check_same_command(given, parallel, recipe)
    on_rank_zero(lambda: check_new_folder(out, "continue it with --resume, or give --out another name"))
    on_rank_zero(lambda: remove_leftovers(out))
    check_teacher(config)
    config, foreign = open_foreign_init(config, given)
    config, source = open_init(config, given) if config.init and not foreign else (config, None)
    check_settings(config, given)
    check_memory(config, config.channels or 1)
    teacher = open_teacher(config) if config.teacher else None
    channels = source.encoder("context").in_chans if source else foreign.network.in_chans if foreign else None
    patch_size = given.get("patch_size") or (0 if settle else config.patch_size)  # unknown before the images are
    dataset, summary = _open_images(data, out, config, channels or config.channels, patch_size)
    log(*shard_lines(summary.classes, IGNORE_SHARDS))
    check_same_images(dataset)
    config = settle_compiler(on_rank_zero(lambda: resolve_precision(settle(summary) if settle else config)))
    check_ranks(config)
    check_settings(config, given)
    dataset, summary = leave_out_small(dataset, summary, config.patch_size, config.max_skipped)
    weights = foreign or model
    mean, std = _statistics(dataset, config, source, weights.network if weights else None)
    networks = continued_networks(config, source) if source else weights.networks(config) if weights else None
    if teacher:
        networks = taught(config, teacher, mean, std, dataset.pixel_format)
    probed = open_probe(probe, config, dataset.pixel_format)
    blueprint = draft(config, dataset, mean, std, networks, parallel, probed=probed)
    with enough_memory(config):
        cost = blueprint.cost()
    steps = on_rank_zero(lambda: resolve_steps(config, len(dataset), cost))
    run = blueprint.run(out, steps, workers=cost.workers)
    log(*plan_lines(config, run.stepper, run.batches, cost, summary.sizes, waited(begun)))
    log(*(advice(config, bool(source and source.predictor)) if config.init else []))
    log(*([networks.teacher.in_words()] if networks and networks.teacher else []))
    named = foreign.origin.model_dump() if foreign else _named(config, source)
    started = as_started(run, blueprint, data, summary, named)
    origin = {"source": named} | ({"networks": shapes_of(config, source)} if source else {}) if named else {}
    used = stored_probe(probe, probed)
    started.describe({"recipe": recipe, "probe": used.model_dump() if used else None}, origin)
    on_rank_zero(started.write_skipped)
    return started


def _open_images(
    data: DataSource, out: Path, config: Config, channels: int | None, patch_size: int
) -> tuple[ImageDataset, Summary]:
    return prepare_images(
        data,
        config.readers,
        str(out / LISTED),
        max_skipped=config.max_skipped,
        patch_size=patch_size,
        labels=config.labels,
        channels=channels,
        pages=config.pages,
    )


def _statistics(
    dataset: ImageDataset, config: Config, source: Source | None, network: object
) -> tuple[list[float], list[float]]:
    """Mean and std of each channel: those of the weights where the units are the same, else of the images."""
    if source and keeps_statistics(source, dataset.pixel_format):
        return source.mean, source.std
    if has_statistics(network) and dataset.pixel_format.values != "raw":
        return list(network.mean), list(network.std)
    return on_rank_zero(lambda: channel_statistics(dataset, seed=config.seed))


def _named(config: Config, source: Source | None) -> dict[str, Any] | None:
    return {"name": config.init, "kind": source.kind, "licence": source.licence} if source else None


def check_ranks(config: Config) -> None:
    check_batch(config)
    if world_size() * config.accumulate > config.batch_size:
        raise UsageError(
            f"--batch-size {config.batch_size} is not enough for an image in each of --accumulate {config.accumulate} "
            f"parts of every process ({world_size()}): give a larger batch"
        )


def check_same_command(given: Mapping[str, Any], parallel: str, recipe: str | None) -> None:
    """Raise UsageError where the processes of a run were started with settings that differ."""
    settings = {name: value for name, value in given.items() if value is not None and name not in MACHINE}
    words = shlex.join(option_words(settings | {"parallel": parallel} | ({"recipe": recipe} if recipe else {})))
    check_alike("options", words, "start all processes with the same command")


def check_same_images(dataset: ImageDataset) -> None:
    """Raise UsageError where the processes of a run see other images."""
    check_alike("images", f"{len(dataset):,} images", "give every process the same DATA")
    check_alike("names of images", fingerprint(dataset)[:16], "give every process the same DATA")


def as_started(
    run: TrainingRun, blueprint: Blueprint, data: DataSource, summary: Summary, source: dict[str, Any] | None = None
) -> StartedRun:
    config = dataclasses.replace(blueprint.config, ema_momentum=run.stepper.schedule.ema_momentum)
    return StartedRun(run, blueprint, config, data, summary, source)
