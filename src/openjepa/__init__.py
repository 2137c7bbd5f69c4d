"""openjepa: self-supervised learning for images by I-JEPA (Assran et al., CVPR 2023, arXiv 2301.08243).

import openjepa
openjepa.pretrain("photos", out="runs/photos", time="20m")  # or a list of images, or a data set: as_dataset
encoder = openjepa.load_encoder("runs/photos")
vectors = encoder.embed(images)
"""

import importlib
from typing import Any

from openjepa._version import __version__
from openjepa.commands import COMMANDS
from openjepa.errors import UsageError

_COMMANDS = {command.function: command for command in COMMANDS}
_FUNCTIONS = {
    "Callback": "openjepa.training.callbacks",
    "CallbackFailed": "openjepa.training.callbacks",
    "Method": "openjepa.methods.base",
    "PatchEncoder": "openjepa.models.protocol",
    "Encoder": "openjepa.encoder.encoder",
    "Run": "openjepa.commands.pretrain",
    "Transform": "openjepa.encoder.encoder",
    "StopTraining": "openjepa.training.callbacks",
    "as_dataset": "openjepa.data.sources.objects",
    "load_encoder": "openjepa.interop.load",
    "Index": "openjepa.indexing.index",
    "open_index": "openjepa.indexing.index",
    "open_trainable": "openjepa.interop.foreign.trainable",
    "open_run": "openjepa.commands.pretrain",
}
__all__ = ["UsageError", "__version__", *_FUNCTIONS, *_COMMANDS]


def __getattr__(name: str) -> Any:
    if name in _COMMANDS:
        return _COMMANDS[name].load()
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    raise AttributeError(f"module 'openjepa' has no attribute {name!r}")
