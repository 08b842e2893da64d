"""What a run adds to an audit: stems of no class, and copies in different folds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

import restem
from restem.runs.run import Run, write_run
from restem.runs.tables import labels_schema, segments_schema
from restem.taxonomy import Taxonomy

Play = Callable[..., np.ndarray]

RATE_HZ, SECONDS = 16000, 8.0


@pytest.fixture
def run(tmp_path: Path, play_notes: Play) -> Run:
    """Three songs of a bass; that of the second is a copy of the first's, and in the third no class was heard."""
    taxonomy, rows = Taxonomy(), []
    for song, seed, score in (("a", 1, 0.9), ("b", 1, 0.9), ("c", 2, 0.1)):
        path = tmp_path / "stems" / song / "bass.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, play_notes(seed, SECONDS, RATE_HZ), RATE_HZ)
        scores = [score if name == "bass" else 0.05 for name in taxonomy.classes]
        rows.append((song, f"{song}/bass.wav", "bass", "bass", "kept", 0.9, *scores, SECONDS, SECONDS))
    dataset = restem.open_dataset(tmp_path / "stems")
    described = {"root": str(dataset.root), "classes": list(taxonomy.classes), "aliases": {}, **dataset.origin()}
    description = {"dataset": described, "folds": {"a": 0, "b": 1, "c": 0}, "finished": "2026-01-01T00:00:00+00:00"}
    return write_run(
        tmp_path / "run",
        taxonomy,
        pl.DataFrame(rows, schema=labels_schema(taxonomy), orient="row"),
        pl.DataFrame(schema=segments_schema(taxonomy)),
        description,
    )


def test_no_class_and_copies_across_folds(run: Run, tmp_path: Path) -> None:
    alone = restem.audit(run.dataset_root, tmp_path / "alone", workers=1)
    assert alone.findings.select("song", "kind").rows() == [("b", "duplicate")]
    found = restem.audit(run.dataset_root, tmp_path / "audit", run=run.path, workers=1)
    assert found.findings.select("song", "kind").rows() == [("b", "leak"), ("c", "foreign")]
    leak, foreign = found.findings["message"]
    assert "in another fold" in leak and "0.10, of bass" in foreign
    assert found.duplicate_songs() == {"a": "a", "b": "a"}


def test_a_run_of_another_dataset_is_refused(run: Run, tmp_path: Path, play_notes: Play) -> None:
    path = tmp_path / "other" / "a" / "bass.wav"
    path.parent.mkdir(parents=True)
    soundfile.write(path, play_notes(3, SECONDS, RATE_HZ), RATE_HZ)
    with pytest.raises(restem.RunError, match="is a run of"):
        restem.audit(tmp_path / "other", tmp_path / "audit", run=run, workers=1)
