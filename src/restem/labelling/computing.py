"""How the networks of a run are computed: what decides about the last digits of its results besides its request.

It is decided once, kept in `run.json`, and sent with every task: where a task runs, and what the machine there could
do, does not matter. A run that was interrupted goes on with what it was begun with, also on another machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from restem.devices import precision
from restem.executing.interface import Executor
from restem.executing.processes import available_cores


@dataclass(frozen=True)
class Computing:
    """device: `cpu`, `cuda` or `mps`. precision: Lightning's, of a training. threads: torch's on a CPU, of one task."""

    device: str
    precision: str
    threads: int

    @property
    def cpus(self) -> int:
        """How many cores one task uses."""
        return self.threads if self.device == "cpu" else 1

    @property
    def gpus(self) -> int:
        """How many GPUs one task uses."""
        return 0 if self.device == "cpu" else 1

    @classmethod
    def decided(cls, device: str, folds: int, executor: Executor, before: Mapping[str, Any] | None = None) -> Computing:
        """What it was before, on the same device; else what suits `device` and the number of folds.

        One thread each for parallel trainings is both faster than all threads for one, and not slowed by other programs
        on the same cores. Raises UsageError for a device that is not available.
        """
        device = executor.choose_device(device)
        if before is not None and before["device"] == device:
            return cls(**before)
        if device == "cuda":  # which this machine may not have
            ((_, found),) = executor.map_unordered(precision, [device], gpus=1)
        else:
            found = precision(device)
        return cls(device, found, max(1, available_cores() // max(2, folds)))
