"""Trains a separator on stems with label sets.

OUT/model.safetensors, config.json   the separator, with averaged weights; usable after every epoch
OUT/training.json                    the request and the progress of the training
OUT/log/                             TensorBoard: loss, SDR and audio of the validation songs
OUT/last.ckpt                        while unfinished: the checkpoint that an interrupted training resumes from
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from restem import fitting
from restem.audio.pcm import PcmStore
from restem.audio.store import default_cache
from restem.dataset.table import Dataset
from restem.devices import choose_device
from restem.errors import DatasetError, RestemError, UsageError
from restem.executing.interface import Executor
from restem.executing.processes import Processes
from restem.progress import Progress, stage
from restem.resuming import WorkRecord
from restem.runs.run import Run
from restem.separation.losses import LOSSES, set_loss, set_sdr, truncation_at
from restem.separation.models import default_parameters, family
from restem.separation.remixing import Remixer, RemixSettings
from restem.separation.separator import Separator, SeparatorConfig, load_separator, save_separator
from restem.separation.training_stems import (
    GRID_S,
    TrainingStem,
    find_places,
    fold_out,
    training_stems_of_dataset,
    training_stems_of_run,
)
from restem.taxonomy import Taxonomy

TRAINING_FILE = "training.json"

_WARM_UP_SHARE = 0.05
_LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class TrainSettings:
    """How a separator is trained.

    model, parameters: see `separation.models`. segment_s: the length of an example, by default the model's.
    steps: of the optimiser, each over `batch` examples `accumulate` times. The rate rises to `learning_rate` and falls
    to zero, by the share of the steps or of `max_seconds` that is done, whichever is larger.
    loss: `l1`, `stft` or `l1+stft`. truncate: the quantiles above which losses are ignored, each for an equal part of
    the training, see `losses.kept_by_quantile`; none by default.
    validation: the share of the songs that is kept aside to watch the loss and the SDR on, every `epoch_steps`;
    after `patience` times without a better loss training stops. averaged_share: the weights kept are an exponential
    average over about this share of the steps. unsure: learn from the unsure stems of a run as well.
    """

    model: str = "band"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    segment_s: float | None = None
    rate_hz: int = 44100
    channels: int = 2
    steps: int = 10_000
    batch: int = 8
    accumulate: int = 1
    max_seconds: float | None = None
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    loss: str = "l1"
    truncate: tuple[float, ...] = ()
    mixing: RemixSettings = field(default_factory=RemixSettings)
    validation: float = 0.1
    validation_examples: int = 48
    epoch_steps: int = 100
    patience: int = 20
    averaged_share: float = 0.05
    unsure: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise UsageError(f"There is no loss {self.loss!r}; use one of {', '.join(LOSSES)}.")
        if not all(0.0 < quantile <= 1.0 for quantile in self.truncate):
            raise UsageError("Losses are truncated at quantiles above 0 and at most 1, as in --truncate 0.7,0.5,0.3.")
        if not 0.0 <= self.mixing.coherent <= 1.0 or not 0.0 <= self.validation < 1.0:
            raise UsageError("coherent and validation are shares, between 0 and 1.")
        if min(self.steps, self.batch, self.accumulate, self.epoch_steps, self.patience, self.rate_hz) < 1:
            raise UsageError("steps, batch, accumulate, epoch_steps, patience and rate_hz must be at least 1.")
        if self.channels not in (1, 2):
            raise UsageError("Separators have one channel or two.")
        for name in ("segment_s", "max_seconds", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise UsageError(f"{name} must be above 0, not {value}.")
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise UsageError(f"The seed {self.seed} cannot be used; use one from 0 to {_LARGEST_SEED}.")

    @property
    def example_s(self) -> float:
        """The length of an example in seconds."""
        return family(self.model).segment_s if self.segment_s is None else self.segment_s


def train(
    data: Dataset | Run,
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
    progress: Progress | None = None,
) -> Separator:
    """Trains a separator on the stems of a dataset (given labels) or a run (refined ones), and leaves it in `out`.

    cache: where decoded audio is kept. device: `auto`, `cpu`, `cuda` or `mps`; devices, nodes, strategy: Lightning's,
    for several GPUs. workers: processes that decode. threads: torch's on a CPU; the last digits of the result depend on
    them. licence: of the audio, kept with the separator. progress: called with (stage, done, total).
    A finished training of the same request is read back; an interrupted one goes on.

    Raises RunError when `out` holds something else, DatasetError when no stem can be used or a folder to be written
    lies in the dataset, UsageError for settings.
    """
    out = Path(out)
    settings = settings or TrainSettings()
    device = choose_device(device)
    executor = Processes.of(workers)
    if threads < 1:
        raise UsageError("threads must be at least 1.")
    report = progress or (lambda *_: None)
    # Defaults are written out, so that a training with other defaults counts as another one.
    settings = replace(
        settings, parameters={**default_parameters(settings.model), **settings.parameters}, segment_s=settings.example_s
    )
    root, taxonomy, fingerprint = _origin(data)
    licence = licence or (str(data.description.get("licence", "")) if isinstance(data, Run) else "")
    store = PcmStore(Path(cache) if cache is not None else default_cache(), settings.rate_hz, settings.channels)
    data.check_outside(out, store.folder)
    request = {"settings": asdict(settings), "dataset": {"fingerprint": fingerprint, "root": str(root.resolve())}}
    record = WorkRecord(out, TRAINING_FILE, request, "training")
    if record.begin():
        return load_separator(out)

    stems = training_stems_of_run(data, settings.unsure) if isinstance(data, Run) else training_stems_of_dataset(data)
    stems, failures = _decode(root, stems, store, executor, report)
    learned, checked = fold_out(stems, settings.validation, settings.seed)
    fitting.prepare(device, threads, settings.seed)
    config = SeparatorConfig(
        model=settings.model,
        classes=taxonomy.classes,
        aliases=taxonomy.aliases,
        channels=settings.channels,
        rate_hz=settings.rate_hz,
        segment_s=settings.example_s,
        parameters=settings.parameters,
        dataset=fingerprint,
        licence=licence,
    )
    remixer = _remixer(learned, store, settings)
    module = SeparatorModule(config.build(), settings)
    watching = _remixer(checked, store, settings) if checked else None
    record.note(
        stems={"learned": len(learned), "kept_aside": len(checked), "failed": failures},
        seconds_of_class={
            name: float(remixer.places.labels[:, which].sum()) * GRID_S for which, name in enumerate(taxonomy.classes)
        },
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
    saving = fitting.fit(
        module,
        loop,
        _draw(remixer, settings),
        _draw(watching, settings) if watching else None,
        -(-settings.validation_examples // settings.batch),
        [_SaveAndReport(out, record, report)],
    )
    if saving:
        save_separator(out, config, module.separator.network.state_dict())
        record.finish()
        fitting.finish(out)
    return module.separator.eval()


class SeparatorModule(lightning.LightningModule):
    """The Lightning module of a separator: the loss for label sets, AdamW, a one-cycle learning rate."""

    def __init__(self, separator: Separator, settings: TrainSettings) -> None:
        super().__init__()
        self.separator = separator
        self.settings = settings
        self.seconds = 0.0
        self._seen = 0.0

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


def parse_seconds(text: str) -> float:
    """Parses a time such as `90s`, `30m`, `2h`, `1h30m` or a plain number to seconds; raises UsageError for others."""
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip().lower())
    if not text.strip() or match is None:
        raise UsageError(f"{text!r} is not a time; write it as 90s, 30m, 2h or 1h30m.")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 3600.0 * hours + 60.0 * minutes + seconds


def parse_quantiles(text: str) -> tuple[float, ...]:
    """Parses quantiles written `0.7,0.5,0.3`; raises UsageError for anything but numbers."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{text!r} are not quantiles; write 0.7, or 0.7,0.5,0.3.") from error


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

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any) -> None:
        if trainer.is_global_zero and isinstance(pl_module, SeparatorModule):
            steps = pl_module.settings.steps
            self.report("training", round(pl_module.share_done * steps), steps)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.is_global_zero and isinstance(pl_module, SeparatorModule):
            prefix = "separator.network."
            if not all(tensor.isfinite().all() for tensor in checkpoint["state_dict"].values()):
                raise RestemError(
                    f"{self.out}: the weights have become NaN or infinite; delete it, and train with a lower "
                    "--learning-rate."
                )
            averaged = {
                name.removeprefix(prefix): tensor
                for name, tensor in checkpoint["state_dict"].items()
                if name.startswith(prefix)
            }
            save_separator(self.out, pl_module.separator.config, averaged)
            self.record.note(steps=trainer.global_step, seconds=round(pl_module.seconds, 1))


def _origin(data: Dataset | Run) -> tuple[Path, Taxonomy, str]:
    """The root folder of the audio, the taxonomy, and a hash of the training data."""
    if isinstance(data, Dataset):
        return data.root, data.taxonomy, data.fingerprint()
    described = data.description["dataset"]
    labels = hashlib.sha256(data.labels.select("stem", "refined", "verdict").write_csv().encode()).hexdigest()
    return data.dataset_root, data.taxonomy, f"{described.get('fingerprint', '')}-{labels[:16]}"


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
    return Remixer(stems, places, store, settings.example_s, settings.mixing, settings.seed)


def _draw(remixer: Remixer, settings: TrainSettings) -> fitting.Draw:
    def draw(epoch: int, first: int) -> tuple[Tensor, Tensor]:
        examples = remixer.batch(epoch, first, settings.batch)
        return torch.from_numpy(examples.groups), torch.from_numpy(examples.targets)

    return draw
