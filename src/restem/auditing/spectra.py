"""What the spectrum of a stem says: a sharp upper edge, steady noise or hum under it, or nothing but these.

Steady Gaussian noise is recognised by how its power is spread over time: the power of a bin of its spectrum follows an
exponential law, so that the quantiles of each bin have fixed ratios,

    q(p) = -ln(1 - p) * mean,   q(0.2) / q(0.05) = 4.35 (6.4 dB).

Music that decays or stops is spread wider, a held note less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import median_filter, uniform_filter1d

from restem.audio.level import power_to_db
from restem.auditing.findings import Finding

_FRAME = 4096

# The thresholds are tried by `benchmarks/audit.py`.
_LOW_QUANTILE, _HIGH_QUANTILE = 0.05, 0.2
_STEADY_DB = (5.7, 7.6)  # the median over the bins of what is 6.4 dB in theory
_FRAMES_DB = 24.0  # over the number of frames: what it may be more or less
_NOISE_BANDS = 8
_LEAST_FRAMES = 20
_NOISE_BAND_HZ = (400.0, 10000.0)
_LEAST_BIN = 2  # what is below is an offset of the samples
_MIN_NOISE_DB = -75.0  # of full scale
_MAX_NOISE_RANGE_DB = 40.0  # noise further below the stem's level is not named

_EDGE_HZ = (5000.0, 19200.0)
_EDGE_DB = 28.0
_EDGE_WIDTH_HZ = 500.0

_MAINS_HZ = (50.0, 60.0)
_HUM_HARMONICS = 4
_HUM_PROMINENCE_DB = 15.0
_HUM_STEADY_DB = 6.0
_HUM_BLOCKS = 5
_MAX_HUM_RANGE_DB = 50.0

_FOREIGN_SHARE = 0.5  # of the power
_FLOOR_DB = -58.0
_CLICK_SHARE = 0.92  # of the power lies in
_CLICK_SAMPLES = 0.004  # so many of the samples


@dataclass(frozen=True)
class Steady:
    """The power of steady noise and of hum in a stem, and of all of it; mean squares. mains_hz: of the hum, or 0."""

    noise: float
    hum: float
    mains_hz: float
    total: float


def spectral_findings(song: str, stem: str, blocks: np.ndarray, rate_hz: int, level_db: float) -> list[Finding]:
    """What is wrong with the spectrum of a stem.

    blocks: (block, sample) mono stretches of the stem, without gaps in themselves. level_db: of the whole stem.
    """
    sounding = blocks[np.any(blocks != 0, axis=1)]
    if not len(sounding):
        return []
    power = _frame_power(sounding)
    steady = _steady(sounding, power, rate_hz)
    found = []
    if reason := _foreign_reason(sounding, steady, level_db):
        found.append(Finding(song, stem, "foreign", level_db, "dB", reason))
    if len(power) and (edge_hz := bandwidth_hz(power.mean(axis=0), rate_hz)) is not None:
        message = f"holds nothing above {edge_hz / 1000:.1f} kHz, where the spectrum ends in a sharp edge"
        found.append(Finding(song, stem, "lowpass", edge_hz / 1000, "kHz", message))
    if not found or found[0].kind != "foreign":
        found += _noise_findings(song, stem, steady)
    return found


def _noise_findings(song: str, stem: str, steady: Steady) -> list[Finding]:
    total_db = float(power_to_db(steady.total))
    found = []
    for power, range_db, name in (
        (steady.noise, _MAX_NOISE_RANGE_DB, "steady noise"),
        (steady.hum, _MAX_HUM_RANGE_DB, f"hum at {steady.mains_hz:.0f} Hz and its multiples"),
    ):
        level_db = float(power_to_db(power))
        if level_db > max(_MIN_NOISE_DB, total_db - range_db):
            message = f"{name} at {level_db:.0f} dB, {total_db - level_db:.0f} dB below the stem"
            found.append(Finding(song, stem, "noise", level_db, "dB", message))
    return found


def _foreign_reason(blocks: np.ndarray, steady: Steady, level_db: float) -> str:
    """Why a stem holds none of the classes; empty if it may hold one."""
    if level_db < _FLOOR_DB:
        return f"nothing but a noise floor at {level_db:.0f} dB"
    if steady.noise > _FOREIGN_SHARE * steady.total > 0:
        return "steady noise, and nothing else"
    if steady.hum > _FOREIGN_SHARE * steady.total > 0:
        return f"hum at {steady.mains_hz:.0f} Hz, and nothing else"
    squares = np.square(blocks).ravel()
    loudest = len(squares) - max(1, round(_CLICK_SAMPLES * len(squares)))
    if float(np.partition(squares, loudest)[loudest:].sum()) > _CLICK_SHARE * float(squares.sum()):
        return "clicks, and nothing else"
    return ""


def _frame_power(blocks: np.ndarray) -> np.ndarray:
    """(frame, bin): the mean square of a bin, without overlap between frames."""
    whole = blocks.shape[1] // _FRAME * _FRAME
    frames = blocks[:, :whole].reshape(-1, _FRAME)
    # What is exactly zero was never recorded, or lies beyond the end.
    frames = frames[np.count_nonzero(frames, axis=1) > _FRAME // 2]
    window = np.hanning(_FRAME + 1)[:-1].astype(np.float32)
    spectrum = scipy.fft.rfft(frames * window, axis=1)
    return (spectrum.real**2 + spectrum.imag**2) * np.float32(2.0 / (_FRAME * float(np.sum(window**2))))


def _steady(blocks: np.ndarray, power: np.ndarray, rate_hz: int) -> Steady:
    if not len(power):
        return Steady(0.0, 0.0, 0.0, 0.0)
    total = float(power.sum(axis=1).mean())
    hum, mains_hz = _hum(blocks, rate_hz)
    first, last = (round(hz * _FRAME / rate_hz) for hz in (_NOISE_BAND_HZ[0], min(_NOISE_BAND_HZ[1], 0.4 * rate_hz)))
    noise = _steady_power(power[:, first:last], _NOISE_BANDS)
    if noise:
        # Below and above, it counts only where nothing else is heard: a bass may have steady overtones.
        noise += _steady_power(power[:, _LEAST_BIN:first], 1) + _steady_power(power[:, last:], 1)
    return Steady(noise, hum, mains_hz, total)


def _steady_power(power: np.ndarray, bands: int) -> float:
    """The power of steady noise in some bins, (frame, bin); 0 unless each of so many bands of them is as spread.

    Cymbals and reverberation may be so in one band, but not in all.
    """
    frames = len(power)
    if frames < _LEAST_FRAMES:
        return 0.0
    low, high = np.quantile(power, (_LOW_QUANTILE, _HIGH_QUANTILE), axis=0, method="weibull")
    if not np.all(low > 0):
        return 0.0
    few_db, tolerance_db = _more_with_few(frames), _FRAMES_DB / frames
    spreads_db = [float(np.median(part)) - few_db for part in np.array_split(power_to_db(high / low), bands)]
    if min(spreads_db) <= _STEADY_DB[0] - tolerance_db or max(spreads_db) >= _STEADY_DB[1] + tolerance_db:
        return 0.0
    return float(low.sum()) / -np.log1p(-_LOW_QUANTILE)  # the quantile of an exponential law


def _more_with_few(frames: int) -> float:
    """By how many dB the quantiles of so few frames lie further apart than those of many, in the median.

    The k-th smallest value of an exponential law has about a gamma law of shape k, whose median is about k - 1/3.
    """
    low, high = (frames + 1) * np.array([_LOW_QUANTILE, _HIGH_QUANTILE])
    return float(power_to_db((1.0 - 1.0 / (3.0 * high)) / (1.0 - 1.0 / (3.0 * low))))


def _hum(blocks: np.ndarray, rate_hz: int) -> tuple[float, float]:
    """The power of lines at multiples of a mains frequency that never stop, and that frequency; zeros without any."""
    length = blocks.shape[1]
    if not np.any(blocks[-1, -length // 10 :]):
        blocks = blocks[:-1]  # the stem ends within it, and so does its hum
    if len(blocks) < _HUM_BLOCKS:
        return 0.0, 0.0
    window = np.hanning(length).astype(np.float32)
    last = round(600.0 * length / rate_hz)
    spectra = np.abs(scipy.fft.rfft(blocks * window, axis=1)[:, :last]) ** 2 * (
        2.0 / (length * float(np.sum(window**2)))
    )
    lowest, usual = spectra.min(axis=0), np.median(spectra, axis=0)
    floor = median_filter(lowest, size=max(3, round(20.0 * length / rate_hz)))
    half = max(1, round(0.7 * length / rate_hz))
    best = 0.0, 0.0
    for mains_hz in _MAINS_HZ:
        lines = []
        for harmonic in range(1, _HUM_HARMONICS + 1):
            centre = round(harmonic * mains_hz * length / rate_hz)
            around = slice(centre - half, centre + half + 1)
            peak = around.start + int(np.argmax(lowest[around]))
            prominent = lowest[peak] > floor[peak] * 10 ** (_HUM_PROMINENCE_DB / 10)
            if prominent and usual[peak] < lowest[peak] * 10 ** (_HUM_STEADY_DB / 10):
                lines.append(float(lowest[peak - 2 : peak + 3].sum()))
        if len(lines) >= 2 and sum(lines) > best[0]:
            best = sum(lines), mains_hz
    return best


def bandwidth_hz(spectrum: np.ndarray, rate_hz: int) -> float | None:
    """The frequency of a sharp edge above which a spectrum holds nothing; None where there is none.

    spectrum: (bin,) mean power.
    """
    width = rate_hz / 2 / (len(spectrum) - 1)
    smooth_db = power_to_db(uniform_filter1d(spectrum.astype(np.float64), max(1, round(150.0 / width))))
    gap, span = round(_EDGE_WIDTH_HZ / 2 / width), round(800.0 / width)
    highest = min(_EDGE_HZ[1], 0.44 * rate_hz)
    centres = np.arange(round(_EDGE_HZ[0] / width), round(highest / width))
    if not len(centres):
        return None
    # Of each centre the loudest bin above it, and the quietest one of the span below it.
    above_db = np.maximum.accumulate(smooth_db[::-1])[::-1][centres + gap]
    below_db = sliding_window_view(smooth_db, span).min(axis=1)[np.maximum(0, centres - gap - span)]
    drops_db = below_db - above_db
    # Far below the loudest bin, an edge is that of the quantiser.
    drops_db[below_db <= float(smooth_db.max()) - 80.0] = 0.0
    best = int(np.argmax(drops_db))
    return float(centres[best] * width) if drops_db[best] >= _EDGE_DB else None
