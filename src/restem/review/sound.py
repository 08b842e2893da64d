"""The sound of a stem for a browser: the file itself where a browser can play it, else a WAV made while it is sent.

Such a WAV is never stored. Its length follows from the stem's header, so any range of its bytes can be made by decoding
that part of the stem: a browser can seek in it as in a file. Starlette's `FileResponse` answers ranges too, but only
of a file, which would have to be decoded whole before the first byte is sent; so ranges are parsed here.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from restem.audio.pcm import to_channels
from restem.audio.reader import MP4, AudioInfo, open_audio, probe

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
class MadeWav:
    """A stem as a 16-bit WAV of one or two channels. frames: samples of a channel."""

    path: Path
    stream: int
    rate_hz: int
    channels: int
    frames: int

    @classmethod
    def of(cls, path: Path, stream: int) -> MadeWav:
        """Raises AudioError when the stem cannot be read."""
        info = probe(path, stream)
        return cls(path, stream, info.rate_hz, min(info.channels, _MOST_CHANNELS), info.frames)

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
        with open_audio(self.path, self.stream) as audio:
            for block in audio.blocks(begin / self.rate_hz, end / self.rate_hz):
                sound = np.clip(to_channels(block, self.channels), -1.0, 1.0) * 32767
                part = sound.T.astype("<i2").tobytes()[skip:][:left]
                skip, left = 0, left - len(part)
                yield part
        while left:
            yield bytes(part := min(left, 1 << 16))
            left -= part


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
