"""Mel power spectrograms on a grid in seconds and hertz that is the same for every sampling rate.

Frame `i` starts at `i * hop_s` and lasts `frame_s`; its spectrum is computed from the file's own samples, whatever
their rate, and is summed into mel bands whose edges are frequencies. A 44.1 kHz and a 48 kHz file are therefore on the
same grid without resampling.

Scaling: with a window `w` and the one-sided spectrum `X[k]` of a frame,

    power[band] = 2 / (nfft * sum(w^2)) * sum_k triangle_band(f_k) * |X[k]|^2

which is the share of the frame's mean square that falls into the band (Parseval), whatever the rate and the length of
the transform. The triangles sum to 1 between the first and the last centre, so the bands sum to the frame's mean square
within that range. Power of uncorrelated sounds adds, and so do these numbers: the mel power of a mixture is the sum of
its stems' mel powers, up to the cross terms of each frame (`benchmarks/mel_power_adds.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
import scipy.sparse


@dataclass(frozen=True)
class MelSettings:
    """The grid of frames and bands. low_hz, high_hz: the outer edges of the first and last triangle."""

    frame_s: float = 2048 / 44100
    hop_s: float = 0.02
    bands: int = 64
    low_hz: float = 30.0
    high_hz: float = 16000.0

    def frames_in(self, seconds: float) -> int:
        """The number of frames that start within `seconds`, at least one."""
        return max(1, round(seconds / self.hop_s))


def mel_power(blocks: Iterable[np.ndarray], rate_hz: int, settings: MelSettings) -> Iterator[np.ndarray]:
    """Mel power of a stream of `(channel, sample)` blocks, as `(frame, band)` float32 arrays.

    Channels are averaged in power, so opposite phases do not cancel. There is one frame per `hop_s` begun; the last
    frames are padded with zeros. Memory use is that of one block.
    """
    window, size = _window(rate_hz, settings.frame_s)
    weights = _sparse_weights(rate_hz, size, settings)
    length = len(window)
    hop = settings.hop_s * rate_hz
    held = None
    held_start = total = done = 0

    def transform(last: int) -> np.ndarray:
        """Mel power of the frames `done` to `last`, which the buffered samples cover."""
        assert held is not None
        starts = np.round(np.arange(done, last) * hop).astype(np.int64) - held_start
        power = np.zeros((last - done, weights.shape[1]), np.float32)
        for channel in held:
            frames = np.lib.stride_tricks.sliding_window_view(channel, length)[starts]
            frames *= window
            spectrum = scipy.fft.rfft(frames, size, overwrite_x=True)[:, : weights.shape[1]]
            power += spectrum.real**2
            power += spectrum.imag**2
        return (weights @ power.T).T / len(held)

    for block in blocks:
        held = block if held is None else np.concatenate((held, block), axis=1)
        total += block.shape[1]
        # Frame i is complete when round(i * hop) + length samples are there.
        ready = max(done, int((total - length + 0.5) / hop) if total >= length else 0)
        if ready > done:
            yield transform(ready)
            done = ready
            keep_from = round(done * hop)
            held = held[:, max(0, keep_from - held_start) :].copy()
            held_start = max(held_start, keep_from)
    if held is not None:
        last = max(1, int(np.ceil(total / hop - 1e-6)))
        if last > done:
            held = np.pad(held, ((0, 0), (0, length + 1)))
            yield transform(last)


@lru_cache(maxsize=16)
def _window(rate_hz: int, frame_s: float) -> tuple[np.ndarray, int]:
    """A Hann window of `frame_s`, and a fast FFT length for it."""
    length = max(2, round(frame_s * rate_hz))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    return window.astype(np.float32), scipy.fft.next_fast_len(length, real=True)


@lru_cache(maxsize=16)
def mel_weights(rate_hz: int, size: int, settings: MelSettings) -> np.ndarray:
    """The weight of each |X[k]|^2 of a `size`-point transform in each band, (size // 2 + 1, band) float32.

    Bands above the Nyquist frequency are zero. Mel scale: 2595 log10(1 + f / 700) (O'Shaughnessy).
    """
    edges_mel = np.linspace(_hz_to_mel(settings.low_hz), _hz_to_mel(settings.high_hz), settings.bands + 2)
    edges_hz = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    frequencies = np.arange(size // 2 + 1) * rate_hz / size
    lower, centre, upper = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (frequencies[:, None] - lower) / (centre - lower)
    falling = (upper - frequencies[:, None]) / (upper - centre)
    triangles = np.clip(np.minimum(rising, falling), 0.0, 1.0)
    window, _ = _window(rate_hz, settings.frame_s)
    scale = 2.0 / (size * float(np.sum(window.astype(np.float64) ** 2)))
    return (triangles * scale).astype(np.float32)


@lru_cache(maxsize=16)
def _sparse_weights(rate_hz: int, size: int, settings: MelSettings) -> scipy.sparse.csr_array:
    """`mel_weights` as a sparse (band, bin) matrix, without the bins above the last band.

    With two weights per bin it is as fast as a dense product, and it runs on one thread, so that worker processes do
    not compete for the cores.
    """
    weights = mel_weights(rate_hz, size, settings)
    used = np.flatnonzero(weights.any(axis=1))
    return scipy.sparse.csr_array(weights[: used[-1] + 1 if len(used) else 1].T)


def _hz_to_mel(frequency_hz: float) -> float:
    return float(2595.0 * np.log10(1.0 + frequency_hz / 700.0))
