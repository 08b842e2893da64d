"""Layouts in which the names of files and folders say what a stem is.

    songs           Song A/vocals.wav                MUSDB18-HQ, SDXDB23, MSST types 1 and 4 to 7, Open-Unmix, Demucs
    tracks          Song A/01_KickIn.wav             raw multitracks, DAW exports: other words than those of classes
    song-folders    Song A/vocals/lead.wav
    classes         vocals/anything.wav              MSST type 2, Open-Unmix, Hugging Face AudioFolder

Folders such as `train` are the split. A song is named after the path of its folder without them, and without a last
folder such as `stems`, or `chunk_0001` (MSST type 5: pieces of one song). `classes` has no songs: there, files that
have the same path below their class folders are taken as one song, because that is what songs become when they are
sorted by class; if two unrelated stems are taken as one song, they only stay together in a fold.

Containers of a whole song (`.stem.mp4`) may lie among songs; see `restem.dataset.reading.containers`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from restem.dataset.reading.containers import STREAMS_OF_A_SONG, read_container
from restem.dataset.reading.flat import in_flat_folders
from restem.dataset.reading.interface import MIXTURE, Item
from restem.dataset.reading.rests import rest_of_song
from restem.dataset.reading.track_names import (
    hears_everything,
    not_a_stem,
    track_name,
    without_beginning,
    without_shared_beginning,
)
from restem.dataset.splits import take_split
from restem.dataset.table import UNKNOWN_CLASS, Skipped, Stem, nfc
from restem.dataset.walk import AudioFile, Found
from restem.instruments import names_instruments
from restem.taxonomy import Taxonomy

# Folders inside of a song's that hold its stems.
_INSIDE_SONG = frozenset(
    {"stems", "stems_audio", "tracks", "multitrack", "multitracks", "audio", "audio files", "wav", "bounces"}
)
CHUNK = re.compile(r"chunk[ _-]?\d+", re.IGNORECASE)

SONGS, TRACKS, SONG_FOLDERS, CLASSES, FLAT = "songs", "tracks", "song-folders", "classes", "flat"


def count_fits(found: Found, taxonomy: Taxonomy) -> dict[str, int]:
    """Layout -> how many audio files it explains."""
    counts = dict.fromkeys((SONGS, TRACKS, SONG_FOLDERS, CLASSES, FLAT), 0)
    flat = in_flat_folders(found, taxonomy)
    # The folders of each file without its split, and which of them, the deepest one first, names a class.
    places = {folders: take_split(folders)[1] for folders in {file.folders for file in found.audio}}
    classes = {folders: _class_index(folders, taxonomy) for folders in {*places.values()}}
    with_class_folders = {_song_of(folders[:index]) for folders, index in classes.items() if index}
    for file in found.audio:
        folders = places[file.folders]
        if file.holds_song:
            counts[SONGS] += STREAMS_OF_A_SONG
        elif classes[folders] is not None:
            first = classes[folders] == 0 or _class_of_folder(folders[0], taxonomy)
            counts[CLASSES if first else SONG_FOLDERS] += 1
        elif file.path in flat:
            counts[FLAT] += 1
        elif file.folders and (taxonomy.match(file.base) or taxonomy.classify(file.base)):
            # A song may hold `vocals/` and `drums.wav`.
            mixed = _song_of(folders) in with_class_folders
            counts[SONG_FOLDERS if mixed else SONGS if taxonomy.match(file.base) else TRACKS] += 1
    return counts


def read_songs(found: Found, taxonomy: Taxonomy) -> Iterator[Item]:
    """The layouts `songs` and `tracks`: the file's name says the class."""
    together: dict[tuple[str, ...], list[AudioFile]] = defaultdict(list)
    for file in found.audio:
        if file.holds_song:
            yield from read_container(found.root, file, taxonomy)
        elif not file.folders:
            yield Skipped(file.path, "lies outside of any song folder")
        else:
            together[file.folders].append(file)
    for folders, files in together.items():
        split, above = take_split(folders)
        # A song may be called `test`.
        song = "/".join(_song_of(above or folders))
        yield from _read_tracks(files, song, split if above else "", taxonomy)


