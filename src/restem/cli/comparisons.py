"""What the commands print that compare: labels with the truth, estimates with stems, and the demo's classifiers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from restem.cli.terminal import bare_table, print_line, print_notes, print_summary
from restem.evaluation.separation import paired_interval
from restem.runs.run import REPORT_FILE
from restem.wording import counted, decimal, label_set_text, printable

if TYPE_CHECKING:
    from restem.demo.demo import DemoResult
    from restem.evaluation.errata import ErrataScore
    from restem.evaluation.labels import LabelScore
    from restem.evaluation.ranges import RangeScore
    from restem.evaluation.separation import Evaluation
    from restem.review.remaining import Remaining


def print_score(score: LabelScore, console: Console) -> None:
    """Prints a run's labels against the truth: before and after, per class, and how well wrong stems were found."""
    console.print(_agreement_table(score))
    console.print(_class_score_table(score))
    console.print(_finding_table(score))
    if score.over_time is not None:
        print_range_score(score.over_time, console)
    verdicts = ", ".join(f"{share:.1%} {name}" for name, share in score.verdicts.items() if share)
    print_line(console, f"\nVerdicts: {verdicts}")
    if score.other_given:
        print_line(
            console,
            f"{score.other_given} of {score.stems} stems were given other labels in the truth table than in the run: "
            "is it the truth of this dataset?",
            "yellow",
        )


def print_range_score(score: RangeScore, console: Console) -> None:
    """Prints in a line how well what was found over time agrees with decisions about time ranges."""
    print_line(
        console,
        f"\nOver {counted(score.ranges, 'decided time range')}, {score.seconds:,.1f} s: label accuracy "
        f"{score.given_accuracy:.3f} given, {score.found_accuracy:.3f} by the scores over time "
        f"({counted(score.segments, 'segment')}).",
    )


def print_remaining(left: Remaining, console: Console) -> None:
    """Prints how many wrong labels are probably left, in a line."""
    print_line(
        console,
        f"Without a truth: of {counted(left.stems, 'undecided stem')} about {left.wrong:.1f} should have wrong labels, "
        f"with 95 % probability at most {left.at_most:,}; `restem review` narrows it down.",
    )


def _agreement_table(score: LabelScore) -> Table:
    table = bare_table(f"\nLabels against the truth, {counted(score.stems, 'stem')}")
    table.add_column("")
    for name in ("given", "refined", "change", "sure only"):
        table.add_column(name, justify="right")
    given, refined = score.given, score.refined
    for name, before, after, sure in (
        ("label accuracy", given.label_accuracy, refined.label_accuracy, score.sure_label_accuracy),
        ("exact-match accuracy", given.exact_accuracy, refined.exact_accuracy, score.sure_exact_accuracy),
        ("macro F1", given.macro_f1, refined.macro_f1, None),
    ):
        table.add_row(name, decimal(before), decimal(after), _difference(before, after), decimal(sure, ""))
    return table


def _class_score_table(score: LabelScore) -> Table:
    table = bare_table("\nPer class, given → refined")
    table.add_column("class")
    table.add_column("in truth", justify="right")
    for name in ("accuracy", "precision", "recall", "F1"):
        table.add_column(name, justify="right", no_wrap=True)
    for before, after in zip(score.given.classes, score.refined.classes, strict=True):
        cells = (f"{decimal(getattr(before, key))} → {decimal(getattr(after, key))}" for key in _CLASS_METRICS)
        table.add_row(before.name, f"{before.present:,}", *cells)
    return table


_CLASS_METRICS = ("accuracy", "precision", "recall", "f1")


def _finding_table(score: LabelScore) -> Table:
    finding = score.finding
    table = bare_table("\nFinding the wrong stems")
    table.show_header = False
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("wrong stems", f"{finding.wrong:,}")
    table.add_row("stems given other labels", f"{finding.found:,}")
    table.add_row("precision", decimal(finding.precision))
    table.add_row("recall", decimal(finding.recall))
    table.add_row("AUROC of 1 - quality", decimal(finding.auroc))
    table.add_row("average precision of 1 - quality", decimal(finding.average_precision))
    if finding.unscored:
        table.add_row("stems without a quality, left out of the last two", f"{finding.unscored:,}")
    return table


def _difference(before: float, after: float) -> Text:
    change = round(after - before, 3)
    style = Style(color="green" if change > 0 else "red" if change < 0 else None, dim=change == 0)
    return Text(f"{change:+.3f}" if change else "0.000", style)


def print_errata_score(score: ErrataScore, console: Console) -> None:
    """Prints where known label errors are among the stems of a run, sorted by quality."""
    table = bare_table(f"Stems whose labels are known to be wrong, of {counted(score.stems, 'stem')}")
    table.add_column("place", justify="right")
    table.add_column("quality", justify="right")
    for name in ("verdict", "stem", "given", "true", "refined"):
        table.add_column(name, overflow="fold")
    for row in score.found.iter_rows(named=True):
        sets = (label_set_text(row[name]) for name in ("given", "true", "refined"))
        stem = Text(printable(row["stem"]))
        table.add_row(f"{row['place']:,}", f"{row['quality']:.3f}", row["verdict"], stem, *sets)
    console.print(table)
    print_line(
        console, f"Corrected: {score.corrected} of {len(score.found)}.   AUROC of 1 - quality: {decimal(score.auroc)}"
    )


