"""Code of the user's that follows a run: it is told of steps, records and checkpoints, and may stop the run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from openjepa.errors import UsageError
from openjepa.safety.schema import shortened


class StopTraining(Exception):
    """Raised by a callback to stop the run after the current step; the text says why."""


class CallbackFailed(RuntimeError):
    """A callback raised an exception, which is the cause of this one. The steps taken are in a checkpoint."""


class Started(NamedTuple):
    """A run that begins, or goes on after `step`, and ends after `steps`; `settings` are those that shape it."""

    folder: Path
    step: int
    steps: int
    batch_size: int
    settings: dict[str, Any]


class Callback:
    """Derive from this and override what you need; every method does nothing by default.

    Of several processes, rank 0 alone calls it, between two steps. Any method but `on_end` may raise `StopTraining`:
    the run then saves a checkpoint and ends, to be resumed bit for bit. After another exception it saves a checkpoint
    too, and raises `CallbackFailed`.
    """

    def on_start(self, run: Started) -> None:
        """Before the first step of this process."""

    def on_step(self, step: int, loss: Tensor) -> None:
        """After each step: the number of steps taken, and the loss, a scalar on the device without gradient.

        `float(loss)` waits for the device; at every step that slows down a run on a GPU. Of several processes it is
        the loss of the images of rank 0.
        """

    def on_record(self, record: dict[str, Any]) -> None:
        """After each line of metrics.jsonl: numbers by name, `step` among them, and sometimes `status`, `verdict`."""

    def on_checkpoint(self, step: int, path: Path) -> None:
        """After a checkpoint has been written to the folder `path`."""

    def on_end(self) -> None:
        """Once, after the last of the other calls, whether the run finished, was stopped, or failed."""


class Callbacks:
    """The callbacks of a run; `stopped` says which one asked to stop and why, `failed` which one raised what."""

    def __init__(self, callbacks: Sequence[Callback] = ()) -> None:
        for callback in callbacks:
            if not isinstance(callback, Callback):
                made = " an instance of" if isinstance(callback, type) else ""
                raise UsageError(
                    f"callbacks: {shortened(repr(callback))} is no callback: give{made} a class derived from "
                    "openjepa.Callback"
                )
        self.callbacks = list(callbacks)
        self.stopped = self.failed = ""
        self.error: Exception | None = None

    def tell(self, method: str, *arguments: Any) -> None:
        """Call a method of every callback; what one raises is kept, so that the others are called too."""
        for callback in self.callbacks:
            self._call(callback, method, *arguments)

    def _call(self, callback: Callback, method: str, *arguments: Any) -> None:
        name = type(callback).__name__
        try:
            getattr(callback, method)(*arguments)
        except StopTraining as stop:
            self.stopped = self.stopped or ": ".join(filter(None, (name, str(stop))))
        except Exception as error:  # raised by code of the user's
            self.failed = self.failed or f"{name}.{method} raised {type(error).__name__}: {error}"
            self.error = self.error or error
