"""The plan of `refine`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from restem.audio.cache_folder import default_cache
from restem.audio.entries import EntryStore, Source
from restem.audio.store import Store
from restem.auditing.quick import look
from restem.dataset.table import Dataset
from restem.devices import choose_device
from restem.executing.processes import Processes, available_cores
from restem.labelling.encoders.registry import chosen_encoder
from restem.labelling.encoders.store import EmbeddingStore
from restem.labelling.pretrained import knows
from restem.labelling.rounds import ROUNDS_FROM_DATA
from restem.labelling.settings import RefineSettings
from restem.planning.plan import Plan, Stage, audio_text, size_text
from restem.planning.rates import in_parallel, lengths, rate_of, starting_s, step_times, store_rate
from restem.wording import counted


def plan_refine(
    dataset: Dataset,
    out: Path,
    settings: RefineSettings,
    *,
    cache: Path | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> Plan:
    """What `restem refine` would do with a dataset; the arguments are those of `restem.refine`.

    All stems are taken to sound all the time, and no training to end early, so it may take less.
    """
    device, cache, executor = choose_device(device), cache or default_cache(), Processes.of(workers)
    processes = 1 if device != "cpu" else executor.workers
    sources: list[Source] = [(dataset.file(stem), stem.stream or 0) for stem in dataset.stems]
    seconds = lengths(sources)
    stages = [Stage("starting", starting_s(processes))]
    rates, writes = [], [f"a run, {out}"]
    stores: list[tuple[str, EntryStore]] = [("features", Store(cache, settings.mel))]
    card = chosen_encoder(settings.encoder)
    if card is not None:
        where = "cuda" if device == "cuda" else "cpu"
        stores.insert(0, (f"embeddings of {card.name}", EmbeddingStore(cache, card, device=where)))
    for name, store in stores:
        stage, measured, size = _filling(name, store, sources, seconds, executor.workers)
        stages.append(stage)
        if size:
            rates.append(measured)
            writes.append(f"{name}, {size_text(size)}, in {cache}")
    rate = rate_of(
        lambda index: _look_at(sources[index], float(seconds[index])),
        range(len(sources)),
        seconds,
    )
    took = in_parallel(rate.seconds * seconds, executor.workers)
    stages.append(Stage("damage", took, counted(len(sources), "stem")))
    stages += _trainings(dataset, settings, seconds, processes, card is not None, device, rates)
    return Plan([f"{audio_text(len(sources), seconds.sum())}, from {dataset.root}"], writes, stages, rates)


def _look_at(source: Source, seconds: float) -> float:
    """Looks for damage in a stem, as if it sounded all the time."""
    look(source, np.arange(0.0, seconds), 0.0)
    return 0.0


def _filling(
    name: str, store: EntryStore, sources: Sequence[Source], seconds: np.ndarray, workers: int
) -> tuple[Stage, str, float]:
    """The stage in which the missing entries of a store are computed, its rate, and the bytes it writes."""
    missing = [index for index, source in enumerate(sources) if store.is_missing(source)]
    rate = store_rate(store, sources, missing, seconds)
    took = in_parallel(rate.seconds * seconds[missing], workers)
    detail = counted(len(missing), "stem") + (
        f" of {len(sources)}, the others are in the cache" if len(missing) < len(sources) else ""
    )
    return Stage(name, took, detail), rate.text(name), rate.bytes * float(seconds[missing].sum())


def _trainings(
    dataset: Dataset,
    settings: RefineSettings,
    seconds: np.ndarray,
    processes: int,
    with_encoder: bool,
    device: str,
    rates: list[str],
) -> list[Stage]:
    """The trainings and scorings. rates: what was measured is added to it."""
    training, mixing = settings.training, settings.mixing
    config = settings.classifier(dataset.taxonomy.classes)
    start = settings.start_of(config)
    uses_pretrained = start == "pretrained" and knows(config.classes)
    rounds = settings.rounds or (1 if uses_pretrained else ROUNDS_FROM_DATA)
    folds = max(1, min(settings.folds, len(dataset.songs)))
    segments = int(np.maximum(1, np.ceil((seconds - mixing.segment_s) / settings.hop_s) + 1)[seconds > 0].sum())
    if device == "cpu":
        torch.set_num_threads(max(1, available_cores() // max(2, settings.folds)))
    frames = settings.mel.frames_in(mixing.segment_s)
    batch = torch.rand(training.batch, frames, settings.mel.bands)
    step_s, pass_s = step_times(config.build().to(memory_format=torch.channels_last), batch, device)  # type: ignore[call-overload]
    scoring_s = pass_s / training.batch
    rates.append(f"training {1 / step_s:.3g} steps a second in each process")
    rates.append(f"scoring {1 / scoring_s:,.0f} segments a second in each process")

    def steps(share: float) -> int:
        return settings.steps or training.steps_for(round(share * segments), mixing, start)

    def training_s(number: int, watched: bool) -> float:
        batches = -(-training.validation_mixtures // training.batch) / training.epoch_steps if watched else 0.0
        return number * (step_s + batches * pass_s)

    def scoring(name: str, passes: int = 1) -> Stage:
        return Stage(name, passes * segments * scoring_s / min(processes, folds), counted(segments, "segment"))

    stages = [scoring("pretrained: scoring", 1 if with_encoder else 2)] if uses_pretrained else []
    in_fold = steps(1.0 - 1.0 / folds if folds > 1 else 1.0)
    for number in range(1, rounds + 1):
        one = training_s(in_fold, watched=folds > 1)
        detail = f"{counted(folds, 'training')} of {counted(in_fold, 'step')} at most"
        stages.append(Stage(f"round {number} of {rounds}: training", in_parallel([one] * folds, processes), detail))
        stages.append(scoring(f"round {number} of {rounds}: scoring"))
    if settings.method != "paper":
        stages.append(Stage("final classifier", training_s(steps(1.0), watched=False), counted(steps(1.0), "step")))
    return stages
