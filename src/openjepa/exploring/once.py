"""What takes long and is computed once, in a thread of its own."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ClassVar


class Once:
    """A value that a thread computes when it is first asked for. An error stays, and each that asks gets it."""

    computing: ClassVar[set[Future]] = set()  # of all that have begun and not ended

    def __init__(self, compute: Callable[[], Any]) -> None:
        self._compute, self._lock = compute, threading.Lock()
        self._future: Future | None = None

    def start(self) -> Future:
        with self._lock:
            if self._future is None:
                future: Future = Future()
                self._future = future
                future.set_running_or_notify_cancel()  # a request that goes away must not cancel it for the others
                threading.Thread(target=self._run, args=(future,), daemon=True).start()
            return self._future

    def _run(self, future: Future) -> None:
        self.computing.add(future)
        try:
            future.set_result(self._compute())
        except BaseException as error:
            future.set_exception(error)
        finally:
            self.computing.discard(future)

    @property
    def ready(self) -> bool:
        return self._future is not None and self._future.done()

    def get(self) -> Any:
        return self.start().result()
