"""A lower bound on the memory that a run takes, against what the machine has: what cannot fit is refused at once."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from openjepa.config import Config
from openjepa.data.views import small_size
from openjepa.device import choose_device, memory_of
from openjepa.errors import UsageError
from openjepa.models.vit import SIZES
from openjepa.own import names_own
from openjepa.ranks import world_size
from openjepa.runs.images import mask_settings
from openjepa.runs.planning.build_model import method_of
from openjepa.runs.planning.views import views_of

LEARNED, FOLLOWED = 12, 4  # bytes of a weight that learns, with its gradient and a moment, and of a target encoder's
# For each number of a token a block keeps so many for the backward pass: the input, the outputs of both norms, queries,
# keys and values, the output of attention, the sum after it, and four each before and after the activation. Compiled
# code may compute norms and activations again. PROGRAM is what the libraries take, which counts on a CPU.
KEPT, KEPT_COMPILED, PROGRAM = 14, 10, 2**29


def check_memory(config: Config, channels: int, shapes: Mapping[str, Any] | None = None, held: float = 0) -> None:
    """Raise UsageError if a run takes more memory than the machine has, whatever else runs on it.

    channels   of the images
    shapes     of the networks, `encoder` and `predictor` as their arguments, where they are not the config's
    held       bytes of other weights, as of a teacher
    """
    if names_own(config.model):  # whose size is not known by name
        return
    device = choose_device(config.device)
    weights, image = weight_bytes(config, channels, shapes) / world_size() + held, image_bytes(config, channels)
    network = network_bytes(config, channels) / config.accumulate
    pools = {device: (weights, network / world_size()), torch.device("cpu"): (0.0, image / world_size())}
    if device.type == "cpu":
        pools = {device: (weights + PROGRAM, (image + network) / world_size())}
    for place, (fixed, each) in pools.items():
        has = memory_of(place)
        if fixed + config.batch_size * each > has:
            raise UsageError(_too_much(config, fixed, each, has, place))


def _too_much(config: Config, fixed: float, each: float, has: int, place: torch.device) -> str:
    most, needs = int(max(0, has - fixed) / each), in_words(fixed + config.batch_size * each)
    whose = "this machine" if place.type == "cpu" else str(place)
    if most < 1:
        return (
            f"an image of --image-size {config.image_size} and these networks take {in_words(fixed + each)} of memory "
            f"or more, and {whose} has {in_words(has)}: choose a smaller --model, --predictor-dim, --predictor-depth, "
            "--masks-per-image or --image-size"
        )
    return (
        f"--batch-size {config.batch_size} takes {needs} of memory or more, and {whose} has {in_words(has)}: give "
        f"{most} or less"
    )


def weight_bytes(config: Config, channels: int, shapes: Mapping[str, Any] | None = None) -> float:
    """Bytes of the weights, with what the optimizer keeps of them."""
    width, depth, _, ratio = SIZES[config.model]
    predictor_dim, predictor_depth, predictor_ratio = config.predictor_dim, config.predictor_depth, 4.0
    if shapes:
        width, depth, ratio = (shapes["encoder"][name] for name in ("embed_dim", "depth", "mlp_ratio"))
        predictor_dim, predictor_depth, predictor_ratio = (
            shapes["predictor"][name] for name in ("dim", "depth", "mlp_ratio")
        )
    encoder = depth * (4 + 2 * ratio) * width**2 + width * channels * config.patch_size**2
    predictor = predictor_depth * (4 + 2 * predictor_ratio) * predictor_dim**2 if method_of(config).needs_masks else 0
    return (LEARNED + FOLLOWED) * encoder + LEARNED * predictor


def image_bytes(config: Config, channels: int) -> float:
    """Bytes of an image in the batches in memory, with its masks while they are drawn, before it is on the device.

    There is the batch of the step, and one for each worker.
    """
    patches = config.grid_size[0] * config.grid_size[1]
    drawn = 8 * patches * config.masks_per_image if mask_settings(config) else 0
    return (1 + (config.workers or 0)) * channels * _pixels(config) + drawn


def _pixels(config: Config) -> int:
    """Pixels of all views of an image."""
    small = math.prod(small_size(config.size, config.patch_size)) * views_of(config).small
    return method_of(config).views * math.prod(config.size) + small


def network_bytes(config: Config, channels: int) -> float:
    """Bytes of an image as the networks take it, float32, and of what they keep of it until its gradients are known."""
    compiled = config.compile or choose_device(config.device).type != "cpu"
    number = 4 if config.precision == "float32" else 2
    kept = number * (KEPT_COMPILED if compiled else KEPT)
    return 4 * channels * _pixels(config) + kept * _numbers(config)


def _numbers(config: Config) -> float:
    """Numbers of the tokens of an image that go through blocks with gradients, in all blocks together."""
    width, depth, *_ = SIZES[config.model]
    masks = mask_settings(config)
    if config.checkpoint_activations:
        depth = 1
    if masks is None:
        return _pixels(config) // config.patch_size**2 * width * depth
    context = masks.context_length * masks.masks_per_image
    predictor_depth = 1 if config.checkpoint_activations else config.predictor_depth
    sequences = context
    if masks.strategy == "multiblock":  # the predictor is given the context once, or again with each target
        times = 1 if config.target_sequences == "joint" else masks.num_targets
        targets = masks.num_targets * int(masks.target_scale[0] * masks.num_patches)
        sequences = masks.masks_per_image * (times * masks.context_length + targets)
    return context * width * depth + sequences * config.predictor_dim * predictor_depth


def in_words(size: float) -> str:
    """Bytes as GiB or, from 1,024 of those on, TiB."""
    return f"{size / 2**40:,.0f} TiB" if size >= 2**40 else f"{size / 2**30:,.1f} GiB"


@contextlib.contextmanager
def enough_memory(config: Config) -> Iterator[None]:
    """Turn an allocation that fails into UsageError."""
    with allocating(_out_of_memory(config)):
        yield


@contextlib.contextmanager
def allocating(message: str) -> Iterator[None]:
    """Turn an allocation that fails into UsageError with a message."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise UsageError(message) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise UsageError(message) from error


def _out_of_memory(config: Config) -> str:
    return (
        f"there is not enough memory for --batch-size {config.batch_size}: give a smaller one, or compute it in parts "
        f"with --accumulate {2 * config.accumulate}"
    )
