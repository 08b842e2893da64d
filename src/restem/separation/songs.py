"""Separates songs: any readable audio file in, one file per class out.

    OUT/<song>/<class>.<ext>        at the song's own rate, length and channels
    OUT/<song>/residual.<ext>       on request: the song minus the written stems
    OUT/<song>/restem.json          the song, separator and options that made them

Audio is processed in blocks from the decoder to the writers, so memory does not grow with the song. A song's folder
appears when it is complete; an existing one, made by the same request, is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from restem._version import __version__
from restem.addresses import as_path
from restem.audio.pcm import to_channels
from restem.audio.reader import BLOCK_FRAMES, HIGHEST_RATE_HZ, LOWEST_RATE_HZ, first_unusable, open_audio, probe
from restem.audio.resample import resample_blocks
from restem.audio.writer import open_writer
from restem.content import file_sha256
from restem.devices import choose_device, use_threads
from restem.errors import AudioError, RestemError, UsageError
from restem.executing.choosing import executor_for
from restem.file_names import Names, safe_name
from restem.files import folder_written_aside, write_json
from restem.progress import Progress, stage
from restem.resuming import WorkRecord
from restem.separation.checkpoints import opened_separator
from restem.separation.separator import Separator
from restem.separation.song_files import audio_files, song_name
from restem.separation.streaming import check_pieces, separate_blocks

Format = Literal["wav", "flac", "ogg", "mp3"]
Depth = Literal["16", "24", "float"]

MANIFEST_FILE = "restem.json"
RESIDUAL = "residual"

# More than any format for listening has: an array with more is the wrong way round.
_MOST_CHANNELS = 64

_SUBTYPES = {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}


@dataclass(frozen=True)
class SeparationSummary:
    """What became of the songs.

    Attributes
    ----------
    done
        The folders of the songs, those that were there already included.
    failed
        Songs that could not be separated, each with the reason.
    clipped
        Folders in which something was louder than full scale, and was cut.
    notes
        Songs that were separated although something is wrong with their files, and what.
    """

    done: tuple[Path, ...]
    failed: dict[str, str]
    clipped: tuple[Path, ...]
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Request:
    """The settings of a separation, the same for every song."""

    separator: Separator
    fingerprint: str
    names: tuple[str, ...]
    residual: bool
    overlap: float
    shifts: int
    seed: int
    format: Format
    depth: Depth
    device: str
    threads: int

    @property
    def subtype(self) -> str | None:
        """The libsndfile encoding, or None for formats without a choice."""
        return _SUBTYPES[self.depth] if self.format in ("wav", "flac") else None

    def describe(self, song: Path) -> dict[str, Any]:
        """The content of a song's manifest; different requests have different ones."""
        try:
            content = file_sha256(song)
        except OSError as error:
            raise AudioError(f"{song}: {(error.strerror or 'cannot be read').lower()}.") from error
        return {
            "restem": __version__,
            "licence": self.separator.config.licence,
            "song": str(song.absolute()),
            "sha256": content,
            "separator": self.fingerprint,
            "stems": list(self.names),
            "residual": self.residual,
            "overlap": self.overlap,
            "shifts": self.shifts,
            "seed": self.seed,
            "format": self.format,
            "depth": self.depth,
        }


