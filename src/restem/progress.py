"""Progress callbacks of long work, and its log: each stage is logged as INFO of the logger `restem` when it begins."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from restem.dry_running import work_begins

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, the units of work done in it, and their total."""

Report = Callable[[int, int], None]
"""Called within one stage with the units of work done, and their total."""

_LOGGER = logging.getLogger("restem")
_POLL_S = 0.5


def stage(progress: Progress | None, name: str) -> Report:
    """Begins the stage `name`: a function that reports its progress, and does nothing if `progress` is None."""
    work_begins()
    _LOGGER.info("%s", name)
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
