"""Trains a separator on stems with label sets.

OUT/model.safetensors, config.json   the separator, with averaged weights, those of the epoch with the smallest loss on
                                     the songs kept aside, if there are any; usable after every epoch
OUT/training.json                    the request and the progress of the training
OUT/log/                             TensorBoard: loss, SDR and audio of the validation songs
OUT/last.ckpt                        while unfinished: the checkpoint that an interrupted training resumes from
"""

from __future__ import annotations

import hashlib
import logging
import time
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
from restem.auditing.audit import Audit, opened_audit
from restem.changing import with_changes
from restem.dataset.table import Dataset
from restem.dataset.targets import outputs_of_classes, target_taxonomy, with_rests
from restem.dataset.usage import check_mixtures
from restem.devices import choose_device, precision
from restem.errors import DatasetError, UsageError
from restem.executing.interface import Executor
from restem.executing.processes import Processes
from restem.files import read_json
from restem.progress import Progress, stage
from restem.resuming import WorkRecord
from restem.runs.run import Run, opened_data
from restem.separation.checkpoints import Checkpoint, read_checkpoint
from restem.separation.models import default_parameters
from restem.separation.recipes import with_recipe
from restem.separation.remixing import Remixer, RemixSettings
from restem.separation.separator import WEIGHTS_FILE, Separator, SeparatorConfig, load_separator, save_separator
from restem.separation.starting import settings_of_checkpoint, take_weights
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
from restem.weights import load_weights
from restem.wording import counted
from restem.working import alone_in, is_first_process

LOGGER = logging.getLogger(__name__)

_WAIT_S = 0.5


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
    start: Checkpoint | Path | str | None = None,
    start_classes: Sequence[str] = (),
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
        How many GPUs of a machine share each batch; `auto` is as many of them as divide it.
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
    start
        Goes on from these weights: the folder of a separator, the name of a pretrained model of the package `demucs`
        that is in its cache, its file, or a file of weights by name. Model and sizes are those of the former, where it
        says them. Outputs are taken over by the names of their classes; the others start afresh.
    start_classes
        The classes of such weights, in the order of the outputs, where they do not say them.
    audit
        An audit of the dataset, or its folder: songs that share a recording are all trained on, or all validated on,
        and stems that are not fit to learn from (`Audit.unfit`) are left out. Of a run that was refined with an audit,
        both are known already.
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
        if settings.target:
            data = with_rests(data)
    if len(data.taxonomy) == 1:
        (alone,) = data.taxonomy.classes
        raise UsageError(f"There is nothing to tell {alone} from; use `target='{alone}'`, and name all classes.")
    data.taxonomy.check_learnable()
    out = as_path(out)
    device = choose_device(device)
    count = _devices(device, devices, nodes, settings.batch)
    executor = Processes.of(workers)
    if threads < 1:
        raise UsageError("`threads` must be at least 1.")
    report = progress or (lambda *_: None)
    start = read_checkpoint(start, start_classes) if isinstance(start, Path | str) else start
    if start is not None:
        settings = settings_of_checkpoint(settings, start)
    settings = with_recipe(settings, sizes=start is None)
    # Defaults are written out, so that a training with other defaults counts as another one.
    settings = replace(
        settings, parameters={**default_parameters(settings.model), **settings.parameters}, segment_s=settings.example_s
    )
    root, taxonomy, origin = _origin(data)
    outputs = target_taxonomy(taxonomy, settings.target) if settings.target else taxonomy
    licence = licence or (str(data.description.get("licence", "")) if isinstance(data, Run) else "")
    licences = (licence, start.config.licence if start is not None and start.config is not None else "")
    store = PcmStore(as_path(cache) if cache is not None else default_cache(), settings.rate_hz, settings.channels)
    data.check_outside(out, store.folder)
    known = data.description if isinstance(data, Run) else {}
    duplicates, unfit = known.get("duplicates"), known.get("unfit")
    if audit is not None:
        audited = opened_audit(audit, data)
        duplicates, unfit = audited.duplicate_songs(), audited.unfit()
    request = {
        "settings": settings.as_dict(), "dataset": origin, "duplicates": duplicates, "unfit": unfit,
        "devices": count, "nodes": nodes,
        "start": None if start is None else {"place": start.place, "sha256": start.sha256},
    }  # fmt: skip
    record = WorkRecord(out, TRAINING_FILE, request, "training")
    if record.begin():
        return load_separator(out)
    config = SeparatorConfig(
        model=settings.model,
        classes=outputs.classes,
        aliases=outputs.aliases,
        channels=settings.channels,
        rate_hz=settings.rate_hz,
        segment_s=settings.example_s,
        parameters=settings.parameters,
        dataset=origin["fingerprint"],
        licence=", ".join(dict.fromkeys(filter(None, licences))),
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
        devices=count,
        nodes=nodes,
        strategy=strategy,
        loaders=0 if device == "cpu" else executor.workers,
    )
    with alone_in(out):
        if record.begin():
            return load_separator(out)  # another process has finished it meanwhile
        stems = (
            training_stems_of_run(data, settings.unsure, settings.weigh)
            if isinstance(data, Run)
            else training_stems_of_dataset(data)
        )
        if isinstance(data, Run) and not stems and not (settings.unsure or settings.weigh):
            raise DatasetError(f"{data.place}: no stem is kept or changed; `unsure=True` learns from the unsure ones.")
        if unfit:
            left_out = frozenset(unfit)
            fit = [stem for stem in stems if stem.name not in left_out]
            LOGGER.info("%s left out, as the audit found", counted(len(stems) - len(fit), "stem"))
            stems = fit
        if not stems:
            raise DatasetError(f"{root}: there is nothing to learn from: no stem has a label.")
        if is_first_process():
            before = record.content.get("computing", {})
            found = before["precision"] if before.get("device") == device else precision(device)
            record.note(computing={"device": device, "precision": found}, decoded=False)
            stems, failures = _decode(root, stems, store, executor, report)
            record.note(decoded=True, stems={"failed": failures})
        else:  # the others begin when the store is filled
            while not record.read_again().get("decoded"):
                time.sleep(_WAIT_S)
            failures = record.content["stems"]["failed"]
            stems = [stem for stem in stems if stem.name not in failures]
        loop = replace(loop, precision=record.content["computing"]["precision"])
        into = outputs_of_classes(taxonomy, settings.target)
        return _train(stems, into, failures, store, config, settings, start, loop, record, report)


