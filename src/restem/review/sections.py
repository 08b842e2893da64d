"""What the report says of the dataset as a whole, as plain data; `templates/` makes the HTML of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from restem.dataset.table import within_song
from restem.review.cards import Change, change
from restem.review.rendering import duration
from restem.runs.findings import WrongShare, class_findings, confusion, songs_to_look_at, verdict_counts, wrong_shares
from restem.runs.run import DESCRIPTION_FILE, Run
from restem.verdicts import VERDICTS
from restem.wording import counted

BINS = 10  # of the quality histogram
HISTOGRAM_HEIGHT = 130  # pixels
LEAST_HEIGHT = 2  # pixels, so that a single stem among thousands is seen
MOST_SONGS = 15  # of the songs table: the stems themselves follow below it


def facts(run: Run) -> list[str]:
    """What stands under the title: how much there is, when it was refined, and with what."""
    labels = run.labels
    parts = [counted(labels["song"].n_unique(), "song"), counted(len(labels), "stem")]
    seconds, active = (float(labels[column].sum()) for column in ("seconds", "active_seconds"))
    if seconds:
        parts.append(f"{duration(seconds)} of audio, {duration(active)} of it active")
    if decided := len(run.decided):
        parts.append(f"{counted(decided, 'stem')} decided by people")
    if when := _finished(run):
        parts.append(f"refined {when}")
    if (seed := _described(run, "seed")) is not None:
        parts.append(f"seed {seed}")
    versions = run.description.get("versions")
    if isinstance(versions, dict) and "restem" in versions:
        parts.append(f"restem {versions['restem']}")
    return parts


def _described(run: Run, key: str) -> Any:
    """A value of `run.json`, from the top or from its configuration."""
    configuration = run.description.get("configuration")
    return run.description.get(key, configuration.get(key) if isinstance(configuration, dict) else None)


def _finished(run: Run) -> str:
    try:
        when = datetime.fromisoformat(str(_described(run, "finished")))
    except ValueError:
        # The description is written last, so its own time is when the run was finished.
        file = run.path / DESCRIPTION_FILE
        if not file.exists():
            return ""
        when = datetime.fromtimestamp(file.stat().st_mtime)
    return f"{when.day} {when:%B %Y, %H:%M}"


@dataclass(frozen=True)
class Phrase:
    """A part of a sentence; `strong`, its beginning, is emphasised."""

    strong: str
    rest: str


def lead(labels: pl.DataFrame) -> list[Phrase]:
    """What a reader should know who reads nothing else: the parts of one sentence."""
    counts, all_stems = verdict_counts(labels), len(labels)
    if not all_stems:
        return [Phrase("", "The dataset holds no stems")]
    if counts["kept"] == all_stems:
        return [Phrase("", "Every stem keeps the labels it was given")]
    phrases = {
        "changed": Phrase(f"{counts['changed'] / all_stems:.1%} of the stems", " now carry other labels"),
        "silent": Phrase(f"{counts['silent']:,}", f" {_are(counts['silent'])} silent"),
        "unsure": Phrase(f"{counts['unsure']:,}", f" {_are(counts['unsure'])} worth listening to"),
        "failed": Phrase(f"{counts['failed']:,}", " could not be read"),
    }
    return [phrase for verdict, phrase in phrases.items() if counts[verdict]]  # type: ignore[index]


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


@dataclass(frozen=True)
class Step:
    """Something to do. command: what to type for it, or nothing."""

    text: str
    command: str = ""


def next_steps(run: Run) -> list[Step]:
    """What to do now, the most useful first."""
    counts = verdict_counts(run.labels)
    steps = []
    open_ones = run.labels.filter(
        pl.col("verdict").is_in(["changed", "unsure"]), ~pl.col("stem").is_in(list(run.decided))
    )
    if len(open_ones):
        doubtful = f"{counted(len(open_ones), 'stem')} that changed or {_are(len(open_ones))} unsure"
        steps.append(Step(f"Listen to the {doubtful}:", f"restem review {run.path}"))
    if counts["failed"]:
        steps.append(Step(f"Replace the {counted(counts['failed'], 'file')} that could not be read, and refine again."))
    if len(run.labels):
        steps.append(Step("Take the refined labels into use:", f"restem export {run.path} refined-stems"))
    return steps


@dataclass(frozen=True)
class ClassRow:
    """How many stems were given a class, lost it, gained it and hold it now.

    wrong: None when no stem has scores. bars: of each kind (`as-given`, `added`, `removed`) its length in %.
    """

    name: str
    given: int
    removed: int
    added: int
    refined: int
    wrong: WrongShare | None
    bars: dict[str, float]


def per_class(run: Run) -> list[ClassRow]:
    """One entry a class, in taxonomy order. The longest bars fill the width."""
    found = class_findings(run.labels, run.taxonomy)
    wrong = {one.name: one for one in wrong_shares(run.labels, run.taxonomy)}
    longest = max(1, *(one.given + one.added for one in found))
    rows = []
    for one in found:
        parts = {"as-given": one.given - one.removed, "added": one.added, "removed": one.removed}
        bars = {kind: 100 * count / longest for kind, count in parts.items() if count}
        rows.append(ClassRow(one.name, one.given, one.removed, one.added, one.refined, wrong.get(one.name), bars))
    return rows


@dataclass(frozen=True)
class Heat:
    """Given against refined label sets: `cells[i][j]` are the stems that were given `rows[i]` and are now `columns[j]`.

    Each cell is the number of stems and the strength of its colour in %. failed: the stems that are not counted.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: list[list[tuple[int, float]]]
    failed: int

    @property
    def named_rows(self) -> list[tuple[str, list[tuple[str, int, float]]]]:
        """Each row's name with its cells, each of which begins with the name of its column."""
        return [
            (row, [(column, *cell) for column, cell in zip(self.columns, cells, strict=True)])
            for row, cells in zip(self.rows, self.cells, strict=True)
        ]


