"""The pretrained classifier that comes with restem, trained on generated songs only.

    OUT/features/   the mel power of the songs
    OUT/classifier/ the classifier; its two files are what `restem/labelling/pretrained_weights` holds

A refinement starts from these weights instead of random ones (`restem.labelling.pretrained`).
"""

from __future__ import annotations

from pathlib import Path

from restem.audio.store import Store
from restem.dataset.layouts import open_dataset
from restem.executing.interface import Executor
from restem.labelling.augmentation import EffectSettings
from restem.labelling.features import load_features
from restem.labelling.mixing import MixingSettings
from restem.labelling.settings import RefineSettings
from restem.labelling.training import TrainingSettings, TrainingTask, train_classifier
from restem.pretraining.songs import CLASSES, SEED, render_stems
from restem.taxonomy import DEFAULT_CLASSES, Taxonomy

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


def train_pretrained(out: Path, songs: int, steps: int, executor: Executor) -> Path:
    """Renders the missing songs, trains the classifier, and returns its folder, `out/classifier`."""
    dataset = open_dataset(render_stems(out, songs, executor), taxonomy=Taxonomy(CLASSES))
    store = Store(out / "features")
    features = load_features(dataset, store, MIXING.segment_s, RefineSettings().hop_s, executor)
    config = RefineSettings(mixing=MIXING).classifier(CLASSES, dataset.fingerprint(), licence="MIT")
    pool = features.segment_pool(features.given[features.segments.stem])
    training = TrainingSettings(learning_rate=2e-3, averaged_share=0.02, epoch_steps=250)
    task = TrainingTask(out / "pretrained", pool, None, MIXING, training, config, "scratch", steps, SEED)
    train_classifier(task)
    return task.folder
