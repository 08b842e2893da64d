"""Whether a song's mixture is the sum of its stems, and if not, why.

The mixture m is fitted by least squares with a gain for each stem, m = sum_i g_i s_i + residual, from the inner
products of all signals, which are summed block by block. Where the residual is large, each of these is tried:

- a stem is late: the whitened cross-correlation of mixture and stem has its peak at another lag, and with the stem
  moved there the residual falls;
- a stem is not in the mixture: its gain is about 0;
- the mixture was mastered (compressed, limited, equalised, coded with loss): in small tiles of time and frequency it is
  still a multiple of the fitted sum, but for a small share of its power;
- otherwise the mixture holds something that is in no stem.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.fft

from restem.audio.level import power_to_db
from restem.auditing.fingerprints import RATE_HZ

Verdict = Literal["exact", "gain", "mastered", "missing", "foreign", "late", "none"]

# The thresholds are tried by `benchmarks/audit.py`.
_EXACT_DB = -45.0
_SAME_GAIN = 0.012  # 0.1 dB
_ABSENT_GAIN = 0.1
_LATE_FALL_DB = 6.0
_MIN_LAG_S = 0.0005
_PEAK_RATIO = 1.3  # of a lag's peak to that at lag 0
_DEAD_POWER = 1e-9
_TILE_UNLIKE = 0.5  # of a tile's power is not explained by the sum
_MASTERED_SHARE = 0.006  # of the power may be unexplained in such tiles


@dataclass(frozen=True)
class MixtureFit:
    """What became of a mixture: the verdict, the residual in dB of the mixture, and a gain for each stem.

    absent: the stems that are not in it. delays: each late stem, and by how many samples. dead: the channels, from 0,
    in which the mixture is silent and its stems are not.
    """

    verdict: Verdict
    residual_db: float
    gains: tuple[float, ...]
    absent: tuple[int, ...] = ()
    delays: tuple[tuple[int, int], ...] = ()
    dead: tuple[int, ...] = ()


class InnerProducts:
    """Sums the inner products of all signals of a song, the mixture last, for each channel."""

    def __init__(self, signals: int, channels: int) -> None:
        self.total = np.zeros((channels, signals, signals))

    def add(self, blocks: np.ndarray) -> None:
        """blocks: (signal, channel, sample)."""
        exact = blocks.astype(np.float64).transpose(1, 0, 2)
        self.total += exact @ exact.transpose(0, 2, 1)


def fit_mixture(products: np.ndarray, tracks: Sequence[np.ndarray], excerpts: np.ndarray, rate_hz: int) -> MixtureFit:
    """The verdict on a mixture.

    products: (channel, signal, signal) inner products, the mixture last. tracks: every signal in mono at `RATE_HZ`.
    excerpts: (signal, block, sample) stretches of every signal in mono at `rate_hz`.
    """
    dead = _dead_channels(products)
    live = [channel for channel in range(len(products)) if channel not in dead]
    pooled = products[live].sum(axis=0)
    gains, residual_db = _least_squares(pooled)
    silent = np.diagonal(pooled)[:-1] <= 1e-9 * pooled[-1, -1]
    absent = tuple(np.flatnonzero((np.abs(gains) < _ABSENT_GAIN) & ~silent).tolist())

    def fit(verdict: Verdict, delays: tuple[tuple[int, int], ...] = (), **more: tuple[int, ...]) -> MixtureFit:
        return MixtureFit(verdict, residual_db, tuple(gains.tolist()), delays=delays, dead=dead, **more)

    if residual_db <= _EXACT_DB:
        if absent:
            return fit("foreign", absent=absent)
        off = np.abs(gains[~silent] - 1.0) > _SAME_GAIN
        return fit("gain" if off.any() else "exact")
    if delays := _delays(tracks, silent, rate_hz):
        return fit("late", delays)
    if absent:
        return fit("foreign", absent=absent)
    return fit("mastered" if _is_mastered(excerpts, gains) else "missing")


def _dead_channels(products: np.ndarray) -> tuple[int, ...]:
    """The channels in which the mixture is silent, where its stems and another channel are not."""
    mixture = products[:, -1, -1]
    stems = np.trace(products[:, :-1, :-1], axis1=1, axis2=2)
    dead = (mixture <= _DEAD_POWER * mixture.max()) & (stems > 1e-4 * stems.max())
    return tuple(np.flatnonzero(dead).tolist())


def _least_squares(products: np.ndarray) -> tuple[np.ndarray, float]:
    gram, target = products[:-1, :-1], products[:-1, -1]
    # Scaled, so that a quiet stem counts as much in the pseudo-inverse.
    scale = np.sqrt(np.maximum(np.diagonal(gram), 1e-12 * max(products[-1, -1], 1e-30)))
    inverse = np.linalg.pinv(gram / np.outer(scale, scale), rcond=1e-9, hermitian=True)
    gains = inverse @ (target / scale) / scale
    return gains, _residual_db(products, gains)


def _residual_db(products: np.ndarray, gains: np.ndarray) -> float:
    weights = np.concatenate([-gains, [1.0]])
    power = products[-1, -1]
    return float(power_to_db(max(0.0, float(weights @ products @ weights)) / power)) if power > 0 else -200.0


def _delays(tracks: Sequence[np.ndarray], silent: np.ndarray, rate_hz: int) -> tuple[tuple[int, int], ...]:
    """Each late stem and by how many samples at `rate_hz`; none unless that explains the residual."""
    length = max(map(len, tracks))
    size = scipy.fft.next_fast_len(2 * length, real=True)
    spectra = [scipy.fft.rfft(track, size) for track in tracks]
    lags = []
    for stem, spectrum in enumerate(spectra[:-1]):
        cross = np.conj(spectra[-1]) * spectrum
        # A stem whose channels cancel is silent in mono.
        if silent[stem] or not cross.any():
            lags.append(0)
            continue
        cross /= np.sqrt(np.abs(cross) * np.abs(spectrum)) + 1e-9 * np.abs(cross).max()
        peaks = np.abs(scipy.fft.irfft(cross, size))
        lag = int(np.argmax(peaks))
        near = round(_MIN_LAG_S * RATE_HZ)
        at_zero = max(peaks[: near + 1].max(), peaks[-near:].max())
        lag = lag - size if lag > size // 2 else lag
        lags.append(lag if peaks[lag] > _PEAK_RATIO * at_zero else 0)
    if not any(lags):
        return ()
    before = _fit_db(spectra, [0.0] * len(lags))
    samples = [0 if lag == 0 else round(lag * rate_hz / RATE_HZ) for lag in lags]
    for stem in np.flatnonzero(lags).tolist():
        # The lag is known to half a sample at RATE_HZ, which is several at the file's rate.
        reach = -(-rate_hz // RATE_HZ)
        choices = range(samples[stem] - reach, samples[stem] + reach + 1)

        def moved(choice: int, stem: int = stem) -> float:
            trial = [*samples[:stem], choice, *samples[stem + 1 :]]
            return _fit_db(spectra, [one * RATE_HZ / rate_hz for one in trial])

        samples[stem] = min(choices, key=moved)
    after = _fit_db(spectra, [one * RATE_HZ / rate_hz for one in samples])
    if after > before - _LATE_FALL_DB:
        return ()
    return tuple((stem, delay) for stem, delay in enumerate(samples) if delay)


def _fit_db(spectra: Sequence[np.ndarray], delays: Sequence[float]) -> float:
    """The residual in dB with every stem moved back by a number of samples at `RATE_HZ`, below 5 kHz."""
    bins = len(spectra[0])
    used = slice(0, bins * 5 // 6, 7)  # a sample of the bins is enough
    phase = 1j * np.pi * np.arange(bins)[used] / (bins - 1)
    moved = [
        spectrum[used] * np.exp(phase * delay) if delay else spectrum[used]
        for spectrum, delay in zip(spectra, [*delays, 0.0], strict=True)
    ]
    signals = np.stack(moved)
    return _least_squares(np.real(signals @ np.conj(signals.T)).astype(np.float64))[1]


def _is_mastered(excerpts: np.ndarray, gains: np.ndarray) -> bool:
    """Whether the mixture is a multiple of the fitted sum in tiles of 12 frames and a third of an octave.

    Distortion is as loud as the sum only in tiles that are quiet; a sound of its own, in tiles that are loud.
    """
    frame, frames_of_tile = 2048, 12
    window = np.hanning(frame).astype(np.float32)
    total = np.tensordot(gains.astype(np.float32), excerpts[:-1], 1)
    spectra = []
    for signal in (excerpts[-1], total):
        frames = np.lib.stride_tricks.sliding_window_view(signal, frame, axis=1)[:, :: frame // 2]
        whole = frames.shape[1] // frames_of_tile * frames_of_tile
        cells = scipy.fft.rfft(frames[:, :whole] * window, axis=2)
        spectra.append(cells.reshape(-1, frames_of_tile, cells.shape[2]))
    edges = np.unique(np.geomspace(4, frame // 2, 26).astype(int))

    def tiled(cells: np.ndarray) -> np.ndarray:
        return np.add.reduceat(cells.sum(axis=1), edges, axis=1)[:, :-1]

    mixture, fitted = spectra
    power = tiled(np.abs(mixture) ** 2)
    other = tiled(np.abs(fitted) ** 2)
    both = np.abs(tiled(mixture * np.conj(fitted))) ** 2
    unlike = 1.0 - both / np.maximum(power * other, 1e-30)
    unexplained = (power * unlike)[unlike > _TILE_UNLIKE].sum()
    return bool(unexplained < _MASTERED_SHARE * power.sum())
