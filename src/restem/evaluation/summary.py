"""What a run found, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from restem.dataset.run import Run
from restem.evaluation.findings import class_findings, failure_reason, set_name, verdict_counts
from restem.evaluation.names import printable, shortened, within_song
from restem.evaluation.terminal import bare_table, counted

WORST = 20
BAR_WIDTH = 24
GAP = 3  # characters between two columns
VERDICT_STYLES: Mapping[str, str] = {
    "kept": "green",
    "changed": "cyan",
    "unsure": "yellow",
    "silent": "bright_black",
    "failed": "red",
}
MEANINGS: Mapping[str, str] = {
    "kept": "the given labels are right",
    "changed": "other labels were found",
    "unsure": "left as given; listen",
    "silent": "nothing to be heard",
    "failed": "could not be read",
}


def print_summary(run: Run, console: Console) -> None:
    """Prints stems per verdict, what was found per class, and the worst stems of a run.

    Names from the disk are printed literally: never as markup, never as terminal escapes.
    """
    labels = run.labels
    console.print(_verdict_table(labels))
    console.print(_class_table(run))
    worst = labels.filter(pl.col("quality").is_not_null()).sort("quality", maintain_order=True).head(WORST)
    if len(worst):
        console.print(_stem_table(worst, _worst_title(len(worst)), console.width))
    failed = labels.filter(pl.col("verdict") == "failed").head(WORST)
    if len(failed):
        console.print(_failed_table(run, failed, _failed_title(labels)))


def _verdict_table(labels: pl.DataFrame) -> Table:
    table = bare_table(f"\n{counted(len(labels), 'stem')} in {counted(labels['song'].n_unique(), 'song')}")
    table.add_column("verdict")
    table.add_column("stems", justify="right")
    table.add_column("share", justify="right")
    table.add_column("", no_wrap=True)
    table.add_column("meaning", style="dim")
    for verdict, count in verdict_counts(labels).items():
        share = count / max(1, len(labels))
        # Rounded up, so that a single stem among thousands is still seen.
        bar = "█" * -int(-share * BAR_WIDTH // 1)
        style = VERDICT_STYLES[verdict]
        table.add_row(Text(verdict, style), f"{count:,}", f"{share:.1%}", Text(bar, style), MEANINGS[verdict])
    return table


def _class_table(run: Run) -> Table:
    table = bare_table("\nStems per class")
    table.add_column("class")
    for name in ("given", "removed", "added", "refined"):
        table.add_column(name, justify="right")
    for one in class_findings(run.labels, run.taxonomy):
        table.add_row(
            one.name, f"{one.given:,}", _signed("-", one.removed), _signed("+", one.added), f"{one.refined:,}"
        )
    return table


def _worst_title(count: int) -> str:
    return f"\nThe {count} stems of lowest label quality" if count > 1 else "\nThe stem of lowest label quality"


def _failed_title(labels: pl.DataFrame) -> str:
    failed = verdict_counts(labels)["failed"]
    return f"\n{counted(failed, 'stem')} could not be read" + (f"; the first {WORST}" if failed > WORST else "")


def _failed_table(run: Run, failed: pl.DataFrame, title: str) -> Table:
    """The stems that could not be read, and why."""
    table = bare_table(title)
    table.add_column("stem", overflow="fold")
    table.add_column("reason", overflow="fold")
    for stem in failed["stem"]:
        table.add_row(Text(printable(stem)), Text(printable(failure_reason(run, stem)), "dim"))
    return table


def _stem_table(rows: pl.DataFrame, title: str, width: int) -> Table:
    """One line a stem in at most `width` characters."""
    songs = [printable(song) for song in rows["song"]]
    stems = [printable(within_song(song, stem)) for song, stem in zip(rows["song"], rows["stem"], strict=True)]
    changes = [_change(row) for row in rows.iter_rows(named=True)]
    fixed = len("quality") + len("verdict") + 2 * GAP
    room = max(20, width - fixed - 2 * GAP - min(max(map(len, changes)), width // 3))
    # Stem names are short, as a rule, and get what they need before the song's name does.
    stem_width = min(max(map(len, stems)), max(room * 3 // 5, room - max(map(len, songs))))
    table = bare_table(title)
    table.add_column("quality", justify="right", no_wrap=True, min_width=len("quality"))
    table.add_column("verdict", no_wrap=True, min_width=len("verdict"))
    for name in ("song", "stem", "given → refined"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for i, row in enumerate(rows.iter_rows(named=True)):
        verdict = Text(row["verdict"], VERDICT_STYLES[row["verdict"]])
        song, stem = Text(shortened(songs[i], room - stem_width)), Text(shortened(stems[i], stem_width))
        table.add_row(Text(f"{row['quality']:.3f}"), verdict, song, stem, changes[i])
    return table


def _change(row: Mapping[str, Any]) -> Text:
    given, refined = set_name(row["given"]), set_name(row["refined"])
    return Text(given, "dim") if given == refined else Text.assemble(given, " → ", (refined, "bold"))


def _signed(sign: str, count: int) -> Text:
    return Text(f"{sign}{count:,}") if count else Text("·", "dim")
