"""Audits a dataset: all songs one by one, then duplicates among all stems, and leaves tables in a folder.

What is done lies in `OUT/.work`, two files a song; killed and started again, it goes on from there.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from restem._version import __version__
from restem.addresses import Address, as_path
from restem.audio.reader import EXTENSIONS
from restem.auditing.copies import copies_by_sound, duplicate_finding
from restem.auditing.evidence import across_folds, check_same, of_no_class
from restem.auditing.findings import (
    BLEED_OVER_TIME_SCHEMA,
    BLEED_SCHEMA,
    COPIES_SCHEMA,
    FINDINGS_SCHEMA,
    KINDS,
    MIXTURES_SCHEMA,
    Kind,
    findings_table,
)
from restem.auditing.fingerprints import HOP_S
from restem.auditing.judgements import Judgements, key_of, without_ignored
from restem.auditing.songs import SongAudit, SongJob, audit_song, read_codes, unread_song
from restem.dataset.reading.interface import MIXTURE
from restem.dataset.table import Dataset, Stem
from restem.errors import DatasetError, RunError
from restem.executing.choosing import executor_for
from restem.executing.interface import Executor
from restem.fetching import copy_of, fetched_folder, named
from restem.files import written_aside
from restem.notebook import html_table
from restem.progress import Progress, stage
from restem.resuming import WorkRecord
from restem.runs.run import Run
from restem.wording import counted
from restem.working import alone_in

OVER_TIME_FILE = "bleed_over_time.csv"
RECORD_FILE = "audit.json"
WORK_FOLDER = ".work"
FINDINGS_FILE, BLEED_FILE, MIXTURES_FILE, COPIES_FILE = "findings.csv", "bleed.csv", "mixtures.csv", "copies.csv"
_FORMAT = 3

_UNFIT_WHERE_REAL: tuple[Kind, ...] = ("bleed", "noise", "clipped", "misaligned")


@dataclass(frozen=True, repr=False)
class Audit:
    """A finished audit.

    Attributes
    ----------
    path
        Its folder; of one at an address, its copy on this machine.
    findings
        One row per finding: `song,stem,kind,value,unit,start_s,end_s,with_song,with_stem,message`.
    bleed
        One row per pair of stems of a song with bleed: `song,stem,from_stem,bleed_db,delay_samples`.
    bleed_over_time
        One row per such pair and stretch of 1.5 s in which it can be told:
        `song,stem,from_stem,start_s,end_s,bleed_db`.
    mixtures
        One row per song: `song,verdict,residual_db,gains`.
    hours
        How many hours of stems were audited.
    failed
        The stems that could not be read, and why.
    fingerprint
        Of the dataset, as `Dataset.fingerprint` returns it.
    dataset_root
        Its root.
    copies
        One row per duplicate or leak: where the shared stretch begins in both stems.
    mixture_files
        Song -> the file of its mixture and the audio stream in it.
    rooms
        The stem and the one that bleeds into it -> by how many dB `bleed_db` exceeds the direct sound, where the bleed
        came through a room.
    address
        Where the audit is, if that is an address.

    Examples
    --------
    >>> audit = restem.audit("my-stems", "my-audit", workers=1)
    >>> audit.findings.columns[:4]
    ['song', 'stem', 'kind', 'value']
    """

    path: Path
    findings: pl.DataFrame
    bleed: pl.DataFrame
    bleed_over_time: pl.DataFrame
    mixtures: pl.DataFrame
    hours: float
    failed: Mapping[str, str]
    fingerprint: str
    dataset_root: Path
    copies: pl.DataFrame
    mixture_files: Mapping[str, tuple[Path, int]]
    rooms: Mapping[tuple[str, str], float]
    address: Path | None = None

    @property
    def place(self) -> Path:
        """Where people look for the audit: its address, or else its folder."""
        return self.address or self.path

    @property
    def standing(self) -> pl.DataFrame:
        """The findings without those that people judged `ignore`."""
        return without_ignored(self.findings, Judgements(self.path).standing())

    def counts(self) -> dict[Kind, int]:
        """For each kind that was found, in the order of the kinds, how many findings there are."""
        found = Counter(self.findings["kind"].to_list())
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def as_dict(self) -> dict[str, Any]:
        """What `restem audit` prints, as plain numbers and strings, ready for JSON."""
        return {
            "audit": str(self.place),
            "hours": self.hours,
            "songs": len(self.mixtures),
            "findings": self.counts(),
            "mixtures": dict(Counter(self.mixtures["verdict"].to_list())),
            "failed": dict(self.failed),
        }

    def duplicate_songs(self) -> dict[str, str]:
        """For each song that shares a recording with another one, one song that stands for all that hang together.

        What people judged `ignore` does not count.
        """
        shared = self.standing.filter(
            pl.col("kind").is_in(["duplicate", "leak"]), pl.col("song") != pl.col("with_song")
        )
        before: dict[str, str] = {}

        def standing_for(song: str) -> str:
            while song in before:
                song = before[song]
            return song

        for pair in shared.select("song", "with_song").rows():
            first, second = sorted(map(standing_for, pair))
            if first != second:
                before[second] = first
        songs = {song for pair in shared.select("song", "with_song").rows() for song in pair}
        return {song: standing_for(song) for song in sorted(songs)}

    def unfit(self) -> list[str]:
        """The stems that nothing should learn from, in the order of the findings.

        Those that are `foreign`, and those in which a person judged bleed, noise, clipping or a wrong place in time to
        be `real`. What people judged `ignore` does not count.
        """
        judged = Judgements(self.path).standing()

        def counts(row: Mapping[str, Any]) -> bool:
            said = judged.get(key_of(row))
            real = said is not None and said.judged == "real"
            return row["kind"] == "foreign" or (real and row["kind"] in _UNFIT_WHERE_REAL)

        standing = without_ignored(self.findings, judged)
        return list(dict.fromkeys(row["stem"] for row in standing.iter_rows(named=True) if counts(row)))

    def __repr__(self) -> str:
        return f"Audit({self.place.name!r}, {counted(len(self.findings), 'finding')})"

    def _repr_html_(self) -> str:
        return html_table(repr(self), ("kind", "findings"), list(self.counts().items()))


def open_audit(path: Path | str) -> Audit:
    """Reads a finished audit back.

    Parameters
    ----------
    path
        The folder of the audit.

    Returns
    -------
    Audit
        What was found.

    Raises
    ------
    RunError
        When the folder holds no finished audit, or its tables cannot be read.
    """
    path = as_path(path)
    if isinstance(path, Address):
        needed = "holds no finished audit; make one with `restem audit DATASET --out`"
        with named(path, copy_of(path)):
            return replace(open_audit(fetched_folder(path, RECORD_FILE, needed)), address=path)
    try:
        content = WorkRecord(path, RECORD_FILE, {}, "audit", f"{WORK_FOLDER}/{RECORD_FILE}")
        if not (path / RECORD_FILE).exists() or not content.begin():
            raise RunError(f"{path}: holds no finished audit; make one with `restem audit DATASET --out {path}`.")
        return Audit(
            path,
            _read(path / FINDINGS_FILE, FINDINGS_SCHEMA),
            _read(path / BLEED_FILE, BLEED_SCHEMA),
            _read(path / OVER_TIME_FILE, BLEED_OVER_TIME_SCHEMA),
            _read(path / MIXTURES_FILE, MIXTURES_SCHEMA),
            float(content.content.get("hours", 0.0)),
            content.content.get("failed", {}),
            str(content.content.get("fingerprint")),
            as_path(str(content.content.get("dataset"))),
            _read(path / COPIES_FILE, COPIES_SCHEMA),
            {song: (as_path(file), int(stream)) for song, (file, stream) in content.content["mixture_files"].items()},
            {(stem, source): float(room_db) for stem, source, room_db in content.content.get("rooms", ())},
        )
    except (OSError, KeyError, TypeError, ValueError, AttributeError, pl.exceptions.PolarsError) as error:
        raise RunError(f"{path}: the audit cannot be read ({error}); make it again.") from error


def opened_audit(audit: Audit | Path | str, data: Dataset | Run) -> Audit:
    """`audit` itself, or the one in its folder; RunError when it is not one of this dataset."""
    opened = open_audit(audit) if isinstance(audit, Path | str) else audit
    dataset = data.dataset if isinstance(data, Run) else data
    # An audit is of all songs; of some that were chosen by their split, as in a run, only the place can be compared.
    chosen = isinstance(data, Run) or any(item.reason.startswith("of the split") for item in dataset.skipped)
    same = chosen and opened.dataset_root.resolve() == dataset.root.resolve()
    if not same and opened.fingerprint != dataset.fingerprint():
        raise RunError(f"{opened.place}: is an audit of another dataset, or of {dataset.root} before it changed.")
    return opened


def audit_dataset(
    dataset: Dataset,
    out: Path,
    *,
    mixtures: Path | None = None,
    run: Run | None = None,
    workers: int | None = None,
    ray: str | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Audits a dataset; see `restem.audit`."""
    dataset.check_outside(out)
    if run is not None:
        check_same(run, dataset)
    given = None if mixtures is None else _given_mixtures(dataset, mixtures)
    request = {
        "format": _FORMAT, "dataset": str(dataset.root), "fingerprint": dataset.fingerprint(),
        "mixtures": None if given is None else sorted(given),
        "run": None if run is None else str(run.description.get("finished")),
    }  # fmt: skip
    record = WorkRecord(out, RECORD_FILE, request, "audit", f"{WORK_FOLDER}/{RECORD_FILE}")
    if record.begin():
        return open_audit(out)
    executor = executor_for(workers, ray)
    with alone_in(out):
        if record.begin():
            return open_audit(out)  # another process has finished it meanwhile
        return _audit(dataset, record, given, run, executor, progress)


