"""How loud each stem of a song is inside another one, in dB, and how much later.

In a cell of a spectrogram (frame t, bin f), a stem X that holds its own source S and another stem Y, `gain` times and
`delay` later, has

    X / Y = gain exp(-2 pi i f delay) + S / Y.

Where S pauses, the ratio is the same in all cells; elsewhere its second term has any phase, and mean 0. So the mean of
the ratio is taken over the cells where Y is loud, with weights 1 / (|X / Y|^2 + scale^2), which small ratios dominate.
Its transform from frequency to time has a peak at the delay. With the delay known, the gain is the centre of the ratios
by Cauchy weights, 1 / (|X / Y - gain|^2 + scale^2).

That is the direct sound. Through a room, sound also arrives later, with any phase: the transform then holds more after
the peak than before it. What the ratios are away from their centre has an exponential law of squares where S pauses,

    |X / Y - gain|^2 ~ tail * Exp(1),

and is wider where it sounds. The mixture of both is fitted by expectation-maximisation, and the level of the bleed is
gain^2 + tail.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.special import expit

from restem.audio.level import power_to_db

_FRAME = 4096
_MOST_FRAMES = 320
_BAND_HZ = (80.0, 12000.0)

# The thresholds are tried by `benchmarks/audit.py`.
_LOUD_DB = 30.0  # below the loud cells of the other stem in the same bin
_SCALE_QUANTILE = 0.1  # of the ratios
_SOME_CELLS = 20_000  # of which it is taken
_REACH_S = 0.05
MIN_SURENESS = 9.0
MIN_BLEED_DB, MAX_BLEED_DB = -45.0, -3.0  # what is as loud as its source is no bleed but a copy
_ROUNDS = 8
_MIN_CELLS = 500
_NONE_DB = -200.0
_LONG_DELAY = 32  # samples; a shorter one hardly changes what lies in a frame

# What arrives later than the direct sound, in samples, and how much more of it there must be than of what comes
# earlier: without a room, 235 pairs of seeds 201 to 304 had up to 2.5 dB more, and 9 of 10 pairs in a room had more.
_LATER = slice(44, 1300)
_EARLIER = slice(-1300, -44)
_ROOM_DB = 2.5
_MOST_ROOM_DB = 10.0  # what is so much louder than the direct sound is another sound
_TAIL_ROUNDS = 40
_LEAST_SPREAD = 1.5  # of the logarithm of squares where the stem itself sounds


@dataclass(frozen=True)
class Bleed:
    """Stem `source` is heard in stem `target`: with a gain in dB, later by `delay` samples.

    sureness: the height of the peak over what the lags without bleed have, in their standard deviations. room_db: how
    much of the gain is owed to a room, beyond the direct sound.
    """

    target: int
    source: int
    gain_db: float
    delay: int
    sureness: float
    room_db: float = 0.0


def find_bleed(excerpts: np.ndarray, rate_hz: int) -> list[Bleed]:
    """The bleed between all pairs of stems, sure or not.

    excerpts: (stem, block, sample) stretches of all stems, in mono, at the same times.
    """
    low, high = _band(rate_hz)
    spectra = np.stack([_spectrum(signal)[:, low:high] for signal in excerpts])
    power = np.abs(spectra) ** 2
    loudest = power.max(axis=0)
    found = []
    for source, own in enumerate(power):
        frame, at = _loud_cells(own, loudest)
        if len(at) < _MIN_CELLS:
            continue
        below = spectra[source][frame, at]
        for target in range(len(excerpts)):
            if target == source:
                continue
            ratio = spectra[target][frame, at] / below
            delay, sureness = _peak(ratio, at + low, round(_REACH_S * rate_hz))
            if sureness > MIN_SURENESS / 2 and abs(delay) > _LONG_DELAY:
                # The same frames of the sound, now that it is known where they are.
                ratio = _spectrum(excerpts[target], delay)[:, low:high][frame, at] / below
            elif delay:
                ratio = ratio * np.exp(2j * np.pi * (at + low) * delay / _FRAME)
            gain = centre(ratio)
            room_db = _room_db(ratio, at + low, gain) if sureness > MIN_SURENESS / 2 else 0.0
            found.append(Bleed(target, source, _in_db(gain) + room_db, delay, sureness, room_db))
    return found


def levels_over_time(excerpts: np.ndarray, one: Bleed, rate_hz: int) -> list[float | None]:
    """How loud bleed is in each block, in dB; None where its source is too quiet to tell, -200 where there is none.

    excerpts: as in `find_bleed`.
    """
    levels: list[float | None] = []
    for block in range(excerpts.shape[1]):
        some = ratios(excerpts[:, block : block + 1], one.target, one.source, one.delay, rate_hz)
        direct_db = _in_db(centre(some)) if len(some) else None
        levels.append(direct_db + one.room_db if direct_db is not None and direct_db > _NONE_DB else direct_db)
    return levels


def ratios(excerpts: np.ndarray, target: int, source: int, delay: int, rate_hz: int) -> np.ndarray:
    """(cell,) what stem `target`, begun `delay` later, holds of stem `source` in the cells in which that one is loud.

    excerpts: as in `find_bleed`. Empty where there are too few such cells.
    """
    low, high = _band(rate_hz)
    spectra = [_spectrum(signal)[:, low:high] for signal in excerpts]
    power = np.abs(np.stack(spectra)) ** 2
    frame, at = _loud_cells(power[source], power.max(axis=0))
    if len(at) < _MIN_CELLS:
        return np.zeros(0, complex)
    return np.asarray(_spectrum(excerpts[target], delay)[:, low:high][frame, at] / spectra[source][frame, at])


def _band(rate_hz: int) -> tuple[int, int]:
    """The bins that are looked at."""
    return round(_BAND_HZ[0] * _FRAME / rate_hz), round(min(_BAND_HZ[1], 0.45 * rate_hz) * _FRAME / rate_hz)


def _loud_cells(own: np.ndarray, loudest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The frames and bins in which a stem is loud, and louder than the others. own, loudest: (frame, bin) powers."""
    usual = np.quantile(own, 0.95, axis=0)
    # Where another stem is louder, what is heard in this one may itself be bleed.
    heard = (own > np.maximum(usual * 10 ** (-_LOUD_DB / 10), own.max() * 1e-8)) & (own >= loudest)
    frame, at = np.nonzero(heard)
    return frame, at


