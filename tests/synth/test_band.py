"""Whole songs and folders of songs: determinism, levels, families, workers, interruption."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from restem.synth import FAMILIES, band, render_band, render_song

RATE_HZ = 16000
CLASSES = ["vocals", "drums", "bass", "other"]


def digests(folder: Path) -> dict[str, str]:
    """Path below `folder` -> hash of the file's bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_song_is_a_function_of_seed_and_index() -> None:
    first, again = (render_song(1, 2, seconds=4.0, rate_hz=RATE_HZ) for _ in range(2))
    assert list(first) == list(again) == CLASSES
    for name in CLASSES:
        assert first[name].dtype == np.float32
        assert first[name].shape == (2, 4 * RATE_HZ)
        np.testing.assert_array_equal(first[name], again[name])


def test_songs_differ_in_seed_and_in_index() -> None:
    songs = [render_song(s, i, seconds=4.0, rate_hz=RATE_HZ) for s, i in ((1, 2), (1, 3), (2, 2))]
    for a in range(3):
        for b in range(a):
            for name in CLASSES:
                x, y = songs[a][name].mean(axis=0), songs[b][name].mean(axis=0)
                likeness = abs(np.dot(x, y)) / (np.linalg.norm(x) * np.linalg.norm(y))
                assert likeness < 0.5, name


@pytest.mark.parametrize("index", range(6))
def test_levels_and_activity(index: int) -> None:
    stems = render_song(3, index, seconds=12.0, rate_hz=RATE_HZ)
    assert np.abs(sum(stems.values())).max() <= 0.951
    for name, sound in stems.items():
        assert np.isfinite(sound).all()
        peak_db = 20.0 * np.log10(np.abs(sound).max())
        assert -24.0 <= peak_db <= -2.99, name
        # At least 35 % of the tenths of a second are within 40 dB of the loudest.
        power = np.square(sound).mean(axis=0).reshape(-1, RATE_HZ // 10).mean(axis=1)
        assert np.mean(power > 1e-4 * power.max()) >= 0.35, name
        assert abs(sound.mean()) < 0.01, name


def test_families_sum_to_the_same_mixture() -> None:
    fine = {family: family for family in FAMILIES}
    for index in range(3):
        coarse = render_song(4, index, seconds=3.0, rate_hz=RATE_HZ)
        families = render_song(4, index, seconds=3.0, rate_hz=RATE_HZ, classes=fine)
        others = [name for name in families if name not in ("vocals", "drums", "bass")]
        assert 1 <= len(others) <= 3
        assert set(families) <= set(FAMILIES)
        np.testing.assert_allclose(sum(families.values()), sum(coarse.values()), atol=1e-6, err_msg=str(index))
        for name in ("vocals", "drums", "bass"):
            np.testing.assert_array_equal(families[name], coarse[name])


def test_every_family_is_heard_in_some_song() -> None:
    rng = np.random.default_rng(0)
    assert set(band.CLASS_OF_FAMILY) == set(FAMILIES) == set(band._PLAYERS)
    for family, play in band._PLAYERS.items():
        score = band.compose(rng, 3.0)
        active = np.ones(score.bars, dtype=bool)
        _, sound = play(score, active, rng, RATE_HZ, 3 * RATE_HZ)
        assert sound.shape[-1] == 3 * RATE_HZ, family
        assert np.isfinite(sound).all(), family
        assert np.abs(sound).max() > 1e-3, family


@pytest.mark.parametrize(("seconds", "rate_hz"), [(0.3, 44100), (2.0, 8000), (1.5, 48000)])
def test_short_songs_and_other_rates(seconds: float, rate_hz: int) -> None:
    for index in range(3):
        for sound in render_song(5, index, seconds=seconds, rate_hz=rate_hz).values():
            assert sound.shape == (2, round(seconds * rate_hz))
            assert np.isfinite(sound).all()


def test_workers_do_not_change_the_files(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    settings = {"songs": 3, "seconds": 2.0, "seed": 6, "rate_hz": RATE_HZ}
    one = render_band(tmp_path / "one", **settings, progress=lambda *call: calls.append(call))
    two = render_band(tmp_path / "two", **settings, workers=2)
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert digests(one) == digests(two)
    assert sorted(digests(one)) == sorted(f"song{n:03d}/{c}.flac" for n in range(3) for c in CLASSES)
    sound, rate_hz = soundfile.read(one / "song001" / "bass.flac", always_2d=True)
    expected = render_song(6, 1, seconds=2.0, rate_hz=RATE_HZ)["bass"].T
    assert rate_hz == RATE_HZ
    np.testing.assert_allclose(sound, expected, atol=1e-4)


def test_an_interrupted_rendering_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Die while the second song is written: no half song, and the first is kept."""
    settings = {"songs": 2, "seconds": 1.0, "seed": 7, "rate_hz": RATE_HZ, "extension": "wav"}
    whole = render_band(tmp_path / "whole", **settings)
    written: list[Path] = []

    def fragile(path: Path, sound: np.ndarray, rate_hz: int) -> None:
        if len(written) == 6:
            raise KeyboardInterrupt
        written.append(path)
        real_write(path, sound, rate_hz)

    real_write = band.write_audio
    with monkeypatch.context() as patch:
        patch.setattr(band, "write_audio", fragile)
        with pytest.raises(KeyboardInterrupt):
            render_band(tmp_path / "broken", **settings)
    broken = tmp_path / "broken"
    assert [path.name for path in broken.iterdir()] == ["song000"]
    before = (broken / "song000" / "bass.wav").stat().st_mtime_ns
    calls: list[tuple[int, int]] = []
    render_band(broken, **settings, progress=lambda *call: calls.append(call))
    assert calls == [(1, 2), (2, 2)]
    assert (broken / "song000" / "bass.wav").stat().st_mtime_ns == before
    assert digests(broken) == digests(whole)


def test_a_killed_rendering_resumes(tmp_path: Path, start_python: Callable) -> None:
    """SIGKILL leaves at worst a hidden folder, which the next rendering clears away."""
    out, settings = tmp_path / "out", {"songs": 3, "seconds": 3.0, "seed": 8, "rate_hz": RATE_HZ}
    script = f"from restem.synth import render_band; render_band({str(out)!r}, **{settings!r})"
    process = start_python("-c", script)
    while not (out / "song000").exists() and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    left = out / ".song002.1a2b3c4d.part"
    left.mkdir()
    (left / "bass.flac").write_bytes(b"half")
    for folder in out.glob("song*"):
        assert len(list(folder.iterdir())) == len(CLASSES)
    render_band(out, **settings)
    assert digests(out) == digests(render_band(tmp_path / "whole", **settings))
