"""What the review page works on: a run, the decisions about it, and the order in which to listen.

Stems are known by their row in the run, never by a path, so that a request can only be about what the run names. A
session may be used from several threads, and beside other processes that decide about the same run.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from restem.addresses import Address
from restem.audio.entries import Source
from restem.audio.mel import MelSettings
from restem.audio.store import Store
from restem.dataset.table import split_stem_name, within_song
from restem.errors import RestemError, RunError, UsageError
from restem.fetching import Copies
from restem.review.queue import RANDOM_EVERY, Queue, doubts, flags_of, informed, scores_of, why
from restem.review.ranges import RangedSound
from restem.review.remaining import outcomes, remaining
from restem.review.rewriting import LazyLabels
from restem.review.spectra import spectra
from restem.review.stretch import stretch
from restem.runs.decided import Decided, decided_labels, decided_row, settle
from restem.runs.findings import noted_stems
from restem.runs.ledger import Decision, Ledger, wrong_range
from restem.runs.run import Run, write_decided
from restem.verdicts import WITHOUT_SOUND
from restem.wording import printable

_SOUNDING = 0.01  # 20 dB below the loudest segment: what is quieter does not count for a stem's level
_LEAST_POWER = 1e-8
_COLUMNS = ("given", "refined", "verdict", "quality")


class UnreachableError(RestemError):
    """A stem whose file may not be given out, or is not there."""


class ReviewSession:
    """The review of one run.

    cache: where the features of the run are kept. follow_links: also give out files that lie outside of the dataset, to
    which links in it lead. Raises RunError when the dataset or the tables of the run have gone.
    """

    def __init__(self, run: Run, cache: Path, follow_links: bool = False) -> None:
        self.run = run
        self.ledger = Ledger(run.path)
        self.follow_links = follow_links
        self.root = run.dataset_root.resolve()
        if not self.root.is_dir():
            raise RunError(f"{run.dataset_root}: the dataset of {run.place} is not there; bring it back to this place.")
        settings = run.description.get("settings", {}).get("mel")
        try:
            self.store = Store(cache, MelSettings(**settings) if settings else None)
        except TypeError as error:
            raise RunError(f"{run.place}: run.json is damaged (settings.mel); run `restem refine` again.") from error
        self.found = run.found.to_dicts()
        self._row_of = {row["stem"]: index for index, row in enumerate(self.found)}
        self._songs: dict[str, list[int]] = {}
        for index, row in enumerate(self.found):
            self._songs.setdefault(row["song"], []).append(index)
        # Stems whose labels were known when the run was made need no decision again.
        self._known = {entry[0] for entry in run.description.get("decisions", [])}
        self._lock = threading.Lock()
        self._copies = Copies()
        self._ranged: dict[Address, RangedSound | None] = {}
        self._noted = noted_stems(run)  # a browser may stumble over what is wrong with their files
        self._labels = LazyLabels(run)
        self._orders: dict[int, tuple[list[int], list[int], int | None]] = {}
        self._last = self.ledger.changed_since(0)[0]
        if self._last:
            write_decided(run)  # whoever decided last may have been stopped before labels.csv was written
        self._decided = settle(self.ledger.standing(), run.taxonomy)
        self._without_sound = run.found["verdict"].is_in(WITHOUT_SOUND).to_numpy()
        known = np.array([row["stem"] in self._known for row in self.found], bool)
        self._queue = Queue(~known & ~self._without_sound)
        self._doubt = doubts(run.found, run.taxonomy)
        self._scores, self._given = scores_of(run.found, run.taxonomy), flags_of(run.found["given"], run.taxonomy)
        _ = run.segments_file, self._names  # ready before the page asks for them

    def describe(self) -> dict[str, Any]:
        """What the page shows before any stem."""
        return {
            "name": printable(self.root.name),
            "run": printable(str(self.run.place)),
            "classes": list(self.run.taxonomy.classes),
            "stems": len(self.found),
            "songs": len(self._songs),
        }

    def finish(self) -> None:
        """Leaves the tables of the run as the decisions have them, and deletes the copies of what was heard."""
        self._labels.finish()
        self._copies.close()

    def stems(self, first: int = 0, count: int | None = None, order: int | None = None) -> dict[str, Any]:
        """A part of the queue: the stems at the places `first` to `first + count` of it, as columns; by default all.

        In the queue the most doubtful stem comes first, and among them are stems drawn at random (see `queue`); stems
        that were decided about come late, those without sound last. order: the `last` of an earlier answer, of whose
        queue this is to be a part. With the first part comes the queue itself as rows of the run, those of them that
        were drawn, and `next`, the row to listen to first, or None.
        """
        self._catch_up()
        with self._lock:
            decided, last = self._decided, self._last
        doubt, settled = self._outlook(decided)
        if order is None or order not in self._orders:
            order = last
            self._orders = {**dict(list(self._orders.items())[-3:]), last: self._arranged(doubt, settled)}
        queue, drawn, following = self._orders[order]
        rows = queue[first : None if count is None else first + count]
        found = self.run.found.select(pl.all().gather(pl.Series(rows, dtype=pl.Int64)))
        labels = decided_labels(found, decided, self.run.taxonomy)
        song = [self._names["song"][row] for row in rows]
        return {
            "last": order,
            "total": len(queue),
            **({"queue": queue, "drawn": drawn, "next": following} if first == 0 else {}),
            "rows": rows,
            "songs": {number: self._names["songs"][number] for number in dict.fromkeys(song)},
            "song": song,
            "stem": [self._names["stem"][row] for row in rows],
            **{name: labels[name].to_list() for name in _COLUMNS},
            "doubt": np.round(doubt[np.array(rows, int)], 3).tolist(),
            "decided": [self._state(self.found[row]["stem"], decided) for row in rows],
        }

    def _arranged(self, doubt: np.ndarray, settled: np.ndarray) -> tuple[list[int], list[int], int | None]:
        """The queue, the rows in it that were drawn, and the row to listen to first."""
        late = np.array([row["stem"] in self._known for row in self.found], bool) | settled
        queue, drawn = self._queue.arranged(doubt, settled, late + 2 * self._without_sound)
        return queue, drawn, self._queue.first(doubt, settled)[0]

    def changes(self, since: int) -> dict[str, Any]:
        """The stems about which anybody decided something after decision `since`."""
        self._catch_up()
        last, names = self.ledger.changed_since(since)
        with self._lock:
            rows = {self._row_of[name]: self._queue_entry(self._row_of[name]) for name in names if name in self._row_of}
        return {"last": last, "stems": rows, "next": self._next()[0]}

    def remaining(self) -> dict[str, Any]:
        """How many labels may still be wrong (see `restem.review.remaining`), and what the stems drawn at random told.

        drawn, drawn_wrong: of those that were decided about, how many there are and how many were wrong.
        """
        self._catch_up()
        with self._lock:
            decided = self._decided
        outcome = outcomes(self.run.found, decided, self.run.taxonomy)
        left = remaining(self._doubt[self._queue.listen], outcome[self._queue.listen])
        drawn = self._queue.sample(outcome)
        return {
            **asdict(left),
            "random_every": RANDOM_EVERY,
            "drawn": len(drawn),
            "drawn_wrong": int(drawn.sum()),
        }

    def _outlook(self, decided: Mapping[str, Decided]) -> tuple[np.ndarray, np.ndarray]:
        """(stem,) the doubt about each stem in view of the decisions about others, and whether it was decided about."""
        settled = np.zeros(len(self.found), bool)
        settled[[self._row_of[stem] for stem in decided if stem in self._row_of]] = True
        certain = {
            self._row_of[stem]: one.labels
            for stem, one in decided.items()
            if one.labels is not None and stem in self._row_of
        }
        taxonomy = self.run.taxonomy
        heard = np.array([taxonomy.to_flags(labels) for labels in certain.values()], bool)
        rows, song = np.array(list(certain), int), np.array(self._names["song"], int)
        scores = informed(self._scores, self._given, song, rows, heard.reshape(len(rows), len(taxonomy)))
        doubt = self._doubt.copy()
        changed = (scores != self._scores).any(axis=1)
        doubt[changed] = doubts(self.run.found.filter(changed), taxonomy, scores[changed])
        return doubt, settled

    def _next(self) -> tuple[int | None, bool]:
        """The row to listen to next, or None, and whether it is drawn at random."""
        with self._lock:
            decided = self._decided
        return self._queue.first(*self._outlook(decided))

    def stem(self, index: int) -> dict[str, Any]:
        """Everything about one stem except its pictures. Raises UnreachableError when there is no such stem."""
        row = self._stem(index)
        self._catch_up()
        taxonomy = self.run.taxonomy
        song = self._songs[row["song"]]
        of_song = self.run.segments_file.of_stems([self.found[i]["stem"] for i in song])
        segments = of_song.get(row["stem"])
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
            all_decided = self._decided
        decided = all_decided.get(row["stem"], Decided())
        open_ones = [i for i in song if i != index and self.found[i]["stem"] not in all_decided]
        return {
            "index": index,
            "song": printable(row["song"]),
            "stem": printable(within_song(row["song"], row["stem"])),
            "found": {name: row[name] for name in (*_COLUMNS, *taxonomy.classes)},
            "seconds": row["seconds"],
            **self._queue_entry(index),
            **found,
            "why": why(row, [self.found[i] for i in open_ones], taxonomy, self._next() == (index, True)),
            "levels": {i: self._level_db(of_song.get(self.found[i]["stem"])) for i in song},
            "ranges": [[one.start_s, one.end_s, taxonomy.format(one.labels)] for one in decided.ranges],
            "history": [_history_entry(one) for one in history],
            "others": [other for other in song if other != index],
        }

    def spectra(self, index: int, start_s: float = 0.0, end_s: float | None = None) -> dict[str, Any]:
        """The pictures of a stem, or of a part of it.

        Raises UnreachableError as `source` does, and AudioError when the stem has to be decoded and cannot be.
        """
        return spectra(self.store, self.source(index), start_s, end_s)

    def source(self, index: int) -> Source:
        """The file of a stem and the stream in it.

        Raises UnreachableError when the file is missing, or lies outside of the dataset without `follow_links`.
        """
        return self.file(self._stem(index)["stem"])

    def file(self, stem: str) -> Source:
        """The same of a stem by its name, which must be one that the run or an audit of its dataset states."""
        path, stream = split_stem_name(stem)
        file = self.root / path
        resolved = file.resolve()
        if not self.follow_links and not resolved.is_relative_to(self.root):
            raise UnreachableError(
                # This is read on the page, whose server was started from Python or from the command line.
                f"{printable(path)}: leads outside of the dataset; start the review with `follow_links` "
                "(on the command line: --follow-links) to play it."
            )
        if not resolved.is_file():
            raise UnreachableError(f"{printable(path)}: is not there; bring it back, and reload the page.")
        return resolved, stream or 0

    def ranged(self, index: int) -> RangedSound | None:
        """The sound of a stem at an address where a browser can play it as it is, else None.

        Raises UnreachableError as `source` does, and where the object cannot be read.
        """
        file, _ = self.source(index)
        if not isinstance(file, Address) or self.found[index]["stem"] in self._noted:
            return None
        try:
            if file not in self._ranged:
                self._ranged[file] = RangedSound.of(file, self.stream(index))
            return self._ranged[file]
        except (OSError, RestemError) as error:
            raise UnreachableError(printable(str(error))) from error

    def sound(self, index: int) -> Source:
        """The same as `source`, but of a stem at an address a copy, which is there until several others were heard.

        Raises UnreachableError as `source` does, and where the object cannot be read.
        """
        file, stream = self.source(index)
        try:
            return self._copies.of(file), stream
        except (OSError, RestemError) as error:
            raise UnreachableError(printable(str(error))) from error

    def stream(self, index: int) -> int | None:
        """The number of a stem's stream if its file holds several, else None."""
        return split_stem_name(self._stem(index)["stem"])[1]

    def decide(
        self, index: int, new: str | None, person: str, start_s: float | None = None, end_s: float | None = None
    ) -> dict[str, Any]:
        """Records a decision, which is on the disk when this returns.

        new: a label set, or None for "I cannot tell", which is always about the whole stem. start_s, end_s: the time
        range that the labels are about; None for the whole stem. Raises UsageError for a decision that makes no sense,
        TaxonomyError for an unknown class.
        """
        row = self._stem(index)
        if row["verdict"] == "failed":
            raise UsageError("A stem that cannot be decoded cannot be judged; replace the file.")
        if (start_s is None) != (end_s is None):
            raise UsageError("A time range needs a start and a later end.")
        if start_s is not None and (reason := wrong_range(start_s, end_s or 0.0, row["seconds"] or 0.0)):
            raise UsageError(f"{start_s:g} to {end_s:g} s {reason}.")
        if new is None and start_s is not None:
            raise UsageError("Only a whole stem can be unsure.")
        taxonomy = self.run.taxonomy
        written = None if new is None else taxonomy.format(taxonomy.parse(new))
        self._catch_up()
        with self._lock:
            old = self._queue_entry(index)["refined"]
        one = Decision(row["song"], row["stem"], old, written, person, start_s=start_s, end_s=end_s)
        (number,) = self.ledger.add([one])
        self._labels.changed()
        self._catch_up()
        return {"number": number, "index": index, "stem": self._queue_entry(index), "next": self._next()[0]}

    def undo(self, person: str, number: int | None) -> dict[str, Any] | None:
        """Takes back the decision with a number, or else the person's last one.

        Returns the number, the stem and the time range it was about; None when there is nothing to take back.
        """
        undone = self.ledger.undo(person, number)
        if undone is None:
            return None
        self._labels.changed()
        self._catch_up()
        index = self._row_of.get(undone.stem)
        if index is None:
            raise UnreachableError("The decision was about a stem that this run lacks.")
        span = None if undone.start_s is None else [undone.start_s, undone.end_s]
        entry = self._queue_entry(index)
        return {"number": undone.number, "index": index, "stem": entry, "range": span, "next": self._next()[0]}

    def _catch_up(self) -> None:
        """Reads the decisions made since the last time, here or by other processes."""
        last, _ = self.ledger.changed_since(self._last)
        if last != self._last:
            decided = settle(self.ledger.standing(), self.run.taxonomy)
            with self._lock:
                self._decided, self._last = decided, max(last, self._last)

    def _queue_entry(self, index: int) -> dict[str, Any]:
        """What the queue shows of one stem."""
        row, decided = self.found[index], self._decided
        if row["stem"] in decided:
            row = decided_row(row, decided[row["stem"]], self.run.taxonomy)
        return {**{name: row[name] for name in _COLUMNS}, "decided": self._state(row["stem"], decided)}

    def _state(self, stem: str, decided: dict[str, Decided]) -> str:
        """`decided`, `unsure`, `part` (only for a time range), `known` (before the run was made) or nothing."""
        one = decided.get(stem)
        if one is None:
            return "known" if stem in self._known else ""
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

    @staticmethod
    def _level_db(segments: pl.DataFrame | None) -> float | None:
        """The mean level of a stem where it sounds; None where that is unknown."""
        if segments is None:
            return None
        power = 10.0 ** (segments["level_db"].to_numpy().astype(float) / 10.0)
        loud = power >= _SOUNDING * power.max()
        return round(float(10.0 * np.log10(max(power[loud].mean(), _LEAST_POWER))), 1)


def _history_entry(one: Decision) -> dict[str, Any]:
    shown = replace(one, person=printable(one.person))
    return {name: getattr(shown, name) for name in ("number", "time", "person", "old", "new", "start_s", "end_s")}
