"""Layouts in which a file lists the stems, other than restem's own table (`restem.dataset.stems_csv`).

msst-csv       a CSV with the columns instrum,path; MSST type 3
audiofolder    metadata.csv or metadata.jsonl beside the audio, with the column file_name and one for the class, as
               Hugging Face's AudioFolder reads it; a column `song` is the song
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from restem.dataset.reading.interface import NOT_LISTED, Item, stem_or_reason
from restem.dataset.reading.metadata import files_below, folder_of
from restem.dataset.reading.rests import rest_of_song
from restem.dataset.splits import FOLDERS, take_split
from restem.dataset.stems_csv import existing_file, header_of, read_rows
from restem.dataset.table import Skipped, check_relative
from restem.dataset.walk import Found
from restem.errors import DatasetError
from restem.taxonomy import Taxonomy

MSST_COLUMNS = ("instrum", "path")
AUDIOFOLDER_FILES = ("metadata.csv", "metadata.jsonl")
FILE_NAME = "file_name"
_CLASS_COLUMNS = ("labels", "label", "stem", "class", "instrument", "instrum", "source", "target")
_SONG_COLUMNS = ("song", "song_id", "track", "track_id", "track_name", "song_name")
_LICENCE_COLUMNS = ("licence", "license")


def read_msst_csv(path: Path, root: Path, taxonomy: Taxonomy) -> Iterator[Item]:
    """The stems that a CSV of MSST lists; files of one name in folders called like their classes are one song.

    Paths are relative to `root`, or absolute inside of it. Raises DatasetError, with the line, for those that are not.
    """
    for line, row in read_rows(path, MSST_COLUMNS):
        where = f"{path}, line {line}"
        name = existing_file(root, _inside(row["path"], root, where), where)
        split, folders = take_split(PurePosixPath(name).parts[:-1])
        if folders and folders[-1] == row["instrum"]:
            folders = folders[:-1]
        song = "/".join((*folders, PurePosixPath(name).stem))
        yield rest_of_song(row["instrum"], song, name, split, taxonomy) or stem_or_reason(
            taxonomy, song, name, [row["instrum"]], split=split
        )


def _inside(text: str, root: Path, where: str) -> str:
    """A path of a list as one relative to `root`."""
    if not Path(text).is_absolute():
        return text
    for base in dict.fromkeys((root, root.resolve())):
        if Path(text).is_relative_to(base):
            return Path(text).relative_to(base).as_posix()
    raise DatasetError(
        f"{where}: {text}: lies outside of {root}; open the folder that holds the audio, with this list as `metadata`."
    )


def count_audiofolder(found: Found, taxonomy: Taxonomy) -> int:  # noqa: ARG001
    """How many audio files are in folders with metadata that name a class."""
    folders = [folder_of(path) for path in _lists(found)]
    return sum(any(file.path.startswith(folder) for folder in folders) for file in found.audio)


def read_audiofolder(found: Found, taxonomy: Taxonomy) -> Iterator[Item]:
    """The stems that the metadata name, and the audio files that they do not."""
    there, named = files_below(found), set()
    for path in _lists(found):
        for line, row in _rows(found.root / path):
            where = f"{found.root / path}, line {line}"
            name = check_relative(folder_of(path) + str(row.get(FILE_NAME, "")), where)
            named.add(name)
            if name in there:
                yield _audiofolder_item(name, row, taxonomy)
            else:
                yield Skipped(name, f"named in {path}, but not there")
    for name in there.keys() - named:
        yield Skipped(name, NOT_LISTED)


def _audiofolder_item(name: str, row: Mapping[str, str], taxonomy: Taxonomy) -> Item:
    split, folders = take_split(PurePosixPath(name).parts[:-1])
    split = FOLDERS.get(row.get("split", "").lower(), row.get("split", "")) or split
    text = _first(row, _CLASS_COLUMNS)
    song = _first(row, _SONG_COLUMNS) or "/".join((*folders, PurePosixPath(name).stem))
    bleed, licence = row.get("bleed", ""), _first(row, _LICENCE_COLUMNS)
    return stem_or_reason(taxonomy, song, name, text.split("+"), split=split, bleed=bleed, licence=licence)


def _lists(found: Found) -> list[str]:
    """The metadata files, one per folder, that have a column for the file and one for the class."""
    chosen: dict[str, str] = {}
    for path in sorted(found.metadata):
        pure = PurePosixPath(path)
        if pure.name in AUDIOFOLDER_FILES:
            columns = header_of(found.root / path) if pure.suffix == ".csv" else _first_keys(found.root / path)
            if FILE_NAME in columns and columns.intersection(_CLASS_COLUMNS):
                chosen.setdefault(folder_of(path), path)
    return list(chosen.values())


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    if path.suffix == ".csv":
        yield from read_rows(path, (FILE_NAME,))
        return
    try:
        with path.open(encoding="utf-8") as file:
            for line, text in enumerate(file, start=1):
                if text.strip():
                    row = json.loads(text)
                    if not isinstance(row, dict):
                        raise DatasetError(f"{path}, line {line}: is not an object.")
                    yield line, {str(key): str(value) for key, value in row.items() if value is not None}
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: cannot be read as JSON lines ({error}).") from error


def _first_keys(path: Path) -> set[str]:
    try:
        return next((set(row) for _, row in _rows(path)), set())
    except DatasetError:
        return set()


def _first(row: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((row[name] for name in names if row.get(name)), "")
