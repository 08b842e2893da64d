"""Scans a dataset: one row of measurements per stem, and a summary of all stems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from restem.audio.level import power_to_db
from restem.dataset.layouts import opened_dataset
from restem.dataset.measure import measure
from restem.dataset.table import Dataset
from restem.dataset.usage import left_out, stems_per_class
from restem.errors import AudioError
from restem.executing.choosing import executor_for
from restem.notebook import html_table
from restem.progress import Progress, stage
from restem.wording import counted

SCAN_SCHEMA: Mapping[str, type[pl.DataType]] = {
    "song": pl.String,
    "stem": pl.String,
    "given": pl.String,
    "split": pl.String,
    "instrument": pl.String,
    "bleed": pl.String,
    "licence": pl.String,
    "seconds": pl.Float64,
    "rate_hz": pl.Int64,
    "channels": pl.Int64,
    "encoding": pl.String,
    "peak_db": pl.Float64,
    "level_db": pl.Float64,
    "silent": pl.Boolean,
    "note": pl.String,
    "error": pl.String,
}


def scan(
    dataset: Dataset | Path | str,
    *,
    workers: int | None = None,
    ray: str | None = None,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Decodes every stem and measures it.

    Parameters
    ----------
    dataset
        A dataset, or its path.
    workers
        Processes; by default one for each available core.
    ray
        None for processes of this machine; else a Ray cluster: `local`, `auto` or HOST:PORT (docs/scale.md).
    progress
        Called with the stage, the stems done and in all.

    Returns
    -------
    polars.DataFrame
        One row per stem, in dataset order: `song,stem,given,split,instrument,bleed,licence,seconds,rate_hz,channels,
        encoding,peak_db,level_db,silent,note,error`. `split` to `licence` are what the dataset states. `peak_db` and
        `level_db` are the largest sample and the mean square relative to full scale; `silent` says that no frame is
        above -70 dB. `note` says what is wrong with a stem that can be used all the same, as `its last 0.50 s are
        missing`. `error` says why a stem cannot be decoded; all that would be measured is null then. See
        `ScanSummary.of` for what it says about the whole.

    Raises
    ------
    DatasetError
        When there is no dataset at the path.

    Examples
    --------
    >>> table = restem.scan("my-stems", workers=1)
    >>> table.select("stem", "seconds", "rate_hz", "silent").row(0)
    ('Song 1/bass.wav', 4.0, 16000, False)
    """
    dataset = opened_dataset(dataset)
    rows: list[dict[str, Any]] = [{} for _ in dataset.stems]
    jobs = [(dataset.file(stem), stem.stream) for stem in dataset.stems]
    report = stage(progress, "decoding")
    found_in = executor_for(workers, ray).map_unordered(_look_at, jobs, lost=_not_looked_at)
    for done, (index, found) in enumerate(found_in, start=1):
        stem = dataset.stems[index]
        names = {
            "song": stem.song, "stem": stem.name, "given": dataset.given_text(stem), "split": stem.split,
            "instrument": stem.instrument, "bleed": stem.bleed, "licence": stem.licence,
        }  # fmt: skip
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
        "note": found.note,
        "error": "",
    }


def _not_looked_at(job: tuple[Path, int | None], reason: str) -> dict[str, Any]:
    return {"error": f"{job[0]}: cannot be decoded: {reason}."}


def with_skipped(table: pl.DataFrame, dataset: Dataset) -> pl.DataFrame:
    """The table of `scan`, and below it one row per file that is no stem: its path in `stem`, why in `skipped`."""
    rows = [{"stem": item.path, "skipped": item.reason} for item in dataset.skipped]
    files = pl.DataFrame(rows, schema={"stem": pl.String, "skipped": pl.String})
    return pl.concat([table.with_columns(skipped=pl.lit("")), files], how="diagonal")


@dataclass(frozen=True, repr=False)
class ScanSummary:
    """What a scan says about the whole dataset; `restem scan` prints it.

    Attributes
    ----------
    root, layout
        Of the dataset.
    songs, stems
        How many there are.
    seconds
        The duration of all stems.
    stems_per_class, seconds_per_class
        For each class, how many stems' given labels hold it, and their duration.
    splits, bleed, licences
        For each value that the dataset states, how many stems have it.
    rates_hz, channels, encodings
        For each value, how many stems have it.
    silent, failed
        How many stems hold no sound, and how many cannot be decoded.
    skipped
        For each reason, how many files are not stems.
    notes
        What should be known about the whole, see `Dataset.notes`.

    Examples
    --------
    >>> dataset = restem.open_dataset("my-stems")
    >>> restem.ScanSummary.of(dataset, restem.scan(dataset, workers=1))
    ScanSummary('my-stems', layout='songs', 2 songs, 8 stems, 0.01 h)
    """

    root: Path
    layout: str
    songs: int
    stems: int
    seconds: float
    stems_per_class: Mapping[str, int]
    seconds_per_class: Mapping[str, float]
    splits: Mapping[str, int]
    bleed: Mapping[str, int]
    licences: Mapping[str, int]
    rates_hz: Mapping[int, int]
    channels: Mapping[int, int]
    encodings: Mapping[str, int]
    silent: int
    failed: int
    skipped: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def hours(self) -> float:
        """The duration of all stems in hours."""
        return self.seconds / 3600.0

    @classmethod
    def of(cls, dataset: Dataset, table: pl.DataFrame) -> ScanSummary:
        """The summary of `table`, which `scan` returned for `dataset`."""
        seconds = table["seconds"].fill_null(0.0).to_list()
        pairs = [(name, s) for stem, s in zip(dataset.stems, seconds, strict=True) for name in stem.given]
        classes = dataset.taxonomy.classes
        return cls(
            root=dataset.root,
            layout=dataset.layout,
            songs=len(dataset.songs),
            stems=len(dataset),
            seconds=sum(seconds),
            stems_per_class=stems_per_class(dataset),
            seconds_per_class={name: sum(s for other, s in pairs if name == other) for name in classes},
            splits=_counted(table["split"]),
            bleed=_counted(table["bleed"]),
            licences=_counted(table["licence"]),
            rates_hz=_counted(table["rate_hz"]),
            channels=_counted(table["channels"]),
            encodings=_counted(table["encoding"]),
            silent=int(table["silent"].sum()),
            failed=int((table["error"] != "").sum()),
            skipped=left_out(dataset),
            notes=dataset.notes,
        )

    def __repr__(self) -> str:
        songs, stems = counted(self.songs, "song"), counted(self.stems, "stem")
        return f"ScanSummary({self.root.name!r}, layout={self.layout!r}, {songs}, {stems}, {self.hours:.2f} h)"

    def _repr_html_(self) -> str:
        rows = [(name, count, self.seconds_per_class[name] / 3600.0) for name, count in self.stems_per_class.items()]
        return html_table(repr(self), ("class", "stems", "hours"), rows)


def _counted(column: pl.Series) -> dict[Any, int]:
    """The values of a column that say something, with their number, the most frequent first."""
    return dict(Counter(value for value in column.drop_nulls() if value != "").most_common())
