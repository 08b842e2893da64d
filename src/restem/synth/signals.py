"""The building blocks of every instrument: partials, wavetables, envelopes, time-varying filters.

Arrays are mono, `(sample,)`, unless a docstring says otherwise. Nothing here draws from a global
random state: what is random takes a `numpy.random.Generator`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

Array = npt.NDArray[Any]
Generator = np.random.Generator

TABLE_SIZE = 4096
"""Samples in a wavetable: with linear interpolation, errors stay 80 dB below the tone."""

# Frames of `moving_filter`: 16 ms follow a formant glide, and zero-padding to twice that leaves as much
# again for the filter's impulse response.
_FRAME_S = 0.016

CONTROL = 32
"""Samples between the points of a slow control curve (0.7 ms at 44.1 kHz)."""


def frequency_hz(pitch: float | Array) -> Any:
    """The frequency of a MIDI pitch (69 is A4, 440 Hz; fractions are detuned)."""
    return 440.0 * 2.0 ** ((np.asarray(pitch, dtype=np.float64) - 69.0) / 12.0)


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """Draw from a log-uniform distribution, for frequencies, times and bandwidths."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def decibels(level_db: float) -> float:
    """The amplitude factor of a level in dB."""
    return float(10.0 ** (level_db / 20.0))


def add_at(out: Array, sound: Array, start: int) -> None:
    """Add `sound` into `out` from sample `start` on, dropping what lies outside `out`."""
    skip = max(0, -start)
    stop = min(len(sound), len(out) - start)
    if stop > skip:
        out[start + skip : start + stop] += sound[skip:stop]


