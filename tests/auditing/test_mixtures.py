"""The verdict on a mixture says how it was made from the stems."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import soxr

from restem.auditing.fingerprints import RATE_HZ as TRACK_HZ
from restem.auditing.mixtures import InnerProducts, MixtureFit, fit_mixture

Play = Callable[..., np.ndarray]

RATE_HZ, BLOCK = 16000, 65536


def fitted(stems: list[np.ndarray], mixture: np.ndarray) -> MixtureFit:
    """stems: (channel, sample) each."""
    signals = np.stack([*stems, mixture])
    products = InnerProducts(len(signals), signals.shape[1])
    for start in range(0, signals.shape[2], BLOCK):
        products.add(signals[:, :, start : start + BLOCK])
    mono = signals.mean(axis=1)
    tracks = [np.asarray(soxr.resample(one, RATE_HZ, TRACK_HZ), np.float32) for one in mono]
    excerpts = mono[:, : mono.shape[1] // BLOCK * BLOCK].reshape(len(mono), -1, BLOCK).astype(np.float32)
    return fit_mixture(products.total, tracks, excerpts, RATE_HZ)


@pytest.fixture
def stems(play_notes: Play) -> list[np.ndarray]:
    return [np.stack([play_notes(seed, 9.0), 0.5 * play_notes(seed, 9.0)]) for seed in (1, 2, 3)]


def test_exact_and_gain(stems: list[np.ndarray]) -> None:
    exact = fitted(stems, np.sum(stems, axis=0))
    assert exact.verdict == "exact"
    assert exact.residual_db < -100.0
    assert exact.gains == pytest.approx([1.0] * 3)
    half = fitted(stems, 0.5 * np.sum(stems, axis=0))
    assert half.verdict == "gain"
    assert half.gains == pytest.approx([0.5] * 3)


def test_a_stem_whose_channels_cancel(stems: list[np.ndarray]) -> None:
    stems[1] = np.stack([stems[1][0], -stems[1][0]])
    total = np.sum(stems, axis=0)
    with np.errstate(all="raise"):
        assert fitted(stems, total).verdict == "exact"
        assert fitted(stems[:2], total).verdict == "missing"


def test_missing_and_foreign(stems: list[np.ndarray], play_notes: Play) -> None:
    total = np.sum(stems, axis=0)
    assert fitted(stems[:2], total).verdict == "missing"
    other = np.stack([play_notes(9, 9.0)] * 2)
    replaced = fitted([*stems[:2], other], total)
    assert (replaced.verdict, replaced.absent) == ("foreign", (2,))
    added = fitted([*stems, other], total)
    assert (added.verdict, added.absent) == ("foreign", (3,))


@pytest.mark.parametrize("delay", [160, 801, 12345])
def test_late_by_a_sample_count(delay: int, stems: list[np.ndarray]) -> None:
    total = np.sum(stems, axis=0)
    late = np.concatenate([np.zeros((2, delay)), stems[1]], axis=1)[:, : total.shape[1]]
    found = fitted([stems[0], late, stems[2]], total)
    assert (found.verdict, found.delays) == ("late", ((1, delay),))


def test_mastered(stems: list[np.ndarray]) -> None:
    total = np.sum(stems, axis=0)
    assert fitted(stems, np.tanh(2.0 * total / np.abs(total).max())).verdict == "mastered"


@pytest.mark.parametrize("level_db", [0.0, -8.0])
def test_a_quiet_missing_stem_is_told_from_mastering(level_db: float, stems: list[np.ndarray]) -> None:
    quiet = 10.0 ** (level_db / 20.0) * stems[2]
    total = stems[0] + stems[1] + quiet
    for mixture in (total, np.tanh(total / np.abs(total).max())):
        assert fitted(stems[:2], mixture).verdict == "missing"
        assert fitted([*stems[:2], quiet], mixture).verdict == ("exact" if mixture is total else "mastered")


def test_a_dead_channel_is_left_out(stems: list[np.ndarray]) -> None:
    total = np.sum(stems, axis=0)
    total[1] = 0.0
    found = fitted(stems, total)
    assert (found.verdict, found.dead) == ("exact", (1,))


def test_silent_stems_change_nothing(stems: list[np.ndarray]) -> None:
    silent = np.zeros_like(stems[0])
    assert fitted([*stems, silent], np.sum(stems, axis=0)).verdict == "exact"
    with np.errstate(all="raise"):
        assert fitted([*stems[:2], silent], np.sum(stems, axis=0)).verdict == "missing"
