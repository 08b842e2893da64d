from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from restem.dataset.layouts import open_dataset
from restem.errors import DatasetError, UsageError
from restem.runs.export import export
from restem.runs.run import Run, write_run
from restem.runs.tables import labels_schema, segments_schema
from restem.taxonomy import Taxonomy

TAXONOMY = Taxonomy()


def make_run(path: Path, root: Path, rows: list[dict[str, Any]]) -> Run:
    """A run over the dataset at `root`; what a row leaves out is filled in."""
    schema = labels_schema(TAXONOMY)
    full = [
        {**dict.fromkeys(schema, 0.5), "song": row["stem"].rpartition("/")[0], "verdict": "changed", **row}
        for row in rows
    ]
    description = {
        "dataset": {
            "root": str(root),
            "classes": list(TAXONOMY.classes),
            "aliases": dict(TAXONOMY.aliases),
            "fingerprint": "abc",
        }
    }
    segments = pl.DataFrame(schema=segments_schema(TAXONOMY))
    return write_run(path, TAXONOMY, pl.DataFrame(full, schema=schema), segments, description)


@pytest.fixture
def run(tmp_path: Path, write_songs) -> Run:
    root = write_songs(tmp_path / "clean", songs=2)
    rows = [
        {"stem": "Song 1/vocals.flac", "given": "vocals", "refined": "vocals", "verdict": "kept"},
        {"stem": "Song 1/drums.flac", "given": "drums", "refined": "vocals"},
        {"stem": "Song 1/bass.flac", "given": "bass", "refined": "drums+bass"},
        {"stem": "Song 1/other.flac", "given": "other", "refined": "other", "verdict": "unsure"},
        {"stem": "Song 2/vocals.flac", "given": "vocals", "refined": "", "verdict": "silent"},
        {"stem": "Song 2/drums.flac", "given": "drums", "refined": "drums", "verdict": "failed"},
        {"stem": "Song 2/bass.flac", "given": "bass", "refined": ""},
        {"stem": "Song 2/other.flac", "given": "other", "refined": "other", "verdict": "kept"},
    ]
    return make_run(tmp_path / "run", root, rows)


