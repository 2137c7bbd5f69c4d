"""Heads that vote, as a folder: written, and opened again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError
from openjepa.files import atomic_folder, usage_error, write_json
from openjepa.interop.artifact import FACTS
from openjepa.interop.classifier import Classifier, copy_head, is_head, load_classifier
from openjepa.interop.ensembles.stored import (
    MEMBERS,
    check_channels,
    check_seen,
    facts_to_store,
    is_ensemble,
    read_facts,
    whole,
)
from openjepa.interop.ensembles.voting import AveragedHeads, Voting, check_same_answers


def check_votes(heads: Sequence[Classifier]) -> None:
    """Raise UsageError unless all heads see the same of an image, and tell the same."""
    for head in heads:
        check_seen(*((each.name, each.frame, each.pixel_format) for each in (heads[0], head)))
    check_same_answers(heads)


def save_voting(folder: Path, heads: Sequence[Classifier], about: dict[str, Any], replace: bool = False) -> None:
    """Write the folder, whole or not at all; `about` (JSON-able) is stored in openjepa.json. Raises UsageError."""
    first = heads[0]
    how = None, first.encoder.network.in_chans, first.pixel_format, first.frame
    known = facts_to_store("probes", [head.name for head in heads], *how)
    with usage_error(folder), atomic_folder(folder, replace=replace) as part:
        for number, head in enumerate(heads):
            place = part / MEMBERS / str(number)
            place.mkdir(parents=True)
            copy_head(place, head)
        write_json(part / FACTS, {**about, **known})


def load_heads(folder: Path, device: torch.device, precision: torch.dtype) -> tuple[AveragedHeads, list[Classifier]]:
    """The ensemble of heads in a folder, and its members. Raises UsageError where anything of it is damaged."""
    facts = read_facts(folder)
    if facts.ensemble.how != "probes":
        raise UsageError(f"{folder} is an ensemble of encoders without heads: give one of --how probes")
    heads = []
    for row, name in enumerate(facts.ensemble.members):
        head = load_classifier(folder / MEMBERS / str(row), device, precision)
        head.name = name
        heads.append(head)
    check_votes(heads)
    check_channels(folder, facts, heads[0].encoder.network.in_chans)
    encoder = whole(Voting(heads), heads[0].encoder, str(folder), facts.licence)
    return AveragedHeads(encoder, heads, str(folder), facts.test), heads


def load_voting(folder: Path, device: torch.device, precision: torch.dtype) -> tuple[Encoder, list[Encoder]]:
    """The ensemble of heads in a folder as an encoder, whose embedding is what they say, and each head as one."""
    whole_head, heads = load_heads(folder, device, precision)
    alone = [whole(Voting([head]), head.encoder, head.name, head.encoder.licence) for head in heads]
    return whole_head.encoder, [*alone]


def open_head(folder: Path, device: torch.device, precision: torch.dtype) -> Classifier:
    """The head in a folder, or the ensemble of heads. Raises UsageError."""
    return (
        load_heads(folder, device, precision)[0] if is_ensemble(folder) else load_classifier(folder, device, precision)
    )


def open_heads(names: Sequence[str]) -> list[Classifier]:
    """The heads that are to vote. Raises UsageError for fewer than two, and for what is no head."""
    named = [*dict.fromkeys(names)]
    for name in named:
        if Path(name).exists() and not is_head(Path(name)):
            raise UsageError(f"{name} is no head: give folders that finetune, or evaluate --save-head, wrote")
    heads = [load_classifier(Path(name)) for name in named]
    if len(heads) < 2:
        raise UsageError(f"{named[0]} is one head, and an ensemble needs two or more: give another")
    return heads
