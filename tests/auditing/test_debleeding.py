"""Planted bleed is taken out, other stems stay as they are, and an export says what it did."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

import restem
from restem.auditing.audit import Audit
from restem.auditing.debleeding import Removal, SongBleed, confirmed, without_bleed
from restem.auditing.judgements import Judgements, key_of
from restem.planning.datasets import plan_export
from restem.runs.run import Run, write_run
from restem.runs.tables import labels_schema, segments_schema
from restem.taxonomy import Taxonomy

Play = Callable[..., np.ndarray]

RATE_HZ, SECONDS = 16000, 26.0
NAMES = ("bass", "drums", "other", "vocals")


def delayed(sound: np.ndarray, delay: int) -> np.ndarray:
    return np.concatenate([np.zeros(delay), sound])[: len(sound)]


def sdr(truth: np.ndarray, estimate: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(truth**2) / np.sum((truth - estimate) ** 2)))


@pytest.fixture
def clean(play_notes: Play) -> dict[str, np.ndarray]:
    return {name: play_notes(seed, SECONDS, RATE_HZ) for seed, name in enumerate(NAMES)}


@pytest.fixture
def holed(clean: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Drums and vocals are heard in each other, the vocals late."""
    drums = clean["drums"] + 0.1 * delayed(clean["vocals"], 25)
    vocals = clean["vocals"] + 0.05 * clean["drums"]
    return {**clean, "drums": drums, "vocals": vocals}


def write(root: Path, stems: dict[str, np.ndarray]) -> SongBleed:
    for name, sound in stems.items():
        path = root / "Song" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        # In stereo, with the right channel at half the level.
        soundfile.write(path, np.stack([sound, 0.5 * sound], axis=1), RATE_HZ, subtype="FLOAT")
    return SongBleed(tuple((f"Song/{name}.wav", root / "Song" / f"{name}.wav", 0) for name in stems), ())


def test_the_series_inverts_the_mixing(clean: dict[str, np.ndarray], holed: dict[str, np.ndarray]) -> None:
    sounds = np.stack([holed[name] for name in NAMES])[:, None].astype(np.float32)
    removals = {"drums": (Removal("vocals", 0.1, 25),), "vocals": (Removal("drums", 0.05, 0),)}
    found = without_bleed(sounds, list(NAMES), removals)
    for index, name in enumerate(NAMES):
        assert sdr(clean[name], found[index, 0]) > 80.0
    early = without_bleed(np.roll(sounds, 25, axis=2), list(NAMES), {"drums": (Removal("vocals", 0.1, -25),)})
    assert early.shape == sounds.shape


def test_what_is_not_there_is_not_taken_out(clean: dict[str, np.ndarray], tmp_path: Path) -> None:
    song = write(tmp_path, clean)
    pairs = tuple((f"Song/{a}.wav", f"Song/{b}.wav", 0) for a in NAMES for b in NAMES if a != b)
    assert confirmed(SongBleed(song.stems, pairs)) == {}


def test_bleed_of_one_half_of_a_song_stays(clean: dict[str, np.ndarray], tmp_path: Path) -> None:
    """The gain is another one in the stretches on which it is tried."""
    length = 65536
    on = np.arange(len(clean["bass"])) // length % 2 == 0
    song = write(tmp_path, {**clean, "drums": clean["drums"] + 0.1 * on * clean["bass"]})
    assert confirmed(SongBleed(song.stems, (("Song/drums.wav", "Song/bass.wav", 0),))) == {}


@pytest.fixture
def refined(holed: dict[str, np.ndarray], tmp_path: Path) -> tuple[Run, Audit]:
    """A run over the stems with bleed, put together without training, and its audit."""
    write(tmp_path / "stems", holed)
    taxonomy = Taxonomy()
    rows = []
    for name in NAMES:
        scores = [float(one == name) for one in taxonomy.classes]
        rows.append(("Song", f"Song/{name}.wav", name, name, "kept", 0.9, *scores, SECONDS, SECONDS))
    dataset = restem.open_dataset(tmp_path / "stems")
    run = write_run(
        tmp_path / "run",
        taxonomy,
        pl.DataFrame(rows, schema=labels_schema(taxonomy), orient="row"),
        pl.DataFrame(schema=segments_schema(taxonomy)),
        {"dataset": {"root": str(dataset.root), "classes": list(taxonomy.classes), "aliases": {}, **dataset.origin()}},
    )
    return run, restem.audit(dataset, tmp_path / "audit", workers=1)


def test_an_export_takes_bleed_out_and_says_so(
    refined: tuple[Run, Audit], clean: dict[str, np.ndarray], holed: dict[str, np.ndarray], tmp_path: Path
) -> None:
    run, audit = refined
    for workers in (1, 2):
        out = tmp_path / f"out{workers}"
        summary = restem.export(run, out, layout="songs", remove_bleed=True, audit=audit, workers=workers)
        assert summary.processed == 2 and "Bleed was taken out of 2 stems" in str(summary)
    out = tmp_path / "out1"
    for name in ("drums", "vocals"):
        found = soundfile.read(out / "Song" / f"{name}.wav")[0][:, 0]
        assert sdr(clean[name], found) > sdr(clean[name], holed[name]) + 15.0
        assert np.array_equal(found, soundfile.read(tmp_path / "out2" / "Song" / f"{name}.wav")[0][:, 0])
        assert not (out / "Song" / f"{name}.wav").is_symlink()
    assert (out / "Song" / "bass.wav").is_symlink()
    notes = {one["stem"]: one.get("processed") for one in json.loads((out / "restem.json").read_text())["stems"]}
    assert notes["Song/bass.wav"] is None
    (removed,) = notes["Song/drums.wav"]["bleed_removed"]
    assert removed["stem"] == "Song/vocals.wav" and removed["delay_samples"] == 25
    assert removed["bleed_db"] == pytest.approx(-20.0, abs=0.5)
    table = restem.export(run, tmp_path / "table", remove_bleed=True, audit=audit, workers=1)
    assert pl.read_csv(table.path / "stems.csv")["processed"].to_list().count("yes") == 2
    musdb = restem.export(run, tmp_path / "musdb", layout="musdb", remove_bleed=True, audit=audit, workers=1)
    assert "bleed that was taken out of 2 stems" in (musdb.path / "README.md").read_text()
    assert set(json.loads((musdb.path / "restem.json").read_text())["processed"]) == {
        "Song/drums.wav", "Song/vocals.wav",
    }  # fmt: skip


def test_a_dry_run_counts_the_songs_with_bleed(refined: tuple[Run, Audit], tmp_path: Path) -> None:
    run, audit = refined
    plan = plan_export(run, tmp_path / "out", audit=audit.path, workers=1)
    (stage,) = [one for one in plan.stages if one.name == "taking out bleed"]
    assert (stage.detail, stage.seconds > 0.0) == ("1 song", True)
    assert not (tmp_path / "out").exists()


def test_ignored_bleed_stays(refined: tuple[Run, Audit], tmp_path: Path) -> None:
    run, audit = refined
    for row in audit.findings.filter(pl.col("stem") == "Song/drums.wav").iter_rows(named=True):
        Judgements(audit.path).add(key_of(row), "ignore", "ada")
    restem.export(run, tmp_path / "out", remove_bleed=True, audit=audit, workers=1)
    manifest = json.loads((tmp_path / "out" / "restem.json").read_text())
    assert [one["stem"] for one in manifest["stems"] if "processed" in one] == ["Song/vocals.wav"]
    with pytest.raises(restem.UsageError, match="go together"):
        restem.export(run, tmp_path / "out2", remove_bleed=True)
