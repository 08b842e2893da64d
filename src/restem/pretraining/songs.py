"""The songs that everything pretrained is made of: rendered from a seed that no demo and no benchmark uses.

OUT/songs/      the rendered stems: one per instrument family of a song, and the sum of its accompaniment
OUT/stems.csv   their labels: `drums`, `other+guitar`, `other+piano+strings`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from restem.audio.writer import write_audio
from restem.executing.interface import Executor
from restem.files import folder_written_aside, written_aside
from restem.synth.band import CLASS_OF_FAMILY, render_parts
from restem.taxonomy import DEFAULT_CLASSES

# No demo and no benchmark uses this seed.
SEED = 2_307_12576
SONG_SECONDS = 12.0
_RATE_HZ = 44100

_FAMILIES = tuple(family for family, name in CLASS_OF_FAMILY.items() if name == "other")
CLASSES = (*DEFAULT_CLASSES, *_FAMILIES)
"""What is told apart: the default classes, and the families that `other` is made of."""


def render_stems(out: Path, songs: int, executor: Executor, progress: Callable[[int, int], None] | None = None) -> Path:
    """Renders the training songs, and returns the table of their stems, `out/stems.csv`."""
    (out / "songs").mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(songs) if not _folder(out, number).is_dir()]
    for done, _ in enumerate(executor.map_unordered(partial(_render, out), missing), songs - len(missing) + 1):
        if progress is not None:
            progress(done, songs)
    rows = []
    for number in range(songs):
        for path in sorted(_folder(out, number).iterdir()):
            families = path.stem.split("+")
            rows.append((str(path.relative_to(out)), "+".join(labels_of(families)), _folder(out, number).name))
    with written_aside(out / "stems.csv") as aside:
        pl.DataFrame(rows, schema=["path", "labels", "song"], orient="row").write_csv(aside)
    return out / "stems.csv"


def labels_of(families: Iterable[str]) -> list[str]:
    """The classes that a sum of instrument families holds: those themselves, and the one that each is a kind of."""
    found = {one for family in families for one in (family, CLASS_OF_FAMILY[family])}
    return [name for name in CLASSES if name in found]


def _folder(out: Path, number: int) -> Path:
    return out / "songs" / f"song{number:04d}"


def _render(out: Path, number: int) -> None:
    """Renders one song: a file per family, named after it, and one for the sum of several accompanying families."""
    stems: dict[str, np.ndarray] = {}
    for part in render_parts(SEED, number, seconds=SONG_SECONDS, rate_hz=_RATE_HZ):
        stems[part.family] = stems.get(part.family, 0.0) + part.sound
    if len(accompaniment := [family for family in _FAMILIES if family in stems]) > 1:
        stems["+".join(accompaniment)] = np.sum([stems[family] for family in accompaniment], axis=0)
    folder = _folder(out, number)
    with folder_written_aside(folder) as aside:
        for name, sound in stems.items():
            write_audio(aside / f"{name}.flac", sound, _RATE_HZ, "PCM_16")