def separate(
    model: Separator | Path | str,
    songs: Sequence[Path | str] | Path | str,
    out: Path | str,
    *,
    stems: Sequence[str] = (),
    residual: bool = False,
    overlap: float = 0.25,
    shifts: int = 0,
    seed: int = 0,
    format: Format = "wav",
    depth: Depth = "16",
    device: str = "auto",
    ray: str | None = None,
    progress: Progress | None = None,
) -> SeparationSummary:
    """Takes songs apart, at their own rate and length, into one file per class.

    Every song gets a folder in `out`. One that is there already, made by the same call, is left as it is. A song that
    cannot be separated is reported, and the others go on.

    Parameters
    ----------
    model
        A separator, its folder, or a pretrained model of the package `demucs`: its name, if its cache has it, or file.
    songs
        Audio files, of any rate and number of channels, or one, or a folder of them, see `audio_files`. More channels
        than the separator has are mixed down for it; the stems of a song with one channel have one. A file called
        `mixture` or `mix` is named after its folder, as `evaluate` looks for it.
    out
        The folder for the songs' folders.
    stems
        The classes to write; by default all.
    residual
        Also write what the stems leave of the song.
    overlap
        The share of a piece that the next one repeats: songs are taken apart piece by piece.
    shifts
        Over how many random shifts of the song the stems are averaged, which takes as many times as long.
    seed
        Random seed of the shifts.
    format
        `wav`, `flac`, `ogg` or `mp3`.
    depth
        Bits of WAV and FLAC: `16`, `24`, or `float` for WAV.
    device
        `auto`, `cpu`, `cuda` or `mps`.
    ray
        None for this process; else a Ray cluster, on which songs are separated side by side: `local`, `auto` or
        HOST:PORT (docs/scale.md).
    progress
        Called with the stage, the seconds of audio done and in all.

    Returns
    -------
    SeparationSummary
        The folders, and what failed.

    Raises
    ------
    UsageError
        For an option that cannot be.
    RestemError
        For a separator that cannot be used.

    Examples
    --------
    >>> summary = restem.separate("separator", ["song.wav"], "separated", device="cpu")
    >>> sorted(path.name for path in summary.done[0].glob("*.wav"))
    ['bass.wav', 'drums.wav', 'other.wav', 'vocals.wav']
    """
    check_pieces(overlap, shifts)
    separator = model if isinstance(model, Separator) else opened_separator(model)
    classes = separator.config.classes
    if unknown := [name for name in stems if name not in classes]:
        raise UsageError(f"The separator has no stem {unknown[0]!r}; it has {', '.join(classes)}.")
    if depth == "float" and format != "wav":
        raise UsageError(f"{format.upper()} files cannot hold float samples; use `format='wav'`.")
    names = tuple(name for name in classes if not stems or name in stems)
    if residual and RESIDUAL in names:
        raise UsageError(f"The separator has a stem {RESIDUAL!r} of its own; leave out `residual`.")
    executor = executor_for(1 if ray is None else None, ray)
    device = executor.choose_device(device)
    request = _Request(
        separator, separator.fingerprint(), names, residual, overlap, shifts, seed, format, depth, device,
        torch.get_num_threads(),
    )  # fmt: skip
    out = as_path(out)
    taken = Names()
    paths = audio_files([songs]) if isinstance(songs, Path | str) else [as_path(song) for song in songs]
    folders = [out / taken.take(safe_name(song_name(path))) for path in paths]
    failed: dict[str, str] = {}
    seconds: dict[int, float] = {}
    for number, path in enumerate(paths):
        try:
            seconds[number] = probe(path).seconds
        except AudioError as error:
            failed[str(path)] = str(error)
    left, total, before = list(seconds), sum(seconds.values()), 0.0
    reached = stage(progress, "separating")
    reached(0, round(total))

    def within_song(part_s: float) -> None:
        reached(round(before + part_s), round(total))

    # What runs elsewhere is heard of when it has ended.
    task = partial(_separate_safely, request, within_song if ray is None else None)
    results: dict[int, tuple[float, str] | str] = {}
    cpus, gpus = (request.threads, 0) if device == "cpu" else (1, 1)
    jobs = [(paths[number], folders[number]) for number in left]
    for index, result in executor.map_unordered(task, jobs, cpus=cpus, gpus=gpus, lost=_lost):
        results[left[index]] = result
        before += seconds[left[index]]
        within_song(0.0)
    done, clipped, notes = [], [], {}
    for number, result in sorted(results.items()):
        if isinstance(result, str):
            failed[str(paths[number])] = result
            continue
        peak, note = result
        if peak > 1.0 and request.subtype != "FLOAT":
            clipped.append(folders[number])
        if note:
            notes[str(paths[number])] = note
        done.append(folders[number])
    return SeparationSummary(tuple(done), failed, tuple(clipped), notes)


