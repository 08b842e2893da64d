from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from restem.audio.level import LEVEL_S
from restem.audio.pcm import PcmStore, to_channels
from restem.audio.resample import resample_blocks
from restem.errors import AudioError, RestemError

RATE_HZ = 8000


@pytest.fixture
def store(tmp_path: Path) -> PcmStore:
    return PcmStore(tmp_path / "cache", RATE_HZ, 2)


def write(path: Path, sound: np.ndarray, rate_hz: int = RATE_HZ, subtype: str | None = None) -> tuple[Path, int]:
    soundfile.write(path, sound.T, rate_hz, subtype=subtype)
    return path, 0


def noise(channels: int, frames: int, seed: int = 0) -> np.ndarray:
    return 0.2 * np.random.default_rng(seed).standard_normal((channels, frames)).astype(np.float32)


@pytest.mark.parametrize(("name", "subtype"), [("a.wav", "FLOAT"), ("a.wav", "PCM_16"), ("a.flac", "PCM_24")])
def test_reads_what_the_file_holds(store: PcmStore, tmp_path: Path, name: str, subtype: str) -> None:
    sound = noise(2, 20_000)
    source = write(tmp_path / name, sound, subtype=subtype)
    assert store.fill([source]) == {}
    pcm = store.require(source)
    assert pcm.frames == 20_000
    assert (pcm.copy is None) == (name == "a.wav")
    assert np.abs(pcm.read(5_000, 300) - sound[:, 5_000:5_300]).max() < 2e-4
    across = pcm.read(-100, 20_300)
    assert across.shape == (2, 20_300)
    assert (across[:, :100] == 0).all() and (across[:, 20_100:] == 0).all()
    assert np.abs(across[:, 100:20_100] - sound).max() < 2e-4
    assert (pcm.read(30_000, 10) == 0).all()


def test_levels(store: PcmStore, tmp_path: Path) -> None:
    sound = noise(2, 8_000)
    sound[:, 4_000:] = 0.0
    source = write(tmp_path / "a.wav", sound, subtype="FLOAT")
    store.fill([source])
    expected = np.square(sound).reshape(2, -1, round(LEVEL_S * RATE_HZ)).mean(axis=(0, 2))
    assert np.allclose(store.require(source).power, expected)


def test_other_rates_and_channels(store: PcmStore, tmp_path: Path) -> None:
    time_s = np.arange(48_000) / 48_000
    tone = 0.5 * np.sin(2 * np.pi * 440 * time_s)
    mono = write(tmp_path / "mono.wav", tone[None], 48_000, "FLOAT")
    many = write(tmp_path / "many.flac", np.stack([tone, -tone] * 4), 48_000)
    assert store.fill([mono, many]) == {}
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8_000) / 8_000)
    for source, right in ((mono, 1.0), (many, -1.0)):
        found = store.require(source).read(0, 8_000)
        assert store.require(source).frames == 8_000
        assert np.abs(found - expected * np.array([[1.0], [right]]))[:, 100:-100].max() < 1e-3


def test_louder_than_full_scale(store: PcmStore, tmp_path: Path) -> None:
    sound = 10.0 * noise(2, 4_000)
    source = write(tmp_path / "a.wav", sound, 2 * RATE_HZ, "FLOAT")
    assert store.fill([source]) == {}
    assert np.abs(store.require(source).read(0, 2_000)).max() > 2.0


def test_broken_audio_is_reported(store: PcmStore, tmp_path: Path) -> None:
    good = write(tmp_path / "good.wav", noise(1, 4_000))
    nan = write(tmp_path / "nan.wav", np.full((1, 100), np.nan), subtype="FLOAT")
    cut = write(tmp_path / "cut.wav", noise(1, 4_000))
    cut[0].write_bytes(cut[0].read_bytes()[:-4000])
    failures = store.fill([good, nan, (tmp_path / "none.wav", 0), cut])
    assert set(failures) == {1, 2, 3}
    assert "NaN" in failures[1] and "no such file" in failures[2] and "truncated" in failures[3]


def test_entries_that_are_damaged_or_gone(store: PcmStore, tmp_path: Path) -> None:
    source = write(tmp_path / "a.flac", noise(2, 4_000))
    store.fill([source])
    entry = store.entry(source)
    entry.write_bytes(entry.read_bytes()[:-10])
    assert store.load(source) is None
    with pytest.raises(RestemError, match="run the command again"):
        store.require(source)
    store.fill([source])
    assert store.load(source) is not None
    assert [path.suffix for path in store.folder.rglob("*.*")] == [".pcm"]


def test_a_file_that_has_gone(store: PcmStore, tmp_path: Path) -> None:
    source = write(tmp_path / "a.wav", noise(2, 4_000))
    store.fill([source])
    pcm = store.require(source)
    source[0].unlink()
    with pytest.raises(AudioError, match="cannot be read any more"):
        pcm.read(0, 100)


def test_fewer_and_more_channels() -> None:
    five = np.arange(5.0)[:, None] * np.ones((1, 3))
    assert to_channels(five, 2)[:, 0].tolist() == [2.0, 2.0]
    assert to_channels(five[:1] + 1, 3)[:, 0].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("rate_hz", "wanted_hz"), [(44_100, 48_000), (48_000, 8_000), (8_000, 8_000)])
@pytest.mark.parametrize("block", [1, 777, 100_000])
def test_resampling_in_blocks(rate_hz: int, wanted_hz: int, block: int) -> None:
    """A tone stays that tone, of the same length, whatever the blocks."""
    frames = 3_000 if block == 1 else 30_001
    tone = np.sin(2 * np.pi * 1000 * np.arange(frames) / rate_hz).astype(np.float32)[None]
    blocks = [tone[:, start : start + block] for start in range(0, frames, block)]
    found = np.concatenate(list(resample_blocks(blocks, rate_hz, wanted_hz, 1)), axis=1)
    assert found.shape == (1, round(frames * wanted_hz / rate_hz))
    expected = np.sin(2 * np.pi * 1000 * np.arange(found.shape[1]) / wanted_hz)
    assert np.abs(found[0] - expected)[200:-200].max() < 1e-4
