"""Tables and descriptions that were edited, damaged or made by others: used rightly, or refused in a line or two."""

from __future__ import annotations

import copy
import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import restem
from restem.dataset.truth import read_truth
from restem.errors import DatasetError, RestemError, RunError
from restem.review.session import ReviewSession
from restem.runs.ledger import Ledger, read_decisions
from restem.runs.run import import_decisions, open_run, write_run
from restem.runs.tables import labels_schema, segments_schema
from restem.separation.training_stems import training_stems_of_run
from restem.taxonomy import Taxonomy

TAXONOMY = Taxonomy()
CLASSES = TAXONOMY.classes
HOSTILE_CELLS = (
    "", " ", "nan", "NaN", "inf", "-inf", "1e400", "-1", "2", "0x10", "x", "vocals+", "+", "vocals+tuba", "None",
    "../../etc/passwd", "/etc/passwd", "C:\\x.wav", "..", ".", "\u202e", "a\0b", "\ud7ff", "9" * 5000, "=1+1",
    "<script>", "[bold]x[/bold]", "\x1b[31m", "é", "e\u0301",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, band_writer: Callable) -> Path:
    """A dataset of two songs and a run of it, which the tests damage and mend."""
    root = tmp_path_factory.mktemp("tables")
    songs = band_writer(root / "songs", songs=2, seconds=1.0)
    rows, segments = [], []
    for song in ("Song 1", "Song 2"):
        for index, name in enumerate(CLASSES):
            stem, scores = f"{song}/{name}.wav", [0.9 if other == name else 0.1 for other in CLASSES]
            verdict = ("kept", "changed", "unsure", "kept")[index]
            rows.append((song, stem, name, name, verdict, 0.8, *scores, 1.0, 1.0))
            segments += [(song, stem, float(second), second + 1.0, -20.0, *scores) for second in range(2)]
    dataset = {"root": str(songs), "classes": list(CLASSES), "aliases": {}, "fingerprint": "f"}
    write_run(
        root / "run", TAXONOMY,
        pl.DataFrame(rows, schema=labels_schema(TAXONOMY), orient="row"),
        pl.DataFrame(segments, schema=segments_schema(TAXONOMY), orient="row"),
        {"dataset": dataset, "settings": {}, "failures": {}, "decisions": [], "licence": "", "finished": "2026-01-01"},
    )  # fmt: skip
    restem.corrupt(songs, root / "noisy", workers=1)
    return root


def use_all(folder: Path, number: int) -> list[str]:
    """Does everything that can be done with a run; returns the messages of what was refused."""
    refused = []
    run, out = folder / "run", folder / "out"
    for use in (
        lambda: restem.report(run, out / f"{number}.html", audio=number % 10 == 0),
        lambda: restem.score(run, folder / "noisy" / "truth.csv"),
        lambda: restem.export(run, out / f"{number}"),
        lambda: training_stems_of_run(open_run(run)),
        lambda: ReviewSession(open_run(run), folder / "cache").stem(0),
        lambda: ReviewSession(open_run(run), folder / "cache").stems(),
    ):
        try:
            use()
        except RestemError as error:
            refused.append(str(error))
            assert 1 <= len(str(error).splitlines()) <= 2
    return refused


def test_an_undamaged_run_can_be_used(folder: Path, snapshot: Callable) -> None:
    before = snapshot(folder / "songs")
    refused = use_all(folder, 100_000)
    assert len(refused) == 1 and "truth" in refused[0]  # it is that of the noisy copy, whose stems are FLAC
    assert snapshot(folder / "songs") == before


def test_cells_of_labels_csv(folder: Path, snapshot: Callable) -> None:
    file = folder / "run" / "labels.csv"
    whole, before = file.read_text(), snapshot(folder / "songs")
    table = pl.read_csv(file, infer_schema=False).rows()
    drawn = random.Random(0)
    try:
        for number in range(120):
            rows = [list(row) for row in table]
            rows[drawn.randrange(len(rows))][drawn.randrange(len(rows[0]))] = drawn.choice(HOSTILE_CELLS)
            pl.DataFrame(rows, schema=list(labels_schema(TAXONOMY)), orient="row").write_csv(file)
            use_all(folder, number)
    finally:
        file.write_text(whole)
    assert snapshot(folder / "songs") == before


