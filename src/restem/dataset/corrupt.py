"""Makes a noisy copy of a clean dataset, with the true label sets of its stems.

    OUT/<song>/<class>.<ext>   the corrupted stems (layout `songs`), below a folder for the split if there is one
    OUT/truth.csv              song,stem,given,true: `true` is the set of classes that sound in the stem
    OUT/truth_segments.csv     kind `partial` only: song,stem,class,start_s,end_s, one row per stretch of a source in a
                               stem that it does not belong to (sources that sound throughout are not listed)
    OUT/corrupt.json           how it was made, and the gain of each song that would have clipped

The errors are planned in `restem.dataset.noise`; here the plan is carried out, block by block, one song per unit of
work. A song whose sums exceed full scale is written again with all its stems scaled by one common factor: the formats
are lossless up to full scale only, and scaling a single stem would change the mixture. A song that cannot be decoded or
added up is left out, and `corrupt.json` says why. A class whose source is silent
throughout is not in the truth, since it does not sound.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from restem._version import __version__
from restem.addresses import as_path
from restem.audio.level import active_frames
from restem.audio.writer import write_blocks
from restem.dataset.layouts import opened_dataset
from restem.dataset.measure import StemLevels, measure
from restem.dataset.mixdown import Sound, check_summable, sum_blocks
from restem.dataset.noise import Kind, NoisyStem, Stretch, plan_noise
from restem.dataset.table import Dataset
from restem.dataset.truth import SEGMENTS_TRUTH_FILE, TRUTH_COLUMNS, TRUTH_FILE
from restem.dataset.usage import check_mixtures
from restem.errors import AudioError, UsageError
from restem.executing.choosing import executor_for
from restem.fetching import keeping
from restem.file_names import song_folders
from restem.files import read_json, write_json, written_aside
from restem.progress import Progress, stage
from restem.resuming import WorkRecord
from restem.taxonomy import Taxonomy
from restem.working import alone_in

DESCRIPTION_FILE = "corrupt.json"
_BESIDE_SONGS = (DESCRIPTION_FILE, TRUTH_FILE, SEGMENTS_TRUTH_FILE)
LOSSLESS_EXTENSIONS = ("flac", "wav")

_PROGRESS_FOLDER = ".corrupt"

# The largest 24-bit sample is one step below 1; songs that exceed this peak are scaled down to it.
_FULL_SCALE = 1.0 - 2.0**-20

# A stretch is placed where its source is active for at least this share of the time it is active at the most active
# position.
_ACTIVE_ENOUGH = 0.9

_SEGMENT_SCHEMA = {"song": pl.String, "stem": pl.String, "class": pl.String, "start_s": pl.Float64, "end_s": pl.Float64}


def corrupt(
    dataset: Dataset | Path | str,
    out: Path | str,
    *,
    kind: Kind = "regroup",
    rate: float = 0.2,
    seed: int = 0,
    level_db: float = -20.0,
    among: Collection[str] | None = None,
    format: str = "flac",
    only: bool = False,
    workers: int | None = None,
    ray: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Makes a noisy copy of a clean dataset, with its truth in `out/truth.csv`.

    Called again with the same arguments it keeps finished songs and goes on. The result does not depend on `workers`. A
    song that cannot be decoded or added up is left out, and `out/corrupt.json` says why.

    Parameters
    ----------
    dataset
        A dataset, or its path. Each stem must be labelled with one class.
    out
        The folder of the copy.
    kind
        `regroup`: sources move into other stems of their song. `swap`: stems get another class's label. `bleed`: every
        stem also holds the others. `partial`: sources are heard in other stems for a few seconds.
    rate
        The probability that a source or stem is affected; it does not matter for `bleed`.
    seed
        Random seed.
    level_db
        For `bleed`: the level of what bleeds in, relative to its own, in dB.
    among
        Only these classes are confused, at least two; by default all.
    format
        `flac` or `wav`, of 24 bits.
    only
        Leave stems of no class out of the copy; otherwise they are an error.
    workers
        Processes; by default one for each available core.
    ray
        None for processes of this machine; else a Ray cluster: `local`, `auto` or HOST:PORT (docs/scale.md).
    progress
        Called with the stage, the songs done and in all.

    Returns
    -------
    pathlib.Path
        The folder of the copy.

    Raises
    ------
    UsageError
        For an argument out of range.
    DatasetError
        When `out` lies in the dataset, a stem is not labelled with one class, or, without `only`, is of none.
    RunError
        When `out` holds anything but the result of the same call.
    AudioError
        When no song can be decoded and added up.

    Examples
    --------
    >>> restem.corrupt("my-stems", "noisy-stems", rate=0.5, seed=1, workers=1).name
    'noisy-stems'
    >>> restem.open_dataset("noisy-stems").layout
    'songs'
    """
    dataset = opened_dataset(dataset)
    out = as_path(out).expanduser().absolute()
    extension = format.lower().lstrip(".")
    if extension not in LOSSLESS_EXTENSIONS:
        raise UsageError(f"Corrupted stems cannot be written as {format!r}; use {' or '.join(LOSSLESS_EXTENSIONS)}.")
    check_mixtures(dataset, only)
    plan = plan_noise(dataset, kind, rate, seed, level_db, among)
    origin = dataset.origin()
    description = {
        "restem": __version__,
        "source": str(dataset.root),
        **{key: origin[key] for key in ("fingerprint", "written", "classes")},
        "kind": kind,
        "rate": None if kind == "bleed" else rate,
        "seed": seed,
        "level_db": level_db if kind == "bleed" else None,
        "among": None if among is None else sorted(set(among)),
        "extension": extension,
    }
    dataset.check_outside(out)
    record = WorkRecord(out, DESCRIPTION_FILE, description, "noisy copy")
    if record.begin():
        return out
    executor = executor_for(workers, ray)
    with alone_in(out):
        if record.begin():
            return out  # another process has finished it meanwhile
        record.note()
        jobs = []
        splits = dataset.splits
        for number, (song, name) in enumerate(song_folders(dataset.songs, _BESIDE_SONGS).items()):
            done = out / _PROGRESS_FOLDER / f"{number}.json"
            split = splits[song]
            folder = f"{split}/{name}" if split and not name.startswith(f"{split}/") else name
            jobs.append(_Job(dataset.root, dataset.taxonomy, out, name, folder, plan[song], extension, done))
        results: list[dict[str, Any]] = [{}] * len(jobs)
        report = stage(progress, "corrupting")
        written = executor.map_unordered(_corrupt_song, jobs, lost=_left_out)
        for count, (index, result) in enumerate(written, start=1):
            results[index] = result
            report(count, len(jobs))
        if all("failed" in result for result in results):
            raise AudioError(results[0]["failed"])
        _finish(out, kind, record, results)
    return out


