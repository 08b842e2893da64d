"""Each effect against what it says of itself, on power whose change can be read off."""

from __future__ import annotations

import numpy as np
import pytest

from restem.labelling.augmentation import DRAWS, EffectSettings, apply_effects, compress, decay

HOP_S = 0.02
NEVER = dict.fromkeys(vars(EffectSettings()), 0.0)


def noise(segments: int = 50, frames: int = 60, bands: int = 32) -> np.ndarray:
    return np.random.default_rng(0).exponential(size=(segments, frames, bands)).astype(np.float32)


def apply_one(power: np.ndarray, seed: int = 1, **shares: float) -> np.ndarray:
    numbers = np.random.default_rng(seed).random((len(power), DRAWS))
    return apply_effects(power.copy(), numbers, EffectSettings(**{**NEVER, **shares}), HOP_S)


def test_never_is_never() -> None:
    np.testing.assert_array_equal(apply_one(noise()), noise())


@pytest.mark.parametrize("effect", list(NEVER))
def test_as_often_as_asked(effect: str) -> None:
    power = noise(2000, 20, 20)
    changed = (apply_one(power, **{effect: 0.3}) != power).any(axis=(1, 2))
    # Of a gap or a notch that is shorter than one place nothing is seen.
    assert 0.2 < changed.mean() < 0.35


@pytest.mark.parametrize("effect", list(NEVER))
def test_power_stays_power(effect: str) -> None:
    for power in (noise(), np.zeros((50, 60, 32), np.float32), noise() * 1e-12, noise() * 1e6):
        changed = apply_one(power, **{effect: 1.0})
        assert changed.dtype == np.float32 and changed.shape == power.shape
        assert np.isfinite(changed).all() and (changed >= 0).all()


@pytest.mark.parametrize("slope", [-0.5, 0.0, 0.3])
def test_compression_multiplies_level_differences(slope: float) -> None:
    level_db = np.array([0.0, -10.0, -25.0])
    power = (10 ** (level_db / 10))[None, :, None].astype(np.float32) * np.ones((1, 3, 4), np.float32)
    changed_db = 10 * np.log10(compress(power, np.array([slope])).sum(axis=2)[0])
    np.testing.assert_allclose(np.diff(changed_db), (1 + slope) * np.diff(level_db), rtol=1e-4)


def test_decay_is_an_exponential_tail() -> None:
    power = np.zeros((2, 40, 3), np.float32)
    power[:, 5] = 1.0
    tails = decay(power, 1, np.array([0.5, 0.9]), np.array([0.1, 1.0]))
    after = np.arange(40) - 5
    for tail, keep, amount in zip(tails, (0.5, 0.9), (0.1, 1.0), strict=True):
        expected = np.where(after == 0, 1.0, np.where(after > 0, amount * keep ** np.maximum(after, 0), 0.0))
        np.testing.assert_allclose(tail, np.repeat(expected[:, None], 3, axis=1), rtol=1e-5)


def test_decay_along_bands_is_the_same_with_the_axes_exchanged() -> None:
    power, keep, amount = noise(), np.linspace(0.1, 0.9, 50), np.linspace(0.0, 1.0, 50)
    exchanged = decay(power.transpose(0, 2, 1), 1, keep, amount).transpose(0, 2, 1)
    np.testing.assert_allclose(decay(power, 2, keep, amount), exchanged, rtol=1e-6)


@pytest.mark.parametrize(("effect", "axis", "longest"), [("gap", 1, 0.35), ("notch", 2, 0.12), ("high_pass", 2, 0.12)])
def test_what_is_missing_is_one_stretch_and_not_too_long(effect: str, axis: int, longest: float) -> None:
    power = np.ones((500, 50, 50), np.float32)
    missing = (apply_one(power, **{effect: 1.0}) < 0.5).all(axis=3 - axis)
    assert missing.sum(axis=1).max() <= np.ceil(longest * 50)
    assert missing.sum(axis=1).mean() > 0.3 * longest * 50
    edges = np.diff(missing.astype(int), axis=1, prepend=0, append=0)
    assert (np.abs(edges).sum(axis=1) <= 2).all()
    if effect == "high_pass":
        assert missing[missing.any(axis=1), 0].all()