def separate_audio(
    model: Separator | Path | str,
    audio: np.ndarray,
    rate_hz: int,
    *,
    overlap: float = 0.25,
    shifts: int = 0,
    seed: int = 0,
    device: str = "auto",
) -> dict[str, np.ndarray]:
    """Takes a song apart that is in memory.

    Parameters
    ----------
    model
        A separator, its folder, or a pretrained model of the package `demucs`: its name, if its cache has it, or file.
    audio
        The song, (channel, sample) or (sample,), floats in [-1, 1].
    rate_hz
        Its sampling rate in Hz; any will do.
    overlap, shifts, seed, device
        See `separate`.

    Returns
    -------
    dict[str, numpy.ndarray]
        For each class (channel, sample) float32, of the song's rate and length. There are as many channels as the song
        has, at most as many as the separator has.

    Raises
    ------
    UsageError
        For an array of another shape or type, and for an option that cannot be.
    AudioError
        For samples that are not finite, or far too loud.
    RestemError
        For a separator that cannot be used.

    Examples
    --------
    >>> noise = numpy.random.default_rng(0).uniform(-0.1, 0.1, (2, 8000))
    >>> stems = restem.separate_audio("separator", noise, rate_hz=8000, device="cpu")
    >>> list(stems), stems["vocals"].shape
    (['vocals', 'drums', 'bass', 'other'], (2, 8000))
    """
    check_pieces(overlap, shifts)
    sound = _checked(audio, rate_hz)
    separator = model if isinstance(model, Separator) else opened_separator(model)
    device = choose_device(device)
    config = separator.config
    channels, frames = min(sound.shape[0], config.channels), sound.shape[1]
    # The blocks of a file, so that the stems are the same to the last bit.
    blocks = (to_channels(sound[:, i : i + BLOCK_FRAMES], channels) for i in range(0, frames, BLOCK_FRAMES))
    stems = separate_mixture(separator, blocks, rate_hz, channels, overlap, device, shifts, seed)
    empty = np.zeros((len(config.classes), channels, 0), np.float32)
    outputs = np.concatenate([empty, *_exactly(stems, frames)], axis=2)
    return dict(zip(config.classes, outputs, strict=True))


