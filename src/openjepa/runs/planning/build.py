"""A run from its settings and images: the stepper, the batches, and what measures it on the way."""

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openjepa.config import LENGTH, MACHINE, Config
from openjepa.console import log
from openjepa.data.batches import Batch, Batches
from openjepa.data.crops import standardise
from openjepa.data.dataset import ImageDataset, fingerprint
from openjepa.data.statistics import channel_statistics
from openjepa.data.views import small_size
from openjepa.device import choose_device, choose_precision, use_deterministic_algorithms
from openjepa.encoder.baselines import pixels_beside
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError
from openjepa.methods.base import Method
from openjepa.models.attention import Call, attention_by, attention_calls, attention_seconds, fastest
from openjepa.models.protocol import PatchEncoder
from openjepa.models.vit import SIZES
from openjepa.own import names_own
from openjepa.ranks import on_rank_zero, rank, world_size
from openjepa.runs.images import mask_settings
from openjepa.runs.planning.build_model import Networks, build_model, method_of
from openjepa.runs.planning.memory import check_memory
from openjepa.runs.planning.plan import resolve_steps, schedule_of
from openjepa.runs.planning.teacher import fresh_networks
from openjepa.runs.planning.unused_settings import why_no_graph
from openjepa.runs.planning.views import views_of
from openjepa.runs.planning.workers import first_workers, settled_workers
from openjepa.runs.settings import Segment
from openjepa.training.compile import checkpoint_activations, compile_blocks, no_compiler
from openjepa.training.distributed import is_sharded, parallelize
from openjepa.training.graphs import capture
from openjepa.training.loop import TrainingRun
from openjepa.training.monitoring.monitors import InParts, Monitor
from openjepa.training.monitoring.online_probe import LEAST, OnlineProbe, labelled, sample_images
from openjepa.training.monitoring_intervals import (
    MONITORED,
    Intervals,
    monitor_interval,
    monitored_images,
    probe_interval,
)
from openjepa.training.optimizer import loss_scaler, make_optimizer
from openjepa.training.step import Schedule, Stepper
from openjepa.training.timing import Cost, measure_cost, seconds_of


@dataclass(frozen=True)
class Blueprint:
    """Everything that a run consists of but its length, which a trial may have to decide."""

    config: Config
    mean: list[float]
    std: list[float]
    networks: Networks
    batches: Batches
    monitor: Monitor
    probe: OnlineProbe | None
    parallel: str = "auto"
    monitored: int = MONITORED

    def stepper(self, steps: int) -> Stepper:
        """A fresh stepper; on a GPU with the fastest kernel of attention, and its loss may be a CUDA graph.

        Call it while nothing is being loaded: a graph cannot be captured while another thread pins memory.
        """
        stepper = build_stepper(self.config, steps, self.mean, self.std, self.networks.build(), self.parallel)
        stepper = dataclasses.replace(stepper, frozen=self.networks.frozen)
        if stepper.device.type != "cuda":
            return stepper
        batch = self.batches[0]
        stepper = stepper if self.config.deterministic else with_attention(stepper, batch)
        return with_graph(stepper, batch) if self._can_capture(stepper) else stepper

    @property
    def first_workers(self) -> int:
        """Processes that read images, before anything is measured."""
        return first_workers(self.config, self.batches.dataset)

    def run(
        self, folder: Path, steps: int, segments: Sequence[Segment] = (), workers: int | None = None
    ) -> TrainingRun:
        """The run in `folder`, at its step 0; `segments` are those that follow the first, and end at `steps`.

        `workers` are those that a trial has settled on.
        """
        config, batch_size, images = self.config, self.config.batch_size, len(self.batches.dataset)
        stepper = self.stepper(segments[0].steps_before if segments else steps)
        stepper = dataclasses.replace(stepper, schedule=_extended(stepper.schedule, segments))
        return TrainingRun(
            folder,
            stepper,
            self.batches,
            self.monitor,
            Intervals(
                monitor_interval(steps, batch_size, self.monitored),
                probe_interval(steps, batch_size, self.monitored),
                config.log_every,
                config.keep_every,
                config.checkpoint_minutes,
            ),
            self.probe,
            self.first_workers if workers is None else workers,
            self.networks.imported,
            int(config.max_skipped * images),
            self._shaping(stepper.schedule),
            tuple((segment.from_step, _before(segment)) for segment in segments),
        )

    def _shaping(self, schedule: Schedule) -> dict[str, Any]:
        """What the weights of the run are a function of, by name, as JSON has it."""
        settings = {name: value for name, value in vars(self.config).items() if name not in (*MACHINE, *LENGTH)}
        dataset = self.batches.dataset
        found = {"mean": self.mean, "std": self.std, "images": fingerprint(dataset), "frozen": self.networks.frozen}
        resolved = {"steps": schedule.steps, "ema_momentum": schedule.ema_momentum}
        return json.loads(json.dumps(settings | found | resolved))

    def cost(self) -> Cost:
        """What a step costs, by a trial of a few; on a GPU and with --time also what monitors and probes cost.

        Its `workers` are those that the run should have.
        """
        stepper = self.stepper(1)
        cost = measure_cost(stepper, self.batches, self.first_workers)
        workers = settled_workers(self.config, self.batches, cost)
        if on_rank_zero(lambda: workers > cost.workers):  # else some processes would take steps alone
            cost = measure_cost(stepper, self.batches, workers)
        cost = dataclasses.replace(cost, monitored=self.monitored, workers=workers)
        if stepper.device.type != "cuda" and not self.config.time:
            return cost
        model, probe = stepper.model, self.probe
        monitor_seconds = seconds_of(lambda: self.monitor(model), stepper.device)
        probe_seconds = seconds_of(lambda: probe(model.encoder), stepper.device) if probe else 0.0
        return dataclasses.replace(cost, monitor_seconds=monitor_seconds, probe_seconds=probe_seconds)

    def _can_capture(self, stepper: Stepper) -> bool:
        """Whether a step can be a CUDA graph: in one process on a GPU, where the settings allow it."""
        one_on_gpu = stepper.device.type == "cuda" and world_size() == 1
        return self.config.cuda_graph and one_on_gpu and not why_no_graph(self.config)


