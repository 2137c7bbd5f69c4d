"""Ctrl-C, termination and a closed terminal end a run between two steps; a second Ctrl-C ends it at once."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stop:
    asked = False


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Within this context, the first signal sets `asked`, and the next acts as it did outside.

    Under torchrun, which passes on the signals that a terminal has already sent, the next sets `asked` again.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    # A signal that is ignored stays so: nohup has SIGHUP ignored.
    handled = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in handled.items() if handler != signal.SIG_IGN}

    def ask(_number: int, _frame: object) -> None:
        stop.asked = True
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        restore()
