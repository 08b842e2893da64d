"""MedleyDB 1 and 2 (Bittner et al., ISMIR 2014, 2016): `<song>_METADATA.yaml` names the instrument of each stem.

    V1/<song>/<song>_STEMS/<song>_STEM_01.wav
    V1/<song>/<song>_RAW/<song>_RAW_01_01.wav       microphones behind a stem: not stems
    V1/<song>/<song>_MIX.wav

The audio comes without metadata; they are in https://github.com/marl/medleydb (`medleydb/data/Metadata`): put that
folder anywhere in the dataset, or name it. A stem with several instruments has all their classes. `Main System` is a
pair of microphones before the whole band, not a stem. `has_bleed` is about a song, not about one stem.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from restem.dataset.reading.interface import MIXTURE, NOT_LISTED, Item, stem_or_reason
from restem.dataset.reading.metadata import mappings, read_metadata, yes_or_no
from restem.dataset.splits import take_split
from restem.dataset.table import Skipped, Stem, nfc
from restem.dataset.walk import AudioFile, Found
from restem.errors import DatasetError
from restem.taxonomy import Taxonomy

LICENCE = "CC BY-NC-SA 4.0"
WHOLE_BAND, UNLABELLED = "Main System", "Unlabeled"
_FILE = re.compile(r"(?P<song>.+)_(?:(?P<stem>STEM_\d+)|(?P<raw>RAW_\d+_\d+)|MIX)")
_METADATA = "_METADATA.yaml"


def count_medleydb(found: Found, taxonomy: Taxonomy) -> int:  # noqa: ARG001
    """How many audio files are named as MedleyDB's stems, microphones and mixtures."""
    matches = [_FILE.fullmatch(file.base) for file in found.audio]
    return len([match for match in matches if match]) if any(match and match["stem"] for match in matches) else 0


def read_medleydb(found: Found, taxonomy: Taxonomy) -> Iterator[Item]:
    """The stems of all songs. Raises DatasetError when there are no metadata at all."""
    places = {Path(path).name: found.root / path for path in found.metadata if path.endswith(_METADATA)}
    if found.described_in is not None and found.described_in.is_dir():
        places |= {path.name: path for path in sorted(found.described_in.rglob(f"*{_METADATA}"))}
    if not places:
        raise DatasetError(
            f"{found.root}: is MedleyDB without its metadata, which say the instruments; get them from "
            "https://github.com/marl/medleydb, and give its folder medleydb/data/Metadata as `metadata`."
        )
    described: dict[str, Mapping[str, Any] | str] = {}
    for file in found.audio:
        match = _FILE.fullmatch(file.base)
        if match is None:
            yield Skipped(file.path, NOT_LISTED)
        elif match["raw"]:
            yield Skipped(file.path, "a microphone behind a stem, not a stem")
        elif not match["stem"]:
            yield Skipped(file.path, MIXTURE)
        else:
            song = match["song"]
            if song not in described:
                described[song] = _description(places.get(song + _METADATA))
            yield _item(file, song, described[song], taxonomy)


def _description(path: Path | None) -> Mapping[str, Any] | str:
    """The metadata of a song, or why there are none."""
    if path is None:
        return f"the metadata of its song, <song>{_METADATA}, are not there"
    try:
        return read_metadata(path)
    except DatasetError as error:
        return str(error)


def _item(file: AudioFile, song: str, content: Mapping[str, Any] | str, taxonomy: Taxonomy) -> Item:
    if isinstance(content, str):
        return Skipped(file.path, content)
    name = file.path.rpartition("/")[2]
    stem = next((one for one in mappings(content.get("stems")) if one.get("filename") == name), None)
    if stem is None:
        return Skipped(file.path, NOT_LISTED)
    instrument = stem.get("instrument")
    instruments = [str(one) for one in instrument] if isinstance(instrument, list) else [str(instrument or UNLABELLED)]
    if WHOLE_BAND in instruments:
        return Skipped(file.path, f"{WHOLE_BAND}: microphones before the whole band, not a stem")
    split, _ = take_split(file.folders)
    bleed = yes_or_no(content.get("has_bleed"))
    if UNLABELLED in instruments:
        return Stem(
            nfc(song), file.path, frozenset(), split=split, instrument=UNLABELLED, bleed=bleed, licence=LICENCE,
            unknown=True,
        )  # fmt: skip
    return stem_or_reason(taxonomy, song, file.path, instruments, split=split, bleed=bleed, licence=LICENCE)
