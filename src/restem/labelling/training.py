"""Training one classifier: one Lightning loop for a CPU, a GPU and many.

A training is a pure function of its task. It leaves `model.safetensors` and `config.json` in the task's folder; while
it is unfinished a checkpoint after every epoch lies there too, from which an interrupted training goes on to the
same weights.
"""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import get_ema_avg_fn
from torch.utils.data import DataLoader, Dataset, Sampler

from restem.audio.store import Store
from restem.labelling.classifier import Classifier, ClassifierConfig, save_classifier
from restem.labelling.mixing import Material, Mixer, MixingSettings

_VALIDATION_EPOCH = (1 << 63) - 1
_PROGRESS_FILE = "progress"

# However little there is to learn from, and however much.
_STEPS_RANGE = (100, 100_000)


@dataclass(frozen=True)
class TrainingSettings:
    """How a classifier is trained.

    steps: of the optimiser; by default as many as let every segment be heard `passes` times. More passes memorise
    wrong labels, fewer leave the classifier blunt.
    batch: mixtures in a step. The rate rises to `learning_rate` and falls to zero (one cycle; Smith, 2018).
    averaged_share: the weights kept are an exponential average over about this share of the steps.
    patience: epochs (of `epoch_steps`) without a better loss on held-out songs before training stops early.
    """

    steps: int | None = None
    passes: float = 30.0
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    averaged_share: float = 0.05
    epoch_steps: int = 50
    patience: int = 8
    validation_mixtures: int = 512

    def resolved(self, material: Material, mixing: MixingSettings) -> TrainingSettings:
        """These settings with the number of steps for this material."""
        if self.steps is not None:
            return self
        drawn = np.average(1 + np.arange(len(mixing.counts)), weights=mixing.counts)
        steps = self.passes * len(material.stem) / (self.batch * float(drawn))
        return replace(self, steps=int(np.clip(steps, *_STEPS_RANGE)))


@dataclass(frozen=True)
class TrainingTask:
    """Everything a training depends on, in a form that can be sent to a worker process.

    folder: where the classifier is left. held_out: material of other songs, to watch the loss on, or None.
    accelerator: `cpu`, `cuda` or `mps`. threads: torch's on a CPU; the last digits of the result depend on them.
    """

    folder: Path
    store: Store
    material: Material
    held_out: Material | None
    mixing: MixingSettings
    training: TrainingSettings
    config: ClassifierConfig
    seed: int
    accelerator: str = "cpu"
    threads: int = 1

    @property
    def steps(self) -> int:
        """How many steps the training takes."""
        if self.training.steps is None:
            raise ValueError("TrainingSettings must be resolved before a training.")
        return self.training.steps

    @property
    def finished(self) -> bool:
        """Whether the classifier is there already."""
        return (self.folder / "model.safetensors").exists()


