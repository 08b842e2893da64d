from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restem.audio.level import ACTIVE_RANGE_DB, SILENCE_DB, LevelMeter, active_frames, db_to_power, power_to_db


def test_a_full_scale_sine_is_3_db_below_a_square_wave() -> None:
    sine = np.sin(2 * np.pi * np.arange(1000) / 10)
    assert power_to_db(np.mean(sine**2)) == pytest.approx(10 * np.log10(0.5), abs=1e-9)
    assert power_to_db(1.0) == 0.0


def test_zero_is_200_db_down() -> None:
    np.testing.assert_array_equal(power_to_db(np.zeros(3)), -200.0)


@given(st.lists(st.floats(-199.0, 200.0), min_size=1))
def test_decibels_there_and_back(level_db: list[float]) -> None:
    np.testing.assert_allclose(power_to_db(db_to_power(np.array(level_db))), level_db, atol=1e-9)


@pytest.mark.parametrize("level_db", [-200.0, -98.0, SILENCE_DB - 0.1])
def test_what_never_rises_above_the_noise_floor_is_silent(level_db: float) -> None:
    assert not active_frames(np.full(50, db_to_power(level_db))).any()


def test_no_frames_are_no_flags() -> None:
    assert active_frames(np.zeros(0)).shape == (0,)


def test_one_frame() -> None:
    assert active_frames(np.array([0.01])).tolist() == [True]
    assert active_frames(np.array([0.0])).tolist() == [False]


def test_active_down_to_the_range_below_the_loud_frames() -> None:
    below = np.array([0.0, ACTIVE_RANGE_DB - 1, ACTIVE_RANGE_DB + 1])
    level_db = np.repeat(-10.0 - below, [50, 10, 10])
    active = active_frames(db_to_power(level_db))
    assert active.tolist() == [True] * 60 + [False] * 10


def test_a_quiet_stem_is_active_down_to_the_noise_floor_only() -> None:
    level_db = np.repeat([SILENCE_DB + 10, SILENCE_DB + 1, SILENCE_DB - 1], 10)
    assert active_frames(db_to_power(level_db)).tolist() == [True] * 20 + [False] * 10


def test_one_click_does_not_make_the_rest_inactive() -> None:
    """The loud frames are a quantile: a single frame far above all others is not the measure."""
    level_db = np.full(200, -60.0)
    level_db[7] = 0.0
    assert active_frames(db_to_power(level_db)).all()


@given(st.lists(st.floats(-60.0, 0.0), min_size=1, max_size=50), st.floats(0.0, 40.0))
def test_gain_does_not_matter_above_the_noise_floor(level_db: list[float], gain_db: float) -> None:
    quieter = np.array(level_db) - 1e-3
    audible_anyway = np.maximum(quieter, -60.0)
    before, after = (active_frames(db_to_power(audible_anyway + gain)) for gain in (0.0, gain_db))
    # Frames exactly on the edge may fall on either side.
    edge = np.quantile(audible_anyway, 0.95) - ACTIVE_RANGE_DB
    clear = np.abs(audible_anyway - edge) > 1e-6
    np.testing.assert_array_equal(before[clear], after[clear])


class TestLevelMeter:
    @given(st.lists(st.integers(0, 333), min_size=1, max_size=12), st.integers(1, 2), st.sampled_from([8000, 1003]))
    def test_blocks_of_any_length_are_as_the_whole(self, lengths: list[int], channels: int, rate_hz: int) -> None:
        sound = np.random.default_rng(sum(lengths)).standard_normal((channels, sum(lengths)))
        meter = LevelMeter(rate_hz)
        for stop, length in zip(np.cumsum(lengths), lengths, strict=True):
            meter.add(sound[:, stop - length : stop])
        edges = range(0, sum(lengths), round(0.1 * rate_hz))
        expected = [np.square(sound[:, start : start + round(0.1 * rate_hz)]).mean() for start in edges]
        np.testing.assert_allclose(meter.power, expected, rtol=1e-9)
        assert meter.samples == sum(lengths) and meter.peak == np.abs(sound).max(initial=0.0)
