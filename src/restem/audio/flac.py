"""FLAC files whose header does not state how long they are, or only a part of it (RFC 9639, 8.2).

Programs that write to a pipe leave no length. Of two files that were joined, decoders read the first.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from restem.audio.examined import Examined, joined, mapped
from restem.errors import AudioError

# In the block STREAMINFO, which comes first: the marker `fLaC`, 4 bytes of block header, then 13 bytes, and 36 bits.
_TOTAL_AT = 4 + 4 + 13
_HEAD_BYTES = _TOTAL_AT + 5
_BEGINNING = b"fLaC\x00\x00\x00\x22"  # marker and block header, of 34 bytes of STREAMINFO


def examine_flac(path: Path, file: BinaryIO, start: int) -> Examined:
    """Gives a file without a number of samples the right one, counted in its packets. start: where `fLaC` stands.

    Raises AudioError for joined files, and when there is nothing to count.
    """
    with mapped(path) as data:
        if data.find(_BEGINNING, start + len(_BEGINNING)) >= 0:
            raise joined(path)
    file.seek(0)
    head = bytearray(file.read(start + _HEAD_BYTES))
    low = head[start + _TOTAL_AT :]
    if len(low) < 5 or int.from_bytes(low, "big") & 0xFFFFFFFFF:
        return Examined()
    total = _count(path)
    if not total:
        raise AudioError(f"{path}: cannot be decoded (no whole frame of FLAC); copy or download it again.")
    head[start + _TOTAL_AT :] = (int.from_bytes(low, "big") | total).to_bytes(5, "big")
    return Examined(head=bytes(head), start=len(head))


def _count(path: Path) -> int:
    """The samples of one channel; 0 if they cannot be counted."""
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            ticks = sum(packet.duration or 0 for packet in container.demux(stream))
            return round(ticks * (stream.time_base or 0) * stream.rate)
    except (av.FFmpegError, OSError, IndexError, ValueError):
        return 0
