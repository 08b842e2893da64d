"""Classifiers to compare a refinement with: trained on given or on true labels, and measured on mixtures.

The content of the mixtures is known, since they are made of stems with true labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from restem.audio.store import Store
from restem.dataset.table import Dataset
from restem.dataset.truth import read_truth
from restem.executing.interface import Executor
from restem.executing.processes import IN_THIS_PROCESS
from restem.labelling.classifier import load_classifier
from restem.labelling.features import load_features
from restem.labelling.mixing import Mixer, MixingSettings, SegmentPool
from restem.labelling.settings import RefineSettings
from restem.labelling.training import TrainingTask, train_classifier
from restem.progress import Report

_BATCH = 64


def with_true_labels(noisy: Dataset, truth: Path) -> Dataset:
    """The same stems under their true labels. truth: a CSV `song,stem,given,true` with stems relative to the root.

    Raises DatasetError when it cannot be read.
    """
    taxonomy = noisy.taxonomy
    rows = read_truth(truth, taxonomy).select("stem", "true").iter_rows()
    return noisy.with_labels({stem: taxonomy.parse(labels) for stem, labels in rows})


def train_on_labels(
    datasets: Sequence[tuple[Dataset, Path]],
    settings: RefineSettings,
    store: Store,
    *,
    device: str = "cpu",
    executor: Executor = IN_THIS_PROCESS,
    progress: Report | None = None,
) -> None:
    """Trains a classifier for each dataset, on the labels as they are given and on all songs.

    datasets: pairs of a dataset and the folder for its classifier; one that is there already is kept. The mixtures, the
    size of the classifier and the optimiser steps are those of a refinement with these settings. progress: called with
    how many classifiers are trained, and how many there are in all.
    """
    tasks = []
    for dataset, folder in datasets:
        features = load_features(dataset, store, settings.mixing.segment_s, settings.hop_s, executor)
        pool = features.segment_pool(features.given[features.segments.stem])
        config = settings.classifier(dataset.taxonomy.classes, dataset.fingerprint())
        start = settings.start_of(config)
        steps = settings.steps or settings.training.steps_for(len(pool.stem), settings.mixing, start)
        seed = 1000 * settings.seed
        tasks.append(
            TrainingTask(folder, pool, None, settings.mixing, settings.training, config, start, steps, seed, device)
        )
    finished = executor.map_unordered(train_classifier, tasks, gpus=0 if device == "cpu" else 1)
    for done, _ in enumerate(finished, 1):
        if progress is not None:
            progress(done, len(tasks))


@dataclass(frozen=True)
class Mixtures:
    """What a classifier says about mixtures, and what is in them. scores: (mixture, class). true: (mixture, class)."""

    scores: np.ndarray
    true: np.ndarray


def listen_to_mixtures(
    folder: Path,
    pool: SegmentPool,
    classes: Sequence[str],
    settings: RefineSettings,
    mixtures: int = 2048,
) -> Mixtures:
    """The scores of the classifier in `folder` for mixtures of the segments of `pool`.

    classes: those of the pool, all of which the classifier has. Mixtures are drawn as for training, at the same levels,
    but without equaliser curves, band limits and noise; every classifier gets the same.
    """
    classifier = load_classifier(folder)
    columns = [classifier.config.classes.index(name) for name in classes]
    plain = MixingSettings(settings.mixing.segment_s, curve_db=0.0, limit_share=0.0, noise_db=(-100.0, -100.0))
    mixer = Mixer(pool, pool.stems, plain, settings.mel, seed=0)
    scores, true = [], []
    for first in range(0, mixtures, _BATCH):
        power, targets = mixer.batch(0, first, min(_BATCH, mixtures - first))
        with torch.inference_mode():
            scores.append(torch.sigmoid(classifier(torch.from_numpy(power))[:, columns]).numpy())
        true.append(targets > 0.5)
    return Mixtures(np.concatenate(scores), np.concatenate(true))


def pool_of(
    dataset: Dataset, settings: RefineSettings, store: Store, executor: Executor = IN_THIS_PROCESS
) -> SegmentPool:
    """The active segments of a dataset under its labels, to make mixtures of."""
    features = load_features(dataset, store, settings.mixing.segment_s, settings.hop_s, executor)
    return features.segment_pool(features.given[features.segments.stem])


def mixture_accuracy(
    folder: Path,
    dataset: Dataset,
    settings: RefineSettings,
    store: Store,
    *,
    mixtures: int = 2048,
    executor: Executor = IN_THIS_PROCESS,
) -> float:
    """The share of right decisions of the classifier in `folder` on mixtures of the stems of `dataset`, in [0, 1].

    There is one decision per mixture and class: the class is present where its score exceeds 0.5. The labels of the
    dataset must be true, and the classifier must not have been trained on its songs.
    """
    pool = pool_of(dataset, settings, store, executor)
    found = listen_to_mixtures(folder, pool, dataset.taxonomy.classes, settings, mixtures)
    return float(((found.scores > 0.5) == found.true).mean())
