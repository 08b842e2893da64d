"""Scans a dataset: one row of measurements per stem, and a summary of all stems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from restem.audio.level import power_to_db
from restem.dataset.measure import measure
from restem.dataset.table import Dataset
from restem.errors import AudioError
from restem.executing.processes import Processes
from restem.progress import Progress, stage

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


def scan(dataset: Dataset, *, workers: int | None = None, progress: Progress | None = None) -> pl.DataFrame:
    """Decodes every stem; one row a stem, in dataset order, with the columns of `SCAN_SCHEMA`.

    peak_db, level_db: largest sample and mean square, relative to full scale. silent: never above `SILENCE_DB`.
    error: why a stem cannot be decoded, else empty; where it is set, all that would be measured is null.
    workers: processes, by default as many as there are cores for this one. progress: called with the
    stage, the stems done and in all.
    """
    rows: list[dict[str, Any]] = [{} for _ in dataset.stems]
    jobs = [(dataset.file(stem), stem.stream) for stem in dataset.stems]
    report = stage(progress, "decoding")
    for done, (index, found) in enumerate(Processes.of(workers).map_unordered(_look_at, jobs), start=1):
        stem = dataset.stems[index]
        names = {"song": stem.song, "stem": stem.name, "given": dataset.taxonomy.format(stem.given)}
        rows[index] = {**dict.fromkeys(SCAN_SCHEMA), **names, **found}
        report(done, len(jobs))
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
    """The summary of a scan, as `restem scan` prints it.

    stems_per_class: class -> number of stems whose given labels hold it. seconds_per_class: the same in seconds.
    rates_hz, channels, encodings: value -> number of stems. silent, failed: numbers of stems. skipped: reason -> number
    of files that are not stems.
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
    """Summarises a scan of `dataset`; `table` is what `scan` returned."""
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
