"""Calls in a child process: results, errors, and children that crash, balloon or never finish."""

import multiprocessing
import operator
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openjepa.data.decoding.scientific import check_size
from openjepa.errors import BadImage, UsageError
from openjepa.safety.limited import Child, ReaderFailed, run_limited
from openjepa.safety.limits import LIMITS, MAX_PIXELS, reader_seconds, unpacked_bytes

needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="memory and time are bounded on Linux")


def test_results_and_errors_come_back():
    with Child() as child:
        assert child.call(sorted, [3, 1, 2]) == [1, 2, 3]
        with pytest.raises(BadImage, match="no pixels"):
            child.call(check_size, 0, 0)
        with pytest.raises(ReaderFailed, match=r"^division by zero$"):
            child.call(operator.truediv, 1, 0)
        with pytest.raises(ReaderFailed, match=r"^invalid literal.{176,185}$"):
            child.call(int, "x" * 1000)
        assert len(child.call(bytes, 3_000_000)) == 3_000_000


@needs_limits
@pytest.mark.parametrize(
    ("function", "arguments", "reason"),
    [
        (os.abort, (), r"crashes the library that reads it \(SIGABRT\)"),
        (signal.raise_signal, (signal.SIGSEGV,), r"crashes the library that reads it \(SIGSEGV\)"),
        (os._exit, (3,), r"ends the process that reads it \(exit code 3\)"),
        (bytes, (2**40,), "needs more than 67,108,864 bytes of memory; OPENJEPA_MAX_READER_MEMORY raises the limit"),
        (sum, (range(10**12),), "takes longer than 1 seconds; OPENJEPA_MAX_READER_SECONDS raises the limit"),
    ],
)
def test_children_that_crash_balloon_or_hang_are_an_error_and_the_next_call_works(function, arguments, reason):
    with Child() as child:
        with pytest.raises(ReaderFailed, match=reason):
            child.call(function, *arguments, seconds=1, memory=2**26)
        assert child.call(len, "abc") == 3


@needs_limits
def test_memory_is_bounded_anew_in_every_call():
    with Child() as child:
        assert child.call(bytes, 2**25, memory=2**27) == bytes(2**25)
        with pytest.raises(ReaderFailed, match="memory"):
            child.call(bytes, 2**26, memory=2**25)
        assert child.call(bytes, 2**26, memory=2**28) == bytes(2**26)


def test_what_libraries_print_is_not_taken_for_an_answer():
    assert run_limited(os.write, 1, b"noise") == 5


def test_every_process_has_its_own_child():
    child = Child()
    mine = child.call(os.getpid)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(child_of, (pickle.loads(pickle.dumps(child)),)) != mine
    assert child.call(os.getpid) == mine
    child.close()


def child_of(child: Child) -> int:
    with child:
        return child.call(os.getpid)


def test_a_child_ends_with_the_process_that_started_it():
    code = "import os; from openjepa.safety.limited import Child; c = Child(); print(c.call(os.getpid), flush=True)"
    code += "; os._exit(0)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment).stdout)
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the child still runs")


def test_limits_are_set_by_the_environment(monkeypatch):
    assert MAX_PIXELS.get() == 89_478_485
    monkeypatch.setenv("OPENJEPA_MAX_PIXELS", "1000")
    assert MAX_PIXELS.get() == 1000
    assert MAX_PIXELS.words() == "the limit is 1,000 pixels; OPENJEPA_MAX_PIXELS raises it"
    for wrong in ("0", "-1", "1e9", "many", "9" * 30):
        monkeypatch.setenv("OPENJEPA_MAX_PIXELS", wrong)
        with pytest.raises(UsageError, match=r"OPENJEPA_MAX_PIXELS=.* give a whole number above 0"):
            MAX_PIXELS.get()


def test_limits_have_names_and_grow_with_the_file():
    assert len({limit.name for limit in LIMITS}) == len(LIMITS) > 10
    assert unpacked_bytes(10**6) == 2**26 + 10**8
    assert reader_seconds(2**30) == 4 + 64


def test_the_page_on_data_lists_every_limit():
    page = (Path(__file__).parents[2] / "docs/data.md").read_text()
    for limit in LIMITS:
        assert f"| `{limit.variable}` | {limit.default:,} {limit.unit} | {limit.help} |" in page
