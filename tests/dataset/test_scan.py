from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from restem.cli.terminal import print_scan
from restem.dataset.layouts import open_dataset
from restem.dataset.measure import measure
from restem.dataset.scan import SCAN_SCHEMA, ScanSummary, scan

RATE_HZ = 8000


def damaged(root: Path, write_songs) -> Path:
    """Three songs; one stem each is silent, truncated, full of NaN, in another rate; two files are no stems."""
    write_songs(root)
    soundfile.write(root / "Song 1/bass.flac", np.zeros((RATE_HZ, 2)), RATE_HZ)
    content = (root / "Song 1/drums.flac").read_bytes()
    (root / "Song 1/drums.flac").write_bytes(content[: len(content) // 2])
    (root / "Song 2/vocals.flac").unlink()
    soundfile.write(root / "Song 2/vocals.wav", np.full((RATE_HZ, 1), np.nan), RATE_HZ, subtype="FLOAT")
    soundfile.write(root / "Song 3/other.flac", 0.1 * np.ones(11025), 11025)
    (root / "Song 3/notes [draft].txt").touch()
    (root / "Song 3/thing.flac").touch()
    return root


def test_one_row_a_stem(tmp_path: Path, write_songs, snapshot) -> None:
    root = damaged(tmp_path / "set", write_songs)
    before = snapshot(root)
    dataset = open_dataset(root)
    seen: list[tuple[int, int]] = []
    table = scan(dataset, workers=1, progress=lambda _, done, total: seen.append((done, total)))
    assert snapshot(root) == before
    assert seen == [(n, 12) for n in range(1, 13)]
    assert table.schema == SCAN_SCHEMA
    assert table["stem"].to_list() == [stem.name for stem in dataset.stems]
    assert scan(dataset, workers=2).equals(table)
    rows = {row["stem"]: row for row in table.iter_rows(named=True)}

    good = rows["Song 1/other.flac"]
    assert (good["seconds"], good["rate_hz"], good["channels"], good["encoding"]) == (1.0, RATE_HZ, 2, "FLAC PCM_16")
    sound = soundfile.read(root / "Song 1/other.flac")[0]
    assert good["peak_db"] == pytest.approx(20 * np.log10(np.abs(sound).max()))
    assert good["level_db"] == pytest.approx(10 * np.log10(np.mean(sound**2)))
    assert (good["silent"], good["error"], good["given"]) == (False, "", "other")

    assert rows["Song 1/bass.flac"]["silent"] is True
    assert rows["Song 1/bass.flac"]["error"] == ""
    for name, says in (("Song 1/drums.flac", "drums.flac"), ("Song 2/vocals.wav", "NaN")):
        assert says in rows[name]["error"]
        assert rows[name]["silent"] is None
        assert rows[name]["level_db"] is None


def test_the_summary_and_how_it_is_printed(tmp_path: Path, write_songs) -> None:
    dataset = open_dataset(damaged(tmp_path / "set", write_songs))
    table = scan(dataset, workers=1)
    summary = ScanSummary.of(dataset, table)
    assert (summary.songs, summary.stems, summary.silent, summary.failed) == (3, 12, 1, 2)
    assert summary.stems_per_class == {"vocals": 3, "drums": 3, "bass": 3, "other": 3}
    assert summary.seconds_per_class == {"vocals": 2.0, "drums": 2.0, "bass": 3.0, "other": 3.0}
    assert summary.hours == pytest.approx(10 / 3600)
    assert summary.rates_hz == {RATE_HZ: 9, 11025: 1}
    assert summary.channels == {2: 9, 1: 1}
    assert len(summary.skipped) == 2

    text = io.StringIO()
    print_scan(summary, table, dataset, Console(file=text, width=100))
    for expected in ("3 songs, 12 stems", "silent: 1", "failed: 2", "skipped: 2 files", "notes [draft].txt: not audio"):
        assert expected in text.getvalue()
    assert "Song 3/thing.flac: no class of the taxonomy; add it as a class" in text.getvalue()


def test_silence_is_what_nobody_hears(tmp_path: Path) -> None:
    for level_db, silent in ((-75.0, True), (-65.0, False)):
        sound = np.zeros(4 * RATE_HZ)
        # A short sound makes a stem not silent, however long the rest is.
        sound[RATE_HZ : 2 * RATE_HZ] = 10 ** (level_db / 20)
        soundfile.write(tmp_path / "x.wav", sound, RATE_HZ, subtype="FLOAT")
        assert measure(tmp_path / "x.wav").silent is silent


def test_frames_cover_the_stem(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).standard_normal((RATE_HZ * 3 + 123, 2)) * 0.1
    soundfile.write(tmp_path / "x.wav", sound, RATE_HZ, subtype="FLOAT")
    found = measure(tmp_path / "x.wav")
    power = np.mean(sound.astype(np.float32).astype(float) ** 2, axis=1)
    assert found.frames == len(sound)
    assert found.level_s == 0.1
    assert len(found.level_power) == 31
    np.testing.assert_allclose(found.level_power[:30], power[: 30 * 800].reshape(30, 800).mean(axis=1))
    assert found.level_power[30] == pytest.approx(power[30 * 800 :].mean())
    assert found.mean_square == pytest.approx(power.mean())


def test_one_sample(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.array([0.5]), RATE_HZ)
    found = measure(tmp_path / "x.wav")
    assert (found.frames, found.peak, len(found.level_power)) == (1, 0.5, 1)
