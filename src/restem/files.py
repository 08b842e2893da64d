"""Writing files so that they appear under their name only when they are whole."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Gives a temporary sibling of `path` to write to, and renames it to `path` at the end; on an error it is removed.

    The folder of `path` is made if it is missing. Whoever writes the same file at the same time writes to a sibling of
    their own; process numbers would not keep threads, or containers that share a folder, apart.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Writes `content` as readable JSON, atomically."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
