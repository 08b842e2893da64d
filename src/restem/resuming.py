"""One way to begin, resume or refuse a piece of work in a folder.

A record is a JSON file that says what was asked for, and what has become of it. Before work begins, the record in its
folder is compared with the request: the same work goes on, or is finished already; other work is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restem.errors import RunError
from restem.files import write_json


class WorkRecord:
    """The record of one piece of work.

    Parameters
    ----------
    folder
        Where the work leaves what it makes.
    file
        The record's path in it.
    request
        All that the result depends on, as JSON. A record belongs to it when it says the same, and perhaps more.
    what
        What the folder holds, for messages: `run`, `training`.
    unfinished
        The record's path while the work is unfinished, where `file` itself must appear at the end only.
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
        """Whether the work is finished already; False when there is work to do, new or left over.

        Nothing is written, so that a request that fails at once does not take the folder. Raises RunError when the
        folder holds other work, or anything else.
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

    def note(self, **news: Any) -> None:
        """Writes down what is new while the work is unfinished."""
        self.content.update(news)
        write_json(self.unfinished, self.content)

    def finish(self, **news: Any) -> None:
        """Writes the record of the finished work. news: what else is to be kept in it."""
        self.content = {**self.content, "finished": True, **news}
        write_json(self.path, self.content)

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict):
            raise RunError(f"{path}: is damaged; delete {self.folder}, and start again.")
        if others := differences(found, self.request):
            named = [f"`{one.removeprefix('settings.')}`" for one in others[:3]]
            raise RunError(
                f"{self.folder}: holds a {self.what} that differs in {', '.join(named)}"
                f"{', ...' if others[3:] else ''}; choose another `out`, or delete it."
            )
        return found

    def _is_foreign(self, path: Path) -> bool:
        """Whether a file in the folder is none that a kill right at the start leaves: of a record being written."""
        unfinished = self.unfinished.relative_to(self.folder).parts
        return path.name != unfinished[0] and not path.name.startswith(f".{unfinished[0]}.")


class ResumableRows:
    """The rows that were computed for each song before work was interrupted, so that it goes on after them.

    They are kept in `file`, or, where that is None, nowhere. request: all that they depend on, as JSON; the rows of
    another request are forgotten.
    """

    def __init__(self, file: Path | None, request: Mapping[str, Any]) -> None:
        self._file = file
        self._request = json.loads(json.dumps(request))
        self._rows: dict[str, list[Any]] = {}
        if file is not None:
            try:
                found = json.loads(file.read_text(encoding="utf-8"))
                if found["request"] == self._request:
                    self._rows = dict(found["songs"])
            except (OSError, ValueError, KeyError, TypeError):
                self._rows = {}

    def of(self, song: str) -> list[Any] | None:
        """The rows of a song, None if they are not there."""
        return self._rows.get(song)

    def keep(self, song: str, rows: list[Any]) -> None:
        """Writes down the rows of a song, lists of JSON values."""
        self._rows[song] = rows
        if self._file is not None:
            write_json(self._file, {"request": self._request, "songs": self._rows})

    def finish(self) -> None:
        """Nothing is left to be resumed."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)


def differences(found: Any, asked: Any, name: str = "") -> list[str]:
    """The names, as `settings.steps`, of what `found` does not say as `asked` does; it may say more."""
    if isinstance(asked, dict):
        if not isinstance(found, Mapping):
            return [name or "everything"]
        pairs = ((f"{name}.{key}" if name else key, found.get(key), value) for key, value in asked.items())
        return [one for key, there, value in pairs for one in differences(there, value, key)]
    return [] if found == asked else [name]