def _audit(
    dataset: Dataset,
    record: WorkRecord,
    given: Mapping[str, tuple[Path, int]] | None,
    run: Run | None,
    executor: Executor,
    progress: Progress | None,
) -> Audit:
    """Does what is left of the work, and writes the tables. given: mixtures from elsewhere. run: of the dataset."""
    out = record.folder
    record.note(restem=__version__)
    mixtures = _own_mixtures(dataset) if given is None else given
    jobs = _jobs(dataset, mixtures, out / WORK_FOLDER)
    songs = _audit_songs(jobs, executor, progress)
    stems = [stem for group in _by_song(dataset).values() for stem in group]
    codes = [one for job in jobs for one in read_codes(job.out)]
    findings = [one for song in songs for one in song.findings]
    out_of_phase = {one.stem for one in findings if one.kind == "out_of_phase"}
    copies = copies_by_sound(dataset, stems, codes, out_of_phase, executor, progress)
    findings += [duplicate_finding(stems[copy.first], stems[copy.second], copy) for copy in copies]
    if run is not None:
        findings = across_folds(run, findings + of_no_class(run, findings))
    place = {stem.name: number for number, stem in enumerate(dataset.stems)}
    song_place = {song: number for number, song in enumerate(dataset.songs)}
    findings.sort(key=lambda one: (song_place[one.song], place.get(one.stem, -1), KINDS.index(one.kind)))
    _write(out / FINDINGS_FILE, findings_table(findings))
    bleed = [row for song in songs for row in song.bleed]
    _write(out / BLEED_FILE, pl.DataFrame(bleed, schema=dict(BLEED_SCHEMA), orient="row"))
    over_time = [row for song in songs for row in song.bleed_over_time]
    _write(out / OVER_TIME_FILE, pl.DataFrame(over_time, schema=dict(BLEED_OVER_TIME_SCHEMA), orient="row"))
    verdicts = [(song.song, *song.mixture) for song in songs]
    _write(out / MIXTURES_FILE, pl.DataFrame(verdicts, schema=dict(MIXTURES_SCHEMA), orient="row"))
    places = [
        (stems[copy.second].name, stems[copy.first].name, copy.start * HOP_S, (copy.start - copy.offset) * HOP_S,
         copy.frames * HOP_S)
        for copy in copies
    ]  # fmt: skip
    _write(out / COPIES_FILE, pl.DataFrame(places, schema=dict(COPIES_SCHEMA), orient="row"))
    failed = {name: reason for song in songs for name, reason in song.failed.items()}
    hours = sum(sum(song.seconds.values()) for song in songs) / 3600.0
    record.finish(
        failed=failed,
        hours=round(hours, 4),
        findings=dict(Counter(one.kind for one in findings)),
        rooms=[row for song in songs for row in song.rooms],
        mixture_files={song: [str(file), stream] for song, (file, stream) in mixtures.items()},
    )
    shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)
    return open_audit(out)


