"""Classifiers to compare with: trained on labels as they are, and measured on mixtures whose content is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from restem.audio.store import Store
from restem.dataset.table import Dataset
from restem.executing.interface import Executor
from restem.executing.processes import IN_THIS_PROCESS
from restem.labelling.classifier import load_classifier
from restem.labelling.features import load_features
from restem.labelling.mixing import Mixer, MixingSettings
from restem.labelling.settings import RefineSettings
from restem.labelling.training import TrainingTask, train_classifier

_BATCH = 64


def train_on_labels(
    datasets: Sequence[tuple[Dataset, Path]],
    settings: RefineSettings,
    store: Store,
    *,
    device: str = "cpu",
    executor: Executor = IN_THIS_PROCESS,
) -> None:
    """Trains one classifier a dataset, on its given labels and all its songs, and leaves it in the folder beside it.

    The trainings are those of a refinement with these settings: same mixing, same size, same number of steps.
    """
    tasks = []
    for dataset, folder in datasets:
        features = load_features(dataset, store, settings.mixing.segment_s, settings.hop_s, executor)
        pool = features.segment_pool(features.given[features.segments.stem])
        config = settings.classifier(dataset.taxonomy.classes, dataset.fingerprint())
        start = settings.start_of(config)
        steps = settings.steps or settings.training.steps_for(pool, settings.mixing, start)
        seed = 1000 * settings.seed
        tasks.append(
            TrainingTask(
                folder, store, pool, None, settings.mixing, settings.training, config, start, steps, seed, device
            )
        )
    for _ in executor.map_unordered(train_classifier, tasks, gpus=0 if device == "cpu" else 1):
        pass


def mixture_accuracy(
    folder: Path,
    dataset: Dataset,
    settings: RefineSettings,
    store: Store,
    *,
    mixtures: int = 2048,
    executor: Executor = IN_THIS_PROCESS,
) -> float:
    """The share of right class decisions (score above 0.5) on mixtures of the stems of `dataset`.

    The dataset's labels must be true, and its songs unknown to the classifier in `folder`. Mixtures are drawn as for
    training, at the same levels, but without curves, limits and noise; they are the same for every classifier.
    """
    classifier = load_classifier(folder)
    features = load_features(dataset, store, settings.mixing.segment_s, settings.hop_s, executor)
    plain = MixingSettings(settings.mixing.segment_s, curve_db=0.0, limit_share=0.0, noise_db=(-100.0, -100.0))
    pool = features.segment_pool(features.given[features.segments.stem])
    rows = [store.require(source).rows for source in pool.sources]
    mixer = Mixer(pool, rows, plain, settings.mel, seed=0)
    right = []
    for first in range(0, mixtures, _BATCH):
        power, targets = mixer.batch(0, first, _BATCH)
        with torch.inference_mode():
            logits = classifier(torch.from_numpy(power)).numpy()
        right.append((logits > 0) == (targets > 0.5))
    return float(np.concatenate(right).mean())
