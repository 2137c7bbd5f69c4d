"""The members of an ensemble: networks that a user names, checkpoints and both encoders of a run among them."""

from collections.abc import Sequence
from pathlib import Path

import torch

from openjepa.console import log
from openjepa.errors import UsageError, unknown
from openjepa.interop.ensembles.member import Member
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.loaded_weights import Source
from openjepa.runs.checkpoints import find_step, label_at, open_foreign_at, open_own_at, open_source_at
from openjepa.runs.evaluation import CONTEXT, ENCODERS

MOST_MEMBERS = 64
CPU = torch.device("cpu")


def open_members(names: Sequence[str], steps: Sequence[str] = (), encoder: str = "target") -> list[Member]:
    """The members that models, steps of runs and encoders name, each once. Raises UsageError for fewer than two."""
    if encoder not in ENCODERS:
        raise UsageError(unknown("--encoder", encoder, ENCODERS))
    named = [(name, step) for name in dict.fromkeys(names) for step in _numbers(name, steps)]
    if len(named) * (1 + (encoder == "both")) > MOST_MEMBERS:
        raise UsageError(f"{len(named)} models are more than an ensemble takes: give {MOST_MEMBERS} members at most")
    members = [member for name, step in named for member in _members(name, step, encoder)]
    if len(members) < 2:
        raise UsageError(
            f"{members[0].name} is one model, and an ensemble needs two or more: give another, --steps of a run or "
            "--encoder both"
        )
    return members


def _numbers(name: str, steps: Sequence[str]) -> list[int | None]:
    return [*dict.fromkeys(find_step(Path(name), step) for step in steps)] if steps else [None]


def _members(name: str, step: int | None, encoder: str) -> list[Member]:
    """The encoders asked for. Raises UsageError where one of them is not there."""
    open_own_at(name, step, None, CPU, torch.float32)  # raises for a network of a program, which nothing can store
    foreign = open_foreign_at(name, step)
    found = foreign or open_source_at(name, step)
    label = label_at(name, step)
    log(*(foreign.remarks() if foreign else []))
    asked = ("target", "context") if encoder == "both" else (encoder,)
    return [_member(label, name, step, found, which) for which in asked]


def _member(label: str, name: str, step: int | None, found: Source | ForeignSource, which: str) -> Member:
    shown = label + CONTEXT if which == "context" else label
    if isinstance(found, ForeignSource):
        source = found if which == "target" else open_foreign_at(name, step, which)
        if source is None or (which == "context" and source.notes):
            raise UsageError(f"{name} holds the target encoder alone: leave out --encoder")
        return Member(shown, source)
    if which == "context" and found.held(which) != which:
        raise UsageError(f"{name} holds the {found.held(which)} encoder alone: leave out --encoder")
    return Member(shown, found, found.held(which))
