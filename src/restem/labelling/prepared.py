"""Stems made ready to be learned from and scored: their features are in the store, and their segments are laid.

Both are done stem by stem, in worker processes, and so is the look for damage: from object storage a stem is fetched
once for all. What is known of the stems is then kept as one table, so that a run
that is started again reads it in place of all entries of the store.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from restem.audio.entries import KEY_DIGITS, EntryStore, Source, lost_stem
from restem.audio.store import Store, StoredStems
from restem.auditing.findings import Finding
from restem.auditing.quick import level_db, look
from restem.errors import AudioError
from restem.executing.interface import Executor
from restem.fetching import keeping
from restem.files import written_aside
from restem.labelling.segments import LaidStem, lay_stem, segment_starts
from restem.progress import Report


@dataclass(frozen=True)
class PreparedStem:
    """What is known of a stem in the store.

    key: of its entry. note: see `StemFeatures`. damage: what was found, if it was looked for; see `quick.look`.
    """

    key: str
    seconds: float
    note: str
    laid: LaidStem
    damage: tuple[Finding, ...] = ()


def prepare_stems(
    sources: Sequence[Source],
    store: Store,
    length: int,
    hop: int,
    executor: Executor,
    report: Report | None = None,
    table: Path | None = None,
    looks: bool = False,
    beside: EntryStore | None = None,
) -> tuple[dict[int, PreparedStem], dict[int, str]]:
    """Computes the features that the store lacks, and lays the segments of every stem.

    length, hop: of segments, in frames. table: a file in which the result is kept, if there is one; whoever gives the
    same file again answers for the sources being the same. looks: whether to look for damage. beside: another
    store, whose entries are computed too while a stem is here. Returns the stems by index, and why the others failed.
    """
    grid = _grid(store, length, hop, len(sources), looks)
    kept = _read(table, grid) if table is not None else {}
    stems = {index: one for index, one in kept.items() if _is_stored(store, one)}
    missing = [index for index in range(len(sources)) if index not in stems]
    failures: dict[int, str] = {}
    done = len(stems)
    prepare = partial(_prepared, store, length, hop, looks, beside)
    some = [sources[index] for index in missing]
    absent = [one.absent(some) for one in (store, beside or store)]
    jobs = list(zip(some, *absent, strict=True))
    for position, found in executor.map_unordered(prepare, jobs, lost=_lost):
        if isinstance(found, str):
            failures[missing[position]] = found
        else:
            stems[missing[position]] = found
        done += 1
        if report is not None:
            report(done, len(sources))
    if table is not None and missing:
        _write(table, grid, stems)
    return stems, failures


def stored_stems(store: Store, stems: Sequence[PreparedStem]) -> StoredStems:
    """The features of stems, to be read."""
    return _in_store(store, stems).on_this_machine()


def _in_store(store: Store, stems: Sequence[PreparedStem]) -> StoredStems:
    keys = np.array([one.key for one in stems], f"S{KEY_DIGITS}")
    return store.with_keys(keys, np.array([one.laid.frames for one in stems], np.int64))


_Job = tuple[Source, bool, bool]
"""The file of a stem, and for each of the two stores what `absent` says of it."""


def _prepared(
    store: Store, length: int, hop: int, looks: bool, beside: EntryStore | None, job: _Job
) -> PreparedStem | str:
    """One stem, possibly in a worker process; or why it cannot be used."""
    source, is_absent, is_absent_beside = job
    try:
        with keeping():
            if beside is not None:
                beside.ensure(source, is_absent_beside)
            key, features = store.ensure(source, is_absent)
            laid = lay_stem(features, length, hop)
            damage = _looked(source, laid, store, length, hop) if looks and laid.active_frames else []
    except AudioError as error:
        return str(error)
    return PreparedStem(key, features.seconds, features.note, laid, tuple(damage))


def _looked(source: Source, laid: LaidStem, store: Store, length: int, hop: int) -> list[Finding]:
    starts = segment_starts(laid.frames, length, hop)[laid.active]
    return look(source, starts * store.settings.hop_s, level_db(laid.level_db))


def _lost(job: _Job, reason: str) -> str:
    return lost_stem(job[0], reason)


def _is_stored(store: Store, stem: PreparedStem) -> bool:
    """Whether the entry of a stem is still there, and whole."""
    try:
        _in_store(store, [stem])[0].checked()
    except (OSError, ValueError):
        return False
    return True


def _grid(store: Store, length: int, hop: int, stems: int, looks: bool) -> str:
    """What a table depends on besides the sources."""
    return json.dumps([asdict(store.settings), length, hop, stems, looks])


def _write(path: Path, grid: str, stems: Mapping[int, PreparedStem]) -> None:
    index = sorted(stems)
    ordered = [stems[one] for one in index]
    laid = [one.laid for one in ordered]
    with written_aside(path) as aside, aside.open("wb") as file:
        np.savez(
            file,
            grid=_packed(grid),
            index=np.array(index, np.int64),
            key=np.array([one.key for one in ordered], f"S{KEY_DIGITS}"),
            seconds=np.array([one.seconds for one in ordered], np.float64),
            note=_packed(json.dumps([one.note for one in ordered])),
            damage=_packed(json.dumps([list(map(asdict, one.damage)) for one in ordered])),
            frames=np.array([one.frames for one in laid], np.int64),
            gain=np.array([one.gain for one in laid], np.float64),
            active_frames=np.array([one.active_frames for one in laid], np.int64),
            segments=np.array([len(one.active) for one in laid], np.int64),
            level_db=np.concatenate([np.zeros(0), *(one.level_db for one in laid)]),
            active=np.concatenate([np.zeros(0, bool), *(one.active for one in laid)]),
        )


def _read(path: Path, grid: str) -> dict[int, PreparedStem]:
    """What `_write` left; nothing where it is missing, damaged, or on another grid."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if _unpacked(file["grid"]) != grid:
                return {}
            columns = {name: file[name] for name in file.files}
        notes = json.loads(_unpacked(columns["note"]))
        damages = [tuple(Finding(**one) for one in found) for found in json.loads(_unpacked(columns["damage"]))]
        ends = np.cumsum(columns["segments"])[:-1]
        levels_db, active = np.split(columns["level_db"], ends), np.split(columns["active"], ends)
        numbers = (columns[name].tolist() for name in ("index", "key", "seconds", "frames", "gain", "active_frames"))
        return {
            index: PreparedStem(key.decode(), seconds, note, LaidStem(frames, levels, flags, gain, sounding), damage)
            for index, key, seconds, frames, gain, sounding, note, damage, levels, flags in zip(
                *numbers, notes, damages, levels_db, active, strict=True
            )
        }
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return {}


def _packed(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def _unpacked(array: np.ndarray) -> str:
    return array.tobytes().decode()