def failures_and_notes(out: Path | str) -> tuple[dict[str, str], dict[str, str]]:
    """Of a finished noisy copy: the songs it lacks, and why; the stems used with a note, see `AudioReader.note`."""
    found = read_json(as_path(out) / DESCRIPTION_FILE)
    return found.get("failed", {}), found.get("notes", {})


@dataclass(frozen=True)
class _Job:
    """One song to be written: `folder` is its path below `out`, with its split; `record` marks it as finished."""

    root: Path
    taxonomy: Taxonomy
    out: Path
    song: str
    folder: str
    stems: tuple[NoisyStem, ...]
    extension: str
    record: Path


def _finish(out: Path, kind: Kind, record: WorkRecord, results: list[dict[str, Any]]) -> None:
    """Writes the truth of all songs, then the description that marks the copy finished."""
    failed = {result["song"]: result["failed"] for result in results if "failed" in result}
    results = [result for result in results if "failed" not in result]
    notes = {name: note for result in results for name, note in result["notes"].items()}
    rows = [row for result in results for row in result["truth"]]
    with written_aside(out / TRUTH_FILE) as aside:
        pl.DataFrame(rows, schema=dict.fromkeys(TRUTH_COLUMNS, pl.String), orient="row").write_csv(aside)
    if kind == "partial":
        stretches = [row for result in results for row in result["stretches"]]
        with written_aside(out / SEGMENTS_TRUTH_FILE) as aside:
            pl.DataFrame(stretches, schema=_SEGMENT_SCHEMA, orient="row").write_csv(aside, float_precision=4)
    gains = {result["song"]: result["gain"] for result in results if result["gain"] != 1.0}
    record.finish(songs=len(results), gains=gains, failed=failed, notes=notes)
    shutil.rmtree(out / _PROGRESS_FOLDER, ignore_errors=True)


