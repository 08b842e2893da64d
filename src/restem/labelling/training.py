"""Training one classifier.

A training is a pure function of its task. It leaves `model.safetensors` and `config.json` in the task's folder; while
it is unfinished a checkpoint after every epoch lies there too, from which an interrupted training goes on to the
same weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from restem import fitting
from restem.labelling.classifier import Classifier, ClassifierConfig, save_classifier
from restem.labelling.mixing import Mixer, MixingSettings, SegmentPool
from restem.labelling.options import Start
from restem.labelling.pretrained import has_pretrained, start_from_pretrained

# By default, how often every segment is drawn, and the largest learning rate: pretrained weights need little of both.
_BY_START: Mapping[Start, tuple[float, float]] = {"pretrained": (10.0, 5e-4), "scratch": (30.0, 2e-3)}

# However little there is to learn from, and however much.
_STEPS_RANGE = (100, 100_000)


@dataclass(frozen=True)
class TrainingSettings:
    """How a classifier is trained.

    passes: how often every segment is drawn, where the number of steps is not given. More passes memorise wrong labels,
    fewer leave the classifier blunt. batch: mixtures in a step. learning_rate: its peak; it rises to it and falls to
    zero (one cycle; Smith, 2018). passes and learning_rate are by default those of the start, in `_BY_START`.
    averaged_share: the weights kept are an exponential average over about this share of the steps.
    patience: epochs (of `epoch_steps`) without a better loss on held-out songs before training stops early. most_stems:
    of more, so many are drawn to learn from: reading at random from features that do not fit into memory is slow
    (58 GB are those of 40,000 stems of four minutes). `benchmarks/training_subset.py` measures what fewer stems cost.
    """

    passes: float | None = None
    batch: int = 64
    learning_rate: float | None = None
    weight_decay: float = 0.05
    averaged_share: float = 0.05
    epoch_steps: int = 50
    patience: int = 8
    validation_mixtures: int = 512
    most_stems: int = 40_000

    def steps_for(self, segments: int, mixing: MixingSettings, start: Start) -> int:
        """How many optimiser steps draw each of so many segments about `passes` times."""
        passes = self.passes or _BY_START[start][0]
        drawn = float(np.average(1 + np.arange(len(mixing.counts)), weights=mixing.counts))
        return int(np.clip(passes * segments / (self.batch * drawn), *_STEPS_RANGE))

    def rate_for(self, start: Start) -> float:
        """The largest learning rate."""
        return self.learning_rate or _BY_START[start][1]


def default_start(config: ClassifierConfig) -> Start:
    """Where the training of such a classifier starts unless told otherwise."""
    return "pretrained" if has_pretrained(config) else "scratch"


@dataclass(frozen=True)
class TrainingTask:
    """Everything a training depends on, in a form that can be sent to a worker process.

    folder: where the classifier is left. held_out: segments of other songs, to watch the loss on, or None.
    start: `pretrained`, from the weights that come with restem, or `scratch`, from random ones. steps: optimiser steps.
    accelerator: `cpu`, `cuda` or `mps`; one device of it is used. precision: Lightning's, by default what suits the
    machine. threads: torch's on a CPU. The last digits of the result depend on these.
    """

    folder: Path
    pool: SegmentPool
    held_out: SegmentPool | None
    mixing: MixingSettings
    training: TrainingSettings
    config: ClassifierConfig
    start: Start
    steps: int
    seed: int
    accelerator: str = "cpu"
    precision: str | None = None
    threads: int = 1

    @property
    def finished(self) -> bool:
        """Whether the classifier is there already."""
        return (self.folder / "model.safetensors").exists()


def train_classifier(task: TrainingTask) -> None:
    """Trains the classifier of `task`, from the last checkpoint if there is one; does nothing if it is finished."""
    if task.finished:
        return
    fitting.prepare(task.accelerator, task.threads, task.seed)
    settings = task.training
    classifier = task.config.build()
    if task.start == "pretrained":
        start_from_pretrained(classifier, task.config)
    module = _TrainingModule(classifier, task)
    loop = fitting.Loop(
        task.folder,
        steps=task.steps,
        epoch_steps=settings.epoch_steps,
        batch=settings.batch,
        average=fitting.average_over(settings.averaged_share * task.steps),
        patience=settings.patience,
        accelerator=task.accelerator,
        precision=task.precision,
        threads=task.threads,
    )
    validation = _draw(task, task.held_out) if task.held_out is not None else None
    validation_batches = -(-settings.validation_mixtures // settings.batch)
    if fitting.fit(module, loop, _draw(task, task.pool), validation, validation_batches):
        save_classifier(task.folder, module.classifier)
        fitting.finish(task.folder)


def steps_done(task: TrainingTask) -> int:
    """How far a training has come, for a progress bar in another process."""
    return task.steps if task.finished else fitting.steps_done(task.folder)


class _TrainingModule(lightning.LightningModule):
    """Binary cross-entropy a class, AdamW, one cycle."""

    def __init__(self, classifier: Classifier, task: TrainingTask) -> None:
        super().__init__()
        # Channels last is the layout in which these convolutions are fast, on CPUs and GPUs alike.
        self.classifier: Classifier = classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.steps = task.steps
        self.rate = task.training.rate_for(task.start)
        self.weight_decay = task.training.weight_decay

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        loss = self._loss(batch)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self.log("validation_loss", self._loss(batch), sync_dist=True)

    def _loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        power, targets = batch
        return functional.binary_cross_entropy_with_logits(self.classifier(power).float(), targets)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), self.rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.rate, total_steps=self.steps + 1, pct_start=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _draw(task: TrainingTask, pool: SegmentPool) -> fitting.Draw:
    """Draws the batches of a training from `pool`."""
    mixer = Mixer(pool, pool.stems.on_this_machine(), task.mixing, pool.stems.settings, task.seed)

    def draw(epoch: int, first: int) -> tuple[Tensor, Tensor]:
        power, targets = mixer.batch(epoch, first, task.training.batch)
        return torch.from_numpy(power), torch.from_numpy(targets)

    return draw