def read_song_folders(found: Found, taxonomy: Taxonomy) -> Iterator[Item]:
    """The layout `song-folders`: a folder in the song's says the class, or else the file's name."""
    loose: dict[tuple[str, ...], list[AudioFile]] = defaultdict(list)
    for file in found.audio:
        split, folders = take_split(file.folders)
        index = _class_index(folders, taxonomy)
        if file.holds_song:
            yield from read_container(found.root, file, taxonomy)
        elif index:
            name = taxonomy.match(folders[index]) or taxonomy.classify(folders[index])
            song = nfc("/".join(_song_of(folders[:index])))
            yield Stem(song, file.path, frozenset({str(name)}), split=split, instrument=track_name(file.base))
        elif len(folders) == 0:
            yield Skipped(file.path, "lies outside of any song folder")
        elif len(folders) == 1:
            loose[file.folders].append(file)
        elif rest := rest_of_song(folders[-1], "/".join(_song_of(folders[:-1])), file.path, split, taxonomy):
            yield rest
        else:
            yield Skipped(
                file.path, not_a_stem(track_name(file.base)) or f"the folder {folders[-1]!r} is {UNKNOWN_CLASS}"
            )
    for folders, files in loose.items():
        split, above = take_split(folders)
        yield from _read_tracks(files, "/".join(_song_of(above)), split, taxonomy)


def read_classes(found: Found, taxonomy: Taxonomy) -> Iterator[Item]:
    """The layout `classes`: the first folder says the class."""
    for file in found.audio:
        split, folders = take_split(file.folders)
        name = _class_of_folder(folders[0], taxonomy) if folders else None
        if name and not file.holds_song:
            song = nfc("/".join((*folders[1:], file.base)))
            yield Stem(song, file.path, frozenset({name}), split=split, instrument=folders[0])
        elif not folders:
            yield Skipped(file.path, "lies outside of any class folder")
        elif rest := rest_of_song(folders[0], "/".join((*folders[1:], file.base)), file.path, split, taxonomy):
            yield rest
        else:
            yield Skipped(file.path, f"the folder {folders[0]!r} is {UNKNOWN_CLASS}")


def _read_tracks(files: list[AudioFile], song: str, split: str, taxonomy: Taxonomy) -> Iterator[Item]:
    """The files of one folder, whose names say their classes."""
    names = [track_name(file.base, song) for file in files]
    like_song = {file.path for file in files if not without_beginning(nfc(file.base), nfc(song).rpartition("/")[2])}
    for file, name, shorter in zip(files, names, without_shared_beginning(names), strict=True):
        labels = taxonomy.match(file.base)
        reason = None if labels else MIXTURE if file.path in like_song else not_a_stem(shorter)
        labels = labels or taxonomy.classify(shorter)
        unknown = not labels and hears_everything(shorter)
        if reason or not (labels or unknown):
            rest = rest_of_song(shorter, song, file.path, split, taxonomy)
            yield rest or Skipped(file.path, reason or UNKNOWN_CLASS)
        else:
            given = frozenset({labels} if labels else ())
            yield Stem(nfc(song), file.path, given, split=split, instrument=name, unknown=unknown)


def _class_index(folders: tuple[str, ...], taxonomy: Taxonomy) -> int | None:
    """Which of the folders, the deepest one first, names a class."""
    return next((i for i in range(len(folders) - 1, -1, -1) if _class_of_folder(folders[i], taxonomy)), None)


def _class_of_folder(name: str, taxonomy: Taxonomy) -> str | None:
    """The class that a folder is named after. A song may have instruments in its name, so all words must name some."""
    return taxonomy.match(name) or (taxonomy.classify(name) if names_instruments(name) else None)


def _song_of(folders: tuple[str, ...]) -> tuple[str, ...]:
    """The folders that name a song, without those that only hold its stems."""
    while len(folders) > 1 and (folders[-1].lower() in _INSIDE_SONG or CHUNK.fullmatch(folders[-1])):
        folders = folders[:-1]
    return folders
