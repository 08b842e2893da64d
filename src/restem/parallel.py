"""The same function over many items, in worker processes."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from restem.errors import RestemError

Item = TypeVar("Item")
Result = TypeVar("Result")

_POLL_S = 0.5


def available_workers() -> int:
    """The number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_unordered(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[int, Result]]:
    """Yields `(index, function(item))` as results come in; with one worker, or one item, in this process.

    function must be importable and a pure function of its item: which worker runs it, and when, must not matter.
    Raises what the function raises, and RestemError when a worker process dies.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        for index, item in enumerate(items):
            yield index, function(item)
        return
    # joblib rather than the standard pool: its workers do not import the caller's script again, so the Python API
    # needs no `if __name__ == "__main__"`, and it notices a worker that was killed.
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    jobs = (delayed(_numbered)(function, index, item, os.getpid()) for index, item in enumerate(items))
    try:
        with warnings.catch_warnings():
            # A worker that has grown is replaced between two jobs; no work is lost.
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
            yield from Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)(jobs)
    except TerminatedWorkerError as error:
        raise RestemError("A worker process died, perhaps for lack of memory; try again with --workers 1.") from error


@contextmanager
def polling(report: Callable[[], None]) -> Iterator[None]:
    """Calls `report` now and then while the body waits for other processes, and once at its end."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_POLL_S):
            report()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
    report()


def _numbered(function: Callable[[Item], Result], index: int, item: Item, parent: int) -> tuple[int, Result]:
    _end_with(parent)
    return index, function(item)


@cache
def _end_with(parent: int) -> None:
    """Ends this worker process soon after `parent`, which started it, has died.

    A worker of a killed command would go on with what it was at, in the way of the same command started again.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
