"""Damage that shows in the samples of one stem: clipping, dead channels, opposite phase, a constant offset.

A `DamageMeter` takes a stem block by block, and keeps a few numbers a block. Levels are in dB of full scale.
"""

from __future__ import annotations

import numpy as np

from restem.audio.level import db_to_power, power_to_db
from restem.auditing.findings import Finding

# The thresholds are tried by `benchmarks/audit.py`.
_FLAT = 6e-5  # 2 steps of 16 bits: within this, samples are equal
_STEEP = 4.0 * _FLAT  # what the sample before a cut-off peak is lower by, at least
_FLAT_SAMPLES = 3
_CLIP_REACH = 0.98  # of the largest sample: where peaks are cut off
_MIN_CLIPS = 8

_DEAD_POWER = float(db_to_power(-90.0))
_LIVE_POWER = float(db_to_power(-60.0))
_MIN_DEAD_S = 2.0
_MAX_PHASE = -0.85  # correlation of two channels
_MIN_DC = 0.003  # of full scale
_MIN_DC_SHARE = 0.05  # of the stem's level


class DamageMeter:
    """Measures one stem; `add` its blocks, then read `findings`."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._rate_hz = rate_hz
        self._channels = channels
        self.samples = 0
        """Of one channel, so far."""
        self._lengths: list[int] = []
        self._powers: list[np.ndarray] = []
        self._means: list[np.ndarray] = []
        self._products: list[float] = []
        self._peak = 0.0
        self._clips: list[tuple[np.ndarray, np.ndarray]] = []
        self._before = np.zeros((channels, _FLAT_SAMPLES + 1), np.float32)

    def add(self, block: np.ndarray) -> None:
        """block: (channel, sample)."""
        self._lengths.append(block.shape[1])
        products = (block @ block.T).astype(np.float64) / block.shape[1]
        self._powers.append(np.diagonal(products))
        self._means.append(block.mean(axis=1).astype(np.float64))
        self._products.append(float(products[0, 1]) if self._channels == 2 else 0.0)
        self._peak = max(self._peak, float(block.max()), -float(block.min()))
        self._find_clips(block)
        self.samples += block.shape[1]

    def _find_clips(self, block: np.ndarray) -> None:
        """Notes where a steep rise ends in at least `_FLAT_SAMPLES` equal samples, near the largest sample so far."""
        held = np.concatenate((self._before, block), axis=1)
        self._before = held[:, -(_FLAT_SAMPLES + 1) :]
        # Only a few samples are near the peak, so all else is asked of them alone.
        size = np.abs(held)
        near = size[:, 1 : 1 - _FLAT_SAMPLES] >= max(_CLIP_REACH * self._peak, _FLAT)
        channel, at = np.divmod(np.flatnonzero(near), near.shape[1])
        steep = size[channel, at + 1] - size[channel, at] > _STEEP
        channel, at = channel[steep], at[steep]
        top = held[channel, at + 1]
        for more in range(2, _FLAT_SAMPLES + 1):
            kept = np.abs(held[channel, at + more] - top) <= _FLAT
            channel, at, top = channel[kept], at[kept], top[kept]
        if len(at):
            self._clips.append((self.samples + at - _FLAT_SAMPLES, np.abs(top)))

    @property
    def power(self) -> np.ndarray:
        """(channel,) mean square of the whole stem."""
        return np.average(self._powers, axis=0, weights=self._lengths)

    @property
    def silent(self) -> bool:
        return bool(self.power.max() <= _DEAD_POWER)

    @property
    def correlation(self) -> float:
        """Of the two channels of a stereo stem, the offset included; 0 where one is silent, or there are not two."""
        power = self.power
        if self._channels != 2 or power.min() <= _DEAD_POWER:
            return 0.0
        return float(np.average(self._products, weights=self._lengths) / np.sqrt(power.prod()))

    @property
    def out_of_phase(self) -> bool:
        """Whether the channels cancel in mono."""
        return not self.silent and self.correlation <= _MAX_PHASE

    def findings(self, song: str, stem: str) -> list[Finding]:
        """What is wrong, in the order of the kinds; a silent stem has nothing wrong with it."""
        if self.silent:
            return []
        found = [self._clipped(song, stem), self._dead(song, stem), self._phase(song, stem), self._offset(song, stem)]
        return [one for one in found if one is not None]

    def _clipped(self, song: str, stem: str) -> Finding | None:
        at = [places[tops >= _CLIP_REACH * self._peak] for places, tops in self._clips]
        places = np.concatenate(at) if at else np.zeros(0)
        if len(places) < _MIN_CLIPS:
            return None
        first, last = float(places.min()) / self._rate_hz, float(places.max()) / self._rate_hz
        level = float(power_to_db(self._peak**2))
        message = f"{len(places):,} peaks are cut off at {level:.1f} dB"
        return Finding(song, stem, "clipped", float(len(places)), "peaks", message, max(0.0, first), last)

    def _dead(self, song: str, stem: str) -> Finding | None:
        """A channel without signal for a stretch in which another one has some."""
        if self._channels < 2:
            return None
        power = np.stack(self._powers)
        live = power.max(axis=1) > _LIVE_POWER
        ends_s = np.cumsum(self._lengths) / self._rate_hz
        starts_s = ends_s - np.asarray(self._lengths) / self._rate_hz
        for channel in range(self._channels):
            dead = live & (power[:, channel] <= _DEAD_POWER)
            # A stretch goes on over blocks in which all channels are silent.
            stretch = _longest(dead, live & ~dead)
            if stretch is None:
                continue
            first, last = stretch
            if ends_s[last] - starts_s[first] >= min(_MIN_DEAD_S, 0.5 * ends_s[-1]):
                whole = not (live & ~dead).any()
                message = f"channel {channel + 1} of {self._channels} is silent" + ("" if whole else " for a stretch")
                place = (None, None) if whole else (float(starts_s[first]), float(ends_s[last]))
                level = float(power_to_db(power[:, channel].max()))
                return Finding(song, stem, "dead_channel", level, "dB", message, *place)
        return None

    def _phase(self, song: str, stem: str) -> Finding | None:
        if not self.out_of_phase:
            return None
        message = f"the channels are opposite (correlation {self.correlation:.2f}), and cancel in mono"
        return Finding(song, stem, "out_of_phase", self.correlation, "1", message)

    def _offset(self, song: str, stem: str) -> Finding | None:
        # The median over time, because one bass note may end in the middle of a block.
        offsets = np.median(np.stack(self._means), axis=0)
        channel = int(np.argmax(np.abs(offsets)))
        offset = float(offsets[channel])
        if abs(offset) < max(_MIN_DC, _MIN_DC_SHARE * float(np.sqrt(self.power[channel]))):
            return None
        return Finding(song, stem, "dc", offset, "1", f"the samples are off zero by {offset:.4f} of full scale")


def _longest(wanted: np.ndarray, ends: np.ndarray) -> tuple[int, int] | None:
    """The first and the last index of the longest stretch of `wanted` without any of `ends`."""
    best: tuple[int, int] | None = None
    first = last = None
    for index, (want, end) in enumerate(zip(wanted.tolist(), ends.tolist(), strict=True)):
        if end:
            first = None
        elif want:
            first = index if first is None else first
            last = index
            if best is None or last - first > best[1] - best[0]:
                best = first, last
    return best


def short_stems(song: str, seconds: dict[str, float]) -> list[Finding]:
    """Stems that end before the others. seconds: the duration of every stem of a song.

    The length that most stems have counts, to within `_SAME_LENGTH_S`; of two equally frequent ones the longer.
    """
    if len(seconds) < 2:
        return []

    def agreeing(length: float) -> int:
        return sum(abs(other - length) <= _SAME_LENGTH_S for other in seconds.values())

    usual = max(seconds.values(), key=lambda length: (agreeing(length), length))
    found = []
    for stem, length in seconds.items():
        if usual - length > _SAME_LENGTH_S:
            missing = usual - length
            message = f"ends {missing:.2f} s before the other stems, at {length:.2f} s"
            found.append(Finding(song, stem, "short", missing, "s", message, length, usual))
    return found


_SAME_LENGTH_S = 0.12  # lossy formats add padding
