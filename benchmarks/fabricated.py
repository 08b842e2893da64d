"""Datasets of any number of stems without sound: tiny files, and entries of the stores as if they had been decoded.

Every stem has the same number of segments, whose rows say which class the stem holds; one song in five has two stems
whose labels are exchanged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import restem
from restem.audio.entries import HEADER_BYTES, Source
from restem.audio.level import LEVEL_S
from restem.audio.pcm import PcmStore
from restem.audio.store import Store, to_bfloat16
from restem.auditing.songs import write_codes
from restem.dataset.table import Dataset
from restem.runs.decided import Decided, Range

SEGMENTS = 60
SEGMENT_FRAMES = 150
HOP_S = 0.02
"""From segment to segment. One frame, not the usual second: so 60 segments take 27 kB, not 400."""

CODES = 3000
"""Sub-fingerprints of a stem: one minute."""

_KEPT = 16
_FRAMES = SEGMENT_FRAMES + SEGMENTS - 1
_DECIDED_EVERY = 20


def fabricate(work: Path, stems: int) -> Dataset:
    """A dataset of `stems` stems in songs of four, and their entries in `work/cache`; made once."""
    root, done = work / "songs", work / "fabricated"
    if not done.exists():
        for song in range(stems // 4):
            folder = root / f"Song {song:06d}"
            folder.mkdir(parents=True, exist_ok=True)
            for name in restem.Taxonomy().classes:
                (folder / f"{name}.wav").write_bytes(f"{song} {name}".encode())
        dataset = restem.open_dataset(root)
        _write_features(dataset, work / "cache")
        _write_levels(dataset, work / "cache")
        done.touch()
    return restem.open_dataset(root)


def class_of(rows: np.ndarray) -> int:
    """The number of the class that a stem holds, from the rows of its features."""
    return int(rows[0].argmax()) // _KEPT


def decisions(dataset: Dataset) -> dict[str, Decided]:
    """What a person said about a stretch of one stem in twenty."""
    return {
        stem.name: Decided(ranges=(Range(1.0, 2.0 + SEGMENT_FRAMES * HOP_S, stem.given),))
        for stem in dataset.stems[::_DECIDED_EVERY]
    }


def write_fingerprints(work: Path, stems: int) -> list[Path]:
    """The files of fingerprints that an audit makes, one a song; one stem in 100 is a copy of another one."""
    files = []
    rng = np.random.default_rng(1)
    earlier = np.zeros(CODES, np.uint32)
    for song in range(stems // 4):
        codes = list(rng.integers(1, 1 << 32, (4, CODES), np.uint32))
        if song % 25 == 24:
            codes[0] = earlier
        earlier = codes[1]
        files.append(work / "codes" / f"{song:06d}.codes")
        if not files[-1].exists():
            files[-1].parent.mkdir(parents=True, exist_ok=True)
            write_codes(files[-1], codes)
    return files


def sources(dataset: Dataset) -> Iterator[tuple[Source, int]]:
    """Every stem's file, and the number of the class that it holds."""
    classes = list(dataset.taxonomy.classes)
    for number, stem in enumerate(dataset.stems):
        holds = classes.index(next(iter(stem.given)))
        if number // 4 % 5 == 0 and holds < 2:
            holds = 1 - holds
        yield (dataset.file(stem), 0), holds


def _write_features(dataset: Dataset, cache: Path) -> None:
    store = Store(cache)
    rng = np.random.default_rng(0)
    banks = []
    for holds in range(len(dataset.taxonomy)):
        power = 1e-4 * rng.random((_FRAMES, store.settings.bands), np.float32)
        power[:, holds * _KEPT : (holds + 1) * _KEPT] += 0.01
        banks.append(to_bfloat16(power).tobytes())
    header = {
        "format": "restem mel 2", "settings": vars(store.settings), "frames": _FRAMES, "seconds": _FRAMES * HOP_S,
        "rate_hz": 44100, "channels": 2, "note": "",
    }  # fmt: skip
    head = json.dumps(header).encode().ljust(HEADER_BYTES)
    for source, holds in sources(dataset):
        _write(store.entry(source), head + banks[holds])


def _write_levels(dataset: Dataset, cache: Path) -> None:
    store = PcmStore(cache, 44100, 2)
    levels = round(SEGMENTS / LEVEL_S)
    header = {
        "format": "restem pcm 3", "rate_hz": 44100, "channels": 2, "frames": SEGMENTS * 44100, "levels": levels,
        "scale": 1.0, "copied": False, "note": "",
    }  # fmt: skip
    content = json.dumps(header).encode().ljust(HEADER_BYTES) + np.full(levels, 0.01, np.float32).tobytes()
    for source, _ in sources(dataset):
        _write(store.entry(source), content)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
