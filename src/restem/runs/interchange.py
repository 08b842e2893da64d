"""Results of a run in the forms that other tools read: cleanlab's arrays, label tracks of Audacity and Reaper, CSV.

A label track is made of stretches: the times in which a class has a score of at least `SOUNDS`. The segments of a stem
overlap; each stands for the time around its centre, up to the middle between it and its neighbours.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, TextIO, get_args

import numpy as np
import polars as pl

from restem.dataset.table import check_relative
from restem.errors import UsageError
from restem.files import folder_written_aside, written_aside
from restem.runs.run import Run, opened_run
from restem.taxonomy import Taxonomy

SOUNDS = 0.5
TrackFormat = Literal["audacity", "reaper", "csv"]
CSV_COLUMNS = ("song", "stem", "class", "start_s", "end_s", "score")


@dataclass(frozen=True)
class Stretch:
    """A time in which a class sounds. score: the highest of its segments."""

    name: str
    start_s: float
    end_s: float
    score: float


def export_tracks(run: Run | Path | str, out: Path | str, format: TrackFormat = "audacity") -> int:
    """Writes when each class sounds in each stem, for an audio editor or as a table.

    Parameters
    ----------
    run
        A run, or its folder. What people decided about time ranges is in it.
    out
        For `audacity` and `reaper` a new folder: of each stem a file in the folder of its song, to be imported beside
        the stem (Audacity: File, Import, Labels; Reaper: Region/Marker Manager, Import). For `csv` a file with the
        columns `song,stem,class,start_s,end_s,score`.
    format
        One of these three.

    Returns
    -------
    int
        How many stems have at least one stretch.

    Raises
    ------
    UsageError
        For another format, or when the folder is there already.
    DatasetError
        When `out` lies in the dataset, or the name of a stem leads out of it.
    RunError
        When the run cannot be read.
    """
    if format not in get_args(TrackFormat):
        raise UsageError(f"{format!r} is not a format of `format`; use one of {', '.join(get_args(TrackFormat))}.")
    run, out = opened_run(run), Path(out)
    run.check_outside(out)
    tracks = ((song, stem, found) for song, stem, found in _tracks(run.segments, run.taxonomy) if found)
    stems = 0
    if format == "csv":
        with written_aside(out) as aside, aside.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(CSV_COLUMNS)
            for stems, (song, stem, found) in enumerate(tracks, 1):  # noqa: B007
                for one in found:
                    table.writerow((song, stem, one.name, f"{one.start_s:.3f}", f"{one.end_s:.3f}", f"{one.score:.3f}"))
        return stems
    if out.exists():
        raise UsageError(f"{out}: is there already; name a new folder with `out`.")
    write, suffix = _WRITERS[format]
    with folder_written_aside(out) as aside:
        for stems, (_, stem, found) in enumerate(tracks, 1):  # noqa: B007
            check_relative(stem, stem)  # a run's tables are not trusted as paths
            target = aside / f"{stem}{suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("w", encoding="utf-8", newline="") as file:
                write(file, found)
    return stems


def stretches(segments: pl.DataFrame, taxonomy: Taxonomy) -> list[Stretch]:
    """When each class sounds in one stem. segments: its rows of `segments.parquet`, in the order of time."""
    start_s, end_s = (segments[name].to_numpy() for name in ("start_s", "end_s"))
    if not len(segments):
        return []
    centre_s = (start_s + end_s) / 2
    edges_s = np.concatenate([start_s[:1], (centre_s[1:] + centre_s[:-1]) / 2, end_s[-1:]])
    found = []
    for name in taxonomy.classes:
        scores = segments[name].to_numpy()
        sounds = np.concatenate([[False], scores >= SOUNDS, [False]])
        for first, last in _pairs(np.flatnonzero(np.diff(sounds.astype(int)))):
            best = float(scores[first:last].max())
            found.append(Stretch(name, float(edges_s[first]), float(edges_s[last]), best))
    return sorted(found, key=lambda one: (one.start_s, taxonomy.classes.index(one.name)))


def cleanlab_arrays(found: pl.DataFrame, taxonomy: Taxonomy) -> tuple[list[list[int]], np.ndarray]:
    """The given labels and the scores as cleanlab has them; see `Run.to_cleanlab`."""
    scored = found.filter(pl.col("verdict") != "failed")
    place = {name: index for index, name in enumerate(taxonomy.classes)}
    labels = [sorted(place[name] for name in taxonomy.parse(text)) for text in scored["given"]]
    return labels, scored.select(taxonomy.classes).to_numpy().astype(float)


def _tracks(segments: pl.DataFrame, taxonomy: Taxonomy) -> Iterator[tuple[str, str, list[Stretch]]]:
    for (song, stem), part in segments.partition_by("song", "stem", as_dict=True, maintain_order=True).items():
        yield song, stem, stretches(part.sort("start_s"), taxonomy)


def _pairs(edges: np.ndarray) -> Iterator[tuple[int, int]]:
    yield from list(pairwise(edges.tolist()))[::2]


def _write_audacity(file: TextIO, found: list[Stretch]) -> None:
    file.writelines(f"{one.start_s:.6f}\t{one.end_s:.6f}\t{one.name}\n" for one in found)


def _write_reaper(file: TextIO, found: list[Stretch]) -> None:
    table = csv.writer(file)
    table.writerow(("#", "Name", "Start", "End", "Length"))
    for number, one in enumerate(found, 1):
        times = (f"{value:.3f}" for value in (one.start_s, one.end_s, one.end_s - one.start_s))
        table.writerow((f"R{number}", one.name, *times))


_WRITERS: dict[str, tuple[Callable[[TextIO, list[Stretch]], None], str]] = {
    "audacity": (_write_audacity, ".txt"),
    "reaper": (_write_reaper, ".csv"),
}
