"""cleanlab takes what a run gives it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from restem.runs.run import Run, write_run
from restem.runs.tables import labels_schema, segments_schema
from restem.taxonomy import Taxonomy

TAXONOMY = Taxonomy()


def make_run(path: Path, stems: int = 40, name: str = "Song {0}/stem {0}.wav") -> Run:
    """Stems with one class each; of every tenth the given label is another one. The last one failed."""
    rng = np.random.default_rng(0)
    rows, segments = [], []
    for i in range(stems):
        place = i % 4
        given = TAXONOMY.classes[(place + (i % 10 == 9)) % 4]
        scores = np.where(np.arange(4) == place, 0.95, 0.05) + rng.uniform(-0.04, 0.04, 4)
        failed = i == stems - 1
        cells = [None] * 6 if failed else [*scores, 8.0, 8.0]
        rows.append(
            (f"Song {i}", name.format(i), given, given, "failed" if failed else "kept", None if failed else 0.5, *cells)
        )
        if not failed:
            # It sounds in the segments of 3 s around 2.5 and 3.5 s.
            for t in range(6):
                now = np.where(np.arange(4) == place, 0.9 if 1 <= t <= 2 else 0.1, 0.0)
                segments.append((f"Song {i}", name.format(i), float(t), t + 3.0, -20.0, *now))
    labels = pl.DataFrame(rows, schema=labels_schema(TAXONOMY), orient="row")
    table = pl.DataFrame(segments, schema=segments_schema(TAXONOMY), orient="row")
    description = {"dataset": {"root": str(path / "songs"), "classes": list(TAXONOMY.classes), "aliases": {}}}
    return write_run(path / "run", TAXONOMY, labels, table, description)


def test_cleanlab_finds_the_wrong_labels(tmp_path: Path) -> None:
    filters = pytest.importorskip("cleanlab.multilabel_classification.filter")
    run = make_run(tmp_path)
    labels, scores = run.to_cleanlab()
    assert len(labels) == 39 and scores.shape == (39, 4) and np.isfinite(scores).all()
    wrong = [9, 19, 29]
    issues = filters.find_label_issues(labels, scores, filter_by="predicted_neq_given")
    assert np.flatnonzero(issues).tolist() == wrong
    # By default it leaves out as many as it believes to be chance.
    pruned = filters.find_label_issues(labels, scores)
    assert set(np.flatnonzero(pruned)) <= set(wrong) and pruned.any()
