"""openjepa: self-supervised learning for images by I-JEPA (Assran et al., CVPR 2023, arXiv 2301.08243).

import openjepa
openjepa.pretrain("photos", out="runs/photos", time="20m")
encoder = openjepa.load_encoder("runs/photos")
vectors = encoder.embed(images)
"""

import importlib
from typing import Any

from openjepa._version import __version__
from openjepa.commands import COMMANDS
from openjepa.errors import UsageError

_COMMANDS = {command.function: command for command in COMMANDS}
__all__ = ["UsageError", "__version__", "load_encoder", *_COMMANDS]


def __getattr__(name: str) -> Any:
    if name in _COMMANDS:
        return _COMMANDS[name].load()
    if name == "load_encoder":
        return importlib.import_module("openjepa.interop.load").load_encoder
    raise AttributeError(f"module 'openjepa' has no attribute {name!r}")
