"""Looking over a dataset: what every stem is like, as a table, and what that says about the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from restem.audio.level import power_to_db
from restem.dataset.measure import measure
from restem.dataset.table import Dataset
from restem.errors import AudioError
from restem.parallel import available_workers, map_unordered

SCAN_SCHEMA: Mapping[str, type[pl.DataType]] = {
    "song": pl.String,
    "stem": pl.String,
    "given": pl.String,
    "seconds": pl.Float64,
    "rate_hz": pl.Int64,
    "channels": pl.Int64,
    "encoding": pl.String,
    "peak_db": pl.Float64,
    "level_db": pl.Float64,
    "silent": pl.Boolean,
    "error": pl.String,
}

# How many of the failed and skipped files are printed one by one; the rest is counted, and all of it is in the CSV.
_SHOWN_FILES = 20


def scan(
    dataset: Dataset, *, workers: int | None = None, progress: Callable[[int, int], None] | None = None
) -> pl.DataFrame:
    """Decodes every stem; one row a stem, in dataset order, with the columns of `SCAN_SCHEMA`.

    peak_db, level_db: largest sample and mean square, relative to full scale. silent: never above `SILENCE_DB`.
    error: why a stem cannot be decoded, else empty; where it is set, all that would be measured is null.
    workers: processes, by default as many as there are cores for this one. progress: called with stems done and in all.
    """
    rows: list[dict[str, Any]] = [{} for _ in dataset.stems]
    jobs = [(dataset.file(stem), stem.stream) for stem in dataset.stems]
    workers = available_workers() if workers is None else workers
    for done, (index, found) in enumerate(map_unordered(_look_at, jobs, workers), start=1):
        stem = dataset.stems[index]
        names = {"song": stem.song, "stem": stem.name, "given": dataset.taxonomy.format(stem.given)}
        rows[index] = {**dict.fromkeys(SCAN_SCHEMA), **names, **found}
        if progress is not None:
            progress(done, len(jobs))
    return pl.DataFrame(rows, schema=SCAN_SCHEMA)


def _look_at(job: tuple[Path, int | None]) -> dict[str, Any]:
    try:
        found = measure(*job)
    except AudioError as error:
        return {"error": str(error)}
    return {
        "seconds": found.frames / found.info.rate_hz,
        "rate_hz": found.info.rate_hz,
        "channels": found.info.channels,
        "encoding": found.info.encoding,
        "peak_db": float(power_to_db(found.peak**2)),
        "level_db": float(power_to_db(found.mean_square)),
        "silent": found.silent,
        "error": "",
    }


@dataclass(frozen=True)
class ScanSummary:
    """What `restem scan` prints.

    stems_per_class: class -> stems whose given labels hold it. seconds_per_class: the same in seconds. rates_hz,
    channels, encodings: value -> stems. silent, failed: stems. skipped: reason -> files that are no stems.
    """

    root: Path
    layout: str
    songs: int
    stems: int
    seconds: float
    stems_per_class: Mapping[str, int]
    seconds_per_class: Mapping[str, float]
    rates_hz: Mapping[int, int]
    channels: Mapping[int, int]
    encodings: Mapping[str, int]
    silent: int
    failed: int
    skipped: Mapping[str, int]

    @property
    def hours(self) -> float:
        return self.seconds / 3600.0


def summarise(table: pl.DataFrame, dataset: Dataset) -> ScanSummary:
    """The numbers of a scan of `dataset`; `table` is what `scan` returned."""
    seconds = table["seconds"].fill_null(0.0).to_list()
    pairs = [(name, s) for stem, s in zip(dataset.stems, seconds, strict=True) for name in stem.given]
    classes = dataset.taxonomy.classes
    return ScanSummary(
        root=dataset.root,
        layout=dataset.layout,
        songs=len(dataset.songs),
        stems=len(dataset),
        seconds=sum(seconds),
        stems_per_class={name: sum(name == other for other, _ in pairs) for name in classes},
        seconds_per_class={name: sum(s for other, s in pairs if name == other) for name in classes},
        rates_hz=_counted(table["rate_hz"]),
        channels=_counted(table["channels"]),
        encodings=_counted(table["encoding"]),
        silent=int(table["silent"].sum()),
        failed=int((table["error"] != "").sum()),
        skipped=dict(Counter(item.reason for item in dataset.skipped).most_common()),
    )


def _counted(column: pl.Series) -> dict[Any, int]:
    return dict(Counter(column.drop_nulls().to_list()).most_common())


def print_scan(summary: ScanSummary, table: pl.DataFrame, dataset: Dataset, console: Any = None) -> None:
    """Prints a scan to a rich console: the numbers, then failed stems, then skipped files with the reason for each."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = console or Console()
    out = Table("class", "stems", "hours")
    for column in out.columns[1:]:
        column.justify = "right"
    for name, stems in summary.stems_per_class.items():
        out.add_row(name, str(stems), f"{summary.seconds_per_class[name] / 3600.0:.2f}")
    console.print(f"{escape(str(summary.root))}: layout {summary.layout}", soft_wrap=True, highlight=False)
    console.print(f"{summary.songs} songs, {summary.stems} stems, {summary.hours:.2f} h")
    console.print(out)
    for title, counts in (
        ("rates (Hz)", summary.rates_hz),
        ("channels", summary.channels),
        ("encodings", summary.encodings),
    ):
        console.print(f"{title}: " + ", ".join(f"{value} ({count} stems)" for value, count in counts.items()))
    console.print(f"silent: {summary.silent}   failed: {summary.failed}   skipped: {len(dataset.skipped)} files")
    failed = table.filter(pl.col("error") != "")["error"].to_list()
    skipped = [f"{item.path}: {item.reason}" for item in dataset.skipped]
    for title, lines in (("failed", failed), ("skipped", skipped)):
        if lines:
            console.print(f"\n[bold]{title}[/bold]")
        for line in lines[:_SHOWN_FILES]:
            console.print(f"  {escape(line)}", soft_wrap=True, highlight=False)
        if len(lines) > _SHOWN_FILES:
            console.print(f"  ... and {len(lines) - _SHOWN_FILES} more")
