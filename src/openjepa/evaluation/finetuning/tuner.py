"""The whole encoder and a linear head trained on labels, deeper layers faster than early ones: one step at a time."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from openjepa.data.batches import Batch
from openjepa.data.dataset import ImageDataset
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import frame_of, read_by, stream_features
from openjepa.evaluation.finetuning.layers import blocks_of, layers_of
from openjepa.evaluation.finetuning.objective import Objective
from openjepa.rng import MIXUP, generator

HELD = 6 * 2**30  # bytes of activations at a time; larger batches are split, with the same update
KEPT = 17  # numbers for each token and unit of width that a block keeps for its gradient: 9 in the MLP, 8 before it
CLIP = 3.0


@dataclass(frozen=True)
class TuningPlan:
    """How to train.

    lr           peak learning rate of the head, of AdamW
    layer_decay  times which the rate is smaller for each block further down, in (0, 1]
    warmup       fraction of the steps with a rising rate, before a cosine to 0
    mixup        alpha of the Beta distribution of mixup (Zhang et al. 2018, arXiv 1710.09412); 0: none
    freeze       patch embedding and first blocks that do not train: 0 for none, n for the embedding and n blocks
    """

    steps: int
    lr: float = 1e-3
    weight_decay: float = 0.05
    layer_decay: float = 0.75
    warmup: float = 0.1
    mixup: float = 0.0
    freeze: int = 0
    seed: int = 0

    def factor(self, step: int) -> float:
        """By which the peak rates are multiplied in a step from 0: linear warm-up, then a cosine to 0."""
        rise = max(1, round(self.warmup * self.steps))
        if step < rise:
            return 1 / rise + (1 - 1 / rise) * step / rise
        return (1 + math.cos(math.pi * (step - rise) / max(1, self.steps - rise))) / 2


class Tuner:
    """A copy of an encoder with a head on its embedding; the encoder itself does not change.

    The head starts at zero. A step is a function of the state, the batch and the step's number.
    """

    def __init__(self, encoder: Encoder, objective: Objective, plan: TuningPlan) -> None:
        self.objective, self.plan = objective, plan
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)
            self.head = nn.Linear(width_of(encoder), objective.outputs).to(encoder.device)
        nn.init.zeros_(self.head.weight)
        self.encoder = copy.deepcopy(encoder)
        groups = parameter_groups(self.network, self.head, plan)
        self.optimizer = torch.optim.AdamW(groups, weight_decay=plan.weight_decay)
        self.scaler = torch.amp.GradScaler(encoder.device.type, enabled=encoder.precision == torch.float16)
        self.fits = images_that_fit(encoder)

    @property
    def network(self) -> nn.Module:
        network: Any = self.encoder.network
        return network

    def step(self, step: int, batch: Batch, targets: Tensor) -> Tensor:
        """One update with targets as `Objective.loss` has them; returns the mean loss, a scalar on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * self.plan.factor(step)
        self.optimizer.zero_grad()
        count, share = len(batch.indices), self._share(step)
        losses = [self._backward(part, share, count) for part in self._parts(batch.images, targets)]
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_([p for group in self.optimizer.param_groups for p in group["params"]], CLIP)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return torch.stack(losses).sum() / count

    def _share(self, step: int) -> float:
        """The share of each image in a mixed one; 1 where nothing is mixed."""
        alpha = self.plan.mixup
        return float(generator(self.plan.seed, MIXUP, step).beta(alpha, alpha)) if alpha else 1.0

    def _parts(self, images: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Parts that fit: images, targets, and the images and targets to mix them with, from the end of the batch."""
        targets = targets.to(self.encoder.device)
        parts = (images, targets, images.flip(0), targets.flip(0))
        return zip(*(part.split(self.fits) for part in parts), strict=True)

    def _backward(self, part: tuple[Tensor, ...], share: float, count: int) -> Tensor:
        """Add the gradients of a part of `count` images; returns the sum of its losses."""
        images, targets, others, other_targets = part
        pixels = self.encoder.standardised(images)
        if share < 1:
            pixels = share * pixels + (1 - share) * self.encoder.standardised(others)
        with self.encoder.arithmetic():
            outputs = self.head(self.encoder.embedding(pixels))
        loss = self.objective.loss(outputs.float(), targets)
        if share < 1:
            loss = share * loss + (1 - share) * self.objective.loss(outputs.float(), other_targets)
        self.scaler.scale(loss / count).backward()
        return loss.detach()

    @torch.inference_mode()
    def outputs(self, images: Tensor) -> Tensor:
        """Preprocessed images [B, C, H, W] to outputs [B, K] float32 on the CPU, numbers in their own units."""
        weight, bias = self.objective.head(self.head.weight, self.head.bias)
        with self.encoder.arithmetic():
            pooled = self.encoder.embedding(self.encoder.standardised(images))
            return nn.functional.linear(pooled, weight, bias).float().cpu()

    def all_outputs(self, dataset: ImageDataset, workers: int) -> tuple[Tensor, list[int]]:
        """Outputs [n, K] of the readable images, and their indices."""
        stream = stream_features(self.outputs, frame_of(self.encoder), read_by(self.encoder, dataset), workers)
        chunks = [(outputs, kept) for outputs, kept, _ in stream if kept]
        return torch.cat([outputs for outputs, _ in chunks]), [index for _, kept in chunks for index in kept]


def parameter_groups(network: nn.Module, head: nn.Linear, plan: TuningPlan) -> list[dict]:
    """The parameters that train, by layer, each group with its peak rate.

    That of the head and of what follows the blocks is `plan.lr`, that of each block further down `plan.layer_decay`
    times the one above, that of what precedes them again so much lower (Clark et al. 2020, arXiv 2003.10555; He et al.
    2022, arXiv 2111.06377, appendix A.1).
    """
    *layers, last = layers_of(network)
    frozen = plan.freeze + 1 if plan.freeze else 0
    network.requires_grad_(True)
    groups = []
    for depth, parameters in enumerate(layers):
        rate = plan.lr * plan.layer_decay ** (len(layers) - depth)
        if depth >= frozen:
            groups.append({"params": parameters, "lr": rate, "peak": rate})
        else:
            for parameter in parameters:
                parameter.requires_grad_(False)
    return [*groups, {"params": [*last, *head.parameters()], "lr": plan.lr, "peak": plan.lr}]


def width_of(encoder: Encoder) -> int:
    """The numbers of an embedding."""
    with torch.no_grad(), encoder.arithmetic():
        pixels = torch.zeros(1, encoder.network.in_chans, *encoder.image_size, device=encoder.device)
        return encoder.embedding(pixels).shape[1]


def images_that_fit(encoder: Encoder) -> int:
    """The number of images whose activations fit `HELD` bytes, at least one."""
    network: Any = encoder.network
    tokens = network.grid_size[0] * network.grid_size[1]
    return max(1, HELD // (4 * KEPT * len(blocks_of(network)) * tokens * network.embed_dim))
