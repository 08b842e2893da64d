"""Songs that were measured before an evaluation was interrupted, so that the next one goes on after them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restem.files import write_json

_FILE = ".measured.json"


class Measured:
    """The rows of songs in a file in `folder`, or, where that is None, kept nowhere.

    request: what they depend on, as JSON; the rows of another request are forgotten.
    """

    def __init__(self, folder: Path | None, request: Mapping[str, Any]) -> None:
        self._path = None if folder is None else folder / _FILE
        self._request = json.loads(json.dumps(request))
        self._rows: dict[str, list[Any]] = {}
        if self._path is not None:
            try:
                found = json.loads(self._path.read_text(encoding="utf-8"))
                if found["request"] == self._request:
                    self._rows = dict(found["songs"])
            except (OSError, ValueError, KeyError, TypeError):
                self._rows = {}

    def of(self, song: str) -> list[Any] | None:
        """The rows of a song that was measured."""
        return self._rows.get(song)

    def keep(self, song: str, rows: list[Any]) -> None:
        """Writes down the rows of a song, lists of JSON values."""
        self._rows[song] = rows
        if self._path is not None:
            write_json(self._path, {"request": self._request, "songs": self._rows})

    def finish(self) -> None:
        """Nothing is to be gone on with."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
