"""The level and the delay of bleed are those that were mixed in; independent stems have none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal

from restem.auditing.bleed import MIN_BLEED_DB, MIN_SURENESS, Bleed, find_bleed, levels_over_time

Play = Callable[..., np.ndarray]

RATE_HZ, BLOCK = 16000, 65536


def sure(stems: list[np.ndarray]) -> list[Bleed]:
    excerpts = np.stack([stem[: 3 * BLOCK].reshape(3, BLOCK) for stem in stems]).astype(np.float32)
    return [one for one in find_bleed(excerpts, RATE_HZ) if one.sureness > MIN_SURENESS and one.gain_db > MIN_BLEED_DB]


@pytest.mark.parametrize(("level_db", "delay"), [(-12.0, 0), (-30.0, 0), (-20.0, 37), (-25.0, 700)])
def test_level_and_delay(level_db: float, delay: int, play_notes: Play) -> None:
    stems = [play_notes(seed, 14.0, RATE_HZ) for seed in (1, 2, 3)]
    heard = np.concatenate([np.zeros(delay), stems[2]])[: len(stems[2])]
    stems[0] = stems[0] + 10 ** (level_db / 20) * heard
    found = sure(stems)
    assert [(one.target, one.source) for one in found] == [(0, 2)]
    assert found[0].gain_db == pytest.approx(level_db, abs=1.0)
    assert (found[0].delay, found[0].room_db) == (delay, 0.0)


@pytest.mark.parametrize("tail_db", [-6.0, 0.0, 6.0])
def test_the_level_of_bleed_through_a_room_is_that_of_all_of_it(tail_db: float, play_notes: Play) -> None:
    stems = [play_notes(seed, 26.0, RATE_HZ) for seed in (1, 2, 3)]
    time_s = np.arange(round(0.4 * RATE_HZ)) / RATE_HZ
    tail = np.random.default_rng(0).standard_normal(len(time_s)) * 10 ** (-3 * time_s / 0.4)
    response = np.concatenate([np.zeros(50), [1.0], 10 ** (tail_db / 20) * tail / np.linalg.norm(tail)])
    heard = scipy.signal.fftconvolve(stems[2], response / np.linalg.norm(response))[: len(stems[2])]
    stems[0] = stems[0] + 0.1 * heard
    (found,) = sure(stems)
    assert (found.target, found.source, found.delay) == (0, 2, 50)
    assert found.gain_db == pytest.approx(-20.0, abs=2.0)
    assert found.room_db == pytest.approx(10 * np.log10(1 + 10 ** (tail_db / 10)), abs=2.0)
    excerpts = np.stack([stem[: 6 * BLOCK].reshape(6, BLOCK) for stem in stems]).astype(np.float32)
    levels = [level for level in levels_over_time(excerpts, found, RATE_HZ) if level is not None]
    assert np.median(levels) == pytest.approx(found.gain_db, abs=1.0)


def test_independent_and_silent_stems_have_no_bleed(play_notes: Play) -> None:
    stems = [play_notes(seed, 14.0, RATE_HZ) for seed in (1, 2, 3)]
    assert sure([*stems, np.zeros_like(stems[0])]) == []


def test_bleed_over_time(play_notes: Play) -> None:
    stems = [play_notes(seed, 26.0, RATE_HZ) for seed in (1, 2, 3)]
    late = np.arange(len(stems[0])) >= 3 * BLOCK
    stems[0] = stems[0] + 0.1 * late * stems[2]
    excerpts = np.stack([stem[: 6 * BLOCK].reshape(6, BLOCK) for stem in stems]).astype(np.float32)
    levels = levels_over_time(excerpts, Bleed(0, 2, -20.0, 0, 20.0), RATE_HZ)
    assert None not in levels
    assert max(levels[:3]) < -50.0
    assert levels[3:] == pytest.approx([-20.0] * 3, abs=0.5)
