"""What all commands share: opening what they name, and printing."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from restem.dataset.table import Dataset
    from restem.progress import Progress
    from restem.runs.run import Run


def open_stems(path: Path, layout: str | None, classes: str) -> Dataset:
    from restem.dataset.layouts import open_dataset
    from restem.taxonomy import read_taxonomy

    return open_dataset(path, layout=layout, taxonomy=read_taxonomy(classes))


def open_data(path: Path, layout: str | None, classes: str) -> Dataset | Run:
    """A run, if the folder holds one, or else a dataset."""
    from restem.runs.run import DESCRIPTION_FILE, open_run

    return open_run(path) if (path / DESCRIPTION_FILE).exists() else open_stems(path, layout, classes)


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
