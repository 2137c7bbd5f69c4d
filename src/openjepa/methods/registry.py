"""The methods by name. Nothing is imported before a method is loaded, so that help texts do not wait for PyTorch."""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openjepa.methods.base import Method


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
}
