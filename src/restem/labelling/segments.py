"""The segments of every stem: where they lie, how loud they are, and which of them sound.

The same grid serves for training and scoring, so that what one round finds in a segment can be taught by the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from restem.audio.level import active_frames, power_to_db
from restem.audio.store import StemFeatures

# A segment counts as active when a stem sounds for this share of it. In a stem without any such segment, those count
# in which it sounds at all.
_ACTIVE_SHARE = 0.25


# Segments whose scores are sorted at once, which bounds memory.
_POOLED_AT_ONCE = 1 << 18


HOP_S = 1.0
"""From the start of one segment to the next."""

POOL_QUANTILE = 0.93
"""Of the scores of a stem's active segments, the quantile that is the score of the stem; `benchmarks/ablations.py`."""


@dataclass(frozen=True, eq=False)
class Segments:
    """The segments of all stems, stem after stem.

    stem: (segment,) index of the stem. start, stop: (segment,) frames. level_db: (segment,) mean level.
    active: (segment,) flags. gains: (stem,) what brings a stem's active power to 1.
    active_frames: (stem,) how many frames sound; a stem with none is silent.
    """

    stem: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    level_db: np.ndarray
    active: np.ndarray
    gains: np.ndarray
    active_frames: np.ndarray

    def of_stems(self, chosen: np.ndarray) -> np.ndarray:
        """The indices of the active segments of the stems that the flags `chosen` (stem,) mark."""
        return np.flatnonzero(self.active & chosen[self.stem])

    def of_stem(self, index: int) -> slice:
        """Where the segments of one stem are."""
        # Of the same type, or all of `stem` would be converted each time.
        first, last = np.searchsorted(self.stem, np.array([index, index + 1], self.stem.dtype))
        return slice(int(first), int(last))


@dataclass(frozen=True, eq=False)
class LaidStem:
    """The segments of one stem; where they begin and end follows from the number of its frames.

    level_db, active, gain, active_frames: see `Segments`.
    """

    frames: int
    level_db: np.ndarray
    active: np.ndarray
    gain: float
    active_frames: int


def lay_segments(stems: Sequence[StemFeatures], length: int, hop: int) -> Segments:
    """Lays windows of `length` frames, `hop` apart, over every stem; the last one ends with the stem.

    A stem shorter than `length` is one segment.
    """
    return joined_segments([lay_stem(features, length, hop) for features in stems], length, hop)


def joined_segments(stems: Sequence[LaidStem], length: int, hop: int) -> Segments:
    """The segments of all stems, from those of each."""
    starts = [segment_starts(one.frames, length, hop) for one in stems]
    stem = np.repeat(np.arange(len(stems), dtype=np.int32), [len(one) for one in starts])
    start = np.concatenate(starts)
    return Segments(
        stem=stem,
        start=start,
        stop=np.minimum(start + length, np.array([one.frames for one in stems], np.int32)[stem]),
        level_db=np.concatenate([one.level_db for one in stems]),
        active=np.concatenate([one.active for one in stems]),
        gains=np.array([one.gain for one in stems]),
        active_frames=np.array([one.active_frames for one in stems]),
    )


def lay_stem(features: StemFeatures, length: int, hop: int) -> LaidStem:
    """The segments of one stem."""
    power = features.frame_power().astype(np.float64)
    sounding = active_frames(power)
    start = segment_starts(len(power), length, hop)
    stop = np.minimum(start + length, len(power))
    share = _window_means(sounding, start, stop)
    active = share >= _ACTIVE_SHARE
    if not active.any():
        active = share > 0
    level_db = power_to_db(_window_means(power, start, stop))
    gain = 1.0 / float(power[sounding].mean()) if sounding.any() else 0.0
    return LaidStem(len(power), level_db, active, gain, int(sounding.sum()))


def segment_starts(frames: int, length: int, hop: int) -> np.ndarray:
    """(segment,) the first frame of every segment of a stem."""
    start = np.arange(0, max(1, frames - length + 1), hop, dtype=np.int32)
    return np.append(start, np.int32(frames - length)) if start[-1] + length < frames else start


def _window_means(values: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    summed = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))
    return np.maximum(summed[stop] - summed[start], 0.0) / (stop - start)


def pool_scores(scores: np.ndarray, stem: np.ndarray, stems: int, quantile: float) -> np.ndarray:
    """Stem scores from the scores of their active segments: (segment, class), (segment,) -> (stem, class).

    A high quantile rather than the mean: a class is present in a stem although it rests for most of it. A stem without
    segments scores 0.
    """
    if (stem[1:] < stem[:-1]).any():
        order = np.argsort(stem, kind="stable")
        scores, stem = scores[order], stem[order]
    counts = np.bincount(stem, minlength=stems)
    first = np.cumsum(counts) - counts
    pooled = np.zeros((stems, scores.shape[1]))
    # Stems of equally many segments at once: a call for every stem would take longer than the sorting.
    for count in np.unique(counts[counts > 0]).tolist():
        alike = np.flatnonzero(counts == count)
        for some in np.array_split(alike, -(-len(alike) * count // _POOLED_AT_ONCE)):
            pooled[some] = np.quantile(scores[first[some][:, None] + np.arange(count)], quantile, axis=1)
    return pooled
