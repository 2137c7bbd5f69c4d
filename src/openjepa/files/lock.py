"""One process at a time works in a folder, or on what a lock file stands for."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from openjepa.console import log
from openjepa.errors import UsageError
from openjepa.files.outputs import check_can_write, check_folder_name
from openjepa.files.writing import usage_error
from openjepa.ranks import on_rank_zero
from openjepa.safety.processes import refuse_in_import

LOCK = ".lock"
WAIT = 1.0  # seconds; the workers of a process that was just killed need a moment to end
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def locked(folder: Path, any_name: bool = False, wait: float | None = None) -> Iterator[None]:
    """Within this context no other process can lock `folder`, which is made; an error leaves no empty folder behind.

    Of several processes of one run, rank 0 locks it. The lock ends with the process, however that ends. Raises
    UsageError if another process still has it after `wait` seconds (a moment), if the folder cannot be written to, or,
    without `any_name`, if no weights can be read from a folder of its name. On a file system without locks a line says
    so and nothing is locked.
    """
    refuse_in_import()
    if not any_name:
        check_folder_name(folder)
    with contextlib.ExitStack() as stack:
        on_rank_zero(lambda: stack.enter_context(_held(folder, WAIT if wait is None else wait)))
        yield


@contextlib.contextmanager
def taken(path: Path, wait: float = 0.0) -> Iterator[bool]:
    """Within this context no other process takes the lock file `path`; gives False where another has it.

    For `wait` seconds it is waited for. Its folder must exist. Raises UsageError if it cannot be written to.
    """
    refuse_in_import()
    lock, ours = None, True
    try:
        lock = _acquire(path, wait)
    except Timeout:
        ours = False
    try:
        yield ours
    finally:
        _release(lock)


def is_locked(folder: Path) -> bool:
    """Whether a process holds the lock of a folder; False where that cannot be found out."""
    return is_taken(folder / LOCK)


def is_taken(path: Path) -> bool:
    """Whether a process holds a lock file; False where that cannot be found out."""
    if not path.is_file():
        return False
    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


@contextlib.contextmanager
def _held(folder: Path, wait: float) -> Iterator[None]:
    check_can_write(folder / LOCK)
    made = [above for above in (folder, *folder.parents) if not above.exists()]
    try:
        with usage_error(folder):
            folder.mkdir(parents=True, exist_ok=True)
        lock = _acquire_folder(folder, wait)
        try:
            yield
        finally:
            _release(lock)
    finally:
        for place in made:
            with contextlib.suppress(OSError):  # it is not empty
                place.rmdir()


def _acquire_folder(folder: Path, wait: float) -> FileLock | None:
    try:
        return _acquire(folder / LOCK, wait)
    except Timeout:
        raise UsageError(f"another process works in {folder}: wait until it has ended, or give another name") from None


def _acquire(path: Path, wait: float) -> FileLock | None:
    """The lock of a file, held; None on a file system without locks. Raises Timeout, and UsageError if it cannot."""
    lock = FileLock(path, timeout=wait, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise UsageError(f"cannot write {path.parent}: {error.strerror or error}; give another name") from error
        log(f"{path.parent} is on a file system without locks: start no second command that writes there")
        return None
    return lock


def _release(lock: FileLock | None) -> None:
    if lock:
        with contextlib.suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()
