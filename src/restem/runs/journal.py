"""A table in SQLite to which rows are added, and of which no row is ever changed.

Concurrent writers, from another tab or process, therefore lose nothing. An acknowledged row is on the disk: SQLite's
write-ahead log is flushed at every commit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import ClassVar

from restem.errors import RunError

_LONGEST_WAIT_S = 20.0  # for other writers


class Journal:
    """The table in the file `path`, which is made when the first row is written."""

    table: ClassVar[str]
    """The statement that makes the table where there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """An exclusive write transaction; it is on the disk when the body has ended."""
        try:
            # isolation_level None: transactions begin and end explicitly, not where the sqlite3 module would do it.
            with closing(sqlite3.connect(self.path, timeout=_LONGEST_WAIT_S, isolation_level=None)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                database.execute("BEGIN IMMEDIATE")
                database.execute(self.table)
                yield database  # on an error the connection is closed and nothing is committed
                database.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def read(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """The rows that a query finds; none as long as there is no table."""
        if not self.path.exists():
            return []
        try:
            try:
                return self._rows(self.path.absolute().as_uri(), query, values)
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []  # another process is about to add the first row
                if self.path.with_name(f"{self.path.name}-wal").exists():
                    raise
                # The folder is read-only, so nobody else is writing either.
                return self._rows(f"{self.path.absolute().as_uri()}?immutable=1", query, values)
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    @staticmethod
    def _rows(uri: str, query: str, values: tuple[object, ...]) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(uri, timeout=_LONGEST_WAIT_S, uri=True)) as database:
            return database.execute(query, values).fetchall()

    def _unusable(self, error: sqlite3.Error) -> RunError:
        return RunError(f"{self.path}: cannot be used ({error}); make room, or bring it back from a copy.")