def _write(path: Path, table: pl.DataFrame) -> None:
    with written_aside(path) as aside:
        table.write_csv(aside, float_precision=6)


def _read(path: Path, schema: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    return pl.read_csv(path, schema=dict(schema)).with_columns(pl.col(pl.String).fill_null(""))


def _by_song(dataset: Dataset) -> dict[str, list[Stem]]:
    grouped: dict[str, list[Stem]] = {song: [] for song in dataset.songs}
    for stem in dataset.stems:
        grouped[stem.song].append(stem)
    return grouped


def _jobs(dataset: Dataset, mixtures: Mapping[str, tuple[Path, int]], work: Path) -> list[SongJob]:
    jobs = []
    for number, (song, stems) in enumerate(_by_song(dataset).items()):
        files = tuple((stem.name, dataset.file(stem), stem.stream or 0) for stem in stems)
        jobs.append(SongJob(song, files, mixtures.get(song), work / f"{number:06d}.codes"))
    return jobs


def _own_mixtures(dataset: Dataset) -> dict[str, tuple[Path, int]]:
    """The mixture that lies beside the stems of each song: a file of its own, or stream 0 of a song in one file."""
    song_in = {stem.path.rpartition("/")[0]: stem.song for stem in dataset.stems}
    found = {stem.song: (dataset.file(stem), 0) for stem in dataset.stems if (stem.stream or 0) > 0}
    for item in dataset.skipped:
        folder = item.path.rpartition("/")[0]
        if item.reason == MIXTURE and folder in song_in:
            found.setdefault(song_in[folder], (dataset.root / item.path, 0))
    return found


def _given_mixtures(dataset: Dataset, folder: Path) -> dict[str, tuple[Path, int]]:
    """`folder/<song>.<ext>` or `folder/<song>/mixture.<ext>` for each song that has one; DatasetError if none has."""
    found = {}
    for song in dataset.songs:
        names = [folder / f"{song}{end}" for end in sorted(EXTENSIONS)]
        names += [folder / song / f"mixture{end}" for end in sorted(EXTENSIONS)]
        if file := next((name for name in names if name.is_file()), None):
            found[song] = (file, 0)
    if not found:
        raise DatasetError(f"{folder}: holds no mixture of a song; name the files SONG.wav, as {dataset.songs[0]}.wav.")
    return found


def _audit_songs(jobs: Sequence[SongJob], executor: Executor, progress: Progress | None) -> list[SongAudit]:
    audits: dict[int, SongAudit] = {}
    for number, job in enumerate(jobs):
        if job.out.with_suffix(".json").exists() and job.out.exists():
            audits[number] = SongAudit.read(job.out.with_suffix(".json"))
    left = [number for number in range(len(jobs)) if number not in audits]
    report = stage(progress, "auditing songs")
    for index, audit in executor.map_unordered(audit_song, [jobs[number] for number in left], lost=unread_song):
        number = left[index]
        with written_aside(jobs[number].out.with_suffix(".json")) as aside:
            aside.write_text(audit.as_json(), encoding="utf-8")
        audits[number] = audit
        report(len(audits), len(jobs))
    return [audits[number] for number in range(len(jobs))]
