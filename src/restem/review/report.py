"""`report.html`: everything a run found, on one page that needs nothing else.

The page is made from `templates/`, filled by `restem.review.sections` (the dataset as a whole) and
`restem.review.cards` (stem by stem). It loads nothing, and a content security policy forbids it to: should a hostile
file name ever slip through the escaping, it still could not run, because only the one script whose hash is named may.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import polars as pl
from markupsafe import Markup

from restem.auditing.audit import Audit
from restem.files import written_aside
from restem.review import sections
from restem.review.cards import MOST_LINES, cards, lines, select
from restem.review.previews import previews
from restem.review.rendering import environment, package_data
from restem.review.timeline import SIZES
from restem.runs.findings import (
    REST,
    class_findings,
    confusion,
    exchange,
    failure_reason,
    next_steps,
    noted_stems,
    songs_to_look_at,
    trust,
    verdict_counts,
    wrong_shares,
)
from restem.runs.run import REPORT_FILE, Run
from restem.verdicts import MEANINGS

MOST_SONGS = 15  # of the songs table: the stems themselves follow below it


def write_report(run: Run, path: Path | None = None, audio: bool = False, audit: Audit | None = None) -> Path:
    """Writes the report of `run` to `path` (default: `report.html` in the run) and returns where it is.

    audio: put a few seconds of every pictured stem in it. audit: of the dataset, to list its findings. The file appears
    when it is whole. Raises RunError when the segments of the run cannot be read, or the dataset to be heard has
    changed or gone; DatasetError when `path` lies in the dataset.
    """
    path = path or run.path / REPORT_FILE
    run.check_outside(path)
    if audio:
        run.check_unchanged()
    page = render(run, audio, audit)
    with written_aside(path) as aside:
        aside.write_text(page, encoding="utf-8")
    return path


def render(run: Run, audio: bool = False, audit: Audit | None = None) -> str:
    """The report as HTML. audio: with previews. audit: see `write_report`."""
    selection = select(run.labels)
    script = package_data("report.js")
    failed = selection.others.filter(pl.col("verdict") == "failed")
    songs = songs_to_look_at(run.labels)
    notes = noted_stems(run)
    confused = confusion(run.labels, run.taxonomy)
    exchanged = exchange(run.labels, run.taxonomy) if REST in (*confused.rows, *confused.columns) else None
    template = environment().get_template("report.html")
    return template.render(
        # What this package has made or ships is not data, and stays as it is.
        policy=Markup(page_policy(script, audio)),
        style=Markup(package_data("report.css")),
        script=Markup(script),
        sizes=SIZES,
        title=run.dataset_root.name or run.dataset_root,
        root=run.dataset_root,
        classes=run.taxonomy.classes,
        meanings=MEANINGS,
        facts=sections.facts(run),
        lead=sections.lead(run.labels),
        trust=trust(run),
        stems=len(run.labels),
        verdicts=verdict_counts(run.labels),
        steps=next_steps(run),
        per_class=class_findings(run.labels, run.taxonomy),
        wrong={one.name: one for one in wrong_shares(run.labels, run.taxonomy)},
        confusion=confused,
        exchange=exchanged,
        most_frequent_change=sections.most_frequent_change(exchanged or confused),
        bins=sections.histogram(run.labels),
        songs=songs[:MOST_SONGS],
        suspects=sections.suspects(run, songs[:MOST_SONGS]),
        song_count=len(songs),
        cards=cards(run, selection, previews(run, selection.cards) if audio else {}),
        others=lines(selection.others, run.taxonomy),
        unlisted=selection.unlisted,
        notes=dict(list(notes.items())[:MOST_LINES]),
        note_count=len(notes),
        found=sections.found_in(run, audit),
        reasons={row: failure_reason(run, stem) for row, stem in failed.select("row", "stem").iter_rows()},
    )


def page_policy(script: str, audio: bool = False) -> str:
    """What a browser may do with the page: run `script`, and play the sound that is in it."""
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_digest(script)}'"
    return policy + ("; media-src data:" if audio else "")


def _digest(script: str) -> str:
    """The hash by which a content security policy names an inline script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
