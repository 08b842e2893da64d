"""What the structure of an audio file says about it, whatever its decoder makes of that.

A decoder trusts a header: libsndfile reads a WAV whose recorder died, and which states a length of 0, as an empty file,
guesses the length of an MP3 without an Info header from its size, and passes over a hole in an Ogg file. So the
structure is read here first. A file of which a large part is missing is refused; one that lacks its end, or has a wrong
header, is used, and a note says so. Where the decoder needs another header, it gets one (`Examined.head`); the file
itself is never changed.

The formats are RIFF and AIFF (here), MPEG audio (`mpeg`), Ogg (`ogg`) and FLAC (`flac`), detected by content.
"""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from restem.audio.examined import Examined, lacking, lacks_little, truncated
from restem.audio.flac import examine_flac
from restem.audio.mpeg import after_id3, examine_mpeg, starts_mpeg
from restem.audio.ogg import examine_ogg
from restem.errors import AudioError

# Programs that write to a pipe cannot go back to fill in the length, and leave the largest there is.
_STREAMED_FROM = 0xFFFFF000
_STREAMED_HALF = 0x7FFFFFFF

# What follows the samples of a WAV is looked at if it is as long as this.
_REST_S = 0.1

_NO_LENGTH = "its header states no length; all that it holds is used"
# The samples reach beyond what the header says of the file as a whole: a program wrote it beforehand, and died.
_NEVER_BROUGHT_UP_TO_DATE = "its header states more than the file holds; all that it holds is used"


def examine(path: Path) -> Examined:
    """What the structure of a file says; raises AudioError when a large part of it is missing or it has a hole.

    A file that cannot be read, or is of another format, is left for the decoder to report.
    """
    with suppress(OSError, struct.error), path.open("rb") as file:
        head = file.read(12)
        size = path.stat().st_size
        if not size:
            return Examined()
        if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
            return _examine_wav(path, file, size, long=head[:4] == b"RF64")
        if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
            return _examine_aiff(path, file, size)
        if head[:4] == b"OggS":
            return examine_ogg(path)
        start = after_id3(file)
        file.seek(start)
        first = file.read(4)
        if first == b"fLaC":
            return examine_flac(path, file, start)
        # Noise before the first frame is passed over, so here the name counts.
        if (
            starts_mpeg(first)
            or (start and first != b"RIFF")
            or (path.suffix.lower() == ".mp3" and head[4:8] != b"ftyp")
        ):
            return examine_mpeg(path)
    return Examined()


class MendedFile(io.RawIOBase):
    """A file as libsndfile is to see it: other first bytes, and perhaps an earlier end. See `Examined.head`."""

    def __init__(self, path: Path, examined: Examined) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._head = examined.head
        self._start = examined.start
        self._size = self._file.seek(0, io.SEEK_END) - self._start + len(self._head)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        inside = self._head[self._position : self._position + len(buffer)]
        if inside:
            buffer[: len(inside)] = inside
            count = len(inside)
        else:
            self._file.seek(self._start + self._position - len(self._head))
            count = self._file.readinto(buffer)
        self._position += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _examine_wav(path: Path, file: BinaryIO, size: int, long: bool) -> Examined:
    """long: for RF64, whose chunk `ds64` holds the lengths that do not fit into 32 bits (EBU Tech 3306)."""
    file.seek(4)
    stated = struct.unpack("<I", file.read(4))[0]
    position, long_length, bytes_per_s = 12, None, 0
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        if name == b"\0\0\0\0":
            break  # zeros would read as millions of chunks
        if long and name == b"ds64":
            stated, long_length = struct.unpack("<QQ", file.read(16))
        if name == b"fmt ":
            bytes_per_s = struct.unpack("<8xI", file.read(12))[0]
        if name == b"data":
            there = size - position - 8
            if length == 0xFFFFFFFF and long_length is not None:
                length = long_length
            elif length == _STREAMED_HALF or length >= _STREAMED_FROM:
                return Examined()
            if length == 0 and there and not _are_chunks(file, position + 8, size, "<"):
                file.seek(0)
                # libsndfile reads a file that states the largest length to its end.
                head = bytearray(file.read(position + 8))
                head[:4], head[4:8], head[-4:] = b"RIFF", b"\xff" * 4, b"\xff" * 4
                return Examined(_NO_LENGTH, bytes(head), position + 8)
            if length <= there:
                return _leaves_out(file, position + 8 + length, size, bytes_per_s)
            if stated < position + length or (not long and stated >= _STREAMED_FROM):
                return Examined(_NEVER_BROUGHT_UP_TO_DATE)
            return _cut(path, there, length, bytes_per_s)
        position += 8 + length + length % 2
    # No such chunk: the decoder will report it.
    return Examined()


