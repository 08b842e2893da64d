"""Trains a separator on stems with label sets.

OUT/model.safetensors, config.json   the separator, with averaged weights; usable after every epoch
OUT/training.json                    the request and the progress of the training
OUT/log/                             TensorBoard: loss, SDR and audio of the validation songs
OUT/last.ckpt                        while unfinished: the checkpoint that an interrupted training resumes from
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from restem import fitting
from restem.audio.pcm import PcmStore
from restem.audio.reader import HIGHEST_RATE_HZ, LOWEST_RATE_HZ
from restem.audio.store import default_cache
from restem.auditing.audit import Audit, duplicate_songs
from restem.changing import with_changes
from restem.dataset.table import Dataset
from restem.dataset.usage import check_mixtures
from restem.devices import choose_device
from restem.errors import DatasetError, RestemError, UsageError
from restem.executing.interface import Executor
from restem.executing.processes import Processes
from restem.progress import Progress, stage
from restem.renaming import current_name
from restem.resuming import WorkRecord
from restem.runs.run import Run, opened_data
from restem.separation.losses import LOSSES, mixture_sdr, set_loss, set_sdr, truncation_at
from restem.separation.models import EARLIER_NAMES, default_parameters, family
from restem.separation.options import TrainOptions
from restem.separation.remixing import Remixer, RemixSettings
from restem.separation.separator import Separator, SeparatorConfig, load_separator, save_separator
from restem.separation.training_figures import FIGURES, TRAINING_FILE, figures_text
from restem.separation.training_stems import (
    GRID_S,
    TrainingStem,
    find_places,
    split_validation,
    training_stems_of_dataset,
    training_stems_of_run,
)
from restem.taxonomy import Taxonomy
from restem.wording import counted
from restem.working import alone_in

LOGGER = logging.getLogger(__name__)

_WARM_UP_SHARE = 0.05
_LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class TrainSettings(TrainOptions):
    """How a separator is trained.

    parameters: of the model, see `separation.models`. The learning rate rises to `learning_rate` and falls to zero, by
    the share of the steps or of `max_time` that is done, whichever is larger. truncate: the quantiles above which
    losses are ignored, each for an equal part of the training, see `losses.kept_by_quantile`; none by default.
    validation: the share of the songs that is kept aside to watch the loss and the SDR on, every `epoch_steps`;
    after `patience` times without a better loss training stops. gain_db: see `remixing.RemixSettings`.
    averaged_share: the weights kept are an exponential average over about this share of the steps.
    Raises UsageError for what cannot be.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    channels: int = 2
    weight_decay: float = 0.01
    gain_db: float = RemixSettings.gain_db
    validation_examples: int = 48
    epoch_steps: int = 100
    patience: int = 20
    averaged_share: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", current_name("model", self.model, EARLIER_NAMES))
        if self.loss not in LOSSES:
            raise UsageError(f"There is no loss {self.loss!r}; use one of {', '.join(LOSSES)}.")
        if not all(0.0 < quantile <= 1.0 for quantile in self.truncate):
            raise UsageError("`truncate` holds quantiles above 0 and at most 1, as 0.7,0.5,0.3.")
        if not 0.0 <= self.coherent <= 1.0:
            raise UsageError(f"`coherent` is a share, from 0 to 1, not {self.coherent}.")
        if not 0.0 <= self.validation < 1.0:
            raise UsageError(f"`validation` is a share, from 0 to below 1, not {self.validation}.")
        for name in ("steps", "batch", "accumulate", "epoch_steps", "patience"):
            if getattr(self, name) < 1:
                raise UsageError(f"`{name}` must be at least 1, not {getattr(self, name)}.")
        if not LOWEST_RATE_HZ <= self.rate_hz <= HIGHEST_RATE_HZ:
            raise UsageError(f"`rate_hz` must be from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}, not {self.rate_hz}.")
        if self.channels not in (1, 2):
            raise UsageError("Separators have one channel or two.")
        if self.max_time is not None and not isinstance(self.max_time, timedelta):
            raise UsageError(f"`max_time` must be a timedelta, as timedelta(hours=2), not {self.max_time!r}.")
        positive = {"segment_s": self.segment_s, "learning_rate": self.learning_rate, "max_time": self.max_seconds}
        for name, value in positive.items():
            if value is not None and not 0.0 < value < math.inf:
                raise UsageError(f"`{name}` must be above 0, not {value}.")
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise UsageError(f"The seed {self.seed} cannot be used; use one from 0 to {_LARGEST_SEED}.")

    @property
    def example_s(self) -> float:
        """The length of an example in seconds."""
        return family(self.model).segment_s if self.segment_s is None else self.segment_s

    @property
    def max_seconds(self) -> float | None:
        """`max_time` in seconds."""
        return None if self.max_time is None else self.max_time.total_seconds()

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON values; `max_time` in seconds."""
        return {**asdict(self), "max_time": self.max_seconds}


def train(
    data: Dataset | Run | Path | str,
    out: Path | str,
    settings: TrainSettings | None = None,
    *,
    cache: Path | str | None = None,
    device: str = "auto",
    devices: int | str = "auto",
    nodes: int = 1,
    strategy: str = "auto",
    workers: int | None = None,
    threads: int = 1,
    licence: str = "",
    only: bool = False,
    audit: Audit | Path | str | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> Separator:
    """Trains a separator on stems with label sets. A stem of `bass+drums` teaches the sum of the two.

    Interrupted and called again with the same arguments, a training goes on; a finished one is read back.

    Parameters
    ----------
    data
        A dataset, with its given labels, or a run, with its refined ones; or the path of either. Of a dataset at a
        path, the splits `test` and `omitted` are left out. Songs of the split `valid`, or else those that MUSDB18 keeps
        aside, are the ones to validate on, if there are any.
    out
        The folder of the separator.
    settings
        Everything the result depends on besides the data, by default `TrainSettings()`.
    cache
        The folder in which decoded audio is kept; by default in the user's cache folder.
    device
        `auto`, `cpu`, `cuda` or `mps`.
    devices
        How many GPUs, or `auto` for all.
    nodes
        How many machines.
    strategy
        Lightning's, for several GPUs: `ddp`, `fsdp`, ...
    workers
        Processes that decode; by default one for each available core.
    threads
        torch's threads on a CPU; the last digits of the result depend on them.
    licence
        The licence of the audio, kept with the separator; by default the run's.
    only
        Leave stems of no class out of the mixtures; otherwise they are an error.
    audit
        An audit of the dataset, or its folder: songs that share a recording are all trained on, or all validated on.
        Of a run that was refined with an audit, they are known already.
    progress
        Called with the stage, the steps done and in all. With `max_time`, the latter is an estimate.
    **changes
        Fields of `TrainSettings`, as `steps=500`, that replace those of `settings`.

    Returns
    -------
    Separator
        The trained separator, ready to separate.

    Raises
    ------
    RunError
        When `out` holds something else, or the audit is of another dataset.
    DatasetError
        When no stem can be used, only one class has stems, a stem is of no class (without `only`), or a folder to be
        written lies in the dataset.
    UsageError
        For settings that cannot be.
    """
    settings = with_changes(settings or TrainSettings(), changes)
    data = opened_data(data)
    if isinstance(data, Run):
        data.check_mixtures(only)
    else:
        check_mixtures(data, only)
    data.taxonomy.check_learnable()
    out = Path(out)
    device = choose_device(device)
    executor = Processes.of(workers)
    if threads < 1:
        raise UsageError("`threads` must be at least 1.")
    report = progress or (lambda *_: None)
    # Defaults are written out, so that a training with other defaults counts as another one.
    settings = replace(
        settings, parameters={**default_parameters(settings.model), **settings.parameters}, segment_s=settings.example_s
    )
    root, taxonomy, origin = _origin(data)
    licence = licence or (str(data.description.get("licence", "")) if isinstance(data, Run) else "")
    store = PcmStore(Path(cache) if cache is not None else default_cache(), settings.rate_hz, settings.channels)
    data.check_outside(out, store.folder)
    duplicates = data.description.get("duplicates") if isinstance(data, Run) else None
    if audit is not None:
        duplicates = duplicate_songs(audit, data)
    request = {"settings": settings.as_dict(), "dataset": origin, "duplicates": duplicates}
    record = WorkRecord(out, TRAINING_FILE, request, "training")
    if record.begin():
        return load_separator(out)
    config = SeparatorConfig(
        model=settings.model,
        classes=taxonomy.classes,
        aliases=taxonomy.aliases,
        channels=settings.channels,
        rate_hz=settings.rate_hz,
        segment_s=settings.example_s,
        parameters=settings.parameters,
        dataset=origin["fingerprint"],
        licence=licence,
    )
    loop = fitting.Loop(
        out,
        steps=settings.steps,
        epoch_steps=settings.epoch_steps,
        batch=settings.batch,
        accumulate=settings.accumulate,
        average=fitting.average_over_share(settings.averaged_share),
        patience=settings.patience,
        accelerator=device,
        threads=threads,
        devices=devices,
        nodes=nodes,
        strategy=strategy,
        loaders=0 if device == "cpu" else executor.workers,
    )
    with alone_in(out):
        if record.begin():
            return load_separator(out)  # another process has finished it meanwhile
        stems = (
            training_stems_of_run(data, settings.unsure) if isinstance(data, Run) else training_stems_of_dataset(data)
        )
        if isinstance(data, Run) and not stems and not settings.unsure:
            raise DatasetError(f"{data.path}: no stem is kept or changed; `unsure=True` learns from the unsure ones.")
        stems, failures = _decode(root, stems, store, executor, report)
        return _train(stems, failures, store, config, settings, loop, record, report)


def _train(
    stems: list[TrainingStem],
    failures: Mapping[str, str],
    store: PcmStore,
    config: SeparatorConfig,
    settings: TrainSettings,
    loop: fitting.Loop,
    record: WorkRecord,
    report: Progress,
) -> Separator:
    """Trains on stems that are in the store, and saves the separator. failures: of other stems, for the record."""
    present = np.any([stem.labels for stem in stems], axis=0)
    if present.sum() < 2:
        (name,) = [name for name, there in zip(config.classes, present, strict=True) if there]
        raise DatasetError(
            f"{record.request['dataset']['root']}: only {name} has stems; there is nothing to tell it from."
        )
    notes = {stem.name: note for stem in stems if (note := store.require(stem.source).note)}
    learned, checked = split_validation(stems, settings.validation, settings.seed, record.request["duplicates"])
    fitting.prepare(loop.accelerator, loop.threads, settings.seed)
    remixer = _remixer(learned, store, settings)
    module = SeparatorModule(config.build(), settings)
    watching = _remixer(checked, store, settings) if checked else None
    seconds_of_class = {
        name: float(remixer.places.labels[:, which].sum()) * GRID_S for which, name in enumerate(config.classes)
    }
    record.note(
        stems={"learned": len(learned), "kept_aside": len(checked), "failed": failures, "notes": notes},
        seconds_of_class=seconds_of_class,
    )
    LOGGER.info(
        "learning from %s, %s kept aside; seconds per class: %s",
        counted(len(learned), "stem"), len(checked),
        ", ".join(f"{name} {seconds:,.0f}" for name, seconds in seconds_of_class.items()),
    )  # fmt: skip
    saving = fitting.fit(
        module,
        loop,
        _draw(remixer, settings),
        _draw(watching, settings) if watching else None,
        -(-settings.validation_examples // settings.batch),
        [_SaveAndReport(loop.folder, record, report)],
    )
    if saving:
        report("training", module.trainer.global_step, module.trainer.global_step)  # it may have ended early
        save_separator(loop.folder, config, module.separator.network.state_dict())
        record.finish()
        fitting.finish(loop.folder)
    return module.separator.eval()


def failures_and_notes(out: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Of a training: the stems it could not use, and why; those used with a note, see `AudioReader.note`."""
    stems = json.loads((out / TRAINING_FILE).read_text(encoding="utf-8")).get("stems", {})
    return stems.get("failed", {}), stems.get("notes", {})


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
        loss = set_loss(outputs.float(), groups, targets, self.settings.loss, quantile)
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
        self.log("validation_loss", set_loss(outputs, groups, targets, self.settings.loss), sync_dist=True)
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


