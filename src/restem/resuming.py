"""Begins, resumes or refuses work in an output folder, by comparing its record with the request.

A record is a JSON file with the request (settings and inputs) and the state of the work. Before work begins, the record
in its folder is compared with the request: the same work is resumed, or is finished already; other work is refused,
naming the settings that differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from restem.errors import RunError
from restem.files import read_json, write_json, written_aside
from restem.working import LOCK_FILE

_INPUTS = {"fingerprint": "dataset", "content": "dataset", "written": "dataset", "sha256": "song"}
"""Keys of a request that are about the content of its input."""


class WorkRecord:
    """The record of the work in one folder: what was requested, and whether it is finished.

    Parameters
    ----------
    folder
        The output folder of the work.
    file
        The record's path in it.
    request
        Everything the result depends on, as JSON. A record matches if it holds the same values; it may hold more.
    what
        What the folder holds, for messages: `run`, `training`.
    unfinished
        The record's path while the work is unfinished, if `file` must only appear at the end.
    """

    def __init__(
        self, folder: Path, file: str, request: Mapping[str, Any], what: str, unfinished: str | None = None
    ) -> None:
        self.folder = folder
        self.path = folder / file
        self.unfinished = folder / (unfinished or file)
        self.request: dict[str, Any] = json.loads(json.dumps(request))
        self.what = what
        self.content: dict[str, Any] = {**self.request, "finished": False}

    def begin(self) -> bool:
        """Whether the work is finished already; False when it has to be begun or resumed.

        Nothing is written, so that a request that fails at once does not occupy the folder. Raises RunError when the
        folder holds other work, or other files.
        """
        for path in (self.path, self.unfinished):
            if path.exists():
                self.content = self._read(path)
                return bool(self.content.get("finished"))
        if self.folder.exists() and not self.folder.is_dir():
            raise RunError(f"{self.folder}: is a file; choose another `out`.")
        if self.folder.is_dir() and any(map(self._is_foreign, self.folder.iterdir())):
            raise RunError(f"{self.folder}: is not empty and holds no {self.what}; choose another `out`.")
        return False

    def read_again(self) -> dict[str, Any]:
        """What another process has noted since, in the record of unfinished work."""
        if self.unfinished.exists():
            self.content = self._read(self.unfinished)
        return self.content

    def note(self, **news: Any) -> None:
        """Adds `news` to the record of unfinished work."""
        self.content.update(news)
        write_json(self.unfinished, self.content)

    def finish(self, **news: Any) -> None:
        """Writes the record of the finished work, with `news` added."""
        self.content = {**self.content, "finished": True, **news}
        write_json(self.path, self.content)

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            found = read_json(path)
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict):
            raise RunError(f"{path}: is damaged; delete {self.folder}, and start again.")
        if others := differences(found, self.request):
            raise RunError(f"{self.folder}: {self._difference(others)}; choose another `out`, or delete it.")
        return found

    def _difference(self, keys: list[str]) -> str:
        """What differs between the record and the request, for a message."""
        # A change of settings, as of the classes, may change these hashes too, so it is named first.
        settings = [key for key in keys if key.rpartition(".")[2] not in _INPUTS]
        if not settings:
            return f"the {_INPUTS[keys[0].rpartition('.')[2]]} has changed since this {self.what} was made of it"
        named = [f"`{one.removeprefix('settings.')}`" for one in settings[:3]]
        return f"holds a {self.what} that differs in {', '.join(named)}{', ...' if settings[3:] else ''}"

    def _is_foreign(self, path: Path) -> bool:
        """Whether a file is anything but what a kill at the very start leaves: a lock, or part of a record."""
        unfinished = self.unfinished.relative_to(self.folder).parts
        return path.name not in (unfinished[0], LOCK_FILE) and not path.name.startswith(f".{unfinished[0]}.")


class ResumableRows:
    """Rows computed per song, kept so that interrupted work resumes after the songs that are done.

    They are kept in `file`, or only in memory if it is None: the request in its first line, and a line for each song,
    which is added when it is done. What a kill or a full disk leaves of the last line is written over. request:
    everything they depend on, as JSON; the rows of another request are discarded. One process at a time keeps rows.
    """

    def __init__(self, file: Path | None, request: Mapping[str, Any]) -> None:
        self._file = file
        self._first = _line({"request": request})
        self._rows: dict[str, list[Any]] = {}
        self._length = 0  # of the lines in the file that are whole, in bytes
        if file is None:
            return
        with suppress(OSError), file.open("rb") as lines:
            if lines.readline() != self._first:
                return
            self._length = len(self._first)
            for line in lines:
                try:
                    found: Any = json.loads(line) if line.endswith(b"\n") else None
                    self._rows[found["song"]] = list(found["rows"])
                except (ValueError, KeyError, TypeError, RecursionError):
                    return
                self._length += len(line)

    def of(self, song: str) -> list[Any] | None:
        """The rows of a song, or None if they have not been computed."""
        return self._rows.get(song)

    def keep(self, song: str, rows: list[Any]) -> None:
        """Keeps the rows of a song, lists of JSON values."""
        self._rows[song] = rows
        if self._file is None:
            return
        if not self._length:
            with written_aside(self._file) as aside:
                aside.write_bytes(self._first)
            self._length = len(self._first)
        line = _line({"song": song, "rows": rows})
        with self._file.open("r+b") as lines:
            lines.truncate(self._length)
            lines.seek(self._length)
            lines.write(line)
        self._length += len(line)

    def finish(self) -> None:
        """Deletes the file, because nothing is left to resume."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)


def _line(content: Mapping[str, Any]) -> bytes:
    """`content` as a line of JSON, in ASCII."""
    return json.dumps(content).encode() + b"\n"


def differences(found: Any, asked: Any, name: str = "") -> list[str]:
    """The keys of `asked`, as `settings.steps`, that `found` lacks or holds other values for; it may hold more keys."""
    if isinstance(asked, dict):
        if not isinstance(found, Mapping):
            return [name or "everything"]
        pairs = ((f"{name}.{key}" if name else key, found.get(key), value) for key, value in asked.items())
        return [one for key, there, value in pairs for one in differences(there, value, key)]
    return [] if found == asked else [name]
