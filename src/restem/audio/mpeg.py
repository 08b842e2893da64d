"""MP3 files: how long they really are (ISO/IEC 11172-3 and 13818-3, layer III).

An MP3 need not say how long it is. If its first frame does not hold an Info header (`Xing`, `Info`), libsndfile guesses
from the file's size and the first frame's bit rate, counts tags in, and reads no further than its guess. So the frames
are counted here, and libsndfile is given an Info header with their number where the file has none, or one that states
fewer. (With one, it also leaves out the 529 samples by which every decoder is late.)
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import BinaryIO

from restem.audio.examined import Examined, mapped

_KBITS_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # MPEG-1 layer III
_KBITS_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # MPEG-2 and 2.5
_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version bits
_SAME_STREAM = 0xFFFE0C  # bits of a header's first three bytes that all frames share: sync, version, layer, rate
_HAS_FRAMES, _HAS_BYTES = 1, 2

_DAMAGED = "is damaged; what is not a whole frame in it is passed over"
_STATES_LESS = "its header states less than the file holds; all that it holds is used"


def _frame_lengths() -> dict[int, int]:
    """The length in bytes of a frame of layer III, by the second and third byte of its header."""
    lengths = {}
    for version, rates_hz in _RATES_HZ.items():
        for protection in (0, 1):
            second = 0xE0 | version << 3 | 1 << 1 | protection
            for index, kbits in enumerate(_KBITS_1 if version == 3 else _KBITS_2, start=1):
                for rate, rate_hz in enumerate(rates_hz):
                    for rest in range(4):  # the bit of padding, and a private one
                        third = index << 4 | rate << 2 | rest
                        bits = (144 if version == 3 else 72) * 1000 * kbits
                        lengths[second << 8 | third] = bits // rate_hz + (rest >> 1)
    return lengths


_LENGTHS = _frame_lengths()


def starts_mpeg(data: bytes) -> bool:
    """Whether `data` begins with the header of an MPEG audio frame, of any layer."""
    return len(data) > 2 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] & 0x06 != 0


def after_id3(file: BinaryIO) -> int:
    """The offset behind the ID3v2 tags that a file begins with, 0 if there are none."""
    position = 0
    while True:
        file.seek(position)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3" or any(byte & 0x80 for byte in head[6:]):
            return position
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        position += 10 + size + (10 if head[5] & 0x10 else 0)


def examine_mpeg(path: Path) -> Examined:
    """Counts the frames of an MP3; see `Examined.head`. Of layers I and II the length stays a guess."""
    with path.open("rb") as file:
        start = after_id3(file)
    with mapped(path) as data:
        return _examine(data, start)


def _examine(data: mmap.mmap, start: int) -> Examined:
    first, frames, skipped = _count(data, start)
    if not frames:
        return Examined(guessed=True)
    note = _DAMAGED if skipped or data[start:first].strip(b"\0") else ""
    info = _info_at(data, first)
    behind = first + _length_at(data, first)
    if info is None and data[first + 36 : first + 40] != b"VBRI":
        return Examined(note, _info_frame(data[first : first + 4], frames), first)
    frames -= 1  # the header's own
    flags, stated = struct.unpack_from(">II", data, info + 4) if info else (0, 0)
    if info is None or not flags & _HAS_FRAMES:
        # Fraunhofer's header, which libsndfile does not know, or one without the number.
        return Examined(note, _info_frame(data[first : first + 4], frames), behind)
    if stated >= frames - 1:
        return Examined(note)
    head = bytearray(data[first : info + 16])
    struct.pack_into(">I", head, info - first + 8, frames)
    if flags & _HAS_BYTES:
        struct.pack_into(">I", head, info - first + 12, len(data) - first)
    return Examined(note or _STATES_LESS, bytes(head), info + 16)


def _count(data: mmap.mmap, start: int) -> tuple[int, int, bool]:
    """Where the first whole frame begins, how many there are, and whether something else stands between them."""
    first = _next_frame(data, start, -1)
    if first == len(data):
        return 0, 0, False
    position, frames, skipped, stream = first, 0, False, _stream_at(data, first)
    while position + 4 <= len(data):
        length = _length_at(data, position, stream)
        if length and position + length <= len(data):
            frames += 1
            position += length
        else:
            position = _next_frame(data, position + 1, stream)
            skipped |= position < len(data)
    return first, frames, skipped


def _next_frame(data: mmap.mmap, position: int, stream: int) -> int:
    """The next place where two frames follow each other, or one that ends the file."""
    while (position := data.find(b"\xff", position)) >= 0:
        length = _length_at(data, position, stream)
        if length and (position + length == len(data) or _length_at(data, position + length, stream)):
            return position
        position += 1
    return len(data)


def _length_at(data: mmap.mmap, position: int, stream: int = -1) -> int:
    """The length of the frame at `position`, 0 if there is none. stream: what its header has to share, or -1."""
    if position + 4 > len(data) or data[position] != 0xFF:
        return 0
    length = _LENGTHS.get(data[position + 1] << 8 | data[position + 2], 0)
    return length if stream < 0 or _stream_at(data, position) == stream else 0


def _stream_at(data: mmap.mmap, position: int) -> int:
    return int.from_bytes(data[position : position + 3], "big") & _SAME_STREAM


def _side_bytes(header: bytes) -> int:
    """The length of a frame's side information, behind which the Info header stands."""
    mono, mpeg_1 = header[3] >> 6 == 3, header[1] >> 3 & 3 == 3
    return (17 if mono else 32) if mpeg_1 else (9 if mono else 17)


def _info_at(data: mmap.mmap, first: int) -> int | None:
    """Where the Info header of the first frame stands, if there is one."""
    place = first + 4 + _side_bytes(data[first : first + 4])
    return place if data[place : place + 4] in (b"Xing", b"Info") and place + 16 <= len(data) else None


def _info_frame(header: bytes, frames: int) -> bytes:
    """An Info header that states `frames`, in an empty frame of the stream that `header` belongs to."""
    # The highest bit rate, so that there is room, and no checksum.
    head = bytes([0xFF, header[1] | 1, 14 << 4 | header[2] & 0x0C, header[3]])
    frame = bytearray(_LENGTHS[head[1] << 8 | head[2]])
    place = 4 + _side_bytes(head)
    frame[:4] = head
    frame[place : place + 12] = b"Xing" + struct.pack(">II", _HAS_FRAMES, frames)
    return bytes(frame)
