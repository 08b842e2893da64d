"""What the report says of the dataset as a whole, as plain data; `templates/` makes the HTML of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from restem.auditing.audit import Audit
from restem.auditing.findings import KINDS, Kind, findings_table
from restem.auditing.judgements import Judgements, key_of
from restem.auditing.quick import findings_in
from restem.review.cards import Line, lines
from restem.review.rendering import duration
from restem.runs.findings import Confusion, Exchange, SongFinding, verdict_counts
from restem.runs.run import DESCRIPTION_FILE, Run
from restem.verdicts import VERDICTS, Verdict
from restem.wording import counted

BINS = 10  # of the quality histogram


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


def lead(labels: pl.DataFrame) -> list[tuple[str, str]]:
    """What a reader should know who reads nothing else, as parts of one sentence: (what is emphasised, the rest)."""
    counts, all_stems = verdict_counts(labels), len(labels)
    if not all_stems:
        return [("", "The dataset holds no stems")]
    if counts["kept"] == all_stems:
        return [("", "Every stem keeps the labels it was given")]
    phrases: dict[Verdict, tuple[str, str]] = {
        "changed": (f"{counts['changed'] / all_stems:.1%} of the stems", " now carry other labels"),
        "silent": (f"{counts['silent']:,}", f" {_are(counts['silent'])} silent"),
        "unsure": (f"{counts['unsure']:,}", f" {_are(counts['unsure'])} worth listening to"),
        "failed": (f"{counts['failed']:,}", " could not be read"),
    }
    return [phrase for verdict, phrase in phrases.items() if counts[verdict]]


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def most_frequent_change(found: Confusion | Exchange) -> int:
    """The largest count off the diagonal, at least 1.

    The colours of the table are relative to it: what stayed as it was is most of the dataset and would outshine the
    rest.
    """
    changes = (
        count
        for row, counts in zip(found.rows, found.counts, strict=True)
        for column, count in zip(found.columns, counts, strict=True)
        if row != column
    )
    return max(1, max(changes, default=0))


@dataclass(frozen=True)
class Bin:
    """The stems with a quality from `low` to `high`: how many, and how many of each verdict."""

    low: float
    high: float
    stems: int
    counts: Mapping[Verdict, int]


def histogram(labels: pl.DataFrame) -> list[Bin]:
    """How many stems have which quality."""
    scored = labels.filter(pl.col("quality").is_not_null())
    found = Counter(
        (min(BINS - 1, max(0, int(quality * BINS))), verdict)
        for quality, verdict in zip(scored["quality"], scored["verdict"], strict=True)
    )
    counts = [{verdict: found[i, verdict] for verdict in VERDICTS} for i in range(BINS)]
    return [Bin(i / BINS, (i + 1) / BINS, sum(one.values()), one) for i, one in enumerate(counts)]


def suspects(run: Run, songs: list[SongFinding]) -> dict[str, list[Line]]:
    """For each of `songs`, its stems that changed or are unsure."""
    stems = run.labels.with_row_index("row").filter(
        (pl.col("given") != pl.col("refined")) | (pl.col("verdict") == "unsure"),
        pl.col("song").is_in([one.song for one in songs]),
    )
    return {str(song): lines(part, run.taxonomy) for (song,), part in stems.partition_by("song", as_dict=True).items()}


MOST_FINDINGS = 500  # that are listed; the audit's own report has more


@dataclass(frozen=True)
class Found:
    """What else is wrong with the stems: how many findings of each kind, the first ones, and where they are from."""

    count: int
    kinds: list[tuple[Kind, int]]
    rows: list[dict[str, str]]
    source: str


def found_in(run: Run, audit: Audit | None) -> Found | None:
    """The findings of an audit of the run's dataset, or those that the refinement kept; None where there are none."""
    table = findings_table(findings_in(run.description)) if audit is None else audit.findings
    if table.is_empty():
        return None
    standing = {} if audit is None else Judgements(audit.path).standing()
    rows = []
    for row in table.head(MOST_FINDINGS).iter_rows(named=True):
        judged = standing.get(key_of(row))
        rows.append({**row, "stem": row["stem"] or "mixture", "judged": "" if judged is None else judged.judged})
    counts = Counter(table["kind"].to_list())
    source = "By the refinement, in a few stretches of each stem." if audit is None else f"By the audit {audit.path}."
    return Found(len(table), [(kind, counts[kind]) for kind in KINDS if counts[kind]], rows, source)
