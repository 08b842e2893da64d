"""`restem audit`: what it leaves, that workers do not matter, and that what is broken is listed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.signal
import soundfile

import restem
from restem.auditing import audit as auditing
from restem.auditing.judgements import Judgements, key_of
from restem.cli.main import run_command

Play = Callable[..., np.ndarray]

RATE_HZ = 16000


@pytest.fixture
def planted(tmp_path: Path, play_notes: Play) -> Path:
    """Two songs with mixtures: in the first all is right; the second has a copy of its bass, a short stem, and more."""
    root = tmp_path / "stems"
    for song in (1, 2):
        stems = {name: play_notes(10 * song + place) for place, name in enumerate(("vocals", "drums", "bass", "other"))}
        mixture = np.sum(list(stems.values()), axis=0)
        if song == 2:
            stems["other"] = 0.3 * (root / "Song 1" / "bass.wav").exists() * read(root / "Song 1" / "bass.wav")
            stems["drums"] = stems["drums"][: -2 * RATE_HZ]
            mixture *= 0.5
        for name, sound in {**stems, "mixture": mixture}.items():
            path = root / f"Song {song}" / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, sound, RATE_HZ, subtype="PCM_24")
    (root / "Song 2" / "vocals.wav").write_bytes(b"RIFF, but nothing else")
    return root


def read(path: Path) -> np.ndarray:
    return np.asarray(soundfile.read(path)[0])


def test_findings_tables_and_report(planted: Path, tmp_path: Path, snapshot: Callable[[Path], object]) -> None:
    before = snapshot(planted)
    one, two = (restem.audit(planted, tmp_path / f"audit{workers}", workers=workers) for workers in (1, 2))
    assert snapshot(planted) == before
    for file in ("findings.csv", "bleed.csv", "mixtures.csv", "report.html"):
        assert (one.path / file).read_bytes().replace(b"audit1", b"") == (two.path / file).read_bytes().replace(
            b"audit2", b""
        )
    found = one.findings.select("stem", "kind", "with_stem").rows()
    assert ("Song 2/other.wav", "duplicate", "Song 1/bass.wav") in found
    assert ("Song 2/drums.wav", "short", "") in found
    assert not [row for row in found if row[0].startswith("Song 1")]
    assert one.mixtures["verdict"].to_list() == ["exact", "none"]
    assert "nothing else" not in str(one.findings["message"].to_list())
    assert list(one.failed) == ["Song 2/vocals.wav"]
    assert not (one.path / ".work").exists()
    record = json.loads((one.path / "audit.json").read_text())
    assert record["finished"]
    assert "Song 2/other.wav" in (one.path / "report.html").read_text()
    assert restem.open_audit(one.path).findings.equals(one.findings)
    assert restem.audit(planted, one.path).findings.equals(one.findings)


def test_an_interrupted_audit_goes_on(planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = restem.audit(planted, tmp_path / "whole", workers=1)
    real, calls = auditing.audit_song, []

    def interrupted(job: auditing.SongJob) -> auditing.SongAudit:
        calls.append(job.song)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(job)

    monkeypatch.setattr(auditing, "audit_song", interrupted)
    with pytest.raises(KeyboardInterrupt):
        restem.audit(planted, tmp_path / "audit", workers=1)
    with pytest.raises(restem.RunError, match="no finished audit"):
        restem.open_audit(tmp_path / "audit")
    found = restem.audit(planted, tmp_path / "audit", workers=1)
    assert calls == ["Song 1", "Song 2", "Song 2"]
    assert found.findings.equals(whole.findings)


def test_mixtures_from_elsewhere(planted: Path, tmp_path: Path) -> None:
    other = tmp_path / "mixtures"
    other.mkdir()
    soundfile.write(other / "Song 1.flac", 0.25 * read(planted / "Song 1" / "mixture.wav"), RATE_HZ)
    found = restem.audit(planted, tmp_path / "audit", mixtures=other, workers=1)
    assert found.mixtures["verdict"].to_list() == ["gain", "none"]
    with pytest.raises(restem.DatasetError, match=r"Song 1\.wav"):
        restem.audit(planted, tmp_path / "audit2", mixtures=tmp_path, workers=1)


@pytest.mark.parametrize("share", [1.0, 0.9])
def test_a_copy_of_a_stem_whose_channels_cancel(share: float, tmp_path: Path, play_notes: Play) -> None:
    """Its mean over the channels is silent, or something else than the stem sounds like."""
    sound = play_notes(3)
    for song, copy in (("a", sound), ("b", 0.4 * sound[RATE_HZ:]), ("c", play_notes(4))):
        path = tmp_path / "stems" / song / "bass.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.stack([copy, -share * copy], axis=1), RATE_HZ)
    found = restem.audit(tmp_path / "stems", tmp_path / "audit", workers=1).findings
    assert found.filter(pl.col("kind") == "duplicate").select("song", "with_song").rows() == [("b", "a")]
    assert found.filter(pl.col("kind") == "out_of_phase")["song"].to_list() == ["a", "b", "c"]


def test_noise_in_a_stem_whose_channels_cancel(tmp_path: Path) -> None:
    path = tmp_path / "stems" / "a" / "vocals.wav"
    path.parent.mkdir(parents=True)
    noise = 0.1 * np.random.default_rng(0).standard_normal(30 * RATE_HZ)
    soundfile.write(path, np.stack([noise, -noise], axis=1), RATE_HZ)
    found = restem.audit(tmp_path / "stems", tmp_path / "audit", workers=1).findings
    assert found["kind"].to_list() == ["foreign", "out_of_phase"]


def test_a_leak_between_splits(tmp_path: Path, play_notes: Play) -> None:
    for split in ("train", "test"):
        path = tmp_path / "stems" / split / f"Song {split}" / "bass.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, play_notes(3), RATE_HZ)
    (row,) = restem.audit(tmp_path / "stems", tmp_path / "audit", workers=1).findings.rows(named=True)
    assert (row["kind"], row["with_song"]) == ("leak", "Song test")
    assert row["value"] == pytest.approx(1.0, abs=0.01)


def test_bleed_through_a_room(tmp_path: Path, play_notes: Play) -> None:
    """The table has the level of all of it, and the record what a room adds."""
    time_s = np.arange(round(0.4 * RATE_HZ)) / RATE_HZ
    tail = np.random.default_rng(0).standard_normal(len(time_s)) * 10 ** (-3 * time_s / 0.4)
    drums, bass = (play_notes(seed, 26.0) for seed in (3, 1))
    room = np.concatenate([np.zeros(50), [1.0], tail / np.linalg.norm(tail)]) / np.sqrt(2.0)
    bass = bass + 0.1 * scipy.signal.fftconvolve(drums, room)[: len(bass)]
    for name, sound in {"drums": drums, "bass": bass}.items():
        path = tmp_path / "stems" / "Song" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound, RATE_HZ, subtype="PCM_24")
    audit = restem.audit(tmp_path / "stems", tmp_path / "audit", workers=1)
    pair = ("Song/bass.wav", "Song/drums.wav")
    ((*found, level_db, delay),) = audit.bleed.select("stem", "from_stem", "bleed_db", "delay_samples").rows()
    assert (tuple(found), delay) == (pair, 50)
    assert level_db == pytest.approx(-20.0, abs=2.0)
    assert restem.open_audit(audit.path).rooms == audit.rooms
    assert list(audit.rooms) == [pair] and audit.rooms[pair] == pytest.approx(3.0, abs=2.0)
    record = json.loads((audit.path / "audit.json").read_text())
    for wrong in ({"rooms": [["one"]]}, {"rooms": 5}, {"mixture_files": {"Song": 1}}, {"hours": "many"}):
        (audit.path / "audit.json").write_text(json.dumps(record | wrong))
        with pytest.raises(restem.RunError, match="the audit cannot be read"):
            restem.open_audit(audit.path)
    assert "through a room" in audit.findings.filter(pl.col("kind") == "bleed")["message"][0]


def test_what_is_not_fit_to_learn_from(tmp_path: Path, play_notes: Play) -> None:
    """A stem of noise; and one with bleed, once a person has heard it."""
    stems = {name: play_notes(place, 14.0) for place, name in enumerate(("vocals", "drums", "bass"))}
    stems["bass"] = stems["bass"] + 0.1 * stems["drums"]
    stems["other"] = 0.1 * np.random.default_rng(0).standard_normal(len(stems["bass"]))
    for name, sound in stems.items():
        path = tmp_path / "stems" / "Song" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound, RATE_HZ, subtype="PCM_24")
    audit = restem.audit(tmp_path / "stems", tmp_path / "audit", workers=1)
    assert audit.unfit() == ["Song/other.wav"]
    judged = Judgements(audit.path)
    for row in audit.findings.iter_rows(named=True):
        judged.add(key_of(row), "ignore" if row["kind"] == "foreign" else "real", "ada")
    assert audit.unfit() == ["Song/bass.wav"]


def test_songs_that_share_a_recording_are_refined_in_one_fold(planted: Path, tmp_path: Path) -> None:
    for song in (3, 4):
        (planted / f"Song {song}").mkdir()
        for name in ("bass", "vocals"):
            soundfile.write(
                planted / f"Song {song}" / f"{name}.wav", 0.1 * song * read(planted / "Song 1" / f"{name}.wav"), RATE_HZ
            )
    found = restem.audit(planted, tmp_path / "audit", workers=1)
    groups = found.duplicate_songs()
    assert groups == {f"Song {song}": "Song 1" for song in (1, 2, 3, 4)}
    run = restem.refine(
        planted, tmp_path / "run", audit=found.path, cache=tmp_path / "cache", steps=2, workers=1, device="cpu",
        encoder="none",
    )  # fmt: skip
    assert run.description["duplicates"] == groups
    assert {"short", "duplicate"} >= {one["kind"] for one in run.description["findings"]} >= {"short"}
    # All songs hang together, so there is one fold only.
    assert not run.out_of_fold
    # A training on the run knows them too, and the audit of all is one of the run's dataset.
    quickly = {"steps": 2, "batch": 2, "segment_s": 1.0, "rate_hz": RATE_HZ, "parameters": {"width": 8}, "unsure": True}
    restem.train(run, tmp_path / "separator", cache=tmp_path / "cache", device="cpu", workers=1, **quickly)
    record = json.loads((tmp_path / "separator" / "training.json").read_text())
    assert record["duplicates"] == groups and record["stems"]["kept_aside"] == 0
    again = restem.train(run, tmp_path / "separator", cache=tmp_path / "cache", device="cpu", audit=found, **quickly)
    assert json.loads((tmp_path / "separator" / "training.json").read_text()) == record
    assert again.config.classes == run.taxonomy.classes
    (planted / "Song 4" / "bass.wav").unlink()
    with pytest.raises(restem.RunError, match="another dataset"):
        restem.refine(planted, tmp_path / "run2", audit=found, workers=1)


def test_nothing_is_wrong_and_the_output_is_refused(
    tmp_path: Path, play_notes: Play, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "stems" / "Song 1" / "bass.wav"
    path.parent.mkdir(parents=True)
    soundfile.write(path, play_notes(3), RATE_HZ)
    assert run_command(["audit", str(tmp_path / "stems"), "--out", str(tmp_path / "audit"), "--workers", "1"]) == 0
    assert "Nothing was found." in capsys.readouterr().out
    assert run_command(["audit", str(tmp_path / "stems"), "--out", str(tmp_path / "stems" / "audit")]) == 1
    assert "never written to" in capsys.readouterr().err
    assert pl.read_csv(tmp_path / "audit" / "findings.csv").is_empty()
