"""The executor for one machine: worker processes, through joblib."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from restem.errors import RestemError, UsageError
from restem.executing.interface import Item, Lost, Result
from restem.memory import keep_freed_blocks

_WATCH_S = 0.5

_DIED = "its worker process died twice, perhaps for lack of memory"


def available_cores() -> int:
    """The number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Processes:
    """An `Executor` (see `restem.executing.interface`) with up to `workers` processes; with one, this process.

    Calls that use a GPU run in this process, one after the other: a GPU is not shared between trainings.
    Raises UsageError for fewer than one worker.
    """

    workers: int = field(default_factory=available_cores)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"`workers` must be at least 1, not {self.workers}.")

    @classmethod
    def of(cls, workers: int | None) -> Processes:
        """An executor with `workers` processes, by default one per available core."""
        return cls() if workers is None else cls(workers)

    def map_unordered(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        cpus: int = 1,
        gpus: int = 0,
        chunk: int = 1,
        lost: Lost[Item, Result] | None = None,
    ) -> Iterator[tuple[int, Result]]:
        """See `Executor.map_unordered`. A call in this process is not made again: this process dies with it."""
        keep_freed_blocks()
        at_once = 1 if gpus else min(max(1, self.workers // cpus), len(items))
        if at_once <= 1:
            for index, item in enumerate(items):
                yield index, function(item)
            return
        # joblib rather than the standard pool: its workers do not import the caller's script again, so the Python API
        # needs no `if __name__ == "__main__"`, and it notices a worker that was killed.
        from joblib import delayed
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        left, begun, here = iter(range(len(items))), set[int](), (os.getpid(), Path.cwd())

        def jobs() -> Iterator[Any]:
            for index in left:
                begun.add(index)
                yield delayed(_numbered)(function, index, items[index], here)

        while True:
            try:
                with warnings.catch_warnings():
                    # A worker whose memory has grown is replaced between two jobs; no work is lost.
                    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
                    for index, result in _pool(at_once, chunk)(jobs()):
                        begun.discard(index)
                        yield index, result
                return
            except TerminatedWorkerError:
                # All workers end with one that dies. Which call it died of shows when each is made alone.
                for index in sorted(begun):
                    begun.discard(index)
                    yield index, _alone(function, items[index], lost)

    def choose_device(self, device: str) -> str:
        """See `Executor.choose_device`."""
        from restem.devices import choose_device  # it loads torch

        return choose_device(device)


IN_THIS_PROCESS = Processes(1)


def _pool(workers: int, chunk: int = 1) -> Any:
    from joblib import Parallel

    return Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=chunk)


def _alone(function: Callable[[Item], Result], item: Item, lost: Lost[Item, Result] | None) -> Result:
    """Calls the function in a fresh worker process that does nothing else."""
    from joblib import delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    try:
        # With one worker joblib would make the call in this process.
        ((_, result),) = _pool(2)([delayed(_numbered)(function, 0, item, (os.getpid(), Path.cwd()))])
    except TerminatedWorkerError as error:
        if lost is None:
            raise RestemError(f"A task failed: {_DIED}; try again with `workers=1`.") from error
        return lost(item, _DIED)
    return result


def _numbered(
    function: Callable[[Item], Result], index: int, item: Item, caller: tuple[int, Path]
) -> tuple[int, Result]:
    """Calls the function where the caller is. caller: its process and its folder, to which paths are relative."""
    keep_freed_blocks()
    parent, folder = caller
    _end_with(parent)
    os.chdir(folder)  # a worker outlives the call that it was started for, in which the folder may have been another
    return index, function(item)


@cache
def _end_with(parent: int) -> None:
    """Ends this worker process soon after `parent`, which started it, has died.

    Otherwise a worker of a killed command would go on, and interfere with the same command started again.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
