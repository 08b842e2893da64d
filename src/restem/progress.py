"""How long work tells how far it has come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, how much of it is done, and how much it is in all."""

Report = Callable[[int, int], None]
"""The same within one stage: how much is done, and how much it is in all."""

_POLL_S = 0.5


def stage(progress: Progress | None, name: str) -> Report:
    """What reports the progress of the stage `name`; where nobody asked for progress, it does nothing."""
    return lambda done, total: None if progress is None else progress(name, done, total)


@contextmanager
def polling(report: Callable[[], None]) -> Iterator[None]:
    """Calls `report` twice a second while the body waits for other processes, and once at its end."""
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
