"""The plans of `audit`, `corrupt` and `export`."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile

from restem.audio.entries import Source
from restem.audio.reader import open_audio
from restem.auditing.audit import Audit, open_audit
from restem.auditing.debleeding import confirmed
from restem.auditing.removal import songs_with_bleed
from restem.auditing.songs import SongJob, heard_song
from restem.dataset.measure import measure
from restem.dataset.table import Dataset, split_stem_name
from restem.devices import choose_device
from restem.executing.processes import Processes
from restem.planning.plan import Plan, Stage, audio_text, size_text
from restem.planning.rates import Rate, in_parallel, lengths, rate_of, separation_rate, starting_s
from restem.runs.run import Run
from restem.runs.training_sets import is_training_layout
from restem.separation.separator import load_separator
from restem.verdicts import WITHOUT_SOUND
from restem.wording import counted


def plan_audit(dataset: Dataset, out: Path, *, workers: int | None = None) -> Plan:
    """What `restem audit` would do with a dataset; the arguments are those of `restem.audit`.

    How long the comparison of likely duplicates takes depends on how many there are, and is not known before.
    """
    sources, seconds, by_song = _stems(dataset)
    songs = list(by_song.values())
    length = np.array([seconds[song].sum() for song in songs])
    executor = Processes.of(workers)
    starting = Stage("starting", starting_s(executor.workers))

    def hear(number: int) -> float:
        files = tuple((dataset.stems[index].name, *sources[index]) for index in songs[number])
        heard_song(SongJob("", files, None, out))
        return 0.0

    # The shortest song that holds anything, since the whole of it is heard.
    shortest = [int(np.where(length > 0, length, np.inf).argmin())] if length.any() else []
    rate = rate_of(hear, shortest, length)
    took = in_parallel(rate.seconds * length, executor.workers)
    return Plan(
        [f"{audio_text(len(sources), seconds.sum())}, and the mixtures, from {dataset.root}"],
        [f"an audit, {out}"],
        [
            starting,
            Stage("auditing songs", took, counted(len(songs), "song")),
        ],
        [rate.text("auditing")],
    )


def plan_corrupt(dataset: Dataset, out: Path, *, format: str = "flac", workers: int | None = None) -> Plan:
    """What `restem corrupt` would do with a dataset; the arguments are those of `restem.corrupt`."""
    sources, seconds, by_song = _stems(dataset)
    executor = Processes.of(workers)
    starting = Stage("starting", starting_s(executor.workers))

    def copy(index: int) -> float:
        measure(*sources[index])
        return _written(sources[index], format, "PCM_24")

    rate = rate_of(copy, range(len(sources)), seconds)
    took = in_parallel((rate.seconds * seconds[song].sum() for song in by_song.values()), executor.workers)
    return Plan(
        [f"{audio_text(len(sources), seconds.sum())}, from {dataset.root}"],
        [f"a noisy copy, about {size_text(rate.bytes * seconds.sum())}, in {out}"],
        [
            starting,
            Stage("corrupting", took, counted(len(by_song), "song")),
        ],
        [rate.text("decoding and writing")],
    )


def plan_export(
    run: Run,
    out: Path,
    *,
    layout: str = "table",
    link: str = "symlink",
    split: Path | None = None,
    audit: Path | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> Plan:
    """What `restem export` would do with a run; the arguments are those of `restem.export`. audit: to remove bleed."""
    stages, rates = [Stage("starting", starting_s(1))], []
    if audit is not None:
        removal, rate = _removal(open_audit(audit), run, workers)
        stages.append(removal)
        rates.append(rate.text("taking out bleed of"))
    rows = run.labels.filter(~run.labels["verdict"].is_in(WITHOUT_SOUND))
    names = [split_stem_name(stem) for stem in rows["stem"]]
    sources: list[Source] = [(run.dataset_root / path, stream or 0) for path, stream in names]
    seconds = rows["seconds"].fill_null(0.0).to_numpy()
    reads = [f"the run {run.path}", f"{audio_text(len(sources), seconds.sum())}, from {run.dataset_root}"]
    if is_training_layout(layout):
        rate = rate_of(lambda index: _written(sources[index], "wav", "FLOAT"), range(len(sources)), seconds)
        # A class is written from its stems, and the mixture once more from all.
        passes = 2 if layout in ("musdb", "demucs") else 1
        size = size_text(passes * rate.bytes * seconds.sum())
        stage = Stage("exporting", passes * rate.seconds * float(seconds.sum()), counted(len(sources), "stem"))
        rates.append(rate.text("decoding and writing"))
        return Plan(reads, [f"at most {size}, to {out}"], [*stages, stage], rates)
    writes = [f"{counted(len(sources), 'stem')} to {out}, as {link}s"]
    if link == "copy":
        rate = rate_of(lambda index: float(len(sources[index][0].read_bytes())), range(len(sources)), seconds)
        writes = [f"about {size_text(rate.bytes * seconds.sum())}, to {out}"]
        stages.append(Stage("copying", 2 * rate.seconds * float(seconds.sum()), counted(len(sources), "stem")))
        rates.append(rate.text("reading"))
    else:
        stages.append(Stage("linking", 0.0, counted(len(sources), "stem")))
    if split is not None:
        several = (rows["refined"].str.contains("+", literal=True) & (rows["verdict"] != "unsure")).to_numpy()
        rate = separation_rate(load_separator(split), 0.25, 0, choose_device(device))
        taken_apart = float(seconds[several].sum())
        stages.append(Stage("splitting", rate.seconds * taken_apart, counted(int(several.sum()), "stem")))
        rates.append(rate.text("separating"))
    return Plan(reads, writes, stages, rates)


def _removal(audit: Audit, run: Run, workers: int | None) -> tuple[Stage, Rate]:
    """Taking bleed out of the songs in which it was found. How many stems get better is not known before."""
    songs = songs_with_bleed(audit, run)
    seconds = dict(run.labels.select("stem", "seconds").rows())
    length = np.array([sum(seconds[name] or 0.0 for name, _, _ in song.stems) for song in songs])

    def confirm(number: int) -> float:
        confirmed(songs[number])
        return 0.0

    rate = rate_of(confirm, [int(length.argmin())] if songs else [], length)
    took = in_parallel(rate.seconds * length, Processes.of(workers).workers)
    return Stage("taking out bleed", took, counted(len(songs), "song")), rate


def _stems(dataset: Dataset) -> tuple[list[Source], np.ndarray, Mapping[str, list[int]]]:
    """The files, their lengths in seconds, and for each song the indices of its stems."""
    by_song: dict[str, list[int]] = {}
    for index, stem in enumerate(dataset.stems):
        by_song.setdefault(stem.song, []).append(index)
    sources: list[Source] = [(dataset.file(stem), stem.stream or 0) for stem in dataset.stems]
    return sources, lengths(sources), by_song


def _written(source: Source, format: str, subtype: str) -> float:
    """Decodes a stem and writes it to memory, in blocks; returns the number of bytes."""
    file = io.BytesIO()
    with (
        open_audio(*source) as audio,
        soundfile.SoundFile(file, "w", audio.info.rate_hz, audio.info.channels, subtype, format=format.upper()) as out,
    ):
        for block in audio.blocks():
            out.write(block.T)
    return float(len(file.getvalue()))
