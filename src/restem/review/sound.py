"""The sound of a stem for a browser: the file itself where a browser can play it, else a WAV made while it is sent.

Such a WAV is never stored. Its length follows from the stem's header, so any range of its bytes can be made by decoding
that part of the stem: a browser can seek in it as in a file. Starlette's `FileResponse` answers ranges too, but only
of a file, which would have to be decoded whole before the first byte is sent; so ranges are parsed here.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from restem.audio.pcm import to_channels
from restem.audio.reader import BLOCK_FRAMES, MP4, AudioInfo, open_audio, probe
from restem.errors import AudioError

# Of each container its media type, and the codecs in it that Chromium, Firefox and Safari all play.
_PLAYED: Mapping[str, tuple[str, frozenset[str]]] = {
    "WAV": ("audio/wav", frozenset({"PCM_U8", "PCM_16", "PCM_24", "FLOAT"})),
    "WAVEX": ("audio/wav", frozenset({"PCM_16", "PCM_24", "FLOAT"})),
    "FLAC": ("audio/flac", frozenset({"PCM_S8", "PCM_16", "PCM_24"})),
    "OGG": ("audio/ogg", frozenset({"VORBIS", "OPUS"})),
    "MP3": ("audio/mpeg", frozenset({"MPEG_LAYER_III"})),
    MP4: ("audio/mp4", frozenset({"aac"})),
}
_MOST_CHANNELS = 2
_HEADER_BYTES = 44
_BYTES = 2  # of a sample
_LARGEST_SIZE = 2**32 - 1


def media_type(info: AudioInfo, stream: int | None) -> str | None:
    """The media type of a file that browsers play as it is, or None.

    stream: the number of the stem's stream if the file holds several, else None.
    """
    if stream is not None or info.channels > _MOST_CHANNELS or info.mended:
        return None
    kind, codecs = _PLAYED.get(info.container, ("", frozenset()))
    return kind if info.codec in codecs else None


@dataclass(frozen=True)
class Part:
    """A stem as a term of what is heard: with a gain, and `delay` samples later."""

    path: Path
    stream: int
    gain: float = 1.0
    delay: int = 0


@dataclass(frozen=True)
class MadeWav:
    """A sum of stems of one rate as a 16-bit WAV of one or two channels.

    first: the sample with which it begins. frames: samples of a channel.
    """

    parts: tuple[Part, ...]
    rate_hz: int
    channels: int
    frames: int
    first: int = 0

    @classmethod
    def of(cls, path: Path, stream: int) -> MadeWav:
        """A stem as it is. Raises AudioError when it cannot be read."""
        return cls.sum_of((Part(path, stream),))

    @classmethod
    def sum_of(cls, parts: tuple[Part, ...], start_s: float = 0.0, seconds: float | None = None) -> MadeWav:
        """A sum, as long as the longest stem, or a stretch of it. Raises AudioError when one cannot be read."""
        infos = [probe(part.path, part.stream) for part in parts]
        rate_hz = infos[0].rate_hz
        if any(info.rate_hz != rate_hz for info in infos):
            raise AudioError(f"{parts[0].path}: the stems differ in rate and cannot be added up; convert them.")
        first, longest = round(start_s * rate_hz), max(info.frames for info in infos)
        frames = longest - first if seconds is None else min(round(seconds * rate_hz), longest - first)
        channels = min(max(info.channels for info in infos), _MOST_CHANNELS)
        return cls(parts, rate_hz, channels, max(0, frames), first)

    @property
    def size(self) -> int:
        """The length in bytes, with the header."""
        return _HEADER_BYTES + self.frames * self._step

    @property
    def _step(self) -> int:
        return self.channels * _BYTES

    def header(self) -> bytes:
        """The first 44 bytes: the chunks RIFF and fmt, and the head of the chunk data."""
        data = min(self.frames * self._step, _LARGEST_SIZE - _HEADER_BYTES)
        form = struct.pack("<HHIIHH", 1, self.channels, self.rate_hz, self.rate_hz * self._step, self._step, 8 * _BYTES)
        return b"RIFF" + struct.pack("<I", data + 36) + b"WAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", data)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` up to `stop`, in blocks.

        A stem that turns out shorter than its header says is filled with silence.
        """
        if start < _HEADER_BYTES:
            yield self.header()[start:stop]
        first, last = max(0, start - _HEADER_BYTES), stop - _HEADER_BYTES
        if first >= last:
            return
        begin, end = first // self._step, -(-last // self._step)
        skip, left = first - begin * self._step, last - first
        with ExitStack() as stack:
            for block in self._blocks(stack, self.first + begin, self.first + end):
                sound = np.clip(block, -1.0, 1.0) * 32767
                part = sound.T.astype("<i2").tobytes()[skip:][:left]
                skip, left = 0, left - len(part)
                yield part

    def _blocks(self, stack: ExitStack, begin: int, end: int) -> Iterator[np.ndarray]:
        """(channel, sample) The sum from one sample to another; silence beyond the end of a stem."""
        running = [(np.float32(part.gain), self._delayed(stack, part, begin, end)) for part in self.parts]
        waiting = [np.zeros((self.channels, 0), np.float32) for _ in running]
        for position in range(begin, end, BLOCK_FRAMES):
            total = np.zeros((self.channels, min(BLOCK_FRAMES, end - position)), np.float32)
            for index, (gain, blocks) in enumerate(running):
                while waiting[index].shape[1] < total.shape[1] and (block := next(blocks, None)) is not None:
                    waiting[index] = np.concatenate([waiting[index], to_channels(block, self.channels)], axis=1)
                sound, waiting[index] = np.split(waiting[index], [total.shape[1]], axis=1)
                total[:, : sound.shape[1]] += gain * sound
            yield total

    def _delayed(self, stack: ExitStack, part: Part, begin: int, end: int) -> Iterator[np.ndarray]:
        if silent := max(0, min(end, part.delay) - begin):
            yield np.zeros((self.channels, silent), np.float32)
        first, last = max(0, begin - part.delay), end - part.delay
        if last > first:
            audio = stack.enter_context(open_audio(part.path, part.stream))
            yield from audio.blocks(first / self.rate_hz, last / self.rate_hz)


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes (start, stop) that a Range header asks for: all without a header, None if they do not exist."""
    if header is None:
        return 0, size
    # Eighteen digits are more than any file has; Python refuses to read thousands of them.
    match = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", header.strip())
    if match is None or match[0] == "bytes=-":
        return None
    if not match[1]:
        return (max(0, size - int(match[2])), size) if int(match[2]) else None
    start = int(match[1])
    stop = min(size, int(match[2]) + 1) if match[2] else size
    return (start, stop) if start < stop else None
