"""What the review page works on: a run, the decisions about it, and the order in which to listen.

Stems are known by their row in the run, never by a path, so that a request can only be about what the run names. All of
it may be used from several threads, and beside other processes that decide about the same run.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from restem.audio.mel import MelSettings
from restem.audio.store import Source, Store
from restem.dataset.table import split_stem_name, within_song
from restem.errors import RestemError, RunError, UsageError
from restem.review.queue import doubts, order, stretch
from restem.review.spectra import spectra
from restem.runs.decided import Decided, decided_labels, decided_row, settle
from restem.runs.ledger import Decision, Ledger
from restem.runs.run import Run, record, write_decided
from restem.wording import printable

_COLUMNS = ("given", "refined", "verdict", "quality")


class UnreachableError(RestemError):
    """A stem whose file may not be given out, or is not there."""


@dataclass(frozen=True)
class _Order:
    """The queue. version: another one for another order. learned_from: the number of decided stems it takes in."""

    version: str
    rows: list[int]
    doubt: np.ndarray
    learned_from: int


class ReviewSession:
    """One run on the reviewer's session.

    cache: where the features of the run are kept. follow_links: also give out files that links in the dataset lead to
    outside of it. Raises RunError when the dataset or the tables of the run have gone, or it was made by a version of
    restem whose scores mean something else.
    """

    def __init__(self, run: Run, cache: Path, follow_links: bool = False) -> None:
        self.run = run
        self.ledger = Ledger(run.path)
        self.follow_links = follow_links
        self.root = run.dataset_root.resolve()
        if not self.root.is_dir():
            raise RunError(f"{run.dataset_root}: the dataset of {run.path} is not there; bring it back to this place.")
        settings = run.description.get("settings", {}).get("mel")
        self.store = Store(cache, MelSettings(**settings) if settings else None)
        self.found = run.found.to_dicts()
        self._row_of = {row["stem"]: index for index, row in enumerate(self.found)}
        self._songs: dict[str, list[int]] = {}
        for index, row in enumerate(self.found):
            self._songs.setdefault(row["song"], []).append(index)
        # What an earlier run of this dataset was told is not asked again.
        self._told = {entry[0] for entry in run.description.get("decisions", [])}
        self._lock = threading.Lock()
        self._last = self.ledger.changed_since(0)[0]
        if self._last:
            write_decided(run)  # in case the last one who decided was stopped before labels.csv was written
        self._decided = settle(self.ledger.standing(), run.taxonomy)
        self._order = self._ordered(run.found, learned_from=0)
        _ = self._segments, self._names  # ready before the page asks for them

    def describe(self) -> dict[str, Any]:
        """What the page shows before any stem."""
        return {
            "name": printable(self.root.name),
            "run": printable(str(self.run.path)),
            "classes": list(self.run.taxonomy.classes),
            "stems": len(self.found),
            "songs": len(self._songs),
        }

    def stems(self) -> dict[str, Any]:
        """All stems as columns, in the order of the run, and the queue as their row numbers."""
        self._catch_up()
        with self._lock:
            rows, queue, decided, last = self._rows(), self._order, self._decided, self._last
        return {
            "last": last,
            "order": queue.version,
            "queue": queue.rows,
            **self._names,
            **{name: [row[name] for row in rows] for name in _COLUMNS},
            "doubt": np.round(queue.doubt, 3).tolist(),
            "decided": [self._state(row["stem"], decided) for row in self.found],
        }

    def changes(self, since: int) -> dict[str, Any]:
        """The stems about which something was decided after decision `since`, by anybody, and the order's version."""
        self._catch_up()
        last, names = self.ledger.changed_since(since)
        with self._lock:
            rows = {self._row_of[name]: self._short(self._row_of[name]) for name in names if name in self._row_of}
            return {"last": last, "order": self._order.version, "stems": rows}

    def stem(self, index: int) -> dict[str, Any]:
        """Everything about one stem but its pictures."""
        row = self._stem(index)
        self._catch_up()
        taxonomy = self.run.taxonomy
        segments = self._segments_of(row["stem"])
        found: dict[str, Any] = {"start_s": [], "end_s": [], "scores": {}, "loop": None}
        if segments is not None and row["verdict"] != "failed":
            scores = {name: float(row[name]) for name in taxonomy.classes}
            found = {
                "start_s": segments["start_s"].round(2).to_list(),
                "end_s": segments["end_s"].round(2).to_list(),
                "scores": {name: segments[name].round(3).to_list() for name in taxonomy.classes},
                "loop": stretch(segments, taxonomy, taxonomy.parse(row["given"]), scores),
            }
        history = [one for one in self.ledger.standing() if one.stem == row["stem"]]
        with self._lock:
            decided = self._decided.get(row["stem"], Decided())
        return {
            "index": index,
            "song": printable(row["song"]),
            "stem": printable(within_song(row["song"], row["stem"])),
            "found": {name: row[name] for name in (*_COLUMNS, *taxonomy.classes)},
            "seconds": row["seconds"],
            **self._short(index),
            **found,
            "ranges": [[one.start_s, one.end_s, taxonomy.format(one.labels)] for one in decided.ranges],
            "history": [_said(one) for one in history],
            "others": [other for other in self._songs[row["song"]] if other != index],
        }

    def spectra(self, index: int) -> dict[str, Any]:
        """The pictures of a stem. Raises UnreachableError, AudioError."""
        return spectra(self.store, self.source(index))

    def source(self, index: int) -> Source:
        """The file of a stem and the stream in it. Raises UnreachableError when it lies outside of the dataset."""
        path, stream = split_stem_name(self._stem(index)["stem"])
        file = self.root / path
        resolved = file.resolve()
        if not self.follow_links and not resolved.is_relative_to(self.root):
            raise UnreachableError(
                f"{printable(path)}: leads outside of the dataset; start the review with `follow_links` to play it."
            )
        if not resolved.is_file():
            raise UnreachableError(f"{printable(path)}: is not there; bring it back, and reload the page.")
        return resolved, stream or 0

    def several(self, index: int) -> int | None:
        """The stream of a stem that is one of several in its file, else None."""
        return split_stem_name(self._stem(index)["stem"])[1]

    def decide(
        self, index: int, new: str | None, person: str, start_s: float | None = None, end_s: float | None = None
    ) -> dict[str, Any]:
        """Records a decision; when it returns, the decision is on the disk. Raises UsageError for one that cannot be.

        new: a label set, or None for "I cannot tell"; it then is about the whole stem.
        """
        row = self._stem(index)
        if row["verdict"] == "failed":
            raise UsageError("A stem that cannot be decoded cannot be judged; replace the file.")
        if (start_s is None) != (end_s is None) or (start_s is not None and not 0 <= start_s < (end_s or 0)):
            raise UsageError("A time range needs a start and a later end.")
        if new is None and start_s is not None:
            raise UsageError("Only a whole stem can be unsure.")
        taxonomy = self.run.taxonomy
        written = None if new is None else taxonomy.format(taxonomy.parse(new))
        self._catch_up()
        with self._lock:
            old = self._short(index)["refined"]
        one = Decision(row["song"], row["stem"], old, written, person, start_s=start_s, end_s=end_s)
        (number,) = record(self.run, [one])
        self._catch_up()
        return {"number": number, "index": index, "stem": self._short(index)}

    def undo(self, person: str, number: int | None) -> dict[str, Any] | None:
        """Takes back a decision, or the person's last one; returns the stem it was about, None if there is none."""
        undone = self.ledger.undo(person, number)
        if undone is None:
            return None
        write_decided(self.run)
        self._catch_up()
        index = self._row_of[undone.stem]
        return {"number": undone.number, "index": index, "stem": self._short(index)}

    def _ordered(self, labels: pl.DataFrame, learned_from: int) -> _Order:
        doubt = doubts(decided_labels(labels, self._decided, self.run.taxonomy), self.run.taxonomy)
        judged = {*self._decided, *self._told}
        quiet = ("silent", "failed")
        settled = np.array([(row["stem"] in judged) + 2 * (row["verdict"] in quiet) for row in self.found], int)
        return _Order(secrets.token_hex(4), order(doubt, settled).tolist(), doubt, learned_from)

    def _catch_up(self) -> None:
        """Takes in what was decided here or by other processes."""
        last, _ = self.ledger.changed_since(self._last)
        if last != self._last:
            decided = settle(self.ledger.standing(), self.run.taxonomy)
            with self._lock:
                self._decided, self._last = decided, max(last, self._last)

    def _rows(self) -> list[dict[str, Any]]:
        return [
            decided_row(row, self._decided[row["stem"]], self.run.taxonomy) if row["stem"] in self._decided else row
            for row in self.found
        ]

    def _short(self, index: int) -> dict[str, Any]:
        """What the queue shows of one stem."""
        row = self.found[index]
        if row["stem"] in self._decided:
            row = decided_row(row, self._decided[row["stem"]], self.run.taxonomy)
        return {**{name: row[name] for name in _COLUMNS}, "decided": self._state(row["stem"], self._decided)}

    def _state(self, stem: str, decided: dict[str, Decided]) -> str:
        """`decided`, `unsure`, `part` (only for a time), `told` (before the run was made) or nothing."""
        one = decided.get(stem)
        if one is None:
            return "told" if stem in self._told else ""
        return "decided" if one.labels is not None else "unsure" if one.unsure else "part"

    def _stem(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self.found):
            raise UnreachableError("There is no such stem.")
        return self.found[index]

    @cached_property
    def _names(self) -> dict[str, list[Any]]:
        number = {song: index for index, song in enumerate(self._songs)}
        return {
            "songs": [printable(song) for song in self._songs],
            "song": [number[row["song"]] for row in self.found],
            "stem": [printable(within_song(row["song"], row["stem"])) for row in self.found],
        }

    def _segments_of(self, stem: str) -> pl.DataFrame | None:
        """The rows of `segments.parquet` about a stem, in the order of time; None where there are none."""
        found, places = self._segments
        return found.slice(*places[stem]) if stem in places else None

    @cached_property
    def _segments(self) -> tuple[pl.DataFrame, dict[str, tuple[int, int]]]:
        """The segments, stem after stem, and of each stem the first row and how many there are."""
        found = self.run.found_segments.sort("stem", "start_s")
        counts = found["stem"].rle().struct.unnest()
        first = counts["len"].cum_sum() - counts["len"]
        return found, dict(zip(counts["value"], zip(first, counts["len"], strict=True), strict=True))


def _said(one: Decision) -> dict[str, Any]:
    shown = replace(one, person=printable(one.person))
    return {name: getattr(shown, name) for name in ("number", "time", "person", "old", "new", "start_s", "end_s")}
