"""The description of an export that programs read: Croissant 1.0, JSON-LD with the words of schema.org.

It names every file with its size and SHA-256, and has one record for each audio file: its song, split, class, and the
licences of what is in it. Format: https://docs.mlcommons.org/croissant/docs/croissant-spec.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restem.content import file_sha256

CROISSANT_FILE = "croissant.json"
_CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_RECORDS = "audio"

# What the short names below stand for.
_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "sc": "https://schema.org/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "field": "cr:field",
    "key": "cr:key",
    "recordSet": "cr:recordSet",
}

_FIELDS: Mapping[str, str] = {
    "file": "The path of the file, relative to this one.",
    "song": "The song.",
    "split": "train, valid or test.",
    "class": "What is in the file: a class, or mixture.",
    "license": "The licences of the stems that were summed, separated by semicolons; empty where it is silence.",
}
_FORMATS: Mapping[str, str] = {".wav": "audio/wav", ".csv": "text/csv", ".json": "application/json"}


@dataclass(frozen=True)
class AudioFile:
    """An audio file of an export. path: relative to it, with slashes. licences: of the stems that were summed."""

    path: str
    song: str
    split: str
    label: str
    licences: tuple[str, ...]


def croissant(
    folder: Path, audio: Iterable[AudioFile], name: str, description: str, licences: Iterable[str]
) -> dict[str, Any]:
    """The description of the export in `folder`, in which all other files are written.

    licences: all that apply, as they are stated. Raises OSError when a file cannot be read.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in _FORMATS)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _CONFORMS_TO,
        "name": name,
        "description": description,
        "license": list(licences),
        "distribution": [_file_object(path, folder) for path in files],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": _RECORDS,
                "name": _RECORDS,
                "description": "One record per audio file.",
                "key": {"@id": f"{_RECORDS}/file"},
                "field": [_field(field, meaning) for field, meaning in _FIELDS.items()],
                "data": [_record(one) for one in audio],
            }
        ],
    }


def _file_object(path: Path, folder: Path) -> dict[str, str]:
    relative = path.relative_to(folder).as_posix()
    return {
        "@type": "cr:FileObject",
        "@id": relative,
        "name": relative,
        "contentUrl": relative,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": _FORMATS[path.suffix],
        "sha256": file_sha256(path),
    }


def _field(name: str, meaning: str) -> dict[str, str]:
    identifier = f"{_RECORDS}/{name}"
    return {
        "@type": "cr:Field",
        "@id": identifier,
        "name": identifier,
        "description": meaning,
        "dataType": "sc:Text",
    }


def _record(one: AudioFile) -> dict[str, str]:
    values = (one.path, one.song, one.split, one.label, "; ".join(one.licences))
    return {f"{_RECORDS}/{name}": value for name, value in zip(_FIELDS, values, strict=True)}
