"""What a run holds, from what was found: its tables and its description."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import polars as pl

from restem._version import __version__
from restem.auditing.findings import Finding
from restem.auditing.quick import described
from restem.dataset.table import Dataset
from restem.dataset.usage import left_out
from restem.labelling.computing import Computing
from restem.labelling.deciding import Outcome
from restem.labelling.features import Features
from restem.labelling.judging import Judged
from restem.runs.tables import labels_schema, segments_schema

# Of a part of the table of segments.
_STEMS_AT_ONCE = 2048


def labels_table(features: Features, outcome: Outcome) -> pl.DataFrame:
    """`labels.csv`, with the stems that failed and those that are silent."""
    dataset, seconds = features.dataset, features.seconds.tolist()
    taxonomy = dataset.taxonomy
    position = {index: row for row, index in enumerate(features.indices)}
    active_seconds = (features.segments.active_frames * features.store.settings.hop_s).tolist()
    rows: list[tuple[object, ...]] = []
    for index, stem in enumerate(dataset.stems):
        given = dataset.given_text(stem)
        row = position.get(index)
        if row is None:
            rows.append((stem.song, stem.name, given, given, "failed", None, *([None] * (len(taxonomy) + 2))))
            continue
        active_s = min(active_seconds[row], seconds[row])
        if active_s == 0.0:
            quality = 1.0 if not stem.given else 0.0
            scores = [0.0] * len(taxonomy)
            rows.append((stem.song, stem.name, given, "", "silent", quality, *scores, seconds[row], 0.0))
            continue
        refined = taxonomy.format(taxonomy.from_flags(outcome.refined[row].tolist()))
        scores = outcome.probabilities[row].tolist()
        quality = float(outcome.quality[row])
        rows.append(
            (stem.song, stem.name, given, refined, outcome.verdicts[row], quality, *scores, seconds[row], active_s)
        )
    return pl.DataFrame(rows, schema=labels_schema(taxonomy), orient="row")


def segments_tables(features: Features, scores: np.ndarray) -> Iterator[pl.DataFrame]:
    """`segments.parquet` in parts, stem after stem; scores: (segment, class), 0 where a stem is not active."""
    segments, hop_s = features.segments, features.store.settings.hop_s
    taxonomy = features.dataset.taxonomy
    for first in range(0, len(features.indices), _STEMS_AT_ONCE):
        stems = [features.dataset.stems[index] for index in features.indices[first : first + _STEMS_AT_ONCE]]
        mine = slice(segments.of_stem(first).start, segments.of_stem(first + len(stems) - 1).stop)
        stem = segments.stem[mine] - first
        columns: dict[str, object] = {
            "song": pl.Series([one.song for one in stems], dtype=pl.String).gather(stem),
            "stem": pl.Series([one.name for one in stems], dtype=pl.String).gather(stem),
            "start_s": segments.start[mine] * hop_s,
            "end_s": np.minimum(segments.stop[mine] * hop_s, features.seconds[segments.stem[mine]]),
            "level_db": segments.level_db[mine],
            **{name: scores[mine, index] for index, name in enumerate(taxonomy.classes)},
        }
        yield pl.DataFrame(columns, schema_overrides=segments_schema(taxonomy))


def describe_run(
    request: dict[str, Any],
    dataset: Dataset,
    computing: Computing,
    stages: dict[str, float],
    judged: Judged,
    features: Features,
    findings: Sequence[Finding],
    folds: Mapping[str, int],
) -> dict[str, Any]:
    """What `run.json` holds."""
    taxonomy = dataset.taxonomy
    failures, notes = (
        {dataset.stems[index].name: reason for index, reason in sorted(found.items())}
        for found in (features.failures, features.notes)
    )
    packages = ("torch", "lightning", "numpy", "scipy", "polars", "soundfile")
    return {
        **request,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": request["settings"]["seed"],
        "device": computing.device,
        "computing": asdict(computing),
        "dataset": {
            **request["dataset"],
            "layout": dataset.layout,
            "classes": list(taxonomy.classes),
            "aliases": dict(taxonomy.aliases),
            "songs": len(dataset.songs),
            "stems": len(dataset),
            "left_out": left_out(dataset),
            "unclassed": sum(item.unclassed for item in dataset.skipped),
            "stated": dataset.stated(),
        },
        "versions": {
            "restem": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
        "stages": stages,
        "calibration": {
            name: {"stems": asdict(stems), "segments": asdict(segments), "rates": asdict(rates)}
            for name, stems, segments, rates in zip(
                taxonomy.classes if judged.calibrations else (),  # a threshold needs none
                judged.outcome.calibrations,
                judged.calibrations,
                judged.outcome.rates,
                strict=True,
            )
        },
        "sure_right": judged.outcome.sure_right,
        "failures": failures,
        "notes": notes,
        "findings": described(findings),
        "out_of_fold": len(set(folds.values())) > 1,
        "folds": dict(folds),
    }
