"""Evaluates separated songs against the stems of a dataset.

    OUT/songs.csv      song,class,sdr,sdr_frames,si_sdr,mixture_sdr: one row per song and class
    OUT/summary.json   means and medians over songs, and what could not be measured and why

`sdr` is the global SDR, `sdr_frames` the median over frames of BSSEval v4 (see `sdr`), `mixture_sdr` the global SDR of
the unprocessed mixture as the estimate. A class can be measured in a song if no stem of the song holds it together with
others; several stems of a class are summed. The mixture is the sum of all stems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import bootstrap

from restem.addresses import as_path
from restem.audio.reader import BLOCK_FRAMES, EXTENSIONS, open_audio
from restem.dataset.stems_csv import as_spelled
from restem.dataset.table import Dataset, Stem
from restem.errors import AudioError, DatasetError, RestemError
from restem.evaluation.sdr import SdrMeter
from restem.executing.interface import Executor
from restem.executing.processes import IN_THIS_PROCESS
from restem.fetching import put_when_done
from restem.file_names import safe_name
from restem.files import write_json, written_aside
from restem.notebook import html_table
from restem.progress import Progress, stage
from restem.resuming import ResumableRows
from restem.taxonomy import Taxonomy
from restem.wording import counted, decimal
from restem.working import alone_in

Blocks = Iterator[np.ndarray]
Estimate = Callable[[str, Blocks, int, int], Blocks]
"""(song, (channel, sample) blocks of its mixture, rate_hz, channels) -> (class, channel, sample) blocks of stems, of
classes that are not to be measured NaN."""

SONGS_FILE = "songs.csv"
SUMMARY_FILE = "summary.json"
_MEASURED_FILE = ".measured.jsonl"
FIGURES = ("sdr", "sdr_frames", "si_sdr", "mixture_sdr")

# Encoders may add or cut a little at the end.
_LENGTH_TOLERANCE_S = 0.1


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """What was measured on the songs of a dataset.

    Attributes
    ----------
    songs
        `song,class,sdr,sdr_frames,si_sdr,mixture_sdr`, one row per song and class, in dB; null for what cannot be
        measured.
    classes
        The classes, in taxonomy order.
    failed
        Songs that could not be measured, each with the reason.
    notes
        Stems that were used although something is wrong with their files, and what.
    """

    songs: pl.DataFrame
    classes: tuple[str, ...]
    failed: Mapping[str, str]
    notes: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        summary = self.summary()["all"]
        sdr = "SDR undefined" if summary["sdr"] is None else f"SDR {summary['sdr']:.2f} dB"
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"Evaluation({counted(summary['songs'], 'song')}, {sdr}{failed})"

    def _repr_html_(self) -> str:
        rows = [
            (name, row["songs"], *(decimal(row[figure]) for figure in FIGURES)) for name, row in self.summary().items()
        ]
        return html_table(repr(self), ("class", "songs", *FIGURES), rows)

    def summary(self) -> dict[str, Any]:
        """Per class, and as their mean in `all`: number of songs, mean SDRs over songs (of `sdr_frames` the median)."""
        rows: dict[str, Any] = {}
        for name in self.classes:
            mine = self.songs.filter((pl.col("class") == name) & pl.col("sdr").is_not_null())
            rows[name] = {
                "songs": len(mine),
                "sdr": mine["sdr"].mean(),
                "sdr_frames": mine["sdr_frames"].median(),
                "si_sdr": mine["si_sdr"].mean(),
                "mixture_sdr": mine["mixture_sdr"].mean(),
            }
        measured = [row for row in rows.values() if row["songs"]]
        rows["all"] = {
            "songs": self.songs.filter(pl.col("sdr").is_not_null())["song"].n_unique(),
            **{figure: _mean([row[figure] for row in measured]) for figure in FIGURES},
        }
        return rows


def evaluate(
    dataset: Dataset,
    estimates: Estimate | Path | str,
    out: Path | str | None = None,
    *,
    made_by: Mapping[str, Any] | None = None,
    executor: Executor = IN_THIS_PROCESS,
    cpus: int = 1,
    gpus: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Measures estimates of the songs of `dataset`, and writes the result to the folder `out`, if one is given.

    estimates: a folder with `<song>/<class>.<ext>`, whatever made it, or a function that separates, see `Estimate`. A
    class of which the folder has no estimate at all is not measured, and that is noted.
    made_by: all that such a function's estimates depend on, as JSON; interrupted and called again with the same, an
    evaluation goes on after the songs that were measured. Files are measured again.
    executor: where songs are measured, each with so many `cpus` and `gpus`.
    A song that cannot be measured is reported, and the others go on. Raises DatasetError when there is no song, or when
    `out` lies in the dataset.
    """
    if not dataset.songs:
        raise DatasetError(f"{dataset.root}: holds no song to measure on.")
    notes: dict[str, str] = {}
    if not callable(estimates):
        folder = as_path(estimates)
        if not folder.is_dir():
            raise DatasetError(f"{folder}: no such folder of estimates.")
        offered = _offered(folder, dataset)
        if absent := [name for name in dataset.taxonomy.classes if name not in offered]:
            notes[str(folder)] = f"there are no estimates of {', '.join(absent)}; only the others are measured"
        estimates = _estimates_in(folder, dataset, offered)
    if out is None:
        return _evaluate(dataset, estimates, None, made_by, notes, executor, cpus, gpus, progress)
    dataset.check_outside(out)
    with put_when_done(as_path(out), SUMMARY_FILE, "evaluation") as folder, alone_in(folder):
        return _evaluate(dataset, estimates, folder, made_by, notes, executor, cpus, gpus, progress)