@pytest.mark.parametrize(
    ("column", "cell", "says"),
    [
        ("stem", "", "a row has no stem"),
        ("song", "", "a row has no song"),
        ("verdict", "", "a row has no verdict"),
        ("verdict", "maybe", "is not a verdict"),
        ("quality", "nan", "'quality' holds a value that is not a probability"),
        ("quality", "", "'quality' holds a value that is not a probability"),
        ("vocals", "NaN", "'vocals' holds a value that is not a probability"),
        ("bass", "inf", "'bass' holds a value that is not a probability"),
        ("bass", "-0.5", "'bass' holds a value that is not a probability"),
        ("bass", "many", "cannot be read"),
        ("refined", "tuba", "is not a class"),
        ("stem", "../x.wav", "leads outside"),
        ("stem", "Song 1/drums.wav", "the stem 'Song 1/drums.wav' is there twice"),
        ("seconds", "nan", "'seconds'"),
        ("active_seconds", "-3", "'active_seconds'"),
    ],
)
def test_what_labels_csv_cannot_hold(folder: Path, column: str, cell: str, says: str) -> None:
    file = folder / "run" / "labels.csv"
    whole = file.read_text()
    table = pl.read_csv(file, infer_schema=False)
    try:
        table.with_columns(
            pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(cell)).otherwise(pl.col(column)).alias(column)
        ).write_csv(file)
        with pytest.raises(RunError, match=says) as caught:
            open_run(folder / "run")
        assert str(file) in str(caught.value)
    finally:
        file.write_text(whole)


def test_bytes_of_the_tables(folder: Path) -> None:
    drawn = random.Random(1)
    for name in ("labels.csv", "segments.parquet", "run.json"):
        file = folder / "run" / name
        whole = file.read_bytes()
        try:
            for number in range(40):
                harmed = bytearray(whole)
                if number % 4 == 0:
                    harmed = harmed[: drawn.randrange(len(harmed))]
                for _ in range(drawn.randrange(1, 4)):
                    if harmed:
                        harmed[drawn.randrange(len(harmed))] = drawn.randrange(256)
                file.write_bytes(harmed)
                use_all(folder, 1000 + number)
        finally:
            file.write_bytes(whole)


HOSTILE_VALUES = (None, True, "", "x", -1, 10**30, 0.5, float("nan"), [], {}, [None], ["x"], {"x": 1}, [[]], [[None]])


def places(content: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(content, dict):
        return [path]
    return [path, *(one for key, value in content.items() for one in places(value, (*path, key)))]


def test_values_of_run_json(folder: Path) -> None:
    file = folder / "run" / "run.json"
    whole = file.read_text()
    content = json.loads(whole)
    number = 2000
    try:
        for path in places(content):
            for value in ("missing", *HOSTILE_VALUES):
                changed = copy.deepcopy(content)
                inside = changed
                for key in path[:-1]:
                    inside = inside[key]
                if not path:
                    changed = value
                elif value == "missing":
                    del inside[path[-1]]
                else:
                    inside[path[-1]] = value
                file.write_text(json.dumps(changed))
                use_all(folder, number)
                number += 1
    finally:
        file.write_text(whole)


@pytest.mark.parametrize(
    "change",
    [
        {"root": None}, {"root": ""}, {"root": 5}, {"root": "a\0b"}, {"classes": "vocals"}, {"classes": []},
        {"classes": [1]}, {"classes": None}, {"aliases": []}, {"aliases": None}, {"aliases": {"x": 1}},
        {"unclassed": "many"},
    ],
)  # fmt: skip
def test_a_run_json_that_names_no_dataset(folder: Path, change: dict[str, Any]) -> None:
    file = folder / "run" / "run.json"
    whole = file.read_text()
    content = json.loads(whole)
    dataset = {name: value for name, value in {**content["dataset"], **change}.items() if value is not None}
    try:
        for text in (json.dumps({**content, "dataset": dataset}), "[" * 100_000, '{"dataset": 1}'):
            file.write_text(text)
            with pytest.raises(RunError, match=r"run\.json: is damaged \(.+\); run `restem refine` again"):
                open_run(folder / "run")
    finally:
        file.write_text(whole)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"stem": pl.int_range(pl.len())}, "'stem' holds Int64"),
        ({"song": pl.lit(None, pl.String)}, "a row has no stem"),
        ({"vocals": pl.lit("high")}, "'vocals' holds String"),
        ({"vocals": pl.lit(float("nan"))}, "'vocals' holds a value"),
        ({"bass": pl.lit(7.0)}, "'bass' holds a value"),
        ({"bass": pl.lit(None, pl.Float32)}, "'bass' holds a value"),
        ({"start_s": pl.lit(float("nan"))}, "a segment has no length"),
        ({"end_s": pl.col("start_s")}, "a segment has no length"),
        ({"end_s": pl.lit(float("inf"))}, "a segment has no length"),
        ({"level_db": pl.lit([1.0])}, "'level_db' holds List"),
    ],
)
def test_what_segments_cannot_hold(folder: Path, change: dict[str, pl.Expr], says: str) -> None:
    file = folder / "run" / "segments.parquet"
    whole = file.read_bytes()
    try:
        pl.read_parquet(file).with_columns(**change).write_parquet(file)
        with pytest.raises(RunError, match=says) as caught:
            _ = open_run(folder / "run").segments
        assert str(file) in str(caught.value)
        assert use_all(folder, 3000 + hash(says) % 1000)
        pl.DataFrame({"x": [1]}).write_parquet(file)
        with pytest.raises(RunError, match="the column 'song' is missing"):
            _ = open_run(folder / "run").segments
    finally:
        file.write_bytes(whole)