def _corrupt_song(job: _Job) -> dict[str, Any]:
    """Writes the stems of one song and the record of what is in them; the record of an earlier call is reused.

    Of a song that cannot be decoded or added up, nothing is written, and the reason is returned.
    """
    if (earlier := _earlier_result(job)) is not None:
        return earlier
    try:
        with keeping():  # each source is read twice
            result = _written(job)
    except AudioError as error:
        return _left_out(job, str(error))
    write_json(job.record, result)
    return result


def _left_out(job: _Job, reason: str) -> dict[str, Any]:
    """Removes what there is of a song."""
    shutil.rmtree(job.out / job.folder, ignore_errors=True)
    return {"song": job.folder, "failed": reason}


def _written(job: _Job) -> dict[str, Any]:
    """Writes the stems of one song, and returns what is in them."""
    sources = dict.fromkeys(part.source for stem in job.stems for part in stem.parts)
    measured = {source: measure(job.root / source.path, source.stream) for source in sources}

    truth: list[tuple[str, ...]] = []
    stretches: list[tuple[str, str, str, float, float]] = []
    sums: list[tuple[Path, list[Sound]]] = []
    for stem in job.stems:
        path = f"{job.folder}/{stem.name}.{job.extension}"
        sounds: list[Sound] = []
        true: set[str] = set()
        for part in stem.parts:
            found = measured[part.source]
            span_s = _span_of(part.stretch, found) if part.stretch else None
            if part.stretch and not span_s:
                continue
            if part.counts and not found.silent:
                true |= part.source.given
            sounds.append(Sound(job.root / part.source.path, part.source.stream, found.info, part.gain, span_s))
            if span_s:
                stretches.append((job.song, path, next(iter(part.source.given)), *span_s))
        check_summable(sounds)
        sums.append((job.out / path, sounds))
        truth.append((job.song, path, stem.given, job.taxonomy.format(true)))

    # Lossy sources may decode above full scale on their own; knowing it beforehand saves writing the song twice.
    alone = [measured[stem.parts[0].source].peak for stem in job.stems if len(stem.parts) == 1]
    gain = _write_sums(sums, _gain_for(max(alone, default=0.0)))
    notes = {source.name: found.note for source, found in measured.items() if found.note}
    return {"song": job.song, "gain": gain, "truth": truth, "stretches": stretches, "notes": notes}


def _earlier_result(job: _Job) -> dict[str, Any] | None:
    """What an earlier call noted about the song, if its files are there."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        result: dict[str, Any] = read_json(job.record)
        if all((job.out / row[1]).is_file() for row in result["truth"]):
            return result
    return None


def _write_sums(sums: list[tuple[Path, list[Sound]]], gain: float) -> float:
    """Writes each sum to its file; returns the common gain, at most `gain`, that keeps all within full scale."""
    while (peak := max(_write_sum(path, sounds, gain) for path, sounds in sums)) > _FULL_SCALE:
        gain *= _gain_for(peak)
    return gain


def _gain_for(peak: float) -> float:
    """The gain that brings `peak` within full scale."""
    return 1.0 if peak <= _FULL_SCALE else _FULL_SCALE / peak * (1.0 - 1e-6)


def _write_sum(path: Path, sounds: list[Sound], gain: float) -> float:
    """Writes one sum; returns its largest absolute sample."""
    peak = 0.0

    def blocks() -> Iterator[np.ndarray]:
        nonlocal peak
        for block in sum_blocks(sounds, gain):
            peak = max(peak, float(np.abs(block).max()))
            yield block

    write_blocks(path, blocks(), sounds[0].info.rate_hz, max(sound.info.channels for sound in sounds))
    return peak


def _span_of(stretch: Stretch, source: StemLevels) -> tuple[float, float] | None:
    """The start and end of a stretch in seconds, placed where its source is about as active as it ever is.

    A source shorter than the stretch is used whole; None for a silent one.
    """
    active = active_frames(source.level_power)
    if not active.any():
        return None
    length = min(round(stretch.length_s / source.level_s), len(active))
    active_before = np.concatenate(([0], np.cumsum(active)))
    active_within = active_before[length:] - active_before[:-length]
    places = np.flatnonzero(active_within >= _ACTIVE_ENOUGH * active_within.max())
    start_s = float(places[int(stretch.position * len(places))]) * source.level_s
    return round(start_s, 4), round(min(start_s + stretch.length_s, source.frames / source.info.rate_hz), 4)