def train_classifier(task: TrainingTask) -> None:
    """Trains the classifier of `task`, from the last checkpoint if there is one; does nothing if it is finished."""
    if task.finished:
        return
    _quieten_lightning()
    if task.accelerator == "cpu":
        torch.set_num_threads(task.threads)
    task.folder.mkdir(parents=True, exist_ok=True)
    lightning.seed_everything(task.seed, verbose=False)
    settings = task.training
    module = _TrainingModule(task.config.build(), settings, task.steps)
    epoch_steps = min(settings.epoch_steps, task.steps)
    checkpoint = task.folder / "last.ckpt"
    decay = 1.0 - 1.0 / max(1.0, settings.averaged_share * task.steps)
    callbacks: list[Callback] = [
        _Averaging(avg_fn=get_ema_avg_fn(decay)),  # type: ignore[no-untyped-call]
        # After the epoch, not after its validation: what is resumed then begins with the next one.
        ModelCheckpoint(
            task.folder,
            filename="last",
            save_top_k=1,
            every_n_epochs=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
        _WriteProgress(task.folder / _PROGRESS_FILE),
    ]
    if task.held_out is not None:
        callbacks.append(EarlyStopping("validation_loss", patience=settings.patience))
    trainer = lightning.Trainer(
        accelerator="gpu" if task.accelerator == "cuda" else task.accelerator,
        devices=1 if task.accelerator == "cpu" else "auto",
        precision=_precision(task.accelerator),  # type: ignore[arg-type]
        # Not max_steps, with which Lightning goes on in the middle of an epoch that was finished, and stumbles.
        max_epochs=-(-task.steps // epoch_steps),
        callbacks=callbacks,
        logger=TensorBoardLogger(task.folder, name="log", version=""),
        gradient_clip_val=5.0,
        log_every_n_steps=min(10, epoch_steps),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = _loader(task, task.material, epoch_steps)
    validation = None
    if task.held_out is not None:
        validation = _loader(task, task.held_out, -(-settings.validation_mixtures // settings.batch), fixed=True)
    trainer.fit(module, loader, validation, ckpt_path=checkpoint if _is_whole(checkpoint) else None, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    if trainer.is_global_zero:
        save_classifier(task.folder, module.classifier, task.config)
        checkpoint.unlink(missing_ok=True)
        (task.folder / _PROGRESS_FILE).unlink(missing_ok=True)


def steps_done(task: TrainingTask) -> int:
    """How far a training has come, for a progress bar in another process."""
    if task.finished:
        return task.steps
    try:
        return int((task.folder / _PROGRESS_FILE).read_text())
    except (OSError, ValueError):
        return 0


class _TrainingModule(lightning.LightningModule):
    """Binary cross-entropy a class, AdamW, one cycle."""

    def __init__(self, classifier: Classifier, settings: TrainingSettings, steps: int) -> None:
        super().__init__()
        # Channels last is the layout in which these convolutions are fast, on CPUs and GPUs alike.
        self.classifier: Classifier = classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.settings = settings
        self.steps = steps

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        loss = self._loss(batch)
        self.log("loss", loss)
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        if self.trainer.global_step >= self.steps:
            self.trainer.should_stop = True

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self.log("validation_loss", self._loss(batch), sync_dist=True)

    def _loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        power, targets = batch
        return functional.binary_cross_entropy_with_logits(self.classifier(power).float(), targets)

    def configure_optimizers(self) -> Any:
        settings = self.settings
        optimizer = torch.optim.AdamW(self.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.learning_rate, total_steps=self.steps + 1, pct_start=0.1
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _Mixtures(Dataset):
    """Batches of mixtures: (epoch, first example) -> power, targets."""

    def __init__(self, mixer: Mixer, batch: int) -> None:
        self.mixer = mixer
        self.batch = batch

    def __getitem__(self, where: tuple[int, int]) -> tuple[Tensor, Tensor]:
        power, targets = self.mixer.batch(*where, self.batch)
        return torch.from_numpy(power), torch.from_numpy(targets)


class _Examples(Sampler):
    """The batches of an epoch; each of several processes takes every n-th."""

    def __init__(self, batches: int, batch: int, fixed: bool) -> None:
        self.batches = batches
        self.batch = batch
        self.epoch = _VALIDATION_EPOCH if fixed else 0
        self.fixed = fixed

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before every epoch, also after a resume."""
        if not self.fixed:
            self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[int, int]]:
        world, rank = 1, 0
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            world, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
        for number in range(self.batches):
            yield self.epoch, (number * world + rank) * self.batch


class _Averaging(WeightAveraging):
    """Leaves the averaged weights also when a training is resumed after its last step, and so ends without another."""

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.on_train_end(trainer, pl_module)


class _WriteProgress(Callback):
    """Writes the number of steps done to a file, for a progress bar in another process."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.is_global_zero and trainer.global_step % 5 == 0:
            self.file.write_text(str(trainer.global_step))


def _is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint can be gone on from: cut off with the power, say, it cannot."""
    try:
        torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError):
        return False
    return True


def _loader(task: TrainingTask, material: Material, batches: int, fixed: bool = False) -> DataLoader:
    rows = [task.store.require(source).rows for source in material.sources]
    mixer = Mixer(material, rows, task.mixing, task.store.settings.hop_s, task.seed)
    batch = task.training.batch
    return DataLoader(_Mixtures(mixer, batch), batch_size=None, sampler=_Examples(batches, batch, fixed))


def _precision(accelerator: str) -> str:
    """Half the bits where the hardware multiplies them faster: measured 1.5 times on CPUs that know bfloat16."""
    if accelerator == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    knows_bfloat16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16-mixed" if accelerator == "cpu" and knows_bfloat16() else "32-true"


def _quieten_lightning() -> None:
    """Keeps Lightning's notices about hardware and data loading out of restem's own output."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",  # mixtures come from memory: loader processes would only add copies
        ".*Checkpoint directory .* exists and is not empty.*",  # it is the one to go on from
        ".*but have no `val_dataloader`.*",  # the final classifier hears all songs
        ".*treespec, LeafSpec.*",  # Lightning on its own use of torch
    ):
        warnings.filterwarnings("ignore", message=message)