def _extended(schedule: Schedule, segments: Sequence[Segment]) -> Schedule:
    """The schedule of a run with the lengths that its segments gave it."""
    for segment in segments:
        if segment.steps != schedule.steps:
            schedule = schedule.extended(segment.from_step, segment.steps)
    return schedule


def _before(segment: Segment) -> dict[str, Any]:
    """What of `_shaping` was otherwise before a segment."""
    images = {"images": segment.images.paths_before} if segment.images else {}
    return {"steps": segment.steps_before, **images}


def build_run(
    config: Config,
    dataset: ImageDataset,
    folder: Path = Path(),
    steps: int | None = None,
    statistics: tuple[list[float], list[float]] | None = None,
) -> TrainingRun:
    """The run of a config on images, at its step 0; nothing is written before it is trained.

    `steps` is its length (config.steps or its epochs), `statistics` are mean and std of the channels (those of the
    images). Raises UsageError without a length, and where the masks do not fit the grid.
    """
    mean, std = statistics or channel_statistics(dataset, seed=config.seed)
    length = steps or resolve_steps(config, len(dataset))
    return draft(config, dataset, mean, std).run(folder, length)


def draft(
    config: Config,
    dataset: ImageDataset,
    mean: list[float],
    std: list[float],
    networks: Networks | None = None,
    parallel: str = "auto",
    monitored: int | None = None,
    probed: ImageDataset | None = None,
) -> Blueprint:
    """The parts of a run; its networks are fresh unless others are given. UsageError if they need too much memory.

    `monitored`: images that the monitors see, at most; without it by the width of the encoder. `probed`: those of the
    online probe, without it those of the run.
    """
    networks = networks or fresh_networks(config, mean, std, dataset.pixel_format)
    check_memory(config, len(mean), held=networks.teacher.bytes if networks.teacher else 0)
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    batches = build_batches(dataset, config)
    wanted = monitored or monitored_images(networks.width or SIZES[config.model][0])
    sample, shown = sample_images(dataset, config.frame, wanted, config.seed)

    def prepared(images: Tensor) -> Tensor:
        return standardise(images.to(device), mean, std)

    more = InParts(sample[MONITORED:], prepared)
    pairs = prepared(batches.pairs(shown[:MONITORED])[:2]) if batches.views > 1 else None
    monitor = Monitor(prepared(sample[:MONITORED]), batches.masks, config.seed, precision, more, pairs)
    probe = build_probe(config, dataset if probed is None else probed, mean, std)
    return Blueprint(config, mean, std, networks, batches, monitor, probe, parallel, len(sample))


