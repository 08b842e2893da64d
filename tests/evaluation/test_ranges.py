"""What a run found over time, against decisions about time ranges."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

import restem
from restem.cli.main import run_command
from restem.evaluation.ranges import score_ranges
from restem.runs.ledger import Decision, Ledger
from restem.runs.run import Run, open_run, write_run
from restem.runs.tables import labels_schema, segments_schema
from restem.taxonomy import Taxonomy

TAXONOMY = Taxonomy(("vocals", "drums"))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two stems of 6 s in segments of 2 s. In the first, given vocals, drums are found from 2 s on, vocals never."""
    labels = [
        ("one", "one/a.wav", "vocals", "drums", "changed", 0.1, 0.1, 0.9, 6.0, 6.0),
        ("one", "one/b.wav", "drums", "drums", "kept", 0.9, 0.1, 0.9, 6.0, 6.0),
    ]
    segments = [("one", "one/a.wav", float(t), t + 2.0, -20.0, 0.1, 0.9 if t >= 2 else 0.2) for t in range(5)]
    segments += [("one", "one/b.wav", float(t), t + 2.0, -20.0, 0.1, 0.9) for t in range(5)]
    return write_run(
        tmp_path / "run",
        TAXONOMY,
        pl.DataFrame(labels, schema=labels_schema(TAXONOMY), orient="row"),
        pl.DataFrame(segments, schema=segments_schema(TAXONOMY), orient="row"),
        {"dataset": {"root": str(tmp_path / "songs"), "classes": list(TAXONOMY.classes), "aliases": {}}},
    )


def decide(run: Run, stem: str, new: str, *times: float) -> None:
    Ledger(run.path).add([Decision("one", f"one/{stem}.wav", "", new, "ada", "", *times)])


def test_segments_whose_middle_lies_in_a_range_are_compared(run: Run) -> None:
    # Middles at 1 to 5 s: those at 2 to 4 lie in it. Vocals are never there, drums are found in the last two of three.
    decide(run, "a", "drums", 2.0, 4.4)
    found = score_ranges(run, open_run(run.path))
    assert found is not None and (found.ranges, found.segments, found.seconds) == (1, 3, 2.4)
    assert found.found_accuracy == pytest.approx(5 / 6) and found.given_accuracy == 0.0


def test_a_short_range_is_compared_with_the_nearest_segment(run: Run) -> None:
    decide(run, "b", "vocals+drums", 2.9, 3.2)
    decide(run, "b", "", 0.1, 0.4)
    found = score_ranges(run, open_run(run.path))
    assert found is not None and (found.ranges, found.segments) == (2, 2)
    # Drums right, vocals missed; then nothing is there, and drums were found.
    assert found.found_accuracy == pytest.approx(0.5) == found.given_accuracy


def test_the_last_of_two_decisions_holds(run: Run) -> None:
    decide(run, "a", "vocals", 2.0, 4.4)
    decide(run, "a", "drums", 2.0, 4.4)
    found = score_ranges(run, open_run(run.path))
    assert found is not None and (found.ranges, found.segments, found.found_accuracy) == (1, 3, pytest.approx(5 / 6))


def test_scored_beside_whole_stems_and_alone(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score_ranges(run, run) is None
    decide(run, "a", "drums", 2.0, 4.4)
    figures = tmp_path / "figures.json"
    assert run_command(["score", str(run.path), "--decisions", str(run.path), "--json", str(figures)]) == 0
    assert "Over 1 decided time range, 2.4 s: label accuracy 0.000 given, 0.833" in capsys.readouterr().out
    assert json.loads(figures.read_text())["over_time"]["segments"] == 3
    decide(run, "b", "drums")
    result = restem.score(run.path, decisions=run.path)
    assert result.stems == 1 and result.over_time is not None and result.over_time.ranges == 1
    assert result.as_dict()["over_time"]["ranges"] == 1
    assert run_command(["score", str(run.path), "--decisions", str(run.path)]) == 0
    assert "Over 1 decided time range" in capsys.readouterr().out
