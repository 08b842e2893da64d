"""Audio that can be read at any place fast, for training separators.

A WAV file of the wanted rate is read where it lies; of anything else a copy is made once: samples of 16 bits, scaled so
that the loudest fits, at the store's rate and channel count, memory-mapped. Either way the levels are kept.

An entry is one file, `<key>.pcm`: a JSON header padded to 4096 bytes, the mean square of every 0.1 s (float32), then
`(frame, channel)` samples (int16), if there is a copy. Keys are those of the feature store, and so are the promises:
an entry appears when it is whole, and may be deleted at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from restem.audio.reader import open_audio
from restem.audio.resample import resample_blocks
from restem.audio.store import Source, content_key, fill
from restem.errors import AudioError, RestemError
from restem.executing.interface import Executor
from restem.executing.processes import IN_THIS_PROCESS
from restem.files import written_aside
from restem.progress import Report

# The length of a level in seconds.
LEVEL_S = 0.1

_HEADER_BYTES = 4096
_FORMAT = "restem pcm 1"

# Loud enough for anything; what is louder is scaled down.
_FULL_SCALE = 32767.0


@dataclass(frozen=True)
class Pcm:
    """The audio of one stem.

    power: (level,) mean square of every `LEVEL_S`. copy: (frame, channel) int16, and scale, what a sample of 1 is
    worth; or None, where `path` itself is read.
    """

    path: Path
    frames: int
    channels: int
    power: np.ndarray
    scale: float
    copy: np.ndarray | None

    def read(self, start: int, frames: int) -> np.ndarray:
        """`frames` samples from `start` on, (channel, frame) float32; silence before the stem and after it.

        Raises AudioError when the file has gone.
        """
        sound = np.zeros((self.channels, frames), np.float32)
        first, stop = min(max(0, start), self.frames), min(max(0, start + frames), self.frames)
        if first < stop:
            sound[:, first - start : stop - start] = self._samples(first, stop).T
        return sound

    def _samples(self, first: int, stop: int) -> np.ndarray:
        """(frame, channel) float32."""
        if self.copy is not None:
            return self.copy[first:stop].astype(np.float32) * np.float32(self.scale)
        try:
            samples, _ = soundfile.read(self.path, stop - first, first, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, OSError) as error:
            raise AudioError(f"{self.path}: cannot be read any more; run the command again.") from error
        return to_channels(samples.T, self.channels).T


class PcmStore:
    """The entries of one folder for one rate and number of channels."""

    def __init__(self, folder: Path, rate_hz: int, channels: int) -> None:
        self.folder = folder
        self.rate_hz = rate_hz
        self.channels = channels

    def entry(self, source: Source) -> Path:
        """The path of a stem's entry, whether it is there or not. Raises AudioError when the file is not."""
        key = content_key(source, _FORMAT, self.rate_hz, self.channels)
        return self.folder / key[:2] / f"{key}.pcm"

    def load(self, source: Source) -> Pcm | None:
        """A stem's audio, or None when its entry has not been made (or is damaged)."""
        entry = self.entry(source)
        try:
            with entry.open("rb") as file:
                header = json.loads(file.read(_HEADER_BYTES))
            levels, frames = header["levels"], header["frames"]
            power = np.fromfile(entry, np.float32, levels, offset=_HEADER_BYTES)
            copy = None
            if header["copied"]:
                offset = _HEADER_BYTES + 4 * levels
                copy = np.memmap(entry, np.int16, "r", offset=offset, shape=(frames, self.channels))
            if len(power) != levels:
                return None
            return Pcm(source[0], frames, self.channels, power, header["scale"], copy)
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None

    def require(self, source: Source) -> Pcm:
        """The audio of a stem that must be there by now; raises RestemError when it has gone."""
        pcm = self.load(source)
        if pcm is None:
            raise RestemError(f"{source[0]}: its audio has gone from {self.folder}; run the command again.")
        return pcm

    def compute(self, source: Source) -> None:
        """Decodes a stem and writes its entry. Raises AudioError when it cannot be decoded."""
        entry = self.entry(source)
        with open_audio(*source) as audio:
            lies_ready = audio.info.encoding.startswith("WAV ") and audio.info.rate_hz == self.rate_hz
        # Two passes, since the scale has to be known before the first sample is written.
        power, frames, peak = self._measure(source)
        scale = max(1.0, peak) / _FULL_SCALE
        try:
            with written_aside(entry) as aside, aside.open("wb") as file:
                header = {
                    "format": _FORMAT,
                    "rate_hz": self.rate_hz,
                    "channels": self.channels,
                    "frames": frames,
                    "levels": len(power),
                    "scale": scale,
                    "copied": not lies_ready,
                }
                file.write(json.dumps(header).encode().ljust(_HEADER_BYTES))
                file.write(power.tobytes())
                if not lies_ready:
                    for block in self._blocks(source):
                        file.write(np.rint(block.T / scale).astype(np.int16).tobytes())
        except OSError as error:
            raise RestemError(
                f"{entry.parent}: cannot be written ({error.strerror}); choose another `cache`."
            ) from error

    def fill(
        self, sources: list[Source], executor: Executor = IN_THIS_PROCESS, report: Report | None = None
    ) -> dict[int, str]:
        """Makes what is missing. Returns the sources that failed: index -> reason. report: as `Store.fill` has it."""
        return fill(sources, self.load, partial(_compute, self), executor, report)

    def _blocks(self, source: Source) -> Iterator[np.ndarray]:
        """The stem at the store's rate and channel count, `(channel, sample)` blocks."""
        with open_audio(*source) as audio:
            heard = (to_channels(block, self.channels) for block in audio.blocks())
            yield from resample_blocks(heard, audio.info.rate_hz, self.rate_hz, self.channels)

    def _measure(self, source: Source) -> tuple[np.ndarray, int, float]:
        """The levels, the number of frames, and the largest sample."""
        length = max(1, round(LEVEL_S * self.rate_hz))
        sums: dict[int, float] = {}
        frames, peak = 0, 0.0
        for block in self._blocks(source):
            peak = max(peak, float(np.abs(block).max()))
            squares = np.square(block, dtype=np.float64).mean(axis=0)
            numbers = (frames + np.arange(len(squares))) // length
            starts = np.flatnonzero(np.diff(numbers, prepend=-1))
            for number, total in zip(numbers[starts].tolist(), np.add.reduceat(squares, starts).tolist(), strict=True):
                sums[number] = sums.get(number, 0.0) + total
            frames += len(squares)
        return np.array(list(sums.values()), np.float32) / np.float32(length), frames, peak


def to_channels(sound: np.ndarray, channels: int) -> np.ndarray:
    """`(channel, sample)` with another number of channels.

    One becomes several alike; several become fewer as the means of every n-th: of 5 in 2, the mean of the first, third
    and fifth on the left.
    """
    have = sound.shape[0]
    if have == channels:
        return sound
    if have < channels:
        return sound[np.arange(channels) % have]
    return np.stack([sound[which::channels].mean(axis=0) for which in range(channels)])


def _compute(store: PcmStore, source: Source) -> str | None:
    """Makes an entry in a worker process; returns why it failed."""
    try:
        store.compute(source)
    except AudioError as error:
        return str(error)
    return None
