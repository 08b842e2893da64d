"""Small songs of four kinds of sound, at a low rate, and separators that train on them in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from restem.dataset.layouts import open_dataset
from restem.dataset.table import Dataset
from restem.separation.train_settings import TrainSettings

RATE_HZ = 8000
SECONDS = 4


def sound_of(name: str, rng: np.random.Generator) -> np.ndarray:
    """A low tone, a high tone, clicks, or noise: (sample, channel)."""
    time_s = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    if name == "bass":
        mono = np.sin(2 * np.pi * rng.uniform(60, 120) * time_s)
    elif name == "vocals":
        mono = np.sin(2 * np.pi * rng.uniform(700, 1500) * time_s)
    elif name == "drums":
        mono = np.where(np.arange(len(time_s)) % rng.integers(1500, 2500) < 30, 1.0, 0.0)
    else:
        mono = rng.standard_normal(len(time_s)) * 0.3
    return 0.3 * np.stack([mono, rng.uniform(0.5, 1.0) * mono], axis=1)


@pytest.fixture
def songs(tmp_path: Path) -> Dataset:
    """Six songs with a stem for each of the four default classes."""
    rng = np.random.default_rng(0)
    for number in range(6):
        for name in ("vocals", "drums", "bass", "other"):
            path = tmp_path / "songs" / f"song{number}" / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, sound_of(name, rng), RATE_HZ)
    return open_dataset(tmp_path / "songs")


@pytest.fixture
def two_stems() -> Callable[..., Dataset]:
    """Writes songs of `vocals.wav` and a mixture of the rest: (folder, name of the latter, number of songs)."""

    def write(root: Path, rest: str = "instrumental", songs: int = 6) -> Dataset:
        rng = np.random.default_rng(0)
        for number in range(songs):
            folder = root / f"song{number}"
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / "vocals.wav", sound_of("vocals", rng), RATE_HZ)
            others = [sound_of(name, rng) for name in ("drums", "bass", "other")]
            soundfile.write(folder / f"{rest}.wav", np.sum(others, axis=0), RATE_HZ)
        return open_dataset(root)

    return write


@pytest.fixture
def quick() -> TrainSettings:
    return TrainSettings(
        parameters={"n_fft": 256, "hop": 128, "bands": 12, "width": 16, "depth": 1},
        segment_s=1.0, rate_hz=RATE_HZ, steps=12, batch=2, epoch_steps=4, validation=0.2, validation_examples=4,
    )  # fmt: skip
