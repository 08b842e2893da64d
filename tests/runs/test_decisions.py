"""The ledger of decisions, what they do to the tables of a run, and the CSV they travel in."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from restem.errors import DatasetError, RunError
from restem.runs.decided import Decided, Range, decided_row, settle
from restem.runs.export import export
from restem.runs.ledger import DECISIONS_FILE, Decision, Ledger
from restem.runs.run import (
    FOUND_FILE,
    LABELS_FILE,
    Run,
    export_decisions,
    import_decisions,
    labels_schema,
    open_run,
    record,
    write_decided,
    write_run,
)
from restem.runs.tables import segments_schema
from restem.taxonomy import Taxonomy

TAXONOMY = Taxonomy()
STEMS = {
    "one/bass.wav": ("bass", "bass+drums", "changed", 0.05, [0.0, 0.9, 1.0, 0.0]),
    "one/drums.wav": ("drums", "drums", "unsure", 0.4, [0.4, 0.9, 0.0, 0.0]),
    "one/other.wav": ("other", "", "silent", 0.0, [0.0, 0.0, 0.0, 0.0]),
    "one/vocals.wav": ("vocals", "vocals", "failed", None, [None] * 4),
}


def decision(stem: str, new: str | None, start_s: float | None = None, end_s: float | None = None) -> Decision:
    return Decision("one", stem, "", new, "ada", start_s=start_s, end_s=end_s)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    rows, segments = [], []
    for stem, (given, refined, verdict, quality, scores) in STEMS.items():
        times = (None, None) if verdict == "failed" else (9.0, 9.0)
        written = TAXONOMY.format(TAXONOMY.parse(refined))
        rows.append(("one", stem, given, written, verdict, quality, *scores, *times))
        if verdict != "failed":
            segments += [("one", stem, float(t), t + 3.0, -20.0, *scores) for t in (0, 3, 6)]
    return write_run(
        tmp_path / "run",
        TAXONOMY,
        pl.DataFrame(rows, schema=labels_schema(TAXONOMY), orient="row"),
        pl.DataFrame(segments, schema=segments_schema(TAXONOMY), orient="row"),
        {"dataset": {"root": str(tmp_path / "songs"), "classes": list(TAXONOMY.classes), "aliases": {}}},
    )


def row(run: Run, stem: str) -> dict:
    return open_run(run.path).labels.row(by_predicate=pl.col("stem") == stem, named=True)


class TestLedger:
    def test_nothing_is_made_before_the_first_decision(self, run: Run) -> None:
        ledger = Ledger(run.path)
        assert ledger.standing() == () and ledger.changed_since(0) == (0, set())

    def test_decisions_stand_until_they_are_undone(self, run: Run) -> None:
        ledger = Ledger(run.path)
        first, second = ledger.add([decision("one/bass.wav", "bass"), decision("one/drums.wav", None)])
        assert [one.number for one in ledger.standing()] == [first, second]
        assert ledger.undo("grace") is None
        undone = ledger.undo("ada")
        assert undone is not None and undone.number == second
        assert ledger.undo("ada", second) is None  # not twice
        assert [one.number for one in ledger.standing()] == [first]
        assert ledger.changed_since(second) == (second + 1, {"one/drums.wav"})

    def test_it_is_flushed_to_the_disk(self, run: Run) -> None:
        ledger = Ledger(run.path)
        ledger.add([decision("one/bass.wav", "bass")])
        with ledger.writing() as database:
            assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        with sqlite3.connect(ledger.path) as database:
            assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    def test_many_writers_lose_nothing(self, run: Run, start_python: Callable) -> None:
        program = """
import sys
from pathlib import Path
from restem.runs.ledger import Decision, Ledger
ledger = Ledger(Path(sys.argv[1]))
for _ in range(15):
    print(*ledger.add([Decision("one", "one/bass.wav", "", "bass", sys.argv[2])]))
