"""What people decided about the findings of an audit, in `AUDIT/judgements.sqlite`: the last row about a finding holds.

A finding is known by its song, stem, kind, other stem and message, as they stand in `findings.csv`; so judgements hold
for an audit of the same dataset that is made again. What is ignored is left out wherever an audit is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from restem.errors import RunError, UsageError
from restem.runs.journal import Journal
from restem.runs.ledger import now

JUDGEMENTS_FILE = "judgements.sqlite"

Judged = Literal["real", "ignore", ""]
"""What can be decided; empty takes an earlier decision back."""
JUDGED: tuple[Judged, ...] = get_args(Judged)

KEY = ("song", "stem", "kind", "with_stem", "message")
Key = tuple[str, str, str, str, str]
"""The columns of `findings.csv` by which a finding is known, and their values."""


@dataclass(frozen=True)
class Judgement:
    """What a person decided about a finding, and when (UTC, ISO 8601)."""

    judged: Judged
    person: str
    time: str


class Judgements(Journal):
    """The judgements about the audit in the folder `audit`."""

    table = """
    CREATE TABLE IF NOT EXISTS judgements (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        time TEXT NOT NULL, person TEXT NOT NULL, judged TEXT NOT NULL,
        song TEXT NOT NULL, stem TEXT NOT NULL, kind TEXT NOT NULL, with_stem TEXT NOT NULL, message TEXT NOT NULL
    )
    """

    def __init__(self, audit: Path) -> None:
        super().__init__(audit / JUDGEMENTS_FILE)

    def add(self, key: Key, judged: str, person: str) -> None:
        """Records a judgement, which is on the disk when this returns; UsageError for an unknown one."""
        if judged not in JUDGED:
            raise UsageError(f"A finding cannot be judged {judged!r}; use `real`, `ignore`, or nothing.")
        with self.writing() as database:
            database.execute(
                f"INSERT INTO judgements (time, person, judged, {', '.join(KEY)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (now(), person, judged, *key),
            )

    def standing(self) -> Mapping[Key, Judgement]:
        """The last judgement about each finding that was judged; RunError for a row that is none."""
        found: dict[Key, Judgement] = {}
        for judged, person, time, *key in self.read(
            f"SELECT judged, person, time, {', '.join(KEY)} FROM judgements ORDER BY id"
        ):
            if judged not in JUDGED or not all(isinstance(text, str) for text in (person, time, *key)):
                raise RunError(f"{self.path}: holds a row that is not a judgement; bring it back from a copy.")
            found[tuple(key)] = Judgement(judged, person, time)  # type: ignore[index, arg-type]
        return {key: one for key, one in found.items() if one.judged}


def key_of(row: Mapping[str, Any]) -> Key:
    """How the finding in a row of `findings.csv` is known."""
    return tuple(str(row[name] or "") for name in KEY)  # type: ignore[return-value]


def without_ignored(findings: pl.DataFrame, standing: Mapping[Key, Judgement]) -> pl.DataFrame:
    """The findings that nobody judged `ignore`."""
    ignored = {key for key, one in standing.items() if one.judged == "ignore"}
    return findings.filter([key_of(row) not in ignored for row in findings.iter_rows(named=True)])
