"""Worker processes: they end with the process that started them, and leave signals to it."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from typing import Any

from openjepa.errors import UsageError

UNGUARDED = "put what it does below `if __name__ == '__main__':`, because worker processes import it"
PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


def start_method() -> BaseContext:
    """How worker processes are started: forked on Linux, unless the user has set another method for this process.

    Raises SystemExit, with what to do, in a worker that runs the script of the user again.
    """
    refuse_in_import()
    chosen = multiprocessing.get_start_method(allow_none=True)
    return multiprocessing.get_context(chosen or ("fork" if sys.platform == "linux" else None))


def refuse_in_import() -> None:
    """Raise SystemExit, with what to do, in a worker process that imports the script of the user and so runs it."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(f"openjepa: this script runs in a worker process: {UNGUARDED}")


def worker_ended(error: BaseException) -> UsageError:
    """The error to raise where a worker process has ended before its work was done."""
    return UsageError(
        f"a worker process ended unexpectedly ({first_line(error)}): where the memory was too small, give fewer "
        f"--workers, or 0; in a script, {UNGUARDED}"
    )


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def sigterm_blocked() -> Iterator[None]:
    """Within this context SIGTERM waits. Worker processes are started in it, and inherit that.

    Blocking it in `start_worker` alone would be too late: a library may start threads in a process as it is forked
    (LanceDB does), and one of them would take the signal.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_worker() -> None:
    """To be called first in a worker process.

    A signal to a whole group of processes (Ctrl-C, a batch system, a closed terminal) is for the main process, which
    may need its workers once more to write a checkpoint, and ends them itself.
    """
    end_with_parent()
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS, where SIGTERM to all ends the workers
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_told, args=(_parent(),), daemon=True).start()


def end_with_parent() -> None:
    """Have this process killed when its parent ends, however that ends.

    The system does so on Linux. Elsewhere, and where a server forks the workers, a thread waits for the end of the
    process that started this one by `multiprocessing`.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and not (sys.platform == "linux" and parent.pid == os.getppid()):
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _parent() -> int:
    parent = multiprocessing.parent_process()
    return parent.pid if parent is not None and parent.pid else os.getppid()


def _end_when_told(parent: int) -> None:
    """Wait for SIGTERM from the parent; from others it is ignored."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def _follow(sentinel: Any) -> None:
    wait([sentinel])
    os._exit(1)
