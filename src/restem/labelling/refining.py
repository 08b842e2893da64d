"""Refines a dataset: what is asked for, what there is of it already, and the run that is written in the end.

What a run has done so far lies in `OUT/.work`. Killed and started again it goes on from there; the folder is removed
when the run is finished. How labels are found is in `rounds`.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from restem.addresses import Address, as_path
from restem.audio.cache_folder import default_cache
from restem.audio.entries import Source
from restem.audio.store import Store
from restem.auditing.findings import Finding
from restem.auditing.quick import Looked, quick_findings
from restem.dataset.table import Dataset
from restem.executing.choosing import executor_for
from restem.executing.interface import Executor
from restem.labelling.computing import Computing
from restem.labelling.encoders.store import EmbeddingStore
from restem.labelling.features import Features, load_features, sources_of
from restem.labelling.head_evidence import HeadEvidence
from restem.labelling.known_labels import describe, known_labels
from restem.labelling.pretrained_heads import EncoderWithHeads
from restem.labelling.results import describe_run, labels_table, segments_tables
from restem.labelling.rounds import WORK_FOLDER, Refinement, Timed
from restem.labelling.settings import RefineSettings
from restem.progress import Progress, Report
from restem.resuming import WorkRecord
from restem.runs.decided import Decided, decided_labels, decided_segments
from restem.runs.run import (
    DESCRIPTION_FILE,
    LABELS_FILE,
    SEGMENTS_FILE,
    Run,
    open_run,
    write_run,
)  # fmt: skip
from restem.working import alone_in

_REQUEST_FILE = "request.json"
_STEMS_FILE = "stems.npz"


def refine_labels(
    dataset: Dataset,
    out: Path | str,
    settings: RefineSettings | None = None,
    *,
    cache: Path | str | None = None,
    device: str = "auto",
    workers: int | None = None,
    ray: str | None = None,
    licence: str = "",
    decided: Mapping[str, Decided] | None = None,
    encoder: EncoderWithHeads | None = None,
    duplicates: Mapping[str, str] | None = None,
    unfit: Collection[str] | None = None,
    progress: Progress | None = None,
) -> Run:
    """Refines the labels of `dataset` and leaves the run in `out`, all but the report.

    cache: the folder of the feature store. device: `auto`, `cpu`, `cuda` or `mps`. workers: processes, by default the
    cores available. ray: a Ray cluster instead, see `executing.choosing`. licence: of the data, kept with the
    classifier. decided: what people said about stems, by name; it is certain. encoder: what hears the stems beside the
    classifiers; its name replaces that in the settings. duplicates: song -> a song that stands for all that it shares
    recordings with; they are in one fold. unfit: names of stems that are not learned from. A finished run of the same
    request is read back.
    Raises RunError when `out` holds something else, DatasetError when no stem can be used, something was decided about
    one that is not there, or a folder to be written lies in the dataset, UsageError for settings.
    """
    out = as_path(out)
    settings = replace(settings or RefineSettings(), encoder=encoder.card.name if encoder is not None else "none")
    dataset.taxonomy.check_learnable()
    cache = as_path(cache) if cache is not None else default_cache()
    dataset.check_outside(out, cache)
    request: dict[str, Any] = {
        "settings": asdict(settings),
        "dataset": dataset.origin(),
        "licence": licence,
        "decisions": describe(decided, dataset),
        "encoder": encoder.identity if encoder is not None else None,
        "duplicates": dict(duplicates) if duplicates is not None else None,
        "unfit": sorted(unfit) if unfit is not None else None,
    }
    record = WorkRecord(out, DESCRIPTION_FILE, request, "run", unfinished=f"{WORK_FOLDER}/{_REQUEST_FILE}")
    if _is_whole(record):
        return open_run(out)
    store, executor = Store(cache, settings.mel), executor_for(workers, ray)
    with alone_in(out):
        if _is_whole(record):
            return open_run(out)  # another process has finished it meanwhile
        return _refine(dataset, record, settings, device, store, executor, decided, encoder, Timed(progress))


def _is_whole(record: WorkRecord) -> bool:
    """Whether the run is finished; raises RunError as `WorkRecord.begin` does."""
    return record.begin() and all((record.folder / name).exists() for name in (LABELS_FILE, SEGMENTS_FILE))


def _refine(
    dataset: Dataset,
    record: WorkRecord,
    settings: RefineSettings,
    device: str,
    store: Store,
    executor: Executor,
    decided: Mapping[str, Decided] | None,
    encoder: EncoderWithHeads | None,
    timed: Timed,
) -> Run:
    """Does what is left of the work, and writes the run."""
    out, request = record.folder, record.request
    (out / DESCRIPTION_FILE).unlink(missing_ok=True)  # a table was lost since: the run is made again
    computing = Computing.decided(device, settings.folds, executor, record.content.get("computing"))
    record.note(finished=False, computing=asdict(computing))
    failed: dict[int, str] = {}
    beside: EmbeddingStore | None = None
    if encoder is not None:
        where = "cuda" if computing.device == "cuda" else "cpu"
        embeddings = EmbeddingStore(store.folder, encoder.card, encoders=encoder.folder, device=where)
        if isinstance(dataset.root, Address) and not embeddings.gpus:
            beside = embeddings  # so that a stem is fetched once; a GPU would wait for what the cores do
        else:
            failed = embed(sources_of(dataset, range(len(dataset))), embeddings, executor, timed)
    with timed("features and damage") as report:
        features = load_features(
            dataset, store, settings.mixing.segment_s, settings.hop_s, executor, report, failed,
            out / WORK_FOLDER / _STEMS_FILE, True, beside,
        )  # fmt: skip
    if beside is not None:
        embed(features.sources, beside, executor, timed)  # those that were lost since the features were made
    with timed("copies") as report:
        found = findings(features, report)
    config = settings.classifier(dataset.taxonomy.classes, request["dataset"]["fingerprint"], request["licence"])
    duplicates, unfit = request["duplicates"], request["unfit"] or ()
    refinement = Refinement(features, out, settings, computing, executor, config, duplicates, unfit)
    known = known_labels(features, decided)
    if settings.method == "paper":
        judged = refinement.judged_as_in_the_paper(known, timed)
    else:
        if encoder is not None:
            heads: HeadEvidence | None = refinement.encoder_heads(embeddings, encoder.heads)
        else:
            heads = refinement.classifier_heads(timed)
        judged = refinement.judged_in_rounds(heads, known, timed)
        refinement.train_final(refinement.targets(judged, known), timed)

    labels = decided_labels(labels_table(features, judged.outcome), known.decided, dataset.taxonomy)
    parts = segments_tables(features, judged.over_time)
    segments = (decided_segments(part, known.decided, dataset.taxonomy) for part in parts)
    folds = dict(zip(features.songs, refinement.fold.tolist(), strict=True))
    description = describe_run(request, dataset, computing, timed.seconds, judged, features, found, folds)
    run = write_run(out, dataset.taxonomy, labels, segments, description)
    shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)
    return run


def embed(sources: list[Source], store: EmbeddingStore, executor: Executor, timed: Timed) -> dict[int, str]:
    """Computes the embeddings that the store lacks; returns the sources that failed, as index -> reason."""
    with timed(f"embeddings of {store.card.name}") as report:
        return store.fill(sources, executor, report)


def findings(features: Features, report: Report) -> list[Finding]:
    """What else is wrong with the stems, as far as it can be found quickly. features: damage was looked for."""
    segments, looked = features.segments, []
    begins = np.searchsorted(segments.stem, np.arange(len(features.indices) + 1))
    for row in np.flatnonzero(segments.active_frames).tolist():
        mine = slice(begins[row], begins[row + 1])
        starts = segments.start[mine][segments.active[mine]]
        stem, seconds = features.dataset.stems[features.indices[row]], float(features.seconds[row])
        looked.append(Looked(stem, seconds, features.damage[row], features.stems[row], int(starts[len(starts) // 2])))
    return quick_findings(looked, report)
