"""What all tests share: one thread, so that numbers do not depend on the machine, signals, files, a browser."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.photos import draw_photos

from openjepa.commands.report import report_at_end
from openjepa.models.vit import SIZES

torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start, which share the cores
# Both are ignored where the tests run in the background, and processes that tests start would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
ROOM = 8 * 2**30  # of which the tests need a fourth
SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure() -> None:
    """Write to memory where there is room: checkpoints are forced to the disk, which takes longer than the tests."""
    memory = Path("/dev/shm")
    if "TMPDIR" not in os.environ and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM:
        os.environ["TMPDIR"] = tempfile.tempdir = str(memory)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--need-shared", action="store_true", help="fail, rather than skip, without ../shared or Chromium")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No test reads features from the home of whoever runs it, or leaves any there."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def short_runs() -> Iterator[None]:
    """Runs leave out what takes longer than a few steps: report, trial steps, half of the blocks of vit_nano."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("openjepa.commands.pretrain.report_at_end", lambda *_, **__: None)
        patch.setattr("openjepa.training.timing.WARM_UP", 1)
        patch.setattr("openjepa.training.timing.TIMED", 1)
        patch.setitem(SIZES, "vit_nano", (128, 2, 4, 4.0))
        yield


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end with their report, as they do for users."""
    monkeypatch.setattr("openjepa.commands.pretrain.report_at_end", report_at_end)


@pytest.fixture
def shared(request: pytest.FixtureRequest) -> Path:
    """The folder of reference values and real images beside the repository."""
    if not SHARED.is_dir():
        message = f"reference files are not at {SHARED}"
        pytest.fail(message) if request.config.getoption("--need-shared") else pytest.skip(message)
    return SHARED


@pytest.fixture(scope="session")
def chromium(request: pytest.FixtureRequest) -> str:
    """The path of an installed Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        message = "Chromium is not installed"
        pytest.fail(message) if request.config.getoption("--need-shared") else pytest.skip(message)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """24 pictures in two classes that differ in colour."""
    return draw_photos(tmp_path / "photos")
