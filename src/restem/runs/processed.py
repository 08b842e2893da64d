"""Stems whose sound is processed before they are exported, and how that is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Processed:
    """The file that an export has instead of a stem's own. note: what was done to it, for the manifest."""

    file: Path
    note: Mapping[str, Any]


ProcessedStems = Mapping[str, Processed]
"""Stem name -> what is exported in its place."""
