"""The file with several images that was read last stays open, so that its next image does not read it anew."""

import os
import threading
from collections.abc import Callable
from typing import IO


class KeptOpen:
    """One open file, by its row in a storage; never shared between processes or threads, and not pickled."""

    def __init__(self) -> None:
        self._kept: _Kept | None = None

    def __reduce__(self) -> tuple:
        return KeptOpen, ()

    def get(self, row: int, open_row: Callable[[], IO[bytes]]) -> "_Kept":
        """The file of a row: the one that is open, or what `open_row` opens; open while this is referred to."""
        owner = os.getpid(), threading.get_ident(), row
        kept = self._kept
        if kept is None or kept.owner != owner:
            self._kept = None  # closed before the next is read, so that memory holds one
            kept = self._kept = _Kept(owner, open_row())
        return kept


class _Kept:
    """An open file, which is closed when nothing refers to it any longer."""

    def __init__(self, owner: tuple[int, int, int], stream: IO[bytes]) -> None:
        self.owner, self.stream = owner, stream

    def __del__(self) -> None:
        self.stream.close()
