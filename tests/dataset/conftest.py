"""Small datasets to read: files without content where only names matter, tones and noise where they are heard."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE_HZ = 8000
TONES_HZ = {"vocals": 440.0, "drums": 1500.0, "bass": 80.0, "other": 700.0}

Tree = Callable[[Path, Iterable[str]], Path]
WriteSongs = Callable[..., Path]


@pytest.fixture
def tree() -> Tree:
    """Makes empty files: `tree(root, ["Song A/vocals.wav", ...])`."""

    def make(root: Path, paths: Iterable[str]) -> Path:
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
        return root

    return make


@pytest.fixture
def write_songs() -> WriteSongs:
    """Writes songs of four tones with a little noise each, 16-bit FLAC: `write_songs(root, songs=3)`."""

    def write(
        root: Path,
        songs: int = 3,
        seconds: float = 1.0,
        classes: Iterable[str] = tuple(TONES_HZ),
        amplitude: float = 0.1,
        channels: Mapping[str, int] | None = None,
    ) -> Path:
        for song in range(songs):
            rng = np.random.default_rng(song)
            for name in classes:
                time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
                sound = amplitude * np.sin(2 * np.pi * TONES_HZ[name] * (1 + song / 50) * time_s)
                sound = sound[:, None] + 0.1 * amplitude * rng.standard_normal(
                    (len(time_s), (channels or {}).get(name, 2))
                )
                folder = root / f"Song {song + 1}"
                folder.mkdir(parents=True, exist_ok=True)
                soundfile.write(folder / f"{name}.flac", sound, RATE_HZ, subtype="PCM_16")
        return root

    return write


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, str]]:
    """The content of every file below a folder, links followed and named: equal before and after if nothing changed."""

    def take(root: Path) -> dict[str, str]:
        return {
            str(path.relative_to(root)): f"{path.is_symlink()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }

    return take
