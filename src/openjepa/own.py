"""Classes that a program gives in place of a name, by the name that settings have for them: own:CLASS.

A program gives `method` or `model` as an object of its own. Its settings then name the class, so that a run folder can
be read where the class is not known; nothing is imported because a file names it.
"""

from typing import Any

PREFIX = "own:"
# The classes of methods, and where a stored run names one that was not given, a class that only states its facts; of
# models the names alone.
OWN: dict[str, dict[str, Any]] = {"method": {}, "model": {}}


def own_name(kind: type) -> str:
    """The name of a class in settings."""
    return f"{PREFIX}{kind.__name__}"


def names_own(name: object) -> bool:
    return isinstance(name, str) and name.startswith(PREFIX)
