"""Copies are found whatever their gain, offset and equaliser; other recordings are not; the search is not by pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal

from restem.auditing.duplicates import MIN_LIKENESS, Copy, find_copies, likeness
from restem.auditing.fingerprints import HOP_S, RATE_HZ, fingerprint

Play = Callable[..., np.ndarray]


def stretches(copy: Copy, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hop, length = round(HOP_S * RATE_HZ), round(copy.frames * HOP_S * RATE_HZ)
    start = copy.start * hop
    return first[start - copy.offset * hop :][:length], second[start : start + length]


@pytest.mark.parametrize("change", ["nothing", "gain", "offset", "equaliser", "part", "noise"])
def test_a_copy_is_found(change: str, play_notes: Play) -> None:
    sounds = [play_notes(seed, 10.0, RATE_HZ) for seed in range(4)]
    original, offset_s = sounds[1], 0.0
    if change == "gain":
        copy = 0.2 * original
    elif change == "offset":
        offset_s = -1.237
        copy = original[round(1.237 * RATE_HZ) :]
    elif change == "equaliser":
        copy = scipy.signal.lfilter([1.0, -0.9], [1.0], original)
    elif change == "part":
        offset_s = -3.0
        copy = original[3 * RATE_HZ : 8 * RATE_HZ]
    elif change == "noise":
        rng = np.random.default_rng(0)
        copy = original + 0.03 * original.std() * rng.standard_normal(len(original))
    else:
        copy = original.copy()
    found = find_copies([fingerprint(sound) for sound in [*sounds, copy]])
    alike = [one for one in found if likeness(*stretches(one, [*sounds, copy][one.first], copy)) > MIN_LIKENESS]
    assert [(one.first, one.second) for one in alike] == [(1, 4)]
    assert alike[0].offset * HOP_S == pytest.approx(offset_s, abs=HOP_S)


def test_other_recordings_are_not_alike(play_notes: Play) -> None:
    first, second = (play_notes(seed, 6.0, RATE_HZ) for seed in (1, 2))
    assert likeness(first, second) < MIN_LIKENESS / 2
    assert likeness(first, -0.3 * first) == pytest.approx(1.0)


def test_silence_has_no_fingerprint() -> None:
    assert not fingerprint(np.zeros(RATE_HZ)).any()
    assert len(fingerprint(np.zeros(1))) == 1


def test_copies_are_found_among_many_with_a_part_of_the_codes() -> None:
    rng = np.random.default_rng(1)
    codes = [rng.integers(1, 2**32, 3000, dtype=np.uint32) for _ in range(300)]
    codes[200] = codes[17][500:]
    found = find_copies(codes, most_codes=100_000)
    assert [(one.first, one.second, one.offset) for one in found] == [(17, 200, -500)]
    assert found[0].share == pytest.approx(1.0, abs=0.01)


def test_no_stems_and_empty_stems() -> None:
    assert find_copies([]) == []
    assert find_copies([np.zeros(0, np.uint32), np.zeros(5, np.uint32)]) == []
