"""The parts of a run that follow from its config: what a step changes, and this process's share of the batches."""

import dataclasses

import torch

from openjepa.config import Config
from openjepa.console import log
from openjepa.data.batches import Batches
from openjepa.data.dataset import ImageDataset
from openjepa.device import choose_device, choose_precision
from openjepa.masking.samplers import STRATEGIES
from openjepa.methods.base import Method
from openjepa.runs.build_model import build_model
from openjepa.runs.images import mask_settings
from openjepa.training.compile import checkpoint_activations, compile_blocks, no_compiler
from openjepa.training.distributed import parallelize, rank, world_size
from openjepa.training.graphs import capture
from openjepa.training.optimizer import make_optimizer
from openjepa.training.schedules import ema_range
from openjepa.training.step import Schedule, Stepper


def settle_compiler(config: Config) -> Config:
    """The config without --compile where there is no compiler, which is said."""
    reason = no_compiler(choose_device(config.device)) if config.compile else ""
    if reason:
        log(f"running without --compile: {reason}")
    return dataclasses.replace(config, compile=config.compile and not reason)


def build_batches(dataset: ImageDataset, config: Config) -> Batches:
    """This process's part of every batch."""
    masks = mask_settings(config)
    settings = (config.size, config.crop_scale, config.batch_size, config.seed)
    return Batches(dataset, masks, *settings, rank(), world_size(), config.any_orientation, config.horizontal_flip)


def build_stepper(
    config: Config,
    steps: int,
    mean: list[float],
    std: list[float],
    model: Method | None = None,
    parallel: str = "auto",
    batches: Batches | None = None,
) -> Stepper:
    """The networks and optimizer of a config. With the run's `batches` a GPU can run its step as a CUDA graph.

    Call it while nothing is being loaded: a graph cannot be captured beside a thread that pins memory.
    """
    device = choose_device(config.device)
    model = (model or build_model(config, len(mean))).to(device)
    if config.compile:
        compile_blocks(model)
    if config.checkpoint_activations:
        checkpoint_activations(model)
    forward = parallelize(model, parallel) if world_size() > 1 else None
    precision = choose_precision(config.precision, device)
    optimizer = make_optimizer([model.context_encoder, model.predictor], config.optimizer, precision=precision)
    stepper = Stepper(model, optimizer, schedule_of(config, steps), mean, std, device, precision, config.clip_grad)
    stepper.accumulate, stepper.forward = config.accumulate, forward
    if batches and config.cuda_graph and can_capture(config, device):
        stepper.forward = capture(model, stepper.prepare(batches[0]), precision)
    return stepper


def can_capture(config: Config, device: torch.device) -> bool:
    """Whether every step has the same shapes and parameters that learn, in one process on a GPU."""
    same_shapes = STRATEGIES[mask_settings(config).strategy].same_shapes
    return device.type == "cuda" and same_shapes and world_size() == 1 and config.accumulate == 1 and not config.init


def schedule_of(config: Config, steps: int) -> Schedule:
    names = ("lr", "warmup", "lr_start", "lr_end", "weight_decay")
    momentum = config.ema_momentum or ema_range(steps)
    return Schedule(steps, **{name: getattr(config, name) for name in names}, ema_momentum=momentum)
