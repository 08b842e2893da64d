"""The interface of executors, which apply one function to many items and yield results as they are ready."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs a pure function over items; where each one runs, and when, must not matter to the results."""

    def map_unordered(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, cpus: int = 1, gpus: int = 0, chunk: int = 1
    ) -> Iterator[tuple[int, Result]]:
        """Yields `(index, function(item))` as results come in.

        Parameters
        ----------
        function
            Importable by name, and a function of its item alone.
        items
            What it is applied to; items and results must be picklable.
        cpus, gpus
            How many cores and GPUs one call uses. An executor never runs more calls at once than it has of either.
        chunk
            How many items are sent to a process at once: more than one where a call takes milliseconds.

        Raises
        ------
        RestemError
            When the process that runs a call dies. Errors of the function are raised unchanged.
        """
        ...
