"""One process at a time works in a folder; the lock ends with the process, and nothing is left of a refused start."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from openjepa.errors import UsageError
from openjepa.files import lock
from openjepa.files.lock import locked

HOLD = "import sys; from pathlib import Path; from openjepa.files.lock import locked\n"
HOLD += "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def holder(tmp_path):
    """A process that holds tmp_path / "run"."""
    command = [sys.executable, "-c", HOLD, tmp_path / "run"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(lock, "WAIT", 0.05)


def test_a_second_process_is_told_and_the_lock_dies_with_the_first(holder, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"another process works in .*run: wait"), locked(tmp_path / "run"):
        pass
    monkeypatch.setattr(lock, "WAIT", 5.0)
    os.kill(holder.pid, signal.SIGKILL)
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "model").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["model"]


def test_an_error_leaves_no_folder_behind(tmp_path):
    with pytest.raises(UsageError, match="no images"), locked(tmp_path / "deep" / "run"):
        assert (tmp_path / "deep" / "run").is_dir()
        raise UsageError("no images")
    assert not list(tmp_path.iterdir())


def fail_with(number):
    def acquire(self, *_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    return acquire


def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lock.FileLock, "acquire", fail_with(errno.ENOLCK))
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "model").touch()
    assert "is on a file system without locks" in " ".join(capsys.readouterr().out.split())
    monkeypatch.setattr(lock.FileLock, "acquire", fail_with(errno.EROFS))
    with pytest.raises(UsageError, match=r"cannot write .*run: Read-only file system"), locked(tmp_path / "run"):
        pass
