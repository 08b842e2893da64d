"""The tables of a run, from what was found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from restem.dataset.run import labels_schema, segments_schema
from restem.dataset.table import Dataset
from restem.labelling.deciding import Decisions
from restem.labelling.segments import Segments


def labels_table(
    dataset: Dataset,
    heard: Sequence[int],
    decisions: Decisions,
    segments: Segments,
    seconds: Sequence[float],
    hop_s: float,
) -> pl.DataFrame:
    """`labels.csv`. heard: the dataset's stems that `decisions`, `segments` and `seconds` are about, in order."""
    taxonomy = dataset.taxonomy
    position = {index: row for row, index in enumerate(heard)}
    rows: list[tuple[object, ...]] = []
    for index, stem in enumerate(dataset.stems):
        given = taxonomy.format(stem.given)
        row = position.get(index)
        if row is None:
            rows.append((stem.song, stem.name, given, given, "failed", None, *([None] * (len(taxonomy) + 2))))
            continue
        active_s = min(float(segments.active_frames[row]) * hop_s, seconds[row])
        if active_s == 0.0:
            quality = 1.0 if not stem.given else 0.0
            scores = [0.0] * len(taxonomy)
            rows.append((stem.song, stem.name, given, "", "silent", quality, *scores, seconds[row], 0.0))
            continue
        refined = taxonomy.format(taxonomy.from_flags(decisions.refined[row].tolist()))
        scores = decisions.probabilities[row].tolist()
        quality = float(decisions.quality[row])
        verdict = decisions.verdicts[row]
        rows.append((stem.song, stem.name, given, refined, verdict, quality, *scores, seconds[row], active_s))
    return pl.DataFrame(rows, schema=labels_schema(taxonomy), orient="row")


def segments_table(
    dataset: Dataset,
    heard: Sequence[int],
    scores: np.ndarray,
    segments: Segments,
    seconds: Sequence[float],
    hop_s: float,
) -> pl.DataFrame:
    """`segments.parquet`; scores: (segment, class), 0 where a stem is not active."""
    stems = [dataset.stems[heard[row]] for row in segments.stem.tolist()]
    ends_s = np.minimum(segments.stop * hop_s, np.asarray(seconds)[segments.stem])
    columns: dict[str, object] = {
        "song": [stem.song for stem in stems],
        "stem": [stem.name for stem in stems],
        "start_s": segments.start * hop_s,
        "end_s": ends_s,
        "level_db": segments.level_db,
        **{name: scores[:, index] for index, name in enumerate(dataset.taxonomy.classes)},
    }
    return pl.DataFrame(columns, schema_overrides=segments_schema(dataset.taxonomy))
