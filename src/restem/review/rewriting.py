"""`labels.csv` is rewritten after decisions: at once for a small run; for a large one when a few seconds have passed.

Nothing is lost meanwhile: decisions are in the ledger, from which `open_run` and the next start of a review read them.
"""

from __future__ import annotations

import logging
import threading

from restem.errors import RestemError
from restem.runs.run import Run, write_decided

_LOGGER = logging.getLogger("restem")

# Of so many stems the table is rewritten in some 20 ms.
_MOST_AT_ONCE = 5_000
_LATER_S = 5.0


class LazyLabels:
    """Rewrites the table of a run. A session may use it from several threads."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._at_once = len(run.found) <= _MOST_AT_ONCE
        self._lock = threading.Lock()
        self._waiting: threading.Timer | None = None

    def changed(self) -> None:
        """Something was decided."""
        if self._at_once:
            write_decided(self._run)
            return
        with self._lock:
            if self._waiting is None:
                self._waiting = threading.Timer(_LATER_S, self._write)
                self._waiting.daemon = True
                self._waiting.start()

    def finish(self) -> None:
        """Rewrites it now, if something was decided since the last time."""
        with self._lock:
            waiting = self._waiting
        if waiting is not None:
            waiting.cancel()
            self._write()

    def _write(self) -> None:
        with self._lock:
            self._waiting = None
        try:
            write_decided(self._run)
        except (OSError, RestemError) as error:
            _LOGGER.warning("labels.csv could not be rewritten (%s); the decisions are kept.", error)
