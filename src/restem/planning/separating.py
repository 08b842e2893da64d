"""The plans of `train`, `separate` and `evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from restem.audio.cache_folder import default_cache
from restem.audio.entries import Source
from restem.audio.pcm import PcmStore
from restem.dataset.measure import measure
from restem.dataset.table import Dataset
from restem.dataset.targets import target_taxonomy
from restem.devices import choose_device
from restem.evaluation.sdr import SdrMeter
from restem.executing.processes import Processes
from restem.planning.plan import Plan, Stage, audio_text, duration, size_text
from restem.planning.rates import (
    Rate,
    in_parallel,
    lengths,
    rate_of,
    separation_rate,
    starting_s,
    step_times,
    store_rate,
    time_of,
)
from restem.runs.run import Run
from restem.separation.checkpoints import Checkpoint, opened_separator
from restem.separation.models import default_parameters
from restem.separation.recipes import with_recipe
from restem.separation.separator import Separator, SeparatorConfig
from restem.separation.starting import settings_of_checkpoint
from restem.separation.train_settings import TrainSettings
from restem.separation.training_stems import training_stems_of_dataset, training_stems_of_run
from restem.wording import counted

_METERED_S = 10.0  # of noise, on which the rate of the SDR is measured
_METERED_HZ = 44100


def plan_train(
    data: Dataset | Run,
    out: Path,
    settings: TrainSettings,
    *,
    cache: Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    threads: int = 1,
    start: Checkpoint | None = None,
) -> Plan:
    """What `restem train` would do; the arguments are those of `restem.train`. It is not known to end early."""
    starting = Stage("starting", starting_s(1))
    device, executor = choose_device(device), Processes.of(workers)
    if start is not None:
        settings = settings_of_checkpoint(settings, start)
    settings = with_recipe(settings, sizes=start is None)
    store = PcmStore(cache or default_cache(), settings.rate_hz, settings.channels)
    stems = (
        training_stems_of_run(data, settings.unsure, settings.weigh)
        if isinstance(data, Run)
        else training_stems_of_dataset(data)
    )
    sources = [stem.source for stem in stems]
    seconds = lengths(sources)
    missing = [index for index, source in enumerate(sources) if store.is_missing(source)]
    rate = store_rate(store, sources, missing, seconds)
    decoding = in_parallel(rate.seconds * seconds[missing], executor.workers)
    settings = replace(settings, parameters={**default_parameters(settings.model), **settings.parameters})
    outputs = target_taxonomy(data.taxonomy, settings.target) if settings.target else data.taxonomy
    config = SeparatorConfig(
        settings.model, outputs.classes, {}, settings.channels, settings.rate_hz, settings.example_s,
        settings.parameters,
    )  # fmt: skip
    if device == "cpu":
        torch.set_num_threads(threads)
    batch = 0.1 * torch.randn(settings.batch, settings.channels, round(settings.example_s * settings.rate_hz))
    batch_s, pass_s = step_times(config.build(), batch, device)
    watched = len({stem.song for stem in stems}) > 1 and settings.validation > 0
    checked_s = -(-settings.validation_examples // settings.batch) / settings.epoch_steps * pass_s if watched else 0.0
    step_s = settings.accumulate * batch_s + checked_s
    training, detail = settings.steps * step_s, counted(settings.steps, "step")
    if settings.max_seconds is not None and settings.max_seconds < training:
        training = settings.max_seconds
        detail = f"{round(training / step_s):,} of {detail} in --max-time {duration(training)}"
    name = str(data.path) if isinstance(data, Run) else str(data.root)
    writes = [f"a separator, {out}"]
    if rate.bytes:
        writes.append(f"decoded audio, {size_text(rate.bytes * seconds[missing].sum())}, in {store.folder}")
    return Plan(
        [f"{audio_text(len(sources), seconds.sum())}, of {name}"],
        writes,
        [
            starting,
            Stage("decoding", decoding, counted(len(missing), "stem")),
            Stage("training", training, detail),
        ],
        [*([rate.text("decoding")] if missing else []), f"training {1 / step_s:.3g} steps a second"],
    )


def plan_separate(
    model: Path,
    songs: Sequence[Path],
    out: Path,
    *,
    overlap: float = 0.25,
    shifts: int = 0,
    device: str = "auto",
) -> Plan:
    """What `restem separate` would do with audio files; the arguments are those of `restem.separate`."""
    starting = Stage("starting", starting_s(1))
    seconds = lengths([(song, 0) for song in songs])
    rate = separation_rate(opened_separator(model), overlap, shifts, choose_device(device))
    return Plan(
        [f"{counted(len(songs), 'song')}, {seconds.sum() / 60:.1f} min of audio", f"the separator {model}"],
        [f"{counted(len(songs), 'folder')} of stems to {out}"],
        [
            starting,
            Stage("separating", rate.seconds * float(seconds.sum()), counted(len(songs), "song")),
        ],
        [rate.text("separating")],
    )


def plan_evaluate(
    dataset: Dataset,
    out: Path | None,
    *,
    model: Separator | None = None,
    overlap: float = 0.25,
    shifts: int = 0,
    device: str = "auto",
) -> Plan:
    """What `restem evaluate` would do with the songs of a dataset; the arguments are those of `restem.evaluate`."""
    stages = [Stage("starting", starting_s(1))]
    sources: list[Source] = [(dataset.file(stem), stem.stream or 0) for stem in dataset.stems]
    seconds = lengths(sources)
    of_song: dict[str, float] = {}
    for stem, length in zip(dataset.stems, seconds.tolist(), strict=True):
        of_song[stem.song] = max(of_song.get(stem.song, 0.0), length)
    mixtures_s = sum(of_song.values())

    def decode(index: int) -> float:
        measure(*sources[index])
        return 0.0

    decoding = rate_of(decode, range(len(sources)), seconds)
    metering = _metering_rate(len(dataset.taxonomy))
    took = decoding.seconds * float(seconds.sum()) + metering.seconds * mixtures_s
    stages.append(Stage("decoding and measuring", took, counted(len(of_song), "song")))
    rates = [decoding.text("decoding"), metering.text("measuring")]
    if model is not None:
        rate = separation_rate(model, overlap, shifts, choose_device(device))
        stages.insert(1, Stage("separating", rate.seconds * mixtures_s, f"{mixtures_s / 60:.1f} min of mixtures"))
        rates.append(rate.text("separating"))
    writes = [] if out is None else [f"a result, {out}"]
    return Plan([f"{audio_text(len(sources), seconds.sum())}, from {dataset.root}"], writes, stages, rates)


def _metering_rate(classes: int) -> Rate:
    """The rate of the SDRs of estimates and mixture, on noise."""
    noise = np.random.default_rng(0).standard_normal((classes, 2, round(_METERED_S * _METERED_HZ)), np.float32)

    def measure_noise() -> None:
        for _ in range(2):
            meter = SdrMeter(_METERED_HZ, classes)
            meter.add(noise, noise)
            meter.median_sdr()

    return Rate(time_of(measure_noise) / _METERED_S)
