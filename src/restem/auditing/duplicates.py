"""Finds stems that hold the same recording, wholly or in part, among any number of stems.

Sub-fingerprints (see `fingerprints`) that occur in two stems are found by sorting all of them, which takes seconds
where comparing all pairs of stems would take days. Where several of them lie at the same distance in time, the two
stems are compared frame by frame at that distance. With e[n] the share of bits that differ, of those set in either
stem, the stretch of frames with the largest sum of

    score = sum_n (0.55 - e[n])

is what they may share: a frame of two different recordings has e = 2/3 or more on average, and lowers the sum. Whether
they do is then decided by the sound of both stretches (`likeness`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft

from restem.auditing.fingerprints import HOP_S, RATE_HZ

_NEUTRAL_ERROR = 0.55

# Of a pair that is compared by its sound. Different recordings reach it now and then.
MIN_SCORE = 5.0

# What the sound of two stretches must reach (see `likeness`): the copies of seed 101 of `benchmarks/audit.py`, MP3
# among them, reach 0.987 or more; two phrases of one sampled bass in the recordings reach 0.976.
MIN_LIKENESS = 0.98

# How long they must be: shorter ones are hits and notes of one sampled instrument, unless both stems hold hardly
# anything else.
MIN_STRETCH_S = 2.0
_WHOLE_SHARE = 0.8
LIKENESS_S = 12.0
"""So much sound is compared."""

# Of so many codes in all, every one is looked up; of more, a part that depends on the code alone, so that both stems of
# a pair keep the same ones. It bounds memory (some 40 bytes a code), and the time to a few minutes.
MOST_CODES = 40_000_000

# A code that occurs more often says nothing about a recording: a steady tone, a hit of a drum machine.
_MOST_OCCURRENCES = 48

_MIN_VOTES = 2  # codes at the same distance in time, within one frame
_MOST_OFFSETS = 8  # of a pair of stems that are compared frame by frame
_LIKELY_OFFSETS = 4  # of these, the best, which are then compared by their sound

# A looked-up code is made from half of the bands at two frames so far apart, since noise and coding rarely spare all
# bands. A hit of a drum lasts some 8 frames.
_LATER = 4

_FRAME_BITS, _STEM_BITS = 22, 20  # 46 hours on both sides; a million stems
_SCRAMBLE = np.uint32(2654435761)  # Knuth's multiplicative hash


@dataclass(frozen=True)
class Copy:
    """Two stems that share a recording.

    first, second: the indices of the stems, first < second. offset: second's frame minus first's frame, of the same
    sound. start, frames: the shared stretch in the second stem. densest: where in the second stem the `LIKENESS_S` of
    it begin in which most frames are active. error: the share of bits that differ there. compared: how many of its
    frames are active in both. share: of the active frames of the stem that has fewer, those compared.
    """

    first: int
    second: int
    offset: int
    start: int
    frames: int
    densest: int
    score: float
    error: float
    compared: int
    share: float


def find_copies(codes: Sequence[np.ndarray], most_codes: int = MOST_CODES) -> list[tuple[Copy, ...]]:
    """All pairs of stems that share a recording, in order; of each the likeliest offsets, the best first.

    codes: the sub-fingerprints of every stem, (frame,) uint32. Of a loop that is repeated with changes, the best offset
    may be that of another repetition.
    """
    pairs: dict[tuple[int, int], list[Copy]] = defaultdict(list)
    for first, second, offset in _candidates(codes, most_codes):
        copy = _compare(codes, first, second, offset)
        if copy is not None:
            pairs[first, second].append(copy)
    return [tuple(sorted(pairs[pair], key=lambda copy: -copy.score)[:_LIKELY_OFFSETS]) for pair in sorted(pairs)]


def _compare(codes: Sequence[np.ndarray], number: int, other: int, offset: int) -> Copy | None:
    """What the stems `number` and `other` share at an offset; None where that is nothing."""
    first, second = codes[number], codes[other]
    start = max(0, offset)
    end = min(len(second), len(first) + offset)
    if end <= start:
        return None
    a, b = first[start - offset : end - offset], second[start:end]
    both = (a != 0) & (b != 0)
    error = np.where(both, np.bitwise_count(a ^ b) / np.maximum(1, np.bitwise_count(a | b)), 1.0)
    gain = np.where((a != 0) | (b != 0), _NEUTRAL_ERROR - error, 0.0)
    total = np.concatenate([[0.0], np.cumsum(gain)])
    lowest = np.minimum.accumulate(total)
    stop = int(np.argmax(total - lowest))
    score = float(total[stop] - lowest[stop])
    begin = stop - int(np.argmin(total[stop::-1]))  # where the sound begins, not the silence before it
    inside = both[begin:stop]
    compared = int(np.count_nonzero(inside))
    sounds = sorted((int(np.count_nonzero(first)), int(np.count_nonzero(second))))
    long_enough = (stop - begin) * HOP_S >= MIN_STRETCH_S or compared >= _WHOLE_SHARE * sounds[1]
    if score < MIN_SCORE or not long_enough:
        return None
    sounding = np.concatenate([[0], np.cumsum(inside)])
    window = min(len(inside), round(LIKENESS_S / HOP_S))
    densest = int(np.argmax(sounding[window:] - sounding[: len(sounding) - window]))
    found_error = float(error[begin:stop][inside].mean())
    return Copy(
        number, other, offset, start + begin, stop - begin, start + begin + densest, score, found_error, compared,
        compared / max(1, sounds[0]),
    )  # fmt: skip


def _candidates(codes: Sequence[np.ndarray], most_codes: int) -> Iterator[tuple[int, int, int]]:
    """Pairs of stems, and an offset at which several of their codes agree."""
    if not len(codes):
        return
    code, stem, frame = _entries(codes, most_codes)
    votes, counts = np.unique(_votes(code, stem, frame), return_counts=True)
    # The copy may lie between two frames of the original.
    near = counts.copy()
    neighbours = np.flatnonzero(np.diff(votes) == 1)
    near[neighbours] += counts[neighbours + 1]
    near[neighbours + 1] += counts[neighbours]
    # Of offsets beside each other the best one, so that a loop's other repetitions are tried, not the same one again.
    peak = np.ones(len(votes), bool)
    rises = counts[neighbours + 1] > counts[neighbours]
    peak[neighbours[rises]] = False
    peak[neighbours[~rises] + 1] = False
    kept = np.flatnonzero(peak & (near >= _MIN_VOTES))
    votes, near = votes[kept], near[kept]
    pair = votes >> (_FRAME_BITS + 1)
    order = np.lexsort((votes, -near, pair))
    rank = np.arange(len(order)) - np.searchsorted(pair[order], pair[order], side="left")
    for vote in votes[np.sort(order[rank < _MOST_OFFSETS])].tolist():
        first, second = vote >> (_STEM_BITS + _FRAME_BITS + 1), (vote >> (_FRAME_BITS + 1)) & ((1 << _STEM_BITS) - 1)
        yield first, second, (vote & ((1 << (_FRAME_BITS + 1)) - 1)) - (1 << _FRAME_BITS)


def _entries(codes: Sequence[np.ndarray], most_codes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is looked up: code, stem and frame, ordered by code; only codes that occur twice, and not too often."""
    limit = np.uint32(min(1.0, most_codes / max(1, 2 * sum(map(len, codes)))) * 0xFFFFFFFF)
    parts = []
    for number, one in enumerate(codes):
        for half in _halves(one):
            # A code that lasts is kept once.
            frames = 1 + np.flatnonzero((half[1:] != half[:-1]) & (half[1:] != 0) & (half[1:] * _SCRAMBLE <= limit))
            parts.append((half[frames], np.full(len(frames), number, np.int32), frames.astype(np.int32)))
    code, stem, frame = (
        np.concatenate(column) if column else np.zeros(0, np.int32) for column in zip(*parts, strict=True)
    )
    order = np.argsort(code, kind="stable")
    code, stem, frame = code[order], stem[order], frame[order]
    begins = np.flatnonzero(np.concatenate([[True], code[1:] != code[:-1]])) if len(code) else np.zeros(0, np.int64)
    sizes = np.diff(np.concatenate([begins, [len(code)]]))
    kept = np.repeat((sizes > 1) & (sizes <= _MOST_OCCURRENCES), sizes)
    return code[kept], stem[kept], frame[kept]


