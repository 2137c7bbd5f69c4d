"""Worker processes end with the process that started them, and a signal to all of them does not end them first."""

import os
import signal
import sys
import threading
import time

import pytest
from support.processes import FORK, child

from openjepa.data.batches import in_order
from openjepa.data.workers import mapped


class Slow(list):
    def __init__(self, numbers):
        super().__init__([0, 1])
        self.numbers = numbers

    def __getitem__(self, item):
        return work(self.numbers, item)


def work(numbers, item):
    numbers.put(os.getpid())
    time.sleep(100)


def map_slowly(numbers):
    list(mapped(work, numbers, [0, 1], 2))


def load_slowly(numbers):
    list(in_order(Slow(numbers), [0, 1], 2))


def load_slowly_with_threads(numbers):
    """As where a library starts threads in each process that is forked, as LanceDB does."""
    os.register_at_fork(after_in_child=lambda: threading.Thread(target=time.sleep, args=(100,), daemon=True).start())
    load_slowly(numbers)


def ended(process):
    """Whether there is no process of a number, or nothing but its exit code."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("call", [load_slowly, map_slowly, load_slowly_with_threads])
def test_workers_end_with_their_parent_and_not_before(call):
    numbers = FORK.SimpleQueue()
    main = child(call, numbers)
    workers = [numbers.get() for _ in range(2)]
    for worker in workers:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.kill(worker, number)
    time.sleep(0.2)
    assert not any(map(ended, workers))
    main.kill()
    deadline = time.monotonic() + 20  # a second or two, where nothing else runs
    while not all(map(ended, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(map(ended, workers))


class HalfSlow(list):
    def __getitem__(self, item):
        time.sleep(100 * item)
        return item


def leave_busy_workers():
    loaded = in_order(HalfSlow([0, 1]), [0, 1], 2)
    next(loaded)
    raise KeyboardInterrupt from ValueError(loaded)  # which keeps the workers


def test_a_process_that_ends_with_busy_workers_ends_at_once():
    main = child(leave_busy_workers)
    main.join(20)
    ended_itself = main.exitcode
    main.kill()
    assert ended_itself == 1
