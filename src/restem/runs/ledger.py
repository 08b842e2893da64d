"""People's decisions about a run, in `RUN/decisions.sqlite`: one row per decision, and no row is ever changed.

Undoing a decision adds a row that names the one it undoes; see `journal`. The number of the last row shows whether
there is anything new.
"""

from __future__ import annotations

import csv
import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from restem.dataset.stems_csv import read_rows
from restem.dataset.table import check_relative
from restem.errors import DatasetError, RunError, TaxonomyError
from restem.files import written_aside
from restem.runs.journal import Journal
from restem.taxonomy import Taxonomy

DECISIONS_FILE = "decisions.sqlite"
CSV_COLUMNS = ("time", "person", "song", "stem", "old", "new", "unsure", "start_s", "end_s")

LONGEST_PERSON = 100  # characters of a name
SHORTEST_RANGE_S = 0.01  # that can be heard

_TABLE = """
CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time TEXT NOT NULL, person TEXT NOT NULL, song TEXT NOT NULL, stem TEXT NOT NULL,
    old TEXT NOT NULL, new TEXT, start_s REAL, end_s REAL,
    undoes INTEGER UNIQUE REFERENCES decisions (id)
)
"""
_COLUMNS = "time, person, song, stem, old, new, start_s, end_s"
_STANDING = f"""
SELECT id, {_COLUMNS} FROM decisions WHERE undoes IS NULL
AND id NOT IN (SELECT undoes FROM decisions WHERE undoes IS NOT NULL)
"""


@dataclass(frozen=True)
class Decision:
    """What a person said about a stem, or about a time range of it.

    Attributes
    ----------
    song, stem
        What it is about, as in the columns of `labels.csv`.
    old, new
        Label sets as they are written, before and after; `new` is None for "I cannot tell".
    person
        Who decided.
    time
        When, UTC, ISO 8601.
    start_s, end_s
        The time range in seconds; None for the whole stem.
    number
        In the order in which decisions were made; 0 before it is recorded.
    """

    song: str
    stem: str
    old: str
    new: str | None
    person: str = ""
    time: str = ""
    start_s: float | None = None
    end_s: float | None = None
    number: int = 0

    @property
    def whole(self) -> bool:
        """Whether the decision is about the whole stem."""
        return self.start_s is None


class Ledger(Journal):
    """The decisions about the run in the folder `run`."""

    table = _TABLE

    def __init__(self, run: Path) -> None:
        super().__init__(run / DECISIONS_FILE)

    def standing(self) -> tuple[Decision, ...]:
        """The decisions that were not undone, in the order in which they were made."""
        rows = self.read(f"{_STANDING} ORDER BY id")
        if not all(map(_is_sound, rows)):
            raise RunError(f"{self.path}: holds a row that is not a decision; bring it back from a copy.")
        return tuple(map(_decision, rows))

    def changed_since(self, number: int) -> tuple[int, set[str]]:
        """The number of the last row, and the stems that the rows after `number` are about."""
        rows = self.read("SELECT id, stem FROM decisions WHERE id > ? ORDER BY id", number)
        return max([number, *(int(str(row[0])) for row in rows)]), {str(row[1]) for row in rows}

    def add(self, decisions: Sequence[Decision]) -> list[int]:
        """Records `decisions`, all or none, and returns their numbers; one without a time gets the current time."""
        with self.writing() as database:
            return [_insert(database, decision) for decision in decisions]

    def add_new(self, decisions: Sequence[Decision]) -> int:
        """Records the decisions that have no row yet (an undone one has a row), and returns their number."""
        with self.writing() as database:
            there = database.execute(f"SELECT {_COLUMNS} FROM decisions WHERE undoes IS NULL").fetchall()
            # A decision without a time equals one with any time.
            known = {*there, *(("", *row[1:]) for row in there)}
            missing = [one for one in decisions if _values(one) not in known]
            for one in missing:
                _insert(database, one)
        return len(missing)

    def undo(self, person: str, number: int | None = None) -> Decision | None:
        """Undoes decision `number`, or the last standing one of `person`; returns it, or None if there is none."""
        which, value = ("person = ?", person) if number is None else ("id = ?", number)
        with self.writing() as database:
            row = database.execute(f"{_STANDING} AND {which} ORDER BY id DESC LIMIT 1", (value,)).fetchone()
            if row is None:
                return None
            undone = _decision(row)
            database.execute(
                "INSERT INTO decisions (time, person, song, stem, old, new, undoes) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (now(), person, undone.song, undone.stem, undone.new or "", undone.old, undone.number),
            )
        return undone


