"""Takes bleed out of stems, where an audit found it and the stems themselves confirm it.

With S the stems without bleed and X the stems as they are, X[i] = S[i] + sum_j g[i, j] S[j], each term delayed by
d[i, j]. This is solved for S by the series S <- X - B S, which converges because bleed is quieter than its source.

A stem that is confirmed gets better: each gain is measured on every second stretch of 1.5 s and tried on the others,
with the roles exchanged, and in every channel. Where the gains differ, or the quiet cells of the stem do not lose
nearly all that they hold, nothing is taken out: the stem never pauses, or the bleed came through a room. With seed 101
of `benchmarks/bleed_removal.py`, which chose the thresholds, a stem with bleed through a room got worse without this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from restem.audio.level import power_to_db
from restem.audio.pcm import to_channels
from restem.audio.reader import BLOCK_FRAMES, open_audio
from restem.audio.writer import write_audio
from restem.auditing.bleed import centre, ratios

_TOLERANCE = 0.1  # of a gain: so much may it differ between stretches and channels; what stays is 20 dB quieter
_QUIET_QUANTILE = 0.05  # of the cells in which the source is loud: those in which the stem itself pauses
_LEAST_FALL = 0.15  # what their power must fall to; in a room the tail stays, and it falls to 0.25 to 0.5
_ROUNDS = 6  # each leaves at most as much as the loudest bleed is quieter than its source
_SILENT_SHARE = 1e-4  # of a stem's power: a channel with less is not asked


@dataclass(frozen=True)
class Removal:
    """What is taken out of a stem: another one, with a gain (of the amplitude), later by `delay` samples."""

    from_stem: str
    gain: float
    delay: int

    def as_dict(self) -> dict[str, str | float | int]:
        """As manifests have it."""
        gain_db = round(float(power_to_db(self.gain**2)), 3)
        return {"stem": self.from_stem, "bleed_db": gain_db, "delay_samples": self.delay}


Removals = Mapping[str, tuple[Removal, ...]]
"""The stems of a song out of which bleed is taken, and what."""


@dataclass(frozen=True)
class SongBleed:
    """A song whose stems may hold bleed. stems: name, file and audio stream. found: target, source, delay."""

    stems: tuple[tuple[str, Path, int], ...]
    found: tuple[tuple[str, str, int], ...]


def confirmed(song: SongBleed) -> Removals:
    """The bleed that may be taken out of the stems of a song. Raises AudioError when a stem cannot be read."""
    names = [name for name, _, _ in song.stems]
    sounds, rate_hz = _read(song)
    if sounds is None:
        return {}
    removals: dict[str, tuple[Removal, ...]] = {}
    mono = _stretches(sounds.mean(axis=1))
    for target, source, delay in song.found:
        pair = names.index(target), names.index(source)
        gain = _confirmed_gain(mono, sounds, pair, delay, rate_hz)
        if gain is not None:
            removals[target] = (*removals.get(target, ()), Removal(source, gain, delay))
    return removals


def write_without_bleed(song: SongBleed, removals: Removals, files: Mapping[str, Path]) -> None:
    """Writes stems of a song without what `removals` says, as WAV with 32-bit floats. files: stem -> where to."""
    names = [name for name, _, _ in song.stems]
    sounds, rate_hz = _read(song)
    assert sounds is not None
    clean = without_bleed(sounds, names, removals)
    for index, (name, file, stream) in enumerate(song.stems):
        if name in files:
            with open_audio(file, stream) as audio:
                channels, frames = audio.info.channels, audio.info.frames
            write_audio(files[name], clean[index, :channels, :frames], rate_hz, "FLOAT")


def without_bleed(sounds: np.ndarray, names: list[str], removals: Removals) -> np.ndarray:
    """(stem, channel, sample) the stems `names` without what `removals` says is in them."""
    clean = sounds.copy()
    for _ in range(_ROUNDS):
        before = clean.copy()
        for target, parts in removals.items():
            index = names.index(target)
            clean[index] = sounds[index]
            for part in parts:
                clean[index] -= np.float32(part.gain) * _later(before[names.index(part.from_stem)], part.delay)
    return clean


def _confirmed_gain(
    mono: np.ndarray, sounds: np.ndarray, pair: tuple[int, int], delay: int, rate_hz: int
) -> float | None:
    """The gain of bleed between a pair of stems, or None where the stretches or channels do not agree about it."""
    target, source = pair
    halves = [ratios(mono[:, first::2], target, source, delay, rate_hz) for first in (0, 1)]
    if not all(map(len, halves)):
        return None
    gains = [centre(half) for half in halves]
    gain = centre(np.concatenate(halves))
    if gain <= 0 or max(abs(one - gain) for one in gains) > _TOLERANCE * gain:
        return None
    for other, half in zip(gains[::-1], halves, strict=True):
        quiet = [float(np.quantile(np.abs(half - taken) ** 2, _QUIET_QUANTILE)) for taken in (0.0, other)]
        if quiet[1] > _LEAST_FALL * quiet[0]:
            return None
    power = np.mean(sounds[source].astype(np.float64) ** 2, axis=1)
    for channel in np.flatnonzero(power > _SILENT_SHARE * power.sum()).tolist() if len(power) > 1 else ():
        one = centre(ratios(_stretches(sounds[:, channel]), target, source, delay, rate_hz))
        if abs(one - gain) > _TOLERANCE * gain:
            return None
    return gain


def _read(song: SongBleed) -> tuple[np.ndarray | None, int]:
    """(stem, channel, sample) all stems, as long as the longest, and their rate; None where they cannot be compared."""
    parts = []
    for _, file, stream in song.stems:
        with open_audio(file, stream) as audio:
            parts.append((audio.read(), audio.info.rate_hz))
    channels, rate_hz = max(len(sound) for sound, _ in parts), parts[0][1]
    if any(rate != rate_hz or len(sound) not in (1, channels) for sound, rate in parts):
        return None, rate_hz
    sounds = np.zeros((len(parts), channels, max(sound.shape[1] for sound, _ in parts)), np.float32)
    for row, (sound, _) in zip(sounds, parts, strict=True):
        row[:, : sound.shape[1]] = to_channels(sound, channels)
    return sounds, rate_hz


def _stretches(sounds: np.ndarray) -> np.ndarray:
    """(stem, stretch, sample) of (stem, sample), the end filled with silence."""
    count = -(-sounds.shape[1] // BLOCK_FRAMES)
    padded = np.zeros((len(sounds), count * BLOCK_FRAMES), np.float32)
    padded[:, : sounds.shape[1]] = sounds
    return padded.reshape(len(sounds), count, BLOCK_FRAMES)


def _later(sound: np.ndarray, delay: int) -> np.ndarray:
    """(channel, sample) the sound, later by a number of samples."""
    moved = np.zeros_like(sound)
    if delay > 0:
        moved[:, delay:] = sound[:, :-delay]
    elif delay < 0:
        moved[:, :delay] = sound[:, -delay:]
    else:
        moved[:] = sound
    return moved
