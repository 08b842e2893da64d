"""What the audio streams of an MP4 are called: the names of the stems in a `.stem.mp4` or `.stem.m4a`.

The stem format of Native Instruments keeps them as JSON in the box `moov/udta/stem`, which FFmpeg does not show:

    {"stems": [{"name": "Drums", "color": "..."}, ...], ...}

one for each stream after the first, which is the mixture. Other writers, such as stempeg, name each stream itself
(`title` or `handler_name`). MUSDB18 has neither.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from restem.fetching import fetched

_LONGEST_NAMES = 1 << 20  # bytes of JSON; real ones have a few hundred
# What encoders call a stream that has no name.
_NO_NAME = re.compile(
    r"(core media |iso media |l-smash )?(sound|audio|stereo)( media)?( ?handler)?|stem[ _]?\d*|\d*", re.I
)


def stream_names(path: Path) -> list[str] | None:
    """The name of each audio stream in the file's order, empty where it has none; None for a file that is no MP4."""
    with fetched(path) as copy:
        return _names_in(copy)


def _names_in(path: Path) -> list[str] | None:
    import av

    try:
        with av.open(str(path), metadata_errors="replace") as container:
            metadata = [stream.metadata for stream in container.streams.audio]
    except (av.FFmpegError, OSError):
        return None
    stems = _stem_box_names(path)
    if any(stems) and len(stems) == len(metadata) - 1:
        return ["", *stems]
    return [
        next((name for key in ("title", "handler_name") if (name := _real_name(entry.get(key, "")))), "")
        for entry in metadata
    ]


def _real_name(text: str) -> str:
    # FFmpeg keeps the length byte of a Pascal string that QuickTime writes.
    name = "".join(letter for letter in text if letter.isprintable()).strip()
    return "" if _NO_NAME.fullmatch(name) else name


def _stem_box_names(path: Path) -> list[str]:
    """The names in `moov/udta/stem`; none where there is no such box, or what it holds cannot be read."""
    with suppress(OSError, struct.error, ValueError, RecursionError), path.open("rb") as file:
        place = (0, path.stat().st_size)
        for kind in (b"moov", b"udta", b"stem"):
            found = next((one for name, *one in _boxes(file, *place) if name == kind), None)
            if found is None:
                return []
            place = (found[0], found[1])
        file.seek(place[0])
        content = json.loads(file.read(min(place[1] - place[0], _LONGEST_NAMES)))
        stems = content.get("stems") if isinstance(content, dict) else None
        if isinstance(stems, list) and all(isinstance(stem, dict) for stem in stems):
            return [_real_name(str(stem.get("name", ""))) for stem in stems]
    return []


def _boxes(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes (ISO 14496-12, 4.2) between two positions: kind, start and end of the content."""
    while start + 8 <= stop:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:  # a 64-bit size follows
            size, head = struct.unpack(">Q", file.read(8))[0], 16
        end = stop if size == 0 else start + size
        if end > stop or end < start + head:
            return
        yield kind, start + head, end
        start = end
