"""The tables of a run, from what was found."""

from __future__ import annotations

import numpy as np
import polars as pl

from restem.labelling.deciding import Outcome
from restem.labelling.features import Features
from restem.runs.run import labels_schema, segments_schema


def labels_table(features: Features, outcome: Outcome) -> pl.DataFrame:
    """`labels.csv`, with the stems that failed and those that are silent."""
    dataset, seconds = features.dataset, features.seconds.tolist()
    taxonomy = dataset.taxonomy
    position = {index: row for row, index in enumerate(features.indices)}
    active_seconds = (features.segments.active_frames * features.store.settings.hop_s).tolist()
    rows: list[tuple[object, ...]] = []
    for index, stem in enumerate(dataset.stems):
        given = taxonomy.format(stem.given)
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
        verdict = outcome.verdicts[row]
        rows.append((stem.song, stem.name, given, refined, verdict, quality, *scores, seconds[row], active_s))
    return pl.DataFrame(rows, schema=labels_schema(taxonomy), orient="row")


def segments_table(features: Features, scores: np.ndarray) -> pl.DataFrame:
    """`segments.parquet`; scores: (segment, class), 0 where a stem is not active."""
    segments, hop_s = features.segments, features.store.settings.hop_s
    taxonomy = features.dataset.taxonomy
    stems = [features.dataset.stems[features.indices[row]] for row in segments.stem.tolist()]
    columns: dict[str, object] = {
        "song": [stem.song for stem in stems],
        "stem": [stem.name for stem in stems],
        "start_s": segments.start * hop_s,
        "end_s": np.minimum(segments.stop * hop_s, features.seconds[segments.stem]),
        "level_db": segments.level_db,
        **{name: scores[:, index] for index, name in enumerate(taxonomy.classes)},
    }
    return pl.DataFrame(columns, schema_overrides=segments_schema(taxonomy))
