"""Weight soups (Wortsman et al. 2022, arXiv 2203.05482): one network whose weights are the mean of several."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from openjepa.errors import UsageError
from openjepa.interop.ensembles.member import Member
from openjepa.interop.loaded_weights import Source

Network = TypeVar("Network", bound=nn.Module)
PARTS = ("target", "context", "predictor")


def check_same(members: Sequence[Member]) -> None:
    """Raise UsageError unless all networks have one shape and read images alike, and differ in their weights."""
    first = members[0]
    for other in members[1:]:
        for name, value in facts_of(first).items():
            theirs = facts_of(other)[name]
            if theirs != value:
                raise UsageError(
                    f"{first.name} and {other.name} cannot be averaged: {name} is {_short(value)} and "
                    f"{_short(theirs)}: a soup is of models from one start, so give --how concat"
                )
    states = [member.vit.state_dict() for member in members]
    for row, (member, state) in enumerate(zip(members, states, strict=True)):
        for other, earlier in zip(members[:row], states, strict=False):
            if all(torch.equal(state[name], earlier[name]) for name in state):
                raise UsageError(f"{other.name} and {member.name} hold the same weights: leave out one of them")


def facts_of(member: Member) -> dict[str, Any]:
    """What must be the same of two networks that are averaged: their shape, and how they read images."""
    source = member.plain
    shape = {name: value for name, value in member.vit.arguments().items() if name != "weight_init"}
    how = {"mean": source.mean, "std": source.std, "max_stretch": source.max_stretch}
    return shape | how | {"values": source.values, "pages": source.pages}


def _short(value: Any) -> str:
    numbers = value if isinstance(value, list | tuple) else [value]
    text = ", ".join(f"{part:.4g}" if isinstance(part, float) else str(part) for part in numbers[:4])
    return text + ", ..." * (len(numbers) > 4)


def averaged(networks: Sequence[Network], weights: Sequence[float] | None = None) -> Network:
    """A network whose tensors are the mean, or the mean by `weights` that sum to 1, of those of the networks."""
    shares = weights or [1 / len(networks)] * len(networks)
    states = [network.state_dict() for network in networks]
    found = copy.deepcopy(networks[0])
    found.load_state_dict({name: _mean([state[name] for state in states], shares) for name in states[0]})
    return found.eval()


def _mean(tensors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    total = sum(tensor.double() * share for tensor, share in zip(tensors, shares, strict=True))
    assert isinstance(total, Tensor)
    return total.to(tensors[0].dtype)


def soup_of(members: Sequence[Member]) -> Source:
    """The source whose networks are the means: all that every member holds, or the encoders asked for alone."""
    first, sources = members[0], [member.plain for member in members]
    if any(member.which != "target" for member in members):
        network = averaged([member.vit for member in members])
        found: dict[str, Any] = {"target": network, "context": None, "predictor": None}
    else:
        found = {part: _part(sources, part) for part in PARTS}
    return replace(first.plain, **found, name=" + ".join(m.name for m in members))


def _part(sources: Sequence[Source], part: str) -> nn.Module | None:
    """The mean of a network of all sources; None where one lacks it, or has it in another shape."""
    networks = [{"target": s.target, "context": s.context, "predictor": s.predictor}[part] for s in sources]
    there = [network for network in networks if network is not None]
    if len(there) < len(networks) or any(network.arguments() != there[0].arguments() for network in there):
        return None
    return averaged(there)
