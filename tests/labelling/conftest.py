"""Small pool: stems of tones and of noise, and a classifier that trains on them in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from restem.audio.mel import MelSettings
from restem.audio.store import Store
from restem.labelling.classifier import ClassifierConfig, ClassifierSettings
from restem.labelling.mixing import MixingSettings, SegmentPool
from restem.labelling.segments import lay_segments
from restem.labelling.training import TrainingSettings, TrainingTask

RATE_HZ = 8000
CLASSES = ("tone", "noise")
MEL = MelSettings(bands=16, high_hz=3800.0)
NETWORK = ClassifierSettings(depths=(1, 1), widths=(8, 16), patch=(4, 4))
SEGMENT_FRAMES = 50

MakeTask = Callable[..., TrainingTask]


@pytest.fixture
def config() -> ClassifierConfig:
    return ClassifierConfig(CLASSES, MEL, NETWORK, segment_s=1.0, dataset="0" * 64, licence="CC0")


@pytest.fixture
def pool(tmp_path: Path) -> tuple[Store, SegmentPool]:
    """Eight stems of 4 s, every other one of a tone, the rest of noise, labelled right, in a store."""
    rng = np.random.default_rng(0)
    sources = []
    for number in range(8):
        time_s = np.arange(4 * RATE_HZ) / RATE_HZ
        if number % 2 == 0:
            sound = np.sin(2 * np.pi * rng.uniform(200, 2000) * time_s)
        else:
            sound = rng.standard_normal(len(time_s)) * 0.3
        path = tmp_path / "stems" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, 0.3 * sound, RATE_HZ, subtype="FLOAT")
        sources.append((path, 0))
    store = Store(tmp_path / "cache", MEL)
    assert store.fill(sources) == {}
    segments = lay_segments([store.require(source) for source in sources], SEGMENT_FRAMES, SEGMENT_FRAMES)
    targets = np.eye(2, dtype=np.float32)[segments.stem % 2]
    return store, SegmentPool(store.stored(sources), segments.gains, segments.stem, segments.start, targets)


@pytest.fixture
def make_task(tmp_path: Path, pool: tuple[Store, SegmentPool], config: ClassifierConfig) -> MakeTask:
    """A training on `pool`: `make_task("name", steps=20, seed=0)`; a checkpoint every five steps."""

    def make(name: str, steps: int = 20, seed: int = 0, held_out: bool = True) -> TrainingTask:
        _, whole = pool
        outside = np.arange(8) >= 6
        return TrainingTask(
            folder=tmp_path / name,
            pool=whole.of_stems(~outside) if held_out else whole,
            held_out=whole.of_stems(outside) if held_out else None,
            mixing=MixingSettings(segment_s=1.0, counts=(0.5, 0.5), noise_db=(-100.0, -60.0)),
            training=TrainingSettings(
                batch=8, learning_rate=1e-2, epoch_steps=5, validation_mixtures=16, averaged_share=0.1
            ),
            config=config,
            start="scratch",
            steps=steps,
            seed=seed,
        )

    return make