def build_batches(dataset: ImageDataset, config: Config) -> Batches:
    """This process's part of every batch. Raises UsageError if masks or views do not fit the grid or the images."""
    views = views_of(config, dataset.pixel_format)
    return Batches(
        dataset,
        mask_settings(config),
        config.size,
        config.crop_scale,
        config.batch_size,
        config.seed,
        rank(),
        world_size(),
        config.any_orientation,
        config.horizontal_flip,
        method_of(config).views,
        views.small,
        small_size(config.size, config.patch_size),
        views.photometric,
    )


def build_stepper(
    config: Config,
    steps: int,
    mean: list[float],
    std: list[float],
    model: Method | None = None,
    parallel: str = "auto",
) -> Stepper:
    """The networks (fresh ones unless given), on their device, with the optimizer of a config."""
    if config.deterministic:
        use_deterministic_algorithms()
    device = choose_device(config.device)
    model = (model or build_model(config, len(mean))).to(device)
    if config.compile:
        compile_blocks(model)
    if config.checkpoint_activations:
        checkpoint_activations(model)
    forward = parallelize(model, parallel) if world_size() > 1 else None
    precision = choose_precision(config.precision, device)
    if precision == torch.float16 and is_sharded(model):
        raise UsageError("--precision float16 cannot be sharded: give bf16 or float32, or --parallel ddp")
    return Stepper(
        model,
        make_optimizer(model.learning_modules(), config.optimizer, precision=precision),
        schedule_of(config, steps),
        mean,
        std,
        device,
        precision,
        config.clip_grad,
        accumulate=config.accumulate,
        forward=forward,
        scaler=loss_scaler(precision, device),
        seed=config.seed if names_own(config.method) or names_own(config.model) else None,
    )


def with_graph(stepper: Stepper, batch: Batch) -> Stepper:
    """The stepper with its loss and gradients as a CUDA graph, for batches of the shapes of this one."""
    with attention_by(stepper.attention):
        forward = capture(stepper.model, stepper.prepare(batch), stepper.precision)
    return dataclasses.replace(stepper, forward=forward)


def with_attention(stepper: Stepper, batch: Batch) -> Stepper:
    """The stepper with the kernel of attention that is fastest for a batch; PyTorch's choice where weights are sharded.

    All processes of a run must call it.
    """
    if is_sharded(stepper.model):
        return stepper
    calls = calls_in_step(stepper, batch)

    def chosen() -> str | None:
        timed = partial(seconds_of, device=stepper.device)
        return fastest(attention_seconds(calls, stepper.device, timed)) if calls else None

    return dataclasses.replace(stepper, attention=on_rank_zero(chosen))


def calls_in_step(stepper: Stepper, batch: Batch) -> Counter[Call]:
    """The attention that computing the loss of a batch takes, by a pass in evaluation mode, which changes nothing."""
    inputs, model = stepper.prepare(batch.split(stepper.accumulate)[0]), stepper.model
    model.eval()
    with stepper.autocast():
        calls = attention_calls(lambda: model(inputs))
    model.train()
    return calls


def build_probe(config: Config, dataset: ImageDataset, mean: list[float], std: list[float]) -> OnlineProbe | None:
    """The online probe, where there are labels and enough images."""
    if not dataset.labels or len(labelled(dataset)) < LEAST:
        return None
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)

    def wrap(network: PatchEncoder) -> Encoder:
        return Encoder(network, mean, std, "probe", device, precision, dataset.pixel_format, config.max_stretch)

    pixels = pixels_beside(dataset.pixel_format, mean, std)
    return OnlineProbe(dataset, config.frame, config.seed, wrap, pixels)


def settle_compiler(config: Config) -> Config:
    """The config without --compile where there is no compiler, with a message."""
    reason = no_compiler(choose_device(config.device)) if config.compile else ""
    if reason:
        log(f"running without --compile: {reason}")
    return dataclasses.replace(config, compile=config.compile and not reason)
