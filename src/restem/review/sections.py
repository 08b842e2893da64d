"""The sections of the report that look at the dataset as a whole. Each function returns HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from restem.dataset.table import within_song
from restem.review.markup import change, defined, duration, label_set, name, table, text
from restem.review.timeline import COLOURS
from restem.runs.findings import (
    REST,
    WrongShare,
    class_findings,
    confusion,
    songs_to_look_at,
    verdict_counts,
    wrong_shares,
)
from restem.runs.run import DESCRIPTION_FILE, Run
from restem.taxonomy import Taxonomy
from restem.verdicts import VERDICTS
from restem.wording import counted

MEANINGS = {
    "kept": "given labels fit",
    "changed": "other labels found",
    "unsure": "left as given",
    "silent": "nothing to hear",
    "failed": "could not be read",
}
DEFINITIONS = {
    "stems": "One audio file, or stream of a file, of a song.",
    "kept": "The given labels stand.",
    "changed": "Other labels were found, or decided, and are clear enough to replace the given ones.",
    "unsure": "Something speaks against the given labels, not clearly enough; they stand, listen to it.",
    "silent": "Nothing is to be heard; the refined label set is empty.",
    "failed": "The file cannot be decoded; its labels stand.",
    "given": "Stems that came with this label.",
    "removed": "Stems that had this label and lost it.",
    "added": "Stems that did not have this label and got it.",
    "refined": "Stems that have this label now.",
    "wrong": (
        "The expected share of stems whose given label, or lack of it, is wrong for this class: the mean over stems of "
        "the probability. In brackets the interval in which it lies with 95 % if those probabilities are right."
    ),
    "quality": "The probability that the given label set of a stem is right as a whole.",
}
BINS = 10  # of the quality histogram
HISTOGRAM_HEIGHT = 130  # pixels
MOST_SONGS = 15  # of the songs table: the stems themselves follow below it


def facts(run: Run) -> str:
    """The line under the title: how much there is, when it was refined, and with what."""
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
    return "".join(f"<li>{text(part)}</li>" for part in parts)


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


def verdict_sentence(labels: pl.DataFrame) -> str:
    """What a reader should know who reads nothing else."""
    counts, all_stems = verdict_counts(labels), len(labels)
    if not all_stems:
        return "The dataset holds no stems."
    if counts["kept"] == all_stems:
        return "Every stem keeps the labels it was given."
    parts = []
    if counts["changed"]:
        parts.append(f"<b>{counts['changed'] / all_stems:.1%} of the stems</b> now carry other labels")
    if counts["silent"]:
        parts.append(f"<b>{counts['silent']:,}</b> {_are(counts['silent'])} silent")
    if counts["unsure"]:
        parts.append(f"<b>{counts['unsure']:,}</b> {_are(counts['unsure'])} worth listening to")
    if counts["failed"]:
        parts.append(f"<b>{counts['failed']:,}</b> could not be read")
    return (", ".join(parts[:-1]) + " and " if parts[1:] else "") + parts[-1] + "."


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def tiles(labels: pl.DataFrame) -> str:
    """The number of stems, and of each verdict with its share; above them the shares as one bar."""
    counts, all_stems = verdict_counts(labels), max(1, len(labels))
    bar = "".join(f'<span class="fill {one}" style="flex:{count}"></span>' for one, count in counts.items() if count)
    stems = defined("stems", DEFINITIONS["stems"])
    boxes = [f'<li><span class="label">{stems}</span><b>{len(labels):,}</b><small>in all</small></li>']
    boxes += [
        f'<li><span class="label"><i class="fill {one}"></i>{defined(one, DEFINITIONS[one])}</span>'
        f"<b>{count:,}</b>"
        f"<small>{count / all_stems:.1%} · {MEANINGS[one]}</small></li>"
        for one, count in counts.items()
    ]
    return f'<div class="bar" aria-hidden="true">{bar}</div><ul class="tiles">{"".join(boxes)}</ul>'


def next_steps(run: Run) -> str:
    """What to do now, the most useful first."""
    counts = verdict_counts(run.labels)
    path = text(run.path)
    steps = []
    open_ones = run.labels.filter(
        pl.col("verdict").is_in(["changed", "unsure"]), ~pl.col("stem").is_in(list(run.decided))
    )
    if len(open_ones):
        doubtful = f"{counted(len(open_ones), 'stem')} that changed or {_are(len(open_ones))} unsure"
        steps.append(f"Listen to the {doubtful}: <code>restem review {path}</code>")
    if counts["failed"]:
        steps.append(f"Replace the {counted(counts['failed'], 'file')} that could not be read, and refine again.")
    if len(run.labels):
        steps.append(f"Take the refined labels into use: <code>restem export {path} refined-stems</code>")
    return "".join(f"<li>{step}</li>" for step in steps)


def per_class(run: Run) -> str:
    """Of each class, how many stems were given it, lost it, gained it and hold it now; as numbers and as bars."""
    found = class_findings(run.labels, run.taxonomy)
    wrong = {one.name: one for one in wrong_shares(run.labels, run.taxonomy)}
    longest = max(1, *(one.given + one.added for one in found))
    rows = []
    for i, one in enumerate(found):
        parts = (("as-given", one.given - one.removed), ("added", one.added), ("removed", one.removed))
        bars = "".join(
            f'<span class="{kind}" style="width:{100 * count / longest:.3g}%"></span>' for kind, count in parts if count
        )
        rows.append(
            (
                f'<i class="fill k{i % COLOURS}"></i>{text(one.name)}',
                f"{one.given:,}",
                f"−{one.removed:,}" if one.removed else "·",
                f"+{one.added:,}" if one.added else "·",
                f"<b>{one.refined:,}</b>",
                _interval(wrong[one.name]) if wrong else "–",
                f'<div class="bars k{i % COLOURS}">{bars}</div>',
            )
        )
    keys = ("given", "removed", "added", "refined", "wrong")
    numbers = [(defined(key, DEFINITIONS[key]), "number") for key in keys]
    return table([("class", ""), *numbers, (_BARS_KEY, "wide")], rows, "classes sortable")


def _interval(wrong: WrongShare) -> str:
    return f"{wrong.share:.1%} <small>({100 * wrong.low:.1f}–{100 * wrong.high:.1f})</small>"


_BARS_KEY = (
    '<span class="bars key"><span class="as-given"></span> as given <span class="added"></span> added '
    '<span class="removed"></span> removed</span>'
)


def confusion_table(run: Run) -> str:
    """Given against refined label sets as a heat map.

    What stayed as it was is grey: it is most of the dataset and would outshine the rest. The colour is the share of
    the most frequent change, by its square root, so that single stems show.
    """
    found = confusion(run.labels, run.taxonomy)
    if not found.rows:
        return '<p class="none">No stem could be heard.</p>'
    changes = [
        count
        for row, counts in zip(found.rows, found.counts, strict=True)
        for column, count in zip(found.columns, counts, strict=True)
        if row != column
    ]
    most = max([1, *changes])
    rows = []
    for row, counts in zip(found.rows, found.counts, strict=True):
        cells = [_heat(count, most, row == column) for column, count in zip(found.columns, counts, strict=True)]
        rows.append((label_set(row), *cells))
    head = [('<small class="axes">given ↓ &nbsp; refined →</small>', ""), *((label_set(c), "") for c in found.columns)]
    notes = []
    if found.failed:
        notes.append(f"{counted(found.failed, 'stem')} that could not be read left out.")
    if REST in found.rows or REST in found.columns:
        notes.append("<i>The rest</i> gathers the rarest label sets; where it meets itself, stems may have changed.")
    return table(head, rows, "confusion") + "".join(f'<p class="note">{note}</p>' for note in notes)


def _heat(count: int, most: int, same: bool) -> str:
    if not count:
        return f'<span class="cell{" same" if same else ""}"></span>'
    if same:
        return f'<span class="cell same">{count:,}</span>'
    # Up to 55 %: beyond it the number would no longer stand out from the colour.
    return f'<span class="cell" style="--heat:{8 + 47 * (count / most) ** 0.5:.0f}%">{count:,}</span>'


def histogram(labels: pl.DataFrame) -> str:
    """How many stems have which quality, by verdict."""
    scored = labels.filter(pl.col("quality").is_not_null())
    counted_bins = Counter(
        (min(BINS - 1, max(0, int(quality * BINS))), verdict)
        for quality, verdict in zip(scored["quality"], scored["verdict"], strict=True)
    )
    totals = [sum(counted_bins[i, verdict] for verdict in VERDICTS) for i in range(BINS)]
    most = max(1, *totals)
    columns = []
    for i, total in enumerate(totals):
        # At least two pixels, so that a single stem among thousands is seen.
        parts = "".join(
            f'<span class="fill {verdict}" style="height:{max(2, round(count / most * HISTOGRAM_HEIGHT))}px"></span>'
            for verdict in reversed(VERDICTS)
            if (count := counted_bins[i, verdict])
        )
        columns.append(f'<li title="quality {i / BINS:g} to {(i + 1) / BINS:g}"><b>{_short(total)}</b>{parts}</li>')
    axis = "".join(f'<span style="left:{100 * i / BINS:g}%">{i / BINS:g}</span>' for i in range(0, BINS + 1, 2))
    key = "".join(
        f'<li><i class="fill {verdict}"></i>{verdict}</li>'
        for verdict in VERDICTS
        if any(counted_bins[i, verdict] for i in range(BINS))
    )
    quality = defined("label quality", DEFINITIONS["quality"])
    return (
        f'<ul class="key">{key}</ul><ol class="histogram">{"".join(columns)}</ol><div class="axis">{axis}</div>'
        f'<p class="axis-name"><span>← probably wrong</span><span>{quality}</span><span>fits →</span></p>'
    )


def _short(count: int) -> str:
    if not count:
        return ""
    return f"{count / 1000:.1f}k" if count >= 10_000 else str(count)


def songs(run: Run) -> str:
    """The songs with several stems that changed or are unsure, and what became of those."""
    found = songs_to_look_at(run.labels)
    if not found:
        return '<p class="none">No song has more than one.</p>'
    shown = found[:MOST_SONGS]
    suspects = run.labels.filter(
        (pl.col("given") != pl.col("refined")) | (pl.col("verdict") == "unsure"),
        pl.col("song").is_in([one.song for one in shown]),
    )
    stems_of = suspects.partition_by("song", as_dict=True)
    rows = [
        (
            name(one.song),
            f"{one.changed} of {one.stems}",
            str(one.unsure),
            _stem_changes(stems_of[(one.song,)].to_dicts(), run.taxonomy),
        )
        for one in shown
    ]
    head = (("song", "name"), ("changed", "number"), ("unsure", "number"), ("stems", "wide"))
    note = f'<p class="note">The first {MOST_SONGS} of {len(found):,} songs.</p>' if len(found) > MOST_SONGS else ""
    return table(head, rows, "songs sortable") + note


def _stem_changes(stems: Sequence[dict[str, Any]], taxonomy: Taxonomy) -> str:
    """One line a stem."""
    lines = []
    for stem in stems:
        given, refined = taxonomy.parse(stem["given"] or ""), taxonomy.parse(stem["refined"] or "")
        doubt = " <small>unsure</small>" if stem["verdict"] == "unsure" else ""
        file = name(within_song(stem["song"], stem["stem"]))
        lines.append(f"<div>{file}: {change(given, refined, taxonomy)}{doubt}</div>")
    return "".join(lines)
