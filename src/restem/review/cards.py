"""The stems that a person should look at, as the report shows them: a card each, or a line where there are too many.

These are all stems that are not `kept`. The `MOST_CARDS` most doubtful of them get a card, with a picture if the stem
could be read; of the others the `MOST_LINES` most doubtful get a line, so that the page stays small for any dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from restem.dataset.table import within_song
from restem.review.previews import Preview
from restem.review.timeline import Plot, picture
from restem.runs.findings import failure_reason
from restem.runs.run import Run
from restem.taxonomy import Taxonomy
from restem.verdicts import MEANINGS, WITHOUT_SOUND

MOST_CARDS = 200
MOST_LINES = 2000


@dataclass(frozen=True)
class Selection:
    """The stems with a card, and others: rows of `labels.csv`, with their row number there as the column `row`.

    Both are sorted by quality, the most doubtful first; stems without a quality come last. unlisted: how many stems are
    neither, though they are not `kept`.
    """

    cards: pl.DataFrame
    others: pl.DataFrame
    unlisted: int


@dataclass(frozen=True)
class Change:
    """The labels of a stem before and after, in taxonomy order; removed and added: those that only one side has."""

    given: tuple[str, ...]
    refined: tuple[str, ...]

    @property
    def removed(self) -> set[str]:
        """Given, and no longer there."""
        return set(self.given).difference(self.refined)

    @property
    def added(self) -> set[str]:
        """Not given, and there now."""
        return set(self.refined).difference(self.given)


@dataclass(frozen=True)
class Line:
    """One stem in words.

    row: its place in the run. stem: the path below its song. quality: None where it has none. searched: the lower-case
    text in which the page's search field looks.
    """

    row: int
    song: str
    stem: str
    verdict: str
    quality: float | None
    change: Change
    searched: str


@dataclass(frozen=True)
class Card:
    """One stem with a picture.

    seconds, active_s: None where they are unknown. remark: what is to be said beyond the labels, or nothing. plot: None
    where the run holds no segments of it. preview: a few seconds to listen to, or None.
    """

    line: Line
    seconds: float | None
    active_s: float | None
    remark: str
    plot: Plot | None
    preview: Preview | None


def select(labels: pl.DataFrame, most: int = MOST_CARDS, most_lines: int = MOST_LINES) -> Selection:
    """Chooses which stems get a card, and which a line.

    `changed` and `unsure` stems take turns, each by rising quality, so that neither crowds out the other: the
    changed ones are the more certain, the unsure ones need a person most. Silent and failed stems come after them.
    """
    interesting = (
        labels.with_row_index("row")
        .filter(pl.col("verdict") != "kept")
        .sort("quality", nulls_last=True, maintain_order=True)
        .with_columns(turn=pl.int_range(pl.len()).over("verdict"), later=pl.col("verdict").is_in(WITHOUT_SOUND))
    )
    chosen = interesting.sort("later", "turn", maintain_order=True).head(most)["row"]
    has_card = pl.col("row").is_in(chosen.implode())
    interesting = interesting.drop("turn", "later")
    others = interesting.filter(~has_card)
    return Selection(interesting.filter(has_card), others.head(most_lines), max(0, len(others) - most_lines))


def cards(run: Run, selection: Selection, previews: Mapping[str, Preview]) -> list[Card]:
    """The cards of a selection. previews: by stem. Raises RunError when the segments lack a column."""
    segments = _segments_by_stem(run, selection.cards)
    return [
        _card(row, segments.get(row["stem"]), run, previews.get(row["stem"]))
        for row in selection.cards.iter_rows(named=True)
    ]


def lines(stems: pl.DataFrame, taxonomy: Taxonomy) -> list[Line]:
    """Rows of `labels.csv`, with their row number as the column `row`, in words."""
    return [_line(row, taxonomy) for row in stems.iter_rows(named=True)]


def change(row: Mapping[str, Any], taxonomy: Taxonomy) -> Change:
    """What became of the labels in a row of `labels.csv`."""
    given, refined = (taxonomy.parse(row[name] or "") for name in ("given", "refined"))
    return Change(*(tuple(name for name in taxonomy.classes if name in labels) for labels in (given, refined)))


def _line(row: Mapping[str, Any], taxonomy: Taxonomy) -> Line:
    return Line(
        row["row"],
        row["song"],
        within_song(row["song"], row["stem"]),
        row["verdict"],
        row["quality"],
        change(row, taxonomy),
        f"{row['song']} {row['stem']} {row['given']} {row['refined']}".lower(),
    )


def _card(row: Mapping[str, Any], segments: pl.DataFrame | None, run: Run, preview: Preview | None) -> Card:
    taxonomy = run.taxonomy
    plot, remark = None, ""
    if row["verdict"] == "failed":
        remark = failure_reason(run, row["stem"])
    elif row["verdict"] == "silent":
        remark = MEANINGS["silent"].full
    if segments is not None:
        given, refined = (taxonomy.parse(row[name] or "") for name in ("given", "refined"))
        plot = picture(segments, taxonomy, given, refined, {name: row[name] for name in taxonomy.classes})
    return Card(_line(row, taxonomy), row["seconds"], row["active_seconds"], remark, plot, preview)


def _segments_by_stem(run: Run, stems: pl.DataFrame) -> dict[str, pl.DataFrame]:
    if not len(stems):
        return {}
    return run.segments_of(stems["stem"].to_list())