def _checked(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    """`audio` as (channel, sample) float32; raises as `separate_audio` does."""
    sound = np.atleast_2d(np.asarray(audio))
    if sound.ndim != 2 or not np.issubdtype(sound.dtype, np.floating):
        raise UsageError(
            f"`audio` must hold floats, (channel, sample) or (sample,), not {sound.dtype} of the shape {sound.shape}."
        )
    if sound.shape[0] > max(_MOST_CHANNELS, sound.shape[1]):
        raise UsageError(f"`audio` has the shape {sound.shape}; it must be (channel, sample), so transpose it.")
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise UsageError(f"`rate_hz` must be from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}, not {rate_hz}.")
    with np.errstate(over="ignore"):  # what overflows is infinite, which is told below
        sound = sound.astype(np.float32, copy=False)
    if (unusable := first_unusable(sound)) is not None:
        raise AudioError(f"`audio` holds {unusable[1]} at the index {unusable[0]}.")
    return sound


def _separate_safely(
    request: _Request, report: Callable[[float], None] | None, job: tuple[Path, Path]
) -> tuple[float, str] | str:
    """Makes the folder of a song, see `_separate_song`; or returns why not. job: song and folder."""
    use_threads(request.device, request.threads)
    try:
        return _separate_song(*job, request, report or (lambda _: None))
    except (RestemError, OSError) as error:
        return str(error)


def _lost(job: tuple[Path, Path], reason: str) -> str:
    return f"{job[0]}: cannot be separated: {reason}."


def _separate_song(song: Path, folder: Path, request: _Request, report: Callable[[float], None]) -> tuple[float, str]:
    """Makes the folder of a song, unless it exists; returns the largest sample written, and the note on the song."""
    record = WorkRecord(folder, MANIFEST_FILE, request.describe(song), "separation")
    if record.begin():
        return 0.0, str(record.content.get("note", ""))
    try:
        with folder_written_aside(folder) as aside:
            peak, note = _write_stems(song, aside, request, report)
            write_json(aside / MANIFEST_FILE, {**record.content, "note": note, "finished": True})
    except OSError:
        if record.begin():  # another process has made the same meanwhile
            return 0.0, str(record.content.get("note", ""))
        raise
    return peak, note


def _write_stems(song: Path, folder: Path, request: _Request, report: Callable[[float], None]) -> tuple[float, str]:
    """Writes the stems of a song; returns the largest sample, and the note on the song."""
    config = request.separator.config
    chosen = [config.classes.index(name) for name in request.names]
    peak = 0.0
    with ExitStack() as files:
        audio = files.enter_context(open_audio(song))
        rate_hz, channels = audio.info.rate_hz, min(audio.info.channels, config.channels)
        mixture = (to_channels(block, channels) for block in audio.blocks())
        heard, kept = _twice(mixture, request.residual)
        stems = separate_mixture(
            request.separator, heard, rate_hz, channels, request.overlap, request.device, request.shifts, request.seed
        )
        names = [*request.names, *([RESIDUAL] if request.residual else [])]
        writers = [
            files.enter_context(open_writer(folder / f"{name}.{request.format}", rate_hz, channels, request.subtype))
            for name in names
        ]
        written = 0
        for block in _exactly(stems, audio.info.frames, lambda: round(audio.seconds_read * rate_hz)):
            parts = list(block[chosen])
            if request.residual:
                parts.append(kept(block.shape[2]) - np.sum(parts, axis=0))
            for write, part in zip(writers, parts, strict=True):
                peak = max(peak, float(np.abs(part).max(initial=0.0)))
                write(part)
            written += block.shape[2]
            report(written / rate_hz)
    return peak, audio.note


def separate_mixture(
    separator: Separator,
    mixture: Iterator[np.ndarray],
    rate_hz: int,
    channels: int,
    overlap: float,
    device: str,
    shifts: int = 0,
    seed: int = 0,
) -> Iterator[np.ndarray]:
    """Yields `(class, channel, sample)` blocks for `(channel, sample)` blocks of any rate and number of channels.

    Resampling to the separator's rate and back may make the output one sample longer or shorter.
    """
    config = separator.config
    fitting = (to_channels(block, config.channels) for block in mixture)
    heard = resample_blocks(fitting, rate_hz, config.rate_hz, config.channels)
    # All sources go through one resampler, as its channels.
    flat = (
        _with_channels(block, channels).reshape(-1, block.shape[2])
        for block in separate_blocks(separator, heard, overlap=overlap, shifts=shifts, seed=seed, device=device)
    )
    for block in resample_blocks(flat, config.rate_hz, rate_hz, len(config.classes) * channels):
        yield block.reshape(len(config.classes), channels, -1)


def _with_channels(outputs: np.ndarray, channels: int) -> np.ndarray:
    """(class, channel, sample) with the channels of the song: mono is the mean of two, more channels repeat them."""
    if outputs.shape[1] > channels:
        return outputs.mean(axis=1, keepdims=True)
    return outputs[:, np.arange(channels) % outputs.shape[1]]


def _exactly(blocks: Iterator[np.ndarray], frames: int, found: Callable[[], int] | None = None) -> Iterator[np.ndarray]:
    """The `(class, channel, sample)` blocks, cut or padded with silence to `frames`.

    found: the length that the song turned out to have in the end, if it may be shorter.
    """
    left, last = frames, None
    for block in blocks:
        last = block[:, :, :left]
        left -= last.shape[2]
        if last.shape[2]:
            yield last
    if found is not None:
        left -= frames - found()
    if left > 0 and last is not None:
        yield np.zeros((*last.shape[:2], left), np.float32)


def _twice(blocks: Iterator[np.ndarray], keep: bool) -> tuple[Iterator[np.ndarray], Callable[[int], np.ndarray]]:
    """The blocks, and a function that returns the next n of the samples that have passed a second time."""
    waiting: list[np.ndarray] = []

    def passing() -> Iterator[np.ndarray]:
        for block in blocks:
            if keep:
                waiting.append(block)
            yield block

    def again(count: int) -> np.ndarray:
        joined = np.concatenate(waiting, axis=1)
        waiting[:] = [joined[:, count:]]
        found = joined[:, :count]
        return np.pad(found, ((0, 0), (0, count - found.shape[1])))

    return passing(), again
