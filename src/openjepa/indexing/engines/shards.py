"""Chunks of images to what a model makes of them, in this process and the processes that read for it."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import torch

from openjepa.data.batches import in_order
from openjepa.data.dataset import ImageDataset
from openjepa.data.workers import workers_for
from openjepa.encoder.features import NOT_FINITE, Model
from openjepa.errors import UsageError
from openjepa.indexing.facts import Looks, Seen
from openjepa.indexing.patch_tokens import Outputs, PatchGrid, outputs

Part = tuple[Seen, Outputs]  # a chunk's or a shard's images, without crops, and what the model makes of them
# From a model, the chunks of its images by their numbers, and the patch tokens that are wanted, to parts in any order.
Engine = Callable[[Model, Looks, Sequence[int], PatchGrid | None], Iterator[Part]]


def in_this_process(workers: int) -> Engine:
    """An engine that embeds here, while `workers` processes read."""

    def engine(model: Model, looks: Looks, chunks: Sequence[int], patches: PatchGrid | None) -> Iterator[Part]:
        for seen in in_order(looks, chunks, workers_for(looks.dataset, workers)):
            yield embedded(model, looks.dataset, seen, patches)

    return engine


def embedded(model: Model, dataset: ImageDataset, seen: Seen, patches: PatchGrid | None) -> Part:
    """A chunk with what the model makes of it, without the images whose vectors are not finite in float16."""
    if not seen.indices:
        return seen._replace(crops=torch.empty(0)), Outputs(torch.empty(0), None)
    made = outputs(model, seen.crops, patches)
    good = made.vectors.isfinite().all(dim=1)
    if not good.any():
        raise UsageError(f"{model.name} gives numbers that are not finite: its weights are damaged")
    lost = [(dataset.paths[index], NOT_FINITE) for index, fine in zip(seen.indices, good, strict=True) if not fine]
    kept = [row for row, fine in enumerate(good) if fine]
    indices, facts = [seen.indices[row] for row in kept], [seen.facts[row] for row in kept]
    return Seen(torch.empty(0), indices, facts, seen.unchanged, seen.skipped + lost), made.at(good)


def shards(parts: Iterator[Part], most: int) -> Iterator[Part]:
    """Parts put together until each has `most` images or more; the last one has what is left."""
    shard: list[Part] = []
    for part in parts:
        shard.append(part)
        if sum(len(seen.indices) for seen, _ in shard) >= most:
            yield _joined(shard)
            shard = []
    if shard:
        yield _joined(shard)


def _joined(shard: list[Part]) -> Part:
    parts = [seen for seen, _ in shard]
    lists = (list(chain.from_iterable(part[place] for part in parts)) for place in range(1, len(Seen._fields)))
    made = [made for seen, made in shard if seen.indices]
    vectors = torch.cat([part.vectors for part in made]) if made else torch.empty(0)
    patches = [part.patches for part in made if part.patches is not None]
    return Seen(torch.empty(0), *lists), Outputs(vectors, torch.cat(patches) if patches else None)
