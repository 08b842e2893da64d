"""The stems a person should look at: a card each, or a line where there are too many.

Of interest is every stem that is not `kept`. The most doubtful `MOST_CARDS` of them get a card, which has a picture
where the stem could be heard; the others get a line each, so that the page stays small whatever the dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from restem.dataset.table import within_song
from restem.errors import RunError
from restem.review.markup import change, duration, name, table, text
from restem.review.timeline import picture
from restem.runs.findings import failure_reason
from restem.runs.run import SEGMENTS_FILE, Run, segments_schema
from restem.taxonomy import Taxonomy

MOST_CARDS = 200

REMARKS: Mapping[str, str] = {
    "silent": "Nothing was heard anywhere in this stem.",
}


@dataclass(frozen=True)
class Selection:
    """The stems of interest, as rows of `labels.csv` with the row number `row`: those with a card, and the others.

    Both are ordered by quality, the most doubtful first; stems without a quality come last.
    """

    cards: pl.DataFrame
    others: pl.DataFrame


def select(labels: pl.DataFrame, most: int = MOST_CARDS) -> Selection:
    """Chooses which stems get a card.

    `changed` and `unsure` stems take turns, each by rising quality, so that neither crowds out the other: the
    changed ones are the more certain, the unsure ones need a person most. Silent and failed stems come after them.
    """
    interesting = (
        labels.with_row_index("row")
        .filter(pl.col("verdict") != "kept")
        .sort("quality", nulls_last=True, maintain_order=True)
        .with_columns(turn=pl.int_range(pl.len()).over("verdict"), later=pl.col("verdict").is_in(["silent", "failed"]))
    )
    chosen = interesting.sort("later", "turn", maintain_order=True).head(most)["row"]
    has_card = pl.col("row").is_in(chosen.implode())
    interesting = interesting.drop("turn", "later")
    return Selection(interesting.filter(has_card), interesting.filter(~has_card))


def cards(run: Run, selection: Selection, previews: Mapping[str, str]) -> str:
    """The cards' HTML. previews: stem -> HTML to hear it with. Raises RunError when the segments lack a column."""
    segments = _segments_by_stem(run, selection.cards)
    return "\n".join(
        _card(row, segments.get((row["song"], row["stem"])), run, previews.get(row["stem"], ""))
        for row in selection.cards.iter_rows(named=True)
    )


def lines(selection: Selection, taxonomy: Taxonomy) -> str:
    """The HTML of the table of stems without a card."""
    head = (("song", "name"), ("stem", "name"), ("given → refined", ""), ("verdict", ""), ("quality", "number"))
    stems = list(selection.others.iter_rows(named=True))
    rows = (
        (
            name(row["song"]),
            name(within_song(row["song"], row["stem"])),
            _change(row, taxonomy),
            _badge(row["verdict"]),
            _quality(row),
        )
        for row in stems
    )
    return table(head, rows, "stems sortable", attributes=[_keys(row) for row in stems])


def _segments_by_stem(run: Run, stems: pl.DataFrame) -> dict[tuple[Any, ...], pl.DataFrame]:
    if not len(stems):
        return {}
    segments = run.segments
    if missing := [column for column in segments_schema(run.taxonomy) if column not in segments.columns]:
        raise RunError(f"{run.path / SEGMENTS_FILE}: the column {missing[0]!r} is missing; run `restem refine` again.")
    wanted = segments.join(stems.select("song", "stem"), on=["song", "stem"], how="semi")
    return wanted.partition_by("song", "stem", as_dict=True)


def _card(row: Mapping[str, Any], segments: pl.DataFrame | None, run: Run, preview: str) -> str:
    taxonomy = run.taxonomy
    parts = [
        f'<article class="card" {_keys(row)}>'
        f"<header><h3><small>{name(row['song'])}</small>{name(within_song(row['song'], row['stem']))}</h3>"
        f"{_badge(row['verdict'])}</header>",
        f'<p class="news"><span>{_change(row, taxonomy)}</span><span class="facts">{_facts(row)}</span></p>',
    ]
    if row["verdict"] == "failed":
        parts.append(f'<p class="remark">{text(failure_reason(run, row["stem"]))} Its labels stay as given.</p>')
    elif remark := REMARKS.get(row["verdict"]):
        parts.append(f'<p class="remark">{remark}</p>')
    if segments is not None:
        given, refined = taxonomy.parse(row["given"] or ""), taxonomy.parse(row["refined"] or "")
        parts.append(picture(segments, taxonomy, given, refined, {one: row[one] for one in taxonomy.classes}))
    elif row["verdict"] != "failed":
        parts.append('<p class="remark">The run holds no segments of this stem.</p>')
    return "".join(parts) + preview + "</article>"


def _keys(row: Mapping[str, Any]) -> str:
    """What report.js filters and sorts by."""
    quality = 2 if row["quality"] is None else row["quality"]
    searched = text(f"{row['song']} {row['stem']} {row['given']} {row['refined']}".lower())
    return (
        f'data-verdict="{row["verdict"]}" data-row="{row["row"]}" data-quality="{quality:.4g}" data-text="{searched}"'
    )


def _badge(verdict: str) -> str:
    return f'<span class="badge {verdict}">{verdict}</span>'


def _change(row: Mapping[str, Any], taxonomy: Taxonomy) -> str:
    return change(taxonomy.parse(row["given"] or ""), taxonomy.parse(row["refined"] or ""), taxonomy)


def _quality(row: Mapping[str, Any]) -> str:
    return "–" if row["quality"] is None else f"{row['quality']:.3f}"


def _facts(row: Mapping[str, Any]) -> str:
    facts = [] if row["quality"] is None else [f"quality <b>{row['quality']:.3f}</b>"]
    if row["seconds"] is not None and row["active_seconds"] is not None:
        facts.append(f"{duration(row['active_seconds'])} of {duration(row['seconds'])} active")
    return " · ".join(facts)
