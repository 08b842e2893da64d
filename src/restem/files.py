"""Writes files and folders atomically: each appears under its name only when it is complete."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout


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
    """Yields a temporary folder beside `path` to fill, and renames it to `path` at the end; on an error it is removed.

    `path` must not exist, or be an empty folder, when the body ends; else OSError. The temporary folder has a random
    name, and only its owner removes it: the owner holds a lock while filling it, which a kill releases. Folders left
    behind by killed owners are removed by the next writer of the same folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    aside = _aside(path)
    with _lock_of(aside):
        try:
            aside.mkdir()
            yield aside
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            aside.rename(path)
        finally:
            # Removes links, never what they point to.
            shutil.rmtree(aside, ignore_errors=True)
            Path(_lock_of(aside).lock_file).unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Writes `content` as readable JSON, atomically."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def _lock_of(aside: Path) -> FileLock:
    return FileLock(aside.with_name(f"{aside.name}.lock"), timeout=0)


def _remove_abandoned(path: Path) -> None:
    """Removes the temporary folders of `path` whose owners were killed."""
    for lock_file in path.parent.glob(f".{_literally(path.name)}.*.part.lock"):
        aside = lock_file.with_name(lock_file.name.removesuffix(".lock"))
        with suppress(Timeout, OSError), _lock_of(aside):
            shutil.rmtree(aside, ignore_errors=True)
            lock_file.unlink(missing_ok=True)


def _literally(name: str) -> str:
    """A glob pattern that matches `name` and nothing else."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