def write_decisions(path: Path, decisions: Sequence[Decision]) -> None:
    """Writes `decisions` as CSV, with the columns `CSV_COLUMNS`."""
    with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(CSV_COLUMNS)
        for one in decisions:
            times = ["" if value is None else f"{value:.3f}" for value in (one.start_s, one.end_s)]
            unsure = "yes" if one.new is None else ""
            table.writerow((one.time, one.person, one.song, one.stem, one.old, one.new or "", unsure, *times))


def read_decisions(path: Path, taxonomy: Taxonomy) -> list[Decision]:
    """Reads decisions from a CSV with the columns `song,stem,new` and, optionally, the others of `CSV_COLUMNS`.

    Raises DatasetError, with the line, for a missing column, a label that is not a class, a path that leads outside,
    and an invalid time range.
    """
    decisions = []
    for line, row in read_rows(path, ("song", "stem", "new")):
        where = f"{path}, line {line}"
        try:
            old, new = (taxonomy.format(taxonomy.parse(row.get(name) or "")) for name in ("old", "new"))
        except TaxonomyError as error:
            raise DatasetError(f"{where}: {error}") from error
        unsure = (row.get("unsure") or "").strip().lower()
        if unsure not in ("", "yes", "no"):
            raise DatasetError(f"{where}: {unsure!r} in the column unsure; write yes, or nothing.")
        start_s, end_s = _range(row.get("start_s") or "", row.get("end_s") or "", where)
        if unsure == "yes" and start_s is not None:
            raise DatasetError(f"{where}: only a whole stem can be unsure; leave out start_s and end_s.")
        stem = check_relative(row["stem"], where)
        person, time = (row.get("person") or "")[:LONGEST_PERSON], _time((row.get("time") or "").strip(), where)
        decisions.append(
            Decision(row["song"], stem, old, None if unsure == "yes" else new, person, time, start_s, end_s)
        )
    return decisions


def _range(start: str, end: str, where: str) -> tuple[float | None, float | None]:
    if not start.strip() and not end.strip():
        return None, None
    try:
        start_s, end_s = float(start), float(end)
    except ValueError:
        start_s = end_s = math.nan
    if reason := wrong_range(start_s, end_s):
        raise DatasetError(f"{where}: {start[:20]!r} to {end[:20]!r} {reason}; give start_s and end_s, or neither.")
    return start_s, end_s


def wrong_range(start_s: float, end_s: float, seconds: float = math.inf) -> str:
    """Why nothing can be decided about this time range of a stem of `seconds`, or an empty string."""
    if not (start_s >= 0 and end_s - start_s >= SHORTEST_RANGE_S and end_s < math.inf):
        return "is not a time range of 0.01 s or more"
    return "" if end_s <= seconds + SHORTEST_RANGE_S else f"ends beyond the end of the stem, at {seconds:.2f} s"


def _time(text: str, where: str) -> str:
    """A time as it is written in ISO 8601, or nothing; raises DatasetError for anything else."""
    try:
        if text:
            datetime.fromisoformat(text)
    except ValueError as error:
        raise DatasetError(f"{where}: {text[:40]!r} is not a time; write it as {now()}, or leave it out.") from error
    return text


def _insert(database: sqlite3.Connection, decision: Decision) -> int:
    values = _values(decision)
    cursor = database.execute(
        f"INSERT INTO decisions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (values[0] or now(), *values[1:])
    )
    return int(cursor.lastrowid or 0)


def _values(one: Decision) -> tuple[object, ...]:
    # To the millisecond, as in the CSV, so that decisions survive an export and import unchanged.
    times = (None if value is None else round(value, 3) for value in (one.start_s, one.end_s))
    return (one.time, one.person, one.song, one.stem, one.old, one.new, *times)


def _is_sound(row: tuple[object, ...]) -> bool:
    """Whether a row holds what a decision can: SQLite lets any type be written to any column."""
    _, time, person, song, stem, old, new, start_s, end_s = row
    if not all(isinstance(text, str) for text in (time, person, song, stem, old, "" if new is None else new)):
        return False
    if start_s is None or end_s is None:
        return start_s is end_s
    return isinstance(start_s, float) and isinstance(end_s, float) and not wrong_range(start_s, end_s)


def _decision(row: tuple[object, ...]) -> Decision:
    number, time, person, song, stem, old, new, start_s, end_s = row
    return Decision(song, stem, old, new, person, time, start_s, end_s, number)  # type: ignore[arg-type]


def now() -> str:
    """The time as it is written in a ledger."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
