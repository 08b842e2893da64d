"""Files that hold a whole song, one audio stream per stem: MUSDB18's `.stem.mp4`, Native Instruments' stem files.

    train/Artist - Title.stem.mp4      stream 0 is the mixture, the others are stems

Where the streams have names these say the classes. Streams of MUSDB18 have none; their order is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from restem.audio.stream_names import stream_names
from restem.dataset.reading.interface import MIXTURE, Item
from restem.dataset.reading.track_names import not_a_stem
from restem.dataset.splits import take_split
from restem.dataset.table import UNKNOWN_CLASS, Skipped, Stem, nfc
from restem.dataset.walk import AudioFile, Found
from restem.taxonomy import Taxonomy

# https://sigsep.github.io/datasets/musdb.html
MUSDB_STREAMS: Mapping[int, str] = {1: "drums", 2: "bass", 3: "other", 4: "vocals"}
IN_ORDER = f"its streams have no names, and are taken in MUSDB18's order: {MIXTURE}"
STREAMS_OF_A_SONG = len(MUSDB_STREAMS)


def count_containers(found: Found, taxonomy: Taxonomy) -> int:  # noqa: ARG001
    """How many of the audio files hold whole songs."""
    return sum(file.holds_song for file in found.audio)


def read_containers(found: Found, taxonomy: Taxonomy) -> Iterator[Item]:
    """The stems in all containers."""
    for file in found.audio:
        if file.holds_song:
            yield from read_container(found.root, file, taxonomy)
        else:
            yield Skipped(file.path, "does not hold a whole song")


def read_container(root: Path, file: AudioFile, taxonomy: Taxonomy) -> Iterator[Item]:
    """The stems in one container, by the names of its streams, or in MUSDB18's order where none has a name.

    A file that cannot be read is taken for one of MUSDB18's: reading its stems will fail, and say why.
    """
    split, folders = take_split(file.folders)
    song = nfc("/".join((*folders, file.base)))
    names = stream_names(root / file.path)
    unnamed = not names or not any(names)
    if names is not None and unnamed and len(names) != STREAMS_OF_A_SONG + 1:
        yield Skipped(file.path, f"has {len(names)} audio streams without names, and MUSDB18's have 5; use a table")
        return
    if unnamed:
        yield Skipped(f"{file.path}#0", IN_ORDER)
    for stream, name in MUSDB_STREAMS.items() if unnamed else enumerate(names or ()):
        path = f"{file.path}#{stream}"
        label = taxonomy.classify(name) if name else None
        if not name and stream == 0:
            yield Skipped(path, MIXTURE)
            continue
        if reason := not_a_stem(name) if name else "a stream without a name, in a file whose streams have names":
            yield Skipped(path, reason)
        elif label is None:
            yield Skipped(path, f"{name}: {UNKNOWN_CLASS}")
        else:
            yield Stem(song, file.path, frozenset({label}), stream, split, nfc(name))