"""
        writers = [start_python("-c", program, run.path, name) for name in ("a", "b", "c")]
        found = sorted(int(number) for writer in writers for number in writer.communicate()[0].split())
        assert [one.number for one in Ledger(run.path).standing()] == found
        assert len(set(found)) == 45

    def test_a_damaged_database_is_named(self, run: Run) -> None:
        (run.path / DECISIONS_FILE).write_bytes(b"no database, but long enough to be looked at" * 50)
        with pytest.raises(RunError, match=r"decisions\.sqlite: cannot be used"):
            open_run(run.path)


class TestTables:
    def test_a_decision_is_certain(self, run: Run) -> None:
        record(run, [decision("one/bass.wav", "bass"), decision("one/drums.wav", "vocals+drums")])
        found = row(run, "one/bass.wav")
        assert (found["refined"], found["verdict"], found["quality"]) == ("bass", "kept", 1.0)
        assert [found[name] for name in TAXONOMY.classes] == [0, 0, 1, 0]
        found = row(run, "one/drums.wav")
        assert (found["refined"], found["verdict"], found["quality"]) == ("vocals+drums", "changed", 0.0)

    def test_the_file_says_what_the_run_does(self, run: Run) -> None:
        before = (run.path / LABELS_FILE).read_bytes()
        (number,) = record(run, [decision("one/bass.wav", "bass")])
        written = pl.read_csv(run.path / LABELS_FILE, schema_overrides=labels_schema(TAXONOMY))
        assert written["refined"].to_list()[0] == "bass"
        assert list(written.columns) == list(labels_schema(TAXONOMY))
        assert (run.path / FOUND_FILE).read_bytes() == before
        Ledger(run.path).undo("ada", number)
        write_decided(run)
        assert (run.path / LABELS_FILE).read_bytes() == before
        assert open_run(run.path).labels.equals(run.labels)

    def test_unsure_silent_and_failed(self, run: Run) -> None:
        record(
            run,
            [decision("one/bass.wav", None), decision("one/other.wav", ""), decision("one/vocals.wav", "bass")],
        )
        found = row(run, "one/bass.wav")
        assert (found["refined"], found["verdict"], found["quality"]) == ("bass", "unsure", 0.05)
        assert row(run, "one/other.wav")["verdict"] == "silent"
        assert row(run, "one/vocals.wav")["verdict"] == "failed"

    def test_a_range_adds_what_is_heard_in_it(self, run: Run) -> None:
        record(run, [decision("one/drums.wav", "vocals", 2.5, 6.2)])
        found = row(run, "one/drums.wav")
        assert (found["refined"], found["verdict"], found["vocals"]) == ("vocals+drums", "changed", 1.0)
        mine = open_run(run.path).segments.filter(pl.col("stem") == "one/drums.wav")
        assert mine["vocals"].to_list() == pytest.approx([0.4, 1.0, 0.4])
        assert mine["drums"].to_list() == pytest.approx([0.9, 0.0, 0.9])
        assert open_run(run.path).found_segments.equals(run.segments)

    def test_a_decided_class_is_out_at_all_times(self, run: Run) -> None:
        record(run, [decision("one/bass.wav", "bass")])
        mine = open_run(run.path).segments.filter(pl.col("stem") == "one/bass.wav")
        assert mine["drums"].to_list() == [0.0] * 3 and mine["bass"].to_list() == [1.0] * 3

    def test_the_later_one_is_right(self) -> None:
        vocals, both = TAXONOMY.parse("vocals"), TAXONOMY.parse("vocals+bass")
        stem = "one/bass.wav"
        ranged, whole = decision(stem, "vocals", 1, 2), decision(stem, "bass")
        assert settle([ranged, whole], TAXONOMY) == {
            stem: Decided(TAXONOMY.parse("bass"), False, (Range(1, 2, frozenset()),))
        }
        assert settle([whole, ranged], TAXONOMY) == {stem: Decided(both, False, (Range(1, 2, vocals),))}
        assert settle([whole, decision(stem, None)], TAXONOMY) == {stem: Decided(None, True)}

    def test_rows_that_nothing_was_said_about_stay(self, run: Run) -> None:
        before = run.labels.row(1, named=True)
        assert decided_row(before, Decided(), TAXONOMY) == before

    def test_exports_take_the_decision(self, run: Run, write_band: Callable[..., Path], tmp_path: Path) -> None:
        songs = write_band(tmp_path / "songs", songs=1, seconds=1.0)
        (songs / "Song 1").rename(songs / "one")
        record(run, [decision("one/bass.wav", "bass"), decision("one/drums.wav", "bass+drums")])
        export(run.path, tmp_path / "out")
        table = pl.read_csv(tmp_path / "out" / "stems.csv")
        assert dict(zip(table["path"], table["labels"], strict=True)) == {
            "one/bass.wav": "bass",
            "one/drums.wav": "drums+bass",
        }


class TestCsv:
    def test_out_and_in_again(self, run: Run, tmp_path: Path) -> None:
        made = [
            decision("one/bass.wav", "bass"),
            decision("one/drums.wav", None),
            decision("one/drums.wav", "bass", 1 / 3, 2),
        ]
        record(run, made)
        Ledger(run.path).undo("ada", 1)
        assert export_decisions(run.path, tmp_path / "d.csv") == 2
        assert import_decisions(run.path, tmp_path / "d.csv") == 0
        standing = Ledger(run.path).standing()
        (run.path / DECISIONS_FILE).unlink()
        assert import_decisions(run.path, tmp_path / "d.csv") == 2
        assert [(one.stem, one.new, one.time, one.start_s) for one in Ledger(run.path).standing()] == [
            (one.stem, one.new, one.time, one.start_s) for one in standing
        ]

    def test_the_shortest_file(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "d.csv"
        path.write_text("song,stem,new\none,one/bass.wav,drums+bass\n")
        assert import_decisions(run.path, path) == 1
        assert import_decisions(run.path, path) == 0
        assert row(run, "one/bass.wav")["refined"] == "drums+bass"

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("one,one/bass.wav,accordion,,", "line 2: 'accordion' is not a class"),
            ("one,../bass.wav,bass,,", "line 2: the path '../bass.wav' leads outside"),
            ("one,one/flute.wav,bass,,", "has no stem 'one/flute.wav'"),
            ("one,one/bass.wav,bass,3,1", "line 2: '3' to '1' is not a time range"),
            ("one,one/bass.wav,bass,nan,1", "line 2: 'nan' to '1' is not a time range"),
            ("one,one/bass.wav,bass,1,", "line 2: '1' to '' is not a time range"),
            ("one,one/bass.wav", "line 2: has 2 cells"),
        ],
    )
    def test_what_cannot_be_read(self, run: Run, tmp_path: Path, line: str, message: str) -> None:
        path = tmp_path / "d.csv"
        path.write_text(f"song,stem,new,start_s,end_s\n{line}\n")
        with pytest.raises(DatasetError, match=message):
            import_decisions(run.path, path)
        assert Ledger(run.path).standing() == ()