def _train(
    stems: list[TrainingStem],
    into: np.ndarray,
    failures: Mapping[str, str],
    store: PcmStore,
    config: SeparatorConfig,
    settings: TrainSettings,
    start: Checkpoint | None,
    loop: fitting.Loop,
    record: WorkRecord,
    report: Progress,
) -> Separator:
    """Trains on stems that are in the store, and saves the separator.

    into: (class, output) flags, which output each class goes to. failures: of other stems, for the record.
    """
    present = np.any([stem.labels for stem in stems], axis=0) @ into
    if present.sum() < 2:
        (name,) = [name for name, there in zip(config.classes, present, strict=True) if there]
        remedy = "" if settings.target else f"\n`target='{name}'` also learns from files such as instrumental.wav."
        raise DatasetError(
            f"{record.request['dataset']['root']}: only {name} has stems; there is nothing to tell it from.{remedy}"
        )
    notes = {stem.name: note for stem in stems if (note := store.require(stem.source).note)}
    learned, checked = split_validation(stems, settings.validation, settings.seed, record.request["duplicates"])
    fitting.prepare(loop.accelerator, loop.threads, settings.seed)
    remixer = _remixer(learned, store, settings, into)
    separator = config.build()
    if start is not None:
        taken = take_weights(separator, start)
        if is_first_process():
            record.note(taken=dict(taken.of_class))
            LOGGER.info("from %s: %s", start.place, taken)
    module = SeparatorModule(separator, settings)
    watching = _remixer(checked, store, settings, into) if checked else None
    seconds_of_class = {
        name: seconds * GRID_S for name, seconds in zip(config.classes, remixer.places_per_output(), strict=True)
    }
    if is_first_process():
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
        _draw(remixer, loop.share),
        _draw(watching, loop.share) if watching else None,
        -(-settings.validation_examples // settings.batch),
        [SaveAndReport(loop.folder, record, report)],
    )
    if saving:
        report("training", module.trainer.global_step, module.trainer.global_step)  # it may have ended early
        if "kept" in record.content:
            load_weights(module.separator.network, loop.folder / WEIGHTS_FILE)
        else:
            save_separator(loop.folder, config, module.separator.network.state_dict())
        record.finish()
        fitting.finish(loop.folder)
    return module.separator.eval()


def failures_and_notes(out: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Of a training: the stems it could not use, and why; those used with a note, see `AudioReader.note`."""
    stems = read_json(out / TRAINING_FILE).get("stems", {})
    return stems.get("failed", {}), stems.get("notes", {})


def _devices(device: str, asked: int | str, nodes: int, batch: int) -> int:
    """How many devices of each machine train. Raises UsageError unless each gets as large a share of a batch."""
    there = torch.cuda.device_count() if device == "cuda" else 1
    offered = [asked] if isinstance(asked, int) else range(1, there + 1)
    fitting_counts = [count for count in offered if min(count, nodes) > 0 and batch % (count * nodes) == 0]
    if not fitting_counts:
        total = f"{counted(offered[0], 'device')} on each of {counted(nodes, 'machine')}"
        raise UsageError(f"`batch` must be a multiple of all `devices` that share it, not {batch} for {total}.")
    return max(fitting_counts)


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
        raise DatasetError(f"{root}: there is nothing to learn from: {next(iter(failed.values()))}")
    return good, {stems[index].name: reason for index, reason in failed.items()}


def _remixer(stems: Sequence[TrainingStem], store: PcmStore, settings: TrainSettings, into: np.ndarray) -> Remixer:
    places = find_places(stems, store, settings.example_s, into)
    mixing = RemixSettings(settings.coherent, settings.gain_db, settings.weigh)
    return Remixer(stems, places, store, settings.example_s, mixing, settings.seed, into)


def _draw(remixer: Remixer, count: int) -> fitting.Draw:
    def draw(epoch: int, first: int) -> tuple[Tensor, Tensor]:
        examples = remixer.batch(epoch, first, count)
        return torch.from_numpy(examples.groups), torch.from_numpy(examples.targets)

    return draw
