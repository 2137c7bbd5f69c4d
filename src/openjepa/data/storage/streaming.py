"""Sources that can only be read from the first image to the last: best effort, a window of images at a time."""

import io
import os
from collections.abc import Callable, Iterator
from itertools import islice
from typing import BinaryIO

from openjepa.errors import BadImage

WINDOW = 512
GONE = "the stream ended before it"


class Sequential:
    """`start()` begins the stream of the bytes of all images anew; each process reads it for itself.

    Images of one window can be read in any order; going back to an earlier window starts the stream again.
    """

    window = WINDOW

    def __init__(self, start: Callable[..., Iterator[bytes]], *arguments: object) -> None:
        self._start, self._arguments = start, arguments
        self._state: _Stream | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_state": None}

    def open(self, row: int) -> BinaryIO:
        return io.BytesIO(self._held(row))

    def stamp(self, row: int) -> tuple[int, ...]:
        return (len(self._held(row)),)

    def _held(self, row: int) -> bytes:
        wanted, place = divmod(int(row), WINDOW)
        state = self._state
        if state is None or state.process != os.getpid() or state.number > wanted:
            self._state = state = _Stream(self._start(*self._arguments))
        while state.number < wanted:
            state.advance(wanted)
        if place >= len(state.held):
            raise BadImage(f"{GONE} ({state.fault})" if state.fault else GONE)
        return state.held[place]


class _Stream:
    """Where a process is in a stream: the images of window `number`; `fault` is the reason why there are no more."""

    def __init__(self, images: Iterator[bytes]) -> None:
        self.process, self.number, self.fault = os.getpid(), -1, ""
        self.held: list[bytes] = []
        self._images = images

    def advance(self, wanted: int) -> None:
        self.number, self.held = self.number + 1, []
        try:
            for content in islice(self._images, WINDOW):
                self.held.append(content if self.number == wanted else b"")
        except Exception as error:  # whatever a server, a decompressor or an archive can raise
            self.fault, self._images = str(error).split("\n")[0] or type(error).__name__, iter(())
