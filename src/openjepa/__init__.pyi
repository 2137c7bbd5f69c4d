"""Generated from the commands and the settings by tests/support/stub.py."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from pyarrow import Table
from torch import nn

from openjepa._version import __version__ as __version__
from openjepa.commands.pretrain import Run as Run
from openjepa.commands.pretrain import open_run as open_run
from openjepa.data.open import Given as Given
from openjepa.data.sources.objects import as_dataset as as_dataset
from openjepa.encoder.encoder import Encoder as Encoder
from openjepa.encoder.encoder import Transform as Transform
from openjepa.errors import UsageError as UsageError
from openjepa.indexing.index import Index as Index
from openjepa.indexing.index import open_index as open_index
from openjepa.interop.foreign.trainable import open_trainable as open_trainable
from openjepa.interop.load import load_encoder as load_encoder
from openjepa.methods.base import Method as Method
from openjepa.models.protocol import PatchEncoder as PatchEncoder
from openjepa.training.callbacks import Callback as Callback
from openjepa.training.callbacks import CallbackFailed as CallbackFailed
from openjepa.training.callbacks import StopTraining as StopTraining

StrPath = str | os.PathLike[str]

class TrainingSettings(TypedDict, total=False):
    time: str | float | None
    epochs: float | None
    steps: int | None
    method: str | type[Method]
    init: StrPath | None
    init_freeze: float
    teacher: str | None
    model: str | nn.Module
    image_size: str | int | tuple[int, int]
    patch_size: int
    max_stretch: float
    channels: int | None
    pages: str
    weight_init: str
    predictor_dim: int
    predictor_depth: int
    predictor_heads: int
    masks: str | None
    num_targets: int | None
    target_scale: tuple[float, float] | None
    target_aspect_ratio: tuple[float, float]
    context_scale: tuple[float, float] | None
    context_ratio: float
    masks_per_image: int
    labels: bool
    crop_scale: tuple[float, float]
    horizontal_flip: bool
    views: str | None
    any_orientation: bool
    batch_size: int
    optimizer: str
    lr: float
    lr_start: float
    lr_end: float
    warmup: float
    weight_decay: tuple[float, float]
    ema_momentum: tuple[float, float] | None
    target_sequences: str
    loss: str
    clip_grad: float
    seed: int
    device: str | torch.device
    precision: str
    workers: int | str
    accumulate: int
    checkpoint_activations: bool
    compile: bool
    cuda_graph: bool
    deterministic: bool
    log_every: int
    checkpoint_minutes: float
    max_skipped: float
    keep_every: int

class TuneSettings(TypedDict, total=False):
    method: str | type[Method]
    init: StrPath | None
    init_freeze: float
    model: str | nn.Module
    image_size: str | int | tuple[int, int]
    patch_size: int
    max_stretch: float
    channels: int | None
    pages: str
    weight_init: str
    predictor_dim: int
    predictor_depth: int
    predictor_heads: int
    masks: str | None
    num_targets: int | None
    target_scale: tuple[float, float] | None
    target_aspect_ratio: tuple[float, float]
    context_scale: tuple[float, float] | None
    context_ratio: float
    masks_per_image: int
    crop_scale: tuple[float, float]
    horizontal_flip: bool
    views: str | None
    any_orientation: bool
    batch_size: int
    optimizer: str
    lr: float
    lr_start: float
    lr_end: float
    warmup: float
    weight_decay: tuple[float, float]
    ema_momentum: tuple[float, float] | None
    target_sequences: str
    loss: str
    clip_grad: float
    seed: int
    device: str | torch.device
    precision: str
    workers: int | str
    accumulate: int
    checkpoint_activations: bool
    compile: bool
    cuda_graph: bool
    deterministic: bool
    log_every: int
    checkpoint_minutes: float
    max_skipped: float
    keep_every: int

class CompareSettings(TypedDict, total=False):
    model: str | nn.Module
    image_size: str | int | tuple[int, int]
    patch_size: int
    max_stretch: float
    channels: int | None
    pages: str
    any_orientation: bool
    optimizer: str
    batch_size: int
    seed: int
    device: str | torch.device
    precision: str
    workers: int | str
    max_skipped: float

class MasksSettings(TypedDict, total=False):
    method: str | type[Method]
    image_size: str | int | tuple[int, int]
    patch_size: int
    masks: str | None
    num_targets: int | None
    target_scale: tuple[float, float] | None
    target_aspect_ratio: tuple[float, float]
    context_scale: tuple[float, float] | None
    context_ratio: float
    masks_per_image: int
    batch_size: int
    seed: int

def demo(
    *, data: str | None = ..., out: StrPath = ..., resume: bool = ..., **settings: Unpack[TrainingSettings]
) -> Path: ...
def pretrain(
    data: Given,
    *,
    out: StrPath,
    recipe: str | None = ...,
    resume: bool = ...,
    probe: Given | None = ...,
    data_changed: bool = ...,
    parallel: str = ...,
    log_to: str = ...,
    callbacks: Sequence[Callback] = ...,
    **settings: Unpack[TrainingSettings],
) -> Run: ...
def tune(
    data: str,
    *,
    out: StrPath,
    budget: str = ...,
    labelled: str | None = ...,
    recipe: str | None = ...,
    resume: bool = ...,
    **settings: Unpack[TuneSettings],
) -> Path: ...
def compare(
    data: str,
    *,
    out: StrPath,
    methods: str | None = ...,
    budget: str | None = ...,
    views: str | None = ...,
    seeds: int | None = ...,
    labelled: str | None = ...,
    beside: Sequence[str] | None = ...,
    tasks: str | None = ...,
    tune: int | None = ...,
    recipe: str | None = ...,
    resume: bool = ...,
    only: str | None = ...,
    collect: bool = ...,
    **settings: Unpack[CompareSettings],
) -> Path: ...
def ensemble(
    models: StrPath | Sequence[StrPath],
    *,
    how: str,
    out: StrPath,
    data: Given | None = ...,
    steps: str | None = ...,
    encoder: str = ...,
    width: int | None = ...,
    seed: int = ...,
    device: str = ...,
    precision: str = ...,
    workers: int | str = ...,
    max_skipped: float = ...,
    overwrite: bool = ...,
) -> Path: ...
def evaluate(
    models: StrPath | Sequence[StrPath],
    data: Given,
    *,
    test: Given | None = ...,
    tasks: str = ...,
    step: int | str | None = ...,
    encoder: str = ...,
    shots: str = ...,
    epochs: float = ...,
    annotations: str | None = ...,
    kind: str | None = ...,
    depths: str | None = ...,
    masks: str | None = ...,
    test_annotations: str | None = ...,
    test_depths: str | None = ...,
    test_masks: str | None = ...,
    json: StrPath | None = ...,
    csv: StrPath | None = ...,
    xlsx: StrPath | None = ...,
    page: StrPath | None = ...,
    save_head: StrPath | None = ...,
    pooling: str = ...,
    crops: int | None = ...,
    cache: StrPath | None = ...,
    verify: bool = ...,
    seed: int = ...,
    device: str = ...,
    precision: str = ...,
    workers: int | str = ...,
    max_skipped: float = ...,
    overwrite: bool = ...,
    network: nn.Module | None = ...,
) -> list[dict]: ...
def finetune(
    model: StrPath,
    data: Given,
    *,
    out: StrPath,
    resume: bool = ...,
    labels: str | None = ...,
    regression: bool = ...,
    validation: Given | None = ...,
    test: Given | None = ...,
    flip: bool = ...,
    crop_scale: tuple[float, float] = ...,
    epochs: float | None = ...,
    time: str | None = ...,
    patience: int = ...,
    batch_size: int = ...,
    lr: float = ...,
    layer_decay: float = ...,
    weight_decay: float = ...,
    warmup: float = ...,
    freeze: int = ...,
    label_smoothing: float | None = ...,
    mixup: float = ...,
    class_weights: str = ...,
    seed: int = ...,
    onnx: bool = ...,
    device: str = ...,
    precision: str = ...,
    workers: int | str = ...,
    max_skipped: float = ...,
) -> Path: ...
def report(
    run: StrPath,
    *,
    data: Given | None = ...,
    step: int | str | None = ...,
    device: str = ...,
    show: Sequence[str] | None = ...,
    network: nn.Module | None = ...,
) -> Path: ...
def list_runs(
    folder: StrPath,
    *,
    json: StrPath | None = ...,
    csv: StrPath | None = ...,
    xlsx: StrPath | None = ...,
    overwrite: bool = ...,
) -> list[dict[str, Any]]: ...
def embed(
    model: StrPath,
    data: Given,
    *,
    out: StrPath,
    step: int | str | None = ...,
    pooling: str = ...,
    crops: int | None = ...,
    device: str = ...,
    precision: str = ...,
    workers: int | str = ...,
    max_skipped: float = ...,
    overwrite: bool = ...,
    network: nn.Module | None = ...,
) -> Path: ...
def index(
    model: StrPath,
    data: Given,
    *,
    out: StrPath,
    labels: StrPath | None = ...,
    patches: bool = ...,
    step: int | str | None = ...,
    pooling: str = ...,
    device: str = ...,
    precision: str = ...,
    workers: int | str = ...,
    engine: str = ...,
    max_skipped: float = ...,
) -> Path: ...
def search(
    index: str,
    images: Sequence[str] | None = ...,
    *,
    data: Given | None = ...,
    like: Sequence[str] | None = ...,
    unlike: Sequence[str] | None = ...,
    box: tuple[float, float, float, float] | None = ...,
    where: str | None = ...,
    top: int = ...,
    json: StrPath | None = ...,
    csv: StrPath | None = ...,
    xlsx: StrPath | None = ...,
    html: StrPath | None = ...,
    model: StrPath | None = ...,
    device: str = ...,
    precision: str = ...,
    workers: int | str = ...,
    overwrite: bool = ...,
) -> list[dict[str, Any]]: ...
def curate_duplicates(
    index: str,
    *,
    data: Given | None = ...,
    embedding: bool = ...,
    out: StrPath | None = ...,
    format: str | None = ...,
    move: StrPath | None = ...,
    link: StrPath | None = ...,
    yes: bool = ...,
    overwrite: bool = ...,
) -> Table: ...
def curate_outliers(
    index: str,
    *,
    data: Given | None = ...,
    top: int = ...,
    out: StrPath | None = ...,
    format: str | None = ...,
    move: StrPath | None = ...,
    link: StrPath | None = ...,
    yes: bool = ...,
    overwrite: bool = ...,
) -> Table: ...
def curate_clusters(
    index: str,
    *,
    data: Given | None = ...,
    count: int | None = ...,
    seed: int = ...,
    out: StrPath | None = ...,
    format: str | None = ...,
    move: StrPath | None = ...,
    link: StrPath | None = ...,
    yes: bool = ...,
    overwrite: bool = ...,
) -> Table: ...
def curate_sample(
    index: str,
    *,
    data: Given | None = ...,
    n: int = ...,
    by: str = ...,
    labels: StrPath | None = ...,
    column: str | None = ...,
    seed: int = ...,
    out: StrPath | None = ...,
    format: str | None = ...,
    move: StrPath | None = ...,
    link: StrPath | None = ...,
    yes: bool = ...,
    overwrite: bool = ...,
) -> Table: ...
def curate_labels(
    index: str,
    file: StrPath,
    *,
    data: Given | None = ...,
    column: str | None = ...,
    seed: int = ...,
    out: StrPath | None = ...,
    format: str | None = ...,
    move: StrPath | None = ...,
    link: StrPath | None = ...,
    yes: bool = ...,
    overwrite: bool = ...,
) -> Table: ...
def explore(
    index: str,
    *,
    port: int = ...,
    host: str = ...,
    no_open: bool = ...,
    model: StrPath | None = ...,
    device: str = ...,
    precision: str = ...,
) -> None: ...
def serve(
    index_or_model: str,
    *,
    host: str = ...,
    port: int = ...,
    token: str | None = ...,
    model: StrPath | None = ...,
    step: int | str | None = ...,
    device: str = ...,
    precision: str = ...,
) -> None: ...
def predict(
    head: StrPath,
    data: Given,
    *,
    out: StrPath,
    device: str = ...,
    precision: str = ...,
    workers: int | str = ...,
    max_skipped: float = ...,
    overwrite: bool = ...,
) -> Path: ...
def import_(
    src: str,
    dst: StrPath,
    *,
    which: str = ...,
    image_size: str | None = ...,
    channels: int | None = ...,
    num_heads: int | None = ...,
    statistics: str = ...,
    licence: str | None = ...,
    overwrite: bool = ...,
) -> Path: ...
def export(
    model: StrPath,
    *,
    to: str,
    out: StrPath | None = ...,
    step: int | str | None = ...,
    which: str = ...,
    with_predictor: bool = ...,
    image_size: str | None = ...,
    half: bool = ...,
    images: str | None = ...,
    gallery: str | None = ...,
    runtime: str | None = ...,
    num_heads: int | None = ...,
    licence: str | None = ...,
    overwrite: bool = ...,
    network: nn.Module | None = ...,
) -> Path: ...
def anomaly_fit(
    model: StrPath,
    normals: Given,
    *,
    out: StrPath,
    false_alarms: str | None = ...,
    scores: str | None = ...,
    any_orientation: bool = ...,
    any_light: bool = ...,
    layers: int | None = ...,
    pool: int = ...,
    even_lighting: bool | None = ...,
    memory: int = ...,
    coreset: str = ...,
    image_size: str | None = ...,
    step: int | str | None = ...,
    seed: int = ...,
    device: str = ...,
    precision: str = ...,
    workers: int | str = ...,
    max_skipped: float = ...,
    overwrite: bool = ...,
) -> Path: ...
def anomaly_score(
    detector: StrPath,
    data: Given,
    *,
    out: StrPath,
    maps: StrPath | None = ...,
    page: StrPath | None = ...,
    model: StrPath | None = ...,
    device: str = ...,
    precision: str = ...,
    workers: int | str = ...,
    max_skipped: float = ...,
    overwrite: bool = ...,
) -> Path: ...
def anomaly_evaluate(
    detector: StrPath,
    data: Given,
    *,
    masks: str | None = ...,
    label: str | None = ...,
    normal: str | None = ...,
    json: StrPath | None = ...,
    csv: StrPath | None = ...,
    xlsx: StrPath | None = ...,
    page: StrPath | None = ...,
    model: StrPath | None = ...,
    seed: int = ...,
    device: str = ...,
    precision: str = ...,
    workers: int | str = ...,
    max_skipped: float = ...,
    overwrite: bool = ...,
) -> list[dict]: ...
def imagine(
    model: StrPath,
    image: str,
    *,
    box: tuple[float, float, float, float],
    out: StrPath,
    source: Given | None = ...,
    images: int = ...,
    draws: int = ...,
    top: int = ...,
    seed: int = ...,
    json: StrPath | None = ...,
    csv: StrPath | None = ...,
    xlsx: StrPath | None = ...,
    step: int | str | None = ...,
    device: str = ...,
    precision: str = ...,
    workers: int | str = ...,
    overwrite: bool = ...,
) -> list[dict[str, Any]]: ...
def recipes(
    name: str | None = ...,
) -> dict[str, Any]: ...
def masks(
    *,
    image: StrPath | None = ...,
    out: StrPath = ...,
    recipe: str = ...,
    overwrite: bool = ...,
    **settings: Unpack[MasksSettings],
) -> Path: ...
def bench(
    data: Given, *, recipe: str | None = ..., seconds: float = ..., **settings: Unpack[TrainingSettings]
) -> dict[str, float]: ...
def doctor(
    *,
    json: bool = ...,
) -> dict[str, Any]: ...
def data_check(
    src: str,
    other: str | None = ...,
    *,
    out: StrPath = ...,
    strict: bool = ...,
    labels: bool = ...,
    channels: int | None = ...,
    pages: str = ...,
    workers: int | str = ...,
    overwrite: bool = ...,
) -> dict: ...
def data_prepare(
    src: str,
    dst: StrPath,
    *,
    size: int = ...,
    to: str = ...,
    format: str = ...,
    quality: int = ...,
    per_shard: int = ...,
    channels: int | None = ...,
    pages: str = ...,
    workers: int | str = ...,
    max_skipped: float = ...,
) -> Path: ...
