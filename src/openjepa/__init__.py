"""openjepa: self-supervised learning for images by I-JEPA (Assran et al., CVPR 2023, arXiv 2301.08243).

import openjepa
openjepa.pretrain("photos", out="runs/photos", time="20m")
encoder = openjepa.load_encoder("runs/photos")
vectors = encoder.embed(images)
"""

import importlib
from typing import Any

from openjepa._version import __version__
from openjepa.errors import UsageError

_HOMES = {
    "demo": "openjepa.commands.demo",
    "pretrain": "openjepa.commands.pretrain",
    "tune": "openjepa.commands.tune",
    "evaluate": "openjepa.commands.evaluate",
    "predict": "openjepa.commands.predict",
    "embed": "openjepa.commands.embed",
    "report": "openjepa.commands.report",
    "masks": "openjepa.commands.masks",
    "import_": "openjepa.commands.import_",
    "export": "openjepa.commands.export",
    "data_check": "openjepa.commands.data_check",
    "data_prepare": "openjepa.commands.data_prepare",
    "bench": "openjepa.commands.bench",
    "load_encoder": "openjepa.interop.load",
}
__all__ = ["UsageError", "__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'openjepa' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
