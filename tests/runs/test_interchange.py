"""What goes to other tools: cleanlab takes it, and tracks hold the times at which classes sound."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from restem.errors import DatasetError, UsageError
from restem.runs.interchange import export_tracks, stretches
from restem.runs.ledger import Decision
from restem.runs.run import Run, labels_schema, open_run, record, segments_schema, write_run
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


def test_a_stretch_reaches_to_the_middle_between_segments(tmp_path: Path) -> None:
    segments = make_run(tmp_path, 2).found_segments
    (one,) = stretches(segments, TAXONOMY)
    # Segments 1 and 2 have their centres at 2.5 and 3.5 s, their neighbours at 1.5 and 4.5 s.
    assert (one.name, one.start_s, one.end_s, one.score) == ("vocals", 2.0, 4.0, pytest.approx(0.9))
    always = segments.with_columns(drums=pl.lit(1.0))
    assert [(found.start_s, found.end_s) for found in stretches(always, TAXONOMY) if found.name == "drums"] == [
        (0.0, 8.0)
    ]
    assert stretches(segments.clear(), TAXONOMY) == []


def test_tracks(tmp_path: Path) -> None:
    run = make_run(tmp_path, 3)
    record(run, [Decision("Song 0", "Song 0/stem 0.wav", "vocals", "")])
    run = open_run(run.path)
    assert export_tracks(run, tmp_path / "audacity") == 1  # of the three, one failed and one holds nothing
    assert (tmp_path / "audacity/Song 1/stem 1.wav.txt").read_text() == "2.000000\t4.000000\tdrums\n"
    export_tracks(run.path, tmp_path / "reaper", "reaper")
    found = (tmp_path / "reaper/Song 1/stem 1.wav.csv").read_text().splitlines()
    assert found == ["#,Name,Start,End,Length", "R1,drums,2.000,4.000,2.000"]
    export_tracks(run, tmp_path / "all.csv", "csv")
    with (tmp_path / "all.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row == {
        "song": "Song 1", "stem": "Song 1/stem 1.wav", "class": "drums",
        "start_s": "2.000", "end_s": "4.000", "score": "0.900",
    }  # fmt: skip


def test_what_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, 2)
    with pytest.raises(DatasetError, match="lies in the dataset"):
        export_tracks(run, tmp_path / "songs" / "tracks")
    with pytest.raises(UsageError, match="is there already"):
        export_tracks(run, tmp_path)
    with pytest.raises(UsageError, match="'jams' is not a format"):
        export_tracks(run, tmp_path / "x", "jams")  # type: ignore[arg-type]
    segments = run.found_segments.with_columns(stem=pl.lit("../../out.wav"))
    segments.write_parquet(run.path / "segments.parquet")
    with pytest.raises(DatasetError, match="leads outside"):
        export_tracks(run.path, tmp_path / "tracks")
    assert not list(tmp_path.rglob("*out.wav*"))
