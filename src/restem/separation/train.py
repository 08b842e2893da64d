"""Trains a separator on stems with label sets.

OUT/model.safetensors, config.json   the separator, with averaged weights; usable after every epoch
OUT/training.json                    the request and the progress of the training
OUT/log/                             TensorBoard: loss, SDR and audio of the validation songs
OUT/last.ckpt                        while unfinished: the checkpoint that an interrupted training resumes from
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from restem import fitting
from restem.addresses import as_path
from restem.audio.cache_folder import default_cache
from restem.audio.pcm import PcmStore
from restem.auditing.audit import Audit, duplicate_songs
from restem.changing import with_changes
from restem.dataset.table import Dataset
from restem.dataset.usage import check_mixtures
from restem.devices import choose_device
from restem.errors import DatasetError, UsageError
from restem.executing.interface import Executor
from restem.executing.processes import Processes
from restem.files import read_json
from restem.progress import Progress, stage
from restem.resuming import WorkRecord
from restem.runs.run import Run, opened_data
from restem.separation.models import default_parameters
from restem.separation.remixing import Remixer, RemixSettings
from restem.separation.separator import Separator, SeparatorConfig, load_separator, save_separator
from restem.separation.train_settings import TrainSettings
from restem.separation.training_figures import TRAINING_FILE
from restem.separation.training_module import SaveAndReport, SeparatorModule
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
    out = as_path(out)
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
    store = PcmStore(as_path(cache) if cache is not None else default_cache(), settings.rate_hz, settings.channels)
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
            raise DatasetError(f"{data.place}: no stem is kept or changed; `unsure=True` learns from the unsure ones.")
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
        [SaveAndReport(loop.folder, record, report)],
    )
    if saving:
        report("training", module.trainer.global_step, module.trainer.global_step)  # it may have ended early
        save_separator(loop.folder, config, module.separator.network.state_dict())
        record.finish()
        fitting.finish(loop.folder)
    return module.separator.eval()


def failures_and_notes(out: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Of a training: the stems it could not use, and why; those used with a note, see `AudioReader.note`."""
    stems = read_json(out / TRAINING_FILE).get("stems", {})
    return stems.get("failed", {}), stems.get("notes", {})


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