def _examine_aiff(path: Path, file: BinaryIO, size: int) -> Examined:
    file.seek(4)
    stated = struct.unpack(">I", file.read(4))[0]
    position, bytes_per_s, frames_at, frame_bytes = 12, 0, 0, 1
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack(">4sI", file.read(8))
        if name == b"\0\0\0\0":
            break
        if name == b"COMM":
            channels, _, bits, exponent, mantissa = struct.unpack(">HIHHQ", file.read(18))
            frame_bytes, frames_at = max(1, channels * ((bits + 7) // 8)), position + 10
            # The rate is an 80-bit float (IEEE 754 extended).
            rate_hz = mantissa * 2.0 ** ((exponent & 0x7FFF) - 16383 - 63) if exponent & 0x7FFF < 16383 + 32 else 0.0
            bytes_per_s = int(frame_bytes * rate_hz)
        if name == b"SSND":
            there = size - position - 8
            if length <= 8 < there and frames_at and not _are_chunks(file, position + 8 + length, size, ">"):
                file.seek(0)
                head = bytearray(file.read(position + 8))
                head[4:8], head[-4:] = struct.pack(">I", size - 8), struct.pack(">I", there)
                head[frames_at : frames_at + 4] = struct.pack(">I", (there - 8) // frame_bytes)
                return Examined(_NO_LENGTH, bytes(head), position + 8)
            if length <= there:
                return Examined()
            if stated < position + length:
                return Examined(_NEVER_BROUGHT_UP_TO_DATE)
            return _cut(path, there, length, bytes_per_s)
        position += 8 + length + length % 2
    return Examined()


def _are_chunks(file: BinaryIO, position: int, size: int, order: str) -> bool:
    """Whether the file is a list of chunks from `position` to its end: then what stood before it is really empty."""
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack(order + "4sI", file.read(8))
        if not all(32 <= byte < 127 for byte in name):
            return False
        position += 8 + length + length % 2
    return size <= position <= size + 1


def _leaves_out(file: BinaryIO, end: int, size: int, bytes_per_s: int) -> Examined:
    """Notes what follows the samples of a WAV at `end`, if it is neither a chunk nor padding."""
    file.seek(end)
    name = file.read(5).lstrip(b"\0")[:4]  # a chunk begins at an even place, or, from some programs, right there
    if size - end <= _REST_S * bytes_per_s or all(32 <= byte < 127 for byte in name):
        return Examined()
    return Examined(f"{(size - end) / bytes_per_s:.2f} s after the end that its header states are not used")


def _cut(path: Path, there: int, length: int, bytes_per_s: int) -> Examined:
    """A file that ends within its samples, after `there` of `length` bytes."""
    if not bytes_per_s:
        raise AudioError(f"{path}: is truncated; copy or download it again.")
    missing_s, stated_s = (length - there) / bytes_per_s, length / bytes_per_s
    if not lacks_little(missing_s, stated_s):
        raise truncated(path, missing_s, stated_s)
    return Examined(lacking(missing_s))
