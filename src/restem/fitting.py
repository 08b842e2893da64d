"""The training loop of all networks in restem, for a CPU, one GPU or several.

A checkpoint is written after every epoch until the training is finished. An interrupted training resumes from it and
ends with the same weights, because an example is a function of (epoch, index), whichever process computes it.
"""

from __future__ import annotations

import logging
import pickle
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.optim.swa_utils import get_ema_avg_fn
from torch.utils.data import DataLoader, Dataset, Sampler

from restem.devices import precision
from restem.errors import UsageError
from restem.memory import keep_freed_memory

Draw = Callable[[int, int], tuple[Tensor, ...]]
"""Draws a batch: (epoch, index of its first example) -> its tensors."""

Average = Callable[[Tensor, Tensor, Tensor | int], Tensor]
"""Updates an average of weights: (average, weights, number of weights averaged so far) -> the next average."""

_CHECKPOINT_FILE = "last.ckpt"
_PROGRESS_FILE = "progress"
_VALIDATION_EPOCH = (1 << 63) - 1


@dataclass(frozen=True)
class Loop:
    """How a module is trained.

    folder: of the checkpoint and the TensorBoard log. steps: optimiser steps. epoch_steps: optimiser steps from one
    checkpoint and validation to the next. batch: examples per batch. average: how the weights are averaged.
    accumulate: batches per optimiser step. patience: epochs without a better `validation_loss` before training stops
    early. accelerator: `cpu`, `cuda` or `mps`. precision: Lightning's, by default what suits this machine.
    threads: torch's on a CPU. devices, nodes, strategy: Lightning's, for more than one GPU; the processes share each
    batch. loaders: processes that draw batches, besides the training process.
    """

    folder: Path
    steps: int
    epoch_steps: int
    batch: int
    average: Average
    accumulate: int = 1
    patience: int = 8
    accelerator: str = "cpu"
    precision: str | None = None
    threads: int = 1
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    loaders: int = 0

    @property
    def processes(self) -> int:
        """How many processes train, each on one device."""
        return self.devices * self.nodes

    @property
    def share(self) -> int:
        """How many examples of a batch each process draws."""
        return self.batch // self.processes


def average_over(steps: float) -> Average:
    """An exponential moving average over about the last `steps` steps."""
    return _of_numbers(get_ema_avg_fn(1.0 - 1.0 / max(1.0, steps)))  # type: ignore[no-untyped-call]


def average_over_share(share: float) -> Average:
    """An average over about the last `share` of the steps so far, whatever their final number.

    Polynomial-decay averaging, which torch does not have (Shamir and Zhang, "Stochastic gradient descent for non-smooth
    optimization", 2013).
    """

    def update(average: Tensor, weights: Tensor, count: Tensor | int) -> Tensor:
        return average.lerp(weights, 1.0 / max(1.0, share * (float(count) + 1.0)))

    return _of_numbers(update)


