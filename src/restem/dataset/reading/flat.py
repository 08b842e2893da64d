"""The layout `flat`: all songs in one folder, each file named after its song and what it holds.

    0001_Drums.flac, 0001_Bass.flac, 0002_Drums.flac, ...        Artificial Audio Multitracks
    Song A - Vocals.wav, Song A - Drums.wav, Song B - ...        what separation programs leave

The beginnings of the names are songs if at least two of them stand before several files each, and none of them names an
instrument (`Drums_Kick.wav`, `Drums_Snare.wav` are tracks of one song).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from restem.dataset.reading.interface import Item
from restem.dataset.reading.rests import rest_of_song
from restem.dataset.reading.track_names import not_a_stem
from restem.dataset.splits import take_split
from restem.dataset.table import UNKNOWN_CLASS, Skipped, Stem, nfc
from restem.dataset.walk import AudioFile, Found
from restem.instruments import family_of
from restem.taxonomy import Taxonomy

# The song, a separator, and what the file holds: without any of the separators, or in brackets.
_NAME = re.compile(r"(?P<song>.*[^\s_(\[-])[\s_-]*(?:\s-\s|_|\(|\[)(?P<track>[^_()\[\]]+)[)\]]?")
_FEWEST = 2  # songs, and files of each
_SHARE = 0.8  # of a folder's files, from which on it is read so


def flat_songs(files: Sequence[AudioFile], taxonomy: Taxonomy) -> Mapping[str, tuple[str, str]]:
    """Path -> song and track, of the files of one folder; nothing if the folder does not hold songs like that."""
    found: dict[str, tuple[str, str]] = {}
    together: dict[str, list[str]] = defaultdict(list)
    for file in files:
        match = _NAME.fullmatch(file.base)
        if match and not file.holds_song and family_of(match["song"], weak=False) is None:
            track = match["track"].strip()
            if not_a_stem(track) or taxonomy.match(track) or family_of(track, weak=False):
                found[file.path] = match["song"], track
                together[match["song"]].append(track)
    several = [song for song, tracks in together.items() if len(tracks) >= _FEWEST]
    enough = sum(len(together[song]) for song in several) >= _SHARE * len(files)
    return found if len(several) >= _FEWEST and enough else {}


def in_flat_folders(found: Found, taxonomy: Taxonomy) -> Mapping[str, tuple[str, str]]:
    """The same of the files of all folders."""
    folders: dict[tuple[str, ...], list[AudioFile]] = defaultdict(list)
    for file in found.audio:
        folders[file.folders].append(file)
    return {path: names for files in folders.values() for path, names in flat_songs(files, taxonomy).items()}


def read_flat(found: Found, taxonomy: Taxonomy) -> Iterator[Item]:
    """The stems of all files whose names hold a song and a class."""
    names = in_flat_folders(found, taxonomy)
    for file in found.audio:
        if file.path not in names:
            yield Skipped(file.path, "its name does not hold a song and a class")
            continue
        song, track = names[file.path]
        split, folders = take_split(file.folders)
        name = taxonomy.classify(track)
        song = nfc("/".join((*folders, song)))
        if reason := not_a_stem(track):
            yield rest_of_song(track, song, file.path, split, taxonomy) or Skipped(file.path, reason)
        elif name is None:
            yield Skipped(file.path, f"{track}: {UNKNOWN_CLASS}")
        else:
            yield Stem(song, file.path, frozenset({name}), split=split, instrument=nfc(track))
