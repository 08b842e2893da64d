"""Ogg files: whether all of their pages are there (RFC 3533).

A decoder passes over a hole without a word, and what follows is heard too early, or is filled up with silence. A hole
shows in the pages: each has a checksum, and a number that is one higher than that of the page before it.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from restem.audio.examined import Examined, joined, mapped
from restem.errors import AudioError

_HEADER = struct.Struct("<4sBBqIIIB")
_FIRST, _LAST = 2, 4  # flags of a stream's first and last page

# A page is at most 65,307 bytes, so the last two of a file begin within twice that from its end.
_TAIL_BYTES = 2 * 65307

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Page:
    """An Ogg page: where it begins and ends, its flags, granule (its last sample), stream and number in it."""

    offset: int
    end: int
    flags: int
    granule: int
    serial: int
    number: int


def examine_ogg(path: Path) -> Examined:
    """Raises AudioError for a file with a hole, one that ends within a page, or several recordings in one file.

    A file that ends between two pages, as a recorder leaves it that was stopped, is used, with a note.
    """
    with mapped(path) as data:
        return _examine(path, data)


def _examine(path: Path, data: mmap.mmap) -> Examined:
    numbers: dict[int, int] = {}
    ended: set[int] = set()
    position, rate_hz, reached_s = 0, 0, 0.0
    while position < len(data):
        found = page_at(data, position)
        if found is None and ended and ended >= numbers.keys():
            break  # what follows the last page is none of it, as a tag of another format
        if found is None and data.find(b"OggS", position + 1) < 0:
            raise AudioError(f"{path}: is truncated; copy or download it again.")
        if found is not None and found.flags & _FIRST and ended:
            raise joined(path)
        if found is None or found.number != numbers.get(found.serial, found.number if found.flags & _FIRST else -1):
            where = f" after {reached_s:.2f} s" if rate_hz else ""
            raise AudioError(f"{path}: has a hole{where}; copy or download it again.")
        if not numbers:
            rate_hz = _rate(data, found)
        numbers[found.serial] = found.number + 1
        if found.flags & _LAST:
            ended.add(found.serial)
        if rate_hz and found.granule > 0:
            reached_s = found.granule / rate_hz
        position = found.end
    if ended < numbers.keys():
        return Examined("its end is not marked; the last of it may be missing")
    return Examined()


def last_page_start(path: Path) -> int:
    """The index of the first sample (per channel) of an Ogg file's last page; 0 when there is only one page.

    A page states the sample at its end, so the start of the last page is read from the page before it.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        tail = file.read()
    last = tail.rfind(b"OggS")
    while last >= 0:
        last = tail.rfind(b"OggS", 0, last)
        before = page_at(tail, last, checked=False) if last >= 0 else None
        # -1 marks a page on which no packet ends.
        if before is not None and before.granule >= 0:
            return before.granule
    return 0


def page_at(data: bytes | mmap.mmap, offset: int, checked: bool = True) -> Page | None:
    """The page that begins at `offset`, if there is one, it is whole and (if `checked`) its checksum is right."""
    if data[offset : offset + 4] != b"OggS" or len(data) < offset + _HEADER.size:
        return None
    _, _, flags, granule, serial, number, stated, segments = _HEADER.unpack_from(data, offset)
    body = offset + _HEADER.size + segments
    end = body + sum(data[offset + _HEADER.size : body])
    if end > len(data) or (checked and stated != _checksum(data[offset : offset + 22], data[offset + 26 : end])):
        return None
    return Page(offset, end, flags, granule, serial, number)


def _checksum(head: bytes, rest: bytes) -> int:
    """The CRC of a page, whose own field counts as 0.

    Ogg's takes the bits from the highest on, zlib's from the lowest, and inverts before and after.
    """
    page = (head + bytes(4) + rest).translate(_REVERSED)
    return int(f"{zlib.crc32(page, 0xFFFFFFFF) ^ 0xFFFFFFFF:032b}"[::-1], 2)


def _rate(data: mmap.mmap, page: Page) -> int:
    """Samples per granule second of a Vorbis or Opus stream, from its first page; else 0."""
    packet = data[page.offset + _HEADER.size + data[page.offset + _HEADER.size - 1] : page.end]
    if packet[:7] == b"\x01vorbis" and len(packet) >= 16:
        return int(struct.unpack_from("<I", packet, 12)[0])
    return 48000 if packet[:8] == b"OpusHead" else 0
