"""Work on many items in several processes."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from openjepa.data.dataset import ImageDataset
from openjepa.safety.processes import sigterm_blocked, start_method, start_worker, worker_ended

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")

_work: tuple[Callable[[Any, Any], Any], Any]  # of a worker process: the function and its first argument

FOR_STREAMS = 2


def workers_for(dataset: ImageDataset, workers: int) -> int:
    """At most two of so many processes where images can only be streamed, because each reads the whole stream."""
    return min(workers, FOR_STREAMS) if dataset.window else workers


def mapped(
    function: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item], workers: int
) -> Iterator[Result]:
    """function(shared, item) for every item, in order, in at most `workers` processes (0: in this one).

    `shared` is sent to each process once. After an error, items that have not been started are not worked on. Raises
    UsageError where a process has ended before its work was done.
    """
    workers = min(workers, len(items))
    if workers <= 0:
        yield from (function(shared, item) for item in items)
        return
    with ProcessPoolExecutor(workers, start_method(), initializer=_start, initargs=(function, shared)) as pool:
        try:
            with sigterm_blocked():
                results = pool.map(_call, items)
            yield from results
        except BrokenProcessPool as error:
            raise worker_ended(error) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _start(function: Callable[[Any, Any], Any], shared: Any) -> None:
    global _work
    start_worker()
    _work = function, shared


def _call(item: Any) -> Any:
    function, shared = _work
    return function(shared, item)
