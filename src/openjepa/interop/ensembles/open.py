"""The ensemble in a folder, however its members are joined."""

from pathlib import Path

import torch

from openjepa.encoder.encoder import Encoder
from openjepa.interop.ensembles.heads import load_voting
from openjepa.interop.ensembles.joined import load_joined
from openjepa.interop.ensembles.stored import read_facts


def load_ensemble(folder: Path, device: torch.device, precision: torch.dtype) -> tuple[Encoder, list[Encoder]]:
    """The ensemble in a folder, and its members. Raises UsageError where anything of it is damaged."""
    probes = read_facts(folder).ensemble.how == "probes"
    return (load_voting if probes else load_joined)(folder, device, precision)
