"""Damage in samples and spectra is found, and a sound stem has none; blocks may be of any length."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import butter, firwin, lfilter, sosfilt

from restem.auditing.damage import DamageMeter, short_stems
from restem.auditing.findings import Finding
from restem.auditing.spectra import spectral_findings

Play = Callable[..., np.ndarray]

RATE_HZ, BLOCK = 44100, 65536


def measured(samples: np.ndarray, block: int = BLOCK) -> list[Finding]:
    """samples: (channel, sample)."""
    meter = DamageMeter(RATE_HZ, len(samples))
    for start in range(0, samples.shape[1], block):
        meter.add(samples[:, start : start + block].astype(np.float32))
    return meter.findings("song", "stem")


def looked_at(sound: np.ndarray) -> list[Finding]:
    blocks = sound[: len(sound) // BLOCK * BLOCK].reshape(-1, BLOCK).astype(np.float32)
    return spectral_findings("song", "stem", blocks, RATE_HZ, float(10 * np.log10(np.mean(sound**2))))


@pytest.fixture
def stereo(play_notes: Play) -> np.ndarray:
    return np.stack([play_notes(1, 6.0, RATE_HZ), play_notes(2, 6.0, RATE_HZ)])


@pytest.mark.parametrize("block", [997, BLOCK])
def test_each_kind_alone(block: int, stereo: np.ndarray) -> None:
    limit = 0.5 * np.abs(stereo).max()
    opposite = np.stack([stereo[0], -stereo[0]])
    dead = stereo * np.array([[1.0], [0.0]])
    for kind, samples in {
        "clipped": np.clip(stereo, -limit, limit),
        "dc": stereo + 0.02,
        "out_of_phase": opposite,
        "dead_channel": dead,
    }.items():
        assert [one.kind for one in measured(samples, block)] == [kind]
    assert measured(stereo, block) == []
    assert measured(np.zeros((2, 1000)), block) == []


def test_a_channel_that_dies(stereo: np.ndarray) -> None:
    twice = np.concatenate([stereo, stereo], axis=1)
    twice[1, 3 * RATE_HZ :] = 0.0
    (found,) = measured(twice)
    assert found.kind == "dead_channel"
    assert found.start_s == pytest.approx(3.0, abs=BLOCK / RATE_HZ)
    assert found.end_s == pytest.approx(12.0, abs=0.3)


def test_a_low_tone_of_16_bits_is_not_clipped() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 41.0 * np.arange(5 * RATE_HZ) / RATE_HZ)
    assert measured(np.round(tone * 32767)[None] / 32768) == []


def test_short() -> None:
    assert short_stems("song", {"a": 10.0, "b": 10.05, "c": 8.0})[0].value == pytest.approx(2.0, abs=0.1)
    assert [one.stem for one in short_stems("song", {"a": 10.0, "b": 10.0, "c": 8.0})] == ["c"]
    # A stem with a longer tail than all others does not make them short.
    assert short_stems("song", {"a": 10.0, "b": 10.0, "c": 12.0}) == []
    assert short_stems("song", {"a": 10.0}) == []


def test_spectra(play_notes: Play) -> None:
    rng = np.random.default_rng(0)
    notes = play_notes(1, 12.0, RATE_HZ)
    noise = rng.standard_normal(len(notes))
    time_s = np.arange(len(notes)) / RATE_HZ
    hum = sum(np.sin(2 * np.pi * 50 * k * time_s) / k for k in (1, 2, 3))
    clicks = np.zeros(len(notes))
    clicks[rng.integers(0, len(notes), 30)] = 0.5
    bright = notes + 0.05 * notes.std() * noise
    cut = lfilter(firwin(1001, 11000, fs=RATE_HZ), 1.0, bright)

    def kinds(sound: np.ndarray) -> list[str]:
        return [one.kind for one in looked_at(sound)]

    assert kinds(notes) == []
    assert kinds(0.1 * noise) == ["foreign"]
    assert kinds(0.1 * noise[: 4 * BLOCK]) == kinds(0.1 * noise[: 2 * BLOCK]) == ["foreign"]
    assert kinds(0.1 * hum) == ["foreign"]
    assert kinds(0.1 * hum * (time_s < 11.0)) == ["foreign"]  # the last stretch is padded with zeros
    # Low notes with a noise of a quarter of their power in the band that is looked at are no noise alone.
    decay = np.exp(-4.0 * (time_s % 0.5))
    bass = decay * np.sin(2 * np.pi * 80.0 * time_s)
    hiss = sosfilt(butter(4, (300, 12000), "bandpass", fs=RATE_HZ, output="sos"), noise)
    assert kinds(0.1 * (bass + 0.5 * bass.std() / hiss.std() * hiss)) == ["noise"]
    assert kinds(clicks) == ["foreign"]
    assert kinds(0.0005 * noise) == ["foreign"]
    assert kinds(bright) == ["noise"]
    assert kinds(notes + 0.1 * notes.std() * hum) == ["noise"]
    (edge,) = [one for one in looked_at(cut) if one.kind == "lowpass"]
    assert edge.value == pytest.approx(11.0, abs=0.4)
