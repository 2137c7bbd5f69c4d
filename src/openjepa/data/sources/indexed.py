"""The type of a data set that a program gives. Imports nothing, so that the options of a command can name it."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Indexed(Protocol):
    """A map-style data set."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...
