"""What all commands share: opening what they name, and printing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from restem.dataset.table import Dataset
    from restem.progress import Progress
    from restem.runs.run import Run


def open_stems(path: Path, layout: str | None, classes: str) -> Dataset:
    from restem.dataset.layouts import open_dataset
    from restem.taxonomy import read_taxonomy

    return open_dataset(path, layout=layout, taxonomy=read_taxonomy(classes))


def open_stems_aloud(path: Path, layout: str | None, classes: str) -> Dataset:
    """Opens a dataset, and says what of it is used and what is left out."""
    from restem.dataset.usage import classes_without_stems, usage_lines

    dataset = open_stems(path, layout, classes)
    for line in usage_lines(dataset):
        say(line)
    if without := classes_without_stems(dataset):
        complain(f"No stem is labelled {' or '.join(without)}; `restem scan` lists what was left out.")
    return dataset


def open_data(path: Path, layout: str | None, classes: str) -> Dataset | Run:
    """A run, if the folder holds one, or else a dataset; says what is in it."""
    from restem.runs.run import DESCRIPTION_FILE, open_run
    from restem.verdicts import count_verdicts

    if not (path / DESCRIPTION_FILE).exists():
        return open_stems_aloud(path, layout, classes)
    run = open_run(path)
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


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """A progress bar a stage on the terminal; in a pipe, a line when a stage begins."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    stages: dict[str, int] = {}
    with Bars(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bars:

        def show(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total)  # type: ignore[assignment]
                if not console.is_terminal:
                    print(f"{stage} ...", file=sys.stderr, flush=True)
            bars.update(stages[stage], completed=done, total=total)  # type: ignore[arg-type]

        yield show
