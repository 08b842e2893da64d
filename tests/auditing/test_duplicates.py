"""Copies are found whatever their gain, offset and equaliser; other recordings are not; the search is not by pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal

from restem.auditing.duplicates import LIKENESS_S, MIN_LIKENESS, Copy, find_copies, likeness
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
    places = [place for likely in found for place in likely]
    alike = [one for one in places if likeness(*stretches(one, [*sounds, copy][one.first], copy)) > MIN_LIKENESS]
    assert {(one.first, one.second) for one in alike} == {(1, 4)}
    assert alike[0].offset * HOP_S == pytest.approx(offset_s, abs=HOP_S)


def test_a_stem_with_a_second_of_sound_is_a_copy_only_of_one_that_holds_nothing_else(play_notes: Play) -> None:
    sound = np.zeros(10 * RATE_HZ)
    sound[2 * RATE_HZ : 3 * RATE_HZ] = play_notes(1, 1.0, RATE_HZ)
    ((found,),) = find_copies([fingerprint(sound), fingerprint(0.3 * sound[RATE_HZ:])])
    assert found.offset * HOP_S == pytest.approx(-1.0, abs=HOP_S)
    more = sound + np.concatenate([np.zeros(4 * RATE_HZ), play_notes(2, 6.0, RATE_HZ)])
    assert find_copies([fingerprint(sound), fingerprint(more)]) == []


def test_short_hits_are_enough(play_notes: Play) -> None:
    """Drums of which every hit is active for 150 ms."""
    rng = np.random.default_rng(5)
    sound = np.zeros(16 * RATE_HZ)
    for start in range(0, len(sound), RATE_HZ // 2):
        hit = rng.standard_normal(round(0.08 * RATE_HZ)) * np.linspace(1.0, 0.0, round(0.08 * RATE_HZ)) ** 2
        sound[start : start + len(hit)] = scipy.signal.lfilter(rng.uniform(0.2, 1.0, 4), [1.0], hit)
    part = sound[5 * RATE_HZ : 10 * RATE_HZ]
    ((found, *_),) = find_copies([fingerprint(play_notes(0, 10.0, RATE_HZ)), fingerprint(sound), fingerprint(part)])
    assert (found.first, found.second) == (1, 2)
    assert found.offset * HOP_S == pytest.approx(-5.0, abs=1.1 * HOP_S)


def test_offsets_beside_each_other_count_as_one() -> None:
    """Four of them with more votes do not crowd out the one at which most of the sound agrees."""
    rng = np.random.default_rng(0)
    first, second = (rng.integers(1, 2**32, 2000, dtype=np.uint32) for _ in range(2))
    frames = np.arange(200, 800)
    flips = np.uint32(1) << rng.integers(0, 16, len(frames)).astype(np.uint32)
    flips |= flips << np.uint32(16)
    second[frames] = first[frames - 5] ^ np.where(frames % 20 < 5, 0, flips).astype(np.uint32)
    for more in range(4):
        start = 1000 + 100 * more
        second[start : start + 60] = first[start - 100 - more :][:60]
    ((found, *_),) = find_copies([first, second])
    assert (found.offset, found.start, found.frames) == (5, 200, 600)


def test_the_sound_is_compared_where_there_is_some(play_notes: Play) -> None:
    """Neither the silence before a recording nor the one in it counts as what two stems share."""
    notes, pause = play_notes(1, 6.0, RATE_HZ), np.zeros(20 * RATE_HZ)
    sound = np.concatenate([pause, notes[: RATE_HZ // 2], pause, notes])
    ((found, *_),) = find_copies([fingerprint(sound), fingerprint(sound)])
    assert found.start * HOP_S == pytest.approx(20.0, abs=0.5)
    assert found.densest * HOP_S == pytest.approx(40.5 - 6.0, abs=6.5)
    at = slice(round(found.densest * HOP_S * RATE_HZ), round((found.densest * HOP_S + LIKENESS_S) * RATE_HZ))
    assert np.square(sound[at]).sum() > 0.9 * np.square(notes).sum()


def test_other_recordings_are_not_alike(play_notes: Play) -> None:
    first, second = (play_notes(seed, 6.0, RATE_HZ) for seed in (1, 2))
    assert likeness(first, second) < MIN_LIKENESS / 2
    assert likeness(first, -0.3 * first) == pytest.approx(1.0)


def test_the_offset_of_a_copied_loop_is_among_the_likely_ones() -> None:
    """Another repetition, of which every hit may be upside down, agrees in more bits where it lies on whole frames."""
    rng = np.random.default_rng(0)
    hop = round(HOP_S * RATE_HZ)
    period, count = 2 * RATE_HZ + hop // 2, 3
    sound = np.zeros(period * count)
    hits = [rng.standard_normal(RATE_HZ // 8) * np.linspace(1, 0, RATE_HZ // 8) ** 2 for _ in range(8)]
    for number in range(8 * count):
        start = number // 8 * period + number % 8 * (RATE_HZ // 4)
        sound[start : start + RATE_HZ // 8] += rng.choice([-1.0, 1.0]) * hits[number % 8]
    copy = sound[hop // 2 :]
    (likely,) = find_copies([fingerprint(sound), fingerprint(copy)])
    likenesses = [likeness(*stretches(place, sound, copy)) for place in likely]
    assert likenesses[0] < MIN_LIKENESS < max(likenesses)
    assert abs(likely[int(np.argmax(likenesses))].offset) <= 1


def test_silence_has_no_fingerprint() -> None:
    assert not fingerprint(np.zeros(RATE_HZ)).any()
    assert len(fingerprint(np.zeros(1))) == 1


def test_copies_are_found_among_many_with_a_part_of_the_codes() -> None:
    rng = np.random.default_rng(1)
    codes = [rng.integers(1, 2**32, 3000, dtype=np.uint32) for _ in range(300)]
    codes[200] = codes[17][500:]
    (found,) = find_copies(codes, most_codes=100_000)
    assert [(one.first, one.second, one.offset) for one in found] == [(17, 200, -500)]
    assert found[0].share == pytest.approx(1.0, abs=0.01)


def test_no_stems_and_empty_stems() -> None:
    assert find_copies([]) == []
    assert find_copies([np.zeros(0, np.uint32), np.zeros(5, np.uint32)]) == []