def _halves(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two looked-up codes a frame, of the lower and the upper bands at it and at a later frame; 0 where one is 0."""
    now, later = codes[:-_LATER], codes[_LATER:]
    low = np.where((now & 0xFFFF != 0) & (later & 0xFFFF != 0), (now << 16) | (later & 0xFFFF), 0)
    high = np.where((now >> 16 != 0) & (later >> 16 != 0), (now & 0xFFFF0000) | (later >> 16), 0)
    return low.astype(np.uint32), high.astype(np.uint32)


def _votes(code: np.ndarray, stem: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """For all pairs of equal codes in different stems: first stem, second stem and offset, packed in 64 bits."""
    found = []
    for step in range(1, _MOST_OCCURRENCES):
        at = np.flatnonzero(code[step:] == code[:-step])
        if not len(at):
            break
        at = at[stem[at] != stem[at + step]]
        # Entries of a code are in the order of the stems.
        first, second = stem[at].astype(np.int64), stem[at + step].astype(np.int64)
        offset = frame[at + step].astype(np.int64) - frame[at] + (1 << _FRAME_BITS)
        found.append((((first << _STEM_BITS) | second) << (_FRAME_BITS + 1)) | offset)
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    """How far one stretch of sound is another one but for gain, equaliser, a small shift and noise: 0 to 1.

    first, second: (sample,) at `RATE_HZ`, the same sound to within 40 ms. They are aligned, and the coherence between
    them is taken in bands: the mean over the bands that sound of

        | sum A conj(B) | / sqrt( sum |A|^2 sum |B|^2 )

    over the frames, and the bins of a band. Notes that are alike differ in phase from harmonic to harmonic, copies do
    not.
    """
    if min(len(first), len(second)) < 2 * _LIKENESS_FRAME:
        return 0.0
    size = scipy.fft.next_fast_len(len(first) + len(second))
    cross = scipy.fft.rfft(first, size) * np.conj(scipy.fft.rfft(second, size))
    cross /= np.sqrt(np.abs(cross)) + 1e-12
    reach = round(_SHIFT_S * RATE_HZ)
    lags = scipy.fft.irfft(cross, size)
    around = np.concatenate([lags[-reach:], lags[: reach + 1]])
    shift = int(np.argmax(np.abs(around))) - reach
    first, second = (first[shift:], second) if shift >= 0 else (first, second[-shift:])
    length = min(len(first), len(second))
    spectra = []
    for sound in (first[:length], second[:length]):
        frames = np.lib.stride_tricks.sliding_window_view(sound, _LIKENESS_FRAME)[:: _LIKENESS_FRAME // 2]
        spectra.append(scipy.fft.rfft(frames * np.hanning(_LIKENESS_FRAME).astype(np.float32), axis=1))
    a, b = spectra
    edges = np.unique(np.geomspace(4, _LIKENESS_FRAME // 2 - 40, 25).astype(int))

    def banded(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values.sum(axis=0), edges)[:-1]

    powers = banded(np.abs(a) ** 2), banded(np.abs(b) ** 2)
    both = np.sqrt(powers[0] * powers[1])
    sounding = np.all([power > power.max() * 10.0 ** (-_LIKENESS_RANGE_DB / 10.0) for power in powers], axis=0)
    if not sounding.any():
        return 0.0
    return float(np.mean(np.abs(banded(a * np.conj(b)))[sounding] / both[sounding]))


_SHIFT_S = 0.04
_LIKENESS_FRAME = 1024
_LIKENESS_RANGE_DB = 30.0
