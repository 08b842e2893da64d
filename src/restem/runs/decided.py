"""Applies people's decisions to the tables of a run; they override what the classifiers found.

The last decision about a whole stem holds. A decision about a time range says which classes sound within it; a class
that sounds in a range is in the stem. Where the two disagree, the later one holds: a range adds its classes to an
earlier label set, and a later label set removes the classes it lacks from earlier ranges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from restem.runs.ledger import Decision
from restem.taxonomy import LabelSet, Taxonomy


@dataclass(frozen=True)
class Range:
    """The classes that sound in a stem from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    labels: LabelSet


@dataclass(frozen=True)
class Decided:
    """The standing decisions about one stem, combined.

    labels: the decided label set, or None without one. unsure: whether a person could not tell. ranges: in the order in
    which they were decided; later ones hold where they overlap.
    """

    labels: LabelSet | None = None
    unsure: bool = False
    ranges: tuple[Range, ...] = ()

    @property
    def heard(self) -> LabelSet:
        """The classes that sound in any of the ranges."""
        return frozenset().union(*(one.labels for one in self.ranges))


def settle(decisions: Iterable[Decision], taxonomy: Taxonomy) -> dict[str, Decided]:
    """Combines decisions, given in the order in which they were made, into one `Decided` per stem name."""
    found: dict[str, Decided] = {}
    for one in decisions:
        before = found.get(one.stem, Decided())
        labels = None if one.new is None else taxonomy.parse(one.new)
        if one.start_s is None or one.end_s is None:
            ranges = before.ranges
            if labels is not None:
                ranges = tuple(replace(part, labels=part.labels & labels) for part in ranges)
            found[one.stem] = Decided(labels, labels is None, ranges)
        elif labels is not None:
            whole = None if before.labels is None else before.labels | labels
            found[one.stem] = Decided(whole, before.unsure, (*before.ranges, Range(one.start_s, one.end_s, labels)))
    return found


def decided_row(row: Mapping[str, Any], decided: Decided, taxonomy: Taxonomy) -> dict[str, Any]:
    """A row of `labels.csv` with the decisions about its stem applied.

    A decided label set is certain: the verdict becomes `kept` or `changed`, and quality and scores become 1 or 0. A
    failed stem stays `failed`, and a silent one stays `silent` if its decided label set is empty.
    """
    if row["verdict"] == "failed":
        return dict(row)
    given = taxonomy.parse(row["given"])
    if decided.labels is not None:
        labels = decided.labels
        verdict = "kept" if labels == given else "changed"
        if row["verdict"] == "silent" and not labels:
            verdict = "silent"
        scores = {name: float(name in labels) for name in taxonomy.classes}
        changes = {"refined": taxonomy.format(labels), "verdict": verdict, "quality": float(labels == given)}
        return {**row, **changes, **scores}
    if decided.unsure:
        return {**row, "refined": row["given"], "verdict": "unsure"}
    labels = taxonomy.parse(row["refined"]) | decided.heard
    changed = {"refined": taxonomy.format(labels), **dict.fromkeys(decided.heard, 1.0)}
    if not decided.heard <= given:
        changed |= {"verdict": "changed", "quality": 0.0}
    return {**row, **changed}


def decided_labels(found: pl.DataFrame, decided: Mapping[str, Decided], taxonomy: Taxonomy) -> pl.DataFrame:
    """The table `found`, `labels.csv` as the classifiers left it, with the decisions applied."""
    if not decided:
        return found
    numbered = found.with_row_index("row")
    mine = pl.col("stem").is_in(list(decided))
    rows = [decided_row(row, decided[row["stem"]], taxonomy) for row in numbered.filter(mine).iter_rows(named=True)]
    changed = pl.DataFrame(rows, schema=numbered.schema)
    return pl.concat([numbered.filter(~mine), changed]).sort("row").drop("row")


def decided_segments(found: pl.DataFrame, decided: Mapping[str, Decided], taxonomy: Taxonomy) -> pl.DataFrame:
    """The table `found`, `segments.parquet` as the classifiers left it, with the decisions applied.

    A class that is not in a stem scores 0 in all of its segments, and segments within a decided range score 1 or 0.
    """
    mine = pl.col("stem").is_in(list(decided))
    if not decided or found.filter(mine).is_empty():
        return found
    numbered = found.with_row_index("row")
    parts = [numbered.filter(~mine)]
    for (stem, *_), part in numbered.filter(mine).partition_by("stem", as_dict=True).items():
        one = decided[stem]
        if one.labels is not None:
            part = part.with_columns(
                pl.lit(0.0, pl.Float32).alias(name) for name in taxonomy.classes if name not in one.labels
            )
        for span in one.ranges:
            inside = (pl.col("start_s") >= span.start_s) & (pl.col("end_s") <= span.end_s)
            part = part.with_columns(
                pl.when(inside).then(pl.lit(float(name in span.labels), pl.Float32)).otherwise(pl.col(name)).alias(name)
                for name in taxonomy.classes
            )
        parts.append(part)
    return pl.concat(parts).sort("row").drop("row")