def test_fuzzed_csv_files(folder: Path, tmp_path: Path, snapshot: Callable) -> None:
    """Tables of stems, truths and decisions with hostile cells, headers, quotes and encodings."""
    before, drawn = snapshot(folder / "songs"), np.random.default_rng(0)
    path = tmp_path / "table.csv"
    (tmp_path / "a.wav").write_bytes((folder / "songs" / "Song 1" / "bass.wav").read_bytes())
    good = {
        "path": "a.wav", "labels": "bass", "song": "Song 1", "stem": "Song 1/bass.wav", "given": "bass",
        "true": "bass", "new": "bass", "old": "bass", "unsure": "", "start_s": "0.1", "end_s": "0.5", "time": "t",
    }  # fmt: skip
    for _ in range(400):
        names = list(drawn.permutation(list(good)))
        cells = [good[name] if drawn.random() < 0.8 else str(drawn.choice(HOSTILE_CELLS)) for name in names]
        if drawn.random() < 0.1:
            cells = cells[:-1]
        quote = '"' if drawn.random() < 0.2 else ""
        text = ",".join(names) + "\n" + ",".join(f"{quote}{cell}{quote}" for cell in cells) + "\n"
        encoding = str(drawn.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
        path.write_bytes(text.encode(encoding, errors="replace"))
        for read in (
            lambda: restem.open_dataset(path),
            lambda: restem.scan(restem.open_dataset(path), workers=1),
            lambda: read_truth(path, TAXONOMY),
            lambda: read_decisions(path, TAXONOMY),
            lambda: restem.score(folder / "run", path),
        ):
            try:
                read()
            except RestemError as error:
                assert 1 <= len(str(error).splitlines()) <= 2
    assert snapshot(folder / "songs") == before


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("Song 1,Song 1/bass.wav,drums,,0.2,9999", "beyond the end of the stem"),
        ("Song 1,Song 1/bass.wav,drums,,0.1,1e300", "beyond the end of the stem"),
        ("Song 1,Song 1/bass.wav,drums,,0.1,0.1001", "not a time range"),
        ("Song 1,Song 1/bass.wav,drums,,nan,1", "not a time range"),
        ("Song 1,Song 1/bass.wav,,yes,0.1,0.5", "only a whole stem can be unsure"),
        ("Song 1,Song 1/bass.wav,tuba,,,", "not a class"),
        ("Song 1,Song 9/bass.wav,drums,,,", "has no stem"),
        ("Song 1,Song 1/bass.wav,drums,perhaps,,", "in the column unsure"),
    ],
)
def test_decisions_that_cannot_be(folder: Path, tmp_path: Path, row: str, says: str) -> None:
    file = tmp_path / "decisions.csv"
    file.write_text(f"song,stem,new,unsure,start_s,end_s\nSong 1,Song 1/bass.wav,drums,,,\n{row}\n")
    with pytest.raises(DatasetError, match=says):
        import_decisions(folder / "run", file)
    assert open_run(folder / "run").decisions == ()


def test_times_that_are_not_times(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "decisions.csv"
    for time in ("yesterday", "2026-13-45T00:00:00", "12", "\x1b[31m"):
        file.write_text(f"song,stem,new,time\nSong 1,Song 1/bass.wav,drums,{time}\n")
        with pytest.raises(DatasetError, match="is not a time"):
            import_decisions(folder / "run", file)
    assert open_run(folder / "run").decisions == ()


def test_rows_of_the_database_of_decisions(folder: Path, snapshot: Callable) -> None:
    """SQLite lets anything be in any column, and anybody write to the file."""
    before, drawn = snapshot(folder / "songs"), random.Random(2)
    file = folder / "run" / "decisions.sqlite"
    values = (None, "", "bass", "tuba", "x", 5, -1.0, 0.5, 1e300, float("inf"), b"x", "Song 1/bass.wav", "\x1b[31m")
    good = ["2026-01-01T00:00:00", "ada", "Song 1", "Song 1/bass.wav", "bass", "drums", 0.1, 0.5]
    whole = (folder / "run" / "labels.csv").read_bytes()
    try:
        for number in range(60):
            with Ledger(folder / "run").writing() as database:
                database.execute("DELETE FROM decisions")
                row = [one if drawn.random() < 0.8 else drawn.choice(values) for one in good]
                with suppress(sqlite3.IntegrityError):  # what the table itself refuses
                    database.execute(
                        "INSERT INTO decisions (time, person, song, stem, old, new, start_s, end_s) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row,
                    )  # fmt: skip
            use_all(folder, 4000 + number)
        for harm in (b"", b"SQLite format 3\0", b"x" * 5000):
            file.write_bytes(harm)
            use_all(folder, 5000 + len(harm))
    finally:
        for left in (folder / "run").glob("decisions.sqlite*"):
            left.unlink()
        (folder / "run" / "found.csv").unlink(missing_ok=True)
        (folder / "run" / "labels.csv").write_bytes(whole)
    assert snapshot(folder / "songs") == before
