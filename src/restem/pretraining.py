"""Trains the pretrained classifier that comes with restem, on generated songs only.

    python -m restem.pretraining OUT [--songs 400] [--steps 6000] [--workers 1]

    OUT/songs/      the rendered stems: one per instrument family of a song, and the sum of its accompaniment
    OUT/stems.csv   their labels: `drums`, `other+guitar`, `other+piano+strings`
    OUT/features/   their mel power
    OUT/classifier/ the classifier; its two files are what `restem/labelling/pretrained_weights` holds

It is trained on restem's own generated songs alone, rendered from a seed that no demo or benchmark uses. A refinement
starts from these weights instead of random ones (`restem.labelling.pretrained`). Results of an earlier call are kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from restem.audio.store import Store
from restem.audio.writer import write_audio
from restem.dataset.layouts import open_dataset
from restem.executing.processes import Processes
from restem.files import folder_written_aside, written_aside
from restem.labelling.augmentation import EffectSettings
from restem.labelling.features import load_features
from restem.labelling.mixing import MixingSettings
from restem.labelling.settings import RefineSettings
from restem.labelling.training import TrainingSettings, TrainingTask, train_classifier
from restem.synth.band import CLASS_OF_FAMILY, render_parts
from restem.taxonomy import DEFAULT_CLASSES, Taxonomy

# No demo and no benchmark uses this seed.
SEED = 2_307_12576
SONG_SECONDS = 12.0
_RATE_HZ = 44100

_FAMILIES = tuple(family for family, name in CLASS_OF_FAMILY.items() if name == "other")
CLASSES = (*DEFAULT_CLASSES, *_FAMILIES)
"""What the pretrained classifier tells apart: the default classes, and the families that `other` is made of."""

# More varied than the mixtures of a refinement, because users' recordings hold sounds that the generated songs do not.
MIXING = MixingSettings(
    level_range_db=22.0,
    curve_db=14.0,
    curve_knots=6,
    limit_share=0.25,
    noise_db=(-100.0, -35.0),
    effects=EffectSettings(),
    drawn=len(DEFAULT_CLASSES),
)


def render_stems(out: Path, songs: int, workers: int, progress: Callable[[int, int], None] | None = None) -> Path:
    """Renders the training songs, and returns the table of their stems, `out/stems.csv`."""
    (out / "songs").mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(songs) if not _folder(out, number).is_dir()]
    for done, _ in enumerate(
        Processes(workers).map_unordered(partial(_render, out), missing), songs - len(missing) + 1
    ):
        if progress is not None:
            progress(done, songs)
    rows = []
    for number in range(songs):
        for path in sorted(_folder(out, number).iterdir()):
            families = path.stem.split("+")
            labels = families if families[0] in DEFAULT_CLASSES else ["other", *families]
            rows.append((str(path.relative_to(out)), "+".join(labels), _folder(out, number).name))
    with written_aside(out / "stems.csv") as aside:
        pl.DataFrame(rows, schema=["path", "labels", "song"], orient="row").write_csv(aside)
    return out / "stems.csv"


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


def train_pretrained(out: Path, songs: int, steps: int, workers: int) -> Path:
    """Renders the missing songs, trains the classifier, and returns its folder, `out/classifier`."""
    dataset = open_dataset(render_stems(out, songs, workers), taxonomy=Taxonomy(CLASSES))
    store = Store(out / "features")
    features = load_features(dataset, store, MIXING.segment_s, RefineSettings().hop_s, Processes(workers))
    config = RefineSettings(mixing=MIXING).classifier(CLASSES, dataset.fingerprint(), licence="MIT")
    pool = features.segment_pool(features.given[features.segments.stem])
    training = TrainingSettings(learning_rate=2e-3, averaged_share=0.02, epoch_steps=250)
    task = TrainingTask(out / "pretrained", store, pool, None, MIXING, training, config, "scratch", steps, SEED)
    train_classifier(task)
    return task.folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--songs", type=int, default=400)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    print(train_pretrained(arguments.out, arguments.songs, arguments.steps, arguments.workers))


if __name__ == "__main__":
    main()
