"""MoisesDB (Pereira et al., ISMIR 2023): `data.json` in the folder of each song names its stems and tracks.

    moisesdb_v0.1/<uuid>/data.json
    moisesdb_v0.1/<uuid>/<stemName>/<id>.wav

Eleven stems, such as `other_keys`, hold tracks with a `trackType`, such as `synth_pad`. Keys are those that
https://github.com/moises-ai/moises-db reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from restem.dataset.reading.interface import NOT_LISTED, Item, stem_or_reason
from restem.dataset.reading.metadata import files_below, folder_of, mappings, read_metadata, yes_or_no
from restem.dataset.splits import take_split
from restem.dataset.table import Skipped
from restem.dataset.walk import Found
from restem.errors import DatasetError
from restem.taxonomy import Taxonomy

METADATA = "data.json"
LICENCE = "CC BY-NC-SA 4.0"

FAMILY_OF_STEM: Mapping[str, str] = {
    "vocals": "vocals",
    "bass": "bass",
    "drums": "drums",
    "percussion": "percussion",
    "guitar": "guitar",
    "other_plucked": "plucked",
    "piano": "piano",
    "other_keys": "keys",
    "bowed_strings": "strings",
    "wind": "winds",
    "other": "fx",
}
# Tracks, by the beginning of their type, that are of another family than most of their stem.
FAMILY_OF_TRACK: Mapping[str, str] = {
    "tuba": "winds",
    "bassoon": "winds",
    "pitched_percussion": "mallets",
    "synth_pad": "synth",
    "synth_lead": "synth",
}
_CLICK = "click_track"


def count_moisesdb(found: Found, taxonomy: Taxonomy) -> int:  # noqa: ARG001
    """How many audio files lie in the folders of songs that have a `data.json` of MoisesDB."""
    folders = {folder_of(path) for path in _descriptions(found)}
    if not folders or not any(_is_moisesdb(found, path) for path in _descriptions(found)[:3]):
        return 0
    return sum("".join(f"{name}/" for name in file.folders[:-1]) in folders for file in found.audio if file.folders)


def read_moisesdb(found: Found, taxonomy: Taxonomy) -> Iterator[Item]:
    """The tracks of all songs, as the metadata name them."""
    there, named = files_below(found), set()
    for description in _descriptions(found):
        folder = folder_of(description)
        split, _ = take_split(PurePosixPath(folder).parts)
        song = PurePosixPath(folder).name or found.root.name
        try:
            stems = mappings(read_metadata(found.root / description).get("stems"))
        except DatasetError as error:
            yield Skipped(description, str(error))
            continue
        for stem in stems:
            for track in mappings(stem.get("tracks")):
                path = f"{folder}{stem.get('stemName')}/{track.get('id')}.{track.get('extension') or 'wav'}"
                named.add(path)
                if path not in there:
                    yield Skipped(path, f"named in {METADATA}, but not there")
                else:
                    yield _item(song, path, split, stem, track, taxonomy)
    for path in there.keys() - named:
        yield Skipped(path, NOT_LISTED)


def _item(
    song: str, path: str, split: str, stem: Mapping[str, Any], track: Mapping[str, Any], taxonomy: Taxonomy
) -> Item:
    kind = str(track.get("trackType") or stem.get("stemName"))
    family = FAMILY_OF_STEM.get(str(stem.get("stemName")))
    family = next((one for start, one in FAMILY_OF_TRACK.items() if kind.startswith(start)), family)
    if kind == _CLICK:
        return Skipped(path, "a click track, not a stem")
    return stem_or_reason(
        taxonomy, song, path, [kind], [family] if family else [],
        split=split, bleed=yes_or_no(track.get("has_bleed")), licence=LICENCE,
    )  # fmt: skip


def _descriptions(found: Found) -> list[str]:
    return sorted(path for path in found.metadata if PurePosixPath(path).name == METADATA)


def _is_moisesdb(found: Found, path: str) -> bool:
    try:
        stems = mappings(read_metadata(found.root / path).get("stems"))
    except DatasetError:
        return False
    return any("stemName" in stem and "tracks" in stem for stem in stems)
