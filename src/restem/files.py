"""Writes files and folders atomically: each appears under its name only when it is complete."""

from __future__ import annotations

import glob
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # on Windows, where what a killed owner left stays
    fcntl = None  # type: ignore[assignment]


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yields a temporary sibling of `path` to write to, and renames it to `path` at the end; on an error it is removed.

    The folder of `path` is made if it is missing. The name of the sibling is random, so that concurrent writers of one
    file do not collide; process numbers would not distinguish threads, or containers that share a folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def folder_written_aside(path: Path) -> Iterator[Path]:
    """Gives a temporary folder beside `path` to fill, and renames it to `path` at the end; on an error it is removed.

    `path` must not exist, or be an empty folder, when the body ends; else OSError. The temporary folder has a random
    name, and only its owner removes it: while it is filled its owner holds a lock on it, which a kill lets go. What
    killed owners left behind is removed by whoever writes the same folder next.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    with ExitStack() as held:
        aside = _aside(path)
        aside.mkdir()
        # Another process may have taken the folder for abandoned before it was locked.
        while not held.enter_context(_locked(aside)) or not aside.exists():
            aside = _aside(path)
            aside.mkdir()
        try:
            yield aside
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            aside.rename(path)
        finally:
            # Removes links, never what they lead to.
            shutil.rmtree(aside, ignore_errors=True)


def write_json(path: Path, content: Any) -> None:
    """Writes `content` as readable JSON, atomically."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


@contextmanager
def _locked(folder: Path, *, if_unknown: bool = True) -> Iterator[bool]:
    """Locks a folder for this process as long as the body runs, and yields whether nobody else has it locked.

    if_unknown: what is yielded where folders cannot be locked.
    """
    if fcntl is None:
        yield if_unknown
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # somebody has removed it
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = True
    except BlockingIOError:
        alone = False
    except OSError:
        alone = if_unknown
    try:
        yield alone
    finally:
        os.close(descriptor)


def _remove_abandoned(path: Path) -> None:
    """Removes the temporary folders of `path` whose owners were killed."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with suppress(OSError), _locked(left, if_unknown=False) as abandoned:
            if abandoned:
                shutil.rmtree(left, ignore_errors=True)
