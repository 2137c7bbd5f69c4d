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
    "demo": "openjepa.verbs.demo",
    "pretrain": "openjepa.verbs.pretrain",
    "tune": "openjepa.verbs.tune",
    "evaluate": "openjepa.verbs.evaluate",
    "predict": "openjepa.verbs.predict",
    "embed": "openjepa.verbs.embed",
    "report": "openjepa.verbs.report",
    "masks": "openjepa.verbs.masks",
    "import_": "openjepa.verbs.import_",
    "export": "openjepa.verbs.export",
    "data_check": "openjepa.verbs.data_check",
    "data_prepare": "openjepa.verbs.data_prepare",
    "bench": "openjepa.verbs.bench",
    "load_encoder": "openjepa.interop.load",
}
__all__ = ["UsageError", "__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'openjepa' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