def heat_map(run: Run) -> Heat:
    """What became of which label set.

    The colour is the share of the most frequent change, by its square root, so that single stems show. What stayed as
    it was has none: it is most of the dataset and would outshine the rest.
    """
    found = confusion(run.labels, run.taxonomy)
    changes = [
        [0 if row == column else count for column, count in zip(found.columns, counts, strict=True)]
        for row, counts in zip(found.rows, found.counts, strict=True)
    ]
    most = max((count for row in changes for count in row), default=0) or 1
    # Up to 55 %: beyond it the number would no longer stand out from the colour.
    cells = [
        [(count, 8 + 47 * (change / most) ** 0.5) for count, change in zip(counts, row, strict=True)]
        for counts, row in zip(found.counts, changes, strict=True)
    ]
    return Heat(found.rows, found.columns, cells, found.failed)


@dataclass(frozen=True)
class Bin:
    """The stems with a quality from `low` to `high`: how many, and of each verdict the height of its bar in pixels."""

    low: float
    high: float
    stems: int
    heights: dict[str, int]


@dataclass(frozen=True)
class Histogram:
    """How many stems have which quality. verdicts: those that stems with a quality have, in their fixed order."""

    bins: list[Bin]
    verdicts: list[str]


def histogram(labels: pl.DataFrame) -> Histogram:
    """The stems of a run by quality and verdict; the last verdict is on top of its bar."""
    scored = labels.filter(pl.col("quality").is_not_null())
    found = Counter(
        (min(BINS - 1, max(0, int(quality * BINS))), verdict)
        for quality, verdict in zip(scored["quality"], scored["verdict"], strict=True)
    )
    totals = [sum(found[i, verdict] for verdict in VERDICTS) for i in range(BINS)]
    most = max(1, *totals)
    bins = [
        Bin(
            i / BINS,
            (i + 1) / BINS,
            total,
            {
                verdict: max(LEAST_HEIGHT, round(found[i, verdict] / most * HISTOGRAM_HEIGHT))
                for verdict in reversed(VERDICTS)
                if found[i, verdict]
            },
        )
        for i, total in enumerate(totals)
    ]
    return Histogram(bins, [verdict for verdict in VERDICTS if any(verdict in one.heights for one in bins)])


@dataclass(frozen=True)
class SongRow:
    """A song with several stems to look at. suspects: of each, the file, its labels, and whether it is unsure."""

    song: str
    stems: int
    changed: int
    unsure: int
    suspects: list[tuple[str, Change, bool]]


def songs(run: Run) -> tuple[list[SongRow], int]:
    """The first `MOST_SONGS` songs with several stems that changed or are unsure, and how many such songs there are."""
    found = songs_to_look_at(run.labels)
    shown = found[:MOST_SONGS]
    suspects = run.labels.filter(
        (pl.col("given") != pl.col("refined")) | (pl.col("verdict") == "unsure"),
        pl.col("song").is_in([one.song for one in shown]),
    ).partition_by("song", as_dict=True)
    rows = []
    for one in shown:
        stems = [
            (within_song(row["song"], row["stem"]), change(row, run.taxonomy), row["verdict"] == "unsure")
            for row in suspects[(one.song,)].iter_rows(named=True)
        ]
        rows.append(SongRow(one.song, one.stems, one.changed, one.unsure, stems))
    return rows, len(found)