def print_evaluation(evaluation: Evaluation, console: Console, against: pl.DataFrame | None = None) -> None:
    """Prints the summary; against: another result, with which the songs that both have are compared."""
    table = bare_table("Separation, dB")
    for heading in ("", "songs", "SDR", "SDR of\nthe mixture", "median SDR\n(BSSEval v4)", "SI-SDR"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    other = None
    if against is not None:
        table.add_column("SDR against\nthe other (95 %)", justify="right", no_wrap=True)
        other = evaluation.songs.join(against, on=["song", "class"], suffix="_other").drop_nulls(["sdr", "sdr_other"])
    for name, row in evaluation.summary().items():
        cells = [
            name,
            str(row["songs"]),
            *(_decibels(row[key]) for key in ("sdr", "mixture_sdr", "sdr_frames", "si_sdr")),
        ]
        if other is not None:
            mine = other if name == "all" else other.filter(pl.col("class") == name)
            gains = mine.group_by("song").agg((pl.col("sdr") - pl.col("sdr_other")).mean()).sort("song")["sdr"]
            cells.append(_compared(gains.to_numpy()))
        table.add_row(*cells)
    console.print(table)
    if other is not None:
        print_line(console, f"Compared on {counted(other['song'].n_unique(), 'song')} that both results have.")
    for song, reason in evaluation.failed.items():
        print_line(console, f"Not measured: {printable(song)}: {printable(reason)}")
    print_notes(evaluation.notes, console)


def _compared(gains: np.ndarray) -> str:
    """The mean gain over songs and its interval, which takes more than one."""
    if not len(gains):
        return "–"
    # Adding zero makes 0 of -0.
    mean, low, high = (round(value, 2) + 0.0 for value in paired_interval(gains))
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})" if len(gains) > 1 else f"{mean:+.2f}"


def _decibels(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def print_demo(result: DemoResult, console: Console) -> None:
    """Prints what was found, how right it is, and where to look next."""
    print_summary(result.run, console)
    print_score(result.labels, console)
    _print_mixtures(result, console)
    if result.separators:
        console.print()
        print_separators(result.separators, console)
        print_line(console, f"\nA song taken apart: {result.out / 'separated'}")
    report = result.run.path / REPORT_FILE
    print_line(console, f"\nThe refined dataset is in {result.out / 'refined'}, done in {result.seconds:.0f} s.")
    print_line(console, f"Open the report: {report.resolve()}")


def _print_mixtures(result: DemoResult, console: Console) -> None:
    """Prints what labels are worth to a classifier, and says what it means."""
    table = bare_table("\nMany more wrong labels, and a classifier on songs that it was not trained on")
    table.add_column("trained on")
    table.add_column("right labels", justify="right")
    table.add_column("accuracy on mixtures", justify="right")
    accuracy, swapped = result.mixtures, result.swapped
    labels = {"noisy": swapped.given.label_accuracy, "refined": swapped.refined.label_accuracy, "clean": 1.0}
    for name, right in labels.items():
        table.add_row(f"{name} labels", f"{right:.3f}", f"{accuracy[name]:.3f}")
    console.print(table)
    lost = {name: 100 * (accuracy["clean"] - accuracy[name]) for name in ("noisy", "refined")}
    print_line(
        console,
        f"Compared with clean labels, {lost['noisy']:.1f} points of accuracy are lost with noisy ones, "
        f"{lost['refined']:.1f} with refined ones.",
    )


def print_separators(measured: Mapping[str, pl.DataFrame], console: Console) -> None:
    """Prints the SDR under given and refined labels, and what lies between them."""
    table = bare_table("Separators on songs that they were not trained on: SDR in dB")
    for heading in ("", "the mixture\nitself", "given\nlabels", "refined\nlabels", "difference (95 %)"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    both = measured["given"].join(measured["refined"], on=["song", "class"], suffix="_refined").drop_nulls()
    classes = both["class"].unique(maintain_order=True).to_list()
    for name in [*classes, "all"]:
        mine = both if name == "all" else both.filter(pl.col("class") == name)
        songs = mine.group_by("song").agg(pl.col("mixture_sdr", "sdr", "sdr_refined").mean()).sort("song")
        gain, low, high = paired_interval((songs["sdr_refined"] - songs["sdr"]).to_numpy())
        means = songs.select("mixture_sdr", "sdr", "sdr_refined").mean().row(0)
        table.add_row(name, *(f"{value:.2f}" for value in means), f"{gain:+.2f} ({low:+.2f} to {high:+.2f})")
    console.print(table)
