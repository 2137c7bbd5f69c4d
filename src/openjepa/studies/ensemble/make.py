"""From names of models to the folder of an ensemble: each way is one function and one entry."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openjepa._version import __version__
from openjepa.console import counting, log, working
from openjepa.data.open import names_of
from openjepa.encoder.features import compute_features
from openjepa.errors import UsageError, unknown
from openjepa.interop.ensembles.heads import check_votes, open_heads, save_voting
from openjepa.interop.ensembles.joined import check_alike, save_joined
from openjepa.interop.ensembles.member import Member
from openjepa.rng import SAMPLES, generator
from openjepa.runs.images import check_new_artifact
from openjepa.runs.planning.initial_weights import describe, store
from openjepa.safety.schema import shortened
from openjepa.studies.ensemble.concat import check_width, joined_of
from openjepa.studies.ensemble.greedy import choose, scorer
from openjepa.studies.ensemble.line import LEAST, MOST, lines_between
from openjepa.studies.ensemble.members import open_members
from openjepa.studies.ensemble.request import Request
from openjepa.studies.ensemble.soup import check_same, soup_of
from openjepa.studies.ensemble.votes import measured
from openjepa.training.monitoring.online_probe import sample_images

MOST_FITTED = 10_000  # images that features are scaled and projected by


def make_ensemble(request: Request) -> Path:
    """Write the folder; returns it. Raises UsageError."""
    if request.how not in HOW:
        raise UsageError(unknown("--how", request.how, HOW))
    way = HOW[request.how]
    request.check_options(*way.options)
    inputs = [*request.models, *names_of(request.data)]
    check_new_artifact(request.out, "give --out another name", inputs, request.overwrite)
    way.make(request)
    log(f"ensemble: {request.out}")
    return request.out


def _soup(request: Request) -> None:
    """The mean of all members, which must come from one start: the line between any two is measured."""
    members = open_members(request.models, request.steps, request.encoder)
    check_same(members)
    images, _ = sample_images(request.images(members[0].pixel_format), members[0].frame, MOST, request.seed)
    _check_enough(request, len(images))
    with working("measuring the lines between the weights"):
        lines = lines_between(members, images, *request.machine)
    log(f"lines between the weights, on {len(images):,} images of {request.data}:", *(f"  {line}" for line in lines))
    for line in lines:
        line.check()
    barriers = {" and ".join(line.names): round(line.barrier, 4) for line in lines}
    _store(request, members, {"barriers": barriers, "images": len(images)})


def _greedy(request: Request) -> None:
    """The mean of the members by which the accuracy on held-out images of --data does not fall."""
    members = open_members(request.models, request.steps, request.encoder)
    check_same(members)
    dataset = request.labelled(members[0].pixel_format)
    chosen, scores = choose(members, scorer(members[0], dataset, request.seed, request.readers, *request.machine))
    if len(chosen) == 1:
        log(f"no other model makes it better: the soup is {chosen[0].name} alone")
    left_out = [member.name for member in members if member not in chosen]
    _store(request, chosen, {"accuracies": [round(score, 4) for score in scores], "left_out": left_out})


def _concat(request: Request) -> None:
    """The features of all members side by side, scaled and projected by images of --data."""
    members = open_members(request.models, request.steps, request.encoder)
    check_alike(members)
    embeddings = _embeddings(request, members)
    joined = joined_of(members, embeddings, request.width)
    save_joined(request.out, members, joined, _origin(members), request.overwrite)
    widths = ", ".join(str(member.network.embed_dim) for member in members)
    fitted = f"by {len(embeddings[0]):,} images of {request.data}"
    log(f"{len(members)} members of {widths} numbers make vectors of {joined.embed_dim}, scaled {fitted}")


def _embeddings(request: Request, members: Sequence[Member]) -> list[Tensor]:
    """Those [n, D] of every member, of the same images of --data: 10,000 at most, at random."""
    dataset = request.images(members[0].pixel_format)
    if len(dataset) > MOST_FITTED:
        rows = generator(request.seed, SAMPLES).permutation(len(dataset))[:MOST_FITTED]
        dataset = dataset.subset(np.sort(rows))
    _check_enough(request, len(dataset))
    check_width(request.width, min(sum(member.network.embed_dim for member in members), len(dataset) - 1))
    found = []
    for member in members:
        with counting(f"features of {member.name}") as progress:
            model = member.encoder(*request.machine)
            found.append(compute_features(model, dataset, request.readers, progress=progress))
    kept = functools.reduce(np.intersect1d, (indices for _, indices, _ in found))
    _check_enough(request, len(kept))
    return [features[torch.from_numpy(np.isin(indices, kept))] for features, indices, _ in found]


def _probes(request: Request) -> None:
    """Heads whose probabilities are averaged; measured where labelled --data is given."""
    heads = open_heads(request.models)
    check_votes(heads)
    about: dict[str, Any] = {}
    if request.data is not None:
        about["test"] = [measured(heads, request.labelled(heads[0].pixel_format), request.readers).model_dump()]
    about |= _stated([head.name for head in heads], [head.encoder.licence for head in heads])
    save_voting(request.out, heads, about, request.overwrite)
    outputs = heads[0].classes
    log(f"{len(heads)} heads vote on {', '.join(outputs[:5])}{', ...' * (len(outputs) > 5)}")


def _check_enough(request: Request, count: int) -> None:
    if count < LEAST:
        raise UsageError(f"{request.data} has {count} images that can be read: measuring needs {LEAST} or more")


def _store(request: Request, members: Sequence[Member], found: dict[str, Any]) -> None:
    """Write the soup of members; the settings that it states are those of the first."""
    source = soup_of(members)
    about = {name: value for name, value in members[0].source.about.items() if name not in ("step", "soup")}
    about |= _origin(members)
    about |= {"soup": {"how": request.how, "members": [member.name for member in members], **found}}
    licence = about["source"]["licence"]
    store(request.out, source, source.held("target"), about, request.overwrite)
    log(*describe(source, source.held("target"), licence))


def _origin(members: Sequence[Member]) -> dict[str, Any]:
    return _stated([member.name for member in members], [member.source.licence for member in members])


def _stated(names: Sequence[str], licences: Sequence[str | None]) -> dict[str, Any]:
    """What the folder states of where its weights come from: it is under the licences of all members."""
    licence = " and ".join(dict.fromkeys(filter(None, licences))) or None
    origin = {"name": shortened(" + ".join(names)), "kind": "openjepa", "licence": licence}
    return {"openjepa_version": __version__, "source": origin}


@dataclass(frozen=True)
class How:
    """A way to make one model of several: in a few words, the function that writes it, the options it takes."""

    help: str
    make: Callable[[Request], None]
    options: tuple[str, ...] = ("steps", "encoder")


HOW = {
    "soup": How("mean of the weights", _soup),
    "greedy": How("mean of the weights that help on labelled images", _greedy),
    "concat": How("features side by side", _concat, ("steps", "encoder", "width")),
    "probes": How("mean of the probabilities of heads", _probes, ()),
}
