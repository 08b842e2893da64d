"""The findings of a run, as the small tables that the terminal summary and the report both show.

All but the reasons of failures and the notes are computed from `labels.csv` (see `restem.runs.run` for its columns).
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtr

from restem.runs.run import Run
from restem.taxonomy import LabelSet, Taxonomy
from restem.verdicts import Verdict, count_verdicts
from restem.wording import EMPTY, counted, label_set_text

REST = "the rest"

# Of a stem with a class and one without it, how often the right one has the higher score.
_CLEAR, _UNCLEAR = 0.97, 0.9


@dataclass(frozen=True)
class ClassFinding:
    """How many stems were labelled with one class before and after.

    given, refined: stems labelled with it; added, removed: stems that gained or lost it.
    given - removed + added = refined.
    """

    name: str
    given: int
    refined: int
    added: int
    removed: int


@dataclass(frozen=True)
class Confusion:
    """Given against refined label sets: `counts[i][j]` stems were given `rows[i]` and are now `columns[j]`.

    The names are label sets, `nothing` for the empty one; beyond the most frequent ones, `the rest`.
    failed: number of stems that could not be read; they are not counted.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    failed: int


@dataclass(frozen=True)
class Exchange:
    """Which class came for which: `counts[i][j]` stems lost class `rows[i]` and gained class `columns[j]`.

    The row and the column `nothing`, last where they are there, count stems that only gained or only lost the class. A
    stem that changed more than one label is counted in several places.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class SongFinding:
    """A song with stems to check: how many had their labels changed, and how many are unsure."""

    song: str
    stems: int
    changed: int
    unsure: int


@dataclass(frozen=True)
class WrongShare:
    """How many of the given labels of one class are wrong, as a share of the stems that could be judged.

    share: the expected one, the mean over stems of P(the given label, or its absence, is wrong). low, high: the 95 %
    interval of the number of wrong labels if those probabilities are right and independent (normal approximation of the
    Poisson binomial distribution), as shares. Stems that a person decided about do not widen it.
    """

    name: str
    share: float
    low: float
    high: float


def wrong_shares(labels: pl.DataFrame, taxonomy: Taxonomy) -> list[WrongShare]:
    """The share of wrong labels of each class, in taxonomy order; empty when no stem has scores."""
    judged = labels.filter(pl.col("verdict") != "failed")
    if judged.is_empty():
        return []
    given = parsed(judged["given"], taxonomy)
    found = []
    for name in taxonomy.classes:
        labelled = np.array([name in one for one in given])
        present = judged[name].to_numpy()
        wrong = np.where(labelled, 1.0 - present, present)
        around = 1.96 * float(np.sqrt((wrong * (1.0 - wrong)).sum())) / len(wrong)
        share = float(wrong.mean())
        found.append(WrongShare(name, share, max(0.0, share - around), min(1.0, share + around)))
    return found


def verdict_counts(labels: pl.DataFrame) -> dict[Verdict, int]:
    """Stems per verdict, all five in their fixed order."""
    return count_verdicts(labels["verdict"])


def class_findings(labels: pl.DataFrame, taxonomy: Taxonomy) -> list[ClassFinding]:
    """The findings of each class, in taxonomy order."""
    given, refined = (parsed(labels[name], taxonomy) for name in ("given", "refined"))
    pairs = list(zip(given, refined, strict=True))
    return [
        ClassFinding(
            name,
            given=sum(name in before for before, _ in pairs),
            refined=sum(name in after for _, after in pairs),
            added=sum(name in after - before for before, after in pairs),
            removed=sum(name in before - after for before, after in pairs),
        )
        for name in taxonomy.classes
    ]


def confusion(labels: pl.DataFrame, taxonomy: Taxonomy, most: int = 10) -> Confusion:
    """The table of given against refined label sets.

    most: the maximum number of rows and columns; if there are more label sets, the last one collects the least
    frequent. Both axes list the same sets, so everything off the diagonal has changed.
    """
    heard = labels.filter(pl.col("verdict") != "failed")
    given, refined = (parsed(heard[name], taxonomy) for name in ("given", "refined"))
    frequency = Counter([*given, *refined])

    def place(one: LabelSet) -> tuple[int, list[int]]:
        """The sort key: small sets first, each size in taxonomy order, `nothing` last."""
        members = [i for i, name in enumerate(taxonomy.classes) if name in one]
        return len(members) or len(taxonomy) + 1, members

    by_frequency = sorted(frequency, key=lambda one: (-frequency[one], place(one)))
    frequent = by_frequency if len(by_frequency) <= most else by_frequency[: most - 1]
    names = {one: label_set_text(taxonomy.format(one)) for one in sorted(frequent, key=place)}
    before, after = ([names.get(one, REST) for one in column] for column in (given, refined))
    rows, columns = (tuple(name for name in (*names.values(), REST) if name in axis) for axis in (before, after))
    counted = Counter(zip(before, after, strict=True))
    counts = tuple(tuple(counted[row, column] for column in columns) for row in rows)
    return Confusion(rows, columns, counts, failed=len(labels) - len(heard))


def exchange(labels: pl.DataFrame, taxonomy: Taxonomy) -> Exchange:
    """Which class came for which, by class: for runs with more label sets than `confusion` can show."""
    heard = labels.filter(pl.col("verdict") != "failed", pl.col("given") != pl.col("refined"))
    pairs: Counter[tuple[str, str]] = Counter()
    for before, after in zip(parsed(heard["given"], taxonomy), parsed(heard["refined"], taxonomy), strict=True):
        for lost in before - after or {EMPTY}:
            for gained in after - before or {EMPTY}:
                pairs[lost, gained] += 1
    names = (*taxonomy.classes, EMPTY)
    rows = tuple(name for name in names if any(lost == name for lost, _ in pairs))
    columns = tuple(name for name in names if any(gained == name for _, gained in pairs))
    return Exchange(rows, columns, tuple(tuple(pairs[row, column] for column in columns) for row in rows))


def songs_to_look_at(labels: pl.DataFrame, least: int = 2) -> list[SongFinding]:
    """The songs with at least `least` stems whose labels changed or are unsure, those with most of them first."""
    changed, unsure = pl.col("given") != pl.col("refined"), pl.col("verdict") == "unsure"
    songs = (
        labels.group_by("song", maintain_order=True)
        .agg(stems=pl.len(), changed=changed.sum(), unsure=(unsure & ~changed).sum())
        .filter(pl.col("changed") + pl.col("unsure") >= least)
        .sort(pl.col("changed") + pl.col("unsure"), pl.col("changed"), descending=True, maintain_order=True)
    )
    return [SongFinding(**row) for row in songs.iter_rows(named=True)]


def trust(run: Run) -> str:
    """In a sentence or two how far the labels can be trusted, from what the refinement estimated; empty if it did not.

    How well a class is heard is the probability that the score of a stem with it exceeds that of a stem without it,
    from the two normal distributions that were fitted to the scores.
    """
    right, calibration = run.description.get("sure_right"), run.description.get("calibration")
    try:
        clear, unclear = [], []
        for name in run.taxonomy.classes:
            one = calibration[name]["stems"]  # type: ignore[index]
            distance = (float(one["present"]) - float(one["absent"])) / float(one["spread"])
            heard = float(ndtr(distance / np.sqrt(2.0)))
            if heard >= _CLEAR:
                clear.append(name)
            elif heard < _UNCLEAR:
                unclear.append(name)
        expected = None if right is None else float(right)
    except (TypeError, KeyError, ValueError, ZeroDivisionError):
        return ""
    if expected is None:
        first = "The labels of no stem can be trusted: listen."
    else:
        first = f"Of 100 stems kept or changed, about {100 * expected:.0f} should have exactly the right labels."
    told = [f"Heard clearly: {', '.join(clear)}."] if clear and len(clear) < len(run.taxonomy) else []
    told += [f"Often missed or mistaken: {', '.join(unclear)}; check them by ear."] if unclear else []
    return " ".join([first, *told])


def summary_of(run: Run) -> dict[str, Any]:
    """What `restem refine` prints, as plain numbers and strings, ready for JSON."""
    return {
        "run": str(run.place),
        "stems": len(run.labels),
        "songs": run.labels["song"].n_unique(),
        "verdicts": verdict_counts(run.labels),
        "classes": [asdict(one) for one in class_findings(run.labels, run.taxonomy)],
        "trust": trust(run),
        "findings": dict(Counter(one["kind"] for one in run.description.get("findings") or ())),
        "out_of_fold": run.out_of_fold,
    }


def next_steps(run: Run) -> list[tuple[str, str]]:
    """What to do now, the most useful first: (in words, the command to type or nothing)."""
    counts = verdict_counts(run.labels)
    steps = []
    place = shlex.quote(str(run.place))
    open_ones = run.labels.filter(
        pl.col("verdict").is_in(["changed", "unsure"]), ~pl.col("stem").is_in(list(run.decided))
    )
    if len(open_ones):
        doubtful = f"{counted(len(open_ones), 'stem')} that changed or {'is' if len(open_ones) == 1 else 'are'} unsure"
        steps.append((f"Listen to the {doubtful}:", f"restem review {place}"))
    if counts["failed"]:
        steps.append((f"Replace the {counted(counts['failed'], 'file')} that could not be read, and refine again.", ""))
    if len(run.labels):
        steps.append(("Take the refined labels into use:", f"restem export {place} refined-stems"))
    return steps


def failure_reason(run: Run, stem: str) -> str:
    """Why a stem could not be read, without the path that errors begin with."""
    failures = run.description.get("failures")
    reason = failures.get(stem) if isinstance(failures, Mapping) else None
    return str(reason).removeprefix(f"{run.dataset_root / stem}: ") if reason else "the file could not be read"


def noted_stems(run: Run) -> dict[str, str]:
    """The stems that were used although something is wrong with their files, and what."""
    notes = run.description.get("notes")
    return {str(stem): str(note) for stem, note in notes.items()} if isinstance(notes, Mapping) else {}


def parsed(column: pl.Series, taxonomy: Taxonomy) -> list[LabelSet]:
    """The label sets written in a column."""
    return [taxonomy.parse(text or "") for text in column]