def damped_partials(
    frequencies_hz: Array,
    decays_s: Array,
    amplitudes: Array,
    length: int,
    rate_hz: int,
    phases: Array | None = None,
) -> Array:
    """A sum of exponentially decaying sinusoids, for struck and plucked sounds.

    decays_s: the time in which each partial decays by 60 dB. Partials above 0.45 times the rate are
    left out. Returns `(length,)` float32.

    A damped sinusoid is `exp(s n)` with complex `s`, and `exp(s (B i + j)) = exp(s B i) exp(s j)`:
    the whole sum is one product of two small matrices instead of `length` times `partial` sines.
    """
    heard = (frequencies_hz < 0.45 * rate_hz) & (amplitudes != 0.0)
    frequencies = np.asarray(frequencies_hz, dtype=np.float64)[heard]
    if length <= 0 or frequencies.size == 0:
        return np.zeros(max(length, 0), dtype=np.float32)
    decay_rate = np.log(1000.0) / np.maximum(np.asarray(decays_s, dtype=np.float64)[heard], 1e-4)
    exponent = (-decay_rate + 2j * np.pi * frequencies) / rate_hz
    start = np.asarray(amplitudes, dtype=np.complex128)[heard]
    if phases is not None:
        start = start * np.exp(1j * np.asarray(phases)[heard])
    block = max(16, int(np.sqrt(length)))
    rows = -(-length // block)
    coarse = start * np.exp(np.outer(np.arange(rows) * block, exponent))
    fine = np.exp(np.outer(exponent, np.arange(block)))
    # sin, not cos: partials that start at zero do not click.
    left = np.hstack((coarse.real, coarse.imag)).astype(np.float32)
    right = np.vstack((fine.imag, fine.real)).astype(np.float32)
    # Not `@`: what BLAS returns depends on how many threads it may use, which worker processes differ in.
    product: Array = np.einsum("ik,kj->ij", left, right)
    return product.reshape(-1)[:length]


def plucked_string(
    frequency: float,
    length: int,
    rate_hz: int,
    rng: Generator,
    *,
    brightness: float = 0.5,
    decay_s: float = 3.0,
    damping: float = 0.3,
    position: float = 0.2,
) -> Array:
    """A plucked string: Karplus-Strong with exact tuning (Jaffe and Smith 1983).

    brightness in (0, 1]: how slowly the harmonics of the pluck fall off. decay_s: 60 dB decay time of the
    fundamental. damping in [0, 0.5]: how much faster high partials decay. position in (0, 0.5]: of the
    pluck along the string.
    """
    period = rate_hz / frequency
    # The loop: [damping low-pass of three taps] * [linear fractional delay of two] after `whole`.
    whole = int(period - 1.0)
    fraction = period - 1.0 - whole
    loss = 10.0 ** (-3.0 / max(decay_s * frequency, 1.0))
    side = 0.25 * damping
    lowpass = np.array([side, 1.0 - 2.0 * side, side])
    # Three taps centred one sample late: the low-pass delays by exactly one sample.
    taps = loss * np.convolve(lowpass, [1.0 - fraction, fraction])
    if whole <= len(taps) or length <= 0:
        return np.zeros(max(length, 0))
    lead = len(taps) - 1
    pluck = _pluck(whole + lead, period, rng, brightness, position)
    out = np.zeros(length + 2 * whole + lead)
    out[: whole + lead] = pluck
    reversed_taps = taps[::-1]
    # A whole period depends only on the one before it, so it is computed in one call.
    for start in range(whole + lead, length + whole + lead, whole):
        previous = out[start - whole - lead : start]
        out[start : start + whole] = np.correlate(previous, reversed_taps, "valid")
    return out[lead : lead + length]


def _pluck(count: int, period: float, rng: Generator, brightness: float, position: float) -> Array:
    """The initial shape of a string plucked at `position`: harmonics `sin(pi n position) / n^tilt`.

    An ideal string has tilt 2 (Fletcher and Rossing, Physics of Musical Instruments, chapter 2); a
    hard pick, a pickup that senses velocity, and an uneven string make it brighter.
    """
    number = np.arange(1, max(2, int(0.45 * period)))
    unevenness = rng.uniform(0.6, 1.4, len(number)) * rng.choice([-1.0, 1.0], len(number))
    levels = np.abs(np.sin(np.pi * number * position)) * unevenness
    amplitudes = levels / number ** (2.2 - 1.6 * brightness)
    spectrum = np.zeros(count // 2 + 1, dtype=np.complex128)
    kept = min(len(number), count // 2 - 1)
    spectrum[1 : kept + 1] = amplitudes[:kept] * np.exp(2j * np.pi * rng.uniform(0.0, 0.15, kept))
    shape = fft.irfft(spectrum, count)
    return np.asarray(shape / (np.abs(shape).max() + 1e-9))


def wavetable(amplitudes: Array, phases: Array | None = None) -> Array:
    """One period with the given harmonic amplitudes (the first is the fundamental).

    Returns `(TABLE_SIZE + 1,)`: the first sample is repeated for interpolation.
    """
    spectrum = np.zeros(TABLE_SIZE // 2 + 1, dtype=np.complex128)
    count = min(len(amplitudes), TABLE_SIZE // 2 - 1)
    turn = -0.5j * np.pi if phases is None else 1j * np.asarray(phases)[:count]
    spectrum[1 : count + 1] = np.asarray(amplitudes)[:count] * np.exp(turn)
    period = fft.irfft(spectrum) * TABLE_SIZE / 2.0
    return np.append(period, period[0])


def harmonic_count(highest_hz: float, rate_hz: int, limit_hz: float = 16000.0) -> int:
    """The number of harmonics of a tone below `limit_hz` and 0.45 times the rate."""
    return max(1, int(min(limit_hz, 0.45 * rate_hz) / max(highest_hz, 1.0)))


def phase_of(frequency: Array, rate_hz: int, start: float = 0.0) -> Array:
    """The phase, in periods, of a tone with the instantaneous frequency `(sample,)` in Hz."""
    return start + np.cumsum(frequency) / rate_hz


def read_table(table: Array, phase: Array) -> Array:
    """A wavetable read at `phase` periods, with linear interpolation."""
    position = (phase - np.floor(phase)) * TABLE_SIZE
    index = position.astype(np.int32)
    low = table[index]
    return np.asarray(low + (position - index) * (table[index + 1] - low))


def control_points(length: int) -> int:
    """The number of points, `CONTROL` samples apart, that span `length` samples."""
    return -(-length // CONTROL) + 1


def stretch(curve: Array, length: int, hop: int = CONTROL) -> Array:
    """A curve given every `hop` samples, linearly interpolated to `(length,)`.

    curve: at least `ceil(length / hop) + 1` points. An outer product is faster than `interp`.
    """
    count = -(-length // hop)
    ramp = np.arange(hop, dtype=curve.dtype) / hop
    rise = np.diff(curve[: count + 1])
    return (curve[:count, None] + rise[:, None] * ramp).reshape(-1)[:length]


def smooth_noise(rng: Generator, count: int, points_per_s: float, speed_hz: float) -> Array:
    """Smoothly interpolated random values in [-1, 1], `speed_hz` per second: `(count,)` points."""
    knots = rng.uniform(-1.0, 1.0, max(4, int(count / points_per_s * speed_hz) + 4))
    position = np.linspace(0.0, len(knots) - 1.001, count)
    index = position.astype(np.int32)
    weight = position - index
    weight = weight * weight * (3.0 - 2.0 * weight)
    return knots[index] * (1.0 - weight) + knots[index + 1] * weight


def envelope(
    length: int,
    rate_hz: int,
    *,
    attack_s: float,
    decay_s: float,
    sustain: float,
    held_s: float,
    release_s: float,
) -> Array:
    """Attack, exponential decay to `sustain`, and release after `held_s` seconds, in [0, 1]."""
    time = np.arange(length) / rate_hz
    rise = np.minimum(1.0, time / max(attack_s, 1e-4))
    shape = sustain + (1.0 - sustain) * np.exp(-np.maximum(0.0, time - attack_s) / max(decay_s, 1e-3))
    fall = np.exp(-np.maximum(0.0, time - held_s) / max(release_s / 4.0, 1e-3))
    return rise * shape * fall


def fade_ends(sound: Array, rate_hz: int, fade_s: float = 0.004) -> Array:
    """`sound` with its last `fade_s` seconds faded to zero, so that it can be cut there."""
    count = min(len(sound), max(1, int(fade_s * rate_hz)))
    sound = sound.copy()
    sound[len(sound) - count :] *= np.linspace(1.0, 0.0, count)
    return sound


def ensemble_table(
    frequency: float,
    amplitudes: Array,
    rate_hz: int,
    rng: Generator,
    *,
    spread_cents: float,
    seconds: float,
) -> Array:
    """A section playing one note: harmonics spread into bands of random phase.

    PADsynth (Nasca Octavian Paul, ZynAddSubFX): each harmonic becomes a Gaussian band whose width
    grows with its frequency; the inverse transform is a seamless loop.
    Returns at least `seconds` of sound, `(sample,)`, with RMS 1.
    """
    size = int(fft.next_fast_len(int(seconds * rate_hz) + 2, real=True))
    size += size % 2
    spectrum = np.zeros(size // 2 + 1, dtype=np.float64)
    bin_hz = rate_hz / size
    width = 2.0 ** (spread_cents / 1200.0) - 1.0
    for number, amplitude in enumerate(amplitudes, start=1):
        centre = frequency * number
        if centre > 0.45 * rate_hz:
            break
        sigma = max(0.5 * centre * width, 0.6 * bin_hz)
        first = max(1, int((centre - 3.0 * sigma) / bin_hz))
        last = min(len(spectrum), int((centre + 3.0 * sigma) / bin_hz) + 2)
        offset = (np.arange(first, last) * bin_hz - centre) / sigma
        spectrum[first:last] += amplitude * np.exp(-0.5 * offset**2) / np.sqrt(sigma)
    turned = spectrum * np.exp(2j * np.pi * rng.random(len(spectrum)))
    sound = fft.irfft(turned.astype(np.complex64), size)
    return np.asarray(sound / (np.sqrt(np.mean(sound**2)) + 1e-12))


def frame_count(length: int, rate_hz: int) -> int:
    """The number of frames that `moving_filter` uses for `length` samples."""
    return -(-length // hop_length(rate_hz)) + 1


def hop_length(rate_hz: int) -> int:
    """Samples from one frame of `moving_filter` to the next: 8 ms, in multiples of 32."""
    return max(32, 32 * int(_FRAME_S * rate_hz / 64.0))


def moving_filter(sound: Array, rate_hz: int, response: Callable[[Array], Array]) -> Array:
    """Apply a time-varying filter, given by its frequency response in each frame; `(sample,)` float32.

    response: given the bin frequencies `(bin,)` in Hz, returns `(frame, bin)`, or `(bin,)` for a constant
    filter; there are `frame_count` frames, `hop_length` apart. With Hann frames at half overlap and zero
    padding, a short constant filter is applied exactly.
    """
    hop = hop_length(rate_hz)
    frames = frame_count(len(sound), rate_hz)
    padded = np.zeros((frames + 1) * hop, dtype=np.float32)
    padded[hop : hop + len(sound)] = sound
    blocks = padded.reshape(frames + 1, hop)
    window = np.hanning(2 * hop + 1)[:-1].astype(np.float32)
    framed = np.zeros((frames, 4 * hop), dtype=np.float32)
    framed[:, :hop] = blocks[:-1] * window[:hop]
    framed[:, hop : 2 * hop] = blocks[1:] * window[hop:]
    spectrum = fft.rfft(framed, axis=1)
    frequencies = np.arange(2 * hop + 1) * (rate_hz / (4.0 * hop))
    spectrum *= response(frequencies.astype(np.float32))
    pieces = fft.irfft(spectrum, 4 * hop, axis=1, overwrite_x=True)
    out = np.zeros((frames + 3, hop), dtype=np.float32)
    for part in range(4):
        out[part : part + frames] += pieces[:, part * hop : (part + 1) * hop]
    return out.reshape(-1)[hop : hop + len(sound)]


def resonance_denominator(frequencies: Array, centre_hz: Array, width_hz: Array) -> Array:
    """`1 - (f / c)^2 + j f w / c^2` as `(frame, bin)` complex64: the inverse of a two-pole resonance.

    frequencies: `(bin,)`; centre_hz, width_hz: `(frame,)`.
    """
    inverse = (1.0 / np.square(np.asarray(centre_hz, dtype=np.float32))).astype(np.float32)
    out = np.empty((len(inverse), len(frequencies)), dtype=np.complex64)
    out.real = 1.0 - np.multiply.outer(inverse, frequencies * frequencies)
    out.imag = np.multiply.outer(inverse * np.asarray(width_hz, dtype=np.float32), frequencies)
    return out


def lowpass_response(frequencies: Array, cutoff_hz: Array, resonance: float) -> Array:
    """A resonant two-pole low-pass: `(frame, bin)` for cutoffs `(frame,)`; resonance is Q."""
    cutoff = np.asarray(cutoff_hz)
    return np.asarray(1.0 / resonance_denominator(frequencies, cutoff, cutoff / resonance))


def at_frames(curve: Array, rate_hz: int) -> Array:
    """A curve `(sample,)` sampled once per frame of `moving_filter`."""
    positions = np.arange(frame_count(len(curve), rate_hz)) * hop_length(rate_hz)
    return curve[np.minimum(positions, len(curve) - 1)]
