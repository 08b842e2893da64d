"""A dry run: work is asked for as ever, and ends where it would begin.

So all that is wrong with the request is said, as the work itself would say it, and nothing is written. Work begins
where a folder is taken (`working.alone_in`), a stage is announced (`progress.stage`) or a file is written (`files`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar

STARTED = time.monotonic()
"""When this process began to load restem: on its ground floor this is loaded first."""

_DRY = ContextVar("dry", default=False)


class _BeginsHere(Exception):  # noqa: N818, since it is no error
    """Ends a dry run."""


def would_begin(work: Callable[[], object]) -> bool:
    """Calls `work` up to where it would begin; False if it ended before, because nothing is left to do.

    Raises what `work` raises before it begins.
    """
    token = _DRY.set(True)
    try:
        work()
    except _BeginsHere:
        return True
    finally:
        _DRY.reset(token)
    return False


def work_begins() -> None:
    """To be called where work begins: in a dry run it ends here."""
    if _DRY.get():
        raise _BeginsHere
