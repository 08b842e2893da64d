"""Sounds that the tests of audits share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

Play = Callable[..., np.ndarray]


@pytest.fixture
def play_notes() -> Play:
    """`play_notes(seed, seconds, rate_hz)`: (sample,) decaying notes at random times and pitches, with pauses."""

    def play(seed: int, seconds: float = 8.0, rate_hz: int = 16000) -> np.ndarray:
        rng = np.random.default_rng(seed)
        sound = np.zeros(round(seconds * rate_hz))
        for start in np.cumsum(rng.uniform(0.1, 0.4, round(4 * seconds))):
            first = round(start * rate_hz)
            time_s = np.arange(max(0, min(len(sound) - first, rate_hz // 3))) / rate_hz
            pitch_hz = 110.0 * 2 ** rng.uniform(0, 3)
            partials = sum(np.sin(2 * np.pi * k * pitch_hz * time_s + rng.uniform(0, 6)) / k for k in range(1, 6))
            sound[first : first + len(time_s)] += rng.uniform(0.2, 1.0) * np.exp(-12 * time_s) * partials
        return 0.1 * sound

    return play
