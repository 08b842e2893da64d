"""Levels: what is silent, and which frames of a stem are active.

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


def power_to_db(power: np.ndarray | float) -> np.ndarray:
    """`10 log10(power)`, with -200 dB for zero."""
    return 10.0 * np.log10(np.maximum(power, 1e-20))


def db_to_power(level_db: np.ndarray | float) -> np.ndarray:
    """The inverse of `power_to_db`."""
    return np.power(10.0, np.asarray(level_db) / 10.0)


def active_frames(frame_power: np.ndarray) -> np.ndarray:
    """Which frames of a stem are active. frame_power: (frame,) mean squares. Returns (frame,) flags, none if silent."""
    level_db = power_to_db(frame_power)
    audible = level_db > SILENCE_DB
    if not audible.any():
        return audible
    loud_db = float(np.quantile(level_db[audible], _LOUD_QUANTILE))
    return audible & (level_db > loud_db - ACTIVE_RANGE_DB)
