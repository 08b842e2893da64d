from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from restem.audio.mel import MelSettings
from restem.audio.store import StoredStems, to_bfloat16
from restem.labelling.augmentation import EffectSettings
from restem.labelling.mixing import Mixer, MixingSettings, SegmentPool

HOP_S = 0.02
MEL = MelSettings(hop_s=HOP_S)
LENGTH = 4
# No augmentation: what comes out is a sum of rows.
PLAIN = MixingSettings(
    segment_s=LENGTH * HOP_S, counts=(0.4, 0.3, 0.3), level_range_db=0.0, curve_db=0.0, limit_share=0.0,
    noise_db=(-300.0, -300.0), effects=None,
)  # fmt: skip

# Seven stems and their labels among four classes, of which the last is carried by none.
LABELS = np.array(
    [[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 1, 0]], np.float32
)
STEMS = len(LABELS)
SEGMENTS_EACH = 5


def stem_rows() -> list[np.ndarray]:
    """Stem `s` sounds in band `s` only, and frame `f` has the power 1 + f: a mixture tells what it is made of."""
    rows = []
    for stem in range(STEMS):
        power = np.zeros((SEGMENTS_EACH * LENGTH, STEMS), np.float32)
        power[:, stem] = 1 + np.arange(len(power))
        rows.append(to_bfloat16(power))
    return rows


def unread(stems: int) -> StoredStems:
    """Stems that stand for those of `stem_rows`."""
    return StoredStems("", MEL, np.arange(stems).astype("S40"), np.full(stems, SEGMENTS_EACH * LENGTH))


def make_material(labels: np.ndarray = LABELS, gains: np.ndarray | None = None) -> SegmentPool:
    stem = np.repeat(np.arange(len(labels)), SEGMENTS_EACH)
    start = np.tile(LENGTH * np.arange(SEGMENTS_EACH), len(labels))
    return SegmentPool(unread(len(labels)), np.ones(len(labels)) if gains is None else gains, stem, start, labels[stem])


def make_mixer(
    settings: MixingSettings = PLAIN, labels: np.ndarray = LABELS, gains: np.ndarray | None = None, seed: int = 0
) -> Mixer:
    return Mixer(make_material(labels, gains), stem_rows(), settings, MEL, seed)


def present(power: np.ndarray) -> np.ndarray:
    """(example, stem): which stems a plain mixture holds."""
    return power[:, 0] > 0.5