def _of_numbers(average: Average) -> Average:
    """`average` of floating-point tensors. Integer buffers of a network, such as indices, are taken as they are."""

    def update(before: Tensor, weights: Tensor, count: Tensor | int) -> Tensor:
        return average(before, weights, count) if before.is_floating_point() else weights

    return update


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keeps Lightning's notices about hardware and data loading out of restem's own output."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in (
            ".*does not have many workers.*",  # on a CPU, loader processes would only take cores from the training
            ".*Checkpoint directory .* exists and is not empty.*",  # it holds the checkpoint to resume from
            ".*but have no `val_dataloader`.*",  # some trainings have no validation
            ".*treespec, LeafSpec.*",  # about Lightning's own use of torch
        ):
            warnings.filterwarnings("ignore", message=message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def prepare(accelerator: str, threads: int, seed: int) -> None:
    """Sets the threads, memory use and random seed of this process; call it before the network is built."""
    if accelerator == "cpu":
        torch.set_num_threads(threads)
        keep_freed_memory()
    lightning.seed_everything(seed, verbose=False)


@_quiet_lightning()
def fit(
    module: lightning.LightningModule,
    loop: Loop,
    training: Draw,
    validation: Draw | None = None,
    validation_batches: int = 0,
    callbacks: Sequence[Callback] = (),
) -> bool:
    """Trains `module`, from the last checkpoint if there is one, and leaves the averaged weights in it.

    The module must log `validation_loss` if there is a validation. Returns whether this is the process that saves the
    result; `finish` removes the checkpoint afterwards. Raises KeyboardInterrupt when interrupted, UsageError for
    devices, nodes or a strategy that Lightning refuses.
    """
    loop.folder.mkdir(parents=True, exist_ok=True)
    epoch_steps = min(loop.epoch_steps, loop.steps)
    checkpoint = loop.folder / _CHECKPOINT_FILE
    own: list[Callback] = [
        _Averaging(avg_fn=loop.average),
        # Saved after the epoch, not after its validation, so that a resumed training starts with the next epoch.
        ModelCheckpoint(
            loop.folder,
            filename=checkpoint.stem,
            save_top_k=1,
            every_n_epochs=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
        _Steps(loop.folder / _PROGRESS_FILE, loop.steps),
    ]
    if validation is not None:
        own.append(EarlyStopping("validation_loss", patience=loop.patience))
    try:
        trainer = lightning.Trainer(
            accelerator="gpu" if loop.accelerator == "cuda" else loop.accelerator,
            devices=loop.devices,
            num_nodes=loop.nodes,
            strategy=loop.strategy,
            # One process is not one of those that Slurm, or whoever else, started beside it.
            plugins=LightningEnvironment() if loop.processes == 1 else None,
            precision=loop.precision or precision(loop.accelerator),  # type: ignore[arg-type]
            # Not max_steps: with it, Lightning resumes in the middle of an epoch that was finished, and fails.
            max_epochs=-(-loop.steps // epoch_steps),
            callbacks=[*own, *callbacks],
            logger=TensorBoardLogger(loop.folder, name="log", version=""),
            gradient_clip_val=5.0,
            accumulate_grad_batches=loop.accumulate,
            log_every_n_steps=min(10, epoch_steps),
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (ValueError, MisconfigurationException) as error:
        raise UsageError(f"Lightning refuses these devices: {str(error).splitlines()[0]}") from error
    batches = _loader(loop, training, epoch_steps * loop.accumulate)
    watched = _loader(loop, validation, validation_batches, fixed=True) if validation is not None else None
    answering = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(
            module, batches, watched, ckpt_path=checkpoint if _is_whole(checkpoint) else None, weights_only=True
        )
    except SystemExit as error:
        # When interrupted, Lightning ends the process and ignores further interruptions.
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, answering)
        raise KeyboardInterrupt from error
    return trainer.is_global_zero


def finish(folder: Path) -> None:
    """Removes the checkpoint and the step count, which only an unfinished training needs."""
    (folder / _CHECKPOINT_FILE).unlink(missing_ok=True)
    (folder / _PROGRESS_FILE).unlink(missing_ok=True)


def steps_done(folder: Path) -> int:
    """The number of steps that an unfinished training has done, for a progress bar in another process."""
    try:
        return int((folder / _PROGRESS_FILE).read_text())
    except (OSError, ValueError):
        return 0


class _Batches(Dataset):
    """A dataset whose items are batches, indexed by (epoch, first example)."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw

    def __getitem__(self, where: tuple[int, int]) -> tuple[Tensor, ...]:
        return self.draw(*where)


class _Examples(Sampler):
    """Samples the batches of an epoch; of each batch, every process takes its share, so many examples."""

    def __init__(self, batches: int, share: int, fixed: bool) -> None:
        self.batches = batches
        self.share = share
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
            yield self.epoch, (number * world + rank) * self.share


class _Averaging(WeightAveraging):
    """Weight averaging that also leaves the averaged weights when a training is resumed after its last step."""

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.on_train_end(trainer, pl_module)


class _Steps(Callback):
    """Ends the training after its last step, and writes the number of steps done to a file."""

    def __init__(self, file: Path, steps: int) -> None:
        self.file = file
        self.steps = steps

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.is_global_zero and trainer.global_step % 5 == 0:
            self.file.write_text(str(trainer.global_step))
        if trainer.global_step >= self.steps:
            trainer.should_stop = True


def _is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint can be resumed from; it cannot if, say, a power cut left it incomplete."""
    try:
        torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError):
        return False
    return True


def _loader(loop: Loop, draw: Draw, batches: int, fixed: bool = False) -> DataLoader:
    sampler = _Examples(batches, loop.share, fixed)
    return DataLoader(_Batches(draw), batch_size=None, sampler=sampler, num_workers=loop.loaders)
