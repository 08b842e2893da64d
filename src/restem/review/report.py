"""`report.html`: everything a run found, on one page that needs nothing else.

The page is a template, a style sheet and a short script that lie beside this file as package data, filled by
`restem.review.sections` (the dataset as a whole) and `restem.review.cards` (stem by stem). It loads nothing, and a
content security policy forbids it to: should a hostile file name ever slip through the escaping, it still could not
run, because only the one script whose hash is named may.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path
from string import Template

from restem.files import written_aside
from restem.review import sections
from restem.review.cards import cards, lines, select
from restem.review.markup import text
from restem.review.previews import previews
from restem.review.timeline import AXIS_HEIGHT, COLOURS, LEVEL_HEIGHT, STRIP_GAP, STRIP_HEIGHT
from restem.runs.run import REPORT_FILE, Run
from restem.wording import counted


def write_report(run: Run, path: Path | None = None, audio: bool = False) -> Path:
    """Writes the report of `run` to `path` (default: `report.html` in the run) and returns where it is.

    audio: put a few seconds of every pictured stem in it. The file appears when it is whole. Raises RunError when the
    segments of the run cannot be read, or the dataset that is to be heard has gone; DatasetError when `path` lies in
    the dataset.
    """
    path = path or run.path / REPORT_FILE
    run.check_outside(path)
    page = render(run, audio)
    with written_aside(path) as aside:
        aside.write_text(page, encoding="utf-8")
    return path


def render(run: Run, audio: bool = False) -> str:
    """The report as HTML. audio: with previews."""
    selection = select(run.labels)
    script = _package_data("report.js")
    return Template(_package_data("report.html")).substitute(
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_digest(script)}'"
        + ("; media-src data:" if audio else ""),
        style=_sizes() + _package_data("report.css"),
        script=script,
        title=text(run.dataset_root.name or run.dataset_root),
        root=text(run.dataset_root),
        facts=sections.facts(run),
        sentence=sections.verdict_sentence(run.labels),
        tiles=sections.tiles(run.labels),
        steps=sections.next_steps(run),
        per_class=sections.per_class(run),
        confusion=sections.confusion_table(run),
        histogram=sections.histogram(run.labels),
        songs=sections.songs(run),
        key=_class_key(run),
        extent=_extent(len(selection.cards), len(selection.others)),
        cards=cards(run, selection, previews(run, selection.cards) if audio else {}),
        others=_others(lines(selection, run.taxonomy), len(selection.others)),
    )


def _package_data(name: str) -> str:
    return (resources.files("restem.review") / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """The hash by which a content security policy names an inline script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _sizes() -> str:
    """The sizes that the pictures and the words beside them must agree on, for the style sheet."""
    return (
        f":root{{--level-height:{LEVEL_HEIGHT}px;--strip-height:{STRIP_HEIGHT}px;"
        f"--strip-gap:{STRIP_GAP}px;--axis-height:{AXIS_HEIGHT}px}}\n"
    )


def _class_key(run: Run) -> str:
    return "".join(
        f'<li><i class="fill k{i % COLOURS}"></i>{text(name)}</li>' for i, name in enumerate(run.taxonomy.classes)
    )


def _extent(shown: int, others: int) -> str:
    """Which stems are pictured, said where the pictures begin."""
    if not shown:
        return "Every stem keeps the labels it was given: there is nothing to look at."
    if not others:
        return f"{counted(shown, 'stem')} that did not simply keep the given labels, the most doubtful first."
    return (
        f"The {shown:,} most doubtful of the {shown + others:,} stems that did not simply keep the given labels are "
        f"pictured, changed and unsure ones in turn; the other {others:,} are listed below the pictures."
    )


def _others(table: str, count: int) -> str:
    if not count:
        return ""
    return f'<section id="others"><h2>Listed only <small>{counted(count, "stem")}</small></h2>{table}</section>'
