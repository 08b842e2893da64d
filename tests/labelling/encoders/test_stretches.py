"""Which segments of a stem are embedded: those that sound, spread over it, never silence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restem.errors import UsageError
from restem.labelling.encoders.stretches import EmbeddingSettings, choose, cut, windows_per_segment

RATE_HZ = 1000


def noise(seconds: float, sounding: list[tuple[float, float]], amplitude: float = 0.1) -> np.ndarray:
    """Noise between these times, silence elsewhere."""
    samples = np.zeros(round(seconds * RATE_HZ), np.float32)
    for start_s, stop_s in sounding:
        part = slice(round(start_s * RATE_HZ), round(stop_s * RATE_HZ))
        samples[part] = amplitude * np.random.default_rng(0).standard_normal(len(samples[part]))
    return samples


class TestChoose:
    def test_all_of_a_short_stem(self) -> None:
        found = choose(noise(10, [(0, 10)]), RATE_HZ, EmbeddingSettings())
        # The last one ends with the stem.
        assert found.start.tolist() == [0, 3000, 6000, 7000]
        np.testing.assert_allclose(found.level_db, -20, atol=0.5)

    def test_silence_is_left_out(self) -> None:
        found = choose(noise(60, [(12, 18), (33, 36)]), RATE_HZ, EmbeddingSettings())
        assert found.start.tolist() == [12000, 15000, 33000]

    @pytest.mark.parametrize(
        "samples", [np.zeros(30 * RATE_HZ), 1e-5 * np.ones(30 * RATE_HZ), np.zeros(1), np.zeros(0)]
    )
    def test_a_silent_stem_has_none(self, samples: np.ndarray) -> None:
        assert len(choose(samples.astype(np.float32), RATE_HZ, EmbeddingSettings()).start) == 0

    def test_a_stem_that_hardly_sounds(self) -> None:
        """A single hit of 0.1 s is less than a quarter of any segment, and is heard all the same."""
        found = choose(noise(60, [(31, 31.1)]), RATE_HZ, EmbeddingSettings())
        assert found.start.tolist() == [30000]

    def test_many_are_spread_over_what_sounds(self) -> None:
        found = choose(noise(600, [(0, 150), (450, 600)]), RATE_HZ, EmbeddingSettings(at_most=10)).start
        assert len(found) == 10
        assert (found < 150_000).sum() == (found >= 450_000).sum() == 5
        assert np.diff(found[:5]).min() >= 27_000

    def test_a_stem_is_brought_to_a_level(self) -> None:
        samples = noise(30, [(0, 10)], amplitude=0.01)
        assert choose(samples, RATE_HZ, EmbeddingSettings()).gain == 1
        found = choose(samples, RATE_HZ, EmbeddingSettings(active_db=-20.0))
        assert found.gain == pytest.approx(10, rel=0.05)
        windows = cut(samples, found, 1, 3000)
        assert windows[0].std() == pytest.approx(0.1, rel=0.05)

    @pytest.mark.parametrize("change", [{"segment_s": 0}, {"hop_s": -1}, {"at_most": 0}, {"segment_s": float("nan")}])
    def test_settings_out_of_range(self, change: dict) -> None:
        with pytest.raises(UsageError, match="must be more than 0"):
            EmbeddingSettings(**change)

    @given(
        samples=st.integers(1, 30_000), hop_s=st.floats(0.1, 5), at_most=st.integers(1, 30), window=st.integers(1, 9000)
    )
    def test_everything_lies_within_the_stem(self, samples: int, hop_s: float, at_most: int, window: int) -> None:
        settings = EmbeddingSettings(hop_s=hop_s, at_most=at_most)
        # Each sample tells where it lies.
        sound = (1 + np.arange(samples, dtype=np.float32)) / samples
        found = choose(sound, RATE_HZ, settings)
        assert 1 <= len(found.start) <= at_most
        assert (np.diff(found.start) > 0).all()
        assert found.start[0] >= 0
        assert found.start[-1] + found.length <= samples
        count = windows_per_segment(settings, RATE_HZ, window)
        windows = cut(sound, found, count, window)
        assert windows.shape == (len(found.start), count, window)
        first = np.rint(windows[..., 0] * samples - 1).astype(int)
        assert (np.diff(first, axis=1) >= 0).all()
        if samples >= window:
            assert first.min() >= 0
            assert first.max() + window <= samples
            np.testing.assert_array_equal(windows[0, 0], sound[first[0, 0] : first[0, 0] + window])


class TestCut:
    @pytest.mark.parametrize(("window", "count"), [(3000, 1), (2000, 2), (1000, 5), (975, 5), (10_000, 1), (1, 5999)])
    def test_windows_overlap_by_half(self, window: int, count: int) -> None:
        assert windows_per_segment(EmbeddingSettings(), RATE_HZ, window) == count

    def test_short_windows_cover_the_segment(self) -> None:
        samples = np.arange(9000, dtype=np.float32)
        found = choose(noise(9, [(0, 9)]), RATE_HZ, EmbeddingSettings())
        windows = cut(samples, found, 5, 1000)
        assert windows[1, :, 0].tolist() == [3000, 3500, 4000, 4500, 5000]
        assert windows[1, -1, -1] == 5999

    def test_a_long_window_has_the_segment_in_its_middle(self) -> None:
        samples = np.arange(30_000, dtype=np.float32)
        found = choose(noise(30, [(0, 30)]), RATE_HZ, EmbeddingSettings())
        windows = cut(samples, found, 1, 10_000)[:, 0]
        # At both ends of the stem it cannot be in the middle.
        assert windows[:, 0].tolist() == [0, 0, 2500, 5500, 8500, 11500, 14500, 17500, 20000, 20000]

    def test_a_stem_shorter_than_a_window_is_repeated(self) -> None:
        samples = np.arange(1, 1001, dtype=np.float32)
        found = choose(noise(1, [(0, 1)]), RATE_HZ, EmbeddingSettings())
        assert (found.start.tolist(), found.length) == ([0], 1000)
        windows = cut(samples, found, 1, 3000)[0, 0]
        np.testing.assert_array_equal(windows, np.tile(samples, 3))
