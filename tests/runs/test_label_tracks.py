from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import restem
from restem.errors import DatasetError, UsageError
from restem.runs.run import Run, labels_schema, open_run, write_run
from restem.runs.tables import segments_schema
from restem.taxonomy import Taxonomy

TAXONOMY = Taxonomy()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """One stem of 10 s in segments of 3 s: bass throughout, drums from 1 to 6 s and from 7 s on."""
    drums = [0.1, 0.9, 0.8, 0.7, 0.1, 0.2, 0.0, 0.6]
    segments = [("one", "one/bass é.wav", float(t), t + 3.0, -20.0, 0.0, p, 1.0, 0.0) for t, p in enumerate(drums)]
    labels = [("one", "one/bass é.wav", "bass", "drums+bass", "changed", 0.1, 0.0, 0.9, 1.0, 0.0, 10.0, 10.0)]
    return write_run(
        tmp_path / "run",
        TAXONOMY,
        pl.DataFrame(labels, schema=labels_schema(TAXONOMY), orient="row"),
        pl.DataFrame(segments, schema=segments_schema(TAXONOMY), orient="row"),
        {"dataset": {"root": str(tmp_path / "songs"), "classes": list(TAXONOMY.classes), "aliases": {}}},
    )


def test_stretches_of_each_class(tmp_path: Path, run: Run) -> None:
    assert restem.export_label_tracks(run, tmp_path / "labels") == 1
    assert (tmp_path / "labels/one/bass é.wav.txt").read_text(encoding="utf-8") == (
        "0.000000\t10.000000\tbass\n1.000000\t6.000000\tdrums\n7.000000\t10.000000\tdrums\n"
    )
    assert restem.import_label_tracks(run, tmp_path / "labels") == 0


def test_jams_files_are_valid(tmp_path: Path, run: Run) -> None:
    jams = pytest.importorskip("jams")
    assert restem.export_label_tracks(run, tmp_path / "labels", "jams") == 1
    loaded = jams.load(str(tmp_path / "labels/one/bass é.wav.jams"), validate=True, strict=True)
    (annotation,) = loaded.search(namespace="segment_open")
    assert annotation.validate(strict=True) and loaded.file_metadata.duration == 10.0
    intervals, values = annotation.to_interval_values()
    assert intervals.tolist() == [[0, 10], [1, 6], [7, 10]] and values == ["bass", "drums", "drums"]
    assert [one.confidence for one in annotation.data] == [1.0, 0.8, 0.6]


def test_a_table_of_all_stretches(tmp_path: Path, run: Run) -> None:
    assert restem.export_label_tracks(run, tmp_path / "labels", "csv") == 1
    rows = pl.read_csv(tmp_path / "labels/segments.csv").rows()
    stem = ("one", "one/bass é.wav")
    assert rows == [(*stem, "bass", 0.0, 10.0, 1.0), (*stem, "drums", 1.0, 6.0, 0.8), (*stem, "drums", 7.0, 10.0, 0.6)]
    with pytest.raises(UsageError, match="audacity, jams, csv"):
        restem.export_label_tracks(run, tmp_path / "labels", "midi")


def test_what_a_person_adds_is_decided(tmp_path: Path, run: Run) -> None:
    restem.export_label_tracks(run, tmp_path / "labels")
    track = tmp_path / "labels/one/bass é.wav.txt"
    # As Audacity writes: more digits, a moved label, frequencies; an alias as the text.
    text = track.read_text(encoding="utf-8").replace("1.000000\t6.0", "1.500000\t6.0")
    text += "2.25\t3.5\tVox\n\\\t100.0\t200.0\n"
    track.write_text(text, encoding="utf-8")
    assert restem.import_label_tracks(run, tmp_path / "labels", person="ada") == 2
    run = open_run(run.path)
    assert {(one.new, one.start_s, one.end_s, one.person) for one in run.decisions} == {
        ("vocals", 2.25, 3.5, "ada"), ("drums", 1.5, 6.0, "ada"),
    }  # fmt: skip
    assert run.labels["refined"][0] == "vocals+drums+bass"
    assert restem.import_label_tracks(run, tmp_path / "labels", person="ada") == 0
    restem.export_label_tracks(run, tmp_path / "labels")
    assert restem.import_label_tracks(run, tmp_path / "labels", person="ada") == 0


@pytest.mark.parametrize(
    "line", ["1.0\t0.5\tbass", "a\t2\tbass", "1\t2\tkazoo", "1 2 bass", "1\tinf\tbass", "nan\t2\tbass"]
)
def test_lines_that_are_no_labels(tmp_path: Path, run: Run, line: str) -> None:
    restem.export_label_tracks(run, tmp_path / "labels")
    (tmp_path / "labels/one/bass é.wav.txt").write_text(f"0\t1\tbass\n{line}\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="line 2"):
        restem.import_label_tracks(run, tmp_path / "labels")


def test_folders_that_are_not_it(tmp_path: Path, run: Run) -> None:
    with pytest.raises(DatasetError, match="holds no label track"):
        restem.import_label_tracks(run, tmp_path / "none")
    with pytest.raises(DatasetError, match="lies in the dataset"):
        restem.export_label_tracks(run, tmp_path / "songs/labels")
