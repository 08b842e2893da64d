"""Writes files and folders atomically: each appears under its name only when it is complete."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restem.addresses import Address, upload
from restem.dry_running import work_begins

try:
    import fcntl
except ImportError:  # on Windows, where what a killed owner left stays
    fcntl = None  # type: ignore[assignment]

_ASIDE = re.compile(r"\.(?P<name>.+)\.[^.]+\.part", re.DOTALL)
_LISTED_PER_WRITE = 64  # files, at most, in the long run


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yields a temporary sibling of `path` to write to, and renames it to `path` at the end; on an error it is removed.

    The folder of `path` is made if it is missing. At an address, the file is put there at the end. See `_aside` for
    concurrent writers of one file. Raises FileNotFoundError when the body writes nothing.
    """
    work_begins()
    if isinstance(path, Address):
        with tempfile.TemporaryDirectory() as folder:
            aside = Path(folder) / "file"
            yield aside
            upload([(aside, path)])
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _aside(path, _make_unwritten) as aside:
        try:
            yield aside
            if aside.stat().st_mtime_ns == 0:
                raise FileNotFoundError(errno.ENOENT, "Nothing was written", str(aside))
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


@contextmanager
def folder_written_aside(path: Path) -> Iterator[Path]:
    """Gives a temporary folder beside `path` to fill, and renames it to `path` at the end; on an error it is removed.

    `path` must not exist, or be an empty folder, when the body ends; else OSError. See `_aside` for concurrent writers.
    """
    work_begins()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _aside(path, Path.mkdir) as aside:
        try:
            yield aside
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            aside.rename(path)
        finally:
            # Removes links, never what they lead to.
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Gives a temporary folder beside `path` to fill, which is removed at the end; see `_aside`."""
    with _aside(path, Path.mkdir) as aside:
        try:
            yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def read_json(path: Path) -> Any:
    """Reads JSON; raises OSError when the file cannot be read, and ValueError for what is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def write_json(path: Path, content: Any) -> None:
    """Writes `content` as readable JSON, atomically."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def _aside(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """Makes a temporary sibling of `path`, which only its owner removes, and yields it.

    Its name is random: process numbers would not distinguish threads, or containers that share a folder. As long as the
    body runs its owner holds a lock on it, which a kill lets go; what killed owners left behind is removed by whoever
    writes the same path next.
    """
    _remove_abandoned(path)
    while True:
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        make(aside)
        with _locked(aside) as alone:
            # Another process may have taken it for abandoned before it was locked.
            if alone and aside.exists():
                yield aside
                return


def _make_unwritten(aside: Path) -> None:
    """Makes an empty file whose time says whether it was ever written to."""
    aside.touch(exist_ok=False)
    with suppress(FileNotFoundError):  # taken for abandoned, and removed
        os.utime(aside, ns=(0, 0))


@contextmanager
def _locked(path: Path, *, if_unknown: bool = True) -> Iterator[bool]:
    """Locks a file or folder as long as the body runs, and yields whether nobody else has it locked.

    if_unknown: what is yielded where it cannot be locked.
    """
    if fcntl is None:
        yield if_unknown
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:  # somebody has removed it
        yield False
        return
    try:
        yield lock(descriptor, if_unknown)
    finally:
        os.close(descriptor)


def lock(descriptor: int, if_unknown: bool = True) -> bool:
    """Locks an open file for this descriptor, until it is closed or its process has died; False if another one has it.

    if_unknown: what is returned where files cannot be locked.
    """
    if fcntl is None:
        return if_unknown
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return if_unknown
    return True


@dataclass
class _Listed:
    """The temporary files and folders in a folder when it was listed last: what they become -> their paths.

    good_for: after how many more writes it is listed again.
    """

    asides: dict[str, list[Path]]
    good_for: int


_listed: dict[Path, _Listed] = {}
"""Of folders with many files. To list them for each write would take time that grows as the square of the files."""


def _remove_abandoned(path: Path) -> None:
    """Removes the temporary siblings of `path` whose owners were killed."""
    for left in _asides_in(path.parent).get(path.name, ()):
        with suppress(OSError), _locked(left, if_unknown=False) as abandoned:
            if abandoned and left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            elif abandoned:
                left.unlink()


def _asides_in(folder: Path) -> dict[str, list[Path]]:
    """The temporary files and folders in a folder, by the name of what they become."""
    seen = _listed.pop(folder, None)
    if seen is None or not seen.good_for:
        names, asides = list[str](), dict[str, list[Path]]()
        with suppress(OSError), os.scandir(folder) as entries:  # it may be written to and not read
            names = [entry.name for entry in entries]
        for name in names:
            if name.endswith(".part") and (found := _ASIDE.fullmatch(name)):
                asides.setdefault(found["name"], []).append(folder / name)
        seen = _Listed(asides, len(names) // _LISTED_PER_WRITE + 1)
    seen.good_for -= 1
    if seen.good_for:
        _listed[folder] = seen
    return seen.asides
