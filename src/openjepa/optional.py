"""Libraries that not everybody has."""

import importlib
from types import ModuleType

from openjepa.errors import UsageError


def require(module: str, extra: str) -> ModuleType:
    """The module, or a UsageError that names the extra of openjepa which brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(f"this needs {module}: pip install 'openjepa[{extra}]'") from error