class _SaveAndReport(Callback):
    """Saves the separator after every epoch, and reports the progress of the training."""

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
            save_separator(self.out, pl_module.separator.config, averaged)
            logged = trainer.callback_metrics
            figures = {name: float(logged[name]) for name in FIGURES if name in logged}
            self.record.note(steps=trainer.global_step, seconds=round(pl_module.seconds, 1), **figures)
            LOGGER.info("step %s: %s", f"{trainer.global_step:,}", figures_text(figures))


def _origin(data: Dataset | Run) -> tuple[Path, Taxonomy, dict[str, Any]]:
    """The root folder of the audio, the taxonomy, and what the training data are, see `Dataset.origin`."""
    if isinstance(data, Dataset):
        return data.root, data.taxonomy, data.origin()
    data.check_unchanged()
    labels = hashlib.sha256(data.labels.select("stem", "refined", "verdict").write_csv().encode()).hexdigest()
    described = data.description["dataset"]
    origin = {
        "fingerprint": f"{described.get('fingerprint', '')}-{labels[:16]}",
        "written": described.get("written", ""),
        "root": str(data.dataset_root.resolve()),
        "classes": list(data.taxonomy.classes),
    }
    return data.dataset_root, data.taxonomy, origin


def _decode(
    root: Path, stems: list[TrainingStem], store: PcmStore, executor: Executor, report: Progress
) -> tuple[list[TrainingStem], dict[str, str]]:
    """Decodes stems into the store; returns those whose audio can be used, and name -> reason for the others."""
    failed = store.fill([stem.source for stem in stems], executor, stage(report, "decoding"))
    good = [stem for index, stem in enumerate(stems) if index not in failed]
    if not good:
        reason = next(iter(failed.values()), "no stem has a label.")
        raise DatasetError(f"{root}: there is nothing to learn from: {reason}")
    return good, {stems[index].name: reason for index, reason in failed.items()}


def _remixer(stems: Sequence[TrainingStem], store: PcmStore, settings: TrainSettings) -> Remixer:
    places = find_places(stems, store, settings.example_s)
    mixing = RemixSettings(settings.coherent, settings.gain_db)
    return Remixer(stems, places, store, settings.example_s, mixing, settings.seed)


def _draw(remixer: Remixer, settings: TrainSettings) -> fitting.Draw:
    def draw(epoch: int, first: int) -> tuple[Tensor, Tensor]:
        examples = remixer.batch(epoch, first, settings.batch)
        return torch.from_numpy(examples.groups), torch.from_numpy(examples.targets)

    return draw
