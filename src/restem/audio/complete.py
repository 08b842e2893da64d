"""Checks that an audio file is complete, by its own container structure.

libsndfile silently reads a truncated WAV, AIFF or Ogg file up to where it ends, which would turn a damaged stem into a
short one. FLAC, MP3 and MP4 need no check here: their decoders state a length and then return fewer samples.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from restem.errors import AudioError

# RFC 3533: a page is at most 65,307 bytes, so the last two of a file begin within twice that from its end.
_OGG_TAIL_BYTES = 2 * 65307
_OGG_HEADER = struct.Struct("<4sBBqIIIB")
_OGG_LAST_PAGE = 4


def check_complete(path: Path) -> None:
    """Raises AudioError when a WAV, AIFF or Ogg file ends before its own structure says it does.

    The format is detected from the content, not the name; a file that cannot be read is left for the decoder to report.
    """
    with suppress(OSError, struct.error), path.open("rb") as file:
        head = file.read(12)
        size = path.stat().st_size
        if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
            whole = _chunk_is_whole(file, size, b"data", "<", head[:4] == b"RF64")
        elif head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
            whole = _chunk_is_whole(file, size, b"SSND", ">")
        elif head[:4] == b"OggS":
            page = _last_page(_tail(file, size))
            whole = page is not None and page.whole and bool(page.flags & _OGG_LAST_PAGE)
        else:
            return
        if not whole:
            raise AudioError(f"{path}: is truncated; copy or download it again.")


def last_ogg_page_start(path: Path) -> int:
    """The index of the first sample (per channel) of an Ogg file's last page; 0 when there is only one page.

    A page states the sample at its end, so the start of the last page is read from the page before it.
    """
    with path.open("rb") as file:
        tail = _tail(file, path.stat().st_size)
    last = _last_page(tail)
    while last is not None:
        before = _last_page(tail[: last.offset])
        # -1 marks a page on which no packet ends (RFC 3533).
        if before is None or before.granule >= 0:
            return before.granule if before else 0
        last = before
    return 0


def _chunk_is_whole(file: BinaryIO, size: int, wanted: bytes, order: str, long: bool = False) -> bool:
    """Whether the chunk `wanted` of a RIFF-like file ends within the file's `size`.

    long: for RF64, whose chunk `ds64` holds the lengths that do not fit into 32 bits (EBU Tech 3306).
    """
    position, long_length = 12, None
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack(order + "4sI", file.read(8))
        if long and name == b"ds64":
            long_length = struct.unpack("<8xQ", file.read(16))[0]
        if name == b"\0\0\0\0":
            break  # zeros would read as millions of chunks
        if name == wanted:
            if length == 0xFFFFFFFF and long_length is not None:
                length = long_length
            # Programs that write to a pipe cannot go back to fill in the length.
            elif length in (0, 0x7FFFFFFF) or length >= 0xFFFFF000:
                return True
            return bool(position + 8 + length <= size)
        position += 8 + length + length % 2
    # No such chunk: the decoder will report it.
    return True


class _Page(NamedTuple):
    """An Ogg page: its offset, header type flags, granule position (its last sample), and whether it is complete."""

    offset: int
    flags: int
    granule: int
    whole: bool


def _tail(file: BinaryIO, size: int) -> bytes:
    file.seek(max(0, size - _OGG_TAIL_BYTES))
    return file.read()


def _last_page(data: bytes) -> _Page | None:
    """The last page that begins in `data`."""
    offset = data.rfind(b"OggS")
    if offset < 0:
        return None
    if len(data) < offset + _OGG_HEADER.size:
        return _Page(offset, 0, -1, False)
    _, _, flags, granule, _, _, _, segments = _OGG_HEADER.unpack_from(data, offset)
    lengths = data[offset + _OGG_HEADER.size :][:segments]
    end = offset + _OGG_HEADER.size + segments + sum(lengths)
    return _Page(offset, flags, granule, len(lengths) == segments and end <= len(data))
