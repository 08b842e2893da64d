"""What all commands share: opening what they name, and printing."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restem.cli.options import DEFAULT_CLASSES, parse_names

if TYPE_CHECKING:
    from rich.console import Console

    from restem.dataset.splits import Purpose
    from restem.dataset.table import Dataset
    from restem.planning.plan import Plan
    from restem.progress import Progress
    from restem.runs.run import Run
    from restem.taxonomy import Taxonomy


def open_stems(path: Path, layout: str | None, classes: str | Taxonomy, metadata: Path | None = None) -> Dataset:
    from restem.dataset.layouts import open_dataset
    from restem.taxonomy import read_taxonomy

    taxonomy = read_taxonomy(classes) if isinstance(classes, str) else classes
    return open_dataset(path, layout=layout, taxonomy=taxonomy, metadata=metadata)


def open_stems_aloud(
    path: Path,
    layout: str | None,
    classes: str | Taxonomy,
    metadata: Path | None = None,
    splits: str | None = None,
    purpose: Purpose | None = None,
    targets: Sequence[str] = (),
) -> Dataset:
    """Opens a dataset, and says what of it is used and what is left out.

    purpose: what the stems are wanted for, if that depends on their splits. splits: the splits that are wanted.
    targets: what is taken apart from the rest, if not all classes: then mixtures of the rest are used, too.
    """
    from restem.dataset.targets import with_rests
    from restem.dataset.usage import classes_without_stems, usage_lines

    if classes == DEFAULT_CLASSES:
        classes = ",".join(dict.fromkeys([*classes.split(","), *targets]))
    dataset = open_stems(path, layout, classes, metadata)
    if targets:
        dataset = with_rests(dataset)
    if purpose is not None:
        dataset = _of_splits(dataset, splits, purpose)
    for line in usage_lines(dataset):
        say(line)
    if without := classes_without_stems(dataset):
        complain(f"No stem is labelled {' or '.join(without)}; `restem scan` lists what was left out.")
    for note in dataset.notes:
        complain(note)
    return dataset


def _of_splits(dataset: Dataset, splits: str | None, purpose: Purpose) -> Dataset:
    """The stems of the splits that are wanted; says how many others there are."""
    from restem.dataset.splits import choose_splits
    from restem.wording import counted

    chosen = choose_splits(dataset, parse_names(splits), purpose)
    others = {
        name: count for name, count in Counter(dataset.splits.values()).items() if name not in chosen.splits.values()
    }
    if others:
        parts = ", ".join(f"{name or 'none'} ({counted(count, 'song')})" for name, count in others.items())
        complain(f"Left out by split: {parts}; --splits chooses.")
    return chosen


def open_run_at(path: Path, moved: Path | None) -> Run:
    """A run, and its dataset where it has been moved to."""
    from restem.runs.run import open_run

    run = open_run(path)
    return run if moved is None else run.with_dataset(moved)


def open_data(
    path: Path,
    layout: str | None,
    classes: str,
    metadata: Path | None = None,
    splits: str | None = None,
    moved: Path | None = None,
    targets: Sequence[str] = (),
) -> Dataset | Run:
    """A run, if the folder holds one, or else what is to be learned of a dataset; says what is in it."""
    from restem.runs.run import DESCRIPTION_FILE
    from restem.verdicts import count_verdicts

    if not (path / DESCRIPTION_FILE).exists():
        return open_stems_aloud(path, layout, classes, metadata, splits, "learn", targets)
    run = open_run_at(path, moved)
    verdicts = ", ".join(f"{count:,} {verdict}" for verdict, count in count_verdicts(run.labels["verdict"]).items())
    say(f"{path}: the refined labels of {len(run.labels):,} stems ({verdicts}).")
    return run


def terminal() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def say(message: str) -> None:
    print(message)


def complain(message: str) -> None:
    print(f"restem: {message}", file=sys.stderr)


def write_figures(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Writes what a command found to a JSON file, if there is to be one."""
    from restem.files import write_json

    if path is not None:
        write_json(path, figures)


def say_plan(work: Callable[[], object], estimate: Callable[[], Plan]) -> None:
    """Prints what `work` would do, as `estimate` says, and what is wrong with it; see `restem.planning.plan`."""
    from restem.planning.plan import plan

    for line in plan(work, estimate).lines():
        say(line)


@contextmanager
def shown_log(name: str) -> Iterator[None]:
    """Prints what one module logs about its work, as `restem.separation.train`, while the body runs."""

    class Printer(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print(record.getMessage(), file=sys.stderr, flush=True)

    logger, printer = logging.getLogger(name), Printer()
    level = logger.level
    logger.addHandler(printer)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(printer)
        logger.setLevel(level)


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """A progress bar a stage on the terminal; in a pipe, lines."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    from restem.cli.progress_lines import ProgressLines

    console = Console(stderr=True)
    if not console.is_terminal:
        yield ProgressLines(lambda line: print(line, file=sys.stderr, flush=True))
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    stages: dict[str, int] = {}
    with Bars(*columns, TimeRemainingColumn(), console=console) as bars:

        def show(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total)  # type: ignore[assignment]
            bars.update(stages[stage], completed=done, total=total)  # type: ignore[arg-type]

        yield show