class TestRandomness:
    def test_a_batch_with_effects_is_its_examples(self) -> None:
        mixer = make_mixer(MixingSettings(**{**vars(PLAIN), "effects": EffectSettings()}))
        power, _ = mixer.batch(3, 0, 24)
        parts = [mixer.batch(3, first, count)[0] for first, count in ((0, 1), (1, 10), (11, 13))]
        np.testing.assert_allclose(np.concatenate(parts), power, rtol=1e-6)
        assert (power != make_mixer().batch(3, 0, 24)[0]).any()

    @given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 1000), st.integers(0, 1 << 40))
    def test_a_batch_is_its_examples(self, sizes: list[int], epoch: int, first: int) -> None:
        """However a range of examples is cut into batches, every example is the same to the last bit."""
        mixer = make_mixer(MixingSettings(segment_s=LENGTH * HOP_S))
        power, targets = mixer.batch(epoch, first, sum(sizes))
        starts = first + np.concatenate(([0], np.cumsum(sizes)[:-1]))
        parts = [mixer.batch(epoch, int(start), size) for start, size in zip(starts, sizes, strict=True)]
        np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), power)
        np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), targets)

    def test_another_mixer_draws_the_same(self) -> None:
        for one, other in zip(make_mixer().batch(3, 5, 9), make_mixer().batch(3, 5, 9), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_seed_epoch_and_index_matter(self) -> None:
        numbers = [
            make_mixer(seed=seed).uniforms(epoch, first, 4) for seed in (0, 1) for epoch in (0, 1) for first in (0, 4)
        ]
        every = np.concatenate([part.ravel() for part in numbers])
        assert len(np.unique(every)) == len(every)

    def test_numbers_are_uniform(self) -> None:
        numbers = make_mixer().uniforms(0, 0, 2000)
        assert ((numbers >= 0) & (numbers < 1)).all()
        for column in numbers.T:
            assert stats.kstest(column, "uniform").pvalue > 1e-5


class TestMixtures:
    def test_shapes(self) -> None:
        power, targets = make_mixer(MixingSettings(segment_s=LENGTH * HOP_S)).batch(0, 0, 6)
        assert power.shape == (6, LENGTH, STEMS) and power.dtype == np.float32
        assert targets.shape == (6, 4) and targets.dtype == np.float32
        assert np.isfinite(power).all() and (power > 0).all()

    def test_a_mixture_is_a_sum_of_segments_and_its_target_the_union_of_their_labels(self) -> None:
        power, targets = make_mixer().batch(0, 0, 2000)
        held = present(power)
        assert held.any(axis=1).all()
        np.testing.assert_array_equal(targets > 0.5, (held[:, :, None] * LABELS).any(axis=1))
        assert set(np.unique(targets)) == {0.0, 1.0}
        # Where the target has one class, a single segment was drawn: four frames of one stem, one after another.
        single = held.sum(axis=1) == 1
        first = power[single, 0].max(axis=1)
        alone = (first - 1) % LENGTH == 0
        # The others heard two segments of one stem, which carries two classes.
        assert alone.mean() > 0.95
        ramp = power[single].max(axis=2)[alone]
        np.testing.assert_array_equal(ramp, first[alone, None] + np.arange(LENGTH))

    def test_gains(self) -> None:
        gains = np.linspace(0.5, 8.0, STEMS)
        plain, gained = make_mixer().batch(0, 0, 100)[0], make_mixer(gains=gains).batch(0, 0, 100)[0]
        np.testing.assert_allclose(gained, plain * gains.astype(np.float32), rtol=1e-6, atol=1e-20)

    def test_a_segment_past_the_end_is_padded(self) -> None:
        pool = make_material()
        late = SegmentPool(pool.stems, pool.gains, pool.stem, pool.start + LENGTH - 1, pool.targets)
        power, _ = Mixer(late, stem_rows(), PLAIN, MEL, 0).batch(0, 0, 200)
        assert (power.sum(axis=2) > 0.5).any() and np.isfinite(power).all()

    def test_targets_may_be_uncertain(self) -> None:
        """A class is absent only if it is absent from every segment."""
        labels = np.array([[0.8, 0.25], [0.5, 1.0]], np.float32)
        settings = MixingSettings(**{**vars(PLAIN), "counts": (0.0, 1.0)})
        rows = [to_bfloat16(np.full((SEGMENTS_EACH * LENGTH, 2), value, np.float32)) for value in (1.0, 100.0)]
        power, targets = Mixer(make_material(labels), rows, settings, MEL, 0).batch(0, 0, 400)
        # The second class comes from the second stem, the first one from either.
        both = np.isclose(power[:, 0, 0], 101.0)
        np.testing.assert_allclose(targets[both], [[1 - 0.2 * 0.5, 1.0]] * both.sum(), rtol=1e-6)
        np.testing.assert_allclose(targets[~both], [[1 - 0.5 * 0.5, 1.0]] * (~both).sum(), rtol=1e-6)
        assert 0.4 < both.mean() < 0.6


def within(share: float, expected: float, count: int) -> bool:
    """Whether a share of `count` draws is what it should be, up to five standard deviations."""
    return abs(share - expected) <= 5 * np.sqrt(expected * (1 - expected) / count)


class TestProportions:
    SINGLE = np.eye(4, dtype=np.float32)[[0, 0, 0, 1, 2, 2, 3]]
    COUNT = 6000

    def test_number_of_classes(self) -> None:
        _, targets = make_mixer(labels=self.SINGLE).batch(0, 0, self.COUNT)
        drawn = targets.sum(axis=1)
        for number, share in enumerate(PLAIN.counts, start=1):
            assert within(np.mean(drawn == number), share, self.COUNT)

    def test_all_classes_are_equally_likely(self) -> None:
        _, targets = make_mixer(labels=self.SINGLE).batch(0, 0, self.COUNT)
        expected = targets.sum() / 4 / self.COUNT
        assert all(within(share, expected, self.COUNT) for share in targets.mean(axis=0))

    def test_all_stems_of_a_class_are_equally_likely_and_all_segments_of_a_stem(self) -> None:
        power, targets = make_mixer(labels=self.SINGLE).batch(0, 0, self.COUNT)
        held = present(power)
        for name in range(4):
            drawn = targets[:, name] == 1
            stems = np.flatnonzero(self.SINGLE[:, name])
            for stem in stems:
                assert within(held[drawn, stem].mean(), 1 / len(stems), drawn.sum())
        starts = power[held[:, 0], 0, 0]
        values, counts = np.unique(starts, return_counts=True)
        np.testing.assert_array_equal(values, 1 + LENGTH * np.arange(SEGMENTS_EACH))
        assert all(within(count / len(starts), 1 / SEGMENTS_EACH, len(starts)) for count in counts)

    def test_a_class_without_carriers_is_never_drawn(self) -> None:
        power, targets = make_mixer().batch(0, 0, 3000)
        assert (targets[:, 3] == 0).all()
        assert present(power).any(axis=1).all()

    def test_kinds_of_a_class_are_not_drawn_themselves(self) -> None:
        """The last two classes are kinds of the second: they are taught with it."""
        labels = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 1], [1, 0, 0, 0], [0, 1, 0, 1]], np.float32)
        settings = MixingSettings(**{**vars(PLAIN), "drawn": 2})
        _, targets = make_mixer(settings, np.vstack([labels, labels[:2]])).batch(0, 0, self.COUNT)
        assert (targets[:, 2:].sum(axis=1) == targets[:, 1]).all()
        assert within(targets[:, 0].mean(), targets[:, 1].mean(), self.COUNT // 2)

    def test_fewer_classes_than_counts(self) -> None:
        labels = np.tile(np.array([[1.0, 0.0]], np.float32), (STEMS, 1))
        _, targets = make_mixer(labels=labels).batch(0, 0, 50)
        np.testing.assert_array_equal(targets, [[1, 0]] * 50)


class TestAugmentation:
    """One stem, one class, so that a mixture is one segment times its factors."""

    BANDS = 40

    def factors(self, count: int = 4000, **changes: object) -> np.ndarray:
        """(example, band): power of the mixtures of a stem whose power is 1 everywhere."""
        settings = MixingSettings(**{**vars(PLAIN), "counts": (1.0,), **changes})
        rows = [to_bfloat16(np.ones((LENGTH, self.BANDS), np.float32))]
        pool = SegmentPool(
            unread(1), np.ones(1), np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones((1, 1), np.float32)
        )
        power, _ = Mixer(pool, rows, settings, MEL, 0).batch(0, 0, count)
        # The factors are those of an equaliser: the same in every frame.
        np.testing.assert_allclose(power, np.broadcast_to(power[:, :1], power.shape), rtol=1e-6)
        return power[:, 0]

    def test_levels_are_uniform_in_decibels(self) -> None:
        level_db = 10 * np.log10(self.factors(level_range_db=20.0)[:, 0])
        assert stats.kstest(level_db, stats.uniform(-20, 20).cdf).pvalue > 1e-4

    def test_noise_floor(self) -> None:
        added = (self.factors(noise_db=(-30.0, -10.0)) - 1.0).sum(axis=1)
        assert stats.kstest(10 * np.log10(added), stats.uniform(-30, 20).cdf).pvalue > 1e-4

    def test_equaliser_curve(self) -> None:
        curve_db = 10 * np.log10(self.factors(curve_db=6.0, curve_knots=5))
        assert np.abs(curve_db).max() <= 6.0 + 1e-4
        assert np.abs(curve_db).max() > 5.5
        assert abs(curve_db.mean()) < 0.2
        # Straight between knots: four changes of direction at most.
        bends = np.abs(np.diff(curve_db, n=2, axis=1)) > 1e-3
        assert bends.sum(axis=1).max() <= 2 * 3
        assert stats.kstest(curve_db[:, 0], stats.uniform(-6, 12).cdf).pvalue > 1e-4

    def test_low_pass(self) -> None:
        factors = self.factors(limit_share=0.25)
        limited = factors[:, -1] < 0.5
        assert within(limited.mean(), 0.25, len(factors))
        assert (factors[~limited] == 1).all()
        passed = (factors[limited] > 0.5).sum(axis=1)
        assert passed.min() >= 0.4 * self.BANDS and passed.max() < self.BANDS
        np.testing.assert_allclose(factors[limited][:, -1], 1e-6, rtol=1e-5)


@given(st.lists(st.booleans(), min_size=STEMS, max_size=STEMS).filter(any))
def test_of_stems_keeps_the_segments_of_the_chosen_stems(flags: list[bool]) -> None:
    whole, chosen = make_material(gains=np.arange(1.0, STEMS + 1)), np.array(flags)
    part = whole.of_stems(chosen)
    kept = np.flatnonzero(chosen)
    assert part.stems.keys.tolist() == [str(stem).encode() for stem in kept]
    np.testing.assert_array_equal(part.gains, whole.gains[kept])
    np.testing.assert_array_equal(kept[part.stem], whole.stem[chosen[whole.stem]])
    np.testing.assert_array_equal(part.start, whole.start[chosen[whole.stem]])
    np.testing.assert_array_equal(part.targets, LABELS[kept[part.stem]])


@pytest.mark.parametrize("epoch", [0, (1 << 63) - 1])
def test_any_epoch_number(epoch: int) -> None:
    assert np.isfinite(make_mixer().batch(epoch, 0, 3)[0]).all()


def test_at_most_so_many_stems_are_drawn_by_the_seed_alone() -> None:
    whole = make_material()
    assert whole.at_most(STEMS, [0]) is whole
    part, again, other = whole.at_most(2, [0]), whole.at_most(2, [0]), whole.at_most(2, [3])
    assert len(part.stems) == 2 and len(part.stem) == 2 * SEGMENTS_EACH
    assert part.stems.keys.tolist() == again.stems.keys.tolist() != other.stems.keys.tolist()
    for number, key in enumerate(part.stems.keys.tolist()):
        np.testing.assert_array_equal(part.targets[part.stem == number], LABELS[[int(key)] * SEGMENTS_EACH])
