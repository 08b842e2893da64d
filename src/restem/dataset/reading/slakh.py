"""Slakh2100 and BabySlakh (Manilow et al., WASPAA 2019): `metadata.yaml` in the folder of each song.

    slakh2100_flac_redux/train/Track00001/metadata.yaml
    slakh2100_flac_redux/train/Track00001/stems/S00.flac

Stems were rendered from MIDI; their General MIDI program says the instrument. Most papers keep contrabass and voices in
`other`: a taxonomy file with `other: [contrabass, choir aahs, voice oohs, synth voice]` does the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from restem.dataset.reading.interface import MIXTURE, NOT_LISTED, Item, stem_or_reason
from restem.dataset.reading.metadata import folder_of, read_metadata
from restem.dataset.splits import take_split
from restem.dataset.table import Skipped
from restem.dataset.walk import AudioFile, Found
from restem.errors import DatasetError
from restem.taxonomy import Taxonomy

METADATA = "metadata.yaml"
LICENCE = "CC BY 4.0"
_STEM = re.compile(r"S\d+")

# General MIDI program, counted from 0, up to and with which a family goes (MIDI Manufacturers Association, 1991).
_FAMILY_UP_TO: tuple[tuple[int, str], ...] = (
    (5, "piano"), (7, "keys"), (14, "mallets"), (15, "plucked"), (23, "keys"), (31, "guitar"), (39, "bass"),
    (42, "strings"), (43, "bass"), (45, "strings"), (46, "plucked"), (47, "percussion"), (51, "strings"),
    (54, "vocals"), (55, "fx"), (79, "winds"), (95, "synth"), (103, "fx"), (107, "plucked"), (108, "mallets"),
    (109, "winds"), (110, "strings"), (111, "winds"), (112, "mallets"), (113, "percussion"), (114, "mallets"),
    (118, "percussion"), (127, "fx"), (128, "drums"),
)  # fmt: skip


def family_of_program(program: int) -> str | None:
    """The family of a General MIDI program from 0 to 127; 128 is Slakh2100's number for drum kits."""
    return next((family for last, family in _FAMILY_UP_TO if 0 <= program <= last), None)


def count_slakh(found: Found, taxonomy: Taxonomy) -> int:  # noqa: ARG001
    """How many audio files are stems and mixtures beside a `metadata.yaml`."""
    folders = {folder_of(path) for path in found.metadata if PurePosixPath(path).name == METADATA}
    return sum(_song_folder(file) in folders and bool(_STEM.fullmatch(file.base)) for file in found.audio)


def read_slakh(found: Found, taxonomy: Taxonomy) -> Iterator[Item]:
    """The stems of all songs; those that were not rendered are named if there is a file all the same."""
    songs: dict[str, list[AudioFile]] = {}
    for file in found.audio:
        songs.setdefault(_song_folder(file), []).append(file)
    for folder, files in songs.items():
        stems: Mapping[str, Any] = {}
        if folder + METADATA in found.metadata:
            try:
                content = read_metadata(found.root / (folder + METADATA)).get("stems")
                stems = content if isinstance(content, dict) else {}
            except DatasetError as error:
                yield Skipped(folder + METADATA, str(error))
        for file in files:
            yield _item(file, PurePosixPath(folder).name or found.root.name, stems.get(file.base), taxonomy)
        missing = set(stems) - {file.base for file in files}
        for key in sorted(str(key) for key in missing):
            if isinstance(stems.get(key), dict) and stems[key].get("audio_rendered"):
                yield Skipped(f"{folder}stems/{key}", f"named in {METADATA}, but not there")


def _item(file: AudioFile, song: str, stem: Any, taxonomy: Taxonomy) -> Item:
    split, _ = take_split(file.folders)
    if file.base.lower() in ("mix", "mixture"):
        return Skipped(file.path, MIXTURE)
    if not isinstance(stem, dict):
        return Skipped(file.path, NOT_LISTED)
    if stem.get("audio_rendered") is False:
        return Skipped(file.path, f"not rendered, by {METADATA}")
    program = stem.get("program_num")
    family = "drums" if stem.get("is_drum") else family_of_program(program) if isinstance(program, int) else None
    kind = str(stem.get("inst_class", ""))
    name = str(stem.get("midi_program_name") or kind or file.base)
    return stem_or_reason(
        taxonomy, song, file.path, [name], [family] if family else [],
        split=split, bleed="no", licence=LICENCE, called=f"{kind}: {name}" if kind else name,
    )  # fmt: skip


def _song_folder(file: AudioFile) -> str:
    """The folder of a song: that of the file, or the one above `stems`."""
    folders = file.folders[:-1] if file.folders and file.folders[-1] == "stems" else file.folders
    return "/".join(folders) + "/" if folders else ""
