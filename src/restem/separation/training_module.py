"""What happens in a step of a training, and after each epoch: loss, learning rate, figures, and the separator saved."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from restem.errors import RestemError
from restem.progress import Progress
from restem.resuming import WorkRecord
from restem.separation.losses import mixture_sdr, set_loss, set_sdr, truncation_at
from restem.separation.separator import Separator, save_separator
from restem.separation.train_settings import TrainSettings
from restem.separation.training_figures import FIGURES, figures_text

LOGGER = logging.getLogger("restem.separation.train")  # what `restem train` shows

_WARM_UP_SHARE = 0.05


class SeparatorModule(lightning.LightningModule):
    """The Lightning module of a separator: the loss for label sets, AdamW, a one-cycle learning rate."""

    def __init__(self, separator: Separator, settings: TrainSettings) -> None:
        super().__init__()
        self.separator = separator
        self.settings = settings
        self.seconds = 0.0
        self._seen = 0.0

    @property
    def steps_expected(self) -> int:
        """The steps that the training is expected to take, by those so far: fewer than asked for if time runs out."""
        done = self.trainer.global_step
        return min(self.settings.steps, max(done, round(done / self.share_done))) if done else self.settings.steps

    @property
    def share_done(self) -> float:
        """The share of the training that is done, by steps or by time, in [0, 1]."""
        by_time = self.seconds / self.settings.max_seconds if self.settings.max_seconds else 0.0
        return min(1.0, max(self.trainer.global_step / self.settings.steps, by_time))

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        groups, targets = batch
        outputs = self.separator(targets.sum(dim=1))
        quantile = truncation_at(self.settings.truncate, self.share_done)
        loss = set_loss(outputs.float(), groups, targets, self.settings.loss, quantile, self.settings.rate_hz)
        self.log("loss", loss)
        self.log("mean_loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def on_train_batch_start(self, *_: Any) -> None:
        self._seen = time.monotonic()
        rate = self.settings.learning_rate * one_cycle(self.share_done)
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = rate

    def on_train_batch_end(self, *_: Any) -> None:
        self.seconds += time.monotonic() - self._seen
        if self.share_done >= 1.0:
            self.trainer.should_stop = True

    def validation_step(self, batch: tuple[Tensor, Tensor], number: int) -> None:
        groups, targets = batch
        mixture = targets.sum(dim=1)
        outputs = self.separator(mixture).float()
        self.log(
            "validation_loss",
            set_loss(outputs, groups, targets, self.settings.loss, None, self.settings.rate_hz),
            sync_dist=True,
        )
        self.log("validation_sdr", set_sdr(outputs, groups, targets), sync_dist=True)
        self.log("mixture_sdr", mixture_sdr(targets), sync_dist=True)
        if number == 0 and self.trainer.is_global_zero:
            self._log_audio("mixture", mixture[0])
            for name, sound in zip(self.separator.config.classes, outputs[0], strict=True):
                self._log_audio(name, sound)

    def _log_audio(self, name: str, sound: Tensor) -> None:
        """sound: (channel, sample)."""
        log: Any = self.logger
        # tensorboardX takes (sample, channel).
        log.experiment.add_audio(
            f"validation/{name}",
            sound.T.clamp(-1.0, 1.0).cpu().numpy(),
            self.trainer.global_step,
            self.settings.rate_hz,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        settings = self.settings
        return torch.optim.AdamW(self.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["seconds"] = self.seconds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.seconds = checkpoint["seconds"]


def one_cycle(share_done: float) -> float:
    """The learning rate relative to its largest value: a linear rise, then a cosine to zero (Smith, 2018)."""
    if share_done < _WARM_UP_SHARE:
        return 0.04 + 0.96 * share_done / _WARM_UP_SHARE
    return 0.5 + 0.5 * math.cos(math.pi * (share_done - _WARM_UP_SHARE) / (1.0 - _WARM_UP_SHARE))


class SaveAndReport(Callback):
    """Saves the separator after every epoch in which it became better, and reports the progress of the training.

    What is saved are the averaged weights, which are those that were validated. Without validation, every epoch counts
    as better.
    """

    def __init__(self, out: Path, record: WorkRecord, report: Progress) -> None:
        self.out = out
        self.record = record
        self.report = report

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any) -> None:
        if trainer.is_global_zero and isinstance(pl_module, SeparatorModule):
            self.report("training", trainer.global_step, pl_module.steps_expected)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.is_global_zero and isinstance(pl_module, SeparatorModule):
            prefix = "separator.network."
            if not all(tensor.isfinite().all() for tensor in checkpoint["state_dict"].values()):
                raise RestemError(
                    f"{self.out}: the weights have become NaN or infinite; delete it, and train with a lower "
                    "`learning_rate`."
                )
            averaged = {
                name.removeprefix(prefix): tensor
                for name, tensor in checkpoint["state_dict"].items()
                if name.startswith(prefix)
            }
            logged = trainer.callback_metrics
            # An SDR is NaN where every stem of the songs kept aside is alone in its mixture: there is nothing to tell.
            figures = {name: float(logged[name]) for name in FIGURES if name in logged and logged[name].isfinite()}
            kept = self.record.content.get("kept")
            if kept is None or not figures.get("validation_loss", math.inf) >= kept["validation_loss"]:
                save_separator(self.out, pl_module.separator.config, averaged)
                of_songs = {name: figures[name] for name in FIGURES[1:] if name in figures}
                kept = {"steps": trainer.global_step, **of_songs} if "validation_loss" in figures else None
            news = {} if kept is None else {"kept": kept}
            self.record.note(steps=trainer.global_step, seconds=round(pl_module.seconds, 1), **figures, **news)
            LOGGER.info("step %s: %s", f"{trainer.global_step:,}", figures_text(figures))
