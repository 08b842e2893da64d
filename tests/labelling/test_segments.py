from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restem.audio.store import StemFeatures, to_bfloat16
from restem.labelling import segments as segments_module
from restem.labelling.segments import Segments, lay_segments, pool_scores

HOP_S = 0.02


def features(power: np.ndarray) -> StemFeatures:
    """A stem whose frames have these powers, spread over two bands."""
    rows = to_bfloat16(np.stack([0.25 * power, 0.75 * power], axis=1).astype(np.float32))
    return StemFeatures(rows, len(power) * HOP_S, 44100, 2)


def loud(frames: int, power: float = 0.01) -> np.ndarray:
    return np.full(frames, power)


@given(st.integers(1, 200), st.integers(1, 60), st.integers(1, 60))
def test_segments_cover_a_stem_and_the_last_one_ends_with_it(frames: int, length: int, hop: int) -> None:
    laid = lay_segments([features(loud(frames))], length, hop)
    assert laid.start[0] == 0 and laid.stop[-1] == frames
    assert (laid.stop - laid.start == min(length, frames)).all()
    steps = np.diff(laid.start)
    assert (steps[:-1] == hop).all() and (steps > 0).all() and (steps <= hop).all()
    if hop <= length:
        covered = np.zeros(frames, bool)
        for start, stop in zip(laid.start, laid.stop, strict=True):
            covered[start:stop] = True
        assert covered.all()


@pytest.mark.parametrize("frames", [1, 3, 149, 150])
def test_a_short_stem_is_one_segment(frames: int) -> None:
    laid = lay_segments([features(loud(frames))], 150, 50)
    assert (laid.start.tolist(), laid.stop.tolist(), laid.active.tolist()) == ([0], [frames], [True])


def test_levels_are_mean_squares() -> None:
    power = np.concatenate([loud(100, 0.01), loud(100, 0.0001)])
    laid = lay_segments([features(power)], 100, 50)
    np.testing.assert_allclose(laid.level_db, [-20.0, 10 * np.log10(0.00505), -40.0], atol=0.03)


def test_active_where_a_stem_sounds() -> None:
    laid = lay_segments([features(np.concatenate([loud(200), np.zeros(300), loud(10)]))], 100, 50)
    # A quarter of a segment is enough; the last one holds ten frames of sound, too little to learn from.
    np.testing.assert_array_equal(laid.active, laid.start <= 175)
    assert laid.active_frames.tolist() == [210]


def test_a_stem_that_hardly_sounds_is_active_where_it_does() -> None:
    power = np.zeros(500)
    power[240:243] = 0.01
    laid = lay_segments([features(power)], 100, 50)
    np.testing.assert_array_equal(laid.active, (laid.start < 243) & (laid.stop > 240))
    assert laid.active.any() and laid.active_frames.tolist() == [3]


@pytest.mark.parametrize("power", [0.0, 1e-9])
def test_a_silent_stem_has_segments_but_none_is_active(power: float) -> None:
    laid = lay_segments([features(loud(300, power)), features(loud(300))], 100, 100)
    silent = laid.stem == 0
    assert silent.sum() == 3 and not laid.active[silent].any() and laid.active[~silent].all()
    assert laid.active_frames.tolist() == [0, 300]
    assert laid.gains[0] == 0.0 and np.isfinite(laid.level_db).all()


def test_gains_bring_the_active_power_to_one() -> None:
    power = np.concatenate([loud(100, 0.04), np.zeros(400), loud(100, 0.02)])
    laid = lay_segments([features(power)], 100, 100)
    assert laid.gains[0] * 0.03 == pytest.approx(1.0, rel=0.01)


def test_stems_one_after_another() -> None:
    alone = [features(loud(frames)) for frames in (120, 30, 260)]
    laid = lay_segments(alone, 100, 50)
    for stem, one in enumerate(alone):
        single = lay_segments([one], 100, 50)
        mine = laid.stem == stem
        for name in ("start", "stop", "level_db", "active"):
            np.testing.assert_array_equal(getattr(laid, name)[mine], getattr(single, name))
    assert (np.diff(laid.stem) >= 0).all()


def test_of_stems_are_active_segments() -> None:
    laid: Segments = lay_segments([features(loud(300)), features(np.zeros(300)), features(loud(200))], 100, 100)
    np.testing.assert_array_equal(laid.of_stems(np.array([True, True, False])), [0, 1, 2])
    np.testing.assert_array_equal(laid.of_stems(np.array([False, True, True])), [6, 7])
    assert len(laid.of_stems(np.array([False, True, False]))) == 0


@given(
    st.lists(st.integers(0, 6), max_size=60),
    st.booleans(),
    st.floats(0, 1),
    st.integers(1, 40),
    st.sampled_from(["f4", "f8"]),
)
def test_pooling_many_stems_at_once_changes_no_bit(
    stems: list[int], in_order: bool, quantile: float, at_once: int, kind: str
) -> None:
    """The reference is one quantile for every stem."""
    stem = np.array(sorted(stems) if in_order else stems, np.int64)
    scores = np.random.default_rng(len(stems)).random((len(stem), 3)).astype(kind)
    expected = np.zeros((8, 3))
    for index in range(8):
        if (stem == index).any():
            expected[index] = np.quantile(scores[stem == index], quantile, axis=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments_module, "_POOLED_AT_ONCE", at_once)
        np.testing.assert_array_equal(pool_scores(scores, stem, 8, quantile), expected)