def _spectrum(blocks: np.ndarray, delay: int = 0) -> np.ndarray:
    """(frame, bin): at most `_MOST_FRAMES` frames of the blocks, each begun `delay` samples later."""
    if delay:
        moved = np.zeros_like(blocks)
        if delay > 0:
            moved[:, :-delay] = blocks[:, delay:]
        else:
            moved[:, -delay:] = blocks[:, :delay]
        blocks = moved
    whole = blocks.shape[1] // _FRAME
    frames = blocks[:, : whole * _FRAME].reshape(-1, _FRAME)
    frames = frames[:: -(-len(frames) // _MOST_FRAMES)]
    return np.asarray(scipy.fft.rfft(frames * np.hanning(_FRAME).astype(np.float32), axis=1))


def _peak(ratio: np.ndarray, at: np.ndarray, reach: int) -> tuple[int, float]:
    """The delay in samples, up to `reach`, and the sureness of what the ratios of cells have in common.

    ratio: (cell,) complex. at: (cell,) the bin of each.
    """
    size = np.abs(ratio) ** 2
    if float(np.median(size)) < 1e-8:  # -80 dB: nothing is heard
        return 0, 0.0
    lags = scipy.fft.irfft(_over_bins(ratio / (size + _scale(size)), at), _FRAME)
    near = np.concatenate([lags[-reach:], lags[: reach + 1]])
    # The median is not moved by the peak itself; 0.6745 is that of a standard normal variable.
    deviation = float(np.median(np.abs(near))) / 0.6745
    best = int(np.argmax(near))
    return best - reach, float(near[best]) / max(deviation, 1e-20)


def _room_db(ratio: np.ndarray, at: np.ndarray, gain: float) -> float:
    """How much louder the bleed is than its direct sound, in dB; 0 where nothing shows that it came through a room.

    ratio: (cell,) complex, without the delay. at: (cell,) the bin of each. gain: of the direct sound.
    """
    if gain <= 0:
        return 0.0
    away = ratio - gain
    size = np.abs(away) ** 2
    transfer = _over_bins(away / (size + _scale(size)), at)
    lags = scipy.fft.irfft(transfer / np.sqrt(np.abs(transfer) + 1e-20), _FRAME) ** 2
    if power_to_db(lags[_LATER].mean() / lags[_EARLIER].mean()) < _ROOM_DB:
        return 0.0
    room_db = float(power_to_db(1.0 + _tail(size) / gain**2))
    return room_db if room_db <= _MOST_ROOM_DB else 0.0


def _tail(size: np.ndarray) -> float:
    """The mean of the part of the squares `size` that has an exponential law; the other part is wider and larger."""
    log_size = np.log(_some(size) + 1e-20)
    tail, centre_of_rest = np.quantile(log_size, (0.3, 0.8)).tolist()
    spread, share = max(1.0, float(log_size.std())), 0.5
    for _ in range(_TAIL_ROUNDS):
        in_tail = np.log(share) + (log_size - tail) - np.exp(np.minimum(log_size - tail, 50.0))
        in_rest = np.log(1.0 - share) - 0.5 * ((log_size - centre_of_rest) / spread) ** 2
        in_rest -= np.log(spread * np.sqrt(2.0 * np.pi))
        belongs = expit(in_tail - in_rest)
        share = float(np.clip(belongs.mean(), 0.02, 0.98))
        tail = float(np.log(np.average(np.exp(log_size), weights=belongs)))
        centre_of_rest = float(np.average(log_size, weights=1.0 - belongs))
        spread = max(_LEAST_SPREAD, float(np.sqrt(np.average((log_size - centre_of_rest) ** 2, weights=1.0 - belongs))))
    return float(np.exp(tail))


def _over_bins(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(bin,) the sums of the complex values of cells. at: (cell,) the bin of each."""
    bins = _FRAME // 2 + 1
    return np.asarray(np.bincount(at, values.real, bins) + 1j * np.bincount(at, values.imag, bins))


def _in_db(gain: float) -> float:
    """-200 where it is not positive."""
    return float(power_to_db(gain**2)) if gain > 0 else _NONE_DB


def centre(ratio: np.ndarray) -> float:
    """The centre of the ratios of cells, which is real: the gain of what they have in common."""
    gain, away = 0.0, np.abs(ratio) ** 2
    for _ in range(_ROUNDS):
        weight = 1.0 / (away + _scale(away))
        gain = float(np.sum(weight * ratio.real) / np.sum(weight))
        away = np.abs(ratio - gain) ** 2
    return gain


def _scale(size: np.ndarray) -> float:
    return max(float(np.quantile(_some(size), _SCALE_QUANTILE)), 1e-9)


def _some(size: np.ndarray) -> np.ndarray:
    """As many of them, evenly spread, as are enough to tell their distribution."""
    return size[:: -(-len(size) // _SOME_CELLS)]
