"""Signal levels: what counts as silent, and which frames of a stem are active.

Levels are in dB relative to a full-scale square wave (mean square 1), so a full-scale sine is -3 dB.
"""

from __future__ import annotations

import numpy as np

# A stem that never rises above this holds nothing a person would hear: 16-bit dither lies near -98 dB, the noise
# floor of a quiet recording near -80 dB.
SILENCE_DB = -70.0

# A frame is active when it is not silent and at most this far below the stem's loud frames. Room and noise between
# phrases lie lower, soft notes do not.
ACTIVE_RANGE_DB = 40.0

# The loud frames of a stem: the level that this share of its audible frames does not exceed.
_LOUD_QUANTILE = 0.95


LEVEL_S = 0.1
"""The duration of one level: short enough to find a drum hit, long enough that a bass note is steady within it."""


class LevelMeter:
    """Measures a stem's level over time and its peak from blocks of any length; stores one number per `LEVEL_S`."""

    def __init__(self, rate_hz: int) -> None:
        self.length = max(1, round(LEVEL_S * rate_hz))
        self.samples = 0
        """Samples of one channel so far."""
        self.peak = 0.0
        """The largest absolute sample so far."""
        self._sums: list[np.ndarray] = []
        self._open = 0.0  # the partial sum that the next block continues

    def add(self, block: np.ndarray) -> None:
        """block: (channel, sample)."""
        if not block.shape[1]:
            return
        self.peak = max(self.peak, float(np.abs(block).max()))
        squares = np.square(block, dtype=np.float64).mean(axis=0)
        filled = self.samples % self.length
        starts = np.arange(-filled, len(squares), self.length)
        sums = np.add.reduceat(squares, np.maximum(starts, 0))
        sums[0] += self._open
        self.samples += len(squares)
        whole = self.samples % self.length == 0
        self._open = 0.0 if whole else float(sums[-1])
        self._sums.append(sums if whole else sums[:-1])

    @property
    def power(self) -> np.ndarray:
        """(level,) mean square over `LEVEL_S` and all channels; a last, shorter one is over its own samples."""
        rest = self.samples % self.length
        sums = np.concatenate([*self._sums, [self._open]] if rest else self._sums or [np.zeros(0)])
        counts = np.full(len(sums), float(self.length))
        if rest:
            counts[-1] = rest
        return sums / counts


def power_to_db(power: np.ndarray | float) -> np.ndarray:
    """`10 log10(power)`, with -200 dB for zero."""
    return 10.0 * np.log10(np.maximum(power, 1e-20))


def db_to_power(level_db: np.ndarray | float) -> np.ndarray:
    """The inverse of `power_to_db`."""
    return np.power(10.0, np.asarray(level_db) / 10.0)


def active_frames(frame_power: np.ndarray) -> np.ndarray:
    """Which frames of a stem are active: (frame,) flags, all false if it is silent.

    frame_power: (frame,) mean squares.
    """
    level_db = power_to_db(frame_power)
    audible = level_db > SILENCE_DB
    if not audible.any():
        return audible
    loud_db = float(np.quantile(level_db[audible], _LOUD_QUANTILE))
    return audible & (level_db > loud_db - ACTIVE_RANGE_DB)