def _evaluate(
    dataset: Dataset,
    estimate: Estimate,
    out: Path | None,
    made_by: Mapping[str, Any] | None,
    notes: dict[str, str],
    executor: Executor,
    cpus: int,
    gpus: int,
    progress: Progress | None,
) -> Evaluation:
    by_song: dict[str, list[Stem]] = {}
    for stem in dataset.stems:
        by_song.setdefault(stem.song, []).append(stem)
    rows, failed = [], {}
    file = out / _MEASURED_FILE if out is not None and made_by is not None else None
    measured = ResumableRows(file, {"rows": 3, "dataset": dataset.origin(), "made_by": dict(made_by or {})})
    report = stage(progress, "evaluating")
    left = [song for song in by_song if measured.of(song) is None]
    jobs = [replace(dataset, stems=tuple(by_song[song]), skipped=(), notes=()) for song in left]
    report(len(by_song) - len(left), len(by_song))
    for done, (index, found) in enumerate(
        executor.map_unordered(partial(_measure_safely, estimate), jobs, cpus=cpus, gpus=gpus, lost=_lost), start=1
    ):
        if isinstance(found, str):
            failed[left[index]] = found
        else:
            measured.keep(left[index], found)
        report(len(by_song) - len(left) + done, len(by_song))
    failed = {song: failed[song] for song in by_song if song in failed}
    for song in by_song:
        if (kept := measured.of(song)) is not None:
            rows += kept[0]
            notes.update(kept[1])
    schema = {"song": pl.String, "class": pl.String, **dict.fromkeys(FIGURES, pl.Float64)}
    table = pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col(FIGURES).fill_nan(None))
    evaluation = Evaluation(table, dataset.taxonomy.classes, failed, notes)
    if out is not None:
        with written_aside(out / SONGS_FILE) as aside:
            table.write_csv(aside, float_precision=6)
        summary = {
            name: {key: _plain(value) for key, value in row.items()} for name, row in evaluation.summary().items()
        }
        write_json(out / SUMMARY_FILE, {"summary": summary, "failed": failed, "notes": notes})
    measured.finish()
    return evaluation


def read_evaluation(path: Path | str) -> pl.DataFrame:
    """Reads the `songs.csv` that `evaluate` wrote, from its path or folder; raises RestemError for other files."""
    path = as_path(path)
    path = path / SONGS_FILE if path.is_dir() else path
    try:
        table = pl.read_csv(path.read_bytes(), schema_overrides=dict.fromkeys(FIGURES, pl.Float64))
        return table.select("song", "class", *FIGURES)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RestemError(f"{path}: is not a result of `restem evaluate`.") from error


