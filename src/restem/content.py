"""Recognises what a file holds, by hashes of its bytes.

A size or a time can stay equal when the content changes: two stems are swapped, a song is rendered again at the same
length, a file is overwritten and its time set back. So results are kept under a hash of content as well.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from io import BufferedReader
from pathlib import Path

from restem.addresses import Address
from restem.fetching import fetched

# Files up to the first size are hashed whole. Of longer ones the head, the tail and blocks between them are, which
# takes as long for an hour of audio as for a minute.
_WHOLE_BYTES = 1 << 20
_END_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 14
_BLOCKS = 16

# A command asks for the digest of each file several times, which takes 20 reads. It is remembered under what tells of
# every change: the system sets the time of change, which no program can set back. But that time goes in ticks, of some
# ms to 2 s, within which a file may change twice; so nothing is remembered of a file that has just changed.
_SETTLED_NS = 5_000_000_000
_MOST_REMEMBERED = 1 << 20
_remembered: dict[bytes, bytes] = {}


def sample_digest(path: Path) -> str:
    """A hash of a file's size, head and tail, and of blocks evenly spaced between them; of a small file, of all of it.

    Of an object in storage, of its size and version, as listed. Raises OSError when the file cannot be read, or is not
    an ordinary file.
    """
    if isinstance(path, Address):
        size, version = path.stored()
        return hashlib.sha256(f"{size}\n{version}".encode()).hexdigest()
    status = path.stat()
    _check_ordinary(status, path)
    if (digest := _remembered.get(_state(status))) is not None:
        return digest.hex()
    began_ns = time.time_ns()
    with path.open("rb") as file:
        digest = _sampled(file)
        status = os.fstat(file.fileno())
    # On Windows the time of change is that of creation.
    if began_ns - status.st_ctime_ns > _SETTLED_NS and os.name != "nt":
        if len(_remembered) >= _MOST_REMEMBERED:
            _remembered.clear()
        _remembered[_state(status)] = digest
    return digest.hex()


def _state(status: os.stat_result) -> bytes:
    """What changes with the content of a file. Hashed, since there may be a million of them."""
    values = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return hashlib.blake2b(repr(values).encode(), digest_size=16).digest()


def _sampled(file: BufferedReader) -> bytes:
    size = os.fstat(file.fileno()).st_size
    digest = hashlib.sha256(str(size).encode() + b"\n")
    if size <= _WHOLE_BYTES:
        digest.update(file.read(_WHOLE_BYTES))
        return digest.digest()
    inner = size - 2 * _END_BYTES - _BLOCK_BYTES
    places = [_END_BYTES + inner * block // (_BLOCKS - 1) for block in range(_BLOCKS)]
    between = [(place, _BLOCK_BYTES) for place in places]
    for start, length in [(0, _END_BYTES), *between, (size - _END_BYTES, _END_BYTES)]:
        file.seek(start)
        digest.update(file.read(length))
    return digest.digest()


def file_sha256(path: Path) -> str:
    """The SHA-256 of a whole file; raises OSError as `sample_digest` does."""
    with fetched(path) as copy, _opened(copy) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_identity(path: Path) -> list[int | str]:
    """What no two different contents share: device, inode, size, times of change in ns, and the `sample_digest`.

    A file whose folder was moved on its disk keeps its identity, a copy has another one. Of an object in storage: its
    address, size and version. Raises OSError as `sample_digest` does.
    """
    if isinstance(path, Address):
        return [str(path), *path.stored()]
    status = path.stat()
    return [
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, sample_digest(path)
    ]  # fmt: skip


def last_written(path: Path) -> str:
    """When a file was last written to, in ns; of an object in storage, its version. Raises OSError as `stat` does."""
    return path.stored().version if isinstance(path, Address) else str(path.stat().st_mtime_ns)


def check_ordinary(path: Path) -> None:
    """Raises OSError for what is not an ordinary file: to open a pipe would wait for ever for its other end."""
    _check_ordinary(path.stat(), path)


def _check_ordinary(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(None, "Is a folder" if stat.S_ISDIR(status.st_mode) else "Is not an ordinary file", str(path))


def is_special(path: Path) -> bool:
    """Whether it is a pipe, a device or the like; False where even that may not be asked."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _opened(path: Path) -> BufferedReader:
    check_ordinary(path)
    return path.open("rb")
