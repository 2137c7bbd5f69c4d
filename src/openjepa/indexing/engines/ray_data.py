"""Chunks of images to what a model makes of them, as a Ray Data job on this machine or on a cluster."""

import contextlib
import logging
import os
import pickle
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

from openjepa.device import choose_device, choose_precision
from openjepa.encoder.feature_cache import model_hash
from openjepa.encoder.features import Model
from openjepa.errors import UsageError
from openjepa.indexing.engines.shards import Engine, Part, embedded
from openjepa.indexing.facts import Looks
from openjepa.indexing.patch_tokens import PatchGrid
from openjepa.optional import require
from openjepa.runs.checkpoints import Step, open_model_at

STATISTICS = "RAY_USAGE_STATS_ENABLED"  # which Ray sends over the network unless told not to
LOCAL = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}  # a cluster started here


class Opening(NamedTuple):
    """How every worker opens the model: by a name that means the same to all machines."""

    model: str
    step: Step
    pooling: str
    device: str
    precision: str | torch.dtype


class Embedder:
    """A worker of Ray: the model, opened once, and the images, which it reads itself."""

    def __init__(self, opening: Opening, digest: str, looks: Looks, patches: PatchGrid | None) -> None:
        where = choose_device(opening.device)
        precision = choose_precision(opening.precision, where)
        self.model = open_model_at(opening.model, opening.step, where, precision, opening.pooling)
        if model_hash(self.model, arithmetic=False) != digest:
            raise UsageError(f"{opening.model} is another model on a worker of Ray: give all machines the same files")
        self.looks, self.patches = looks, patches

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[bytes]]:
        parts = (embedded(self.model, self.looks.dataset, self.looks[n], self.patches) for n in batch["item"].tolist())
        return {"part": [pickle.dumps(part) for part in parts]}


def on_ray(opening: Opening, most_workers: int | None = None) -> Engine:
    """An engine that embeds in workers of Ray: one for each GPU of the cluster, or each core where it has none.

    most_workers: fewer than that. Ray is joined at RAY_ADDRESS; without, it is started on this machine, and stopped at
    the end. The engine raises UsageError where Ray is missing or a worker fails.
    """

    def engine(model: Model, looks: Looks, chunks: Sequence[int], patches: PatchGrid | None) -> Iterator[Part]:
        if not chunks:
            return
        with _cluster() as ray, _in_words(ray):
            how, count = _workers(ray, opening, min(len(chunks), most_workers or len(chunks)))
            looks_at = ray.put(looks)  # once a machine, however many workers it has
            job = ray.data.from_items([*chunks], override_num_blocks=len(chunks)).map_batches(
                _Remote,
                fn_constructor_args=(how, model_hash(model, arithmetic=False), [looks_at], patches),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=count),
                **({"num_gpus": 1} if how.device == "cuda" else {"num_cpus": 1}),
            )
            for row in job.iter_rows():
                yield pickle.loads(row["part"])  # it comes from the workers above

    return engine


class _Remote(Embedder):
    """An `Embedder` whose images are in the store of the cluster."""

    def __init__(self, opening: Opening, digest: str, looks: list[Any], patches: PatchGrid | None) -> None:
        super().__init__(opening, digest, require("ray", "ray").get(looks[0]), patches)


def _workers(ray: ModuleType, opening: Opening, most: int) -> tuple[Opening, int]:
    """How workers open the model, and how many of them there can be at once."""
    has = ray.cluster_resources()
    if opening.device in ("auto", "cuda") and has.get("GPU", 0) >= 1:
        return opening._replace(device="cuda"), min(most, int(has["GPU"]))
    precision = choose_precision(opening.precision, choose_device(opening.device))  # timed, so workers could differ
    return opening._replace(precision=precision), max(1, min(most, int(has.get("CPU", 1))))


@contextlib.contextmanager
def _cluster() -> Iterator[ModuleType]:
    """Ray, joined or started; what was started here is stopped."""
    os.environ.setdefault(STATISTICS, "0")
    ray = require("ray", "ray")
    require("ray.data", "ray")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars, context.enable_operator_progress_bars = False, False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ours = not ray.is_initialized()
    if ours:
        _join(ray)
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


def _join(ray: ModuleType) -> None:
    address = os.environ.get("RAY_ADDRESS")
    try:
        ray.init(**({"log_to_driver": False} if address else LOCAL))
    except (RuntimeError, ValueError, OSError) as error:
        what = f"Ray at RAY_ADDRESS={address} cannot be joined" if address else "Ray cannot be started"
        raise UsageError(f"{what} ({_reason(error)}): see that it runs, with the same versions") from error


@contextlib.contextmanager
def _in_words(ray: ModuleType) -> Iterator[None]:
    """Turn the failure of a worker into UsageError."""
    try:
        yield
    except ray.exceptions.RayError as error:
        raise UsageError(f"a worker of Ray failed: {_reason(getattr(error, 'cause', None) or error)}") from error


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:300]
