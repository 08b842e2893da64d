"""Scoring: what a classifier says of the segments of stems, its logits or its embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from restem.audio.store import StoredStems, gather_power
from restem.labelling.classifier import Classifier, load_classifier
from restem.labelling.network import BATCH


@dataclass(frozen=True)
class ScoringTask:
    """Which segments a classifier is to score, in a form that can be sent to a worker process.

    folder: that of the classifier. stems: the features of those that the segments are of. stem, start: (segment,) index
    into them, and first frame. length: frames. classes: those asked for, all of which the classifier has.
    """

    folder: Path
    stems: StoredStems
    stem: np.ndarray
    start: np.ndarray
    length: int
    classes: tuple[str, ...]
    accelerator: str = "cpu"
    threads: int = 1


def score_segments(task: ScoringTask) -> np.ndarray:
    """(segment, class) float32 logits. Raises RestemError when the classifier or the features are gone."""
    classifier = _classifier(task)
    columns = [classifier.config.classes.index(name) for name in task.classes]
    return _applied(task, lambda power: classifier(power)[:, columns], len(columns), np.float32)


def embed_segments(task: ScoringTask) -> np.ndarray:
    """(segment, embedding) float16, what the output layer of the classifier sees. Errors as `score_segments`."""
    classifier = _classifier(task)
    return _applied(task, classifier.embed, classifier.head.in_features, np.float16)


def _classifier(task: ScoringTask) -> Classifier:
    """The classifier of a task, where it is to run."""
    if task.accelerator == "cpu":
        torch.set_num_threads(task.threads)
    classifier = load_classifier(task.folder)
    return classifier.to(device=task.accelerator, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _applied(task: ScoringTask, network: Callable[[Tensor], Tensor], size: int, kind: type) -> np.ndarray:
    """(segment, size): the network over the mel power of all segments of a task."""
    found: np.ndarray = np.zeros((len(task.stem), size), kind)
    stems = task.stems.on_this_machine()
    for first in range(0, len(task.stem), BATCH):
        some = slice(first, first + BATCH)
        power = gather_power(stems, task.stem[some], task.start[some], task.length)
        with torch.inference_mode():
            found[some] = network(torch.from_numpy(power).to(task.accelerator)).float().cpu().numpy()
    return found