def paired_interval(differences: Sequence[float] | np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """The mean of paired differences and its 95 % interval: percentiles of 10,000 bootstrap resamples (Efron, 1979)."""
    values = np.asarray(differences, np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, mean, mean
    drawn = bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(seed))
    return mean, float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def _measure_safely(estimate: Estimate, dataset: Dataset) -> list[Any] | str:
    """What `_measure_song` finds, or why it finds nothing."""
    try:
        return _measure_song(dataset, estimate)
    except (RestemError, ValueError, OSError) as error:
        return str(error)


def _lost(dataset: Dataset, reason: str) -> str:
    return f"{dataset.songs[0]}: cannot be measured: {reason}."


def _measure_song(dataset: Dataset, estimate: Estimate) -> list[Any]:
    """The rows of a song: song, class and the `FIGURES`, NaN for what is not to be measured. And notes on its stems.

    dataset: the stems of the song alone.
    """
    (song,), stems, classes = dataset.songs, dataset.stems, dataset.taxonomy.classes
    shared = {name for stem in stems if len(stem.given) > 1 for name in stem.given}
    carried = {name for stem in stems for name in stem.given}
    measured = [name for name in classes if name in carried - shared]
    if not measured:
        raise DatasetError(f"{dataset.root / song}: no class has stems of its own, with which it could be compared.")
    # (class, stem): which stems are summed to the reference of a class.
    members = np.array([[name in stem.given for stem in stems] for name in measured], np.float32)
    with ExitStack() as files:
        audio = [files.enter_context(open_audio(dataset.file(stem), stem.stream or 0)) for stem in stems]
        rate_hz = audio[0].info.rate_hz
        for stem, one in zip(stems, audio, strict=True):
            if one.info.rate_hz != rate_hz:
                raise AudioError(f"{dataset.file(stem)}: has {one.info.rate_hz} Hz, other stems of its song {rate_hz}.")
        channels = max(one.info.channels for one in audio)
        frames = max(one.info.frames for one in audio)
        waiting: list[np.ndarray] = []

        def mixture() -> Blocks:
            parts = [one.blocks() for one in audio]
            for start in range(0, frames, BLOCK_FRAMES):
                block = np.zeros((len(stems), channels, min(BLOCK_FRAMES, frames - start)), np.float32)
                for sound, reader in zip(block, parts, strict=True):
                    piece = next(reader, None)
                    if piece is not None:
                        sound[:, : piece.shape[1]] = piece
                waiting.append(block)
                yield block.sum(axis=0)

        meter, baseline = SdrMeter(rate_hz, len(measured)), SdrMeter(rate_hz, len(measured))
        chosen = [classes.index(name) for name in measured]
        missing = np.zeros(len(measured), bool)
        for outputs in estimate(song, mixture(), rate_hz, channels):
            missing |= np.isnan(outputs[chosen]).any(axis=(1, 2))
            joined = np.concatenate(waiting, axis=2)
            waiting[:] = [joined[:, :, outputs.shape[2] :]]
            sounds = joined[:, :, : outputs.shape[2]]
            references = np.einsum("ks,scn->kcn", members, sounds)
            # A separator with another rate may return one sample more at the end. What is not to be measured must not
            # be silent: frames in which anything is are left out of the median of all.
            estimated = outputs[chosen][:, :, : sounds.shape[2]]
            meter.add(references, np.where(np.isnan(estimated), references, estimated))
            baseline.add(references, np.broadcast_to(sounds.sum(axis=0), references.shape))
    figures = np.stack([meter.global_sdr(), meter.median_sdr(), meter.si_sdr(), baseline.global_sdr()], axis=1)
    figures[missing] = np.nan
    found = dict(zip(measured, figures.tolist(), strict=True))
    notes = {stem.name: one.note for stem, one in zip(stems, audio, strict=True) if one.note}
    return [[(song, name, *found.get(name, [np.nan] * len(FIGURES))) for name in classes], notes]


def _place_of(folder: Path, song: str) -> Path | None:
    """The folder of a song among estimates; a `/` in a song's name is a subfolder, or was replaced."""
    places = [folder / (as_spelled(folder, name) or name) for name in (song, safe_name(song), song.replace("/", "_"))]
    return next((one for one in places if one.is_dir() and one.resolve().is_relative_to(folder.resolve())), None)


def _offered(folder: Path, dataset: Dataset) -> set[str]:
    """The classes of which any song has an estimate: the others are not what was separated."""
    found = set()
    for song in dataset.songs:
        if (place := _place_of(folder, song)) is not None:
            found |= set(_claims(place, dataset.taxonomy))
    return found


def _estimates_in(folder: Path, dataset: Dataset, offered: set[str]) -> Estimate:
    """Reads estimates from `folder/<song>/<class>.<ext>`; of classes that are not `offered` they are NaN."""
    taxonomy, carried = dataset.taxonomy, dict[str, set[str]]()
    for stem in dataset.stems:
        carried.setdefault(stem.song, set()).update(stem.given & offered)

    def estimate(song: str, mixture: Blocks, rate_hz: int, channels: int) -> Blocks:
        place = _place_of(folder, song)
        if place is None:
            raise DatasetError(f"{folder / song}: no such folder of estimates.")
        found = _estimates_of_classes(place, taxonomy)
        if missing := [name for name in taxonomy.classes if name in carried[song] and name not in found]:
            raise DatasetError(f"{place}: holds no estimate of {missing[0]}, though other songs have one.")
        with ExitStack() as files:
            audio = {name: files.enter_context(open_audio(path)) for name, path in found.items()}
            for name, one in audio.items():
                if (one.info.rate_hz, one.info.channels) != (rate_hz, channels):
                    raise AudioError(
                        f"{found[name]}: has {one.info.rate_hz} Hz and {one.info.channels} channels, "
                        f"the song {rate_hz} and {channels}."
                    )
            readers = {name: one.blocks() for name, one in audio.items()}
            frames = 0
            for block in mixture:
                outputs = np.full((len(taxonomy), *block.shape), np.nan, np.float32)
                for name, reader in readers.items():
                    piece = next(reader, None)
                    outputs[taxonomy.classes.index(name)] = 0.0
                    if piece is not None:
                        width = min(piece.shape[1], block.shape[1])
                        outputs[taxonomy.classes.index(name), :, :width] = piece[:, :width]
                frames += block.shape[1]
                yield outputs
            for name, one in audio.items():
                if abs(one.info.frames - frames) > _LENGTH_TOLERANCE_S * rate_hz:
                    raise AudioError(
                        f"{found[name]}: lasts {one.info.seconds:.2f} s, the song {frames / rate_hz:.2f} s."
                    )

    return estimate


def _estimates_of_classes(place: Path, taxonomy: Taxonomy) -> dict[str, Path]:
    """The estimate of each class in the folder of a song: the file with the class's own name, or else an alias of it.

    Raises DatasetError when two files claim one class.
    """
    found = {}
    for name, paths in _claims(place, taxonomy).items():
        exact = [path for path in paths if path.stem.lower() == name]
        first, *others = exact or paths
        if others:
            raise DatasetError(f"{first}: claims to be {name}, as {others[0].name} does; remove or rename one of them.")
        found[name] = first
    return found


def _claims(place: Path, taxonomy: Taxonomy) -> dict[str, list[Path]]:
    """The files in the folder of a song that claim to be the estimate of each class."""
    claims: dict[str, list[Path]] = {}
    for path in sorted(place.iterdir()):
        if path.suffix.lower() in EXTENSIONS and path.is_file() and (name := taxonomy.match(path.stem)):
            claims.setdefault(name, []).append(path)
    return claims


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _plain(value: float | None) -> float | None:
    """`value`, or None for NaN and infinity, which JSON cannot hold."""
    return value if value is None or np.isfinite(value) else None