def files(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def test_the_table_is_read_back_with_refined_labels(tmp_path: Path, run: Run, snapshot) -> None:
    before = snapshot(run.dataset_root)
    seen: list[tuple[int, int]] = []
    summary = export(run, tmp_path / "out", progress=lambda _, done, total: seen.append((done, total)))
    assert snapshot(run.dataset_root) == before
    assert seen[-1] == (6, 6)
    assert (summary.written, summary.left_out) == (6, {"silent": 1, "failed": 1})
    dataset = open_dataset(summary.path)
    assert dataset.layout == "table"
    assert {stem.path: TAXONOMY.format(stem.given) for stem in dataset.stems} == {
        "Song 1/bass.flac": "drums+bass",
        "Song 1/drums.flac": "vocals",
        "Song 1/other.flac": "other",
        "Song 1/vocals.flac": "vocals",
        "Song 2/bass.flac": "",
        "Song 2/other.flac": "other",
    }
    table = pl.read_csv(summary.path / "stems.csv")
    assert table.columns == ["path", "labels", "song", "given", "verdict", "quality", *TAXONOMY.classes]
    assert table.filter(pl.col("verdict") == "unsure")["path"].to_list() == ["Song 1/other.flac"]
    link = summary.path / "Song 1/bass.flac"
    assert link.is_symlink()
    assert link.resolve() == (run.dataset_root / "Song 1/bass.flac").resolve()


def test_songs_and_classes_hold_single_labels(tmp_path: Path, run: Run) -> None:
    left_out = {"several labels": 1, "unsure": 1, "silent": 1, "failed": 1, "no label": 1}
    songs = export(run, tmp_path / "songs", layout="songs", link="copy")
    assert (songs.written, songs.left_out) == (3, left_out)
    assert files(songs.path) == ["Song 1/vocals.flac", "Song 1/vocals_2.flac", "Song 2/other.flac", "restem.json"]
    content = (run.dataset_root / "Song 1/drums.flac").read_bytes()
    assert (songs.path / "Song 1/vocals_2.flac").read_bytes() == content
    assert len(open_dataset(songs.path)) == 3

    classes = export(run, tmp_path / "classes", layout="classes")
    assert classes.left_out == left_out
    assert files(classes.path) == [
        "other/Song 2__other.flac",
        "restem.json",
        "vocals/Song 1__drums.flac",
        "vocals/Song 1__vocals.flac",
    ]
    assert open_dataset(classes.path).layout == "classes"


def test_the_manifest(tmp_path: Path, run: Run) -> None:
    manifest = json.loads((export(run, tmp_path / "one").path / "restem.json").read_text())
    assert manifest["model_sha256"] is None
    (run.path / "classifier").mkdir()
    (run.path / "classifier/model.safetensors").write_bytes(b"weights")
    manifest = json.loads((export(run, tmp_path / "two", licence="CC BY 4.0").path / "restem.json").read_text())
    assert manifest["model_sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert manifest["licence"] == "CC BY 4.0"
    assert manifest["source"] == str(run.dataset_root)
    assert manifest["fingerprint"] == "abc"
    assert manifest["stems"][2] == {
        "path": "Song 1/bass.flac",
        "song": "Song 1",
        "stem": "Song 1/bass.flac",
        "given": "bass",
        "refined": "drums+bass",
        "verdict": "changed",
        "quality": 0.5,
        "scores": dict.fromkeys(TAXONOMY.classes, 0.5),
    }


def test_hard_links(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    out = export(run, tmp_path / "out", link="hard").path
    assert (out / "Song 1/bass.flac").samefile(run.dataset_root / "Song 1/bass.flac")
    assert not (out / "Song 1/bass.flac").is_symlink()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(DatasetError, match=r"lies on another disk than the export.*use `link='symlink'` or `copy`"):
        export(run, tmp_path / "far", link="hard")
    assert not (tmp_path / "far").exists()


def test_a_failed_export_leaves_nothing(tmp_path: Path, run: Run) -> None:
    before = sorted(tmp_path.iterdir())

    def interrupt(_: str, done: int, __: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(run, tmp_path / "out", link="copy", progress=interrupt)
    assert sorted(tmp_path.iterdir()) == before


def test_stems_that_cannot_be_read_are_left_out(tmp_path: Path, run: Run) -> None:
    (run.dataset_root / "Song 2/other.flac").unlink()
    summary = export(run, tmp_path / "out")
    assert list(summary.failed) == ["Song 2/other.flac"] and summary.written == 5
    assert "is gone since the run" in summary.failed["Song 2/other.flac"]
    assert "Song 2/other.flac" not in {stem.name for stem in open_dataset(tmp_path / "out").stems}
    manifest = json.loads((tmp_path / "out" / "restem.json").read_text())
    assert len(manifest["stems"]) == 5 and list(manifest["failed"]) == ["Song 2/other.flac"]
    for path in run.dataset_root.rglob("*.flac"):
        path.unlink()
    with pytest.raises(DatasetError, match=r"no stem can be exported; the first: .* is gone"):
        export(run, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_refusals(tmp_path: Path, run: Run) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("full", "full/x", "dangling"):
        with pytest.raises(DatasetError, match="is there already"):
            export(run, tmp_path / name)
    with pytest.raises(DatasetError, match="lies in the dataset, which is never written to"):
        export(run, run.dataset_root / "out")
    with pytest.raises(UsageError, match="exported as 'song-folders'"):
        export(run, tmp_path / "out", layout="song-folders")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="placed by 'reflink'"):
        export(run, tmp_path / "out", link="reflink")  # type: ignore[arg-type]
    (tmp_path / "empty").mkdir()
    assert export(run, tmp_path / "empty").written == 6
    shutil.rmtree(run.dataset_root)
    with pytest.raises(DatasetError, match="is not there; bring it back"):
        export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_left_to_export(tmp_path: Path, run: Run) -> None:
    rows = [{"stem": "Song 1/vocals.flac", "given": "vocals", "refined": "", "verdict": "silent"}]
    silent = make_run(tmp_path / "run2", run.dataset_root, rows)
    with pytest.raises(DatasetError, match=r"no stem is left to export as table \(1 silent\)"):
        export(silent, tmp_path / "out")


def test_streams_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from restem.runs import links

    root = tmp_path / "set"
    root.mkdir()
    (root / "Song.stem.mp4").touch()
    sound = np.random.default_rng(0).uniform(-1.5, 1.5, (8000, 2)).astype(np.float32)
    soundfile.write(tmp_path / "stream2.wav", sound, 8000, subtype="FLOAT")
    opened: list[tuple[Path, int]] = []
    real = links.open_audio

    def open_stream(path: Path, stream: int) -> Any:
        opened.append((path, stream))
        return real(tmp_path / "stream2.wav")

    monkeypatch.setattr(links, "open_audio", open_stream)
    rows = [{"song": "Song", "stem": "Song.stem.mp4#2", "given": "bass", "refined": "bass+drums"}]
    run = make_run(tmp_path / "run", root, rows)
    out = export(run, tmp_path / "out").path
    assert opened == [(root / "Song.stem.mp4", 2)]
    # Louder than full scale, as decoded AAC may be, and still exact.
    np.testing.assert_array_equal(soundfile.read(out / "Song/Song-2.wav", dtype="float32")[0], sound)
    assert [stem.given for stem in open_dataset(out).stems] == [frozenset({"bass", "drums"})]


NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\\\0"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..") and name[1:] != ":" and len(name.encode()) < 100
)
LABELS = st.frozensets(st.sampled_from(TAXONOMY.classes))


@settings(max_examples=60)
@given(st.dictionaries(st.tuples(NAMES, NAMES), LABELS, min_size=1, max_size=8))
def test_round_trip_with_nasty_names(stems: dict[tuple[str, str], frozenset[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        rows = []
        for number, ((song, base), labels) in enumerate(stems.items()):
            path = root / song / f"{base}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(number))
            rows.append({"stem": f"{song}/{base}.wav", "given": "other", "refined": TAXONOMY.format(labels)})
        run = make_run(Path(folder) / "run", root, rows)
        dataset = open_dataset(export(run, Path(folder) / "out").path)
        read = {(stem.song, int(dataset.file(stem).read_text())): stem.given for stem in dataset.stems}
        songs = [song if song.strip() else None for song, _ in stems]
        expected = {
            (song, number): labels for number, (song, labels) in enumerate(zip(songs, stems.values(), strict=True))
        }
        assert {key: value for key, value in read.items() if key in expected} == {
            key: value for key, value in expected.items() if key[0] is not None
        }
        assert len(read) == len(stems)


def test_what_the_dataset_states_is_carried_on(tmp_path: Path, run: Run) -> None:
    labels = run.labels.with_columns(
        given=pl.when(pl.col("stem") == "Song 1/other.flac").then(pl.lit("?")).otherwise(pl.col("given"))
    )
    stated = {"Song 1/vocals.flac": {"split": "valid", "instrument": "tenor", "bleed": "yes", "licence": "CC0"}}
    dataset = {**run.description["dataset"], "stated": stated}
    run = write_run(tmp_path / "stated", TAXONOMY, labels, run.segments, {"dataset": dataset})
    summary = export(run, tmp_path / "table")
    stems = {stem.path: stem for stem in open_dataset(summary.path).stems}
    one = stems["Song 1/vocals.flac"]
    assert (one.split, one.instrument, one.bleed, one.licence) == ("valid", "tenor", "yes", "CC0")
    assert [path for path, stem in stems.items() if stem.unknown] == ["Song 1/other.flac"]
    manifest = json.loads((summary.path / "restem.json").read_text())
    assert [entry["instrument"] for entry in manifest["stems"] if "instrument" in entry] == ["tenor"]
    songs = open_dataset(export(run, tmp_path / "songs", layout="songs").path)
    assert songs.splits == {"Song 1": "valid", "Song 2": ""}
    assert files(tmp_path / "songs")[-1] == "valid/Song 1/vocals_2.flac"
    classes = open_dataset(export(run, tmp_path / "classes", layout="classes").path)
    assert {stem.split for stem in classes.stems if "Song 1" in stem.path} == {"valid"}


def test_a_dataset_that_has_moved(tmp_path: Path, write_songs) -> None:
    root = write_songs(tmp_path / "here", songs=1)
    dataset = open_dataset(root)
    rows = [{"stem": stem.name, "given": TAXONOMY.format(stem.given), "refined": "bass"} for stem in dataset.stems]
    run = make_run(tmp_path / "run", root, rows)
    described = {**run.description["dataset"], "fingerprint": dataset.fingerprint()}
    run = write_run(tmp_path / "moved", TAXONOMY, run.labels, run.segments, {"dataset": described})
    root.rename(tmp_path / "there")
    with pytest.raises(DatasetError, match="is not there"):
        export(run, tmp_path / "out")
    assert export(run.with_dataset(tmp_path / "there"), tmp_path / "out").written == 4
    (tmp_path / "there/Song 1/bass.flac").write_bytes(b"another")
    with pytest.raises(DatasetError, match="is not the dataset that"):
        run.with_dataset(tmp_path / "there")
