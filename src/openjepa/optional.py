"""Optional dependencies."""

import importlib
from types import ModuleType

from openjepa.errors import UsageError


def require(module: str, extra: str) -> ModuleType:
    """The module; raises UsageError with the extra of openjepa that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(f"this needs {module}: pip install 'openjepa[{extra}]'") from error
