"""Scoring: the logits of a classifier for the segments of stems."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from restem.audio.entries import Source
from restem.audio.store import Store, gather_power
from restem.labelling.classifier import load_classifier
from restem.labelling.network import BATCH


@dataclass(frozen=True)
class ScoringTask:
    """Which segments a classifier is to score, in a form that can be sent to a worker process.

    folder: that of the classifier. stem, start: (segment,) index into `sources`, and first frame. length: frames.
    classes: those asked for, all of which the classifier has.
    """

    folder: Path
    store: Store
    sources: tuple[Source, ...]
    stem: np.ndarray
    start: np.ndarray
    length: int
    classes: tuple[str, ...]
    accelerator: str = "cpu"
    threads: int = 1


def score_segments(task: ScoringTask) -> np.ndarray:
    """(segment, class) float32 logits. Raises RestemError when the classifier or the features are gone."""
    if task.accelerator == "cpu":
        torch.set_num_threads(task.threads)
    device = torch.device(task.accelerator)
    classifier = load_classifier(task.folder)
    classifier = classifier.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    rows = [task.store.require(source).rows for source in task.sources]
    columns = [classifier.config.classes.index(name) for name in task.classes]
    logits = np.zeros((len(task.stem), len(columns)), np.float32)
    for first in range(0, len(task.stem), BATCH):
        some = slice(first, first + BATCH)
        power = gather_power(rows, task.stem[some], task.start[some], task.length)
        with torch.inference_mode():
            logits[some] = classifier(torch.from_numpy(power).to(device))[:, columns].float().cpu().numpy()
    return logits
