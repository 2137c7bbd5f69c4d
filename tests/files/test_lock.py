"""One process at a time works in a folder; the lock ends with the process, and nothing is left of a refused start."""

import errno
import os
import signal
import time

import pytest
from support.processes import FORK, child

import openjepa
from openjepa.errors import UsageError
from openjepa.files import lock
from openjepa.files.lock import locked


def hold(folder, ready):
    with locked(folder):
        ready.set()
        time.sleep(100)


@pytest.fixture
def holder(tmp_path):
    """A process that holds tmp_path / "run"."""
    ready = FORK.Event()
    process = child(hold, tmp_path / "run", ready)
    assert ready.wait(20)
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


COMMANDS = {
    "pretrain": lambda photos, out, **more: openjepa.pretrain(photos, out=out, steps=1, workers=0, **more),
    "demo": lambda photos, out, **more: openjepa.demo(data=photos, out=out, steps=1, **more),
    "finetune": lambda photos, out, **more: openjepa.finetune("untrained:vit_nano", photos, out=out, workers=0, **more),
    "tune": lambda photos, out, **more: openjepa.tune(photos, out=out, workers=0, **more),
    "data prepare": lambda photos, out, resume=False: openjepa.data_prepare(photos, out, size=8, workers=0),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
@pytest.mark.parametrize("resume", [False, True])
def test_every_command_that_works_in_a_folder_locks_it(holder, photos, tmp_path, command, resume):
    with pytest.raises(UsageError, match=r"another process works in .*run: wait"):
        command(photos, tmp_path / "run", resume=resume)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
