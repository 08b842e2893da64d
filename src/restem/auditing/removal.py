"""Takes out the bleed of all songs of a run that an audit found and that the stems confirm (see `debleeding`)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from restem.auditing.audit import Audit
from restem.auditing.debleeding import Removals, SongBleed, confirmed, write_without_bleed
from restem.dataset.table import split_stem_name
from restem.errors import AudioError
from restem.executing.interface import Executor
from restem.progress import Progress, stage
from restem.runs.processed import Processed, ProcessedStems
from restem.runs.run import Run
from restem.verdicts import WITHOUT_SOUND


@dataclass(frozen=True)
class _Job:
    """A song, and where its stems are written without bleed, by name."""

    song: SongBleed
    files: dict[str, Path]


def remove_bleed_of(
    audit: Audit, run: Run, folder: Path, executor: Executor, progress: Progress | None = None
) -> ProcessedStems:
    """Writes the stems of a run that get better without bleed into a folder.

    What people judged `ignore` stays in. A song of which a stem cannot be read stays as it is: the export says so.
    """
    jobs = [
        _Job(song, {name: folder / f"{number}-{place}.wav" for place, (name, _, _) in enumerate(song.stems)})
        for number, song in enumerate(songs_with_bleed(audit, run))
    ]
    report, found = stage(progress, "taking out bleed"), dict[str, Processed]()
    for done, (index, removals) in enumerate(executor.map_unordered(_remove, jobs), start=1):
        for stem, parts in removals.items():
            note = {"bleed_removed": [part.as_dict() for part in parts]}
            found[stem] = Processed(jobs[index].files[stem], note)
        report(done, len(jobs))
    return found


def songs_with_bleed(audit: Audit, run: Run) -> list[SongBleed]:
    """The songs of a run whose stems sound, and in which an audit found bleed that nobody judged `ignore`."""
    standing = set(audit.standing.filter(audit.standing["kind"] == "bleed").select("stem", "with_stem").rows())
    found: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    for song, stem, other, _, delay in audit.bleed.rows():
        if (stem, other) in standing:
            found[song].append((stem, other, delay))
    stems: dict[str, list[tuple[str, Path, int]]] = defaultdict(list)
    for song, name, verdict in run.labels.select("song", "stem", "verdict").rows():
        path, stream = split_stem_name(name)
        if song in found and verdict not in WITHOUT_SOUND:
            stems[song].append((name, run.dataset_root / path, stream or 0))
    songs = []
    for song, members in stems.items():
        names = {name for name, _, _ in members}
        if pairs := tuple(pair for pair in found[song] if {pair[0], pair[1]} <= names):
            songs.append(SongBleed(tuple(members), pairs))
    return songs


def _remove(job: _Job) -> Removals:
    try:
        removals = confirmed(job.song)
        write_without_bleed(job.song, removals, {stem: job.files[stem] for stem in removals})
    except AudioError:
        return {}
    return removals
