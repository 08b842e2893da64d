"""The interface of executors, which apply one function to many items and yield results as they are ready."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Lost = Callable[[Item, str], Result]
"""What stands for the result of an item whose process died every time: (item, why) -> result."""


class Executor(Protocol):
    """Runs a pure function over items; where each one runs, and when, must not matter to the results."""

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
        """Yields `(index, function(item))` as results come in.

        When the process that runs a call dies, for lack of memory or because a file makes a decoder crash, the call is
        made again in another one, and the other items go on.

        Parameters
        ----------
        function
            Importable by name, and a function of its item alone. What all calls share is best bound to it with
            `functools.partial`.
        items
            What it is applied to; items and results must be picklable.
        cpus, gpus
            How many cores and GPUs one call uses. An executor never runs more calls at once than it has of either.
        chunk
            How many items are sent to a process at once: more than one where a call takes milliseconds.
        lost
            Makes the result of an item whose process died again; without it, that is an error.

        Raises
        ------
        RestemError
            When the process that runs a call dies again, and there is no `lost`. Errors of the function are raised
            unchanged.
        """
        ...

    def choose_device(self, device: str) -> str:
        """Where networks are to run: `auto` becomes `cuda`, `mps` or `cpu`, by what the calls' machines have.

        Raises UsageError for one that is not available.
        """
        ...
