"""Acoustic fingerprints: 32 bits for every 20 ms, which a copy of a recording shares with it.

After Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System", ISMIR 2002. With L[n, m] the log power of
frame n in band m, bit m of frame n says whether

    (L[n + 2, m + 1] - L[n - 2, m + 1]) - (L[n + 2, m] - L[n - 2, m]) > 0.15

Logarithms instead of the paper's powers make it independent of an equaliser, as the difference in time removes the gain
of a band, and the difference between bands one that changes with time.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy.fft

RATE_HZ = 12000
"""The rate at which stems are compared: all bands lie below 5.5 kHz."""

HOP_S = 0.02
_HOP = round(HOP_S * RATE_HZ)
_FRAME = 1024  # 85 ms: a copy that is shifted by half a hop still sees nearly the same sound
_BITS = 32
_LOW_HZ, _HIGH_HZ = 60.0, 5500.0
_STEP = 2  # frames between which the change in time is taken, to both sides

# What lies this far below a band's loud frames, or below the loudest band, is not compared: it is noise, or what a
# lossy format leaves out.
_BAND_RANGE_DB = 40.0
_TOTAL_RANGE_DB = 45.0

# A bit is set where the difference is larger than this, in nepers of power: noise and coding make smaller ones.
_MARGIN = 0.15

# A frame is compared where the stem is at most this far below its loud frames.
_ACTIVE_RANGE_DB = 35.0
_LOUD_QUANTILE = 0.95
_SILENT_POWER = 1e-9  # of a frame: -90 dB


def heard(samples: np.ndarray, out_of_phase: bool) -> np.ndarray:
    """(sample,) What is looked at of a stem: the mean of its channels, or the first one where they cancel.

    samples: (channel, sample). out_of_phase: of the whole stem, so that all parts of it are treated alike.
    """
    return np.asarray(samples[0] if out_of_phase else samples.mean(axis=0))


def fingerprint(track: np.ndarray) -> np.ndarray:
    """The sub-fingerprints of a mono stem, (frame,) uint32; 0 where it is not active.

    track: (sample,) at `RATE_HZ`. Frame i begins at `i * HOP_S`.
    """
    power = _band_power(track)
    total = power.sum(axis=1)
    audible = total > _SILENT_POWER
    if np.count_nonzero(audible) < 2 * _STEP + 1:
        return np.zeros(len(power), np.uint32)
    loud = np.quantile(total[audible], _LOUD_QUANTILE)
    band_loud = np.quantile(power[audible], _LOUD_QUANTILE, axis=0)
    floor = np.maximum(
        band_loud * 10.0 ** (-_BAND_RANGE_DB / 10.0), band_loud.max() * 10.0 ** (-_TOTAL_RANGE_DB / 10.0)
    )
    level = np.log(power + floor)
    change = np.zeros_like(level)
    change[_STEP:-_STEP] = level[2 * _STEP :] - level[: -2 * _STEP]
    bits = np.diff(change, axis=1) > _MARGIN
    codes = np.packbits(bits, axis=1, bitorder="little").view("<u4")[:, 0].astype(np.uint32)
    active = audible & (total > loud * 10.0 ** (-_ACTIVE_RANGE_DB / 10.0))
    active[:_STEP] = active[-_STEP:] = False
    codes[~active] = 0
    return codes


def _band_power(track: np.ndarray) -> np.ndarray:
    """(frame, band) mean squares in `_BITS + 1` bands that are equally wide on the mel scale."""
    padded = np.pad(track.astype(np.float32, copy=False), (0, _FRAME))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[: len(track) : _HOP]
    window, weights = _window(), _weights()
    parts = []
    for start in range(0, len(frames), 1024):
        spectrum = scipy.fft.rfft(frames[start : start + 1024] * window, axis=1)
        parts.append((spectrum.real**2 + spectrum.imag**2) @ weights)
    return np.concatenate(parts)


@cache
def _window() -> np.ndarray:
    window = np.hanning(_FRAME + 1)[:-1]
    return (window / np.sqrt(_FRAME * np.sum(window**2) / 2.0)).astype(np.float32)


@cache
def _weights() -> np.ndarray:
    """(bin, band) triangles between frequencies that are equally spaced on the mel scale."""
    mel = np.linspace(np.log1p(_LOW_HZ / 700.0), np.log1p(_HIGH_HZ / 700.0), _BITS + 3)
    edges = 700.0 * np.expm1(mel)
    frequencies = np.arange(_FRAME // 2 + 1) * RATE_HZ / _FRAME
    rising = (frequencies[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies[:, None]) / (edges[2:] - edges[1:-1])
    return np.clip(np.minimum(rising, falling), 0.0, 1.0).astype(np.float32)
