"""Audio with fast random access, for training separators.

A WAV file at the wanted rate is read in place; anything else is copied once: 16-bit samples, scaled so that the peak
fits, at the store's rate and channel count, read part by part. Either way the levels are stored.

After its header (see `entries`) an entry holds the mean square of every 0.1 s (float32), then, if there is a copy,
`(frame, channel)` samples (int16).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from restem.addresses import Address
from restem.audio.entries import HEADER_BYTES, EntryStore, Source
from restem.audio.level import LevelMeter
from restem.audio.reader import AudioReader, open_audio
from restem.audio.resample import resample_blocks
from restem.audio.stored import Rows, StoredArray
from restem.errors import AudioError
from restem.fetching import keeping

_FORMAT = "restem pcm 3"

# Copies are int16; stems whose peak exceeds full scale are scaled down.
_FULL_SCALE = 32767.0
_SCALE_OF_PCM_16 = 1.0 / 32768.0


@dataclass(frozen=True, eq=False)
class Pcm:
    """The audio of one stem.

    power: (level,) mean square of every `LEVEL_S`. copy: (frame, channel) int16, or None where `path` itself is read;
    scale: the factor from int16 to float. note: what is wrong with the file although it could be used, see
    `AudioReader.note`.
    """

    path: Path
    frames: int
    channels: int
    power: np.ndarray
    scale: float
    copy: Rows | None
    note: str = ""

    def read(self, start: int, frames: int) -> np.ndarray:
        """`frames` samples from `start` on, (channel, frame) float32; silence before the stem and after it.

        Raises AudioError when the file can no longer be read.
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


class PcmStore(EntryStore[Pcm]):
    """A store of the audio of stems, at one rate and number of channels."""

    suffix = ".pcm"
    contents = "samples"

    def __init__(self, folder: Path, rate_hz: int, channels: int) -> None:
        super().__init__(folder, _FORMAT, rate_hz, channels)
        self.rate_hz = rate_hz
        self.channels = channels

    def _read(self, source: Source, entry: Path, header: Mapping[str, Any]) -> Pcm:
        levels, frames = header["levels"], header["frames"]
        power = np.fromfile(entry, np.float32, levels, offset=HEADER_BYTES)
        if len(power) != levels:
            raise ValueError("the levels are cut off")
        copy = None
        if header["copied"]:
            offset = HEADER_BYTES + 4 * levels
            copy = StoredArray(entry, np.int16, offset, (frames, self.channels)).checked()
        return Pcm(source[0], frames, self.channels, power, header["scale"], copy, header["note"])

    def _write(self, source: Source, file: BinaryIO) -> Mapping[str, Any]:
        # Two passes, since the scale has to be known before the first sample is written.
        with keeping():
            return self._write_kept(source, file)

    def _write_kept(self, source: Source, file: BinaryIO) -> Mapping[str, Any]:
        meter = LevelMeter(self.rate_hz)
        with open_audio(*source) as audio:
            info = audio.info
            # One channel of a file (a stream below 0) does not lie there alone.
            alone = source[1] >= 0 and not info.mended
            ready = info.container == "WAV" and info.rate_hz == self.rate_hz and alone
            lies_ready = ready and not isinstance(source[0], Address)
            for block in self._blocks(audio):
                meter.add(block)
        power, scale = meter.power.astype(np.float32), max(1.0, meter.peak) / _FULL_SCALE
        if ready and info.codec == "PCM_16":
            scale = _SCALE_OF_PCM_16  # the same samples as read in place
        file.write(power.tobytes())
        if not lies_ready:
            with open_audio(*source) as again:
                for block in self._blocks(again):
                    file.write(np.rint(block.T / scale).astype(np.int16).tobytes())
        return {
            "format": _FORMAT,
            "rate_hz": self.rate_hz,
            "channels": self.channels,
            "frames": meter.samples,
            "levels": len(power),
            "scale": scale,
            "copied": not lies_ready,
            "note": audio.note,
        }

    def _blocks(self, audio: AudioReader) -> Iterator[np.ndarray]:
        """The stem at the store's rate and channel count, `(channel, sample)` blocks."""
        heard = (to_channels(block, self.channels) for block in audio.blocks())
        yield from resample_blocks(heard, audio.info.rate_hz, self.rate_hz, self.channels)


def to_channels(sound: np.ndarray, channels: int) -> np.ndarray:
    """`(channel, sample)` with another number of channels.

    One channel is copied to all. Several are reduced to n by averaging every n-th: from 5 to 2, the left channel is the
    mean of the first, third and fifth.
    """
    have = sound.shape[0]
    if have == channels:
        return sound
    if have < channels:
        return sound[np.arange(channels) % have]
    return np.stack([sound[which::channels].mean(axis=0) for which in range(channels)])
