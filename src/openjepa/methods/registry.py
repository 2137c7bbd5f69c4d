"""The methods by name, and how their views differ.

Nothing is imported before a method is loaded, so that help texts do not wait for PyTorch.
"""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openjepa.methods.base import Method


@dataclass(frozen=True)
class Views:
    """A way in which the crops of an image differ, in a few words; what a run does for it."""

    help: str
    photometric: bool = True
    small: int = 0


VIEWS = {
    "crops": Views("in place and size alone", photometric=False),
    "photometric": Views("in colour, sharpness and brightness too"),
    "multicrop": Views("as photometric, with six small crops beside them", small=6),
}

JOINT = "openjepa.methods.joint"


@dataclass(frozen=True)
class Entry:
    """Where the class of a method is, and what it does in a few words."""

    module: str
    name: str
    help: str

    def load(self) -> "type[Method]":
        return getattr(importlib.import_module(self.module), self.name)


METHODS = {
    "ijepa": Entry("openjepa.methods.ijepa", "IJEPA", "predicts the representations of hidden patches"),
    "hybrid": Entry("openjepa.methods.hybrid", "Hybrid", "predicts their representations and pixels"),
    "mae": Entry("openjepa.methods.mae", "MAE", "predicts their pixels"),
    "simclr": Entry(f"{JOINT}.simclr", "SimCLR", "tells views of an image from those of others"),
    "mocov3": Entry(f"{JOINT}.mocov3", "MoCoV3", "the same against a slowly changing copy"),
    "vicreg": Entry(f"{JOINT}.vicreg", "VICReg", "makes views agree in numbers that vary on their own"),
    "barlow": Entry(f"{JOINT}.barlow", "BarlowTwins", "the same by the correlations of two views"),
    "swav": Entry(f"{JOINT}.swav", "SwAV", "predicts the cluster of another view"),
    "dino": Entry(f"{JOINT}.dino", "DINO", "agrees with a slower copy on a soft class"),
    "byol": Entry(f"{JOINT}.byol", "BYOL", "predicts a slower copy's projection of another view"),
    "simsiam": Entry(f"{JOINT}.simsiam", "SimSiam", "predicts its own projection of another view"),
    "lejepa": Entry(f"{JOINT}.lejepa", "LeJEPA", "makes views agree and embeddings Gaussian"),
}
