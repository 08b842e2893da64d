"""What the commands print about datasets and runs; comparisons are in `comparisons`.

Names from the disk are printed literally: never as markup, never as terminal escapes.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from restem.auditing.findings import MEANINGS as MEANINGS_OF_KINDS
from restem.auditing.quick import count_kinds, findings_in
from restem.dataset.table import Dataset, within_song
from restem.dataset.usage import problems_first
from restem.runs.findings import class_findings, failure_reason, next_steps, noted_stems, trust, verdict_counts
from restem.runs.run import Run
from restem.verdicts import MEANINGS, Verdict
from restem.wording import counted, label_set_text, printable, shortened

if TYPE_CHECKING:
    from restem.auditing.audit import Audit
    from restem.dataset.scan import ScanSummary
    from restem.labelling.encoders.interface import EncoderCard

WORST = 20  # stems of lowest quality that the summary of a refinement names
SHOWN_FINDINGS = 5  # of each kind that an audit found
SHOWN_FILES = 20  # failed and skipped files that are printed one by one; the CSV of a scan holds all
BAR_WIDTH = 24
GAP = 3  # characters between two columns
NOT_OUT_OF_FOLD = (
    "Every stem was scored by a classifier that was trained on it, which confirms wrong labels: qualities are too high."
)
VERDICT_STYLES: Mapping[Verdict, str] = {
    "kept": "green",
    "changed": "cyan",
    "unsure": "yellow",
    "silent": "bright_black",
    "failed": "red",
}
NO_ENCODER = (
    "No pretrained encoder is installed. With one, many more of the mistakes in recordings are found: "
    "`restem encoders add musicnn` (29 MB)."
)


def bare_table(title: str) -> Table:
    """An empty table with a bold title, a rule under its head and no frame."""
    return Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)


def print_scan(summary: ScanSummary, table: pl.DataFrame, dataset: Dataset, console: Console) -> None:
    """Prints a scan: the numbers; stems that failed or have a note, and skipped files that may be mistakes, and why."""
    print_line(console, f"{printable(str(summary.root))}: layout {summary.layout}")
    print_line(console, f"{counted(summary.songs, 'song')}, {counted(summary.stems, 'stem')}, {summary.hours:.2f} h\n")
    classes = bare_table("Stems per class")
    classes.add_column("class")
    for name in ("stems", "hours"):
        classes.add_column(name, justify="right")
    for name, stems in summary.stems_per_class.items():
        classes.add_row(name, f"{stems:,}", f"{summary.seconds_per_class[name] / 3600.0:.2f}")
    console.print(classes)
    console.print()
    for title, counts in (
        ("splits", summary.splits),
        ("bleed, by the metadata", summary.bleed),
        ("licences", summary.licences),
        ("rates (Hz)", summary.rates_hz),
        ("channels", summary.channels),
        ("encodings", summary.encodings),
    ):
        values = ", ".join(f"{printable(str(value))} ({counted(n, 'stem')})" for value, n in counts.items())
        if values:
            print_line(console, f"{title}: {values}")
    noted = [f"{stem}: {note}" for stem, note in table.filter(pl.col("note") != "").select("stem", "note").iter_rows()]
    print_line(
        console,
        f"silent: {summary.silent}   failed: {summary.failed}   used with a note: {len(noted)}   "
        f"skipped: {counted(len(dataset.skipped), 'file')}",
    )
    for note in summary.notes:
        print_line(console, printable(note), "yellow")
    failed = table.filter(pl.col("error") != "")["error"].to_list()
    problems = [f"{item.path}: {item.reason}" for item in problems_first(dataset) if not item.expected]
    for title, lines in (("failed", failed), ("used with a note", noted), ("skipped", problems)):
        if lines:
            console.print(Text(f"\n{title}", "bold"))
        for line in lines[:SHOWN_FILES]:
            print_line(console, f"  {printable(line)}")
        if len(lines) > SHOWN_FILES:
            print_line(console, f"  ... and {len(lines) - SHOWN_FILES:,} more; --csv FILE lists all")
    for reason, count in Counter(item.reason for item in dataset.skipped if item.expected).most_common():
        print_line(console, f"skipped: {counted(count, 'file')}, {printable(reason)}")
    for name, stems in summary.stems_per_class.items():
        if not stems:
            print_line(console, f"No stem is labelled {name}.", "yellow")


def print_audit(audit: Audit, console: Console) -> None:
    """Prints what an audit found: how many of each kind, with the first of them, and what could not be read."""
    table = bare_table("Findings")
    table.add_column("kind", no_wrap=True)
    table.add_column("findings", justify="right")
    table.add_column("meaning", style="dim")
    for kind, count in audit.counts().items():
        table.add_row(kind, f"{count:,}", MEANINGS_OF_KINDS[kind])
    if audit.counts():
        console.print(table)
    else:
        print_line(console, "Nothing was found.")
    for kind in audit.counts():
        rows = audit.findings.filter(pl.col("kind") == kind)
        console.print(Text(f"\n{kind}", "bold"))
        for row in rows.head(SHOWN_FINDINGS).iter_rows(named=True):
            print_line(console, f"  {printable(row['stem'] or row['song'])}: {printable(row['message'])}")
        if len(rows) > SHOWN_FINDINGS:
            print_line(console, f"  ... and {len(rows) - SHOWN_FINDINGS:,} more")
    for stem, reason in audit.failed.items():
        print_line(console, f"Not audited: {printable(stem)}: {printable(reason)}", "red")


def print_line(console: Console, text: str, style: str = "") -> None:
    """Prints `text` literally, in one line however narrow the terminal is, so that it can be searched and copied."""
    console.print(Text(text, style), soft_wrap=True)


def print_summary(run: Run, console: Console) -> None:
    """Prints stems per verdict, what was found per class, how far to trust it, and the worst stems not `kept`."""
    labels = run.labels
    console.print(_verdict_table(labels))
    console.print(_class_table(run))
    failed = labels.filter(pl.col("verdict") == "failed").head(WORST)
    if len(failed):
        console.print(_failed_table(run, failed, _failed_title(labels)))
    print_notes(noted_stems(run), console)
    if sentence := trust(run):
        print_line(console, f"\n{sentence}")
    for line in sound_lines(run):
        print_line(console, f"\n{printable(line)}" if line.startswith("Also") else printable(line))
    if not run.out_of_fold:
        paper = run.description.get("settings", {}).get("method") == "paper"
        remedy = "So it is with --method paper." if paper else "Use more songs, or --folds 2 or more."
        print_line(console, f"\n{NOT_OUT_OF_FOLD} {remedy}", "yellow")
    doubtful = labels.filter(pl.col("quality").is_not_null(), pl.col("verdict") != "kept")
    if len(doubtful):
        worst = doubtful.sort("quality", maintain_order=True).head(WORST)
        console.print(_stem_table(worst, _worst_title(len(worst), len(doubtful)), console.width))


def sound_lines(run: Run) -> list[str]:
    """What else was found in the sound, by kind, and how to find the rest; empty for a run that did not look."""
    if "findings" not in run.description:
        return []
    counts = count_kinds(findings_in(run.description))
    found = ", ".join(f"{count:,} {kind}" for kind, count in counts.items()) or "nothing"
    lines = [f"Also found in a few stretches of each stem: {found}."]
    if run.description.get("duplicates") is None:  # else it was audited
        command = f"restem audit {shlex.quote(str(run.dataset_root))} --out audit"
        lines.append(f"For bleed, mixtures, times and all copies: {command}")
    return lines


def print_next_steps(run: Run, console: Console) -> None:
    """Prints what to do with a run now, and the commands for it."""
    for words, command in next_steps(run):
        print_line(console, f"{words} {printable(command)}".rstrip())


def print_notes(notes: Mapping[str, str], console: Console) -> None:
    """Prints what was used although something is wrong with it; notes: name of a stem or folder -> what is wrong."""
    _print_some("Notes", [f"{name}: {note}" for name, note in notes.items()], console)


def print_left_out(failed: Mapping[str, str], console: Console) -> None:
    """Prints the stems that could not be used; failed: name -> why, which names the file."""
    _print_some(f"Left out: {counted(len(failed), 'stem')}", list(failed.values()), console)


def _print_some(title: str, lines: list[str], console: Console) -> None:
    if lines:
        print_line(console, f"\n{title}", "yellow")
    for line in lines[:SHOWN_FILES]:
        print_line(console, f"  {printable(line)}")
    if len(lines) > SHOWN_FILES:
        print_line(console, f"  ... and {len(lines) - SHOWN_FILES:,} more")


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
        table.add_row(Text(verdict, style), f"{count:,}", f"{share:.1%}", Text(bar, style), MEANINGS[verdict].short)
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


def _worst_title(shown: int, count: int) -> str:
    stems = counted(count, "stem")
    return f"\nThe {shown} worst of {stems} not kept" if shown < count else f"\n{stems} not kept"


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
    given, refined = label_set_text(row["given"]), label_set_text(row["refined"])
    return Text(given, "dim") if given == refined else Text.assemble(given, " → ", (refined, "bold"))


def _signed(sign: str, count: int) -> Text:
    return Text(f"{sign}{count:,}") if count else Text("·", "dim")


def print_errata(table: pl.DataFrame, console: Console) -> None:
    """Prints the published errors of a dataset's stems."""
    if not len(table):
        print_line(console, "No error of these stems is known.")
        return
    shown = bare_table(f"{counted(len(table), 'published error')}, from {', '.join(table['dataset'].unique().sort())}")
    for name in ("stem", "kind", "really holds", "when", "note"):
        shown.add_column(name, overflow="fold")
    for row in table.iter_rows(named=True):
        holds = label_set_text(row["labels"]) if row["kind"] == "label" else ""
        note = row["note"] + ("" if row["certain"] else " (not certain)")
        shown.add_row(*(Text(printable(text)) for text in (row["stem"], row["kind"], holds, row["time"], note.strip())))
    console.print(shown)


def print_encoders(
    known: Mapping[str, EncoderCard], installed: Mapping[str, EncoderCard], folder: Path, console: Console
) -> None:
    """Prints the encoders that are known and those that are installed, and how to install one."""
    table = bare_table("Pretrained encoders")
    for name in ("encoder", "installed", "input", "licence"):
        table.add_column(name, no_wrap=True)
    table.add_column("good for", overflow="fold")
    for name, card in {**known, **installed}.items():
        there = Text("yes", "green") if name in installed else Text("no", "dim")
        heard = f"{card.window_s:.3g} s at {card.rate_hz / 1000:g} kHz"
        licence, good_for = Text(printable(card.licence)), Text(printable(card.good_for))
        table.add_row(Text(printable(name)), there, heard, licence, good_for)
    console.print(table)
    print_line(
        console, f"\nInstalled ones are in {printable(str(folder))}. To install one: restem encoders add NAME|PATH"
    )
