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


def lay_segments(stems: Sequence[StemFeatures], length: int, hop: int) -> Segments:
    """Lays windows of `length` frames, `hop` apart, over every stem; the last one ends with the stem.

    A stem shorter than `length` is one segment.
    """
    parts = [_lay(features, length, hop) for features in stems]
    counts = [len(part.start) for part in parts]
    return Segments(
        stem=np.repeat(np.arange(len(parts)), counts),
        start=np.concatenate([part.start for part in parts]),
        stop=np.concatenate([part.stop for part in parts]),
        level_db=np.concatenate([part.level_db for part in parts]),
        active=np.concatenate([part.active for part in parts]),
        gains=np.array([part.gain for part in parts]),
        active_frames=np.array([part.active_frames for part in parts]),
    )


@dataclass(frozen=True)
class _Laid:
    """The segments of one stem."""

    start: np.ndarray
    stop: np.ndarray
    level_db: np.ndarray
    active: np.ndarray
    gain: float
    active_frames: int


def _lay(features: StemFeatures, length: int, hop: int) -> _Laid:
    power = features.frame_power().astype(np.float64)
    sounding = active_frames(power)
    start = np.arange(0, max(1, len(power) - length + 1), hop)
    if start[-1] + length < len(power):
        start = np.append(start, len(power) - length)
    stop = np.minimum(start + length, len(power))
    share = _window_means(sounding, start, stop)
    active = share >= _ACTIVE_SHARE
    if not active.any():
        active = share > 0
    level_db = power_to_db(_window_means(power, start, stop))
    gain = 1.0 / float(power[sounding].mean()) if sounding.any() else 0.0
    return _Laid(start, stop, level_db, active, gain, int(sounding.sum()))


def _window_means(values: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    summed = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))
    return np.maximum(summed[stop] - summed[start], 0.0) / (stop - start)


def pool_scores(scores: np.ndarray, stem: np.ndarray, stems: int, quantile: float) -> np.ndarray:
    """Stem scores from the scores of their active segments: (segment, class), (segment,) -> (stem, class).

    A high quantile rather than the mean: a class is present in a stem although it rests for most of it. A stem without
    segments scores 0.
    """
    pooled = np.zeros((stems, scores.shape[1]))
    for index in range(stems):
        mine = scores[stem == index]
        if len(mine):
            pooled[index] = np.quantile(mine, quantile, axis=0)
    return pooled
