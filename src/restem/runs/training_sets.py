"""Exports a run as the training set of another program: whole songs, one WAV per class, all of equal length.

    musdb        OUT/train|test/SONG/<class>.wav, mixture.wav           musdb, museval, Demucs --musdb
    demucs       OUT/train|valid|test/SONG/<class>.wav, mixture.wav     Demucs' `dset.wav`
    open-unmix   OUT/train|valid|test/SONG/<class>.wav                  its `trackfolder_fix` and `trackfolder_var` take
                                                                        every other file for an interferer
    msst-1       OUT/train/SONG/<class>.wav; OUT/valid/SONG/... also with mixture.wav, as in msst-2 and msst-3
    msst-2       OUT/train/<class>/SONG.wav
    msst-3       OUT/train.csv: instrum,path; files as in msst-2
    audiofolder  OUT/train|valid|test/<class>/SONG.wav, OUT/<split>/metadata.csv: file_name,label,song,license

Several stems of one class are summed, and the mixture is the sum of all that is exported. A class that a song does not
hold is silence where the program needs the file, and not there where it does not. Files are 32-bit float, which a sum
cannot clip. Songs without a split are `train`; where no song is `valid`, those that MUSDB18 keeps aside are, or a
tenth. Stems with several labels or none, unsure and failed ones are left out.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeGuard, get_args

import numpy as np

from restem._version import __version__
from restem.addresses import as_path
from restem.audio.reader import BLOCK_FRAMES, probe
from restem.audio.writer import write_blocks
from restem.dataset.known_songs import kept_aside_in_musdb18
from restem.dataset.mixdown import Sound, check_summable, sum_blocks
from restem.dataset.splits import TEST, TRAIN, VALID
from restem.dataset.table import split_stem_name
from restem.errors import AudioError, DatasetError, UsageError
from restem.executing.interface import Executor
from restem.executing.processes import IN_THIS_PROCESS
from restem.fetching import put_below
from restem.file_names import Names, safe_name
from restem.files import write_json, written_aside
from restem.progress import Progress, stage
from restem.runs.card import NOT_STATED, card_text, count_licences, licence_of, licence_warning, summary, title
from restem.runs.croissant import CROISSANT_FILE, AudioFile, croissant
from restem.runs.export import MANIFEST_FILE, ExportSummary, check_free, new_folder
from restem.runs.processed import ProcessedStems
from restem.runs.run import Run
from restem.taxonomy import DEFAULT_CLASSES

TrainingLayout = Literal["musdb", "demucs", "open-unmix", "msst-1", "msst-2", "msst-3", "audiofolder"]
TRAINING_LAYOUTS: tuple[TrainingLayout, ...] = get_args(TrainingLayout)

MIXTURE = "mixture"
CARD_FILE = "README.md"
_VALID_SHARE = 0.1
_BY_CLASS = ("msst-2", "msst-3", "audiofolder")


@dataclass(frozen=True, eq=False)
class _Song:
    """A song to be written. classes: class -> the stems that are summed to it, as names and as sounds."""

    name: str
    folder: str
    split: str
    stems: Mapping[str, Sequence[str]]
    classes: Mapping[str, Sequence[Sound]]

    @property
    def sounds(self) -> list[Sound]:
        return [sound for sounds in self.classes.values() for sound in sounds]


def is_training_layout(layout: str) -> TypeGuard[TrainingLayout]:
    """Whether a layout of an export is one of these."""
    return layout in TRAINING_LAYOUTS


def export_training_set(
    run: Run,
    out: Path | str,
    layout: TrainingLayout,
    *,
    licence: str = "",
    processed: ProcessedStems | None = None,
    executor: Executor = IN_THIS_PROCESS,
    progress: Progress | None = None,
) -> ExportSummary:
    """Writes the songs that `run` refined, with its refined labels, as `layout` says, to the new folder `out`.

    processed: what is written in the place of stems.
    Raises UsageError when `musdb` is asked for and the classes are not its four; DatasetError when the dataset is
    missing, `out` holds something or lies in the dataset, or nothing is left to export.
    """
    out = as_path(out).expanduser().absolute()
    if not run.dataset_root.is_dir():
        raise DatasetError(
            f"{run.dataset_root}: the dataset that {run.place} refined is not there; name its new place."
        )
    run.check_outside(out)
    run.check_unchanged()
    check_free(out)
    if layout == "musdb" and set(run.taxonomy.classes) != set(DEFAULT_CLASSES):
        raise UsageError(
            f"musdb has the classes {','.join(DEFAULT_CLASSES)}, and the run {','.join(run.taxonomy.classes)}."
        )
    processed = processed or {}
    songs, left_out = _songs(run, layout, processed)
    report, written, files = stage(progress, "exporting"), list[_Song](), list[AudioFile]()
    with new_folder(out) as folder:
        write = partial(_write_safely, run.taxonomy.classes, layout, folder)
        jobs = [(song, _licences(run, song, licence)) for song in songs]
        results: dict[int, list[AudioFile] | str] = {}
        for index, result in executor.map_unordered(write, jobs, lost=_lost):
            results[index] = result
            report(len(results), len(songs))
        for index, song in enumerate(songs):
            if isinstance(result := results[index], str):
                left_out[f"in songs that cannot be mixed ({result})"] += len(song.sounds)
            else:
                files += result
                written.append(song)
        if not written:
            reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
            raise DatasetError(f"{run.place}: no song is left to export as {layout} ({reasons}).")
        _write_lists(files, layout, folder, out)
        write_json(folder / MANIFEST_FILE, _manifest(run, written, layout, licence, left_out, processed))
        stems = {name: song.split for song in written for names in song.stems.values() for name in names}
        licences = count_licences(run, stems, licence)
        changed = len(set(stems) & set(processed))
        with written_aside(folder / CARD_FILE) as aside:
            aside.write_text(card_text(run, stems, left_out, licences, changed), encoding="utf-8")
        warning = licence_warning(licences)
        described = f"{summary(run, stems, changed)} {warning}".strip()
        write_json(folder / CROISSANT_FILE, croissant(folder, files, title(run), described, licences))
    return ExportSummary(out, layout, len(stems), dict(left_out), warning=warning, processed=changed)


def _songs(run: Run, layout: TrainingLayout, processed: ProcessedStems) -> tuple[list[_Song], Counter[str]]:
    """The songs to be written, and why stems are left out."""
    left_out: Counter[str] = Counter()
    chosen: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in run.labels.iter_rows(named=True):
        labels = run.taxonomy.parse(row["refined"])
        if row["verdict"] not in ("kept", "changed"):
            left_out[row["verdict"]] += 1
        elif len(labels) != 1:
            left_out["several labels" if labels else "no label"] += 1
        else:
            chosen[row["song"]][next(iter(labels))].append(row["stem"])
    splits, names = _splits(list(chosen), run.splits, layout), Names()
    songs = []
    for song, stems in chosen.items():
        folder = names.take(safe_name(song.removeprefix(f"{splits[song]}/")))
        classes: dict[str, list[Sound]] = {}
        try:
            for name, members in stems.items():
                classes[name] = [_sound(run, stem, processed) for stem in members]
        except AudioError as error:
            left_out[f"in songs that cannot be mixed ({error})"] += sum(map(len, stems.values()))
            continue
        songs.append(_Song(song, folder, splits[song], stems, classes))
    return songs, left_out


def _sound(run: Run, stem: str, processed: ProcessedStems) -> Sound:
    if stem in processed:
        return Sound(processed[stem].file, None, probe(processed[stem].file))
    path, stream = split_stem_name(stem)
    return Sound(run.dataset_root / path, stream, probe(run.dataset_root / path, stream or 0))


def _splits(songs: Sequence[str], stated: Mapping[str, str], layout: TrainingLayout) -> dict[str, str]:
    """Song -> `train`, `valid` or `test`."""
    splits = {song: stated.get(song) if stated.get(song) in (VALID, TEST) else TRAIN for song in songs}
    if layout == "musdb":
        # musdb knows the songs to validate on by name.
        return {song: TEST if split == TEST else TRAIN for song, split in splits.items()}
    learned = sorted(song for song, split in splits.items() if split == TRAIN)
    if VALID not in splits.values() and len(learned) > 1:
        kept_aside = kept_aside_in_musdb18(learned)
        if not 0 < len(kept_aside) <= len(learned) / 2:
            count = max(1, round(_VALID_SHARE * len(learned)))
            kept_aside = set(np.random.default_rng(0).permutation(learned)[:count].tolist())
        splits |= dict.fromkeys(kept_aside, VALID)
    return {song: str(split) for song, split in splits.items()}


_Job = tuple[_Song, Mapping[str, str]]
"""A song to be written, and the licence of each of its stems."""


def _licences(run: Run, song: _Song, licence: str) -> dict[str, str]:
    return {stem: licence_of(run, stem, licence) for stems in song.stems.values() for stem in stems}


def _write_safely(classes: Sequence[str], layout: TrainingLayout, folder: Path, job: _Job) -> list[AudioFile] | str:
    """What `_write_song` returns, or why nothing could be written."""
    try:
        with put_below(folder) as here:
            return _write_song(*job, classes, layout, here)
    except AudioError as error:
        return str(error)


def _lost(job: _Job, reason: str) -> str:
    return f"{job[0].name}: {reason}"


def _write_song(
    song: _Song, licence_of_stem: Mapping[str, str], classes: Sequence[str], layout: TrainingLayout, folder: Path
) -> list[AudioFile]:
    """Writes the files of one song; raises AudioError when its stems cannot be summed or decoded."""
    files: list[AudioFile] = []
    check_summable(song.sounds)
    frames = max(sound.info.frames for sound in song.sounds)
    channels = max(sound.info.channels for sound in song.sounds)

    def write(label: str, below_split: str, sounds: Sequence[Sound], stems: Iterable[str]) -> None:
        path = folder / song.split / below_split
        path.parent.mkdir(parents=True, exist_ok=True)
        write_blocks(path, _padded(sounds, channels, frames), song.sounds[0].info.rate_hz, channels, "FLOAT")
        licences = tuple(sorted({licence_of_stem[stem] for stem in stems}))
        files.append(AudioFile(f"{song.split}/{below_split}", song.name, song.split, label, licences))

    if layout in _BY_CLASS and (song.split != VALID or layout == "audiofolder"):
        for name, sounds in song.classes.items():
            write(name, f"{name}/{song.folder}.wav", sounds, song.stems[name])
        return files
    for name in classes:
        write(name, f"{song.folder}/{name}.wav", song.classes.get(name, ()), song.stems.get(name, ()))
    if layout in ("musdb", "demucs") or (layout.startswith("msst") and song.split != TRAIN):
        write(MIXTURE, f"{song.folder}/{MIXTURE}.wav", song.sounds, chain.from_iterable(song.stems.values()))
    return files


def _padded(sounds: Sequence[Sound], channels: int, frames: int) -> Iterator[np.ndarray]:
    """The sum of `sounds` as (channel, sample) blocks of `frames` samples in all; silence if there are none."""
    position = 0
    for block in sum_blocks(sounds) if sounds else ():
        block = np.broadcast_to(block[:, : frames - position], (channels, min(block.shape[1], frames - position)))
        position += block.shape[1]
        yield block
    while position < frames:
        length = min(BLOCK_FRAMES, frames - position)
        position += length
        yield np.zeros((channels, length), np.float32)


def _write_lists(files: Sequence[AudioFile], layout: TrainingLayout, folder: Path, out: Path) -> None:
    """Writes the tables that MSST type 3 and AudioFolder need. out: where `folder` will be."""
    if layout == "msst-3":
        rows = [{"instrum": one.label, "path": str(out / one.path)} for one in files if one.split == TRAIN]
        _write_csv(folder / "train.csv", rows)
    if layout == "audiofolder":
        by_split: dict[str, list[dict[str, str]]] = defaultdict(list)
        for one in files:
            by_split[one.split].append(
                {
                    "file_name": one.path.removeprefix(f"{one.split}/"), "label": one.label, "song": one.song,
                    "license": "; ".join(name for name in one.licences if name != NOT_STATED),
                }
            )  # fmt: skip
        for split, rows in by_split.items():
            _write_csv(folder / split / "metadata.csv", rows)


def _write_csv(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["instrum", "path"])
        writer.writeheader()
        writer.writerows(rows)


def _manifest(
    run: Run,
    songs: Sequence[_Song],
    layout: str,
    licence: str,
    left_out: Mapping[str, int],
    processed: ProcessedStems,
) -> dict[str, Any]:
    notes = {
        stem: dict(processed[stem].note)
        for song in songs
        for names in song.stems.values()
        for stem in names
        if stem in processed
    }
    return {
        "restem": __version__,
        "licence": licence or str(run.description.get("licence", "")),
        "layout": layout,
        "source": str(run.dataset_root.absolute()),
        "fingerprint": run.description["dataset"].get("fingerprint"),
        "run": str(run.place.absolute()),
        "classes": list(run.taxonomy.classes),
        "left_out": dict(left_out),
        "songs": {song.name: {"split": song.split, "folder": song.folder, "stems": dict(song.stems)} for song in songs},
        **({"processed": notes} if notes else {}),
    }
