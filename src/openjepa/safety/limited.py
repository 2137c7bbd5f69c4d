"""Functions run in a child process with bounded memory and time, for libraries that damaged files can crash.

The child is a new Python process that imports the function by its name; it starts in a fifth of a second. Memory and
processor time are bounded where the system can do so (Linux: both; macOS: time; Windows: neither); a crash of the child
is an error of the call everywhere.
"""

import contextlib
import os
import pickle
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import IO, Any

from openjepa.errors import BadImage, UsageError
from openjepa.safety.limits import MAX_READER_MEMORY, MAX_READER_SECONDS
from openjepa.safety.processes import start_worker

if sys.platform == "linux":
    import resource

WALL = 20  # seconds of waiting in all for each second of processor time
REASON = 200  # characters
LENGTH = struct.Struct("<Q")
START = "import sys; sys.path[:] = {path!r}; from openjepa.safety.limited import serve; serve()"
CRASHES = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGTRAP")


class ReaderFailed(Exception):
    """A call in a child process did not end well; the message is the reason, one short line."""


class Child:
    """A child process in which functions are called, one at a time; it is started by the first call.

        with Child() as child:
            shapes = child.call(read_shapes, file)

    Can be pickled, and used after a fork: every process starts its own child. It ends when it is closed, or with the
    process that started it. After a crash the next call starts another.
    """

    def __init__(self) -> None:
        self._started: tuple[int, subprocess.Popen] | None = None

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __getstate__(self) -> dict:
        return {"_started": None}

    def call(self, function: Callable[..., Any], *arguments: Any, seconds: int = 0, memory: int = 0) -> Any:
        """function(*arguments); the function must be importable by name, arguments and result pickled.

        `seconds` of processor time and `memory` in bytes beyond what the libraries need: 0 for the limits of
        openjepa.safety.limits. Raises UsageError and BadImage as the function does, ReaderFailed for all else.
        """
        budget = seconds or MAX_READER_SECONDS.get(), memory or MAX_READER_MEMORY.get()
        process = self._running()
        try:
            _send(process.stdin, (function, arguments, *budget))
            how, value = _receive(process.stdout)
        except (EOFError, OSError):
            raise ReaderFailed(self._death(process, *budget)) from None
        except BaseException:
            self.close()  # it is still at work
            raise
        if how == "error":
            raise value
        return value

    def close(self) -> None:
        """End the child, if this process has started one."""
        if self._started and self._started[0] == os.getpid():
            process = self._started[1]
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    stream.close()  # type: ignore[union-attr]
        self._started = None

    def _running(self) -> subprocess.Popen:
        if self._started is None or self._started[0] != os.getpid():
            start = [sys.executable, "-c", START.format(path=sys.path)]
            # One thread each: those of a mathematical library would count as memory.
            quiet = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self._started = os.getpid(), subprocess.Popen(start, env=os.environ | quiet, **pipes)  # type: ignore
        return self._started[1]

    def _death(self, process: subprocess.Popen, seconds: int, memory: int) -> str:
        code = process.wait()
        self.close()
        name = signal.Signals(-code).name if code < 0 else ""
        if name in ("SIGPROF", "SIGALRM"):
            return f"takes longer than {seconds:,} seconds; {MAX_READER_SECONDS.variable} raises the limit"
        if name in CRASHES:
            return f"crashes the library that reads it ({name})"
        return f"ends the process that reads it ({name or f'exit code {code}'})"


def run_limited(function: Callable[..., Any], *arguments: Any, seconds: int = 0, memory: int = 0) -> Any:
    """`Child.call` in a child process of its own."""
    with Child() as child:
        return child.call(function, *arguments, seconds=seconds, memory=memory)


def serve() -> None:
    """The child: answer calls until the pipe is closed."""
    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)  # what libraries print would lie among the answers
    start_worker()
    while True:
        try:
            function, arguments, seconds, memory = _receive(calls)
        except EOFError:
            return
        _limit(seconds, memory)
        answer = _answer(function, arguments, memory)
        _limit(0, 0)
        _send(answers, answer)


def _answer(function: Callable[..., Any], arguments: tuple, memory: int) -> tuple[str, Any]:
    try:
        return "value", function(*arguments)
    except (UsageError, BadImage) as error:
        return "error", type(error)(str(error))
    except OSError as error:
        return "error", OSError(error.errno, error.strerror) if error.strerror else ReaderFailed(_first_line(error))
    except MemoryError:
        return "error", ReaderFailed(
            f"needs more than {memory:,} bytes of memory; {MAX_READER_MEMORY.variable} raises the limit"
        )
    except Exception as error:  # libraries raise nearly every built-in exception on damaged input
        return "error", ReaderFailed(_first_line(error))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:REASON]


def _limit(seconds: int, memory: int) -> None:
    """Limit what this process may use from now on; 0 for no limit."""
    if not hasattr(signal, "setitimer"):
        return
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, WALL * seconds)
    if sys.platform == "linux":
        most = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + memory if memory else most, most))


def _data_bytes() -> int:
    """The bytes of memory that this process has reserved for data."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmData"))
    return int(line.split()[1]) * 1024


def _send(stream: IO[bytes] | None, value: Any) -> None:
    assert stream is not None
    content = pickle.dumps(value)
    stream.write(LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def _receive(stream: IO[bytes] | None) -> Any:
    assert stream is not None
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    (size,) = LENGTH.unpack(head)
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return pickle.loads(content)
