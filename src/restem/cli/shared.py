"""What all commands share: the kinds of their options, opening what they name, and printing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from rich.console import Console

    from restem.dataset.table import Dataset
    from restem.progress import Progress
    from restem.runs.run import Run

Device = Literal["auto", "cpu", "cuda", "mps"]
Layout = Literal["songs", "song-folders", "classes", "table"]
Classes = Annotated[str, Parameter(help="Comma-separated classes, or a YAML file that maps each class to its aliases.")]
Workers = Annotated[int | None, Parameter(help="Processes; by default the cores this process may use.")]
Cache = Annotated[Path | None, Parameter(help="Where features are kept; by default the user's cache folder.")]
LayoutOption = Annotated[Layout | None, Parameter(help="How the dataset lies on disk; by default this is detected.")]

DEFAULT_CLASSES = "vocals,drums,bass,other"


def open_stems(path: Path, layout: Layout | None, classes: str) -> Dataset:
    from restem.dataset.layouts import open_dataset
    from restem.taxonomy import read_taxonomy

    return open_dataset(path, layout=layout, taxonomy=read_taxonomy(classes))


def open_data(path: Path, layout: Layout | None, classes: str) -> Dataset | Run:
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
