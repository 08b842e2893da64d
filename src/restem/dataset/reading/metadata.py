"""Reads the JSON and YAML files in which datasets describe themselves, which nobody has to trust."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from restem.dataset.walk import AudioFile, Found
from restem.errors import DatasetError
from restem.plain_yaml import parse_yaml

_LARGEST_BYTES = 4 << 20  # Slakh2100's longest has 30 KB


def read_metadata(path: Path) -> Mapping[str, Any]:
    """The content of a `.json` or `.yaml` file that holds a mapping; raises DatasetError, which names the file."""
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise DatasetError(f"{path}: is too large for a description of a song ({path.stat().st_size} bytes).")
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text) if path.suffix.lower() == ".json" else parse_yaml(text)
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            f"{path}: cannot be read ({str(error).splitlines()[0] if str(error) else error})."
        ) from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: does not hold what describes a song.")
    return content


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """The mappings in a list, or among the values of a mapping; whatever else is there is left out."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, dict)]


def yes_or_no(value: Any) -> str:
    """`yes` or `no` for what YAML and JSON make of them; empty for everything else."""
    return {"true": "yes", "yes": "yes", "false": "no", "no": "no"}.get(str(value).lower(), "")


def files_below(found: Found) -> Mapping[str, AudioFile]:
    """Path -> audio file."""
    return {file.path: file for file in found.audio}


def folder_of(path: str) -> str:
    """The folder of a path, with a `/` at its end, or empty: `a/b.json` -> `a/`."""
    return path[: len(path) - len(PurePosixPath(path).name)]
