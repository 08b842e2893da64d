"""What a sound may have been through, as operations on mel power: none of them changes what is playing.

They make the songs of a training more varied than they are. Each takes power (segment, frame, band), in place or anew,
and is a rough likeness of the effect it is named after, not a simulation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restem.audio.level import db_to_power

# Uniform numbers that the effects of one segment use.
DRAWS = 14

_MUTED = 1e-6


@dataclass(frozen=True)
class EffectSettings:
    """How often a segment goes through each effect.

    compression: louder frames nearer to the others, or farther from them. reverberation: every frame decays into the
    next ones. distortion: every band spills into the higher ones. high_pass: nothing below some band. gap: a stretch
    of time is missing. notch: a range of bands is.
    """

    compression: float = 0.4
    reverberation: float = 0.35
    distortion: float = 0.25
    high_pass: float = 0.15
    gap: float = 0.3
    notch: float = 0.3


def apply_effects(power: np.ndarray, numbers: np.ndarray, settings: EffectSettings, hop_s: float) -> np.ndarray:
    """Power (segment, frame, band) after the effects that the uniform `numbers` (segment, DRAWS) choose."""
    length, bands = power.shape[1:]

    def chosen(column: int, share: float) -> np.ndarray:
        return np.flatnonzero(numbers[:, column] < share)

    if len(some := chosen(0, settings.compression)):
        power[some] = compress(power[some], 0.8 * numbers[some, 1] - 0.5)
    if len(some := chosen(2, settings.distortion)):
        power[some] = decay(power[some], 2, db_to_power(-2.0 - 8.0 * numbers[some, 3]), 0.3 * numbers[some, 4])
    if len(some := chosen(5, settings.reverberation)):
        decay_s = 0.1 * 15.0 ** numbers[some, 6]
        power[some] = decay(power[some], 1, db_to_power(-60.0 * hop_s / decay_s), 0.15 * numbers[some, 7] ** 2)
    if len(some := chosen(8, settings.high_pass)):
        below = np.arange(bands) < (0.12 * bands * numbers[some, 9])[:, None]
        power[some] *= np.where(below, _MUTED, 1.0).astype(np.float32)[:, None, :]
    if len(some := chosen(10, settings.gap)):
        inside = _stretches(numbers[some, 11], numbers[some, 10] / settings.gap, length, 0.35)
        power[some] *= np.where(inside, _MUTED, 1.0).astype(np.float32)[:, :, None]
    if len(some := chosen(12, settings.notch)):
        inside = _stretches(numbers[some, 13], numbers[some, 12] / settings.notch, bands, 0.12)
        power[some] *= np.where(inside, _MUTED, 1.0).astype(np.float32)[:, None, :]
    return power


def compress(power: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Every frame's level, relative to the segment's, is multiplied with `1 + slope` (segment,) in decibels.

    power: (segment, frame, band). Frames more than 60 dB below the mean stay as they are relative to one at -60 dB.
    """
    level = power.sum(axis=2, keepdims=True)
    relative = np.maximum(level / np.maximum(level.mean(axis=1, keepdims=True), 1e-20), 1e-6)
    return power * relative ** slope[:, None, None].astype(np.float32)


def decay(power: np.ndarray, axis: int, keep: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Adds to every place along `axis` (1: time, 2: bands) what the places before it left behind.

    keep: (segment,) the share that is left one place further. amount: (segment,) the share that is fed into it.
    """
    along = np.moveaxis(power, axis, 0)
    added = np.empty_like(along)
    left = np.zeros_like(along[0])
    keep, amount = (one.astype(np.float32)[:, None] for one in (keep, amount))
    for place in range(len(along)):
        added[place] = along[place] + amount * left
        left = keep * (left + along[place])
    return np.moveaxis(added, 0, axis)


def _stretches(where: np.ndarray, how_long: np.ndarray, size: int, longest: float) -> np.ndarray:
    """(segment, size) flags of one stretch each, of up to the share `longest` of the size. where, how_long: [0, 1)."""
    length = how_long * longest * size
    first = where * (size - length)
    places = np.arange(size)
    return (places >= first[:, None]) & (places < (first + length)[:, None])
