"""Which segments of a stem an encoder hears, and the windows of sound it is given for each.

Segments lie on a grid, as those of restem's own classifier do. Of those that sound, at most so many are taken, spread
over the stem; silence is never embedded. An encoder whose window is shorter than a segment hears several in each,
which overlap by half; one whose window is longer hears the segment in the middle of what surrounds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from restem.audio.level import LevelMeter, active_frames, power_to_db
from restem.errors import UsageError

_ROUNDING = 1e-6
"""A smaller share of a segment is none: it comes from differences of long sums."""


@dataclass(frozen=True)
class EmbeddingSettings:
    """Which segments are embedded, and how they are kept.

    segment_s: length of a segment. hop_s: from the start of one to the next. at_most: segments of a stem. active_share:
    a segment counts when the stem sounds for this share of it; in a stem without any such, those count in which it
    sounds at all. active_db: if given, a stem is brought to this level, of its sounding parts, before an encoder hears
    it. precision: of the numbers that are kept.
    """

    segment_s: float = 3.0
    hop_s: float = 3.0
    at_most: int = 20
    active_share: float = 0.25
    active_db: float | None = None
    precision: Literal["float16", "float32"] = "float16"

    def __post_init__(self) -> None:
        for name in ("segment_s", "hop_s", "at_most"):
            if not getattr(self, name) > 0:
                raise UsageError(f"`{name}` must be more than 0, not {getattr(self, name)}.")


@dataclass(frozen=True, eq=False)
class Stretches:
    """The chosen segments of a stem.

    start: (segment,) samples. length: samples of each, less in a stem that is shorter. level_db: (segment,) mean level.
    gain: what brings the stem to the level that the settings ask for.
    """

    start: np.ndarray
    length: int
    level_db: np.ndarray
    gain: float


def choose(samples: np.ndarray, rate_hz: int, settings: EmbeddingSettings) -> Stretches:
    """The segments to embed of a stem. samples: (sample,), mono."""
    meter = LevelMeter(rate_hz)
    meter.add(samples[None])
    power = meter.power
    sounding = active_frames(power)
    length = min(round(settings.segment_s * rate_hz), len(samples))
    start = _grid(len(samples), length, max(1, round(settings.hop_s * rate_hz)))
    share, mean = (_over(values, start, length, meter.length) for values in (sounding, power))
    found = np.flatnonzero(share >= settings.active_share)
    if not len(found):
        found = np.flatnonzero(share > _ROUNDING)
    if len(found) > settings.at_most:
        found = found[((np.arange(settings.at_most) + 0.5) * len(found) / settings.at_most).astype(np.int64)]
    gain = 1.0
    if settings.active_db is not None and sounding.any():
        gain = float(10.0 ** ((settings.active_db - power_to_db(power[sounding].mean())) / 20.0))
    return Stretches(start[found], length, power_to_db(mean[found]), gain)


def _grid(samples: int, length: int, hop: int) -> np.ndarray:
    """Starts of segments, the last of which ends with the stem."""
    start = np.arange(0, max(1, samples - length + 1), hop)
    if start[-1] + length < samples:
        start = np.append(start, samples - length)
    return start


def _over(values: np.ndarray, start: np.ndarray, length: int, step: int) -> np.ndarray:
    """The mean of `values`, one every `step` samples, over each segment."""
    summed = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))
    grid = np.arange(len(summed)) * step
    total = np.interp(start + length, grid, summed) - np.interp(start, grid, summed)
    return np.maximum(total, 0.0) * step / max(1, length)


def windows_per_segment(settings: EmbeddingSettings, rate_hz: int, window: int) -> int:
    """How many windows of `window` samples an encoder hears of each segment."""
    length = round(settings.segment_s * rate_hz)
    return 1 + max(0, 2 * (length - window) // window)


def cut(samples: np.ndarray, stretches: Stretches, windows: int, window: int) -> np.ndarray:
    """The windows of all segments, (segment, window, sample) float32.

    Within a segment they are spaced evenly from its start to its end. Where the stem is too short for a window, it is
    repeated until it fills one.
    """
    if len(samples) < window:
        samples = np.resize(samples, window)
    room = stretches.length - window
    offsets = np.round(np.linspace(0, room, windows)) if room > 0 and windows > 1 else np.full(windows, round(room / 2))
    first = stretches.start[:, None] + offsets.astype(np.int64)
    first = np.clip(first, 0, len(samples) - window)
    return (samples[first[..., None] + np.arange(window)] * stretches.gain).astype(np.float32)
