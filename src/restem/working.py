"""One process at a time works in an output folder; a second one is told who does.

The lock is on a file in the folder, `.at-work`, which names its owner. The system lets it go when the owner dies,
however that happens, so a file that a killed process left behind stops nobody.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from restem.dry_running import work_begins
from restem.errors import RunError
from restem.files import lock

LOCK_FILE = ".at-work"

# Set by torchrun, Lightning and Slurm in the processes of one training, which share its folder.
_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")


def is_first_process() -> bool:
    """Whether this process is the first of those that share a training, or the only one."""
    return all(os.environ.get(rank, "0") == "0" for rank in _RANKS)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keeps others out of `folder` as long as the body runs; makes the folder if it is missing.

    Raises RunError when another process, or another thread of this one, works in it.
    """
    work_begins()
    if not is_first_process():
        yield  # the first process of this training has the lock
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    descriptor = _opened(path)
    try:
        os.truncate(descriptor, 0)
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()} since {since}".encode())
        yield
    finally:
        with suppress(PermissionError):  # on Windows, for an open file; there it stays
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _opened(path: Path) -> int:
    """Opens and locks the file; raises RunError when somebody else has it locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if not lock(descriptor):
            owner = os.read(descriptor, 1000).decode(errors="replace") or "another process"
            os.close(descriptor)
            raise RunError(f"{path.parent}: {owner} works in it; wait until it has ended, or choose another `out`.")
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        os.close(descriptor)  # its owner ended, and removed it
